//! This file answers: what does a copy do when a keyspace's floor rises?
//!
//! Before anything else happens to it under the new ring, what lies at or below the floor is dead: the copy is counted
//! without it and read through a mask ([`crate::mask`]). The store is swept later, page by page, a few copies at a
//! time; nothing depends on how far that is.

use bytes::Bytes;
use rkv_storage::Space;

use super::writes::Then;
use super::{Actor, Cx, Effect};
use crate::fault::Fault;
use crate::settings::Permit;

/// Entries looked at in one step of a sweep, and about how many bytes.
const PAGE_ENTRIES: usize = 2048;
const PAGE_BYTES: usize = 4 << 20;

/// A sweep through a copy's store.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    /// Where it is; `None`: not begun.
    at: Option<(Space, Bytes)>,
    /// The write of its last page.
    last_write: Option<u64>,
    /// Held while it is under way.
    permit: Option<Permit>,
}

impl Actor {
    /// Goes by the floors of the ring that this step is taken under.
    pub(super) fn keep_to_floors(&mut self, cx: &Cx<'_>) {
        let floors = cx.view.floors();
        if self.holding.floors().is_same(floors) || !cx.has_entries {
            return;
        }
        // Data of another cluster goes by that one's floors until it is turned to hints.
        if self.absorbing || self.cluster != cx.view.id().cluster {
            return;
        }
        if self.holding.floors() == floors {
            self.holding.rename_floors(floors);
            return;
        }
        self.holding.keep_to(floors, cx.store, &*self.vnode);
        self.sweep = Sweep::default();
    }

    /// What is left above the floor of an entry that comes to be merged; `None`: it is dead, and so covered already.
    pub(super) fn above(&self, cx: &Cx<'_>, key: &[u8], entry: Bytes) -> Option<Bytes> {
        match cx.settings.fault {
            Fault::MergeIgnoresFloor => Some(entry),
            Fault::DriftCheckOnMerges
                if self.vnode.nature(&entry).newest
                    > cx.wall_ms.saturating_add(cx.settings.max_drift_ms) << 16 =>
            {
                None
            }
            _ => self.holding.above(key, entry),
        }
    }

    /// Deletes the next page of what is dead.
    pub(super) fn run_sweep(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        if !self.holding.is_masked() {
            self.sweep = Sweep::default();
            return;
        }
        let waits = self.sweep.last_write;
        if waits.is_some_and(|token| self.then.iter().any(|(of, _)| *of == token)) || self.absorbing
        {
            return;
        }
        if self.sweep.permit.is_none() {
            self.sweep.permit = cx.sweeps.take();
        }
        if self.sweep.permit.is_none() {
            return;
        }
        let (space, from) = match self.sweep.at.take() {
            Some(at) => at,
            None => (Space::Data, self.holding.range(Space::Data).0),
        };
        match self
            .holding
            .dead(cx.store, space, &from, PAGE_ENTRIES, PAGE_BYTES)
        {
            Ok((dead, next)) => {
                self.sweep.at = match (next, space) {
                    (Some(next), space) => Some((space, next)),
                    (None, Space::Data) => Some((Space::Hint, self.holding.range(Space::Hint).0)),
                    (None, _) => None,
                };
                if !dead.is_empty() {
                    self.write(cx, dead, false, Then::Nothing, effects);
                    self.sweep.last_write = Some(self.holding.last_token());
                }
                if self.sweep.at.is_none() {
                    // The last deletions are on their way: whoever reads sees them.
                    self.holding.unmask();
                    self.sweep = Sweep::default();
                }
            }
            Err(error) => {
                self.sweep.at = Some((space, from));
                effects.push(Effect::Warn(error.to_string()));
            }
        }
    }
}
