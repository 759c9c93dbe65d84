//! This file answers: where does a run's chance come from?

use std::fmt;
use std::str::FromStr;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Most numbers of a seed: as many as the generator has room for.
const NUMBERS_MOST: usize = 4;

/// What all random choices of a run come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed {
    numbers: [u64; NUMBERS_MOST],
    given: usize,
}

impl Seed {
    /// The chance of one worker in one round: a stream of its own, the same wherever and whenever it is drawn.
    pub(crate) fn rng(&self, round: u32, worker: u32) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::from_seed(self.bytes());
        rng.set_stream((u64::from(round) << 32) | u64::from(worker));
        rng
    }

    fn bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (place, number) in bytes.chunks_exact_mut(8).zip(self.numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }
}

/// `1,4,3`: one to four whole numbers.
impl FromStr for Seed {
    type Err = String;

    fn from_str(text: &str) -> Result<Seed, String> {
        let wrong = || {
            format!("a seed is one to {NUMBERS_MOST} whole numbers, as in 1,4,3, and not {text:?}")
        };
        let mut numbers = [0; NUMBERS_MOST];
        let mut given = 0;
        for part in text.split(',') {
            let place = numbers.get_mut(given).ok_or_else(wrong)?;
            *place = part.trim().parse().map_err(|_| wrong())?;
            given += 1;
        }
        Ok(Seed { numbers, given })
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = self.numbers[..self.given].iter().map(u64::to_string);
        f.write_str(&numbers.collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    /// Lost without it: two workers would do the same, or a seed that was given would count for nothing.
    #[test]
    fn seeds_differ_where_they_should() {
        let drawn = |text: &str, round, worker| -> u64 {
            text.parse::<Seed>().unwrap().rng(round, worker).random()
        };
        let first = drawn("1,4,3", 0, 0);
        assert_eq!(first, drawn("1,4,3", 0, 0));
        for other in [
            drawn("1,4,4", 0, 0),
            drawn("1,4,3", 0, 1),
            drawn("1,4,3", 1, 0),
        ] {
            assert_ne!(first, other);
        }
        assert_eq!("1, 4,3".parse::<Seed>().unwrap().to_string(), "1,4,3");
        for wrong in ["", "x", "1,", "1,2,3,4,5", "-1", "1.5"] {
            assert!(
                wrong.parse::<Seed>().unwrap_err().contains("whole numbers"),
                "{wrong}"
            );
        }
    }
}
