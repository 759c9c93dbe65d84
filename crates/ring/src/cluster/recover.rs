//! This file answers: what is left to do when a majority is gone for good?
//!
//! One survivor, told so by an operator, writes a ring without the lost members all by itself. It begins a new lineage,
//! which outranks all epochs of its ancestor; nobody votes in the old one any more who has heard of it. Survivors that
//! it lists take it over, and so do those that it dropped, if they turn out to live: they hand off what they hold and
//! end. Two such rings, written on two sides of a cut, do not outrank each other, and their members do not mix.

use std::collections::BTreeSet;

use super::message::{AdminReply, Body};
use super::{Cluster, Effect, Target};
use crate::claimant;
use crate::member::NodeName;
use crate::plan;
use crate::refusal::Refusal;
use crate::ring::{Epoch, Ring, lineage_after};

impl Cluster {
    /// An operator wants this node to go on without `lost`; unless the loss is `accepted`, it is only told.
    pub(super) fn recover(
        &mut self,
        now: u64,
        id: u64,
        (lost, accepted, wall_ms): (&[NodeName], bool, u64),
        effects: &mut Vec<Effect>,
    ) {
        let result = match self.recovered(lost, wall_ms) {
            Err(refusal) => Err(refusal),
            Ok((_, losses)) if !accepted => Err(Refusal::DataLoss { losses }),
            Ok((ring, _)) => {
                let digest = ring.digest();
                let before = self.stored.ring.clone();
                self.adopt(now, ring.into(), digest, effects);
                self.tell_of_recovery(&before, effects);
                let ring = self.stored.ring.id();
                Ok(AdminReply::Done { ring })
            }
        };
        effects.push(Effect::Answer { id, result });
    }

    /// The ring without `lost`, and what is lost with them.
    fn recovered(&self, lost: &[NodeName], wall_ms: u64) -> Result<(Ring, Vec<String>), Refusal> {
        let ring = &self.stored.ring;
        for node in lost {
            if !ring.members.contains_key(node) {
                return Err(Refusal::NotMember { node: node.clone() });
            }
            if !self.is_lost(ring, node) {
                return Err(Refusal::NodeIsUp { node: node.clone() });
            }
        }
        let there = |node: &&NodeName| !self.is_suspected(node);
        let voters: BTreeSet<NodeName> = ring.electorate().filter(there).cloned().collect();
        if claimant::is_majority(ring, &voters) {
            return Err(Refusal::MajorityIsThere);
        }
        let (mut draft, losses) = plan::without(ring, lost, wall_ms)?;
        draft.lineage = lineage_after(ring, self.me.incarnation, wall_ms);
        draft.epoch = Epoch(ring.epoch.0 + 1);
        draft.parent = self.digest;
        draft.claimant = self.me.name.clone();
        let left: BTreeSet<NodeName> = draft.electorate().filter(there).cloned().collect();
        if !claimant::is_majority(&draft, &left) {
            let missing = draft.electorate().find(|node| !left.contains(*node));
            let node = missing.unwrap_or(&self.me.name).clone();
            return Err(Refusal::NotReachable { node });
        }
        match Ring::decode(&draft.encode()) {
            Ok(_) => Ok((draft, losses)),
            Err(_) => Err(Refusal::NoMajority),
        }
    }

    fn tell_of_recovery(&self, before: &Ring, effects: &mut Vec<Effect>) {
        let (ring, digest) = (self.stored.ring.id(), self.digest);
        let others = before.members.keys().filter(|node| **node != self.me.name);
        for node in others {
            let to = Target::Node(node.clone());
            self.send(to, Body::Chosen { ring, digest }, effects);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::Incarnation;
    use crate::ring::{ClusterId, outranks};
    use crate::slot::PartitionCount;

    /// Lost without it: two halves of a cluster that each went on alone would take each other's rings for later ones.
    #[test]
    fn lineages_of_two_recoveries_do_not_outrank_each_other() {
        let identity = super::super::Identity {
            name: "a".into(),
            incarnation: Incarnation(1),
            boot: 1,
            addresses: crate::member::Addresses::default(),
            zone: None,
            weight: 1.0,
        };
        let q = PartitionCount::new(8).unwrap();
        let stored = super::super::Stored::found(&identity, ClusterId(7), "test", q, 3);
        let mut ring = Ring::clone(&stored.ring);
        let (a, b) = (
            lineage_after(&ring, Incarnation(1), 5),
            lineage_after(&ring, Incarnation(2), 5),
        );
        assert!(a != b && outranks(a, 0) && outranks(b, 0));
        assert!(!outranks(a, b) && !outranks(b, a) && !outranks(0, a) && !outranks(a, a));
        ring.lineage = a;
        let later = lineage_after(&ring, Incarnation(1), 5);
        assert!(outranks(later, a) && outranks(later, b) && outranks(later, 0));
    }
}
