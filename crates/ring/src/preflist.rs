//! This file answers: who answers for a key now, and who stands in for those who are down?
//!
//! The owners keep their places, up or not. Behind them stand the fallbacks: members outside the row in the order of
//! the partition's [`Walk`]. A fallback never stands in the row, and so never gives a second answer from
//! a disk that has answered (Riak's lists can name a node twice).

use crate::member::NodeName;
use crate::ring::{Ring, RingId};
use crate::slot::Partition;
use crate::walk::Walk;

/// How many fallbacks a preference list names at most: more failures at once than any quorum survives.
pub const MAX_FALLBACKS: usize = 16;

/// One place of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Which place: 0 is the first replica.
    pub replica: u8,
    /// Who answers for it. With fewer than N nodes one node answers for several.
    pub node: NodeName,
    /// Whether that node is thought to be up.
    pub up: bool,
}

/// Whom a request for a partition is sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preflist {
    /// The partition asked for.
    pub partition: Partition,
    /// The ring that this was read from.
    pub ring: RingId,
    /// The N places, first replica first.
    pub places: Vec<Place>,
    /// Members outside the row that are up, best first; at most [`MAX_FALLBACKS`].
    pub fallbacks: Vec<NodeName>,
}

/// The preference list of `partition` as `ring` has it and `is_up` sees it. `walk` is [`Walk::of`] that ring's
/// members, kept by the caller as long as they stay the same.
pub fn preflist(
    ring: &Ring,
    walk: &Walk,
    partition: Partition,
    is_up: impl Fn(&NodeName) -> bool,
) -> Preflist {
    let row = ring.row(partition);
    let may_stand_in =
        |node: &NodeName| ring.members.get(node).is_some_and(|m| m.status.stands_in());
    Preflist {
        partition,
        ring: ring.id(),
        places: (0..)
            .zip(row)
            .map(|(replica, node)| Place {
                replica,
                node: node.clone(),
                up: is_up(node),
            })
            .collect(),
        fallbacks: walk
            .from(partition)
            .filter(|node| !row.contains(node) && may_stand_in(node) && is_up(node))
            .take(MAX_FALLBACKS)
            .cloned()
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::{Addresses, Incarnation, Member, Status};
    use crate::ring::ClusterId;
    use crate::slot::PartitionCount;

    /// Four nodes a to d; every row is `row`, by one letter a node.
    fn ring(row: &str) -> Ring {
        let member = Member {
            incarnation: Incarnation(1),
            status: Status::Valid,
            addresses: Addresses::default(),
            zone: None,
            weight: 1.0,
        };
        let q = PartitionCount::new(8).unwrap();
        let mut ring = Ring::found(ClusterId(1), "rkv", q, 3, "a".into(), member.clone());
        for name in ["b", "c", "d"] {
            ring.members.insert(name.into(), member.clone());
        }
        ring.rows
            .fill(row.chars().map(|c| c.to_string().into()).collect());
        ring
    }

    /// The list of partition 0: the row, upper case for who is up, and the fallbacks.
    fn list(ring: &Ring, up: &str) -> String {
        let list = preflist(ring, &Walk::of(ring), Partition(0), |n| {
            up.contains(n.as_str())
        });
        let place = |p: &Place| match p.up {
            true => p.node.as_str().to_uppercase(),
            false => p.node.to_string(),
        };
        assert!(list.places.iter().map(|p| p.replica).eq(0..3));
        let places: String = list.places.iter().map(place).collect();
        let fallbacks: String = list.fallbacks.iter().map(NodeName::as_str).collect();
        format!("{places} {fallbacks}")
    }

    /// Lost without it: a request would go to the wrong nodes, or take two answers of one node for two copies.
    #[test]
    fn owners_keep_their_places_and_others_stand_in() {
        let four = ring("abc");
        for (up, expected) in [
            ("abcd", "ABC d"),
            ("bcd", "aBC d"),
            ("cd", "abC d"),
            // Riak would take node a twice here.
            ("ab", "ABc "),
            ("d", "abc d"),
            ("", "abc "),
        ] {
            assert_eq!(list(&four, up), expected, "up: {up}");
        }
        assert_eq!(list(&ring("aab"), "abcd").len(), "AAB cd".len());
    }

    /// Lost without it: hints would be kept by nodes that are not members yet, or not for long.
    #[test]
    fn only_lasting_members_stand_in() {
        for (status, stands_in) in [
            (Status::Valid, true),
            (Status::Leaving, true),
            (Status::Joining, false),
            (Status::Exiting, false),
            (Status::Down, false),
        ] {
            let mut ring = ring("abc");
            ring.members.get_mut(&NodeName::from("d")).unwrap().status = status;
            let expected = if stands_in { "ABC d" } else { "ABC " };
            assert_eq!(list(&ring, "abcd"), expected, "{status}");
        }
    }
}
