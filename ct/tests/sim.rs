//! This file answers: do simulated lives keep the promises, and would the checks notice if they did not?

use std::fs;
use std::path::Path;

use rkv_ct::sim::{FAULTS, Options, Outcome, RARE_FAULTS, World};
use rkv_vnode::Fault;

/// Lives of every kind; more are lived by `rkv-sim`.
const SEEDS: u64 = 200;
/// Within how many seeds each known fault must be caught.
const CAUGHT_WITHIN: u64 = 2_000;

fn live(seed: u64) -> Outcome {
    World::new(Options::of_seed(seed)).live()
}

/// Lives `seeds` and panics with all that were broken, each with its seed.
fn keep_their_promises(seeds: impl IntoIterator<Item = u64>) {
    let broken = seeds.into_iter().filter_map(|seed| {
        let violation = live(seed).violation?;
        Some(format!("seed {seed}: {violation}"))
    });
    let broken: Vec<String> = broken.collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Lost without it: a change to any machine could break a promise, and nobody would know before a user does.
#[test]
fn even_lives_keep_their_promises() {
    keep_their_promises((0..SEEDS).step_by(2));
}

/// Lost without it: as above; two halves, for two cores.
#[test]
fn odd_lives_keep_their_promises() {
    keep_their_promises((1..SEEDS).step_by(2));
}

/// Lost without it: what was mended once would break again unseen.
#[test]
fn seeds_that_once_failed_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let mut seeds = Vec::new();
    for file in fs::read_dir(&folder).expect("the folder of seeds is there") {
        let path = file.expect("it can be listed").path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let text = fs::read_to_string(&path).expect("a file of seeds can be read");
            let lines = text
                .lines()
                .map(|line| line.split('#').next().unwrap_or("").trim());
            let numbers = lines.filter(|line| !line.is_empty());
            seeds.extend(numbers.map(|n| n.parse::<u64>().expect("a seed is a number")));
        }
    }
    assert!(!seeds.is_empty(), "no seeds in {}", folder.display());
    keep_their_promises(seeds);
}

/// Lost without it: a violation could not be lived again to be understood.
#[test]
fn the_same_seed_lives_the_same_life() {
    for seed in 0..6 {
        assert_eq!(live(seed), live(seed), "seed {seed}");
    }
}

/// The first seed whose life shows `fault`.
fn caught(fault: Fault) -> Option<(u64, String)> {
    let seeds = (0..CAUGHT_WITHIN).map(Options::of_seed);
    // Lives in which it cannot show would be lived in vain.
    let telling = seeds.filter(|life| life.may_show(fault));
    let mut violations = telling.filter_map(|life| {
        let seed = life.seed;
        let violation = World::new(Options { fault, ..life }).live().violation?;
        Some((seed, violation))
    });
    violations.next()
}

fn are_caught(faults: impl IntoIterator<Item = Fault>) {
    for fault in faults {
        let caught = caught(fault);
        println!("{fault:?}: {caught:?}");
        assert!(caught.is_some(), "{fault:?} goes unnoticed");
    }
}

/// Lost without it: the checks could be blind, and every life pass for that.
#[test]
fn every_known_fault_is_caught() {
    are_caught(FAULTS);
}

/// Lost without it: as above, of what shows in few lives.
#[test]
#[ignore = "minutes of one core"]
fn every_rare_fault_is_caught() {
    are_caught(RARE_FAULTS);
}

/// Within how long many nodes that join at once have settled, in simulated milliseconds.
const SETTLED_WITHIN_MS: u64 = 60_000;

/// Lost without it: a plan in which many nodes come is carried out one by one, or never comes to rest.
#[test]
fn thirty_nodes_join_at_once() {
    let world = World::new(Options::crowd(1, 30, 64));
    let settled = world.join_at_once(SETTLED_WITHIN_MS);
    assert!(settled.is_ok(), "{settled:?}");
}

/// The same of a hundred.
#[test]
#[ignore = "takes minutes"]
fn a_hundred_nodes_join_at_once() {
    let world = World::new(Options::crowd(1, 100, 64));
    let settled = world.join_at_once(SETTLED_WITHIN_MS);
    println!("settled after {settled:?} simulated milliseconds");
    assert!(settled.is_ok(), "{settled:?}");
}
