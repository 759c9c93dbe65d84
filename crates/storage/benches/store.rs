//! What a get, a put and a group of 64 cost, on each backend.

use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rkv_storage::{
    BackendKind, Batch, Durability, Faults, Job, Space, Store, StoreKey, open, start,
};

const KEYS: u32 = 100_000;
const GROUP: u32 = 64;

fn key(n: u32) -> Bytes {
    let name = n.to_be_bytes();
    StoreKey::entry(
        Space::Data,
        1,
        (n.wrapping_mul(40503) >> 2) as u16 % 16384,
        0,
        &name,
    )
}

fn put(n: u32, value: &Bytes) -> Batch {
    let mut batch = Batch::default();
    batch.put(key(n), value.clone());
    batch
}

/// Submits a group at once and waits for its last completion.
fn commit_group(store: &dyn Store, first: u32, value: &Bytes, sync: bool) {
    // Only the last one wakes us: what a completion does is the caller's business, not the store's.
    let left = Arc::new(AtomicU32::new(GROUP));
    let (told, heard) = mpsc::channel();
    for n in first..first + GROUP {
        let (left, told) = (Arc::clone(&left), told.clone());
        store.submit(Job {
            batch: put(n % KEYS, value),
            sync,
            done: Box::new(move |result| {
                result.expect("a bench's disk works");
                if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                    told.send(()).expect("it is waited for");
                }
            }),
        });
    }
    heard.recv().expect("the last completion comes");
}

fn stores(c: &mut Criterion) {
    let value = Bytes::from(vec![7; 100]);
    for kind in [BackendKind::Memory, BackendKind::Sled, BackendKind::Fjall] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let backend = open(kind, dir.path())
            .expect("an empty folder opens")
            .backend;
        let store: Arc<dyn Store> =
            start(backend, Durability::Os, Duration::MAX, Faults::default()).expect("it starts");
        for first in (0..KEYS).step_by(GROUP as usize) {
            commit_group(&*store, first, &value, false);
        }
        let mut n = 0u32;
        let mut next = || {
            n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            n % KEYS
        };
        c.bench_function(&format!("{kind}/get"), |b| {
            b.iter(|| black_box(store.get(&key(next()))));
        });
        c.bench_function(&format!("{kind}/put"), |b| {
            b.iter(|| store.apply(&put(next(), &value)));
        });
        let mut group = c.benchmark_group(format!("{kind}/commit of {GROUP}"));
        group.throughput(Throughput::Elements(GROUP.into()));
        for (name, sync) in [("pushed", false), ("synced", true)] {
            group.bench_function(name, |b| {
                b.iter(|| commit_group(&*store, next(), &value, sync));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, stores);
criterion_main!(benches);
