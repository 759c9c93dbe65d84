//! This file answers: how do the hints of one partition reach its owners?
//!
//! Page by page: each hint goes to those of today's owners that need it and are up; when all of these have stored and
//! synced it, it is dropped, or rewritten for those that are not there. A hint that changed meanwhile stays, and so does
//! one that owners of a newer ring need. A refusal is waited for; nothing is dropped on a guess.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rkv_ring::NodeName;
use rkv_storage::{Error, Space, StoreKey};
use rkv_wire::items::ItemsWriter;
use rkv_wire::message::{Answer, CopyId, Message, RequestId};

use crate::actor::{Cx, Effect, Ids};
use crate::budget::Urgency;
use crate::fault::Fault;
use crate::hint::Hint;
use crate::holding::{Contents, Holding, Write};
use crate::progress::{Amount, Progress};
use crate::vnode::Merged;

const PAGE_ENTRIES: usize = 512;
const PAGE_BYTES: usize = 512 << 10;
const PATIENCE_MS: u64 = 2_000;
const REFUSED_MS: u64 = 250;

/// One hint on its way.
#[derive(Debug)]
struct OnItsWay {
    key: Bytes,
    raw: Bytes,
    hint: Hint,
    sent_to: Vec<NodeName>,
    absent: Vec<NodeName>,
    here: bool,
}

impl OnItsWay {
    /// Whether all that need it by the ring of now were thought of when it was sent. A ring that came meanwhile names
    /// others, and an answer says nothing about them.
    fn is_all(&self, cx: &Cx<'_>, owners: &[NodeName]) -> bool {
        let is_thought_of = |node: &NodeName| match node == cx.view.me() {
            true => self.here || self.hint.entry.is_none(),
            false => self.sent_to.contains(node) || self.absent.contains(node),
        };
        let targets = self.hint.targets(cx.view.id(), owners);
        cx.settings.fault == Fault::HintToOldOwner || targets.iter().all(is_thought_of)
    }
}

/// The drain of one copy's hints.
#[derive(Debug)]
pub struct HintDrain {
    copy: CopyId,
    cursor: Bytes,
    page: Vec<OnItsWay>,
    awaited: BTreeMap<RequestId, NodeName>,
    refused: BTreeSet<NodeName>,
    since_ms: u64,
    not_before_ms: u64,
    finished: bool,
    /// Hints that were delivered to all who are there.
    pub delivered: u64,
    progress: BTreeMap<NodeName, Progress>,
    /// Why it does not move on.
    pub trouble: Option<String>,
}

impl HintDrain {
    /// A drain from the first hint on.
    pub fn new(copy: CopyId, holding: &Holding) -> HintDrain {
        HintDrain {
            copy,
            cursor: holding.range(Space::Hint).0,
            page: Vec::new(),
            awaited: BTreeMap::new(),
            refused: BTreeSet::new(),
            since_ms: 0,
            not_before_ms: 0,
            finished: false,
            delivered: 0,
            progress: BTreeMap::new(),
            trouble: None,
        }
    }

    /// Whether it came to the end of the hints that can be delivered now.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Whether it waits before it sends again.
    pub fn is_resting(&self, now_ms: u64) -> bool {
        now_ms < self.not_before_ms
    }

    /// Sends the next page when the last one is settled. Writes to make here (hints dropped or rewritten, entries
    /// merged) are returned.
    pub fn pump(
        &mut self,
        cx: &Cx<'_>,
        copy: Contents<'_>,
        ids: &mut Ids,
        effects: &mut Vec<Effect>,
    ) -> Result<Vec<Write>, Error> {
        let now_ms = cx.now_ms;
        if self.finished || now_ms < self.not_before_ms {
            return Ok(Vec::new());
        }
        if !self.awaited.is_empty() {
            if now_ms.saturating_sub(self.since_ms) < PATIENCE_MS {
                return Ok(Vec::new());
            }
            let silent: Vec<NodeName> = self.awaited.values().cloned().collect();
            self.trouble = Some(format!("{silent:?} do not answer"));
            self.refused.extend(silent);
            self.awaited.clear();
        }
        let writes = self.settle(cx, copy)?;
        if !writes.is_empty() || now_ms < self.not_before_ms {
            return Ok(writes);
        }
        if cx.is_paused() || !cx.budget.allows(Urgency::Hint, now_ms) {
            return Ok(writes);
        }
        self.send_page(cx, copy.holding, ids, effects)?;
        if !self.finished && self.awaited.is_empty() {
            return self.settle(cx, copy);
        }
        Ok(Vec::new())
    }

    fn send_page(
        &mut self,
        cx: &Cx<'_>,
        holding: &Holding,
        ids: &mut Ids,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Error> {
        let view = cx.view;
        let end = holding.range(Space::Hint).1;
        let owners = view.owners(self.copy.partition);
        let mut items: BTreeMap<NodeName, ItemsWriter> = BTreeMap::new();
        let bytes = cx.budget.message_bytes(PAGE_BYTES);
        let page = holding.page(cx.store, &self.cursor, &end, PAGE_ENTRIES, bytes)?;
        for (key, raw) in page.entries {
            let Some(hint) = Hint::decode(raw.clone()) else {
                continue;
            };
            let data_key = StoreKey::respace(&key, Space::Data);
            let entry = match &hint.entry {
                Some(entry) => Some(entry.clone()),
                None => holding.get(cx.store, &data_key)?,
            };
            let targets = match cx.settings.fault {
                Fault::HintToOldOwner if !hint.head.missing.is_empty() => hint.head.missing.clone(),
                _ => hint.targets(view.id(), &owners),
            };
            let here = hint.entry.is_some() && targets.contains(view.me());
            let others = targets.into_iter().filter(|node| node != view.me());
            let (up, absent): (Vec<_>, Vec<_>) = others.partition(|node| view.is_up(node));
            if up.is_empty() && !here && !absent.is_empty() {
                continue;
            }
            if let Some(entry) = entry {
                for node in &up {
                    let list = items.entry(node.clone()).or_default();
                    list.push(&data_key, &entry);
                }
            }
            self.page.push(OnItsWay {
                key,
                raw,
                hint,
                sent_to: up,
                absent,
                here,
            });
        }
        match page.next {
            Some(next) => self.cursor = next,
            None => self.cursor = end,
        }
        for (node, list) in items {
            cx.spend(Urgency::Hint, list.bytes());
            let id = ids.fresh();
            self.awaited.insert(id, node.clone());
            let message = Message::Fill {
                id,
                copy: self.copy,
                ring: view.id(),
                mends: false,
                body: list.finish(),
            };
            effects.push(Effect::send(node, message));
        }
        self.since_ms = cx.now_ms;
        self.finished = self.page.is_empty() && self.cursor >= holding.range(Space::Hint).1;
        Ok(())
    }

    /// Whether an answer to `id` is meant for it.
    pub fn is_about(&self, id: RequestId) -> bool {
        self.awaited.contains_key(&id)
    }

    /// For people: what a target was given so far.
    pub fn progress(&self, to: &NodeName) -> Option<&Progress> {
        self.progress.get(to)
    }

    /// A target answered.
    pub fn filled(&mut self, now_ms: u64, id: RequestId, answer: &Answer) {
        let Some(node) = self.awaited.remove(&id) else {
            return;
        };
        if *answer == Answer::Stored {
            self.trouble = None;
        } else {
            self.trouble = Some(format!("{node} refused: {answer:?}"));
            self.not_before_ms = now_ms + REFUSED_MS;
            self.refused.insert(node);
        }
    }

    /// Drops or rewrites what was delivered.
    fn settle(&mut self, cx: &Cx<'_>, copy: Contents<'_>) -> Result<Vec<Write>, Error> {
        let Contents { holding, vnode } = copy;
        let mut writes = Vec::new();
        let refused = std::mem::take(&mut self.refused);
        let owners = cx.view.owners(self.copy.partition);
        let mut begins_again = !refused.is_empty();
        for sent in std::mem::take(&mut self.page) {
            if sent.sent_to.iter().any(|node| refused.contains(node)) {
                continue;
            }
            if !sent.is_all(cx, &owners) {
                begins_again = true;
                continue;
            }
            self.delivered += 1;
            let amount = Amount::one(&sent.key, &sent.raw);
            for node in &sent.sent_to {
                let progress = self.progress.entry(node.clone()).or_default();
                progress.begin(self.since_ms);
                progress.add(cx.now_ms, amount);
            }
            if sent.here {
                let data_key = StoreKey::respace(&sent.key, Space::Data);
                let held = holding.get(cx.store, &data_key)?;
                let entry = sent.hint.entry.clone();
                let entry = entry.expect("only entries are merged here");
                if let Some(entry) = holding.above(&data_key, entry)
                    && let Merged::Changed(merged) = vnode.merge(held.as_ref(), &entry)
                {
                    writes.push(Write::put(data_key, merged));
                }
            }
            if holding.get(cx.store, &sent.key)? != Some(sent.raw) {
                continue;
            }
            if sent.absent.is_empty() {
                writes.push(Write::delete(sent.key));
            } else {
                let mut rest = sent.hint;
                rest.head.ring = Some(cx.view.id());
                rest.head.missing = sent.absent;
                writes.push(Write::put(sent.key, rest.encode()));
            }
        }
        if begins_again {
            // What was refused, or is to go to others too, is still there: begin again, after a while.
            self.cursor = holding.range(Space::Hint).0;
            self.not_before_ms = self.not_before_ms.max(cx.now_ms + REFUSED_MS);
        }
        Ok(writes)
    }
}
