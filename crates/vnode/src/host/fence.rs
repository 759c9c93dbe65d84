//! This file answers: what becomes of a command that came by another ring?
//!
//! Both must route by the same ring. Who is behind pulls first: a command by a later ring waits here until that is
//! adopted, one by an earlier ring is told so.

use bytes::Bytes;
use rkv_ring::NodeName;
use rkv_wire::message::{Answer, Command, CopyId, Role, ServiceId};

use super::Host;
use crate::actor::{Asked, Event, ReplyTo};
use crate::router::Route;

/// Commands that wait for a later ring, at most.
const PARKED: usize = 4096;

/// A command from another node.
pub(super) struct Parked {
    from: NodeName,
    until_ms: u64,
    route: Route,
    command: Command,
    body: Bytes,
}

impl Host {
    pub(super) fn command_from_afar(
        &self,
        from: &NodeName,
        route: Route,
        command: Command,
        body: Bytes,
    ) {
        let view = self.view.load();
        let relayed = matches!(route.role, Role::Relayed(_));
        if !relayed && route.ring != view.id() {
            if route.ring.supersedes(&view.id()) {
                return self.park(Parked {
                    from: from.clone(),
                    until_ms: self.world.now_ms() + u64::from(route.within_ms),
                    route,
                    command,
                    body,
                });
            }
            let answer = Answer::NotOwner(view.id());
            return self.answer_afar(from, route.id, answer, Bytes::new());
        }
        let service = route.service;
        let partition = view.ring().partition_of(route.slot);
        let copy = CopyId { service, partition };
        let Some(desk) = self.desk(copy) else {
            let answer = no_such_service(service);
            return self.answer_afar(from, route.id, answer, Bytes::new());
        };
        let fence = (route.ring, route.role);
        let (command, body) = match self.answer_at_once(desk, fence, command, body) {
            Ok((answer, body)) => return self.answer_afar(from, route.id, answer, body),
            Err(asked) => asked,
        };
        let asked = Asked {
            to: ReplyTo::Remote(from.clone(), route.id),
            role: route.role,
            command,
            body,
            within_ms: route.within_ms,
        };
        self.tell(copy, Event::Command(asked));
    }

    /// Keeps a command by a later ring until that is adopted.
    fn park(&self, asked: Parked) {
        let (from, id, ring) = (asked.from.clone(), asked.route.id, asked.route.ring);
        let mut parked = self.parked.lock();
        if parked.len() < PARKED {
            parked.push(asked);
            drop(parked);
            if ring.supersedes(&self.view.load().id()) {
                self.upward().pull(&from);
            } else {
                // Adopted between the look at the ring and here: nobody else would let it go on.
                self.unpark();
            }
        } else {
            drop(parked);
            let answer = Answer::Behind(self.view.load().id());
            self.answer_afar(&from, id, answer, Bytes::new());
        }
    }

    /// A ring was adopted: those who waited for it have their turn.
    pub(super) fn unpark(&self) {
        let parked = std::mem::take(&mut *self.parked.lock());
        let now_ms = self.world.now_ms();
        for mut asked in parked {
            if asked.until_ms > now_ms {
                let within_ms = asked.until_ms - now_ms;
                asked.route.within_ms = u32::try_from(within_ms).unwrap_or(u32::MAX);
                self.command_from_afar(&asked.from, asked.route, asked.command, asked.body);
            }
        }
    }

    /// Drops those whose answer is void by now.
    pub(super) fn forget_parked(&self) {
        let now_ms = self.world.now_ms();
        self.parked.lock().retain(|asked| asked.until_ms > now_ms);
    }
}

pub(super) fn no_such_service(service: ServiceId) -> Answer {
    Answer::Failed {
        text: format!("no service {} runs here", service.0),
        maybe_applied: false,
    }
}
