//! This file answers: who is started for a comparison, and with what configuration?
//!
//! rkv as it comes, but for what a case says: its own defaults stand where the suites' configuration is made for tests.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::benchmark;
use super::table::Line;
use crate::processes::{PATIENCE, Processes, Redis, Reply, eventually, free_ports};
use crate::replies::server::RedisServer;

/// What `rkv start` has without a configuration, where `config/ct.toml` differs.
const DEFAULTS: [(&str, &str); 3] = [
    ("RKV_RING__PARTITIONS", "64"),
    ("RKV_CLUSTER__GOSSIP_INTERVAL_MS", "100"),
    ("RKV_REQUEST__TIMEOUT_MS", "5000"),
];

/// One node whose keys have one copy.
pub fn one_node(backend: &str, durability: &str) -> Result<Processes> {
    let mut environment = DEFAULTS.to_vec();
    environment.push(("RKV_DEFAULT__N", "1"));
    Processes::start_with(1, backend, durability, &environment)
}

/// Nodes that know nothing of each other, n=3, r=w=2 once they do, in memory.
pub fn single_nodes(count: usize) -> Result<Processes> {
    Processes::start_with(count, "memory", "batch", &DEFAULTS)
}

/// Three nodes, joined and settled.
pub fn three_nodes() -> Result<Processes> {
    let nodes = single_nodes(3)?;
    nodes.join()?;
    Ok(nodes)
}

/// What of Redis is not there that a case wants, as lines that say so.
pub fn missing(case: u8, wants: &[Tool]) -> Option<Vec<Line>> {
    let absent = wants.iter().find(|tool| !tool.is_installed())?;
    let why = format!(
        "{} is not installed (apt-get install {})",
        absent.name(),
        absent.package()
    );
    Some(vec![Line::Skipped { case, why }])
}

/// A program of Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is a program")]
pub enum Tool {
    Server,
    Benchmark,
    Cli,
}

impl Tool {
    fn is_installed(self) -> bool {
        match self {
            Tool::Server => RedisServer::is_installed(),
            Tool::Benchmark => benchmark::is_installed(),
            Tool::Cli => {
                let version = Command::new("redis-cli").arg("--version").output();
                version.is_ok_and(|output| output.status.success())
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Tool::Server => "redis-server",
            Tool::Benchmark => "redis-benchmark",
            Tool::Cli => "redis-cli",
        }
    }

    fn package(self) -> &'static str {
        match self {
            Tool::Server => "redis-server",
            Tool::Benchmark | Tool::Cli => "redis-tools",
        }
    }
}

/// A Redis Cluster of three masters with a replica each. The first three are not always the masters: ask for the slots.
pub fn redis_cluster() -> Result<Vec<RedisServer>> {
    let mut servers = Vec::new();
    let mut addresses = Vec::new();
    for _ in 0..6 {
        let [_, bus, _] = free_ports()?;
        let bus_text = bus.to_string();
        let options = ["--cluster-enabled", "yes", "--cluster-port", &bus_text];
        let server = RedisServer::start_with(&options)?;
        addresses.push(format!("127.0.0.1:{}@{bus}", server.port));
        servers.push(server);
    }
    let output = Command::new("redis-cli")
        .args(["--cluster", "create"])
        .args(&addresses)
        .args(["--cluster-replicas", "1", "--cluster-yes"])
        .output()?;
    ensure!(
        output.status.success(),
        "redis-cli --cluster create: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    for server in &servers {
        let mut asking = Redis::connect(server.port)?;
        eventually("every node of Redis Cluster is well, replicas too", || {
            let ok = |reply: Result<Reply>, word: &str| {
                reply.is_ok_and(|reply| reply.text().contains(word))
            };
            ok(asking.call(&["CLUSTER", "INFO"]), "cluster_state:ok")
                && (ok(
                    asking.call(&["INFO", "replication"]),
                    "master_link_status:up",
                ) || ok(asking.call(&["INFO", "replication"]), "connected_slaves:1"))
        })?;
    }
    Ok(servers)
}

/// First and last slot, and the port of the node that a client goes to for them.
pub fn slots(port: u16) -> Result<Vec<(u16, u16, u16)>> {
    let Reply::Array(rows) = Redis::connect(port)?.call(&["CLUSTER", "SLOTS"])? else {
        bail!("CLUSTER SLOTS answered no array");
    };
    let row = |row: Reply| -> Option<(u16, u16, u16)> {
        let Reply::Array(row) = row else { return None };
        let [
            Reply::Integer(first),
            Reply::Integer(last),
            Reply::Array(node),
            ..,
        ] = &row[..]
        else {
            return None;
        };
        let Some(Reply::Integer(port)) = node.get(1) else {
            return None;
        };
        let number = |number: &i64| u16::try_from(*number).ok();
        Some((number(first)?, number(last)?, number(port)?))
    };
    let rows: Option<Vec<_>> = rows.into_iter().map(row).collect();
    rows.context("CLUSTER SLOTS answered something else")
}

/// The time that a warm-up or a measured loop takes.
pub fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds).min(PATIENCE)
}
