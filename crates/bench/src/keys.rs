//! This file answers: on which keys?
//!
//! Keys are numbers below N, written `key:000000000042`: 16 bytes, as redis-benchmark writes them. Popular keys are the
//! low numbers: there is no need to scatter them, since neighbours lie in different slots anyway.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;

use rand::distr::Distribution;
use rand::{Rng, RngExt};
use rand_distr::Zipf;

/// How unequal popularity is: YCSB's constant.
const ZIPF_EXPONENT: f64 = 0.99;
/// Most keys of a run: numbers that new keys are given still have room in [`Key`].
const KEYS_MOST: u64 = 100_000_000_000;

/// Which keys operations take, and of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// `uniform_int:N`: each as likely as the next.
    Uniform(u64),
    /// `sequential`, `sequential:N`: one after the other, and again from the first.
    Sequential(u64),
    /// `zipfian`, `zipfian:N`: few are taken often, most seldom.
    Zipfian(u64),
    /// `latest`, `latest:N`: puts and inserts write new keys beyond the first N, reads prefer the newest of these.
    Latest(u64),
}

impl Keys {
    /// How many keys there are unless told otherwise.
    pub const USUAL: u64 = 100_000;

    /// How many there are (at first).
    pub fn count(self) -> u64 {
        match self {
            Keys::Uniform(n) | Keys::Sequential(n) | Keys::Zipfian(n) | Keys::Latest(n) => n,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Keys::Uniform(_) => "uniform_int",
            Keys::Sequential(_) => "sequential",
            Keys::Zipfian(_) => "zipfian",
            Keys::Latest(_) => "latest",
        }
    }
}

/// `uniform_int:100000`, `sequential`, `zipfian:1000`, `latest`; without a number there are [`Keys::USUAL`].
impl FromStr for Keys {
    type Err = String;

    fn from_str(text: &str) -> Result<Keys, String> {
        let (name, count) = match text.split_once(':') {
            Some((name, count)) => (name, Some(count)),
            None => (text, None),
        };
        let keys = match name {
            "uniform_int" => Keys::Uniform,
            "sequential" => Keys::Sequential,
            "zipfian" => Keys::Zipfian,
            "latest" => Keys::Latest,
            _ => {
                return Err(format!(
                    "keys are uniform_int, sequential, zipfian or latest, each with a number such as uniform_int:100000, \
                     not {text:?}"
                ));
            }
        };
        let count = match count {
            None => Some(Keys::USUAL),
            Some(count) => count.parse().ok(),
        };
        let count = count.filter(|count| (1..=KEYS_MOST).contains(count));
        count.map(keys).ok_or_else(|| {
            format!("{text:?}: the number of keys is a whole number from 1 to {KEYS_MOST}")
        })
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name(), self.count())
    }
}

/// A key as it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key([u8; 16]);

impl Key {
    pub(crate) fn of(mut number: u64) -> Key {
        let mut bytes = *b"key:000000000000";
        for digit in bytes[4..].iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
        Key(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Where one worker stands among all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) worker: u64,
    pub(crate) workers: u64,
}

/// One worker's choice of keys.
#[derive(Debug)]
pub(crate) struct KeyChooser {
    keys: Keys,
    place: Place,
    zipf: Option<Zipf<f64>>,
    /// Keys taken in order.
    taken: u64,
    /// New keys that this worker has begun to write, and how many of them surely are there to be read.
    fresh: u64,
    readable: u64,
    /// When the others were begun, in operations of this worker.
    begun: VecDeque<u64>,
}

impl KeyChooser {
    pub(crate) fn new(keys: Keys, place: Place) -> KeyChooser {
        let zipf = || {
            let zipf = Zipf::new(keys.count() as f64, ZIPF_EXPONENT);
            zipf.expect("a number of keys from 1 on and a positive exponent")
        };
        KeyChooser {
            keys,
            place,
            zipf: matches!(keys, Keys::Zipfian(_) | Keys::Latest(_)).then(zipf),
            taken: 0,
            fresh: 0,
            readable: 0,
            begun: VecDeque::new(),
        }
    }

    /// An operation begins, the `operation`th of this worker; at most `together` of it are under way at once.
    ///
    /// So whatever was begun that many operations ago has ended. This does not look at what really has: the same seed is to
    /// take the same keys however long each takes.
    pub(crate) fn advance(&mut self, operation: u64, together: u64) {
        while self
            .begun
            .front()
            .is_some_and(|begun| begun + together <= operation)
        {
            self.begun.pop_front();
            self.readable += 1;
        }
    }

    /// A key to read or to write again.
    pub(crate) fn known(&mut self, rng: &mut impl Rng) -> u64 {
        match self.keys {
            Keys::Uniform(n) => rng.random_range(0..n),
            Keys::Sequential(n) => {
                let number = self.place.worker + self.taken * self.place.workers;
                self.taken += 1;
                number % n
            }
            Keys::Zipfian(_) => self.rank(rng),
            Keys::Latest(n) => match self.rank(rng) {
                rank if rank < self.readable => self.number_of_fresh(self.readable - 1 - rank),
                rank => n - 1 - (rank - self.readable).min(n - 1),
            },
        }
    }

    /// A key for a put: under `latest` a new one.
    pub(crate) fn put(&mut self, operation: u64, rng: &mut impl Rng) -> u64 {
        match self.keys {
            Keys::Latest(_) => self.fresh(operation),
            _ => self.known(rng),
        }
    }

    /// A key that nobody has written, for the `operation`th operation.
    pub(crate) fn fresh(&mut self, operation: u64) -> u64 {
        let number = self.number_of_fresh(self.fresh);
        self.fresh += 1;
        self.begun.push_back(operation);
        number
    }

    /// The key near `number` that only this worker puts: each worker has every `workers`th.
    pub(crate) fn owned(&self, number: u64) -> u64 {
        let (n, Place { worker, workers }) = (self.keys.count(), self.place);
        if number >= n {
            return number;
        }
        let owned = number - number % workers + worker;
        if owned < n { owned } else { owned - workers }
    }

    fn number_of_fresh(&self, index: u64) -> u64 {
        self.keys.count() + self.place.worker + index * self.place.workers
    }

    /// From 0 on, the most popular first.
    fn rank(&self, rng: &mut impl Rng) -> u64 {
        let zipf = self.zipf.as_ref().expect("made for keys that have ranks");
        (zipf.sample(rng) as u64).clamp(1, self.keys.count()) - 1
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const ALONE: Place = Place {
        worker: 0,
        workers: 1,
    };

    /// Lost without it: a typing error would measure other keys than were meant.
    #[test]
    fn keys_are_read() {
        for (text, meant) in [
            ("uniform_int:10", Keys::Uniform(10)),
            ("uniform_int", Keys::Uniform(100_000)),
            ("sequential", Keys::Sequential(100_000)),
            ("zipfian:5", Keys::Zipfian(5)),
            ("latest", Keys::Latest(100_000)),
        ] {
            let keys: Keys = text.parse().unwrap();
            assert_eq!(keys, meant);
            assert_eq!(keys.to_string().parse(), Ok(keys));
        }
        for (wrong, why) in [
            ("", "keys are"),
            ("pareto", "keys are"),
            ("uniform_int:0", "whole number from 1"),
            ("uniform_int:x", "whole number from 1"),
            ("zipfian:100000000001", "whole number from 1"),
        ] {
            let error = wrong.parse::<Keys>().unwrap_err();
            assert!(error.contains(why), "{wrong}: {error}");
        }
        assert_eq!(Key::of(42).as_bytes(), b"key:000000000042");
    }

    /// Lost without it: popularity would be as flat as uniform's, or a rank fall outside of the keys.
    #[test]
    fn few_keys_are_popular_under_zipfian() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut keys = KeyChooser::new(Keys::Zipfian(1000), ALONE);
        let drawn: Vec<u64> = (0..20_000).map(|_| keys.known(&mut rng)).collect();
        assert!(drawn.iter().all(|number| *number < 1000));
        // 1 / (1 + 1/2^0.99 + ... + 1/1000^0.99) of all are the first.
        let first = drawn.iter().filter(|number| **number == 0).count();
        assert!((2300..2900).contains(&first), "{first}");
        let one = KeyChooser::new(Keys::Zipfian(1), ALONE).known(&mut rng);
        assert_eq!(one, 0);
    }

    /// Lost without it: two workers put one key and each calls the other's value wrong; or a key lies outside.
    #[test]
    fn each_worker_owns_keys_of_its_own() {
        let owned = |worker| -> BTreeSet<u64> {
            let place = Place { worker, workers: 3 };
            let chooser = KeyChooser::new(Keys::Uniform(100), place);
            (0..100).map(|number| chooser.owned(number)).collect()
        };
        let all: Vec<BTreeSet<u64>> = (0..3).map(owned).collect();
        assert_eq!(all.iter().map(BTreeSet::len).sum::<usize>(), 100);
        assert_eq!(all.iter().flatten().collect::<BTreeSet<_>>().len(), 100);
        assert!(all.iter().flatten().all(|number| *number < 100));
    }

    /// Lost without it: a read asks for a key whose insert is still under way and calls it lost.
    #[test]
    fn the_latest_are_read_once_they_are_there() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut keys = KeyChooser::new(
            Keys::Latest(10),
            Place {
                worker: 1,
                workers: 2,
            },
        );
        assert_eq!((keys.fresh(0), keys.fresh(1)), (11, 13));
        keys.advance(3, 4);
        assert!((0..100).all(|_| keys.known(&mut rng) < 10));
        keys.advance(4, 4);
        let read: BTreeSet<u64> = (0..500).map(|_| keys.known(&mut rng)).collect();
        assert!(read.contains(&11) && !read.contains(&13) && read.contains(&9));
        assert_eq!(keys.put(9, &mut rng), 15);
    }

    /// Lost without it: a sequence would leave keys out.
    #[test]
    fn a_sequence_comes_round() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut keys = KeyChooser::new(Keys::Sequential(3), ALONE);
        let drawn: Vec<u64> = (0..5).map(|_| keys.known(&mut rng)).collect();
        assert_eq!(drawn, [0, 1, 2, 0, 1]);
    }
}
