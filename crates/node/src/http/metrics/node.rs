//! This file answers: which figures tell of this node alone: its clients, its store, its process?

use rkv_kv::Engine;
use rkv_wire::message::{CopyState, Report};

use super::text::{Kind, Text};
use crate::process;
use crate::redis::RedisFigures;

/// The Redis listener.
pub(super) fn write_redis(redis: &RedisFigures, text: &mut Text) {
    let read = redis.read();
    text.one(
        "rkv_resp_connections",
        Kind::Gauge,
        "Redis clients that are connected.",
        read.open as f64,
    );
    for (name, help, value) in [
        (
            "rkv_resp_connections_accepted_total",
            "Redis connections taken. This and what follows begins anew at CONFIG RESETSTAT.",
            read.accepted,
        ),
        (
            "rkv_resp_connections_rejected_total",
            "Redis connections turned away at limits.connections.",
            read.rejected,
        ),
        (
            "rkv_resp_commands_total",
            "Redis commands, whatever they ask for.",
            read.commands,
        ),
        (
            "rkv_resp_errors_total",
            "Redis commands that were answered with an error.",
            read.errors,
        ),
        (
            "rkv_resp_input_bytes_total",
            "Bytes that came from Redis clients.",
            read.input_bytes,
        ),
        (
            "rkv_resp_output_bytes_total",
            "Bytes sent to Redis clients.",
            read.output_bytes,
        ),
    ] {
        text.one(name, Kind::Counter, help, value as f64);
    }
}

/// The store, and the copies in it.
pub(super) fn write_storage(engine: &Engine, backend: &str, report: &Report, text: &mut Text) {
    let stats = engine.host().store().stats();
    let labels = [("backend", backend)];
    text.family(
        "rkv_storage_bytes",
        Kind::Gauge,
        "Bytes that the storage engine takes, about.",
    );
    text.sample(&labels, stats.bytes as f64);
    if let Some(entries) = stats.entries {
        text.family(
            "rkv_storage_entries",
            Kind::Gauge,
            "Entries in the storage engine, tombstones and hints among them, about.",
        );
        text.sample(&labels, entries as f64);
    }
    text.one(
        "rkv_storage_damaged_total",
        Kind::Counter,
        "Values whose checksum did not hold: taken for missing, and repaired.",
        stats.damaged as f64,
    );
    write_copies(report, text);
}

const STATES: [(CopyState, &str); 7] = [
    (CopyState::Serving, "serving"),
    (CopyState::CatchingUp, "catching_up"),
    (CopyState::Sending, "sending"),
    (CopyState::Forwarding, "forwarding"),
    (CopyState::Receiving, "receiving"),
    (CopyState::Draining, "draining"),
    (CopyState::Hinted, "hinted"),
];

fn write_copies(report: &Report, text: &mut Text) {
    text.family("rkv_copies", Kind::Gauge, "Copies on this node by state.");
    for (state, word) in STATES {
        let copies = report.copies.iter().filter(|copy| copy.state == state);
        text.sample(&[("state", word)], copies.count() as f64);
    }
    let all = || report.copies.iter().map(|copy| copy.totals);
    text.one(
        "rkv_copies_entries",
        Kind::Gauge,
        "Entries in this node's copies, tombstones among them.",
        all().map(|totals| totals.entries).sum::<u64>() as f64,
    );
    text.one(
        "rkv_copies_bytes",
        Kind::Gauge,
        "Bytes of keys and values in this node's copies.",
        all().map(|totals| totals.bytes).sum::<u64>() as f64,
    );
}

/// The process. What the system does not tell is left out.
pub(super) fn write_process(text: &mut Text) {
    text.family("rkv_build_info", Kind::Gauge, "Always 1.");
    text.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    let gauges = [
        (
            "rkv_process_resident_memory_bytes",
            "Memory that the process has in use.",
            process::resident_bytes().map(|bytes| bytes as f64),
        ),
        (
            "rkv_process_open_fds",
            "Files and sockets that the process has open.",
            process::open_files().map(|files| files as f64),
        ),
        (
            "rkv_process_max_fds",
            "Files and sockets that it may have open.",
            process::most_files().map(|files| files as f64),
        ),
        (
            "rkv_process_threads",
            "Threads of the process.",
            process::threads().map(|threads| threads as f64),
        ),
    ];
    for (name, help, value) in gauges {
        if let Some(value) = value {
            text.one(name, Kind::Gauge, help, value);
        }
    }
    if let Some((user, system)) = process::cpu_seconds() {
        text.one(
            "rkv_process_cpu_seconds_total",
            Kind::Counter,
            "What the process took of the processors.",
            user + system,
        );
    }
}
