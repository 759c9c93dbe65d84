//! Promise 2: once B has answered as owner of a place, nobody else does so for that place under that or an older
//! ring; except a mover that hands everything on to B.

use std::collections::BTreeMap;

use rkv_ring::{Epoch, NodeName, Partition};
use rkv_vnode::Phase;
use rkv_wire::message::{Command, CopyId, Message, RequestId, Role, ServiceId};

use crate::sim::node::SimNode;

struct Asked {
    copy: CopyId,
    epoch: Epoch,
    /// The places that the answerer has in the asker's ring.
    places: Vec<u8>,
}

/// Who has answered for which place, under which epoch.
#[derive(Default)]
pub struct OneAnswerer {
    asked: BTreeMap<(usize, RequestId), Asked>,
    last: BTreeMap<(Partition, u8), (Epoch, NodeName)>,
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
                let row = view.ring().row(partition);
                let mine = (0u8..).zip(row).filter(|(_, n)| **n == nodes[to].name);
                let asked = Asked {
                    copy: CopyId {
                        service: ServiceId(1),
                        partition,
                    },
                    epoch: ring.epoch,
                    places: mine.map(|(place, _)| place).collect(),
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
        for place in asked.places {
            let key = (asked.copy.partition, place);
            if let Some((epoch, other)) = self.last.get(&key) {
                if other != node && *epoch > asked.epoch {
                    return Err(format!(
                        "{node} answers for place {place} of partition {} under epoch {} after {other} did under {epoch}",
                        asked.copy.partition, asked.epoch
                    ));
                }
                if *epoch > asked.epoch {
                    continue;
                }
            }
            self.last.insert(key, (asked.epoch, node.clone()));
        }
        Ok(())
    }
}

