//! This file answers: what has the listener counted?
//!
//! Each connection counts for itself and tells all that it did in a turn at once: what all share is touched once a turn.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::command_stats::{Called, CommandStats};

/// Figures since the start, or since CONFIG RESETSTAT.
#[derive(Debug, Default)]
pub(super) struct Stats {
    /// Connected now: the one that no reset touches.
    pub(super) open: AtomicU64,
    pub(super) connections: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) commands: AtomicU64,
    pub(super) errors: AtomicU64,
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
    pub(super) input_bytes: AtomicU64,
    pub(super) output_bytes: AtomicU64,
    pub(super) by_command: CommandStats,
    rate: Mutex<Rate>,
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
        let total = |total: &AtomicU64, more: &mut u64| {
            if *more > 0 {
                total.fetch_add(std::mem::take(more), Ordering::Relaxed);
            }
        };
        total(&self.commands, &mut counted.commands);
        total(&self.errors, &mut counted.errors);
        total(&self.hits, &mut counted.hits);
        total(&self.misses, &mut counted.misses);
        total(&self.input_bytes, &mut counted.input_bytes);
        total(&self.output_bytes, &mut counted.output_bytes);
    }

    /// Commands a second since somebody last asked, a second ago or more.
    pub(super) fn commands_per_s(&self, now_ms: u64) -> u64 {
        let commands = self.commands.load(Ordering::Relaxed);
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
        for total in [
            &self.connections,
            &self.rejected,
            &self.commands,
            &self.errors,
            &self.hits,
            &self.misses,
            &self.input_bytes,
            &self.output_bytes,
        ] {
            total.store(0, Ordering::Relaxed);
        }
        self.by_command.reset();
        self.rate.lock().commands = 0;
    }
}
