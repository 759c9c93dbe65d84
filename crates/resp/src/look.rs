//! This file answers: what is asked of one key without its value going out as it is?

use bytes::Bytes;

use crate::{CommandError, integer};

/// A question about one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// STRLEN
    Length,
    /// TYPE
    Type,
    /// GETRANGE, SUBSTR
    Range(Range),
    /// TTL: seconds until it ends.
    TtlSeconds,
    /// PTTL: milliseconds until it ends.
    TtlMs,
    /// EXPIRETIME: the unix second in which it ends.
    EndsSeconds,
    /// PEXPIRETIME: the unix millisecond.
    EndsMs,
}

/// A part of a value: both ends are in it, and negative ones count from the value's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first byte.
    pub first: i64,
    /// The last byte.
    pub last: i64,
}

impl Range {
    pub(crate) fn parse(first: &[u8], last: &[u8]) -> Result<Range, CommandError> {
        let parse = |number| integer::parse(number).ok_or(CommandError::NotInteger);
        Ok(Range {
            first: parse(first)?,
            last: parse(last)?,
        })
    }

    /// The part of `value`; empty where there is none.
    pub fn of(self, value: &Bytes) -> Bytes {
        let length = i64::try_from(value.len()).unwrap_or(i64::MAX);
        if self.first < 0 && self.last < 0 && self.first > self.last {
            return Bytes::new();
        }
        let from_start = |at: i64| {
            if at < 0 {
                (at.saturating_add(length)).max(0)
            } else {
                at
            }
        };
        let (first, last) = (
            from_start(self.first),
            from_start(self.last).min(length - 1),
        );
        match (usize::try_from(first), usize::try_from(last)) {
            (Ok(first), Ok(last)) if first <= last => value.slice(first..=last),
            _ => Bytes::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_as_redis_cuts_them() {
        // Lost without it: clients that read a value in parts get other parts, or a range beyond it panics the node.
        let hello = Bytes::from_static(b"hello");
        let table = [
            (0, -1, "hello"),
            (1, -2, "ell"),
            (-3, 100, "llo"),
            (3, 1, ""),
            (-1, -5, ""),
            (5, 10, ""),
            (-100, -50, "h"),
            (0, 0, "h"),
            (i64::MAX, i64::MAX, ""),
            (i64::MIN, 2, "hel"),
            (i64::MIN, i64::MAX, "hello"),
        ];
        for (first, last, expected) in table {
            let cut = Range { first, last }.of(&hello);
            assert_eq!(cut, expected, "{first} {last}");
            assert_eq!(Range { first, last }.of(&Bytes::new()), "");
        }
    }
}
