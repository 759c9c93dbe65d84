//! This file answers: what follows when a write has landed, or has failed?

use bytes::Bytes;
use rkv_ring::NodeName;
use rkv_storage::{Batch, Error, Store, StoreKey};
use rkv_wire::message::{Answer, CopyId, Message, RequestId, SessionId, Totals};

use super::commands::{answer, failed, failed_here};
use super::forwarding::{Gate, Gated};
use super::{Actor, Cx, Effect, ReplyTo};
use crate::handoff_in::Stream;
use crate::holding::Write;
use crate::phase::{Phase, Record};

/// What follows when a write has landed.
pub(super) enum Then {
    Nothing,
    /// To answer; with a gate, not before the target of a move has taken that forward.
    Answer(Due, Option<Gate>),
    /// To tell the source of a session that it may begin.
    Opened {
        from: NodeName,
        session: SessionId,
        /// What an earlier session left.
        kept: Option<Totals>,
    },
    /// To tell it what was taken.
    Took {
        session: SessionId,
        stream: Stream,
        seq: u64,
    },
    /// To tell it that the copies are equal at its mark.
    Marked {
        session: SessionId,
        forwards: u64,
    },
    /// To tell the claimant that the target is ready.
    Forwarding {
        session: SessionId,
    },
    /// To tell a peer that what it sent is stored and synced.
    Filled {
        to: NodeName,
        id: RequestId,
        changed: u32,
    },
    /// To tell a peer how the copies compare, unless a write failed since.
    Compared {
        to: NodeName,
        message: Box<Message>,
        failures: u64,
    },
}

/// An answer that is due when its write has landed.
pub(super) struct Due {
    pub(super) to: ReplyTo,
    pub(super) answer: Answer,
    /// Void after this.
    pub(super) until_ms: u64,
}

impl Due {
    pub(super) fn stored(to: ReplyTo, until_ms: u64) -> Due {
        let answer = Answer::Stored;
        Due {
            to,
            answer,
            until_ms,
        }
    }
}

impl Actor {
    pub(super) fn write(
        &mut self,
        cx: &Cx<'_>,
        writes: impl IntoIterator<Item = Write>,
        sync: bool,
        then: Then,
        effects: &mut Vec<Effect>,
    ) {
        let token = self
            .holding
            .write(cx.store, &*self.vnode, writes, sync, effects);
        self.then.push_back((token, then));
    }

    /// What is to follow the write of this number, and no longer waits for it.
    fn take_then(&mut self, token: u64) -> Then {
        let at = self.then.binary_search_by_key(&token, |(of, _)| *of);
        let taken = at.ok().and_then(|at| self.then.remove(at));
        taken.map_or(Then::Nothing, |(_, then)| then)
    }

    /// The phase as it is stored.
    pub(super) fn record(&self, phase: &Phase) -> Write {
        let record = Record {
            cluster: self.cluster,
            phase: phase.clone(),
            places: self.standing.places,
            reaped: self.reaped,
        };
        let value = (*phase != Phase::Absent).then(|| record.encode());
        Write::new(phase_key(self.id), value)
    }

    /// Changes the phase and writes it down, synced; `then` follows when it is on disk.
    pub(super) fn enter(
        &mut self,
        cx: &Cx<'_>,
        phase: Phase,
        then: Then,
        effects: &mut Vec<Effect>,
    ) {
        let record = self.record(&phase);
        self.phase = phase;
        self.write(cx, [record], true, then, effects);
    }

    /// Writes its phase down before the first event: what a restart decided is what the next one finds.
    pub(crate) fn write_phase(&self, store: &dyn Store) -> Result<(), Error> {
        let mut batch = Batch::default();
        let Write { key, value, .. } = self.record(&self.phase);
        match value {
            Some(value) => batch.put(key, value),
            None => batch.delete(key),
        }
        store.apply(&batch)
    }

    pub(super) fn landed(
        &mut self,
        cx: &Cx<'_>,
        token: u64,
        result: Result<(), Error>,
        effects: &mut Vec<Effect>,
    ) {
        self.holding.landed(cx.store, &*self.vnode, token, &result);
        let then = self.take_then(token);
        match &result {
            Ok(()) => self.follow(cx, then, effects),
            Err(error) => {
                self.failures += 1;
                self.write_failed(cx, then, error, effects);
            }
        }
        // Also of a drop that failed: whoever fills the copy anew drops what is left of it first.
        if self.holding.in_flight() == 0 {
            self.leaving.dropping = false;
        }
    }

    fn follow(&mut self, cx: &Cx<'_>, then: Then, effects: &mut Vec<Effect>) {
        match then {
            Then::Nothing => {}
            Then::Answer(due, Some(gate)) if self.is_lost_on_the_way(gate) => {
                answer(due.to, Answer::Moved(cx.view.id()), effects);
            }
            Then::Answer(due, Some(gate)) if self.is_shut(cx, gate) => {
                self.gated.push(Gated { gate, due });
            }
            Then::Answer(due, _) => answer(due.to, due.answer, effects),
            Then::Opened {
                from,
                session,
                kept,
            } => self.answer_open(from, session, Ok(kept), effects),
            Then::Took {
                session,
                stream,
                seq,
            } => self.took_in(session, stream, seq, effects),
            Then::Marked { session, forwards } => self.equal_and_synced(session, forwards, effects),
            Then::Forwarding { session } => self.forwarding_written(cx, session, effects),
            Then::Filled { to, id, changed } => {
                let message = Message::Filled {
                    id,
                    changed,
                    answer: Answer::Stored,
                };
                effects.push(Effect::send(to, message));
            }
            Then::Compared {
                to,
                message,
                failures,
            } => {
                if failures == self.failures {
                    effects.push(Effect::Send { to, message });
                }
            }
        }
    }

    fn write_failed(&mut self, cx: &Cx<'_>, then: Then, error: &Error, effects: &mut Vec<Effect>) {
        match then {
            Then::Answer(due, None) => answer(due.to, failed(error), effects),
            // The target of a move was sent it, and may have stored what this disk refused.
            Then::Answer(due, Some(_)) => answer(due.to, failed_here(error), effects),
            Then::Filled { to, id, .. } => {
                let message = Message::Filled {
                    id,
                    changed: 0,
                    answer: failed(error),
                };
                effects.push(Effect::send(to, message));
            }
            Then::Took { session, .. }
            | Then::Marked { session, .. }
            | Then::Opened { session, .. } => {
                if let Some(incoming) = self.incoming.take_if(|i| i.session == session) {
                    self.refuse_session(incoming.from, session, error.to_string(), effects);
                }
            }
            // It may be on disk all the same, and a restart would go by it: as after any session that was ready, only an
            // epoch ends this.
            Then::Forwarding { .. } => self.break_out(cx, error.to_string(), effects),
            Then::Nothing | Then::Compared { .. } => {}
        }
    }
}

/// Whether this step has written already: in memory that is not to be seen before it is carried out, and a walk through what is
/// held would go by what is there no more.
pub(super) fn is_writing(effects: &[Effect]) -> bool {
    let is_write = |effect: &Effect| matches!(effect, Effect::Write { .. });
    effects.iter().any(is_write)
}

/// Where a copy's phase is stored.
pub fn phase_key(copy: CopyId) -> Bytes {
    let name = format!("copy/{}/{}", copy.service.0, copy.partition);
    StoreKey::meta(name.as_bytes())
}
