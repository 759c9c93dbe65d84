//! This file answers: how do three nodes with quorums stand against their Erlang ancestor? (Cases 3 and 4.)
//!
//! The ancestor is not started. It was measured on one machine beside redis-server, and stands as that share of redis-server's
//! figure of the same round, without pipelining.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rkv_client::Client;
use tokio::task::JoinSet;

use super::benchmark::{self, Rates};
use super::stage::{self, Tool};
use super::table::{Goal, Line};
use super::{Extent, in_turns, lines};
use crate::processes::Processes;
use crate::replies::server::RedisServer;

/// What redis-server did where the ancestor was measured.
const REDIS: Rates = Rates {
    set: 113_000.0,
    get: 112_000.0,
};
/// Three nodes, one replica a key; no pipelining. 0.22 and 0.25 of redis-server.
const ONE_REPLICA: Rates = Rates {
    set: 25_000.0,
    get: 28_000.0,
};
/// Three nodes, put_quorum and get_quorum, n=3 w=2, 64 callers inside a node.
const QUORUM: Rates = Rates {
    set: 25_000.0,
    get: 29_000.0,
};
/// Callers of the Rust client.
const CALLERS: usize = 64;
/// Keys that they draw from, as redis-benchmark does.
const KEYS: usize = 100_000;
/// The time that one of their operations has.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What the ancestor would do where redis-server does `redis`.
fn scaled(ancestor: Rates, redis: Rates) -> Rates {
    Rates {
        set: redis.set * ancestor.set / REDIS.set,
        get: redis.get * ancestor.get / REDIS.get,
    }
}

pub(super) fn plain(extent: Extent) -> Result<Vec<Line>> {
    if let Some(skipped) = stage::missing(3, &[Tool::Server, Tool::Benchmark]) {
        return Ok(skipped);
    }
    let nodes = stage::three_nodes()?;
    let redis = RedisServer::start_with(&[])?;
    let requests = benchmark::requests(extent, 1);
    benchmark::run(nodes.nodes[0].redis, 1, requests)?;
    benchmark::run(redis.port, 1, requests)?;
    let pairs = in_turns(
        extent.rounds,
        || {
            let rkv = benchmark::run(nodes.nodes[0].redis, 1, requests)?;
            Ok([rkv.set, rkv.get])
        },
        || {
            let erlang = scaled(ONE_REPLICA, benchmark::run(redis.port, 1, requests)?);
            Ok([erlang.set, erlang.get])
        },
    )?;
    let against = "Erlang rkv, one replica";
    let figures = [
        ("SET through one node", against, "/s", Goal::AtLeast(2.0)),
        ("GET through one node", against, "/s", Goal::AtLeast(2.0)),
    ];
    Ok(lines(3, figures, &pairs))
}

pub(super) fn many_at_once(extent: Extent) -> Result<Vec<Line>> {
    if let Some(skipped) = stage::missing(4, &[Tool::Server, Tool::Benchmark]) {
        return Ok(skipped);
    }
    let nodes = stage::three_nodes()?;
    let redis = RedisServer::start_with(&[])?;
    // One thread: what the nodes get of the machine is theirs.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .on_thread_park(rkv_client::let_others_go)
        .enable_all()
        .build()?;
    let client = runtime.block_on(client(&nodes))?;
    let long = stage::seconds(extent.of(4_000, 500) as f64 / 1_000.0);
    let plain = benchmark::requests(extent, 1);
    let piped = benchmark::requests(extent, 16);
    benchmark::run(nodes.nodes[0].redis, 16, piped)?;
    benchmark::run(redis.port, 1, plain)?;
    runtime.block_on(callers(&client, long, Operation::Put))?;
    let pairs = in_turns(
        extent.rounds,
        || {
            let rkv = benchmark::run(nodes.nodes[0].redis, 16, piped)?;
            let put = runtime.block_on(callers(&client, long, Operation::Put))?;
            let get = runtime.block_on(callers(&client, long, Operation::Get))?;
            Ok([rkv.set, rkv.get, put, get])
        },
        || {
            let erlang = scaled(QUORUM, benchmark::run(redis.port, 1, plain)?);
            Ok([erlang.set, erlang.get, erlang.set, erlang.get])
        },
    )?;
    let against = "Erlang rkv, quorum calls";
    let goal = Goal::AtLeast(10.0);
    let figures = [
        ("SET through one node, pipeline 16", against, "/s", goal),
        ("GET through one node, pipeline 16", against, "/s", goal),
        ("put_quorum, 64 callers of the client", against, "/s", goal),
        ("get_quorum, 64 callers of the client", against, "/s", goal),
    ];
    Ok(lines(4, figures, &pairs))
}

async fn client(nodes: &Processes) -> Result<Client> {
    let seeds = nodes.nodes.iter();
    let seeds = seeds.map(|node| format!("127.0.0.1:{}", node.peer));
    let client = Client::builder().seeds(seeds).build().await;
    client.context("the client meets the cluster")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Put,
    Get,
}

/// Operations a second of all callers, each with one under way.
async fn callers(client: &Client, long: Duration, operation: Operation) -> Result<f64> {
    let value: Arc<[u8]> = vec![b'v'; 100].into();
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for caller in 0..CALLERS {
        let (client, value) = (client.clone(), value.clone());
        tasks.spawn(async move {
            let mut done = 0_u64;
            let mut at = caller * KEYS / CALLERS;
            while begun.elapsed() < long {
                at = (at + 7_919) % KEYS;
                let key = format!("key:{at:012}");
                match operation {
                    Operation::Put => {
                        let value = value.to_vec();
                        client.put_quorum(key, value, 3, 2, TIMEOUT).await?;
                    }
                    Operation::Get => {
                        client.get_quorum(key, 3, 2, TIMEOUT).await?;
                    }
                }
                done += 1;
            }
            Ok::<u64, rkv_client::Error>(done)
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
    fn the_ancestor_is_its_share_of_redis_here() {
        // Without this a machine twice as fast makes rkv twice as good as its ancestor.
        let twice = Rates {
            set: 2.0 * REDIS.set,
            get: 2.0 * REDIS.get,
        };
        let erlang = scaled(ONE_REPLICA, twice);
        assert!((erlang.set - 50_000.0).abs() < 1.0, "{erlang:?}");
        assert!((erlang.get - 56_000.0).abs() < 1.0, "{erlang:?}");
    }
}
