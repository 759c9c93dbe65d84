//! This file answers: who owns what?
//!
//! The ring is an immutable document, numbered by epoch within a lineage. It is a table partition x replica -> node:
//! claim makes the nodes of a row distinct whenever there are enough. Where a node stands in several places of a
//! row it keeps one copy and answers for each place.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::change::{Change, Removed};
use crate::handoff::Handoff;
use crate::keyspace::{DEFAULT_KEYSPACE, Keyspaces};
use crate::member::{Incarnation, Member, NodeName, Status};
use crate::slot::{Partition, PartitionCount, Slot};

/// A cluster's identity, drawn at random when it is founded.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId(pub u128);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The number of a ring within its lineage; the founding ring is epoch 1.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What fences a request: (cluster, lineage, epoch). Rings of one cluster are ordered by (lineage, epoch); rings of
/// two clusters are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RingId {
    /// Which cluster.
    pub cluster: ClusterId,
    /// 0 from birth; each `recover` starts one that outranks all epochs of its ancestor: [`lineage_after`].
    pub lineage: u64,
    /// Which ring of that lineage.
    pub epoch: Epoch,
}

impl RingId {
    /// Whether this ring is of the same cluster and later.
    pub fn supersedes(&self, other: &RingId) -> bool {
        self.cluster == other.cluster && (self.lineage, self.epoch) > (other.lineage, other.epoch)
    }
}

/// How many bits of a lineage tell apart those that began from the same one.
const SIBLING_BITS: u32 = 32;

/// The lineage that a recovery from `ring` begins, on the node that lives as `incarnation`, at that time: one generation
/// later, and another for each who might recover.
pub fn lineage_after(ring: &Ring, incarnation: Incarnation, wall_ms: u64) -> u64 {
    let generation = (ring.lineage >> SIBLING_BITS) + 1;
    let mut of = incarnation.0.to_le_bytes().to_vec();
    of.extend(wall_ms.to_le_bytes());
    let sibling = xxhash_rust::xxh3::xxh3_64(&of) >> SIBLING_BITS;
    generation << SIBLING_BITS | sibling
}

/// Whether `lineage` is of a later generation than `other`, so that its rings replace all of those.
pub fn outranks(lineage: u64, other: u64) -> bool {
    lineage >> SIBLING_BITS > other >> SIBLING_BITS
}

/// BLAKE3 of a ring's encoding, the first 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RingDigest(pub [u8; 16]);

impl fmt::Display for RingDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for RingDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The N owners of a partition, first replica first. A node may stand in several places when there are fewer than
/// N nodes, or while moves that will end this are under way.
pub type Row = Vec<NodeName>;

/// One copy on its way: the place `place` of the row goes from `from` to `to` when `to` is ready.
///
/// At most one is under way per partition. A report of readiness counts only for the attempt that it names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// The place in the row that changes hands.
    pub place: u8,
    /// Who answers for the place until then; it may go on holding other places of the row.
    pub from: NodeName,
    /// Who will; it holds no place of the row yet.
    pub to: NodeName,
    /// The epoch in which this session began: higher than that of any session before it in this partition, be it that
    /// it was given up after it may have been ready, or that its move was dropped and came back.
    pub attempt: u32,
    /// The epoch since which this move has been listed, whatever became of its sessions; 0: not known. What they left at
    /// the target is part of the same move.
    #[serde(default)]
    pub since: u32,
}

/// The ring document. Equal encodings have equal digests: every collection in it is ordered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ring {
    /// Which cluster.
    pub cluster: ClusterId,
    /// `cluster.name` at birth; a node configured with another is refused.
    pub cluster_name: String,
    /// See [`RingId::lineage`].
    pub lineage: u64,
    /// Its number.
    pub epoch: Epoch,
    /// Digest of the ring before it; all zero for the founding ring.
    pub parent: RingDigest,
    /// Q, fixed at birth.
    pub partitions: PartitionCount,
    /// N, fixed at birth.
    pub replicas: u8,
    /// Who may write the next epoch without asking first.
    pub claimant: NodeName,
    /// Everyone, by name.
    pub members: BTreeMap<NodeName, Member>,
    /// Who owns each partition now: Q rows of N.
    pub rows: Vec<Row>,
    /// Where partitions are going that are not there yet: the target row of each.
    #[serde(default)]
    pub next: BTreeMap<Partition, Row>,
    /// The move under way in each partition that has one to make.
    #[serde(default)]
    pub moves: BTreeMap<Partition, Move>,
    /// Staged changes, by node.
    #[serde(default)]
    pub staged: Vec<Change>,
    /// The attempt of the last move that was completed in each partition that had one: by it a target knows whether it
    /// got its place by its move or by force.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub completed: BTreeMap<Partition, u32>,
    /// Lives that lost their membership by force, the latest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<Removed>,
    /// The keyspaces, each with its floor.
    #[serde(default, skip_serializing_if = "Keyspaces::is_default")]
    pub keyspaces: Keyspaces,
    /// What operators said about transfers.
    #[serde(default, skip_serializing_if = "Handoff::is_default")]
    pub handoff: Handoff,
}

impl Ring {
    /// The ring with which `node` founds a cluster of its own: it holds every place.
    pub fn found(
        cluster: ClusterId,
        cluster_name: &str,
        partitions: PartitionCount,
        replicas: u8,
        node: NodeName,
        member: Member,
    ) -> Ring {
        assert!(replicas > 0, "a ring has at least one replica");
        assert_eq!(member.status, Status::Valid, "a founder is a full member");
        Ring {
            cluster,
            cluster_name: cluster_name.to_owned(),
            lineage: 0,
            epoch: Epoch(1),
            parent: RingDigest::default(),
            partitions,
            replicas,
            claimant: node.clone(),
            rows: vec![vec![node.clone(); usize::from(replicas)]; usize::from(partitions.get())],
            members: BTreeMap::from([(node, member)]),
            next: BTreeMap::new(),
            moves: BTreeMap::new(),
            staged: Vec::new(),
            completed: BTreeMap::new(),
            removed: Vec::new(),
            keyspaces: Keyspaces::default(),
            handoff: Handoff::default(),
        }
    }

    /// What fences requests that were routed by this ring.
    pub fn id(&self) -> RingId {
        RingId {
            cluster: self.cluster,
            lineage: self.lineage,
            epoch: self.epoch,
        }
    }

    /// The ring as it is stored and sent: MessagePack with named maps.
    pub fn encode(&self) -> Vec<u8> {
        rmp_serde::to_vec_named(self).expect("a ring holds nothing that MessagePack cannot")
    }

    /// Reads what [`Ring::encode`] wrote; untrusted bytes give an error.
    pub fn decode(bytes: &[u8]) -> Result<Ring, RingError> {
        let ring: Ring =
            rmp_serde::from_slice(bytes).map_err(|e| RingError::Unreadable(e.to_string()))?;
        ring.check()?;
        Ok(ring)
    }

    /// Digest of the encoding.
    pub fn digest(&self) -> RingDigest {
        let hash = blake3::hash(&self.encode());
        RingDigest(hash.as_bytes()[..16].try_into().expect("32 bytes hold 16"))
    }

    /// What every ring must satisfy, whoever sent it.
    fn check(&self) -> Result<(), RingError> {
        let known = |node: &NodeName| self.members.contains_key(node);
        let n = usize::from(self.replicas);
        let q = self.partitions.get();
        if n == 0 || self.rows.len() != usize::from(q) || !known(&self.claimant) {
            return Err(RingError::Inconsistent("its table has the wrong shape"));
        }
        let rows = self.rows.iter().chain(self.next.values());
        if !rows
            .into_iter()
            .all(|row| row.len() == n && row.iter().all(known))
        {
            return Err(RingError::Inconsistent(
                "a row has the wrong length or names a stranger",
            ));
        }
        if !self.keyspaces.0.contains_key(&DEFAULT_KEYSPACE) {
            return Err(RingError::Inconsistent("it has no default keyspace"));
        }
        if !self.handoff.is_sound() {
            return Err(RingError::Inconsistent("its limit of transfers is none"));
        }
        let next_ok = self.next.keys().all(|p| p.0 < q) && self.completed.keys().all(|p| p.0 < q);
        let moves_ok = self.moves.iter().all(|(p, m)| {
            p.0 < q
                && self.next.get(p).is_some_and(|row| row.contains(&m.to))
                && self.rows[p.index()].get(usize::from(m.place)) == Some(&m.from)
                && m.from != m.to
        });
        if !next_ok || !moves_ok {
            return Err(RingError::Inconsistent("a move does not fit its row"));
        }
        Ok(())
    }

    /// The partition of `slot`.
    pub fn partition_of(&self, slot: Slot) -> Partition {
        self.partitions.partition_of(slot)
    }

    /// The owners of `partition`, first replica first.
    pub fn row(&self, partition: Partition) -> &Row {
        &self.rows[partition.index()]
    }

    /// Whether `node` answers for a place of `partition`.
    pub fn owns(&self, node: &NodeName, partition: Partition) -> bool {
        self.row(partition).contains(node)
    }

    /// Members with a voice in choosing the next epoch, by name.
    pub fn electorate(&self) -> impl Iterator<Item = &NodeName> {
        self.members
            .iter()
            .filter(|(_, m)| m.status.votes())
            .map(|(name, _)| name)
    }

    /// Copies that `node` holds: partitions in whose row it stands.
    pub fn copies(&self, node: &NodeName) -> usize {
        self.rows.iter().filter(|row| row.contains(node)).count()
    }

    /// Partitions whose first replica is `node`.
    pub fn first_replicas(&self, node: &NodeName) -> usize {
        self.rows
            .iter()
            .filter(|row| row.first() == Some(node))
            .count()
    }
}

/// Why bytes are no ring.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// They do not decode.
    #[error("the ring cannot be read: {0}")]
    Unreadable(String),
    /// They decode to something that is no ring.
    #[error("the ring is inconsistent: {0}")]
    Inconsistent(&'static str),
}
