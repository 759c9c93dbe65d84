//! Promise 6: no answer of a copy that receives, catches up or is no owner's counts for r; and a write that was said not to
//! be applied is on no disk.

use std::collections::{BTreeMap, BTreeSet};

use rkv_vnode::Phase;
use rkv_wire::message::{Answer, CopyId, Message, RequestId, Role, ServiceId};

use crate::history::{History, Put};
use crate::sim::node::SimNode;

/// Remembers what was asked, to judge who answers.
#[derive(Default)]
pub struct Votes {
    asked: BTreeMap<(usize, usize, RequestId), CopyId>,
    /// Of these an earlier copy of the message found a copy that counts, so that answer may be on its way, however late.
    answerable: BTreeSet<(usize, usize, RequestId)>,
}

impl Votes {
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
                ..
            } => {
                let Some(running) = &nodes[to].running else {
                    return Ok(());
                };
                if running.engine.view().id() != *ring {
                    return Ok(());
                }
                let partition = running.engine.view().ring().partition_of(*slot);
                let copy = CopyId {
                    service: ServiceId(1),
                    partition,
                };
                let phase = running
                    .engine
                    .host()
                    .inspect(copy, |phase, _| phase.clone());
                let counts = matches!(phase, Some(Phase::Serving | Phase::Forwarding { .. }));
                if counts {
                    self.asked.remove(&(from, to, *id));
                    self.answerable.insert((from, to, *id));
                } else if !self.answerable.contains(&(from, to, *id)) {
                    self.asked.insert((from, to, *id), copy);
                }
                Ok(())
            }
            Message::Answer { id, answer, .. } => {
                let asked = self.asked.remove(&(to, from, *id));
                match (asked, answer) {
                    (Some(copy), Answer::Found | Answer::NotFound) => Err(format!(
                        "{} voted in a read of partition {} with a copy that does not count",
                        nodes[from].name, copy.partition
                    )),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

/// Looks for values on disk whose put was said not to be applied.
pub fn not_applied(nodes: &[SimNode], history: &History) -> Result<(), String> {
    for put in &history.puts {
        if !matches!(put.end, Some((_, Put::NotApplied))) {
            continue;
        }
        let value = format!("v{}-", put.number);
        for node in nodes {
            for (_, entry) in node.disk.entries() {
                if contains(&entry, value.as_bytes()) {
                    return Err(format!(
                        "put {} of {} was said not to be applied and is on {}",
                        put.number, put.key, node.name
                    ));
                }
            }
        }
    }
    Ok(())
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}
