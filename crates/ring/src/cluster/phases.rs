//! This file answers: how does a proposal become the chosen ring?
//!
//! Prepare, if the ballot is not round 0; then the joiners store the draft, if there are any; then Accept. The proposer
//! counts its own promise and vote like any other, once they are on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::draft::Pending;
use super::join::rejoining;
use super::learn::Sender;
use super::message::{Body, EncodedRing};
use super::propose::{Attempt, Phase};
use super::{Cluster, Effect, Fault, Target};
use crate::claimant::{self, Accepted, Ballot, Decree};
use crate::member::{Incarnation, NodeName, Status};
use crate::ring::{Ring, RingDigest};

impl Cluster {
    /// Phase 1 at a round above all that this member has met.
    pub(super) fn prepare(&mut self, now: u64, effects: &mut Vec<Effect>) {
        let promised = self
            .stored
            .acceptor
            .promised
            .as_ref()
            .map_or(0, |ballot| ballot.round);
        let ballot = Ballot {
            round: promised.max(self.proposer.highest_round) + 1,
            proposer: self.me.name.clone(),
        };
        let promise = self.stored.acceptor.promise(&ballot);
        assert_eq!(promise, Ok(()), "the round is above the one promised");
        if self.config.fault != Fault::PromiseNotPersisted {
            self.persist(effects);
        }
        self.proposer.attempt = Some(Attempt {
            ballot: ballot.clone(),
            phase: Phase::Prepare {
                promises: BTreeSet::from([self.me.name.clone()]),
                best: self.stored.acceptor.accepted.clone(),
            },
            said_at: now,
        });
        self.say(effects);
        self.count_promises(now, effects);
    }

    pub(super) fn on_promise(
        &mut self,
        now: u64,
        sender: &Sender,
        (decree, ballot): (Decree, Ballot),
        accepted: Option<(Ballot, EncodedRing)>,
        effects: &mut Vec<Effect>,
    ) {
        if decree != self.decree() || !self.has_vote(&sender.name) {
            return;
        }
        let accepted = match accepted.map(|(ballot, ring)| (ballot, ring.open())) {
            None => None,
            Some((ballot, Ok(ring))) if decree.admits(&ring) => Some(Accepted {
                ballot,
                ring: Arc::new(ring),
            }),
            // Its promise cannot be counted: the ring that it hides may be chosen.
            Some(_) => {
                let text = format!("{} has accepted a ring that does not follow", sender.name);
                return self.warn(now, text, effects);
            }
        };
        let Some(Attempt {
            ballot: mine,
            phase: Phase::Prepare { promises, best },
            ..
        }) = &mut self.proposer.attempt
        else {
            return;
        };
        if *mine != ballot {
            return;
        }
        promises.insert(sender.name.clone());
        let rank = |accepted: &Option<Accepted>| accepted.as_ref().map(|a| a.ballot.clone());
        if rank(&accepted) > rank(best) {
            *best = accepted;
        }
        self.count_promises(now, effects);
    }

    /// With a majority of promises: the value accepted at the highest ballot, or a free choice if there is none.
    fn count_promises(&mut self, now: u64, effects: &mut Vec<Effect>) {
        let Some(Attempt {
            ballot,
            phase: Phase::Prepare { promises, best },
            ..
        }) = &self.proposer.attempt
        else {
            return;
        };
        if !claimant::is_majority(&self.stored.ring, promises) {
            return;
        }
        let (ballot, best) = (ballot.clone(), best.clone());
        match best {
            Some(best) => self.put_to_vote(now, ballot, best.ring, Vec::new(), effects),
            None => self.propose_draft(now, ballot, effects),
        }
    }

    /// Proposes what there is to do, after its joiners have stored it.
    pub(super) fn propose_draft(&mut self, now: u64, ballot: Ballot, effects: &mut Vec<Effect>) {
        self.proposer.attempt = None;
        let Some(draft) = self.draft(now, effects) else {
            return;
        };
        let missing = newcomers(&self.stored.ring, &draft.ring);
        if missing.is_empty() {
            return self.put_to_vote(now, ballot, draft.ring, draft.granted, effects);
        }
        let digest = draft.ring.digest();
        self.proposer.attempt = Some(Attempt {
            ballot,
            phase: Phase::Store {
                draft,
                digest,
                missing,
                until: now + self.config.detection_ms,
            },
            said_at: now,
        });
        self.say(effects);
    }

    pub(super) fn on_joiner_stored(
        &mut self,
        now: u64,
        sender: &Sender,
        stored: RingDigest,
        effects: &mut Vec<Effect>,
    ) {
        let Some(Attempt {
            phase: Phase::Store {
                digest, missing, ..
            },
            ..
        }) = &mut self.proposer.attempt
        else {
            return;
        };
        if *digest != stored || missing.get(&sender.name) != Some(&sender.incarnation) {
            return;
        }
        missing.remove(&sender.name);
        if !missing.is_empty() {
            return;
        }
        if let Some(Attempt {
            ballot,
            phase: Phase::Store { draft, .. },
            ..
        }) = self.proposer.attempt.take()
        {
            self.put_to_vote(now, ballot, draft.ring, draft.granted, effects);
        }
    }

    /// The joiners that have not stored the draft in time are refused; the rest is drafted anew at the same ballot.
    pub(super) fn drop_joiners(&mut self, now: u64, effects: &mut Vec<Effect>) {
        if let Some(Attempt {
            ballot,
            phase: Phase::Store { draft, missing, .. },
            ..
        }) = self.proposer.attempt.take()
        {
            self.refuse_unreachable(draft.granted, &missing, effects);
            self.propose_draft(now, ballot, effects);
        }
    }

    /// Phase 2, beginning with this member's own vote: once that is on disk, `ring` is the only value that this
    /// member will ever propose at `ballot`.
    pub(super) fn put_to_vote(
        &mut self,
        now: u64,
        ballot: Ballot,
        ring: Arc<Ring>,
        granted: Vec<Pending>,
        effects: &mut Vec<Effect>,
    ) {
        if let Err(promised) = self.stored.acceptor.accept(&ballot, ring.clone()) {
            self.desk.take_back(granted);
            return self.stand_down(now, promised.round);
        }
        self.persist(effects);
        let digest = ring.digest();
        if !granted.is_empty() {
            self.desk.await_decision(digest, granted);
        }
        self.proposer.attempt = Some(Attempt {
            ballot,
            phase: Phase::Accept {
                ring,
                digest,
                votes: BTreeSet::from([self.me.name.clone()]),
            },
            said_at: now,
        });
        self.say(effects);
        self.count_votes(now, effects);
    }

    pub(super) fn on_accepted(
        &mut self,
        now: u64,
        sender: &Sender,
        decree: Decree,
        ballot: Ballot,
        effects: &mut Vec<Effect>,
    ) {
        if decree != self.decree() || !self.has_vote(&sender.name) {
            return;
        }
        if let Some(Attempt {
            ballot: mine,
            phase: Phase::Accept { votes, .. },
            ..
        }) = &mut self.proposer.attempt
            && *mine == ballot
        {
            votes.insert(sender.name.clone());
            self.count_votes(now, effects);
        }
    }

    /// With a majority of votes the ring is chosen: it becomes the present one, and everybody is told.
    fn count_votes(&mut self, now: u64, effects: &mut Vec<Effect>) {
        let Some(Attempt {
            phase:
                Phase::Accept {
                    ring,
                    digest,
                    votes,
                },
            ..
        }) = &self.proposer.attempt
        else {
            return;
        };
        let is_decided = claimant::is_majority(&self.stored.ring, votes);
        if !is_decided && self.config.fault != Fault::MajoritySkipped {
            return;
        }
        let (before, ring, digest) = (self.stored.ring.clone(), ring.clone(), *digest);
        self.adopt(now, ring.clone(), digest, effects);
        let gone = before
            .members
            .keys()
            .filter(|node| !ring.members.contains_key(*node));
        let told = ring.members.keys().map(|node| self.target(node, &ring));
        let told = told.chain(gone.map(|node| self.target(node, &before)));
        for to in told.filter(|to| *to != Target::Node(self.me.name.clone())) {
            let body = Body::Chosen {
                ring: ring.id(),
                digest,
            };
            self.send(to, body, effects);
        }
    }

    pub(super) fn on_nack(&mut self, now: u64, decree: Decree, promised: Ballot) {
        let Some(attempt) = &self.proposer.attempt else {
            return;
        };
        if decree == self.decree() && attempt.ballot < promised {
            self.stand_down(now, promised.round);
        }
    }

    /// Says the present phase to all who have not answered it.
    pub(super) fn say(&self, effects: &mut Vec<Effect>) {
        let Some(attempt) = &self.proposer.attempt else {
            return;
        };
        let (decree, ballot) = (self.decree(), attempt.ballot.clone());
        let (answered, body) = match &attempt.phase {
            Phase::Prepare { promises, .. } => (promises, Body::Prepare { decree, ballot }),
            Phase::Accept { ring, votes, .. } => {
                let ring = EncodedRing::of(ring);
                (
                    votes,
                    Body::Accept {
                        decree,
                        ballot,
                        ring,
                    },
                )
            }
            Phase::Store { draft, missing, .. } => {
                let encoded = EncodedRing::of(&draft.ring);
                for (node, life) in missing {
                    let to = self.newcomers_target(node, *life, &draft.ring);
                    self.send(to, Body::JoinerStore(encoded.clone()), effects);
                }
                return;
            }
        };
        for node in self
            .stored
            .ring
            .electorate()
            .filter(|node| !answered.contains(*node))
        {
            self.send(Target::Node(node.clone()), body.clone(), effects);
        }
    }

    /// Where `node`, in the `life` in which `draft` has it join or be a member, is reached.
    fn newcomers_target(&self, node: &NodeName, life: Incarnation, draft: &Ring) -> Target {
        let mut rejoining = rejoining(draft).filter(|(_, member)| member.incarnation == life);
        match rejoining.next() {
            Some((_, member)) => Target::Address(member.addresses.peer.clone()),
            None => self.target(node, draft),
        }
    }

    /// Where `node`, a member of `ring`, is reached: by name if the present ring lists it in that life.
    fn target(&self, node: &NodeName, ring: &Ring) -> Target {
        match ring.members.get(node) {
            Some(member) if !self.is_member(node, member.incarnation) => {
                Target::Address(member.addresses.peer.clone())
            }
            _ => Target::Node(node.clone()),
        }
    }
}

/// Members whom `ring` does not list, in that life, in the state that `draft` gives them: joining, or fresh from it.
fn newcomers(ring: &Ring, draft: &Ring) -> BTreeMap<NodeName, Incarnation> {
    let is_new = |name: &NodeName, life: Incarnation, status: Status| {
        let listed = ring
            .members
            .get(name)
            .filter(|member| member.incarnation == life);
        listed.is_none_or(|member| member.status == Status::Joining && status != Status::Joining)
    };
    let members = draft.members.iter();
    let joining = members.filter(|(name, m)| is_new(name, m.incarnation, m.status));
    let known = |life: Incarnation| rejoining(ring).any(|(_, m)| m.incarnation == life);
    let rejoining = rejoining(draft).filter(|(_, m)| !known(m.incarnation));
    let all = joining.chain(rejoining);
    all.map(|(name, m)| (name.clone(), m.incarnation)).collect()
}
