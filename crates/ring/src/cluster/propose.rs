//! This file answers: when does a member propose the next ring, and when does it keep still?
//!
//! The claimant proposes what there is to do. A member whose claimant is lost, or to whom an accepted ring was left
//! undecided, takes over with a higher round, after waiting its turn; who meets a higher ballot stands down for one
//! detection time. So in the end one of them is alone for long enough.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::draft::{Draft, Pending};
use super::{AGAIN_MS, Cluster, Effect};
use crate::claimant::{self, Accepted, Ballot};
use crate::member::{Incarnation, NodeName};
use crate::ring::{Ring, RingDigest};

/// The shortest pause between two epochs is one part in so many of the usual one.
const SHORT_PART: u64 = 10;

/// A member as proposer.
#[derive(Debug)]
pub(super) struct Proposer {
    /// What it is trying to get decided.
    pub(super) attempt: Option<Attempt>,
    /// The highest round met in this decree.
    pub(super) highest_round: u64,
    /// It has met a higher ballot and keeps still until then.
    quiet_until: u64,
    /// Since when a take-over has been due, and this member's jitter in thousandths of a detection time.
    overdue: Option<(u64, u64)>,
    /// When the present epoch was adopted here.
    adopted_at: Option<u64>,
    /// How many jitters were drawn.
    draws: u64,
}

/// One ballot of this member's own.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) ballot: Ballot,
    pub(super) phase: Phase,
    /// When it was last said to those who have not answered.
    pub(super) said_at: u64,
}

/// How far it has come.
#[derive(Debug)]
pub(super) enum Phase {
    /// Asking for promises.
    Prepare {
        promises: BTreeSet<NodeName>,
        best: Option<Accepted>,
    },
    /// The value is drafted, but joiners must have stored it before anybody votes.
    Store {
        draft: Draft,
        digest: RingDigest,
        missing: BTreeMap<NodeName, Incarnation>,
        until: u64,
    },
    /// Asking for votes.
    Accept {
        ring: Arc<Ring>,
        digest: RingDigest,
        votes: BTreeSet<NodeName>,
    },
}

impl Proposer {
    pub(super) fn new(now: u64) -> Proposer {
        Proposer {
            attempt: None,
            highest_round: 0,
            quiet_until: now,
            overdue: None,
            adopted_at: None,
            draws: 0,
        }
    }
}

impl Cluster {
    /// Somebody else's ballot is the higher one: keep still for one detection time. What was not yet put to the vote
    /// goes back to the desk.
    pub(super) fn stand_down(&mut self, now: u64, round: u64) {
        let proposer = &mut self.proposer;
        proposer.highest_round = proposer.highest_round.max(round);
        proposer.quiet_until = now + self.config.detection_ms;
        proposer.overdue = None;
        let drafted = Self::abandon(&mut proposer.attempt);
        self.desk.take_back(drafted);
    }

    fn abandon(attempt: &mut Option<Attempt>) -> Vec<Pending> {
        match attempt.take() {
            Some(Attempt {
                phase: Phase::Store { draft, .. },
                ..
            }) => draft.granted,
            _ => Vec::new(),
        }
    }

    /// The decree is decided: start afresh for the next one. Gives back what was drafted but not put to the vote.
    pub(super) fn stop_proposing(&mut self, now: u64) -> Vec<Pending> {
        let proposer = &mut self.proposer;
        let drafted = Self::abandon(&mut proposer.attempt);
        *proposer = Proposer {
            attempt: None,
            adopted_at: Some(now),
            draws: proposer.draws,
            ..Proposer::new(now)
        };
        proposer.quiet_until = 0;
        drafted
    }

    /// Proposes, repeats or gives up, as far as it is due.
    pub(super) fn drive_proposer(&mut self, now: u64, effects: &mut Vec<Effect>) {
        let is_due = self.is_takeover_due(now);
        if self.proposer.attempt.is_some() {
            return self.drive_attempt(now, effects);
        }
        let proposer = &self.proposer;
        if !self.can_vote() || now < proposer.quiet_until || !self.may_begin_epoch(now) {
            return;
        }
        if !self.is_claimant() || !claimant::has_claimant(&self.stored.ring) {
            if is_due {
                self.prepare(now, effects);
            }
            return;
        }
        let zero = Ballot {
            round: 0,
            proposer: self.me.name.clone(),
        };
        let acceptor = &self.stored.acceptor;
        let is_free = acceptor
            .promised
            .as_ref()
            .is_none_or(|promised| *promised == zero)
            && proposer.highest_round == 0;
        match acceptor
            .accepted
            .as_ref()
            .map(|accepted| accepted.ring.clone())
        {
            // Proposed before a restart: round 0 is for this ring and no other.
            Some(ring) if is_free => self.put_to_vote(now, zero, ring, Vec::new(), effects),
            None if is_free => self.propose_draft(now, zero, effects),
            Some(_) => self.prepare(now, effects),
            None if self.has_work() => self.prepare(now, effects),
            None => {}
        }
    }

    /// Whether it is time for another epoch. Between two there is a pause, so that what gets ready meanwhile goes together;
    /// it is short when there is nothing left to wait for.
    fn may_begin_epoch(&self, now: u64) -> bool {
        let Some(adopted_at) = self.proposer.adopted_at else {
            return true;
        };
        let interval = self.config.epoch_interval_ms;
        let is_over = |pause: u64| now >= adopted_at + pause;
        is_over(interval) || (is_over(interval / SHORT_PART) && self.is_all_ready())
    }

    /// Whether this member has waited its turn to take over: the claimant is lost, or something accepted stays
    /// undecided, for longer the further back the member stands in the queue.
    fn is_takeover_due(&mut self, now: u64) -> bool {
        let ring = &self.stored.ring;
        let is_lost = !claimant::has_claimant(ring) || self.is_suspected(&ring.claimant);
        let is_hanging = self.stored.acceptor.accepted.is_some();
        let rank = claimant::takeover_rank(ring, &self.me.name, &self.learner.suspected);
        let Some(rank) = rank.filter(|_| is_lost || is_hanging) else {
            self.proposer.overdue = None;
            return false;
        };
        // The claimant, if it is there, finishes what hangs before anybody else tries.
        let rank = if is_lost { rank } else { rank + 2 };
        let (since, jitter) = match self.proposer.overdue {
            Some(overdue) => overdue,
            None => {
                self.proposer.draws += 1;
                let draw = format!("{}/{}", self.me.name, self.proposer.draws);
                (
                    now,
                    xxh3_64_with_seed(draw.as_bytes(), self.config.seed) % 1000,
                )
            }
        };
        self.proposer.overdue = Some((since, jitter));
        let wait = self.config.detection_ms * (1000 * rank as u64 + jitter) / 1000;
        now >= since + wait
    }

    /// Repeats what was not answered; gives up on joiners that do not store, and on a take-over whose cause is gone.
    fn drive_attempt(&mut self, now: u64, effects: &mut Vec<Effect>) {
        let is_needless = self.proposer.overdue.is_none() && !self.is_claimant();
        let Some(attempt) = &mut self.proposer.attempt else {
            return;
        };
        match &attempt.phase {
            Phase::Prepare { .. } if is_needless => {
                self.proposer.attempt = None;
                return;
            }
            Phase::Store { until, .. } if now >= *until => return self.drop_joiners(now, effects),
            _ => {}
        }
        let pause = match attempt.phase {
            Phase::Store { .. } => AGAIN_MS,
            _ => AGAIN_MS.max(self.config.detection_ms / 2),
        };
        if now >= attempt.said_at + pause {
            attempt.said_at = now;
            self.say(effects);
        }
    }
}
