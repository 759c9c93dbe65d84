//! This file answers: when is a quiet copy compared with its peers?
//!
//! A coordinator that dies between the acknowledgement and its hint leaves an owner behind, and nobody knows. So a copy
//! that sees no writes asks one peer after the other what it amounts to, and compares with the one that differs.

use rkv_ring::NodeName;
use rkv_wire::message::{CopyState, Message, RequestId, Totals};

use super::{Actor, Cx, Effect};
use crate::compare::Comparison;
use crate::phase::Phase;
use crate::places::Place;

/// How long a partition must see no write before it is compared with its peers.
const QUIET_MS: u64 = 1_500;
/// How soon a peer that differed is asked again.
const SUSPECT_MS: u64 = QUIET_MS / 3;

/// Where the rounds of a quiet copy stand.
#[derive(Debug, Default)]
pub(super) struct Repair {
    /// The comparison with a peer that differed twice.
    pub(super) comparison: Option<Comparison>,
    /// Held while it runs.
    pub(super) place: Option<Place>,
    /// When the next peer is asked; 0: the first round has not begun.
    due_ms: u64,
    turn: usize,
    asked: Option<(RequestId, NodeName)>,
    /// A peer that differed once, and what it amounted to.
    suspect: Option<(NodeName, Totals)>,
}

impl Repair {
    pub(super) fn is_under_way(&self) -> bool {
        self.comparison.is_some() || self.suspect.is_some()
    }

    pub(super) fn forget(&mut self) {
        self.comparison = None;
        self.place = None;
        self.suspect = None;
    }

    /// The peer to ask now: the suspect, or the next in turn.
    fn next_peer(&mut self, others: &[NodeName]) -> Option<NodeName> {
        if let Some((suspect, _)) = &self.suspect {
            return Some(suspect.clone());
        }
        if others.is_empty() {
            return None;
        }
        self.turn += 1;
        others.get(self.turn % others.len()).cloned()
    }
}

impl Actor {
    /// Asks the next peer what it amounts to, when it is time.
    pub(super) fn run_repair(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        let serves = self.phase == Phase::Serving && cx.has_entries;
        let quiet = cx.now_ms.saturating_sub(self.last_write_ms) >= QUIET_MS;
        let due = cx.now_ms >= self.repair.due_ms && self.repair.comparison.is_none();
        if !serves || !quiet || !due || cx.is_paused() || !cx.view.owns(self.id.partition) {
            return;
        }
        let interval_ms = match self.repair.suspect {
            Some(_) => SUSPECT_MS,
            None => cx.settings.anti_entropy_ms,
        };
        let first = self.repair.due_ms == 0;
        self.repair.due_ms = cx.now_ms + interval_ms;
        if first {
            return;
        }
        let others = cx.view.other_owners(self.id.partition);
        let with = self.repair.next_peer(&others);
        let Some(with) = with.filter(|node| cx.view.is_up(node) && others.contains(node)) else {
            self.repair.suspect = None;
            return;
        };
        let id = self.ids.fresh();
        self.repair.asked = Some((id, with.clone()));
        let message = Message::AskTotals {
            id,
            copy: self.id,
            ring: cx.view.id(),
        };
        effects.push(Effect::Send { to: with, message });
    }

    pub(super) fn heard_totals(
        &mut self,
        cx: &Cx<'_>,
        id: RequestId,
        state: CopyState,
        totals: Totals,
        effects: &mut Vec<Effect>,
    ) {
        let Some((_, with)) = self.repair.asked.take_if(|(asked, _)| *asked == id) else {
            return;
        };
        let comparable = matches!(state, CopyState::Serving | CopyState::CatchingUp);
        if !comparable || totals.is_equal_copy(&self.holding.totals()) {
            self.repair.suspect = None;
            return;
        }
        // A write under way makes copies differ for a moment; one that differs the same way twice differs.
        match self.repair.suspect.take() {
            Some((node, before)) if node == with && before.is_equal_copy(&totals) => {
                let comparison = Comparison::new(self.id, with, true, &self.holding);
                self.repair.comparison = Some(comparison);
                self.pump_comparisons(cx, effects);
            }
            _ => {
                self.repair.suspect = Some((with, totals));
                self.repair.due_ms = cx.now_ms + SUSPECT_MS;
            }
        }
    }

    /// A comparison that came to its end: the copies are equal now, and if the totals are not, they are miscounted.
    pub(super) fn end_repair(&mut self, cx: &Cx<'_>) {
        let ended = self.repair.comparison.take_if(|c| c.is_done());
        if ended.is_some() {
            self.repair.place = None;
            self.holding.doubt(cx.store, &*self.vnode);
        }
    }

    /// A peer that is gone, or owns the partition no more, is not compared with.
    pub(super) fn give_up_repair(&mut self, cx: &Cx<'_>) {
        let owns = |node: &NodeName| cx.view.ring().owns(node, self.id.partition);
        let comparison = &mut self.repair.comparison;
        let given_up = comparison.take_if(|c| !cx.view.is_up(&c.with) || !owns(&c.with));
        if given_up.is_some() {
            self.repair.place = None;
        }
    }
}
