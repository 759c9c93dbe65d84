//! This file answers: how does a copy run a move as its source?
//!
//! It begins a session when the ring lists the move, the target is up and a transfer is free; gives it up when the
//! target is silent or refuses; writes down that it forwards when the copies are equal, and tells the claimant until an
//! epoch decides. What flows in a session is [`HandoffOut`]'s to say.

use rkv_ring::Move;
use rkv_wire::message::{Message, SessionId, Totals};

use super::backoff::Backoff;
use super::forwarding::Gate;
use super::writes::Then;
use super::{Actor, Cx, Effect};
use crate::compare::Comparison;
use crate::handoff_out::{HandoffOut, Stage};
use crate::holding::Contents;
use crate::phase::Phase;
use crate::places::{Place, Turn};

/// How often readiness is told again until an epoch answers.
const READY_REPEAT_MS: u64 = 500;
/// How soon a move that failed is tried again under a new ring.
const NEW_RING_MS: u64 = 50;

/// The source's side of a copy's move.
#[derive(Debug)]
pub(crate) struct Giving {
    /// The session under way.
    pub(crate) out: Option<HandoffOut>,
    /// Whether the ring has this copy move.
    is_listed: bool,
    /// Held while entries flow.
    place: Option<Place>,
    pub(crate) backoff: Backoff,
    told_ready_ms: u64,
    sessions: u64,
    /// Set when the copies differed at the mark of a session: the next one begins with an empty copy there.
    begins_anew: bool,
}

impl Giving {
    pub(super) fn new(seed: u64) -> Giving {
        Giving {
            out: None,
            is_listed: false,
            place: None,
            backoff: Backoff::default(),
            told_ready_ms: 0,
            sessions: seed & 0xffff_ffff,
            begins_anew: false,
        }
    }

    /// The session under way, if it is this one.
    pub(super) fn session(&mut self, session: SessionId) -> Option<&mut HandoffOut> {
        self.out.as_mut().filter(|out| out.session == session)
    }

    /// The comparison with what an earlier session left at the target.
    pub(super) fn resumed_mut(&mut self) -> Option<&mut Comparison> {
        self.out.as_mut().and_then(HandoffOut::resumed_mut)
    }

    /// Whether it waits for a session to begin.
    pub(crate) fn is_due(&self) -> bool {
        self.is_listed && self.out.is_none()
    }

    /// Whether the target was not ready when it was asked last.
    pub(crate) fn is_put_off(&self) -> bool {
        self.out.is_none() && self.backoff.is_refused()
    }

    /// That others go to the target now, if that is so.
    pub(crate) fn full(&self) -> Option<&String> {
        self.backoff.full().filter(|_| self.out.is_none())
    }

    /// Forgets the session.
    pub(super) fn take(&mut self) -> Option<HandoffOut> {
        self.place = None;
        self.out.take()
    }
}

impl Actor {
    /// Moves the copy on, if the ring has it move.
    pub(super) fn run_move(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        if !cx.has_entries {
            return;
        }
        let listed = cx.view.ring().moves.get(&self.id.partition);
        let Some(listed) = listed.filter(|m| m.from == *cx.view.me()) else {
            return;
        };
        self.repeat_readiness(cx, effects);
        if self.giving.out.is_some() {
            self.run_session(cx, effects);
        } else {
            self.begin_session(cx, listed, effects);
        }
    }

    fn repeat_readiness(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        let Phase::Forwarding { attempt, .. } = self.phase else {
            return;
        };
        if cx.now_ms.saturating_sub(self.giving.told_ready_ms) < READY_REPEAT_MS {
            return;
        }
        self.giving.told_ready_ms = cx.now_ms;
        if self.giving.out.is_some() {
            self.tell_ready(cx, effects);
        } else {
            effects.push(Effect::MoveBroken { attempt });
        }
    }

    fn run_session(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        let Some(out) = self.giving.out.as_mut() else {
            return;
        };
        if out.was_quiet() {
            out.note_quiet(cx.now_ms);
        }
        if out.is_silent(cx.now_ms) {
            let reason = format!("{} is silent", out.to);
            return self.break_out(cx, reason, effects);
        }
        out.ask(cx.now_ms, (cx.view.id(), self.reaped), effects);
        self.pump_out(cx, effects);
    }

    fn begin_session(&mut self, cx: &Cx<'_>, listed: &Move, effects: &mut Vec<Effect>) {
        let startable = self.phase == Phase::Serving
            && self.giving.backoff.is_over(cx.now_ms)
            && cx.view.is_up(&listed.to)
            && !cx.is_paused();
        if !startable {
            return;
        }
        let Some(place) = cx.take_out(Turn::Move, self.id) else {
            return;
        };
        if let Err(reason) = self.vnode.handoff_starting(&listed.to) {
            return self.giving.backoff.failed(cx.now_ms, reason);
        }
        let session = self.fresh_session(cx);
        let (to, attempt) = (listed.to.clone(), listed.attempt);
        let resume = !self.giving.begins_anew;
        let mut out = HandoffOut::new(self.id, to, session, attempt, resume, cx.now_ms);
        out.ask(cx.now_ms.max(1_000), (cx.view.id(), self.reaped), effects);
        self.giving.out = Some(out);
        self.giving.place = Some(place);
    }

    fn fresh_session(&mut self, cx: &Cx<'_>) -> SessionId {
        self.giving.sessions += 1;
        let copy = (u64::from(self.id.service.0) << 16) | u64::from(self.id.partition.0);
        SessionId {
            boot: cx.settings.boot,
            number: (self.giving.sessions << 24) | copy,
        }
    }

    /// The target of this copy's move says something.
    pub(super) fn target_says(&mut self, cx: &Cx<'_>, message: Message, effects: &mut Vec<Effect>) {
        match message {
            Message::HandoffOpened {
                session,
                kept,
                refused,
                full,
                ..
            } => {
                let opened = match refused {
                    Some(refused) => Err((refused, full)),
                    None => Ok(kept),
                };
                self.opened_out(cx, session, opened, effects);
            }
            Message::HandoffTook {
                session,
                items,
                forwards,
                ..
            } => {
                if let Some(out) = self.giving.session(session) {
                    out.took(cx.now_ms, items, forwards);
                    self.release_gates(cx, effects);
                    self.pump_out(cx, effects);
                }
            }
            Message::HandoffMarked {
                session,
                forwards,
                equal,
                ..
            } => {
                let marked = self.giving.session(session);
                match marked.map(|out| out.marked(cx.now_ms, forwards, equal)) {
                    Some(Ok(true)) => self.write_down_forwarding(cx, effects),
                    Some(Err(reason)) => {
                        // They ought to be equal: what an earlier session left may be in the way, or this one is
                        // miscounted.
                        self.giving.begins_anew = true;
                        self.holding.doubt(cx.store, &*self.vnode);
                        self.break_out(cx, reason, effects);
                    }
                    Some(Ok(false)) | None => {}
                }
            }
            _ => {}
        }
    }

    fn opened_out(
        &mut self,
        cx: &Cx<'_>,
        session: SessionId,
        opened: Result<Option<Totals>, (String, bool)>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(out) = self.giving.out.as_mut().filter(|o| o.session == session) else {
            return;
        };
        match opened {
            Err(_) if out.is_open() => {}
            Err((reason, true)) => {
                self.giving.backoff.come_again(cx.now_ms, reason.clone());
                self.give_up(cx, reason, effects);
            }
            Err((reason, false)) => self.put_off(cx, reason, effects),
            Ok(kept) => {
                self.giving.backoff.began();
                let kept = kept.filter(|_| !self.giving.begins_anew);
                self.giving.begins_anew = false;
                out.opened(cx, kept, &self.holding, effects);
                self.pump_out(cx, effects);
            }
        }
    }

    pub(super) fn pump_out(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        let Some(out) = self.giving.out.as_mut() else {
            return;
        };
        let contents = Contents {
            holding: &self.holding,
            vnode: &*self.vnode,
        };
        if let Err(error) = out.pump(cx, contents, &mut self.ids, effects) {
            self.break_out(cx, error.to_string(), effects);
        }
    }

    /// The copies are equal: from here on only an epoch ends the move.
    fn write_down_forwarding(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        let Some(out) = &self.giving.out else {
            return;
        };
        let session = out.session;
        let phase = Phase::Forwarding {
            to: out.to.clone(),
            session,
            attempt: out.attempt,
        };
        self.enter(cx, phase, Then::Forwarding { session }, effects);
    }

    pub(super) fn forwarding_written(
        &mut self,
        cx: &Cx<'_>,
        session: SessionId,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(out) = self.giving.session(session) {
            out.stage = Stage::Ready;
            out.note_quiet(cx.now_ms);
            self.giving.place = None;
            self.tell_ready(cx, effects);
        }
    }

    fn tell_ready(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        let out = self.giving.out.as_ref();
        if let Some(out) = out.filter(|out| out.stage == Stage::Ready) {
            self.giving.told_ready_ms = cx.now_ms;
            effects.push(Effect::MoveReady {
                attempt: out.attempt,
                to: out.to.clone(),
            });
        }
    }

    /// Gives a session up. Before it was ready the copy goes on serving alone; afterwards only an epoch decides, and
    /// the claimant is told that this attempt is lost.
    pub(super) fn break_out(&mut self, cx: &Cx<'_>, reason: String, effects: &mut Vec<Effect>) {
        if self.giving.out.is_none() {
            return;
        }
        self.giving.backoff.failed(cx.now_ms, reason.clone());
        let partition = self.id.partition.0;
        effects.push(Effect::Warn(format!(
            "handing over partition {partition} is broken off: {reason}"
        )));
        self.give_up(cx, reason, effects);
    }

    /// The target does not begin: it may be behind, or still be rid of an old copy.
    fn put_off(&mut self, cx: &Cx<'_>, reason: String, effects: &mut Vec<Effect>) {
        if let Some(out) = &self.giving.out {
            let why = format!("{} is not ready: {reason}", out.to);
            self.giving.backoff.put_off(cx.now_ms, why);
        }
        self.give_up(cx, reason, effects);
    }

    fn give_up(&mut self, cx: &Cx<'_>, reason: String, effects: &mut Vec<Effect>) {
        let Some(out) = self.giving.take() else {
            return;
        };
        self.refuse_session(out.to, out.session, reason, effects);
        match self.phase {
            Phase::Forwarding { attempt, .. } => {
                self.giving.told_ready_ms = cx.now_ms;
                effects.push(Effect::MoveBroken { attempt });
            }
            _ => self.vnode.handoff_cancelled(),
        }
        self.release_gates(cx, effects);
    }

    /// A new ring was adopted: a session for a move that it does not list is over, and one that failed is tried soon.
    pub(super) fn align_session(
        &mut self,
        cx: &Cx<'_>,
        listed: Option<&Move>,
        effects: &mut Vec<Effect>,
    ) {
        self.giving.is_listed = listed.is_some();
        self.giving.backoff.shorten(cx.now_ms, NEW_RING_MS);
        let goes_on =
            |out: &HandoffOut| listed.is_some_and(|m| m.to == out.to && m.attempt == out.attempt);
        if self.giving.out.as_ref().is_some_and(|out| !goes_on(out)) {
            self.end_session(cx, effects);
        }
        if let Phase::Forwarding { to, session, .. } = &self.phase
            && self.giving.out.is_none()
            && self
                .handed_over
                .is_none_or(|moved| moved.session != *session)
            && cx.view.ring().owns(to, self.id.partition)
        {
            // Moved without a session: nothing that came since reached the target.
            self.handed_over = Some(Gate {
                session: *session,
                forward: 0,
            });
        }
    }

    /// The session is over because an epoch decided.
    fn end_session(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        let Some(out) = self.giving.take() else {
            return;
        };
        self.giving.backoff = Backoff::default();
        if cx.view.ring().owns(&out.to, self.id.partition) {
            self.vnode.handoff_finished(&out.to);
            self.handed_over = Some(Gate {
                session: out.session,
                forward: out.forwards_took(),
            });
        } else {
            self.vnode.handoff_cancelled();
        }
        self.release_gates(cx, effects);
    }
}
