//! This file answers: what does an event do to a request, and what becomes of what its machine wishes for?

use bytes::Bytes;
use rkv_quorum::put::Extent;
use rkv_quorum::roster::Ask;
use rkv_quorum::{get, put};
use rkv_ring::{NodeName, RingId};
use rkv_vnode::router::Route;
use rkv_wire::message::{Command, Role};
use smallvec::SmallVec;

use super::asked::{Now, Reply};
use super::desk::{Asks, Desk, Event, Getting, Machine, Putting, Request, Told, asks};
use super::translate::{encode_once, get_event, kv_route, put_event, wire_role, within};
use super::{Coordinator, UNHEARD};

/// How long a replica may take over a hint or a repair.
const UNHEARD_WITHIN_MS: u32 = 5_000;

/// What came of driving a request.
#[derive(Default)]
pub(super) struct Came {
    /// Answers that were there at once, behind what is being driven.
    pub(super) here: SmallVec<[Event; 1]>,
    /// A request tells its caller once.
    pub(super) told: Option<Told>,
}

/// One step of a request.
struct Step<'a> {
    desk: &'a Desk,
    asked: &'a mut Asks,
    now_ms: u64,
    /// How long whoever is asked may take.
    within_ms: u32,
    came: &'a mut Came,
}

impl Coordinator {
    /// One event, and what it makes the machine wish for. Returns whether the request is over.
    pub(super) fn drive(
        &self,
        desk: &Desk,
        request: &mut Request,
        event: Event,
        now: Now,
        came: &mut Came,
    ) -> bool {
        if let Event::Answer(node, ask, ..) = &event
            && ask.0 < request.asked_at_once
            && desk.is_sampled()
            && *node != self.me
        {
            let us = now.us().saturating_sub(desk.began.us());
            self.counters.answered(node, us);
        }
        if let Event::Answer(node, ask, ..) | Event::Unreachable(node, ask, _) = &event {
            let awaited = |(to, asked): &(NodeName, Ask)| to == node && asked == ask;
            match request.asked.iter().position(awaited) {
                Some(at) => drop(request.asked.swap_remove(at)),
                None => return false,
            }
        }
        let begins = matches!(event, Event::Begin);
        let step = Step {
            desk,
            asked: &mut request.asked,
            now_ms: now.ms(),
            within_ms: within(request.until_ms, now.ms()),
            came,
        };
        let is_over = match &mut request.machine {
            Machine::Put(put) => {
                put_event(event).is_some_and(|event| self.drive_put(put, event, step))
            }
            Machine::Get(get) => {
                get_event(event).is_some_and(|event| self.drive_get(get, event, step))
            }
            Machine::Ask { done } => {
                let answer = match event {
                    Event::Answer(node, _, answer, body) => Some(Reply { node, answer, body }),
                    Event::Unreachable(..) | Event::Tick => None,
                    Event::Begin | Event::Preflist(_) | Event::Lost(..) => return false,
                };
                if let Some(done) = done.take() {
                    step.came.told = Some(Told::Ask(done, answer));
                }
                true
            }
        };
        if begins {
            request.asked_at_once = asks(request.asked.iter().map(|(_, ask)| *ask));
        }
        is_over
    }

    fn drive_put(&self, put: &mut Putting, event: put::Event, step: Step<'_>) -> bool {
        let Step {
            desk, asked, came, ..
        } = step;
        let mut effects = put::Effects::new();
        let machine = &mut put.machine;
        let decided = machine.step(step.now_ms, event, &self.clock, &mut effects);
        if let Some(result) = decided
            && let Some(done) = put.done.take()
        {
            came.told = Some(Told::Put(done, result));
        }
        let ring = put.machine.ring();
        let mut is_over = false;
        for effect in effects {
            match effect {
                put::Effect::Send {
                    to,
                    role,
                    ask,
                    extent,
                    hint_for,
                } => {
                    let body = encode_once(&mut put.encoded, &put.machine, extent);
                    let key = desk.key.clone();
                    let command = Command::Put { key, hint_for };
                    asked.push((to.clone(), ask));
                    let route = kv_route(desk, ask, ring, wire_role(role), step.within_ms);
                    let answered = self.deliver(to, ask, route, command, body);
                    came.here.extend(answered);
                }
                put::Effect::Hint { to, role, missing } => {
                    let key = desk.key.clone();
                    let command = Command::Hint { key, missing };
                    let body = encode_once(&mut put.encoded, &put.machine, Extent::Whole);
                    self.tell(desk, &to, ring, wire_role(role), command, body);
                }
                put::Effect::Finished => is_over = true,
            }
        }
        is_over
    }

    fn drive_get(&self, get: &mut Getting, event: get::Event, step: Step<'_>) -> bool {
        let Step {
            desk, asked, came, ..
        } = step;
        let is_late = matches!(event, get::Event::Tick);
        let was_sparing = get.machine.is_sparing();
        let mut effects = get::Effects::new();
        let decided = get.machine.step(step.now_ms, event, &mut effects);
        if let Some(result) = decided
            && let Some(done) = get.done.take()
        {
            came.told = Some(Told::Get(done, result));
        }
        if was_sparing && !get.machine.is_sparing() {
            self.counters.hedged();
            if is_late {
                self.are_slow(asked, step.now_ms);
            }
        }
        let ring = get.machine.ring();
        let mut is_over = false;
        for effect in effects {
            match effect {
                get::Effect::Send { to, role, ask } => {
                    let key = desk.key.clone();
                    let command = Command::Get { key };
                    asked.push((to.clone(), ask));
                    let route = kv_route(desk, ask, ring, wire_role(role), step.within_ms);
                    let answered = self.deliver(to, ask, route, command, Bytes::new());
                    came.here.extend(answered);
                }
                get::Effect::Repair { to, object } => {
                    self.counters.repaired();
                    let key = desk.key.clone();
                    let command = Command::Repair { key };
                    let body = Bytes::from(object.encode());
                    self.tell(desk, &to, ring, Role::Owner, command, body);
                }
                get::Effect::Finished => is_over = true,
            }
        }
        is_over
    }

    /// Delivers an ask; the answer, if it is there at once.
    fn deliver(
        &self,
        to: NodeName,
        ask: Ask,
        route: Route,
        command: Command,
        body: Bytes,
    ) -> Option<Event> {
        let answered = self.router.deliver(&self.me, &to, route, command, body);
        let (answer, body) = answered?;
        Some(Event::Answer(to, ask, answer, body))
    }

    /// Delivers what nobody waits for.
    fn tell(
        &self,
        desk: &Desk,
        to: &NodeName,
        ring: RingId,
        role: Role,
        command: Command,
        body: Bytes,
    ) {
        let ask = Ask(UNHEARD as u32);
        let route = kv_route(desk, ask, ring, role, UNHEARD_WITHIN_MS);
        self.router.deliver(&self.me, to, route, command, body);
    }
}
