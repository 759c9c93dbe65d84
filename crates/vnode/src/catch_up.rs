//! This file answers: when may a copy that came back count for reads again?
//!
//! When no reachable member holds a counted hint for it and, if it may have lost what it acknowledged, when it has
//! exchanged with at least n - w + 1 other owners of the row (members marked down excepted): each write that it
//! acknowledged is on w nodes, itself one of them, so any n - w + 1 of the others include one that holds it.

use rkv_ring::{NodeName, Partition, Status};
use rkv_wire::message::CopyId;

use crate::compare::{Aim, Comparison};
use crate::holding::Holding;
use crate::view::View;

/// How long members that are not up yet are waited for before their hints are left aside.
const SETTLE_MS: u64 = 2_000;

/// The way back of one copy.
#[derive(Debug)]
pub struct CatchUp {
    since_ms: u64,
    lost: bool,
    exchanged: Vec<NodeName>,
    comparison: Option<Comparison>,
}

impl CatchUp {
    /// Begins now.
    pub fn new(now_ms: u64, lost: bool) -> CatchUp {
        CatchUp {
            since_ms: now_ms,
            lost,
            exchanged: Vec::new(),
            comparison: None,
        }
    }

    /// When it began: what peers said before that is not heard.
    pub fn since_ms(&self) -> u64 {
        self.since_ms
    }

    /// The exchange under way.
    pub fn comparison_mut(&mut self) -> Option<&mut Comparison> {
        self.comparison.as_mut()
    }

    /// The exchange under way, to look at.
    pub fn comparison(&self) -> Option<&Comparison> {
        self.comparison.as_ref()
    }

    /// Begins the next exchange when there is none and one is needed.
    pub fn advance(&mut self, copy: CopyId, view: &View, holding: &Holding) {
        if let Some(done) = self.comparison.take_if(|c| c.is_done()) {
            self.exchanged.push(done.with);
        }
        let mut others = view.other_owners(copy.partition);
        self.comparison
            .take_if(|c| !view.is_up(&c.with) || !others.contains(&c.with));
        if self.comparison.is_some() || self.has_exchanged(view, copy.partition) {
            return;
        }
        others.retain(|node| view.is_up(node) && !self.exchanged.contains(node));
        if let Some(next) = others.into_iter().next() {
            self.comparison = Some(Comparison::new(copy, next, Aim::Fill, holding));
        }
    }

    fn has_exchanged(&self, view: &View, partition: Partition) -> bool {
        if !self.lost {
            return true;
        }
        let ring = view.ring();
        let n = usize::from(ring.replicas);
        let w = n / 2 + 1;
        let counted = |node: &&NodeName| {
            ring.members
                .get(*node)
                .is_some_and(|m| m.status != Status::Down)
        };
        let others = view.other_owners(partition);
        let possible = others.iter().filter(counted).count();
        let exchanged = self.exchanged.iter().filter(|node| others.contains(node));
        exchanged.count() >= possible.min(n - w + 1)
    }

    /// Whether those who may be reached have had the time to show themselves.
    pub fn has_settled(&self, now_ms: u64, view: &View) -> bool {
        view.peers().all(|node| view.is_up(node))
            || now_ms.saturating_sub(self.since_ms) >= SETTLE_MS
    }

    /// Whether its exchanges suffice; hints are the caller's to ask about.
    pub fn is_done(&self, view: &View, partition: Partition) -> bool {
        self.comparison.is_none() && self.has_exchanged(view, partition)
    }
}
