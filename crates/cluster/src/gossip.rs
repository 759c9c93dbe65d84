//! This file answers: what do nodes tell each other without being asked, and who seems to be alive?
//!
//! Gossip is chitchat: each node publishes small facts of its own, and its phi-accrual detector says who is up. Only
//! facts and suspicions come out of it; both may be late or false, and nothing depends on their being right. The ring
//! itself never travels here: who hears of a higher epoch pulls it.

use rkv_ring::NodeName;
use rkv_ring::cluster::Facts;
use serde::{Deserialize, Serialize};

mod chat;
mod sealed;

pub use chat::{Chat, ChatConfig, GossipError};
pub use sealed::{Blocked, Way};

/// What a node tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// Its life, its boot and the ring that it routes by.
    pub facts: Facts,
    /// Where it accepts peers.
    #[serde(default)]
    pub peer: String,
    /// Whether it is about to stop: to be treated as down at once.
    #[serde(default)]
    pub stopping: bool,
}

/// What comes out of gossip. The facts of a node come before it is said to be up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GossipEvent {
    /// A node published this.
    Facts {
        /// Who.
        node: NodeName,
        /// What.
        published: Published,
    },
    /// It seems to be alive.
    Up(NodeName),
    /// It seems to be dead.
    Down(NodeName),
}

/// What a node does with gossip.
pub trait Gossip: Send + Sync {
    /// Tells the others this, in place of what was told before.
    fn publish(&self, facts: Facts);
    /// Looks for others at this peer address too, now and whenever it is not heard from.
    fn add_seed(&self, address: &str);
    /// Tells the others that this node is about to stop.
    fn say_goodbye(&self);
}
