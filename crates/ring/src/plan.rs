//! This file answers: what would a commit do, and how is it done?
//!
//! Beside this file: `stage` what may be staged, and what is done at once · `warnings` what an operator should know.
//! Drafts keep the epoch and the parent of the ring that they are made from: who proposes them sets those.
//!
//! A plan is a pure function of the ring, so it is not stored: what was shown is what a commit computes again, and its
//! id tells whether that is still the same. The id does not cover the epoch, so a plan outlives its claimant and rings
//! that change nothing that matters to it.

mod stage;
mod warnings;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::change::{Change, Removed};
use crate::claim::{Claimable, claim};
use crate::member::{Member, NodeName, Status};
use crate::moves::{self, Transfer};
pub use crate::refusal::Refusal;
use crate::ring::{Ring, Row};

pub use stage::{
    cancel, clear, mark_back, mark_down, stage_join, stage_leave, stage_remove, stage_replace,
    stage_weight, stage_zone,
};

use warnings::Outlook;

/// How many lives that were removed by force a ring remembers; the oldest are forgotten.
pub const MOST_REMOVED: usize = 256;

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
    /// Copies that are lost, and who fills them again from the other owners: with the commit at once, before any transfer.
    #[serde(default)]
    pub refills: Vec<Transfer>,
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

/// What a commit would do; `None` when nothing is staged.
pub fn plan(ring: &Ring) -> Option<Plan> {
    if ring.staged.is_empty() {
        return None;
    }
    let outcome = Outcome::of(ring);
    let goal = moves::goal(&outcome.draft);
    let outlook = Outlook {
        now: ring,
        draft: &outcome.draft,
        goal: &goal,
        forced: &outcome.forced,
    };
    let is_pending = goal != ring.rows;
    Some(Plan {
        members: compare(ring, &outcome.draft, is_pending.then_some(&goal)),
        warnings: outlook.warnings(),
        transfers: moves::transfers(&outcome.draft),
        id: outcome.id,
        changes: ring.staged.clone(),
        refills: outcome.forced.refills,
    })
}

/// Carries out what is staged: members change their status, the target is set, moves start, and a claimant that goes
/// gives its office to the first full member. With `plan_id`, only if that is still the plan. `wall_ms` is now, in unix
/// milliseconds.
pub fn commit(ring: &Ring, plan_id: Option<&str>, wall_ms: u64) -> Result<Ring, Refusal> {
    if ring.staged.is_empty() {
        return Err(Refusal::NothingPlanned);
    }
    let outcome = Outcome::of(ring);
    match plan_id {
        Some(seen) if seen != outcome.id => Err(Refusal::PlanChanged {
            seen: seen.to_owned(),
            now: outcome.id,
            staged: ring.staged.iter().map(Change::to_string).collect(),
        }),
        _ => {
            let mut draft = outcome.draft;
            remember_removed(ring, &mut draft, wall_ms);
            Ok(draft)
        }
    }
}

/// `ring` without `lost`, as if their removal had been staged alone and committed, and what is lost with them.
pub fn without(
    ring: &Ring,
    lost: &[NodeName],
    wall_ms: u64,
) -> Result<(Ring, Vec<String>), Refusal> {
    let mut staged = clear(ring);
    for node in lost {
        staged = stage_remove(&staged, node)?;
    }
    if staged.staged.is_empty() {
        return Err(Refusal::NothingPlanned);
    }
    let outcome = Outcome::of(&staged);
    let goal = moves::goal(&outcome.draft);
    let outlook = Outlook {
        now: &staged,
        draft: &outcome.draft,
        goal: &goal,
        forced: &outcome.forced,
    };
    let losses = outlook.losses();
    let mut draft = outcome.draft;
    remember_removed(&staged, &mut draft, wall_ms);
    Ok((draft, losses))
}

/// Notes the lives that go without handing anything off.
fn remember_removed(ring: &Ring, draft: &mut Ring, at_ms: u64) {
    for node in ring.staged.iter().filter_map(Change::lost) {
        if let Some(member) = ring.members.get(node) {
            draft.removed.push(Removed {
                node: node.clone(),
                incarnation: member.incarnation,
                at_ms,
            });
        }
    }
    let excess = draft.removed.len().saturating_sub(MOST_REMOVED);
    draft.removed.drain(..excess);
}

/// What comes of a commit without a move.
#[derive(Debug, Default)]
struct Forced {
    /// Who takes over a copy that is lost, from whom.
    refills: Vec<Transfer>,
    /// In how many partitions nobody keeps a copy of those that a node had.
    alone: BTreeMap<NodeName, usize>,
}

impl Forced {
    /// Of how many partitions `node` held the only copy that there is.
    fn only_copies(&self, node: &NodeName) -> usize {
        self.alone.get(node).copied().unwrap_or(0)
    }

    /// Of a commit of what `ring` has staged, that makes it `draft`.
    fn of(ring: &Ring, draft: &Ring) -> Forced {
        let lost: BTreeSet<&NodeName> = ring.staged.iter().filter_map(Change::lost).collect();
        let mut forced = Forced::default();
        for partition in ring.partitions.partitions() {
            let (before, after) = (ring.row(partition), draft.row(partition));
            let is_lost = before.iter().all(|node| lost.contains(node));
            let mut told = BTreeSet::new();
            for (from, to) in before.iter().zip(after) {
                if !lost.contains(from) || !told.insert((from, to)) {
                    continue;
                }
                forced.refills.push(Transfer {
                    partition,
                    from: from.clone(),
                    to: to.clone(),
                });
            }
            for node in before.iter().collect::<BTreeSet<_>>() {
                if is_lost {
                    *forced.alone.entry(node.clone()).or_default() += 1;
                }
            }
        }
        forced
    }
}

/// What comes of committing what a ring has staged.
struct Outcome {
    draft: Ring,
    forced: Forced,
    id: String,
}

impl Outcome {
    fn of(ring: &Ring) -> Outcome {
        let mut draft = with_changes_made(ring);
        let heirs = heirs(&ring.staged);
        let target = target(&draft, &heirs);
        let id = id(&ring.staged, &target);
        moves::evict(&mut draft, &target, &heirs);
        let forced = Forced::of(ring, &draft);
        moves::set_target(&mut draft, target);
        moves::start(&mut draft);
        for change in &ring.staged {
            if let Change::Rejoin { node, .. } = change {
                moves::begin_anew(&mut draft, node);
            }
        }
        if !draft
            .members
            .get(&draft.claimant)
            .is_some_and(|m| m.status.claims())
            && let Some((first, _)) = draft.members.iter().find(|(_, m)| m.status.claims())
        {
            draft.claimant = first.clone();
        }
        Outcome { draft, forced, id }
    }
}

/// Who takes whose places.
type Heirs = BTreeMap<NodeName, NodeName>;

fn heirs(staged: &[Change]) -> Heirs {
    let heir = |change: &Change| Some((change.node().clone(), change.replacement()?.clone()));
    staged.iter().filter_map(heir).collect()
}

/// `ring` with the staged changes made to its members, and to nothing else: its rows may name nodes that are gone.
fn with_changes_made(ring: &Ring) -> Ring {
    let mut draft = ring.clone();
    for change in std::mem::take(&mut draft.staged) {
        let node = change.node().clone();
        let Some(member) = draft.members.get_mut(&node) else {
            continue;
        };
        let next = match change {
            Change::Join { .. } => Some(Status::Valid),
            Change::Leave { .. } | Change::Replace { .. } => Some(Status::Leaving),
            Change::Rejoin { member: anew, .. } => {
                *member = *anew;
                Some(Status::Valid)
            }
            Change::Weight { weight, .. } => {
                member.weight = weight;
                None
            }
            Change::Zone { zone, .. } => {
                member.zone = zone;
                None
            }
            Change::Remove { .. } | Change::ForceReplace { .. } => {
                draft.members.remove(&node);
                continue;
            }
        };
        if let Some(next) = next.filter(|next| member.status.may_become(*next)) {
            member.status = next;
        }
    }
    draft
}

/// The rows that the members of `ring` should have.
///
/// Claim sees the rows that pending transfers lead to, so that a plan stays the same while they go on, and behind them
/// who still has a copy from before, so that taking a change back costs little. Heirs stand where they inherit.
fn target(ring: &Ring, heirs: &Heirs) -> Vec<Row> {
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
    let owner = |node: &NodeName| heirs.get(node).unwrap_or(node).clone();
    let holders: Vec<Row> = ring
        .rows
        .iter()
        .zip(moves::goal(ring))
        .map(|(row, goal)| goal.iter().chain(row).map(owner).collect())
        .collect();
    claim(ring.partitions, ring.replicas, &nodes, &holders)
}

/// Digest of what is staged, in any order, and of the rows that it leads to: 16 digits of hex.
fn id(staged: &[Change], target: &[Row]) -> String {
    let mut staged: Vec<&Change> = staged.iter().collect();
    staged.sort_by_key(|change| (change.node(), change.kind()));
    let bytes = rmp_serde::to_vec_named(&(staged, target))
        .expect("changes and rows hold nothing that MessagePack cannot");
    blake3::hash(&bytes).to_hex()[..16].to_owned()
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
mod tests;
