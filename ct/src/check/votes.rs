//! Promise 6: no answer of a copy that receives, catches up or is no owner's counts for r; and a write that was said not to
//! be applied is on no disk.

use std::collections::{BTreeMap, BTreeSet};

use rkv_vnode::Phase;
use rkv_wire::message::{Answer, CopyId, Message, RequestId, Role, ServiceId};

use crate::history::{Got, History, Put};
use crate::sim::node::SimNode;

/// Remembers what was asked, to judge who answers.
#[derive(Default)]
pub struct Votes {
    gets_ended: u64,
    now_ms: u64,
    put_back: Option<PutBack>,
    asked: BTreeMap<(usize, usize, RequestId), CopyId>,
    /// Of these an earlier copy of the message found a copy that counts, so that answer may be on its way, however late.
    answerable: BTreeSet<(usize, usize, RequestId)>,
}

/// An older state of a node's disk was put back.
struct PutBack {
    at: usize,
    since_ms: u64,
    /// In which start each node was then: who still is in that has seen later boots of it.
    boots: Vec<u64>,
}

/// Within this after its disk was put back a node was told so, wherever it can be heard.
const TOLD_WITHIN_MS: u64 = 6_000;

impl Votes {
    /// An older state of the disk of `at` was put back: it may lack what it acknowledged, and is not to know.
    pub fn put_back(&mut self, nodes: &[SimNode], at: usize) {
        self.put_back = Some(PutBack {
            at,
            since_ms: self.now_ms,
            boots: nodes.iter().map(|node| node.boot).collect(),
        });
    }

    /// Whether who was put back goes on as a member.
    fn goes_on(&self, nodes: &[SimNode], from: usize, to: usize) -> Result<(), String> {
        let Some(put_back) = self.put_back.as_ref().filter(|it| it.at == from) else {
            return Ok(());
        };
        let is_known = put_back.boots[to] == nodes[to].boot;
        let is_late = self.now_ms > put_back.since_ms + TOLD_WITHIN_MS;
        if nodes[from].life > 0 || !is_known || !is_late {
            return Ok(());
        }
        Err(format!(
            "{} runs on an older state of its disk and answers {}, which has seen a later boot of it",
            nodes[from].name, nodes[to].name
        ))
    }

    /// When gets have ended since: none by the votes of too few, as when a fallback's absence counts. What a fallback had of
    /// something that was flushed is not told to who reads, so a life with a flush shows nothing here.
    pub fn step(&mut self, history: &History, now_ms: u64) -> Result<(), String> {
        self.now_ms = now_ms;
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
                if matches!(answer, Answer::Found | Answer::NotFound) {
                    self.goes_on(nodes, from, to)?;
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
