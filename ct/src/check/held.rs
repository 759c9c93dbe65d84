//! Promise 3: each acknowledged write that is not superseded is in some copy, hint or undropped source, as long as
//! fewer than w of its holders lost their disks; and once settled, in all of them.

use std::collections::BTreeMap;

use bytes::Bytes;
use rkv_quorum::Version;
use rkv_quorum::clock::Stamp;
use rkv_ring::Slot;
use rkv_storage::{Space, StoreKey};
use rkv_vnode::hint::Hint;

use crate::history::History;
use crate::sim::disk::Crash;
use crate::sim::node::SimNode;

/// How often all disks are read: it costs.
const EVERY_MS: u64 = 200;
/// What survives a power cut is promised for one machine at a time: crashes closer together than this are one.
const APART_MS: u64 = 6_000;

/// Looks for acknowledged writes on all disks.
#[derive(Default)]
pub struct Held {
    looked_ms: u64,
    lossy: Vec<(u64, String)>,
    now_ms: u64,
    excused: bool,
}

impl Held {
    /// A node crashed; only what loses writes matters here.
    pub fn crashed(&mut self, node: &SimNode, how: Crash) {
        if how == Crash::PowerCut || node.disk.is_forgetful() {
            let now_ms = self.now_ms;
            let recent = |(at, name): &(u64, String)| {
                at + APART_MS > now_ms && *name != node.name.to_string()
            };
            self.excused |= self.lossy.iter().any(recent) || is_quorum_alone(node);
            self.lossy.push((now_ms, node.name.to_string()));
        }
    }

    /// Whether more disks were lost at once than the promises speak of.
    pub fn is_excused(&self) -> bool {
        self.excused
    }

    /// Looks, when it is time.
    pub fn step(
        &mut self,
        nodes: &[SimNode],
        now_ms: u64,
        history: &History,
    ) -> Result<(), String> {
        self.now_ms = now_ms;
        if self.excused || now_ms < self.looked_ms + EVERY_MS {
            return Ok(());
        }
        self.looked_ms = now_ms;
        let newest = history.newest_acknowledged();
        if newest.is_empty() {
            return Ok(());
        }
        let mut found: BTreeMap<Bytes, Stamp> = BTreeMap::new();
        for node in nodes {
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
                    let best = found.entry(key).or_insert(stamp);
                    *best = (*best).max(stamp);
                }
            }
        }
        for (key, stamp) in newest {
            if found.get(&store_key(key)).is_none_or(|held| *held < stamp) {
                return Err(format!("{key} at {stamp} was acknowledged and is on no disk"));
            }
        }
        Ok(())
    }
}

/// Whether the node stands in w places of a row: then its loss is that of w replicas.
fn is_quorum_alone(node: &SimNode) -> bool {
    let stored = node.ring_file.lock();
    let mut rows = stored.iter().flat_map(|stored| &stored.ring.rows);
    rows.any(|row| row.iter().filter(|owner| **owner == node.name).count() > row.len() / 2)
}

/// Once settled: every owner holds the newest acknowledged version of every key.
pub fn everywhere(nodes: &[SimNode], history: &History) -> Result<(), String> {
    let Some(running) = nodes[0].running.as_ref() else {
        return Ok(());
    };
    let ring = running.engine.view().ring().clone();
    for (key, stamp) in history.newest_acknowledged() {
        let partition = ring.partition_of(Slot::of(key.as_bytes()));
        for owner in ring.row(partition) {
            let node = nodes.iter().find(|node| node.name == *owner);
            let entry = node.and_then(|node| node.disk.entry(&store_key(key)));
            let held = entry.and_then(|entry| Version::peek(&entry).ok()?.stamp());
            if held < Some(stamp) {
                return Err(format!("{owner} settled with {key} at {held:?}, acknowledged at {stamp}"));
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
