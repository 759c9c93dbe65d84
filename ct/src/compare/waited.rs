//! This file answers: what does a write on two copies cost, here and on Redis Cluster? (Case 5.)
//!
//! Fifty connections, each to the node that a cluster client would ask for its keys. On Redis Cluster a SET is answered and then
//! waited for, as clients do; beside it both leave in one write, which is the quickest way to ask for it. On rkv a SET is
//! acknowledged by two copies anyway.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rkv_ring::Slot;
use tokio::task::JoinSet;

use super::asking::{Connection, command};
use super::stage::{self, Tool};
use super::table::{Goal, Line};
use super::{Extent, in_turns, lines};

const CONNECTIONS: usize = 50;
const KEYS: usize = 100_000;
/// For one more copy, or five seconds.
const WAIT: [&str; 3] = ["WAIT", "1", "5000"];

/// Encoded commands, by the port of the node that they go to.
type Requests = BTreeMap<u16, Arc<Vec<Vec<u8>>>>;

/// Who hears that a write is on a second copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// Whoever hears that it is done.
    Implied,
    /// Who asks for it when it is done.
    Then,
    /// Who asks for both at once.
    Together,
}

pub(super) fn against_redis_cluster(extent: Extent) -> Result<Vec<Line>> {
    if let Some(skipped) = stage::missing(5, &[Tool::Server, Tool::Cli]) {
        return Ok(skipped);
    }
    let nodes = stage::three_nodes()?;
    let peers = stage::redis_cluster()?;
    let rkv = requests(&stage::slots(nodes.nodes[0].redis)?, Wait::Implied)?;
    let slots = stage::slots(peers[0].port)?;
    let then = requests(&slots, Wait::Then)?;
    let together = requests(&slots, Wait::Together)?;
    // One thread, as a loop in C would be: what the nodes get of the machine is theirs.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let long = stage::seconds(extent.of(4_000, 500) as f64 / 1_000.0);
    for (requests, wait) in [(&rkv, Wait::Implied), (&then, Wait::Then)] {
        runtime.block_on(rate(requests, wait, long / 2))?;
    }
    let pairs = in_turns(
        extent.rounds,
        || {
            let rate = runtime.block_on(rate(&rkv, Wait::Implied, long))?;
            Ok([rate, rate])
        },
        || {
            let then = runtime.block_on(rate(&then, Wait::Then, long))?;
            let together = runtime.block_on(rate(&together, Wait::Together, long))?;
            Ok([then, together])
        },
    )?;
    let what = "SET on two copies, 50 connections";
    let goal = Goal::AtLeast(1.5);
    let figures = [
        (what, "Redis Cluster 3+3, SET, then WAIT 1", "/s", goal),
        (what, "the same, both in one write", "/s", goal),
    ];
    Ok(lines(5, figures, &pairs))
}

fn requests(slots: &[(u16, u16, u16)], wait: Wait) -> Result<Requests> {
    let value = "v".repeat(100);
    let mut requests: BTreeMap<u16, Vec<Vec<u8>>> = BTreeMap::new();
    for at in 0..KEYS {
        let key = format!("key:{at:012}");
        let slot = Slot::of(key.as_bytes()).0;
        let row = slots
            .iter()
            .find(|(first, last, _)| (*first..=*last).contains(&slot));
        let (_, _, port) = row.with_context(|| format!("nobody serves slot {slot}"))?;
        let mut request = command(&["SET", &key, &value]);
        if wait == Wait::Together {
            request.extend(command(&WAIT));
        }
        requests.entry(*port).or_default().push(request);
    }
    let shared = requests.into_iter();
    Ok(shared
        .map(|(port, requests)| (port, Arc::new(requests)))
        .collect())
}

/// Writes a second of all connections, each with one under way.
async fn rate(requests: &Requests, wait: Wait, long: Duration) -> Result<f64> {
    let mut connections = Vec::new();
    for (port, requests) in requests.iter().cycle().take(CONNECTIONS) {
        connections.push((Connection::open(*port).await?, requests.clone()));
    }
    let waits: Arc<[u8]> = command(&WAIT).into();
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for (number, (mut connection, requests)) in connections.into_iter().enumerate() {
        let waits = waits.clone();
        tasks.spawn(async move {
            let mut done = 0_u64;
            let mut at = number * requests.len() / CONNECTIONS;
            while begun.elapsed() < long {
                at = (at + 1) % requests.len();
                let replies = 1 + usize::from(wait == Wait::Together);
                let mut last = connection.ask(&requests[at], replies).await?;
                if wait == Wait::Then {
                    last = connection.ask(&waits, 1).await?;
                }
                ensure!(last != b":0\r\n", "WAIT found no second copy in time");
                done += 1;
            }
            Ok(done)
        });
    }
    let mut all = 0;
    while let Some(done) = tasks.join_next().await {
        all += done??;
    }
    Ok(all as f64 / begun.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_to_who_serves_their_slot() {
        // Without this Redis Cluster answers MOVED, and rkv is measured with a detour.
        let slots = [(0, 8_191, 1), (8_192, 16_383, 2)];
        let requests = requests(&slots, Wait::Implied).expect("every slot is served");
        assert_eq!(
            requests.values().map(|some| some.len()).sum::<usize>(),
            KEYS
        );
        for (port, requests) in &requests {
            let text = String::from_utf8_lossy(&requests[0]).into_owned();
            let key = text.split("\r\n").nth(4).expect("the key");
            let half = u16::from(Slot::of(key.as_bytes()).0 >= 8_192) + 1;
            assert_eq!(*port, half, "{key}");
        }
        assert!(super::requests(&slots[..1], Wait::Then).is_err());
    }
}
