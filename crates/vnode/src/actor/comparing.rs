//! This file answers: how do the comparisons of a copy with others run, on both sides?
//!
//! As the asker it moves on whatever comparisons are under way: those that prove that a copy may go, the one that it
//! catches up by, and a repair. As the answerer it says what it lacks and takes what it is given.

use bytes::Bytes;
use rkv_ring::NodeName;
use rkv_wire::message::{Answer, CopyId, Message, RequestId, SpanSum};

use super::leaving::Leaving;
use super::repair::Repair;
use super::writes::Then;
use super::{Actor, Cx, Effect};
use crate::budget::Urgency;
use crate::catch_up::CatchUp;
use crate::compare::{Compared, Comparison};
use crate::fault::Fault;
use crate::holding::Contents;
use crate::phase::Phase;
use crate::places::{Place, Turn};
use crate::stretch::{self, FILL_BYTES, Found, Stretch};
use crate::survey;

/// The comparisons of a copy that are under way for themselves.
fn own<'a>(
    leaving: &'a mut Leaving,
    catch_up: &'a mut Option<CatchUp>,
    repair: &'a mut Repair,
) -> impl Iterator<Item = &'a mut Comparison> {
    let catch_up = catch_up.as_mut().and_then(CatchUp::comparison_mut);
    leaving
        .proofs
        .iter_mut()
        .chain(catch_up)
        .chain(repair.comparison_mut())
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
    place.take_if(|place| !place.is_for(turn));
    match &comparison {
        None => *place = None,
        Some(_) if place.is_none() => *place = cx.take_out(turn, copy),
        Some(_) => {}
    }
    comparison.filter(|_| place.is_some())
}

fn stands_in() -> Answer {
    Answer::Failed {
        text: "it holds hints for an owner that is away, and stands in for no second one"
            .to_owned(),
        maybe_applied: false,
    }
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
            Message::AskSums {
                id,
                both_ways,
                sums,
                ..
            } => self.answer_sums(cx, from, (id, both_ways, sums), effects),
            Message::SumsAre {
                id,
                refused,
                differ,
                reaped,
            } => {
                self.learn_reaped(cx, reaped, effects);
                self.surveyed(cx, id, refused, differ, effects);
            }
            Message::Compare {
                id,
                from: start,
                to: end,
                both_ways,
                spares,
                body,
                ..
            } => {
                let stretch = Stretch {
                    spared_ms: spares.then(|| cx.ripe_ms(cx.wall_ms)),
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
                absent,
                spared,
                refused,
                upto,
                body,
            } => {
                let compared = Compared {
                    id,
                    lacking,
                    absent,
                    spared,
                    refused,
                    upto,
                    mended: 0,
                };
                self.compared(cx, compared, body, effects);
            }
            Message::Fill {
                id, mends, body, ..
            } => self.fill(cx, from, (id, mends), body, effects),
            Message::Filled {
                id,
                changed,
                answer,
            } => self.filled(cx, id, changed, &answer, effects),
            _ => {}
        }
    }

    /// Whether `from` may compare its copy with this one: as an owner does, or in the session of a move.
    fn is_comparable(&self, cx: &Cx<'_>, from: &NodeName) -> bool {
        let answers = self.phase.answers() && cx.view.owns(self.id.partition);
        let incoming = self.incoming.as_ref();
        answers || incoming.is_some_and(|incoming| incoming.from == *from)
    }

    /// Whether another copy may be dropped because this one has what it has. Not while this one stands in for an owner as well:
    /// of a write on those two alone it would be the only holder, though two have voted for it.
    fn may_cover(&self) -> bool {
        !self.holding.addressed().has_votes()
    }

    fn answer_sums(
        &mut self,
        cx: &Cx<'_>,
        to: NodeName,
        (id, both_ways, sums): (RequestId, bool, Vec<SpanSum>),
        effects: &mut Vec<Effect>,
    ) {
        let refused = if !self.is_comparable(cx, &to) {
            Some(Answer::NotOwner(cx.view.id()))
        } else if !both_ways && !self.may_cover() {
            Some(stands_in())
        } else {
            None
        };
        if both_ways {
            self.repair.give_way(cx.view.me(), &to, cx.now_ms);
        }
        let differ = match refused {
            None => survey::answer(&self.holding, &sums),
            Some(_) => Vec::new(),
        };
        let at_once = both_ways || refused.is_some();
        let message = Message::SumsAre {
            id,
            refused,
            differ,
            reaped: self.reaped,
        };
        self.answer_comparison(cx, to, message, at_once, effects);
    }

    /// Answers a comparison; at once unless the asker will drop what this says is covered: then it must survive a power cut first.
    /// A refusal says nothing of the kind, and may be one of many.
    fn answer_comparison(
        &mut self,
        cx: &Cx<'_>,
        to: NodeName,
        message: Message,
        at_once: bool,
        effects: &mut Vec<Effect>,
    ) {
        if at_once {
            return effects.push(Effect::send(to, message));
        }
        let failures = self.failures;
        let then = Then::Compared {
            to,
            message: Box::new(message),
            failures,
        };
        self.write(cx, Vec::new(), true, then, effects);
    }

    /// A peer said what it holds of the spans that it was asked about.
    fn surveyed(
        &mut self,
        cx: &Cx<'_>,
        id: RequestId,
        refused: Option<Answer>,
        differ: Vec<SpanSum>,
        effects: &mut Vec<Effect>,
    ) {
        if self.is_session_refused(cx, id, refused.as_ref(), effects) {
            return;
        }
        let resumed = self.giving.resumed_mut();
        let found = own(&mut self.leaving, &mut self.catch_up, &mut self.repair)
            .chain(resumed)
            .find(|comparison| comparison.is_about(id));
        let Some(comparison) = found else {
            return;
        };
        let contents = Contents {
            holding: &self.holding,
            vnode: &*self.vnode,
        };
        let heard = (refused, differ);
        match comparison.surveyed(cx, contents, heard, &mut self.ids, effects) {
            Ok(()) => self.comparisons_moved(cx, effects),
            Err(error) => effects.push(Effect::Warn(error.to_string())),
        }
    }

    /// An answer of the target of a move, which knows the session no more: the session is over.
    fn is_session_refused(
        &mut self,
        cx: &Cx<'_>,
        id: RequestId,
        refused: Option<&Answer>,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let is_its = self.giving.resumed_mut().is_some_and(|c| c.is_about(id));
        let Some(out) = self.giving.out.as_mut().filter(|_| is_its) else {
            return false;
        };
        out.note_heard(cx.now_ms);
        match refused {
            None | Some(Answer::Busy) => false,
            Some(_) => {
                let reason = format!("{} refused to compare", out.to);
                self.break_out(cx, reason, effects);
                true
            }
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
        let answered = if !self.is_comparable(cx, &to) {
            Err(Answer::NotOwner(cx.view.id()))
        } else if !both_ways && !self.may_cover() {
            Err(stands_in())
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
        let (found, refused) = match answered {
            Ok(found) => {
                cx.spend(Urgency::Repair, found.items.len());
                (found, None)
            }
            Err(refused) => {
                let upto = start;
                let nothing = Found {
                    upto,
                    ..Found::default()
                };
                (nothing, Some(refused))
            }
        };
        let message = Message::Compared {
            id,
            lacking: found.lacking,
            absent: found.absent,
            spared: found.spared,
            refused,
            upto: found.upto,
            body: found.items,
        };
        self.answer_comparison(cx, to, message, both_ways || !sound, effects);
    }

    /// A peer sends entries that this copy lacks.
    fn fill(
        &mut self,
        cx: &Cx<'_>,
        to: NodeName,
        (id, mends): (RequestId, bool),
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
                let changed = writes.len() as u32;
                self.note_mended(if mends { changed } else { 0 });
                if cx.settings.fault == Fault::HintAckedBeforeSync {
                    let answer = Answer::Stored;
                    let message = Message::Filled {
                        id,
                        changed,
                        answer,
                    };
                    effects.push(Effect::send(to, message));
                    return self.write(cx, writes, false, Then::Nothing, effects);
                }
                self.write(cx, writes, true, Then::Filled { to, id, changed }, effects);
            }
            Err(answer) => {
                let changed = 0;
                let message = Message::Filled {
                    id,
                    changed,
                    answer,
                };
                effects.push(Effect::send(to, message));
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
        let refused = compared.refused.clone();
        if self.is_session_refused(cx, compared.id, refused.as_ref(), effects) {
            return;
        }
        let writes = self.merge_items(cx, body).unwrap_or_default();
        let compared = Compared {
            mended: writes.len() as u64,
            ..compared
        };
        let resumed = self.giving.resumed_mut();
        let found = own(&mut self.leaving, &mut self.catch_up, &mut self.repair)
            .chain(resumed)
            .find(|comparison| comparison.is_about(compared.id));
        let Some(comparison) = found else {
            return;
        };
        let contents = Contents {
            holding: &self.holding,
            vnode: &*self.vnode,
        };
        match comparison.compared(cx, contents, compared, &mut self.ids, effects) {
            Ok(true) => {
                if !writes.is_empty() {
                    self.note_mended(writes.len() as u32);
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
    fn filled(
        &mut self,
        cx: &Cx<'_>,
        id: RequestId,
        changed: u32,
        answer: &Answer,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(drain) = self.hinting.drain.as_mut() {
            drain.filled(cx.now_ms, id, answer);
        }
        let resumed = self.giving.resumed_mut();
        let found = own(&mut self.leaving, &mut self.catch_up, &mut self.repair)
            .chain(resumed)
            .find(|comparison| comparison.is_about(id));
        let Some(comparison) = found else {
            return self.pump_hints(cx, effects);
        };
        let contents = Contents {
            holding: &self.holding,
            vnode: &*self.vnode,
        };
        let heard = (id, changed, answer);
        match comparison.filled(cx, contents, heard, &mut self.ids, effects) {
            Ok(()) => {
                self.comparisons_moved(cx, effects);
            }
            Err(error) => effects.push(Effect::Warn(error.to_string())),
        }
    }

    /// An exchange has mended entries of this copy. What one lacks that comes back is no repair.
    fn note_mended(&mut self, entries: u32) {
        if self.phase == Phase::Serving {
            self.repairs += u64::from(entries);
        }
    }

    fn comparisons_moved(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        self.end_repair(cx);
        self.pump_comparisons(cx, effects);
        self.pump_out(cx, effects);
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
        let turn = self.repair.place_wanted();
        let repair = self.repair.exchange.as_mut().filter(|_| !is_held);
        let repair = with_place(repair, &mut self.repair.place, cx, (turn, self.id));
        for comparison in proofs.chain(catch_up).chain(repair) {
            if let Err(error) = comparison.pump(cx, contents, &mut self.ids, effects) {
                effects.push(Effect::Warn(error.to_string()));
            }
        }
    }
}
