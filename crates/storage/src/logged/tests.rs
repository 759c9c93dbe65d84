use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use super::*;
use crate::order::{Space, StoreKey};

/// Small enough that a test fills many.
const SMALL: u64 = 4 << 10;

/// An engine that outlives who has it, as a disk does; it fails, or waits, when told to.
#[derive(Clone, Default)]
struct Disk(Arc<State>);

#[derive(Default)]
struct State {
    held: Memory,
    fails: AtomicBool,
    stopped: Mutex<bool>,
    go_on: Condvar,
    batches: AtomicUsize,
}

impl Disk {
    fn stop(&self, stopped: bool) {
        *self.0.stopped.lock() = stopped;
        self.0.go_on.notify_all();
    }

    fn fail(&self, fails: bool) {
        self.0.fails.store(fails, Ordering::Relaxed);
    }
}

impl Backend for Disk {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.0.held.get(key)
    }

    fn apply(&self, batch: &Batch) -> Result<(), Error> {
        let mut stopped = self.0.stopped.lock();
        while *stopped {
            self.0.go_on.wait(&mut stopped);
        }
        self.0.batches.fetch_add(1, Ordering::Relaxed);
        match self.0.fails.load(Ordering::Relaxed) {
            true => Err(Error::Broken("told to".to_owned())),
            false => self.0.held.apply(batch),
        }
    }

    fn push(&self) -> Result<(), Error> {
        Ok(())
    }

    fn sync(&self) -> Result<(), Error> {
        Ok(())
    }

    fn scan(&self, start: &[u8], end: &[u8]) -> Scan {
        self.0.held.scan(start, end)
    }

    fn page(
        &self,
        start: &[u8],
        end: &[u8],
        entries: usize,
        bytes: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        self.0.held.page(start, end, entries, bytes)
    }

    fn stats(&self) -> Stats {
        self.0.held.stats()
    }
}

fn open(disk: &Disk, dir: &Path) -> Logged<Disk> {
    Logged::with_logs_of(SMALL, disk.clone(), dir).unwrap()
}

fn key(n: u64) -> Bytes {
    let slot = (n * 97 % 200) as u16;
    StoreKey::entry(Space::Data, 1, slot, 0, &n.to_be_bytes())
}

fn put(logged: &Logged<Disk>, n: u64, value: &str) -> Result<(), Error> {
    let mut batch = Batch::default();
    batch.put(key(n), Bytes::from(value.to_owned()));
    logged.apply(&batch)
}

fn random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
    *seed >> 33
}

fn pages(logged: &Logged<Disk>, start: &[u8], end: &[u8], entries: usize) -> Vec<(Bytes, Bytes)> {
    let mut all: Vec<(Bytes, Bytes)> = Vec::new();
    loop {
        let from = all
            .last()
            .map_or(Bytes::copy_from_slice(start), |(last, _)| after(last));
        let page = logged.page(&from, end, entries, 300).unwrap();
        assert!(page.len() <= entries);
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

fn is_as(logged: &Logged<Disk>, model: &BTreeMap<Bytes, Bytes>) {
    let (start, end) = (Bytes::new(), Bytes::from_static(&[9]));
    assert_eq!(pages(logged, &start, &end, usize::MAX).len(), model.len());
    for slots in [0..=199, 20..=90] {
        let (start, end) = StoreKey::range(Space::Data, 1, slots);
        let range = model.range(start.clone()..end.clone());
        let expected: Vec<_> = range.map(|(k, v)| (k.clone(), v.clone())).collect();
        let scanned: Result<Vec<_>, Error> = logged.scan(&start, &end).collect();
        assert_eq!(scanned.unwrap(), expected);
        for entries in [1, 7, usize::MAX] {
            assert_eq!(pages(logged, &start, &end, entries), expected);
        }
        let at_once = logged.page(&start, &end, usize::MAX, usize::MAX).unwrap();
        assert_eq!(at_once, expected);
        assert_eq!(logged.is_empty(&start, &end).unwrap(), expected.is_empty());
    }
    for n in 0..300 {
        assert_eq!(logged.get(&key(n)).unwrap().as_ref(), model.get(&key(n)));
    }
}

/// Lost without it: a read that finds what was there before, or what was deleted, because of where it lies by now.
#[test]
fn reads_find_what_was_written_last_wherever_it_lies() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), Disk::default());
    let mut seed = 5;
    let mut model = BTreeMap::new();
    for life in 0..4 {
        let logged = open(&disk, dir.path());
        for turn in 0..20 {
            // Half of the time a sealed table stays where it is while others look.
            let stops = turn % 2 == 0 && logged.shared.tables.read().sealed.is_none();
            disk.stop(stops);
            let mut left = logged.shared.log_bytes as usize;
            while left > 200 && (!stops || logged.shared.tables.read().sealed.is_none()) {
                let mut batch = Batch::default();
                for _ in 0..random(&mut seed) % 4 {
                    let key = key(random(&mut seed) % 300);
                    if random(&mut seed).is_multiple_of(3) {
                        batch.delete(key.clone());
                        model.remove(&key);
                    } else {
                        let value = Bytes::from(vec![b'v'; random(&mut seed) as usize % 40]);
                        batch.put(key.clone(), value.clone());
                        model.insert(key, value);
                    }
                }
                logged.apply(&batch).unwrap();
                left -= batch.bytes().min(left);
            }
            is_as(&logged, &model);
        }
        disk.stop(false);
        if life % 2 == 0 {
            let (start, end) = StoreKey::range(Space::Data, 1, 30..=60);
            let before = model.len();
            model.retain(|key, _| *key < start || *key >= end);
            let dropped = logged.drop_range(&start, &end).unwrap();
            assert_eq!(dropped as usize, before - model.len());
            is_as(&logged, &model);
        }
        drop(logged);
        let engine: BTreeMap<_, _> = disk.scan(&[], &[9]).map(Result::unwrap).collect();
        assert_eq!(engine, model, "a clean end leaves all in the engine");
    }
}

/// Lost without it: a scan that begins between two tables misses entries, or shows what is written later.
#[test]
fn a_scan_stays_on_its_moment() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), Disk::default());
    let logged = open(&disk, dir.path());
    for n in 0..50 {
        put(&logged, n, "before").unwrap();
    }
    let (start, end) = StoreKey::range(Space::Data, 1, 0..=16383);
    let scan = logged.scan(&start, &end);
    for n in 0..300 {
        put(&logged, n, "after").unwrap();
    }
    let seen: Vec<_> = scan.map(Result::unwrap).collect();
    assert_eq!(seen.len(), 50);
    assert!(seen.iter().all(|(_, value)| value == "before"));
}

/// Copies what a crash at this moment would leave of the logs.
fn crash(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.path().join(entry.file_name())).unwrap();
    }
    to
}

/// Lost without it: acknowledged writes that no engine had yet when the process died.
#[test]
fn what_was_pushed_is_there_after_a_crash_at_any_moment() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let logged = open(&disk, dir.path());
    let mut seed = 9;
    for crash_at in 0..60u64 {
        // The engine stands still, so that logs and engine are copied as of one moment.
        let stopped = crash_at % 3 == 0;
        if stopped {
            logged.shared.wait_for_turn().unwrap();
            disk.stop(true);
        }
        let mut model = BTreeMap::new();
        while model.len() < 40 {
            let n = random(&mut seed) % 300;
            put(&logged, n, &crash_at.to_string()).unwrap();
            model.insert(key(n), crash_at.to_string());
            if stopped && logged.shared.tables.read().sealed.is_some() {
                break;
            }
        }
        logged.push().unwrap();
        if !stopped {
            logged.shared.wait_for_turn().unwrap();
        }
        let left = crash(dir.path());
        let engine = Disk::default();
        let all = disk.0.held.collect(&[], &[9]);
        let ops = all.into_iter().map(|(k, v)| crate::backend::Op::Put(k, v));
        let batch = Batch { ops: ops.collect() };
        engine.0.held.apply(&batch).unwrap();
        let again = open(&engine, left.path());
        for (key, value) in &model {
            assert_eq!(again.get(key).unwrap().unwrap(), *value.as_bytes());
        }
        let now: Vec<_> = logged.scan(&[], &[9]).map(Result::unwrap).collect();
        let then: Vec<_> = again.scan(&[], &[9]).map(Result::unwrap).collect();
        assert_eq!(then, now);
        disk.stop(false);
    }
}

/// Lost without it: a write is acknowledged though what was written before it is nowhere.
#[test]
fn after_a_failure_nothing_is_taken_until_it_is_opened_again() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), Disk::default());
    let logged = open(&disk, dir.path());
    disk.fail(true);
    let mut taken = 0;
    let refused = loop {
        match put(&logged, taken, "v").and_then(|()| logged.sync()) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, Error::Broken("told to".to_owned()));
    assert_eq!(put(&logged, 1_000, "v"), Err(refused.clone()));
    assert_eq!(
        (logged.push(), logged.sync()),
        (Err(refused.clone()), Err(refused))
    );
    drop(logged);
    assert!(Logged::with_logs_of(SMALL, disk.clone(), dir.path()).is_err());
    disk.fail(false);
    let again = open(&disk, dir.path());
    for n in 0..taken {
        assert_eq!(again.get(&key(n)).unwrap(), Some(Bytes::from("v")), "{n}");
    }
    assert_eq!(again.get(&key(1_000)).unwrap(), None);
}

/// Lost without it: each write of a key that is written over and over costs the engine one.
#[test]
fn the_engine_hears_of_each_key_once_a_log() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), Disk::default());
    let logged = open(&disk, dir.path());
    for _ in 0..10 * SMALL {
        put(&logged, 1, "v").unwrap();
    }
    drop(logged);
    let logs = 10 * SMALL as usize * 64 / SMALL as usize;
    assert!(disk.0.batches.load(Ordering::Relaxed) <= logs);
    let files = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(files, 1, "one file waits to be a log again");
}

fn log_of(dir: &Path, number: u64) -> PathBuf {
    let mut files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap());
    let is_it = |file: &std::fs::DirEntry| {
        let name = file.file_name().into_string().unwrap();
        name.starts_with(&format!("{number}.")) && name.ends_with(".log")
    };
    files.find(is_it).expect("it is there").path()
}

/// Lost without it: a start that goes on without what was acknowledged, though the log shows that it was there.
#[test]
fn a_log_that_has_rotted_does_not_open() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), Disk::default());
    let logged = open(&disk, dir.path());
    put(&logged, 1, "acknowledged").unwrap();
    logged.sync().unwrap();
    put(&logged, 2, "behind").unwrap();
    logged.push().unwrap();
    let left = crash(dir.path());
    let log = log_of(left.path(), 1);
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[30] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    let opened = Logged::with_logs_of(SMALL, Disk::default(), left.path());
    let error = opened.err().expect("it is damaged");
    assert!(matches!(error, Error::Corrupt(_)), "{error}");
    assert!(error.to_string().contains("log 1"), "{error}");
}

/// Lost without it: the second log of each life begins in a new file, and each of its syncs takes twice as long.
#[test]
fn the_second_log_finds_a_file_whose_blocks_are_there() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), Disk::default());
    std::fs::write(dir.path().join("0.draft"), "a crash left it").unwrap();
    let logged = open(&disk, dir.path());
    assert!(!dir.path().join("0.draft").exists());
    put(&logged, 0, "little").unwrap();
    logged.push().unwrap();
    assert_eq!(
        log::unused(dir.path()).unwrap(),
        2,
        "and no file but its log"
    );
    let spare = dir.path().join("0.spare");
    let prepared = || spare.metadata().is_ok_and(|file| file.len() == SMALL);
    let ends = Instant::now() + Duration::from_secs(20);
    for n in 0..10 {
        put(&logged, n, &"v".repeat(100)).unwrap();
    }
    while !prepared() {
        assert!(Instant::now() < ends, "no file was prepared");
        std::thread::yield_now();
    }
    let mut n = 0;
    while spare.exists() {
        n += 1;
        put(&logged, n % 10, "v").unwrap();
    }
    let second = log_of(dir.path(), 2);
    assert_eq!(second.metadata().unwrap().len(), SMALL);
    logged.sync().unwrap();
    let left = crash(dir.path());
    let again = open(&disk, left.path());
    assert_eq!(again.get(&key(n % 10)).unwrap(), Some(Bytes::from("v")));
}
