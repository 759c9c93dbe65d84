//! This file answers: which nodes is a request sent to, and in which order?
//!
//! Pure. The first live replica of the key's partition first, since it answers without asking anybody for the way; then
//! the other replicas, then everybody else, and those that cannot be reached last.

use rkv_ring::{ClusterId, NodeName, Slot};
use rkv_wire::request::RoutingTable;
use rkv_wire::transport::Peer;
use smallvec::SmallVec;

use crate::error::Error;

/// Most nodes that one try of a request goes through.
pub(crate) const MAX_CANDIDATES: usize = 8;

/// Places of nodes in the table.
type Places = SmallVec<[usize; MAX_CANDIDATES]>;

/// The ring as some node told it, checked.
#[derive(Debug)]
pub(crate) struct Routing {
    table: RoutingTable,
    peers: Vec<Peer>,
}

impl Routing {
    /// A table that holds together.
    pub(crate) fn new(table: RoutingTable) -> Result<Routing, Error> {
        let places = table.nodes.len();
        let fits = |row: &Vec<u16>| row.iter().all(|place| usize::from(*place) < places);
        if table.rows.len() != usize::from(table.partitions.get()) || !table.rows.iter().all(fits) {
            let text = "a ring whose rows do not fit its partitions or members";
            return Err(Error::Protocol(text.to_owned()));
        }
        let peers = table.nodes.iter().map(|node| Peer {
            name: node.name.clone(),
            address: node.address.clone(),
        });
        Ok(Routing {
            peers: peers.collect(),
            table,
        })
    }

    /// By which ring.
    pub(crate) fn table(&self) -> &RoutingTable {
        &self.table
    }

    /// The cluster that is meant: that of several nodes, which none of them leaves for another without its data. A single
    /// node may become a member of another one, and its data with it.
    pub(crate) fn cluster(&self) -> Option<ClusterId> {
        (self.peers.len() > 1).then_some(self.table.ring.cluster)
    }

    /// Whether a node that routes by `ring` knows something that this does not.
    pub(crate) fn is_behind(&self, ring: &rkv_ring::RingId) -> bool {
        let mine = &self.table.ring;
        ring.cluster != mine.cluster || ring.supersedes(mine)
    }

    /// All members.
    pub(crate) fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// Whom to ask about `key`, best first, at most [`MAX_CANDIDATES`]. The `turn`-th try of a request begins with
    /// another node than the one before.
    pub(crate) fn candidates(
        &self,
        key: &[u8],
        turn: usize,
        is_lost: impl Fn(&NodeName) -> bool,
    ) -> SmallVec<[&Peer; MAX_CANDIDATES]> {
        let slot = Slot::of(key);
        let partition = self.table.partitions.partition_of(slot);
        let row = self.table.rows[partition.index()].iter();
        let nodes = self.peers.len().max(1);
        // Whoever is in no row of this key is as good as any other: begin somewhere else for each slot.
        let others = (0..self.peers.len()).map(|place| (place + usize::from(slot.0)) % nodes);
        let is_up =
            |place: usize| self.table.nodes[place].up && !is_lost(&self.table.nodes[place].name);
        let (mut up, mut down) = (Places::new(), Places::new());
        for place in row.map(|place| usize::from(*place)).chain(others) {
            if up.len() == MAX_CANDIDATES {
                break;
            }
            if !up.contains(&place) && !down.contains(&place) {
                match is_up(place) {
                    true => up.push(place),
                    false => down.push(place),
                }
            }
        }
        if !up.is_empty() {
            let turns = turn % up.len();
            up.rotate_left(turns);
        }
        let order = up.into_iter().chain(down).take(MAX_CANDIDATES);
        order.map(|place| &self.peers[place]).collect()
    }
}

#[cfg(test)]
mod tests {
    use rkv_ring::{Epoch, PartitionCount, RingId};
    use rkv_wire::request::TableNode;

    use super::*;

    fn table(up: [bool; 4]) -> RoutingTable {
        let node = |(number, up): (usize, &bool)| TableNode {
            name: format!("node{number}").into(),
            address: format!("host{number}:1"),
            up: *up,
        };
        RoutingTable {
            ring: RingId {
                cluster: ClusterId(1),
                lineage: 0,
                epoch: Epoch(3),
            },
            partitions: PartitionCount::new(8).unwrap(),
            replicas: 3,
            nodes: up.iter().enumerate().map(node).collect(),
            rows: vec![vec![2, 0, 1]; 8],
        }
    }

    fn order(up: [bool; 4], turn: usize, lost: &str) -> String {
        let routing = Routing::new(table(up)).unwrap();
        let all = routing.candidates(b"k", turn, |name| name.as_str() == lost);
        let digits = all.iter().map(|peer| &peer.name.as_str()[4..]);
        digits.collect()
    }

    /// Lost without it: requests go a detour, to the dead first, or never to whoever is left.
    #[test]
    fn the_first_live_replica_comes_first_and_the_dead_last() {
        assert_eq!(order([true; 4], 0, ""), "2013");
        assert_eq!(order([true, true, false, true], 0, ""), "0132");
        assert_eq!(order([true; 4], 0, "node2"), "0132");
        assert_eq!(order([true; 4], 1, ""), "0132");
        assert_eq!(order([false; 4], 0, ""), "2013");
    }

    /// Lost without it: a client whose node joins a cluster is turned away for ever, or one of several nodes writes to a node that
    /// is in another cluster now.
    #[test]
    fn only_of_several_nodes_is_the_cluster_meant() {
        let mut one = table([true; 4]);
        assert_eq!(
            Routing::new(one.clone()).unwrap().cluster(),
            Some(ClusterId(1))
        );
        one.nodes.truncate(1);
        one.rows = vec![vec![0]; 8];
        assert_eq!(Routing::new(one).unwrap().cluster(), None);
    }

    /// Lost without it: a node of another version, or a liar, panics the client.
    #[test]
    fn a_table_that_does_not_hold_together_is_refused() {
        let mut few = table([true; 4]);
        few.rows.pop();
        assert!(Routing::new(few).is_err());
        let mut beyond = table([true; 4]);
        beyond.rows[3][0] = 4;
        assert!(Routing::new(beyond).is_err());
    }
}
