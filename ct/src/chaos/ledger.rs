//! This file answers: what must be read of each key at the end?
//!
//! Each key has one writer, which writes nothing more to it once it does not know what became of a write: such a write may
//! come true at any later time, as long as some node still has it to do. So what a key may hold is what was acknowledged
//! last or that one write, and nothing else.

/// What a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// The value of this number.
    Value(u64),
    /// Nothing: it was never written, or deleted.
    Nothing,
}

/// One key, and what its writer knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// What was acknowledged last.
    pub acknowledged: Held,
    /// The write of which nobody told what became of it.
    pub unknown: Option<Held>,
    /// The number of the latest value that was sent.
    pub number: u64,
}

/// What is wrong with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    /// An acknowledged write is not there.
    Lost,
    /// What was deleted is there again.
    Back,
    /// A write is there that was said not to be applied.
    Denied,
    /// Nobody wrote that.
    Strange,
}

impl Entry {
    /// A key that nobody has written yet.
    pub fn new(key: String) -> Entry {
        Entry {
            key,
            acknowledged: Held::Nothing,
            unknown: None,
            number: 0,
        }
    }

    /// Judges what was read of it.
    pub fn judge(&self, read: Option<&[u8]>) -> Result<(), Wrong> {
        let held = match read {
            None => Held::Nothing,
            Some(read) => Held::Value(self.number_of(read).ok_or(Wrong::Strange)?),
        };
        if held == self.acknowledged || Some(held) == self.unknown {
            return Ok(());
        }
        Err(match (held, self.acknowledged) {
            (Held::Nothing, _) => Wrong::Lost,
            (Held::Value(read), Held::Value(last)) if read < last => Wrong::Lost,
            (Held::Value(read), _) if self.is_before_the_last(read) => Wrong::Back,
            _ => Wrong::Denied,
        })
    }

    /// Whether a value could be read of it at any time: one that was sent.
    pub fn was_sent(&self, read: &[u8]) -> bool {
        self.number_of(read).is_some()
    }

    /// Deletes have a number too: a lower one was written before.
    fn is_before_the_last(&self, read: u64) -> bool {
        let unknown = match self.unknown {
            Some(Held::Value(number)) => number,
            _ => u64::MAX,
        };
        read < self.number && read != unknown
    }

    fn number_of(&self, read: &[u8]) -> Option<u64> {
        let text = str::from_utf8(read).ok()?;
        let number: u64 = text.split(':').next()?.parse().ok()?;
        let is_ours = number <= self.number && value(&self.key, number) == text;
        is_ours.then_some(number)
    }
}

/// The value of that number: told apart from each other's, of different lengths, a few of them long.
pub fn value(key: &str, number: u64) -> String {
    let mixed = xxhash_rust::xxh3::xxh3_64_with_seed(key.as_bytes(), number);
    let length = match mixed % 50 {
        0 => 8_000,
        short => short as usize * 5,
    };
    format!("{number}:{key}:{}", "x".repeat(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u64, acknowledged: Held, unknown: Option<Held>) -> Entry {
        Entry {
            number,
            acknowledged,
            unknown,
            ..Entry::new("k".to_owned())
        }
    }

    /// Lost without it: a chaos run that finds everything in order, whatever it reads.
    #[test]
    fn what_is_not_as_acknowledged_is_told() {
        let read = |entry: &Entry, number: Option<u64>| {
            let value = number.map(|number| value("k", number));
            entry.judge(value.as_deref().map(str::as_bytes))
        };
        let third = entry(3, Held::Value(3), None);
        assert_eq!(read(&third, Some(3)), Ok(()));
        assert_eq!(read(&third, Some(2)), Err(Wrong::Lost));
        assert_eq!(read(&third, None), Err(Wrong::Lost));
        assert_eq!(third.judge(Some(b"3:k:")), Err(Wrong::Strange));
        assert_eq!(read(&third, Some(4)), Err(Wrong::Strange));
        // The fourth was said not to be applied.
        assert_eq!(
            read(&entry(4, Held::Value(3), None), Some(4)),
            Err(Wrong::Denied)
        );

        let deleted = entry(4, Held::Nothing, None);
        assert_eq!(read(&deleted, None), Ok(()));
        assert_eq!(read(&deleted, Some(3)), Err(Wrong::Back));

        let unsure = entry(4, Held::Value(3), Some(Held::Value(4)));
        assert_eq!(
            (read(&unsure, Some(3)), read(&unsure, Some(4))),
            (Ok(()), Ok(()))
        );
        assert_eq!(read(&unsure, Some(2)), Err(Wrong::Lost));
        let maybe_deleted = entry(4, Held::Value(3), Some(Held::Nothing));
        assert_eq!(read(&maybe_deleted, None), Ok(()));

        let refused = entry(1, Held::Nothing, None);
        assert_eq!(read(&refused, Some(1)), Err(Wrong::Denied));
    }

    /// Lost without it: nothing tells one value from another.
    #[test]
    fn values_differ() {
        assert_ne!(value("k", 1), value("k", 2));
        assert_ne!(value("k", 1), value("l", 1));
        assert!((0..200).any(|number| value("k", number).len() > 8_000));
    }
}
