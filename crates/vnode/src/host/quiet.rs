//! This file answers: of which copies does nobody hold a hint, nor a copy that is no plain owner's?
//!
//! Asked only while some copy of this node has traces that are old enough to go. All members must be there, route by one ring and
//! answer in one round; a member that is away, or was removed by force less than the delete grace ago, may hold what is older.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use rkv_ring::{NodeName, RingId, Status};
use rkv_wire::message::{CopyId, Message, RequestId};

use super::Host;
use crate::actor::{Actor, QuietAt};
use crate::fault::Fault;
use crate::phase::Phase;
use crate::view::View;

/// How often members are asked.
const ASK_MS: u64 = 2_000;

/// What members said in the last rounds.
#[derive(Default)]
pub(super) struct Quiet {
    /// Whether somebody wants to know.
    pub(super) is_wanted: bool,
    asked_ms: u64,
    round: Option<Round>,
    last: Option<Heard>,
    /// What reaping waits for, for people.
    waits_for: Option<String>,
}

/// A round of questions.
struct Round {
    ring: RingId,
    /// When it began.
    began: QuietAt,
    awaited: BTreeMap<RequestId, NodeName>,
    unsettled: BTreeSet<CopyId>,
}

/// What came of a round.
struct Heard {
    ring: RingId,
    began: QuietAt,
    unsettled: BTreeSet<CopyId>,
}

impl Host {
    /// Copies here that are hinted, or are no plain owner's.
    pub(super) fn unsettled(&self) -> Vec<CopyId> {
        let copies = self.restless_copies();
        let ignores_hints = self.settings.fault == Fault::ReapDespiteHints;
        let is_unsettled = |actor: &Actor| {
            let is_plain = matches!(actor.phase, Phase::Serving | Phase::Absent);
            let has_hints = actor.holding.hints() > 0;
            !is_plain || (has_hints && !ignores_hints) || actor.is_moving()
        };
        let is_unsettled = |copy: &CopyId| {
            let desk = self.desk(*copy);
            desk.is_some_and(|desk| self.look(desk, is_unsettled))
        };
        copies.into_iter().filter(is_unsettled).collect()
    }

    /// Begins a round, when a copy needs one and it is time.
    pub(super) fn ask_quiet(&self) {
        let now_ms = self.world.now_ms();
        let view = self.view.load();
        {
            let mut quiet = self.quiet.lock();
            if !quiet.is_wanted || now_ms.saturating_sub(quiet.asked_ms) < ASK_MS {
                return;
            }
            quiet.is_wanted = false;
            quiet.asked_ms = now_ms;
            quiet.round = None;
        }
        if !self.clock_fits.load(Ordering::Relaxed) {
            return;
        }
        // Whoever is with a copy asks here what is quiet: no copy may be looked at while this is locked.
        let unsettled = self.unsettled().into_iter().collect();
        let wall_ms = self.world.wall_ms();
        let mut quiet = self.quiet.lock();
        let ignores_away = self.settings.fault == Fault::ReapDespiteHints;
        quiet.waits_for = self.in_the_way(&view, wall_ms).filter(|_| !ignores_away);
        if quiet.waits_for.is_some() {
            quiet.last = None;
            return;
        }
        let mut round = Round {
            ring: view.id(),
            began: QuietAt { now_ms, wall_ms },
            awaited: BTreeMap::new(),
            unsettled,
        };
        let members = &view.ring().members;
        let is_joining = |node: &&NodeName| members[*node].status == Status::Joining;
        for node in view.peers().filter(|node| !is_joining(node)) {
            if ignores_away && !view.is_up(node) {
                continue;
            }
            let id = self.fresh_id();
            round.awaited.insert(id, node.clone());
            self.world.send(node, Message::AskUnsettled { id });
        }
        quiet.round = Some(round);
        quiet.end_round();
    }

    /// What nobody but an operator can mend, if that is what keeps traces here.
    fn in_the_way(&self, view: &View, wall_ms: u64) -> Option<String> {
        let ring = view.ring();
        let away = ring.members.iter().find(|(name, member)| {
            let is_away = *name != view.me() && !view.is_up(name);
            member.status == Status::Down || (is_away && member.status != Status::Joining)
        });
        if let Some((name, _)) = away {
            return Some(format!("{name}, which is away"));
        }
        let grace_ms = self.settings.delete_grace_ms;
        let lately = ring.removed.iter().rev();
        let mut lately = lately.filter(|removed| wall_ms < removed.at_ms.saturating_add(grace_ms));
        let removed = lately.next()?;
        Some(format!(
            "what {} may bring back: it was removed by force",
            removed.node
        ))
    }

    pub(super) fn unsettled_heard(
        &self,
        from: &NodeName,
        id: RequestId,
        ring: RingId,
        copies: Vec<CopyId>,
    ) {
        let mut quiet = self.quiet.lock();
        let Some(round) = quiet.round.as_mut() else {
            return;
        };
        if round.awaited.get(&id) != Some(from) {
            return;
        }
        if round.ring != ring {
            quiet.round = None;
            return;
        }
        round.awaited.remove(&id);
        round.unsettled.extend(copies);
        quiet.end_round();
    }

    /// When nobody held a hint or another copy than an owner's of `copy`, under the ring of `view`.
    pub(super) fn quiet_at(&self, view: &View, copy: CopyId) -> Option<QuietAt> {
        let quiet = self.quiet.lock();
        let last = quiet.last.as_ref();
        let last = last.filter(|last| last.ring == view.id() && !last.unsettled.contains(&copy));
        last.map(|last| last.began)
    }

    /// Somebody has traces that are old enough to go.
    pub(super) fn want_quiet(&self) {
        self.quiet.lock().is_wanted = true;
    }

    /// What traces that are old enough to go wait for, if it is more than their turn.
    pub(super) fn reaping_waits_for(&self) -> Option<String> {
        self.quiet.lock().waits_for.clone()
    }
}

impl Quiet {
    fn end_round(&mut self) {
        let round = self.round.take_if(|round| round.awaited.is_empty());
        if let Some(round) = round {
            self.last = Some(Heard {
                ring: round.ring,
                began: round.began,
                unsettled: round.unsettled,
            });
        }
    }
}
