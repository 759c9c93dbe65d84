//! Gets that spare owners, seen from the node that has many of them.

use std::time::{Duration, Instant};

use rkv_quorum::policy::GetOptions;
use rkv_ring::{Addresses, Incarnation, Member, Ring, Status};

use super::SPARE_AGAIN_MS;
use crate::alone::{engine, ring};

/// A ring in which every row is `a`, `b` and `c`; nobody answers for the latter two.
fn of_three() -> Ring {
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

#[test]
fn a_busy_node_spares_owners_until_one_is_slow() {
    // Lost without it: no get spares anybody, or an owner that is paused holds up each of them until it is suspected.
    let engine = engine(&of_three());
    engine.suspect(&"b".into(), true);
    engine.suspect(&"c".into(), true);
    let most = engine.bounds().sparing_from;
    let spares = |now_ms| engine.coordinator().turn_to_spare(most, now_ms).is_some();
    let get = || {
        let done = Box::new(|_: Result<_, _>| {});
        let options = GetOptions::default();
        engine.get(engine.default_keyspace(), b"k", &options, done);
    };
    for _ in 0..most {
        assert!(!spares(engine.now_ms()), "these are few");
        get();
    }
    assert_eq!(engine.in_flight(), most);
    assert!(spares(engine.now_ms()));
    engine.tick();
    assert!(
        spares(engine.now_ms()),
        "none of them has waited for one that was spared"
    );
    get();
    let ends = Instant::now() + Duration::from_secs(10);
    while spares(engine.now_ms()) {
        assert!(Instant::now() < ends, "nobody is slow");
        engine.tick();
        std::thread::yield_now();
    }
    assert!(spares(engine.now_ms() + SPARE_AGAIN_MS), "not for ever");
}
