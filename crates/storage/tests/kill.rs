//! What an acknowledged write survives: a process killed at any moment, at every level, on each disk.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use std::sync::Arc;

use bytes::Bytes;
use rkv_storage::fjall::Fjall;
use rkv_storage::logged::Logged;
use rkv_storage::{
    Backend, BackendKind, Batch, Durability, Error, Faults, Job, Store, open, start,
};

const CHILD: &str = "RKV_STORAGE_TEST_CHILD";

/// In the place of a backend's name.
const SMALL_LOGS: &str = "small-logs";

/// After this many acknowledgements the child is killed.
const ENOUGH: usize = 300;

/// Writes that wait for their acknowledgement at a time.
const UNDER_WAY: usize = 64;

fn key(n: u64) -> Bytes {
    Bytes::from([&[1u8][..], &n.to_be_bytes()].concat())
}

/// With the log full after some hundred writes, and so sealed and brought into the engine all the time.
fn with_small_logs(dir: &Path) -> Logged<Fjall> {
    let engine = Fjall::open(&dir.join("fjall")).unwrap();
    Logged::with_logs_of(32 << 10, engine, &dir.join("logs")).unwrap()
}

/// Each value can be told from its number; some do not fit a segment of sled's.
fn value(n: u64) -> Bytes {
    let length = if n % 100 == 99 { 1 << 20 } else { 100 };
    Bytes::from(vec![n as u8; length])
}

/// Not a test of its own: what the child does, many writes under way at a time, until it is killed.
#[test]
fn child() {
    let Ok(words) = std::env::var(CHILD) else {
        return;
    };
    let words: Vec<&str> = words.splitn(3, ' ').collect();
    let dir = PathBuf::from(words[2]);
    let backend = match words[0] {
        SMALL_LOGS => Arc::new(with_small_logs(&dir)),
        kind => open(kind.parse().unwrap(), &dir).unwrap().backend,
    };
    let interval = Duration::from_millis(20);
    let durability = words[1].parse().unwrap();
    let store = start(backend, durability, interval, Faults::default()).unwrap();
    write_until_killed(&*store);
}

fn write_until_killed(store: &dyn Store) {
    let (permits, free) = mpsc::channel();
    (0..UNDER_WAY).for_each(|_| permits.send(()).unwrap());
    for n in 0.. {
        free.recv().unwrap();
        let mut batch = Batch::default();
        batch.put(key(n), value(n));
        let permits = permits.clone();
        let done = Box::new(move |result: Result<(), Error>| {
            result.unwrap();
            println!("ack {n}");
            permits.send(()).unwrap();
        });
        let sync = false;
        store.submit(Job { batch, sync, done });
    }
}

fn acknowledged_until_killed(kind: &str, durability: Durability, dir: &Path) -> Vec<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, format!("{kind} {durability} {}", dir.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = Vec::new();
    for line in lines {
        if let Some((_, number)) = line.unwrap().split_once("ack ") {
            acknowledged.push(number.parse().unwrap());
        }
        if acknowledged.len() == ENOUGH {
            child.kill().unwrap();
        }
    }
    assert!(!child.wait().unwrap().success(), "it was killed");
    acknowledged
}

/// Lost without it: acknowledged writes that were still in the process when it died.
#[test]
fn a_killed_process_loses_nothing_acknowledged() {
    for kind in [BackendKind::Sled, BackendKind::Fjall] {
        for durability in Durability::ALL {
            let dir = tempfile::tempdir().unwrap();
            let dir = dir.path().join("store");
            // Killed twice: the second life begins with what the first one left.
            for _ in 0..2 {
                let acknowledged = acknowledged_until_killed(kind.as_str(), durability, &dir);
                assert!(acknowledged.len() >= ENOUGH, "{kind} {durability}");
                let store = open(kind, &dir).unwrap();
                assert_eq!((store.set_aside, store.fresh), (None, false));
                for n in acknowledged {
                    let held = store.backend.get(&key(n)).unwrap();
                    assert!(held == Some(value(n)), "{kind} {durability} lost {n}");
                }
                assert_eq!(store.backend.stats().damaged, 0);
            }
        }
    }
}

/// Lost without it: writes that were on their way from a log into the engine, or those of a log whose file was another's.
#[test]
fn a_process_killed_between_log_and_engine_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    for life in 0..8 {
        let durability = Durability::ALL[life % Durability::ALL.len()];
        let acknowledged = acknowledged_until_killed(SMALL_LOGS, durability, dir.path());
        let backend = with_small_logs(dir.path());
        for n in acknowledged {
            let held = backend.get(&key(n)).unwrap();
            assert!(held == Some(value(n)), "{durability} lost {n}");
        }
        // Each life writes the same keys: what the one before left is not to be taken for it.
        let end = key(u64::MAX);
        let dropped = backend.drop_range(&key(0), &end).unwrap();
        assert!(dropped > 0 && backend.is_empty(&key(0), &end).unwrap());
    }
}
