//! This file answers: which live keys does a copy hold in a stretch?
//!
//! For those who look around (RANDOMKEY, CLUSTER COUNTKEYSINSLOT): one page a question, and nothing is promised of keys
//! that come and go between two.

use bytes::Bytes;
use rkv_storage::order::after;
use rkv_storage::{Error, Space};
use rkv_wire::items::ItemsWriter;
use rkv_wire::message::Answer;

use super::commands::{answer, failed};
use super::{Actor, Cx, Effect, ReplyTo};
use crate::phase::Phase;
use crate::stretch::FILL_BYTES;

/// Entries looked at for one answer.
const LISTED_ENTRIES: usize = 4096;

impl Actor {
    /// Answers with the live keys of `from..to`: how many, and the first `most` of them.
    pub(super) fn list_keys(
        &self,
        cx: &Cx<'_>,
        to: ReplyTo,
        stretch: (Bytes, Bytes),
        most: u32,
        effects: &mut Vec<Effect>,
    ) {
        if !(self.phase.answers() && cx.view.owns(self.id.partition)) {
            return answer(to, Answer::NotOwner(cx.view.id()), effects);
        }
        if matches!(self.phase, Phase::CatchingUp { .. }) {
            return answer(to, Answer::Busy, effects);
        }
        match self.live_keys(cx, stretch, most) {
            Ok((answer, body)) => effects.push(Effect::Answer { to, answer, body }),
            Err(error) => answer(to, failed(&error), effects),
        }
    }

    fn live_keys(
        &self,
        cx: &Cx<'_>,
        (from, to): (Bytes, Bytes),
        most: u32,
    ) -> Result<(Answer, Bytes), Error> {
        let (start, end) = self.holding.range(Space::Data);
        let (from, to) = (from.max(start), to.min(end));
        let page = self
            .holding
            .page(cx.store, &from, &to, LISTED_ENTRIES, usize::MAX)?;
        let mut items = ItemsWriter::new();
        let (mut live, mut next) = (0, page.next.filter(|next| *next < to));
        for (key, entry) in &page.entries {
            if !self.vnode.nature(entry).is_live(cx.wall_ms) {
                continue;
            }
            live += 1;
            if items.count() < most as usize {
                items.push(key, b"");
            }
            if items.bytes() >= FILL_BYTES {
                next = Some(after(key));
                break;
            }
        }
        Ok((Answer::Keys { live, next }, items.finish()))
    }
}
