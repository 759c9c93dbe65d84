//! Promise 2: once B has answered as owner of a place, nobody else does so for that place under that or an older
//! ring; except a mover that hands everything on to B. Order inside a row changes without moving data: who stands in the
//! later row too is an owner all along, and who was removed by force may not have heard of it.

use std::collections::{BTreeMap, BTreeSet};

use rkv_ring::{Epoch, NodeName, Partition, Row};
use rkv_vnode::Phase;
use rkv_wire::message::{Command, CopyId, Message, RequestId, Role, ServiceId};

use crate::sim::node::SimNode;

struct Asked {
    copy: CopyId,
    epoch: Epoch,
    row: Row,
    /// Who was removed by force before.
    removed: BTreeSet<NodeName>,
}

/// The last answer for a place.
struct Answered {
    asked: Asked,
    by: NodeName,
}

/// Who has answered for which place, under which epoch.
#[derive(Default)]
pub struct OneAnswerer {
    asked: BTreeMap<(usize, RequestId), Asked>,
    last: BTreeMap<Partition, Answered>,
}

impl OneAnswerer {
    /// A message is about to be taken.
    pub fn message(
        &mut self,
        nodes: &[SimNode],
        from: usize,
        to: usize,
        message: &Message,
    ) -> Result<(), String> {
        match message {
            Message::Command {
                id,
                service: ServiceId(1),
                slot,
                ring,
                role: Role::Owner,
                command: Command::Get { .. } | Command::Put { .. },
                ..
            } => {
                let Some(running) = &nodes[to].running else {
                    return Ok(());
                };
                let view = running.engine.view();
                if view.id() != *ring {
                    return Ok(());
                }
                let partition = view.ring().partition_of(*slot);
                let asked = Asked {
                    copy: CopyId {
                        service: ServiceId(1),
                        partition,
                    },
                    epoch: ring.epoch,
                    row: view.ring().row(partition).clone(),
                    removed: {
                        let removed = view.ring().removed.iter();
                        removed.map(|removed| removed.node.clone()).collect()
                    },
                };
                self.asked.insert((from, *id), asked);
                self.answers_in_time(nodes, from, to, *id)
            }
            _ => Ok(()),
        }
    }

    /// A node that takes a command under a ring will answer it under that ring: it must not be superseded.
    fn answers_in_time(
        &mut self,
        nodes: &[SimNode],
        from: usize,
        to: usize,
        id: RequestId,
    ) -> Result<(), String> {
        let Some(asked) = self.asked.remove(&(from, id)) else {
            return Ok(());
        };
        let Some(running) = &nodes[to].running else {
            return Ok(());
        };
        let phase = running
            .engine
            .host()
            .inspect(asked.copy, |phase, _| phase.clone());
        let node = &nodes[to].name;
        match phase {
            Some(Phase::Serving) => {}
            _ => return Ok(()),
        }
        let partition = asked.copy.partition;
        if let Some(last) = self.last.get(&partition)
            && last.asked.epoch > asked.epoch
        {
            if last.asked.row.contains(node) || last.asked.removed.contains(node) {
                return Ok(());
            }
            return Err(format!(
                "{node} answers for partition {partition} under epoch {} after {} did under {}",
                asked.epoch, last.by, last.asked.epoch
            ));
        }
        let by = node.clone();
        self.last.insert(partition, Answered { asked, by });
        Ok(())
    }
}
