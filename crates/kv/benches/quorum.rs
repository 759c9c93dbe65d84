//! What a put and a get cost three nodes together, from the coordinator's door to its answer: in memory, on one thread, each
//! message through the codec and none through a socket.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use parking_lot::Mutex;
use rkv_kv::{Bounds, Engine, Heard, Keyspace, KvService, Surroundings, Write};
use rkv_quorum::clock::{Clock, Drift};
use rkv_quorum::policy::{Defaults, GetOptions, PutOptions};
use rkv_ring::cluster::{ClusterMessage, Event, Facts, Target};
use rkv_ring::plan::{commit, stage_join};
use rkv_ring::{
    Addresses, ClusterId, Incarnation, Member, NodeName, PartitionCount, Ring, Status, moves,
};
use rkv_storage::{BackendKind, Durability, Faults};
use rkv_vnode::{Beginning, Fault, Host, Service, Settings, World};
use rkv_wire::codec::{Batch, Decoder, Limits};
use rkv_wire::message::{Envelope, Message};

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEYS: u64 = 100_000;
const NODES: u64 = 3;
/// Requests under way together: those of a pipeline.
const TOGETHER: u64 = 16;

/// What leaves a node, by the number of whom it is for.
#[derive(Default)]
struct Sent {
    batches: [Batch; NODES as usize],
}

/// The world of one of the three.
struct Beside {
    started: Instant,
    clock: Arc<Clock>,
    sent: Mutex<Sent>,
}

impl World for Beside {
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
    fn send(&self, to: &NodeName, message: Message) {
        let envelope = Envelope {
            clock: self.clock.reading(self.wall_ms()),
            message,
        };
        let batch = &mut self.sent.lock().batches[number(to)];
        batch.push(&envelope).expect("within its bounds");
    }
}

impl Surroundings for Beside {
    fn tell_keeper(&self, _: Event) {}
    fn send_cluster(&self, _: Target, _: ClusterMessage) {}
    fn publish(&self, _: Facts) {}
    fn adopted(&self, _: &Arc<Ring>) {}
    fn left(&self) {}
    fn warn(&self, text: String) {
        panic!("{text}");
    }
}

fn name(number: u64) -> NodeName {
    format!("node{number}").into()
}

fn number(node: &NodeName) -> usize {
    usize::from(node.as_str().as_bytes()[4] - b'0')
}

fn incarnation(number: u64) -> Incarnation {
    Incarnation(u128::from(number) + 1)
}

fn ring() -> Ring {
    let member = |number| Member {
        incarnation: incarnation(number),
        status: if number == 0 {
            Status::Valid
        } else {
            Status::Joining
        },
        addresses: Addresses::default(),
        zone: None,
        weight: 1.0,
    };
    let q = PartitionCount::new(64).expect("a power of two");
    let mut ring = Ring::found(ClusterId(u128::MAX / 3), "bench", q, 3, name(0), member(0));
    for number in 1..NODES {
        ring = stage_join(&ring, name(number), member(number), false).expect("it is new");
    }
    let mut ring = commit(&ring, None, 0).expect("joins are staged");
    while let Some(&partition) = ring.moves.keys().next() {
        moves::complete(&mut ring, partition);
    }
    ring
}

/// Three nodes, and what is on its way between them.
struct Cluster {
    worlds: Vec<Arc<Beside>>,
    engines: Vec<Arc<Engine>>,
    buffer: BytesMut,
    decoder: Decoder,
}

impl Cluster {
    fn new(folder: &std::path::Path) -> Cluster {
        let ring = Arc::new(ring());
        let mut cluster = Cluster {
            worlds: Vec::new(),
            engines: Vec::new(),
            buffer: BytesMut::new(),
            decoder: Decoder::new(Limits::NODE),
        };
        for number in 0..NODES {
            let clock = Arc::new(Clock::new(boot(number), 500));
            let world = Arc::new(Beside {
                started: Instant::now(),
                clock: clock.clone(),
                sent: Mutex::default(),
            });
            let folder = folder.join(name(number).as_str());
            let opened = rkv_storage::open(BackendKind::Memory, &folder).expect("memory opens");
            let store = rkv_storage::start(
                opened.backend,
                Durability::Os,
                Duration::MAX,
                Faults::default(),
            );
            let settings = Settings {
                boot: boot(number),
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
                name(number),
                ring.clone(),
                services,
                store.expect("memory starts"),
                world.clone(),
                settings,
                Beginning::Founded,
            );
            let engine = Engine::start(
                host.unwrap_or_else(|error| panic!("an empty store opens: {error}")),
                world.clone(),
                clock,
                Drift::new(500),
                Keyspace::default_with(Defaults::default()),
                Bounds::default(),
                boot(number),
            );
            for other in (0..NODES).filter(|other| *other != number) {
                engine.suspect(&name(other), true);
            }
            cluster.worlds.push(world);
            cluster.engines.push(engine);
        }
        cluster
    }

    /// Delivers until nothing is on its way.
    fn settle(&mut self) {
        let mut is_over = false;
        while !is_over {
            is_over = true;
            for from in 0..NODES {
                for to in 0..NODES {
                    is_over &= !self.deliver(from, to);
                }
            }
        }
    }

    /// What has left one node for another, as one write; whether there was anything.
    fn deliver(&mut self, from: u64, to: u64) -> bool {
        {
            let batch = &mut self.worlds[from as usize].sent.lock().batches[to as usize];
            if batch.is_empty() {
                return false;
            }
            batch.copy_to(&mut self.buffer);
            batch.clear();
        }
        let (engine, name) = (&self.engines[to as usize], name(from));
        while let Some(frame) = self.decoder.next(&mut self.buffer).expect("frames") {
            let envelope: Envelope = frame.into_message().expect("a message");
            let heard = engine.hears(&name, (incarnation(from), boot(from)), &envelope.message);
            assert_eq!(heard, Heard::Itself);
            engine.message(&name, envelope);
        }
        true
    }
}

fn boot(number: u64) -> u64 {
    (number + 1) << 8 | 1
}

fn quorum(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut cluster = Cluster::new(folder.path());
    let engine = cluster.engines[0].clone();
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
            drop(result.expect("all three are there"));
            answered.fetch_add(1, Ordering::Relaxed);
        });
        let options = PutOptions::default();
        engine.put(&keyspace, key(number).as_bytes(), write, &options, done);
    };
    for first in (0..KEYS).step_by(TOGETHER as usize) {
        (first..first + TOGETHER).for_each(put);
        cluster.settle();
    }
    assert_eq!(answered.load(Ordering::Relaxed), KEYS, "all are answered");
    let mut group = c.benchmark_group("three nodes in memory, 16 at once");
    group.throughput(Throughput::Elements(TOGETHER));
    let mut number = 0;
    let mut next = || {
        number += 7_919;
        number
    };
    group.bench_function("put 100 B", |b| {
        b.iter(|| {
            (0..TOGETHER).for_each(|_| put(next()));
            cluster.settle();
        });
    });
    group.bench_function("get 100 B", |b| {
        b.iter(|| {
            for _ in 0..TOGETHER {
                let done = Box::new(|result: Result<_, _>| {
                    drop(black_box(result.expect("all three are there")));
                });
                let options = GetOptions::default();
                engine.get(&keyspace, key(next()).as_bytes(), &options, done);
            }
            cluster.settle();
        });
    });
    group.finish();
}

criterion_group!(benches, quorum);
criterion_main!(benches);
