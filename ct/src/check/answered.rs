//! Promise 11: a get is answered, and soon, while as many owners of its key as it needs are healthy, whatever the others are:
//! down, paused, slow, or cut off, and perhaps not suspected yet.
//!
//! An owner is healthy for a get when from the get's beginning on it runs, goes by the ring that the get was routed by, has a
//! copy that answers reads at once, is not suspected by the coordinator, and nothing that is sent between these two is lost or late. The
//! coordinator runs and keeps to that ring. What becomes of one that does not is another promise's, or nobody's.

use std::collections::BTreeMap;
use std::sync::Arc;

use rkv_quorum::get::HEDGE_MS;
use rkv_ring::{Partition, RingId, Slot};
use rkv_vnode::View;
use rkv_wire::message::{CopyId, ServiceId};

use crate::history::{Got, History, R};
use crate::sim::node::SimNode;

/// So soon: a hedge's time, the tick that finds it over, an ask and its answer; and some more.
const WITHIN_MS: u64 = HEDGE_MS + 75;

/// A get that must be answered.
struct Awaited {
    number: usize,
    /// Its coordinator.
    by: usize,
    ring: RingId,
    partition: Partition,
    /// Owners that were healthy until now, each with how many places it has.
    healthy: BTreeMap<usize, usize>,
    until_ms: u64,
}

/// Which gets must be answered, and by when.
#[derive(Default)]
pub struct Answered {
    awaited: Vec<Awaited>,
    hedged: u64,
}

impl Answered {
    /// Get `number` is about to begin at node `by`; `linked`: who is not paused and to be reached from there, in both directions.
    pub fn begins(
        &mut self,
        nodes: &[SimNode],
        (by, linked): (usize, &[usize]),
        number: u64,
        history: &History,
    ) {
        let Some(view) = view(&nodes[by]) else {
            return;
        };
        let number = number as usize;
        let get = &history.gets[number];
        let partition = view.ring().partition_of(Slot::of(get.key.as_bytes()));
        let mut healthy = BTreeMap::new();
        for owner in view.ring().row(partition) {
            let is_it = |at: &&usize| nodes[**at].name == *owner;
            if let Some(at) = linked.iter().find(is_it) {
                *healthy.entry(*at).or_default() += 1;
            }
        }
        self.awaited.push(Awaited {
            number,
            by,
            ring: view.id(),
            partition,
            healthy,
            until_ms: get.began_ms + WITHIN_MS,
        });
    }

    /// Something that one node sends to another does not arrive, or late.
    pub fn hindered(&mut self, from: usize, to: usize) {
        for get in &mut self.awaited {
            if get.by == from {
                get.healthy.remove(&to);
            } else if get.by == to {
                get.healthy.remove(&from);
            }
        }
    }

    /// A node stands still.
    pub fn paused(&mut self, node: usize) {
        self.awaited.retain(|get| get.by != node);
        for get in &mut self.awaited {
            get.healthy.remove(&node);
        }
    }

    /// How many gets were answered only after those that they had spared were asked too.
    pub fn hedged(&self) -> u64 {
        self.hedged
    }

    /// Looks at all gets that must be answered.
    pub fn step(
        &mut self,
        nodes: &[SimNode],
        now_ms: u64,
        history: &History,
    ) -> Result<(), String> {
        for mut get in std::mem::take(&mut self.awaited) {
            if !get.must_be_answered(nodes) {
                continue;
            }
            let record = &history.gets[get.number];
            match &record.end {
                None if now_ms < get.until_ms => self.awaited.push(get),
                None => return Err(get.unanswered(nodes, history, "is not answered")),
                Some((_, Got::Failed)) => return Err(get.unanswered(nodes, history, "failed")),
                Some((at, _)) => self.hedged += u64::from(*at >= record.began_ms + HEDGE_MS),
            }
        }
        Ok(())
    }
}

impl Awaited {
    /// Whether enough owners are healthy still.
    fn must_be_answered(&mut self, nodes: &[SimNode]) -> bool {
        let Some(by) = view(&nodes[self.by]).filter(|by| by.id() == self.ring) else {
            return false;
        };
        let partition = self.partition;
        self.healthy.retain(|at, _| {
            let owner = &nodes[*at];
            by.is_up(&owner.name) && answers(owner, self.ring, partition)
        });
        self.healthy.values().sum::<usize>() >= R
    }

    fn unanswered(&self, nodes: &[SimNode], history: &History, what: &str) -> String {
        let get = &history.gets[self.number];
        let healthy = self.healthy.keys().map(|at| nodes[*at].name.to_string());
        let healthy: Vec<String> = healthy.collect();
        format!(
            "get {} of {} begun by {} at {} ms {what}, and its owners {} are healthy",
            self.number,
            get.key,
            nodes[self.by].name,
            get.began_ms,
            healthy.join(", ")
        )
    }
}

/// What a node routes by, if it is there and coordinates.
fn view(node: &SimNode) -> Option<Arc<View>> {
    let running = node.running.as_ref()?;
    Some(running.engine.view()).filter(|view| view.serves())
}

/// Whether an owner answers a read by `ring` in the step that takes it.
fn answers(owner: &SimNode, ring: RingId, partition: Partition) -> bool {
    let Some(running) = &owner.running else {
        return false;
    };
    let copy = CopyId {
        service: ServiceId(1),
        partition,
    };
    let view = running.engine.view();
    let host = running.engine.host();
    let answers = host.inspect(copy, |_, actor| actor.serves_by_itself(&view));
    view.id() == ring && answers == Some(true)
}
