//! From whom a host takes entries.

use std::sync::Arc;

use rkv_ring::{Incarnation, Removed};
use rkv_vnode::ping::Ping;
use rkv_vnode::trial::{SETTINGS, Trial};
use rkv_vnode::{Service, Settings};

/// Lost without it: a node that was removed and forgotten is switched on again, and what was deleted meanwhile is back.
#[test]
fn who_was_removed_long_ago_brings_nothing() {
    let services = || -> Vec<Arc<dyn Service>> { vec![Arc::new(Ping)] };
    let settings = Settings {
        delete_grace_ms: 10_000,
        ..SETTINGS
    };
    let mut trial = Trial::found("a", 1, settings, services);
    let (life, other_life) = (Incarnation(9), Incarnation(10));
    let mut ring = (*trial.ring).clone();
    ring.epoch.0 += 1;
    ring.removed.push(Removed {
        node: "x".into(),
        incarnation: life,
        at_ms: trial.now_ms(),
    });
    trial.adopt(ring);
    let takes = |trial: &Trial, node: &str, life| {
        let host = trial.host("a");
        host.takes_entries_of(&node.into(), life)
    };
    assert!(takes(&trial, "x", life), "it hands off what it holds");
    assert!(!takes(&trial, "x", other_life), "that life was no member");
    assert!(!takes(&trial, "y", life.max(other_life)), "nor was y");
    trial.pass(4_900);
    assert!(takes(&trial, "x", life));
    trial.pass(200);
    assert!(!takes(&trial, "x", life));
    let me = trial.ring.members.values().next().unwrap().incarnation;
    assert!(takes(&trial, "a", me), "a member's are always taken");
}
