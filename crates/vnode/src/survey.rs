//! This file answers: in which slots do two copies of a partition differ?
//!
//! The asker sends what its copy amounts to, first as a whole; the other answers with those spans of slots in which it
//! holds something else. Each of these is split and asked about again, down to spans of which so little is held that their entries
//! are looked at anyway. So equal copies cost one message each way, and what is equal is never walked.
//!
//! Where both copies take writes a span may differ because one is under way. Who can wait looks at such a span again after a
//! pause: it counts as differing when it differs as it did before. Spans that differ otherwise at each of a few looks
//! are written to all the time; a few of them count as differing too, others each time, so that what hides there is found.

use std::collections::{BTreeMap, VecDeque};

use rkv_ring::NodeName;
use rkv_wire::message::{CopyId, Message, RequestId, Span, SpanSum, Sum};

use crate::actor::{Cx, Effect, Ids};
use crate::budget::Urgency;
use crate::holding::Holding;

/// How many spans are asked about in one message, and answered, at most.
pub const MOST_SPANS: usize = 1024;
/// Into how many a span is split.
const SPLIT: u16 = 32;
/// A span of which neither holds more is not split.
const FEW_ENTRIES: u64 = 16;
/// How long after it differed a span is looked at again.
const PAUSE_MS: u64 = 500;
/// How often a span that differs otherwise each time is looked at again.
const MOST_LOOKS: u32 = 3;
/// How many of the spans that differed otherwise each time count as differing.
const MOST_BUSY: usize = 16;
/// What one span costs on its way, about.
const SPAN_BYTES: usize = 24;

/// A span that differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Differing {
    /// Which slots.
    pub span: Span,
    /// Whether the other holds nothing of it.
    pub is_empty_there: bool,
}

/// The asker's side of looking for what differs from one other copy.
#[derive(Debug)]
pub struct Survey {
    copy: CopyId,
    with: NodeName,
    both_ways: bool,
    /// The number of this one among those in which what differs is looked at again before it counts; `None`: it counts.
    patient: Option<usize>,
    /// To be asked about.
    todo: VecDeque<Span>,
    asked: Option<(RequestId, Vec<SpanSum>)>,
    /// What differed, and as what, ours and theirs: looked at again.
    suspects: BTreeMap<Span, (Sum, Sum)>,
    /// Looks at suspects so far, and when the next is due.
    looks: u32,
    look_ms: u64,
    /// What differs.
    found: Vec<Differing>,
    /// Whether some of that only differed otherwise each time.
    has_busy: bool,
}

impl Survey {
    /// Of the whole copy and that of `with`.
    pub fn new(
        copy: CopyId,
        with: NodeName,
        both_ways: bool,
        patient: Option<usize>,
        holding: &Holding,
    ) -> Survey {
        let whole = holding.span();
        // Who only wants to get rid of its own need not ask when it has nothing.
        let is_needed = both_ways || holding.sum(whole).entries > 0;
        Survey {
            copy,
            with,
            both_ways,
            patient,
            todo: is_needed.then_some(whole).into_iter().collect(),
            asked: None,
            suspects: BTreeMap::new(),
            looks: 0,
            look_ms: 0,
            found: Vec::new(),
            has_busy: false,
        }
    }

    /// How many slots are known to differ, be it for a moment.
    pub fn slots(&self) -> u64 {
        let suspects = self.suspects.keys();
        suspects.map(|span| slots(*span)).sum()
    }

    /// Whether all that was found differed the same way twice: no write under way explains it.
    pub fn is_certain(&self) -> bool {
        self.patient.is_some() && !self.has_busy
    }

    /// Whether an answer to `id` is meant for it.
    pub fn is_about(&self, id: RequestId) -> bool {
        self.asked.as_ref().is_some_and(|(asked, _)| *asked == id)
    }

    /// Whether all spans that differ are found.
    pub fn is_done(&self) -> bool {
        self.todo.is_empty() && self.asked.is_none() && self.suspects.is_empty()
    }

    /// What differs, in the order of slots.
    pub fn take_found(&mut self) -> VecDeque<Differing> {
        self.found.sort_by_key(|differing| differing.span);
        let mut found: VecDeque<Differing> = VecDeque::new();
        for next in std::mem::take(&mut self.found) {
            match found.back_mut() {
                Some(last)
                    if last.is_empty_there == next.is_empty_there
                        && last.span.last.checked_add(1) == Some(next.span.first) =>
                {
                    last.span.last = next.span.last;
                }
                _ => found.push_back(next),
            }
        }
        found
    }

    /// Asks about what is to be asked about, if it is time; whether it did.
    pub fn ask(
        &mut self,
        cx: &Cx<'_>,
        urgency: Urgency,
        holding: &Holding,
        ids: &mut Ids,
        effects: &mut Vec<Effect>,
    ) -> bool {
        if !holding.is_exact() {
            return self.doubt(holding.span());
        }
        if let Some((_, unanswered)) = self.asked.take() {
            self.todo.extend(unanswered.iter().map(|asked| asked.span));
        }
        if self.todo.is_empty() && !self.look_again(cx.now_ms) {
            return false;
        }
        let most = self.todo.len().min(MOST_SPANS);
        let ours = |span| SpanSum {
            span,
            sum: holding.sum(span),
        };
        let sums: Vec<SpanSum> = self.todo.drain(..most).map(ours).collect();
        cx.spend(urgency, sums.len() * SPAN_BYTES);
        let id = ids.fresh();
        let message = Message::AskSums {
            id,
            copy: self.copy,
            ring: cx.view.id(),
            both_ways: self.both_ways,
            sums: sums.clone(),
        };
        self.asked = Some((id, sums));
        effects.push(Effect::send(self.with.clone(), message));
        true
    }

    /// Sums that may be wrong say nothing: all of `whole` is looked at. Nobody was asked.
    fn doubt(&mut self, whole: Span) -> bool {
        self.todo.clear();
        self.suspects.clear();
        self.asked = None;
        self.found = vec![Differing {
            span: whole,
            is_empty_there: false,
        }];
        false
    }

    /// Whether suspects are to be asked about now.
    fn look_again(&mut self, now_ms: u64) -> bool {
        if self.looks == MOST_LOOKS {
            self.take_busy();
        }
        if self.suspects.is_empty() || now_ms < self.look_ms {
            return false;
        }
        self.looks += 1;
        self.todo = self.suspects.keys().copied().collect();
        true
    }

    /// What was written to at each look counts as differing, as much of it as may be.
    fn take_busy(&mut self) {
        let busy: Vec<(Span, (Sum, Sum))> =
            std::mem::take(&mut self.suspects).into_iter().collect();
        // Turns go round: the one before the first is the highest number there is.
        let first = self.patient.unwrap_or(0).wrapping_mul(MOST_BUSY);
        self.has_busy |= !busy.is_empty();
        for step in 0..MOST_BUSY.min(busy.len()) {
            let (span, (_, theirs)) = busy[first.wrapping_add(step) % busy.len()];
            self.found.push(Differing {
                span,
                is_empty_there: theirs.entries == 0,
            });
        }
    }

    /// The other answered: these differ.
    pub fn answered(&mut self, now_ms: u64, differ: Vec<SpanSum>) {
        let Some((_, asked)) = self.asked.take() else {
            return;
        };
        let mut differ = differ.into_iter().peekable();
        for ours in asked {
            let theirs = differ.next_if(|theirs| theirs.span == ours.span);
            let before = self.suspects.remove(&ours.span);
            if let Some(theirs) = theirs {
                self.differs_in(ours, theirs.sum, before);
            }
        }
        if self.todo.is_empty() {
            self.look_ms = now_ms + PAUSE_MS;
        }
    }

    fn differs_in(&mut self, ours: SpanSum, theirs: Sum, before: Option<(Sum, Sum)>) {
        let SpanSum { span, sum } = ours;
        if sum.entries == 0 && !self.both_ways {
            return;
        }
        let is_leaf = span.first == span.last
            || (sum.entries <= FEW_ENTRIES && theirs.entries <= FEW_ENTRIES)
            || sum.entries == 0
            || theirs.entries == 0;
        if !is_leaf {
            return self.todo.extend(split(span));
        }
        if self.patient.is_some() && before != Some((sum, theirs)) {
            self.suspects.insert(span, (sum, theirs));
            return;
        }
        self.found.push(Differing {
            span,
            is_empty_there: theirs.entries == 0,
        });
    }
}

/// How many slots it is.
pub fn slots(span: Span) -> u64 {
    u64::from(span.last.saturating_sub(span.first)) + 1
}

/// The parts of a span.
fn split(span: Span) -> impl Iterator<Item = Span> {
    let slots = span.last.saturating_sub(span.first) + 1;
    let each = slots.div_ceil(SPLIT).max(1);
    (span.first..=span.last)
        .step_by(usize::from(each))
        .map(move |first| Span {
            first,
            last: first.saturating_add(each - 1).min(span.last),
        })
}

/// The answerer's side: what is held here of those spans in which that is something else. Sums that may be wrong prove nothing:
/// then everything differs.
pub fn answer(holding: &Holding, asked: &[SpanSum]) -> Vec<SpanSum> {
    let asked = asked.iter().take(MOST_SPANS);
    let held = asked.map(|theirs| {
        let ours = SpanSum {
            span: theirs.span,
            sum: holding.sum(theirs.span),
        };
        (theirs, ours)
    });
    let differ = held.filter(|(theirs, ours)| theirs.sum != ours.sum || !holding.is_exact());
    differ.map(|(_, ours)| ours).collect()
}

#[cfg(test)]
mod tests {
    use rkv_ring::Partition;
    use rkv_wire::message::ServiceId;

    use super::*;

    const SPANS: u16 = 40;

    /// A survey of that turn in which so many spans differed otherwise each time.
    fn busy(turn: usize) -> Survey {
        let copy = CopyId {
            service: ServiceId(1),
            partition: Partition(0),
        };
        let span = |slot| Span {
            first: slot,
            last: slot,
        };
        Survey {
            copy,
            with: "b".into(),
            both_ways: true,
            patient: Some(turn),
            todo: VecDeque::new(),
            asked: None,
            suspects: (0..SPANS)
                .map(|slot| (span(slot), Default::default()))
                .collect(),
            looks: MOST_LOOKS,
            look_ms: 0,
            found: Vec::new(),
            has_busy: false,
        }
    }

    /// Lost without it: a node that dies when the turn goes back behind the first, or takes what it left aside for compared.
    #[test]
    fn each_turn_takes_others_of_what_is_busy_and_proves_nothing() {
        let mut seen = std::collections::BTreeSet::new();
        for turn in [usize::MAX, 0, 1, 2, usize::MAX / MOST_BUSY + 1] {
            let mut survey = busy(turn);
            assert!(!survey.look_again(0), "nothing is looked at once more");
            assert!(!survey.is_certain());
            let found = std::mem::take(&mut survey.found);
            assert_eq!(found.len(), MOST_BUSY);
            seen.extend(found.into_iter().map(|differing| differing.span));
        }
        assert_eq!(seen.len(), usize::from(SPANS));
    }
}
