//! This file answers: how much has a transfer moved, and how fast does it go?
//!
//! For people: nothing is decided by it.

use std::collections::VecDeque;

use rkv_wire::message::Totals;

/// The rate is that of the last so many milliseconds.
const WINDOW_MS: u64 = 5_000;
/// How far apart the moments are that are remembered.
const GRAIN_MS: u64 = 250;

/// How many entries, and how many bytes of keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// Entries.
    pub entries: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Amount {
    /// One entry.
    pub fn one(key: &[u8], value: &[u8]) -> Amount {
        Amount {
            entries: 1,
            bytes: (key.len() + value.len()) as u64,
        }
    }
}

impl From<Totals> for Amount {
    fn from(totals: Totals) -> Amount {
        Amount {
            entries: totals.entries,
            bytes: totals.bytes,
        }
    }
}

impl std::ops::AddAssign for Amount {
    fn add_assign(&mut self, other: Amount) {
        self.entries += other.entries;
        self.bytes += other.bytes;
    }
}

/// What a transfer has moved so far.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    done: Amount,
    /// When so many entries had been moved, oldest first.
    marks: VecDeque<(u64, u64)>,
}

impl Progress {
    /// It begins now, unless it has begun: time counts from here.
    pub fn begin(&mut self, now_ms: u64) {
        if self.marks.is_empty() {
            self.marks.push_back((now_ms, self.done.entries));
        }
    }

    /// So much need not be moved: it begins now, behind that.
    pub fn begin_behind(&mut self, now_ms: u64, before: Amount) {
        self.done += before;
        self.marks.clear();
        self.begin(now_ms);
    }

    /// More was moved.
    pub fn add(&mut self, now_ms: u64, moved: Amount) {
        self.done += moved;
        let newest = self.marks.back();
        if newest.is_none_or(|(at_ms, _)| now_ms.saturating_sub(*at_ms) >= GRAIN_MS) {
            self.marks.push_back((now_ms, self.done.entries));
        }
        while self.marks.len() > 1 && self.is_old(now_ms, 0) {
            self.marks.pop_front();
        }
    }

    fn is_old(&self, now_ms: u64, at: usize) -> bool {
        let mark = self.marks.get(at);
        mark.is_some_and(|(at_ms, _)| now_ms.saturating_sub(*at_ms) > WINDOW_MS)
    }

    /// What was moved so far.
    pub fn done(&self) -> Amount {
        self.done
    }

    /// Entries a second, over the last seconds.
    pub fn entries_per_s(&self, now_ms: u64) -> u64 {
        let fresh = (0..self.marks.len()).find(|at| !self.is_old(now_ms, *at));
        let Some((at_ms, entries)) = fresh.and_then(|at| self.marks.get(at)) else {
            return 0;
        };
        let moved = self.done.entries - entries;
        moved * 1_000 / now_ms.saturating_sub(*at_ms).max(GRAIN_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(entries: u64) -> Amount {
        Amount { entries, bytes: 0 }
    }

    /// Lost without it: nobody knows how long a transfer takes, or a rate of an hour ago is shown for one that stands.
    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let mut progress = Progress::default();
        progress.begin(10_000);
        assert_eq!(progress.entries_per_s(10_000), 0);
        for step in 1..=100 {
            progress.add(10_000 + step * 100, entries(20));
        }
        let now_ms = 20_000;
        assert_eq!(progress.done(), entries(2_000));
        let rate = progress.entries_per_s(now_ms);
        assert!((190..=210).contains(&rate), "{rate} of 200 a second");
        let slower = progress.entries_per_s(now_ms + 4_000);
        assert!((1..rate / 2).contains(&slower), "{slower} after a stall");
        assert_eq!(progress.entries_per_s(now_ms + 6_000), 0, "it stands");
        assert!(progress.marks.len() <= 22, "{} marks", progress.marks.len());
    }
}
