//! This file answers: how does sled hold a node's entries?
//!
//! One database with one tree. Writes stay in the process until it flushes, and its flush is no fsync on Linux (it starts
//! and awaits the writing of pages, but neither the drive's cache nor the file's size), nor does it ever sync the
//! files of values that are larger than a segment: so [`Backend::push`] flushes, and [`Backend::sync`] flushes and
//! then syncs those files itself.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::backend::{Backend, Batch, Op, Scan, Stats, take_page};
use crate::error::Error;
use crate::preimage::{Live, Preimages};

const CACHE_BYTES: u64 = 64 << 20;

/// How long the lock of a database that this process has just closed is waited for: sled's threads let it go late.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// Values up to this size are copied out of sled's pages, larger ones are shared with them.
const COPIED_BYTES: usize = 4096;

/// The engine, without checksums of ours.
pub struct Sled {
    entries: Arc<Preimages<Tree>>,
    database: sled::Db,
    dir: PathBuf,
    /// sled's own file, opened once more to sync it: fsync works on the inode, whoever wrote it.
    log: File,
    synced_blobs: Mutex<BTreeSet<OsString>>,
}

struct Tree(sled::Tree);

impl Sled {
    /// Opens or makes the database in `dir`.
    pub fn open(dir: &Path) -> Result<Sled, Error> {
        // The writer pushes every group, so sled's own flusher would only add fsyncs at random moments.
        let config = sled::Config::new()
            .path(dir)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(None);
        let give_up = Instant::now() + LOCK_PATIENCE;
        let database = loop {
            match config.open() {
                Ok(database) => break database,
                Err(error) if is_locked(&error) && Instant::now() < give_up => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(error) => return Err(convert(&error)),
            }
        };
        let tree = database.open_tree("entries").map_err(|e| convert(&e))?;
        let log = File::open(dir.join("db")).map_err(|e| Error::from_io(&e))?;
        Ok(Sled {
            entries: Arc::new(Preimages::new(Tree(tree))),
            database,
            dir: dir.to_owned(),
            log,
            synced_blobs: Mutex::default(),
        })
    }

    fn sync_blobs(&self) -> std::io::Result<()> {
        let dir = self.dir.join("blobs");
        let mut there = BTreeSet::new();
        for blob in std::fs::read_dir(&dir)? {
            there.insert(blob?.file_name());
        }
        let mut synced = self.synced_blobs.lock();
        let mut new = there.difference(&synced).peekable();
        let any = new.peek().is_some();
        for name in new {
            match File::open(dir.join(name)) {
                Ok(blob) => blob.sync_data()?,
                // sled deletes them when their values are gone.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        if any {
            File::open(&dir)?.sync_all()?;
        }
        *synced = there;
        Ok(())
    }
}

fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(io) if io.to_string().contains("could not acquire lock"))
}

fn convert(error: &sled::Error) -> Error {
    match error {
        sled::Error::Io(io) => Error::from_io(io),
        sled::Error::Corruption { .. } | sled::Error::ReportableBug(_) => {
            Error::Corrupt(format!("sled: {error}"))
        }
        _ => Error::Broken(format!("sled: {error}")),
    }
}

fn bytes_of(value: sled::IVec) -> Bytes {
    if value.len() <= COPIED_BYTES {
        Bytes::copy_from_slice(&value)
    } else {
        Bytes::from_owner(value)
    }
}

impl Tree {
    fn range(
        &self,
        start: &[u8],
        end: &[u8],
    ) -> impl Iterator<Item = Result<(Bytes, Bytes), Error>> + use<> {
        self.0.range(start..end).map(|entry| {
            let (key, value) = entry.map_err(|e| convert(&e))?;
            Ok((Bytes::copy_from_slice(&key), bytes_of(value)))
        })
    }
}

impl Live for Tree {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let value = self.0.get(key).map_err(|e| convert(&e))?;
        Ok(value.map(bytes_of))
    }

    fn apply(&self, batch: &Batch) -> Result<(), Error> {
        let mut changes = sled::Batch::default();
        for op in &batch.ops {
            match op {
                Op::Put(key, value) => changes.insert(&key[..], &value[..]),
                Op::Delete(key) => changes.remove(&key[..]),
            }
        }
        self.0.apply_batch(changes).map_err(|e| convert(&e))
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
        take_page(self.range(start, end), entries, bytes)
    }
}

impl Backend for Sled {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.entries.live.get(key)
    }

    fn apply(&self, batch: &Batch) -> Result<(), Error> {
        self.entries.apply(batch)
    }

    fn push(&self) -> Result<(), Error> {
        self.database.flush().map_err(|e| convert(&e))?;
        Ok(())
    }

    fn sync(&self) -> Result<(), Error> {
        self.push()?;
        let synced = self.sync_blobs().and_then(|()| self.log.sync_data());
        synced.map_err(|error| Error::Broken(format!("sync of {}: {error}", self.dir.display())))
    }

    fn scan(&self, start: &[u8], end: &[u8]) -> Scan {
        self.entries.scan(start, end)
    }

    fn page(
        &self,
        start: &[u8],
        end: &[u8],
        entries: usize,
        bytes: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        self.entries.live.page(start, end, entries, bytes)
    }

    fn stats(&self) -> Stats {
        Stats {
            bytes: self.database.size_on_disk().unwrap_or(0),
            entries: None,
            damaged: 0,
        }
    }
}

impl Drop for Sled {
    fn drop(&mut self) {
        // What was applied and not pushed: a clean end loses nothing.
        if let Err(error) = self.sync() {
            tracing::error!(%error, "the last writes may not be on disk");
        }
    }
}
