//! This file answers: when is a copy compared with its peers, and what came of that?
//!
//! A coordinator that dies between the acknowledgement and its hint leaves an owner behind, and nobody knows; so may a disk.
//! So each copy that serves is compared with one peer after the other, always: equal copies cost a message each way. What
//! differs because a write is under way is left to it (`Aim::Mend`), so it does not matter how much is written
//! meanwhile. Who asks for a repair has all peers compared with at once.

use std::collections::{BTreeMap, BTreeSet};

use rkv_ring::NodeName;

use super::{Actor, Cx, Effect};
use crate::compare::{Aim, Comparison};
use crate::phase::Phase;
use crate::places::{Place, Turn};

/// How long to wait after an exchange that was given up.
const REST_MS: u64 = 500;

/// How long to wait for the exchange that a peer has begun with this copy.
const GIVE_WAY_MS: u64 = 1_000;

/// The exchanges of a copy that serves.
#[derive(Debug, Default)]
pub(crate) struct Repair {
    /// The one under way.
    pub(crate) exchange: Option<Comparison>,
    /// Held while it runs.
    pub(super) place: Option<Place>,
    /// When the next peer's turn is; 0: the first has not come.
    due_ms: u64,
    /// When the one under way began.
    began_ms: u64,
    turn: usize,
    /// To whom it gave way since it was last compared with them: not twice, or its own turn would never come.
    gave_way_to: BTreeSet<NodeName>,
    /// After an exchange was given up the next begins no sooner.
    not_before_ms: u64,
    /// Peers that somebody asked to be compared with.
    pub(crate) asked_for: BTreeSet<NodeName>,
    /// When the last with each peer ended, in unix milliseconds. In memory: a start counts the copy anyway, and compares it
    /// soon.
    pub(crate) ended_ms: BTreeMap<NodeName, u64>,
    /// Why the last one was given up, if it was.
    pub(crate) trouble: Option<String>,
}

impl Repair {
    pub(super) fn is_under_way(&self) -> bool {
        self.exchange.is_some() || !self.asked_for.is_empty()
    }

    pub(super) fn comparison_mut(&mut self) -> Option<&mut Comparison> {
        self.exchange.as_mut()
    }

    pub(super) fn forget(&mut self) {
        *self = Repair::default();
    }

    /// `from` compares its copy with this one. That mends both, so the one of the pair whose name is higher waits until it is
    /// done.
    pub(super) fn give_way(&mut self, me: &NodeName, from: &NodeName, now_ms: u64) {
        let is_in_the_way = |own: &mut Comparison| own.with == *from && !own.has_walked();
        let may = from < me && !self.gave_way_to.contains(from);
        if may && self.exchange.take_if(is_in_the_way).is_some() {
            self.place = None;
            self.gave_way_to.insert(from.clone());
            self.not_before_ms = now_ms + GIVE_WAY_MS;
            self.due_ms = self.not_before_ms;
            self.turn = self.turn.wrapping_sub(1);
        }
    }

    /// How many slots are known to differ from a peer's now.
    pub(crate) fn divergence(&self) -> u64 {
        self.exchange.as_ref().map_or(0, Comparison::slots)
    }

    /// What the exchange under way wants a place for.
    pub(super) fn place_wanted(&self) -> Turn {
        let is_routine = |c: &Comparison| !c.has_walked() && !self.asked_for.contains(&c.with);
        match self.exchange.as_ref().is_some_and(is_routine) {
            true => Turn::Look,
            false => Turn::Repair,
        }
    }

    /// Whether the exchange under way was asked for, or has found something to mend: people want to see it.
    pub(crate) fn is_worth_telling(&self) -> bool {
        let exchange = self.exchange.as_ref();
        exchange.is_some_and(|exchange| {
            self.asked_for.contains(&exchange.with) || exchange.has_certain()
        })
    }

    /// The peer to compare with now, of those that are up: one that was asked for, or the next in turn.
    fn next_peer(&mut self, now_ms: u64, interval_ms: u64, up: &[NodeName]) -> Option<NodeName> {
        if let Some(asked_for) = self.asked_for.iter().find(|node| up.contains(node)) {
            return Some(asked_for.clone());
        }
        if now_ms < self.due_ms || up.is_empty() {
            return None;
        }
        let first = self.due_ms == 0;
        self.due_ms = now_ms + interval_ms;
        if first {
            return None;
        }
        self.turn = self.turn.wrapping_add(1);
        up.get(self.turn % up.len()).cloned()
    }
}

impl Actor {
    /// Begins the next exchange, when it is time.
    pub(super) fn run_repair(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        if !self.may_be_repaired(cx)
            || self.repair.exchange.is_some()
            || cx.is_paused()
            || cx.now_ms < self.repair.not_before_ms
        {
            return;
        }
        let others = cx.view.other_owners(self.id.partition);
        self.repair.ended_ms.retain(|node, _| others.contains(node));
        let up: Vec<NodeName> = others.into_iter().filter(|n| cx.view.is_up(n)).collect();
        self.repair.asked_for.retain(|node| up.contains(node));
        let interval_ms = cx.settings.anti_entropy_ms;
        if let Some(with) = self.repair.next_peer(cx.now_ms, interval_ms, &up) {
            let aim = Aim::Mend(self.repair.turn);
            let exchange = Comparison::new(self.id, with, aim, &self.holding);
            self.repair.exchange = Some(exchange);
            self.repair.began_ms = cx.now_ms;
            self.pump_comparisons(cx, effects);
        }
    }

    fn may_be_repaired(&self, cx: &Cx<'_>) -> bool {
        self.phase == Phase::Serving && cx.has_entries && cx.view.owns(self.id.partition)
    }

    /// Compares the copy with all its peers as soon as they are there. Says with how many; `None`: it has nothing to be
    /// compared by, or is brought up to date anyway.
    pub(crate) fn ask_for_repair(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        if self.may_be_repaired(cx) {
            self.repair.asked_for = cx
                .view
                .other_owners(self.id.partition)
                .into_iter()
                .collect();
            self.run_repair(cx, effects);
        }
    }

    /// An exchange that came to its end: the copies are equal now, and if the sums are not, they are miscounted.
    pub(super) fn end_repair(&mut self, cx: &Cx<'_>) {
        let Some(ended) = self.repair.exchange.take_if(|c| c.is_done()) else {
            return;
        };
        self.repair.place = None;
        if ended.shows_miscount() {
            self.holding.doubt(cx.store, &*self.vnode);
        }
        if ended.is_certain() {
            self.reaping.compared(&ended.with, self.repair.began_ms);
        }
        self.repair.trouble = None;
        self.repair.asked_for.remove(&ended.with);
        self.repair.gave_way_to.remove(&ended.with);
        self.repair.ended_ms.insert(ended.with, cx.wall_ms);
    }

    /// A peer that is gone, owns the partition no more, or refuses, is not compared with for now.
    pub(super) fn give_up_repair(&mut self, cx: &Cx<'_>) {
        let owns = |node: &NodeName| cx.view.ring().owns(node, self.id.partition);
        let serves = self.phase == Phase::Serving;
        let given_up = self
            .repair
            .exchange
            .take_if(|c| !serves || !cx.view.is_up(&c.with) || !owns(&c.with) || c.is_refused());
        if let Some(given_up) = given_up {
            self.repair.place = None;
            self.repair.not_before_ms = cx.now_ms + REST_MS;
            let gone = || format!("{} is not reachable", given_up.with);
            self.repair.trouble = Some(given_up.trouble.clone().unwrap_or_else(gone));
        }
    }
}
