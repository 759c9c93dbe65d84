//! This file answers: what of the configuration does the framework look at?

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::fault::Fault;

/// What the configuration says, fixed for one boot.
#[derive(Debug, Clone)]
pub struct Settings {
    /// This boot's id, unique among all boots of all nodes.
    pub boot: u64,
    /// `clock.max_drift_ms`.
    pub max_drift_ms: u64,
    /// `transfers.limit`: how many at once.
    pub transfers: usize,
    /// `transfers.bytes_per_s`: how much they send together; 0: no limit.
    pub bytes_per_s: u64,
    /// How long a copy that left the row is kept at least.
    pub grace_ms: u64,
    /// `delete.grace_s`: how long what was deleted leaves a trace at least.
    pub delete_grace_ms: u64,
    /// How long after it began no message of a request is heeded any more.
    pub void_after_ms: u64,
    /// How often a quiet copy is compared with one of its peers.
    pub anti_entropy_ms: u64,
    /// A fault built in on purpose, for the simulator.
    pub fault: Fault,
}

impl Settings {
    /// The hybrid time up to which a copy that may have lost data refuses puts, from `wall_ms` on: no coordinator has
    /// stamped anything above it so far. One that stamps is within the allowed drift of its peers' median, and so is
    /// this node.
    pub fn floor(&self, wall_ms: u64) -> u64 {
        wall_ms.saturating_add(2 * self.max_drift_ms) << 16
    }
}

/// How many transfers may run at once on this node.
#[derive(Debug, Clone)]
pub struct Limits {
    running: Arc<AtomicUsize>,
    most: usize,
}

impl Limits {
    /// At most `most` at once.
    pub fn new(most: usize) -> Limits {
        Limits {
            running: Arc::new(AtomicUsize::new(0)),
            most: most.max(1),
        }
    }

    /// A permit, if one is free; it is given back when dropped.
    pub fn take(&self) -> Option<Permit> {
        let most = self.most;
        let claimed = self
            .running
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |running| {
                (running < most).then_some(running + 1)
            });
        claimed.ok().map(|_| Permit(self.running.clone()))
    }
}

/// The right to run one transfer.
#[derive(Debug)]
pub struct Permit(Arc<AtomicUsize>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
