//! This file answers: what is known of a request under way, and what of those whom it has asked?

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use parking_lot::Mutex;
use rkv_quorum::clock::{Clock, Stamp};
use rkv_quorum::outcome::{GetOutcome, PutOutcome, QuorumError};
use rkv_quorum::put::Extent;
use rkv_quorum::roster::Ask;
use rkv_quorum::{get, put};
use rkv_ring::{NodeName, Preflist, RingId, Slot};
use rkv_wire::message::{Answer, RequestId};
use smallvec::SmallVec;

use super::asked::{Now, Place, Reply, Times};
use super::plainly::Expectations;
use super::translate::wire_id;
use super::{ASK_BITS, MOST_REQUEST_BYTES, MOST_REQUESTS, SHARDS};
use crate::engine::Done;
use crate::error::KvError;
use crate::figures::{End, Op, SAMPLED};

/// What a request is, and whom to tell.
pub(super) enum Machine {
    Put(Putting),
    Get(Getting),
    /// One command to one vnode of any service.
    Ask {
        done: Option<Done<Option<Reply>>>,
    },
}

/// A put, and its caller.
pub(super) struct Putting {
    pub(super) machine: Box<put::Put>,
    /// The object as it was sent last.
    pub(super) encoded: Option<(Stamp, Extent, Bytes)>,
    pub(super) done: Option<Done<Result<PutOutcome, KvError>>>,
}

/// A get, and its caller.
pub(super) struct Getting {
    pub(super) machine: Box<get::Get>,
    pub(super) done: Option<Done<Result<GetOutcome, KvError>>>,
}

/// Asks that left and were not answered.
pub(super) type Asks = SmallVec<[(NodeName, Ask); 3]>;

/// All that can happen to a request.
pub(super) enum Event {
    Begin,
    Answer(NodeName, Ask, Answer, Bytes),
    Unreachable(NodeName, Ask, bool),
    /// Nothing more comes from a node; these asks never left.
    Lost(NodeName, Arc<[RequestId]>),
    Preflist(Arc<Preflist>),
    Tick,
}

pub(super) struct Request {
    pub(super) machine: Machine,
    pub(super) asked: Asks,
    /// So many of its asks left when it began: how long those were under way is known.
    pub(super) asked_at_once: u32,
    pub(super) until_ms: u64,
}

/// A request under way.
pub(super) struct Desk {
    pub(super) base: u64,
    pub(super) op: Op,
    pub(super) began: Now,
    pub(super) slot: Slot,
    pub(super) key: Bytes,
    pub(super) request: Mutex<Request>,
    pub(super) inbox: Mutex<VecDeque<Event>>,
    pub(super) due_ms: AtomicU64,
    /// Of the key and of what is written.
    bytes: usize,
}

/// Some of the requests under way.
#[derive(Default)]
pub(super) struct Table {
    pub(super) desks: BTreeMap<u64, Arc<Desk>>,
    /// Those that need none.
    pub(super) expected: Expectations,
    /// What they were brought.
    bytes: usize,
}

impl Table {
    pub(super) fn insert(&mut self, desk: Arc<Desk>) {
        self.bytes += desk.bytes;
        self.desks.insert(desk.base, desk);
    }

    pub(super) fn has_room(&self) -> bool {
        self.desks.len() + self.expected.len() < MOST_REQUESTS / SHARDS
            && self.bytes + self.expected.bytes() < MOST_REQUEST_BYTES / SHARDS
    }

    /// The desk of this number; one that needed none gets it now.
    pub(super) fn desk(&mut self, base: u64, me: &NodeName, clock: &Clock) -> Option<Arc<Desk>> {
        if let Some(expected) = self.expected.take(base) {
            self.insert(Arc::new(expected.into_desk(me, clock)));
        }
        self.desks.get(&base).cloned()
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, base: u64) -> bool {
        let removed = self.desks.remove(&base);
        self.bytes -= removed.as_ref().map_or(0, |desk| desk.bytes);
        removed.is_some()
    }
}

/// By what a request is counted when it has ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted {
    pub(super) op: Op,
    pub(super) began: Now,
    pub(super) is_sampled: bool,
}

/// To be told when no lock is held.
pub(super) enum Told {
    Put(
        Done<Result<PutOutcome, KvError>>,
        Result<PutOutcome, QuorumError>,
    ),
    Get(
        Done<Result<GetOutcome, KvError>>,
        Result<GetOutcome, QuorumError>,
    ),
    Ask(Done<Option<Reply>>, Option<Reply>),
}

impl Desk {
    /// A request that is about to begin.
    pub(super) fn new(base: u64, op: Op, place: Place, times: Times, machine: Machine) -> Desk {
        let Place { slot, key } = place;
        Desk {
            base,
            op,
            began: times.now,
            bytes: key.len() + machine.bytes(),
            slot,
            key,
            request: Mutex::new(Request {
                machine,
                asked: Asks::new(),
                asked_at_once: 0,
                until_ms: times.until_ms,
            }),
            inbox: Mutex::new(VecDeque::new()),
            due_ms: AtomicU64::new(u64::MAX),
        }
    }

    /// What was asked of a node that is lost is lost one by one.
    pub(super) fn lose(&self, request: &Request, node: &NodeName, undelivered: &[RequestId]) {
        let asked = request.asked.iter().filter(|(to, _)| to == node);
        let mut inbox = self.inbox.lock();
        for (to, ask) in asked {
            let sent = !undelivered.contains(&wire_id(self.base, *ask));
            inbox.push_front(Event::Unreachable(to.clone(), *ask, sent));
        }
    }

    /// Whether it goes by another ring than `current`; one that is being driven is not looked at.
    pub(super) fn is_routed_otherwise(&self, current: RingId) -> bool {
        let request = self.request.try_lock();
        let ring = request.and_then(|request| match &request.machine {
            Machine::Put(put) => Some(put.machine.ring()),
            Machine::Get(get) => Some(get.machine.ring()),
            Machine::Ask { .. } => None,
        });
        ring.is_some_and(|ring| ring != current)
    }

    pub(super) fn is_sampled(&self) -> bool {
        is_sampled(self.base)
    }

    pub(super) fn counted(&self) -> Counted {
        Counted {
            op: self.op,
            began: self.began,
            is_sampled: self.is_sampled(),
        }
    }
}

/// Whether the request of this number is one of those that are timed.
pub(super) fn is_sampled(base: u64) -> bool {
    (base >> ASK_BITS).is_multiple_of(SAMPLED)
}

impl Machine {
    /// What it is to write.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Machine::Put(put) => put.machine.bytes(),
            Machine::Get(_) | Machine::Ask { .. } => 0,
        }
    }
}

impl Request {
    /// `due_ms` is what was said last.
    pub(super) fn next_tick_ms(&self, due_ms: u64) -> u64 {
        match &self.machine {
            Machine::Put(put) => put.machine.next_tick_ms().unwrap_or(u64::MAX),
            Machine::Get(get) => get.machine.next_tick_ms().unwrap_or(u64::MAX),
            Machine::Ask { .. } => due_ms,
        }
    }
}

impl Told {
    pub(super) fn end(&self, wall_ms: impl Fn() -> u64) -> End {
        match self {
            Told::Put(_, Ok(_)) | Told::Ask(_, Some(_)) => End::Ok,
            Told::Get(_, Ok(got)) => End::of_object(got.object.as_ref(), wall_ms),
            Told::Put(_, Err(error)) | Told::Get(_, Err(error)) => End::of_kind(error.kind),
            Told::Ask(_, None) => End::Timeout,
        }
    }

    pub(super) fn tell(self) {
        match self {
            Told::Put(done, result) => done(result.map_err(KvError::from)),
            Told::Get(done, result) => done(result.map_err(KvError::from)),
            Told::Ask(done, answer) => done(answer),
        }
    }
}

pub(super) fn pop(inbox: &Mutex<VecDeque<Event>>) -> Option<Event> {
    inbox.lock().pop_front()
}

/// One more than the highest number of these asks.
pub(super) fn asks(asked: impl Iterator<Item = Ask>) -> u32 {
    asked.map(|ask| ask.0 + 1).max().unwrap_or(0)
}
