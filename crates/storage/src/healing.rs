//! This file answers: what happens when the disk is full, or the engine gives up?
//!
//! Engines take a failed write for the end: fjall refuses all writes afterwards, sled all reads as well. So puts stop before
//! the disk is full (the reserve lets deletes go on, and the engine tidy up), and start again when there is space. And an
//! engine that failed all the same is closed and opened afresh, now and then until it works.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{MappedRwLockReadGuard, Mutex, RwLock, RwLockReadGuard};

use crate::backend::{Backend, Batch, Scan, Stats};
use crate::error::Error;

/// Puts stop when the disk has less than this left, or than its 16th if that is less. What two full logs hold goes into the
/// engine all the same, through its journal and into its tables.
pub const RESERVE_BYTES: u64 = 256 << 20;

/// How often free space is asked for, at least after [`LOOK_EVERY_BYTES`] more.
const LOOK_EVERY: Duration = Duration::from_millis(100);

const LOOK_EVERY_BYTES: u64 = 4 << 20;

/// How long a broken engine is left alone before it is opened afresh.
const REOPEN_EVERY: Duration = Duration::from_secs(1);

/// Free and total bytes of the disk; `None`: unknown, as if there were plenty.
pub type Space = Box<dyn Fn() -> Option<(u64, u64)> + Send + Sync>;

/// Of the disk that `dir` lies on.
pub(crate) fn space(dir: &Path) -> Option<(u64, u64)> {
    let disk = nix::sys::statvfs::statvfs(dir).ok()?;
    let block = disk.fragment_size();
    Some((disk.blocks_available() * block, disk.blocks() * block))
}

/// How much of a disk of `total` bytes puts leave alone.
pub(crate) fn reserve(total: u64) -> u64 {
    RESERVE_BYTES.min(total / 16)
}

/// Opens the engine.
pub type Opener = Box<dyn Fn() -> Result<Box<dyn Backend>, Error> + Send + Sync>;

/// An engine that is closed and opened afresh when it fails.
pub struct Healing {
    engine: RwLock<Option<Box<dyn Backend>>>,
    opener: Opener,
    space: Space,
    is_broken: AtomicBool,
    /// Counts the engines; changes only under the write lock.
    generation: AtomicU64,
    /// The engine that took the first write since the last push; 0: none. Another engine's push says nothing of it.
    unpushed: AtomicU64,
    trouble: Mutex<Trouble>,
    room: Mutex<Room>,
}

#[derive(Default)]
struct Trouble {
    what: String,
    last_try: Option<Instant>,
}

#[derive(Default)]
struct Room {
    looked: Option<Instant>,
    written: u64,
    full: bool,
}

impl Healing {
    /// Opens the engine.
    pub fn open(opener: Opener, space: Space) -> Result<Healing, Error> {
        let engine = opener()?;
        Ok(Healing {
            engine: RwLock::new(Some(engine)),
            opener,
            space,
            is_broken: AtomicBool::new(false),
            generation: AtomicU64::new(1),
            unpushed: AtomicU64::new(0),
            trouble: Mutex::default(),
            room: Mutex::default(),
        })
    }

    fn engine(&self) -> Result<MappedRwLockReadGuard<'_, Box<dyn Backend>>, Error> {
        if self.is_broken.load(Ordering::Relaxed) {
            self.reopen();
        }
        match RwLockReadGuard::try_map(self.engine.read(), Option::as_ref) {
            Ok(engine) => Ok(engine),
            Err(none) => {
                // Whoever opens it afresh holds the trouble and waits for readers to go.
                drop(none);
                Err(Error::Broken(self.trouble.lock().what.clone()))
            }
        }
    }

    fn engine_to_write(&self) -> Result<MappedRwLockReadGuard<'_, Box<dyn Backend>>, Error> {
        let engine = self.engine()?;
        let generation = self.generation.load(Ordering::Relaxed);
        let _ = self
            .unpushed
            .compare_exchange(0, generation, Ordering::Relaxed, Ordering::Relaxed);
        Ok(engine)
    }

    fn engine_to_push(&self) -> Result<MappedRwLockReadGuard<'_, Box<dyn Backend>>, Error> {
        let engine = self.engine()?;
        let wrote = self.unpushed.swap(0, Ordering::Relaxed);
        if wrote != 0 && wrote != self.generation.load(Ordering::Relaxed) {
            drop(engine);
            return Err(Error::Broken(
                "the engine failed before these writes had left it".to_owned(),
            ));
        }
        Ok(engine)
    }

    fn reopen(&self) {
        let mut trouble = self.trouble.lock();
        let rested = trouble
            .last_try
            .is_none_or(|at| at.elapsed() >= REOPEN_EVERY);
        if !rested || !self.is_broken.load(Ordering::Relaxed) {
            return;
        }
        trouble.last_try = Some(Instant::now());
        let mut engine = self.engine.write();
        // The old one goes first: it holds the folder's lock. It may panic once more.
        let old = engine.take();
        let _ = catch_unwind(AssertUnwindSafe(move || drop(old)));
        match (self.opener)() {
            Ok(fresh) => {
                *engine = Some(fresh);
                self.generation.fetch_add(1, Ordering::Relaxed);
                self.is_broken.store(false, Ordering::Relaxed);
                tracing::info!("storage was opened afresh after: {}", trouble.what);
            }
            Err(error) => trouble.what = error.to_string(),
        }
    }

    /// Engines panic where they find what they did not expect: that is a failure like others. `call` owns its hold on the
    /// engine: who opens that afresh waits for it, with the trouble in hand that is told here.
    fn watch<T>(&self, call: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let result = catch_unwind(AssertUnwindSafe(call))
            .unwrap_or_else(|_| Err(Error::Broken("the engine panicked".to_owned())));
        if let Err(Error::Broken(what)) = &result
            && !self.is_broken.swap(true, Ordering::Relaxed)
        {
            let mut trouble = self.trouble.lock();
            trouble.what.clone_from(what);
            trouble.last_try = Some(Instant::now());
            tracing::error!("storage failed and will be opened afresh: {what}");
        }
        result
    }

    /// Refuses puts while the disk is as good as full.
    fn make_room(&self, batch: &Batch) -> Result<(), Error> {
        if !batch.has_puts() {
            return Ok(());
        }
        let mut room = self.room.lock();
        room.written += batch.bytes() as u64;
        let fresh = room.looked.is_some_and(|at| at.elapsed() < LOOK_EVERY);
        if !fresh || room.written >= LOOK_EVERY_BYTES {
            room.looked = Some(Instant::now());
            room.written = 0;
            let full = (self.space)().is_some_and(|(free, total)| free < reserve(total));
            if full != room.full {
                match full {
                    true => tracing::warn!("the disk is full: no puts until there is space"),
                    false => tracing::info!("the disk has space again"),
                }
            }
            room.full = full;
        }
        if room.full { Err(Error::Full) } else { Ok(()) }
    }
}

impl Backend for Healing {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let engine = self.engine()?;
        self.watch(move || engine.get(key))
    }

    fn expect(&self, keys: &[&Bytes]) {
        if let Ok(engine) = self.engine() {
            engine.expect(keys);
        }
    }

    fn apply(&self, batch: &Batch) -> Result<(), Error> {
        self.make_room(batch)?;
        let engine = self.engine_to_write()?;
        self.watch(move || engine.apply(batch))
    }

    fn push(&self) -> Result<(), Error> {
        self.watch(|| self.engine_to_push().and_then(|engine| engine.push()))
    }

    fn sync(&self) -> Result<(), Error> {
        self.watch(|| self.engine_to_push().and_then(|engine| engine.sync()))
    }

    fn scan(&self, start: &[u8], end: &[u8]) -> Scan {
        match self.engine() {
            Ok(engine) => engine.scan(start, end),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }

    fn page(
        &self,
        start: &[u8],
        end: &[u8],
        entries: usize,
        bytes: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let engine = self.engine()?;
        self.watch(move || engine.page(start, end, entries, bytes))
    }

    fn drop_range(&self, start: &[u8], end: &[u8]) -> Result<u64, Error> {
        let engine = self.engine_to_write()?;
        self.watch(move || engine.drop_range(start, end))
    }

    fn take_damaged(&self) -> Vec<Bytes> {
        self.engine()
            .map(|engine| engine.take_damaged())
            .unwrap_or_default()
    }

    fn stats(&self) -> Stats {
        self.engine()
            .map(|engine| engine.stats())
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;
    use std::sync::Arc;

    fn put(key: &'static str) -> Batch {
        let mut batch = Batch::default();
        batch.put(Bytes::from(key), Bytes::from("v"));
        batch
    }

    /// Lost without it: a full disk ends the engine, or the node stays read-only when there is space again.
    #[test]
    fn a_full_disk_refuses_puts_and_clears_by_itself() {
        let free = Arc::new(AtomicU64::new(1 << 40));
        let seen = Arc::clone(&free);
        let healing = Healing::open(
            Box::new(|| Ok(Box::new(Memory::new()))),
            Box::new(move || Some((seen.load(Ordering::Relaxed), 1 << 40))),
        )
        .unwrap();
        healing.apply(&put("a")).unwrap();
        free.store(1 << 20, Ordering::Relaxed);
        let until = |full: bool| {
            while (healing.apply(&put("b")) == Err(Error::Full)) != full {
                std::thread::yield_now();
            }
        };
        until(true);
        assert_eq!(healing.get(b"a").unwrap(), Some(Bytes::from("v")));
        let mut deletes = Batch::default();
        deletes.delete(Bytes::from("a"));
        healing.apply(&deletes).unwrap();
        assert_eq!(healing.get(b"a").unwrap(), None);
        free.store(1 << 40, Ordering::Relaxed);
        until(false);
    }

    /// Fails at writes while it is told to, and panics at one key, as an engine does on a page that makes no sense.
    struct Failing(Memory, Arc<AtomicBool>);

    impl Backend for Failing {
        fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
            assert_ne!(key, b"bad");
            self.0.get(key)
        }
        fn apply(&self, batch: &Batch) -> Result<(), Error> {
            match self.1.load(Ordering::Relaxed) {
                true => Err(Error::Broken("no space left on device".into())),
                false => self.0.apply(batch),
            }
        }
        fn push(&self) -> Result<(), Error> {
            Ok(())
        }
        fn sync(&self) -> Result<(), Error> {
            Ok(())
        }
        fn scan(&self, start: &[u8], end: &[u8]) -> Scan {
            self.0.scan(start, end)
        }
        fn stats(&self) -> Stats {
            self.0.stats()
        }
    }

    /// Lost without it: an engine's panic ends the thread that reads or writes, and with it the node.
    #[test]
    fn an_engine_that_panics_is_opened_afresh() {
        let opener: Opener = Box::new(|| Ok(Box::new(Failing(Memory::new(), Arc::default()))));
        let healing = Healing::open(opener, Box::new(|| None)).unwrap();
        assert!(matches!(healing.get(b"bad"), Err(Error::Broken(_))));
        healing.apply(&put("k")).unwrap();
        // Nothing is left of the first engine: so it was another that took this.
        while healing.get(b"k").unwrap().is_some() {
            std::thread::yield_now();
        }
        healing.apply(&put("k")).unwrap();
        assert_eq!(healing.get(b"k").unwrap(), Some(Bytes::from("v")));
    }

    /// Lost without it: one failed write, and the node stores nothing until somebody restarts it.
    #[test]
    fn a_broken_engine_is_opened_afresh() {
        let failing = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&failing);
        let opener: Opener =
            Box::new(move || Ok(Box::new(Failing(Memory::new(), Arc::clone(&flag)))));
        let healing = Healing::open(opener, Box::new(|| None)).unwrap();
        healing.apply(&put("a")).unwrap();
        failing.store(true, Ordering::Relaxed);
        assert!(matches!(healing.apply(&put("b")), Err(Error::Broken(_))));
        assert_eq!(healing.get(b"a").unwrap(), Some(Bytes::from("v")));
        failing.store(false, Ordering::Relaxed);
        // Nothing is left of the first engine: so it was another that took this.
        while healing.get(b"a").unwrap().is_some() {
            std::thread::yield_now();
        }
        healing.apply(&put("c")).unwrap();
        assert_eq!(healing.get(b"c").unwrap(), Some(Bytes::from("v")));
    }
}
