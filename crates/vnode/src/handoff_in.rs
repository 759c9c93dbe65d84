//! This file answers: how does the target of a move take a copy in?
//!
//! Items and forwards are each numbered; they are taken in order, and what comes early waits. Everything is merged,
//! never overwritten: an item read before a write may come after the write's forward. At a mark the totals are
//! compared at exactly the point of the source's order that the mark names.

use std::collections::BTreeMap;

use bytes::Bytes;
use rkv_ring::NodeName;
use rkv_wire::message::{SessionId, Totals};

use crate::actor::Cx;
use crate::fault::Fault;
use crate::places::Place;

/// Early messages kept at most; a source's window is smaller, so more than this is no honest source.
const EARLY: usize = 8192;
/// How long a source may be silent and keep its place: longer than one is that gives up.
const IDLE_MS: u64 = 5_000;

/// Which of the two streams of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Pages of entries.
    Items,
    /// Writes since the session began.
    Forwards,
}

/// A mark that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Items sent in all.
    pub items: u64,
    /// Forwards before the mark.
    pub forwards: u64,
    /// What the source amounts to there.
    pub totals: Totals,
}

/// The target's side of one session.
#[derive(Debug)]
pub struct HandoffIn {
    /// The source.
    pub from: NodeName,
    /// This session.
    pub session: SessionId,
    /// What an earlier session left, if this one goes on with that.
    pub kept: Option<Totals>,
    /// Number of the last one merged of each stream.
    merged: [u64; 2],
    /// Number of the last one stored of each stream.
    stored: [u64; 2],
    early: [BTreeMap<u64, Bytes>; 2],
    mark: Option<Mark>,
    /// Held while entries flow.
    place: Option<Place>,
    heard_ms: u64,
}

impl HandoffIn {
    /// A session of which nothing came yet.
    pub fn new(
        from: NodeName,
        session: SessionId,
        kept: Option<Totals>,
        place: Place,
        now_ms: u64,
    ) -> HandoffIn {
        HandoffIn {
            from,
            session,
            kept,
            merged: [0; 2],
            stored: [0; 2],
            early: Default::default(),
            mark: None,
            place: Some(place),
            heard_ms: now_ms,
        }
    }

    /// The source is there, or not to be expected to say anything.
    pub fn note_heard(&mut self, now_ms: u64) {
        self.heard_ms = now_ms;
    }

    /// Others may come in: all is here.
    pub fn give_place_back(&mut self) {
        self.place = None;
    }

    /// The same when the source has said nothing for long: it may be gone, and others must not wait for it. When it goes
    /// on after all, it does.
    pub fn give_idle_place_back(&mut self, now_ms: u64) {
        if now_ms.saturating_sub(self.heard_ms) >= IDLE_MS {
            self.place = None;
        }
    }

    /// The fault of that name: a session that goes on by a cursor is not judged by what the copies amount to.
    pub(crate) fn goes_by_cursor(&self, cx: &Cx<'_>) -> bool {
        cx.settings.fault == Fault::ResumeByCursorAlone && self.kept.is_some()
    }

    /// A message of a stream came; what can be merged next, one call at a time, is told by [`HandoffIn::next`].
    pub fn came(&mut self, stream: Stream, seq: u64, body: Bytes) {
        let early = &mut self.early[stream as usize];
        if seq > self.merged[stream as usize] && early.len() < EARLY {
            early.insert(seq, body);
        }
    }

    /// The next body to merge, and its number.
    pub fn next(&mut self, stream: Stream) -> Option<(u64, Bytes)> {
        let s = stream as usize;
        let seq = self.merged[s] + 1;
        let body = self.early[s].remove(&seq)?;
        self.merged[s] = seq;
        Some((seq, body))
    }

    /// What was merged up to `seq` is stored.
    pub fn stored(&mut self, stream: Stream, seq: u64) {
        let s = stream as usize;
        self.stored[s] = self.stored[s].max(seq);
    }

    /// What the source may be told: items and forwards stored.
    pub fn took(&self) -> (u64, u64) {
        (self.stored[0], self.stored[1])
    }

    /// A mark came; the latest counts.
    pub fn marked(&mut self, mark: Mark) {
        if self.mark.is_none_or(|m| m.forwards <= mark.forwards) {
            self.mark = Some(mark);
        }
    }

    /// Whether this copy is at the mark now, and if so whether it is equal. A mark that was passed is forgotten: the
    /// source sends another.
    pub fn at_mark(&mut self, totals: Totals) -> Option<(u64, bool)> {
        let mark = self.mark?;
        if self.merged[1] > mark.forwards {
            self.mark = None;
            return None;
        }
        if self.merged == [mark.items, mark.forwards] {
            self.mark = None;
            return Some((mark.forwards, totals.is_equal_copy(&mark.totals)));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::places::Places;

    fn totals(entries: u64) -> Totals {
        Totals {
            entries,
            ..Totals::default()
        }
    }

    /// Lost without it: a mark judged before all that precedes it was merged, or after something that follows it.
    #[test]
    fn a_mark_is_judged_at_its_own_place() {
        let session = SessionId { boot: 1, number: 1 };
        let place = Places::default().take_in(1).expect("it is free");
        let mut handoff = HandoffIn::new("a".into(), session, None, place, 0);
        let mark = Mark {
            items: 1,
            forwards: 2,
            totals: totals(7),
        };
        handoff.came(Stream::Forwards, 2, Bytes::from("second"));
        handoff.marked(mark);
        assert_eq!(handoff.next(Stream::Forwards), None, "the first is missing");
        assert_eq!(handoff.at_mark(totals(7)), None);
        handoff.came(Stream::Forwards, 1, Bytes::from("first"));
        assert_eq!(handoff.next(Stream::Forwards).map(|(seq, _)| seq), Some(1));
        assert_eq!(handoff.next(Stream::Forwards).map(|(seq, _)| seq), Some(2));
        assert_eq!(handoff.at_mark(totals(7)), None, "an item is missing");
        handoff.came(Stream::Items, 1, Bytes::from("page"));
        assert_eq!(handoff.next(Stream::Items).map(|(seq, _)| seq), Some(1));
        assert_eq!(handoff.at_mark(totals(7)), Some((2, true)));
        handoff.marked(mark);
        handoff.came(Stream::Forwards, 3, Bytes::from("third"));
        assert!(handoff.next(Stream::Forwards).is_some());
        assert_eq!(handoff.at_mark(totals(7)), None, "the mark was passed");
        handoff.came(Stream::Forwards, 3, Bytes::from("again"));
        assert_eq!(
            handoff.next(Stream::Forwards),
            None,
            "duplicates are dropped"
        );
    }
}
