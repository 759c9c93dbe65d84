//! This file answers: how is a request carried that goes as everybody expects?
//!
//! Owners are asked, and each that has done as it was asked is noted ([`rkv_quorum::plain`]): neither machine nor desk is made.
//! It stands under a number like any other's. Whatever else happens to it, be it a refusal, copies that differ, a node that is
//! lost, another ring or its deadline, makes a desk of it first, under the same number, with the machine that would have been
//! there all along; and that takes it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use rkv_quorum::clock::Clock;
use rkv_quorum::object::Object;
use rkv_quorum::outcome::{GetOutcome, PutOutcome};
use rkv_quorum::plain::{Heard, PlainGet, PlainPut, Row};
use rkv_quorum::roster::Ask;
use rkv_ring::{NodeName, RingId};
use rkv_vnode::router::Route;
use rkv_wire::message::{Answer, Command, RequestId, Role};

use super::asked::{Now, Place, Times};
use super::desk::{Asks, Counted, Desk, Getting, Machine, Putting, Told, asks, is_sampled};
use super::translate::{wire_id, within};
use super::{ASK_BITS, Coordinator, SHARDS};
use crate::engine::Done;
use crate::error::KvError;
use crate::figures::Op;
use crate::replica::KV;

/// Places in each table, taken in turns: a request that finds its own taken, by one that lingers, gets a machine at once.
const PLACES: usize = 128;

/// A request that goes as everybody expects.
pub(super) struct Expected {
    base: u64,
    op: Op,
    place: Place,
    times: Times,
    plain: Plain,
}

/// What there is to decide, and whom to tell, until it is told.
enum Plain {
    Put {
        put: PlainPut,
        done: Option<Done<Result<PutOutcome, KvError>>>,
    },
    Get {
        get: PlainGet,
        done: Option<Done<Result<GetOutcome, KvError>>>,
    },
}

/// Some of those under way.
#[derive(Default)]
pub(super) struct Expectations {
    places: Vec<Option<Box<Expected>>>,
    count: usize,
    /// What they were brought.
    bytes: usize,
}

impl Plain {
    fn row(&self) -> &Row {
        match self {
            Plain::Put { put, .. } => put.row(),
            Plain::Get { get, .. } => get.row(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Plain::Put { put, .. } => put.bytes(),
            Plain::Get { .. } => 0,
        }
    }

    fn awaited(&self) -> Asks {
        let owned = |(node, ask): (&NodeName, Ask)| (node.clone(), ask);
        match self {
            Plain::Put { put, .. } => put.awaited().map(owned).collect(),
            Plain::Get { get, .. } => get.awaited().map(owned).collect(),
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Plain::Put { put, .. } => put.is_over(),
            Plain::Get { get, .. } => get.is_over(),
        }
    }

    /// An owner has answered.
    fn hears(&mut self, from: &NodeName, ask: Ask, answer: &Answer, body: &Bytes) -> Heard<Told> {
        match (self, answer) {
            (Plain::Put { put, done }, Answer::Stored) => {
                let outcome = put.stored(from, ask);
                let told = outcome.and_then(|outcome| Some(Told::Put(done.take()?, Ok(outcome))));
                told.map_or(Heard::Nothing, Heard::Enough)
            }
            (Plain::Get { get, done }, Answer::Found | Answer::NotFound) => {
                let held = match answer {
                    Answer::Found => match Object::decode(body.clone()) {
                        Ok(object) => Some(object),
                        Err(_) => return Heard::Otherwise,
                    },
                    _ => None,
                };
                match get.heard(from, ask, held) {
                    Heard::Enough(outcome) => match done.take() {
                        Some(done) => Heard::Enough(Told::Get(done, Ok(outcome))),
                        None => Heard::Nothing,
                    },
                    Heard::Nothing => Heard::Nothing,
                    Heard::Otherwise => Heard::Otherwise,
                }
            }
            _ => Heard::Otherwise,
        }
    }

    /// The machine before anything has happened.
    fn unbegun(self, me: &NodeName) -> Machine {
        match self {
            Plain::Put { put, done } => Machine::Put(Putting {
                machine: Box::new(put.unbegun(me.clone())),
                encoded: None,
                done,
            }),
            Plain::Get { get, done } => Machine::Get(Getting {
                machine: Box::new(get.unbegun(me)),
                done,
            }),
        }
    }

    /// The machine to which the same has happened.
    fn grow(self, me: &NodeName, clock: &Clock) -> Machine {
        match self {
            Plain::Put { put, done } => Machine::Put(Putting {
                machine: Box::new(put.grow(me.clone(), clock)),
                encoded: None,
                done,
            }),
            Plain::Get { get, done } => Machine::Get(Getting {
                machine: Box::new(get.grow(me)),
                done,
            }),
        }
    }
}

impl Expected {
    fn bytes(&self) -> usize {
        self.place.key.len() + self.plain.bytes()
    }

    /// Whether there is something to be done about it by now.
    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        let hedges_ms = match &self.plain {
            Plain::Put { .. } => None,
            Plain::Get { get, .. } => get.hedges_ms(),
        };
        let due_ms = hedges_ms.unwrap_or(u64::MAX).min(self.times.until_ms);
        due_ms <= now_ms
    }

    pub(super) fn ring(&self) -> RingId {
        self.plain.row().ring()
    }

    pub(super) fn awaits(&self, node: &NodeName) -> bool {
        self.plain.awaited().iter().any(|(to, _)| to == node)
    }

    /// The request that it would have been from the start.
    pub(super) fn into_desk(self, me: &NodeName, clock: &Clock) -> Desk {
        let Expected {
            base,
            op,
            place,
            times,
            plain,
        } = self;
        let awaited = plain.awaited();
        let asked_at_once = asks(plain.row().asks().map(|(_, ask)| ask));
        let mut desk = Desk::new(base, op, place, times, plain.grow(me, clock));
        let request = desk.request.get_mut();
        request.asked = awaited;
        request.asked_at_once = asked_at_once;
        let due_ms = request.next_tick_ms(u64::MAX);
        *desk.due_ms.get_mut() = due_ms;
        desk
    }
}

impl Expectations {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes it in, unless its place is taken.
    fn put(&mut self, expected: Box<Expected>) -> Result<(), Box<Expected>> {
        if self.places.is_empty() {
            self.places.resize_with(PLACES, || None);
        }
        let place = &mut self.places[place_of(expected.base)];
        if place.is_some() {
            return Err(expected);
        }
        self.count += 1;
        self.bytes += expected.bytes();
        *place = Some(expected);
        Ok(())
    }

    fn find(&mut self, base: u64) -> Option<&mut Expected> {
        let standing = self.places.get_mut(place_of(base))?.as_deref_mut();
        standing.filter(|it| it.base == base)
    }

    pub(super) fn take(&mut self, base: u64) -> Option<Box<Expected>> {
        let place = self.places.get_mut(place_of(base))?;
        let taken = place.take_if(|it| it.base == base)?;
        self.count -= 1;
        self.bytes -= taken.bytes();
        Some(taken)
    }

    /// The numbers of those for which this holds.
    pub(super) fn all(&self, is: impl Fn(&Expected) -> bool) -> Vec<u64> {
        let all = self.places.iter().flatten();
        all.filter(|it| is(it)).map(|it| it.base).collect()
    }
}

fn place_of(base: u64) -> usize {
    (base >> ASK_BITS) as usize / SHARDS % PLACES
}

impl Coordinator {
    /// Begins a put whose owners are all up.
    pub fn put_plainly(
        &self,
        put: PlainPut,
        op: Op,
        place: Place,
        times: Times,
        done: Done<Result<PutOutcome, KvError>>,
    ) {
        let body = Bytes::from(put.object().encode());
        let done = Some(done);
        let expected = Expected {
            base: self.fresh_id().0,
            op,
            place,
            times,
            plain: Plain::Put { put, done },
        };
        let command = |key| Command::Put {
            key,
            hint_for: Vec::new(),
        };
        self.begin_plainly(expected, command, &body);
    }

    /// Begins a get whose owners are all up.
    pub fn get_plainly(
        &self,
        get: PlainGet,
        place: Place,
        times: Times,
        done: Done<Result<GetOutcome, KvError>>,
    ) {
        let done = Some(done);
        let expected = Expected {
            base: self.fresh_id().0,
            op: Op::Get,
            place,
            times,
            plain: Plain::Get { get, done },
        };
        self.begin_plainly(expected, |key| Command::Get { key }, &Bytes::new());
    }

    fn begin_plainly(&self, expected: Expected, command: impl Fn(Bytes) -> Command, body: &Bytes) {
        let (base, times) = (expected.base, expected.times);
        let (row, Place { slot, key }) = (expected.plain.row().clone(), expected.place.clone());
        if let Err(expected) = self.expect(Box::new(expected)) {
            let Expected {
                op, place, plain, ..
            } = *expected;
            let machine = plain.unbegun(&self.me);
            return self.begin(RequestId(base), machine, op, place, times);
        }
        let mut here = None;
        for (node, ask) in row.asks() {
            let route = Route {
                id: wire_id(base, ask),
                service: KV,
                slot,
                ring: row.ring(),
                role: Role::Owner,
                within_ms: within(times.until_ms, times.now.ms()),
            };
            let command = command(key.clone());
            let answered = self
                .router
                .deliver(&self.me, node, route, command, body.clone());
            here = here.or(answered.map(|(answer, body)| (node, ask, answer, body)));
        }
        if let Some((node, ask, answer, body)) = here {
            self.answered(wire_id(base, ask), node, answer, body, times.now);
        }
    }

    /// Takes it in, if there is room and nobody in its place.
    fn expect(&self, expected: Box<Expected>) -> Result<(), Box<Expected>> {
        let mut table = self.shard(expected.base).lock();
        if !table.has_room() {
            return Err(expected);
        }
        table.expected.put(expected)?;
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// An owner has answered. False: it is none of these, or not what was expected, and nothing was done.
    pub(super) fn answered_plainly(
        &self,
        (base, ask): (u64, Ask),
        from: &NodeName,
        (answer, body): (&Answer, &Bytes),
        now: Now,
    ) -> bool {
        let mut table = self.shard(base).lock();
        let Some(expected) = table.expected.find(base) else {
            return false;
        };
        let told = match expected.plain.hears(from, ask, answer, body) {
            Heard::Otherwise => return false,
            Heard::Nothing => None,
            Heard::Enough(told) => Some(told),
        };
        let (op, began) = (expected.op, expected.times.now);
        let over = match expected.plain.is_over() {
            true => table.expected.take(base),
            false => None,
        };
        drop(table);
        if over.is_some() {
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
        let is_sampled = is_sampled(base);
        if is_sampled && *from != self.me {
            let us = now.us().saturating_sub(began.us());
            self.counters.answered(from, us);
        }
        if let Some(told) = told {
            let counted = Counted {
                op,
                began,
                is_sampled,
            };
            let end = told.end(|| self.router.wall_ms());
            self.count(counted, end, now);
            told.tell();
        }
        true
    }

    /// Those for which this holds are requests like any other from now on.
    pub(super) fn expect_no_more(&self, is: impl Fn(&Expected) -> bool) {
        for shard in &self.shards {
            let mut table = shard.lock();
            for base in table.expected.all(&is) {
                table.desk(base, &self.me, &self.clock);
            }
        }
    }

    /// The request of this number, also if it was one of these until now.
    pub(super) fn find(&self, base: u64) -> Option<Arc<Desk>> {
        self.shard(base).lock().desk(base, &self.me, &self.clock)
    }
}

#[cfg(test)]
#[path = "plainly_tests.rs"]
mod tests;
