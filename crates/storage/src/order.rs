//! This file answers: where in the store does an entry lie?
//!
//! There is one order for all backends: space, service, slot, keyspace, hash of the key, key. So the entries of any
//! number of partitions are ranges, splitting a partition moves nothing, and a range is read and dropped as one.

use std::ops::RangeInclusive;

use bytes::{BufMut, Bytes, BytesMut};
use xxhash_rust::xxh3::xxh3_64;

/// The first byte of a store key: what kind of entry it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Space {
    /// What the node notes for itself; ordered by name.
    Meta = 0,
    /// Entries of copies that this node holds.
    Data = 1,
    /// What is kept for owners that missed a write.
    Hint = 2,
    /// Data of another cluster or life, set aside.
    Foreign = 3,
}

impl Space {
    fn of(byte: u8) -> Option<Space> {
        [Space::Meta, Space::Data, Space::Hint, Space::Foreign]
            .into_iter()
            .find(|space| *space as u8 == byte)
    }
}

/// Space, service, slot, keyspace and hash: what stands before the key itself.
pub const HEADER_BYTES: usize = 1 + 1 + 2 + 4 + HASH_BYTES;

/// The hash alone.
pub const HASH_BYTES: usize = 6;

/// The store key of an entry: 1 byte space, 1 service, 2 slot, 4 keyspace, 6 of the key's xxh3, the key; numbers
/// big-endian. Made as plain bytes by [`StoreKey::entry`], taken apart by [`StoreKey::parse`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreKey(Bytes);

/// The bytes are no entry's store key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the store key of an entry")]
pub struct NotAnEntry;

impl StoreKey {
    /// The store key of `key`. `space` is one of entries, not [`Space::Meta`].
    pub fn entry(space: Space, service: u8, slot: u16, keyspace: u32, key: &[u8]) -> Bytes {
        debug_assert_ne!(space, Space::Meta, "meta entries have names, not slots");
        let ([high, low], [a, b, c, d]) = (slot.to_be_bytes(), keyspace.to_be_bytes());
        let [h0, h1, h2, h3, h4, h5] = hash_of(key);
        let header: [u8; HEADER_BYTES] = [
            space as u8,
            service,
            high,
            low,
            a,
            b,
            c,
            d,
            h0,
            h1,
            h2,
            h3,
            h4,
            h5,
        ];
        let mut bytes = Vec::with_capacity(HEADER_BYTES + key.len());
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(key);
        Bytes::from(bytes)
    }

    /// The store key of what the node notes under `name`.
    pub fn meta(name: &[u8]) -> Bytes {
        let mut bytes = BytesMut::with_capacity(1 + name.len());
        bytes.put_u8(Space::Meta as u8);
        bytes.put_slice(name);
        bytes.freeze()
    }

    /// All entries of `slots` of a service in `space`: the first key, and the first behind the last.
    pub fn range(space: Space, service: u8, slots: RangeInclusive<u16>) -> (Bytes, Bytes) {
        let place = |slot: u16| {
            (u32::from(space as u8) << 24) | (u32::from(service) << 16) | u32::from(slot)
        };
        let start = place(*slots.start());
        let end = if slots.is_empty() {
            start
        } else {
            place(*slots.end()) + 1
        };
        let bytes = |place: u32| Bytes::copy_from_slice(&place.to_be_bytes());
        (bytes(start), bytes(end))
    }

    /// The same entry in another space.
    pub fn respace(key: &[u8], space: Space) -> Bytes {
        let mut bytes = BytesMut::from(key);
        if let Some(first) = bytes.first_mut() {
            *first = space as u8;
        }
        bytes.freeze()
    }

    /// The space of a store key; `None` when it is none.
    pub fn space_of(key: &[u8]) -> Option<Space> {
        key.first().copied().and_then(Space::of)
    }

    /// The slot of an entry's store key; `None` when it is none.
    pub fn slot_of(key: &[u8]) -> Option<u16> {
        match StoreKey::space_of(key)? {
            Space::Meta => None,
            Space::Data | Space::Hint | Space::Foreign if key.len() >= HEADER_BYTES => {
                Some(u16::from_be_bytes([key[2], key[3]]))
            }
            Space::Data | Space::Hint | Space::Foreign => None,
        }
    }

    /// The keyspace of an entry's store key; `None` when it is none.
    pub fn keyspace_of(key: &[u8]) -> Option<u32> {
        StoreKey::slot_of(key)?;
        let number = key.get(4..8)?.try_into().ok()?;
        Some(u32::from_be_bytes(number))
    }

    /// Reads what [`StoreKey::entry`] wrote; the hash is checked, so bytes from elsewhere do not pass by chance.
    pub fn parse(bytes: Bytes) -> Result<StoreKey, NotAnEntry> {
        let is_entry = StoreKey::slot_of(&bytes).is_some()
            && bytes[HEADER_BYTES - HASH_BYTES..HEADER_BYTES] == hash_of(&bytes[HEADER_BYTES..]);
        if is_entry {
            Ok(StoreKey(bytes))
        } else {
            Err(NotAnEntry)
        }
    }

    /// Its space.
    pub fn space(&self) -> Space {
        Space::of(self.0[0]).expect("a store key was parsed")
    }

    /// Its service's number.
    pub fn service(&self) -> u8 {
        self.0[1]
    }

    /// Its slot.
    pub fn slot(&self) -> u16 {
        u16::from_be_bytes([self.0[2], self.0[3]])
    }

    /// Its keyspace's number.
    pub fn keyspace(&self) -> u32 {
        u32::from_be_bytes([self.0[4], self.0[5], self.0[6], self.0[7]])
    }

    /// The key that the caller knows.
    pub fn key(&self) -> Bytes {
        self.0.slice(HEADER_BYTES..)
    }

    /// The whole store key.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

fn hash_of(key: &[u8]) -> [u8; HASH_BYTES] {
    let hash = xxh3_64(key).to_be_bytes();
    [hash[0], hash[1], hash[2], hash[3], hash[4], hash[5]]
}

/// The first key behind `key`.
pub fn after(key: &[u8]) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    Bytes::from(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost without it: a version that looks for entries elsewhere than the one before put them.
    #[test]
    fn the_order_is_what_it_was() {
        let key = StoreKey::entry(Space::Data, 1, 12182, 7, b"foo");
        let expected = [
            1, 1, 0x2f, 0x96, 0, 0, 0, 7, 0xab, 0x6e, 0x5f, 0x64, 0x07, 0x7e, b'f', b'o', b'o',
        ];
        assert_eq!(key[..], expected);
        let parsed = StoreKey::parse(key.clone()).unwrap();
        assert_eq!(
            (
                parsed.space(),
                parsed.service(),
                parsed.slot(),
                parsed.keyspace()
            ),
            (Space::Data, 1, 12182, 7)
        );
        assert_eq!(StoreKey::keyspace_of(&key), Some(7));
        assert_eq!(
            StoreKey::keyspace_of(&StoreKey::meta(b"a long name of a note")),
            None
        );
        assert_eq!(parsed.key(), Bytes::from_static(b"foo"));
        assert_eq!(parsed.as_bytes(), &key);
        assert_eq!(StoreKey::meta(b"boot"), Bytes::from_static(b"\0boot"));
    }

    /// Lost without it: a neighbour's entries in a partition's range, or its own left out.
    #[test]
    fn a_range_holds_its_slots_and_nothing_else() {
        for (service, slots) in [
            (0u8, 0u16..=0u16),
            (1, 100..=355),
            (255, 16383..=16383),
            (255, 0..=u16::MAX),
        ] {
            let (start, end) = StoreKey::range(Space::Hint, service, slots.clone());
            let edges = [0, 99, 100, 355, 356, 16383, 16384, u16::MAX];
            for slot in edges {
                for key in [&b""[..], b"\xff\xff", b"k"] {
                    let entry = StoreKey::entry(Space::Hint, service, slot, u32::MAX, key);
                    let inside = start <= entry && entry < end;
                    assert_eq!(inside, slots.contains(&slot), "{slots:?} {slot}");
                    for other in [Space::Data, Space::Foreign] {
                        let moved = StoreKey::respace(&entry, other);
                        assert!(!(start <= moved && moved < end));
                        assert_eq!(StoreKey::respace(&moved, Space::Hint), entry);
                    }
                }
            }
        }
        #[allow(clippy::reversed_empty_ranges)]
        let (start, end) = StoreKey::range(Space::Data, 1, 5..=4);
        assert_eq!(start, end);
    }

    /// Lost without it: a panic, or another entry, for bytes that a peer or a damaged disk made up.
    #[test]
    fn foreign_bytes_are_no_store_key() {
        let good = StoreKey::entry(Space::Foreign, 2, 3, 4, b"key");
        for cut in 0..good.len() {
            assert_eq!(StoreKey::parse(good.slice(..cut)), Err(NotAnEntry));
        }
        for first in [0, 4, 255] {
            let mut bytes = good.to_vec();
            bytes[0] = first;
            assert_eq!(StoreKey::parse(Bytes::from(bytes.clone())), Err(NotAnEntry));
            assert_eq!(StoreKey::slot_of(&bytes), None);
        }
        assert_eq!(StoreKey::space_of(b""), None);
        assert_eq!(StoreKey::respace(b"", Space::Data), Bytes::new());
    }
}
