//! This file answers: how is a put carried that goes as everybody expects?
//!
//! Each owner is asked, and each that has stored it is noted ([`rkv_quorum::plain`]): neither machine nor desk is made. It
//! stands under a number like any other's. Whatever else happens to it, be it a refusal, a node that is lost, another ring or
//! its deadline, makes a desk of it first, under the same number, with the machine that would have been there all along; and
//! that takes it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use rkv_quorum::clock::Clock;
use rkv_quorum::outcome::PutOutcome;
use rkv_quorum::plain::Plain;
use rkv_quorum::roster::Ask;
use rkv_ring::{NodeName, RingId};
use rkv_vnode::router::Route;
use rkv_wire::message::{Command, RequestId, Role};

use super::asked::{Now, Place, Times};
use super::desk::{Asks, Counted, Desk, Machine, Putting, asks, is_sampled};
use super::translate::{wire_id, within};
use super::{ASK_BITS, Coordinator, SHARDS};
use crate::engine::Done;
use crate::error::KvError;
use crate::figures::{End, Op};
use crate::replica::KV;

/// Places in each table, taken in turns: a put that finds its own taken, by one that lingers, gets a machine at once.
const PLACES: usize = 128;

/// A put that goes as everybody expects.
pub(super) struct Expected {
    base: u64,
    op: Op,
    place: Place,
    times: Times,
    put: Plain,
    /// Until it is told.
    done: Option<Done<Result<PutOutcome, KvError>>>,
}

/// Some of those under way.
#[derive(Default)]
pub(super) struct Expectations {
    places: Vec<Option<Box<Expected>>>,
    count: usize,
    /// What they were brought.
    bytes: usize,
}

impl Expected {
    fn bytes(&self) -> usize {
        self.place.key.len() + self.put.bytes()
    }

    pub(super) fn is_late(&self, now_ms: u64) -> bool {
        self.times.until_ms <= now_ms
    }

    pub(super) fn ring(&self) -> RingId {
        self.put.row().ring()
    }

    pub(super) fn awaits(&self, node: &NodeName) -> bool {
        self.put.awaited().any(|(to, _)| to == node)
    }

    /// The request that it would have been from the start.
    pub(super) fn into_desk(self, me: &NodeName, clock: &Clock) -> Desk {
        let Expected {
            base,
            op,
            place,
            times,
            put,
            done,
        } = self;
        let awaited = put.awaited().map(|(node, ask)| (node.clone(), ask));
        let awaited: Asks = awaited.collect();
        let asked_at_once = asks(put.row().asks().map(|(_, ask)| ask));
        let machine = Machine::Put(Putting {
            machine: Box::new(put.grow(me.clone(), clock)),
            encoded: None,
            done,
        });
        let mut desk = Desk::new(base, op, place, times, machine);
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
        put: Plain,
        op: Op,
        place: Place,
        times: Times,
        done: Done<Result<PutOutcome, KvError>>,
    ) {
        let base = self.fresh_id().0;
        let (row, Place { slot, key }) = (put.row().clone(), place.clone());
        let body = Bytes::from(put.object().encode());
        let expected = Box::new(Expected {
            base,
            op,
            place,
            times,
            put,
            done: Some(done),
        });
        if let Err(expected) = self.expect(expected) {
            return self.put_with_a_machine(*expected);
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
            let command = Command::Put {
                key: key.clone(),
                hint_for: Vec::new(),
            };
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

    /// Nobody was asked yet.
    fn put_with_a_machine(&self, expected: Expected) {
        let Expected {
            base,
            op,
            place,
            times,
            put,
            done,
        } = expected;
        let machine = Machine::Put(Putting {
            machine: Box::new(put.unbegun(self.me.clone())),
            encoded: None,
            done,
        });
        self.begin(RequestId(base), machine, op, place, times);
    }

    /// An owner has stored a put. False: it is none of these, and nothing was done.
    pub(super) fn stored_plainly(&self, base: u64, from: &NodeName, ask: Ask, now: Now) -> bool {
        let mut table = self.shard(base).lock();
        let Some(expected) = table.expected.find(base) else {
            return false;
        };
        let outcome = expected.put.stored(from, ask);
        let told = outcome.and_then(|outcome| Some((expected.done.take()?, outcome)));
        let (op, began) = (expected.op, expected.times.now);
        let over = match expected.put.is_over() {
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
        if let Some((done, outcome)) = told {
            let counted = Counted {
                op,
                began,
                is_sampled,
            };
            self.count(counted, End::Ok, now);
            done(Ok(outcome));
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
