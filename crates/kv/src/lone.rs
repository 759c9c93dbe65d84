//! This file answers: how is a write carried out whose row is one node, and that waits for a disk?
//!
//! Of a row that is this node alone the copy's answer is the request's: nobody else is asked, so there is nothing to gather and no
//! machine. What is under way stands in one table until its copy has answered or its
//! deadline has come. Whatever is not as plain as "stored, and the ring is the one that it was routed by" is begun anew as
//! a request of its own, under the same stamp: the same write, which a copy that has it already takes as such.

use std::collections::BTreeMap;

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

#[derive(Default)]
struct Table {
    /// How many there were.
    begun: u64,
    /// By their numbers. One that waits for long, as for the target of a move, costs its own room and no other's.
    writes: BTreeMap<u64, Box<Lone>>,
    /// Bytes of those.
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
    fn has_room(&self) -> bool {
        self.writes.len() < MOST_REQUESTS && self.bytes < MOST_REQUEST_BYTES
    }

    fn take(&mut self, number: u64) -> Option<Box<Lone>> {
        let taken = self.writes.remove(&number)?;
        self.bytes -= taken.bytes();
        Some(taken)
    }
}

impl Lones {
    /// How many are under way.
    pub(crate) fn open(&self) -> usize {
        self.table.lock().writes.len()
    }

    /// Takes it in, unless there are too many.
    fn begin(&self, lone: Box<Lone>) -> Result<RequestId, Box<Lone>> {
        let mut table = self.table.lock();
        if !table.has_room() {
            return Err(lone);
        }
        let number = table.begun;
        table.begun += 1;
        table.bytes += lone.bytes();
        table.writes.insert(number, lone);
        Ok(RequestId((number * (UNHEARD + 1)) | LONE))
    }

    /// The write of this number, unless its deadline has come.
    fn take(&self, id: RequestId) -> Option<Box<Lone>> {
        self.table.lock().take(id.0 / (UNHEARD + 1))
    }

    /// Those whose deadline has come.
    fn late(&self, now_ms: u64) -> Vec<Lone> {
        let mut table = self.table.lock();
        let writes = table.writes.iter();
        let late = writes.filter(|(_, lone)| lone.times.until_ms <= now_ms);
        let late: Vec<u64> = late.map(|(number, _)| *number).collect();
        late.into_iter()
            .filter_map(|number| table.take(number).map(|lone| *lone))
            .collect()
    }
}

impl Engine {
    pub(crate) fn put_alone(&self, lone: Lone) {
        let Place { slot, key } = lone.place.clone();
        let body = Bytes::from(lone.draft.stamped(lone.stamp).encode());
        let (ring, timeout_ms) = (lone.ring, lone.policy.timeout_ms);
        let id = match self.lones().begin(Box::new(lone)) {
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
    fn begin_anew(&self, lone: Box<Lone>, is_unsure: bool) {
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
        } = *lone;
        let done = move |put: Result<PutOutcome, QuorumError>| {
            let sure = |error: QuorumError| match is_unsure {
                true => error.after_an_unsure_try(),
                false => error,
            };
            told(put.map_err(|error| KvError::from(sure(error))));
        };
        self.gather(op, place, (draft, stamp), policy, Box::new(done));
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
