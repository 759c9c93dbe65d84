//! This file answers: how does fjall hold a node's entries?
//!
//! One keyspace for everything: with many, an idle one would keep old journals alive. The journal is written by us:
//! a commit fills its buffer, [`Backend::push`] hands it to the operating system, [`Backend::sync`] syncs it.
//!
//! Keys and values are copied on their way in and out. fjall's own kind of bytes has a key's first four beside its pointer:
//! space, service and slot, which is all that most comparisons in its memory look at. As [`Bytes`] each key would be
//! fetched from where it lies.

use std::path::Path;

use bytes::Bytes;
use fjall::{
    Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch as WriteBatch, PersistMode, Readable,
};

use crate::backend::{Backend, Batch, Op, Scan, Stats};
use crate::error::Error;

const CACHE_BYTES: u64 = 64 << 20;

/// A journal is preallocated at 64 MiB; two full ones are replayed in well under a second.
const JOURNAL_BYTES: u64 = 128 << 20;

const MEMTABLE_BYTES: u64 = 32 << 20;

/// Threads that flush and compact. The first does not compact: it puts calls to do so back in line, over and over while all others
/// are busy. After a flush there is work for one of them, so with two of them it does not come to that.
const WORKERS: usize = 3;

/// The engine, without checksums of ours.
pub struct Fjall {
    entries: Keyspace,
    database: Database,
}

impl Fjall {
    /// Opens or makes the database in `dir`.
    pub fn open(dir: &Path) -> Result<Fjall, Error> {
        let database = Database::builder(dir)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES)
            .worker_threads(WORKERS)
            .manual_journal_persist(true)
            .open()
            .map_err(|e| convert(&e))?;
        let options = || {
            KeyspaceCreateOptions::default()
                .manual_journal_persist(true)
                .max_memtable_size(MEMTABLE_BYTES)
        };
        let entries = database
            .keyspace("entries", options)
            .map_err(|e| convert(&e))?;
        Ok(Fjall { entries, database })
    }
}

fn convert(error: &fjall::Error) -> Error {
    use fjall::Error as E;
    match error {
        E::Io(io) | E::Storage(fjall::LsmError::Io(io)) => Error::from_io(io),
        E::Poisoned => Error::Broken("fjall: an earlier write failed".to_owned()),
        E::Locked => Error::Broken("fjall: another process has this folder open".to_owned()),
        E::Storage(_)
        | E::JournalRecovery(_)
        | E::InvalidTrailer
        | E::InvalidTag(_)
        | E::InvalidVersion(None)
        | E::Decompress(_)
        | E::Unrecoverable => Error::Corrupt(error.to_string()),
        _ => Error::Broken(error.to_string()),
    }
}

impl Backend for Fjall {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let value = self.entries.get(key).map_err(|e| convert(&e))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn apply(&self, batch: &Batch) -> Result<(), Error> {
        // All changes of a batch bear one sequence number, so fjall could not tell which of two for one key is later. In
        // the order of keys, since neighbours find their place in its memory quicker one behind the other.
        let mut latest: Vec<&Op> = batch.ops.iter().rev().collect();
        latest.sort_by_key(|op| op.key());
        latest.dedup_by_key(|op| op.key());
        let mut changes = WriteBatch::with_capacity(self.database.clone(), latest.len());
        for op in latest {
            match op {
                Op::Put(key, value) => {
                    changes.insert(&self.entries, &**key, &**value);
                }
                Op::Delete(key) => changes.remove(&self.entries, &**key),
            }
        }
        changes.commit().map_err(|e| convert(&e))
    }

    fn push(&self) -> Result<(), Error> {
        self.database
            .persist(PersistMode::Buffer)
            .map_err(|e| convert(&e))
    }

    fn sync(&self) -> Result<(), Error> {
        self.database
            .persist(PersistMode::SyncData)
            .map_err(|e| convert(&e))
    }

    fn scan(&self, start: &[u8], end: &[u8]) -> Scan {
        if start >= end {
            return Box::new(std::iter::empty());
        }
        // A range of the keyspace itself would also show what is written later.
        let snapshot = self.database.snapshot();
        let range = snapshot.range(&self.entries, start..end);
        Box::new(range.map(|entry| {
            let (key, value) = entry.into_inner().map_err(|e| convert(&e))?;
            Ok((Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value)))
        }))
    }

    fn stats(&self) -> Stats {
        Stats {
            bytes: self.database.disk_space().unwrap_or(0),
            entries: Some(self.entries.approximate_len() as u64),
            damaged: 0,
        }
    }
}

impl Drop for Fjall {
    fn drop(&mut self) {
        // What was applied and not pushed: a clean end loses nothing.
        if let Err(error) = self.sync() {
            tracing::error!(%error, "the last writes may not be on disk");
        }
    }
}
