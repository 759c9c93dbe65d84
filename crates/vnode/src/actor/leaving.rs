//! This file answers: how does a copy that left the row go?
//!
//! It is kept until it has been compared with the owners entry by entry, what they lack is sent, every reachable member
//! routes by the ring, and the grace has passed. Who took its place covers it alone, unless that one held a place of the row
//! already or has voted in another owner's stead: a write has as many holders afterwards as it had votes.

use rkv_ring::NodeName;
use rkv_storage::{Error, Space, StoreKey};
use rkv_wire::message::Answer;

use super::commands::answer;
use super::writes::Then;
use super::{Actor, Cx, Effect};
use crate::compare::{Aim, Comparison};
use crate::fault::Fault;
use crate::hint::Hint;
use crate::holding::Write;
use crate::phase::Phase;

/// The end of a copy.
#[derive(Debug, Default)]
pub(crate) struct Leaving {
    /// Comparisons under way with those who must cover it.
    pub(crate) proofs: Vec<Comparison>,
    /// Whether they all came to their end.
    pub(crate) proven: bool,
    since_ms: u64,
    /// Its entries are on their way out.
    pub(super) dropping: bool,
}

impl Leaving {
    /// What was proven no longer counts: the owners may be others.
    pub(super) fn begin_proof(&mut self) {
        self.proofs.clear();
        self.proven = false;
    }
}

impl Actor {
    /// The ring no longer names this node for the partition; `to`: who took its place, if it is known.
    pub(super) fn leave_row(
        &mut self,
        cx: &Cx<'_>,
        to: Option<NodeName>,
        effects: &mut Vec<Effect>,
    ) {
        self.vnode.stop();
        self.catch_up = None;
        self.catch_up_place = None;
        self.repair.forget();
        self.leaving.begin_proof();
        self.leaving.since_ms = cx.now_ms;
        self.enter(cx, Phase::Draining { to }, Then::Nothing, effects);
        for (_, relay) in std::mem::take(&mut self.relays) {
            answer(relay.to, Answer::NotOwner(cx.view.id()), effects);
        }
    }

    /// Proves that the owners cover the copy, and drops it when they do.
    pub(super) fn run_drain(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        let Phase::Draining { to } = &self.phase else {
            return;
        };
        if cx.settings.fault == Fault::DeleteSourceEarly {
            return self.drop_copy(cx, effects);
        }
        if self.holding.in_flight() > 0 || self.leaving.dropping {
            return;
        }
        if self.leaving.proofs.is_empty() && !self.leaving.proven {
            self.leaving.proofs = self.proofs(cx, to.as_ref());
        }
        self.pump_comparisons(cx, effects);
        let proofs = &self.leaving.proofs;
        if !proofs.is_empty() && proofs.iter().all(Comparison::is_done) {
            self.leaving.proofs.clear();
            self.leaving.proven = true;
        }
        // A node that leaves the cluster has nothing left to answer: it need not wait.
        let grace_ms = if cx.view.serves() {
            cx.settings.grace_ms
        } else {
            0
        };
        let patient = cx.now_ms.saturating_sub(self.leaving.since_ms) >= grace_ms;
        if self.leaving.proven && patient && cx.view.all_reachable_agree() {
            self.drop_copy(cx, effects);
        }
    }

    /// Comparisons with who took its place or, when that is no owner any more or had a place already, with all owners.
    fn proofs(&self, cx: &Cx<'_>, to: Option<&NodeName>) -> Vec<Comparison> {
        let row = cx.view.ring().row(self.id.partition);
        let places = |of: &NodeName| row.iter().filter(|node| *node == of).count();
        let with = match to {
            Some(to) if places(to) == 1 => vec![to.clone()],
            _ => cx.view.owners(self.id.partition),
        };
        with.into_iter()
            .filter(|node| node != cx.view.me())
            .map(|node| Comparison::new(self.id, node, Aim::Cover, &self.holding))
            .collect()
    }

    pub(super) fn drop_copy(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        let Ok(writes) = self.hints_with_entries(cx) else {
            return;
        };
        if !writes.is_empty() {
            self.write(cx, writes, true, Then::Nothing, effects);
        }
        self.leaving.dropping = true;
        self.leaving.begin_proof();
        if cx.settings.fault != Fault::MergeIntoLeftover {
            let token = self.holding.drop_all(Space::Data, effects);
            self.then.push_back((token, Then::Nothing));
        }
        self.enter(cx, Phase::Absent, Then::Nothing, effects);
    }

    /// A hint of a key alone says "what this node holds": it takes the entry along before that goes.
    fn hints_with_entries(&self, cx: &Cx<'_>) -> Result<Vec<Write>, Error> {
        let mut writes = Vec::new();
        if self.holding.hints() == 0 {
            return Ok(writes);
        }
        let (from, to) = self.holding.range(Space::Hint);
        let all = usize::MAX;
        let page = self.holding.page(cx.store, &from, &to, all, all)?;
        for (key, raw) in page.entries {
            let Some(mut hint) = Hint::decode(raw).filter(|hint| hint.entry.is_none()) else {
                continue;
            };
            let data_key = StoreKey::respace(&key, Space::Data);
            hint.entry = self.holding.get(cx.store, &data_key)?;
            let kept = hint.entry.is_some().then(|| hint.encode());
            writes.push(Write::new(key, kept));
        }
        Ok(writes)
    }
}
