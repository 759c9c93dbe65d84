//! Many clients of one node, and what it holds for each: `rkv-crowd [IDLE] [BUSY] [SECONDS]`.

use std::time::Duration;

use anyhow::{Context, Result};
use rkv_ct::crowd::{Crowd, PIPELINE};

fn main() -> Result<()> {
    let mut numbers = std::env::args().skip(1).map(|arg| arg.parse::<usize>());
    let mut next = |usual| numbers.next().unwrap_or(Ok(usual)).context("numbers only");
    let crowd = Crowd {
        idle: next(10_000)?,
        busy: next(1_000)?,
        busy_for: Duration::from_secs(next(10)? as u64),
    };
    let held = crowd.come()?;
    let each = |more: u64, less: u64, count: usize| {
        more.saturating_sub(less) as f64 / count.max(1) as f64 / 1024.0
    };
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!("nobody                         {:7.1} MiB", mib(held.alone));
    println!(
        "{:6} connected, silent       {:7.1} MiB  {:6.1} KiB each",
        crowd.idle,
        mib(held.silent),
        each(held.silent, held.alone, crowd.idle)
    );
    println!(
        "{:6} idle after one SET, GET {:7.1} MiB  {:6.1} KiB each",
        crowd.idle,
        mib(held.used),
        each(held.used, held.alone, crowd.idle)
    );
    println!(
        "{:6} busy besides            {:7.1} MiB  {:6.1} KiB each, pipelines of {PIPELINE}, {} requests/s",
        crowd.busy,
        mib(held.busy),
        each(held.busy, held.used, crowd.busy),
        held.requests / crowd.busy_for.as_secs().max(1)
    );
    Ok(())
}
