//! This file answers: how do the comparisons of a copy with others run, on both sides?
//!
//! As the asker it moves on whatever comparisons are under way: those that prove that a copy may go, the one that it
//! catches up by, and a repair. As the answerer it says what it lacks and takes what it is given.

use bytes::Bytes;
use rkv_ring::NodeName;
use rkv_wire::message::{Answer, CopyId, Message, RequestId};

use super::leaving::Leaving;
use super::repair::Repair;
use super::writes::Then;
use super::{Actor, Cx, Effect};
use crate::budget::Urgency;
use crate::catch_up::CatchUp;
use crate::compare::{Compared, Comparison};
use crate::holding::Contents;
use crate::phase::Phase;
use crate::places::{Place, Turn};
use crate::stretch::{self, FILL_BYTES, Stretch};

/// All comparisons of a copy that are under way.
fn under_way<'a>(
    leaving: &'a mut Leaving,
    catch_up: &'a mut Option<CatchUp>,
    repair: &'a mut Repair,
) -> impl Iterator<Item = &'a mut Comparison> {
    let catch_up = catch_up.as_mut().and_then(CatchUp::comparison_mut);
    leaving
        .proofs
        .iter_mut()
        .chain(catch_up)
        .chain(&mut repair.comparison)
}

/// The comparison, if it has a place to run in or gets one. None is kept by one that is done, held or waits.
fn with_place<'a>(
    comparison: Option<&'a mut Comparison>,
    place: &mut Option<Place>,
    cx: &Cx<'_>,
    (turn, copy): (Turn, CopyId),
) -> Option<&'a mut Comparison> {
    let wants = |c: &&mut Comparison| !c.is_done() && !c.is_resting(cx.now_ms);
    let comparison = comparison.filter(wants);
    match &comparison {
        None => *place = None,
        Some(_) if place.is_none() => *place = cx.take_out(turn, copy),
        Some(_) => {}
    }
    comparison.filter(|_| place.is_some())
}

impl Actor {
    /// A peer asks to compare, or answers.
    pub(super) fn peer_says(
        &mut self,
        cx: &Cx<'_>,
        from: NodeName,
        message: Message,
        effects: &mut Vec<Effect>,
    ) {
        match message {
            Message::AskTotals { id, .. } => effects.push(Effect::Send {
                to: from,
                message: Message::TotalsAre {
                    id,
                    state: self.state(),
                    totals: self.holding.totals(),
                },
            }),
            Message::TotalsAre { id, state, totals } => {
                self.heard_totals(cx, id, state, totals, effects);
            }
            Message::Compare {
                id,
                from: start,
                to: end,
                both_ways,
                body,
                ..
            } => {
                let stretch = Stretch {
                    from: start,
                    to: end,
                    both_ways,
                    digests: body,
                };
                self.answer_compare(cx, from, id, stretch, effects);
            }
            Message::Compared {
                id,
                lacking,
                refused,
                upto,
                body,
            } => {
                let compared = Compared {
                    id,
                    lacking,
                    refused,
                    upto,
                };
                self.compared(cx, compared, body, effects);
            }
            Message::Fill { id, body, .. } => self.fill(cx, from, id, body, effects),
            Message::Filled { id, answer } => self.filled(cx, id, &answer, effects),
            _ => {}
        }
    }

    fn answer_compare(
        &mut self,
        cx: &Cx<'_>,
        to: NodeName,
        id: RequestId,
        asked: Stretch,
        effects: &mut Vec<Effect>,
    ) {
        let (start, both_ways) = (asked.from.clone(), asked.both_ways);
        let answered = if !(self.phase.answers() && cx.view.owns(self.id.partition)) {
            Err(Answer::NotOwner(cx.view.id()))
        } else if both_ways && !cx.budget.allows(Urgency::Repair, cx.now_ms) {
            Err(Answer::Busy)
        } else {
            let most_bytes = cx.budget.message_bytes(FILL_BYTES);
            let found = stretch::answer(cx.store, self.contents(), asked, most_bytes);
            found.map_err(|error| Answer::Failed {
                text: error.to_string(),
                maybe_applied: false,
            })
        };
        let sound = answered.is_ok();
        let (lacking, refused, upto, body) = match answered {
            Ok((lacking, upto, body)) => {
                cx.spend(Urgency::Repair, body.len());
                (lacking, None, upto, body)
            }
            Err(refused) => (Vec::new(), Some(refused), start, Bytes::new()),
        };
        let message = Message::Compared {
            id,
            lacking,
            refused,
            upto,
            body,
        };
        if both_ways || !sound {
            effects.push(Effect::Send { to, message });
        } else {
            // The asker will drop what this says is covered: it must survive a power cut first.
            let failures = self.failures;
            let then = Then::Compared {
                to,
                message,
                failures,
            };
            self.write(cx, Vec::new(), true, then, effects);
        }
    }

    /// A peer sends entries that this copy lacks.
    fn fill(
        &mut self,
        cx: &Cx<'_>,
        to: NodeName,
        id: RequestId,
        body: Bytes,
        effects: &mut Vec<Effect>,
    ) {
        let merged = if !(self.phase.answers() && cx.view.owns(self.id.partition)) {
            Err(Answer::NotOwner(cx.view.id()))
        } else if self.holding.is_full() || matches!(self.phase, Phase::Forwarding { .. }) {
            // While forwarding nothing is promised without the target: it comes back after the epoch.
            Err(Answer::Busy)
        } else {
            self.merge_items(cx, body).map_err(|text| Answer::Failed {
                text,
                maybe_applied: false,
            })
        };
        match merged {
            Ok(writes) => {
                self.forward_all(&writes, effects);
                self.write(cx, writes, true, Then::Filled { to, id }, effects);
            }
            Err(answer) => {
                let message = Message::Filled { id, answer };
                effects.push(Effect::Send { to, message });
            }
        }
    }

    /// A peer compared a stretch.
    fn compared(
        &mut self,
        cx: &Cx<'_>,
        compared: Compared,
        body: Bytes,
        effects: &mut Vec<Effect>,
    ) {
        let differs = !compared.lacking.is_empty() || !body.is_empty();
        let about = |comparison: &&mut Comparison| comparison.is_about(compared.id);
        let found = under_way(&mut self.leaving, &mut self.catch_up, &mut self.repair).find(about);
        let Some(comparison) = found else {
            return;
        };
        let contents = Contents {
            holding: &self.holding,
            vnode: &*self.vnode,
        };
        match comparison.compared(cx, contents, compared, &mut self.ids, effects) {
            Ok(true) => {
                self.repairs += u64::from(differs && self.phase == Phase::Serving);
                let writes = self.merge_items(cx, body).unwrap_or_default();
                if !writes.is_empty() {
                    self.forward_all(&writes, effects);
                    self.write(cx, writes, false, Then::Nothing, effects);
                }
                self.comparisons_moved(cx, effects);
            }
            Ok(false) => {}
            Err(error) => effects.push(Effect::Warn(error.to_string())),
        }
    }

    /// A peer stored what it was sent, or refused.
    fn filled(&mut self, cx: &Cx<'_>, id: RequestId, answer: &Answer, effects: &mut Vec<Effect>) {
        if let Some(drain) = self.hinting.drain.as_mut() {
            drain.filled(cx.now_ms, id, answer);
        }
        let about = |comparison: &&mut Comparison| comparison.is_about(id);
        let found = under_way(&mut self.leaving, &mut self.catch_up, &mut self.repair).find(about);
        let Some(comparison) = found else {
            return self.pump_hints(cx, effects);
        };
        let contents = Contents {
            holding: &self.holding,
            vnode: &*self.vnode,
        };
        match comparison.filled(cx, contents, (id, answer), &mut self.ids, effects) {
            Ok(()) => self.comparisons_moved(cx, effects),
            Err(error) => effects.push(Effect::Warn(error.to_string())),
        }
    }

    fn comparisons_moved(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        self.end_repair(cx);
        self.pump_comparisons(cx, effects);
    }

    pub(super) fn pump_comparisons(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        let contents = Contents {
            holding: &self.holding,
            vnode: &*self.vnode,
        };
        // What is held begins no further stretch; a copy that catches up goes on, for reads need it.
        let is_held = cx.is_paused();
        let proofs = self.leaving.proofs.iter_mut().filter(|_| !is_held);
        let catch_up = self.catch_up.as_mut().and_then(CatchUp::comparison_mut);
        let catch_up = with_place(
            catch_up,
            &mut self.catch_up_place,
            cx,
            (Turn::CatchUp, self.id),
        );
        let repair = self.repair.comparison.as_mut().filter(|_| !is_held);
        let repair = with_place(repair, &mut self.repair.place, cx, (Turn::Repair, self.id));
        for comparison in proofs.chain(catch_up).chain(repair) {
            if let Err(error) = comparison.pump(cx, contents, &mut self.ids, effects) {
                effects.push(Effect::Warn(error.to_string()));
            }
        }
    }
}
