//! This file answers: in what state is a copy, and what may it do there?
//!
//! The state is persisted beside the data, so that a restart goes on where it was. Sending is not among them: a
//! session does not survive its node, and a copy that was sending serves again.

use bytes::Bytes;
use rkv_ring::{ClusterId, NodeName};
use rkv_wire::message::{CopyState, SessionId};
use serde::{Deserialize, Serialize};

/// The persisted state of a copy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Phase {
    /// Nothing is here.
    #[default]
    Absent,
    /// Answers for its places in the row.
    Serving,
    /// Answers for its places, but its reads do not count.
    CatchingUp {
        /// Whether it may lack what it acknowledged itself (else: only what fallbacks acknowledged meanwhile).
        lost: bool,
        /// Hybrid time: a put stamped at or below it is refused while `lost`.
        floor: u64,
    },
    /// The source of a move whose target is ready: acks nothing without it, and only an epoch ends this.
    Forwarding {
        /// The target.
        to: NodeName,
        /// The session in which it became ready.
        session: SessionId,
        /// The move's attempt.
        attempt: u32,
    },
    /// The target of a move.
    Receiving {
        /// The source.
        from: NodeName,
        /// The session.
        session: SessionId,
        /// The move's attempt.
        attempt: u32,
        /// Since which epoch the move has been listed: what one session of a move leaves is good for the next, what another
        /// move left is not. 0: not known.
        #[serde(default)]
        since: u32,
        /// Whether it equalled the source at a mark, synced; every write since came too.
        complete: bool,
    },
    /// Out of the row: kept until the owners cover it.
    Draining {
        /// Who took its place.
        to: Option<NodeName>,
    },
}

impl Phase {
    /// What others are told.
    pub fn state(&self, sending: bool) -> CopyState {
        match self {
            Phase::Absent => CopyState::Absent,
            Phase::Serving if sending => CopyState::Sending,
            Phase::Serving => CopyState::Serving,
            Phase::CatchingUp { .. } => CopyState::CatchingUp,
            Phase::Forwarding { .. } => CopyState::Forwarding,
            Phase::Receiving { .. } => CopyState::Receiving,
            Phase::Draining { .. } => CopyState::Draining,
        }
    }

    /// Whether the copy answers, as an owner, for the places its node has in the row.
    pub fn answers(&self) -> bool {
        matches!(
            self,
            Phase::Serving | Phase::CatchingUp { .. } | Phase::Forwarding { .. }
        )
    }
}

/// A phase as it is stored: with the cluster whose data the copy holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Whose data.
    pub cluster: ClusterId,
    /// In what phase.
    pub phase: Phase,
    /// For how many places of the row it answers; none: it was not written down.
    #[serde(default)]
    pub places: Option<u8>,
    /// The highest hybrid time of a trace of something deleted that was let go of.
    #[serde(default)]
    pub reaped: u64,
}

impl Record {
    /// The bytes that are stored.
    pub fn encode(&self) -> Bytes {
        let bytes = rmp_serde::to_vec_named(self);
        Bytes::from(bytes.expect("a phase holds nothing that MessagePack cannot"))
    }

    /// Reads what [`Record::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Option<Record> {
        rmp_serde::from_slice(bytes).ok()
    }
}
