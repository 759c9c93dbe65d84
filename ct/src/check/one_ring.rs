//! Promise 1: one chosen ring per (lineage, epoch), its parent the one before; nobody goes back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rkv_ring::claimant::{Ballot, is_majority};
use rkv_ring::cluster::Stored;
use rkv_ring::{ClusterId, NodeName, Ring, RingDigest, RingId};

/// Every ring that was ever chosen: saved by a majority at one ballot, whoever knows of it, or adopted.
#[derive(Default)]
pub struct OneRing {
    votes: BTreeMap<(RingDigest, Ballot, RingDigest), BTreeSet<NodeName>>,
    chosen: BTreeMap<(ClusterId, u64, u64), (RingDigest, RingDigest)>,
    routes_by: BTreeMap<NodeName, RingId>,
}

impl OneRing {
    /// A node adopted a ring.
    pub fn adopted(&mut self, node: &NodeName, ring: &Arc<Ring>) -> Result<(), String> {
        let id = ring.id();
        if let Some(before) = self.routes_by.insert(node.clone(), id)
            && before.cluster == id.cluster
            && !id.supersedes(&before)
            && id != before
        {
            return Err(format!("{node} went from {before:?} back to {id:?}"));
        }
        self.chosen(ring)
    }

    /// An older state of its disk was put back: what it routed by since is forgotten.
    pub fn put_back(&mut self, node: &NodeName) {
        self.routes_by.remove(node);
    }

    /// A node has a proposal on disk: its vote.
    pub fn saved(&mut self, node: &NodeName, stored: &Stored) -> Result<(), String> {
        let Some(accepted) = &stored.acceptor.accepted else {
            return Ok(());
        };
        let parent = stored.acceptor.decree.digest;
        if stored.ring.digest() != parent {
            return Ok(());
        }
        let key = (parent, accepted.ballot.clone(), accepted.ring.digest());
        let votes = self.votes.entry(key).or_default();
        votes.insert(node.clone());
        if is_majority(&stored.ring, votes) {
            return self.chosen(&accepted.ring);
        }
        Ok(())
    }

    fn chosen(&mut self, ring: &Ring) -> Result<(), String> {
        let id = ring.id();
        let digest = ring.digest();
        let key = (id.cluster, id.lineage, id.epoch.0);
        let entry = (digest, ring.parent);
        if *self.chosen.entry(key).or_insert(entry) != entry {
            return Err(format!("two rings were chosen as epoch {}", id.epoch));
        }
        let parent = (id.cluster, id.lineage, id.epoch.0 - 1);
        match self.chosen.get(&parent) {
            Some((parent, _)) if *parent != ring.parent => Err(format!(
                "the parent of epoch {} is not the one before",
                id.epoch
            )),
            _ => Ok(()),
        }
    }
}
