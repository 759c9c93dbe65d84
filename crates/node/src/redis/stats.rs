//! This file answers: what has the listener counted?
//!
//! Each connection counts for itself and tells all that it did in a turn at once: what all share is touched once a turn.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rkv_kv::PerThread;

use super::command_stats::{Called, CommandStats};

/// Figures since the start, or since CONFIG RESETSTAT.
#[derive(Debug, Default)]
pub(super) struct Stats {
    /// Connected now: the one that no reset touches.
    pub(super) open: AtomicU64,
    pub(super) connections: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) by_command: CommandStats,
    traffic: PerThread<Counters>,
    rate: Mutex<Rate>,
}

#[derive(Debug, Default)]
struct Counters {
    commands: AtomicU64,
    errors: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
    input_bytes: AtomicU64,
    output_bytes: AtomicU64,
}

impl Counters {
    fn all(&self) -> [&AtomicU64; 6] {
        [
            &self.commands,
            &self.errors,
            &self.hits,
            &self.misses,
            &self.input_bytes,
            &self.output_bytes,
        ]
    }
}

/// What went through all connections together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Traffic {
    pub(super) commands: u64,
    /// Those answered with an error.
    pub(super) errors: u64,
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) input_bytes: u64,
    pub(super) output_bytes: u64,
}

/// What a connection has counted and not told yet: one tells all that it did in a turn at once.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) commands: u64,
    pub(super) errors: u64,
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) input_bytes: u64,
    pub(super) output_bytes: u64,
    pub(super) called: Called,
}

#[derive(Debug, Default)]
struct Rate {
    at_ms: u64,
    commands: u64,
    per_s: u64,
}

/// A rate is that over at least this time.
const RATE_OVER_MS: u64 = 1_000;

impl Stats {
    /// Takes over what a connection has counted.
    pub(super) fn add(&self, counted: &mut Counted) {
        self.by_command.add(&mut counted.called);
        let counters = self.traffic.mine().all();
        let counted = [
            &mut counted.commands,
            &mut counted.errors,
            &mut counted.hits,
            &mut counted.misses,
            &mut counted.input_bytes,
            &mut counted.output_bytes,
        ];
        for (total, more) in counters.into_iter().zip(counted) {
            if *more > 0 {
                total.fetch_add(std::mem::take(more), Ordering::Relaxed);
            }
        }
    }

    /// What went through all connections.
    pub(super) fn traffic(&self) -> Traffic {
        let mut sums = [0; 6];
        for counters in self.traffic.all() {
            for (sum, counter) in sums.iter_mut().zip(counters.all()) {
                *sum += counter.load(Ordering::Relaxed);
            }
        }
        let [commands, errors, hits, misses, input_bytes, output_bytes] = sums;
        Traffic {
            commands,
            errors,
            hits,
            misses,
            input_bytes,
            output_bytes,
        }
    }

    /// Commands a second since somebody last asked, a second ago or more.
    pub(super) fn commands_per_s(&self, now_ms: u64) -> u64 {
        let commands = self.traffic().commands;
        let mut rate = self.rate.lock();
        let passed_ms = now_ms.saturating_sub(rate.at_ms);
        if passed_ms >= RATE_OVER_MS {
            let more = commands.saturating_sub(rate.commands);
            *rate = Rate {
                at_ms: now_ms,
                commands,
                per_s: more.saturating_mul(1_000) / passed_ms,
            };
        }
        rate.per_s
    }

    /// CONFIG RESETSTAT
    pub(super) fn reset(&self) {
        let traffic = self.traffic.all().flat_map(Counters::all);
        for total in traffic.chain([&self.connections, &self.rejected]) {
            total.store(0, Ordering::Relaxed);
        }
        self.by_command.reset();
        self.rate.lock().commands = 0;
    }
}
