//! This file answers: how quickly do keys move to nodes that join, and what do readers feel of it? (Cases 7 and 8.)

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::memory::fill;
use super::spread::quantile;
use super::stage;
use super::table::{Goal, Line};
use super::{Extent, lines};
use crate::processes::{Node, Processes, Redis, Reply};

/// Reads a second, by so many readers in turn.
const READS_PER_S: u32 = 500;
const READERS: u32 = 25;
/// How often it is looked whether a handoff has ended, where its time is what is asked for.
const LOOK: Duration = Duration::from_millis(5);
/// And where readers must not feel it: each look has every node list its copies.
const SELDOM: Duration = Duration::from_millis(200);
/// How long a handoff may take before it is given up.
const HANDOFF_WITHIN: Duration = Duration::from_secs(600);
/// Keys a second that are the goal.
const GOAL_PER_S: f64 = 300_000.0;

pub(super) fn keys_per_second(extent: Extent) -> Result<Vec<Line>> {
    let keys = extent.of(500_000, 20_000);
    let mut pairs = Vec::new();
    for _ in 0..extent.rounds {
        let nodes = stage::single_nodes(3)?;
        fill(nodes.nodes[0].redis, keys)?;
        let plan = staged(&nodes, 1..3)?;
        let took = carried_out(&nodes.nodes[0], &plan, LOOK)?;
        pairs.push(([plan.keys as f64 / took.as_secs_f64()], [GOAL_PER_S]));
    }
    let figure = (
        "handoff from one node to two more",
        "the goal",
        "keys/s",
        Goal::AtLeast(1.0),
    );
    Ok(lines(8, [figure], &pairs))
}

pub(super) fn reads_meanwhile(extent: Extent) -> Result<Vec<Line>> {
    // a quarter of all copies goes to the fourth node: three quarters of so many keys
    let keys = extent.of(400_000, 20_000);
    let before_for = stage::seconds(extent.of(5_000, 1_000) as f64 / 1_000.0);
    let mut pairs = Vec::new();
    for _ in 0..extent.rounds {
        let nodes = stage::single_nodes(4)?;
        let three = staged(&nodes, 1..3)?;
        carried_out(&nodes.nodes[0], &three, LOOK)?;
        nodes.settle()?;
        let port = nodes.nodes[0].redis;
        fill(port, keys)?;
        let plan = staged(&nodes, 3..4)?;
        let mut before = reads(port, keys, || {
            std::thread::sleep(before_for);
            Ok(())
        })?;
        let mut during = reads(port, keys, || {
            carried_out(&nodes.nodes[0], &plan, SELDOM).map(drop)
        })?;
        ensure!(
            !during.is_empty(),
            "the handoff was over before a read began"
        );
        let p99 = |latencies: &mut [f64]| quantile(latencies, 0.99).context("no reads");
        pairs.push(([p99(&mut during)?], [p99(&mut before)?]));
    }
    let figure = (
        "p99 of 500 reads/s in a handoff",
        "before it",
        "ms",
        Goal::AtMost(2.0),
    );
    Ok(lines(7, [figure], &pairs))
}

/// A plan that is staged.
struct Staged {
    id: String,
    /// Keys that it moves, each as often as it has copies that move.
    keys: u64,
}

/// Stages that some nodes join the first.
fn staged(nodes: &Processes, newcomers: Range<usize>) -> Result<Staged> {
    let first = format!("127.0.0.1:{}", nodes.nodes[0].peer);
    for node in &nodes.nodes[newcomers] {
        node.cli(&["cluster", "join", &first])?;
    }
    let plan = nodes.nodes[0].cli(&["cluster", "plan"])?;
    let transfers = plan["transfers"]
        .as_array()
        .context("a plan lists transfers")?;
    let keys = transfers
        .iter()
        .filter_map(|transfer| transfer["keys"].as_u64());
    Ok(Staged {
        id: plan["plan"]
            .as_str()
            .context("the plan has an id")?
            .to_owned(),
        keys: keys.sum(),
    })
}

/// Commits a plan; the time until nothing is left to move.
fn carried_out(node: &Node, plan: &Staged, look: Duration) -> Result<Duration> {
    let begun = Instant::now();
    let committed = node.cli(&["cluster", "commit", "--plan", &plan.id])?;
    let epoch = committed["epoch"]
        .as_u64()
        .context("a commit has its epoch")?;
    loop {
        let status = status(node)?;
        let left = status["transfers_pending"]
            .as_u64()
            .zip(status["transfers_active"].as_u64());
        let reached = status["epoch"].as_u64().context("a status has its epoch")?;
        if reached >= epoch && left == Some((0, 0)) {
            let took = begun.elapsed();
            eprintln!("   {} keys moved in {:.2} s", plan.keys, took.as_secs_f64());
            return Ok(took);
        }
        ensure!(
            begun.elapsed() < HANDOFF_WITHIN,
            "the handoff does not end: {status}"
        );
        std::thread::park_timeout(look);
    }
}

fn status(node: &Node) -> Result<Value> {
    let url = format!("http://127.0.0.1:{}/v1/cluster/status", node.http);
    let text = ureq::get(&url).call()?.body_mut().read_to_string()?;
    Ok(serde_json::from_str(&text)?)
}

/// Reads at a steady rate while something goes on: how long each took, in milliseconds, from when it was due.
fn reads(port: u16, keys: usize, meanwhile: impl FnOnce() -> Result<()>) -> Result<Vec<f64>> {
    let is_over = AtomicBool::new(false);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let is_over = &is_over;
        let readers: Vec<_> = (0..READERS)
            .map(|reader| scope.spawn(move || read(port, keys, reader, begun, is_over)))
            .collect();
        let done = meanwhile();
        is_over.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for reader in readers {
            all.extend(reader.join().expect("a reader does not panic")?);
        }
        done.map(|()| all)
    })
}

/// One reader. A read that had to wait for the one before counts from when it was due; the time that the system took to wake the
/// reader is not the node's.
fn read(
    port: u16,
    keys: usize,
    reader: u32,
    begun: Instant,
    is_over: &AtomicBool,
) -> Result<Vec<f64>> {
    let mut redis = Redis::connect(port)?;
    let mut latencies = Vec::new();
    for turn in 0.. {
        let due = begun + Duration::from_secs(1) * (turn * READERS + reader) / READS_PER_S;
        let from = match due.checked_duration_since(Instant::now()) {
            Some(early) => {
                std::thread::sleep(early);
                Instant::now()
            }
            None => due,
        };
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let at = (turn as usize * 7_919 + reader as usize * 104_729) % keys;
        let reply = redis.call(&["GET", &format!("key:{at:012}")])?;
        let is_there = matches!(&reply, Reply::Bulk(Some(value)) if value.len() == 100);
        ensure!(is_there, "a read failed: {}", reply.text());
        latencies.push(from.elapsed().as_secs_f64() * 1_000.0);
    }
    Ok(latencies)
}
