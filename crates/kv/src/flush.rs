//! This file answers: how is a keyspace emptied?
//!
//! By its floor: a hybrid time at or below which everything is dead. Whoever is asked gathers what every reachable member
//! holds and could have stamped, has the highest of it put into the next ring, and answers when that ring is adopted by
//! every reachable member. Both times n - w + 1 owners of each row must be among them: such a set meets every set of w,
//! so no write acknowledged before lies above the floor, and none that begins after the answer below it. See `Flush` in
//! `quorum/ALGORITHM.md`.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use rkv_quorum::policy::majority;
use rkv_ring::cluster::{AdminReply, AdminRequest};
use rkv_ring::plan::Refusal;
use rkv_ring::{NodeName, RingId};
use rkv_vnode::Fault;
use rkv_wire::message::Report;

use crate::engine::{Done, Engine};
use crate::error::KvError;
use crate::keyspace::Keyspace;
use crate::replica::KV;

/// How long a flush may take: an epoch is at most a second away, and one that is not agreed on takes five to say so.
const WITHIN_MS: u64 = 12_000;
/// How long members may take to say what they hold.
const ASK_MS: u64 = 1_000;
/// How long is waited before they are asked again.
const AGAIN_MS: u64 = 100;

/// A flush under way that waits for time to pass.
pub(crate) struct Flush {
    keyspace: u32,
    until_ms: u64,
    waits: Waits,
    done: Done<Result<u64, KvError>>,
}

enum Waits {
    /// To ask again what is held.
    ToAsk { not_before_ms: u64, why: String },
    /// Until all go by this ring, which has this floor.
    ForAll { ring: RingId, floor: u64 },
}

impl Engine {
    /// Kills everything in `keyspace` that was acknowledged before this call; tells the floor.
    pub fn flush(self: &Arc<Self>, keyspace: &Keyspace, done: Done<Result<u64, KvError>>) {
        if !self.view().serves() {
            return done(Err(KvError::NotServing));
        }
        self.ask_what_is_held(Flush {
            keyspace: keyspace.id,
            until_ms: self.now_ms() + WITHIN_MS,
            waits: Waits::ToAsk {
                not_before_ms: 0,
                why: String::new(),
            },
            done,
        });
    }

    fn ask_what_is_held(self: &Arc<Self>, flush: Flush) {
        let engine = Arc::downgrade(self);
        let heard = move |reports| {
            if let Some(engine) = Weak::upgrade(&engine) {
                engine.heard_what_is_held(flush, &reports);
            }
        };
        self.reports(ASK_MS, Box::new(heard));
    }

    fn heard_what_is_held(
        self: &Arc<Self>,
        mut flush: Flush,
        reports: &BTreeMap<NodeName, Report>,
    ) {
        match self.floor_above(reports) {
            Ok(floor) => self.raise(flush, floor),
            Err(why) => {
                flush.waits = Waits::ToAsk {
                    not_before_ms: self.now_ms() + AGAIN_MS,
                    why,
                };
                self.flush_later(flush);
            }
        }
    }

    /// The hybrid time that everything acknowledged so far lies at or below; or why that cannot be told.
    fn floor_above(&self, reports: &BTreeMap<NodeName, Report>) -> Result<u64, String> {
        let view = self.view();
        let ring = view.ring();
        let is_whole = |node: &NodeName, partition| {
            reports.get(node).is_some_and(|report| {
                let mut copies = report.copies.iter();
                report.ring == Some(view.id())
                    && copies
                        .any(|c| (c.copy.service, c.copy.partition) == (KV, partition) && c.whole)
            })
        };
        for partition in ring.partitions.partitions() {
            let row = ring.row(partition);
            let told = row.iter().filter(|node| is_whole(node, partition)).count();
            if told < self.needed(row.len()) {
                return Err(format!(
                    "{told} of {} replicas of partition {partition} tell what they hold",
                    row.len()
                ));
            }
        }
        if self.host().fault() == Fault::FloorOfOneClock {
            return Ok(self.clock_reading());
        }
        let told = reports
            .values()
            .map(|report| report.newest.max(report.clock));
        Ok(told.max().unwrap_or(0).max(self.clock_reading()))
    }

    /// How many places of a row meet every set of places that acknowledges a write: n - w + 1.
    fn needed(&self, n: usize) -> usize {
        let n = u8::try_from(n).unwrap_or(u8::MAX);
        let w = self.default_keyspace().defaults.w;
        let w = w.map_or(majority(n), |w| w.clamp(1, n));
        usize::from(n - w.min(majority(n)) + 1)
    }

    fn raise(self: &Arc<Self>, flush: Flush, floor: u64) {
        let request = AdminRequest::Flush {
            keyspace: flush.keyspace,
            floor,
        };
        let engine = Arc::downgrade(self);
        let chosen = move |result: Result<AdminReply, Refusal>| {
            let Some(engine) = Weak::upgrade(&engine) else {
                return;
            };
            match result {
                Ok(AdminReply::Done { ring }) => {
                    let waits = Waits::ForAll { ring, floor };
                    engine.flush_later(Flush { waits, ..flush });
                }
                Ok(AdminReply::Plan(_)) | Err(Refusal::NoMajority) => {
                    let why = Refusal::NoMajority.message();
                    (flush.done)(Err(KvError::MaybeFlushed { why }));
                }
                Err(refusal) => {
                    let why = refusal.message();
                    (flush.done)(Err(KvError::NotFlushed { why }));
                }
            }
        };
        self.admin(request, Box::new(chosen));
    }

    /// Looks after the flushes that wait.
    pub(crate) fn run_flushes(self: &Arc<Self>) {
        let now_ms = self.now_ms();
        for flush in self.flushes_due() {
            let is_late = now_ms >= flush.until_ms;
            match &flush.waits {
                Waits::ToAsk { why, .. } if is_late => {
                    let why = why.clone();
                    (flush.done)(Err(KvError::NotFlushed { why }));
                }
                Waits::ToAsk { not_before_ms, .. } if now_ms >= *not_before_ms => {
                    self.ask_what_is_held(flush);
                }
                Waits::ToAsk { .. } => self.flush_later(flush),
                Waits::ForAll { ring, floor } => match self.lacks(*ring) {
                    None => (flush.done)(Ok(*floor)),
                    Some(why) if is_late => (flush.done)(Err(KvError::MaybeFlushed { why })),
                    Some(_) => self.flush_later(flush),
                },
            }
        }
    }

    /// Who has not adopted `ring` yet of those who must have, in words; `None`: nobody.
    fn lacks(&self, ring: RingId) -> Option<String> {
        let view = self.view();
        let has = |node: &NodeName| {
            let seen = view.seen(node);
            seen.is_some_and(|seen| seen == ring || seen.supersedes(&ring))
        };
        if let Some(node) = view.peers_up().find(|node| !has(node)) {
            return Some(format!("{node} does not know of it yet"));
        }
        let rows = &view.ring().rows;
        let few = |row: &&Vec<NodeName>| {
            row.iter().filter(|node| has(node)).count() < self.needed(row.len())
        };
        let row = rows.iter().find(few)?;
        Some(format!("too few of {row:?} are known to know of it"))
    }
}
