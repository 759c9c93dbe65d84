//! This file answers: what does the listener tell those who watch it from outside?

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::stats::Stats;

/// The figures of one listener, there before it is and after it.
#[derive(Clone, Debug, Default)]
pub(crate) struct RedisFigures {
    pub(super) stats: Arc<Stats>,
}

/// What they are now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Read {
    /// Connected.
    pub(crate) open: u64,
    /// Connected so far.
    pub(crate) accepted: u64,
    /// Turned away.
    pub(crate) rejected: u64,
    /// Commands.
    pub(crate) commands: u64,
    /// Those answered with an error.
    pub(crate) errors: u64,
    /// Bytes that came.
    pub(crate) input_bytes: u64,
    /// Bytes that left.
    pub(crate) output_bytes: u64,
}

impl RedisFigures {
    /// What they are now.
    pub(crate) fn read(&self) -> Read {
        let stats = &self.stats;
        let traffic = stats.traffic();
        Read {
            open: stats.open.load(Relaxed),
            accepted: stats.connections.load(Relaxed),
            rejected: stats.rejected.load(Relaxed),
            commands: traffic.commands,
            errors: traffic.errors,
            input_bytes: traffic.input_bytes,
            output_bytes: traffic.output_bytes,
        }
    }
}
