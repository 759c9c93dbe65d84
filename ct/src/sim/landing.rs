//! This file answers: how does what is queued on a disk land, and who is told of it together?
//!
//! As the program's one writer does it, or one job after the other, which shows each order by itself. Of a group nobody has
//! been told when it has landed: in between the node may die.

use rkv_storage::{Awaited, Done, Ended, Error};

/// How what is queued lands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Landing {
    /// One job after the other, each told by itself as it lands.
    OneByOne,
    /// All that is queued as a group, which is synced if anybody asks for it, and told together some time after that.
    Together,
    /// The same, and each group is synced.
    Synced,
}

/// Whom to tell of a job.
pub(super) enum Told {
    Done(Done),
    Awaited(Awaited),
}

impl Told {
    /// Tells of this one alone.
    pub(super) fn tell(self, result: Result<(), Error>) {
        match self {
            Told::Done(done) => done(result),
            Told::Awaited(awaited) => awaited.tell(result),
        }
    }
}

/// What landed, or did not, as one, and nobody has been told of yet.
pub(super) struct Group {
    pub(super) told: Vec<Told>,
    pub(super) result: Result<(), Error>,
}

impl Group {
    /// How many copies are told of their writes together.
    pub(super) fn copies(&self) -> usize {
        let of = |told: &Told| match told {
            Told::Awaited(awaited) => Some(awaited.of),
            Told::Done(_) => None,
        };
        let mut copies: Vec<u64> = self.told.iter().filter_map(of).collect();
        copies.sort_unstable();
        copies.dedup();
        copies.len()
    }

    /// Tells all, in the order in which they were queued; together those between whom nobody is told alone.
    pub(super) fn tell(self) {
        let mut together: Vec<Awaited> = Vec::new();
        for told in self.told {
            match told {
                Told::Awaited(awaited) => together.push(awaited),
                Told::Done(done) => {
                    tell_together(std::mem::take(&mut together), &self.result);
                    done(self.result.clone());
                }
            }
        }
        tell_together(together, &self.result);
    }
}

/// They have one listener: the node whose disk it is.
fn tell_together(awaited: Vec<Awaited>, result: &Result<(), Error>) {
    let listener = awaited.first().and_then(|first| first.by.upgrade());
    let ended = awaited.into_iter().map(|Awaited { of, number, .. }| {
        let result = result.clone();
        Ended { of, number, result }
    });
    if let Some(listener) = listener {
        listener.landed(ended.collect());
    }
}
