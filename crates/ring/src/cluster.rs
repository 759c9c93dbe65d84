//! This file answers: what does a member do about rings and membership?
//!
//! One machine a node. Beside this file, one question each: `message` all that is said · `learn` hears of rings and
//! pulls them · `vote` promises and accepts · `propose` when to try · `phases` how that goes on · `draft` what the next
//! epoch should hold · `ask` an operator's request to the claimant and back · `join` a fresh node's way in · `recover`
//! the way out when a majority is gone.
//!
//! **Invariants.** A ring is adopted, served and told of only when it is known to be chosen. Nothing is said before
//! what it rests on is on disk. No ring at or below the present epoch of the same cluster is ever adopted.

mod ask;
mod draft;
mod join;
mod learn;
mod message;
mod phases;
mod propose;
mod recover;
mod vote;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::claimant::{Acceptor, Decree};
use crate::member::{Addresses, Incarnation, Member, NodeName, Status};
use crate::plan::Refusal;
use crate::ring::{ClusterId, Epoch, Ring, RingDigest};
use crate::slot::{Partition, PartitionCount};

pub use message::{
    AdminReply, AdminRequest, Body, ClusterMessage, EncodedRing, Facts, JoinRequest, Report,
};

/// What a node knows of itself before it knows anything else.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    /// Its name.
    pub name: NodeName,
    /// The life of its data folder.
    pub incarnation: Incarnation,
    /// Its boot number in that life ([`boot`](crate::boot)): another at each start, on disk before the node speaks.
    pub boot: u64,
    /// Where it is reached.
    pub addresses: Addresses,
    /// Its failure domain.
    pub zone: Option<String>,
    /// Its share of copies relative to the others.
    pub weight: f64,
}

impl Identity {
    fn as_member(&self, status: Status) -> Member {
        Member {
            incarnation: self.incarnation,
            status,
            addresses: self.addresses.clone(),
            zone: self.zone.clone(),
            weight: self.weight,
        }
    }
}

/// What a node must find again after a crash. The carrier replaces it as a whole; if it keeps the parts in several
/// files, the ring is written before the acceptor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// The chosen ring that this node routes by.
    pub ring: Arc<Ring>,
    /// Its promises about the next one.
    pub acceptor: Acceptor,
    /// The other cluster that this node has asked to join, until it is a member there or was cleared.
    #[serde(default)]
    pub joining: Option<Joining>,
}

/// How far a node has come on its way into another cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Joining {
    /// Which cluster.
    pub cluster: ClusterId,
    /// The peer address of a member of it.
    pub contact: String,
    /// A ring of that cluster in which this node is listed, chosen or not. A chosen one at or above this epoch that
    /// does not list it means that it was cleared.
    pub listed: Epoch,
    /// The last stored proposal that lists this node as a full member. It may be chosen, and then this node's vote
    /// counts: until a chosen ring at or above it says otherwise, this node does not turn away by itself.
    pub bound: Option<Epoch>,
    /// The ring of [`Joining::listed`], once it was sent: a joiner must have stored a proposal before it is decided.
    pub proposal: Option<Arc<Ring>>,
}

impl Stored {
    /// A chosen `ring` about which nothing has been promised.
    pub fn fresh(ring: Ring) -> Stored {
        Stored {
            acceptor: Acceptor::fresh(Decree::after(&ring)),
            ring: Arc::new(ring),
            joining: None,
        }
    }

    /// A cluster of its own for a node with an empty folder. `cluster` is drawn at random by the caller.
    pub fn found(
        me: &Identity,
        cluster: ClusterId,
        cluster_name: &str,
        partitions: PartitionCount,
        replicas: u8,
    ) -> Stored {
        let member = me.as_member(Status::Valid);
        let name = me.name.clone();
        Stored::fresh(Ring::found(
            cluster,
            cluster_name,
            partitions,
            replicas,
            name,
            member,
        ))
    }
}

/// How a node paces itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// How long it takes until a dead member is suspected by all: the unit of taking over and of standing down.
    pub detection_ms: u64,
    /// No two epochs are begun within this time, so that what is ready together goes together; within a tenth of it when
    /// nothing is left that may get ready, or when a plan is to be carried out and nothing moves yet.
    pub epoch_interval_ms: u64,
    /// How long an operator waits before `no_majority`.
    pub answer_within_ms: u64,
    /// Unix time in milliseconds at this node's time 0.
    pub wall_at_zero_ms: u64,
    /// For how long after its removal by force a node still hands off what it holds: what was deleted meanwhile is known
    /// to be deleted for so long at least.
    pub removed_grace_ms: u64,
    /// Seed of the jitter in taking over.
    pub seed: u64,
    /// A known fault, for tests of the checks.
    pub fault: Fault,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            detection_ms: 2_000,
            epoch_interval_ms: 1_000,
            answer_within_ms: 5_000,
            wall_at_zero_ms: 0,
            removed_grace_ms: 86_400_000,
            seed: 0,
            fault: Fault::None,
        }
    }
}

/// A known fault that a simulation switches on to see that its checks notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    /// None: how it is meant to be.
    #[default]
    None,
    /// Promises are made without being persisted first.
    PromiseNotPersisted,
    /// A ring is taken as chosen though no majority has it.
    MajoritySkipped,
    /// A report of readiness counts for whatever attempt its move is in.
    ActOnOldReady,
    /// A member that speaks from an older boot than one seen of it is heard, and goes on though it is told.
    DeadIdentityReused,
}

/// What can happen to the machine.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Time has passed; some ten times a detection time.
    Tick,
    /// Gossip says this of `node`. It may be late, false, or of a stranger.
    Facts {
        /// Of whom.
        node: NodeName,
        /// What.
        facts: Facts,
    },
    /// `node` seems to be alive.
    Up(NodeName),
    /// `node` seems to be dead.
    Down(NodeName),
    /// A request of this member bore a later ring.
    Behind(NodeName),
    /// A message arrived.
    Message {
        /// The name that the sender goes by; a node outside the ring may use a member's.
        from: NodeName,
        /// What it said.
        message: ClusterMessage,
    },
    /// Whoever listens at `address` will not talk to this node.
    TurnedAway {
        /// A peer address.
        address: String,
        /// Why not.
        refusal: Refusal,
    },
    /// An operator asks something of this node.
    Admin {
        /// The carrier's number for it, not used twice within a boot.
        id: u64,
        /// The request.
        request: AdminRequest,
    },
    /// See [`Report::MoveReady`]: this node is the source.
    MoveReady {
        /// Which partition moves.
        partition: Partition,
        /// Which attempt of its move.
        attempt: u32,
        /// The source.
        from: NodeName,
        /// The target.
        to: NodeName,
        /// The lives of source and target.
        incarnations: (Incarnation, Incarnation),
    },
    /// See [`Report::MoveBroken`].
    MoveBroken {
        /// Which partition moves.
        partition: Partition,
        /// Which attempt is given up.
        attempt: u32,
    },
    /// This node, which by the ring that it has adopted exits or is no member any more, holds nothing any more.
    Drained,
}

/// Whom to send to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A member of the ring that was adopted last.
    Node(NodeName),
    /// A peer address, of somebody who is no member.
    Address(String),
}

/// What the machine wishes for. Effects are carried out strictly in order, each one before the next begins; a crash
/// may come between any two.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Send this; it may be lost.
    Send {
        /// To whom.
        to: Target,
        /// What.
        message: ClusterMessage,
    },
    /// Put this on disk in place of what was there, synced, before going on.
    Persist(Stored),
    /// This ring is chosen and on disk: route by it from now on.
    Adopt(Arc<Ring>),
    /// Answer an operator.
    Answer {
        /// The request's number.
        id: u64,
        /// What became of it.
        result: Result<AdminReply, Refusal>,
    },
    /// Tell the others by gossip, in place of what was told before.
    Publish(Facts),
    /// A chosen ring no longer lists this node: it stops.
    Left,
    /// A line for the log.
    Warn(String),
}

/// How long to wait before saying or asking something again.
const AGAIN_MS: u64 = 250;

/// What the chosen ring says of this node in this life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It is listed.
    Member,
    /// It was removed by force, lately: it hands off what it holds, so that nothing is lost that need not be.
    Outcast,
    /// It is let go.
    Gone,
}

/// A node's part in deciding who owns what.
#[derive(Debug)]
pub struct Cluster {
    me: Identity,
    config: Config,
    /// What is on disk, or will be by the effects already wished for.
    stored: Stored,
    /// Digest of the chosen ring.
    digest: RingDigest,
    standing: Standing,
    learner: learn::Learner,
    proposer: propose::Proposer,
    desk: draft::Desk,
    asked: BTreeMap<u64, ask::Asked>,
    joiner: join::Joiner,
}

impl Cluster {
    /// A node that starts with what it stored last, at `now_ms`.
    pub fn new(me: Identity, stored: Stored, config: Config, now_ms: u64) -> Cluster {
        let digest = stored.ring.digest();
        let mut cluster = Cluster {
            me,
            config,
            stored,
            digest,
            standing: Standing::Member,
            learner: learn::Learner::default(),
            proposer: propose::Proposer::new(now_ms),
            desk: draft::Desk::default(),
            asked: BTreeMap::new(),
            joiner: join::Joiner::default(),
        };
        let decree = cluster.decree();
        let acceptor = &cluster.stored.acceptor;
        // A later decree means that the ring's file is older than the acceptor's: its promises must not be forgotten,
        // and `vote` keeps this node from voting until it has pulled that later ring.
        let place = |decree: &Decree| (decree.parent.lineage, decree.parent.epoch);
        if acceptor.decree != decree && place(&acceptor.decree) <= place(&decree) {
            cluster.stored.acceptor = Acceptor::fresh(decree);
        }
        cluster
    }

    /// Takes one event and adds what it wishes for to `effects`. `now_ms` never goes back.
    pub fn step(&mut self, now_ms: u64, event: Event, effects: &mut Vec<Effect>) {
        if self.standing == Standing::Gone {
            if let Event::Admin { id, .. } = event {
                self.refuse_as_gone(id, effects);
            }
            return;
        }
        match event {
            Event::Tick => {}
            Event::Facts { node, facts } => self.hear(now_ms, node, facts, effects),
            Event::Up(node) => self.suspect(&node, false),
            Event::Down(node) => self.suspect(&node, true),
            Event::Behind(node) => self.pull(Target::Node(node), effects),
            Event::Message { from, message } => self.receive(now_ms, from, message, effects),
            Event::TurnedAway { address, refusal } => {
                self.turned_away(&address, refusal, effects);
            }
            Event::Admin { id, request } => self.admin(now_ms, id, request, effects),
            Event::MoveReady {
                partition,
                attempt,
                from,
                to,
                incarnations,
            } => self.report(Report::MoveReady {
                partition,
                attempt,
                from,
                to,
                incarnations,
            }),
            Event::MoveBroken { partition, attempt } => {
                self.report(Report::MoveBroken { partition, attempt });
            }
            Event::Drained if self.standing == Standing::Outcast => self.go(effects),
            Event::Drained => self.report(Report::Drained {
                node: self.me.name.clone(),
                incarnation: self.me.incarnation,
            }),
        }
        self.drive(now_ms, effects);
    }

    /// What is due by now, whatever happened.
    fn drive(&mut self, now: u64, effects: &mut Vec<Effect>) {
        self.drive_pulls(now, effects);
        self.drive_join(now, effects);
        self.drive_asked(now, effects);
        self.drive_reports(now, effects);
        self.drive_proposer(now, effects);
        if self.standing == Standing::Gone || self.is_listed() {
            return;
        }
        // Another life of its name is the member now: two of that name must not be asked. And what it still holds after so long
        // might bring back what was deleted and is let go of by now.
        let is_replaced = self.stored.ring.members.contains_key(&self.me.name);
        let may_hand_off = !is_replaced && self.is_removed_lately(now);
        match self.standing {
            Standing::Member if may_hand_off => {
                self.standing = Standing::Outcast;
                effects.push(Effect::Adopt(self.stored.ring.clone()));
                let text =
                    "this node was removed from the cluster: it hands off what it holds, and ends";
                effects.push(Effect::Warn(text.to_owned()));
            }
            Standing::Member | Standing::Outcast if !may_hand_off => self.go(effects),
            _ => {}
        }
    }

    /// Nothing is left to do here.
    pub(super) fn go(&mut self, effects: &mut Vec<Effect>) {
        self.standing = Standing::Gone;
        effects.push(Effect::Left);
        for id in std::mem::take(&mut self.asked).into_keys() {
            self.refuse_as_gone(id, effects);
        }
    }

    /// Whether this life lost its membership by force, not longer ago than what it holds may come back.
    fn is_removed_lately(&self, now: u64) -> bool {
        let wall_ms = self.config.wall_at_zero_ms.saturating_add(now);
        let ends_ms = |at_ms: u64| at_ms.saturating_add(self.config.removed_grace_ms);
        let removed = self.stored.ring.removed.iter();
        removed
            .rev()
            .any(|r| r.incarnation == self.me.incarnation && wall_ms < ends_ms(r.at_ms))
    }

    /// The chosen ring that this node routes by.
    pub fn ring(&self) -> &Arc<Ring> {
        &self.stored.ring
    }

    /// What this node publishes of itself.
    pub fn facts(&self) -> Facts {
        Facts {
            incarnation: self.me.incarnation,
            boot: self.me.boot,
            cluster: self.stored.ring.cluster,
            lineage: self.stored.ring.lineage,
            epoch: self.stored.ring.epoch,
            digest: self.digest,
        }
    }

    /// Whether the ring names this node, in this life, as the one who writes the next epoch.
    pub fn is_claimant(&self) -> bool {
        self.stored.ring.claimant == self.me.name && self.is_listed()
    }

    /// The highest epoch of this cluster and lineage that a member was heard of to have; at least this node's own.
    /// Gossip may exaggerate.
    pub fn highest_heard_epoch(&self) -> Epoch {
        let ring = &self.stored.ring;
        self.learner.highest(ring.lineage).max(ring.epoch)
    }

    /// The cluster that this node is on its way into.
    pub fn joining(&self) -> Option<&Joining> {
        self.stored.joining.as_ref()
    }

    fn decree(&self) -> Decree {
        Decree {
            parent: self.stored.ring.id(),
            digest: self.digest,
        }
    }

    /// Whether the ring lists this node in this life.
    fn is_listed(&self) -> bool {
        self.is_member(&self.me.name, self.me.incarnation)
    }

    /// Whether the ring lists `node` in the life `incarnation`.
    fn is_member(&self, node: &NodeName, incarnation: Incarnation) -> bool {
        let member = self.stored.ring.members.get(node);
        member.is_some_and(|member| member.incarnation == incarnation)
    }

    fn is_suspected(&self, node: &NodeName) -> bool {
        *node != self.me.name && self.learner.suspected.contains(node)
    }

    fn persist(&self, effects: &mut Vec<Effect>) {
        effects.push(Effect::Persist(self.stored.clone()));
    }

    fn send(&self, to: Target, body: Body, effects: &mut Vec<Effect>) {
        let message = ClusterMessage {
            incarnation: self.me.incarnation,
            boot: self.me.boot,
            peer: self.me.addresses.peer.clone(),
            body,
        };
        effects.push(Effect::Send { to, message });
    }

    fn refuse_as_gone(&self, id: u64, effects: &mut Vec<Effect>) {
        let node = self.me.name.clone();
        effects.push(Effect::Answer {
            id,
            result: Err(Refusal::NotMember { node }),
        });
    }
}
