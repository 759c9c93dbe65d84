//! This file answers: what becomes of a value that a disk damaged?
//!
//! Each value is stored behind a format byte and a CRC32C over its key and itself, and is checked whenever it is read. One
//! that fails counts as missing, so that it is repaired from the other replicas; it is counted, and named in the log now
//! and then. Whoever asks is told its key once, so that the copy is refilled at once. The memory backend goes without: nothing there outlives the process, and a machine whose memory lies damages
//! a checksum's owner as well.
//!
//! Here also keys that are longer than engines take find a place: fjall's end at 65535 bytes, the longest key that a
//! client may use comes to 65550 as a store key. Such a key is stored as its beginning and a hash of its rest, and the rest
//! stands with the value. Among keys that long which agree in their first 65518 bytes (their 48-bit hash included), order
//! is by that hash.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_128;

use crate::backend::{Backend, Batch, Op, Scan, Stats, drop_by_pages, take_page};
use crate::error::Error;

/// The longest key that every engine takes, with one byte to spare for the bound just behind it.
const ENGINE_KEY_BYTES: usize = u16::MAX as usize - 1;

/// How much of a longer key is its place.
const HEAD_BYTES: usize = ENGINE_KEY_BYTES - 16;

const FORMAT: u8 = 1;

/// As [`FORMAT`], with the rest of a long key before the value.
const FORMAT_LONG: u8 = 2;

const ENVELOPE_BYTES: usize = 1 + 4;

/// How many damaged keys are remembered: of more than that each is counted, and nobody told.
const MOST_KNOWN: usize = 4_096;

const WARN_EVERY: Duration = Duration::from_secs(10);

/// An engine whose values are checked.
pub struct Checked<B> {
    engine: B,
    damage: Arc<Damage>,
}

/// What was met of it. It outlives an engine that is opened afresh.
#[derive(Default)]
pub struct Damage {
    count: AtomicU64,
    warned: Mutex<Option<Instant>>,
    met: Mutex<Met>,
}

/// Damaged keys that were met.
#[derive(Default)]
struct Met {
    known: BTreeSet<Bytes>,
    /// Those that nobody was told of.
    fresh: Vec<Bytes>,
}

impl Damage {
    fn note(&self, key: &[u8]) {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let met = &mut *self.met.lock();
        if met.known.len() < MOST_KNOWN && !met.known.contains(key) {
            let key = Bytes::copy_from_slice(key);
            met.known.insert(key.clone());
            met.fresh.push(key);
        }
        let mut warned = self.warned.lock();
        if warned.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
            *warned = Some(Instant::now());
            let key = key[..key.len().min(64)].escape_ascii();
            tracing::warn!(%key, count, "a stored value is damaged and counts as missing");
        }
    }

    fn unseal(&self, place: &Bytes, sealed: &Bytes) -> Option<(Bytes, Bytes)> {
        let entry = unseal(place, sealed);
        if entry.is_none() {
            self.note(place);
        }
        entry
    }
}

/// The key under which the engine holds `key`, and the rest that does not fit.
fn place(key: &[u8]) -> Option<(Bytes, &[u8])> {
    if key.len() < ENGINE_KEY_BYTES {
        return None;
    }
    let (head, rest) = key.split_at(HEAD_BYTES);
    let mut place = BytesMut::with_capacity(ENGINE_KEY_BYTES);
    place.put_slice(head);
    place.put_u128(xxh3_128(rest));
    Some((place.freeze(), rest))
}

fn seal(key: &Bytes, value: &[u8]) -> (Bytes, Bytes) {
    let crc = crc32c::crc32c_append(crc32c::crc32c(key), value);
    let envelope = |format: u8, more: usize| {
        let mut sealed = BytesMut::with_capacity(ENVELOPE_BYTES + more + value.len());
        sealed.put_u8(format);
        sealed.put_u32_le(crc);
        sealed
    };
    match place(key) {
        None => {
            let mut sealed = envelope(FORMAT, 0);
            sealed.put_slice(value);
            (key.clone(), sealed.freeze())
        }
        Some((place, rest)) => {
            let mut sealed = envelope(FORMAT_LONG, 4 + rest.len());
            sealed.put_u32_le(u32::try_from(rest.len()).expect("a key is shorter than 4 GiB"));
            sealed.put_slice(rest);
            sealed.put_slice(value);
            (place, sealed.freeze())
        }
    }
}

/// The entry that was sealed under `place`; `None` when it is damaged.
fn unseal(place: &Bytes, sealed: &Bytes) -> Option<(Bytes, Bytes)> {
    let (format, rest) = sealed.split_first()?;
    let (crc, _) = rest.split_first_chunk::<4>()?;
    let mut value = sealed.slice(ENVELOPE_BYTES..);
    let key = match *format {
        FORMAT if place.len() < ENGINE_KEY_BYTES => place.clone(),
        FORMAT_LONG if place.len() == ENGINE_KEY_BYTES => {
            let length = u32::from_le_bytes(*value.first_chunk::<4>()?) as usize;
            let _ = value.split_to(4);
            if length > value.len() {
                return None;
            }
            let rest = value.split_to(length);
            // The sum does not see where the key ends and the value begins; the hash does.
            if place[HEAD_BYTES..] != xxh3_128(&rest).to_be_bytes() {
                return None;
            }
            [&place[..HEAD_BYTES], &rest[..]].concat().into()
        }
        _ => return None,
    };
    let expected = crc32c::crc32c_append(crc32c::crc32c(&key), &value);
    (expected == u32::from_le_bytes(*crc)).then_some((key, value))
}

/// The engine's range that holds all entries of `start..end`, and perhaps a few more when a bound is long.
fn bounds(start: &[u8], end: &[u8]) -> (Bytes, Bytes) {
    let head = |key: &[u8]| Bytes::copy_from_slice(&key[..key.len().min(HEAD_BYTES)]);
    let end = if end.len() > HEAD_BYTES {
        [&end[..HEAD_BYTES], &[0xff; 17]].concat().into()
    } else {
        head(end)
    };
    (head(start), end)
}

impl<B: Backend> Checked<B> {
    /// `engine`, checked.
    pub fn new(engine: B) -> Checked<B> {
        Checked::noting(engine, Arc::default())
    }

    /// The same; what is met is noted in `damage`.
    pub fn noting(engine: B, damage: Arc<Damage>) -> Checked<B> {
        Checked { engine, damage }
    }
}

impl<B: Backend> Backend for Checked<B> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let place = match place(key) {
            Some((place, _)) => place,
            None => Bytes::new(),
        };
        let at = if place.is_empty() { key } else { &place[..] };
        let sealed = match self.engine.get(at) {
            Ok(Some(sealed)) => sealed,
            Ok(None) => return Ok(None),
            Err(Error::Corrupt(_)) => {
                self.damage.note(key);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        if place.is_empty() {
            return Ok(unseal_value(key, &sealed).or_else(|| {
                self.damage.note(key);
                None
            }));
        }
        let entry = self.damage.unseal(&place, &sealed);
        Ok(entry.and_then(|(held, value)| (held[..] == *key).then_some(value)))
    }

    fn apply(&self, batch: &Batch) -> Result<(), Error> {
        let seal_op = |op: &Op| match op {
            Op::Put(key, value) => {
                let (place, sealed) = seal(key, value);
                Op::Put(place, sealed)
            }
            Op::Delete(key) => {
                Op::Delete(place(key).map_or_else(|| key.clone(), |(place, _)| place))
            }
        };
        let ops = batch.ops.iter().map(seal_op).collect();
        self.engine.apply(&Batch { ops })
    }

    fn push(&self) -> Result<(), Error> {
        self.engine.push()
    }

    fn sync(&self) -> Result<(), Error> {
        self.engine.sync()
    }

    fn scan(&self, start: &[u8], end: &[u8]) -> Scan {
        if start >= end {
            return Box::new(std::iter::empty());
        }
        let damage = Arc::clone(&self.damage);
        let (from, to) = bounds(start, end);
        let (start, end) = (Bytes::copy_from_slice(start), Bytes::copy_from_slice(end));
        let entries = self.engine.scan(&from, &to);
        Box::new(entries.filter_map(move |entry| match entry {
            Ok((place, sealed)) => {
                let (key, value) = damage.unseal(&place, &sealed)?;
                (start <= key && key < end).then_some(Ok((key, value)))
            }
            Err(error) => Some(Err(error)),
        }))
    }

    fn page(
        &self,
        start: &[u8],
        end: &[u8],
        entries: usize,
        bytes: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        if start >= end {
            return Ok(Vec::new());
        }
        let (mut from, to) = bounds(start, end);
        // Damaged values are passed over, so a page of the engine may come to nothing though more follow.
        loop {
            let sealed = self.engine.page(&from, &to, entries, bytes)?;
            let Some((last, _)) = sealed.last() else {
                return Ok(Vec::new());
            };
            from = [&last[..], &[0]].concat().into();
            let opened = sealed.iter().filter_map(|(place, sealed)| {
                let (key, value) = self.damage.unseal(place, sealed)?;
                (*start <= key[..] && key[..] < *end).then_some(Ok((key, value)))
            });
            let page = take_page(opened, entries, bytes)?;
            if !page.is_empty() {
                return Ok(page);
            }
        }
    }

    fn drop_range(&self, start: &[u8], end: &[u8]) -> Result<u64, Error> {
        if start.len().max(end.len()) <= HEAD_BYTES {
            // Damaged ones too.
            return self.engine.drop_range(start, end);
        }
        drop_by_pages(self, start, end)
    }

    fn take_damaged(&self) -> Vec<Bytes> {
        std::mem::take(&mut self.damage.met.lock().fresh)
    }

    fn stats(&self) -> Stats {
        Stats {
            damaged: self.damage.count.load(Ordering::Relaxed),
            ..self.engine.stats()
        }
    }

    fn is_volatile(&self) -> bool {
        self.engine.is_volatile()
    }
}

/// The value sealed under `key`, a short one.
fn unseal_value(key: &[u8], sealed: &Bytes) -> Option<Bytes> {
    let (format, rest) = sealed.split_first()?;
    let (crc, value) = rest.split_first_chunk::<4>()?;
    let expected = crc32c::crc32c_append(crc32c::crc32c(key), value);
    let whole = *format == FORMAT && expected == u32::from_le_bytes(*crc);
    whole.then(|| sealed.slice(ENVELOPE_BYTES..))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cached::Cached;

    /// Lost without it: nobody hears which copy lost an entry, or hears it again each time that the entry is read.
    #[test]
    fn a_damaged_key_is_told_once() {
        let checked = Checked::new(crate::memory::Memory::new());
        let key = Bytes::from_static(b"key");
        let mut batch = Batch::default();
        batch.put(key.clone(), Bytes::from_static(b"never sealed"));
        checked.engine.apply(&batch).unwrap();
        for _ in 0..2 {
            assert_eq!(checked.get(&key).unwrap(), None);
            assert_eq!(checked.scan(b"", b"z").count(), 0);
        }
        assert_eq!(checked.take_damaged(), std::slice::from_ref(&key));
        assert_eq!(checked.get(&key).unwrap(), None);
        assert!(checked.take_damaged().is_empty());
        assert_eq!(checked.stats().damaged, 5);
    }

    /// Lost without it: a copy that is dropped leaves what was damaged of it, for whoever holds those slots next.
    #[test]
    fn what_is_damaged_is_dropped_with_its_range() {
        let cached = Cached::new(Checked::new(crate::memory::Memory::new()));
        let (damaged, whole) = (Bytes::from_static(b"damaged"), Bytes::from_static(b"whole"));
        let mut batch = Batch::default();
        batch.put(whole.clone(), Bytes::from_static(b"v"));
        cached.apply(&batch).unwrap();
        let mut batch = Batch::default();
        batch.put(damaged.clone(), Bytes::from_static(b"never sealed"));
        let raw = &cached.engine.engine;
        raw.apply(&batch).unwrap();
        assert_eq!(cached.drop_range(b"a", b"z"), Ok(2));
        assert_eq!(raw.get(&damaged), Ok(None));
        assert_eq!(cached.get(&whole), Ok(None));
    }

    /// Lost without it: a flipped bit, a value under another's key or a torn one is handed to a client as true.
    #[test]
    fn any_flipped_bit_is_seen() {
        for length in [3, ENGINE_KEY_BYTES - 1, ENGINE_KEY_BYTES, 70_000] {
            let key = Bytes::from(vec![b'k'; length]);
            let (place, sealed) = seal(&key, b"value");
            assert!(place.len() <= ENGINE_KEY_BYTES);
            let value = Bytes::from_static(b"value");
            assert_eq!(unseal(&place, &sealed), Some((key, value)));
            for at in (0..sealed.len().min(16)).chain([sealed.len() - 1]) {
                let mut flipped = sealed.to_vec();
                flipped[at] ^= 1;
                let opened = unseal(&place, &Bytes::from(flipped));
                assert!(opened.is_none(), "{length} {at}");
            }
            for cut in 0..sealed.len().min(16) {
                assert_eq!(unseal(&place, &sealed.slice(..cut)), None);
            }
            let mut other = place.to_vec();
            other[0] ^= 1;
            assert_eq!(unseal(&Bytes::from(other), &sealed), None);
        }
    }
}
