//! This file answers: what may an operator stage?

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::member::{Incarnation, Member, NodeName};

/// A change that an operator staged and nobody committed yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Change {
    /// `node` (listed as joining) becomes a full member.
    Join {
        /// Who.
        node: NodeName,
    },
    /// `node`, whose old folder is gone, becomes a member again in the life of its new one: it keeps its places and is
    /// refilled from the others.
    Rejoin {
        /// Who.
        node: NodeName,
        /// How it is listed from then on.
        #[serde(with = "packed")]
        member: Box<Member>,
    },
    /// `node` hands off everything and goes.
    Leave {
        /// Who.
        node: NodeName,
    },
    /// `node` is a member no more at once; its copies are lost, and others are filled from those that are left.
    Remove {
        /// Who.
        node: NodeName,
    },
    /// `node` hands off everything to `with` and goes.
    Replace {
        /// Who.
        node: NodeName,
        /// Who is joining and gets its copies.
        with: NodeName,
    },
    /// `node` is a member no more at once, and `with` takes its places, filled from the copies that are left.
    ForceReplace {
        /// Who.
        node: NodeName,
        /// Who is joining and gets its places.
        with: NodeName,
    },
    /// `node` gets another share of the copies.
    Weight {
        /// Whose.
        node: NodeName,
        /// Relative to the others'; finite and above 0.
        weight: f64,
    },
    /// `node` stands in another failure domain.
    Zone {
        /// Whose.
        node: NodeName,
        /// Which; none: in that of all who name none.
        zone: Option<String>,
    },
}

/// A member as bytes of their own: the number of its life is longer than a tagged value may hold.
mod packed {
    use std::fmt;

    use serde::de::{self, Deserializer};
    use serde::ser::{self, Serializer};

    use crate::member::Member;

    pub(super) fn serialize<S: Serializer>(member: &Member, to: S) -> Result<S::Ok, S::Error> {
        let bytes = rmp_serde::to_vec_named(member).map_err(ser::Error::custom)?;
        to.serialize_bytes(&bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Box<Member>, D::Error> {
        struct Bytes;
        impl de::Visitor<'_> for Bytes {
            type Value = Box<Member>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the bytes of a member")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Box<Member>, E> {
                rmp_serde::from_slice(bytes).map_err(E::custom)
            }
        }
        from.deserialize_bytes(Bytes)
    }
}

/// What a change is about: of one kind at most one is staged for a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Whether it is a member.
    Membership,
    Weight,
    Zone,
}

impl Change {
    /// The node that the change is about.
    pub fn node(&self) -> &NodeName {
        match self {
            Change::Join { node }
            | Change::Rejoin { node, .. }
            | Change::Leave { node }
            | Change::Remove { node }
            | Change::Replace { node, .. }
            | Change::ForceReplace { node, .. }
            | Change::Weight { node, .. }
            | Change::Zone { node, .. } => node,
        }
    }

    /// Who takes the node's place, if somebody is named for it.
    pub fn replacement(&self) -> Option<&NodeName> {
        match self {
            Change::Replace { with, .. } | Change::ForceReplace { with, .. } => Some(with),
            _ => None,
        }
    }

    /// Who goes without handing off what it has, in the life that is listed.
    pub fn lost(&self) -> Option<&NodeName> {
        match self {
            Change::Remove { node }
            | Change::ForceReplace { node, .. }
            | Change::Rejoin { node, .. } => Some(node),
            _ => None,
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Change::Weight { .. } => Kind::Weight,
            Change::Zone { .. } => Kind::Zone,
            _ => Kind::Membership,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Join { node } => write!(f, "join {node}"),
            Change::Rejoin { node, .. } => write!(f, "rejoin {node}"),
            Change::Leave { node } => write!(f, "leave {node}"),
            Change::Remove { node } => write!(f, "remove {node}"),
            Change::Replace { node, with } => write!(f, "replace {node} with {with}"),
            Change::ForceReplace { node, with } => write!(f, "force-replace {node} with {with}"),
            Change::Weight { node, weight } => write!(f, "weight {node} to {weight}"),
            Change::Zone {
                node,
                zone: Some(zone),
            } => write!(f, "zone {node} to {zone}"),
            Change::Zone { node, zone: None } => write!(f, "zone {node} to none"),
        }
    }
}

/// A life that is a member no more, though it may not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// The name that it had.
    pub node: NodeName,
    /// The life of its data folder.
    pub incarnation: Incarnation,
    /// When, in unix milliseconds.
    pub at_ms: u64,
}
