//! A node that is alone: for tests of this crate.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rkv_quorum::clock::{Clock, Drift};
use rkv_quorum::policy::Defaults;
use rkv_ring::cluster::{ClusterMessage, Event, Facts, Target};
use rkv_ring::{Addresses, ClusterId, Incarnation, Member, NodeName, PartitionCount, Ring, Status};
use rkv_storage::{BackendKind, Durability, Store};
use rkv_vnode::{Beginning, Fault, Host, Settings, World};
use rkv_wire::message::Message;

use crate::{Bounds, Engine, Keyspace, KvService, Surroundings};

/// The world of a node that is alone.
struct Alone(Instant);

impl World for Alone {
    fn now_ms(&self) -> u64 {
        1 + self.0.elapsed().as_millis() as u64
    }

    fn wall_ms(&self) -> u64 {
        1_700_000_000_000 + self.now_ms()
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

/// A ring of 16 partitions whose only member is `a`.
pub(crate) fn ring() -> Ring {
    let member = Member {
        incarnation: Incarnation(1),
        status: Status::Valid,
        addresses: Addresses::default(),
        zone: None,
        weight: 1.0,
    };
    let q = PartitionCount::new(16).unwrap();
    Ring::found(ClusterId(1), "test", q, 3, "a".into(), member)
}

/// A ring in which every row is `a`, `b` and `c`; nobody answers for the latter two.
pub(crate) fn of_three() -> Ring {
    let mut ring = ring();
    for (life, name) in [(2, "b"), (3, "c")] {
        let member = Member {
            incarnation: Incarnation(life),
            status: Status::Valid,
            addresses: Addresses::default(),
            zone: None,
            weight: 1.0,
        };
        ring.members.insert(name.into(), member);
    }
    ring.rows.fill(["a", "b", "c"].map(Into::into).to_vec());
    ring
}

/// The engine of `a`, in memory.
pub(crate) fn engine(ring: &Ring) -> Arc<Engine> {
    let folder = tempfile::tempdir().unwrap();
    let opened = rkv_storage::open(BackendKind::Memory, folder.path()).unwrap();
    let faults = rkv_storage::Faults::default();
    let sync = Duration::from_millis(100);
    let store = rkv_storage::start(opened.backend, Durability::Os, sync, faults).unwrap();
    engine_over(ring, store)
}

/// The engine of `a` over this store.
pub(crate) fn engine_over(ring: &Ring, store: Arc<dyn Store>) -> Arc<Engine> {
    let world = Arc::new(Alone(Instant::now()));
    let settings = Settings {
        boot: 1,
        max_drift_ms: 500,
        transfers: 2,
        bytes_per_s: 0,
        grace_ms: 500,
        delete_grace_ms: 86_400_000,
        void_after_ms: 12_000,
        anti_entropy_ms: 1_000,
        fault: Fault::None,
    };
    let host = Host::open(
        "a".into(),
        Arc::new(ring.clone()),
        vec![Arc::new(KvService)],
        store,
        world.clone(),
        settings,
        Beginning::Founded,
    )
    .unwrap();
    Engine::start(
        host,
        world,
        Arc::new(Clock::new(1, 500)),
        Drift::new(500),
        Keyspace::default_with(Defaults::default()),
        Bounds::default(),
        1,
    )
}
