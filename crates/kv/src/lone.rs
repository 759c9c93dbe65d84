//! This file answers: how is a write carried out whose row is one node, and that waits for a disk?
//!
//! Of a row that is this node alone the copy's answer is the request's: nobody else is asked, so there is nothing to gather and no
//! machine. What is under way stands in one table until its copy has answered or its
//! deadline has come. Whatever is not as plain as "stored, and the ring is the one that it was routed by" is begun anew as
//! a request of its own, under the same stamp: the same write, which a copy that has it already takes as such.

use bytes::Bytes;
use parking_lot::Mutex;
use rkv_quorum::clock::Stamp;
use rkv_quorum::outcome::{
    ErrorKind, FINISHED, PutOutcome, QuorumError, ReplicaResult, Replicas, ResultWord,
};
use rkv_quorum::policy::PutPolicy;
use rkv_quorum::put::Draft;
use rkv_quorum::tally;
use rkv_ring::{Partition, RingId};
use rkv_vnode::View;
use rkv_vnode::router::Route;
use rkv_wire::message::{Answer, Command, RequestId, Role};

use crate::coordinate::{LONE, MOST_REQUEST_BYTES, MOST_REQUESTS, Place, Times, UNHEARD};
use crate::engine::{Done, Engine};
use crate::error::KvError;
use crate::figures::{End, Op, SAMPLED, is_sampled};
use crate::replica::KV;

/// A write of a row that is one node.
pub(crate) struct Lone {
    pub(crate) op: Op,
    pub(crate) place: Place,
    pub(crate) draft: Draft,
    pub(crate) stamp: Stamp,
    pub(crate) policy: PutPolicy,
    pub(crate) partition: Partition,
    /// The ring that it is routed by.
    pub(crate) ring: RingId,
    pub(crate) times: Times,
    pub(crate) done: Done<Result<PutOutcome, KvError>>,
}

/// Those of a node that are under way.
#[derive(Default)]
pub(crate) struct Lones {
    table: Mutex<Table>,
}

/// Low bits of a write's number: its place in the table.
const PLACE_BITS: u32 = 16;

const _: () = assert!(MOST_REQUESTS <= 1 << PLACE_BITS, "each has a place");

/// Beyond that many their numbers come again, so that each fits a request's id, whose highest bit is not a request's of this
/// crate. One that waited meanwhile has its place.
const MOST_BEGUN: u64 = 1 << (u64::BITS - 1 - PLACE_BITS - UNHEARD.count_ones());

/// The memory of more is given back when nothing is under way.
const KEPT_PLACES: usize = 1024;

#[derive(Default)]
struct Table {
    /// How many there were, modulo [`MOST_BEGUN`].
    begun: u64,
    /// With their numbers. One that waits for long, as for the target of a move, costs its own place and no other's.
    places: Vec<Option<(u64, Lone)>>,
    /// Places of none.
    free: Vec<usize>,
    /// Bytes of those that are there.
    bytes: usize,
}

impl Lone {
    fn bytes(&self) -> usize {
        self.place.key.len() + self.draft.bytes()
    }

    fn failed(&self, kind: ErrorKind, maybe_applied: bool) -> QuorumError {
        QuorumError::of_put(kind, (0, usize::from(self.policy.w)), maybe_applied)
    }
}

impl Table {
    fn open(&self) -> usize {
        self.places.len() - self.free.len()
    }

    fn has_room(&self) -> bool {
        self.open() < MOST_REQUESTS && self.bytes < MOST_REQUEST_BYTES
    }

    /// Takes it in, and says under which number.
    fn put(&mut self, lone: Lone) -> u64 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        let number = (self.begun << PLACE_BITS) | place as u64;
        self.begun = (self.begun + 1) % MOST_BEGUN;
        self.bytes += lone.bytes();
        self.places[place] = Some((number, lone));
        number
    }

    fn take(&mut self, number: u64) -> Option<Lone> {
        let place = (number & ((1 << PLACE_BITS) - 1)) as usize;
        let standing = self.places.get_mut(place)?;
        let (_, taken) = standing.take_if(|(of, _)| *of == number)?;
        self.bytes -= taken.bytes();
        self.free.push(place);
        if self.open() == 0 && self.places.capacity() > KEPT_PLACES {
            (self.places, self.free) = (Vec::new(), Vec::new());
        }
        Some(taken)
    }
}

impl Lones {
    /// How many are under way.
    pub(crate) fn open(&self) -> usize {
        self.table.lock().open()
    }

    /// Takes it in, unless there are too many.
    fn begin(&self, lone: Lone) -> Result<RequestId, Box<Lone>> {
        let mut table = self.table.lock();
        if !table.has_room() {
            return Err(Box::new(lone));
        }
        let number = table.put(lone);
        Ok(RequestId((number * (UNHEARD + 1)) | LONE))
    }

    /// The write of this number, unless its deadline has come.
    fn take(&self, id: RequestId) -> Option<Lone> {
        self.table.lock().take(id.0 / (UNHEARD + 1))
    }

    /// Those whose deadline has come.
    fn late(&self, now_ms: u64) -> Vec<Lone> {
        let mut table = self.table.lock();
        let late = table.places.iter().flatten();
        let late = late.filter(|(_, lone)| lone.times.until_ms <= now_ms);
        let late: Vec<u64> = late.map(|(number, _)| *number).collect();
        late.into_iter()
            .filter_map(|number| table.take(number))
            .collect()
    }
}

impl Engine {
    pub(crate) fn put_alone(&self, lone: Lone) {
        let Place { slot, key } = lone.place.clone();
        let body = Bytes::from(lone.draft.stamped(lone.stamp).encode());
        let (ring, timeout_ms) = (lone.ring, lone.policy.timeout_ms);
        let id = match self.lones().begin(lone) {
            Ok(id) => id,
            Err(lone) => {
                let error = KvError::from(lone.failed(ErrorKind::Busy, false));
                return self.refuse(lone.op, error, lone.done);
            }
        };
        let route = Route {
            id,
            service: KV,
            slot,
            ring,
            role: Role::Owner,
            within_ms: u32::try_from(timeout_ms).unwrap_or(u32::MAX),
        };
        let hint_for = Vec::new();
        let command = Command::Put { key, hint_for };
        if let Some((answer, _)) = self.host().ask_here(route, command, body) {
            self.lone_answered(id, answer);
        }
    }

    /// The copy has answered a write.
    pub(crate) fn lone_answered(&self, id: RequestId, answer: Answer) {
        let Some(lone) = self.lones().take(id) else {
            return;
        };
        let view = self.host().view_now();
        if answer == Answer::Stored && view.id() == lone.ring {
            let outcome = PutOutcome {
                reason: FINISHED,
                stamp: lone.stamp,
                replicas: replicas(&lone, &view, &ResultWord::Ok),
            };
            drop(view);
            if is_sampled() {
                let took_us = self.now_us().saturating_sub(lone.times.now.us());
                let counters = self.coordinator().counters();
                counters.took(lone.op, End::Ok, took_us, SAMPLED);
            }
            self.coordinator().counters().ended(lone.op, End::Ok);
            return (lone.done)(Ok(outcome));
        }
        drop(view);
        self.begin_anew(lone, may_be_applied(&answer));
    }

    /// The write as a request of its own, for what is left of its time.
    fn begin_anew(&self, lone: Lone, is_unsure: bool) {
        let now = self.now();
        let policy = PutPolicy {
            timeout_ms: lone.times.until_ms.saturating_sub(now.ms()),
            ..lone.policy
        };
        let Lone {
            op,
            place,
            draft,
            stamp,
            done: told,
            ..
        } = lone;
        let done = match is_unsure {
            true => Box::new(move |put: Result<_, KvError>| {
                told(put.map_err(KvError::after_an_unsure_try));
            }),
            false => told,
        };
        self.gather(op, place, (draft, stamp), policy, done);
    }

    /// Tells those whose deadline has come.
    pub(crate) fn end_late_writes(&self, now_ms: u64) {
        for lone in self.lones().late(now_ms) {
            let mut error = lone.failed(ErrorKind::Timeout, true);
            error.replicas = replicas(&lone, &self.host().view_now(), &ResultWord::Timeout);
            self.refuse(lone.op, KvError::from(error), lone.done);
        }
    }
}

/// Whether a copy that answered so may hold the write.
fn may_be_applied(answer: &Answer) -> bool {
    match answer {
        Answer::Newer(_) | Answer::Floor(_) | Answer::Busy => false,
        Answer::NotOwner(_) | Answer::Behind(_) | Answer::NotFound => false,
        Answer::Failed { maybe_applied, .. } => *maybe_applied,
        _ => true,
    }
}

/// How the places of its row stand: all are this node's.
fn replicas(lone: &Lone, view: &View, result: &ResultWord) -> Replicas {
    let places = (0..lone.policy.n).map(|replica| ReplicaResult {
        node: view.me().clone(),
        partition: lone.partition,
        replica,
        role: tally::Role::Owner,
        result: result.clone(),
    });
    places.collect()
}

#[cfg(test)]
#[path = "lone_tests.rs"]
mod tests;
