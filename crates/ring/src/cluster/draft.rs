//! This file answers: what goes into the next epoch, and who is told what became of it?
//!
//! Requests and reports wait on the claimant's desk until an epoch may begin, and all that is ready goes into one. A
//! request is answered when the ring that holds it is chosen, also if another member got it chosen; when some other
//! ring is chosen instead, it waits for the next one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::learn::Sender;
use super::message::{AdminReply, AdminRequest, Body, JoinRequest, Report};
use super::{AGAIN_MS, Cluster, Effect, Fault, Target};
use crate::claimant;
use crate::member::{Incarnation, Member, NodeName, Status};
use crate::moves;
use crate::plan::{self, Refusal};
use crate::ring::{Epoch, Ring, RingDigest};

/// How many requests may wait at once; more are not taken, and their operators ask again.
const DESK: usize = 1_000;

/// What waits for the next epoch.
#[derive(Debug, Default)]
pub(super) struct Desk {
    pending: Vec<Pending>,
    /// Requests in a ring that was put to the vote and is not known to be chosen, with that ring's digest.
    awaiting: Option<(RingDigest, Vec<Pending>)>,
    /// Requests of other nodes that were taken, by (node, boot, number), and until when a repetition is ignored.
    taken: BTreeMap<(NodeName, u64, u64), u64>,
    /// What members reported; own reports only, unless this node is the claimant.
    reports: Vec<Report>,
    /// When own reports were last sent to the claimant.
    reported_at: Option<u64>,
    /// The last draft held nothing new, and nothing has come since.
    idle: bool,
}

/// A request for the next epoch.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) origin: Origin,
    pub(super) wish: Wish,
    /// When whoever asked gives up.
    pub(super) deadline: u64,
}

/// Who gets the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// An operator of this node.
    Here(u64),
    /// An operator of another.
    Node { node: NodeName, boot: u64, id: u64 },
    /// A node that wants to join, by its peer address.
    Joiner { peer: String, ask: u64 },
}

/// What is wanted.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Wish {
    /// A node wants to join.
    Join(Box<JoinRequest>),
    /// An operator wants something that takes an epoch.
    Admin(AdminRequest),
}

impl Wish {
    fn is_commit(&self) -> bool {
        matches!(self, Wish::Admin(AdminRequest::Commit { .. }))
    }

    /// Whether an operator means now: transfers are held, or go on.
    fn is_about_handoff(&self) -> bool {
        matches!(self, Wish::Admin(AdminRequest::Handoff(_)))
    }
}

/// A ring to propose, with the requests that it grants.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) ring: Arc<Ring>,
    pub(super) granted: Vec<Pending>,
}

impl Desk {
    /// Puts requests back, ahead of those that came later.
    pub(super) fn take_back(&mut self, mut requests: Vec<Pending>) {
        self.idle = false;
        requests.append(&mut self.pending);
        self.pending = requests;
    }

    /// Keeps `granted` until it is known whether the ring with this digest is chosen.
    pub(super) fn await_decision(&mut self, digest: RingDigest, granted: Vec<Pending>) {
        self.awaiting = Some((digest, granted));
    }

    /// Whether the joiner in this life waits already.
    pub(super) fn awaits_join(&self, life: Incarnation) -> bool {
        let awaiting = self.awaiting.iter().flat_map(|(_, granted)| granted);
        let mut all = self.pending.iter().chain(awaiting);
        all.any(|p| matches!(&p.wish, Wish::Join(request) if request.incarnation == life))
    }
}

impl Cluster {
    /// Whether there may be something to propose.
    pub(super) fn has_work(&self) -> bool {
        !self.desk.idle
    }

    /// Whether waiting collects nothing more for the next epoch: each move under way was reported, and there is one, or
    /// else a plan to be carried out. An operator who holds transfers, or lets them go on, means now.
    pub(super) fn is_all_ready(&self) -> bool {
        let moves = &self.stored.ring.moves;
        let is_commit = |pending: &Pending| pending.wish.is_commit();
        let means_now = |pending: &Pending| pending.wish.is_about_handoff();
        if self.desk.pending.iter().any(means_now) {
            return true;
        }
        if moves.is_empty() {
            return self.desk.pending.iter().any(is_commit);
        }
        if self.desk.reports.len() < moves.len() {
            return false;
        }
        let reported = self.desk.reports.iter().filter_map(Report::partition);
        reported.collect::<BTreeSet<_>>().len() == moves.len()
    }

    pub(super) fn enqueue(&mut self, pending: Pending) {
        if self.desk.pending.len() < DESK {
            self.desk.idle = false;
            self.desk.pending.push(pending);
        }
    }

    /// Remembers that a request of another node was taken; says whether it is the first time.
    pub(super) fn is_first(&mut self, now: u64, node: &NodeName, boot: u64, id: u64) -> bool {
        self.desk.taken.retain(|_, until| now < *until);
        let until = now + 2 * self.config.answer_within_ms;
        self.desk
            .taken
            .insert((node.clone(), boot, id), until)
            .is_none()
    }

    /// The next ring, with all that is ready; `None` when nothing is. Refusals are answered at once.
    pub(super) fn draft(&mut self, now: u64, effects: &mut Vec<Effect>) -> Option<Draft> {
        self.desk.idle = true;
        let parent = self.stored.ring.clone();
        let mut ring = Ring::clone(&parent);
        self.apply_reports(&mut ring);
        let mut granted = Vec::new();
        for pending in std::mem::take(&mut self.desk.pending) {
            match self.grant(&ring, &pending.wish) {
                Ok(next) => {
                    ring = next;
                    granted.push(pending);
                }
                Err(refusal) => self.answer(pending.origin, Err(refusal), effects),
            }
        }
        moves::start(&mut ring);
        plan::settle(&mut ring);
        // Whoever drafts is the claimant, or takes over.
        ring.claimant = self.me.name.clone();
        if let Some(successor) = claimant::successor(&ring, &self.learner.suspected) {
            ring.claimant = successor;
        }
        if ring == *parent {
            self.answer_all(granted, effects);
            return None;
        }
        ring.epoch = Epoch(parent.epoch.0 + 1);
        ring.parent = self.digest;
        if let Err(error) = Ring::decode(&ring.encode()) {
            self.warn(now, format!("this draft is not proposed: {error}"), effects);
            for pending in granted {
                self.answer(pending.origin, Err(Refusal::NoMajority), effects);
            }
            return None;
        }
        Some(Draft {
            ring: Arc::new(ring),
            granted,
        })
    }

    /// Broken sessions before ready ones: an attempt that was given up is not completed.
    fn apply_reports(&self, ring: &mut Ring) {
        for report in &self.desk.reports {
            if let Report::MoveBroken { partition, .. } = report
                && self.is_relevant(ring, report)
            {
                moves::cancel(ring, *partition);
            }
        }
        for report in &self.desk.reports {
            if !self.is_relevant(ring, report) {
                continue;
            }
            match report {
                Report::MoveReady { partition, .. } => {
                    moves::complete(ring, *partition);
                }
                Report::Drained { node, .. } => {
                    let mut rows = ring.rows.iter().chain(ring.next.values());
                    if rows.all(|row| !row.contains(node)) {
                        ring.members.remove(node);
                        ring.staged.retain(|change| change.node() != node);
                    }
                }
                Report::Back { node, .. } => {
                    plan::mark_back(ring, node);
                }
                Report::MoveBroken { .. } => {}
            }
        }
    }

    /// This node has something to report.
    pub(super) fn report(&mut self, report: Report) {
        let is_new = !self.desk.reports.contains(&report);
        if is_new && self.is_relevant(&self.stored.ring, &report) {
            self.desk.idle = false;
            self.desk.reports.push(report);
            self.desk.reported_at = None;
        }
    }

    /// Another member reports: the claimant heeds it, if it is that member's to say.
    pub(super) fn on_report(&mut self, sender: &Sender, report: Report) {
        let is_theirs = match &report {
            Report::MoveReady { from, .. } => *from == sender.name,
            Report::MoveBroken { partition, .. } => {
                let under_way = self.stored.ring.moves.get(partition);
                under_way.is_some_and(|m| m.from == sender.name || m.to == sender.name)
            }
            Report::Drained { node, incarnation } | Report::Back { node, incarnation } => {
                *node == sender.name && *incarnation == sender.incarnation
            }
        };
        if is_theirs && self.is_claimant() {
            self.report(report);
        }
    }

    /// Whether `report` is about something that `ring` holds.
    fn is_relevant(&self, ring: &Ring, report: &Report) -> bool {
        match report {
            Report::MoveReady { partition, to, .. }
                if self.config.fault == Fault::ActOnOldReady =>
            {
                ring.moves.get(partition).is_some_and(|m| m.to == *to)
            }
            report => is_relevant(ring, report),
        }
    }

    /// Tells the claimant what this node has to report, again and again until a ring shows it.
    pub(super) fn drive_reports(&mut self, now: u64, effects: &mut Vec<Effect>) {
        self.report(Report::Back {
            node: self.me.name.clone(),
            incarnation: self.me.incarnation,
        });
        let pause = AGAIN_MS.max(self.config.epoch_interval_ms);
        let is_due = self.desk.reported_at.is_none_or(|at| now >= at + pause);
        if self.desk.reports.is_empty() || self.is_claimant() || !is_due {
            return;
        }
        self.desk.reported_at = Some(now);
        let claimant = self.stored.ring.claimant.clone();
        for report in &self.desk.reports {
            let to = Target::Node(claimant.clone());
            self.send(to, Body::Report(report.clone()), effects);
        }
    }

    /// Drops requests that nobody waits for any more.
    pub(super) fn drive_desk(&mut self, now: u64, effects: &mut Vec<Effect>) {
        let (live, late) = std::mem::take(&mut self.desk.pending)
            .into_iter()
            .partition(|pending| now < pending.deadline);
        self.desk.pending = live;
        for Pending { origin, .. } in late {
            self.answer(origin, Err(Refusal::NoMajority), effects);
        }
    }

    /// Answers `origin`; an operator here is answered once, whatever comes first.
    pub(super) fn answer(
        &mut self,
        origin: Origin,
        result: Result<AdminReply, Refusal>,
        effects: &mut Vec<Effect>,
    ) {
        match origin {
            Origin::Here(id) => self.finish(id, result, effects),
            Origin::Node { node, id, .. } => {
                let epoch = self.stored.ring.epoch;
                let body = Body::AdminAnswer { id, result, epoch };
                self.send(Target::Node(node), body, effects);
            }
            Origin::Joiner { peer, ask } => {
                let result = result.map(|_| self.stored.ring.id());
                let body = Body::JoinAnswer { ask, result };
                self.send(Target::Address(peer), body, effects);
            }
        }
    }

    /// The present ring holds what these asked for.
    fn answer_all(&mut self, granted: Vec<Pending>, effects: &mut Vec<Effect>) {
        let ring = self.stored.ring.id();
        for pending in granted {
            self.answer(pending.origin, Ok(AdminReply::Done { ring }), effects);
        }
    }

    /// Refuses what fails because `missing` did not store the draft; the rest waits for the next one.
    pub(super) fn refuse_unreachable(
        &mut self,
        granted: Vec<Pending>,
        missing: &BTreeMap<NodeName, Incarnation>,
        effects: &mut Vec<Effect>,
    ) {
        let listed = missing
            .keys()
            .find(|node| self.stored.ring.members.contains_key(*node));
        let listed = listed.cloned();
        let mut rest = Vec::new();
        for pending in granted {
            let node = match &pending.wish {
                Wish::Join(request) if missing.contains_key(&request.name) => Some(&request.name),
                wish if wish.is_commit() => listed.as_ref(),
                _ => None,
            };
            match node.cloned() {
                Some(node) => {
                    let refusal = Refusal::NotReachable { node };
                    self.answer(pending.origin, Err(refusal), effects);
                }
                None => rest.push(pending),
            }
        }
        self.desk.take_back(rest);
    }

    /// The present ring has just followed `before`: answers what it settles. `drafted` was never put to the vote.
    pub(super) fn after_adoption(
        &mut self,
        now: u64,
        before: &Ring,
        drafted: Vec<Pending>,
        effects: &mut Vec<Effect>,
    ) {
        self.desk.take_back(drafted);
        let ring = self.stored.ring.clone();
        if let Some((digest, granted)) = self.desk.awaiting.take() {
            if digest == self.digest {
                self.answer_all(granted, effects);
            } else if ring.cluster == before.cluster && ring.epoch.0 == before.epoch.0 + 1 {
                self.desk.take_back(granted);
            } else {
                // Their ring may be among those that this node has not seen.
                for pending in granted {
                    self.answer(pending.origin, Err(Refusal::NoMajority), effects);
                }
            }
        }
        let mut reports = std::mem::take(&mut self.desk.reports);
        reports.retain(|report| self.is_relevant(&ring, report));
        self.desk.reports = reports;
        self.desk.reported_at = None;
        if !self.is_claimant() {
            let me = self.me.name.clone();
            self.desk.reports.retain(|report| match report {
                Report::MoveReady { from, .. } => *from == me,
                Report::MoveBroken { .. } => true,
                Report::Drained { node, .. } | Report::Back { node, .. } => *node == me,
            });
            for pending in std::mem::take(&mut self.desk.pending) {
                self.hand_back(now, pending, effects);
            }
        }
        self.finish_arrived(effects);
    }

    /// Nothing was done for `pending`, and another is the claimant now: that one is to be asked.
    fn hand_back(&mut self, now: u64, pending: Pending, effects: &mut Vec<Effect>) {
        match pending.origin {
            Origin::Here(id) => self.on_admin_again(now, id),
            Origin::Node { node, boot, id } => {
                self.desk.taken.remove(&(node.clone(), boot, id));
                self.send(Target::Node(node), Body::AdminAgain { id }, effects);
            }
            // A joiner asks again by itself.
            Origin::Joiner { .. } => {}
        }
    }

    /// The ring with `wish` granted.
    fn grant(&self, ring: &Ring, wish: &Wish) -> Result<Ring, Refusal> {
        let request = match wish {
            Wish::Join(request) => {
                let is_lost = self.is_lost(ring, &request.name);
                let (name, member) = (request.name.clone(), request.as_member());
                return plan::stage_join(ring, name, member, is_lost);
            }
            Wish::Admin(request) => request,
        };
        match request {
            AdminRequest::Leave { node } => plan::stage_leave(ring, node),
            AdminRequest::Remove { node } => plan::stage_remove(ring, node),
            AdminRequest::Replace { node, with, force } => {
                plan::stage_replace(ring, node, with, *force)
            }
            AdminRequest::Weight { node, weight } => plan::stage_weight(ring, node, *weight),
            AdminRequest::Zone { node, zone } => plan::stage_zone(ring, node, zone.clone()),
            AdminRequest::Down { node } => plan::mark_down(ring, node, !self.is_suspected(node)),
            AdminRequest::Commit { plan, wall_ms } => plan::commit(ring, plan.as_deref(), *wall_ms),
            AdminRequest::Clear => Ok(plan::clear(ring)),
            AdminRequest::Cancel => Ok(plan::cancel(ring)),
            AdminRequest::Flush { keyspace, floor } => {
                let mut draft = ring.clone();
                if draft.keyspaces.raise(*keyspace, *floor) {
                    Ok(draft)
                } else {
                    let keyspace = *keyspace;
                    Err(Refusal::NoSuchKeyspace { keyspace })
                }
            }
            AdminRequest::Handoff(change) => {
                let mut draft = ring.clone();
                draft.handoff = draft.handoff.after(*change);
                Ok(draft)
            }
            // None of these waits for an epoch of this cluster.
            AdminRequest::Join { .. } | AdminRequest::Recover { .. } | AdminRequest::Plan => {
                Ok(ring.clone())
            }
        }
    }

    /// Whether the life that `ring` lists of `node` is not there.
    pub(super) fn is_lost(&self, ring: &Ring, node: &NodeName) -> bool {
        let is_down = |member: &Member| member.status == Status::Down;
        self.is_suspected(node) || ring.members.get(node).is_some_and(is_down)
    }
}

/// Whether `report` is about something that `ring` holds.
fn is_relevant(ring: &Ring, report: &Report) -> bool {
    let life = |node: &NodeName| ring.members.get(node).map(|member| member.incarnation);
    let is = |node: &NodeName, incarnation: Incarnation, status: Status| {
        let member = ring.members.get(node);
        member.is_some_and(|m| m.incarnation == incarnation && m.status == status)
    };
    match report {
        Report::MoveReady {
            partition,
            attempt,
            from,
            to,
            incarnations,
        } => ring.moves.get(partition).is_some_and(|m| {
            (m.attempt, &m.from, &m.to) == (*attempt, from, to)
                && (life(from), life(to)) == (Some(incarnations.0), Some(incarnations.1))
        }),
        Report::MoveBroken { partition, attempt } => ring
            .moves
            .get(partition)
            .is_some_and(|m| m.attempt == *attempt),
        Report::Drained { node, incarnation } => is(node, *incarnation, Status::Exiting),
        Report::Back { node, incarnation } => is(node, *incarnation, Status::Down),
    }
}
