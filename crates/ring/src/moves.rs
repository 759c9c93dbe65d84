//! This file answers: which copies move, and in what order?
//!
//! The ring says where each partition is (`rows`), where it goes (`next`) and which copy is on its way now (`moves`).
//! Everything here edits a draft of the next ring; nothing happens before that ring is chosen.
//!
//! A move goes from one node of the row to one that has fewer places there than it is to have: to one that has no copy
//! yet, or, when all that the target names have one, to one that is to answer for what another answered for. That one
//! has a copy and keeps it; it is sent all that the source has, since the source may have acknowledged what it lacks.
//!
//! **Promise.** In every ring at most one move of a row is under way; places change hands only by a complete move; and
//! completing moves, in any order, ends with every row as its target says. A move that was dropped or began anew
//! shows in the ring alone: its entry is gone, or bears a higher attempt than any before it in that partition.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::member::{NodeName, Status};
use crate::ring::{Move, Ring, Row};
use crate::slot::Partition;

/// One copy that has to be made: under way or still waiting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// Of which partition.
    pub partition: Partition,
    /// Whose place it takes over.
    pub from: NodeName,
    /// Who gets it.
    pub to: NodeName,
}

/// Makes `target` (a row for each partition) the rows that `ring` goes to, instead of those before.
///
/// A row in which each node keeps as many places is put in its new order at once. Of the moves under way those stay that
/// the new target wants as they are.
pub fn set_target(ring: &mut Ring, target: Vec<Row>) {
    assert_eq!(
        target.len(),
        ring.rows.len(),
        "a target has a row for each partition"
    );
    ring.next.clear();
    for (partition, target) in ring.partitions.partitions().zip(target) {
        let row = &mut ring.rows[partition.index()];
        if next_to(row, &target).is_none() {
            *row = target;
            ring.moves.remove(&partition);
            continue;
        }
        if let Some(under_way) = ring.moves.get(&partition) {
            let is_wanted = lacks(row, &target, &under_way.to) > 0;
            if !is_wanted || lacks(&target, row, &under_way.from) == 0 {
                ring.moves.remove(&partition);
            }
        }
        ring.next.insert(partition, target);
    }
}

/// Gives the places of nodes that are members no more to others, at once: to their heirs, else to nodes that the target
/// names. Who gets one without having made a copy in a move finds that in [`Ring::completed`].
pub fn evict(ring: &mut Ring, target: &[Row], heirs: &BTreeMap<NodeName, NodeName>) {
    for (partition, target) in ring.partitions.partitions().zip(target) {
        let under_way = ring.moves.get(&partition);
        let is_gone = |node: &NodeName| !ring.members.contains_key(node);
        if under_way.is_some_and(|m| is_gone(&m.from) || is_gone(&m.to)) {
            ring.moves.remove(&partition);
        }
        let half_made = ring.moves.get(&partition).map(|m| m.to.clone());
        let row = &mut ring.rows[partition.index()];
        for place in 0..row.len() {
            if ring.members.contains_key(&row[place]) {
                continue;
            }
            let heir = heirs.get(&row[place]).filter(|heir| target.contains(heir));
            let wanted = |node: &&NodeName| lacks(row, target, node) > 0;
            let free = |node: &&NodeName| !row.contains(node) && half_made.as_ref() != Some(node);
            let next = heir
                .filter(wanted)
                .or_else(|| target.iter().filter(wanted).find(free))
                .or_else(|| target.iter().find(wanted))
                .or(target.first());
            if let Some(next) = next {
                row[place] = next.clone();
            }
        }
    }
}

/// `node` is another life of its name: sessions with the old one are over, and its moves begin anew.
pub fn begin_anew(ring: &mut Ring, node: &NodeName) {
    let concerned: Vec<Partition> = ring
        .moves
        .iter()
        .filter(|(_, m)| m.from == *node || m.to == *node)
        .map(|(partition, _)| *partition)
        .collect();
    for partition in concerned {
        cancel(ring, partition);
    }
}

/// Starts the next move in each partition that has somewhere to go and no move; a row with nothing left to add takes
/// its target's order. Changes nothing when all that can be under way is.
pub fn start(ring: &mut Ring) {
    let waiting: Vec<Partition> = ring
        .next
        .keys()
        .filter(|p| !ring.moves.contains_key(p))
        .copied()
        .collect();
    for partition in waiting {
        start_in(ring, partition);
    }
}

fn start_in(ring: &mut Ring, partition: Partition) {
    let Some(target) = ring.next.get(&partition) else {
        return;
    };
    match next_step(ring, ring.row(partition), target) {
        Some((place, to)) => {
            let under_way = Move {
                place: place as u8,
                from: ring.row(partition)[place].clone(),
                to,
                attempt: fresh_attempt(ring),
                since: fresh_attempt(ring),
            };
            ring.moves.insert(partition, under_way);
        }
        None => {
            ring.rows[partition.index()] = target.clone();
            ring.next.remove(&partition);
        }
    }
}

/// The move in `partition` is ready: its place changes hands, with as many of the same node's as the target has go the
/// same way, and the next one starts. Says whether there was one.
pub fn complete(ring: &mut Ring, partition: Partition) -> bool {
    let Some(done) = ring.moves.remove(&partition) else {
        return false;
    };
    ring.completed.insert(partition, done.attempt);
    let row = &mut ring.rows[partition.index()];
    let place = usize::from(done.place);
    assert_eq!(
        row[place], done.from,
        "a move starts from who answers for the place"
    );
    match ring.next.get(&partition) {
        Some(target) => hand_over(row, target, place, &done.to),
        None => row[place] = done.to,
    }
    start_in(ring, partition);
    true
}

/// Gives `to` the place, and others of the node that had it as far as the target has them go to `to`.
fn hand_over(row: &mut Row, target: &Row, place: usize, to: &NodeName) {
    let from = row[place].clone();
    let most = lacks(row, target, to).min(lacks(target, row, &from));
    row[place] = to.clone();
    let others = row.iter_mut().rev().filter(|node| **node == from);
    for node in others.take(most.saturating_sub(1)) {
        *node = to.clone();
    }
}

/// Gives up the session of the move in `partition`: the same copy is tried again under a higher attempt. Says whether
/// there was one.
pub fn cancel(ring: &mut Ring, partition: Partition) -> bool {
    let fresh = fresh_attempt(ring);
    let Some(broken) = ring.moves.get_mut(&partition) else {
        return false;
    };
    broken.attempt = fresh.max(broken.attempt.saturating_add(1));
    true
}

/// All transfers between the rows as they are and where they go, in the order in which each partition makes them.
pub fn transfers(ring: &Ring) -> Vec<Transfer> {
    let mut transfers = Vec::new();
    for (&partition, target) in &ring.next {
        let mut row = ring.row(partition).clone();
        let under_way = ring.moves.get(&partition);
        let mut step = under_way.map(|m| (usize::from(m.place), m.to.clone()));
        while let Some((place, to)) = step.or_else(|| next_step(ring, &row, target)) {
            let from = row[place].clone();
            hand_over(&mut row, target, place, &to);
            transfers.push(Transfer {
                partition,
                from,
                to,
            });
            step = None;
        }
    }
    transfers
}

/// The rows when all transfers are done.
pub fn goal(ring: &Ring) -> Vec<Row> {
    let row = |partition| {
        ring.next
            .get(&partition)
            .unwrap_or(ring.row(partition))
            .clone()
    };
    ring.partitions.partitions().map(row).collect()
}

/// Which place of `row` changes hands next on the way to `target`, and who gets it; `None` when each node has as many
/// places as it is to have.
///
/// Nodes that are leaving go first, then others that the target does not name, then those that have places to spare;
/// of equals the last place, so that the first replica stays as long as it can.
fn next_step(ring: &Ring, row: &Row, target: &Row) -> Option<(usize, NodeName)> {
    let to = next_to(row, target)?;
    let leaving = |node: &NodeName| {
        ring.members
            .get(node)
            .is_some_and(|m| m.status == Status::Leaving)
    };
    let place = (0..row.len())
        .filter(|&place| lacks(target, row, &row[place]) > 0)
        .min_by_key(|&place| {
            let node = &row[place];
            (target.contains(node), !leaving(node), Reverse(place))
        })
        .expect("rows are equally long: where one node lacks a place another has one to spare");
    Some((place, to.clone()))
}

/// Who is to get a place next: first those that have no copy yet.
fn next_to<'a>(row: &Row, target: &'a Row) -> Option<&'a NodeName> {
    let has_none = target.iter().find(|node| !row.contains(node));
    has_none.or_else(|| target.iter().find(|node| lacks(row, target, node) > 0))
}

/// How many places more `node` has in `target` than in `row`.
fn lacks(row: &Row, target: &Row, node: &NodeName) -> usize {
    let places = |row: &Row| row.iter().filter(|other| *other == node).count();
    places(target).saturating_sub(places(row))
}

/// The attempt of a move that begins in the ring drafted here: that ring's epoch, so higher than that of any move
/// before it, remembered or not.
fn fresh_attempt(ring: &Ring) -> u32 {
    u32::try_from(ring.epoch.0.saturating_add(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::member::{Addresses, Incarnation, Member};
    use crate::ring::{ClusterId, Epoch};
    use crate::slot::PartitionCount;

    fn name(i: usize) -> NodeName {
        format!("n{i}").into()
    }

    fn row(nodes: &[usize]) -> Row {
        nodes.iter().map(|&i| name(i)).collect()
    }

    fn ring(members: usize, replicas: u8) -> Ring {
        let member = |i: usize| Member {
            incarnation: Incarnation(i as u128),
            status: Status::Valid,
            addresses: Addresses::default(),
            zone: None,
            weight: 1.0,
        };
        let q = PartitionCount::new(8).unwrap();
        let mut ring = Ring::found(ClusterId(1), "rkv", q, replicas, name(0), member(0));
        for i in 1..members {
            ring.members.insert(name(i), member(i));
        }
        ring
    }

    /// All rows go from `from` to `to`.
    fn going(from: &[usize], to: &[usize]) -> Ring {
        let mut ring = ring(6, from.len() as u8);
        ring.rows.fill(row(from));
        set_target(&mut ring, vec![row(to); 8]);
        start(&mut ring);
        ring
    }

    const P: Partition = Partition(3);

    /// The moves of one partition, as `place:from>to`, until its target is reached.
    fn script(ring: &mut Ring) -> String {
        let mut script = Vec::new();
        while let Some(m) = ring.moves.get(&P) {
            script.push(format!("{}:{}>{}", m.place, m.from, m.to));
            assert!(complete(ring, P));
        }
        assert!(!complete(ring, P));
        assert!(!ring.next.contains_key(&P));
        script.join(" ")
    }

    /// Lost without it: a row could give up a node that it needs, or the first replica before it must.
    #[test]
    fn places_change_hands_in_order() {
        for (from, to, moves) in [
            (&[0, 0, 0], &[0, 1, 2], "2:n0>n1 1:n0>n2"),
            (&[0, 1, 2], &[3, 1, 2], "0:n0>n3"),
            (&[0, 1, 2], &[3, 4, 5], "2:n2>n3 1:n1>n4 0:n0>n5"),
            (&[0, 1, 0], &[2, 0, 1], "2:n0>n2"),
            (&[0, 1, 2], &[2, 0, 1], ""),
            (&[0, 1, 2], &[1, 0, 1], "2:n2>n1"),
            (&[0, 1, 2], &[3, 0, 3], "2:n2>n3 1:n1>n3"),
            (&[0, 0, 0], &[1, 0, 1], "2:n0>n1"),
            (&[0, 0, 1], &[1, 0, 1], "1:n0>n1"),
        ] {
            let mut ring = going(from, to);
            assert_eq!(script(&mut ring), moves, "{from:?} to {to:?}");
            assert_eq!(*ring.row(P), row(to));
        }
    }

    /// Lost without it: a node that wants to go could wait behind mere rebalancing.
    #[test]
    fn leaving_nodes_go_first() {
        let mut ring = ring(6, 3);
        ring.rows.fill(row(&[0, 1, 2]));
        ring.members.get_mut(&name(0)).unwrap().status = Status::Leaving;
        set_target(&mut ring, vec![row(&[3, 4, 2]); 8]);
        start(&mut ring);
        assert_eq!(transfers(&ring).len(), 16);
        assert_eq!(script(&mut ring), "0:n0>n3 1:n1>n4");
    }

    /// Lost without it: a report of an old session could complete a new move, whose target lacks half the data.
    #[test]
    fn no_attempt_comes_twice() {
        let mut ring = going(&[0, 1, 2], &[3, 1, 2]);
        let mut seen = vec![ring.moves[&P].attempt];
        for cancelled in [true, true, false, true, false] {
            ring.epoch = Epoch(ring.epoch.0 + 1);
            if cancelled {
                assert!(cancel(&mut ring, P));
            } else {
                set_target(&mut ring, vec![row(&[0, 1, 2]); 8]);
                assert!(!cancel(&mut ring, P));
                ring.epoch = Epoch(ring.epoch.0 + 1);
                set_target(&mut ring, vec![row(&[3, 1, 2]); 8]);
                start(&mut ring);
            }
            seen.push(ring.moves[&P].attempt);
        }
        assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
    }

    /// Lost without it: a second commit would throw away half-made copies that it wants too, or keep making those that
    /// it does not.
    #[test]
    fn a_new_target_keeps_the_moves_it_wants() {
        let before = going(&[0, 1, 2], &[3, 1, 2]);
        for (target, stays) in [
            (&[3, 1, 4], true),
            (&[4, 3, 1], true),
            (&[4, 1, 2], false),
            // Wants n3, but no longer instead of n0.
            (&[0, 3, 2], false),
            (&[0, 1, 2], false),
        ] {
            let mut ring = before.clone();
            ring.epoch = Epoch(9);
            set_target(&mut ring, vec![row(target); 8]);
            start(&mut ring);
            assert_eq!(
                ring.moves.get(&P) == before.moves.get(&P),
                stays,
                "{target:?}"
            );
            script(&mut ring);
            assert_eq!(*ring.row(P), row(target));
        }
    }

    fn any_row() -> impl Strategy<Value = Row> {
        prop::collection::vec(0usize..6, 3).prop_map(|nodes| row(&nodes))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]
        /// Lost without it: some order of completions, breaks and new plans could lose a copy or never end.
        #[test]
        fn every_history_ends_at_its_target(
            rows in prop::collection::vec(any_row(), 8),
            targets in prop::collection::vec(prop::collection::vec(any_row(), 8), 1..4),
            picks in prop::collection::vec((0usize..8, 0u8..10), 0..60),
        ) {
            let mut ring = ring(6, 3);
            ring.rows = rows;
            let mut targets = targets.into_iter();
            let mut target = targets.next().unwrap();
            set_target(&mut ring, target.clone());
            start(&mut ring);
            for (which, what) in picks {
                let before = ring.clone();
                ring.epoch = Epoch(ring.epoch.0 + 1);
                let moving: Vec<Partition> = ring.moves.keys().copied().collect();
                let new_target = if what == 0 { targets.next() } else { None };
                match (new_target, moving.get(which)) {
                    (Some(new), _) => {
                        target = new;
                        set_target(&mut ring, target.clone());
                        start(&mut ring);
                    }
                    (None, Some(&p)) if what == 1 => prop_assert!(cancel(&mut ring, p)),
                    (None, Some(&p)) => prop_assert!(complete(&mut ring, p)),
                    (None, None) => {}
                }
                check_step(&before, &ring)?;
            }
            let mut left = transfers(&ring).len();
            while let Some(p) = ring.moves.keys().next().copied() {
                let before = ring.clone();
                complete(&mut ring, p);
                check_step(&before, &ring)?;
                left -= 1;
                prop_assert_eq!(transfers(&ring).len(), left, "one transfer less after each move");
            }
            prop_assert_eq!(&ring.rows, &target);
            prop_assert!(ring.next.is_empty() && goal(&ring) == target);
        }
    }

    /// What must hold from one ring to the next.
    fn check_step(before: &Ring, after: &Ring) -> Result<(), TestCaseError> {
        prop_assert!(Ring::decode(&after.encode()).is_ok());
        prop_assert!(
            after.next.keys().eq(after.moves.keys()),
            "each that has somewhere to go moves"
        );
        for p in after.partitions.partitions() {
            let has = |node: &NodeName| after.row(p).contains(node);
            let moved = before.moves.get(&p);
            for node in after
                .row(p)
                .iter()
                .filter(|node| !before.row(p).contains(node))
            {
                prop_assert_eq!(Some(node), moved.map(|m| &m.to), "a copy that nobody made");
            }
            for node in before.row(p) {
                let gives = lacks(after.row(p), before.row(p), node) > 0;
                let handed_on = moved.is_some_and(|m| m.from == *node && has(&m.to));
                prop_assert!(handed_on || !gives, "a place was given up without a move");
            }
        }
        Ok(())
    }
}
