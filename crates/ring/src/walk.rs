//! This file answers: in what order does a partition consider nodes?
//!
//! Every node has `POINTS_PER_NODE` points on a hash ring, every partition one; a partition meets nodes by walking
//! once round from its point. Claim takes candidates in this order, and fallbacks stand in in this order. It depends
//! on names only, so all nodes that know the same members walk alike, whatever their version: the points are hashed
//! from bytes, and the test below pins some of them.
//!
//! A partition's point is that of its first slot, so when partitions are split in two, the lower half keeps its walk.

use hashring::HashRing;
use xxhash_rust::xxh3::Xxh3DefaultBuilder;

use crate::member::NodeName;
use crate::ring::Ring;
use crate::slot::{Partition, PartitionCount};

/// The order in which a partition considers nodes: walk once round a hash ring from the partition's point.
#[derive(Debug, Clone)]
pub struct Walk {
    nodes: Vec<NodeName>,
    /// Owner of each node point, in the order of the points' hashes.
    points: Vec<u32>,
    /// For each partition: where in `points` its walk begins.
    starts: Vec<u32>,
}

/// How many points each node has on the hash ring.
const POINTS_PER_NODE: u16 = 64;

/// A point on the hash ring. Its hash is xxh3 of its bytes and nothing else: every version must walk alike.
#[derive(Debug, Clone, Copy)]
enum Point<'a> {
    Node {
        index: u32,
        name: &'a str,
        number: u16,
    },
    Partition {
        partition: Partition,
        first_slot: u16,
    },
}

impl std::hash::Hash for Point<'_> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        match self {
            Point::Node { name, number, .. } => {
                state.write(b"n");
                state.write(name.as_bytes());
                state.write(&number.to_be_bytes());
            }
            Point::Partition { first_slot, .. } => {
                state.write(b"p");
                state.write(&first_slot.to_be_bytes());
            }
        }
    }
}

impl Walk {
    /// The walks of all partitions over `nodes`.
    pub fn new(partitions: PartitionCount, nodes: &[NodeName]) -> Walk {
        let mut nodes = nodes.to_vec();
        nodes.sort();
        nodes.dedup();
        let node_points = (0u32..).zip(&nodes).flat_map(|(index, name)| {
            let name = name.as_str();
            (0..POINTS_PER_NODE).map(move |number| Point::Node {
                index,
                name,
                number,
            })
        });
        let partition_points = partitions.partitions().map(|partition| Point::Partition {
            partition,
            first_slot: *partitions.slots(partition).start(),
        });
        let mut ring = HashRing::with_hasher(Xxh3DefaultBuilder::new());
        ring.batch_add(partition_points.chain(node_points).collect());
        // Asked for more points than there are, it gives all of them, in order, from where the key falls.
        let all = ring.get_with_replicas(&0u8, usize::MAX).unwrap_or_default();

        let mut points = Vec::with_capacity(nodes.len() * usize::from(POINTS_PER_NODE));
        let mut starts = vec![0; usize::from(partitions.get())];
        for point in all {
            match point {
                Point::Node { index, .. } => points.push(index),
                Point::Partition { partition, .. } => {
                    starts[partition.index()] = points.len() as u32
                }
            }
        }
        Walk {
            nodes,
            points,
            starts,
        }
    }

    /// The walks over those members of `ring` that may stand in for others.
    pub fn of(ring: &Ring) -> Walk {
        let members = ring.members.iter().filter(|(_, m)| m.status.stands_in());
        let names: Vec<NodeName> = members.map(|(name, _)| name.clone()).collect();
        Walk::new(ring.partitions, &names)
    }

    /// The partitions in the order of their points: a shuffle that is the same everywhere.
    pub(crate) fn shuffled(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.starts.len()).collect();
        order.sort_by_key(|&p| self.starts[p]);
        order
    }

    /// All nodes in the order in which `partition` meets them.
    pub fn from(&self, partition: Partition) -> impl Iterator<Item = &NodeName> {
        let mut met = vec![false; self.nodes.len()];
        self.points_from(partition)
            .filter(move |&node| !std::mem::replace(&mut met[node], true))
            .map(|node| &self.nodes[node])
    }

    /// Once round the ring from the point of `partition`: the owner of each node point, by index in name order.
    pub(crate) fn points_from(&self, partition: Partition) -> impl Iterator<Item = usize> {
        let (before, after) = self
            .points
            .split_at(self.starts[partition.index()] as usize);
        after.iter().chain(before).map(|&node| node as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost without it: two versions of the program would claim differently and send hints to different fallbacks.
    #[test]
    fn walks_are_pinned() {
        let q = PartitionCount::new(16).unwrap();
        let names: Vec<NodeName> = ["node1", "node2", "node3", "node4", "node5"]
            .map(NodeName::from)
            .into();
        let walk = Walk::new(q, &names);
        let walked =
            |p: u16| -> String { walk.from(Partition(p)).map(|n| &n.as_str()[4..]).collect() };
        let all: Vec<String> = (0..16).map(walked).collect();
        assert_eq!(
            all.join(" "),
            "23451 15324 34215 24513 52413 45213 15432 21435 45123 25413 54132 32541 54132 41352 13452 41235"
        );
    }

    /// Lost without it: a member that no walk meets could never stand in for anyone.
    #[test]
    fn every_walk_meets_every_node_once() {
        let q = PartitionCount::new(64).unwrap();
        let mut names: Vec<NodeName> = (0..20).map(|i| format!("n{i}").into()).collect();
        let walk = Walk::new(q, &names);
        names.sort();
        for p in q.partitions() {
            let mut met: Vec<NodeName> = walk.from(p).cloned().collect();
            met.sort();
            assert_eq!(met, names);
        }
        assert_eq!(Walk::new(q, &[]).from(Partition(3)).count(), 0);
    }

    /// Lost without it: splitting partitions would shuffle the fallbacks of all of them.
    #[test]
    fn a_split_keeps_the_walk_of_the_lower_half() {
        let names: Vec<NodeName> = (0..7).map(|i| format!("n{i}").into()).collect();
        let coarse = Walk::new(PartitionCount::new(16).unwrap(), &names);
        let fine = Walk::new(PartitionCount::new(32).unwrap(), &names);
        for p in 0..16 {
            assert!(coarse.from(Partition(p)).eq(fine.from(Partition(2 * p))));
        }
    }
}
