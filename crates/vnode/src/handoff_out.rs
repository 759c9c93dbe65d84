//! This file answers: how does the source of a move hand its copy over?
//!
//! One session, from an empty copy at the target to the point where both copies are equal at a mark in the source's
//! write order. The source answers all the while; each write that it applies is forwarded in order and acknowledged
//! only when the target has it too. Entries are read from the live copy behind a cursor: whatever is written after
//! the session began is forwarded anyway, so nothing is missed, and the target merges, so nothing is overwritten.
//! A target that is silent for [`SILENCE_MS`] is dropped and the session is broken. The next one finds what this one left
//! there, compares the copies and sends only what differs: no cursor is gone by, since writes that came between two sessions
//! were acknowledged without the target.

use bytes::Bytes;
use rkv_ring::{NodeName, RingId};
use rkv_storage::{Error, Space};
use rkv_wire::items::{ItemsWriter, one_item};
use rkv_wire::message::{CopyId, Message, SessionId, Totals};

use crate::actor::{Cx, Effect, Ids};
use crate::budget::Urgency;
use crate::compare::{Aim, Comparison};
use crate::fault::Fault;
use crate::holding::{Contents, Holding};
use crate::progress::{Amount, Progress};

/// How long a target may be silent while something is outstanding.
pub const SILENCE_MS: u64 = 2_000;
/// How often what was not answered is said again.
const REPEAT_MS: u64 = 300;
/// Pages on their way at most.
const WINDOW: u64 = 8;
/// Entries of a page at most, and about how many bytes: what a request waits for that comes behind one.
const PAGE_ENTRIES: usize = 128;
const PAGE_BYTES: usize = 256 << 10;

/// How far a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The target was asked to begin.
    Opening,
    /// Entries flow.
    Filling,
    /// All entries are there; a mark was sent.
    Marking,
    /// The copies were equal at the mark; the source is writing down that it forwards.
    Equal,
    /// Written down: the target may be named owner at any moment.
    Ready,
}

/// The source's side of one session.
#[derive(Debug)]
pub struct HandoffOut {
    copy: CopyId,
    /// The target.
    pub to: NodeName,
    /// This session.
    pub session: SessionId,
    /// The move's attempt.
    pub attempt: u32,
    /// How far it is.
    pub stage: Stage,
    /// Where the next page begins; `None`: all pages were sent, or the session resumes.
    cursor: Option<Bytes>,
    /// Whether the target may keep what earlier sessions left.
    resume: bool,
    /// It has: what of this copy it lacks is found by this.
    resumed: Option<Comparison>,
    items_sent: u64,
    items_took: u64,
    forwards_sent: u64,
    forwards_took: u64,
    /// Forwards before the mark that was sent last.
    mark: u64,
    heard_ms: u64,
    said_ms: u64,
    progress: Progress,
}

impl HandoffOut {
    /// A session to be: the target is asked until it answers; nothing is gated until then.
    pub fn new(
        copy: CopyId,
        to: NodeName,
        session: SessionId,
        attempt: u32,
        resume: bool,
        now_ms: u64,
    ) -> HandoffOut {
        HandoffOut {
            copy,
            to,
            session,
            attempt,
            stage: Stage::Opening,
            cursor: None,
            resume,
            resumed: None,
            items_sent: 0,
            items_took: 0,
            forwards_sent: 0,
            forwards_took: 0,
            mark: 0,
            heard_ms: now_ms,
            said_ms: 0,
            progress: Progress::default(),
        }
    }

    /// Whether the target began: from here on every write is forwarded.
    pub fn is_open(&self) -> bool {
        self.stage != Stage::Opening
    }

    /// Forwards a write; its acknowledgement waits until the target has taken the number returned.
    pub fn forward(&mut self, key: &Bytes, value: &Bytes, effects: &mut Vec<Effect>) -> u64 {
        self.forwards_sent += 1;
        let message = Message::HandoffForward {
            copy: self.copy,
            session: self.session,
            seq: self.forwards_sent,
            body: one_item(key, value),
        };
        effects.push(Effect::send(self.to.clone(), message));
        self.forwards_sent
    }

    /// Forwards sent so far.
    pub fn forwards_sent(&self) -> u64 {
        self.forwards_sent
    }

    /// Forwards that the target has.
    pub fn forwards_took(&self) -> u64 {
        self.forwards_took
    }

    /// The target began, with an empty copy or with what it kept. What left but has not landed is forwarded at once: no
    /// page that is read before it lands would show it.
    pub fn opened(
        &mut self,
        cx: &Cx<'_>,
        kept: Option<Totals>,
        holding: &Holding,
        effects: &mut Vec<Effect>,
    ) {
        self.heard_ms = cx.now_ms;
        if self.stage != Stage::Opening {
            return;
        }
        self.stage = Stage::Filling;
        self.progress.begin(cx.now_ms);
        match kept {
            Some(kept) => {
                self.progress.begin_behind(cx.now_ms, kept.into());
                if cx.settings.fault != Fault::ResumeByCursorAlone {
                    let to = self.to.clone();
                    self.resumed = Some(Comparison::new(self.copy, to, Aim::Resume, holding));
                }
            }
            None => self.cursor = Some(holding.range(Space::Data).0),
        }
        for (key, value) in holding.leaving(Space::Data) {
            self.forward(&key, &value, effects);
        }
    }

    /// The comparison with what an earlier session left.
    pub fn resumed_mut(&mut self) -> Option<&mut Comparison> {
        self.resumed.as_mut()
    }

    /// The target said something.
    pub fn note_heard(&mut self, now_ms: u64) {
        self.heard_ms = now_ms;
    }

    /// The target stored everything up to these numbers.
    pub fn took(&mut self, now_ms: u64, items: u64, forwards: u64) {
        self.heard_ms = now_ms;
        self.items_took = self.items_took.max(items.min(self.items_sent));
        self.forwards_took = self.forwards_took.max(forwards.min(self.forwards_sent));
    }

    /// The target answered a mark; whether the copies are equal now for the first time.
    pub fn marked(&mut self, now_ms: u64, forwards: u64, equal: bool) -> Result<bool, String> {
        self.heard_ms = now_ms;
        if self.stage != Stage::Marking || forwards > self.mark {
            return Ok(false);
        }
        if !equal {
            return Err("the copies differ at the mark".to_owned());
        }
        self.stage = Stage::Equal;
        Ok(true)
    }

    /// Sends what may be sent now.
    pub fn pump(
        &mut self,
        cx: &Cx<'_>,
        copy: Contents<'_>,
        ids: &mut Ids,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Error> {
        let holding = copy.holding;
        match self.stage {
            Stage::Opening => {}
            Stage::Filling => {
                while self.may_send_page(cx) {
                    let Some(cursor) = self.cursor.take() else {
                        break;
                    };
                    self.send_stretch(cx, cursor, holding, effects)?;
                }
                while self.may_send_page(cx) {
                    if !self.send_lacking(cx, copy, ids, effects)? {
                        break;
                    }
                }
                if self.has_sent_all() && self.items_took == self.items_sent {
                    self.stage = Stage::Marking;
                    self.send_mark(cx.now_ms, holding, effects);
                }
            }
            Stage::Marking => {
                if cx.now_ms.saturating_sub(self.said_ms) >= REPEAT_MS {
                    self.send_mark(cx.now_ms, holding, effects);
                }
            }
            Stage::Equal | Stage::Ready => {}
        }
        Ok(())
    }

    fn may_send_page(&self, cx: &Cx<'_>) -> bool {
        self.items_sent - self.items_took < WINDOW
            && !cx.is_paused()
            && cx.budget.allows(Urgency::Move, cx.now_ms)
    }

    fn has_sent_all(&self) -> bool {
        let resumed = self.resumed.as_ref();
        self.cursor.is_none() && resumed.is_none_or(|c| c.is_done() && !c.has_lacking())
    }

    /// Sends what was found that the target lacks, or looks for more of that. Says whether there may be more to send at once.
    fn send_lacking(
        &mut self,
        cx: &Cx<'_>,
        copy: Contents<'_>,
        ids: &mut Ids,
        effects: &mut Vec<Effect>,
    ) -> Result<bool, Error> {
        let Some(resumed) = self.resumed.as_mut() else {
            return Ok(false);
        };
        if !resumed.has_lacking() {
            resumed.pump(cx, copy, ids, effects)?;
        }
        let most = cx.budget.message_bytes(PAGE_BYTES);
        let (mut entries, mut bytes) = (Vec::new(), 0);
        let most_entries = cx.budget.courtesy.page_entries(cx.now_ms, PAGE_ENTRIES);
        while entries.len() < most_entries && bytes < most {
            let Some(key) = resumed.next_lacking() else {
                break;
            };
            if let Some(value) = copy.holding.get(cx.store, &key)? {
                bytes += key.len() + value.len();
                entries.push((key, value));
            }
        }
        let is_some = !entries.is_empty();
        if is_some {
            self.send_page(cx, &entries, effects);
        }
        Ok(is_some)
    }

    fn send_stretch(
        &mut self,
        cx: &Cx<'_>,
        cursor: Bytes,
        holding: &Holding,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Error> {
        let end = holding.range(Space::Data).1;
        let bytes = cx.budget.message_bytes(PAGE_BYTES);
        let entries = cx.budget.courtesy.page_entries(cx.now_ms, PAGE_ENTRIES);
        let page = holding.page(cx.store, &cursor, &end, entries, bytes)?;
        self.cursor = page.next;
        if !page.entries.is_empty() {
            self.send_page(cx, &page.entries, effects);
        }
        Ok(())
    }

    fn send_page(&mut self, cx: &Cx<'_>, entries: &[(Bytes, Bytes)], effects: &mut Vec<Effect>) {
        let mut items = ItemsWriter::new();
        let mut sent = Amount::default();
        for (key, value) in entries {
            items.push(key, value);
            sent += Amount::one(key, value);
        }
        cx.spend(Urgency::Move, items.bytes());
        self.items_sent += 1;
        self.progress.add(cx.now_ms, sent);
        let message = Message::HandoffItems {
            copy: self.copy,
            session: self.session,
            seq: self.items_sent,
            body: items.finish(),
        };
        effects.push(Effect::send(self.to.clone(), message));
    }

    fn send_mark(&mut self, now_ms: u64, holding: &Holding, effects: &mut Vec<Effect>) {
        self.said_ms = now_ms;
        self.mark = self.forwards_sent;
        let message = Message::HandoffMark {
            copy: self.copy,
            session: self.session,
            items: self.items_sent,
            forwards: self.forwards_sent,
            totals: holding.totals(),
        };
        effects.push(Effect::send(self.to.clone(), message));
    }

    /// Asks (again) to begin, when it is time, under this ring; the source has let go of traces up to that time.
    pub fn ask(&mut self, now_ms: u64, (ring, reaped): (RingId, u64), effects: &mut Vec<Effect>) {
        if self.stage == Stage::Opening && now_ms.saturating_sub(self.said_ms) >= REPEAT_MS {
            self.said_ms = now_ms;
            let message = Message::HandoffOpen {
                copy: self.copy,
                session: self.session,
                ring,
                attempt: self.attempt,
                resume: self.resume,
                reaped,
            };
            effects.push(Effect::send(self.to.clone(), message));
        }
    }

    /// For people: what was sent of a copy that amounts to `totals`, and how fast it goes. Once all is there, so is
    /// what came as a forward.
    pub fn progress(&self, totals: Totals, now_ms: u64) -> (Amount, u64) {
        let all = Amount {
            entries: totals.entries,
            bytes: totals.bytes,
        };
        let done = match self.stage {
            Stage::Opening | Stage::Filling => self.progress.done(),
            Stage::Marking | Stage::Equal | Stage::Ready => all,
        };
        (done, self.progress.entries_per_s(now_ms))
    }

    /// Whether the target is silent though something is outstanding.
    pub fn is_silent(&self, now_ms: u64) -> bool {
        let compares = self.resumed.as_ref().is_some_and(Comparison::waits);
        let outstanding = match self.stage {
            Stage::Opening | Stage::Marking => true,
            Stage::Filling if compares => true,
            Stage::Filling | Stage::Equal | Stage::Ready => {
                self.items_took < self.items_sent || self.forwards_took < self.forwards_sent
            }
        };
        outstanding && now_ms.saturating_sub(self.heard_ms) >= SILENCE_MS
    }

    /// Nothing was outstanding until now: silence counts from here.
    pub fn was_quiet(&self) -> bool {
        self.stage != Stage::Opening
            && self.stage != Stage::Marking
            && !self.resumed.as_ref().is_some_and(Comparison::waits)
            && self.items_took == self.items_sent
            && self.forwards_took == self.forwards_sent
    }

    /// Restarts the count of silence.
    pub fn note_quiet(&mut self, now_ms: u64) {
        self.heard_ms = now_ms;
    }
}
