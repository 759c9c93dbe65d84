//! This file answers: how long does the writer wait for more writes before it syncs those that are there?
//!
//! Whoever was told that a write landed often sends the next one. Of fifty callers who each wait for their own, a writer that
//! never waits syncs for some twenty at a time, the others' writes just behind, and each of them waits for nearly two syncs. So
//! where a sync takes longer than everything else about a group, the next group begins when as many are there as were under way
//! when the last one landed, or when a sync's time has passed. A single caller waits for nobody. Callers who do not come
//! back are waited for in vain, so that is tried again ever more seldom.

use std::time::{Duration, Instant};

/// In vain so often at most is followed by twice as many groups that wait for nobody: 2 to the power of this.
const MOST_DOUBLINGS: u32 = 8;

/// Nobody waits for company for longer, however slow the disk.
const MOST_WAIT: Duration = Duration::from_millis(2);

/// Until so many jobs are there, or until then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) jobs: usize,
    pub(crate) until: Instant,
}

/// What was learned of the last groups.
#[derive(Debug, Default)]
pub(crate) struct Company {
    /// How many jobs were under way when the last group landed.
    in_flight: usize,
    /// How long they are worth waiting for.
    patience: Duration,
    /// How often in a row they did not come.
    in_vain: u32,
    /// So many groups wait for nobody.
    resting: u32,
}

impl Company {
    /// A group has landed and was told: its sync took so long, all else about it `rest`.
    pub(crate) fn told(&mut self, in_flight: usize, synced_in: Duration, rest: Duration) {
        self.in_flight = in_flight;
        self.patience = if synced_in > rest {
            synced_in.min(MOST_WAIT)
        } else {
            Duration::ZERO
        };
    }

    /// How the next group is to wait; `None`: it begins with the first that comes.
    pub(crate) fn wait(&self, now: Instant) -> Option<Wait> {
        let is_worth_it = self.in_flight > 1 && !self.patience.is_zero() && self.resting == 0;
        is_worth_it.then(|| Wait {
            jobs: self.in_flight,
            until: now + self.patience,
        })
    }

    /// A group of so many begins that has waited so.
    pub(crate) fn came(&mut self, waited: Option<Wait>, jobs: usize) {
        let Some(waited) = waited else {
            self.resting = self.resting.saturating_sub(1);
            return;
        };
        if jobs >= waited.jobs {
            self.in_vain = 0;
        } else {
            self.in_vain = (self.in_vain + 1).min(MOST_DOUBLINGS);
            // One may be late by chance.
            self.resting = (1 << self.in_vain) - 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Lost without it: a caller who is alone waits for nobody each time, or whoever is gone is waited for as often as before.
    #[test]
    fn who_comes_back_is_waited_for() {
        let now = Instant::now();
        let mut company = Company::default();
        assert_eq!(company.wait(now), None, "nobody is known");
        company.told(1, MS, MS / 4);
        assert_eq!(company.wait(now), None, "one is alone");
        company.told(50, MS / 4, MS);
        assert_eq!(
            company.wait(now),
            None,
            "the sync is not what takes the time"
        );
        company.told(50, MS, MS / 4);
        let wait = company.wait(now);
        let expected = Wait {
            jobs: 50,
            until: now + MS,
        };
        assert_eq!(wait, Some(expected));
        company.came(wait, 50);
        company.told(50, 1_000 * MS, MS);
        assert_eq!(company.wait(now).unwrap().until, now + MOST_WAIT);
    }

    /// Lost without it: requests that come as they like wait for each other at every sync.
    #[test]
    fn in_vain_is_not_tried_often() {
        let now = Instant::now();
        let mut company = Company::default();
        let mut waits = 0;
        for _ in 0..10_000 {
            let wait = company.wait(now);
            waits += u32::from(wait.is_some());
            company.came(wait, 3);
            company.told(5, MS, MS / 4);
        }
        assert!((30..100).contains(&waits), "{waits}");
        let wait = loop {
            match company.wait(now) {
                None => company.came(None, 3),
                wait => break wait,
            }
        };
        company.came(wait, 5);
        assert!(company.wait(now).is_some(), "they are back");
    }
}
