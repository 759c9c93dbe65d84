//! This file answers: how does a member learn of later rings, and of whom does it believe them?
//!
//! The ring never travels by gossip: who hears of a higher epoch pulls it and checks it. Whoever sends a ring vouches
//! that it is chosen, because nobody sends any other; what can be checked is checked: digest, cluster, lineage, epoch,
//! and the parent where that is the present ring.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::message::{Body, ClusterMessage, EncodedRing, Facts};
use super::{AGAIN_MS, Cluster, Effect, Fault, Standing, Target};
use crate::boot;
use crate::claimant::Acceptor;
use crate::member::{Incarnation, NodeName};
use crate::ring::{Epoch, Ring, RingDigest, RingId, outranks};

/// The same warning is not repeated within this time.
const WARN_AGAIN_MS: u64 = 10_000;
/// How many different warnings are remembered for that.
const WARNINGS: usize = 256;

/// What a member has heard.
#[derive(Debug, Default)]
pub(super) struct Learner {
    /// Members that seem dead.
    pub(super) suspected: BTreeSet<NodeName>,
    /// What members of this ring say of themselves, those of this cluster and lineage.
    facts: BTreeMap<NodeName, Facts>,
    /// The boot number seen last of each member's life, of an outdated start none.
    boots: BTreeMap<Incarnation, u64>,
    /// When a ring was last asked for, and how often.
    pulled: Option<(u64, usize)>,
    /// What was warned of, and when.
    warned: BTreeMap<String, u64>,
}

impl Learner {
    /// The highest epoch of `lineage` heard of.
    pub(super) fn highest(&self, lineage: u64) -> Epoch {
        let same = self.facts.values().filter(|facts| facts.lineage == lineage);
        same.map(|facts| facts.epoch).max().unwrap_or_default()
    }
}

/// Whom a message is from.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    /// The name it goes by.
    pub(super) name: NodeName,
    /// In which life.
    pub(super) incarnation: Incarnation,
    /// Whether the ring lists it in that life.
    pub(super) is_member: bool,
    /// Where an answer reaches it.
    pub(super) reply: Target,
    /// Its peer address.
    pub(super) peer: String,
}

impl Cluster {
    pub(super) fn warn(&mut self, now: u64, text: String, effects: &mut Vec<Effect>) {
        let warned = &mut self.learner.warned;
        if warned.get(&text).is_some_and(|at| now < at + WARN_AGAIN_MS) {
            return;
        }
        if warned.len() >= WARNINGS {
            warned.retain(|_, at| now < *at + WARN_AGAIN_MS);
        }
        if warned.len() < WARNINGS {
            warned.insert(text.clone(), now);
            effects.push(Effect::Warn(text));
        }
    }

    pub(super) fn suspect(&mut self, node: &NodeName, dead: bool) {
        if dead {
            self.learner.suspected.insert(node.clone());
        } else {
            self.learner.suspected.remove(node);
        }
    }

    /// Whether `node` speaks from a life that the ring lists, and from a boot that is no older than one seen before.
    fn is_current(
        &mut self,
        now: u64,
        node: &NodeName,
        (incarnation, number): (Incarnation, u64),
        effects: &mut Vec<Effect>,
    ) -> bool {
        if !self.is_member(node, incarnation) {
            return false;
        }
        let seen = self.learner.boots.entry(incarnation).or_insert(number);
        if !boot::is_outdated(number, *seen) || self.config.fault == Fault::DeadIdentityReused {
            *seen = number;
            return true;
        }
        let seen = *seen;
        self.warn(
            now,
            format!(
                "{node} speaks from an older state of its disk: this is start {} of it, and another start {} was seen",
                boot::count(number),
                boot::count(seen)
            ),
            effects,
        );
        let told = Body::OldBoot { incarnation, seen };
        self.send(Target::Node(node.clone()), told, effects);
        false
    }

    /// A member has seen a later boot of this folder than this one: what was acknowledged and promised since is not here, so this
    /// node takes no part any more.
    fn on_old_boot(
        &mut self,
        now: u64,
        incarnation: Incarnation,
        seen: u64,
        effects: &mut Vec<Effect>,
    ) {
        if incarnation != self.me.incarnation || !boot::is_outdated(self.me.boot, seen) {
            return;
        }
        let text = format!(
            "this is start {} of `node.data_dir`, and another start {} of it was seen: an older state of the disk was put back. \
             This node ends: set the folder aside, start on an empty one, and `rkv cluster join` under the same name",
            boot::count(self.me.boot),
            boot::count(seen)
        );
        self.warn(now, text, effects);
        self.go(effects);
    }

    /// Whether somebody outside the ring's members may be heard at all: not a member's life under an old boot, not
    /// this node's own life.
    fn is_stranger(&self, node: &NodeName, incarnation: Incarnation) -> bool {
        incarnation != self.me.incarnation && !self.is_member(node, incarnation)
    }

    pub(super) fn hear(
        &mut self,
        now: u64,
        node: NodeName,
        facts: Facts,
        effects: &mut Vec<Effect>,
    ) {
        if node == self.me.name {
            return;
        }
        if !self.is_current(now, &node, (facts.incarnation, facts.boot), effects) {
            return;
        }
        let mine = self.facts();
        if facts.cluster != mine.cluster {
            return;
        }
        if facts.lineage != mine.lineage && !outranks(facts.lineage, mine.lineage) {
            let text = format!("{node} has lineage {}, not {}", facts.lineage, mine.lineage);
            return self.warn(now, text, effects);
        }
        let same = (facts.lineage, facts.epoch) == (mine.lineage, mine.epoch);
        if same && facts.digest != mine.digest {
            return self.warn_of_two(now, &node, facts.epoch, effects);
        }
        self.learner.facts.insert(node, facts);
    }

    /// Two rings of one epoch: one of two members breaks the protocol, or a disk was restored.
    pub(super) fn warn_of_two(
        &mut self,
        now: u64,
        node: &NodeName,
        epoch: Epoch,
        effects: &mut Vec<Effect>,
    ) {
        let text = format!("{node} has another ring of epoch {epoch} than this node: ignored");
        self.warn(now, text, effects);
    }

    pub(super) fn receive(
        &mut self,
        now: u64,
        from: NodeName,
        message: ClusterMessage,
        effects: &mut Vec<Effect>,
    ) {
        let life = (message.incarnation, message.boot);
        let is_member = from != self.me.name && self.is_current(now, &from, life, effects);
        if !is_member && !self.is_stranger(&from, message.incarnation) {
            return;
        }
        let reply = if is_member {
            Target::Node(from.clone())
        } else {
            Target::Address(message.peer.clone())
        };
        let sender = Sender {
            name: from,
            incarnation: message.incarnation,
            is_member,
            reply,
            peer: message.peer,
        };
        match message.body {
            Body::PullRing {
                cluster,
                lineage,
                have,
            } => self.serve(&sender, cluster, (lineage, have), effects),
            Body::RingIs(ring) => self.learn(now, &sender, &ring, effects),
            Body::Chosen { ring, digest } => self.hear_chosen(now, &sender, ring, digest, effects),
            Body::JoinRequest(request) => {
                self.on_join_request(now, &sender, *request, effects);
            }
            Body::JoinAnswer { ask, result } => {
                self.on_join_answer(now, &sender, ask, result, effects)
            }
            Body::JoinerStore(ring) => self.on_joiner_store(&sender, &ring, effects),
            Body::JoinerStored { digest } => self.on_joiner_stored(now, &sender, digest, effects),
            Body::Prepare { decree, ballot } => {
                self.on_prepare(now, &sender, decree, ballot, effects);
            }
            Body::Accept {
                decree,
                ballot,
                ring,
            } => self.on_accept(now, &sender, decree, ballot, &ring, effects),
            _ if !sender.is_member => {}
            Body::Promise {
                decree,
                ballot,
                accepted,
            } => self.on_promise(now, &sender, (decree, ballot), accepted, effects),
            Body::Accepted { decree, ballot } => {
                self.on_accepted(now, &sender, decree, ballot, effects);
            }
            Body::Nack { decree, promised } => self.on_nack(now, decree, promised),
            Body::Admin { id, request } => {
                self.on_admin(now, &sender, (message.boot, id), request, effects);
            }
            Body::AdminAnswer { id, result, epoch } => {
                self.on_admin_answer(&sender, id, (result, epoch), effects);
            }
            Body::AdminAgain { id } => self.on_admin_again(now, id),
            Body::OldBoot { incarnation, seen } => {
                self.on_old_boot(now, incarnation, seen, effects);
            }
            Body::Report(report) => self.on_report(&sender, report),
        }
    }

    /// Sends the chosen ring to whoever has an older one of the same cluster.
    fn serve(
        &self,
        sender: &Sender,
        cluster: crate::ring::ClusterId,
        have: (u64, Epoch),
        effects: &mut Vec<Effect>,
    ) {
        let ring = &self.stored.ring;
        if ring.cluster == cluster && (ring.lineage, ring.epoch) > have {
            let body = Body::RingIs(EncodedRing::of(ring));
            self.send(sender.reply.clone(), body, effects);
        }
    }

    pub(super) fn pull(&self, from: Target, effects: &mut Vec<Effect>) {
        let ring = &self.stored.ring;
        let body = Body::PullRing {
            cluster: ring.cluster,
            lineage: ring.lineage,
            have: ring.epoch,
        };
        self.send(from, body, effects);
    }

    /// Pulls from one after the other of those that are said to have a later ring.
    pub(super) fn drive_pulls(&mut self, now: u64, effects: &mut Vec<Effect>) {
        let (at, count) = self.learner.pulled.unwrap_or((0, 0));
        if self.learner.pulled.is_some() && now < at + AGAIN_MS {
            return;
        }
        let mine = &self.stored.ring;
        let is_ahead = |facts: &Facts| {
            let is_later = facts.lineage == mine.lineage && facts.epoch > mine.epoch;
            is_later || outranks(facts.lineage, mine.lineage)
        };
        let facts = self.learner.facts.iter();
        let ahead = facts.filter(|(_, facts)| is_ahead(facts));
        let ahead: Vec<&NodeName> = ahead.map(|(node, _)| node).collect();
        if ahead.is_empty() {
            return;
        }
        let from = ahead[count % ahead.len()].clone();
        self.learner.pulled = Some((now, count + 1));
        self.pull(Target::Node(from), effects);
    }

    /// Somebody sent its chosen ring.
    fn learn(&mut self, now: u64, sender: &Sender, ring: &EncodedRing, effects: &mut Vec<Effect>) {
        let ring = match ring.open() {
            Ok(ring) => ring,
            Err(error) => {
                return self.warn(now, format!("from {}: {error}", sender.name), effects);
            }
        };
        if ring.cluster != self.stored.ring.cluster {
            return self.learn_of_target(now, sender, ring, effects);
        }
        if sender.is_member {
            let digest = ring.digest();
            self.adopt_if_later(now, &sender.name, Arc::new(ring), digest, effects);
        }
    }

    /// A ring is said to be chosen: it is at hand if this node has accepted or stored it, else it is pulled.
    fn hear_chosen(
        &mut self,
        now: u64,
        sender: &Sender,
        id: RingId,
        digest: RingDigest,
        effects: &mut Vec<Effect>,
    ) {
        let ring = &self.stored.ring;
        if id.cluster != ring.cluster {
            return self.hear_target_chosen(now, sender, id, digest, effects);
        }
        if !sender.is_member {
            return;
        }
        if id.lineage != ring.lineage {
            if outranks(id.lineage, ring.lineage) {
                self.pull(sender.reply.clone(), effects);
            }
            return;
        }
        if id.epoch == ring.epoch && digest != self.digest {
            return self.warn_of_two(now, &sender.name, id.epoch, effects);
        }
        if id.epoch <= ring.epoch {
            return;
        }
        let accepted = self.stored.acceptor.accepted.as_ref();
        match accepted.filter(|accepted| accepted.ring.digest() == digest) {
            Some(accepted) => {
                let ring = accepted.ring.clone();
                self.adopt_if_later(now, &sender.name, ring, digest, effects);
            }
            None => self.pull(sender.reply.clone(), effects),
        }
    }

    /// Adopts a chosen ring of this cluster that `teller` vouches for, if it is later than the present one.
    fn adopt_if_later(
        &mut self,
        now: u64,
        teller: &NodeName,
        ring: Arc<Ring>,
        digest: RingDigest,
        effects: &mut Vec<Effect>,
    ) {
        let mine = &self.stored.ring;
        if ring.lineage != mine.lineage {
            if outranks(ring.lineage, mine.lineage) && self.is_concerned(&ring) {
                return self.adopt(now, ring, digest, effects);
            }
            let text = format!("{teller} sent a ring of lineage {}: ignored", ring.lineage);
            return self.warn(now, text, effects);
        }
        if ring.epoch == mine.epoch && digest != self.digest {
            return self.warn_of_two(now, teller, ring.epoch, effects);
        }
        if ring.epoch <= mine.epoch {
            return;
        }
        if ring.epoch.0 == mine.epoch.0 + 1 && ring.parent != self.digest {
            let text = format!(
                "{teller} sent a ring {} that does not follow mine",
                ring.epoch
            );
            return self.warn(now, text, effects);
        }
        self.adopt(now, ring, digest, effects);
    }

    /// Whether `ring` lists this life, or has let it go.
    fn is_concerned(&self, ring: &Ring) -> bool {
        let life = self.me.incarnation;
        let listed = ring.members.get(&self.me.name);
        listed.is_some_and(|member| member.incarnation == life)
            || ring
                .removed
                .iter()
                .any(|removed| removed.incarnation == life)
    }

    /// Takes a chosen ring as the present one. The caller has checked that it is later, or that this node joins by it.
    pub(super) fn adopt(
        &mut self,
        now: u64,
        ring: Arc<Ring>,
        digest: RingDigest,
        effects: &mut Vec<Effect>,
    ) {
        let before = std::mem::replace(&mut self.stored.ring, ring);
        let same_cluster = before.cluster == self.stored.ring.cluster;
        assert!(
            !same_cluster || self.stored.ring.id().supersedes(&before.id()),
            "no ring at or below the present one is adopted"
        );
        self.digest = digest;
        let decree = self.decree();
        // Promises about a later decree than this one can only be there after the ring's file was lost: keep them.
        let acceptor = &self.stored.acceptor;
        let (promised, now_due) = (acceptor.decree.parent, decree.parent);
        let is_older = (promised.lineage, promised.epoch) < (now_due.lineage, now_due.epoch);
        if !same_cluster || is_older {
            self.stored.acceptor = Acceptor::fresh(decree);
        }
        if !same_cluster {
            self.stored.joining = None;
        }
        self.persist(effects);
        // Who was removed and hands off what it holds does so to today's owners.
        if self.is_listed() || self.standing == Standing::Outcast {
            effects.push(Effect::Adopt(self.stored.ring.clone()));
        }
        if self.is_listed() {
            effects.push(Effect::Publish(self.facts()));
        }
        self.forget_strangers();
        let drafts = self.stop_proposing(now);
        self.after_adoption(now, &before, drafts, effects);
    }

    /// Drops what was heard of nodes that the ring does not list.
    fn forget_strangers(&mut self) {
        let ring = self.stored.ring.clone();
        let lives: BTreeSet<Incarnation> = ring.members.values().map(|m| m.incarnation).collect();
        self.learner.boots.retain(|life, _| lives.contains(life));
        self.learner.facts.retain(|node, facts| {
            let member = ring.members.get(node);
            member.is_some_and(|m| m.incarnation == facts.incarnation)
                && facts.cluster == ring.cluster
                && (facts.lineage == ring.lineage || outranks(facts.lineage, ring.lineage))
        });
    }
}
