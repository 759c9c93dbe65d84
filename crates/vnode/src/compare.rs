//! This file answers: how are two copies of a partition brought to cover each other?
//!
//! The asker walks its copy in key order. For each stretch it sends the digests of its entries; the other answers
//! which of them it lacks or holds differently and, when both ways are wanted, sends its own that differ. What is
//! lacking is sent, merged and synced there before the walk goes on. One way, this is how a copy that left the row
//! proves that its owner covers it, entry by entry, before it is dropped; both ways, it fills a copy that came back
//! empty and heals what a lost message left behind. Every step is a merge, so writes may go on meanwhile and a step
//! may be repeated.

use bytes::Bytes;
use rkv_ring::NodeName;
use rkv_storage::{Error, Space};
use rkv_wire::items::ItemsWriter;
use rkv_wire::message::{Answer, CopyId, Message, RequestId};

use crate::actor::{Cx, Effect, Ids};
use crate::budget::Urgency;
use crate::holding::{Contents, Holding};
use crate::progress::{Amount, Progress};
use crate::stretch::{FILL_BYTES, STRETCH_ENTRIES};

/// How long an answer may take before it is asked again.
const PATIENCE_MS: u64 = 2_000;
/// How long to wait after a refusal.
const REFUSED_MS: u64 = 250;

/// Where a comparison stands.
#[derive(Debug)]
enum Step {
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
    both_ways: bool,
    cursor: Bytes,
    step: Step,
    /// What was compared, for people.
    pub progress: Progress,
    /// Why it does not move on, if it does not.
    pub trouble: Option<String>,
}

impl Comparison {
    /// A comparison of the whole copy with that of `with`.
    pub fn new(copy: CopyId, with: NodeName, both_ways: bool, holding: &Holding) -> Comparison {
        Comparison {
            copy,
            with,
            both_ways,
            cursor: holding.range(Space::Data).0,
            step: Step::Ask { not_before_ms: 0 },
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

    /// Whether an answer to `id` is meant for it.
    pub fn is_about(&self, id: RequestId) -> bool {
        match &self.step {
            Step::Asked { id: asked, .. } | Step::Filling { id: asked, .. } => *asked == id,
            Step::Ask { .. } | Step::Fill { .. } | Step::Done => false,
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
            Step::Ask { not_before_ms } if allowed && cx.now_ms >= *not_before_ms => {
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
        if self.both_ways {
            Urgency::Repair
        } else {
            Urgency::Move
        }
    }

    fn ask(
        &mut self,
        cx: &Cx<'_>,
        copy: Contents<'_>,
        ids: &mut Ids,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Error> {
        let end = copy.holding.range(Space::Data).1;
        let page = copy
            .holding
            .page(cx.store, &self.cursor, &end, STRETCH_ENTRIES, usize::MAX)?;
        let to = page.next.unwrap_or(end);
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
            both_ways: self.both_ways,
            body: digests.finish(),
        };
        self.step = Step::Asked {
            id,
            since_ms: cx.now_ms,
            keys: page.entries.iter().map(weighed).collect(),
        };
        effects.push(Effect::Send {
            to: self.with.clone(),
            message,
        });
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
        let lacking: Vec<Bytes> = answer
            .lacking
            .iter()
            .filter_map(|at| keys.get(*at as usize).map(|(key, _)| key.clone()))
            .collect();
        if answer.upto <= self.cursor {
            // An honest answer moves on by at least one entry.
            self.put_off(cx.now_ms, &Answer::Busy);
            return Ok(false);
        }
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
            body: items.finish(),
        };
        effects.push(Effect::Send {
            to: self.with.clone(),
            message,
        });
        Ok(())
    }

    /// The other stored, and synced, what was sent; or refused.
    pub fn filled(
        &mut self,
        cx: &Cx<'_>,
        copy: Contents<'_>,
        (id, answer): (RequestId, &Answer),
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
            self.fill(cx, copy.holding, (rest, upto), ids, effects)
        } else {
            self.put_off(cx.now_ms, answer);
            Ok(())
        }
    }

    fn advance(&mut self, upto: Bytes, holding: &Holding) {
        self.step = if upto >= holding.range(Space::Data).1 {
            Step::Done
        } else {
            self.cursor = upto;
            Step::Ask { not_before_ms: 0 }
        };
    }

    fn put_off(&mut self, now_ms: u64, refused: &Answer) {
        self.trouble = Some(match refused {
            Answer::Busy => format!("{} is busy", self.with),
            _ => format!("{} refused: {refused:?}", self.with),
        });
        self.step = Step::Ask {
            not_before_ms: now_ms + REFUSED_MS,
        };
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
    /// Why it did not compare.
    pub refused: Option<Answer>,
    /// How far it compared.
    pub upto: Bytes,
}
