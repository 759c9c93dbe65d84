//! This file answers: how are entries held when nothing has to survive?
//!
//! One small ordered set a slot, each under its own lock: a get walks two or three nodes and meets no writer of another
//! slot, and a range of slots is a walk over neighbouring sets. A batch holds the locks of all its slots together,
//! always in ascending order, and so does a scan while it copies its entries: that is its snapshot.
//!
//! What is put is copied into one piece, what is got is copied out of it: an entry costs little more than its bytes, and
//! keeps no buffer alive that it was received in.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, RangeInclusive};

use bytes::Bytes;
use parking_lot::{RwLock, RwLockWriteGuard};

use crate::backend::{Backend, Batch, Op, Scan, Stats};
use crate::error::Error;
use crate::order::Space;

const SLOTS: usize = 16384;

/// The shard of all keys that have no slot.
const REST: usize = SLOTS;

/// Entries in this process's memory.
pub struct Memory {
    shards: Vec<RwLock<Shard>>,
}

#[derive(Default)]
struct Shard {
    entries: BTreeSet<Entry>,
    /// Of all keys and values.
    bytes: u64,
}

/// How many bytes of its key an entry has at hand.
const HEAD_BYTES: usize = 16;

/// One entry: 32 bytes in the tree and one piece of the heap.
struct Entry {
    /// The key's first 16 bytes, missing ones as zero: they hold slot, keyspace and hash, so almost no comparison looks
    /// further.
    head: Head,
    /// The key's length, the rest of the key, the value.
    tail: Box<[u8]>,
}

type Head = [u64; 2];

/// Bytes of an entry's tail that hold its key's length.
const LENGTH_BYTES: usize = 4;

impl Entry {
    fn new(key: &[u8], value: &[u8]) -> Entry {
        let rest = &key[key.len().min(HEAD_BYTES)..];
        let length = u32::try_from(key.len()).expect("no key is that long");
        Entry {
            head: head_of(key),
            tail: [&length.to_le_bytes()[..], rest, value].concat().into(),
        }
    }

    fn key(&self) -> Bytes {
        let mut key = Vec::with_capacity(self.length().max(HEAD_BYTES));
        for part in self.head {
            key.extend_from_slice(&part.to_be_bytes());
        }
        key.truncate(self.length());
        key.extend_from_slice(self.rest());
        Bytes::from(key)
    }

    fn value(&self) -> &[u8] {
        &self.tail[LENGTH_BYTES + self.length().saturating_sub(HEAD_BYTES)..]
    }

    fn bytes(&self) -> u64 {
        (self.length() + self.value().len()) as u64
    }

    fn to_pair(&self) -> (Bytes, Bytes) {
        (self.key(), Bytes::copy_from_slice(self.value()))
    }
}

/// What is compared: a stored entry's key, or one that is looked for.
trait Probe {
    fn head(&self) -> Head;
    /// What of the key is not in the head.
    fn rest(&self) -> &[u8];
    fn length(&self) -> usize;
}

struct Sought<'a> {
    head: Head,
    bytes: &'a [u8],
}

impl<'a> Sought<'a> {
    fn new(bytes: &'a [u8]) -> Sought<'a> {
        Sought {
            head: head_of(bytes),
            bytes,
        }
    }
}

fn head_of(bytes: &[u8]) -> Head {
    let mut head = [0; HEAD_BYTES];
    let length = bytes.len().min(HEAD_BYTES);
    head[..length].copy_from_slice(&bytes[..length]);
    let head = u128::from_be_bytes(head);
    [(head >> 64) as u64, head as u64]
}

impl Probe for Entry {
    fn head(&self) -> Head {
        self.head
    }

    fn rest(&self) -> &[u8] {
        let rest = self.length().saturating_sub(HEAD_BYTES);
        &self.tail[LENGTH_BYTES..LENGTH_BYTES + rest]
    }

    fn length(&self) -> usize {
        let [a, b, c, d, ..] = *self.tail else {
            return 0;
        };
        u32::from_le_bytes([a, b, c, d]) as usize
    }
}

impl Probe for Sought<'_> {
    fn head(&self) -> Head {
        self.head
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.bytes.len().min(HEAD_BYTES)..]
    }

    fn length(&self) -> usize {
        self.bytes.len()
    }
}

/// The order of keys. Of two with one head and nothing behind it the shorter is the beginning of the longer.
fn order(a: &(impl Probe + ?Sized), b: &(impl Probe + ?Sized)) -> Ordering {
    let heads = a.head().cmp(&b.head());
    heads.then_with(|| a.rest().cmp(b.rest()).then(a.length().cmp(&b.length())))
}

impl Ord for dyn Probe + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        order(self, other)
    }
}

impl PartialOrd for dyn Probe + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for dyn Probe + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for dyn Probe + '_ {}

impl<'a> Borrow<dyn Probe + 'a> for Entry {
    fn borrow(&self) -> &(dyn Probe + 'a) {
        self
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        order(self, other)
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

impl Shard {
    fn apply(&mut self, op: &Op) {
        match op {
            Op::Put(key, value) => self.put(key, value),
            Op::Delete(key) => self.delete(key),
        }
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.bytes += (key.len() + value.len()) as u64;
        if let Some(held) = self.entries.replace(Entry::new(key, value)) {
            self.bytes -= held.bytes();
        }
    }

    fn delete(&mut self, key: &[u8]) {
        if let Some(held) = self.entries.take(&Sought::new(key) as &dyn Probe) {
            self.bytes -= held.bytes();
        }
    }

    fn range(&self, start: &[u8], end: &[u8]) -> impl Iterator<Item = &Entry> {
        let (start, end) = (Sought::new(start), Sought::new(end));
        let bounds: (Bound<&dyn Probe>, Bound<&dyn Probe>) =
            (Bound::Included(&start), Bound::Excluded(&end));
        self.entries.range::<dyn Probe, _>(bounds)
    }
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

    fn collect(&self, start: &[u8], end: &[u8]) -> Vec<(Bytes, Bytes)> {
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
            entries.extend(shard.range(start, end).map(Entry::to_pair));
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
        let held = shard.entries.get(&Sought::new(key) as &dyn Probe);
        Ok(held.map(|entry| Bytes::copy_from_slice(entry.value())))
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
            for entry in shard.read().range(start, end) {
                let (key, value) = entry.to_pair();
                taken = taken.saturating_add(key.len() + value.len());
                page.push((key, value));
                if page.len() >= entries || taken >= bytes {
                    return Ok(page);
                }
            }
        }
        Ok(page)
    }

    fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        let mut entries = 0;
        for shard in &self.shards {
            let shard = shard.read();
            entries += shard.entries.len() as u64;
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
            let ops = vec![
                Op::Put(key.clone(), key.clone()),
                Op::Put(key.clone(), key.clone()),
            ];
            memory.apply(&Batch { ops }).unwrap();
        }
        let all: Vec<_> = memory
            .collect(b"", &[255])
            .into_iter()
            .map(|e| e.0)
            .collect();
        assert_eq!(all, keys);
        let bytes: usize = keys.iter().map(|key| 2 * key.len()).sum();
        assert_eq!(memory.stats().bytes, bytes as u64);
        for key in &keys {
            assert_eq!(memory.get(key).unwrap().as_ref(), Some(key));
            let ops = vec![Op::Delete(key.clone())];
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
