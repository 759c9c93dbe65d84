//! This file answers: what survives a crash?
//!
//! A write is queued, then applied (it has left the process), then synced. A kill loses what is queued, after a prefix
//! of it has made its way; a power cut also loses what was not synced, after a prefix. A volatile disk loses all. How jobs land is
//! up to [`Landing`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use rkv_storage::{Awaited, Batch, Done, Error, Job, Op, Scan, Snapshot, Stats, Store};

use crate::sim::landing::{Group, Landing, Told};

/// What a node's disk does to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// The process dies.
    Kill,
    /// The machine dies.
    PowerCut,
    /// The disk is lost.
    Wiped,
}

struct Queued {
    batch: Batch,
    drop: Option<(Bytes, Bytes)>,
    sync: bool,
    told: Told,
}

#[derive(Default)]
struct State {
    applied: BTreeMap<Bytes, Bytes>,
    synced: BTreeMap<Bytes, Bytes>,
    unsynced: Vec<(Batch, Option<(Bytes, Bytes)>)>,
    queue: VecDeque<Queued>,
    /// What has landed together, until all are told.
    untold: Option<Group>,
}

/// What landed together.
pub struct Landed {
    /// How many copies are to be told of theirs together.
    pub copies: usize,
    /// Whether it could not be synced: all of it has failed, though it may be there.
    pub has_failed: bool,
}

/// One node's disk.
pub struct SimDisk {
    volatile: bool,
    state: Mutex<State>,
    /// Called for each job that is queued, so that the world completes it later.
    wake: Mutex<Arc<dyn Fn() + Send + Sync>>,
}

impl SimDisk {
    /// An empty disk.
    pub fn new(volatile: bool) -> SimDisk {
        SimDisk {
            volatile,
            state: Mutex::default(),
            wake: Mutex::new(Arc::new(|| {})),
        }
    }

    /// From now on `wake` is called for each job that is queued.
    pub fn wake(&self, wake: Arc<dyn Fn() + Send + Sync>) {
        *self.wake.lock() = wake;
    }

    /// Whether every crash loses all.
    pub fn is_forgetful(&self) -> bool {
        self.volatile
    }

    /// Applies the oldest job, and reports it done.
    pub fn complete_one(&self) {
        let mut state = self.state.lock();
        let Some(job) = state.queue.pop_front() else {
            return;
        };
        apply(&mut state.applied, &job.batch, job.drop.as_ref());
        state.unsynced.push((job.batch, job.drop));
        if job.sync {
            sync(&mut state);
        }
        drop(state);
        job.told.tell(Ok(()));
    }

    /// Applies all that is queued as one group, and syncs it if that is asked for, or `fails` to. None, if nothing is queued or
    /// a group is not told yet.
    pub fn land_all(&self, landing: Landing, fails: bool) -> Option<Landed> {
        let mut state = self.state.lock();
        if state.untold.is_some() || state.queue.is_empty() {
            return None;
        }
        let mut syncs = landing == Landing::Synced;
        let mut told = Vec::new();
        for job in std::mem::take(&mut state.queue) {
            apply(&mut state.applied, &job.batch, job.drop.as_ref());
            state.unsynced.push((job.batch, job.drop));
            syncs |= job.sync;
            told.push(job.told);
        }
        let has_failed = syncs && fails;
        let result = match has_failed {
            true => Err(Error::Broken("it could not be synced".to_owned())),
            false => Ok(()),
        };
        if syncs && !has_failed {
            sync(&mut state);
        }
        let group = Group { told, result };
        let copies = group.copies();
        state.untold = Some(group);
        Some(Landed { copies, has_failed })
    }

    /// Tells all that landed together.
    pub fn tell_landed(&self) {
        let untold = self.state.lock().untold.take();
        if let Some(group) = untold {
            group.tell();
        }
    }

    /// Whether something has landed that nobody was told of.
    pub fn is_untold(&self) -> bool {
        self.state.lock().untold.is_some()
    }

    /// Whether something waits.
    pub fn is_queued(&self) -> bool {
        !self.state.lock().queue.is_empty()
    }

    /// The periodic sync of the `batch` durability.
    pub fn sync_all(&self) {
        sync(&mut self.state.lock());
    }

    /// The node crashes; `survivors` draws how many of `n` writes on their way still made it.
    pub fn crash(&self, how: Crash, mut survivors: impl FnMut(usize) -> usize) {
        let mut state = self.state.lock();
        if self.volatile || how == Crash::Wiped {
            *state = State::default();
            return;
        }
        state.untold = None;
        let queued: Vec<Queued> = state.queue.drain(..).collect();
        let landed = survivors(queued.len());
        for job in queued.into_iter().take(landed) {
            apply(&mut state.applied, &job.batch, job.drop.as_ref());
            state.unsynced.push((job.batch, job.drop));
        }
        if how == Crash::PowerCut {
            let kept = survivors(state.unsynced.len());
            let unsynced = std::mem::take(&mut state.unsynced);
            for (batch, drop) in unsynced.into_iter().take(kept) {
                apply(&mut state.synced, &batch, drop.as_ref());
            }
            state.applied = state.synced.clone();
        }
    }

    /// What was there once is put back, whatever came since.
    pub fn put_back(&self, entries: BTreeMap<Bytes, Bytes>) {
        *self.state.lock() = State {
            synced: entries.clone(),
            applied: entries,
            ..State::default()
        };
    }

    /// What is readable there now, crash or not.
    pub fn entries(&self) -> BTreeMap<Bytes, Bytes> {
        self.state.lock().applied.clone()
    }

    /// Reads one entry as a power cut would leave it.
    pub fn synced_entry(&self, key: &[u8]) -> Option<Bytes> {
        self.state.lock().synced.get(key).cloned()
    }

    /// Reads one entry.
    pub fn entry(&self, key: &[u8]) -> Option<Bytes> {
        self.state.lock().applied.get(key).cloned()
    }
}

fn sync(state: &mut State) {
    for (batch, drop) in std::mem::take(&mut state.unsynced) {
        apply(&mut state.synced, &batch, drop.as_ref());
    }
}

fn apply(map: &mut BTreeMap<Bytes, Bytes>, batch: &Batch, drop: Option<&(Bytes, Bytes)>) {
    if let Some((start, end)) = drop {
        let gone: Vec<Bytes> = map
            .range(start.clone()..end.clone())
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            map.remove(&key);
        }
    }
    for op in &batch.ops {
        match op {
            Op::Put(key, value) => {
                map.insert(key.clone(), value.clone());
            }
            Op::Delete(key) => {
                map.remove(key);
            }
        }
    }
}

impl Store for SimDisk {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        Ok(self.state.lock().applied.get(key).cloned())
    }

    fn page(
        &self,
        start: &[u8],
        end: &[u8],
        entries: usize,
        _: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let state = self.state.lock();
        let (start, end) = (Bytes::copy_from_slice(start), Bytes::copy_from_slice(end));
        let range = state.applied.range(start..end).take(entries);
        Ok(range.map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    fn apply(&self, batch: &Batch) -> Result<(), Error> {
        let mut state = self.state.lock();
        apply(&mut state.applied, batch, None);
        if !self.volatile {
            state.unsynced.push((batch.clone(), None));
        }
        Ok(())
    }

    fn drop_now(&self, start: &[u8], end: &[u8]) -> Result<(), Error> {
        let range = (Bytes::copy_from_slice(start), Bytes::copy_from_slice(end));
        let mut state = self.state.lock();
        apply(&mut state.applied, &Batch::default(), Some(&range));
        Ok(())
    }

    fn submit(&self, job: Job) {
        self.enqueue(job.batch, None, job.sync, Told::Done(job.done));
    }

    fn submit_awaited(&self, batch: Batch, awaited: Awaited) {
        self.enqueue(batch, None, false, Told::Awaited(awaited));
    }

    fn drop_range(&self, start: Bytes, end: Bytes, done: Done) {
        let range = Some((start, end));
        self.enqueue(Batch::default(), range, false, Told::Done(done));
    }

    fn scan(&self, start: &[u8], end: &[u8]) -> Scan {
        let page = self.page(start, end, usize::MAX, usize::MAX);
        Box::new(page.unwrap_or_default().into_iter().map(Ok))
    }

    fn snapshot(&self, start: Bytes, end: Bytes, done: Snapshot) {
        done(Ok(self.scan(&start, &end)));
    }

    fn sync(&self, done: Done) {
        self.enqueue(Batch::default(), None, true, Told::Done(done));
    }

    fn stats(&self) -> Stats {
        Stats::default()
    }

    fn close(&self) -> Result<(), Error> {
        Ok(())
    }

    fn is_volatile(&self) -> bool {
        self.volatile
    }
}

impl SimDisk {
    fn enqueue(&self, batch: Batch, drop: Option<(Bytes, Bytes)>, sync: bool, told: Told) {
        self.state.lock().queue.push_back(Queued {
            batch,
            drop,
            sync,
            told,
        });
        let wake = self.wake.lock().clone();
        wake();
    }
}
