//! This file answers: do these answers make a quorum?
//!
//! An owner's answer counts once for each place that it holds among the first n of the row: on a cluster of fewer than n
//! nodes one node stands in several. A fallback's counts once. A put also asks for distinct nodes, as many as there
//! could be when it began, so that three places on one disk are not taken for three copies while other owners are up.

use std::fmt;

use serde::{Deserialize, Serialize};

/// In which capacity a node answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// It stands in the row.
    #[serde(rename = "primary")]
    Owner,
    /// It stands in for an owner that does not answer.
    #[serde(rename = "fallback")]
    Fallback,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Role::Owner => "primary",
            Role::Fallback => "fallback",
        })
    }
}

/// Answers counted so far, or asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Places answered for.
    pub places: usize,
    /// How many of them by owners.
    pub owners: usize,
    /// Distinct nodes that answered.
    pub nodes: usize,
}

impl Tally {
    /// Counts the answer of one more node, which holds `places` places of the row if it is an owner.
    pub fn count(&mut self, role: Role, places: usize) {
        self.nodes += 1;
        match role {
            Role::Owner => {
                self.places += places;
                self.owners += places;
            }
            Role::Fallback => self.places += 1,
        }
    }

    /// Whether these are at least as many as `needed`, by every measure.
    pub fn meets(&self, needed: &Tally) -> bool {
        self.places >= needed.places && self.owners >= needed.owners && self.nodes >= needed.nodes
    }

    /// How many there are of how many needed, in a measure that falls short; in places when none does.
    pub fn of(&self, needed: &Tally) -> (usize, usize) {
        let measures = [
            (self.places, needed.places),
            (self.owners, needed.owners),
            (self.nodes, needed.nodes),
        ];
        let short = measures.into_iter().find(|(is, needed)| is < needed);
        short.unwrap_or(measures[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost without it: n=3 w=3 fails on a single node, or one node's three places pass for three nodes.
    #[test]
    fn owners_count_by_place_and_fallbacks_once() {
        let needed = |places, owners, nodes| Tally {
            places,
            owners,
            nodes,
        };
        let mut tally = Tally::default();
        tally.count(Role::Owner, 2);
        assert_eq!(tally, needed(2, 2, 1));
        assert!(tally.meets(&needed(2, 2, 1)) && !tally.meets(&needed(2, 0, 2)));
        assert_eq!(tally.of(&needed(2, 0, 2)), (1, 2), "nodes are lacking");
        tally.count(Role::Fallback, 2);
        assert_eq!(tally, needed(3, 2, 2));
        assert!(tally.meets(&needed(3, 2, 2)) && !tally.meets(&needed(3, 3, 2)));
    }
}
