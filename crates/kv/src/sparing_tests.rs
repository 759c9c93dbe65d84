//! Gets that spare owners, seen from the node that has many of them.

use std::time::{Duration, Instant};

use rkv_quorum::Get;
use rkv_quorum::get::{Effects, Event};
use rkv_quorum::policy::{GetOptions, GetPolicy};

use super::SLOW_MS;
use crate::alone::{engine, of_three};

#[test]
fn a_busy_node_spares_owners_and_those_that_are_slow_first() {
    // Lost without it: no get spares anybody, or an owner that is paused holds up half of them until it is suspected.
    let engine = engine(&of_three());
    engine.suspect(&"b".into(), true);
    engine.suspect(&"c".into(), true);
    let most = engine.bounds().sparing_from;
    let coordinator = engine.coordinator();
    let defaults = &engine.default_keyspace().defaults;
    let policy = GetPolicy::new(&GetOptions::default(), defaults, 3).unwrap();
    let (_, preflist) = engine.preflist(b"k");
    let asked = |now_ms| {
        let turn = coordinator.turn_to_spare(most);
        let mut get = coordinator.sparing(Get::new(policy, &preflist), turn, now_ms);
        let mut effects = Effects::new();
        get.step(now_ms, Event::Begin, &mut effects);
        effects.len()
    };
    let get = || {
        let done = Box::new(|_: Result<_, _>| {});
        let options = GetOptions::default();
        engine.get(engine.default_keyspace(), b"k", &options, done);
    };
    for _ in 0..most {
        assert_eq!(asked(engine.now_ms()), 3, "these are few");
        get();
    }
    assert_eq!((engine.in_flight(), asked(engine.now_ms())), (most, 2));
    // Two of them, one after the other, wait for the one of b and c whose turn it is.
    let ends = Instant::now() + Duration::from_secs(10);
    while asked(engine.now_ms()) == 2 {
        assert!(Instant::now() < ends, "nobody is slow");
        get();
        engine.tick();
        std::thread::yield_now();
    }
    assert_eq!(asked(engine.now_ms()), 3, "none of both is relied on");
    assert!(engine.figures().hedged_gets >= 2, "and it is counted");
    assert_eq!(asked(engine.now_ms() + SLOW_MS), 2, "nor blamed for ever");
}
