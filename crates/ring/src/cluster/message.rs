//! This file answers: what do members say to each other about rings and membership?
//!
//! Any of these may be lost, repeated, late or out of order. Every answer names what it answers, and whoever needs
//! one asks again.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::claimant::{Ballot, Decree};
use crate::handoff::HandoffChange;
use crate::member::{Addresses, Incarnation, Member, NodeName};
use crate::plan::{Plan, Refusal};
use crate::ring::{ClusterId, Epoch, Ring, RingDigest, RingError, RingId};
use crate::slot::{Partition, PartitionCount};

/// One message, with what the receiver needs to know whose life it is from and where to answer a stranger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterMessage {
    /// The life of the sender's data folder.
    pub incarnation: Incarnation,
    /// The sender's boot number in that life.
    pub boot: u64,
    /// The sender's peer address, as advertised.
    pub peer: String,
    /// What it says.
    pub body: Body,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Body {
    /// Send me your ring, if it is later than this.
    PullRing {
        /// Of which cluster.
        cluster: ClusterId,
        /// Of which lineage.
        lineage: u64,
        /// What the sender has.
        have: Epoch,
    },
    /// My chosen ring. Nobody sends another one in this.
    RingIs(EncodedRing),
    /// Paxos 1a: promise to answer nothing below `ballot`.
    Prepare {
        /// To be decided.
        decree: Decree,
        /// At which ballot.
        ballot: Ballot,
    },
    /// Paxos 1b: promised.
    Promise {
        /// In which decree.
        decree: Decree,
        /// At which ballot.
        ballot: Ballot,
        /// What the sender has accepted last, and at which ballot.
        accepted: Option<(Ballot, EncodedRing)>,
    },
    /// Paxos 2a: accept this ring.
    Accept {
        /// In which decree.
        decree: Decree,
        /// At which ballot.
        ballot: Ballot,
        /// The value.
        ring: EncodedRing,
    },
    /// Paxos 2b: accepted, and on disk.
    Accepted {
        /// In which decree.
        decree: Decree,
        /// At which ballot.
        ballot: Ballot,
    },
    /// A higher ballot forbids it.
    Nack {
        /// In which decree.
        decree: Decree,
        /// The higher ballot.
        promised: Ballot,
    },
    /// This ring is chosen; who has accepted or stored it has it already, another pulls it.
    Chosen {
        /// Which.
        ring: RingId,
        /// Its digest.
        digest: RingDigest,
    },
    /// To a joiner: store this proposal before it is decided.
    JoinerStore(EncodedRing),
    /// The joiner's answer: it is on disk.
    JoinerStored {
        /// The proposal's digest.
        digest: RingDigest,
    },
    /// A node asks to join.
    JoinRequest(Box<JoinRequest>),
    /// To the joiner: staged by this ring of that cluster, or refused.
    JoinAnswer {
        /// The request's number.
        ask: u64,
        /// What became of it.
        result: Result<RingId, Refusal>,
    },
    /// To the claimant: an operator's request, made at the sender.
    Admin {
        /// The sender's number for it.
        id: u64,
        /// The request.
        request: AdminRequest,
    },
    /// The claimant's answer.
    AdminAnswer {
        /// The request's number.
        id: u64,
        /// What became of it.
        result: Result<AdminReply, Refusal>,
        /// The ring in which it shows: the operator's node waits for that one before it answers.
        epoch: Epoch,
    },
    /// Nothing was done, the sender is not the claimant (any more): find that one and ask again.
    AdminAgain {
        /// The request's number.
        id: u64,
    },
    /// To a member that speaks from a boot which cannot have come after one that the sender has seen of that life: an older state of its
    /// disk was put back.
    OldBoot {
        /// The life of its folder.
        incarnation: Incarnation,
        /// The boot of it that was seen.
        seen: u64,
    },
    /// To the claimant: what a member has seen of a move or of itself, repeated until a ring shows it.
    Report(Report),
}

/// What a member tells the claimant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// The source of a move has persisted that the target holds everything and acknowledges nothing alone any more.
    MoveReady {
        /// Which partition moves.
        partition: Partition,
        /// Which attempt of its move; another attempt's readiness says nothing about this one.
        attempt: u32,
        /// The source.
        from: NodeName,
        /// The target.
        to: NodeName,
        /// The lives of source and target between which the copy went.
        incarnations: (Incarnation, Incarnation),
    },
    /// The session broke after it may have been reported ready.
    MoveBroken {
        /// Which partition moves.
        partition: Partition,
        /// Which attempt is given up.
        attempt: u32,
    },
    /// An exiting member holds nothing any more.
    Drained {
        /// Who.
        node: NodeName,
        /// In which life.
        incarnation: Incarnation,
    },
    /// A member that is marked down is there.
    Back {
        /// Who.
        node: NodeName,
        /// In which life.
        incarnation: Incarnation,
    },
}

impl Report {
    /// The partition whose move it is about.
    pub(super) fn partition(&self) -> Option<Partition> {
        match self {
            Report::MoveReady { partition, .. } | Report::MoveBroken { partition, .. } => {
                Some(*partition)
            }
            Report::Drained { .. } | Report::Back { .. } => None,
        }
    }
}

/// What a node says of itself when it asks to join.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// The joiner's number for this request.
    pub ask: u64,
    /// Its name.
    pub name: NodeName,
    /// The life of its data folder.
    pub incarnation: Incarnation,
    /// Where it is reached.
    pub addresses: Addresses,
    /// Its failure domain.
    pub zone: Option<String>,
    /// Its share of copies.
    pub weight: f64,
    /// The name of the cluster that it is configured for.
    pub cluster_name: String,
    /// Its own cluster.
    pub cluster: ClusterId,
    /// Q of its own ring.
    pub partitions: PartitionCount,
    /// N of its own ring.
    pub replicas: u8,
    /// Whether a member passed it on already; it does so once.
    pub passed_on: bool,
}

impl JoinRequest {
    /// How the joiner is listed at first.
    pub(super) fn as_member(&self) -> Member {
        let addresses = self.addresses.clone();
        Member::joining(self.incarnation, addresses, self.zone.clone(), self.weight)
    }
}

/// What an operator may ask of any node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum AdminRequest {
    /// This node asks to join the cluster that `peer` belongs to.
    Join {
        /// `host:port` of a peer listener.
        peer: String,
    },
    /// Stages that `node` leaves.
    Leave {
        /// Who.
        node: NodeName,
    },
    /// Stages that `node` is a member no more, without handing anything off.
    Remove {
        /// Who.
        node: NodeName,
    },
    /// Stages that `with`, which is joining, takes over all that `node` has.
    Replace {
        /// Who goes.
        node: NodeName,
        /// Who comes.
        with: NodeName,
        /// Whether nothing is handed off: the new one is filled from the copies that are left.
        force: bool,
    },
    /// Stages another share of the copies.
    Weight {
        /// Whose.
        node: NodeName,
        /// Above 0, relative to the others'.
        weight: f64,
    },
    /// Stages another failure domain.
    Zone {
        /// Whose.
        node: NodeName,
        /// None: that of all who name none.
        zone: Option<String>,
    },
    /// Marks a node that does not answer as down: it has no voice and is not waited for. At once.
    Down {
        /// Who.
        node: NodeName,
    },
    /// What would a commit do?
    Plan,
    /// Carry the staged changes out.
    Commit {
        /// Only if the plan still has this id.
        plan: Option<String>,
        /// Unix time in milliseconds where it was asked.
        wall_ms: u64,
    },
    /// Give up the transfers that are pending or under way. At once.
    Cancel,
    /// Go on without members that are lost, when those who are left are no majority: the node that is asked decides alone.
    Recover {
        /// Who is lost.
        without: Vec<NodeName>,
        /// Whether what may be lost is accepted; else it is only told.
        accepted: bool,
        /// Unix time in milliseconds where it was asked.
        wall_ms: u64,
    },
    /// Drop what is staged; joining nodes go on as clusters of their own.
    Clear,
    /// Raise the floor of a keyspace: what was written at or below it is dead from then on. Nothing is staged.
    Flush {
        /// Which.
        keyspace: u32,
        /// Hybrid time.
        floor: u64,
    },
    /// Hold transfers, let them go on, or bound them. Nothing is staged.
    Handoff(HandoffChange),
}

/// What came of an operator's request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum AdminReply {
    /// It is in this chosen ring.
    Done {
        /// Which.
        ring: RingId,
    },
    /// The plan; `None` when nothing is staged.
    Plan(Option<Box<Plan>>),
}

/// What a node publishes of itself by gossip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The life of its data folder.
    pub incarnation: Incarnation,
    /// Its boot number in that life.
    pub boot: u64,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its ring's lineage.
    pub lineage: u64,
    /// Its ring's epoch.
    pub epoch: Epoch,
    /// Its ring's digest.
    pub digest: RingDigest,
}

/// A ring on its way: the bytes of [`Ring::encode`]. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct EncodedRing(Arc<[u8]>);

impl EncodedRing {
    /// Encodes `ring`.
    pub fn of(ring: &Ring) -> EncodedRing {
        EncodedRing(ring.encode().into())
    }

    /// The ring, or why these bytes are none.
    pub fn open(&self) -> Result<Ring, RingError> {
        Ring::decode(&self.0)
    }
}

impl fmt::Debug for EncodedRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncodedRing({} bytes)", self.0.len())
    }
}

impl Serialize for EncodedRing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for EncodedRing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<EncodedRing, D::Error> {
        struct Bytes;
        impl<'de> de::Visitor<'de> for Bytes {
            type Value = EncodedRing;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the bytes of a ring")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<EncodedRing, E> {
                Ok(EncodedRing(bytes.into()))
            }

            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<EncodedRing, E> {
                Ok(EncodedRing(bytes.into()))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Identity, Stored};

    /// Lost without it: a message or a stored ring that one version writes could not be read back.
    #[test]
    fn messages_and_stored_rings_survive_their_encoding() {
        let me = Identity {
            name: "a".into(),
            incarnation: Incarnation(u128::MAX),
            boot: 1,
            addresses: Addresses::default(),
            zone: Some("z".to_owned()),
            weight: 0.1,
        };
        let q = PartitionCount::new(8).unwrap();
        let stored = Stored::found(&me, ClusterId(7), "test", q, 3);
        let bytes = rmp_serde::to_vec_named(&stored).unwrap();
        assert_eq!(rmp_serde::from_slice::<Stored>(&bytes).unwrap(), stored);

        let ballot = Ballot {
            round: 1,
            proposer: "a".into(),
        };
        let decree = Decree::after(&stored.ring);
        let ring = EncodedRing::of(&stored.ring);
        let refusal = Refusal::DifferentRingSizes {
            ours: 8,
            theirs: 16,
        };
        for body in [
            Body::Promise {
                decree,
                ballot: ballot.clone(),
                accepted: Some((ballot, ring.clone())),
            },
            Body::RingIs(ring),
            Body::AdminAnswer {
                id: 1,
                result: Err(refusal),
                epoch: Epoch(1),
            },
        ] {
            let message = ClusterMessage {
                incarnation: me.incarnation,
                boot: 1,
                peer: String::new(),
                body,
            };
            let bytes = rmp_serde::to_vec_named(&message).unwrap();
            assert_eq!(
                rmp_serde::from_slice::<ClusterMessage>(&bytes).unwrap(),
                message
            );
        }
    }
}
