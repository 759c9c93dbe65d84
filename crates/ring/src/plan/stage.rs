//! This file answers: what may be staged, and what is done at once?
//!
//! Each function takes the present ring and gives the draft of the next one, or the reason why not.

use crate::change::Change;
use crate::member::{Member, NodeName, Status};
use crate::moves;
use crate::plan::with_changes_made;
use crate::refusal::Refusal;
use crate::ring::Ring;

/// Stages that `member` joins as `name`. The same incarnation again only refreshes its addresses, zone and weight, and
/// changes nothing once it is a full member.
///
/// Another incarnation of a member that is lost (`is_lost`: it does not answer, or is marked down) rejoins in its stead.
pub fn stage_join(
    ring: &Ring,
    name: NodeName,
    member: Member,
    is_lost: bool,
) -> Result<Ring, Refusal> {
    let Some(known) = ring.members.get(&name) else {
        return Ok(with_joining(ring, name, member));
    };
    if known.incarnation == member.incarnation {
        return match known.status {
            Status::Joining => Ok(with_joining(ring, name, member)),
            Status::Valid | Status::Down => Ok(ring.clone()),
            Status::Leaving | Status::Exiting => Err(Refusal::AlreadyLeaving { node: name }),
        };
    }
    let may_return = matches!(known.status, Status::Valid | Status::Down);
    if !(is_lost && may_return) {
        return Err(Refusal::DuplicateName { node: name });
    }
    let mut draft = ring.clone();
    let rejoin = Change::Rejoin {
        node: name,
        member: Box::new(member),
    };
    stage(&mut draft, rejoin);
    Ok(draft)
}

fn with_joining(ring: &Ring, name: NodeName, member: Member) -> Ring {
    let mut draft = ring.clone();
    let is_replacement = |change: &Change| change.replacement() == Some(&name);
    if !draft.staged.iter().any(is_replacement) {
        stage(&mut draft, Change::Join { node: name.clone() });
    }
    draft.members.insert(name, member);
    draft
}

/// Stages that `node` hands everything off and leaves. Staged already: nothing changes.
pub fn stage_leave(ring: &Ring, node: &NodeName) -> Result<Ring, Refusal> {
    may_go(ring, node, false)?;
    let leave = Change::Leave { node: node.clone() };
    leaving_somebody(ring, leave)
}

/// Stages that `node` is a member no more, without handing anything off. Staged already: nothing changes.
pub fn stage_remove(ring: &Ring, node: &NodeName) -> Result<Ring, Refusal> {
    may_go(ring, node, true)?;
    let remove = Change::Remove { node: node.clone() };
    leaving_somebody(ring, remove)
}

/// Stages that `with`, which is joining, takes over all that `node` has: from `node` itself, or by `force` from the
/// copies that are left. Staged already: nothing changes.
pub fn stage_replace(
    ring: &Ring,
    node: &NodeName,
    with: &NodeName,
    force: bool,
) -> Result<Ring, Refusal> {
    may_go(ring, node, force)?;
    let (node, with) = (node.clone(), with.clone());
    let is_joining = ring
        .members
        .get(&with)
        .is_some_and(|member| member.status == Status::Joining);
    if !is_joining {
        return Err(Refusal::InvalidReplacement { node: with });
    }
    let takes = |change: &Change| change.replacement() == Some(&with) && *change.node() != node;
    if ring.staged.iter().any(takes) {
        return Err(Refusal::AlreadyReplacement { node: with });
    }
    let mut draft = ring.clone();
    let change = if force {
        Change::ForceReplace { node, with }
    } else {
        Change::Replace { node, with }
    };
    stage(&mut draft, change);
    Ok(draft)
}

/// Stages another share of the copies for `node`. The weight that it has: takes a staged one back.
pub fn stage_weight(ring: &Ring, node: &NodeName, weight: f64) -> Result<Ring, Refusal> {
    stays(ring, node)?;
    let mut draft = ring.clone();
    let node = node.clone();
    stage(&mut draft, Change::Weight { node, weight });
    Ok(draft)
}

/// Stages another failure domain for `node`; `None`: that of all who name none.
pub fn stage_zone(ring: &Ring, node: &NodeName, zone: Option<String>) -> Result<Ring, Refusal> {
    stays(ring, node)?;
    let mut draft = ring.clone();
    let node = node.clone();
    stage(&mut draft, Change::Zone { node, zone });
    Ok(draft)
}

/// Whether `node` is there and on its way nowhere.
fn stays(ring: &Ring, node: &NodeName) -> Result<(), Refusal> {
    let node = || node.clone();
    match ring.members.get(&node()).map(|member| member.status) {
        None => Err(Refusal::NotMember { node: node() }),
        Some(Status::Leaving | Status::Exiting) => Err(Refusal::AlreadyLeaving { node: node() }),
        Some(Status::Joining | Status::Valid | Status::Down) => Ok(()),
    }
}

/// Whether `node` is a full member that may be told to go; `by_force`: also one that is lost or going.
fn may_go(ring: &Ring, node: &NodeName, by_force: bool) -> Result<(), Refusal> {
    let node = || node.clone();
    match ring.members.get(&node()).map(|member| member.status) {
        None | Some(Status::Joining) => Err(Refusal::NotMember { node: node() }),
        Some(_) if by_force => Ok(()),
        Some(Status::Leaving | Status::Exiting) => Err(Refusal::AlreadyLeaving { node: node() }),
        // It cannot hand anything off.
        Some(Status::Down) => Err(Refusal::NotReachable { node: node() }),
        Some(Status::Valid) => Ok(()),
    }
}

/// Stages `change` if somebody is left who can own something.
fn leaving_somebody(ring: &Ring, change: Change) -> Result<Ring, Refusal> {
    let mut draft = ring.clone();
    let node = change.node().clone();
    stage(&mut draft, change);
    let after = with_changes_made(&draft);
    let claims = after.members.values().any(|m| m.status.claims());
    claims.then_some(draft).ok_or(Refusal::OnlyMember { node })
}

/// Stages `change` in place of another of its kind for the same node.
fn stage(draft: &mut Ring, change: Change) {
    if draft.staged.contains(&change) {
        return;
    }
    let same = |staged: &Change| staged.node() == change.node() && staged.kind() == change.kind();
    draft.staged.retain(|staged| !same(staged));
    draft.staged.push(change);
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

/// Marks `node`, which does not answer, as down: it has no voice and is not waited for until it is back. Marked
/// already: nothing changes.
pub fn mark_down(ring: &Ring, node: &NodeName, is_up: bool) -> Result<Ring, Refusal> {
    let status = ring.members.get(node).map(|member| member.status);
    let node = || node.clone();
    match status {
        None | Some(Status::Joining) => return Err(Refusal::NotMember { node: node() }),
        Some(Status::Down) => return Ok(ring.clone()),
        Some(_) if is_up => return Err(Refusal::NodeIsUp { node: node() }),
        Some(Status::Exiting) => return Err(Refusal::AlreadyLeaving { node: node() }),
        Some(Status::Valid | Status::Leaving) => {}
    }
    let mut draft = ring.clone();
    set_status(&mut draft, &node(), Status::Down);
    let claims = draft.members.values().any(|m| m.status.claims());
    claims
        .then_some(draft)
        .ok_or_else(|| Refusal::OnlyMember { node: node() })
}

/// `node` was marked down and is back: it is what it was. Says whether it was marked.
pub fn mark_back(ring: &mut Ring, node: &NodeName) -> bool {
    let is_down = ring
        .members
        .get(node)
        .is_some_and(|member| member.status == Status::Down);
    if is_down {
        // It was leaving if all that it has is on its way to others.
        let is_left_nothing = moves::goal(ring).iter().all(|row| !row.contains(node));
        let goes = ring.copies(node) > 0 && is_left_nothing;
        let status = if goes { Status::Leaving } else { Status::Valid };
        set_status(ring, node, status);
    }
    is_down
}

/// Gives up all transfers that are pending or under way: every row stays as it is now, and nodes that were leaving
/// stay. What was moved before is not moved back.
pub fn cancel(ring: &Ring) -> Ring {
    let mut draft = ring.clone();
    draft.next.clear();
    draft.moves.clear();
    let leaving: Vec<NodeName> = draft
        .members
        .iter()
        .filter(|(_, member)| member.status == Status::Leaving)
        .map(|(name, _)| name.clone())
        .collect();
    for node in leaving {
        set_status(&mut draft, &node, Status::Valid);
    }
    draft
}

fn set_status(draft: &mut Ring, node: &NodeName, next: Status) {
    if let Some(member) = draft.members.get_mut(node)
        && member.status.may_become(next)
    {
        member.status = next;
    }
}
