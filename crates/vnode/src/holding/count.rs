//! This file answers: what does a copy amount to?

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use bytes::Bytes;
use rkv_storage::{Error, Space, Store, StoreKey};
use rkv_wire::message::Totals;

use super::Holding;
use super::tree::Tree;
use crate::hint::{Addressed, Hint};
use crate::vnode::{Vnode, Weighed};

const COUNT_PAGE_ENTRIES: usize = 4096;
const COUNT_PAGE_BYTES: usize = 4 << 20;

impl Holding {
    /// Counts what the copy amounts to, and finds out whether something dead is still there. Not while a range is on its
    /// way out, which would be counted too.
    pub fn count(&mut self, store: &dyn Store, vnode: &dyn Vnode) -> Result<(), Error> {
        let (mut tally, mut has_dead) = (self.nothing(), false);
        let (mut first_end_ms, mut oldest_trace_ms) = (None, None);
        let (mut newest, mut has_unstamped) = (BTreeMap::new(), false);
        let (mut from, to) = self.range(Space::Data);
        loop {
            let page = self.stored(store, &from, &to, COUNT_PAGE_ENTRIES, COUNT_PAGE_BYTES)?;
            for (key, stored) in page.entries {
                let seen = self.mask.above(&key, stored.clone());
                has_dead |= seen.as_ref() != Some(&stored);
                if let Some(entry) = seen {
                    let (bytes, nature) = (entry.len(), vnode.nature(&entry));
                    tally.add(&key, &Weighed { bytes, nature });
                    first_end_ms = earlier(first_end_ms, nature.ends_ms);
                    oldest_trace_ms = earlier(oldest_trace_ms, nature.trace_ms);
                    has_unstamped |= nature.newest == 0;
                    note_newest(&mut newest, &key, nature.newest);
                }
            }
            match page.next {
                Some(next) => from = next,
                None => break,
            }
        }
        self.tally = tally;
        self.first_end_ms = first_end_ms;
        self.oldest_trace_ms = oldest_trace_ms;
        self.newest = newest;
        self.has_unstamped = has_unstamped;
        has_dead |= self.count_hints(store, vnode)?;
        self.mask.set(has_dead);
        self.miscounted = false;
        Ok(())
    }

    /// Counts the hints; whether some are dead.
    pub(super) fn count_hints(
        &mut self,
        store: &dyn Store,
        vnode: &dyn Vnode,
    ) -> Result<bool, Error> {
        let (mut hints, mut has_dead) = (Addressed::default(), false);
        let (mut from, to) = self.range(Space::Hint);
        loop {
            let page = self.stored(store, &from, &to, COUNT_PAGE_ENTRIES, COUNT_PAGE_BYTES)?;
            for (key, stored) in page.entries {
                let seen = self.mask.above(&key, stored.clone());
                has_dead |= seen.as_ref() != Some(&stored);
                if let Some(hint) = seen {
                    hints.add(&key, &hint);
                    note_newest(&mut self.newest, &key, newest_of_hint(hint, vnode));
                }
            }
            match page.next {
                Some(next) => from = next,
                None => break,
            }
        }
        self.hints = hints;
        Ok(has_dead)
    }
}

/// What entries amount to.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) totals: Totals,
    /// How many are values.
    pub(super) live: u64,
    /// The totals by slot.
    pub(super) tree: Tree,
}

impl Tally {
    /// Of nothing in these slots.
    pub(super) fn new(slots: RangeInclusive<u16>) -> Tally {
        Tally {
            totals: Totals::default(),
            live: 0,
            tree: Tree::new(slots),
        }
    }

    /// One more.
    pub(super) fn add(&mut self, key: &[u8], entry: &Weighed) {
        self.live += u64::from(entry.nature.is_value);
        let totals = &mut self.totals;
        totals.entries += 1;
        totals.bytes += (key.len() + entry.bytes) as u64;
        let hash = entry_hash(key, entry.nature.digest);
        totals.hash = totals.hash.wrapping_add(hash);
        self.tree.add(key, hash);
    }

    /// One less.
    pub(super) fn remove(&mut self, key: &[u8], entry: &Weighed) {
        self.live = self.live.saturating_sub(u64::from(entry.nature.is_value));
        let totals = &mut self.totals;
        totals.entries = totals.entries.saturating_sub(1);
        let bytes = (key.len() + entry.bytes) as u64;
        totals.bytes = totals.bytes.saturating_sub(bytes);
        let hash = entry_hash(key, entry.nature.digest);
        totals.hash = totals.hash.wrapping_sub(hash);
        self.tree.remove(key, hash);
    }
}

fn entry_hash(key: &[u8], digest: u64) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(key, digest)
}

pub(super) fn earlier(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    a.into_iter().chain(b).min()
}

pub(super) fn newest_of_hint(hint: Bytes, vnode: &dyn Vnode) -> u64 {
    let entry = Hint::decode(hint).and_then(|hint| hint.entry);
    entry.map_or(0, |entry| vnode.nature(&entry).newest)
}

pub(super) fn note_newest(newest: &mut BTreeMap<u32, u64>, key: &[u8], time: u64) {
    if let Some(keyspace) = StoreKey::keyspace_of(key) {
        let known = newest.entry(keyspace).or_default();
        *known = (*known).max(time);
    }
}
