//! This file answers: how are two copies of a partition brought to cover each other?
//!
//! The asker finds the spans of slots that differ ([`crate::survey`]) and walks its entries there, in key order. For each
//! stretch it sends the digests of its entries; the other answers
//! which of them it lacks or holds differently and, when both ways are wanted, sends its own that differ. What is
//! lacking is sent, merged and synced there before the walk goes on. One way, this is how a copy that left the row
//! proves that its owner covers it, before it is dropped: what is passed over is equal, by sums that the other says only when all
//! that they count is synced; the rest is shown entry by entry. Both ways, it fills a copy that came back
//! empty and heals what a lost message left behind. For a move that resumes, what is lacking is handed to the session
//! instead. Every step is a merge, so writes may go on meanwhile and a step may be repeated.

use std::collections::VecDeque;

use bytes::Bytes;
use rkv_ring::NodeName;
use rkv_storage::Error;
use rkv_wire::items::ItemsWriter;
use rkv_wire::message::{Answer, CopyId, Message, RequestId, SpanSum};

use crate::actor::{Cx, Effect, Ids};
use crate::budget::Urgency;
use crate::holding::{Contents, Holding};
use crate::progress::{Amount, Progress};
use crate::stretch::{self, FILL_BYTES, STRETCH_ENTRIES};
use crate::survey::{self, Differing, Survey};

/// How long an answer may take before it is asked again.
const PATIENCE_MS: u64 = 2_000;
/// How long to wait after a refusal.
const REFUSED_MS: u64 = 250;
/// How many keys that the other lacks are kept for a session at most, about: then it is to send some first.
const MOST_LACKING: usize = 2_048;

/// What a comparison is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// The other is to cover this copy, which may then be dropped.
    Cover,
    /// Each is to cover the other, now.
    Fill,
    /// The same where both take writes all the time, for the so-manieth time: what differs because one is under way is left
    /// to it.
    Mend(usize),
    /// The other is to cover this copy: what it lacks is left for the session of a move to send.
    Resume,
}

/// Where a comparison stands.
#[derive(Debug)]
enum Step {
    /// To find out which spans differ, not before this time.
    Survey { not_before_ms: u64 },
    /// Asked for sums.
    Surveying { since_ms: u64 },
    /// To ask about the stretch that begins at the cursor, not before this time.
    Ask { not_before_ms: u64 },
    /// Asked about these keys.
    Asked {
        id: RequestId,
        since_ms: u64,
        keys: Vec<(Bytes, Amount)>,
    },
    /// Sent what was lacking in this stretch; what does not fit follows.
    Filling {
        id: RequestId,
        since_ms: u64,
        rest: Vec<Bytes>,
        upto: Bytes,
    },
    /// To send what was lacking in this stretch, when the budget allows.
    Fill { lacking: Vec<Bytes>, upto: Bytes },
    /// Done.
    Done,
}

/// The asker's side of one comparison with one other copy.
#[derive(Debug)]
pub struct Comparison {
    copy: CopyId,
    /// The other copy's node.
    pub with: NodeName,
    aim: Aim,
    survey: Survey,
    /// Spans that differ and were not walked to their end.
    walk: VecDeque<Differing>,
    /// Whether there was anything to walk.
    has_walked: bool,
    cursor: Bytes,
    step: Step,
    /// Keys of entries that the other lacks, for the session to send.
    lacking: VecDeque<Bytes>,
    /// Entries that were held differently, here or there.
    pub mended: u64,
    /// Whether traces that are old enough to go were left alone, here or there.
    has_spared: bool,
    /// Whether the other is not to be compared with now.
    is_refused: bool,
    /// What was compared, for people.
    pub progress: Progress,
    /// Why it does not move on, if it does not.
    pub trouble: Option<String>,
}

impl Comparison {
    /// A comparison of the whole copy with that of `with`.
    pub fn new(copy: CopyId, with: NodeName, aim: Aim, holding: &Holding) -> Comparison {
        let patient = match aim {
            Aim::Mend(round) => Some(round),
            Aim::Cover | Aim::Fill | Aim::Resume => None,
        };
        let both_ways = aim != Aim::Cover;
        Comparison {
            copy,
            survey: Survey::new(copy, with.clone(), both_ways, patient, holding),
            with,
            aim,
            walk: VecDeque::new(),
            has_walked: false,
            cursor: Bytes::new(),
            step: Step::Survey { not_before_ms: 0 },
            lacking: VecDeque::new(),
            mended: 0,
            has_spared: false,
            is_refused: false,
            progress: Progress::default(),
            trouble: None,
        }
    }

    /// Whether it walked to the end.
    pub fn is_done(&self) -> bool {
        matches!(self.step, Step::Done)
    }

    /// Whether it waits before it asks again.
    pub fn is_resting(&self, now_ms: u64) -> bool {
        matches!(self.step, Step::Ask { not_before_ms } if now_ms < not_before_ms)
    }

    /// Whether the other will not be compared with now.
    pub fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// Whether something was found to differ.
    pub fn has_walked(&self) -> bool {
        self.has_walked
    }

    /// How many slots are known to differ now.
    pub fn slots(&self) -> u64 {
        let walk = self.walk.iter();
        self.survey.slots()
            + walk
                .map(|differing| survey::slots(differing.span))
                .sum::<u64>()
    }

    /// Whether something differs that no write under way explains.
    pub fn has_certain(&self) -> bool {
        self.has_walked && self.survey.is_certain()
    }

    /// Whether something differed the same way twice though all entries turned out to be equal: then one of the copies is
    /// miscounted.
    pub fn shows_miscount(&self) -> bool {
        self.has_certain() && self.mended == 0 && !self.has_spared
    }

    /// Whether nothing that differed was left to writes under way.
    pub fn is_certain(&self) -> bool {
        self.survey.is_certain()
    }

    /// Whether an answer to `id` is meant for it.
    pub fn is_about(&self, id: RequestId) -> bool {
        match &self.step {
            Step::Asked { id: asked, .. } | Step::Filling { id: asked, .. } => *asked == id,
            Step::Surveying { .. } => self.survey.is_about(id),
            Step::Survey { .. } | Step::Ask { .. } | Step::Fill { .. } | Step::Done => false,
        }
    }

    /// Asks, or sends what is lacking, when it is time and the budget allows.
    pub fn pump(
        &mut self,
        cx: &Cx<'_>,
        copy: Contents<'_>,
        ids: &mut Ids,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Error> {
        let allowed = cx.budget.allows(self.urgency(), cx.now_ms);
        match &mut self.step {
            Step::Asked { since_ms, .. } | Step::Filling { since_ms, .. }
                if cx.now_ms.saturating_sub(*since_ms) >= PATIENCE_MS =>
            {
                self.trouble = Some(format!("{} does not answer", self.with));
                self.ask(cx, copy, ids, effects)
            }
            Step::Surveying { since_ms } if cx.now_ms.saturating_sub(*since_ms) >= PATIENCE_MS => {
                self.trouble = Some(format!("{} does not answer", self.with));
                self.look(cx, copy, ids, effects)
            }
            Step::Survey { not_before_ms } if allowed && cx.now_ms >= *not_before_ms => {
                self.look(cx, copy, ids, effects)
            }
            Step::Ask { not_before_ms }
                if allowed && cx.now_ms >= *not_before_ms && self.lacking.len() < MOST_LACKING =>
            {
                self.ask(cx, copy, ids, effects)
            }
            Step::Fill { lacking, upto } if allowed => {
                let stretch = (std::mem::take(lacking), std::mem::take(upto));
                self.fill(cx, copy.holding, stretch, ids, effects)
            }
            _ => Ok(()),
        }
    }

    fn urgency(&self) -> Urgency {
        match self.aim {
            Aim::Fill | Aim::Mend(_) => Urgency::Repair,
            Aim::Cover | Aim::Resume => Urgency::Move,
        }
    }

    /// What was deleted or ended before then is left alone where the other holds nothing of its key: between
    /// owners that both serve it is known of anyway. Who must be covered gets all.
    fn spared_ms(&self, cx: &Cx<'_>) -> Option<u64> {
        matches!(self.aim, Aim::Mend(_)).then(|| cx.ripe_ms(cx.wall_ms))
    }

    /// Whether the entry of `key`, of which the other holds nothing, is left alone.
    fn spares(&self, cx: &Cx<'_>, copy: Contents<'_>, key: &Bytes) -> Result<bool, Error> {
        let Some(spared_ms) = self.spared_ms(cx) else {
            return Ok(false);
        };
        let entry = copy.holding.get(cx.store, key)?;
        Ok(entry.is_some_and(|entry| stretch::is_spared(copy.vnode, &entry, Some(spared_ms))))
    }

    fn both_ways(&self) -> bool {
        self.aim != Aim::Cover
    }

    /// Takes the next key that the other lacks, for the session of a move.
    pub fn next_lacking(&mut self) -> Option<Bytes> {
        self.lacking.pop_front()
    }

    /// Whether an answer is waited for.
    pub fn waits(&self) -> bool {
        matches!(
            self.step,
            Step::Surveying { .. } | Step::Asked { .. } | Step::Filling { .. }
        )
    }

    /// Whether a session has still something to send of what was found so far.
    pub fn has_lacking(&self) -> bool {
        !self.lacking.is_empty()
    }

    /// Asks for sums, or begins to walk when all that differs is found.
    fn look(
        &mut self,
        cx: &Cx<'_>,
        copy: Contents<'_>,
        ids: &mut Ids,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Error> {
        self.progress.begin(cx.now_ms);
        let urgency = self.urgency();
        if self.survey.ask(cx, urgency, copy.holding, ids, effects) {
            let since_ms = cx.now_ms;
            self.step = Step::Surveying { since_ms };
        } else if self.survey.is_done() {
            self.walk = self.survey.take_found();
            self.has_walked = !self.walk.is_empty();
            self.note_equal(cx.now_ms, copy.holding);
            self.next_span(copy.holding);
            return self.pump(cx, copy, ids, effects);
        } else {
            self.step = Step::Survey { not_before_ms: 0 };
        }
        Ok(())
    }

    /// All but what is to be walked is equal, and so it is compared.
    fn note_equal(&mut self, now_ms: u64, holding: &Holding) {
        let differ: u64 = self
            .walk
            .iter()
            .map(|differing| holding.sum(differing.span).entries)
            .sum();
        let all = holding.totals();
        let equal = Amount {
            entries: all.entries.saturating_sub(differ),
            bytes: all.share(all.entries.saturating_sub(differ)),
        };
        self.progress.begin_behind(now_ms, equal);
    }

    /// The other answered what it holds of the spans asked about.
    pub fn surveyed(
        &mut self,
        cx: &Cx<'_>,
        copy: Contents<'_>,
        (refused, differ): (Option<Answer>, Vec<SpanSum>),
        ids: &mut Ids,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Error> {
        if let Some(refused) = refused {
            self.trouble = Some(self.refusal(&refused));
            self.is_refused = refused != Answer::Busy;
            self.step = Step::Survey {
                not_before_ms: cx.now_ms + REFUSED_MS,
            };
            return Ok(());
        }
        self.trouble = None;
        self.survey.answered(cx.now_ms, differ);
        self.step = Step::Survey { not_before_ms: 0 };
        if cx.budget.allows(self.urgency(), cx.now_ms) {
            return self.look(cx, copy, ids, effects);
        }
        Ok(())
    }

    /// Goes on with the next span that differs, if there is one.
    fn next_span(&mut self, holding: &Holding) {
        self.step = match self.walk.front() {
            Some(next) => {
                self.cursor = holding.keys_of(next.span).0;
                Step::Ask { not_before_ms: 0 }
            }
            None => Step::Done,
        };
    }

    fn ask(
        &mut self,
        cx: &Cx<'_>,
        copy: Contents<'_>,
        ids: &mut Ids,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Error> {
        let Some(differing) = self.walk.front().copied() else {
            self.step = Step::Done;
            return Ok(());
        };
        let end = copy.holding.keys_of(differing.span).1;
        let page = copy
            .holding
            .page(cx.store, &self.cursor, &end, STRETCH_ENTRIES, usize::MAX)?;
        let to = page.next.unwrap_or(end);
        if differing.is_empty_there {
            // Nothing to compare with.
            let mut compared = Amount::default();
            let mut lacking = Vec::with_capacity(page.entries.len());
            for (key, entry) in &page.entries {
                compared += Amount::one(key, entry);
                if stretch::is_spared(copy.vnode, entry, self.spared_ms(cx)) {
                    self.has_spared = true;
                } else {
                    lacking.push(key.clone());
                }
            }
            self.progress.add(cx.now_ms, compared);
            return self.fill(cx, copy.holding, (lacking, to), ids, effects);
        }
        let mut digests = ItemsWriter::new();
        for (key, value) in &page.entries {
            digests.push(key, &copy.vnode.digest(value).to_le_bytes());
        }
        cx.spend(self.urgency(), digests.bytes());
        self.progress.begin(cx.now_ms);
        let id = ids.fresh();
        let message = Message::Compare {
            id,
            copy: self.copy,
            ring: cx.view.id(),
            from: self.cursor.clone(),
            to,
            both_ways: self.both_ways(),
            spares: self.spared_ms(cx).is_some(),
            body: digests.finish(),
        };
        self.step = Step::Asked {
            id,
            since_ms: cx.now_ms,
            keys: page.entries.iter().map(weighed).collect(),
        };
        effects.push(Effect::send(self.with.clone(), message));
        Ok(())
    }

    /// The other answered. `Ok(true)`: the items of its body are to be merged here.
    pub fn compared(
        &mut self,
        cx: &Cx<'_>,
        copy: Contents<'_>,
        answer: Compared,
        ids: &mut Ids,
        effects: &mut Vec<Effect>,
    ) -> Result<bool, Error> {
        let keys = match &mut self.step {
            Step::Asked { id, keys, .. } if *id == answer.id => std::mem::take(keys),
            _ => return Ok(false),
        };
        if let Some(refused) = answer.refused {
            self.put_off(cx.now_ms, &refused);
            return Ok(false);
        }
        self.trouble = None;
        self.has_spared |= answer.spared;
        let mut lacking = Vec::with_capacity(answer.lacking.len());
        for at in &answer.lacking {
            let Some((key, _)) = keys.get(*at as usize) else {
                continue;
            };
            if answer.absent.contains(at) && self.spares(cx, copy, key)? {
                self.has_spared = true;
            } else {
                lacking.push(key.clone());
            }
        }
        if answer.upto <= self.cursor {
            // An honest answer moves on by at least one entry.
            self.put_off(cx.now_ms, &Answer::Busy);
            return Ok(false);
        }
        self.mended += answer.mended;
        let mut compared = Amount::default();
        for (_, amount) in keys.iter().filter(|(key, _)| *key < answer.upto) {
            compared += *amount;
        }
        self.progress.add(cx.now_ms, compared);
        self.fill(cx, copy.holding, (lacking, answer.upto), ids, effects)?;
        Ok(true)
    }

    /// Sends what the other lacks of a stretch, as much as fits, or moves on to the next.
    fn fill(
        &mut self,
        cx: &Cx<'_>,
        holding: &Holding,
        (lacking, upto): (Vec<Bytes>, Bytes),
        ids: &mut Ids,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Error> {
        if self.aim == Aim::Resume {
            self.lacking.extend(lacking);
            self.advance(upto, holding);
            return Ok(());
        }
        if !lacking.is_empty() && !cx.budget.allows(self.urgency(), cx.now_ms) {
            self.step = Step::Fill { lacking, upto };
            return Ok(());
        }
        let most = cx.budget.message_bytes(FILL_BYTES);
        let mut items = ItemsWriter::new();
        let mut lacking = lacking.into_iter();
        for key in lacking.by_ref() {
            if let Some(value) = holding.get(cx.store, &key)? {
                items.push(&key, &value);
            }
            if items.bytes() >= most {
                break;
            }
        }
        if items.is_empty() {
            self.advance(upto, holding);
            return Ok(());
        }
        cx.spend(self.urgency(), items.bytes());
        let id = ids.fresh();
        self.step = Step::Filling {
            id,
            since_ms: cx.now_ms,
            rest: lacking.collect(),
            upto,
        };
        let message = Message::Fill {
            id,
            copy: self.copy,
            ring: cx.view.id(),
            mends: matches!(self.aim, Aim::Fill | Aim::Mend(_)),
            body: items.finish(),
        };
        effects.push(Effect::send(self.with.clone(), message));
        Ok(())
    }

    /// The other stored, and synced, what was sent; or refused.
    pub fn filled(
        &mut self,
        cx: &Cx<'_>,
        copy: Contents<'_>,
        (id, changed, answer): (RequestId, u32, &Answer),
        ids: &mut Ids,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Error> {
        let (rest, upto) = match &mut self.step {
            Step::Filling {
                id: asked,
                rest,
                upto,
                ..
            } if *asked == id => (std::mem::take(rest), upto.clone()),
            _ => return Ok(()),
        };
        if *answer == Answer::Stored {
            self.trouble = None;
            self.mended += u64::from(changed);
            self.fill(cx, copy.holding, (rest, upto), ids, effects)
        } else {
            self.put_off(cx.now_ms, answer);
            Ok(())
        }
    }

    fn advance(&mut self, upto: Bytes, holding: &Holding) {
        let current = self.walk.front();
        if current.is_some_and(|current| upto < holding.keys_of(current.span).1) {
            self.cursor = upto;
            self.step = Step::Ask { not_before_ms: 0 };
        } else {
            self.walk.pop_front();
            self.next_span(holding);
        }
    }

    fn put_off(&mut self, now_ms: u64, refused: &Answer) {
        self.trouble = Some(self.refusal(refused));
        self.step = Step::Ask {
            not_before_ms: now_ms + REFUSED_MS,
        };
    }

    fn refusal(&self, refused: &Answer) -> String {
        match refused {
            Answer::Busy => format!("{} is busy", self.with),
            Answer::Failed { text, .. } => format!("{}: {text}", self.with),
            _ => format!("{} refused: {refused:?}", self.with),
        }
    }
}

fn weighed((key, value): &(Bytes, Bytes)) -> (Bytes, Amount) {
    (key.clone(), Amount::one(key, value))
}

/// A [`Message::Compared`] taken apart.
pub struct Compared {
    /// Of which.
    pub id: RequestId,
    /// Positions that the answerer lacks.
    pub lacking: Vec<u32>,
    /// Those of them of whose keys it holds nothing.
    pub absent: Vec<u32>,
    /// Whether it left traces alone.
    pub spared: bool,
    /// Why it did not compare.
    pub refused: Option<Answer>,
    /// How far it compared.
    pub upto: Bytes,
    /// How many of the items that came with it change what is held here.
    pub mended: u64,
}
