//! This file answers: with which values?
//!
//! All values are pieces of one pool of random bytes, so a value costs no copy and is remembered by its place. They do not
//! compress, and two of them are the same only by a chance of one in a million.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use rand::{Rng, RngExt};

/// The longest value: the limit of the wire. A node's `limits.value_bytes` may be lower; it says so.
pub const VALUE_MOST: u32 = 64 << 20;
/// Places in the pool where a value may begin.
const BEGINNINGS: u32 = 1 << 20;

/// How long values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// `fixed_bin:100`: as many bytes each.
    Fixed(u32),
    /// `uniform:A:B`: from A to B bytes, each length as likely as the next.
    Uniform(u32, u32),
}

/// `fixed_bin:100` or `uniform:10:1000`.
impl FromStr for Values {
    type Err = String;

    fn from_str(text: &str) -> Result<Values, String> {
        let length = |text: &str| {
            let length: Option<u32> = text.parse().ok();
            length
                .filter(|length| *length <= VALUE_MOST)
                .ok_or_else(|| {
                    format!("a length is a whole number of bytes up to {VALUE_MOST}, not {text:?}")
                })
        };
        let parts: Vec<&str> = text.split(':').collect();
        match parts[..] {
            ["fixed_bin", bytes] => Ok(Values::Fixed(length(bytes)?)),
            ["uniform", from, to] => {
                let (from, to) = (length(from)?, length(to)?);
                if from > to {
                    return Err(format!(
                        "uniform:{to}:{from} is meant? The smaller comes first"
                    ));
                }
                Ok(Values::Uniform(from, to))
            }
            _ => Err(format!(
                "values are fixed_bin:100 (bytes) or uniform:10:1000 (from, to), not {text:?}"
            )),
        }
    }
}

impl fmt::Display for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Values::Fixed(bytes) => write!(f, "fixed_bin:{bytes}"),
            Values::Uniform(from, to) => write!(f, "uniform:{from}:{to}"),
        }
    }
}

impl Values {
    /// The place of a value.
    pub(crate) fn draw(self, rng: &mut impl Rng) -> Piece {
        let length = match self {
            Values::Fixed(length) => length,
            Values::Uniform(from, to) => rng.random_range(from..=to),
        };
        Piece {
            begin: rng.random_range(0..BEGINNINGS),
            length,
        }
    }

    fn longest(self) -> u32 {
        match self {
            Values::Fixed(length) => length,
            Values::Uniform(_, to) => to,
        }
    }
}

/// Where a value lies in the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    begin: u32,
    length: u32,
}

/// The bytes that all values of a run are pieces of.
#[derive(Debug, Clone)]
pub(crate) struct Pool(Bytes);

impl Pool {
    pub(crate) fn new(values: Values, rng: &mut impl Rng) -> Pool {
        let mut bytes = vec![0; BEGINNINGS as usize + values.longest() as usize];
        rng.fill_bytes(&mut bytes);
        Pool(bytes.into())
    }

    pub(crate) fn value(&self, piece: Piece) -> Bytes {
        let begin = piece.begin as usize;
        self.0.slice(begin..begin + piece.length as usize)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Lost without it: values of another length than was asked for would be measured, or the last of the pool panic.
    #[test]
    fn values_are_as_long_as_asked() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for (text, from, to) in [
            ("fixed_bin:100", 100, 100),
            ("fixed_bin:0", 0, 0),
            ("uniform:5:9", 5, 9),
        ] {
            let values: Values = text.parse().unwrap();
            assert_eq!(values.to_string(), text);
            let pool = Pool::new(values, &mut rng);
            let lengths: Vec<usize> = (0..1000)
                .map(|_| pool.value(values.draw(&mut rng)).len())
                .collect();
            assert_eq!(lengths.iter().min(), Some(&from), "{text}");
            assert_eq!(lengths.iter().max(), Some(&to), "{text}");
            let last = Piece {
                begin: BEGINNINGS - 1,
                length: values.longest(),
            };
            assert_eq!(pool.value(last).len(), to);
        }
        for (wrong, why) in [
            ("", "values are"),
            ("fixed_bin", "values are"),
            ("fixed_bin:many", "a length is"),
            ("fixed_bin:-1", "a length is"),
            ("fixed_bin:67108865", "a length is"),
            ("uniform:9:5", "uniform:5:9 is meant?"),
            ("uniform:9", "values are"),
        ] {
            let error = wrong.parse::<Values>().unwrap_err();
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }
}
