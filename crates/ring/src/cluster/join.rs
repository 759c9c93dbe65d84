//! This file answers: how does a node that is a cluster of its own get into another cluster?
//!
//! It asks a member, who passes it on to the claimant; the claimant lists it as joining, after it has stored that
//! proposal. Until an operator commits, both sides go on as before. The first chosen ring that lists it as more than
//! joining becomes its ring; a chosen ring that no longer lists it means that it was cleared.
//!
//! From the moment a joiner has stored a proposal that makes it a full member it cannot go back by itself: that ring
//! may be chosen, and then its vote counts.

use std::sync::Arc;

use super::draft::{Origin, Pending, Wish};
use super::learn::Sender;
use super::message::{AdminReply, Body, EncodedRing, JoinRequest};
use super::{AGAIN_MS, Cluster, Effect, Joining, Target};
use crate::change::Change;
use crate::claimant;
use crate::member::{Member, NodeName, Status};
use crate::plan::Refusal;
use crate::ring::{Ring, RingDigest, RingId};

/// How much longer than a claimant's own limit a joiner waits for its answer.
const GRACE_MS: u64 = 1_000;

/// A node on its way into another cluster: what it need not find again after a crash.
#[derive(Debug, Default)]
pub(super) struct Joiner {
    ask: Option<Ask>,
    /// How many asks there were in this boot.
    asks: u64,
    /// The latest chosen ring of the other cluster that this node has seen.
    known: Option<RingId>,
    /// When that cluster was last asked for its ring, and how often.
    pulled: Option<(u64, usize)>,
}

/// A join that an operator waits for.
#[derive(Debug)]
struct Ask {
    /// The operator's request.
    id: u64,
    /// The number under which the other cluster answers it.
    number: u64,
    peer: String,
    began: u64,
    deadline: u64,
    said_at: u64,
}

/// On the joiner's side.
impl Cluster {
    pub(super) fn ask_to_join(
        &mut self,
        now: u64,
        id: u64,
        peer: String,
        effects: &mut Vec<Effect>,
    ) {
        let refusal = if peer == self.me.addresses.peer {
            Some(Refusal::SelfJoin)
        } else if self.stored.ring.members.len() > 1 || self.is_bound() {
            Some(Refusal::NotSingleNode)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            let result = Err(refusal);
            return effects.push(Effect::Answer { id, result });
        }
        self.end_ask(Err(Refusal::NoMajority), effects);
        self.joiner.asks += 1;
        let ask = Ask {
            id,
            number: (self.me.boot << 32) + self.joiner.asks,
            peer,
            began: now,
            deadline: now + self.config.answer_within_ms + GRACE_MS,
            said_at: now,
        };
        self.say_ask(&ask, effects);
        self.joiner.ask = Some(ask);
    }

    fn say_ask(&self, ask: &Ask, effects: &mut Vec<Effect>) {
        let ring = &self.stored.ring;
        let request = JoinRequest {
            ask: ask.number,
            name: self.me.name.clone(),
            incarnation: self.me.incarnation,
            addresses: self.me.addresses.clone(),
            zone: self.me.zone.clone(),
            weight: self.me.weight,
            cluster_name: ring.cluster_name.clone(),
            cluster: ring.cluster,
            partitions: ring.partitions,
            replicas: ring.replicas,
            passed_on: false,
        };
        let to = Target::Address(ask.peer.clone());
        self.send(to, Body::JoinRequest(Box::new(request)), effects);
    }

    fn end_ask(&mut self, result: Result<AdminReply, Refusal>, effects: &mut Vec<Effect>) {
        if let Some(Ask { id, .. }) = self.joiner.ask.take() {
            effects.push(Effect::Answer { id, result });
        }
    }

    /// The operator waits for an answer that will not come.
    pub(super) fn turned_away(
        &mut self,
        address: &str,
        refusal: Refusal,
        effects: &mut Vec<Effect>,
    ) {
        let ask = self.joiner.ask.as_ref();
        if self.stored.joining.is_none() && ask.is_some_and(|ask| ask.peer == address) {
            self.end_ask(Err(refusal), effects);
        }
    }

    /// Whether this node has stored a proposal that makes it a full member elsewhere.
    fn is_bound(&self) -> bool {
        let joining = self.stored.joining.as_ref();
        joining.is_some_and(|joining| joining.bound.is_some())
    }

    /// How `ring` lists this node in this life.
    fn status_in(&self, ring: &Ring) -> Option<Status> {
        let member = ring.members.get(&self.me.name)?;
        if member.incarnation == self.me.incarnation {
            return Some(member.status);
        }
        let rejoins = rejoining(ring).any(|(_, member)| member.incarnation == self.me.incarnation);
        rejoins.then_some(Status::Joining)
    }

    /// Forgets the join, if there is one that this node may forget by itself.
    pub(super) fn withdraw_join(&mut self, effects: &mut Vec<Effect>) -> bool {
        let may = self.stored.joining.is_some() && !self.is_bound();
        if may {
            self.forget_join(effects);
        }
        may
    }

    fn forget_join(&mut self, effects: &mut Vec<Effect>) {
        if self.stored.joining.take().is_some() {
            self.persist(effects);
        }
    }

    /// Asks again what was not answered, and looks how the other cluster gets on.
    pub(super) fn drive_join(&mut self, now: u64, effects: &mut Vec<Effect>) {
        if let Some(mut ask) = self.joiner.ask.take() {
            if now >= ask.deadline {
                let result = Err(match self.stored.joining {
                    Some(_) => Refusal::NoMajority,
                    None => Refusal::NotReachable {
                        node: ask.peer.as_str().into(),
                    },
                });
                self.joiner.ask = Some(ask);
                self.end_ask(result, effects);
            } else {
                if now >= ask.said_at + 2 * AGAIN_MS {
                    ask.said_at = now;
                    self.say_ask(&ask, effects);
                }
                self.joiner.ask = Some(ask);
            }
        }
        let Some(joining) = &self.stored.joining else {
            return;
        };
        let (at, count) = self.joiner.pulled.unwrap_or((0, 0));
        let pause = AGAIN_MS.max(self.config.detection_ms / 4);
        if self.joiner.pulled.is_some() && now < at + pause {
            return;
        }
        let mut contacts = vec![joining.contact.clone()];
        if let Some(ring) = &joining.proposal {
            let others = ring
                .members
                .iter()
                .filter(|(name, _)| **name != self.me.name);
            contacts.extend(others.map(|(_, member)| member.addresses.peer.clone()));
        }
        let contact = contacts.swap_remove(count % contacts.len());
        self.joiner.pulled = Some((now, count + 1));
        self.pull_target(Target::Address(contact), effects);
    }

    fn pull_target(&self, from: Target, effects: &mut Vec<Effect>) {
        if let Some(joining) = &self.stored.joining {
            let cluster = joining.cluster;
            let known = self.joiner.known.filter(|known| known.cluster == cluster);
            let (lineage, have) = known.map_or_else(Default::default, |k| (k.lineage, k.epoch));
            let body = Body::PullRing {
                cluster,
                lineage,
                have,
            };
            self.send(from, body, effects);
        }
    }

    /// The claimant of the other cluster wants this proposal stored before it puts it to the vote.
    pub(super) fn on_joiner_store(
        &mut self,
        sender: &Sender,
        ring: &EncodedRing,
        effects: &mut Vec<Effect>,
    ) {
        let Ok(ring) = ring.open() else {
            return;
        };
        let mine = &self.stored.ring;
        let Some(status) = self.status_in(&ring) else {
            return;
        };
        if ring.cluster == mine.cluster || mine.members.len() > 1 {
            return;
        }
        let joining = self.stored.joining.as_ref();
        let (contact, bound) = match joining.filter(|joining| joining.cluster == ring.cluster) {
            Some(joining) if ring.epoch < joining.listed => return,
            Some(joining) => (joining.contact.clone(), joining.bound),
            None if self.joiner.ask.is_some() && !self.is_bound() => (sender.peer.clone(), None),
            None => return,
        };
        let bound = if status == Status::Joining {
            bound
        } else {
            Some(ring.epoch)
        };
        let digest = ring.digest();
        self.stored.joining = Some(Joining {
            cluster: ring.cluster,
            contact,
            listed: ring.epoch,
            bound,
            proposal: Some(Arc::new(ring)),
        });
        self.persist(effects);
        self.send(sender.reply.clone(), Body::JoinerStored { digest }, effects);
    }

    pub(super) fn on_join_answer(
        &mut self,
        now: u64,
        sender: &Sender,
        number: u64,
        result: Result<RingId, Refusal>,
        effects: &mut Vec<Effect>,
    ) {
        let ask = self.joiner.ask.as_ref();
        let Some(ask) = ask.filter(|ask| ask.number == number) else {
            return;
        };
        // Its own former life may not be missed yet: it is asked again until it ought to be.
        let is_soon = now < ask.began + 2 * self.config.detection_ms;
        if is_soon && matches!(result, Err(Refusal::DuplicateName { .. })) {
            return;
        }
        match &result {
            Ok(ring) => {
                let joining = self.stored.joining.as_ref();
                if !self.is_bound() && joining.is_none_or(|j| j.cluster != ring.cluster) {
                    self.stored.joining = Some(Joining {
                        cluster: ring.cluster,
                        contact: sender.peer.clone(),
                        listed: ring.epoch,
                        bound: None,
                        proposal: None,
                    });
                    self.persist(effects);
                }
            }
            // Undecided: the ring that lists this node may still be chosen.
            Err(Refusal::NoMajority) => {}
            Err(_) => {
                self.withdraw_join(effects);
            }
        }
        self.end_ask(result.map(|ring| AdminReply::Done { ring }), effects);
    }

    /// A ring of another cluster is said to be chosen.
    pub(super) fn hear_target_chosen(
        &mut self,
        now: u64,
        sender: &Sender,
        id: RingId,
        digest: RingDigest,
        effects: &mut Vec<Effect>,
    ) {
        let joining = self
            .stored
            .joining
            .as_ref()
            .filter(|j| j.cluster == id.cluster);
        let Some(joining) = joining else {
            return;
        };
        match joining
            .proposal
            .as_ref()
            .filter(|ring| ring.digest() == digest)
        {
            Some(ring) => {
                let ring = Ring::clone(ring);
                self.learn_of_target(now, sender, ring, effects);
            }
            None => self.pull_target(sender.reply.clone(), effects),
        }
    }

    /// A chosen ring of another cluster: does it list this node?
    pub(super) fn learn_of_target(
        &mut self,
        now: u64,
        sender: &Sender,
        ring: Ring,
        effects: &mut Vec<Effect>,
    ) {
        let joining = self
            .stored
            .joining
            .as_ref()
            .filter(|j| j.cluster == ring.cluster);
        let Some(joining) = joining else {
            return;
        };
        let id = ring.id();
        let known = self
            .joiner
            .known
            .filter(|known| known.cluster == id.cluster);
        if known.is_some_and(|known| !id.supersedes(&known)) {
            return;
        }
        let is_settled = ring.epoch >= joining.listed;
        match self.status_in(&ring) {
            Some(Status::Joining) => {
                self.joiner.known = Some(id);
                let bound = joining.bound.filter(|bound| *bound > ring.epoch);
                if is_settled {
                    self.stored.joining = Some(Joining {
                        cluster: ring.cluster,
                        contact: sender.peer.clone(),
                        listed: ring.epoch,
                        bound,
                        proposal: Some(Arc::new(ring)),
                    });
                    self.persist(effects);
                }
            }
            Some(_) => {
                let digest = ring.digest();
                self.joiner = Joiner {
                    ask: self.joiner.ask.take(),
                    ..Joiner::default()
                };
                self.adopt(now, Arc::new(ring), digest, effects);
                let ring = self.stored.ring.id();
                self.end_ask(Ok(AdminReply::Done { ring }), effects);
            }
            None if is_settled && self.joiner.ask.is_none() => {
                self.joiner.known = None;
                self.forget_join(effects);
                let text = format!("cluster {} no longer expects this node", ring.cluster);
                self.warn(now, text, effects);
            }
            None => {}
        }
    }
}

/// On the other cluster's side.
impl Cluster {
    /// A node asks to join, directly or through another member.
    pub(super) fn on_join_request(
        &mut self,
        now: u64,
        sender: &Sender,
        request: JoinRequest,
        effects: &mut Vec<Effect>,
    ) {
        let origin = Origin::Joiner {
            peer: request.addresses.peer.clone(),
            ask: request.ask,
        };
        match self.judge_join(&request) {
            Judgement::Refused(refusal) => return self.answer(origin, Err(refusal), effects),
            Judgement::Listed if self.is_claimant() => {
                let ring = self.stored.ring.id();
                return self.answer(origin, Ok(AdminReply::Done { ring }), effects);
            }
            Judgement::Listed | Judgement::Fits => {}
        }
        if !self.is_claimant() {
            let to = Target::Node(self.stored.ring.claimant.clone());
            let is_first_hand = !request.passed_on && sender.name == request.name;
            if is_first_hand && claimant::has_claimant(&self.stored.ring) {
                let request = JoinRequest {
                    passed_on: true,
                    ..request
                };
                self.send(to, Body::JoinRequest(Box::new(request)), effects);
            }
            return;
        }
        if !self.desk.awaits_join(request.incarnation) {
            let deadline = now + self.config.answer_within_ms;
            let wish = Wish::Join(Box::new(request));
            self.enqueue(Pending {
                origin,
                wish,
                deadline,
            });
        }
    }

    fn judge_join(&self, request: &JoinRequest) -> Judgement {
        let ring = &self.stored.ring;
        let refused = Judgement::Refused;
        let same_life = |name: &NodeName| ring.members[name].incarnation == request.incarnation;
        let rejoins = |(_, member): (_, &Member)| member.incarnation == request.incarnation;
        if ring.members.contains_key(&request.name) && same_life(&request.name)
            || rejoining(ring).any(rejoins)
        {
            return Judgement::Listed;
        }
        if request.cluster == ring.cluster || ring.members.keys().any(same_life) {
            return refused(Refusal::SelfJoin);
        }
        if request.cluster_name != ring.cluster_name {
            return refused(Refusal::DifferentClusterName {
                ours: ring.cluster_name.clone(),
                theirs: request.cluster_name.clone(),
            });
        }
        let sizes = [
            (ring.partitions.get(), request.partitions.get()),
            (u16::from(ring.replicas), u16::from(request.replicas)),
        ];
        if let Some(&(ours, theirs)) = sizes.iter().find(|(ours, theirs)| ours != theirs) {
            return refused(Refusal::DifferentRingSizes { ours, theirs });
        }
        // The claimant, which decides, sees also whether the one of that name is there.
        let is_other = ring.members.contains_key(&request.name);
        if is_other && self.is_claimant() && !self.is_lost(ring, &request.name) {
            return refused(Refusal::DuplicateName {
                node: request.name.clone(),
            });
        }
        // Two nodes that ask each other would each wait for the other's cluster.
        if self.joiner.ask.is_some() || self.stored.joining.is_some() {
            return refused(Refusal::NotReachable {
                node: self.me.name.clone(),
            });
        }
        Judgement::Fits
    }
}

/// Who is to be a member again in another life, and how it is to be listed.
pub(super) fn rejoining(ring: &Ring) -> impl Iterator<Item = (&NodeName, &Member)> {
    ring.staged.iter().filter_map(|change| match change {
        Change::Rejoin { node, member } => Some((node, &**member)),
        _ => None,
    })
}

/// What the other cluster thinks of a join.
enum Judgement {
    /// It cannot be.
    Refused(Refusal),
    /// It is in the ring already: the answer was lost.
    Listed,
    /// It may be drafted.
    Fits,
}
