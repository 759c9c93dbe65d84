//! This file answers: when does a copy let go of the traces of what was deleted?
//!
//! A tombstone must outlive every older version of its key, wherever one may turn up again: in a hint, a copy that is on its way in or
//! out, a member that is away, a message that is late. So a copy reaps by proof, never by age alone:
//!
//! 1. Under one ring all members were there and said, at a time C, that nobody holds a hint of the partition, nor a copy of it that
//!    is no plain owner's (`host::quiet`).
//! 2. After C it was compared with every other owner. Each then held what this one holds, or something newer, or nothing.
//! 3. Since then so much time has passed that every request that read something older before is void.
//!
//! What was a trace for the delete grace at C can no longer be contradicted: writes below it are void, hints of it are gone. It is
//! dropped, and the highest stamp dropped is written down in the same batch: a put at or below that for a key that is not
//! held is refused and stamped anew. A new ring begins it all afresh. An owner that has not reaped yet does not send such a
//! trace again in repair, unless something older is held there (`crate::stretch`).

use std::collections::BTreeSet;

use bytes::Bytes;
use rkv_quorum::clock::Stamp;
use rkv_ring::{NodeName, RingId};
use rkv_storage::Space;

use super::writes::{self, Then};
use super::{Actor, Cx, Effect, QuietAt};
use crate::fault::Fault;
use crate::holding::Write;
use crate::phase::Phase;

/// What one tick looks at, at most.
const PAGE_ENTRIES: usize = 256;
const PAGE_BYTES: usize = 256 << 10;
/// How long a copy rests between two walks.
const REST_MS: u64 = 2_000;

/// What a copy goes by when it reaps.
#[derive(Debug, Default)]
pub(crate) struct Reaping {
    proof: Option<Proof>,
    /// Where the walk stands.
    cursor: Option<Bytes>,
    rests_until_ms: u64,
}

/// How far it is proven that traces may go.
#[derive(Debug)]
struct Proof {
    ring: RingId,
    /// When nobody held a hint or another copy than an owner's.
    quiet: QuietAt,
    /// The owners that were compared with since.
    compared: BTreeSet<NodeName>,
    /// When the last of them was.
    complete_ms: Option<u64>,
}

impl Reaping {
    pub(super) fn is_under_way(&self) -> bool {
        self.cursor.is_some()
    }

    /// Whether proof is being collected.
    pub(super) fn is_proving(&self) -> bool {
        self.proof.is_some()
    }

    /// The copy was compared with all that `with` holds, from `began_ms` on.
    pub(super) fn compared(&mut self, with: &NodeName, began_ms: u64) {
        if let Some(proof) = self.proof.as_mut()
            && began_ms > proof.quiet.now_ms
        {
            proof.compared.insert(with.clone());
        }
    }

    pub(super) fn forget(&mut self) {
        *self = Reaping::default();
    }
}

impl Actor {
    /// Whether it holds traces that are old enough to go.
    pub(crate) fn wants_to_reap(&self, cx: &Cx<'_>) -> bool {
        let oldest = self.holding.oldest_trace_ms();
        oldest.is_some_and(|oldest| oldest <= cx.ripe_ms(cx.wall_ms))
    }

    /// Collects what proves that traces may go, and lets them.
    pub(super) fn run_reaping(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        let may = self.phase == Phase::Serving
            && cx.has_entries
            && self.giving.out.is_none()
            && (self.holding.hints() == 0 || cx.settings.fault == Fault::ReapDespiteHints)
            && cx.clock_fits
            && cx.view.owns(self.id.partition)
            && (self.reaping.is_under_way() || self.wants_to_reap(cx));
        if !may || cx.now_ms < self.reaping.rests_until_ms {
            return;
        }
        let Some(quiet_ms) = self.proven_at(cx) else {
            return;
        };
        self.reap_page(cx, cx.ripe_ms(quiet_ms), effects);
    }

    /// When nobody held anything that could contradict a trace of then, in unix milliseconds, if that is proven.
    fn proven_at(&mut self, cx: &Cx<'_>) -> Option<u64> {
        if cx.settings.fault == Fault::ReapByAgeAlone {
            return Some(cx.wall_ms);
        }
        let ring = cx.view.id();
        if self
            .reaping
            .proof
            .as_ref()
            .is_some_and(|proof| proof.ring != ring)
        {
            if self.reaping.is_under_way() {
                // What the walk has not come to is not noted.
                self.holding.note_trace(Some(0));
            }
            self.reaping.forget();
        }
        if self.reaping.proof.is_none() {
            self.reaping.proof = cx.quiet_at.map(|quiet| Proof {
                ring,
                quiet,
                compared: BTreeSet::new(),
                complete_ms: None,
            });
        }
        let proof = self.reaping.proof.as_mut()?;
        let mut others = cx.view.other_owners(self.id.partition).into_iter();
        let ignores_away = cx.settings.fault == Fault::ReapDespiteHints;
        let is_ignored = |owner: &NodeName| ignores_away && !cx.view.is_up(owner);
        if !others.all(|owner| proof.compared.contains(&owner) || is_ignored(&owner)) {
            return None;
        }
        let complete_ms = *proof.complete_ms.get_or_insert(cx.now_ms);
        let is_void = cx.now_ms.saturating_sub(complete_ms) >= cx.settings.void_after_ms;
        is_void.then_some(proof.quiet.wall_ms)
    }

    /// Drops the traces of one page that are older than `ripe_ms`; the proof is used up when the walk has ended.
    fn reap_page(&mut self, cx: &Cx<'_>, ripe_ms: u64, effects: &mut Vec<Effect>) {
        if self.holding.is_full() || writes::is_writing(effects) {
            return;
        }
        let (start, end) = self.holding.range(Space::Data);
        let from = match self.reaping.cursor.take() {
            Some(cursor) => cursor,
            None => {
                // From here on it is noted what is not ripe yet, by the walk and by every write.
                self.holding.forget_traces();
                start
            }
        };
        let page = self
            .holding
            .page(cx.store, &from, &end, PAGE_ENTRIES, PAGE_BYTES);
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                self.holding.note_trace(Some(0));
                self.reaping.rests_until_ms = cx.now_ms + REST_MS;
                return effects.push(Effect::Warn(error.to_string()));
            }
        };
        let mut writes = Vec::new();
        for (key, entry) in page.entries {
            let nature = self.vnode.nature(&entry);
            match nature.trace_ms {
                Some(at_ms) if at_ms <= ripe_ms => {
                    self.reaped = self.reaped.max(nature.newest);
                    writes.push(Write::delete(key));
                }
                trace_ms => self.holding.note_trace(trace_ms),
            }
        }
        if !writes.is_empty() {
            cx.figures.reaped(writes.len() as u64);
            writes.push(self.record(&self.phase));
            self.write(cx, writes, false, Then::Nothing, effects);
        }
        self.reaping.cursor = page.next;
        if self.reaping.cursor.is_none() {
            self.reaping.proof = None;
            self.reaping.rests_until_ms = cx.now_ms + REST_MS;
        }
    }

    /// Another copy of the partition has let go of traces up to `reaped`: what it holds no trace of may be deleted. What lies ahead
    /// of every clock is no time of a trace that was old enough to go.
    pub(super) fn learn_reaped(&mut self, cx: &Cx<'_>, reaped: u64, effects: &mut Vec<Effect>) {
        let is_past = Stamp::last_of(reaped).wall_ms() <= cx.wall_ms + cx.settings.max_drift_ms;
        if reaped > self.reaped && is_past {
            self.reaped = reaped;
            self.write(
                cx,
                vec![self.record(&self.phase)],
                false,
                Then::Nothing,
                effects,
            );
        }
    }
}
