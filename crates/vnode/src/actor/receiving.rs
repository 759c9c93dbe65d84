//! This file answers: how is a copy filled as the target of a move?
//!
//! A move begins with an empty copy, and its later sessions with what the earlier ones left: the source finds what differs.
//! What any other move left, or an older stay in the row, is dropped first: since then a delete may have been reaped that it
//! does not know of. What comes is merged, in the order of its stream; when the copy equals the
//! source's at a mark, that is written down, synced, and told.
//!
//! An owner that is to answer for one place more, where rows have fewer nodes than places, begins with the copy that it
//! serves from. It need not equal the source's: all that the source has was merged, and that is what counts.

use std::collections::BTreeMap;

use bytes::Bytes;
use rkv_ring::{Move, NodeName};
use rkv_storage::Space;
use rkv_wire::items::read_items;
use rkv_wire::message::{Message, SessionId, Totals};

use super::writes::Then;
use super::{Actor, Cx, Effect};
use crate::fault::Fault;
use crate::handoff_in::{HandoffIn, Mark, Stream};
use crate::holding::Write;
use crate::phase::Phase;
use crate::vnode::Merged;

/// A [`Message::HandoffOpen`] taken apart.
struct Opening {
    session: SessionId,
    attempt: u32,
    resume: bool,
    reaped: u64,
}

/// A message of one of a session's streams.
struct Piece {
    stream: Stream,
    seq: u64,
    body: Bytes,
}

impl Actor {
    /// The source of a move to this copy says something.
    pub(super) fn source_says(
        &mut self,
        cx: &Cx<'_>,
        from: NodeName,
        message: Message,
        effects: &mut Vec<Effect>,
    ) {
        let (session, piece) = match message {
            Message::HandoffOpen {
                session,
                attempt,
                resume,
                reaped,
                ..
            } => {
                let opening = Opening {
                    session,
                    attempt,
                    resume,
                    reaped,
                };
                return self.open_in(cx, from, opening, effects);
            }
            Message::HandoffMark {
                session,
                items,
                forwards,
                totals,
                ..
            } => {
                let mark = Mark {
                    items,
                    forwards,
                    totals,
                };
                return self.mark_in(cx, from, session, mark, effects);
            }
            Message::HandoffItems {
                session, seq, body, ..
            } => {
                let stream = Stream::Items;
                (session, Piece { stream, seq, body })
            }
            Message::HandoffForward {
                session, seq, body, ..
            } => {
                let stream = Stream::Forwards;
                (session, Piece { stream, seq, body })
            }
            _ => return,
        };
        if self.incoming_session(&from, session).is_some() {
            self.stream_in(cx, from, session, piece, effects);
        } else {
            self.late_piece(cx, from, session, piece, effects);
        }
    }

    pub(super) fn incoming_session(
        &mut self,
        from: &NodeName,
        session: SessionId,
    ) -> Option<&mut HandoffIn> {
        self.incoming
            .as_mut()
            .filter(|i| i.session == session && i.from == *from)
    }

    fn open_in(
        &mut self,
        cx: &Cx<'_>,
        from: NodeName,
        opening: Opening,
        effects: &mut Vec<Effect>,
    ) {
        let Opening {
            session,
            attempt,
            resume,
            reaped,
        } = opening;
        if let Some(incoming) = self.incoming_session(&from, session) {
            let kept = incoming.kept;
            let opening = |then: &Then| matches!(then, Then::Opened { .. });
            if !self.then.iter().any(|(_, then)| opening(then)) {
                self.answer_open(from, session, Ok(kept), effects);
            }
            return;
        }
        let since = match self.refuses_open(cx, &from, attempt) {
            Ok(since) => since,
            Err(refused) => return self.answer_open(from, session, Err(refused), effects),
        };
        // An earlier session of this move is over: its source begins another.
        self.incoming = None;
        let most = cx.most_transfers();
        let Some(place) = cx.places.take_in(most) else {
            let full = format!("{} takes {most} at once (transfers.limit)", cx.view.me());
            return effects.push(self.opened(from, session, Err(full), true));
        };
        self.learn_reaped(cx, reaped, effects);
        let incoming = |kept| HandoffIn::new(from.clone(), session, kept, place, cx.now_ms);
        if self.phase == Phase::Serving {
            self.incoming = Some(incoming(None));
            return self.answer_open(from, session, Ok(None), effects);
        }
        let keeps = match cx.settings.fault {
            Fault::MergeIntoLeftover => true,
            _ => resume && self.is_left_by(&from, since),
        };
        let kept = keeps.then(|| self.holding.totals());
        if kept.is_none() {
            let token = self.holding.drop_all(Space::Data, effects);
            self.then.push_back((token, Then::Nothing));
        }
        self.incoming = Some(incoming(kept));
        let phase = Phase::Receiving {
            from: from.clone(),
            session,
            attempt,
            since,
            complete: false,
        };
        let then = Then::Opened {
            from,
            session,
            kept,
        };
        self.enter(cx, phase, then, effects);
    }

    /// Whether what is here was left by an earlier session of the move that has been listed since that epoch. While a move
    /// is listed nothing of its partition is reaped, so nothing that was deleted can come back with it.
    fn is_left_by(&self, source: &NodeName, listed_since: u32) -> bool {
        match &self.phase {
            Phase::Receiving { from, since, .. } => {
                from == source && *since == listed_since && listed_since > 0
            }
            _ => false,
        }
    }

    /// Since when the move has been listed, or why a session may not begin now.
    fn refuses_open(&self, cx: &Cx<'_>, from: &NodeName, attempt: u32) -> Result<u32, String> {
        let listed = cx.view.ring().moves.get(&self.id.partition);
        let is_it = |m: &&Move| m.to == *cx.view.me() && m.from == *from && m.attempt == attempt;
        let Some(listed) = listed.filter(is_it) else {
            return Err("it has not adopted the ring that lists this move".to_owned());
        };
        if self.phase == Phase::Serving {
            Ok(listed.since)
        } else if self.leaving.dropping || self.holding.in_flight() > 0 {
            Err("it still drops an old copy of the partition".to_owned())
        } else if !matches!(self.phase, Phase::Absent | Phase::Receiving { .. }) {
            Err(format!("its copy of the partition is {:?}", self.state()))
        } else {
            Ok(listed.since)
        }
    }

    pub(super) fn answer_open(
        &self,
        to: NodeName,
        session: SessionId,
        opened: Result<Option<Totals>, String>,
        effects: &mut Vec<Effect>,
    ) {
        effects.push(self.opened(to, session, opened, false));
    }

    fn opened(
        &self,
        to: NodeName,
        session: SessionId,
        opened: Result<Option<Totals>, String>,
        full: bool,
    ) -> Effect {
        let (kept, refused) = match opened {
            Ok(kept) => (kept, None),
            Err(refused) => (None, Some(refused)),
        };
        let message = Message::HandoffOpened {
            copy: self.id,
            session,
            kept,
            refused,
            full,
        };
        Effect::send(to, message)
    }

    /// Gives the place of a move to this copy back when its source is not heard of.
    pub(super) fn watch_incoming(&mut self, cx: &Cx<'_>) {
        let Some(incoming) = self.incoming.as_mut() else {
            return;
        };
        if !cx.view.is_up(&incoming.from) {
            incoming.give_place_back();
        } else if cx.is_paused() {
            incoming.note_heard(cx.now_ms);
        } else {
            incoming.give_idle_place_back(cx.now_ms);
        }
    }

    /// Tells the other side that a session is over.
    pub(super) fn refuse_session(
        &self,
        to: NodeName,
        session: SessionId,
        reason: String,
        effects: &mut Vec<Effect>,
    ) {
        let message = Message::HandoffBroken {
            copy: self.id,
            session,
            reason,
        };
        effects.push(Effect::send(to, message));
    }

    fn refuse_unknown(&self, to: NodeName, session: SessionId, effects: &mut Vec<Effect>) {
        let reason = "the target does not know this session".to_owned();
        self.refuse_session(to, session, reason, effects);
    }

    fn stream_in(
        &mut self,
        cx: &Cx<'_>,
        from: NodeName,
        session: SessionId,
        piece: Piece,
        effects: &mut Vec<Effect>,
    ) {
        let stream = piece.stream;
        if let Some(incoming) = self.incoming.as_mut() {
            incoming.note_heard(cx.now_ms);
            incoming.came(stream, piece.seq, piece.body);
        }
        while let Some((seq, body)) = self.incoming.as_mut().and_then(|i| i.next(stream)) {
            match self.merge_items(cx, body) {
                Ok(writes) => {
                    let then = Then::Took {
                        session,
                        stream,
                        seq,
                    };
                    self.write(cx, writes, false, then, effects);
                }
                Err(reason) => {
                    self.incoming = None;
                    return self.refuse_session(from, session, reason, effects);
                }
            }
            self.judge_mark(cx, effects);
        }
    }

    /// A piece of no session that is known: after the epoch the new owner still takes what the old one forwarded
    /// before it knew.
    fn late_piece(
        &mut self,
        cx: &Cx<'_>,
        from: NodeName,
        session: SessionId,
        piece: Piece,
        effects: &mut Vec<Effect>,
    ) {
        if !(self.phase.answers() && cx.view.owns(self.id.partition)) {
            return self.refuse_unknown(from, session, effects);
        }
        let writes = self.merge_items(cx, piece.body).unwrap_or_default();
        if !writes.is_empty() {
            self.write(cx, writes, false, Then::Nothing, effects);
        }
    }

    /// What merging these items would write.
    pub(super) fn merge_items(&self, cx: &Cx<'_>, body: Bytes) -> Result<Vec<Write>, String> {
        let items = read_items(body).map_err(|e| e.to_string())?;
        let mut writes: BTreeMap<Bytes, Bytes> = BTreeMap::new();
        for (key, entry) in items {
            if !self.holding.is_place_of(&key) {
                return Err("an entry of another partition".to_owned());
            }
            let Some(entry) = self.above(cx, &key, entry) else {
                continue;
            };
            let held = match writes.get(&key) {
                Some(written) => Some(written.clone()),
                None => self
                    .holding
                    .get(cx.store, &key)
                    .map_err(|e| e.to_string())?,
            };
            let merged = match cx.settings.fault {
                Fault::OverwriteInsteadOfMerge if held.as_ref() != Some(&entry) => {
                    Merged::Changed(entry)
                }
                _ => self.vnode.merge(held.as_ref(), &entry),
            };
            if let Merged::Changed(merged) = merged {
                writes.insert(key, merged);
            }
        }
        Ok(writes.into_iter().map(|(k, v)| Write::put(k, v)).collect())
    }

    /// What was taken in is stored: the source is told.
    pub(super) fn took_in(
        &mut self,
        session: SessionId,
        stream: Stream,
        seq: u64,
        effects: &mut Vec<Effect>,
    ) {
        let Some(incoming) = self.incoming.as_mut().filter(|i| i.session == session) else {
            return;
        };
        incoming.stored(stream, seq);
        let (items, forwards) = incoming.took();
        let message = Message::HandoffTook {
            copy: self.id,
            session,
            items,
            forwards,
        };
        effects.push(Effect::send(incoming.from.clone(), message));
    }

    fn mark_in(
        &mut self,
        cx: &Cx<'_>,
        from: NodeName,
        session: SessionId,
        mark: Mark,
        effects: &mut Vec<Effect>,
    ) {
        match self.incoming_session(&from, session) {
            Some(incoming) => {
                incoming.note_heard(cx.now_ms);
                incoming.marked(mark);
                self.judge_mark(cx, effects);
            }
            None => self.refuse_unknown(from, session, effects),
        }
    }

    /// At the mark the copies are equal, or the session has failed.
    fn judge_mark(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        let totals = self.holding.totals();
        let Some(incoming) = self.incoming.as_mut() else {
            return;
        };
        let Some((forwards, equal)) = incoming.at_mark(totals) else {
            return;
        };
        let (from, session) = (incoming.from.clone(), incoming.session);
        let phase = match self.phase {
            Phase::Serving => Phase::Serving,
            Phase::Receiving { attempt, since, .. } if equal || incoming.goes_by_cursor(cx) => {
                Phase::Receiving {
                    from,
                    session,
                    attempt,
                    since,
                    complete: true,
                }
            }
            _ => {
                self.incoming = None;
                return self.answer_mark(from, session, forwards, false, effects);
            }
        };
        // Written as complete, but it counts as such only when that is on disk.
        let writes = vec![self.record(&phase)];
        let then = Then::Marked { session, forwards };
        self.write(cx, writes, true, then, effects);
    }

    pub(super) fn equal_and_synced(
        &mut self,
        session: SessionId,
        forwards: u64,
        effects: &mut Vec<Effect>,
    ) {
        let incoming = self.incoming.as_mut().filter(|i| i.session == session);
        let Some(incoming) = incoming else {
            return;
        };
        incoming.give_place_back();
        let from = incoming.from.clone();
        match &mut self.phase {
            Phase::Receiving {
                session: current,
                complete,
                ..
            } if *current == session => *complete = true,
            Phase::Serving => {}
            _ => return,
        }
        self.answer_mark(from, session, forwards, true, effects);
    }

    fn answer_mark(
        &self,
        to: NodeName,
        session: SessionId,
        forwards: u64,
        equal: bool,
        effects: &mut Vec<Effect>,
    ) {
        let message = Message::HandoffMarked {
            copy: self.id,
            session,
            forwards,
            equal,
        };
        effects.push(Effect::send(to, message));
    }
}
