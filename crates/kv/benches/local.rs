//! What a put and a get cost from the engine's door to its answer: one node, in memory, nobody else in the world.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use rkv_kv::{Bounds, Engine, Keyspace, KvService, Surroundings, Write};
use rkv_quorum::clock::{Clock, Drift};
use rkv_quorum::policy::{Defaults, GetOptions, PutOptions};
use rkv_ring::cluster::{ClusterMessage, Event, Facts, Target};
use rkv_ring::{Addresses, ClusterId, Incarnation, Member, NodeName, PartitionCount, Ring, Status};
use rkv_storage::{BackendKind, Durability, Faults};
use rkv_vnode::{Beginning, Fault, Host, Service, Settings, World};
use rkv_wire::message::Message;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEYS: u64 = 100_000;

struct Alone {
    started: Instant,
}

impl World for Alone {
    fn now_ms(&self) -> u64 {
        self.now_us() / 1_000
    }
    fn now_us(&self) -> u64 {
        1_000_000 + self.started.elapsed().as_micros() as u64
    }
    fn wall_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| since.as_millis() as u64)
    }
    fn send(&self, _: &NodeName, _: Message) {}
}

impl Surroundings for Alone {
    fn tell_keeper(&self, _: Event) {}
    fn send_cluster(&self, _: Target, _: ClusterMessage) {}
    fn publish(&self, _: Facts) {}
    fn adopted(&self, _: &Arc<Ring>) {}
    fn left(&self) {}
    fn warn(&self, _: String) {}
}

fn engine(folder: &std::path::Path) -> Arc<Engine> {
    let world = Arc::new(Alone {
        started: Instant::now(),
    });
    let member = Member {
        incarnation: Incarnation(1),
        status: Status::Valid,
        addresses: Addresses::default(),
        zone: None,
        weight: 1.0,
    };
    let q = PartitionCount::new(64).expect("a power of two");
    let ring = Ring::found(ClusterId(1), "bench", q, 3, "n1".into(), member);
    let opened = rkv_storage::open(BackendKind::Memory, folder).expect("memory opens");
    let faults = Faults::default();
    let store = rkv_storage::start(opened.backend, Durability::Os, Duration::MAX, faults);
    let settings = Settings {
        boot: 257,
        max_drift_ms: 500,
        transfers: 2,
        bytes_per_s: 0,
        grace_ms: 500,
        delete_grace_ms: 86_400_000,
        void_after_ms: 12_000,
        anti_entropy_ms: 1_000,
        fault: Fault::None,
    };
    let services: Vec<Arc<dyn Service>> = vec![Arc::new(KvService)];
    let host = Host::open(
        "n1".into(),
        Arc::new(ring),
        services,
        store.expect("memory starts"),
        world.clone(),
        settings,
        Beginning::Founded,
    );
    Engine::start(
        host.unwrap_or_else(|error| panic!("an empty store opens: {error}")),
        world,
        Arc::new(Clock::new(257, 500)),
        Drift::new(500),
        Keyspace::default_with(Defaults::default()),
        Bounds::default(),
        257,
    )
}

fn local(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let engine = engine(folder.path());
    let keyspace = engine.default_keyspace().clone();
    let value = Bytes::from(vec![7; 100]);
    let answered = Arc::new(AtomicU64::new(0));
    let key = |number: u64| format!("user:{:012}", number % KEYS);
    let put = |number: u64| {
        let answered = answered.clone();
        let write = Write::Value {
            body: value.clone(),
            at_ms: None,
        };
        let done = Box::new(move |result: Result<_, _>| {
            drop(result.expect("one node is enough"));
            answered.fetch_add(1, Ordering::Relaxed);
        });
        let key = key(number);
        engine.put(
            &keyspace,
            key.as_bytes(),
            write,
            &PutOptions::default(),
            done,
        );
    };
    (0..KEYS).for_each(put);
    assert_eq!(
        answered.load(Ordering::Relaxed),
        KEYS,
        "memory answers at once"
    );
    let mut number = 0;
    c.bench_function("one node in memory/put 100 B", |b| {
        b.iter(|| {
            number += 7_919;
            put(number);
        });
    });
    c.bench_function("one node in memory/get 100 B", |b| {
        b.iter(|| {
            number += 7_919;
            let done = Box::new(|result: Result<_, _>| {
                drop(black_box(result.expect("one node is enough")));
            });
            let key = key(number);
            engine.get(&keyspace, key.as_bytes(), &GetOptions::default(), done);
        });
    });
}

criterion_group!(benches, local);
criterion_main!(benches);
