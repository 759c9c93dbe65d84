//! This file answers: what does a copy that came back, or lost something, do until it counts again?

use rkv_quorum::clock::Stamp;

use super::writes::Then;
use super::{Actor, Cx, Effect};
use crate::catch_up::CatchUp;
use crate::compare::Comparison;
use crate::phase::Phase;

impl Actor {
    /// Moves its way back on; it serves when its exchanges suffice and nobody holds a hint for it.
    pub(super) fn run_catch_up(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        let Phase::CatchingUp { lost, .. } = self.phase else {
            self.catch_up = None;
            self.catch_up_place = None;
            return;
        };
        let catch_up = self
            .catch_up
            .get_or_insert_with(|| CatchUp::new(cx.now_ms, lost));
        catch_up.advance(self.id, cx.view, &self.holding);
        self.pump_comparisons(cx, effects);
        let done = self.catch_up.as_ref().is_some_and(|c| {
            c.is_done(cx.view, self.id.partition)
                && c.has_settled(cx.now_ms, cx.view)
                && cx.hints_clear_since >= Some(c.since_ms())
        });
        if !done {
            return;
        }
        if lost && self.holding.totals().entries == 0 {
            effects.push(Effect::Warn(format!(
                "partition {} serves as empty: no owner holds an entry of it",
                self.id.partition
            )));
        }
        self.catch_up = None;
        self.catch_up_place = None;
        self.enter(cx, Phase::Serving, Then::Nothing, effects);
    }

    /// Entries that cannot be read are missing. The copy may have acknowledged them, so it does not count for reads until its
    /// peers have filled it again.
    pub(super) fn damaged(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        self.holding.doubt(cx.store, &*self.vnode);
        if !matches!(self.phase, Phase::Serving | Phase::CatchingUp { .. }) {
            return;
        }
        let partition = self.id.partition;
        effects.push(Effect::Warn(format!(
            "entries of partition {partition} cannot be read: it is filled again from the other owners"
        )));
        self.break_out(
            cx,
            "entries of the source cannot be read".to_owned(),
            effects,
        );
        self.repair.forget();
        self.catch_up = None;
        self.enter(cx, cx.lossy(), Then::Nothing, effects);
        self.run_catch_up(cx, effects);
    }

    /// Puts stamped at or below this are refused: a newer one may have been lost.
    pub(super) fn floor(&self) -> Option<Stamp> {
        match self.phase {
            Phase::CatchingUp { lost: true, floor } => Some(Stamp {
                time: floor,
                boot: u64::MAX,
                seq: u32::MAX,
            }),
            _ => None,
        }
    }

    /// The exchange that it catches up by.
    pub(crate) fn catching_up_with(&self) -> Option<&Comparison> {
        self.catch_up.as_ref().and_then(CatchUp::comparison)
    }
}
