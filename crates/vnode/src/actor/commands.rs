//! This file answers: what does a copy answer to a command, and what does it write for it?
//!
//! First whether the copy may answer in the capacity that it is asked in, then what the service decides. A write is
//! answered when it has landed, and in a move when the target has it too.

use bytes::Bytes;
use rkv_ring::NodeName;
use rkv_storage::{Error, Store};
use rkv_wire::message::{Answer, Command, Role};

use super::forwarding::Gate;
use super::writes::{Due, Then};
use super::{Actor, Asked, Cx, Effect, ReplyTo};
use crate::fault::Fault;
use crate::holding::Write;
use crate::phase::Phase;
use crate::view::View;
use crate::vnode::{Context, Decision};

/// What a service is shown of the world.
#[derive(Clone, Copy)]
pub(crate) struct Looking<'a> {
    pub(crate) view: &'a View,
    pub(crate) store: &'a dyn Store,
    pub(crate) wall_ms: u64,
}

impl<'a> Looking<'a> {
    fn of(cx: &Cx<'a>) -> Looking<'a> {
        Looking {
            view: cx.view,
            store: cx.store,
            wall_ms: cx.wall_ms,
        }
    }
}

impl Actor {
    pub(super) fn command(&mut self, cx: &Cx<'_>, asked: Asked, effects: &mut Vec<Effect>) {
        if self.absorbing {
            return answer(asked.to, Answer::Busy, effects);
        }
        if let Command::Inspect { key } = &asked.command {
            let held = self.holding.get(cx.store, key).ok().flatten();
            return effects.push(Effect::Answer {
                to: asked.to,
                answer: Answer::Held(self.state()),
                body: held.unwrap_or_default(),
            });
        }
        if let Command::Keys { from, to, most } = asked.command {
            return self.list_keys(cx, asked.to, (from, to), most, effects);
        }
        if self.holding.is_full() {
            return answer(asked.to, Answer::Busy, effects);
        }
        if matches!(asked.command, Command::Hint { .. }) {
            return self.keep_hint(cx, asked, effects);
        }
        if asked.role == Role::Fallback {
            return self.command_on_hint(cx, asked, effects);
        }
        if !self.may_answer(cx, asked.role) {
            return answer(asked.to, Answer::NotOwner(cx.view.id()), effects);
        }
        let writes = matches!(asked.command, Command::Put { .. } | Command::Repair { .. });
        if self.relays_reads() && !writes {
            return self.relay(cx, asked, effects);
        }
        self.decide(cx, asked, effects);
    }

    /// Whether the copy may answer as what it is asked.
    fn may_answer(&self, cx: &Cx<'_>, role: Role) -> bool {
        let owns = cx.view.owns(self.id.partition);
        match role {
            Role::Owner => self.phase.answers() && owns,
            Role::Fallback => false,
            Role::Relayed(asked) => match &self.phase {
                Phase::Receiving {
                    session, complete, ..
                } => *complete && *session == asked,
                phase => matches!(phase, Phase::Serving) && owns,
            },
        }
    }

    /// Has the service decide, and carries the decision out.
    fn decide(&mut self, cx: &Cx<'_>, asked: Asked, effects: &mut Vec<Effect>) {
        let until_ms = asked.until_ms(cx);
        let Asked {
            to,
            role,
            command,
            body,
            ..
        } = asked;
        let (key, hint_for) = match &command {
            Command::Put { key, hint_for } => (Some(key), hint_for.clone()),
            Command::Get { key } | Command::Repair { key } => (Some(key), Vec::new()),
            _ => (None, Vec::new()),
        };
        if key.is_some_and(|key| !self.holding.is_place_of(key)) {
            return answer(to, bad_key(), effects);
        }
        if let Command::Put { key, .. } = &command {
            self.holding.expect(key);
        }
        let body = match &command {
            Command::Repair { key } => match self.above(cx, key, body) {
                Some(body) => body,
                None => return answer(to, Answer::Stored, effects),
            },
            _ => body,
        };
        let counts = !matches!(self.phase, Phase::CatchingUp { .. })
            || role != Role::Owner
            || cx.settings.fault == Fault::EmptiedCopyVotes;
        match self.ask_service(Looking::of(cx), command, body) {
            Decision::Write {
                key,
                value,
                answer,
                known,
            } => {
                let due = Due {
                    to,
                    answer,
                    until_ms,
                };
                let write = Write::put(key, value).knowing(known);
                self.write_and_answer(cx, write, &hint_for, due, effects);
            }
            Decision::Held { key } => {
                // Perhaps on its way to the disk or to the target: the answer waits for both.
                // A forwarding copy holds what its target may lack, also when their session is gone.
                let at_rest = !self.holding.is_leaving(&key);
                let alone = self.giving.out.is_none() && self.gate_without_session().is_none();
                if at_rest && hint_for.is_empty() && alone {
                    return answer(to, Answer::Stored, effects);
                }
                let due = Due::stored(to, until_ms);
                self.answer_when_held(cx, &key, &hint_for, due, effects);
            }
            Decision::Answer(Answer::Found | Answer::NotFound, body) if !counts => {
                let answer = Answer::CatchingUp;
                effects.push(Effect::Answer { to, answer, body });
            }
            Decision::Answer(answer, body) => effects.push(Effect::Answer { to, answer, body }),
        }
    }

    pub(super) fn ask_service(
        &mut self,
        looking: Looking<'_>,
        command: Command,
        body: Bytes,
    ) -> Decision {
        let Looking {
            view,
            store,
            wall_ms,
        } = looking;
        let holding = &self.holding;
        let held = |key: &Bytes| holding.get(store, key);
        let look = |key: &Bytes, see: &mut dyn FnMut(Option<&[u8]>)| holding.look(store, key, see);
        let context = Context {
            node: view.me(),
            partition: self.id.partition,
            wall_ms,
            floor: self.floor(),
            floors: self.holding.floors(),
            reaped: self.reaped,
            held: &held,
            look: &look,
        };
        self.vnode.handle_command(&context, command, body)
    }

    /// Writes an entry with the hints that came along, and answers when all has landed, and the target of a move has it.
    fn write_and_answer(
        &mut self,
        cx: &Cx<'_>,
        write: Write,
        hint_for: &[NodeName],
        due: Due,
        effects: &mut Vec<Effect>,
    ) {
        let mut hint = None;
        if !hint_for.is_empty() {
            match self.hint_of_key(cx, &write.key, hint_for, write.value.as_ref()) {
                Ok(write) => hint = Some(write),
                Err(error) => return answer(due.to, failed(&error), effects),
            }
        }
        let value = write.value.as_ref();
        let gate = value.and_then(|value| self.forward(&write.key, value, effects));
        let gate = gate.or_else(|| self.gate_without_session());
        let then = Then::Answer(due, gate);
        match hint {
            Some(hint) => self.write(cx, [hint, write], false, then, effects),
            None => self.write(cx, [write], false, then, effects),
        }
    }

    /// The same of an entry that is on its way already.
    fn answer_when_held(
        &mut self,
        cx: &Cx<'_>,
        key: &Bytes,
        hint_for: &[NodeName],
        due: Due,
        effects: &mut Vec<Effect>,
    ) {
        let mut hint = None;
        if !hint_for.is_empty() {
            match self.hint_of_key(cx, key, hint_for, None) {
                Ok(write) => hint = Some(write),
                Err(error) => return answer(due.to, failed(&error), effects),
            }
        }
        let out = self.giving.out.as_ref().filter(|out| out.is_open());
        let gate = out.map(|out| Gate {
            session: out.session,
            forward: out.forwards_sent(),
        });
        let gate = gate.or_else(|| self.gate_without_session());
        self.write(cx, hint, false, Then::Answer(due, gate), effects);
    }
}

pub(super) fn answer(to: ReplyTo, answer: Answer, effects: &mut Vec<Effect>) {
    let body = Bytes::new();
    effects.push(Effect::Answer { to, answer, body });
}

pub(super) fn bad_key() -> Answer {
    Answer::Failed {
        text: "the key is none of this partition".to_owned(),
        maybe_applied: false,
    }
}

pub(super) fn failed(error: &Error) -> Answer {
    if matches!(error, Error::Busy) {
        return Answer::Busy;
    }
    Answer::Failed {
        text: error.to_string(),
        maybe_applied: matches!(error, Error::Broken(_) | Error::Corrupt(_)),
    }
}

/// The same of a write that is somewhere else too.
pub(super) fn failed_here(error: &Error) -> Answer {
    Answer::Failed {
        text: error.to_string(),
        maybe_applied: true,
    }
}
