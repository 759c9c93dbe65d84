//! This file answers: who carries out what the ring's machine wishes?
//!
//! The keeper: it feeds [`Cluster`] one event at a time and carries its effects out strictly in order. A ring or a
//! promise is on disk, synced, before anything that depends on it is sent. It decides nothing.

use std::sync::Arc;

use rkv_ring::Ring;
use rkv_ring::cluster::{
    AdminReply, Cluster, ClusterMessage, Effect, Event, Facts, Stored, Target,
};
use rkv_ring::plan::Refusal;

/// Where the machine's state survives: what [`RingStore::save`] returned for is there after a power cut.
pub trait RingStore: Send {
    /// Replaces what was saved. An error stops the keeper: without a disk it may promise nothing.
    fn save(&mut self, stored: &Stored) -> Result<(), String>;
}

/// The world as the keeper sees it. Nothing here calls back into the keeper.
pub trait Outward {
    /// Sends a message; it may be lost.
    fn send(&self, to: Target, message: ClusterMessage);
    /// Route by this ring from now on.
    fn adopt(&self, ring: Arc<Ring>);
    /// An operator's request is answered.
    fn answer(&self, id: u64, result: Result<AdminReply, Refusal>);
    /// Gossip this of this node.
    fn publish(&self, facts: Facts);
    /// The cluster let this node go.
    fn left(&self);
    /// People should know.
    fn warn(&self, text: String);
}

/// Carries the machine.
pub struct Keeper {
    machine: Cluster,
    store: Box<dyn RingStore>,
    effects: Vec<Effect>,
    /// Set when the disk failed: a keeper that cannot save says nothing more.
    broken: bool,
}

impl Keeper {
    /// A keeper of `machine`, which saves to `store`.
    pub fn new(machine: Cluster, store: Box<dyn RingStore>) -> Keeper {
        Keeper {
            machine,
            store,
            effects: Vec::new(),
            broken: false,
        }
    }

    /// One event, and all that follows from it.
    pub fn step(&mut self, now_ms: u64, event: Event, world: &dyn Outward) {
        if self.broken {
            return;
        }
        let mut effects = std::mem::take(&mut self.effects);
        self.machine.step(now_ms, event, &mut effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Send { to, message } => world.send(to, message),
                Effect::Persist(stored) => {
                    if let Err(error) = self.store.save(&stored) {
                        // What follows depends on it: none of it may happen.
                        self.broken = true;
                        world.warn(format!(
                            "the ring cannot be saved, this node takes no more part in choosing rings: {error}"
                        ));
                        return;
                    }
                }
                Effect::Adopt(ring) => world.adopt(ring),
                Effect::Answer { id, result } => world.answer(id, result),
                Effect::Publish(facts) => world.publish(facts),
                Effect::Left => world.left(),
                Effect::Warn(text) => world.warn(text),
            }
        }
        self.effects = effects;
    }

    /// The machine, to look at.
    pub fn machine(&self) -> &Cluster {
        &self.machine
    }
}
