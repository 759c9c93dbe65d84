//! This file answers: what does a copy answer to a command that nothing stands in the way of?
//!
//! It serves by itself, moves nowhere, and waits for no disk: then a get, and in memory a put, is decided, carried out and
//! counted here, without the events and wishes of a step. Whatever else there may be to think of makes it a command like
//! any other.

use bytes::Bytes;
use rkv_storage::Store;
use rkv_wire::message::{Answer, Command};

use super::Actor;
use super::commands::{Looking, failed};
use crate::holding::Write;
use crate::view::View;
use crate::vnode::Decision;

impl Actor {
    /// Whether that is so of this command to an owner.
    pub(crate) fn answers_at_once(
        &self,
        view: &View,
        store: &dyn Store,
        command: &Command,
    ) -> bool {
        let key = match command {
            Command::Get { key } => key,
            Command::Put { key, hint_for } if hint_for.is_empty() && store.is_volatile() => key,
            _ => return false,
        };
        self.serves_by_itself(view)
            && view.owns(self.id.partition)
            && self.holding.floors().is_same(view.floors())
            && !self.holding.is_full()
            && self.holding.is_place_of(key)
    }

    /// What it answers then.
    pub(crate) fn answer_at_once(
        &mut self,
        looking: Looking<'_>,
        command: Command,
        body: Bytes,
    ) -> (Answer, Bytes) {
        if let Command::Put { key, .. } = &command {
            self.holding.expect(key);
        }
        match self.ask_service(looking, command, body) {
            Decision::Write {
                key,
                value,
                answer,
                known,
            } => {
                let write = Write::put(key, value).knowing(known);
                let Looking { store, .. } = looking;
                let answer = match self.holding.write_at_once(store, &*self.vnode, write) {
                    Ok(()) => answer,
                    Err(error) => {
                        self.failures += 1;
                        failed(&error)
                    }
                };
                (answer, Bytes::new())
            }
            Decision::Held { .. } => (Answer::Stored, Bytes::new()),
            Decision::Answer(answer, body) => (answer, body),
        }
    }
}
