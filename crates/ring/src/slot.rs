//! This file answers: where does a key belong?
//!
//! A key's slot is Redis Cluster's (CRC16 of the key or of its `{hashtag}`, modulo 16384), and a partition is a
//! contiguous range of slots. So the ring can be told to a Redis client as slots, and doubling the number of
//! partitions splits each in place.

use serde::{Deserialize, Serialize};

/// How many slots there are, as in Redis Cluster.
pub const SLOTS: u16 = 16384;

/// A key's place: 0 to 16383. One that comes from elsewhere is judged when it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Slot(pub u16);

impl TryFrom<u16> for Slot {
    type Error = NotASlot;
    fn try_from(slot: u16) -> Result<Slot, NotASlot> {
        match slot < SLOTS {
            true => Ok(Slot(slot)),
            false => Err(NotASlot(slot)),
        }
    }
}

impl From<Slot> for u16 {
    fn from(slot: Slot) -> u16 {
        slot.0
    }
}

/// The number given is no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a slot is a number below {SLOTS}, not {0}")]
pub struct NotASlot(pub u16);

impl Slot {
    /// The slot of `key`: CRC16 (XMODEM) of its hashtag, or of the whole key when it has none, modulo 16384.
    ///
    /// The hashtag is what stands between the first `{` and the first `}` after it, unless that is empty.
    pub fn of(key: &[u8]) -> Slot {
        Slot(crc16(hashtag(key)) % SLOTS)
    }
}

fn hashtag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&b| b == b'{') else {
        return key;
    };
    let rest = &key[open + 1..];
    match rest.iter().position(|&b| b == b'}') {
        Some(length) if length > 0 => &rest[..length],
        _ => key,
    }
}

const CRC16_TABLE: [u16; 256] = {
    let mut table = [0u16; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = (i as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 {
                (crc << 1) ^ 0x1021
            } else {
                crc << 1
            };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &b| {
        (crc << 8) ^ CRC16_TABLE[usize::from((crc >> 8) as u8 ^ b)]
    })
}

/// A contiguous range of slots, numbered from 0.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Partition(pub u16);

impl Partition {
    /// Its index in a table of rows.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl std::fmt::Display for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Q, the number of partitions of a ring: a power of two from 8 to 16384.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct PartitionCount(u16);

impl PartitionCount {
    /// Q for `count`, or why it is none.
    pub fn new(count: u16) -> Result<PartitionCount, NotAPartitionCount> {
        if count.is_power_of_two() && (8..=SLOTS).contains(&count) {
            Ok(PartitionCount(count))
        } else {
            Err(NotAPartitionCount(count))
        }
    }

    /// Q itself.
    pub fn get(self) -> u16 {
        self.0
    }

    /// The partition that holds `slot`.
    pub fn partition_of(self, slot: Slot) -> Partition {
        Partition((u32::from(slot.0) * u32::from(self.0) / u32::from(SLOTS)) as u16)
    }

    /// The slots of `partition`, first to last.
    pub fn slots(self, partition: Partition) -> std::ops::RangeInclusive<u16> {
        let width = SLOTS / self.0;
        let first = partition.0 * width;
        first..=first + (width - 1)
    }

    /// All partitions in order.
    pub fn partitions(self) -> impl Iterator<Item = Partition> + Clone {
        (0..self.0).map(Partition)
    }
}

impl TryFrom<u16> for PartitionCount {
    type Error = NotAPartitionCount;
    fn try_from(count: u16) -> Result<Self, Self::Error> {
        PartitionCount::new(count)
    }
}

impl From<PartitionCount> for u16 {
    fn from(count: PartitionCount) -> u16 {
        count.0
    }
}

/// The number given is no power of two from 8 to 16384.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ring.partitions must be a power of two from 8 to 16384, not {0}")]
pub struct NotAPartitionCount(pub u16);

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost without it: cluster-aware Redis clients would go to the wrong node for every key.
    #[test]
    fn slots_are_redis_clusters() {
        for (key, slot) in [
            ("foo", 12182),
            ("bar", 5061),
            ("hello", 866),
            ("123456789", 12739),
            ("{user1000}.following", 3443),
            ("{user1000}.followers", 3443),
            ("foo{}{bar}", 8363),
            ("foo{{bar}}zap", 4015),
            ("foo{bar}{zap}", 5061),
            ("", 0),
        ] {
            assert_eq!(Slot::of(key.as_bytes()), Slot(slot), "{key}");
        }
    }

    /// Lost without it: a slot that belongs to no partition, or to two.
    #[test]
    fn partitions_tile_the_slots() {
        for q in [8u16, 16, 64, 1024, 16384] {
            let q = PartitionCount::new(q).unwrap();
            let mut next = 0;
            for p in q.partitions() {
                let slots = q.slots(p);
                assert_eq!(*slots.start(), next);
                for s in slots.clone() {
                    assert_eq!(q.partition_of(Slot(s)), p);
                }
                next = slots.end() + 1;
            }
            assert_eq!(next, SLOTS);
        }
        for bad in [0, 1, 4, 12, 100, 16385, 32768] {
            assert_eq!(PartitionCount::new(bad), Err(NotAPartitionCount(bad)));
        }
    }
}
