//! Promise 9, of a flush: what was acknowledged before it began is dead wherever it turns up, what is acknowledged after it
//! was is never lost to it, and its floor is never taken back; as long as no fallback voted.

use std::collections::{BTreeMap, BTreeSet};

use rkv_quorum::Version;
use rkv_quorum::clock::Stamp;
use rkv_ring::{NodeName, Ring, Status};
use rkv_wire::message::{CopyId, ServiceId};

use crate::check::versions;
use crate::history::{Got, History, Put};
use crate::sim::node::SimNode;

/// How often all copies are looked at: it costs.
const EVERY_MS: u64 = 200;

/// Compares what was put and got with the flushes between.
#[derive(Debug, Default)]
pub struct Flushed {
    /// The highest floor of any ring that was adopted.
    floor: u64,
    /// The rings that were adopted, by lineage and epoch, and the floor of each: it only rises.
    floors: BTreeMap<(u128, u64), u64>,
    /// The floor of the first ring that each node was a full member of: what it brought along is lifted above.
    joined: BTreeMap<NodeName, u64>,
    /// Flushes, puts and gets looked at already.
    flushes: usize,
    puts: Looked,
    gets: Looked,
    looked_ms: u64,
}

/// Which of many that end in any order were looked at.
#[derive(Debug, Default)]
struct Looked {
    open: usize,
    ended: BTreeSet<usize>,
}

impl Looked {
    fn is_new(&self, number: usize) -> bool {
        number >= self.open && !self.ended.contains(&number)
    }

    fn note(&mut self, number: usize) {
        self.ended.insert(number);
        while self.ended.remove(&self.open) {
            self.open += 1;
        }
    }
}

impl Flushed {
    /// What lies there or below is dead by some ring that a node has.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// Whether a write of `key` at `stamp` may be gone because a flush killed it, or will.
    pub fn may_be_dead(&self, key: &str, stamp: Stamp) -> bool {
        match brought_by(key) {
            Some(node) => self
                .joined
                .get(&node)
                .is_some_and(|floor| *floor < self.floor),
            None => stamp.time <= self.floor,
        }
    }

    /// A ring is on a node's disk as the one that it routes by.
    pub fn adopted(&mut self, ring: &Ring) -> Result<(), String> {
        let floor = ring.keyspaces.floors().of(0);
        let (cluster, epoch) = (ring.cluster.0, ring.epoch.0);
        self.floors.insert((cluster, epoch), floor);
        let mut earlier = self.floors.range((cluster, 0)..(cluster, epoch));
        if let Some((_, before)) = earlier.next_back().filter(|(_, before)| **before > floor) {
            return Err(format!(
                "epoch {epoch} lowers the floor from {before} to {floor}"
            ));
        }
        self.floor = self.floor.max(floor);
        if ring.members.len() > 1 {
            let members = ring.members.iter();
            for (node, _) in members.filter(|(_, m)| m.status != Status::Joining) {
                self.joined.entry(node.clone()).or_insert(floor);
            }
        }
        Ok(())
    }

    /// Looks at what every copy shows, when it is time: also one that is not swept yet shows nothing dead.
    pub fn shown(&mut self, nodes: &[SimNode], now_ms: u64) -> Result<(), String> {
        if now_ms < self.looked_ms + EVERY_MS {
            return Ok(());
        }
        self.looked_ms = now_ms;
        for node in nodes {
            let Some(running) = &node.running else {
                continue;
            };
            let view = running.engine.view();
            let floor = view.floors().of(0);
            for partition in view.ring().partitions.partitions() {
                let copy = CopyId {
                    service: ServiceId(1),
                    partition,
                };
                let shown = running.engine.host().shown(copy);
                for (_, entry) in shown.map_err(|e| e.to_string())? {
                    let version = Version::peek(&entry).map_err(|e| e.to_string())?;
                    if version.newest() <= floor {
                        let name = &node.name;
                        return Err(format!("{name} shows {version}, which is dead by {floor}"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Looks at what has ended since.
    pub fn step(&mut self, history: &History) -> Result<(), String> {
        let acknowledged = history.flushes.iter().filter(|f| f.acknowledged.is_some());
        let count = acknowledged.count();
        if count > self.flushes {
            self.flushes = count;
            // Also what was looked at before this one.
            self.puts = Looked::default();
        }
        for (number, put) in history.puts.iter().enumerate().skip(self.puts.open) {
            let Some((ended_ms, how)) = &put.end else {
                continue;
            };
            if !self.puts.is_new(number) {
                continue;
            }
            self.puts.note(number);
            if let Put::Acknowledged {
                stamp,
                fallback: false,
            } = how
            {
                put_keeps(history, &put.key, (put.began_ms, *ended_ms), *stamp)?;
            }
        }
        for (number, get) in history.gets.iter().enumerate().skip(self.gets.open) {
            let Some((_, got)) = &get.end else {
                continue;
            };
            if !self.gets.is_new(number) {
                continue;
            }
            self.gets.note(number);
            if let Got::Version(Some(read)) = got {
                get_keeps(history, &get.key, get.began_ms, *read)?;
            }
        }
        Ok(())
    }
}

fn flushes(history: &History) -> impl Iterator<Item = (u64, u64, u64)> + '_ {
    let flushes = history.flushes.iter();
    flushes.filter_map(|flush| {
        let (at, floor) = flush.acknowledged?;
        Some((flush.began_ms, at, floor))
    })
}

fn put_keeps(
    history: &History,
    key: &str,
    (began_ms, ended_ms): (u64, u64),
    stamp: Stamp,
) -> Result<(), String> {
    if brought_by(key).is_some() {
        return Ok(());
    }
    for (flush_began_ms, flushed_ms, floor) in flushes(history) {
        if ended_ms < flush_began_ms && stamp.time > floor {
            return Err(format!(
                "a put of {key} at {stamp} ended at {ended_ms} ms, before the flush that began at {flush_began_ms} ms, \
                 and outlives its floor {floor}"
            ));
        }
        if began_ms > flushed_ms && stamp.time <= floor {
            return Err(format!(
                "a put of {key} at {stamp} began at {began_ms} ms, after the flush that ended at {flushed_ms} ms, and is \
                 lost to its floor {floor}"
            ));
        }
    }
    Ok(())
}

fn get_keeps(history: &History, key: &str, began_ms: u64, read: Stamp) -> Result<(), String> {
    for (_, flushed_ms, floor) in flushes(history) {
        if began_ms > flushed_ms && read.time <= floor {
            return Err(format!(
                "a get of {key} begun at {began_ms} ms read {read}, which the flush that ended at {flushed_ms} ms killed"
            ));
        }
    }
    Ok(())
}

/// Who brought `key` along into the cluster that the others join.
fn brought_by(key: &str) -> Option<NodeName> {
    let (node, _) = key.split_once('-')?;
    (node != "n1").then(|| NodeName::from(node))
}

/// Once settled nothing dead is on any disk.
pub fn swept(nodes: &[SimNode]) -> Result<(), String> {
    for node in nodes.iter().filter(|node| !node.left) {
        let Some(running) = &node.running else {
            continue;
        };
        let floor = running.engine.view().floors().of(0);
        for version in versions(node).values() {
            if version.newest() <= floor {
                return Err(format!("{} keeps {version}, which is dead", node.name));
            }
        }
    }
    Ok(())
}
