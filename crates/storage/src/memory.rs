//! This file answers: how are entries held when nothing has to survive?
//!
//! Each slot has its own small store under its own lock: a get meets no writer of another slot, and a range of slots is a
//! walk over neighbouring stores. A batch holds the locks of all its slots together, always in ascending order, and so does
//! a scan while it copies its entries: that is its snapshot.
//!
//! What is put is copied into one piece, what is got is copied out of it: an entry costs little more than its bytes, and
//! keeps no buffer alive that it was received in.
//!
//! Beside this file: `run` entries in order · `entry` one of them.

mod entry;
mod run;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use bytes::Bytes;
use parking_lot::{RwLock, RwLockWriteGuard};
use smallvec::SmallVec;

use crate::backend::{Backend, Batch, Op, Scan, Stats, drop_by_pages};
use crate::error::Error;
use crate::near;
use crate::order::Space;

use entry::{Entry, Sought};
use run::Run;

const SLOTS: usize = 16384;

/// The shard of all keys that have no slot.
const REST: usize = SLOTS;

/// Entries in this process's memory.
pub struct Memory {
    shards: Vec<RwLock<Shard>>,
}

/// The entries of one slot.
#[derive(Default)]
struct Shard {
    /// By their prefixes, ascending: one for each space, service and keyspace that has entries here.
    runs: SmallVec<[Run; 1]>,
    /// Of all keys and values.
    bytes: u64,
}

impl Shard {
    fn apply(&mut self, op: &Op) {
        match op {
            Op::Put(key, value) => self.put(&Sought::new(key), value),
            Op::Delete(key) => self.delete(&Sought::new(key)),
        }
    }

    fn find(&self, key: &Sought<'_>) -> Result<usize, usize> {
        self.runs
            .binary_search_by_key(&key.prefix, |run| run.prefix)
    }

    fn get(&self, key: &Sought<'_>) -> Option<&Entry> {
        self.runs[self.find(key).ok()?].get(key)
    }

    fn expect(&self, key: &Sought<'_>, what: fn(&Run, &Sought<'_>)) {
        if let Ok(at) = self.find(key) {
            what(&self.runs[at], key);
        }
    }

    fn put(&mut self, key: &Sought<'_>, value: &[u8]) {
        self.bytes += (key.length() + value.len()) as u64;
        match self.find(key) {
            Ok(at) => self.bytes -= self.runs[at].put(key, value),
            Err(at) => self.runs.insert(at, Run::of(key, value)),
        }
    }

    fn delete(&mut self, key: &Sought<'_>) {
        if let Ok(at) = self.find(key) {
            self.bytes -= self.runs[at].delete(key);
            if self.runs[at].is_empty() {
                self.runs.remove(at);
            }
        }
    }

    fn range(&self, start: &[u8], end: &[u8]) -> impl Iterator<Item = (Bytes, Bytes)> {
        let (start, end) = (Sought::new(start), Sought::new(end));
        let runs = self
            .runs
            .iter()
            .filter(move |run| is_within(run, &start, &end));
        runs.flat_map(move |run| {
            let entries = run.between(start, end);
            entries.map(|entry| entry.to_pair(run.prefix))
        })
    }

    fn entries(&self) -> Vec<(Bytes, Bytes)> {
        let mut entries = Vec::new();
        for run in &self.runs {
            entries.extend(run.entries().map(|entry| entry.to_pair(run.prefix)));
        }
        entries
    }

    /// Lets go of a range; how many entries that were.
    fn drop_range(&mut self, start: &[u8], end: &[u8]) -> u64 {
        let (start, end) = (Sought::new(start), Sought::new(end));
        let mut all = 0;
        for run in self
            .runs
            .iter_mut()
            .filter(|run| is_within(run, &start, &end))
        {
            let (dropped, bytes) = run.drop_between(&start, &end);
            all += dropped;
            self.bytes -= bytes;
        }
        self.runs.retain(|run| !run.is_empty());
        all
    }
}

/// Whether a run may have entries of `start..end`.
fn is_within(run: &Run, start: &Sought<'_>, end: &Sought<'_>) -> bool {
    (start.prefix..=end.prefix).contains(&run.prefix)
}

/// Which shards a range touches, and whether walking them in order is walking keys in order.
struct Touched {
    shards: RangeInclusive<usize>,
    in_order: bool,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory::new()
    }
}

impl Memory {
    /// An empty one.
    pub fn new() -> Memory {
        let shards = (0..=REST).map(|_| RwLock::default()).collect();
        Memory { shards }
    }

    fn shard_of(key: &[u8]) -> usize {
        match key {
            [space, _, high, low, ..] if *space != Space::Meta as u8 => {
                usize::from(u16::from_be_bytes([*high, *low])).min(REST)
            }
            _ => REST,
        }
    }

    fn touched(start: &[u8], end: &[u8]) -> Touched {
        const META_END: [u8; 1] = [Space::Meta as u8 + 1];
        if end <= &META_END[..] {
            return Touched {
                shards: REST..=REST,
                in_order: true,
            };
        }
        let slot = |key: &[u8]| match key {
            [_, _, high, low, ..] => Some(usize::from(u16::from_be_bytes([*high, *low]))),
            _ => None,
        };
        if let (Some(first), Some(behind)) = (slot(start), slot(end)) {
            // An end that is a bare slot lies before all keys of that slot.
            let last = behind.saturating_sub(usize::from(end.len() == 4));
            let one_service = start[..2] == end[..2] && start[0] != Space::Meta as u8;
            if one_service && first <= last && last < SLOTS {
                return Touched {
                    shards: first..=last,
                    in_order: true,
                };
            }
        }
        Touched {
            shards: 0..=REST,
            in_order: false,
        }
    }

    /// Holds `value` under `key` from now on, whatever else is changed together with it.
    pub(crate) fn put(&self, key: &[u8], value: &[u8]) {
        let mut shard = self.shards[Memory::shard_of(key)].write();
        shard.put(&Sought::new(key), value);
    }

    /// What `see` makes of the value of `key`; it is not copied for that.
    pub(crate) fn seen<T>(&self, key: &[u8], see: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let shard = self.shards[Memory::shard_of(key)].read();
        let held = shard.get(&Sought::new(key));
        held.map(|entry| see(entry.value()))
    }

    /// All entries, slot by slot.
    pub(crate) fn by_slot(&self) -> impl Iterator<Item = Vec<(Bytes, Bytes)>> {
        self.shards.iter().map(|shard| shard.read().entries())
    }

    /// The entries of `start..end` in key order, as they are at one moment.
    pub(crate) fn collect(&self, start: &[u8], end: &[u8]) -> Vec<(Bytes, Bytes)> {
        if start >= end {
            return Vec::new();
        }
        let touched = Memory::touched(start, end);
        let held: Vec<_> = self.shards[touched.shards]
            .iter()
            .map(RwLock::read)
            .collect();
        let mut entries: Vec<(Bytes, Bytes)> = Vec::new();
        for shard in &held {
            entries.extend(shard.range(start, end));
        }
        drop(held);
        if !touched.in_order {
            entries.sort_unstable();
        }
        entries
    }
}

impl Backend for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let shard = self.shards[Memory::shard_of(key)].read();
        let held = shard.get(&Sought::new(key));
        Ok(held.map(|entry| Bytes::copy_from_slice(entry.value())))
    }

    fn look(&self, key: &[u8], see: &mut dyn FnMut(Option<&[u8]>)) -> Result<(), Error> {
        let shard = self.shards[Memory::shard_of(key)].read();
        see(shard.get(&Sought::new(key)).map(Entry::value));
        Ok(())
    }

    /// Shards first, then the places of their entries, then the entries: each look finds what the one before asked for.
    fn expect(&self, keys: &[&Bytes]) {
        let shards = || keys.iter().map(|key| &self.shards[Memory::shard_of(key)]);
        shards().for_each(near::fetch);
        for (key, shard) in keys.iter().zip(shards()) {
            if let Some(shard) = shard.try_read() {
                shard.expect(&Sought::new(key), Run::expect_entries);
            }
        }
        for (key, shard) in keys.iter().zip(shards()) {
            if let Some(shard) = shard.try_read() {
                shard.expect(&Sought::new(key), Run::expect_value);
            }
        }
    }

    fn apply(&self, batch: &Batch) -> Result<(), Error> {
        let mut ops = batch.ops.iter();
        let Some(first) = ops.next() else {
            return Ok(());
        };
        let shard = Memory::shard_of(first.key());
        if ops.all(|op| Memory::shard_of(op.key()) == shard) {
            let mut shard = self.shards[shard].write();
            batch.ops.iter().for_each(|op| shard.apply(op));
            return Ok(());
        }
        let mut guards: BTreeMap<usize, Option<RwLockWriteGuard<'_, Shard>>> = BTreeMap::new();
        for op in &batch.ops {
            guards.insert(Memory::shard_of(op.key()), None);
        }
        for (shard, guard) in &mut guards {
            *guard = Some(self.shards[*shard].write());
        }
        for op in &batch.ops {
            if let Some(Some(shard)) = guards.get_mut(&Memory::shard_of(op.key())) {
                shard.apply(op);
            }
        }
        Ok(())
    }

    fn push(&self) -> Result<(), Error> {
        Ok(())
    }

    fn sync(&self) -> Result<(), Error> {
        Ok(())
    }

    fn scan(&self, start: &[u8], end: &[u8]) -> Scan {
        Box::new(self.collect(start, end).into_iter().map(Ok))
    }

    fn page(
        &self,
        start: &[u8],
        end: &[u8],
        entries: usize,
        bytes: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let touched = Memory::touched(start, end);
        let mut page = Vec::new();
        if start >= end || entries == 0 {
            return Ok(page);
        }
        if !touched.in_order {
            page = self.collect(start, end);
            page.truncate(entries);
            return crate::backend::take_page(page.into_iter().map(Ok), entries, bytes);
        }
        let mut taken = 0usize;
        for shard in &self.shards[touched.shards] {
            for (key, value) in shard.read().range(start, end) {
                taken = taken.saturating_add(key.len() + value.len());
                page.push((key, value));
                if page.len() >= entries || taken >= bytes {
                    return Ok(page);
                }
            }
        }
        Ok(page)
    }

    fn drop_range(&self, start: &[u8], end: &[u8]) -> Result<u64, Error> {
        let touched = Memory::touched(start, end);
        if start >= end || !touched.in_order {
            return drop_by_pages(self, start, end);
        }
        let shards = self.shards[touched.shards].iter();
        Ok(shards
            .map(|shard| shard.write().drop_range(start, end))
            .sum())
    }

    fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        let mut entries = 0;
        for shard in &self.shards {
            let shard = shard.read();
            entries += shard.runs.iter().map(|run| run.len() as u64).sum::<u64>();
            stats.bytes += shard.bytes;
        }
        stats.entries = Some(entries);
        stats
    }

    fn is_volatile(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::StoreKey;

    /// Lost without it: keys that are short, that begin alike or that end in zeros take each other's place or order.
    #[test]
    fn keys_of_every_length_are_told_apart() {
        let memory = Memory::new();
        let mut keys: Vec<Bytes> = vec![Bytes::new(), Bytes::from_static(b"\0")];
        for length in 1..40 {
            for last in [0, 1, 255] {
                let mut key = vec![0; length];
                key.push(last);
                keys.push(Bytes::from(key.clone()));
                key[0] = Space::Data as u8;
                keys.push(Bytes::from(key));
            }
        }
        keys.sort();
        keys.dedup();
        for key in keys.iter().rev() {
            let put = Op::Put(key.clone(), key.clone());
            let ops = [put.clone(), put].into_iter().collect();
            memory.apply(&Batch { ops }).unwrap();
        }
        let all: Vec<_> = memory
            .collect(b"", &[255])
            .into_iter()
            .map(|e| e.0)
            .collect();
        assert_eq!(all, keys);
        let long = Bytes::from(vec![7; 1_000]);
        memory.expect(&keys.iter().chain([&long]).collect::<Vec<_>>());
        let bytes: usize = keys.iter().map(|key| 2 * key.len()).sum();
        assert_eq!(memory.stats().bytes, bytes as u64);
        for key in &keys {
            assert_eq!(memory.get(key).unwrap().as_ref(), Some(key));
            let mut seen = false;
            memory
                .look(key, &mut |value| seen = value == Some(&key[..]))
                .unwrap();
            assert!(seen, "what is shown is what is got");
            let ops = [Op::Delete(key.clone())].into();
            memory.apply(&Batch { ops }).unwrap();
            assert_eq!(memory.get(key).unwrap(), None);
        }
        assert_eq!(memory.stats().bytes, 0);
    }

    /// Lost without it: the quick way through a range of slots finds something else than a look at every shard.
    #[test]
    fn a_range_of_slots_is_walked_in_order() {
        let memory = Memory::new();
        let mut all = Vec::new();
        for slot in (0..SLOTS as u16).step_by(7) {
            let space = [Space::Data, Space::Hint][usize::from(slot % 2)];
            let key = StoreKey::entry(space, 1, slot, 0, &slot.to_be_bytes());
            all.push((key.clone(), key));
        }
        all.push((StoreKey::meta(b"m"), Bytes::from_static(b"m")));
        all.sort();
        let ops = all.iter().map(|(k, v)| Op::Put(k.clone(), v.clone()));
        memory.apply(&Batch { ops: ops.collect() }).unwrap();
        let mut ranges = vec![
            (Bytes::new(), Bytes::from_static(&[255])),
            (Bytes::from_static(&[0]), Bytes::from_static(&[1])),
            (Bytes::from_static(&[0, 1]), Bytes::from_static(&[2, 1])),
        ];
        for slots in [0..=16383, 0..=0, 7..=300, 16380..=16383] {
            ranges.push(StoreKey::range(Space::Data, 1, slots.clone()));
            ranges.push(StoreKey::range(Space::Hint, 1, slots));
        }
        for (start, end) in ranges {
            let inside = all.iter().filter(|(key, _)| start <= *key && *key < end);
            let expected: Vec<_> = inside.cloned().collect();
            assert_eq!(memory.collect(&start, &end), expected, "{start:?} {end:?}");
            let page = memory.page(&start, &end, usize::MAX, usize::MAX).unwrap();
            assert_eq!(page, expected, "{start:?} {end:?}");
            let page = memory.page(&start, &end, 3, usize::MAX).unwrap();
            assert_eq!(page[..], expected[..expected.len().min(3)]);
        }
    }
}
