//! A request that begins while a ring is adopted.

use std::sync::Arc;
use std::sync::mpsc::{self, TryRecvError};

use rkv_cluster::keeper::Outward as _;
use rkv_quorum::Get;
use rkv_quorum::policy::{GetOptions, GetPolicy};
use rkv_ring::Epoch;

use crate::alone::{engine, ring};
use crate::coordinate::{Place, Times};

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
    let get = Get::new(policy, preflist);
    let place = Place { slot, key };
    engine.coordinator().get(Box::new(get), place, times, done);
    assert_eq!(told.try_recv(), Err(TryRecvError::Empty), "not owner by it");
    engine.tick();
    assert_eq!(told.try_recv(), Ok(true));
}
