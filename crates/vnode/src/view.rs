//! This file answers: who owns what and who is up, as this node routes by it now?
//!
//! A snapshot, replaced as a whole when a ring is adopted or a suspicion changes; requests read it without a lock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use rkv_ring::preflist::{self, Preflist};
use rkv_ring::walk::Walk;
use rkv_ring::{Floors, NodeName, Partition, Ring, RingId, Status};

/// One node's view of the cluster.
pub struct View {
    me: NodeName,
    by_ring: Arc<ByRing>,
    /// Other members that nobody suspects.
    up: BTreeSet<NodeName>,
    /// The latest ring that each member is known to route by.
    seen: BTreeMap<NodeName, RingId>,
    /// The preference list of each partition, made when first asked for.
    preflists: Box<[OnceLock<Arc<Preflist>>]>,
}

/// What follows from the ring alone, and is asked for with each request.
struct ByRing {
    ring: Arc<Ring>,
    id: RingId,
    walk: Arc<Walk>,
    floors: Floors,
    /// Whether this node is a member that may own and coordinate.
    serves: bool,
    /// By partition, whether this node stands in its row.
    owns: Box<[bool]>,
    /// Whether the first two places of some row are this node, or its only one.
    holds_rows: bool,
}

impl ByRing {
    fn new(me: &NodeName, ring: Arc<Ring>, walk: Arc<Walk>, floors: Floors) -> ByRing {
        let member = ring.members.get(me);
        let is_mine = |row: &Vec<NodeName>| row.iter().take(2).all(|node| node == me);
        ByRing {
            holds_rows: ring.rows.iter().any(is_mine),
            id: ring.id(),
            serves: member.is_some_and(|m| matches!(m.status, Status::Valid | Status::Leaving)),
            owns: ring
                .partitions
                .partitions()
                .map(|partition| ring.owns(me, partition))
                .collect(),
            ring,
            walk,
            floors,
        }
    }
}

impl View {
    /// The view of `me` when nobody else is known to be up.
    pub fn new(me: NodeName, ring: Arc<Ring>) -> View {
        let walk = Arc::new(Walk::of(&ring));
        let floors = ring.keyspaces.floors();
        let by_ring = ByRing::new(&me, ring, walk, floors);
        View::assemble(me, by_ring.into(), BTreeSet::new(), BTreeMap::new())
    }

    fn assemble(
        me: NodeName,
        by_ring: Arc<ByRing>,
        up: BTreeSet<NodeName>,
        seen: BTreeMap<NodeName, RingId>,
    ) -> View {
        let partitions = by_ring.ring.partitions.partitions();
        View {
            me,
            preflists: partitions.map(|_| OnceLock::new()).collect(),
            by_ring,
            up,
            seen,
        }
    }

    /// The same by a later ring.
    pub fn with_ring(&self, ring: Arc<Ring>) -> View {
        let before = &*self.by_ring;
        let walk = if ring.members.keys().eq(before.ring.members.keys()) {
            before.walk.clone()
        } else {
            Arc::new(Walk::of(&ring))
        };
        let mut floors = ring.keyspaces.floors();
        if floors == before.floors {
            floors = before.floors.clone();
        }
        let me = self.me.clone();
        let by_ring = ByRing::new(&me, ring, walk, floors);
        View::assemble(me, by_ring.into(), self.up.clone(), self.seen.clone())
    }

    /// The same after `node` came up or is suspected.
    pub fn with_node(&self, node: &NodeName, up: bool) -> View {
        let mut nodes = self.up.clone();
        if up {
            nodes.insert(node.clone());
        } else {
            nodes.remove(node);
        }
        self.as_before(nodes, self.seen.clone())
    }

    /// The same after `node` was heard to route by `ring`.
    pub fn with_seen(&self, node: &NodeName, id: RingId) -> View {
        let mut seen = self.seen.clone();
        seen.insert(node.clone(), id);
        self.as_before(self.up.clone(), seen)
    }

    /// The same ring, others up or seen.
    fn as_before(&self, up: BTreeSet<NodeName>, seen: BTreeMap<NodeName, RingId>) -> View {
        View::assemble(self.me.clone(), self.by_ring.clone(), up, seen)
    }

    /// This node.
    pub fn me(&self) -> &NodeName {
        &self.me
    }

    /// The ring that it routes by.
    pub fn ring(&self) -> &Arc<Ring> {
        &self.by_ring.ring
    }

    /// The keyspaces' floors.
    pub fn floors(&self) -> &Floors {
        &self.by_ring.floors
    }

    /// What fences its requests.
    pub fn id(&self) -> RingId {
        self.by_ring.id
    }

    /// Whether some rows' first `n` places may be this node alone.
    pub fn may_be_alone(&self, n: u8) -> bool {
        n == 1 || self.by_ring.holds_rows
    }

    /// Whether this node is a member that may own and coordinate.
    pub fn serves(&self) -> bool {
        self.by_ring.serves
    }

    /// Whether `node` is this one or nobody suspects it.
    pub fn is_up(&self, node: &NodeName) -> bool {
        *node == self.me || self.up.contains(node)
    }

    /// The latest ring that `node` is known to route by.
    pub fn seen(&self, node: &NodeName) -> Option<RingId> {
        if *node == self.me {
            Some(self.by_ring.id)
        } else {
            self.seen.get(node).copied()
        }
    }

    /// Other members that nobody suspects.
    pub fn peers_up(&self) -> impl Iterator<Item = &NodeName> {
        self.peers().filter(|node| self.up.contains(*node))
    }

    /// Other members, joining ones excepted.
    pub fn peers(&self) -> impl Iterator<Item = &NodeName> {
        let members = self.by_ring.ring.members.iter();
        members
            .filter(|(name, m)| m.status != Status::Joining && **name != self.me)
            .map(|(name, _)| name)
    }

    /// Whether every reachable member routes by this ring or a later one.
    pub fn all_reachable_agree(&self) -> bool {
        self.peers_up().all(|node| {
            self.seen(node)
                .is_some_and(|seen| seen == self.by_ring.id || seen.supersedes(&self.by_ring.id))
        })
    }

    /// Whether this node stands in the row of `partition`.
    pub fn owns(&self, partition: Partition) -> bool {
        self.by_ring.owns[partition.index()]
    }

    /// The owners of `partition`, each once, in the row's order.
    pub fn owners(&self, partition: Partition) -> Vec<NodeName> {
        let mut owners: Vec<NodeName> = Vec::with_capacity(usize::from(self.by_ring.ring.replicas));
        for node in self.by_ring.ring.row(partition) {
            if !owners.contains(node) {
                owners.push(node.clone());
            }
        }
        owners
    }

    /// Its owners other than this node.
    pub fn other_owners(&self, partition: Partition) -> Vec<NodeName> {
        let mut owners = self.owners(partition);
        owners.retain(|node| *node != self.me);
        owners
    }

    /// Who answers for `partition` now.
    pub fn preflist(&self, partition: Partition) -> &Arc<Preflist> {
        self.preflists[partition.index()].get_or_init(|| {
            Arc::new(preflist::preflist(
                &self.by_ring.ring,
                &self.by_ring.walk,
                partition,
                |node| self.is_up(node),
            ))
        })
    }
}
