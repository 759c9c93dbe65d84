//! This file answers: how does a copy keep what owners missed, and answer in their stead?

use bytes::Bytes;
use rkv_ring::NodeName;
use rkv_storage::{Error, Space, StoreKey};
use rkv_wire::message::{Answer, Command};

use super::backoff::Backoff;
use super::commands::{answer, bad_key, failed};
use super::writes::{Due, Then};
use super::{Actor, Asked, Cx, Effect};
use crate::hint::Hint;
use crate::hint_drain::HintDrain;
use crate::holding::{Contents, Write};
use crate::places::{Place, Turn};
use crate::vnode::{Context, Decision, Merged};

/// The drain of a copy's hints.
#[derive(Debug, Default)]
pub(crate) struct Hinting {
    /// The walk under way.
    pub(crate) drain: Option<HintDrain>,
    /// Held while hints flow.
    place: Option<Place>,
    pub(super) backoff: Backoff,
}

impl Hinting {
    /// Whether it waits until others are done.
    pub(crate) fn waits_for_place(&self, now_ms: u64) -> bool {
        let drain = self.drain.as_ref();
        self.place.is_none() && drain.is_some_and(|drain| !drain.is_resting(now_ms))
    }

    /// Why its hints do not drain.
    pub(crate) fn trouble(&self) -> Option<&String> {
        let drain = self.drain.as_ref();
        drain
            .and_then(|drain| drain.trouble.as_ref())
            .or(self.backoff.trouble())
    }
}

impl Actor {
    /// A command that this node answers as a fallback: on the hint instead of on the data.
    pub(super) fn command_on_hint(&mut self, cx: &Cx<'_>, asked: Asked, effects: &mut Vec<Effect>) {
        let until_ms = asked.until_ms(cx);
        let Asked {
            to, command, body, ..
        } = asked;
        let (key, hint_for) = match &command {
            Command::Put { key, hint_for } => (key.clone(), hint_for.clone()),
            Command::Get { key } => (key.clone(), Vec::new()),
            _ => return answer(to, Answer::NotOwner(cx.view.id()), effects),
        };
        if !self.holding.is_place_of(&key) {
            return answer(to, bad_key(), effects);
        }
        let hint_key = StoreKey::respace(&key, Space::Hint);
        let there = match self.hint_at(cx, &hint_key) {
            Ok(there) => there,
            Err(error) => return answer(to, failed(&error), effects),
        };
        let entry = there.as_ref().and_then(|hint| hint.entry.clone());
        let context = Context {
            node: cx.view.me(),
            partition: self.id.partition,
            wall_ms: cx.wall_ms,
            floor: None,
            floors: self.holding.floors(),
            reaped: 0,
            held: &|_| Ok(entry.clone()),
            look: &|_, see| {
                see(entry.as_deref());
                Ok(())
            },
        };
        match self.vnode.handle_command(&context, command, body) {
            Decision::Write { value, answer, .. } => {
                let ring = Some(cx.view.id());
                let mut hint = there.unwrap_or_else(|| Hint::under(cx.view.id()));
                hint.absorb(ring, &hint_for, true);
                hint.entry = Some(value);
                let due = Due {
                    to,
                    answer,
                    until_ms,
                };
                let writes = vec![Write::put(hint_key, hint.encode())];
                self.write(cx, writes, false, Then::Answer(due, None), effects);
            }
            Decision::Held { .. } => {
                let due = Due::stored(to, until_ms);
                self.write(cx, Vec::new(), false, Then::Answer(due, None), effects);
            }
            Decision::Answer(answer, body) => effects.push(Effect::Answer { to, answer, body }),
        }
    }

    /// An owner turned out silent after the fact.
    pub(super) fn keep_hint(&mut self, cx: &Cx<'_>, asked: Asked, effects: &mut Vec<Effect>) {
        let until_ms = asked.until_ms(cx);
        let Command::Hint { key, missing } = asked.command else {
            unreachable!("only hints are kept");
        };
        if !self.holding.is_place_of(&key) {
            return answer(asked.to, bad_key(), effects);
        }
        let Some(body) = self.above(cx, &key, asked.body) else {
            return answer(asked.to, Answer::Stored, effects);
        };
        let write = if cx.view.owns(self.id.partition) && self.phase.answers() {
            self.hint_of_key(cx, &key, &missing, Some(&body))
        } else {
            self.hint_of_entry(cx, &key, &missing, &body)
        };
        match write {
            Ok(write) => {
                let due = Due::stored(asked.to, until_ms);
                self.write(cx, vec![write], false, Then::Answer(due, None), effects);
            }
            Err(error) => answer(asked.to, failed(&error), effects),
        }
    }

    /// The hint of the key alone: what this node holds then is what the owners get. A copy that it kept before it was an
    /// owner goes on, merged with what is written now.
    pub(super) fn hint_of_key(
        &self,
        cx: &Cx<'_>,
        key: &Bytes,
        missing: &[NodeName],
        written: Option<&Bytes>,
    ) -> Result<Write, Error> {
        let hint_key = StoreKey::respace(key, Space::Hint);
        let there = self.hint_at(cx, &hint_key)?;
        let mut hint = there.unwrap_or_else(|| Hint::under(cx.view.id()));
        hint.absorb(Some(cx.view.id()), missing, false);
        if hint.entry.is_some() {
            let held = self.holding.get(cx.store, key)?;
            for entry in [held.as_ref(), written].into_iter().flatten() {
                if let Merged::Changed(merged) = self.vnode.merge(hint.entry.as_ref(), entry) {
                    hint.entry = Some(merged);
                }
            }
        }
        Ok(Write::put(hint_key, hint.encode()))
    }

    fn hint_of_entry(
        &self,
        cx: &Cx<'_>,
        key: &Bytes,
        missing: &[NodeName],
        entry: &Bytes,
    ) -> Result<Write, Error> {
        let hint_key = StoreKey::respace(key, Space::Hint);
        let there = self.hint_at(cx, &hint_key)?;
        let mut hint = there.unwrap_or_else(|| Hint::under(cx.view.id()));
        hint.absorb(Some(cx.view.id()), missing, false);
        if let Merged::Changed(merged) = self.vnode.merge(hint.entry.as_ref(), entry) {
            hint.entry = Some(merged);
        }
        Ok(Write::put(hint_key, hint.encode()))
    }

    fn hint_at(&self, cx: &Cx<'_>, hint_key: &Bytes) -> Result<Option<Hint>, Error> {
        let held = self.holding.get(cx.store, hint_key)?;
        Ok(held.and_then(Hint::decode))
    }

    /// Sends the hints on their way, as far as their owners are there.
    pub(super) fn pump_hints(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        if self.hinting.drain.is_none() {
            let idle = self.holding.hints() == 0
                || cx.is_paused()
                || !self.hinting.backoff.is_over(cx.now_ms);
            if idle || !self.can_hints_leave(cx) {
                return;
            }
            self.hinting.drain = Some(HintDrain::new(self.id, &self.holding));
        }
        if !self.keeps_place_for_hints(cx) {
            return;
        }
        let Some(mut drain) = self.hinting.drain.take() else {
            return;
        };
        let contents = Contents {
            holding: &self.holding,
            vnode: &*self.vnode,
        };
        let delivered = drain.delivered;
        match drain.pump(cx, contents, &mut self.ids, effects) {
            Ok(writes) => {
                if !writes.is_empty() {
                    self.write(cx, writes, false, Then::Nothing, effects);
                }
                cx.figures.drained(drain.delivered - delivered);
                if drain.delivered > delivered {
                    self.hinting.backoff.moved();
                }
                if drain.is_finished() {
                    // What is left waits for owners that are not there.
                    self.hinting.backoff.pause(cx.now_ms);
                } else {
                    self.hinting.drain = Some(drain);
                }
            }
            Err(error) => self.hinting.backoff.failed(cx.now_ms, error.to_string()),
        }
        let drain = self.hinting.drain.as_ref();
        if drain.is_none_or(|drain| drain.is_resting(cx.now_ms)) {
            self.hinting.place = None;
        }
    }

    /// Whether anybody is there who is to get any of them.
    fn can_hints_leave(&self, cx: &Cx<'_>) -> bool {
        let owners = cx.view.owners(self.id.partition);
        let is_there = |node: &NodeName| cx.view.is_up(node);
        let held = self.holding.addressed();
        held.can_leave(cx.view.id(), &owners, is_there)
    }

    /// Whether the drain may be moved on. While it waits, or is held, it has no place: what was delivered is settled all
    /// the same.
    fn keeps_place_for_hints(&mut self, cx: &Cx<'_>) -> bool {
        let drain = self.hinting.drain.as_ref();
        if drain.is_some_and(|drain| drain.is_resting(cx.now_ms)) {
            self.hinting.place = None;
            return false;
        }
        if cx.is_paused() {
            self.hinting.place = None;
            return true;
        }
        if self.hinting.place.is_none() {
            self.hinting.place = cx.take_out(Turn::Hint, self.id);
        }
        self.hinting.place.is_some()
    }
}
