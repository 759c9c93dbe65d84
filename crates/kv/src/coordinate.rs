//! This file answers: who carries one request from its first send to its last answer?
//!
//! Any node coordinates. The machine of a request (`rkv_quorum::Put`, `Get`) decides; the coordinator delivers what it
//! sends, hands it each answer, and calls its caller once. Events of one request are taken one at a time: whoever finds
//! the machine in use leaves the event in its inbox, and whoever is with it takes that too. No lock is held over a
//! delivery that a second request could wait for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use rkv_quorum::clock::Clock;
use rkv_quorum::object::{Object, Version};
use rkv_quorum::outcome::{ErrorKind, GetOutcome, PutOutcome, QuorumError};
use rkv_quorum::roster::{Ask, Refusal};
use rkv_quorum::{get, put, tally};
use rkv_ring::{NodeName, Preflist, RingId, Slot};
use rkv_vnode::router::Route;
use rkv_vnode::{Router, View};
use rkv_wire::message::{Answer, Command, RequestId, Role, ServiceId};
use smallvec::SmallVec;

use crate::engine::Done;
use crate::figures::{Counters, End, Op, SAMPLED};
use crate::replica::KV;

/// Requests are spread over this many tables.
const SHARDS: usize = 16;
/// At most this many are under way; one more is answered with BUSY at once.
pub const MOST_REQUESTS: usize = 32_768;
/// At most so many bytes of keys and values, but always one in each table.
pub const MOST_REQUEST_BYTES: usize = 512 << 20;
/// Low bits of a request id that number the asks of one request.
const ASK_BITS: u32 = 12;
/// The ask whose answer nobody waits for: hints and repairs after the fact.
pub(crate) const UNHEARD: u64 = (1 << ASK_BITS) - 1;
/// The ask of a write without a machine: see [`crate::lone`].
pub(crate) const LONE: u64 = UNHEARD - 1;
/// How long a replica may take over a hint or a repair.
const UNHEARD_WITHIN_MS: u32 = 5_000;

/// What a request is, and whom to tell.
enum Machine {
    Put {
        machine: Box<put::Put>,
        /// The object as it was sent last.
        encoded: Option<(Version, Bytes)>,
        /// Room for what a step wishes for, empty between steps; so with a get's.
        effects: Vec<put::Effect>,
        done: Option<Done<Result<PutOutcome, QuorumError>>>,
    },
    Get {
        machine: Box<get::Get>,
        effects: Vec<get::Effect>,
        done: Option<Done<Result<GetOutcome, QuorumError>>>,
    },
    /// One command to one vnode of any service.
    Ask { done: Option<Done<Option<Reply>>> },
}

/// All that can happen to a request.
enum Event {
    Begin,
    Answer(NodeName, Ask, Answer, Bytes),
    Unreachable(NodeName, Ask, bool),
    /// Nothing more comes from a node; these asks never left.
    Lost(NodeName, Arc<[RequestId]>),
    Preflist(Arc<Preflist>),
    Tick,
}

struct Request {
    machine: Machine,
    /// Asks that left and were not answered.
    asked: SmallVec<[(NodeName, Ask); 3]>,
    /// So many of its asks left when it began: how long those were under way is known.
    asked_at_once: u32,
    until_ms: u64,
}

/// A request under way.
struct Desk {
    base: u64,
    op: Op,
    began: Now,
    slot: Slot,
    key: Bytes,
    request: Mutex<Request>,
    inbox: Mutex<VecDeque<Event>>,
    due_ms: AtomicU64,
    /// Of the key and of what is written.
    bytes: usize,
}

/// Where a key lies.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its slot.
    pub slot: Slot,
    /// The key of its entry in every store.
    pub key: Bytes,
}

/// A moment of the world's time, known to the microsecond where something is measured, else to the millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    us: u64,
}

impl Now {
    /// A moment to the microsecond.
    pub fn at_us(us: u64) -> Now {
        Now { us }
    }

    /// A moment to the millisecond.
    pub fn at_ms(ms: u64) -> Now {
        let us = ms.saturating_mul(1_000);
        Now { us }
    }

    /// Its microsecond.
    pub(crate) fn us(self) -> u64 {
        self.us
    }

    /// Its millisecond.
    pub fn ms(self) -> u64 {
        self.us / 1_000
    }
}

/// When a request began and when it ends at the latest.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Now.
    pub now: Now,
    /// Its deadline.
    pub until_ms: u64,
}

/// Some of the requests under way.
#[derive(Default)]
struct Table {
    desks: BTreeMap<u64, Arc<Desk>>,
    /// What they were brought.
    bytes: usize,
}

impl Table {
    fn has_room(&self) -> bool {
        self.desks.len() < MOST_REQUESTS / SHARDS && self.bytes < MOST_REQUEST_BYTES / SHARDS
    }

    fn remove(&mut self, base: u64) {
        if let Some(desk) = self.desks.remove(&base) {
            self.bytes -= desk.bytes;
        }
    }
}

/// Carries the requests of one node.
pub struct Coordinator {
    me: NodeName,
    router: Router,
    clock: Arc<Clock>,
    counters: Counters,
    shards: Vec<Mutex<Table>>,
    next: AtomicU64,
}

/// What came of driving a request.
#[derive(Default)]
struct Came {
    /// Answers that were there at once, behind what is being driven.
    here: SmallVec<[Event; 1]>,
    told: SmallVec<[Told; 1]>,
}

/// To be told when no lock is held.
enum Told {
    Put(
        Done<Result<PutOutcome, QuorumError>>,
        Result<PutOutcome, QuorumError>,
    ),
    Get(
        Done<Result<GetOutcome, QuorumError>>,
        Result<GetOutcome, QuorumError>,
    ),
    Ask(Done<Option<Reply>>, Option<Reply>),
}

/// What one vnode answered to a [`Question`].
#[derive(Debug, Clone)]
pub struct Reply {
    /// Who.
    pub node: NodeName,
    /// What.
    pub answer: Answer,
    /// The object that went with it.
    pub body: Bytes,
}

/// One command for one vnode.
#[derive(Debug, Clone)]
pub struct Question {
    /// Whose vnode.
    pub service: ServiceId,
    /// Of which slot's partition.
    pub slot: Slot,
    /// The ring that it is routed by.
    pub ring: RingId,
    /// What to do.
    pub command: Command,
    /// The object that goes with it.
    pub body: Bytes,
    /// How long to wait.
    pub timeout_ms: u64,
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
        }
    }

    /// A request id that no other request of this boot has.
    pub fn fresh_id(&self) -> RequestId {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        RequestId((number << ASK_BITS) & (u64::MAX >> 1))
    }

    /// Requests under way.
    pub fn in_flight(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().desks.len())
            .sum()
    }

    /// What is counted of requests.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Begins a put.
    pub fn put(
        &self,
        machine: put::Put,
        op: Op,
        place: Place,
        times: Times,
        done: Done<Result<PutOutcome, QuorumError>>,
    ) {
        let machine = Machine::Put {
            machine: Box::new(machine),
            encoded: None,
            effects: Vec::new(),
            done: Some(done),
        };
        self.begin(machine, op, place, times);
    }

    /// Begins a get.
    pub fn get(
        &self,
        machine: get::Get,
        place: Place,
        times: Times,
        done: Done<Result<GetOutcome, QuorumError>>,
    ) {
        let machine = Machine::Get {
            machine: Box::new(machine),
            effects: Vec::new(),
            done: Some(done),
        };
        self.begin(machine, Op::Get, place, times);
    }

    fn begin(&self, machine: Machine, op: Op, place: Place, times: Times) {
        match self.open(machine, op, place, times) {
            Ok(desk) => self.take(&desk, Event::Begin, times.now),
            Err(machine) => self.turn_away(*machine, op),
        }
    }

    /// There is no room for it: told at once, so that whoever asks can go elsewhere or slow down.
    fn turn_away(&self, machine: Machine, op: Op) {
        self.counters.ended(op, End::Busy);
        match machine {
            Machine::Put { machine, done, .. } => {
                let error = QuorumError::of_put(ErrorKind::Busy, (0, machine.w()), false);
                done.into_iter().for_each(|done| done(Err(error.clone())));
            }
            Machine::Get { machine, done, .. } => {
                let error = QuorumError::of_get(ErrorKind::Busy, (0, machine.r()));
                done.into_iter().for_each(|done| done(Err(error.clone())));
            }
            Machine::Ask { done } => done.into_iter().for_each(|done| done(None)),
        }
    }

    fn open(
        &self,
        machine: Machine,
        op: Op,
        place: Place,
        times: Times,
    ) -> Result<Arc<Desk>, Box<Machine>> {
        let Place { slot, key } = place;
        let bytes = key.len() + machine.bytes();
        let Times { now, until_ms } = times;
        let base = self.fresh_id().0;
        let mut table = self.shard(base).lock();
        if !table.has_room() {
            return Err(Box::new(machine));
        }
        let desk = Arc::new(Desk {
            base,
            op,
            began: now,
            slot,
            key,
            request: Mutex::new(Request {
                machine,
                asked: SmallVec::new(),
                asked_at_once: 0,
                until_ms,
            }),
            inbox: Mutex::new(VecDeque::new()),
            due_ms: AtomicU64::new(u64::MAX),
            bytes,
        });
        table.bytes += bytes;
        table.desks.insert(base, desk.clone());
        Ok(desk)
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
        let desk = match self.open(machine, Op::Other, place, times) {
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
        if let Some(desk) = self.find(base) {
            let ask = Ask(ask as u32);
            self.take(&desk, Event::Answer(from.clone(), ask, answer, body), now);
        }
    }

    /// `node` cannot be reached any more; of these requests it is known that they never left.
    pub fn node_lost(&self, node: &NodeName, undelivered: &[RequestId], now_ms: u64) {
        let undelivered: Arc<[RequestId]> = undelivered.into();
        for desk in self.desks() {
            let lost = Event::Lost(node.clone(), undelivered.clone());
            self.take(&desk, lost, Now::at_ms(now_ms));
        }
    }

    /// A ring was adopted: what was refused for the ring's sake is routed anew.
    pub fn rerouted(&self, now_ms: u64) {
        let desks = self.desks();
        let view = self.router.view();
        for desk in desks {
            self.reroute(&desk, &view, now_ms);
        }
    }

    /// Time passed. A request that looked at the ring just before another was adopted, and began just after, was not
    /// there to be routed anew: it is now.
    pub fn tick(&self, now_ms: u64) {
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

    fn find(&self, base: u64) -> Option<Arc<Desk>> {
        self.shard(base).lock().desks.get(&base).cloned()
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
                request.next_tick_ms(desk)
            };
            desk.due_ms.store(due_ms, Ordering::Release);
            drop(request);
            if finished {
                self.shard(desk.base).lock().remove(desk.base);
            }
            for told in came.told {
                self.count(desk, &told, now);
                told.tell();
            }
            if desk.inbox.lock().is_empty() {
                return;
            }
        }
    }

    /// A request has ended. One that ends in the call that began it is timed now and then: see [`crate::figures`].
    fn count(&self, desk: &Desk, told: &Told, now: Now) {
        let end = told.end(|| self.router.wall_ms());
        self.counters.ended(desk.op, end);
        if now > desk.began {
            let us = now.us - desk.began.us;
            self.counters.took(desk.op, end, us, 1);
        } else if desk.is_sampled() {
            let us = self.router.now_us().saturating_sub(desk.began.us);
            self.counters.took(desk.op, end, us, SAMPLED);
        }
    }

    /// One event, and what it makes the machine wish for. Returns whether the request is over.
    fn drive(
        &self,
        desk: &Desk,
        request: &mut Request,
        event: Event,
        now: Now,
        came: &mut Came,
    ) -> bool {
        let now_ms = now.ms();
        let begins = matches!(event, Event::Begin);
        if let Event::Answer(node, ask, ..) = &event
            && ask.0 < request.asked_at_once
            && desk.is_sampled()
            && *node != self.me
        {
            self.counters
                .answered(node, now.us.saturating_sub(desk.began.us));
        }
        if let Event::Answer(node, ask, ..) | Event::Unreachable(node, ask, _) = &event {
            let awaited = |(to, asked): &(NodeName, Ask)| to == node && asked == ask;
            match request.asked.iter().position(awaited) {
                Some(at) => drop(request.asked.swap_remove(at)),
                None => return false,
            }
        }
        let Request {
            machine,
            asked,
            asked_at_once,
            until_ms,
        } = request;
        match machine {
            Machine::Put {
                machine,
                encoded,
                effects,
                done,
            } => {
                let Some(event) = put_event(event) else {
                    return false;
                };
                machine.step(now_ms, event, &self.clock, effects);
                let within_ms = within(*until_ms, now_ms);
                let mut over = false;
                for effect in effects.drain(..) {
                    match effect {
                        put::Effect::Send {
                            to,
                            role,
                            ask,
                            object,
                            hint_for,
                        } => {
                            let body = encode_once(encoded, &object);
                            let command = Command::Put {
                                key: desk.key.clone(),
                                hint_for,
                            };
                            asked.push((to.clone(), ask));
                            let route =
                                kv_route(desk, ask, machine.ring(), wire_role(role), within_ms);
                            let answered = self.deliver(to, ask, route, command, body);
                            came.here.extend(answered);
                        }
                        put::Effect::Hint {
                            to,
                            role,
                            missing,
                            object,
                        } => {
                            let command = Command::Hint {
                                key: desk.key.clone(),
                                missing,
                            };
                            let body = encode_once(encoded, &object);
                            self.tell(desk, &to, machine.ring(), wire_role(role), command, body);
                        }
                        put::Effect::Done(result) => {
                            came.told
                                .extend(done.take().map(|done| Told::Put(done, result)));
                        }
                        put::Effect::Finished => over = true,
                    }
                }
                if begins {
                    *asked_at_once = asks(asked);
                }
                over
            }
            Machine::Get {
                machine,
                effects,
                done,
            } => {
                let Some(event) = get_event(event) else {
                    return false;
                };
                machine.step(now_ms, event, effects);
                let within_ms = within(*until_ms, now_ms);
                let mut over = false;
                for effect in effects.drain(..) {
                    match effect {
                        get::Effect::Send { to, role, ask } => {
                            let command = Command::Get {
                                key: desk.key.clone(),
                            };
                            asked.push((to.clone(), ask));
                            let route =
                                kv_route(desk, ask, machine.ring(), wire_role(role), within_ms);
                            let answered = self.deliver(to, ask, route, command, Bytes::new());
                            came.here.extend(answered);
                        }
                        get::Effect::Repair { to, object } => {
                            self.counters.repaired();
                            let command = Command::Repair {
                                key: desk.key.clone(),
                            };
                            let body = Bytes::from(object.encode());
                            self.tell(desk, &to, machine.ring(), Role::Owner, command, body);
                        }
                        get::Effect::Done(result) => {
                            came.told
                                .extend(done.take().map(|done| Told::Get(done, result)));
                        }
                        get::Effect::Finished => over = true,
                    }
                }
                if begins {
                    *asked_at_once = asks(asked);
                }
                over
            }
            Machine::Ask { done } => {
                let answer = match event {
                    Event::Answer(node, _, answer, body) => Some(Reply { node, answer, body }),
                    Event::Unreachable(..) | Event::Tick => None,
                    Event::Begin | Event::Preflist(_) | Event::Lost(..) => return false,
                };
                came.told
                    .extend(done.take().map(|done| Told::Ask(done, answer)));
                true
            }
        }
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

impl Desk {
    /// What was asked of a node that is lost is lost one by one.
    fn lose(&self, request: &Request, node: &NodeName, undelivered: &[RequestId]) {
        let asked = request.asked.iter().filter(|(to, _)| to == node);
        let mut inbox = self.inbox.lock();
        for (to, ask) in asked {
            let sent = !undelivered.contains(&wire_id(self.base, *ask));
            inbox.push_front(Event::Unreachable(to.clone(), *ask, sent));
        }
    }

    /// Whether it goes by another ring than `current`; one that is being driven is not looked at.
    fn is_routed_otherwise(&self, current: RingId) -> bool {
        let request = self.request.try_lock();
        let ring = request.and_then(|request| match &request.machine {
            Machine::Put { machine, .. } => Some(machine.ring()),
            Machine::Get { machine, .. } => Some(machine.ring()),
            Machine::Ask { .. } => None,
        });
        ring.is_some_and(|ring| ring != current)
    }

    fn is_sampled(&self) -> bool {
        (self.base >> ASK_BITS).is_multiple_of(SAMPLED)
    }
}

impl Machine {
    /// What it is to write.
    fn bytes(&self) -> usize {
        match self {
            Machine::Put { machine, .. } => machine.bytes(),
            Machine::Get { .. } | Machine::Ask { .. } => 0,
        }
    }
}

impl Request {
    fn next_tick_ms(&self, desk: &Desk) -> u64 {
        match &self.machine {
            Machine::Put { machine, .. } => machine.next_tick_ms().unwrap_or(u64::MAX),
            Machine::Get { machine, .. } => machine.next_tick_ms().unwrap_or(u64::MAX),
            Machine::Ask { .. } => desk.due_ms.load(Ordering::Acquire),
        }
    }
}

impl Told {
    fn end(&self, wall_ms: impl Fn() -> u64) -> End {
        match self {
            Told::Put(_, Ok(_)) | Told::Ask(_, Some(_)) => End::Ok,
            Told::Get(_, Ok(got)) => End::of_object(got.object.as_ref(), wall_ms),
            Told::Put(_, Err(error)) | Told::Get(_, Err(error)) => End::of_kind(error.kind),
            Told::Ask(_, None) => End::Timeout,
        }
    }

    fn tell(self) {
        match self {
            Told::Put(done, result) => done(result),
            Told::Get(done, result) => done(result),
            Told::Ask(done, answer) => done(answer),
        }
    }
}

fn pop(inbox: &Mutex<VecDeque<Event>>) -> Option<Event> {
    inbox.lock().pop_front()
}

/// One more than the highest number of these asks.
fn asks(asked: &[(NodeName, Ask)]) -> u32 {
    asked.iter().map(|(_, ask)| ask.0 + 1).max().unwrap_or(0)
}

fn wire_id(base: u64, ask: Ask) -> RequestId {
    RequestId(base | (u64::from(ask.0) & UNHEARD))
}

fn within(deadline_ms: u64, now_ms: u64) -> u32 {
    u32::try_from(deadline_ms.saturating_sub(now_ms)).unwrap_or(u32::MAX)
}

fn kv_route(desk: &Desk, ask: Ask, ring: RingId, role: Role, within_ms: u32) -> Route {
    Route {
        id: wire_id(desk.base, ask),
        service: KV,
        slot: desk.slot,
        ring,
        role,
        within_ms,
    }
}

fn wire_role(role: tally::Role) -> Role {
    match role {
        tally::Role::Owner => Role::Owner,
        tally::Role::Fallback => Role::Fallback,
    }
}

fn encode_once(encoded: &mut Option<(Version, Bytes)>, object: &Object) -> Bytes {
    match encoded {
        Some((of, bytes)) if of == object.version() => bytes.clone(),
        _ => {
            let bytes = Bytes::from(object.encode());
            *encoded = Some((*object.version(), bytes.clone()));
            bytes
        }
    }
}

/// What the wire says, as the put's machine hears it.
fn put_event(event: Event) -> Option<put::Event> {
    Some(match event {
        Event::Begin => put::Event::Begin,
        Event::Tick => put::Event::Tick,
        Event::Preflist(preflist) => put::Event::Preflist((*preflist).clone()),
        Event::Unreachable(node, ask, sent) => put::Event::Unreachable { node, ask, sent },
        Event::Lost(..) => return None,
        Event::Answer(node, ask, answer, _) => {
            let answer = match answer {
                Answer::Stored => put::Answer::Stored,
                Answer::Newer(stamp) => put::Answer::Newer(stamp),
                Answer::Floor(stamp) => put::Answer::Floor(stamp),
                Answer::NotFound | Answer::CatchingUp => put::Answer::Lacks,
                other => put::Answer::Refused(refusal(other)),
            };
            put::Event::Answer { node, ask, answer }
        }
    })
}

/// What the wire says, as the get's machine hears it.
fn get_event(event: Event) -> Option<get::Event> {
    Some(match event {
        Event::Begin => get::Event::Begin,
        Event::Tick => get::Event::Tick,
        Event::Preflist(preflist) => get::Event::Preflist((*preflist).clone()),
        Event::Unreachable(node, ask, _) => get::Event::Unreachable { node, ask },
        Event::Lost(..) => return None,
        Event::Answer(node, ask, answer, body) => {
            let answer = match answer {
                Answer::Found => match Object::decode(body) {
                    Ok(object) => get::Answer::Found(object),
                    Err(error) => get::Answer::Refused(Refusal::Failed {
                        message: error.to_string(),
                        maybe_applied: false,
                    }),
                },
                Answer::NotFound => get::Answer::NotFound,
                Answer::CatchingUp => get::Answer::CatchingUp(
                    (!body.is_empty())
                        .then(|| Object::decode(body).ok())
                        .flatten(),
                ),
                other => get::Answer::Refused(refusal(other)),
            };
            get::Event::Answer { node, ask, answer }
        }
    })
}

fn refusal(answer: Answer) -> Refusal {
    match answer {
        Answer::NotOwner(ring) => Refusal::NotOwner(ring),
        Answer::Moved(ring) => Refusal::Moved(ring),
        Answer::Behind(_) => Refusal::Behind,
        Answer::Busy => Refusal::Busy,
        Answer::Failed {
            text,
            maybe_applied,
        } => Refusal::Failed {
            message: text,
            maybe_applied,
        },
        other => Refusal::Failed {
            message: format!("an answer to another question: {other:?}"),
            maybe_applied: true,
        },
    }
}
