//! This file answers: is at most one ring chosen for each epoch, and is one chosen at all?

mod network;

use network::{DETECTION_MS, Network, STORM, name};
use rkv_ring::cluster::{AdminRequest, Fault};
use rkv_ring::{Epoch, NodeName, Refusal};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Members that are up and were not let go.
fn members(network: &Network) -> Vec<NodeName> {
    let here = network
        .nodes
        .iter()
        .filter(|(_, s)| !s.left && s.machine.is_some());
    here.map(|(node, _)| node.clone()).collect()
}

/// Half a minute in which everything goes wrong while operators ask for changes.
fn storm(seed: u64, fault: Fault) -> Network {
    let size = 1 + seed as usize % NAMES.len();
    let mut network = Network::of_cluster(&NAMES[..size], seed, fault);
    network.hasten();
    network.faults = STORM;
    for _ in 0..100 {
        network.run(300);
        network.cut_at_random();
        let node = NAMES[network.random(size)];
        let other = name(NAMES[network.random(size)]);
        let request = match network.random(4) {
            0 => AdminRequest::Commit {
                plan: None,
                wall_ms: 0,
            },
            1 => AdminRequest::Clear,
            _ => AdminRequest::Leave { node: other },
        };
        network.ask(node, request);
    }
    network
}

/// Lost without it: two rings for one epoch mean two owners for one copy, each sure of itself.
#[test]
fn a_storm_never_yields_two_rings_and_ends_in_progress() {
    let mut epochs = 0;
    for seed in 0..150 {
        let mut network = storm(seed, Fault::None);
        network.calm();
        network.run(12 * DETECTION_MS);
        assert_eq!(network.violations, Vec::<String>::new(), "seed {seed}");
        epochs += network.chosen.len() - 1;

        let members = members(&network);
        assert!(!members.is_empty(), "seed {seed}: somebody is left");
        for node in &members {
            let answer = network.answer(node.as_str(), AdminRequest::Clear);
            let no_majority = matches!(answer, Err(Refusal::NoMajority));
            assert!(
                !no_majority,
                "seed {seed}: {node} gets nothing done: {answer:?}"
            );
        }
        network.run(2 * DETECTION_MS);
        let rings: Vec<_> = members
            .iter()
            .map(|n| network.ring(n.as_str()).digest())
            .collect();
        assert!(
            rings.iter().all(|digest| *digest == rings[0]),
            "seed {seed}: one ring for all"
        );
        assert_eq!(network.violations, Vec::<String>::new(), "seed {seed}");
    }
    assert!(epochs > 150, "the storms were real: {epochs} epochs");
}

/// Lost without it: the test above could be blind.
#[test]
fn a_promise_that_is_not_persisted_is_noticed() {
    let caught = (0..2_000).find(|&seed| {
        let network = storm(seed, Fault::PromiseNotPersisted);
        !network.violations.is_empty()
    });
    assert!(caught.is_some(), "no seed noticed it");
}

/// Lost without it: one dead claimant would end all changes of membership.
#[test]
fn a_dead_claimant_is_replaced() {
    for seed in 0..20 {
        let mut network = Network::of_cluster(&["a", "b", "c"], seed, Fault::None);
        network.run(1_000);
        network.crash(&name("a"));
        let replaced = network.run_until(4 * DETECTION_MS, |network| {
            let ring = network.ring("c");
            ring.claimant == name("b") && ring.epoch == Epoch(2)
        });
        assert!(replaced, "seed {seed}");
        network.start(&name("a"));
        let learned = network.run_until(DETECTION_MS, |network| {
            network.ring("a").digest() == network.ring("b").digest()
        });
        assert!(learned, "seed {seed}: the old claimant learns it");
        network.run(4 * DETECTION_MS);
        assert_eq!(
            network.ring("a").epoch,
            Epoch(2),
            "seed {seed}: and keeps the peace"
        );
    }
}

/// Lost without it: what an operator was told is done would be unknown to all others until the next change.
#[test]
fn an_accepted_ring_is_not_left_hanging() {
    let mut network = Network::of_cluster(&["a", "b", "c"], 1, Fault::None);
    network.swallow.push("Chosen");
    network.crash(&name("a"));
    assert!(network.run_until(8 * DETECTION_MS, |n| n.ring("b").epoch == Epoch(2)));
    network.crash(&name("b"));
    assert_eq!(
        network.ring("c").epoch,
        Epoch(1),
        "it has accepted, and knows no more"
    );
    network.swallow.clear();
    network.start(&name("a"));
    let finished = network.run_until(8 * DETECTION_MS, |n| {
        n.chosen.len() > 1 && n.ring("a").epoch >= Epoch(2) && n.ring("c").epoch >= Epoch(2)
    });
    assert!(finished);
    assert_eq!(network.violations, Vec::<String>::new());
}

/// Lost without it: half of a split cluster would go on by itself.
#[test]
fn a_minority_decides_nothing() {
    let mut network = Network::of_cluster(&["a", "b", "c"], 1, Fault::None);
    for other in ["b", "c"] {
        network.cut.insert((name("a"), name(other)));
        network.cut.insert((name(other), name("a")));
    }
    let answer = network.answer("a", AdminRequest::Leave { node: name("c") });
    assert_eq!(answer, Err(Refusal::NoMajority));
    assert_eq!(network.ring("a").epoch, Epoch(1));
    network.run(4 * DETECTION_MS);
    assert_eq!(network.ring("b").claimant, name("b"));
    network.calm();
    network.run(2 * DETECTION_MS);
    assert_eq!(network.ring("a").claimant, name("b"));
    assert_eq!(network.violations, Vec::<String>::new());
}

/// Lost without it: two nodes would be safer than one only until the first of them stops.
#[test]
fn of_two_nodes_the_claimant_goes_on_alone() {
    let mut network = Network::of_cluster(&["a", "b"], 1, Fault::None);
    network.crash(&name("b"));
    network.run(2 * DETECTION_MS);
    let answer = network.answer("a", AdminRequest::Leave { node: name("b") });
    assert!(answer.is_ok(), "{answer:?}");

    let mut network = Network::of_cluster(&["a", "b"], 1, Fault::None);
    network.crash(&name("a"));
    network.run(4 * DETECTION_MS);
    assert_eq!(network.ring("b").epoch, Epoch(1), "the other one does not");
}
