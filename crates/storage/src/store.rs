//! This file answers: how does everybody else use the store?
//!
//! Reads go straight to the engine. Whatever changes something is a job: jobs are applied in the order in which they were
//! submitted, by whichever thread that is, and each says once how it went. A simulated disk implements the same trait.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;

use crate::backend::{Backend, Batch, Scan, Stats, take_page};
use crate::commit::Writer;
use crate::direct::Direct;
use crate::error::Error;
use crate::faults::Faults;

/// Told once how a job went, on the thread that carried it out: be brief, and do not wait for other jobs.
pub type Done = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// Told once, with a snapshot.
pub type Snapshot = Box<dyn FnOnce(Result<Scan, Error>) + Send>;

/// Whom to tell how many writes went, all at once that ended together.
pub trait Listener: Send + Sync {
    /// These have ended. Those of one writer are in the order in which they were submitted. Told on the thread that carried
    /// them out, as [`Done`] is.
    fn landed(&self, ended: Vec<Ended>);
}

/// A write whose end a [`Listener`] waits for.
pub struct Awaited {
    /// Whom to tell. Nobody, if it is gone.
    pub by: Weak<dyn Listener>,
    /// Whose write it is, as the listener knows it.
    pub of: u64,
    /// Its number among those.
    pub number: u64,
}

/// How an awaited write ended.
pub struct Ended {
    /// [`Awaited::of`]
    pub of: u64,
    /// [`Awaited::number`]
    pub number: u64,
    /// How.
    pub result: Result<(), Error>,
}

impl Awaited {
    /// Tells of this one alone.
    pub fn tell(self, result: Result<(), Error>) {
        if let Some(listener) = self.by.upgrade() {
            let Awaited { of, number, .. } = self;
            let ended = Ended { of, number, result };
            listener.landed(vec![ended]);
        }
    }
}

/// A batch on its way to the disk.
pub struct Job {
    /// What to change; an empty batch lands after all that was submitted before it.
    pub batch: Batch,
    /// Whether it, and all before it, must survive a power cut before it is done.
    pub sync: bool,
    /// Told how it went.
    pub done: Done,
}

/// A node's entries.
pub trait Store: Send + Sync + 'static {
    /// The value of `key`, as of the jobs applied so far.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error>;

    /// See [`Backend::look`].
    fn look(&self, key: &[u8], see: &mut dyn FnMut(Option<&[u8]>)) -> Result<(), Error> {
        see(self.get(key)?.as_deref());
        Ok(())
    }

    /// The entries of `start..end` in key order, as they are at the call.
    fn scan(&self, start: &[u8], end: &[u8]) -> Scan;

    /// The first entries of `start..end`; see [`Backend::page`].
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

    /// Queues a batch. Never blocks; a full queue answers [`Error::Busy`] at once.
    fn submit(&self, job: Job);

    /// The same of a batch without a wish of its own, whose end is told together with those of others.
    fn submit_awaited(&self, batch: Batch, awaited: Awaited) {
        self.submit(Job {
            batch,
            sync: false,
            done: Box::new(move |result| awaited.tell(result)),
        });
    }

    /// Queues the opening of a scan: it sees what was submitted before it, and nothing else.
    fn snapshot(&self, start: Bytes, end: Bytes, done: Snapshot);

    /// Queues the dropping of a range. Not one change: a crash may leave a part.
    fn drop_range(&self, start: Bytes, end: Bytes, done: Done);

    /// Queues a sync: when it is done, all that was submitted before it survives a power cut.
    fn sync(&self, done: Done);

    /// Applies a batch behind all that is queued, and waits for it. At once on a volatile store. On the thread that tells a
    /// [`Done`], which cannot wait: [`Error::Busy`], and nothing is done.
    fn apply(&self, batch: &Batch) -> Result<(), Error>;

    /// Drops a range behind all that is queued, and waits for it; else as [`Store::apply`].
    fn drop_now(&self, start: &[u8], end: &[u8]) -> Result<(), Error>;

    /// See [`Backend::expect`].
    fn expect(&self, keys: &[&Bytes]) {
        let _ = keys;
    }

    /// See [`Backend::take_damaged`].
    fn take_damaged(&self) -> Vec<Bytes> {
        Vec::new()
    }

    /// What the engine says of itself.
    fn stats(&self) -> Stats;

    /// Whether everything is forgotten when the process ends. Then each job is carried out, and done, before the call that
    /// submits it returns.
    fn is_volatile(&self) -> bool;

    /// Whether nothing is taken any more: it was closed, or whoever carries jobs out has panicked.
    fn has_ended(&self) -> bool {
        false
    }

    /// Carries out what is queued, syncs, and takes no more. The engine itself closes with the last handle to it.
    fn close(&self) -> Result<(), Error>;
}

/// What an acknowledged write survives. A job that asks for a sync has one at every level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Durability {
    /// Each group of jobs is synced before it is done.
    Always,
    /// Synced every interval.
    #[default]
    Batch,
    /// Left to the operating system.
    Os,
}

impl Durability {
    /// All of them.
    pub const ALL: [Durability; 3] = [Durability::Always, Durability::Batch, Durability::Os];

    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Durability::Always => "always",
            Durability::Batch => "batch",
            Durability::Os => "os",
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// There is no durability of that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("storage.durability must be `always`, `batch` or `os`, not `{0}`")]
pub struct NotADurability(pub String);

impl FromStr for Durability {
    type Err = NotADurability;
    fn from_str(name: &str) -> Result<Durability, NotADurability> {
        let mut all = Durability::ALL.into_iter();
        all.find(|level| level.as_str() == name)
            .ok_or_else(|| NotADurability(name.to_owned()))
    }
}

/// The store over `backend`: without a thread when it is volatile, else with the one writer. `sync_interval` is that of
/// [`Durability::Batch`].
pub fn start(
    backend: Arc<dyn Backend>,
    durability: Durability,
    sync_interval: Duration,
    faults: Faults,
) -> Result<Arc<dyn Store>, Error> {
    if backend.is_volatile() {
        return Ok(Arc::new(Direct::new(backend, faults)));
    }
    let writer = Writer::start(backend, durability, sync_interval, faults)?;
    Ok(Arc::new(writer))
}
