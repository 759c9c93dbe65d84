//! This file answers: what does a giving copy owe its target?
//!
//! From the moment the target has begun, each write goes to it too, and is acknowledged when it has taken it. From the
//! moment it is ready, it may be the owner without this node knowing: reads are relayed to it.

use bytes::Bytes;
use rkv_ring::Slot;
use rkv_storage::StoreKey;
use rkv_wire::message::{Answer, Command, Message, RequestId, Role, SessionId};

use super::commands::{answer, bad_key};
use super::writes::Due;
use super::{Actor, Asked, Cx, Effect, ReplyTo};
use crate::fault::Fault;
use crate::holding::Write;
use crate::phase::Phase;

/// What an acknowledgement waits for: that the target of a session takes this forward.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gate {
    pub(super) session: SessionId,
    pub(super) forward: u64,
}

/// An answer that waits for the target of a move.
pub(super) struct Gated {
    pub(super) gate: Gate,
    pub(super) due: Due,
}

/// A read that was sent on to the target of a move.
pub(super) struct Relay {
    pub(super) to: ReplyTo,
    pub(super) until_ms: u64,
}

impl Actor {
    /// Forwards a write to the target of a session, and tells which acknowledgement to wait for.
    pub(super) fn forward(
        &mut self,
        key: &Bytes,
        value: &Bytes,
        effects: &mut Vec<Effect>,
    ) -> Option<Gate> {
        let out = self.giving.out.as_mut().filter(|out| out.is_open())?;
        let forward = out.forward(key, value, effects);
        Some(Gate {
            session: out.session,
            forward,
        })
    }

    /// Forwards what was merged here from a peer.
    pub(super) fn forward_all(&mut self, writes: &[Write], effects: &mut Vec<Effect>) {
        for Write { key, value, .. } in writes {
            if let Some(value) = value {
                self.forward(key, value, effects);
            }
        }
    }

    /// A forwarding copy whose session did not survive a restart acks nothing at all: only an epoch helps.
    pub(super) fn gate_without_session(&self) -> Option<Gate> {
        match &self.phase {
            Phase::Forwarding { session, .. } => Some(Gate {
                session: *session,
                forward: u64::MAX,
            }),
            _ => None,
        }
    }

    /// Whether an answer still waits.
    pub(super) fn is_shut(&self, cx: &Cx<'_>, gate: Gate) -> bool {
        if cx.settings.fault == Fault::AckBeforeForward {
            return false;
        }
        match (&self.giving.out, &self.phase) {
            (Some(out), _) => out.session == gate.session && out.forwards_took() < gate.forward,
            // No session and yet forwarding: nothing is acknowledged.
            (None, Phase::Forwarding { session, .. }) => *session == gate.session,
            (None, _) => false,
        }
    }

    /// Whether the copy moved before its target had this: the target owns now and may lack it.
    pub(super) fn is_lost_on_the_way(&self, gate: Gate) -> bool {
        let moved = self.handed_over.filter(|m| m.session == gate.session);
        moved.is_some_and(|moved| moved.forward < gate.forward)
    }

    /// Answers what no longer waits; what is void is forgotten.
    pub(super) fn release_gates(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        for Gated { gate, due } in std::mem::take(&mut self.gated) {
            if due.until_ms < cx.now_ms {
                continue;
            }
            if self.is_lost_on_the_way(gate) {
                answer(due.to, Answer::Moved(cx.view.id()), effects);
            } else if self.is_shut(cx, gate) {
                self.gated.push(Gated { gate, due });
            } else {
                answer(due.to, due.answer, effects);
            }
        }
    }

    pub(super) fn relays_reads(&self) -> bool {
        matches!(self.phase, Phase::Forwarding { .. })
    }

    /// Sends a read on to the target of the move: it may have become the owner without this node knowing.
    pub(super) fn relay(&mut self, cx: &Cx<'_>, asked: Asked, effects: &mut Vec<Effect>) {
        let Phase::Forwarding {
            to: target,
            session,
            ..
        } = self.phase.clone()
        else {
            unreachable!("only a forwarding copy relays");
        };
        let Command::Get { key } = &asked.command else {
            // Another service's command may write: it waits for the epoch.
            return answer(asked.to, Answer::Busy, effects);
        };
        let Some(slot) = StoreKey::slot_of(key) else {
            return answer(asked.to, bad_key(), effects);
        };
        let id = self.ids.fresh();
        let until_ms = asked.until_ms(cx);
        let to = asked.to;
        self.relays.insert(id, Relay { to, until_ms });
        let message = Message::Command {
            id,
            service: self.id.service,
            slot: Slot(slot),
            ring: cx.view.id(),
            role: Role::Relayed(session),
            within_ms: asked.within_ms,
            command: asked.command,
            body: Bytes::new(),
        };
        effects.push(Effect::send(target, message));
    }

    /// The target answered a read. What it refuses is nothing that this node may answer by itself.
    pub(super) fn relay_answered(
        &mut self,
        id: RequestId,
        answer: Answer,
        body: Bytes,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(Relay { to, .. }) = self.relays.remove(&id) {
            effects.push(Effect::Answer { to, answer, body });
        }
    }
}
