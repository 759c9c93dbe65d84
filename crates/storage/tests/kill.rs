//! What an acknowledged write survives: a process killed at any moment, at every level, on each disk.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use rkv_storage::{BackendKind, Batch, Durability, Error, Faults, Job, open, start};

const CHILD: &str = "RKV_STORAGE_TEST_CHILD";

/// After this many acknowledgements the child is killed.
const ENOUGH: usize = 300;

/// Writes that wait for their acknowledgement at a time.
const UNDER_WAY: usize = 64;

fn key(n: u64) -> Bytes {
    Bytes::from([&[1u8][..], &n.to_be_bytes()].concat())
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
    let (kind, durability) = (words[0].parse().unwrap(), words[1].parse().unwrap());
    let backend = open(kind, &PathBuf::from(words[2])).unwrap().backend;
    let interval = Duration::from_millis(20);
    let store = start(backend, durability, interval, Faults::default()).unwrap();
    let (permits, free) = mpsc::channel();
    (0..UNDER_WAY).for_each(|_| permits.send(()).unwrap());
    for n in 0.. {
        free.recv().unwrap();
        let mut batch = Batch::default();
        batch.put(key(n), value(n));
        let permits = permits.clone();
        let done = Box::new(move |result: Result<(), Error>| {
            result.unwrap();
            writeln!(std::io::stdout(), "ack {n}").unwrap();
            permits.send(()).unwrap();
        });
        let sync = false;
        store.submit(Job { batch, sync, done });
    }
}

fn acknowledged_until_killed(kind: BackendKind, durability: Durability, dir: &Path) -> Vec<u64> {
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
                let acknowledged = acknowledged_until_killed(kind, durability, &dir);
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
