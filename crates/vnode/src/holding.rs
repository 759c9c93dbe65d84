//! This file answers: what does one copy hold, writes on their way to the disk included?
//!
//! Writes leave in order and land in order; until one has landed, reads see it here. The totals follow each write as
//! it leaves, so at any point of the copy's order they say what the copy amounts to. What is dead by a keyspace's floor
//! is neither seen nor counted, though it may be in the store still.
//!
//! Beside this file: `count` what it amounts to · `tree` the same of any range of slots · `floors` what of it is dead.

mod count;
mod floors;
mod tree;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use rkv_ring::PartitionCount;
use rkv_storage::order::after;
use rkv_storage::{Batch, Error, Space, Store, StoreKey};
use rkv_wire::message::{CopyId, Span, Sum, Totals};
use smallvec::SmallVec;

use crate::actor::Effect;
use crate::hint::Addressed;
use crate::mask::Mask;
use crate::vnode::{Cut, Known, Nature, Vnode, Weighed};

use count::{Tally, earlier, newest_of_hint, note_newest};

/// At most this many writes of one copy are under way; one more is answered with BUSY.
pub const MAILBOX: usize = 4096;

/// What to hold under a store key from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The store key.
    pub key: Bytes,
    /// The entry; `None`: nothing.
    pub value: Option<Bytes>,
    /// What is known of the entry and of what is held: of one that a vnode decided on.
    known: Option<Known>,
}

impl Write {
    /// Hold `value` under `key`; `None`: nothing.
    pub fn new(key: Bytes, value: Option<Bytes>) -> Write {
        let known = None;
        Write { key, value, known }
    }

    /// Hold this.
    pub fn put(key: Bytes, value: Bytes) -> Write {
        Write::new(key, Some(value))
    }

    /// Hold nothing.
    pub fn delete(key: Bytes) -> Write {
        Write::new(key, None)
    }

    /// The same, where it is known what that changes.
    pub fn knowing(self, known: Option<Known>) -> Write {
        Write { known, ..self }
    }
}

/// A copy to read: what it holds and what that means.
#[derive(Clone, Copy)]
pub struct Contents<'a> {
    /// What it holds.
    pub holding: &'a Holding,
    /// Merges it and tells versions apart.
    pub vnode: &'a dyn Vnode,
}

/// Entries of one copy in key order, from a cursor on.
pub struct Page {
    /// Store key and entry.
    pub entries: Vec<(Bytes, Bytes)>,
    /// Where to go on; `None`: this was the rest.
    pub next: Option<Bytes>,
}

/// What one copy holds.
pub struct Holding {
    id: CopyId,
    partitions: PartitionCount,
    /// Writes that left and have not landed: the latest for each key, and its number.
    leaving: BTreeMap<Bytes, (u64, Option<Bytes>)>,
    /// The keys of each number under way, in the order of these.
    keys: VecDeque<(u64, SmallVec<[Bytes; 1]>)>,
    in_flight: usize,
    last_token: u64,
    tally: Tally,
    hints: Addressed,
    /// No entry ends before this; some that did may have been replaced since.
    first_end_ms: Option<u64>,
    /// No entry is a trace since before this; some that were may have been replaced since.
    oldest_trace_ms: Option<u64>,
    /// The highest hybrid time of anything that it held since it was counted, by keyspace, hints too.
    newest: BTreeMap<u32, u64>,
    /// Whether it held an entry that bears no stamp, since it was counted.
    has_unstamped: bool,
    /// What of it is dead.
    mask: Mask,
    /// Ranges on their way out, by number.
    drops: BTreeSet<u64>,
    /// Set when a write failed, so that what the totals counted is not there, or when there is another reason for doubt.
    miscounted: bool,
}

impl Holding {
    /// A copy that holds nothing yet; [`Holding::count`] learns what the store has.
    pub fn new(id: CopyId, partitions: PartitionCount, cut: Cut) -> Holding {
        Holding {
            id,
            partitions,
            leaving: BTreeMap::new(),
            keys: VecDeque::new(),
            in_flight: 0,
            last_token: 0,
            tally: Tally::new(partitions.slots(id.partition)),
            hints: Addressed::default(),
            first_end_ms: None,
            oldest_trace_ms: None,
            newest: BTreeMap::new(),
            has_unstamped: false,
            mask: Mask::new(cut),
            drops: BTreeSet::new(),
            miscounted: false,
        }
    }

    /// The range of store keys of this copy in `space`.
    pub fn range(&self, space: Space) -> (Bytes, Bytes) {
        let slots = self.partitions.slots(self.id.partition);
        StoreKey::range(space, self.id.service.0, slots)
    }

    /// Whether `key` is the store key of an entry that this copy may hold.
    pub fn is_place_of(&self, key: &[u8]) -> bool {
        let [space, service, high, low, ..] = *key else {
            return false;
        };
        let slots = self.partitions.slots(self.id.partition);
        space == Space::Data as u8
            && service == self.id.service.0
            && slots.contains(&u16::from_be_bytes([high, low]))
    }

    /// How many of its entries are values.
    pub fn live(&self) -> u64 {
        self.tally.live
    }

    /// The highest hybrid time of anything that it held since it was counted, or higher.
    pub fn newest(&self) -> u64 {
        self.newest.values().copied().max().unwrap_or(0)
    }

    /// The number of the last write that left.
    pub fn last_token(&self) -> u64 {
        self.last_token
    }

    /// What the copy amounts to, writes under way included.
    pub fn totals(&self) -> Totals {
        self.tally.totals
    }

    /// What nothing amounts to.
    fn nothing(&self) -> Tally {
        Tally::new(self.partitions.slots(self.id.partition))
    }

    /// All of its slots.
    pub fn span(&self) -> Span {
        let slots = self.partitions.slots(self.id.partition);
        Span {
            first: *slots.start(),
            last: *slots.end(),
        }
    }

    /// What the entries of `span` amount to, writes under way included.
    pub fn sum(&self, span: Span) -> Sum {
        self.tally.tree.sum(span)
    }

    /// `key` is written in a moment: what is counted of its slot is fetched meanwhile.
    pub fn expect(&self, key: &[u8]) {
        self.tally.tree.expect(key);
    }

    /// The store keys of the entries of `span`: the first, and the first behind them.
    pub fn keys_of(&self, span: Span) -> (Bytes, Bytes) {
        StoreKey::range(Space::Data, self.id.service.0, span.first..=span.last)
    }

    /// Whether totals and sums are as the entries are: a write failed, otherwise, and nothing was counted since.
    pub fn is_exact(&self) -> bool {
        !self.miscounted
    }

    /// No entry ends before this; `None`: none ends.
    pub fn first_end_ms(&self) -> Option<u64> {
        self.first_end_ms
    }

    /// All entries are about to be looked at: from here on only ends that are noted count.
    pub fn forget_ends(&mut self) {
        self.first_end_ms = None;
    }

    /// An entry ends then.
    pub fn note_end(&mut self, ends_ms: Option<u64>) {
        self.first_end_ms = earlier(self.first_end_ms, ends_ms);
    }

    /// No entry has been a trace of something deleted since before this; `None`: none is one.
    pub fn oldest_trace_ms(&self) -> Option<u64> {
        self.oldest_trace_ms
    }

    /// All entries are about to be looked at: from here on only traces that are noted count.
    pub fn forget_traces(&mut self) {
        self.oldest_trace_ms = None;
    }

    /// An entry is a trace since then.
    pub fn note_trace(&mut self, trace_ms: Option<u64>) {
        self.oldest_trace_ms = earlier(self.oldest_trace_ms, trace_ms);
    }

    /// How many hints it holds.
    pub fn hints(&self) -> u64 {
        self.hints.count()
    }

    /// Whom they are for.
    pub fn addressed(&self) -> &Addressed {
        &self.hints
    }

    /// Writes under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether another write would be too much.
    pub fn is_full(&self) -> bool {
        self.in_flight >= MAILBOX
    }

    /// Whether a write of `key` is under way.
    pub fn is_leaving(&self, key: &[u8]) -> bool {
        self.leaving.contains_key(key)
    }

    /// The keys and entries of `space` under way.
    pub fn leaving(&self, space: Space) -> Vec<(Bytes, Bytes)> {
        let (from, to) = self.range(space);
        let range = self.leaving.range(from..to);
        range
            .filter_map(|(key, (_, value))| {
                Some((key.clone(), self.mask.see(key, value.clone()?)?))
            })
            .collect()
    }

    /// The entry under `key`.
    pub fn get(&self, store: &dyn Store, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let value = match self.leaving.get(key) {
            Some((_, value)) => value.clone(),
            None => store.get(key)?,
        };
        Ok(value.and_then(|value| self.mask.see(key, value)))
    }

    /// Shows the entry under `key` where it lies, if all of it is to be seen; `see` asks the store nothing.
    pub fn look(
        &self,
        store: &dyn Store,
        key: &[u8],
        see: &mut dyn FnMut(Option<&[u8]>),
    ) -> Result<(), Error> {
        if self.mask.is_on() || self.is_leaving(key) {
            see(self.get(store, key)?.as_deref());
            return Ok(());
        }
        store.look(key, see)
    }

    /// Entries of `from..to` in key order, at most about `entries` and `bytes` of them.
    pub fn page(
        &self,
        store: &dyn Store,
        from: &Bytes,
        to: &Bytes,
        entries: usize,
        bytes: usize,
    ) -> Result<Page, Error> {
        let mut page = self.stored(store, from, to, entries, bytes)?;
        if self.mask.is_on() {
            let stored = std::mem::take(&mut page.entries).into_iter();
            let seen =
                stored.filter_map(|(key, value)| Some((key.clone(), self.mask.see(&key, value)?)));
            page.entries = seen.collect();
        }
        Ok(page)
    }

    /// The same with what is dead.
    fn stored(
        &self,
        store: &dyn Store,
        from: &Bytes,
        to: &Bytes,
        entries: usize,
        bytes: usize,
    ) -> Result<Page, Error> {
        if from >= to {
            return Ok(Page {
                entries: Vec::new(),
                next: None,
            });
        }
        let stored = store.page(from, to, entries, bytes)?;
        let next = stored.last().map(|(last, _)| after(last));
        let end = next.clone().unwrap_or_else(|| to.clone());
        let under_way = self.leaving.range(from.clone()..end);
        let entries = if under_way.clone().next().is_none() {
            stored
        } else {
            let mut merged: BTreeMap<Bytes, Bytes> = stored.into_iter().collect();
            for (key, (_, value)) in under_way {
                match value {
                    Some(value) => merged.insert(key.clone(), value.clone()),
                    None => merged.remove(key),
                };
            }
            merged.into_iter().collect()
        };
        Ok(Page { entries, next })
    }

    /// Sends writes on their way as one batch and counts them; the effect carries the number that comes back when they have
    /// landed.
    pub fn write(
        &mut self,
        store: &dyn Store,
        vnode: &dyn Vnode,
        writes: impl IntoIterator<Item = Write>,
        sync: bool,
        effects: &mut Vec<Effect>,
    ) -> u64 {
        self.last_token += 1;
        let token = self.last_token;
        let volatile = store.is_volatile();
        let mut batch = Batch::default();
        let mut keys = SmallVec::new();
        for write in writes {
            self.recount(store, vnode, &write);
            let Write { key, value, .. } = write;
            if !volatile {
                self.leaving.insert(key.clone(), (token, value.clone()));
                keys.push(key.clone());
            }
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            }
        }
        if !keys.is_empty() {
            self.keys.push_back((token, keys));
        }
        self.in_flight += 1;
        effects.push(Effect::Write { token, batch, sync });
        token
    }

    /// The same of one write into a store that is memory: it has landed when this returns.
    pub fn write_at_once(
        &mut self,
        store: &dyn Store,
        vnode: &dyn Vnode,
        write: Write,
    ) -> Result<(), Error> {
        self.last_token += 1;
        self.recount(store, vnode, &write);
        let Write { key, value, .. } = write;
        let mut batch = Batch::default();
        match value {
            Some(value) => batch.put(key, value),
            None => batch.delete(key),
        }
        let applied = store.apply(&batch);
        self.ended(store, vnode, &applied);
        applied
    }

    fn recount(&mut self, store: &dyn Store, vnode: &dyn Vnode, write: &Write) {
        match StoreKey::space_of(&write.key) {
            Some(Space::Data) => self.recount_entry(store, vnode, write),
            Some(Space::Hint) => self.recount_hint(store, vnode, write),
            Some(Space::Meta | Space::Foreign) | None => {}
        }
    }

    fn recount_entry(&mut self, store: &dyn Store, vnode: &dyn Vnode, write: &Write) {
        let key = &write.key;
        let weighed = |entry: Bytes| Weighed {
            bytes: entry.len(),
            nature: vnode.nature(&entry),
        };
        let look = || self.get(store, key).map(|held| held.map(weighed));
        let held = match write.known {
            Some(known) => Ok(known.held),
            None => look(),
        };
        let Ok(held) = held else {
            self.miscounted = true;
            return;
        };
        debug_assert!(
            look().is_ok_and(|seen| seen == held) || look().is_err(),
            "what is known is so"
        );
        if let Some(held) = held {
            self.tally.remove(key, &held);
        }
        if let Some(value) = &write.value {
            let bytes = value.len();
            let known = write.known.map(|known| known.nature);
            let nature = known.unwrap_or_else(|| vnode.nature(value));
            debug_assert_eq!(nature, vnode.nature(value), "what is known is so");
            self.tally.add(key, &Weighed { bytes, nature });
            self.note(key, &nature);
        }
    }

    /// An entry of this nature is there from now on.
    fn note(&mut self, key: &[u8], nature: &Nature) {
        self.note_end(nature.ends_ms);
        self.note_trace(nature.trace_ms);
        self.has_unstamped |= nature.newest == 0;
        note_newest(&mut self.newest, key, nature.newest);
    }

    fn recount_hint(&mut self, store: &dyn Store, vnode: &dyn Vnode, write: &Write) {
        let key = &write.key;
        let Ok(held) = self.get(store, key) else {
            self.miscounted = true;
            return;
        };
        if let Some(held) = held {
            self.hints.remove(key, &held);
        }
        if let Some(value) = &write.value {
            self.hints.add(key, value);
            let newest = newest_of_hint(value.clone(), vnode);
            note_newest(&mut self.newest, key, newest);
        }
    }

    /// A batch landed or failed. After a failure the copy is counted afresh as soon as nothing is under way.
    pub fn landed(
        &mut self,
        store: &dyn Store,
        vnode: &dyn Vnode,
        token: u64,
        result: &Result<(), Error>,
    ) {
        self.in_flight = self.in_flight.saturating_sub(1);
        for key in self.take_keys(token) {
            if self
                .leaving
                .get(&key)
                .is_some_and(|(latest, _)| *latest == token)
            {
                self.leaving.remove(&key);
            }
        }
        self.drops.remove(&token);
        self.ended(store, vnode, result);
    }

    fn ended(&mut self, store: &dyn Store, vnode: &dyn Vnode, result: &Result<(), Error>) {
        if result.is_err() {
            self.miscounted = true;
            // What was to be deleted may be there.
            self.mask.set(true);
        }
        self.count_if_doubted(store, vnode);
    }

    fn take_keys(&mut self, token: u64) -> SmallVec<[Bytes; 1]> {
        let at = self.keys.binary_search_by_key(&token, |(of, _)| *of);
        let taken = at.ok().and_then(|at| self.keys.remove(at));
        taken.map(|(_, keys)| keys).unwrap_or_default()
    }

    /// The totals may be wrong: the copy is counted afresh as soon as nothing is under way.
    pub fn doubt(&mut self, store: &dyn Store, vnode: &dyn Vnode) {
        self.miscounted = true;
        self.count_if_doubted(store, vnode);
    }

    fn count_if_doubted(&mut self, store: &dyn Store, vnode: &dyn Vnode) {
        if self.miscounted && self.in_flight == 0 && self.count(store, vnode).is_err() {
            self.miscounted = true;
        }
    }

    /// The copy is dropped: everything of `space` goes.
    pub fn drop_all(&mut self, space: Space, effects: &mut Vec<Effect>) -> u64 {
        self.last_token += 1;
        let token = self.last_token;
        let (start, end) = self.range(space);
        let gone: SmallVec<[Bytes; 1]> = self
            .leaving
            .range(start.clone()..end.clone())
            .map(|(key, _)| key.clone())
            .collect();
        for key in &gone {
            self.leaving.insert(key.clone(), (token, None));
        }
        self.keys.push_back((token, gone));
        match space {
            Space::Data => self.tally = self.nothing(),
            Space::Hint => self.hints = Addressed::default(),
            Space::Meta | Space::Foreign => {}
        }
        self.in_flight += 1;
        self.drops.insert(token);
        effects.push(Effect::Drop { token, start, end });
        token
    }
}
