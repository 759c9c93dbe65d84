//! This file answers: what is staged, and what would a commit do?
//!
//! Each function takes the present ring and gives the draft of the next one, or the reason why not. Drafts keep the
//! epoch and the parent of the ring that they are made from: who proposes them sets those.
//!
//! A plan is a pure function of the ring, so it is not stored: what was shown is what a commit computes again, and its
//! id tells whether that is still the same. The id does not cover the epoch, so a plan outlives its claimant and rings
//! that change nothing that matters to it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::claim::{Claimable, claim};
use crate::member::{Member, NodeName, Status};
use crate::moves::{self, Transfer};
pub use crate::refusal::Refusal;
use crate::ring::{Change, Ring, Row};

/// What a commit would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Digest of the staged changes and of the rows that they lead to, in hex.
    #[serde(rename = "plan")]
    pub id: String,
    /// What is staged, in the order of staging.
    pub changes: Vec<Change>,
    /// Members as the commit leaves them, by name.
    pub members: Vec<MemberShare>,
    /// All copies that are to be made once it is committed, those still pending from before among them.
    pub transfers: Vec<Transfer>,
    /// What the operator should know before committing.
    pub warnings: Vec<String>,
}

/// What a member has, and what it will have when all transfers are done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberShare {
    /// Who.
    pub name: NodeName,
    /// Its status; in a plan that after the commit.
    pub status: Status,
    /// Share of first replicas now, in percent of all partitions.
    pub ring_percent: f64,
    /// That share when all transfers are done; none when nothing is pending.
    pub pending_percent: Option<f64>,
    /// Copies held now.
    pub copies: usize,
    /// Copies held when all transfers are done; none when nothing is pending.
    pub pending_copies: Option<usize>,
}

/// What each member of `ring` has and will have, by name.
pub fn shares(ring: &Ring) -> Vec<MemberShare> {
    let goal = (!ring.next.is_empty()).then(|| moves::goal(ring));
    compare(ring, ring, goal.as_deref())
}

fn compare(now: &Ring, then: &Ring, goal: Option<&[Row]>) -> Vec<MemberShare> {
    let percent = |rows: &[Row], node: &NodeName| {
        let firsts = rows.iter().filter(|row| row.first() == Some(node)).count();
        100.0 * firsts as f64 / rows.len() as f64
    };
    let copies =
        |rows: &[Row], node: &NodeName| rows.iter().filter(|row| row.contains(node)).count();
    let share = |(name, member): (&NodeName, &Member)| MemberShare {
        name: name.clone(),
        status: member.status,
        ring_percent: percent(&now.rows, name),
        pending_percent: goal.map(|goal| percent(goal, name)),
        copies: copies(&now.rows, name),
        pending_copies: goal.map(|goal| copies(goal, name)),
    };
    then.members.iter().map(share).collect()
}

/// Stages that `member` joins as `name`. The same incarnation again only refreshes its addresses, zone and weight, and
/// changes nothing once it is a full member.
pub fn stage_join(ring: &Ring, name: NodeName, member: Member) -> Result<Ring, Refusal> {
    if let Some(known) = ring.members.get(&name) {
        if known.incarnation != member.incarnation {
            return Err(Refusal::DuplicateName { node: name });
        }
        match known.status {
            Status::Joining => {}
            Status::Valid | Status::Down => return Ok(ring.clone()),
            Status::Leaving | Status::Exiting => {
                return Err(Refusal::AlreadyLeaving { node: name });
            }
        }
    }
    let mut draft = ring.clone();
    stage(&mut draft, Change::Join { node: name.clone() });
    let has_weight = member.weight.is_finite() && member.weight > 0.0;
    let weight = if has_weight { member.weight } else { 1.0 };
    draft.members.insert(
        name,
        Member {
            status: Status::Joining,
            weight,
            ..member
        },
    );
    Ok(draft)
}

/// Stages that `node` hands everything off and leaves. Staged already: nothing changes.
pub fn stage_leave(ring: &Ring, node: &NodeName) -> Result<Ring, Refusal> {
    let refusal = |make: fn(NodeName) -> Refusal| Err(make(node.clone()));
    match ring.members.get(node).map(|m| m.status) {
        None | Some(Status::Joining) => refusal(|node| Refusal::NotMember { node }),
        Some(Status::Leaving | Status::Exiting) => refusal(|node| Refusal::AlreadyLeaving { node }),
        // It cannot hand anything off.
        Some(Status::Down) => refusal(|node| Refusal::NotReachable { node }),
        Some(Status::Valid) => {
            let mut draft = ring.clone();
            stage(&mut draft, Change::Leave { node: node.clone() });
            if with_changes_made(&draft)
                .members
                .values()
                .any(|m| m.status.claims())
            {
                Ok(draft)
            } else {
                refusal(|node| Refusal::OnlyMember { node })
            }
        }
    }
}

/// Stages `change` unless it is.
fn stage(draft: &mut Ring, change: Change) {
    draft
        .staged
        .retain(|staged| staged.node() != change.node() || *staged == change);
    if !draft.staged.contains(&change) {
        draft.staged.push(change);
    }
}

/// Drops what is staged, and the members that were joining: they go on as clusters of their own.
pub fn clear(ring: &Ring) -> Ring {
    let mut draft = ring.clone();
    draft.staged.clear();
    draft
        .members
        .retain(|_, member| member.status != Status::Joining);
    draft
}

/// What a commit would do; `None` when nothing is staged.
pub fn plan(ring: &Ring) -> Option<Plan> {
    if ring.staged.is_empty() {
        return None;
    }
    let outcome = Outcome::of(ring);
    let goal = moves::goal(&outcome.draft);
    let transfers = moves::transfers(&outcome.draft);
    let is_pending = goal != ring.rows;
    Some(Plan {
        id: outcome.id,
        changes: ring.staged.clone(),
        members: compare(ring, &outcome.draft, is_pending.then_some(&goal)),
        warnings: warnings(&outcome.draft, &goal),
        transfers,
    })
}

/// Carries out what is staged: members change their status, the target is set, moves start, and a claimant that leaves
/// gives its office to the first full member. With `plan_id`, only if that is still the plan.
pub fn commit(ring: &Ring, plan_id: Option<&str>) -> Result<Ring, Refusal> {
    if ring.staged.is_empty() {
        return Err(Refusal::NothingPlanned);
    }
    let outcome = Outcome::of(ring);
    match plan_id {
        Some(seen) if seen != outcome.id => Err(Refusal::PlanChanged {
            seen: seen.to_owned(),
            now: outcome.id,
        }),
        _ => Ok(outcome.draft),
    }
}

/// What comes of committing what a ring has staged.
struct Outcome {
    draft: Ring,
    id: String,
}

impl Outcome {
    fn of(ring: &Ring) -> Outcome {
        let mut draft = with_changes_made(ring);
        let target = target(&draft);
        let id = id(&ring.staged, &target);
        moves::set_target(&mut draft, target);
        moves::start(&mut draft);
        if !draft
            .members
            .get(&draft.claimant)
            .is_some_and(|m| m.status.claims())
            && let Some((first, _)) = draft.members.iter().find(|(_, m)| m.status.claims())
        {
            draft.claimant = first.clone();
        }
        Outcome { draft, id }
    }
}

/// `ring` with the staged changes made to its members, and to nothing else.
fn with_changes_made(ring: &Ring) -> Ring {
    let mut draft = ring.clone();
    for change in std::mem::take(&mut draft.staged) {
        let next = match change {
            Change::Join { .. } => Status::Valid,
            Change::Leave { .. } => Status::Leaving,
        };
        if let Some(member) = draft.members.get_mut(change.node())
            && member.status.may_become(next)
        {
            member.status = next;
        }
    }
    draft
}

/// The rows that the members of `ring` should have.
///
/// Claim sees the rows that pending transfers lead to, so that a plan stays the same while they go on, and behind them
/// who still has a copy from before, so that taking a change back costs little.
fn target(ring: &Ring) -> Vec<Row> {
    let is_down = |member: &Member| member.status == Status::Down;
    let nodes: Vec<Claimable> = ring
        .members
        .iter()
        .filter(|(name, m)| m.status.claims() || (is_down(m) && ring.copies(name) > 0))
        .map(|(name, member)| Claimable {
            name: name.clone(),
            zone: member.zone.clone(),
            weight: member.weight,
            fixed: is_down(member),
        })
        .collect();
    let holders: Vec<Row> = ring
        .rows
        .iter()
        .zip(moves::goal(ring))
        .map(|(row, goal)| goal.iter().chain(row).cloned().collect())
        .collect();
    claim(ring.partitions, ring.replicas, &nodes, &holders)
}

/// Digest of what is staged, in any order, and of the rows that it leads to: 16 digits of hex.
fn id(staged: &[Change], target: &[Row]) -> String {
    let mut staged: Vec<&Change> = staged.iter().collect();
    staged.sort_by_key(|change| change.node());
    let bytes = rmp_serde::to_vec_named(&(staged, target))
        .expect("changes and rows hold nothing that MessagePack cannot");
    blake3::hash(&bytes).to_hex()[..16].to_owned()
}

/// What is wrong with `goal`, the rows that `draft` goes to.
fn warnings(draft: &Ring, goal: &[Row]) -> Vec<String> {
    let replicas = usize::from(draft.replicas);
    let owners: BTreeSet<&NodeName> = goal.iter().flatten().collect();
    let mut warnings = Vec::new();

    let nodes_in = |row: &Row| row.iter().collect::<BTreeSet<_>>().len();
    let short = goal.iter().filter(|row| nodes_in(row) < replicas).count();
    if owners.len() < replicas {
        warnings.push(format!(
            "{} of the {replicas} nodes that {replicas} replicas need: no partition will have its replicas on \
             distinct nodes; join more with `rkv cluster join`",
            owners.len()
        ));
    } else if short > 0 {
        warnings.push(format!(
            "{short} of {} partitions will not have their {replicas} replicas on distinct nodes",
            goal.len()
        ));
    }

    let zone = |node: &NodeName| draft.members.get(node).and_then(|m| m.zone.as_ref());
    let zones = owners
        .iter()
        .map(|node| zone(node))
        .collect::<BTreeSet<_>>();
    let zones_in = |row: &Row| row.iter().map(zone).collect::<BTreeSet<_>>().len();
    if zones.iter().any(Option::is_some) {
        let shared = goal
            .iter()
            .filter(|row| zones_in(row) < nodes_in(row))
            .count();
        if shared > 0 {
            warnings.push(format!(
                "{shared} of {} partitions will have replicas that share a zone: {} nodes in {} zones for {replicas} \
                 replicas; see `rkv cluster zone`",
                goal.len(),
                owners.len(),
                zones.len()
            ));
        }
    }

    for (name, _) in draft
        .members
        .iter()
        .filter(|(_, m)| m.status == Status::Down)
    {
        warnings.push(format!(
            "{name} is down: it keeps the copies it has and gets no others until it is back"
        ));
    }
    warnings
}

/// Leaving members that own nothing, and are to own nothing, become exiting. Says whether any did.
pub fn settle(ring: &mut Ring) -> bool {
    let is_leaving = |m: &Member| m.status == Status::Leaving;
    if !ring.members.values().any(is_leaving) {
        return false;
    }
    let rows = ring.rows.iter().chain(ring.next.values()).flatten();
    let moving = ring.moves.values().flat_map(|m| [&m.from, &m.to]);
    let busy: BTreeSet<NodeName> = rows.chain(moving).cloned().collect();
    let mut any = false;
    for (name, member) in &mut ring.members {
        if is_leaving(member) && !busy.contains(name) {
            member.status = Status::Exiting;
            any = true;
        }
    }
    any
}

#[cfg(test)]
mod tests {
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

    /// A cluster of node1.
    fn founded() -> Ring {
        let q = PartitionCount::new(16).unwrap();
        Ring::found(ClusterId(7), "rkv", q, 3, node(1), member(1))
    }

    fn joined(mut ring: Ring, nodes: &[u32]) -> Ring {
        for &i in nodes {
            ring = stage_join(&ring, node(i), member(i)).unwrap();
        }
        ring
    }

    /// A settled cluster of node1 to node`count`.
    fn cluster(count: u32) -> Ring {
        let others: Vec<u32> = (2..=count).collect();
        let ring = joined(founded(), &others);
        finished(if count > 1 {
            commit(&ring, None).unwrap()
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

        let committed = commit(&staged, Some(&plan.id)).unwrap();
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
        assert!(commit(&later, Some(&id)).is_ok());

        let more = joined(staged, &[4]);
        let now = plan(&more).unwrap().id;
        assert_eq!(
            commit(&more, Some(&id)),
            Err(Refusal::PlanChanged { seen: id, now })
        );
        assert_eq!(commit(&clear(&more), None), Err(Refusal::NothingPlanned));
    }

    /// Lost without it: a plan made while transfers run could never be committed.
    #[test]
    fn a_plan_stays_while_transfers_go_on() {
        let mut ring = commit(&joined(cluster(4), &[5]), None).unwrap();
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
            let ring = commit(&joined(cluster(count), &[9]), None).unwrap();
            let ring = commit(&stage_leave(&ring, &node(9)).unwrap(), None).unwrap();
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

        let mut ring = commit(&staged, Some(&plan.id)).unwrap();
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
        let mut ring = commit(&staged, None).unwrap();
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
        assert!(
            warnings[0].starts_with("16 of 16 partitions will have replicas that share a zone")
        );
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
        finished(commit(&staged, None).unwrap());
    }

    /// Lost without it: a request that cannot be would change something, or be refused with a word that misleads.
    #[test]
    fn what_cannot_be_is_refused() {
        let word =
            |result: Result<Ring, Refusal>| result.map(|_| "done").unwrap_or_else(|r| r.word());
        let alone = founded();
        let three = cluster(3);
        let leaving = commit(&stage_leave(&cluster(4), &node(4)).unwrap(), None).unwrap();
        let mut down = three.clone();
        down.members.get_mut(&node(3)).unwrap().status = Status::Down;
        let two_go = stage_leave(&stage_leave(&three, &node(1)).unwrap(), &node(2)).unwrap();

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
            (stage_join(&three, node(2), member(8)), "duplicate_name"),
            (stage_join(&leaving, node(4), member(4)), "already_leaving"),
            (commit(&three, None), "nothing_planned"),
        ] {
            assert_eq!(word(result), expected);
        }
    }

    /// Lost without it: a join whose answer was lost could not be asked for again.
    #[test]
    fn joining_twice_is_joining_once() {
        let once = joined(founded(), &[2]);
        assert_eq!(joined(once.clone(), &[2]), once);
        let mut moved = member(2);
        moved.addresses.peer = "10.0.0.2:7379".to_owned();
        moved.weight = f64::NAN;
        let refreshed = stage_join(&once, node(2), moved).unwrap();
        assert_eq!(refreshed.staged, once.staged);
        assert_eq!(refreshed.members[&node(2)].addresses.peer, "10.0.0.2:7379");
        assert_eq!(refreshed.members[&node(2)].weight, 1.0);
        let member_now = cluster(3);
        assert_eq!(joined(member_now.clone(), &[2]), member_now);
        assert_eq!(clear(&refreshed), founded());
    }
}
