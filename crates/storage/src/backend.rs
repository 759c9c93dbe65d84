//! This file answers: what must an engine do to hold a node's entries?

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::error::Error;

/// Entries in key order.
pub type Scan = Box<dyn Iterator<Item = Result<(Bytes, Bytes), Error>> + Send>;

/// One change to one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// The entry holds this value from now on.
    Put(Bytes, Bytes),
    /// There is no such entry from now on.
    Delete(Bytes),
}

impl Op {
    /// The entry's key.
    pub fn key(&self) -> &Bytes {
        match self {
            Op::Put(key, _) | Op::Delete(key) => key,
        }
    }

    /// Bytes of key and value.
    pub fn bytes(&self) -> usize {
        match self {
            Op::Put(key, value) => key.len() + value.len(),
            Op::Delete(key) => key.len(),
        }
    }
}

/// Changes that are made together or not at all. Of several for one key the last counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// In order. Most have one.
    pub ops: SmallVec<[Op; 1]>,
}

impl Batch {
    /// Adds a put.
    pub fn put(&mut self, key: Bytes, value: Bytes) {
        self.ops.push(Op::Put(key, value));
    }

    /// Adds a delete.
    pub fn delete(&mut self, key: Bytes) {
        self.ops.push(Op::Delete(key));
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Whether it adds something, or only deletes.
    pub fn has_puts(&self) -> bool {
        self.ops.iter().any(|op| matches!(op, Op::Put(..)))
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        self.ops.iter().map(Op::bytes).sum()
    }
}

/// What an engine says of itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes that it takes, on disk or in memory; approximate.
    pub bytes: u64,
    /// How many entries; approximate, and `None` where counting would mean reading all.
    pub entries: Option<u64>,
    /// How many damaged values were met (and taken for missing) since it was opened.
    pub damaged: u64,
}

/// An engine. Calls block; keys are opaque bytes in lexicographic order; ranges are half-open.
///
/// One thread writes at a time (the writer of a disk, the caller of memory may be many); any number read.
pub trait Backend: Send + Sync + 'static {
    /// The value of `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error>;

    /// Shows the value of `key` where it lies, without a copy if the engine can: `None`, there is none. What is shown is not
    /// kept, and `see` asks the engine nothing.
    fn look(&self, key: &[u8], see: &mut dyn FnMut(Option<&[u8]>)) -> Result<(), Error> {
        see(self.get(key)?.as_deref());
        Ok(())
    }

    /// These keys are asked for in a moment: an engine may bring nearer to the processor what it holds of them in memory, that
    /// of one key while that of another is on its way. It changes nothing.
    fn expect(&self, keys: &[&Bytes]) {
        let _ = keys;
    }

    /// Makes all changes of `batch`, or none. They are visible on return, and to every scan together; a `get` that runs
    /// meanwhile may see one of them before the other. They may still be in the process: see [`Backend::push`].
    fn apply(&self, batch: &Batch) -> Result<(), Error>;

    /// Whatever was applied has left the process on return: it survives its kill.
    fn push(&self) -> Result<(), Error>;

    /// Whatever was applied is on the disk on return: it survives a power cut.
    fn sync(&self) -> Result<(), Error>;

    /// The entries of `start..end` in key order, as they are at the call, whatever is written meanwhile.
    fn scan(&self, start: &[u8], end: &[u8]) -> Scan;

    /// The first entries of `start..end` in key order, at most `entries`, and no more once they amount to `bytes`
    /// (but one if there is any). Each as it is at some moment of the call.
    fn page(
        &self,
        start: &[u8],
        end: &[u8],
        entries: usize,
        bytes: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        take_page(self.scan(start, end), entries, bytes)
    }

    /// Whether `start..end` holds no entry.
    fn is_empty(&self, start: &[u8], end: &[u8]) -> Result<bool, Error> {
        Ok(self.page(start, end, 1, usize::MAX)?.is_empty())
    }

    /// Deletes all entries of `start..end` and says how many there were. Not one change: a crash leaves a part.
    fn drop_range(&self, start: &[u8], end: &[u8]) -> Result<u64, Error> {
        drop_by_pages(self, start, end)
    }

    /// What it says of itself.
    fn stats(&self) -> Stats;

    /// Keys of damaged values that were met since this was asked last, each once; not all when they are many.
    fn take_damaged(&self) -> Vec<Bytes> {
        Vec::new()
    }

    /// Whether it forgets everything when its process ends. Then writing is quick, and push and sync do nothing.
    fn is_volatile(&self) -> bool {
        false
    }
}

const DROP_PAGE_ENTRIES: usize = 1024;
const DROP_PAGE_BYTES: usize = 4 << 20;

/// Deletes the entries of a range as any engine can.
pub fn drop_by_pages<B: Backend + ?Sized>(
    backend: &B,
    start: &[u8],
    end: &[u8],
) -> Result<u64, Error> {
    let mut dropped = 0;
    loop {
        let page = backend.page(start, end, DROP_PAGE_ENTRIES, DROP_PAGE_BYTES)?;
        if page.is_empty() {
            return Ok(dropped);
        }
        dropped += page.len() as u64;
        let ops = page.into_iter().map(|(key, _)| Op::Delete(key)).collect();
        backend.apply(&Batch { ops })?;
    }
}

/// The first entries of a scan, bounded as [`Backend::page`] says.
pub fn take_page(
    scan: impl Iterator<Item = Result<(Bytes, Bytes), Error>>,
    entries: usize,
    bytes: usize,
) -> Result<Vec<(Bytes, Bytes)>, Error> {
    let mut page = Vec::new();
    let mut taken = 0usize;
    for entry in scan.take(entries) {
        let (key, value) = entry?;
        taken = taken.saturating_add(key.len() + value.len());
        page.push((key, value));
        if taken >= bytes {
            break;
        }
    }
    Ok(page)
}

/// The engines there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BackendKind {
    /// Gone when the process ends.
    Memory,
    /// sled 0.34.
    Sled,
    /// fjall 3, the durable default.
    Fjall,
}

impl BackendKind {
    /// All of them.
    pub const ALL: [BackendKind; 3] = [BackendKind::Memory, BackendKind::Sled, BackendKind::Fjall];

    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            BackendKind::Memory => "memory",
            BackendKind::Sled => "sled",
            BackendKind::Fjall => "fjall",
        }
    }
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// There is no backend of that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("storage.backend must be `memory`, `sled` or `fjall`, not `{0}`")]
pub struct NotABackend(pub String);

impl FromStr for BackendKind {
    type Err = NotABackend;
    fn from_str(name: &str) -> Result<BackendKind, NotABackend> {
        let mut all = BackendKind::ALL.into_iter();
        all.find(|kind| kind.as_str() == name)
            .ok_or_else(|| NotABackend(name.to_owned()))
    }
}
