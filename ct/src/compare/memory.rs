//! This file answers: what does a key cost in memory, here and in Redis? (Case 6.)

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::asking::command;
use super::stage::{self, Tool};
use super::table::{Goal, Line};
use super::{Extent, in_turns, lines};
use crate::processes::PATIENCE;
use crate::replies::server::RedisServer;

/// Commands that are under way at once while a node is filled.
const BATCH: usize = 500;
/// How often memory is looked at until it stands still, and how still that is.
const LOOK: Duration = Duration::from_millis(200);
const STILL: f64 = 0.002;

pub(super) fn per_key(extent: Extent) -> Result<Vec<Line>> {
    if let Some(skipped) = stage::missing(6, &[Tool::Server]) {
        return Ok(skipped);
    }
    let keys = extent.of(1_000_000, 50_000);
    let pairs = in_turns(
        extent.rounds,
        || {
            let rkv = stage::one_node("memory", "batch")?;
            let node = &rkv.nodes[0];
            Ok([grown(node.redis, keys, || node.resident_bytes())?])
        },
        || {
            let redis = RedisServer::start_with(&[])?;
            Ok([grown(redis.port, keys, || redis.resident_bytes())?])
        },
    )?;
    let figure = (
        "bytes a key of 16 B and 100 B",
        "redis-server",
        "B",
        Goal::AtMost(1.0),
    );
    Ok(lines(6, [figure], &pairs))
}

/// Bytes that a process has more with so many keys than with one, a key.
fn grown(port: u16, keys: usize, resident: impl Fn() -> Result<u64>) -> Result<f64> {
    fill(port, 1)?;
    let before = at_rest(&resident)?;
    fill(port, keys)?;
    let after = at_rest(&resident)?;
    Ok(after.saturating_sub(before) as f64 / keys as f64)
}

/// Writes keys of 16 bytes with values of 100.
pub(super) fn fill(port: u16, keys: usize) -> Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut replies = Vec::new();
    for first in (0..keys).step_by(BATCH) {
        let batch = first..keys.min(first + BATCH);
        let commands = batch
            .clone()
            .map(|at| command(&["SET", &format!("key:{at:012}"), &format!("{at:0100}")]));
        stream.write_all(&commands.collect::<Vec<_>>().concat())?;
        replies.resize(batch.len() * 5, 0);
        stream.read_exact(&mut replies)?;
        let are_ok = replies.chunks(5).all(|reply| reply == b"+OK\r\n");
        ensure!(
            are_ok,
            "a SET was refused: {}",
            String::from_utf8_lossy(&replies)
        );
    }
    Ok(())
}

/// Once it no longer changes.
fn at_rest(resident: &impl Fn() -> Result<u64>) -> Result<u64> {
    let begun = Instant::now();
    let mut last = resident()?;
    loop {
        std::thread::park_timeout(LOOK);
        let now = resident()?;
        if now.abs_diff(last) as f64 <= last as f64 * STILL {
            return Ok(now);
        }
        ensure!(
            begun.elapsed() < PATIENCE,
            "its memory does not come to rest"
        );
        last = now;
    }
}
