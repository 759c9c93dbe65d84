//! This file answers: when does a disk land what is queued, and when does it tell of it?

use rand::RngExt;

use super::{Happening, World};
use crate::sim::landing::Landing;

/// How long a disk takes at most over a job or a group, and to tell of a group.
const TAKES_MS: u64 = 4;
/// One in how many takes longer, and how long at most.
const SLOW_ONE_IN: u32 = 50;
const SLOW_MS: u64 = 400;
/// One in how many groups that are synced fails at that.
const FAILS_ONE_IN: u32 = 60;

impl World {
    /// A job was queued.
    pub(super) fn queued(&mut self, node: usize, boot: u64) {
        let after = self.draw_delay();
        self.push(after, Happening::DiskJob { node, boot });
    }

    fn draw_delay(&mut self) -> u64 {
        let slow = !self.healed && self.rng.random_range(0..SLOW_ONE_IN) == 0;
        self.rng
            .random_range(0..if slow { SLOW_MS } else { TAKES_MS })
    }

    /// The disk has had its time for the oldest job, or for all that is queued.
    pub(super) fn land(&mut self, node: usize, boot: u64) {
        let disk = self.nodes[node].disk.clone();
        if self.options.landing == Landing::OneByOne {
            return self.with(node, |_| disk.complete_one());
        }
        let fails = self.is_troubled() && self.rng.random_range(0..FAILS_ONE_IN) == 0;
        let Some(landed) = disk.land_all(self.options.landing, fails) else {
            return;
        };
        if landed.copies > 1 {
            self.count("copies told together");
        }
        if landed.has_failed {
            self.count("sync failed");
        }
        let after = self.draw_delay();
        self.push(after, Happening::DiskTell { node, boot });
    }

    /// All are told that landed together, and the next group begins.
    pub(super) fn tell_landed(&mut self, node: usize, boot: u64) {
        let disk = self.nodes[node].disk.clone();
        self.with(node, |_| disk.tell_landed());
        if self.runs(node, boot) && disk.is_queued() {
            self.queued(node, boot);
        }
    }
}
