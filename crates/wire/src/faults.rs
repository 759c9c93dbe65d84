//! This file answers: which links are cut or slowed on purpose?
//!
//! For tests and game days (`rkv start --faults`). A cut looks like a cut: nothing comes or goes, no sign of life
//! either, so connections are found dead and new ones do not come about. The set is replaced as a whole and can be
//! shared with whatever else talks to peers. Unset it costs one relaxed load.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use rkv_ring::NodeName;

/// What is wrong with this node's links.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// Nothing comes from these nodes and nothing reaches them.
    pub dropped: BTreeSet<NodeName>,
    /// Nothing comes from these nodes, though they hear this one: each such link is cut in one direction.
    pub deaf_to: BTreeSet<NodeName>,
    /// Messages from and to these nodes arrive that much later, in each direction.
    pub delay: BTreeMap<NodeName, Duration>,
}

/// The set in force.
#[derive(Debug, Default)]
pub struct FaultSwitch {
    any: AtomicBool,
    faults: ArcSwap<Faults>,
}

impl FaultSwitch {
    /// No faults.
    pub fn new() -> FaultSwitch {
        FaultSwitch::default()
    }

    /// Replaces the set; an empty one heals.
    pub fn set(&self, faults: Faults) {
        let any = faults != Faults::default();
        self.faults.store(faults.into());
        self.any.store(any, Ordering::Relaxed);
    }

    /// Whether the link with `name` is cut: nothing reaches it.
    pub fn drops(&self, name: &NodeName) -> bool {
        self.any.load(Ordering::Relaxed) && self.faults.load().dropped.contains(name)
    }

    /// Whether nothing comes from `name`: the link is cut, in that direction at least.
    pub fn is_deaf_to(&self, name: &NodeName) -> bool {
        self.any.load(Ordering::Relaxed) && {
            let faults = self.faults.load();
            faults.dropped.contains(name) || faults.deaf_to.contains(name)
        }
    }

    /// How much later messages of the link with `name` arrive.
    pub fn delay(&self, name: &NodeName) -> Option<Duration> {
        match self.any.load(Ordering::Relaxed) {
            true => self.faults.load().delay.get(name).copied(),
            false => None,
        }
    }
}
