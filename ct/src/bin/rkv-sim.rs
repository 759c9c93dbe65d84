//! Lives many seeds, or one again.
//!
//!     cargo run --release -p rkv-ct --bin rkv-sim -- 2000            seeds 0 to 1999
//!     cargo run --release -p rkv-ct --bin rkv-sim -- 2000 --from 500
//!     cargo run --release -p rkv-ct --bin rkv-sim -- --seed 17       one life, twice, and its digest
//!     cargo run --release -p rkv-ct --bin rkv-sim -- --seed 17 --trace   the same, told step by step
//!     cargo run --release -p rkv-ct --bin rkv-sim -- 2000 --fault AckBeforeForward
//!
//! Ends with 1 when a promise was broken (with `--fault`: when none was), and when in 2,000 lives or more something never
//! occurred that must, or less than a third of the acknowledged writes fell within a fault.

use std::collections::BTreeMap;
use std::process::ExitCode;

use rkv_ct::sim::occurrence::{self, ENOUGH_SEEDS};
use rkv_ct::sim::{Options, World, fault_named};
use rkv_vnode::Fault;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |flag: &str| {
        let at = args.iter().position(|arg| arg == flag)?;
        args.get(at + 1).cloned()
    };
    let fault = match value("--fault").map(|name| fault_named(&name)) {
        None => Fault::None,
        Some(Some(fault)) => fault,
        Some(None) => {
            eprintln!("unknown fault; see rkv_vnode::Fault");
            return ExitCode::from(2);
        }
    };
    if let Some(seed) = value("--seed").and_then(|seed| seed.parse().ok()) {
        return one(seed, fault, args.iter().any(|arg| arg == "--trace"));
    }
    let count: u64 = args.first().and_then(|n| n.parse().ok()).unwrap_or(200);
    let from: u64 = value("--from").and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut occurred = occurrence::none_yet();
    let (mut steps, mut acknowledged, mut amid_fault, mut excused, mut broken) = (0, 0, 0, 0, 0);
    for seed in from..from + count {
        let mut options = Options::of_seed(seed);
        options.fault = fault;
        if !options.may_show(fault) {
            continue;
        }
        let outcome = World::new(options).live();
        steps += outcome.steps;
        acknowledged += outcome.acknowledged;
        amid_fault += outcome.amid_fault;
        excused += u64::from(outcome.excused);
        for (what, count) in outcome.occurred {
            *occurred.entry(what).or_default() += count;
        }
        if let Some(violation) = outcome.violation {
            println!("seed {seed}: {violation}");
            broken += 1;
            if fault != Fault::None {
                break;
            }
        }
    }
    println!(
        "{count} seeds, {steps} steps, {acknowledged} acknowledged writes, {amid_fault} ({:.1} %) of them within a fault, \
         {broken} broken; in {excused} more disks were lost at once than the promises about data speak of",
        100.0 * amid_fault as f64 / f64::max(acknowledged as f64, 1.0)
    );
    let told: Vec<String> = occurred
        .iter()
        .map(|(what, count)| format!("{what} {count}"))
        .collect();
    println!("occurred: {}", told.join(", "));
    if fault != Fault::None {
        return ExitCode::from(u8::from(broken == 0));
    }
    let is_enough = count < ENOUGH_SEEDS || tells_all(&occurred, amid_fault * 3 >= acknowledged);
    ExitCode::from(u8::from(broken > 0 || !is_enough))
}

/// Says what a long run should have shown and did not; whether it showed all.
fn tells_all(occurred: &BTreeMap<String, u64>, is_third: bool) -> bool {
    let never: Vec<&str> = occurred
        .iter()
        .filter(|(_, count)| **count == 0)
        .map(|(what, _)| what.as_str())
        .collect();
    if !never.is_empty() {
        println!("never occurred: {}", never.join(", "));
    }
    if !is_third {
        println!("less than a third of the acknowledged writes fell within a fault");
    }
    never.is_empty() && is_third
}

fn one(seed: u64, fault: Fault, trace: bool) -> ExitCode {
    let mut options = Options::of_seed(seed);
    options.fault = fault;
    let told = Options {
        trace,
        ..options.clone()
    };
    let first = World::new(told).live();
    let second = World::new(options).live();
    println!("{first:?}");
    if first != second {
        println!("the same seed lived two lives: {second:?}");
        return ExitCode::FAILURE;
    }
    ExitCode::from(u8::from(first.violation.is_some()))
}
