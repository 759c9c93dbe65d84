//! This file answers: what is counted of transfers, and of the moments at which nodes die?

use std::collections::BTreeSet;

use rkv_ring::Partition;
use rkv_vnode::actor::Step;
use rkv_wire::message::{CopyId, Message, RequestId, ServiceId};

use super::World;
use crate::sim::occurrence::death_amid;

impl World {
    /// The steps of transfers that the copy of `partition` at `node` is in.
    pub(super) fn steps(&self, node: usize, partition: Partition) -> Vec<Step> {
        let copy = CopyId {
            service: ServiceId(1),
            partition,
        };
        let running = self.nodes[node].running.as_ref();
        let steps = running.and_then(|running| {
            let host = running.engine.host();
            host.inspect(copy, |_, actor| actor.steps())
        });
        steps.unwrap_or_default()
    }

    /// `node` dies: in which steps, each counted once.
    pub(super) fn count_steps(&mut self, node: usize) {
        let partitions = (0..self.options.partitions).map(Partition);
        let steps: BTreeSet<Step> = partitions
            .flat_map(|partition| self.steps(node, partition))
            .collect();
        for step in steps {
            self.count(death_amid(step));
        }
    }

    /// A message leaves: what flows in it, if it is of a transfer.
    pub(super) fn count_flow(&mut self, from: usize, message: &Message) {
        let flow = match message {
            Message::HandoffMarked { equal: true, .. } => Some("transfer ownership"),
            Message::HandoffOpened { kept: Some(_), .. } => Some("transfer ownership resumed"),
            Message::Fill { id, copy, .. } => self.flow(from, *copy, *id),
            _ => None,
        };
        if let Some(flow) = flow {
            self.count(flow);
        }
    }

    fn flow(&self, from: usize, copy: CopyId, id: RequestId) -> Option<&'static str> {
        let running = self.nodes[from].running.as_ref()?;
        let host = running.engine.host();
        let step = host.inspect(copy, |_, actor| actor.step_of(id))??;
        match step {
            Step::DrainingHints => Some("transfer hinted"),
            Step::CatchingUp => Some("transfer catching up"),
            Step::Mending => Some("transfer repair"),
            Step::Covering => Some("transfer old copy"),
            _ => None,
        }
    }
}
