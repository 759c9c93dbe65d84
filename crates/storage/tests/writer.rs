//! The writer: order, groups, syncs and failures.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use rkv_storage::commit::{QUEUE_BYTES, QUEUE_JOBS};
use rkv_storage::memory::Memory;
use rkv_storage::{
    Awaited, Backend, BackendKind, Batch, DiskFault, Durability, Ended, Error, Faults, Job,
    Listener, Op, Scan, Stats, Store, open, start,
};

const NEVER: Duration = Duration::from_secs(3600);

/// A disk that notes what is asked of it, and can be stopped.
#[derive(Default)]
struct Disk {
    held: Memory,
    calls: Mutex<Vec<String>>,
    stopped: Mutex<bool>,
    go_on: Condvar,
    fails: AtomicBool,
    is_full: AtomicBool,
    waiting: AtomicUsize,
}

impl Disk {
    fn note(&self, call: String) -> Result<(), Error> {
        let mut stopped = self.stopped.lock();
        while *stopped {
            self.waiting.store(1, Ordering::SeqCst);
            self.go_on.wait(&mut stopped);
        }
        self.waiting.store(0, Ordering::SeqCst);
        self.calls.lock().push(call);
        match self.fails.load(Ordering::SeqCst) {
            true => Err(Error::Broken("it fails".to_owned())),
            false => Ok(()),
        }
    }

    fn stop(&self, stopped: bool) {
        *self.stopped.lock() = stopped;
        self.go_on.notify_all();
    }

    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock())
    }
}

/// The tests' handle to a disk, and the engine that the store has of it.
#[derive(Clone, Default)]
struct Handle(Arc<Disk>);

impl Backend for Handle {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.0.held.get(key)
    }
    fn apply(&self, batch: &Batch) -> Result<(), Error> {
        self.0.note(format!("apply {}", batch.ops.len()))?;
        if self.0.is_full.load(Ordering::SeqCst) && batch.has_puts() {
            return Err(Error::Full);
        }
        self.0.held.apply(batch)
    }
    fn push(&self) -> Result<(), Error> {
        self.0.note("push".to_owned())
    }
    fn sync(&self) -> Result<(), Error> {
        self.0.note("sync".to_owned())
    }
    fn scan(&self, start: &[u8], end: &[u8]) -> Scan {
        self.0.held.scan(start, end)
    }
    fn stats(&self) -> Stats {
        self.0.held.stats()
    }
}

fn store_over(disk: &Handle, durability: Durability) -> (Arc<dyn Store>, Faults) {
    let faults = Faults::default();
    let store = start(Arc::new(disk.clone()), durability, NEVER, faults.clone()).unwrap();
    (store, faults)
}

fn put(key: &str, value: &str) -> Batch {
    let (key, value) = (Bytes::from(key.to_owned()), Bytes::from(value.to_owned()));
    Batch {
        ops: [Op::Put(key, value)].into(),
    }
}

/// Where jobs say their names and how they went.
type Told = mpsc::Sender<(String, Result<(), Error>)>;

fn tell(told: &Told, name: &str) -> rkv_storage::Done {
    let (told, name) = (told.clone(), name.to_owned());
    Box::new(move |result| told.send((name, result)).unwrap())
}

fn submit(store: &dyn Store, told: &Told, name: &str, sync: bool) {
    store.submit(Job {
        batch: put(name, name),
        sync,
        done: tell(told, name),
    });
}

/// Stops the disk and has the writer wait in it with a first job, so that what follows is one group.
fn hold(disk: &Handle, store: &dyn Store, told: &Told) {
    disk.0.stop(true);
    submit(store, told, "first", false);
    while disk.0.waiting.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
}

/// Lost without it: an fsync for each write where one would do for all that wait, or completions out of order.
#[test]
fn what_waits_is_one_group() {
    let disk = Handle::default();
    let (store, _) = store_over(&disk, Durability::Os);
    let (told, heard) = mpsc::channel();
    hold(&disk, &*store, &told);
    let names: Vec<String> = (0..100).map(|n| format!("{n:03}")).collect();
    for name in &names {
        submit(&*store, &told, name, name == "050");
    }
    disk.0.stop(false);
    let heard: Vec<_> = heard.iter().take(101).collect();
    assert_eq!(heard[0], ("first".to_owned(), Ok(())));
    for (name, (told, result)) in names.iter().zip(&heard[1..]) {
        assert_eq!((told, result), (name, &Ok(())));
    }
    // The first group's wait, then one batch and, because one asked, one sync.
    assert_eq!(disk.0.calls(), ["apply 1", "push", "apply 100", "sync"]);
    store.close().unwrap();
    assert_eq!(disk.0.calls(), Vec::<String>::new(), "nothing was unsynced");
}

/// Lost without it: a level that syncs less than it promises, or that pays for more.
#[test]
fn each_level_syncs_what_it_promises() {
    let one = |durability, sync| {
        let disk = Handle::default();
        let (store, _) = store_over(&disk, durability);
        // What an earlier process left is synced first.
        store.sync(Box::new(|result| result.unwrap()));
        let (told, heard) = mpsc::channel();
        submit(&*store, &told, "a", sync);
        heard.recv().unwrap().1.unwrap();
        let mut calls = disk.0.calls();
        calls.retain(|call| !call.starts_with("apply"));
        (calls, store, disk)
    };
    for (durability, sync, expected) in [
        (Durability::Always, false, ["sync", "sync"]),
        (Durability::Always, true, ["sync", "sync"]),
        (Durability::Batch, false, ["sync", "push"]),
        (Durability::Batch, true, ["sync", "sync"]),
        (Durability::Os, false, ["sync", "push"]),
        (Durability::Os, true, ["sync", "sync"]),
    ] {
        let (mut calls, store, disk) = one(durability, sync);
        // Both may have been one group.
        if calls.len() == 1 {
            calls.insert(0, "sync".to_owned());
        }
        let both_in_one = calls == ["sync", "sync"];
        assert!(calls == expected || both_in_one, "{durability} {calls:?}");
        store.close().unwrap();
        let at_close: Vec<&str> = if calls[1] == "push" {
            vec!["sync"]
        } else {
            vec![]
        };
        assert_eq!(disk.0.calls(), at_close, "{durability}");
    }
}

/// Lost without it: `batch` that syncs only when something else is written.
#[test]
fn batch_syncs_by_itself() {
    let disk = Handle::default();
    let interval = Duration::from_millis(5);
    let backend = Arc::new(disk.clone());
    let store = start(backend, Durability::Batch, interval, Faults::default()).unwrap();
    for name in ["a", "b"] {
        store.apply(&put(name, "v")).unwrap();
        while !disk.0.calls.lock().iter().any(|call| call == "sync") {
            std::thread::yield_now();
        }
        disk.0.calls();
    }
}

/// Lost without it: a scan that a handoff starts from misses what was acknowledged before it, or shows what came later.
#[test]
fn jobs_snapshots_and_drops_keep_their_order() {
    for kind in BackendKind::ALL {
        let dir = tempfile::tempdir().unwrap();
        let backend = open(kind, dir.path()).unwrap().backend;
        let store = start(backend, Durability::Os, NEVER, Faults::default()).unwrap();
        let (told, heard) = mpsc::channel();
        let (scans, scanned) = mpsc::channel();
        let (from, to) = (Bytes::from("k"), Bytes::from("l"));
        for round in 0..200 {
            submit(&*store, &told, &format!("k{round:03}"), false);
            let scans = scans.clone();
            let done =
                Box::new(move |scan: Result<Scan, Error>| scans.send(scan.unwrap()).unwrap());
            store.snapshot(from.clone(), to.clone(), done);
            if round % 10 == 9 {
                store.drop_range(from.clone(), to.clone(), tell(&told, "drop"));
            }
        }
        store.sync(tell(&told, "sync"));
        for (round, scan) in scanned.iter().take(200).enumerate() {
            let keys: Vec<Bytes> = scan.map(|entry| entry.unwrap().0).collect();
            let first = round - round % 10;
            let expected: Vec<Bytes> = (first..=round)
                .map(|n| Bytes::from(format!("k{n:03}")))
                .collect();
            assert_eq!(keys, expected, "{kind}");
        }
        assert!(heard.iter().take(221).all(|(_, result)| result.is_ok()));
        assert!(store.is_empty(&from, &to).unwrap());
        store.close().unwrap();
        submit(&*store, &told, "late", false);
        let late = if kind == BackendKind::Memory {
            Ok(())
        } else {
            Err(Error::Closed)
        };
        assert_eq!(heard.recv().unwrap(), ("late".to_owned(), late));
    }
}

/// Lost without it: a write that fails and is acknowledged, or one failure that fails everything ever after.
#[test]
fn a_failed_group_is_told_so() {
    let disk = Handle::default();
    let (store, faults) = store_over(&disk, Durability::Os);
    disk.0.fails.store(true, Ordering::SeqCst);
    assert_eq!(
        store.apply(&put("a", "1")),
        Err(Error::Broken("it fails".to_owned()))
    );
    assert_eq!(store.get(b"a"), Ok(None));
    disk.0.fails.store(false, Ordering::SeqCst);
    store.apply(&put("a", "2")).unwrap();

    let memory: Arc<dyn Backend> = Arc::new(Memory::new());
    let direct_faults = Faults::default();
    let direct = start(memory, Durability::Os, NEVER, direct_faults.clone()).unwrap();
    direct.apply(&put("a", "2")).unwrap();
    for (store, faults) in [(store, faults), (direct, direct_faults)] {
        for fault in [DiskFault::Full, DiskFault::Error] {
            faults.set(Some(fault));
            let error = store.apply(&put("a", "3")).unwrap_err();
            assert_eq!(error == Error::Full, fault == DiskFault::Full);
            assert_eq!(error.is_maybe_applied(), fault == DiskFault::Error);
            assert_eq!(store.drop_now(b"a", b"b"), Err(error.clone()));
            let (told, heard) = mpsc::channel();
            store.sync(tell(&told, "sync"));
            assert_eq!(heard.recv().unwrap().1, Err(error));
            assert_eq!(store.get(b"a"), Ok(Some(Bytes::from("2"))));
            assert_eq!(store.scan(b"a", b"b").count(), 1);
        }
        faults.set(None);
        store.apply(&put("a", "4")).unwrap();
        assert_eq!(store.get(b"a"), Ok(Some(Bytes::from("4"))));
    }
}

/// Lost without it: a full disk that never empties, because the deletes in a group fail with its puts.
#[test]
fn a_full_disk_takes_deletes_that_wait_beside_puts() {
    let disk = Handle::default();
    let (store, _) = store_over(&disk, Durability::Os);
    store.apply(&put("old", "v")).unwrap();
    let (told, heard) = mpsc::channel();
    hold(&disk, &*store, &told);
    disk.0.is_full.store(true, Ordering::SeqCst);
    submit(&*store, &told, "a", false);
    let ops = [Op::Delete(Bytes::from("old"))].into();
    store.submit(Job {
        batch: Batch { ops },
        sync: false,
        done: tell(&told, "delete"),
    });
    submit(&*store, &told, "b", false);
    store.sync(tell(&told, "sync"));
    disk.0.stop(false);
    let full = || Err(Error::Full);
    let expected = [
        ("first", full()),
        ("a", full()),
        ("delete", Ok(())),
        ("b", full()),
        ("sync", Ok(())),
    ];
    for (name, result) in expected {
        assert_eq!(heard.recv().unwrap(), (name.to_owned(), result));
    }
    assert_eq!(store.get(b"old"), Ok(None));
}

/// Passes on what it is told, each call as the names of its writes.
struct Hearing(Mutex<Told>);

impl Listener for Hearing {
    fn landed(&self, ended: Vec<Ended>) {
        let told = self.0.lock();
        let names = ended.iter().map(|e| format!("{}.{}", e.of, e.number));
        let names: Vec<String> = names.collect();
        let results = ended.into_iter().map(|e| e.result);
        let result = results.fold(Ok(()), Result::and);
        told.send((names.join(" "), result)).unwrap();
    }
}

fn hearing(told: &Told) -> Arc<Hearing> {
    Arc::new(Hearing(Mutex::new(told.clone())))
}

fn submit_awaited(store: &dyn Store, by: &Arc<Hearing>, of: u64, number: u64, batch: Batch) {
    let by = Arc::downgrade(by);
    let by: std::sync::Weak<dyn Listener> = by;
    store.submit_awaited(batch, Awaited { by, of, number });
}

/// Lost without it: a lock and a wake for each write of a group, or a copy that hears of its writes out of order.
#[test]
fn who_awaits_many_writes_is_told_of_a_group_at_once() {
    let disk = Handle::default();
    let (store, _) = store_over(&disk, Durability::Always);
    let (told, heard) = mpsc::channel();
    let (one, other) = (hearing(&told), hearing(&told));
    hold(&disk, &*store, &told);
    submit_awaited(&*store, &one, 7, 1, put("a", "1"));
    submit_awaited(&*store, &one, 8, 1, put("b", "1"));
    submit(&*store, &told, "between", false);
    submit_awaited(&*store, &one, 7, 2, put("a", "2"));
    submit_awaited(&*store, &other, 7, 9, put("a", "3"));
    let gone = hearing(&told);
    submit_awaited(&*store, &gone, 7, 10, put("a", "4"));
    drop(gone);
    disk.0.stop(false);
    for name in ["first", "7.1 8.1", "between", "7.2", "7.9"] {
        assert_eq!(heard.recv().unwrap(), (name.to_owned(), Ok(())));
    }
    assert_eq!(store.get(b"a").unwrap(), Some(Bytes::from("4")));
    store.close().unwrap();
    submit_awaited(&*store, &one, 7, 3, put("a", "5"));
    let refused = ("7.3".to_owned(), Err(Error::Closed));
    assert_eq!(heard.recv().unwrap(), refused);
    assert!(heard.try_recv().is_err(), "each is told once");
}

/// Lost without it: a write is acknowledged that was not synced, or one that was refused counts as stored beside others.
#[test]
fn who_awaits_a_write_hears_how_that_one_went() {
    let disk = Handle::default();
    let (store, faults) = store_over(&disk, Durability::Always);
    store.apply(&put("old", "v")).unwrap();
    let (told, heard) = mpsc::channel();
    let (puts, deletes) = (hearing(&told), hearing(&told));
    hold(&disk, &*store, &told);
    disk.0.is_full.store(true, Ordering::SeqCst);
    submit_awaited(&*store, &puts, 1, 1, put("a", "1"));
    let ops = [Op::Delete(Bytes::from("old"))].into();
    submit_awaited(&*store, &deletes, 1, 2, Batch { ops });
    disk.0.stop(false);
    let full = || Err(Error::Full);
    for (name, result) in [("first", full()), ("1.1", full()), ("1.2", Ok(()))] {
        assert_eq!(heard.recv().unwrap(), (name.to_owned(), result));
    }
    disk.0.is_full.store(false, Ordering::SeqCst);
    disk.0.fails.store(true, Ordering::SeqCst);
    submit_awaited(&*store, &puts, 1, 3, put("a", "2"));
    let (name, result) = heard.recv().unwrap();
    assert_eq!(name, "1.3");
    assert!(matches!(result, Err(Error::Broken(_))), "{result:?}");
    disk.0.fails.store(false, Ordering::SeqCst);
    faults.set(Some(DiskFault::Full));
    submit_awaited(&*store, &puts, 1, 4, put("a", "3"));
    assert_eq!(heard.recv().unwrap(), ("1.4".to_owned(), full()));
}

/// Lost without it: who acts on a completion at once and waits for more ends the writer, and with it the node.
#[test]
fn a_completion_cannot_wait_for_its_writer() {
    let disk = Handle::default();
    let (store, _) = store_over(&disk, Durability::Batch);
    let (tell, told) = std::sync::mpsc::channel();
    let again = store.clone();
    let done = Box::new(move |_: Result<(), Error>| {
        let applied = again.apply(&put("b", "2"));
        let dropped = again.drop_now(b"a", b"z");
        tell.send((applied, dropped)).unwrap();
    });
    let batch = put("a", "1");
    store.submit(Job {
        batch,
        sync: false,
        done,
    });
    let (applied, dropped) = told.recv().unwrap();
    assert!(matches!(applied, Err(Error::Busy)), "{applied:?}");
    assert!(matches!(dropped, Err(Error::Busy)), "{dropped:?}");
    store.apply(&put("c", "3")).unwrap();
    assert_eq!(store.get(b"b").unwrap(), None);
}

/// Lost without it: a slow disk takes all memory, or holds up the threads that submit.
#[test]
fn a_full_queue_answers_at_once() {
    let disk = Handle::default();
    let (store, _) = store_over(&disk, Durability::Os);
    let (told, heard) = mpsc::channel();
    hold(&disk, &*store, &told);
    for _ in 0..QUEUE_JOBS {
        submit(&*store, &told, "queued", false);
    }
    assert!(heard.try_recv().is_err());
    submit(&*store, &told, "over", false);
    assert_eq!(heard.try_recv(), Ok(("over".to_owned(), Err(Error::Busy))));
    disk.0.stop(false);
    assert!(
        heard
            .iter()
            .take(QUEUE_JOBS + 1)
            .all(|(_, result)| result.is_ok())
    );

    hold(&disk, &*store, &told);
    let large = Bytes::from(vec![0; QUEUE_BYTES / 4]);
    let mut answers = Vec::new();
    for n in 0..5 {
        let mut batch = Batch::default();
        batch.put(Bytes::from(n.to_string()), large.clone());
        let (sync, done) = (false, tell(&told, "large"));
        store.submit(Job { batch, sync, done });
        answers.extend(heard.try_iter().map(|(_, result)| result));
    }
    assert_eq!(answers, [Err(Error::Busy), Err(Error::Busy)]);
    disk.0.stop(false);
    assert!(heard.iter().take(4).all(|(_, result)| result.is_ok()));
}

/// Lost without it: a request that hangs because its completion was lost, or counts twice.
#[test]
fn every_completion_comes_once() {
    for kind in BackendKind::ALL {
        let dir = tempfile::tempdir().unwrap();
        let backend = open(kind, dir.path()).unwrap().backend;
        let store = start(backend, Durability::Os, NEVER, Faults::default()).unwrap();
        let told: Vec<AtomicUsize> = (0..4000).map(|_| AtomicUsize::new(0)).collect();
        let told = Arc::new(told);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (store, told) = (&store, &told);
                scope.spawn(move || {
                    for n in 0..1000 {
                        let number = thread * 1000 + n;
                        let told = Arc::clone(told);
                        store.submit(Job {
                            batch: put(&format!("{thread}"), &n.to_string()),
                            sync: n % 100 == 0,
                            done: Box::new(move |result| {
                                result.unwrap();
                                told[number].fetch_add(1, Ordering::SeqCst);
                            }),
                        });
                    }
                });
            }
        });
        store.close().unwrap();
        assert!(
            told.iter().all(|told| told.load(Ordering::SeqCst) == 1),
            "{kind}"
        );
        for thread in 0..4 {
            let value = store.get(thread.to_string().as_bytes()).unwrap();
            assert_eq!(value, Some(Bytes::from("999")), "{kind}");
        }
    }
}

/// Lost without it: a store that is dropped with work queued leaves callers waiting, or its folder locked.
#[test]
fn a_dropped_store_finishes_first() {
    for kind in [BackendKind::Sled, BackendKind::Fjall] {
        let dir = tempfile::tempdir().unwrap();
        for round in 0..3 {
            let backend = open(kind, dir.path()).unwrap().backend;
            let store = start(backend, Durability::Batch, NEVER, Faults::default()).unwrap();
            let key = Bytes::from("\u{1}round");
            let expected = (round > 0).then(|| Bytes::from((round - 1).to_string()));
            assert_eq!(store.get(&key).unwrap(), expected, "{kind}");
            let (told, heard) = mpsc::channel();
            for _ in 0..100 {
                store.submit(Job {
                    batch: put("\u{1}round", &round.to_string()),
                    sync: false,
                    done: tell(&told, "put"),
                });
            }
            drop((store, told));
            assert_eq!(
                heard.iter().filter(|(_, result)| result.is_ok()).count(),
                100
            );
        }
    }
}
