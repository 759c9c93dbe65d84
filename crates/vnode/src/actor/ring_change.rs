//! This file answers: what does a new ring mean for a copy?

use rkv_ring::{Move, NodeName, Partition};

use super::writes::Then;
use super::{Actor, Cx, Effect};
use crate::fault::Fault;
use crate::phase::Phase;
use crate::view::View;

/// What the ring gave a copy last.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Standing {
    /// For how many places of the row it answers; none: not known.
    pub(crate) places: Option<u8>,
    /// The attempt of the move to it.
    awaited: Option<u32>,
}

impl Standing {
    /// In the ring of `view`.
    fn of(view: &View, partition: Partition) -> Standing {
        let row = view.ring().row(partition);
        let places = row.iter().filter(|node| *node == view.me()).count();
        let listed = view.ring().moves.get(&partition);
        let awaited = listed.filter(|m| m.to == *view.me());
        Standing {
            places: Some(u8::try_from(places).unwrap_or(u8::MAX)),
            awaited: awaited.map(|m| m.attempt),
        }
    }

    /// Whether a copy that stood so and stands as `now` answers for more than it did, and no move of its own made it so:
    /// what was acknowledged for that place it may lack.
    fn grew_by_force(&self, now: &Standing, completed: Option<u32>) -> bool {
        let grew = self.places.is_some_and(|before| Some(before) < now.places);
        grew && (self.awaited.is_none() || self.awaited != completed)
    }
}

impl Actor {
    /// Brings the copy in line with the ring.
    pub(super) fn view_changed(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        self.in_line_with = Some(cx.view.id());
        let cluster = cx.view.id().cluster;
        if !cx.has_entries {
            // Nothing to move and nothing to lose: it answers where the ring has it, at once.
            self.cluster = cluster;
            self.phase = if cx.view.owns(self.id.partition) {
                Phase::Serving
            } else {
                Phase::Absent
            };
            return;
        }
        if self.cluster != cluster {
            return self.begin_absorbing(cx, effects);
        }
        self.hinting.backoff.reset();
        let listed = cx.view.ring().moves.get(&self.id.partition);
        let mine = listed.filter(|m| m.from == *cx.view.me());
        self.align_session(cx, mine, effects);
        let before =
            std::mem::replace(&mut self.standing, Standing::of(cx.view, self.id.partition));
        if cx.view.owns(self.id.partition) {
            self.in_the_row(cx, mine, before, effects);
        } else {
            self.out_of_the_row(cx, listed, effects);
        }
        self.tick(cx, effects);
    }

    fn in_the_row(
        &mut self,
        cx: &Cx<'_>,
        mine: Option<&Move>,
        before: Standing,
        effects: &mut Vec<Effect>,
    ) {
        let completed = cx.view.ring().completed.get(&self.id.partition).copied();
        match &self.phase {
            Phase::Absent | Phase::Draining { .. } => {
                // Owner by force, or back before the old copy was dropped: it may lack anything.
                self.vnode.start();
                self.leaving.begin_proof();
                let phase = match cx.settings.fault {
                    Fault::ForcedOwnerVotes => Phase::Serving,
                    _ => cx.lossy(),
                };
                self.enter(cx, phase, Then::Nothing, effects);
            }
            Phase::Forwarding { to, attempt, .. } => {
                if !mine.is_some_and(|m| m.attempt == *attempt && m.to == *to) {
                    self.enter(cx, Phase::Serving, Then::Nothing, effects);
                    self.release_gates(cx, effects);
                }
            }
            Phase::Receiving {
                complete, attempt, ..
            } => {
                // Whole only by its own move: else it got the place by force, and others may have acknowledged alone.
                let is_whole = match cx.settings.fault {
                    Fault::ActOnOldReady if completed.is_some() => before.awaited == completed,
                    _ => *complete && completed == Some(*attempt),
                };
                let phase = if is_whole { Phase::Serving } else { cx.lossy() };
                self.incoming = None;
                self.vnode.start();
                self.enter(cx, phase, Then::Nothing, effects);
            }
            Phase::Serving | Phase::CatchingUp { .. } => {
                let listed = cx.view.ring().moves.get(&self.id.partition);
                let goes_on = |source: &NodeName| {
                    listed.is_some_and(|m| m.to == *cx.view.me() && m.from == *source)
                };
                self.incoming.take_if(|incoming| !goes_on(&incoming.from));
                if before.grew_by_force(&self.standing, completed) {
                    self.catch_up = None;
                    self.enter(cx, cx.lossy(), Then::Nothing, effects);
                } else if before.places != self.standing.places {
                    self.enter(cx, self.phase.clone(), Then::Nothing, effects);
                }
            }
        }
    }

    fn out_of_the_row(&mut self, cx: &Cx<'_>, listed: Option<&Move>, effects: &mut Vec<Effect>) {
        match &self.phase {
            Phase::Serving | Phase::CatchingUp { .. } => self.leave_row(cx, None, effects),
            Phase::Forwarding { to, .. } => {
                let to = to.clone();
                self.leave_row(cx, Some(to), effects);
            }
            Phase::Receiving { .. } => {
                if listed.is_none_or(|m| m.to != *cx.view.me()) {
                    self.incoming = None;
                    self.drop_copy(cx, effects);
                }
            }
            // The owners may be others now.
            Phase::Draining { .. } => self.leaving.begin_proof(),
            Phase::Absent => {}
        }
    }
}
