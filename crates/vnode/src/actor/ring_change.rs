//! This file answers: what does a new ring mean for a copy?

use rkv_ring::{Move, NodeName};

use super::writes::Then;
use super::{Actor, Cx, Effect};
use crate::phase::Phase;

impl Actor {
    /// Brings the copy in line with the ring.
    pub(super) fn view_changed(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
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
        if cx.view.owns(self.id.partition) {
            self.in_the_row(cx, mine, effects);
        } else {
            self.out_of_the_row(cx, listed, effects);
        }
        self.tick(cx, effects);
    }

    fn in_the_row(&mut self, cx: &Cx<'_>, mine: Option<&Move>, effects: &mut Vec<Effect>) {
        match &self.phase {
            Phase::Absent | Phase::Draining { .. } => {
                // Owner by force, or back before the old copy was dropped: it may lack anything.
                self.vnode.start();
                self.leaving.begin_proof();
                self.enter(cx, cx.lossy(), Then::Nothing, effects);
            }
            Phase::Forwarding { to, attempt, .. } => {
                if !mine.is_some_and(|m| m.attempt == *attempt && m.to == *to) {
                    self.enter(cx, Phase::Serving, Then::Nothing, effects);
                    self.release_gates(cx, effects);
                }
            }
            Phase::Receiving { complete, .. } => {
                let phase = if *complete {
                    Phase::Serving
                } else {
                    cx.lossy()
                };
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
