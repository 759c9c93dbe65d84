//! Lives many seeds, or one again.
//!
//!     cargo run --release -p rkv-ct --bin rkv-sim -- 2000            seeds 0 to 1999
//!     cargo run --release -p rkv-ct --bin rkv-sim -- 2000 --from 500
//!     cargo run --release -p rkv-ct --bin rkv-sim -- --seed 17       one life, twice, and its digest
//!     cargo run --release -p rkv-ct --bin rkv-sim -- --seed 17 --trace   the same, told step by step
//!     cargo run --release -p rkv-ct --bin rkv-sim -- 2000 --fault AckBeforeForward
//!
//! Ends with 1 when a promise was broken (with `--fault`: when none was).

use std::collections::BTreeMap;
use std::process::ExitCode;

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
    let mut occurred: BTreeMap<String, u64> = BTreeMap::new();
    let (mut steps, mut acknowledged, mut excused, mut broken) = (0, 0, 0, 0);
    for seed in from..from + count {
        let mut options = Options::of_seed(seed);
        options.fault = fault;
        let outcome = World::new(options).live();
        steps += outcome.steps;
        acknowledged += outcome.acknowledged;
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
        "{count} seeds, {steps} steps, {acknowledged} acknowledged writes, {broken} broken; \
         in {excused} more disks were lost at once than the promises about data speak of"
    );
    let occurred: Vec<String> = occurred
        .iter()
        .map(|(what, count)| format!("{what} {count}"))
        .collect();
    println!("occurred: {}", occurred.join(", "));
    if (broken == 0) == (fault == Fault::None) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
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
