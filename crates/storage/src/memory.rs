//! This file answers: how are entries held when nothing has to survive?
//!
//! One small ordered map a slot, each under its own lock: a get walks two or three nodes and meets no writer of another
//! slot, and a range of slots is a walk over neighbouring maps. A batch holds the locks of all its slots together,
//! always in ascending order, and so does a scan while it copies the handles of its entries: that is its snapshot.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::ops::{Bound, RangeInclusive};

use bytes::Bytes;
use parking_lot::{RwLock, RwLockWriteGuard};

use crate::backend::{Backend, Batch, Op, Scan, Stats};
use crate::error::Error;
use crate::order::Space;

const SLOTS: usize = 16384;

/// The shard of all keys that have no slot.
const REST: usize = SLOTS;

/// Values up to this size are copied when stored: a short slice would keep the whole buffer alive that it was read into.
const COPIED_BYTES: usize = 4096;

/// Entries in this process's memory.
pub struct Memory {
    shards: Vec<RwLock<Shard>>,
}

#[derive(Default)]
struct Shard {
    entries: BTreeMap<Key, Bytes>,
    /// Of all keys and values.
    bytes: u64,
}

/// A key with its first 16 bytes at hand: they hold slot, keyspace and hash, so almost no comparison looks further.
struct Key {
    head: u128,
    bytes: Bytes,
}

/// What is compared: a stored key, or one that is looked for.
trait Probe {
    fn head(&self) -> u128;
    fn bytes(&self) -> &[u8];
}

struct Sought<'a> {
    head: u128,
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

fn head_of(bytes: &[u8]) -> u128 {
    let mut head = [0; 16];
    let length = bytes.len().min(16);
    head[..length].copy_from_slice(&bytes[..length]);
    u128::from_be_bytes(head)
}

impl Probe for Key {
    fn head(&self) -> u128 {
        self.head
    }
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Probe for Sought<'_> {
    fn head(&self) -> u128 {
        self.head
    }
    fn bytes(&self) -> &[u8] {
        self.bytes
    }
}

impl Ord for dyn Probe + '_ {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let heads = self.head().cmp(&other.head());
        heads.then_with(|| self.bytes().cmp(other.bytes()))
    }
}

impl PartialOrd for dyn Probe + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for dyn Probe + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for dyn Probe + '_ {}

impl<'a> Borrow<dyn Probe + 'a> for Key {
    fn borrow(&self) -> &(dyn Probe + 'a) {
        self
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let heads = self.head.cmp(&other.head);
        heads.then_with(|| self.bytes.cmp(&other.bytes))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Key {}

impl Shard {
    fn apply(&mut self, op: &Op) {
        match op {
            Op::Put(key, value) => self.put(key, value),
            Op::Delete(key) => self.delete(key),
        }
    }

    fn put(&mut self, key: &Bytes, value: &Bytes) {
        self.bytes += value.len() as u64;
        let sought = Sought::new(key);
        if let Some(held) = self.entries.get_mut(&sought as &dyn Probe) {
            self.bytes -= held.len() as u64;
            *held = own(value);
            return;
        }
        self.bytes += key.len() as u64;
        let key = Key {
            head: sought.head,
            bytes: own(key),
        };
        self.entries.insert(key, own(value));
    }

    fn delete(&mut self, key: &[u8]) {
        if let Some(held) = self.entries.remove(&Sought::new(key) as &dyn Probe) {
            self.bytes -= (key.len() + held.len()) as u64;
        }
    }

    fn range(&self, start: &[u8], end: &[u8]) -> impl Iterator<Item = (&Key, &Bytes)> {
        let (start, end) = (Sought::new(start), Sought::new(end));
        let bounds: (Bound<&dyn Probe>, Bound<&dyn Probe>) =
            (Bound::Included(&start), Bound::Excluded(&end));
        self.entries.range::<dyn Probe, _>(bounds)
    }
}

fn own(bytes: &Bytes) -> Bytes {
    if bytes.len() <= COPIED_BYTES {
        Bytes::copy_from_slice(bytes)
    } else {
        bytes.clone()
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
            let range = shard.range(start, end);
            entries.extend(range.map(|(key, value)| (key.bytes.clone(), value.clone())));
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
        Ok(shard.entries.get(&Sought::new(key) as &dyn Probe).cloned())
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
                taken = taken.saturating_add(key.bytes.len() + value.len());
                page.push((key.bytes.clone(), value.clone()));
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
