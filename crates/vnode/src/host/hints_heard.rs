//! This file answers: who holds counted hints for a copy that catches up?
//!
//! While a copy of this node catches up, its peers are asked now and then which copies they hold hints for; a copy
//! counts again only when all that can be reached have said that they hold none for it.

use std::collections::{BTreeMap, BTreeSet};

use rkv_ring::NodeName;
use rkv_wire::message::{CopyId, Message, RequestId};

use super::Host;
use crate::actor::Actor;
use crate::phase::Phase;
use crate::view::View;

/// How often peers are asked.
const ASK_HINTS_MS: u64 = 200;

/// What peers said of the counted hints that they hold.
#[derive(Default)]
pub(super) struct HintsHeard {
    asked_ms: u64,
    asked: BTreeMap<RequestId, NodeName>,
    /// When each was asked that has answered, and what it said.
    heard: BTreeMap<NodeName, (u64, BTreeSet<CopyId>)>,
}

impl HintsHeard {
    pub(super) fn forget(&mut self, node: &NodeName) {
        self.heard.remove(node);
    }
}

impl Host {
    /// Copies of others that this node holds hints for, given as votes.
    pub(super) fn counted_hints(&self) -> Vec<CopyId> {
        let view = self.view.load();
        let copies = self.restless_copies();
        let holds = |copy: &CopyId| {
            let desk = self.desk(*copy);
            desk.is_some_and(|desk| self.look(desk, |actor| actor.holding.hints() > 0))
        };
        let strangers = copies.into_iter().filter(|c| !view.owns(c.partition));
        strangers.filter(holds).collect()
    }

    /// Asks the peers, when a copy needs to know and it is time.
    pub(super) fn ask_hints(&self) {
        let catching_up = self.any_catches_up();
        let now_ms = self.world.now_ms();
        let mut hints = self.hints.lock();
        if !catching_up || now_ms.saturating_sub(hints.asked_ms) < ASK_HINTS_MS {
            return;
        }
        hints.asked_ms = now_ms;
        hints.asked.clear();
        let view = self.view.load();
        for node in view.peers_up() {
            let id = self.fresh_id();
            hints.asked.insert(id, node.clone());
            self.world.send(node, Message::AskHints { id });
        }
    }

    fn any_catches_up(&self) -> bool {
        let copies = self.restless_copies();
        copies.into_iter().any(|copy| {
            let desk = self.desk(copy);
            let catches_up = |actor: &Actor| matches!(actor.phase, Phase::CatchingUp { .. });
            desk.is_some_and(|desk| self.look(desk, catches_up))
        })
    }

    pub(super) fn hints_heard(&self, from: &NodeName, id: RequestId, counted: Vec<CopyId>) {
        let mut hints = self.hints.lock();
        if hints.asked.get(&id) == Some(from) {
            let asked_ms = hints.asked_ms;
            let counted = counted.into_iter().collect();
            hints.heard.insert(from.clone(), (asked_ms, counted));
        }
    }

    /// Since when all who can be reached are known to hold none for `copy`.
    pub(super) fn hints_clear_since(&self, view: &View, copy: CopyId, now_ms: u64) -> Option<u64> {
        let hints = self.hints.lock();
        let mut since = now_ms;
        for node in view.peers_up() {
            let (heard_ms, counted) = hints.heard.get(node)?;
            if counted.contains(&copy) {
                return None;
            }
            since = since.min(*heard_ms);
        }
        Some(since)
    }

    pub(super) fn fresh_id(&self) -> RequestId {
        let mut next = self.next_id.lock();
        *next = next.wrapping_add(1);
        RequestId(*next & (u64::MAX >> 1))
    }
}
