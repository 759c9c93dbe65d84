//! This file answers: which operations does a run consist of, and how often does each come?

use std::fmt;
use std::str::FromStr;

use rand::{Rng, RngExt};

use crate::keys::Keys;

/// What is measured as one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Writes a key.
    Put,
    /// Reads a key, there or not.
    Get,
    /// Reads a key that the same worker has put; the value has to be the one it put.
    GetOwnPuts,
    /// Reads a key that has been loaded: it has to be there.
    Read,
    /// Writes a key that has been loaded.
    Update,
    /// Writes a new key.
    Insert,
    /// Reads a key and then writes it.
    ReadModifyWrite,
}

impl Operation {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Operation; 7] = [
        Operation::Put,
        Operation::Get,
        Operation::GetOwnPuts,
        Operation::Read,
        Operation::Update,
        Operation::Insert,
        Operation::ReadModifyWrite,
    ];

    /// Its name in flags, files and documents.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Put => "put",
            Operation::Get => "get",
            Operation::GetOwnPuts => "get-own-puts",
            Operation::Read => "read",
            Operation::Update => "update",
            Operation::Insert => "insert",
            Operation::ReadModifyWrite => "read-modify-write",
        }
    }

    /// Whether it only reads.
    pub(crate) fn is_read(self) -> bool {
        matches!(
            self,
            Operation::Get | Operation::GetOwnPuts | Operation::Read
        )
    }

    /// Whether its key has to be there already.
    pub(crate) fn needs_loading(self) -> bool {
        matches!(
            self,
            Operation::Read | Operation::Update | Operation::Insert | Operation::ReadModifyWrite
        )
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Operation {
    type Err = String;

    fn from_str(text: &str) -> Result<Operation, String> {
        let mut all = Operation::ALL.into_iter();
        all.find(|operation| operation.name() == text)
            .ok_or_else(|| {
                let names = Operation::ALL.map(Operation::name).join(", ");
                format!("there is no operation {text:?}; there are {names}")
            })
    }
}

/// The largest weight of one operation.
const WEIGHT_MOST: u32 = 1_000_000;

/// Operations and their weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mix {
    weights: Vec<(Operation, u32)>,
    total: u32,
}

impl Mix {
    fn new(mut weights: Vec<(Operation, u32)>) -> Mix {
        weights.sort();
        let total = weights.iter().map(|(_, weight)| weight).sum();
        Mix { weights, total }
    }

    /// The operations, in the order in which they are shown.
    pub fn operations(&self) -> impl Iterator<Item = Operation> + '_ {
        self.weights.iter().map(|(operation, _)| *operation)
    }

    /// Whether `operation` is one of them.
    pub fn has(&self, operation: Operation) -> bool {
        self.operations().any(|it| it == operation)
    }

    /// One of them, by weight.
    pub(crate) fn draw(&self, rng: &mut impl Rng) -> Operation {
        let mut at = rng.random_range(0..self.total);
        for &(operation, weight) in &self.weights {
            if at < weight {
                return operation;
            }
            at -= weight;
        }
        unreachable!("a number below the total lies within one of the weights")
    }
}

/// `get-own-puts:3,put:10,get:2`; an operation without a number has weight 1.
impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Mix, String> {
        let mut weights: Vec<(Operation, u32)> = Vec::new();
        for part in text.split(',') {
            let (name, weight) = part.split_once(':').unwrap_or((part, "1"));
            let operation: Operation = name.trim().parse()?;
            let weight = weight.trim().parse().ok();
            let weight = weight.filter(|weight| (1..=WEIGHT_MOST).contains(weight));
            let weight = weight.ok_or_else(|| {
                format!(
                    "{part:?}: a weight is a whole number from 1 to {WEIGHT_MOST}, as in put:10"
                )
            })?;
            if weights.iter().any(|(known, _)| *known == operation) {
                return Err(format!(
                    "{operation} stands there twice; give it one weight"
                ));
            }
            weights.push((operation, weight));
        }
        let mix = Mix::new(weights);
        if mix.has(Operation::GetOwnPuts) && !mix.has(Operation::Put) {
            return Err("get-own-puts reads what was put: add put:1".to_owned());
        }
        Ok(mix)
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (operation, weight)) in self.weights.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{operation}:{weight}")?;
        }
        Ok(())
    }
}

/// The mixes of YCSB (Cooper et al., SoCC 2010), save E, which scans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    /// Half reads, half updates.
    A,
    /// 95 reads, 5 updates.
    B,
    /// Reads.
    C,
    /// 95 reads of the latest, 5 inserts.
    D,
    /// Half reads, half read-modify-writes.
    F,
}

impl Workload {
    /// Its operations.
    pub fn mix(self) -> Mix {
        use Operation::{Insert, Read, ReadModifyWrite, Update};
        Mix::new(match self {
            Workload::A => vec![(Read, 50), (Update, 50)],
            Workload::B => vec![(Read, 95), (Update, 5)],
            Workload::C => vec![(Read, 100)],
            Workload::D => vec![(Read, 95), (Insert, 5)],
            Workload::F => vec![(Read, 50), (ReadModifyWrite, 50)],
        })
    }

    /// The keys it takes unless told otherwise.
    pub fn keys(self) -> Keys {
        match self {
            Workload::D => Keys::Latest(Keys::USUAL),
            _ => Keys::Zipfian(Keys::USUAL),
        }
    }
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(text: &str) -> Result<Workload, String> {
        match text.to_ascii_lowercase().as_str() {
            "a" => Ok(Workload::A),
            "b" => Ok(Workload::B),
            "c" => Ok(Workload::C),
            "d" => Ok(Workload::D),
            "f" => Ok(Workload::F),
            "e" => {
                Err("workload e scans ranges, which rkv has not; there are a, b, c, d, f".into())
            }
            _ => Err(format!(
                "there is no workload {text:?}; there are a, b, c, d, f"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Lost without it: a typing error would measure another mix than the one that was meant.
    #[test]
    fn mixes_are_read() {
        let mix: Mix = "get-own-puts:3,put:10,get:2".parse().unwrap();
        assert_eq!(mix.to_string(), "put:10,get:2,get-own-puts:3");
        assert_eq!("put".parse::<Mix>().unwrap().to_string(), "put:1");
        for (wrong, why) in [
            ("", "there are put, get"),
            ("putt:1", "there are put, get"),
            ("put:0", "a weight is"),
            ("put:-1", "a weight is"),
            ("put:1000001", "a weight is"),
            ("put:1,put:2", "twice"),
            ("get-own-puts:3,get:1", "add put:1"),
        ] {
            let error = wrong.parse::<Mix>().unwrap_err();
            assert!(error.contains(why), "{wrong}: {error}");
        }
        for (wrong, why) in [("e", "scans"), ("x", "there are a, b"), ("", "there are")] {
            let error = wrong.parse::<Workload>().unwrap_err();
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }

    /// Lost without it: weights would be decoration.
    #[test]
    fn operations_come_by_their_weights() {
        const DRAWN: u32 = 15_000;
        let mix: Mix = "get-own-puts:3,put:10,get:2".parse().unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut counts = [0u32; Operation::ALL.len()];
        for _ in 0..DRAWN {
            counts[mix.draw(&mut rng) as usize] += 1;
        }
        for (operation, weight) in &mix.weights {
            let (count, meant) = (counts[*operation as usize], DRAWN * weight / 15);
            let off = count.abs_diff(meant);
            assert!(off < meant / 10, "{operation}: {count} of {DRAWN}");
        }
    }
}
