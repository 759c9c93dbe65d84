//! This file answers: who is in the cluster, and in what state?

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A node's name, unique in its cluster. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeName(Arc<str>);

impl NodeName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for NodeName {
    fn from(name: &str) -> NodeName {
        NodeName(name.into())
    }
}

impl From<String> for NodeName {
    fn from(name: String) -> NodeName {
        NodeName(name.into())
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One life of a data folder: drawn at random when the folder is made. A new folder under an old name is a new
/// incarnation, and a vote counts only for the exact incarnation that the ring lists.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u128);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a member is reached: `host:port` of each listener, as advertised.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Addresses {
    /// Data and handoff (TCP), gossip (UDP on the same number).
    pub peer: String,
    /// The Redis protocol.
    pub redis: String,
    /// Health, metrics and what the CLI calls.
    pub http: String,
}

/// A member's state.
///
/// Legal moves: (none) → joining → valid → leaving → exiting → (gone); leaving → valid on cancel; valid or leaving ↔
/// down; joining → (gone) on clear; any → (gone) on remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Asked to join; owns nothing and decides nothing until a commit.
    Joining,
    /// A full member.
    Valid,
    /// Still an owner, handing everything off.
    Leaving,
    /// Owns nothing any more; waits to be let go.
    Exiting,
    /// Marked by an operator: still an owner, but not waited for.
    Down,
}

impl Status {
    /// Whether a member in this state has a voice in choosing the next epoch.
    pub fn votes(self) -> bool {
        matches!(self, Status::Valid | Status::Leaving | Status::Exiting)
    }

    /// Whether claim may give a member in this state new copies.
    pub fn claims(self) -> bool {
        matches!(self, Status::Valid)
    }

    /// Whether a member in this state may stand in for owners that are down.
    pub fn stands_in(self) -> bool {
        matches!(self, Status::Valid | Status::Leaving)
    }

    /// Whether a member may go from this state to `next`.
    pub fn may_become(self, next: Status) -> bool {
        use Status::*;
        matches!(
            (self, next),
            (Joining, Valid)
                | (Valid, Leaving)
                | (Leaving, Valid)
                | (Leaving, Exiting)
                | (Valid | Leaving, Down)
                | (Down, Valid | Leaving)
        )
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Status::Joining => "joining",
            Status::Valid => "valid",
            Status::Leaving => "leaving",
            Status::Exiting => "exiting",
            Status::Down => "down",
        })
    }
}

/// One member as the ring lists it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// The life of its data folder that the ring means.
    pub incarnation: Incarnation,
    /// Its state.
    pub status: Status,
    /// Where it is reached.
    pub addresses: Addresses,
    /// Failure domain; rows spread over zones as far as distinct nodes and balance allow.
    #[serde(default)]
    pub zone: Option<String>,
    /// Its share of copies relative to the others, above 0; 1.0 unless set.
    #[serde(default = "one")]
    pub weight: f64,
}

impl Member {
    /// A member that is to be and owns nothing yet. A weight that is none becomes 1.
    pub fn joining(
        incarnation: Incarnation,
        addresses: Addresses,
        zone: Option<String>,
        weight: f64,
    ) -> Member {
        Member {
            incarnation,
            status: Status::Joining,
            addresses,
            zone,
            weight: if is_weight(weight) { weight } else { one() },
        }
    }
}

/// The most that one node may weigh: more could not be told from all of it.
pub const MOST_WEIGHT: f64 = 1_000_000.0;

/// Whether `weight` is a share that a node may have: above 0 and at most [`MOST_WEIGHT`].
pub fn is_weight(weight: f64) -> bool {
    weight > 0.0 && weight <= MOST_WEIGHT
}

fn one() -> f64 {
    1.0
}
