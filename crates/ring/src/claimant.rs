//! This file answers: who may write the next epoch, and when has the cluster decided?
//!
//! Paxos (Lamport, "Paxos made simple"), one decree an epoch: the decree after ring e is decided by a majority of e's
//! electorate, and its value is ring e+1. Round 0 belongs to the claimant that e names: nobody can have promised or
//! accepted anything below it, so the claimant skips the first phase, and pays for that by proposing one value at it
//! and no other, also after a restart. Here are the parts that only count and compare; [`crate::cluster`] sends and
//! persists.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::member::{NodeName, Status};
use crate::ring::{Epoch, Ring, RingDigest, RingId};

/// Who tries to decide, and for which time. Ordered by round, then by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ballot {
    /// 0 for the claimant that the parent ring names; each attempt to take over goes above all rounds it has met.
    pub round: u64,
    /// Who proposes.
    pub proposer: NodeName,
}

/// Which ring is to be decided: the one right after `parent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decree {
    /// The chosen ring before it.
    pub parent: RingId,
    /// That ring's digest.
    pub digest: RingDigest,
}

impl Decree {
    /// The decree after `ring`.
    pub fn after(ring: &Ring) -> Decree {
        Decree {
            parent: ring.id(),
            digest: ring.digest(),
        }
    }

    /// Whether `ring` may be a value of this decree.
    pub fn admits(&self, ring: &Ring) -> bool {
        ring.cluster == self.parent.cluster
            && ring.lineage == self.parent.lineage
            && ring.epoch == Epoch(self.parent.epoch.0 + 1)
            && ring.parent == self.digest
    }
}

/// A value that an acceptor has accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// At which ballot.
    pub ballot: Ballot,
    /// The ring proposed; not to be used, served or gossiped until it is known to be chosen.
    pub ring: Arc<Ring>,
}

/// What a member has promised in one decree. It is on disk before anybody hears of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Acceptor {
    /// The decree that this is about. Promises about another one say nothing.
    pub decree: Decree,
    /// No ballot below this one is answered any more.
    pub promised: Option<Ballot>,
    /// What was accepted last.
    pub accepted: Option<Accepted>,
}

impl Acceptor {
    /// An acceptor that has promised nothing yet.
    pub fn fresh(decree: Decree) -> Acceptor {
        Acceptor {
            decree,
            promised: None,
            accepted: None,
        }
    }

    /// Promises to answer nothing below `ballot`, or says which higher one forbids it. Repeating a promise is fine.
    pub fn promise(&mut self, ballot: &Ballot) -> Result<(), Ballot> {
        match &self.promised {
            Some(promised) if promised > ballot => Err(promised.clone()),
            _ => {
                self.promised = Some(ballot.clone());
                Ok(())
            }
        }
    }

    /// Accepts `ring` at `ballot`, or says which higher ballot forbids it. Repeating it is fine.
    pub fn accept(&mut self, ballot: &Ballot, ring: Arc<Ring>) -> Result<(), Ballot> {
        self.promise(ballot)?;
        self.accepted = Some(Accepted {
            ballot: ballot.clone(),
            ring,
        });
        Ok(())
    }
}

/// The weight of `node`'s vote on the ring after `ring`, in half votes. In an even electorate the claimant weighs
/// one and a half votes, so that of two nodes the claimant can go on without the other.
fn half_votes(ring: &Ring, node: &NodeName) -> usize {
    match ring.members.get(node) {
        Some(member) if member.status.votes() => {
            let even = ring.electorate().count().is_multiple_of(2);
            if even && *node == ring.claimant { 3 } else { 2 }
        }
        _ => 0,
    }
}

/// Whether `voters` are a majority of `ring`'s electorate by weight. Any two majorities have a member in common.
pub fn is_majority(ring: &Ring, voters: &BTreeSet<NodeName>) -> bool {
    let all: usize = ring.electorate().map(|node| half_votes(ring, node)).sum();
    let for_it: usize = voters.iter().map(|node| half_votes(ring, node)).sum();
    2 * for_it > all
}

/// Whether `ring` still has the claimant that it names: a valid member. Another status ends its office.
pub fn has_claimant(ring: &Ring) -> bool {
    let claimant = ring.members.get(&ring.claimant);
    claimant.is_some_and(|member| member.status == Status::Valid)
}

/// How many members may replace a lost claimant before `node` may: its place, by name, among the valid members that
/// are not suspected, the claimant left out. `None` when it may not at all.
pub fn takeover_rank(
    ring: &Ring,
    node: &NodeName,
    suspected: &BTreeSet<NodeName>,
) -> Option<usize> {
    let heirs = ring.members.iter().filter(|(name, member)| {
        member.status == Status::Valid
            && **name != ring.claimant
            && (*name == node || !suspected.contains(*name))
    });
    heirs.into_iter().position(|(name, _)| name == node)
}

/// Who should be the claimant of `draft`: the one that it names while that is a valid member, else the first valid
/// member by name that is not suspected, else the first valid one. `None` when no member is valid.
pub fn successor(draft: &Ring, suspected: &BTreeSet<NodeName>) -> Option<NodeName> {
    if has_claimant(draft) {
        return Some(draft.claimant.clone());
    }
    let valid = |name: &&NodeName| draft.members[*name].status == Status::Valid;
    let names = draft.members.keys();
    let reachable = names
        .clone()
        .filter(valid)
        .find(|name| !suspected.contains(*name));
    reachable.or_else(|| names.clone().find(valid)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::{Addresses, Incarnation, Member};
    use crate::ring::ClusterId;
    use crate::slot::PartitionCount;

    fn ring(voters: &[&str], claimant: &str) -> Ring {
        let member = Member {
            incarnation: Incarnation(1),
            status: Status::Valid,
            addresses: Addresses::default(),
            zone: None,
            weight: 1.0,
        };
        let q = PartitionCount::new(8).unwrap();
        let mut ring = Ring::found(ClusterId(1), "test", q, 3, claimant.into(), member.clone());
        for voter in voters {
            ring.members.insert(NodeName::from(*voter), member.clone());
        }
        ring
    }

    fn set(names: &[&str]) -> BTreeSet<NodeName> {
        names.iter().map(|n| NodeName::from(*n)).collect()
    }

    /// Lost without it: two halves of a cluster could each decide, or two nodes could never outlive one of them.
    #[test]
    fn any_two_majorities_meet() {
        let names = ["a", "b", "c", "d", "e", "f"];
        for size in 1..=names.len() {
            for claimant in &names[..size] {
                let ring = ring(&names[..size], claimant);
                let subsets: Vec<BTreeSet<NodeName>> = (0..1u32 << size)
                    .map(|bits| {
                        let chosen = (0..size).filter(|i| bits & (1 << i) != 0);
                        chosen.map(|i| NodeName::from(names[i])).collect()
                    })
                    .collect();
                let majorities: Vec<_> = subsets
                    .iter()
                    .filter(|voters| is_majority(&ring, voters))
                    .collect();
                for one in &majorities {
                    assert!(majorities.iter().all(|other| !one.is_disjoint(other)));
                }
                assert!(majorities.contains(&&set(&names[..size])));
            }
        }
        let mut two = ring(&["a", "b"], "b");
        assert!(is_majority(&two, &set(&["b"])) && !is_majority(&two, &set(&["a"])));
        // A claimant that is marked down has no voice, and two halves of the rest are no majority.
        two.members
            .insert("c".into(), two.members[&NodeName::from("a")].clone());
        two.members.get_mut(&NodeName::from("b")).unwrap().status = Status::Down;
        assert!(!is_majority(&two, &set(&["a", "b"])) && !is_majority(&two, &set(&["c"])));
        assert!(is_majority(&two, &set(&["a", "c"])));
    }

    /// Lost without it: an acceptor that answers an old ballot lets two rings be chosen for one epoch.
    #[test]
    fn promises_only_rise() {
        let parent = ring(&["a", "b", "c"], "a");
        let ballot = |round, proposer: &str| Ballot {
            round,
            proposer: proposer.into(),
        };
        let mut acceptor = Acceptor::fresh(Decree::after(&parent));
        let value = Arc::new(parent.clone());
        assert_eq!(acceptor.accept(&ballot(0, "a"), value.clone()), Ok(()));
        assert_eq!(acceptor.promise(&ballot(1, "b")), Ok(()));
        assert_eq!(acceptor.promise(&ballot(1, "b")), Ok(()));
        assert_eq!(
            acceptor.accept(&ballot(0, "a"), value.clone()),
            Err(ballot(1, "b"))
        );
        assert_eq!(acceptor.promise(&ballot(1, "a")), Err(ballot(1, "b")));
        assert_eq!(acceptor.accept(&ballot(1, "c"), value), Ok(()));
        assert_eq!(acceptor.promised, Some(ballot(1, "c")));
    }

    /// Lost without it: two survivors would take over at the same moment, or none.
    #[test]
    fn heirs_queue_by_name() {
        let ring = ring(&["a", "b", "c", "d"], "a");
        let rank =
            |node: &str, suspected: &[&str]| takeover_rank(&ring, &node.into(), &set(suspected));
        assert_eq!(
            [rank("b", &["a"]), rank("c", &["a"]), rank("d", &["a"])],
            [Some(0), Some(1), Some(2)]
        );
        assert_eq!(
            [rank("c", &["a", "b"]), rank("d", &["a", "b"])],
            [Some(0), Some(1)]
        );
        assert_eq!([rank("a", &[]), rank("x", &[])], [None, None]);
        let mut leaving = ring.clone();
        leaving
            .members
            .get_mut(&NodeName::from("a"))
            .unwrap()
            .status = Status::Leaving;
        assert_eq!(successor(&leaving, &set(&["b"])), Some("c".into()));
        assert_eq!(successor(&ring, &set(&["a"])), Some("a".into()));
    }
}
