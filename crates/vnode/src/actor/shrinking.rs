//! This file answers: when does a copy let go of what has ended?
//!
//! Entries that end by themselves (a value at its deadline) give their memory back some time afterwards: the copy walks
//! through what it holds, a page a tick, and writes what is left of them. It walks only when something has ended, and
//! not at all while its node's clock disagrees with its peers'. What is left has the digest of what it was, so equal
//! copies stay equal whichever of them walks first, and nothing is forwarded or repaired for it.

use bytes::Bytes;
use rkv_storage::Space;

use super::writes::{self, Then};
use super::{Actor, Cx, Effect};
use crate::holding::Write;
use crate::phase::Phase;

/// What one tick looks at, at most.
const PAGE_ENTRIES: usize = 256;
const PAGE_BYTES: usize = 256 << 10;
/// How long one copy rests between two walks, and before its first: by then its peers' clocks have been heard.
const REST_MS: u64 = 5_000;

/// The walk of a copy through what has ended.
#[derive(Debug, Default)]
pub(super) struct Shrinking {
    /// Where the walk stands.
    cursor: Option<Bytes>,
    /// No walk begins before; 0: no time has been seen yet.
    rests_until_ms: u64,
}

impl Shrinking {
    pub(super) fn is_under_way(&self) -> bool {
        self.cursor.is_some()
    }
}

impl Actor {
    /// Walks on by a page, or begins a walk when it is time.
    pub(super) fn run_shrinking(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        if self.shrinking.rests_until_ms == 0 {
            self.shrinking.rests_until_ms = cx.now_ms + REST_MS;
        }
        let may = self.phase == Phase::Serving
            && self.giving.out.is_none()
            && cx.clock_fits
            && !self.holding.is_full()
            && !writes::is_writing(effects);
        if !may {
            return;
        }
        let ended_ms = cx.wall_ms.saturating_sub(2 * cx.settings.max_drift_ms);
        let (start, end) = self.holding.range(Space::Data);
        if self.shrinking.cursor.is_none() {
            let none = self.holding.first_end_ms().is_none_or(|at| at > ended_ms);
            if none || cx.now_ms < self.shrinking.rests_until_ms {
                return;
            }
            // From here on it is noted what is not ripe yet, by the walk and by every write.
            self.holding.forget_ends();
        }
        let from = self.shrinking.cursor.take().unwrap_or(start);
        let page = self
            .holding
            .page(cx.store, &from, &end, PAGE_ENTRIES, PAGE_BYTES);
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                self.holding.note_end(Some(0));
                self.shrinking.rests_until_ms = cx.now_ms + REST_MS;
                return effects.push(Effect::Warn(error.to_string()));
            }
        };
        let mut writes = Vec::new();
        for (key, entry) in page.entries {
            match self.vnode.nature(&entry).ends_ms {
                Some(at) if at <= ended_ms => {
                    let shrunk = self.vnode.shrunk(&entry, ended_ms);
                    writes.extend(shrunk.map(|shrunk| Write::put(key, shrunk)));
                }
                ends_ms => self.holding.note_end(ends_ms),
            }
        }
        if !writes.is_empty() {
            self.write(cx, writes, false, Then::Nothing, effects);
        }
        self.shrinking.cursor = page.next;
        if self.shrinking.cursor.is_none() {
            self.shrinking.rests_until_ms = cx.now_ms + REST_MS;
        }
    }
}
