//! Promise 6: no answer of a copy that receives, catches up, is no owner's, or is an older state of itself counts for r; and a
//! write that was said not to be applied is on no disk.

use std::collections::{BTreeMap, BTreeSet};

use rkv_ring::cluster::Facts;
use rkv_ring::{Incarnation, boot};
use rkv_vnode::Phase;
use rkv_wire::message::{Answer, CopyId, Message, RequestId, Role, ServiceId};

use crate::history::{Got, History, Put};
use crate::sim::node::SimNode;

/// Remembers what was asked, to judge who answers.
#[derive(Default)]
pub struct Votes {
    gets_ended: u64,
    /// In which life and start each was heard of last, by whom in which of its starts.
    heard: BTreeMap<(usize, usize, u64), (Incarnation, u64)>,
    asked: BTreeMap<(usize, usize, RequestId), CopyId>,
    /// Of these an earlier copy of the message found a copy that counts, so that answer may be on its way, however late.
    answerable: BTreeSet<(usize, usize, RequestId)>,
}

impl Votes {
    /// Whether `to`, in its present start, takes from `from` what it says in the start `speaks_as`: not if it has heard from
    /// a later one.
    fn is_outdated(&mut self, nodes: &[SimNode], from: usize, to: usize, speaks_as: Facts) -> bool {
        let heard = self.heard.entry((from, to, nodes[to].boot));
        let start = (speaks_as.incarnation, speaks_as.boot);
        let (life, seen) = *heard.or_insert(start);
        let is_outdated = life == start.0 && boot::is_outdated(start.1, seen);
        if !is_outdated {
            self.heard.insert((from, to, nodes[to].boot), start);
        }
        is_outdated
    }

    /// When gets have ended since: none by the votes of too few, as when a fallback's absence counts. What a fallback had of
    /// something that was flushed is not told to who reads, so a life with a flush shows nothing here.
    pub fn step(&mut self, history: &History) -> Result<(), String> {
        if !history.flushes.is_empty() {
            return Ok(());
        }
        if std::mem::replace(&mut self.gets_ended, history.gets_ended) == history.gets_ended {
            return Ok(());
        }
        let mut gets = history.gets.iter().enumerate();
        let too_few = gets.find_map(|(number, get)| match get.end {
            Some((_, Got::TooFew(votes))) => Some((number, &get.key, votes)),
            _ => None,
        });
        match too_few {
            Some((number, key, votes)) => Err(format!(
                "get {number} of {key} was answered by {votes} votes that count"
            )),
            None => Ok(()),
        }
    }

    /// A message is about to be taken.
    pub fn message(
        &mut self,
        nodes: &[SimNode],
        from: usize,
        to: usize,
        speaks_as: Option<Facts>,
        message: &Message,
    ) -> Result<(), String> {
        let speaks_as = speaks_as.filter(|_| nodes[to].running.is_some());
        let is_outdated = speaks_as.is_some_and(|it| self.is_outdated(nodes, from, to, it));
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
                if is_outdated && matches!(answer, Answer::Found | Answer::NotFound) {
                    return Err(format!(
                        "{} voted on an older state of its disk: {} has heard of a later start",
                        nodes[from].name, nodes[to].name
                    ));
                }
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
