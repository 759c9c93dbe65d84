//! This file answers: how is an entry read that was read or written a moment ago?
//!
//! From memory. Every write of a key looks first at what is held, and the engines on disk take several microseconds for that,
//! also where all their blocks are in memory. What is kept here is what was written, or was checked when the engine returned it: it is
//! not checked again each time that it is read, as little as what an engine in memory holds. A cache belongs to one opened engine and goes with it: an engine that is opened
//! afresh may have forgotten what the one before it took.

use std::time::Duration;

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::{Cache, GuardResult};

use crate::backend::{Backend, Batch, Op, Scan, Stats, drop_by_pages};
use crate::error::Error;

/// What the entries that are kept may take, their bookkeeping included.
const CACHE_BYTES: u64 = 64 << 20;

/// What one entry is taken to cost besides its bytes.
const ENTRY_COST: usize = 128;

/// An entry above this would push out too many others.
const MOST_ENTRY_BYTES: usize = 64 << 10;

/// About how many entries are kept; only sizes what is allocated at first.
const EXPECTED_ENTRIES: usize = 1 << 16;

#[derive(Clone)]
struct Cost;

impl Weighter<Bytes, Bytes> for Cost {
    fn weight(&self, key: &Bytes, value: &Bytes) -> u64 {
        (key.len() + value.len() + ENTRY_COST) as u64
    }
}

/// An engine whose entries of late are in memory.
pub struct Cached<B> {
    pub(crate) engine: B,
    entries: Cache<Bytes, Bytes, Cost>,
}

impl<B: Backend> Cached<B> {
    /// `engine`, with nothing in memory yet.
    pub fn new(engine: B) -> Cached<B> {
        Cached {
            engine,
            entries: Cache::with_weighter(EXPECTED_ENTRIES, CACHE_BYTES, Cost),
        }
    }

    /// Reads from the engine and keeps what it read, unless a write came meanwhile: that takes the placeholder away.
    fn fetch(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let owned = Bytes::copy_from_slice(key);
        let at_once = Some(Duration::ZERO);
        let placeholder = match self.entries.get_value_or_guard(&owned, at_once) {
            GuardResult::Value(value) => return Ok(Some(value)),
            GuardResult::Guard(placeholder) => Some(placeholder),
            GuardResult::Timeout => None,
        };
        let value = self.engine.get(key)?;
        if let (Some(placeholder), Some(value)) = (placeholder, &value)
            && is_kept(key, value)
        {
            // A copy: the engine's is a slice of a whole block.
            let _ = placeholder.insert(Bytes::copy_from_slice(value));
        }
        Ok(value)
    }
}

fn is_kept(key: &[u8], value: &[u8]) -> bool {
    key.len() + value.len() <= MOST_ENTRY_BYTES
}

impl<B: Backend> Backend for Cached<B> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        match self.entries.get(key) {
            Some(value) => Ok(Some(value)),
            None => self.fetch(key),
        }
    }

    fn apply(&self, batch: &Batch) -> Result<(), Error> {
        let applied = self.engine.apply(batch);
        for op in &batch.ops {
            match op {
                Op::Put(key, value) if applied.is_ok() && is_kept(key, value) => {
                    // A copy: what came may be a slice of all that it was received with.
                    let value = Bytes::copy_from_slice(value);
                    self.entries.insert(key.clone(), value);
                }
                // Of a batch that failed nobody knows what is there.
                Op::Put(key, _) | Op::Delete(key) => drop(self.entries.remove(key)),
            }
        }
        applied
    }

    fn push(&self) -> Result<(), Error> {
        self.engine.push()
    }

    fn sync(&self) -> Result<(), Error> {
        self.engine.sync()
    }

    fn scan(&self, start: &[u8], end: &[u8]) -> Scan {
        self.engine.scan(start, end)
    }

    fn page(
        &self,
        start: &[u8],
        end: &[u8],
        entries: usize,
        bytes: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        self.engine.page(start, end, entries, bytes)
    }

    fn is_empty(&self, start: &[u8], end: &[u8]) -> Result<bool, Error> {
        self.engine.is_empty(start, end)
    }

    fn drop_range(&self, start: &[u8], end: &[u8]) -> Result<u64, Error> {
        // By pages, so that nothing of it is kept; then what no page shows, because it is damaged.
        let dropped = drop_by_pages(self, start, end)?;
        Ok(dropped + self.engine.drop_range(start, end)?)
    }

    fn take_damaged(&self) -> Vec<Bytes> {
        self.engine.take_damaged()
    }

    fn stats(&self) -> Stats {
        self.engine.stats()
    }

    fn is_volatile(&self) -> bool {
        self.engine.is_volatile()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use super::*;
    use crate::memory::Memory;

    /// An engine that counts its reads, and fails writes when told to.
    #[derive(Default)]
    struct Counting {
        engine: Memory,
        reads: AtomicU64,
        fails: AtomicBool,
    }

    impl Backend for Counting {
        fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            self.engine.get(key)
        }

        fn apply(&self, batch: &Batch) -> Result<(), Error> {
            self.engine.apply(batch)?;
            match self.fails.load(Ordering::Relaxed) {
                true => Err(Error::Broken("told to".to_owned())),
                false => Ok(()),
            }
        }

        fn push(&self) -> Result<(), Error> {
            Ok(())
        }

        fn sync(&self) -> Result<(), Error> {
            Ok(())
        }

        fn scan(&self, start: &[u8], end: &[u8]) -> Scan {
            self.engine.scan(start, end)
        }

        fn stats(&self) -> Stats {
            self.engine.stats()
        }
    }

    fn put(backend: &dyn Backend, value: &'static str) -> Result<(), Error> {
        let mut batch = Batch::default();
        batch.put(
            Bytes::from_static(b"k"),
            Bytes::from_static(value.as_bytes()),
        );
        backend.apply(&batch)
    }

    fn get(backend: &dyn Backend) -> Option<Bytes> {
        backend.get(b"k").unwrap()
    }

    #[test]
    fn what_is_read_is_what_was_written_last() {
        // Lost without it: a read after a write or a delete finds what was there before.
        let cached = Cached::new(Counting::default());
        let reads = || cached.engine.reads.load(Ordering::Relaxed);
        assert_eq!(get(&cached), None);
        put(&cached, "1").unwrap();
        assert_eq!((get(&cached), reads()), (Some("1".into()), 1));
        put(&cached, "2").unwrap();
        assert_eq!((get(&cached), reads()), (Some("2".into()), 1));
        let mut batch = Batch::default();
        batch.delete(Bytes::from_static(b"k"));
        cached.apply(&batch).unwrap();
        assert_eq!((get(&cached), reads()), (None, 2));
        put(&cached.engine, "3").unwrap();
        assert_eq!(
            (get(&cached), get(&cached)),
            (Some("3".into()), Some("3".into()))
        );
        assert_eq!(reads(), 3, "what was read is kept");
        assert_eq!(cached.drop_range(b"a", b"z"), Ok(1));
        assert_eq!(get(&cached), None);
    }

    #[test]
    fn of_a_write_that_failed_the_engine_is_asked() {
        // Lost without it: a write that is not there, or one that is, is read as if it were the other way.
        let cached = Cached::new(Counting::default());
        put(&cached, "1").unwrap();
        cached.engine.fails.store(true, Ordering::Relaxed);
        assert!(put(&cached, "2").is_err());
        assert_eq!(get(&cached), Some("2".into()));
    }

    #[test]
    fn a_read_that_a_write_overtakes_keeps_nothing() {
        // Lost without it: a slow read of the old value is found by every read after the write.
        let cached = Cached::new(Counting::default());
        let key = Bytes::from_static(b"k");
        for deletes in [false, true] {
            let GuardResult::Guard(slow) = cached.entries.get_value_or_guard(&key, None) else {
                panic!("nothing is kept yet");
            };
            let mut batch = Batch::default();
            match deletes {
                true => batch.delete(key.clone()),
                false => batch.put(key.clone(), Bytes::from_static(b"new")),
            }
            cached.apply(&batch).unwrap();
            let _ = slow.insert(Bytes::from_static(b"old"));
            assert_eq!(get(&cached), (!deletes).then(|| "new".into()));
            cached.entries.remove(&key);
        }
    }
}
