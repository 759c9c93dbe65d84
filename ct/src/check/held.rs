//! Promise 3: each acknowledged write that is not superseded is in some copy, hint or undropped source, as long as
//! fewer than w of its holders lost their disks; and once settled, in all of them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rkv_quorum::Version;
use rkv_quorum::clock::Stamp;
use rkv_ring::{NodeName, Slot};
use rkv_storage::{Space, StoreKey};
use rkv_vnode::Phase;
use rkv_vnode::hint::Hint;
use rkv_wire::message::{CopyId, CopyState, ServiceId};

use crate::check::flushed::Flushed;
use crate::check::reaped::Reaped;
use crate::history::History;
use crate::sim::disk::Crash;
use crate::sim::node::SimNode;

/// How often all disks are read: it costs.
const EVERY_MS: u64 = 200;
/// What was written so shortly before a power cut may not be synced: the interval, and a disk's delay.
const UNSYNCED_MS: u64 = 150;
/// A disk that forgot everything is refilled, and what hints it held are made up for among the owners, within this; or later,
/// where what it held lies on one other disk alone still.
const REFILLED_MS: u64 = 6_000;

/// Looks for acknowledged writes on all disks.
#[derive(Default)]
pub struct Held {
    looked_ms: u64,
    now_ms: u64,
    /// The last power cut of each machine.
    cut: BTreeMap<NodeName, u64>,
    /// Disks that forgot everything and may not be refilled yet, and since when.
    forgot: BTreeMap<NodeName, u64>,
    excused: bool,
    excused_keys: BTreeSet<String>,
}

impl Held {
    /// A node crashed; only what loses writes matters here. More than the promises speak of is excused: for the whole
    /// life when w replicas were lost at once, for a key when the only node that ever had it lost it.
    pub fn crashed(&mut self, nodes: &[SimNode], at: usize, how: Crash, history: &History) {
        let node = &nodes[at];
        let (name, now_ms) = (node.name.clone(), self.now_ms);
        let forgetful = node.disk.is_forgetful() || how == Crash::Wiped;
        if forgetful {
            self.forgot.remove(&name);
            self.excused |= !self.forgot.is_empty() || is_quorum_alone(node);
            self.forgot.insert(name.clone(), now_ms);
        } else if how == Crash::PowerCut {
            self.cut.retain(|_, at| *at + 2 * UNSYNCED_MS > now_ms);
            self.cut.remove(&name);
            self.excused |= !self.cut.is_empty() || is_quorum_alone(node);
            self.cut.insert(name.clone(), now_ms);
        } else {
            return;
        }
        let own = format!("{name}-");
        for put in history.puts.iter().filter(|put| put.key.starts_with(&own)) {
            let unsynced = put
                .end
                .as_ref()
                .is_some_and(|(at, _)| at + UNSYNCED_MS > now_ms);
            let key = store_key(&put.key);
            // One replica acknowledged it. Who is about to drop a copy may have seen already that who lost it held it.
            let keeps =
                |other: &SimNode| other.disk.entry(&key).is_some() && !is_leaving(other, &key);
            let elsewhere = nodes.iter().any(keeps);
            if (forgetful || unsynced) && !elsewhere {
                self.excused_keys.insert(put.key.clone());
            }
        }
    }

    /// A node ends that was removed by force so long ago that nobody takes anything from it: what it alone acknowledged before
    /// it joined was given up by whoever removed it.
    pub fn given_up(&mut self, nodes: &[SimNode], at: usize, history: &History) {
        let node = &nodes[at];
        let own = format!("{}-", node.name);
        for put in history.puts.iter().filter(|put| put.key.starts_with(&own)) {
            let key = store_key(&put.key);
            let holds = |(other, sim): (usize, &SimNode)| {
                other != at && !sim.left && sim.disk.entry(&key).is_some()
            };
            if !nodes.iter().enumerate().any(holds) {
                self.excused_keys.insert(put.key.clone());
            }
        }
    }

    /// Whether more disks were lost at once than the promises speak of.
    pub fn is_excused(&self) -> bool {
        self.excused
    }

    /// Whether all disks are looked at in the step of `now_ms`.
    pub fn is_due(&self, now_ms: u64) -> bool {
        now_ms >= self.looked_ms + EVERY_MS
    }

    /// Whether every disk that forgot is refilled, so that one may forget again.
    pub fn is_whole(&self) -> bool {
        self.forgot.is_empty()
    }

    /// Whether the only node that ever had `key` lost it.
    pub fn excuses(&self, key: &str) -> bool {
        self.excused_keys.contains(key)
    }

    /// The newest version of each key that was acknowledged and may not be lost.
    pub fn newest<'h>(&self, history: &'h History, flushed: &Flushed) -> BTreeMap<&'h str, Stamp> {
        let mut newest = history.newest_acknowledged();
        newest.retain(|key, stamp| !self.excuses(key) && !flushed.may_be_dead(key, *stamp));
        newest
    }

    /// The same without what was deleted and let go of.
    pub fn newest_kept<'h>(
        &self,
        history: &'h History,
        (flushed, reaped): (&Flushed, &Reaped),
    ) -> BTreeMap<&'h str, Stamp> {
        let mut newest = self.newest(history, flushed);
        newest.retain(|key, stamp| !reaped.may_be_gone(key, *stamp));
        newest
    }

    /// A disk that forgot counts again when none of its copies catches up any more, and nothing is left that it and one other held.
    fn note_refilled(&mut self, nodes: &[SimNode], lies_on_one: bool) {
        if lies_on_one {
            return;
        }
        let now_ms = self.now_ms;
        let is_refilled = |name: &NodeName| {
            let node = nodes.iter().find(|node| node.name == *name);
            let running = node.and_then(|node| node.running.as_ref());
            // A folder that was lost is refilled only when its node is a member again.
            let member = running.filter(|it| it.engine.view().ring().members.len() > 1);
            let report = member.map(|running| running.engine.host().report());
            report.is_some_and(|report| {
                let mut copies = report.copies.iter();
                copies.all(|copy| copy.state != CopyState::CatchingUp)
            })
        };
        self.forgot
            .retain(|name, since| *since + REFILLED_MS > now_ms || !is_refilled(name));
    }

    /// Looks, when it is time.
    pub fn step(
        &mut self,
        nodes: &[SimNode],
        now_ms: u64,
        history: &History,
        gone: (&Flushed, &Reaped),
    ) -> Result<(), String> {
        self.now_ms = now_ms;
        if self.excused || !self.is_due(now_ms) {
            return Ok(());
        }
        self.looked_ms = now_ms;
        let newest = self.newest_kept(history, gone);
        let mut found: BTreeMap<Bytes, BTreeMap<&NodeName, Stamp>> = BTreeMap::new();
        for node in nodes.iter().filter(|node| !node.left) {
            for (key, entry) in node.disk.entries() {
                let (key, entry) = match StoreKey::space_of(&key) {
                    Some(Space::Data) => (key, Some(entry)),
                    Some(Space::Hint) => (
                        StoreKey::respace(&key, Space::Data),
                        Hint::decode(entry).and_then(|hint| hint.entry),
                    ),
                    _ => continue,
                };
                let version = entry.and_then(|entry| Version::peek(&entry).ok());
                if let Some(stamp) = version.and_then(|version| version.stamp()) {
                    let here = found.entry(key).or_default();
                    let best = here.entry(&node.name).or_insert(stamp);
                    *best = (*best).max(stamp);
                }
            }
        }
        let mut lies_on_one = false;
        for (key, stamp) in newest {
            let held = found.get(&store_key(key)).into_iter().flatten();
            let mut holders = held.filter(|(_, held)| **held >= stamp);
            match (holders.next(), holders.next()) {
                (None, _) => {
                    return Err(format!(
                        "{key} at {stamp} was acknowledged and is on no disk"
                    ));
                }
                // What a node acknowledged alone, and still has alone, is looked at when it crashes.
                (Some((only, _)), None) => lies_on_one |= !key.starts_with(&format!("{only}-")),
                _ => {}
            }
        }
        self.note_refilled(nodes, lies_on_one);
        Ok(())
    }
}

/// Whether its copy of the key's partition is one that it is about to drop.
fn is_leaving(node: &SimNode, key: &[u8]) -> bool {
    let (Some(running), [_, _, high, low, ..]) = (&node.running, key) else {
        return false;
    };
    let slot = Slot(u16::from_be_bytes([*high, *low]));
    let copy = CopyId {
        service: ServiceId(1),
        partition: running.engine.view().ring().partition_of(slot),
    };
    let is_draining = |phase: &Phase| matches!(phase, Phase::Draining { .. });
    let host = running.engine.host();
    host.inspect(copy, |phase, _| is_draining(phase)) == Some(true)
}

/// Whether the node stands in w places of a row: then its loss is that of w replicas.
fn is_quorum_alone(node: &SimNode) -> bool {
    let stored = node.ring_file.lock();
    let mut rows = stored.iter().flat_map(|stored| &stored.ring.rows);
    rows.any(|row| row.iter().filter(|owner| **owner == node.name).count() > row.len() / 2)
}

/// Once settled: every owner holds the newest acknowledged version of every key.
pub fn everywhere(nodes: &[SimNode], newest: &BTreeMap<&str, Stamp>) -> Result<(), String> {
    let Some(running) = nodes[0].running.as_ref() else {
        return Ok(());
    };
    let ring = running.engine.view().ring().clone();
    for (key, stamp) in newest {
        let partition = ring.partition_of(Slot::of(key.as_bytes()));
        for owner in ring.row(partition) {
            let node = nodes.iter().find(|node| node.name == *owner);
            let entry = node.and_then(|node| node.disk.entry(&store_key(key)));
            let held = entry.and_then(|entry| Version::peek(&entry).ok()?.stamp());
            if held < Some(*stamp) {
                return Err(format!(
                    "{owner} settled with {key} at {held:?}, acknowledged at {stamp}"
                ));
            }
        }
    }
    Ok(())
}

/// Where a key of the default keyspace lies.
pub fn store_key(key: &str) -> Bytes {
    let slot = Slot::of(key.as_bytes());
    StoreKey::entry(Space::Data, 1, slot.0, 0, key.as_bytes())
}
