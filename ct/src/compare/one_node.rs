//! This file answers: how does one node stand against one redis-server? (Cases 1 and 2.)

use anyhow::Result;

use super::stage::{self, Tool};
use super::table::{Goal, Line};
use super::{Extent, benchmark, in_turns, lines};
use crate::replies::server::RedisServer;

/// Commands that a client sends before it waits for replies.
const PIPELINE: usize = 16;

pub(super) fn in_memory(extent: Extent) -> Result<Vec<Line>> {
    let against = "redis-server, no log";
    side_by_side(
        1,
        extent,
        ("memory", "batch"),
        &[],
        against,
        Goal::AtLeast(1.0),
    )
}

pub(super) fn durable(extent: Extent) -> Result<Vec<Line>> {
    let options = ["--appendonly", "yes", "--appendfsync", "always"];
    let against = "redis-server, appendfsync always";
    side_by_side(
        2,
        extent,
        ("fjall", "always"),
        &options,
        against,
        Goal::AtLeast(1.2),
    )
}

fn side_by_side(
    case: u8,
    extent: Extent,
    (backend, durability): (&str, &str),
    options: &[&str],
    against: &'static str,
    goal: Goal,
) -> Result<Vec<Line>> {
    if let Some(skipped) = stage::missing(case, &[Tool::Server, Tool::Benchmark]) {
        return Ok(skipped);
    }
    let rkv = stage::one_node(backend, durability)?;
    let redis = RedisServer::start_with(options)?;
    let both = |port: u16| -> Result<[f64; 4]> {
        let plain = benchmark::run(port, 1, benchmark::requests(extent, 1))?;
        let piped = benchmark::run(port, PIPELINE, benchmark::requests(extent, PIPELINE))?;
        Ok([plain.set, plain.get, piped.set, piped.get])
    };
    // warm, and filled, so that a GET finds what it looks for
    for port in [rkv.nodes[0].redis, redis.port] {
        benchmark::run(port, PIPELINE, benchmark::requests(extent, PIPELINE))?;
    }
    let pairs = in_turns(
        extent.rounds,
        || both(rkv.nodes[0].redis),
        || both(redis.port),
    )?;
    let figures = [
        ("SET", against, "/s", goal),
        ("GET", against, "/s", goal),
        ("SET, pipeline 16", against, "/s", goal),
        ("GET, pipeline 16", against, "/s", goal),
    ];
    Ok(lines(case, figures, &pairs))
}
