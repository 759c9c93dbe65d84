//! This file answers: which change of the members is next?

use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};

use super::told::Told;

/// Members beyond those of the beginning.
const GUESTS: usize = 2;

/// What becomes of the members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A new node joins.
    Join,
    /// A member hands off what it has and ends.
    Leave,
    /// A new node takes a member's place.
    Replace,
    /// The same without what that member has.
    ForceReplace,
    /// A member goes without handing off.
    Remove,
    /// A member comes back with an empty folder.
    RejoinEmpty,
    /// A member is marked down, and comes back.
    DownAndBack,
    /// Transfers stand still for a while.
    HoldTransfers,
}

impl Change {
    /// All of them.
    pub const ALL: [Change; 8] = [
        Change::Join,
        Change::Leave,
        Change::Replace,
        Change::ForceReplace,
        Change::Remove,
        Change::RejoinEmpty,
        Change::DownAndBack,
        Change::HoldTransfers,
    ];

    /// As what it is counted.
    pub fn name(self) -> String {
        format!("member: {self:?}")
    }

    /// One that keeps about as many members as there were at the beginning; often one that was done seldom so far.
    pub fn drawn(dice: &mut impl Rng, members: usize, usual: usize, told: &Told) -> Change {
        let any = &Change::ALL[3..];
        let least = any.iter().min_by_key(|it| told.how_often(&it.name()));
        let few = [Change::Join, Change::Join, Change::Replace];
        let many = [Change::Leave, Change::Leave, Change::Replace];
        let drawn = match dice.random_range(0..8) {
            0..2 => any.choose(dice),
            2..4 => least,
            _ if members <= usual => few.choose(dice),
            _ if members >= usual + GUESTS => many.choose(dice),
            4..6 => few.choose(dice),
            _ => many.choose(dice),
        };
        *drawn.unwrap_or(&Change::Join)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Lost without it: a run of ten minutes in which something never occurs, and nobody knows.
    #[test]
    fn no_change_is_left_out() {
        for seed in 0..100 {
            let (told, mut dice) = (Told::new(false), ChaCha8Rng::seed_from_u64(seed));
            let mut members = 5;
            for _ in 0..60 {
                let change = Change::drawn(&mut dice, members, 5, &told);
                members = match change {
                    Change::Join => members + 1,
                    // Of too few nobody is lost.
                    Change::Remove if members < 5 => continue,
                    Change::Leave | Change::Remove => members - 1,
                    _ => members,
                };
                assert!((4..=7).contains(&members), "{members} members");
                told.count(&change.name());
            }
            let never: Vec<_> = Change::ALL.map(|it| it.name()).to_vec();
            let never: Vec<_> = never.iter().filter(|it| told.how_often(it) == 0).collect();
            assert!(never.is_empty(), "seed {seed}: never {never:?}");
        }
    }
}
