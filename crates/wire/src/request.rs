//! This file answers: what may a client ask of a node, and what is it told?
//!
//! A client sends [`Message::Request`](crate::Message::Request) and gets [`Message::Reply`](crate::Message::Reply) on
//! the same connection, in any order. That is all: a client that says anything else is cut off. The node asked
//! coordinates, as it does for any other caller; the routing table only saves a step. Values are bodies: they travel raw
//! behind the header.

use bytes::Bytes;
use rkv_quorum::clock::Stamp;
use rkv_quorum::outcome::Replicas;
use rkv_ring::{NodeName, Partition, PartitionCount, RingId};
use serde::{Deserialize, Serialize};

/// What a client asks for. What it leaves out is the keyspace's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Write the value in the body.
    Put {
        /// Of which keyspace; none is `default`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keyspace: Option<String>,
        /// Where.
        key: Bytes,
        /// How long it is to be there, from the node's now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ttl_ms: Option<u64>,
        /// Replicas.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        n: Option<u32>,
        /// Answers to wait for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        w: Option<u32>,
        /// How many of them must be owners.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pw: Option<u32>,
    },
    /// Read.
    Get {
        /// Of which keyspace; none is `default`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keyspace: Option<String>,
        /// What.
        key: Bytes,
        /// Replicas.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        n: Option<u32>,
        /// Answers to wait for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        r: Option<u32>,
        /// How many of them must be owners.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pr: Option<u32>,
    },
    /// Delete.
    Delete {
        /// Of which keyspace; none is `default`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keyspace: Option<String>,
        /// What.
        key: Bytes,
        /// Replicas.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        n: Option<u32>,
        /// Answers to wait for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        w: Option<u32>,
        /// How many of them must be owners.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pw: Option<u32>,
    },
    /// One command to the first live owner's vnode of another service.
    Custom {
        /// Which, by name.
        service: String,
        /// What it is routed by.
        key: Bytes,
        /// What it means is between the service and its callers.
        command: Bytes,
    },
    /// The ring, as this node routes by it now.
    Ring,
}

impl Request {
    /// Whether it may change something, so that it must not be sent twice by whoever does not know what came of it.
    pub fn is_write(&self) -> bool {
        !matches!(self, Request::Get { .. } | Request::Ring)
    }
}

/// What a client is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// To a put or a delete: acknowledged.
    Written {
        /// The version that w places hold.
        context: Stamp,
        /// Who had answered.
        replicas: Replicas,
    },
    /// To a get: the value, if there is one, is the body.
    Got {
        /// Whether there is one: an empty body may be a value.
        found: bool,
        /// The version read, also that of a deletion.
        context: Option<Stamp>,
        /// Who had answered.
        replicas: Replicas,
    },
    /// To [`Request::Custom`].
    Custom {
        /// Who answered.
        node: NodeName,
        /// As which partition's vnode.
        partition: Partition,
        /// What.
        answer: Bytes,
    },
    /// To [`Request::Ring`].
    Ring(Box<RoutingTable>),
    /// It came to nothing.
    Refused(Box<Refused>),
}

/// Why a request came to nothing. Kind and reason are those of the documents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// What to do about it.
    pub remedy: Remedy,
    /// The kind of error.
    pub kind: String,
    /// A word for why.
    pub reason: String,
    /// The same in words.
    pub text: String,
    /// How each replica that was asked stood.
    #[serde(default)]
    pub replicas: Replicas,
}

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Remedy {
    /// Mend the request.
    Yours,
    /// Nothing was applied: try again.
    Again,
    /// Nothing was applied, and this node will not: try another.
    Elsewhere,
    /// It may have been applied: look before writing again.
    Unknown,
}

/// Who owns what and where it is reached, as one node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutingTable {
    /// By which ring.
    pub ring: RingId,
    /// Q.
    pub partitions: PartitionCount,
    /// N.
    pub replicas: u8,
    /// The members.
    pub nodes: Vec<TableNode>,
    /// For each partition its row, first replica first, as places in `nodes`.
    pub rows: Vec<Vec<u16>>,
}

/// A member in a [`RoutingTable`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableNode {
    /// Its name.
    pub name: NodeName,
    /// `host:port` of its peer listener.
    pub address: String,
    /// Whether it takes requests and seems to be up.
    pub up: bool,
}
