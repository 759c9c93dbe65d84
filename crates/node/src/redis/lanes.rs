//! This file answers: when may an operation on a key begin, so that a connection's operations on it keep their order?
//!
//! Requests of one pipeline run side by side; only those on one key wait for each other: a write for all before it, a
//! read for the writes before it. Keys are told apart by a hash: two keys of one hash wait for each other needlessly,
//! on their own connection.

use std::collections::{BTreeMap, VecDeque};

/// What an operation does with its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// It looks.
    Read,
    /// It changes it.
    Write,
}

/// The operations of one connection that are under way or wait, by key.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    keys: BTreeMap<u64, Lane<T>>,
}

#[derive(Debug)]
struct Lane<T> {
    readers: usize,
    is_written: bool,
    waiting: VecDeque<(Access, T)>,
}

impl<T> Lane<T> {
    fn admits(&self, access: Access) -> bool {
        !self.is_written && (access == Access::Read || self.readers == 0)
    }

    fn admit(&mut self, access: Access) {
        match access {
            Access::Read => self.readers += 1,
            Access::Write => self.is_written = true,
        }
    }
}

impl<T> Lanes<T> {
    pub(super) fn new() -> Lanes<T> {
        Lanes {
            keys: BTreeMap::new(),
        }
    }

    /// Whether a new operation on `key` may begin now. If so and it does not end at once, [`Lanes::began`] is told; if
    /// not, it is given to [`Lanes::park`].
    pub(super) fn is_free(&self, key: u64, access: Access) -> bool {
        self.keys
            .get(&key)
            .is_none_or(|lane| lane.waiting.is_empty() && lane.admits(access))
    }

    /// An operation on `key` is under way.
    pub(super) fn began(&mut self, key: u64, access: Access) {
        self.lane(key).admit(access);
    }

    /// An operation waits for those before it.
    pub(super) fn park(&mut self, key: u64, access: Access, operation: T) {
        self.lane(key).waiting.push_back((access, operation));
    }

    /// An operation on `key` that was under way has ended: those that may begin now go to `begin`, and count as begun.
    pub(super) fn ended(&mut self, key: u64, access: Access, begin: &mut Vec<T>) {
        let Some(lane) = self.keys.get_mut(&key) else {
            return;
        };
        match access {
            Access::Read => lane.readers -= 1,
            Access::Write => lane.is_written = false,
        }
        while let Some((access, _)) = lane.waiting.front()
            && lane.admits(*access)
        {
            if let Some((access, operation)) = lane.waiting.pop_front() {
                lane.admit(access);
                begin.push(operation);
            }
        }
        if lane.readers == 0 && !lane.is_written {
            self.keys.remove(&key);
        }
    }

    fn lane(&mut self, key: u64) -> &mut Lane<T> {
        self.keys.entry(key).or_insert_with(|| Lane {
            readers: 0,
            is_written: false,
            waiting: VecDeque::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs operations as `r1` (read key 1) or `w2`, none of which ends by itself, then ends `ends` in turn; returns
    /// what is under way after each.
    fn run(operations: &str, ends: &[&'static str]) -> Vec<String> {
        let parse = |word: &str| {
            let access = match word.as_bytes()[0] {
                b'r' => Access::Read,
                _ => Access::Write,
            };
            (access, u64::from(word.as_bytes()[1] - b'0'))
        };
        let mut lanes = Lanes::new();
        let mut running: Vec<String> = Vec::new();
        for word in operations.split(' ') {
            let (access, key) = parse(word);
            if lanes.is_free(key, access) {
                lanes.began(key, access);
                running.push(word.to_owned());
            } else {
                lanes.park(key, access, word.to_owned());
            }
        }
        let mut seen = vec![running.join(" ")];
        for end in ends {
            let (access, key) = parse(end);
            let at = running.iter().position(|word| word.starts_with(end));
            running.remove(at.unwrap());
            lanes.ended(key, access, &mut running);
            seen.push(running.join(" "));
        }
        if running.is_empty() {
            assert!(lanes.keys.is_empty());
        }
        seen
    }

    #[test]
    fn only_operations_on_one_key_wait_for_each_other() {
        // Lost without it: SET k 1, SET k 2, GET k in one pipeline could end with 1, or read what was before.
        assert_eq!(
            run("w1a w1b r1c w2d r2e", &["w1a", "w1b", "r1c", "w2d", "r2e"]),
            ["w1a w2d", "w2d w1b", "w2d r1c", "w2d", "r2e", ""]
        );
        // A write waits for the reads before it, and no read behind it overtakes.
        assert_eq!(
            run("r1a r1b w1c r1d r1e", &["r1b", "r1a", "w1c", "r1e", "r1d"]),
            ["r1a r1b", "r1a", "w1c", "r1d r1e", "r1d", ""]
        );
    }
}
