//! This file answers: what does a member promise and accept?
//!
//! As an acceptor of Paxos it answers only for the decree right after its own chosen ring, only to members, and only
//! after what it says is on disk.

use std::sync::Arc;

use super::learn::Sender;
use super::message::{Body, EncodedRing};
use super::{Cluster, Effect, Fault};
use crate::claimant::{Ballot, Decree};
use crate::member::NodeName;

impl Cluster {
    /// Whether this member may vote in `decree` on a proposal of `sender`. Whoever is behind learns the later ring.
    fn may_vote(
        &mut self,
        now: u64,
        sender: &Sender,
        decree: &Decree,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let mine = self.decree();
        let (theirs, ours) = (&decree.parent, &mine.parent);
        if (theirs.cluster, theirs.lineage) != (ours.cluster, ours.lineage) {
            return false;
        }
        if theirs.epoch < ours.epoch {
            let (ring, digest) = (mine.parent, mine.digest);
            self.send(sender.reply.clone(), Body::Chosen { ring, digest }, effects);
            return false;
        }
        if !sender.is_member {
            return false;
        }
        if theirs.epoch > ours.epoch {
            self.pull(sender.reply.clone(), effects);
            return false;
        }
        if decree.digest != mine.digest {
            self.warn_of_two(now, &sender.name, theirs.epoch, effects);
            return false;
        }
        self.has_vote(&sender.name) && self.can_vote()
    }

    /// Whether the ring gives `node` a voice in the next one.
    pub(super) fn has_vote(&self, node: &NodeName) -> bool {
        let member = self.stored.ring.members.get(node);
        member.is_some_and(|member| member.status.votes())
    }

    /// Whether this node, in this life, has a voice, and all that it promised about this decree is at hand.
    pub(super) fn can_vote(&self) -> bool {
        self.is_listed()
            && self.has_vote(&self.me.name)
            && self.stored.acceptor.decree == self.decree()
    }

    pub(super) fn on_prepare(
        &mut self,
        now: u64,
        sender: &Sender,
        decree: Decree,
        ballot: Ballot,
        effects: &mut Vec<Effect>,
    ) {
        let own_ballot = ballot.proposer == sender.name && ballot.round > 0;
        if !self.may_vote(now, sender, &decree, effects) || !own_ballot {
            return;
        }
        let body = match self.stored.acceptor.promise(&ballot) {
            Ok(()) => {
                if self.config.fault != Fault::PromiseNotPersisted {
                    self.persist(effects);
                }
                self.stand_down(now, ballot.round);
                let accepted = self.stored.acceptor.accepted.as_ref();
                let accepted = accepted.map(|a| (a.ballot.clone(), EncodedRing::of(&a.ring)));
                Body::Promise {
                    decree,
                    ballot,
                    accepted,
                }
            }
            Err(promised) => Body::Nack { decree, promised },
        };
        self.send(sender.reply.clone(), body, effects);
    }

    pub(super) fn on_accept(
        &mut self,
        now: u64,
        sender: &Sender,
        decree: Decree,
        ballot: Ballot,
        ring: &EncodedRing,
        effects: &mut Vec<Effect>,
    ) {
        let own_ballot = ballot.proposer == sender.name
            && (ballot.round > 0 || sender.name == self.stored.ring.claimant);
        if !self.may_vote(now, sender, &decree, effects) || !own_ballot {
            return;
        }
        let ring = match ring.open() {
            Ok(ring) if decree.admits(&ring) => Arc::new(ring),
            Ok(_) => {
                let text = format!("{} proposed a ring that does not follow", sender.name);
                return self.warn(now, text, effects);
            }
            Err(error) => {
                return self.warn(now, format!("{} proposed: {error}", sender.name), effects);
            }
        };
        let body = match self.stored.acceptor.accept(&ballot, ring) {
            Ok(()) => {
                self.persist(effects);
                self.stand_down(now, ballot.round);
                Body::Accepted { decree, ballot }
            }
            Err(promised) => Body::Nack { decree, promised },
        };
        self.send(sender.reply.clone(), body, effects);
    }
}
