//! This file answers: how do many writers share one disk?
//!
//! One thread takes all that is queued, applies it in order (small batches as one), hands it to the operating system once,
//! syncs once if anybody needs it, and then completes all. So the price of a system call and of an fsync is shared by
//! whatever came in while the one before was under way. Where the sync is what takes the time, those who were told of the last one
//! are waited for a moment (`company`).

use std::collections::VecDeque;
use std::sync::mpsc;
use std::sync::{Arc, Weak};
use std::thread::{JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use crate::backend::{Backend, Batch, Scan, Stats};
use crate::company::{Company, Wait};
use crate::error::Error;
use crate::faults::Faults;
use crate::store::{Awaited, Done, Durability, Ended, Job, Listener, Snapshot, Store};

/// At most this many jobs wait; one more is answered with [`Error::Busy`].
pub const QUEUE_JOBS: usize = 65_536;

/// At most this many bytes wait, but always one job.
pub const QUEUE_BYTES: usize = 256 << 20;

/// One group takes at most this many jobs.
pub const GROUP_JOBS: usize = 1024;

/// One group takes no more once it amounts to this many bytes.
pub const GROUP_BYTES: usize = 16 << 20;

/// Batches are merged into one of the engine's up to this size.
const MERGE_BYTES: usize = 4 << 20;

enum Work {
    Write(Job),
    Awaited(Batch, Awaited),
    Drop(Bytes, Bytes, Done),
    Snapshot(Bytes, Bytes, Snapshot),
    Sync(Done),
}

impl Work {
    fn bytes(&self) -> usize {
        match self {
            Work::Write(Job { batch, .. }) | Work::Awaited(batch, _) => batch.bytes(),
            Work::Drop(..) | Work::Snapshot(..) | Work::Sync(_) => 0,
        }
    }

    /// Whom to tell that it failed. A snapshot's asker hears of failures only.
    fn failed(self, error: Error) -> Told {
        match self {
            Work::Write(job) => Told::Done(job.done, Err(error)),
            Work::Awaited(_, awaited) => Told::Awaited(awaited, Err(error)),
            Work::Drop(_, _, done) | Work::Sync(done) => Told::Done(done, Err(error)),
            Work::Snapshot(_, _, done) => {
                let done = Box::new(|result: Result<(), Error>| done(result.map(|()| nothing())));
                Told::Done(done, Err(error))
            }
        }
    }

    fn refuse(self, error: Error) {
        self.failed(error).tell(&Ok(()));
    }
}

fn nothing() -> Scan {
    Box::new(std::iter::empty())
}

#[derive(Default)]
struct Queue {
    work: VecDeque<(usize, Work)>,
    bytes: usize,
    is_closed: bool,
    /// The writer waits for so many; 0: it does not wait.
    awaited: usize,
}

impl Queue {
    /// Whether so many jobs are there, or as many bytes as one group takes.
    fn has(&self, jobs: usize) -> bool {
        self.work.len() >= jobs || self.bytes >= GROUP_BYTES
    }
}

#[derive(Default)]
struct Line {
    queue: Mutex<Queue>,
    arrived: Condvar,
}

impl Line {
    fn push(&self, work: Work) {
        let bytes = work.bytes();
        let refusal = {
            let mut queue = self.queue.lock();
            let is_full = queue.work.len() >= QUEUE_JOBS
                || (!queue.work.is_empty() && queue.bytes + bytes > QUEUE_BYTES);
            if queue.is_closed {
                Error::Closed
            } else if is_full {
                Error::Busy
            } else {
                queue.bytes += bytes;
                queue.work.push_back((bytes, work));
                if queue.awaited > 0 && queue.has(queue.awaited) {
                    queue.awaited = 0;
                    self.arrived.notify_one();
                }
                return;
            }
        };
        work.refuse(refusal);
    }

    /// How many wait.
    fn len(&self) -> usize {
        self.queue.lock().work.len()
    }

    /// Waits for work until `deadline`, then for as much of it as `wait` says. `None`: closed, and nothing is left.
    fn take(&self, deadline: Option<Instant>, wait: Option<Wait>) -> Option<Vec<Work>> {
        let mut queue = self.queue.lock();
        while queue.work.is_empty() {
            if queue.is_closed {
                return None;
            }
            queue.awaited = 1;
            match deadline {
                None => self.arrived.wait(&mut queue),
                Some(deadline) => {
                    if self.arrived.wait_until(&mut queue, deadline).timed_out() {
                        break;
                    }
                }
            }
        }
        if let Some(Wait { jobs, until }) = wait {
            while !queue.has(jobs) && !queue.is_closed {
                queue.awaited = jobs;
                if self.arrived.wait_until(&mut queue, until).timed_out() {
                    break;
                }
            }
        }
        queue.awaited = 0;
        let mut group = Vec::with_capacity(queue.work.len().min(GROUP_JOBS));
        let mut taken = 0;
        while group.len() < GROUP_JOBS && taken < GROUP_BYTES {
            let Some((bytes, work)) = queue.work.pop_front() else {
                break;
            };
            queue.bytes -= bytes;
            taken += bytes;
            group.push(work);
        }
        Some(group)
    }

    fn close(&self) {
        self.queue.lock().is_closed = true;
        self.arrived.notify_one();
    }
}

/// The store of a disk: reads go to the engine, jobs to its one thread.
pub struct Writer {
    line: Arc<Line>,
    backend: Arc<dyn Backend>,
    thread: Mutex<Option<JoinHandle<Result<(), Error>>>>,
    thread_id: ThreadId,
}

impl Writer {
    /// Starts the thread over `backend`.
    pub fn start(
        backend: Arc<dyn Backend>,
        durability: Durability,
        sync_interval: Duration,
        faults: Faults,
    ) -> Result<Writer, Error> {
        let line = Arc::new(Line::default());
        let mut committer = Committer {
            line: Arc::clone(&line),
            backend: Arc::clone(&backend),
            faults,
            durability,
            sync_interval,
            // What an earlier process wrote may still be on its way to the disk.
            unsynced_since: Some(Instant::now()),
            owes_sync: false,
            synced_in: None,
            company: Company::default(),
        };
        let thread = std::thread::Builder::new()
            .name("rkv-storage".to_owned())
            .spawn(move || committer.run())
            .map_err(|error| Error::Broken(format!("cannot start the writer: {error}")))?;
        Ok(Writer {
            line,
            backend,
            thread_id: thread.thread().id(),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Waits for a job's end. The completion of a job would wait for the writer that runs it, for ever: it is told to try
    /// again elsewhere.
    fn wait(&self, submit: impl FnOnce(Done)) -> Result<(), Error> {
        if std::thread::current().id() == self.thread_id {
            return Err(Error::Busy);
        }
        let (sender, receiver) = mpsc::channel();
        submit(Box::new(move |result| {
            // Nobody listens any more only if the caller is gone.
            let _ = sender.send(result);
        }));
        receiver.recv().unwrap_or(Err(Error::Closed))
    }
}

impl Store for Writer {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.backend.get(key)
    }

    fn scan(&self, start: &[u8], end: &[u8]) -> Scan {
        self.backend.scan(start, end)
    }

    fn page(
        &self,
        start: &[u8],
        end: &[u8],
        entries: usize,
        bytes: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        self.backend.page(start, end, entries, bytes)
    }

    fn expect(&self, keys: &[&Bytes]) {
        self.backend.expect(keys);
    }

    fn submit(&self, job: Job) {
        self.line.push(Work::Write(job));
    }

    fn submit_awaited(&self, batch: Batch, awaited: Awaited) {
        self.line.push(Work::Awaited(batch, awaited));
    }

    fn snapshot(&self, start: Bytes, end: Bytes, done: Snapshot) {
        self.line.push(Work::Snapshot(start, end, done));
    }

    fn drop_range(&self, start: Bytes, end: Bytes, done: Done) {
        self.line.push(Work::Drop(start, end, done));
    }

    fn sync(&self, done: Done) {
        self.line.push(Work::Sync(done));
    }

    fn apply(&self, batch: &Batch) -> Result<(), Error> {
        self.wait(|done| {
            let (batch, sync) = (batch.clone(), false);
            self.submit(Job { batch, sync, done });
        })
    }

    fn drop_now(&self, start: &[u8], end: &[u8]) -> Result<(), Error> {
        let (start, end) = (Bytes::copy_from_slice(start), Bytes::copy_from_slice(end));
        self.wait(|done| self.drop_range(start, end, done))
    }

    fn take_damaged(&self) -> Vec<Bytes> {
        self.backend.take_damaged()
    }

    fn stats(&self) -> Stats {
        self.backend.stats()
    }

    fn is_volatile(&self) -> bool {
        self.backend.is_volatile()
    }

    fn has_ended(&self) -> bool {
        self.line.queue.lock().is_closed
    }

    fn close(&self) -> Result<(), Error> {
        self.line.close();
        if std::thread::current().id() == self.thread_id {
            return Ok(());
        }
        match self.thread.lock().take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(Error::Broken("the writer panicked".to_owned())),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "the store did not close well");
        }
    }
}

/// The thread's side.
struct Committer {
    line: Arc<Line>,
    backend: Arc<dyn Backend>,
    faults: Faults,
    durability: Durability,
    sync_interval: Duration,
    /// When the oldest write was applied that is not known to be synced.
    unsynced_since: Option<Instant>,
    /// A sync in the background failed: the next group syncs, and is told.
    owes_sync: bool,
    /// How long the sync of the group under way took.
    synced_in: Option<Duration>,
    company: Company,
}

/// A job carried out, about to be told.
enum Told {
    Done(Done, Result<(), Error>),
    Awaited(Awaited, Result<(), Error>),
    /// Shares no batch's fate, only the group's.
    Synced(Done),
    Snapshot(Snapshot, Scan),
}

impl Told {
    /// Tells of this one alone; `landed` is how the group did.
    fn tell(self, landed: &Result<(), Error>) {
        match self {
            Told::Done(done, result) => done(result.and_then(|()| landed.clone())),
            Told::Awaited(awaited, result) => awaited.tell(result.and_then(|()| landed.clone())),
            Told::Synced(done) => done(landed.clone()),
            Told::Snapshot(done, scan) => done(Ok(scan)),
        }
    }
}

/// Ends that one listener is about to be told.
#[derive(Default)]
struct Together {
    by: Option<Weak<dyn Listener>>,
    ended: Vec<Ended>,
}

impl Together {
    fn add(&mut self, awaited: Awaited, result: Result<(), Error>) {
        let Awaited { by, of, number } = awaited;
        if !self.by.as_ref().is_some_and(|to| Weak::ptr_eq(to, &by)) {
            self.tell();
            self.by = Some(by);
        }
        self.ended.push(Ended { of, number, result });
    }

    fn tell(&mut self) {
        let listener = self.by.take().and_then(|by| by.upgrade());
        let ended = std::mem::take(&mut self.ended);
        if let Some(listener) = listener {
            listener.landed(ended);
        }
    }
}

/// A group being carried out.
#[derive(Default)]
struct Group {
    told: Vec<Told>,
    merged: Batch,
    merged_bytes: usize,
    merged_has_puts: bool,
    /// Where in `told` the jobs of `merged` begin.
    merged_from: usize,
    applied: bool,
    wants_sync: bool,
}

impl Committer {
    fn run(&mut self) -> Result<(), Error> {
        loop {
            let deadline = match (self.durability, self.unsynced_since) {
                (Durability::Batch, Some(since)) => Some(since + self.sync_interval),
                _ => None,
            };
            // At other levels a group syncs only when somebody asks for it.
            let wait = match self.durability {
                Durability::Always => self.company.wait(Instant::now()),
                Durability::Batch | Durability::Os => None,
            };
            let Some(group) = self.line.take(deadline, wait) else {
                break;
            };
            if !group.is_empty() {
                self.company.came(wait, group.len());
                self.commit(group);
            }
            // Anew: the group may have synced, or it may be the first since the last sync.
            let is_due = self.durability == Durability::Batch
                && self
                    .unsynced_since
                    .is_some_and(|since| since.elapsed() >= self.sync_interval);
            if is_due && let Err(error) = self.sync() {
                tracing::error!(%error, "writes could not be synced");
                self.owes_sync = true;
                // Tried again after another interval, or with the next group.
                self.unsynced_since = Some(Instant::now());
            }
        }
        self.sync()
    }

    fn commit(&mut self, work: Vec<Work>) {
        let mut group = Group {
            told: Vec::with_capacity(work.len()),
            ..Group::default()
        };
        let (began, jobs) = (Instant::now(), work.len());
        let fault = self.faults.check();
        for work in work {
            match (work, &fault) {
                (work @ Work::Snapshot(..), _) | (work, Ok(())) => self.carry_out(&mut group, work),
                (work, Err(error)) => group.told.push(work.failed(error.clone())),
            }
        }
        self.flush(&mut group);
        self.synced_in = None;
        let landed = self.land(&group);
        let in_flight = (jobs + self.line.len()).min(GROUP_JOBS);
        let mut together = Together::default();
        for told in group.told {
            match told {
                Told::Awaited(awaited, result) => {
                    together.add(awaited, result.and_then(|()| landed.clone()));
                }
                told => {
                    // Whoever is told: in the order in which they were submitted.
                    together.tell();
                    told.tell(&landed);
                }
            }
        }
        together.tell();
        let synced_in = self.synced_in.unwrap_or_default();
        let rest = began.elapsed().saturating_sub(synced_in);
        self.company.told(in_flight, synced_in, rest);
    }

    fn carry_out(&mut self, group: &mut Group, work: Work) {
        match work {
            Work::Snapshot(start, end, done) => {
                self.flush(group);
                let scan = self.backend.scan(&start, &end);
                group.told.push(Told::Snapshot(done, scan));
                group.merged_from = group.told.len();
            }
            Work::Write(Job { batch, sync, done }) => {
                self.write(group, batch);
                group.wants_sync |= sync;
                group.told.push(Told::Done(done, Ok(())));
            }
            Work::Awaited(batch, awaited) => {
                self.write(group, batch);
                group.told.push(Told::Awaited(awaited, Ok(())));
            }
            Work::Drop(start, end, done) => {
                self.flush(group);
                let result = self.backend.drop_range(&start, &end).map(|_| ());
                group.applied = true;
                group.told.push(Told::Done(done, result));
                group.merged_from = group.told.len();
            }
            Work::Sync(done) => {
                group.wants_sync = true;
                group.told.push(Told::Synced(done));
            }
        }
    }

    /// Takes a batch in; whom to tell of it is noted behind that.
    fn write(&self, group: &mut Group, batch: Batch) {
        let bytes = batch.bytes();
        let is_large = group.merged_bytes > 0 && group.merged_bytes + bytes > MERGE_BYTES;
        // A full disk refuses puts and takes deletes: these must not share the fate of those.
        let has_puts = batch.has_puts();
        let is_mixed = !group.merged.is_empty() && group.merged_has_puts != has_puts;
        if is_large || (is_mixed && !batch.is_empty()) {
            self.flush(group);
        }
        group.merged_bytes += bytes;
        if group.merged.is_empty() {
            group.merged_has_puts = has_puts;
            group.merged = batch;
        } else {
            group.merged.ops.extend(batch.ops);
        }
    }

    /// Applies what was merged; its jobs share its fate.
    fn flush(&self, group: &mut Group) {
        let merged = std::mem::take(&mut group.merged);
        let from = std::mem::replace(&mut group.merged_from, group.told.len());
        group.merged_bytes = 0;
        if merged.is_empty() {
            return;
        }
        group.applied = true;
        if let Err(error) = self.backend.apply(&merged) {
            for told in &mut group.told[from..] {
                if let Told::Done(_, result) | Told::Awaited(_, result) = told {
                    *result = Err(error.clone());
                }
            }
        }
    }

    /// What was applied leaves the process and, if it must, reaches the disk.
    fn land(&mut self, group: &Group) -> Result<(), Error> {
        if group.applied {
            self.unsynced_since.get_or_insert_with(Instant::now);
        }
        let wants_sync =
            group.wants_sync || self.owes_sync || self.durability == Durability::Always;
        if wants_sync {
            self.sync()
        } else if group.applied {
            self.backend.push()
        } else {
            Ok(())
        }
    }

    fn sync(&mut self) -> Result<(), Error> {
        if self.unsynced_since.is_some() {
            let began = Instant::now();
            self.backend.sync()?;
            self.synced_in = Some(began.elapsed());
            self.unsynced_since = None;
            self.owes_sync = false;
        }
        Ok(())
    }
}

impl Drop for Committer {
    /// Whether it ended or panicked: nothing that is queued waits for ever.
    fn drop(&mut self) {
        let left = {
            let mut queue = self.line.queue.lock();
            queue.is_closed = true;
            queue.bytes = 0;
            std::mem::take(&mut queue.work)
        };
        for (_, work) in left {
            work.refuse(Error::Closed);
        }
    }
}
