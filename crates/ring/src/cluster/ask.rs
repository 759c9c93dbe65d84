//! This file answers: how does an operator's request get to the claimant, and the answer back?
//!
//! A request may be made at any node. It is handed to the claimant once; only if that one says that it did nothing, it
//! is handed on again, so no request is carried out twice. The answer is given when this node's own ring shows it.

use super::draft::{Origin, Pending, Wish};
use super::learn::Sender;
use super::message::{AdminReply, AdminRequest, Body};
use super::{AGAIN_MS, Cluster, Effect, Target};
use crate::claimant;
use crate::plan::{self, Refusal};
use crate::ring::Epoch;

/// A request that an operator made at this node.
#[derive(Debug)]
pub(super) struct Asked {
    request: AdminRequest,
    /// When the operator is told `no_majority`.
    deadline: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Not handed to a claimant before then, or before one is there.
    Held { until: u64 },
    /// A claimant has it.
    Handed,
    /// Answered, as this ring of the cluster will show.
    Answered {
        result: Result<AdminReply, Refusal>,
        epoch: Epoch,
    },
}

impl Cluster {
    /// An operator asks something at this node.
    pub(super) fn admin(
        &mut self,
        now: u64,
        id: u64,
        request: AdminRequest,
        effects: &mut Vec<Effect>,
    ) {
        if let AdminRequest::Join { peer } = request {
            return self.ask_to_join(now, id, peer, effects);
        }
        if request == AdminRequest::Clear && self.withdraw_join(effects) {
            let ring = self.stored.ring.id();
            effects.push(Effect::Answer {
                id,
                result: Ok(AdminReply::Done { ring }),
            });
            return;
        }
        let asked = Asked {
            request,
            deadline: now + self.config.answer_within_ms,
            state: State::Held { until: now },
        };
        self.asked.insert(id, asked);
    }

    /// Hands requests to the claimant, and tells operators that nobody answers.
    pub(super) fn drive_asked(&mut self, now: u64, effects: &mut Vec<Effect>) {
        let ids: Vec<u64> = self.asked.keys().copied().collect();
        for id in ids {
            let Some(asked) = self.asked.get_mut(&id) else {
                continue;
            };
            match &asked.state {
                State::Held { until } if now >= *until && now < asked.deadline => {
                    self.hand_over(id, effects);
                }
                _ if now < asked.deadline => {}
                State::Answered { result, .. } => {
                    let result = result.clone();
                    self.finish(id, result, effects);
                }
                _ => {
                    let result = match asked.request {
                        // Worth seeing also without a claimant.
                        AdminRequest::Plan => Ok(self.present_plan()),
                        _ => Err(Refusal::NoMajority),
                    };
                    self.finish(id, result, effects);
                }
            }
        }
        self.drive_desk(now, effects);
    }

    fn hand_over(&mut self, id: u64, effects: &mut Vec<Effect>) {
        let ring = &self.stored.ring;
        let to = Target::Node(ring.claimant.clone());
        let is_there = claimant::has_claimant(ring) && !self.is_suspected(&ring.claimant);
        let is_mine = self.is_claimant();
        let Some(asked) = self.asked.get_mut(&id).filter(|_| is_there) else {
            return;
        };
        asked.state = State::Handed;
        let (request, deadline) = (asked.request.clone(), asked.deadline);
        if !is_mine {
            return self.send(to, Body::Admin { id, request }, effects);
        }
        self.take(Origin::Here(id), deadline, request, effects);
    }

    /// As claimant: answers what needs no epoch, and puts the rest on the desk.
    fn take(
        &mut self,
        origin: Origin,
        deadline: u64,
        request: AdminRequest,
        effects: &mut Vec<Effect>,
    ) {
        let wish = match request {
            AdminRequest::Plan => {
                let plan = self.present_plan();
                return self.answer(origin, Ok(plan), effects);
            }
            AdminRequest::Leave { node } => Wish::Leave(node),
            AdminRequest::Commit { plan } => Wish::Commit(plan),
            AdminRequest::Clear => Wish::Clear,
            AdminRequest::Flush { keyspace, floor } => Wish::Flush { keyspace, floor },
            AdminRequest::Handoff(change) => Wish::Handoff(change),
            // A join is asked for by the joiner itself, in a message of its own.
            AdminRequest::Join { .. } => return,
        };
        self.enqueue(Pending {
            origin,
            wish,
            deadline,
        });
    }

    fn present_plan(&self) -> AdminReply {
        AdminReply::Plan(plan::plan(&self.stored.ring).map(Box::new))
    }

    /// Another node passes on what its operator asks.
    pub(super) fn on_admin(
        &mut self,
        now: u64,
        sender: &Sender,
        (boot, id): (u64, u64),
        request: AdminRequest,
        effects: &mut Vec<Effect>,
    ) {
        if !self.is_claimant() {
            return self.send(sender.reply.clone(), Body::AdminAgain { id }, effects);
        }
        if self.is_first(now, &sender.name, boot, id) {
            let deadline = now + self.config.answer_within_ms;
            let node = sender.name.clone();
            self.take(Origin::Node { node, boot, id }, deadline, request, effects);
        }
    }

    pub(super) fn on_admin_answer(
        &mut self,
        sender: &Sender,
        id: u64,
        (result, epoch): (Result<AdminReply, Refusal>, Epoch),
        effects: &mut Vec<Effect>,
    ) {
        let Some(asked) = self.asked.get_mut(&id) else {
            return;
        };
        if epoch <= self.stored.ring.epoch {
            return self.finish(id, result, effects);
        }
        asked.state = State::Answered { result, epoch };
        self.pull(sender.reply.clone(), effects);
    }

    /// A claimant did nothing with this request, and another should get it.
    pub(super) fn on_admin_again(&mut self, now: u64, id: u64) {
        if let Some(asked) = self.asked.get_mut(&id)
            && matches!(asked.state, State::Handed)
        {
            asked.state = State::Held {
                until: now + AGAIN_MS,
            };
        }
    }

    /// Gives the answers whose ring is here now.
    pub(super) fn finish_arrived(&mut self, effects: &mut Vec<Effect>) {
        let mine = self.stored.ring.epoch;
        let arrived = self
            .asked
            .iter()
            .filter_map(|(id, asked)| match &asked.state {
                State::Answered { result, epoch } if *epoch <= mine => Some((*id, result.clone())),
                _ => None,
            });
        let arrived: Vec<_> = arrived.collect();
        for (id, result) in arrived {
            self.finish(id, result, effects);
        }
    }

    pub(super) fn finish(
        &mut self,
        id: u64,
        result: Result<AdminReply, Refusal>,
        effects: &mut Vec<Effect>,
    ) {
        if self.asked.remove(&id).is_some() {
            effects.push(Effect::Answer { id, result });
        }
    }
}
