//! This file answers: who carries one request from its first send to its last answer?
//!
//! Any node coordinates. The machine of a request (`rkv_quorum::Put`, `Get`) decides; the coordinator delivers what it
//! sends, hands it each answer, and calls its caller once. Events of one request are taken one at a time: whoever finds
//! the machine in use leaves the event in its inbox, and whoever is with it takes that too. No lock is held over a
//! delivery that a second request could wait for.
//!
//! Beside this file: `asked` what may be asked · `desk` one request under way · `drive` what its machine wishes for ·
//! `plainly` most puts and gets, which need neither · `translate` between that and the wire.

mod asked;
mod desk;
mod drive;
mod plainly;
mod translate;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use rkv_quorum::clock::Clock;
use rkv_quorum::outcome::{ErrorKind, GetOutcome, PutOutcome, QuorumError};
use rkv_quorum::plain::PlainGet;
use rkv_quorum::roster::Ask;
use rkv_quorum::{get, put};
use rkv_ring::NodeName;
use rkv_vnode::router::Route;
use rkv_vnode::{Router, View};
use rkv_wire::message::{Answer, RequestId, Role};

use crate::engine::Done;
use crate::error::KvError;
use crate::figures::{Counters, End, Op, SAMPLED};

use desk::{Counted, Desk, Event, Getting, Machine, Putting, Table, pop};
use drive::Came;
use translate::wire_id;

pub use asked::{Now, Place, Question, Reply, Times};

/// Requests are spread over this many tables.
const SHARDS: usize = 16;
/// At most this many are under way; one more is answered with BUSY at once.
pub const MOST_REQUESTS: usize = 32_768;
/// At most so many bytes of keys and values, but always one in each table.
pub const MOST_REQUEST_BYTES: usize = 512 << 20;
/// So long an owner that was slow to answer a get that spared others is relied on by none.
const SLOW_MS: u64 = 1_000;
/// Low bits of a request id that number the asks of one request.
const ASK_BITS: u32 = 12;
/// The ask whose answer nobody waits for: hints and repairs after the fact.
const UNHEARD: u64 = (1 << ASK_BITS) - 1;

/// Carries the requests of one node.
pub struct Coordinator {
    me: NodeName,
    router: Router,
    clock: Arc<Clock>,
    counters: Counters,
    shards: Vec<Mutex<Table>>,
    next: AtomicU64,
    in_flight: AtomicUsize,
    /// Nodes that were slow of late, until when they count as that.
    slow: ArcSwap<BTreeMap<NodeName, u64>>,
}

impl Coordinator {
    /// A coordinator whose request ids begin at a place that differs in each boot.
    pub fn new(me: NodeName, router: Router, clock: Arc<Clock>, boot: u64) -> Coordinator {
        Coordinator {
            me,
            router,
            clock,
            counters: Counters::default(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            next: AtomicU64::new(boot & (u64::MAX >> (ASK_BITS + 2))),
            in_flight: AtomicUsize::new(0),
            slow: ArcSwap::default(),
        }
    }

    /// A request id that no other request of this boot has.
    pub fn fresh_id(&self) -> RequestId {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        RequestId((number << ASK_BITS) & (u64::MAX >> 1))
    }

    /// Requests under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whose turn it is, if a get that begins now is to spare owners: while at least `many` other requests are under way.
    pub fn turn_to_spare(&self, many: usize) -> Option<usize> {
        let spares = self.in_flight() >= many;
        spares.then(|| self.next.load(Ordering::Relaxed) as usize)
    }

    /// The get as it is to begin if it spares owners in this turn.
    pub fn sparing(&self, get: get::Get, turn: Option<usize>, now_ms: u64) -> get::Get {
        let Some(turn) = turn else {
            return get;
        };
        let slow = self.slow.load();
        get.sparing(&self.me, turn, |node| {
            slow.get(node).is_some_and(|until_ms| now_ms < *until_ms)
        })
    }

    /// The same of a get that goes as everybody expects; none while an owner is slow.
    pub fn sparing_plainly(
        &self,
        get: PlainGet,
        turn: Option<usize>,
        now_ms: u64,
    ) -> Option<PlainGet> {
        let Some(turn) = turn else {
            return Some(get);
        };
        let slow = self.slow.load();
        let is_slow = slow.values().any(|until_ms| now_ms < *until_ms);
        (!is_slow).then(|| get.sparing(&self.me, turn))
    }

    /// These have taken long over a get that spared others.
    fn are_slow(&self, nodes: &[(NodeName, Ask)], now_ms: u64) {
        self.slow.rcu(|slow| {
            let mut slow = BTreeMap::clone(slow);
            slow.retain(|_, until_ms| now_ms < *until_ms);
            slow.extend(
                nodes
                    .iter()
                    .map(|(node, _)| (node.clone(), now_ms + SLOW_MS)),
            );
            slow
        });
    }

    /// What is counted of requests.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Begins a put.
    pub fn put(
        &self,
        machine: Box<put::Put>,
        op: Op,
        place: Place,
        times: Times,
        done: Done<Result<PutOutcome, KvError>>,
    ) {
        let machine = Machine::Put(Putting {
            machine,
            encoded: None,
            done: Some(done),
        });
        self.begin(self.fresh_id(), machine, op, place, times);
    }

    /// Begins a get.
    pub fn get(
        &self,
        machine: Box<get::Get>,
        place: Place,
        times: Times,
        done: Done<Result<GetOutcome, KvError>>,
    ) {
        let machine = Machine::Get(Getting {
            machine,
            done: Some(done),
        });
        self.begin(self.fresh_id(), machine, Op::Get, place, times);
    }

    fn begin(&self, id: RequestId, machine: Machine, op: Op, place: Place, times: Times) {
        match self.open(id, machine, op, place, times) {
            Ok(desk) => self.take(&desk, Event::Begin, times.now),
            Err(machine) => self.turn_away(*machine, op),
        }
    }

    /// There is no room for it: told at once, so that whoever asks can go elsewhere or slow down.
    fn turn_away(&self, machine: Machine, op: Op) {
        self.counters.ended(op, End::Busy);
        match machine {
            Machine::Put(Putting { machine, done, .. }) => {
                let error = QuorumError::of_put(ErrorKind::Busy, (0, machine.w()), false);
                done.into_iter()
                    .for_each(|done| done(Err(error.clone().into())));
            }
            Machine::Get(Getting { machine, done, .. }) => {
                let error = QuorumError::of_get(ErrorKind::Busy, (0, machine.r()));
                done.into_iter()
                    .for_each(|done| done(Err(error.clone().into())));
            }
            Machine::Ask { done } => done.into_iter().for_each(|done| done(None)),
        }
    }

    fn open(
        &self,
        id: RequestId,
        machine: Machine,
        op: Op,
        place: Place,
        times: Times,
    ) -> Result<Arc<Desk>, Box<Machine>> {
        let base = id.0;
        let mut table = self.shard(base).lock();
        if !table.has_room() {
            return Err(Box::new(machine));
        }
        let desk = Arc::new(Desk::new(base, op, place, times, machine));
        table.insert(desk.clone());
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Ok(desk)
    }

    fn close(&self, desk: &Desk) {
        if self.shard(desk.base).lock().remove(desk.base) {
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Sends one command to `to`'s vnode of a service and waits for its answer; `None`: none came in time, or `to` was
    /// lost.
    pub fn ask(&self, to: &NodeName, question: Question, now: Now, done: Done<Option<Reply>>) {
        let until_ms = now.ms() + question.timeout_ms;
        let machine = Machine::Ask { done: Some(done) };
        let place = Place {
            slot: question.slot,
            key: Bytes::new(),
        };
        let times = Times { now, until_ms };
        let desk = match self.open(self.fresh_id(), machine, Op::Other, place, times) {
            Ok(desk) => desk,
            Err(machine) => return self.turn_away(*machine, Op::Other),
        };
        let ask = Ask(0);
        {
            let mut request = desk.request.lock();
            request.asked.push((to.clone(), ask));
            desk.due_ms.store(until_ms, Ordering::Release);
        }
        let route = Route {
            id: wire_id(desk.base, ask),
            service: question.service,
            slot: question.slot,
            ring: question.ring,
            role: Role::Owner,
            within_ms: u32::try_from(question.timeout_ms).unwrap_or(u32::MAX),
        };
        let body = question.body;
        let answered = self
            .router
            .deliver(&self.me, to, route, question.command, body);
        if let Some((answer, body)) = answered {
            self.take(&desk, Event::Answer(to.clone(), ask, answer, body), now);
        }
    }

    // ---- what happens ----------------------------------------------------------------------------------------------

    /// A replica answered.
    pub fn answered(&self, id: RequestId, from: &NodeName, answer: Answer, body: Bytes, now: Now) {
        let (base, ask) = (id.0 & !UNHEARD, id.0 & UNHEARD);
        if ask == UNHEARD {
            return;
        }
        let ask = Ask(ask as u32);
        if self.answered_plainly((base, ask), from, (&answer, &body), now) {
            return;
        }
        if let Some(desk) = self.find(base) {
            self.take(&desk, Event::Answer(from.clone(), ask, answer, body), now);
        }
    }

    /// `node` cannot be reached any more; of these requests it is known that they never left.
    pub fn node_lost(&self, node: &NodeName, undelivered: &[RequestId], now_ms: u64) {
        let undelivered: Arc<[RequestId]> = undelivered.into();
        self.expect_no_more(|it| it.awaits(node));
        for desk in self.desks() {
            let lost = Event::Lost(node.clone(), undelivered.clone());
            self.take(&desk, lost, Now::at_ms(now_ms));
        }
    }

    /// A ring was adopted: what was refused for the ring's sake is routed anew.
    pub fn rerouted(&self, now_ms: u64) {
        self.expect_no_more(|_| true);
        let desks = self.desks();
        let view = self.router.view();
        for desk in desks {
            self.reroute(&desk, &view, now_ms);
        }
    }

    /// Time passed. A request that looked at the ring just before another was adopted, and began just after, was not
    /// there to be routed anew: it is now.
    pub fn tick(&self, now_ms: u64) {
        let current = self.router.view().id();
        self.expect_no_more(|it| it.is_due(now_ms) || it.ring() != current);
        let desks = self.desks();
        // Looked at after the desks: it is no older than what any of them is routed by.
        let view = self.router.view();
        for desk in desks {
            if desk.is_routed_otherwise(view.id()) {
                self.reroute(&desk, &view, now_ms);
            }
            if desk.due_ms.load(Ordering::Acquire) <= now_ms {
                self.take(&desk, Event::Tick, Now::at_ms(now_ms));
            }
        }
    }

    fn reroute(&self, desk: &Desk, view: &View, now_ms: u64) {
        let preflist = view.preflist(view.ring().partition_of(desk.slot)).clone();
        self.take(desk, Event::Preflist(preflist), Now::at_ms(now_ms));
    }

    // ---- carrying ----------------------------------------------------------------------------------------------------

    fn shard(&self, base: u64) -> &Mutex<Table> {
        &self.shards[(base >> ASK_BITS) as usize % SHARDS]
    }

    fn desks(&self) -> Vec<Arc<Desk>> {
        let mut desks = Vec::new();
        for shard in &self.shards {
            desks.extend(shard.lock().desks.values().cloned());
        }
        desks
    }

    /// Hands an event to a request, unless somebody is with it: then it is left for that one.
    fn take(&self, desk: &Desk, event: Event, now: Now) {
        let mut event = Some(event);
        loop {
            let Some(mut request) = desk.request.try_lock() else {
                let Some(event) = event.take() else {
                    return;
                };
                desk.inbox.lock().push_back(event);
                continue;
            };
            let mut came = Came::default();
            let mut finished = false;
            while let Some(event) = pop(&desk.inbox)
                .or_else(|| event.take())
                .or_else(|| came.here.pop())
            {
                if let Event::Lost(node, undelivered) = event {
                    desk.lose(&request, &node, &undelivered);
                } else {
                    finished |= self.drive(desk, &mut request, event, now, &mut came);
                }
            }
            let due_ms = if finished {
                u64::MAX
            } else {
                request.next_tick_ms(desk.due_ms.load(Ordering::Acquire))
            };
            desk.due_ms.store(due_ms, Ordering::Release);
            drop(request);
            if finished {
                self.close(desk);
            }
            if let Some(told) = came.told {
                let end = told.end(|| self.router.wall_ms());
                self.count(desk.counted(), end, now);
                told.tell();
            }
            if desk.inbox.lock().is_empty() {
                return;
            }
        }
    }

    /// A request has ended. One that ends in the call that began it is timed now and then: see [`crate::figures`].
    fn count(&self, counted: Counted, end: End, now: Now) {
        let Counted {
            op,
            began,
            is_sampled,
        } = counted;
        self.counters.ended(op, end);
        if now > began {
            self.counters.took(op, end, now.us() - began.us(), 1);
        } else if is_sampled {
            let us = self.router.now_us().saturating_sub(began.us());
            self.counters.took(op, end, us, SAMPLED);
        }
    }
}

#[cfg(test)]
#[path = "sparing_tests.rs"]
mod tests;
