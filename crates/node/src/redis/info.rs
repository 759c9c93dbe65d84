//! This file answers: what does INFO tell?
//!
//! The fields that clients and exporters read of Redis, with what holds here, and three sections of our own. Keys are
//! those of the whole cluster, as DBSIZE counts them, a moment old.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use rkv_resp::Reply;
use rkv_wire::message::TransferKind;

use super::server::Server;
use crate::process::{cpu_seconds, resident_bytes};

/// The version of Redis whose clients are at home here.
pub(super) const REDIS_VERSION: &str = "7.4.0";

type Fields = Vec<(String, String)>;
type Section = (&'static str, fn(&Server) -> Fields);

/// The sections in the order in which they are told: Redis' own first, then ours.
const SECTIONS: [Section; 16] = [
    ("Server", server_fields),
    ("Clients", client_fields),
    ("Memory", memory_fields),
    ("Persistence", persistence_fields),
    ("Stats", stats_fields),
    ("Replication", replication_fields),
    ("CPU", cpu_fields),
    ("Modules", |_| Vec::new()),
    ("Commandstats", |server| server.stats.by_command.commands()),
    ("Errorstats", |server| server.stats.by_command.errors()),
    ("Latencystats", |_| Vec::new()),
    ("Cluster", cluster_fields),
    ("Keyspace", keyspace_fields),
    ("Ring", ring_fields),
    ("Quorum", quorum_fields),
    ("Handoff", handoff_fields),
];

/// Told only by name, or to who asks for all.
const ON_REQUEST: [&str; 2] = ["Commandstats", "Latencystats"];

/// INFO of these sections; of the default ones if none is named.
pub(super) fn info(server: &Server, asked: &[Bytes]) -> Reply {
    let mut text = String::new();
    for (title, fields) in SECTIONS.iter().filter(|(title, _)| is_asked(asked, title)) {
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        text.push_str(&section(title, &fields(server)));
    }
    Reply::Verbatim(text.into())
}

fn is_asked(asked: &[Bytes], title: &str) -> bool {
    let is_default = !ON_REQUEST.contains(&title);
    let names = |section: &Bytes| {
        let is = |name: &str| section.eq_ignore_ascii_case(name.as_bytes());
        is(title)
            || is("everything")
            || (is("all") && title != "Modules")
            || (is("default") && is_default)
    };
    match asked {
        [] => is_default,
        asked => asked.iter().any(names),
    }
}

fn section(title: &str, fields: &Fields) -> String {
    let mut text = format!("# {title}\r\n");
    for (name, value) in fields {
        // Writing to a String cannot fail.
        let _ = write!(text, "{name}:{value}\r\n");
    }
    text
}

fn field(name: &str, value: impl ToString) -> (String, String) {
    (name.to_owned(), value.to_string())
}

fn server_fields(server: &Server) -> Fields {
    let uptime_s = server.started.elapsed().as_secs();
    vec![
        field("redis_version", REDIS_VERSION),
        field("redis_mode", "cluster"),
        field("rkv_version", env!("CARGO_PKG_VERSION")),
        field("rkv_node", server.engine.me()),
        field("os", std::env::consts::OS),
        field("arch_bits", usize::BITS),
        field("process_id", std::process::id()),
        field("run_id", &server.run_id),
        field("tcp_port", server.local.port()),
        field("announced", &server.config.announced),
        field(
            "server_time_usec",
            server.engine.wall_ms().saturating_mul(1_000),
        ),
        field("uptime_in_seconds", uptime_s),
        field("uptime_in_days", uptime_s / 86_400),
    ]
}

fn client_fields(server: &Server) -> Fields {
    vec![
        field("connected_clients", server.connected()),
        field("maxclients", server.config.connections),
        field("blocked_clients", 0),
    ]
}

fn memory_fields(_: &Server) -> Fields {
    let resident = resident_bytes().unwrap_or(0);
    vec![
        field("used_memory", resident),
        field(
            "used_memory_human",
            format!("{:.2}M", resident as f64 / f64::from(1 << 20)),
        ),
        field("used_memory_rss", resident),
        field("used_memory_peak", peak_bytes().unwrap_or(resident)),
        field("maxmemory", 0),
        field("maxmemory_policy", "noeviction"),
    ]
}

/// What every acknowledgement survives is `storage.durability`'s affair; nothing is loaded while requests are taken.
fn persistence_fields(server: &Server) -> Fields {
    let is_volatile = server.engine.host().store().is_volatile();
    vec![
        field("loading", 0),
        field("async_loading", 0),
        field("rdb_bgsave_in_progress", 0),
        field("aof_enabled", u8::from(!is_volatile)),
        field("aof_rewrite_in_progress", 0),
    ]
}

fn stats_fields(server: &Server) -> Fields {
    let stats = &server.stats;
    let traffic = stats.traffic();
    let read = |total: &AtomicU64| total.load(Ordering::Relaxed);
    vec![
        field("total_connections_received", read(&stats.connections)),
        field("rejected_connections", read(&stats.rejected)),
        field("total_commands_processed", traffic.commands),
        field(
            "instantaneous_ops_per_sec",
            stats.commands_per_s(server.engine.now_ms()),
        ),
        field("total_net_input_bytes", traffic.input_bytes),
        field("total_net_output_bytes", traffic.output_bytes),
        field("total_error_replies", traffic.errors),
        field("keyspace_hits", traffic.hits),
        field("keyspace_misses", traffic.misses),
        field("expired_keys", 0),
        field("evicted_keys", 0),
    ]
}

/// Replication is the ring's: here every node is a master without replicas, as clients of Redis use the words.
fn replication_fields(server: &Server) -> Fields {
    vec![
        field("role", "master"),
        field("connected_slaves", 0),
        field("master_failover_state", "no-failover"),
        field("master_replid", &server.run_id),
        field("master_repl_offset", 0),
    ]
}

fn cpu_fields(_: &Server) -> Fields {
    match cpu_seconds() {
        Some((user, system)) => vec![
            field("used_cpu_sys", format!("{system:.6}")),
            field("used_cpu_user", format!("{user:.6}")),
        ],
        None => Vec::new(),
    }
}

fn cluster_fields(_: &Server) -> Fields {
    vec![field("cluster_enabled", 1)]
}

fn keyspace_fields(server: &Server) -> Fields {
    let keys = server.engine.size_known();
    if keys == 0 {
        return Vec::new();
    }
    vec![field("db0", format!("keys={keys},expires=0,avg_ttl=0"))]
}

fn ring_fields(server: &Server) -> Fields {
    let view = server.engine.view();
    let ring = view.ring();
    vec![
        field("ring_cluster", view.id().cluster),
        field("ring_lineage", view.id().lineage),
        field("ring_epoch", view.id().epoch),
        field("ring_partitions", ring.partitions.get()),
        field("ring_replicas", ring.replicas),
        field("ring_members", ring.members.len()),
        field("ring_peers_up", view.peers_up().count()),
        field("ring_member", u8::from(view.serves())),
    ]
}

fn quorum_fields(server: &Server) -> Fields {
    let engine = &server.engine;
    let report = engine.host().report();
    let hints: u64 = report.hints.iter().map(|hint| hint.keys).sum();
    let (drift_ms, may_coordinate) = engine.drift();
    let defaults = &engine.default_keyspace().defaults;
    let number = |asked: Option<u8>| asked.map_or_else(|| "majority".to_owned(), |k| k.to_string());
    vec![
        field(
            "quorum_n",
            defaults.n.unwrap_or(engine.view().ring().replicas),
        ),
        field("quorum_r", number(defaults.r)),
        field("quorum_w", number(defaults.w)),
        field("quorum_timeout_ms", defaults.timeout_ms),
        field("requests_in_flight", engine.in_flight()),
        field("hints", hints),
        field("transfers", report.transfers.len()),
        field("clock_drift_ms", drift_ms),
        field("clock_may_coordinate", u8::from(may_coordinate)),
    ]
}

/// What this node gives and gets: transfers that it runs or waits to run, and hints that it holds.
fn handoff_fields(server: &Server) -> Fields {
    let report = server.engine.host().report();
    let transfers = &report.transfers;
    let kinds = [
        ("handoff_ownership", TransferKind::Ownership),
        ("handoff_hinted", TransferKind::Hinted),
        ("handoff_repair", TransferKind::Repair),
    ];
    let of_kind = |kind| transfers.iter().filter(|t| t.kind == kind).count();
    let mut fields: Fields = kinds.map(|(name, kind)| field(name, of_kind(kind))).into();
    let hints: u64 = report.hints.iter().map(|hint| hint.keys).sum();
    fields.extend([
        field(
            "handoff_keys_done",
            transfers.iter().map(|t| t.keys_done).sum::<u64>(),
        ),
        field(
            "handoff_keys_total",
            transfers.iter().map(|t| t.keys_total).sum::<u64>(),
        ),
        field(
            "handoff_bytes_done",
            transfers.iter().map(|t| t.bytes_done).sum::<u64>(),
        ),
        field("handoff_hints", hints),
        field("handoff_hinted_copies", report.hints.len()),
    ]);
    fields
}

/// The most that the process' memory was, where the system tells it.
fn peak_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kb: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kb << 10)
}
