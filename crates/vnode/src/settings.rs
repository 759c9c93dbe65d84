//! This file answers: what of the configuration does the framework look at?

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::fault::Fault;

/// What the configuration says, fixed for one boot.
#[derive(Debug, Clone)]
pub struct Settings {
    /// This boot's id, unique among all boots of all nodes.
    pub boot: u64,
    /// Hybrid time of this boot plus the allowed drift: what a copy that lost data refuses puts up to.
    pub floor: u64,
    /// How long a copy that left the row is kept at least.
    pub grace_ms: u64,
    /// How often a quiet copy is compared with one of its peers.
    pub anti_entropy_ms: u64,
    /// A fault built in on purpose, for the simulator.
    pub fault: Fault,
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
