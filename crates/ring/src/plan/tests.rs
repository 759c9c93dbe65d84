//! This file answers: does a plan do what it says, and is what cannot be refused?

use super::*;
use crate::member::{Addresses, Incarnation};
use crate::ring::{ClusterId, Epoch};
use crate::slot::PartitionCount;

fn node(i: u32) -> NodeName {
    format!("node{i}").into()
}

fn member(i: u32) -> Member {
    Member {
        incarnation: Incarnation(u128::from(i)),
        status: Status::Valid,
        addresses: Addresses::default(),
        zone: None,
        weight: 1.0,
    }
}

fn newcomer(i: u32) -> Member {
    Member::joining(Incarnation(u128::from(i)), Addresses::default(), None, 1.0)
}

fn commit_now(ring: &Ring, id: Option<&str>) -> Result<Ring, Refusal> {
    commit(ring, id, 1_000)
}

/// A cluster of node1.
fn founded() -> Ring {
    let q = PartitionCount::new(16).unwrap();
    Ring::found(ClusterId(7), "rkv", q, 3, node(1), member(1))
}

fn joined(mut ring: Ring, nodes: &[u32]) -> Ring {
    for &i in nodes {
        ring = stage_join(&ring, node(i), newcomer(i), false).unwrap();
    }
    ring
}

/// A settled cluster of node1 to node`count`.
fn cluster(count: u32) -> Ring {
    let others: Vec<u32> = (2..=count).collect();
    let ring = joined(founded(), &others);
    finished(if count > 1 {
        commit_now(&ring, None).unwrap()
    } else {
        ring
    })
}

/// `ring` when all its moves are complete.
fn finished(mut ring: Ring) -> Ring {
    while let Some(&partition) = ring.moves.keys().next() {
        moves::complete(&mut ring, partition);
    }
    Ring::decode(&ring.encode()).unwrap();
    ring
}

fn statuses(ring: &Ring) -> String {
    let words: Vec<String> = ring
        .members
        .values()
        .map(|m| m.status.to_string())
        .collect();
    words.join(" ")
}

/// Lost without it: the tutorial's three nodes would not come to 6, 5 and 5 of 16 partitions as its plan says.
#[test]
fn two_nodes_join_one() {
    assert_eq!(plan(&founded()), None);
    let staged = joined(founded(), &[3, 2]);
    assert_eq!(statuses(&staged), "valid joining joining");
    assert!(staged.rows == founded().rows && staged.moves.is_empty());

    let plan = plan(&staged).unwrap();
    let shown: Vec<_> = plan
        .members
        .iter()
        .map(|m| {
            (
                m.status,
                m.ring_percent,
                m.pending_percent,
                m.copies,
                m.pending_copies,
            )
        })
        .collect();
    let shown_as = |now, then, copies| (Status::Valid, now, Some(then), copies, Some(16));
    assert_eq!(
        shown,
        [
            shown_as(100.0, 37.5, 16),
            shown_as(0.0, 31.25, 0),
            shown_as(0.0, 31.25, 0)
        ]
    );
    assert_eq!(
        plan.changes,
        [
            Change::Join { node: node(3) },
            Change::Join { node: node(2) }
        ]
    );
    assert_eq!(plan.transfers.len(), 32);
    assert!(plan.transfers.iter().all(|t| t.from == node(1)));
    assert_eq!(plan.warnings, [""; 0]);

    let committed = commit_now(&staged, Some(&plan.id)).unwrap();
    assert_eq!(statuses(&committed), "valid valid valid");
    assert!(committed.staged.is_empty() && committed.moves.len() == 16);
    assert_eq!(moves::transfers(&committed), plan.transfers);
    let settled = finished(committed);
    let shares: Vec<_> = shares(&settled)
        .into_iter()
        .map(|m| (m.ring_percent, m.pending_percent))
        .collect();
    assert_eq!(shares, [(37.5, None), (31.25, None), (31.25, None)]);
}

/// Lost without it: what an operator read and agreed to could differ from what a commit does.
#[test]
fn a_plans_id_is_what_it_does() {
    let staged = joined(founded(), &[2, 3]);
    let id = plan(&staged).unwrap().id;
    let mut later = joined(founded(), &[3, 2]);
    later.epoch = Epoch(9);
    later.claimant = node(1);
    assert_eq!(
        plan(&later).unwrap().id,
        id,
        "the same changes, staged in another order, later"
    );
    assert!(commit_now(&later, Some(&id)).is_ok());

    let more = joined(staged, &[4]);
    let now = plan(&more).unwrap().id;
    assert_eq!(
        commit_now(&more, Some(&id)),
        Err(Refusal::PlanChanged {
            seen: id,
            now,
            staged: ["join node2", "join node3", "join node4"]
                .map(str::to_owned)
                .to_vec(),
        })
    );
    assert_eq!(
        commit_now(&clear(&more), None),
        Err(Refusal::NothingPlanned)
    );
}

/// Lost without it: a plan made while transfers run could never be committed.
#[test]
fn a_plan_stays_while_transfers_go_on() {
    let mut ring = commit_now(&joined(cluster(4), &[5]), None).unwrap();
    ring = joined(ring, &[6]);
    let id = plan(&ring).unwrap().id;
    while let Some(&partition) = ring.moves.keys().next() {
        moves::complete(&mut ring, partition);
        assert_eq!(plan(&ring).unwrap().id, id);
    }
}

/// Lost without it: taking a join back would move data that is still where it was.
#[test]
fn taking_a_change_back_moves_little() {
    for count in 3..8 {
        let ring = commit_now(&joined(cluster(count), &[9]), None).unwrap();
        let ring = commit_now(&stage_leave(&ring, &node(9)).unwrap(), None).unwrap();
        assert_eq!(moves::transfers(&ring), [], "{count} nodes");
        assert!(ring.moves.is_empty());
    }
}

/// Lost without it: a node could go before its copies are elsewhere, or hold its office for ever.
#[test]
fn a_node_leaves() {
    let before = cluster(5);
    let staged = stage_leave(&before, &node(1)).unwrap();
    assert_eq!(stage_leave(&staged, &node(1)).unwrap(), staged);
    let plan = plan(&staged).unwrap();
    assert_eq!(plan.transfers.len(), before.copies(&node(1)));
    assert!(plan.transfers.iter().all(|t| t.from == node(1)));

    let mut ring = commit_now(&staged, Some(&plan.id)).unwrap();
    assert_eq!(statuses(&ring), "leaving valid valid valid valid");
    assert_eq!(ring.claimant, node(2));
    while let Some(&partition) = ring.moves.keys().next() {
        assert!(!settle(&mut ring));
        moves::complete(&mut ring, partition);
    }
    assert!(settle(&mut ring) && !settle(&mut ring));
    assert_eq!(statuses(&ring), "exiting valid valid valid valid");
}

/// Lost without it: three nodes could not become two.
#[test]
fn a_node_leaves_fewer_than_n() {
    let before = cluster(3);
    let staged = stage_leave(&before, &node(2)).unwrap();
    let plan = plan(&staged).unwrap();
    assert_eq!(plan.transfers.len(), before.copies(&node(2)));
    assert!(plan.transfers.iter().all(|t| t.from == node(2)));
    assert_eq!(plan.warnings.len(), 1, "{:?}", plan.warnings);
    assert!(plan.warnings[0].starts_with("2 of the 3 nodes"));
    let mut ring = commit_now(&staged, None).unwrap();
    while let Some(&partition) = ring.moves.keys().next() {
        assert!(!settle(&mut ring));
        moves::complete(&mut ring, partition);
    }
    assert!(
        ring.rows
            .iter()
            .all(|row| !row.contains(&node(2)) && row[0] == row[2])
    );
    assert_eq!(ring.first_replicas(&node(1)), 8);
    assert!(settle(&mut ring));
}

/// Lost without it: rows that one rack's failure takes down would go unnoticed.
#[test]
fn shared_zones_are_warned_of() {
    let mut ring = joined(founded(), &[2, 3, 4]);
    for (i, zone) in [(1, "a"), (2, "a"), (3, "b"), (4, "b")] {
        ring.members.get_mut(&node(i)).unwrap().zone = Some(zone.to_owned());
    }
    let warnings = plan(&ring).unwrap().warnings;
    assert!(warnings[0].starts_with("16 of 16 partitions will have replicas that share a zone"));
    ring.members.get_mut(&node(4)).unwrap().zone = Some("c".to_owned());
    let warnings = plan(&ring).unwrap().warnings;
    assert!(
        warnings[0].starts_with("8 of 16 partitions"),
        "{warnings:?}"
    );
}

/// Lost without it: a commit would order copies from and to a node that cannot make them.
#[test]
fn a_node_that_is_down_keeps_what_it_has() {
    let mut ring = cluster(4);
    ring.members.get_mut(&node(3)).unwrap().status = Status::Down;
    let staged = stage_leave(&joined(ring, &[5, 6]), &node(4)).unwrap();
    let plan = plan(&staged).unwrap();
    assert!(
        plan.transfers
            .iter()
            .all(|t| t.from != node(3) && t.to != node(3))
    );
    assert_eq!(plan.members[2].pending_copies, Some(12));
    assert!(plan.warnings[0].starts_with("node3 is down"));
    finished(commit_now(&staged, None).unwrap());
}

/// Lost without it: a request that cannot be would change something, or be refused with a word that misleads.
#[test]
fn what_cannot_be_is_refused() {
    let word = |result: Result<Ring, Refusal>| result.map(|_| "done").unwrap_or_else(|r| r.word());
    let alone = founded();
    let three = cluster(3);
    let leaving = commit_now(&stage_leave(&cluster(4), &node(4)).unwrap(), None).unwrap();
    let mut down = three.clone();
    down.members.get_mut(&node(3)).unwrap().status = Status::Down;
    let two_go = stage_leave(&stage_leave(&three, &node(1)).unwrap(), &node(2)).unwrap();

    let two_come = joined(three.clone(), &[7, 8]);
    let replaced = stage_replace(&two_come, &node(1), &node(7), false).unwrap();

    for (result, expected) in [
        (stage_leave(&alone, &node(1)), "only_member"),
        (stage_leave(&joined(alone.clone(), &[2]), &node(1)), "done"),
        (
            stage_leave(&joined(alone.clone(), &[2]), &node(2)),
            "not_member",
        ),
        (stage_leave(&three, &node(9)), "not_member"),
        (stage_leave(&leaving, &node(4)), "already_leaving"),
        (stage_leave(&down, &node(3)), "not_reachable"),
        (stage_leave(&two_go, &node(3)), "only_member"),
        (
            stage_join(&three, node(2), newcomer(8), false),
            "duplicate_name",
        ),
        (
            stage_join(&leaving, node(4), newcomer(4), false),
            "already_leaving",
        ),
        (commit_now(&three, None), "nothing_planned"),
        (stage_remove(&alone, &node(1)), "only_member"),
        (stage_remove(&three, &node(9)), "not_member"),
        (stage_remove(&down, &node(3)), "done"),
        (stage_remove(&leaving, &node(4)), "done"),
        (
            stage_replace(&three, &node(1), &node(9), false),
            "invalid_replacement",
        ),
        (
            stage_replace(&three, &node(1), &node(2), false),
            "invalid_replacement",
        ),
        (
            stage_replace(&two_come, &node(9), &node(7), false),
            "not_member",
        ),
        (stage_replace(&two_come, &node(1), &node(7), false), "done"),
        (
            stage_replace(&replaced, &node(2), &node(7), true),
            "already_replacement",
        ),
        (stage_replace(&replaced, &node(1), &node(7), true), "done"),
        (
            stage_replace(&joined(leaving.clone(), &[7]), &node(4), &node(7), false),
            "already_leaving",
        ),
        (
            stage_replace(&joined(down.clone(), &[7]), &node(3), &node(7), false),
            "not_reachable",
        ),
        (
            stage_replace(&joined(down.clone(), &[7]), &node(3), &node(7), true),
            "done",
        ),
        (stage_weight(&three, &node(9), 2.0), "not_member"),
        (stage_zone(&leaving, &node(4), None), "already_leaving"),
        (mark_down(&three, &node(9), false), "not_member"),
        (mark_down(&alone, &node(1), false), "only_member"),
    ] {
        assert_eq!(word(result), expected);
    }
}

/// Lost without it: a join whose answer was lost could not be asked for again.
#[test]
fn joining_twice_is_joining_once() {
    let once = joined(founded(), &[2]);
    assert_eq!(joined(once.clone(), &[2]), once);
    let addresses = Addresses {
        peer: "10.0.0.2:7379".to_owned(),
        ..Addresses::default()
    };
    let moved = Member::joining(Incarnation(2), addresses, None, f64::NAN);
    let refreshed = stage_join(&once, node(2), moved, false).unwrap();
    assert_eq!(refreshed.staged, once.staged);
    assert_eq!(refreshed.members[&node(2)].addresses.peer, "10.0.0.2:7379");
    assert_eq!(refreshed.members[&node(2)].weight, 1.0);
    let member_now = cluster(3);
    assert_eq!(joined(member_now.clone(), &[2]), member_now);
    assert_eq!(clear(&refreshed), founded());
}

/// What goes at once and by whom it is filled again, as `partition:from>to`, in one partition.
fn refills(plan: &Plan, partition: u16) -> Vec<(NodeName, NodeName)> {
    let of = plan.refills.iter().filter(|t| t.partition.0 == partition);
    of.map(|t| (t.from.clone(), t.to.clone())).collect()
}

/// Lost without it: a node that died for good could never be taken out, or would go on owning what nobody can read.
#[test]
fn a_node_is_removed_without_a_move() {
    let before = cluster(5);
    let staged = stage_remove(&before, &node(3)).unwrap();
    assert_eq!(stage_remove(&staged, &node(3)).unwrap(), staged);
    let plan = plan(&staged).unwrap();
    assert_eq!(plan.refills.len(), before.copies(&node(3)));
    assert!(plan.refills.iter().all(|t| t.from == node(3)));
    assert!(
        plan.transfers
            .iter()
            .all(|t| t.from != node(3) && t.to != node(3))
    );
    let told = format!("its {} copies are lost", before.copies(&node(3)));
    assert!(plan.warnings[0].contains(&told), "{:?}", plan.warnings);

    let after = commit_now(&staged, Some(&plan.id)).unwrap();
    assert_eq!(statuses(&after), "valid valid valid valid");
    assert!(after.rows.iter().all(|row| !row.contains(&node(3))));
    for partition in before.partitions.partitions() {
        let (was, is) = (before.row(partition), after.row(partition));
        let lost = was.iter().filter(|n| **n == node(3)).count();
        let stay = was.iter().filter(|n| is.contains(n)).count();
        assert_eq!(stay, 3 - lost, "only the lost places change hands at once");
        let nodes: BTreeSet<_> = is.iter().collect();
        assert_eq!(nodes.len(), 3, "rows stay on distinct nodes");
        assert_eq!(refills(&plan, partition.0).len(), lost);
    }
    assert_eq!(after.removed.len(), 1);
    assert_eq!(after.removed[0].incarnation, Incarnation(3));
    finished(after);
}

/// Lost without it: a move from or to a node that is gone would stand for ever.
#[test]
fn a_removal_ends_the_moves_of_the_node() {
    for gone in [1, 5] {
        let moving = commit_now(&joined(cluster(4), &[5]), None).unwrap();
        assert!(
            moving
                .moves
                .values()
                .any(|m| m.from == node(gone) || m.to == node(gone))
        );
        let after = commit_now(&stage_remove(&moving, &node(gone)).unwrap(), None).unwrap();
        let named = after.moves.values().flat_map(|m| [&m.from, &m.to]);
        assert!(named.into_iter().all(|n| *n != node(gone)));
        assert!(after.members[&after.claimant].status == Status::Valid);
        finished(after);
    }
}

/// Lost without it: what only one node held would be thrown away without a word.
#[test]
fn a_removal_says_what_is_lost() {
    let q = PartitionCount::new(16).unwrap();
    let mut ring = Ring::found(ClusterId(7), "rkv", q, 1, node(1), member(1));
    ring = finished(commit_now(&joined(ring, &[2]), None).unwrap());
    let plan = plan(&stage_remove(&ring, &node(2)).unwrap()).unwrap();
    assert!(
        plan.warnings[0].contains("of 8 partitions there is NO OTHER"),
        "{:?}",
        plan.warnings
    );
}

/// Lost without it: a new machine in place of an old one would have half the cluster move.
#[test]
fn a_replacement_takes_exactly_what_the_other_had() {
    let before = cluster(4);
    for force in [false, true] {
        let staged =
            stage_replace(&joined(before.clone(), &[9]), &node(2), &node(9), force).unwrap();
        let plan = plan(&staged).unwrap();
        let after = commit_now(&staged, Some(&plan.id)).unwrap();
        let goal = moves::goal(&after);
        for (was, is) in before.rows.iter().zip(&goal) {
            let heir = |n: &NodeName| if *n == node(2) { node(9) } else { n.clone() };
            assert_eq!(was.iter().map(heir).collect::<Row>(), *is);
        }
        let (made, filled) = (plan.transfers.len(), plan.refills.len());
        let copies = before.copies(&node(2));
        assert_eq!(
            (made, filled),
            if force { (0, copies) } else { (copies, 0) }
        );
        assert_eq!(after.members.contains_key(&node(2)), !force);
        assert_eq!(after.rows == goal, force);
        finished(after);
    }
}

/// Lost without it: half-made copies of a move would be taken for whole ones when their node becomes owner by force.
#[test]
fn only_a_completed_move_is_noted() {
    let mut settled = cluster(4);
    settled.epoch = Epoch(9);
    let moving = commit_now(&joined(settled, &[5]), None).unwrap();
    assert_eq!(moving.completed.len(), 16, "from when the cluster grew");
    let (&partition, under_way) = moving.moves.iter().find(|(_, m)| m.to == node(5)).unwrap();
    let by_force = commit_now(&stage_remove(&moving, &under_way.from).unwrap(), None).unwrap();
    assert_ne!(by_force.completed[&partition], under_way.attempt);
    let mut by_move = moving.clone();
    moves::complete(&mut by_move, partition);
    assert_eq!(by_move.completed[&partition], under_way.attempt);
}

/// Lost without it: a node that lost its disk could come back only under another name, or its old life could vote on.
#[test]
fn a_lost_node_rejoins_in_another_life() {
    let before = cluster(4);
    let word = stage_join(&before, node(2), newcomer(22), false);
    assert_eq!(word, Err(Refusal::DuplicateName { node: node(2) }));
    let staged = stage_join(&before, node(2), newcomer(22), true).unwrap();
    assert_eq!(staged.members, before.members, "not before a commit");
    assert_eq!(Ring::decode(&staged.encode()).unwrap(), staged);
    let plan = plan(&staged).unwrap();
    assert!(plan.warnings[0].starts_with("node2 comes back with an empty folder"));
    assert_eq!(
        (plan.transfers.len(), plan.refills.len()),
        (0, before.copies(&node(2)))
    );
    let after = commit_now(&staged, Some(&plan.id)).unwrap();
    assert_eq!(after.rows, before.rows);
    assert_eq!(after.members[&node(2)].incarnation, Incarnation(22));
    assert_eq!(after.members[&node(2)].status, Status::Valid);
    assert_eq!(after.removed[0].incarnation, Incarnation(2));
    assert_eq!(clear(&staged), before);
}

/// Lost without it: a heavy machine would get no more than a light one.
#[test]
fn weights_and_zones_are_staged() {
    let before = cluster(4);
    let staged = stage_weight(&before, &node(1), 2.0).unwrap();
    let staged = stage_zone(&staged, &node(1), Some("a".to_owned())).unwrap();
    let staged = stage_weight(&staged, &node(1), 0.25).unwrap();
    assert_eq!(
        staged.staged.len(),
        2,
        "the later weight stands: {:?}",
        staged.staged
    );
    assert_eq!(staged.members, before.members);
    let after = finished(commit_now(&staged, None).unwrap());
    assert_eq!(after.members[&node(1)].weight, 0.25);
    assert_eq!(after.members[&node(1)].zone.as_deref(), Some("a"));
    assert!(after.copies(&node(1)) < before.copies(&node(1)));
}

/// Lost without it: a member that is down for an hour would come back as something else.
#[test]
fn a_node_is_marked_down_and_back() {
    let before = cluster(4);
    let up = mark_down(&before, &node(2), true);
    assert_eq!(up, Err(Refusal::NodeIsUp { node: node(2) }));
    let mut down = mark_down(&before, &node(2), false).unwrap();
    assert_eq!(mark_down(&down, &node(2), false).unwrap(), down);
    assert_eq!(statuses(&down), "valid down valid valid");
    assert_eq!(down.rows, before.rows);
    assert!(mark_back(&mut down, &node(2)) && !mark_back(&mut down, &node(2)));
    assert_eq!(down, before);

    let leaving = commit_now(&stage_leave(&before, &node(2)).unwrap(), None).unwrap();
    let mut down = mark_down(&leaving, &node(2), false).unwrap();
    mark_back(&mut down, &node(2));
    assert_eq!(down, leaving);
}

/// Lost without it: a change that turned out a mistake could only be waited for.
#[test]
fn transfers_are_given_up() {
    let mut moving = commit_now(&joined(cluster(4), &[5]), None).unwrap();
    moving = commit_now(&stage_leave(&moving, &node(2)).unwrap(), None).unwrap();
    let &partition = moving.moves.keys().next().unwrap();
    moves::complete(&mut moving, partition);
    let stopped = cancel(&moving);
    assert_eq!(stopped.rows, moving.rows);
    assert!(stopped.next.is_empty() && stopped.moves.is_empty());
    assert_eq!(statuses(&stopped), "valid valid valid valid valid");
    assert_eq!(cancel(&stopped), stopped);
    Ring::decode(&stopped.encode()).unwrap();
}
