//! This file answers: who joins and leaves, and who asks for it?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::RngExt;
use rkv_ring::HandoffChange;
use rkv_ring::cluster::{AdminReply, AdminRequest, Stored};
use rkv_ring::plan::Refusal;

use super::upheaval::Stage;
use super::{Happening, World};
use crate::sim::node::{SimNode, WALL_START_MS};

/// How often an operator does something; when staging and withdrawing all the time, how often then.
const EVERY_MS: u64 = 700;
const UNREST_MS: u64 = 150;
/// The same where moves are given up and made again all the time.
const AGAIN_MS: u64 = 250;
/// Whoever was asked may have died: after this the operator asks again.
const PATIENCE_MS: u64 = 8_000;

/// What the operator has done and still waits for.
#[derive(Default)]
pub(super) struct Operator {
    step: usize,
    waiting: Arc<AtomicBool>,
    asked_ms: u64,
    leaver: Option<usize>,
}

impl World {
    /// Joins the others to the first and commits; then in some lives the last one leaves again, in others changes are
    /// staged and withdrawn.
    pub(super) fn operate(&mut self) {
        let unrest = self.council().unrest;
        let (every_ms, patience_ms) = if unrest {
            (UNREST_MS, 4 * UNREST_MS)
        } else if self.options.is_delayed() && self.is_troubled() {
            (AGAIN_MS, 4 * AGAIN_MS)
        } else {
            (EVERY_MS, PATIENCE_MS)
        };
        self.push(every_ms, Happening::Operator);
        let patient = self.now() < self.operator.asked_ms + patience_ms;
        if patient && self.operator.waiting.load(Ordering::Relaxed) {
            return;
        }
        let request = self.next_request();
        self.operator.step += 1;
        let Some((at, request)) = request else {
            return;
        };
        if self.nodes[at].running.is_none() || self.paused.contains_key(&at) {
            return;
        }
        self.tell(|| format!("{} is asked for {request:?}", self.nodes[at].name));
        let asked = format!("{request:?}");
        let verb = asked.split([' ', '(']).next().unwrap_or_default();
        self.count(format!("asked {verb}"));
        self.operator.asked_ms = self.now();
        let waiting = Arc::new(AtomicBool::new(true));
        self.operator.waiting = waiting.clone();
        let done = Box::new(move |_: Result<AdminReply, Refusal>| {
            waiting.store(false, Ordering::Relaxed);
        });
        self.with(at, |engine| engine.admin(request, done));
    }

    fn next_request(&mut self) -> Option<(usize, AdminRequest)> {
        let step = self.operator.step;
        if let Some(change) = self.change_of_handoff() {
            return Some(change);
        }
        let joiners: Vec<usize> = (1..self.nodes.len())
            .filter(|node| !self.is_joined(*node) && self.spare() != Some(*node))
            .collect();
        if !joiners.is_empty() && self.upheaval == Stage::Waiting {
            let peer = "n1:7000".to_owned();
            return Some(match step % 3 {
                0 | 1 => (joiners[step % joiners.len()], AdminRequest::Join { peer }),
                _ => (0, self.commit()),
            });
        }
        let last = self.nodes.len() - 1;
        if self.options.leaves && self.operator.leaver.is_none() {
            self.operator.leaver = Some(last);
            let node = self.nodes[last].name.clone();
            return Some((0, AdminRequest::Leave { node }));
        }
        if self.operator.leaver.is_some() {
            return step.is_multiple_of(2).then_some((1, self.commit()));
        }
        if self.options.upheaval.is_some() {
            return self.next_upheaval(step);
        }
        if !self.council().unrest {
            return self.fidget(step);
        }
        let at = self.rng.random_range(0..self.nodes.len());
        let node = self.nodes[self.rng.random_range(0..self.nodes.len())]
            .name
            .clone();
        let withdraw = self.rng.random_range(0..3) == 0;
        Some(if withdraw {
            (at, AdminRequest::Clear)
        } else {
            (at, AdminRequest::Leave { node })
        })
    }

    /// Whatever is staged is carried out, now by the operator's clock.
    pub(super) fn commit(&self) -> AdminRequest {
        AdminRequest::Commit {
            plan: None,
            wall_ms: WALL_START_MS + self.now(),
        }
    }

    /// Transfers are held and let go again while there is trouble; in the end nobody holds them.
    fn change_of_handoff(&self) -> Option<(usize, AdminRequest)> {
        if !self.options.pauses {
            return None;
        }
        if self.healed {
            let is_held = |node: &SimNode| {
                let stored = node.ring_file.lock();
                let holds = |stored: &Stored| stored.ring.handoff.paused;
                !node.left && stored.as_ref().is_some_and(holds)
            };
            let at = self.nodes.iter().position(is_held)?;
            return Some((at, AdminRequest::Handoff(HandoffChange::Resume)));
        }
        let step = self.operator.step;
        let change = match step % 7 {
            2 => HandoffChange::Limit(Some(1 + (step / 7 % 3) as u16)),
            3 => HandoffChange::Pause,
            5 => HandoffChange::Resume,
            _ => return None,
        };
        Some((step % self.nodes.len(), AdminRequest::Handoff(change)))
    }

    /// Whether `node` is, or was, in a cluster with others.
    pub(super) fn is_joined(&self, node: usize) -> bool {
        let mut others = self.nodes.iter().enumerate().filter(|(at, _)| *at != node);
        if others.all(|(_, other)| other.left) {
            return true;
        }
        let stored = self.nodes[node].ring_file.lock();
        let members = stored.as_ref().map(|stored| stored.ring.members.len());
        self.nodes[node].left
            || members.is_some_and(|n| n > 1)
            || self.operator.leaver == Some(node)
    }
}
