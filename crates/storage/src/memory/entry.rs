//! This file answers: what does one entry in memory look like, and which of two comes first?
//!
//! A key has three parts. Its first 8 bytes are the same for all entries of a run (see `run`) and are kept there once; the
//! next 8 stand in the entry itself: they hold hash and keys' beginnings, so almost no comparison looks further; what
//! remains is in one piece of the heap with the value.

use std::cmp::Ordering;

use bytes::Bytes;

use crate::near;

/// Bytes of a key that a run keeps for its entries, and bytes that an entry has at hand.
const PART_BYTES: usize = 8;
/// What of a key is not in an entry's tail.
const HEAD_BYTES: usize = 2 * PART_BYTES;
/// Bytes of a tail that hold its key's length.
const LENGTH_BYTES: usize = 4;

/// One entry: 24 bytes in its run and one piece of the heap.
pub(super) struct Entry {
    /// The second 8 bytes of the key, missing ones as zero.
    head: u64,
    /// The key's length, the rest of the key, the value.
    tail: Box<[u8]>,
}

impl Entry {
    pub(super) fn new(key: &Sought<'_>, value: &[u8]) -> Entry {
        let length = u32::try_from(key.length).expect("no key is that long");
        Entry {
            head: key.head,
            tail: [&length.to_le_bytes()[..], key.rest, value].concat().into(),
        }
    }

    /// Holds another value from now on.
    pub(super) fn replace(&mut self, key: &Sought<'_>, value: &[u8]) {
        let held = self.value_begins();
        if self.tail.len() - held == value.len() {
            self.tail[held..].copy_from_slice(value);
        } else {
            *self = Entry::new(key, value);
        }
    }

    /// Has what is not at hand of it fetched, of a long one the beginning.
    pub(super) fn expect(&self) {
        const MOST_BYTES: usize = 256;
        near::fetch_all(&self.tail[..self.tail.len().min(MOST_BYTES)]);
    }

    pub(super) fn head(&self) -> u64 {
        self.head
    }

    /// Its key, in a run of this prefix.
    fn key(&self, prefix: u64) -> Bytes {
        let length = self.length();
        let mut key = Vec::with_capacity(length.max(HEAD_BYTES));
        key.extend_from_slice(&prefix.to_be_bytes());
        key.extend_from_slice(&self.head.to_be_bytes());
        key.truncate(length);
        key.extend_from_slice(self.rest());
        Bytes::from(key)
    }

    pub(super) fn value(&self) -> &[u8] {
        &self.tail[self.value_begins()..]
    }

    /// Bytes of key and value.
    pub(super) fn bytes(&self) -> u64 {
        (self.length() + self.tail.len() - self.value_begins()) as u64
    }

    /// Key and value, in a run of this prefix.
    pub(super) fn to_pair(&self, prefix: u64) -> (Bytes, Bytes) {
        (self.key(prefix), Bytes::copy_from_slice(self.value()))
    }

    /// How it lies to a key of the same prefix. Of two with one head and nothing behind it the shorter is the beginning of
    /// the longer.
    pub(super) fn order(&self, key: &Sought<'_>) -> Ordering {
        self.head.cmp(&key.head).then_with(|| {
            let rests = self.rest().cmp(key.rest);
            rests.then_with(|| self.length().cmp(&key.length))
        })
    }

    fn length(&self) -> usize {
        let [a, b, c, d, ..] = *self.tail else {
            return 0;
        };
        u32::from_le_bytes([a, b, c, d]) as usize
    }

    fn value_begins(&self) -> usize {
        LENGTH_BYTES + self.length().saturating_sub(HEAD_BYTES)
    }

    fn rest(&self) -> &[u8] {
        &self.tail[LENGTH_BYTES..self.value_begins()]
    }
}

/// A key that is looked for, in its parts.
#[derive(Clone, Copy)]
pub(super) struct Sought<'a> {
    /// The first 8 bytes, missing ones as zero.
    pub(super) prefix: u64,
    /// The second 8 bytes, likewise.
    pub(super) head: u64,
    rest: &'a [u8],
    length: usize,
}

impl<'a> Sought<'a> {
    pub(super) fn new(key: &'a [u8]) -> Sought<'a> {
        let (prefix, behind) = part_of(key);
        let (head, rest) = part_of(behind);
        Sought {
            prefix,
            head,
            rest,
            length: key.len(),
        }
    }

    /// Bytes of the whole key.
    pub(super) fn length(&self) -> usize {
        self.length
    }
}

/// The first 8 bytes as a number that orders as they do, and what is behind them.
fn part_of(bytes: &[u8]) -> (u64, &[u8]) {
    match bytes.split_first_chunk::<PART_BYTES>() {
        Some((part, behind)) => (u64::from_be_bytes(*part), behind),
        None => {
            let mut part = [0; PART_BYTES];
            part[..bytes.len()].copy_from_slice(bytes);
            (u64::from_be_bytes(part), &[])
        }
    }
}
