//! This file answers: where is a write until the engine on the disk has it?
//!
//! In a log, which is what a push and a sync are about, and in a table in memory, where reads look first. When a log is full its
//! table is sealed, another log begins with a table of its own, and a thread brings the sealed one into the engine: each key
//! once, however often it was written, and neighbours together. Then that log's file waits to be the next one's. An engine's own journal and
//! memory would cost each write several times as much, mostly for a place among some hundred thousand others.
//!
//! **Invariant:** what was applied is in the engine, synced, or in a log that is not retired. Logs are retired in their order, and a
//! log is synced before the next one begins. So after a crash the logs that are left, replayed in their order over the
//! engine, come to a beginning of what was applied, with all of it that was synced; where they show that they do not, it is not
//! opened.
//!
//! Whatever fails here fails for good, as a file whose sync has failed once may say later that all is well: nothing is
//! taken until it is opened afresh, which brings into the engine what the logs hold.
//!
//! Beside this file: `log` how batches stand in a file · `layers` what tables and engine amount to.

mod layers;
mod log;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, RwLock};

use crate::backend::{Backend, Batch, Op, Scan, Stats, drop_by_pages, take_page};
use crate::error::Error;
use crate::healing;
use crate::memory::Memory;
use crate::order::after;

use layers::{Laid, Over, lay_over, value};
use log::{Log, Name};

/// A log is full with so many bytes; two of that are replayed in a second or so.
pub const LOG_BYTES: u64 = 64 << 20;

/// A file for the second log is prepared when the first has this part of its bytes: who writes little needs none.
const PREPARE_FROM: u64 = 8;

/// The engine gets a sealed table in batches of about so many bytes.
const DRAIN_BYTES: usize = 1 << 20;

/// An engine behind a log.
pub struct Logged<B: Backend> {
    shared: Arc<Shared<B>>,
    /// Whether the file of the second log of this life was asked for.
    has_asked: AtomicBool,
    /// Who has it writes: nothing else is applied meanwhile.
    log: Mutex<Log>,
    /// Held over each sync, and taken before the log: of two at once one might hear of the other's failure in its stead.
    syncing: Mutex<()>,
    drain: Option<JoinHandle<()>>,
}

/// What the thread that brings tables into the engine shares.
struct Shared<B> {
    engine: B,
    dir: PathBuf,
    log_bytes: u64,
    /// Nobody waits for the log or for a turn who has it.
    tables: RwLock<Tables>,
    turn: Mutex<Turn>,
    turned: Condvar,
    /// Held by whoever writes to the engine.
    into_engine: Mutex<()>,
    /// Why nothing is taken any more.
    failed: Mutex<Option<Error>>,
}

/// What was applied and may not be in the engine. Under each key a value or that there is none, as the log puts it.
struct Tables {
    active: Arc<Memory>,
    /// Of the log before; on its way into the engine.
    sealed: Option<Arc<Memory>>,
}

#[derive(Default)]
struct Turn {
    /// The log whose table is sealed.
    sealed: Option<Name>,
    /// A file for the next log is to be prepared.
    wants_file: bool,
    is_closing: bool,
}

impl Tables {
    /// What is held under `key`: `None`: the engine knows.
    fn get(&self, key: &[u8]) -> Option<Option<Bytes>> {
        let copy = |held: &[u8]| log::value_of(held).map(Bytes::copy_from_slice);
        let sealed = || self.sealed.as_ref()?.seen(key, copy);
        self.active.seen(key, copy).or_else(sealed)
    }

    /// What is below first.
    fn upwards(&self) -> impl Iterator<Item = &Memory> {
        self.sealed
            .iter()
            .chain([&self.active])
            .map(|table| &**table)
    }
}

impl<B: Backend> Shared<B> {
    fn check(&self) -> Result<(), Error> {
        self.failed.lock().clone().map_or(Ok(()), Err)
    }

    /// From now on nothing is taken.
    fn fail(&self, error: &Error) -> Error {
        let what = match error {
            Error::Broken(what) => what.clone(),
            error => error.to_string(),
        };
        let failed = self
            .failed
            .lock()
            .get_or_insert(Error::Broken(what))
            .clone();
        // Taken, so that whoever looked before and waits now hears of it.
        let _turn = self.turn.lock();
        self.turned.notify_all();
        failed
    }

    fn fail_io(&self, error: &io::Error) -> Error {
        self.fail(&Error::from_io(error))
    }

    /// Brings a table into the engine, and retires its log.
    fn bring(&self, table: &Memory, log: Name) -> Result<(), Error> {
        let mut batch = Batch::default();
        let apply = |batch: &mut Batch| {
            let _mine = self.into_engine.lock();
            let applied = self.engine.apply(batch);
            batch.ops.clear();
            applied
        };
        let mut bytes = 0;
        for entries in table.by_slot() {
            for (key, held) in entries {
                bytes += key.len() + held.len();
                match value(&held) {
                    Some(value) => batch.put(key, value),
                    None => batch.delete(key),
                }
            }
            if bytes >= DRAIN_BYTES {
                apply(&mut batch)?;
                bytes = 0;
            }
        }
        apply(&mut batch)?;
        self.engine.sync()?;
        log::retire(&self.dir, log).map_err(|error| Error::from_io(&error))
    }

    /// Has the next log begin in a file whose blocks are there; not where that would take what puts need soon.
    fn prepare(&self) {
        let has_room = |(free, total)| free >= self.log_bytes + 2 * healing::reserve(total);
        if !healing::space(&self.dir).is_some_and(has_room) {
            return;
        }
        let goes_on = || {
            let turn = self.turn.lock();
            turn.sealed.is_none() && !turn.is_closing
        };
        if let Err(error) = log::prepare(&self.dir, self.log_bytes, goes_on) {
            tracing::warn!(%error, "no file could be prepared for the next log: its syncs will take longer");
        }
    }

    /// Brings each table that is sealed into the engine, until it closes or that fails.
    fn drain(&self) {
        loop {
            let sealed = {
                let mut turn = self.turn.lock();
                loop {
                    let sealed = turn.sealed;
                    if sealed.is_some() {
                        break sealed;
                    }
                    if turn.is_closing {
                        return;
                    }
                    if std::mem::take(&mut turn.wants_file) {
                        break None;
                    }
                    self.turned.wait(&mut turn);
                }
            };
            let Some(name) = sealed else {
                self.prepare();
                continue;
            };
            let table = self.tables.read().sealed.clone();
            let bring = || table.map_or(Ok(()), |table| self.bring(&table, name));
            let brought = catch_unwind(AssertUnwindSafe(bring))
                .unwrap_or_else(|_| Err(Error::Broken("the engine panicked".to_owned())));
            if let Err(error) = brought {
                tracing::error!(%error, "writes could not be brought from the log into the engine");
                self.fail(&error);
                return;
            }
            let emptied = self.tables.write().sealed.take();
            self.turn.lock().sealed = None;
            self.turned.notify_all();
            drop(emptied);
        }
    }

    /// Waits until no table is sealed.
    fn wait_for_turn(&self) -> Result<(), Error> {
        let mut turn = self.turn.lock();
        while turn.sealed.is_some() {
            self.check()?;
            self.turned.wait(&mut turn);
        }
        self.check()
    }
}

impl<B: Backend> Logged<B> {
    /// `engine` behind logs in `dir`. What they hold is in it when this returns.
    pub fn open(engine: B, dir: &Path) -> Result<Logged<B>, Error> {
        Logged::with_logs_of(LOG_BYTES, engine, dir)
    }

    /// The same with logs that are full sooner or later than with [`LOG_BYTES`].
    pub fn with_logs_of(log_bytes: u64, engine: B, dir: &Path) -> Result<Logged<B>, Error> {
        let from_io = |error: io::Error| Error::from_io(&error);
        log::make_folder(dir).map_err(from_io)?;
        log::forget_draft(dir);
        let left = log::left(dir).map_err(from_io)?;
        log::replay(dir, &left, |batch| engine.apply(batch))?;
        if !left.is_empty() {
            engine.sync()?;
        }
        for name in left {
            log::retire(dir, name).map_err(from_io)?;
        }
        let number = log::unused(dir).map_err(from_io)?;
        let log = Log::begin(dir, number).map_err(from_io)?;
        let tables = Tables {
            active: Arc::default(),
            sealed: None,
        };
        let shared = Arc::new(Shared {
            engine,
            dir: dir.to_owned(),
            log_bytes,
            tables: RwLock::new(tables),
            turn: Mutex::default(),
            turned: Condvar::new(),
            into_engine: Mutex::new(()),
            failed: Mutex::new(None),
        });
        let of_drain = Arc::clone(&shared);
        let drain = std::thread::Builder::new()
            .name("rkv-drain".to_owned())
            .spawn(move || of_drain.drain())
            .map_err(from_io)?;
        Ok(Logged {
            shared,
            has_asked: AtomicBool::new(false),
            log: Mutex::new(log),
            syncing: Mutex::new(()),
            drain: Some(drain),
        })
    }

    fn is_full(&self, log: &Log, batch: &Batch) -> bool {
        log.bytes() > 0 && log.bytes() + batch.bytes() as u64 > self.shared.log_bytes
    }

    /// The second log finds no file that was one before: it is asked for when there is enough to write for one.
    fn ask_for_file(&self, log: &Log) {
        let is_due = log.bytes() > self.shared.log_bytes / PREPARE_FROM;
        if is_due && !self.has_asked.swap(true, Ordering::Relaxed) {
            self.shared.turn.lock().wants_file = true;
            self.shared.turned.notify_all();
        }
    }

    /// Begins another log. Waits while the table before this one is on its way.
    fn seal(&self, log: &mut Log) -> Result<(), Error> {
        self.shared.wait_for_turn()?;
        let name = log.name();
        let begin = |log: &mut Log| -> io::Result<Log> {
            log.push()?;
            // Before anything is in the next one: else a crash might leave that and tear this.
            log.file().sync_data()?;
            log.next(&self.shared.dir)
        };
        *log = begin(log).map_err(|error| self.shared.fail_io(&error))?;
        let mut tables = self.shared.tables.write();
        tables.sealed = Some(std::mem::take(&mut tables.active));
        drop(tables);
        self.shared.turn.lock().sealed = Some(name);
        self.shared.turned.notify_all();
        Ok(())
    }

    /// A clean end leaves everything in the engine, as if there were no log.
    fn finish(&self) -> Result<(), Error> {
        self.sync()?;
        self.shared.wait_for_turn()?;
        let log = self.log.lock();
        let table = Arc::clone(&self.shared.tables.read().active);
        self.shared.bring(&table, log.name())
    }
}

impl<B: Backend> Backend for Logged<B> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let held = self.shared.tables.read().get(key);
        match held {
            Some(value) => Ok(value),
            None => self.shared.engine.get(key),
        }
    }

    /// Of the table that holds what was written last.
    fn expect(&self, keys: &[&Bytes]) {
        self.shared.tables.read().active.expect(keys);
    }

    fn apply(&self, batch: &Batch) -> Result<(), Error> {
        self.shared.check()?;
        let mut log = self.log.lock();
        if self.is_full(&log, batch) {
            drop(log);
            let _one = self.syncing.lock();
            log = self.log.lock();
            if self.is_full(&log, batch) {
                self.seal(&mut log)?;
            }
        }
        let table = Arc::clone(&self.shared.tables.read().active);
        if batch.ops.len() > 1 {
            // A large group's places are all fetched before the first is needed.
            let keys: Vec<&Bytes> = batch.ops.iter().map(Op::key).collect();
            table.expect(&keys);
        }
        log.add(batch, |key, held| table.put(key, held));
        if !self.has_asked.load(Ordering::Relaxed) {
            self.ask_for_file(&log);
        }
        Ok(())
    }

    fn push(&self) -> Result<(), Error> {
        self.shared.check()?;
        let pushed = self.log.lock().push();
        pushed.map_err(|error| self.shared.fail_io(&error))
    }

    /// What is applied meanwhile does not wait for the disk.
    fn sync(&self) -> Result<(), Error> {
        let _one = self.syncing.lock();
        self.push()?;
        // All before it is in this file or, of a log before, synced.
        let (file, pushed) = {
            let log = self.log.lock();
            (log.file(), log.pushed())
        };
        let synced = file.sync_data();
        synced.map_err(|error| self.shared.fail_io(&error))?;
        // No other log has begun meanwhile: that takes what is held here.
        self.log.lock().synced(pushed);
        Ok(())
    }

    fn scan(&self, start: &[u8], end: &[u8]) -> Scan {
        if start >= end {
            return Box::new(std::iter::empty());
        }
        // With the log in hand nothing is applied, and what is in the tables hides how much of it the engine has already.
        let _log = self.log.lock();
        let tables = self.shared.tables.read();
        let mut over = Over::new();
        for table in tables.upwards() {
            over.extend(table.collect(start, end));
        }
        Box::new(Laid::new(over, self.shared.engine.scan(start, end)))
    }

    fn page(
        &self,
        start: &[u8],
        end: &[u8],
        entries: usize,
        bytes: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let mut from = Bytes::copy_from_slice(start);
        let mut most = entries;
        // What the tables hide may be all that the engine's page has, though more follows.
        while most > 0 && *from < *end {
            let (page, upto) = self.part(&from, end, most, bytes)?;
            if !page.is_empty() {
                return take_page(page.into_iter().map(Ok), entries, bytes);
            }
            from = upto;
            most = most.saturating_mul(2);
        }
        Ok(Vec::new())
    }

    fn drop_range(&self, start: &[u8], end: &[u8]) -> Result<u64, Error> {
        let dropped = drop_by_pages(self, start, end)?;
        // What no page shows, because it is damaged.
        let _mine = self.shared.into_engine.lock();
        self.shared.engine.drop_range(start, end)?;
        Ok(dropped)
    }

    fn take_damaged(&self) -> Vec<Bytes> {
        self.shared.engine.take_damaged()
    }

    fn stats(&self) -> Stats {
        let engine = self.shared.engine.stats();
        let in_log = self.log.lock().bytes();
        let tables = self.shared.tables.read();
        let in_tables = || -> u64 { tables.upwards().filter_map(|t| t.stats().entries).sum() };
        Stats {
            bytes: engine.bytes + in_log,
            entries: engine.entries.map(|entries| entries + in_tables()),
            ..engine
        }
    }
}

impl<B: Backend> Logged<B> {
    /// What there is from `from` on up to a bound, and that bound: as far as each layer's page goes.
    fn part(
        &self,
        from: &Bytes,
        end: &[u8],
        entries: usize,
        bytes: usize,
    ) -> Result<(Vec<(Bytes, Bytes)>, Bytes), Error> {
        // Held over all layers: what goes down from one to the next meanwhile is seen in one of them.
        let tables = self.shared.tables.read();
        let mut page = self.shared.engine.page(from, end, entries, bytes)?;
        let mut upto = Bytes::copy_from_slice(end);
        if (entries, bytes) != (usize::MAX, usize::MAX)
            && let Some((last, _)) = page.last()
        {
            // A short page of a checked engine is not the last one: damaged entries are passed over.
            upto = after(last);
        }
        let mut over = Over::new();
        for table in tables.upwards() {
            let held = table.page(from, &upto, entries, bytes)?;
            let taken: usize = held.iter().map(|(key, held)| key.len() + held.len()).sum();
            if let Some((last, _)) = held.last()
                && (held.len() >= entries || taken >= bytes)
            {
                upto = after(last);
            }
            over.extend(held);
        }
        drop(tables);
        page.truncate(page.partition_point(|(key, _)| *key < upto));
        over.split_off(&upto);
        Ok((lay_over(page, over), upto))
    }
}

impl<B: Backend> Drop for Logged<B> {
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            tracing::error!(%error, "the last writes stay in the log");
        }
        self.shared.turn.lock().is_closing = true;
        self.shared.turned.notify_all();
        // It has told already why it ended, if it did.
        let _ = self.drain.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
#[path = "logged/tests.rs"]
mod tests;
