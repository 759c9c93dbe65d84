//! A request that begins while a ring is adopted.

use std::sync::Arc;
use std::sync::mpsc::{self, TryRecvError};
use std::time::{Duration, Instant};

use rkv_cluster::keeper::Outward as _;
use rkv_quorum::Get;
use rkv_quorum::clock::{Clock, Drift};
use rkv_quorum::policy::{Defaults, GetOptions, GetPolicy};
use rkv_ring::cluster::{ClusterMessage, Event, Facts, Target};
use rkv_ring::{
    Addresses, ClusterId, Epoch, Incarnation, Member, NodeName, PartitionCount, Ring, Status,
};
use rkv_storage::{BackendKind, Durability};
use rkv_vnode::{Beginning, Fault, Host, Settings, World};
use rkv_wire::message::Message;

use crate::coordinate::{Place, Times};
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

fn ring() -> Ring {
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

fn engine(ring: &Ring) -> Arc<Engine> {
    let folder = tempfile::tempdir().unwrap();
    let opened = rkv_storage::open(BackendKind::Memory, folder.path()).unwrap();
    let faults = rkv_storage::Faults::default();
    let sync = Duration::from_millis(100);
    let store = rkv_storage::start(opened.backend, Durability::Os, sync, faults).unwrap();
    let world = Arc::new(Alone(Instant::now()));
    let settings = Settings {
        boot: 1,
        max_drift_ms: 500,
        transfers: 2,
        bytes_per_s: 0,
        grace_ms: 500,
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

#[test]
fn a_request_that_begins_just_after_a_ring_was_adopted_is_not_forgotten() {
    // Lost without it: after a claimant's death, when another ring is chosen, a request now and then takes all its time
    // and fails, though every copy that it asks is there.
    let mut ring = ring();
    let engine = engine(&ring);
    let (slot, key) = engine.default_keyspace().locate(b"k");
    let before = engine.view();
    ring.epoch = Epoch(2);
    engine.adopt(Arc::new(ring));

    let preflist = before.preflist(before.ring().partition_of(slot));
    let defaults = &engine.default_keyspace().defaults;
    let policy = GetPolicy::new(&GetOptions::default(), defaults, 3).unwrap();
    let times = Times {
        now: engine.now(),
        until_ms: engine.now_ms() + 60_000,
    };
    let (tell, told) = mpsc::channel();
    let done = Box::new(move |got: Result<_, _>| {
        tell.send(got.is_ok()).expect("somebody waits");
    });
    let get = Get::new(policy, (**preflist).clone());
    let place = Place { slot, key };
    engine.coordinator().get(get, place, times, done);
    assert_eq!(told.try_recv(), Err(TryRecvError::Empty), "not owner by it");
    engine.tick();
    assert_eq!(told.try_recv(), Ok(true));
}
