//! Promise 8: when a trace of something deleted is dropped, nothing that may still come back holds an older version of its
//! key: no copy, no hint, on whichever disk.

use std::collections::BTreeMap;

use bytes::Bytes;
use rkv_quorum::Version;
use rkv_quorum::clock::Stamp;
use rkv_quorum::object::Kind;
use rkv_ring::{NodeName, Partition};
use rkv_storage::{Space, StoreKey};
use rkv_vnode::Phase;
use rkv_vnode::hint::Hint;
use rkv_wire::message::{CopyId, ServiceId};

use crate::check::held::store_key;
use crate::sim::node::SimNode;

/// The traces on a disk, each with its partition.
type Traces = BTreeMap<Bytes, (Partition, Version)>;

/// Remembers what each node held a trace of.
#[derive(Default)]
pub struct Reaped {
    gets_ended: u64,
    /// By node: its boot, and what was on its disk.
    traces: BTreeMap<NodeName, (u64, Traces)>,
    /// The highest stamp dropped of each key.
    dropped: BTreeMap<Bytes, Stamp>,
    count: u64,
}

impl Reaped {
    /// Looks for traces that are gone, when it is time, or when a get has ended since.
    pub fn step(
        &mut self,
        nodes: &[SimNode],
        (is_due, gets_ended): (bool, u64),
        floor: u64,
    ) -> Result<(), String> {
        // What a get did not find may have been let go of just before.
        let has_read = std::mem::replace(&mut self.gets_ended, gets_ended) != gets_ended;
        if !has_read && !is_due {
            return Ok(());
        }
        for node in nodes {
            let now = traces(node);
            let before = self
                .traces
                .insert(node.name.clone(), (node.boot, now.clone()));
            let Some((boot, before)) = before.filter(|(boot, _)| *boot == node.boot) else {
                continue;
            };
            debug_assert_eq!(boot, node.boot);
            for (key, (partition, version)) in before {
                let is_gone = !now.contains_key(&key) && node.disk.entry(&key).is_none();
                // What a flush killed is swept.
                let is_flushed = version.newest() <= floor;
                if is_gone && !is_flushed && serves(node, partition) {
                    self.is_safe(nodes, node, (&key, &version), floor)?;
                    self.count += 1;
                    let dropped = self.dropped.entry(key).or_default();
                    *dropped = (*dropped).max(version.stamp().unwrap_or_default());
                }
            }
        }
        Ok(())
    }

    /// Whether a trace of `key` at `stamp` may be gone.
    pub fn may_be_gone(&self, key: &str, stamp: Stamp) -> bool {
        let dropped = self.dropped.get(&store_key(key));
        dropped.is_some_and(|dropped| stamp <= *dropped)
    }

    /// Whether a node shows nothing of `key` any more while a trace at `stamp` or above is on its disk still: the dropping of it
    /// is on its way there.
    pub fn is_going(&self, nodes: &[SimNode], key: &str, stamp: Stamp) -> bool {
        let key = store_key(key);
        nodes.iter().any(|node| {
            let of_key = traces(node).remove(&key);
            let Some((partition, version)) = of_key else {
                return false;
            };
            let is_held = serves(node, partition) && version.stamp() >= Some(stamp);
            is_held && !shows(node, partition, &key)
        })
    }

    /// How many traces were dropped.
    pub fn count(&self) -> u64 {
        self.count
    }

    fn is_safe(
        &self,
        nodes: &[SimNode],
        by: &SimNode,
        (key, dropped): (&Bytes, &Version),
        floor: u64,
    ) -> Result<(), String> {
        let hint_key = StoreKey::respace(key, Space::Hint);
        let may_bring_back = |node: &&SimNode| !node.left && !is_removed(by, node);
        for node in nodes.iter().filter(may_bring_back) {
            let hint = node.disk.entry(&hint_key).and_then(Hint::decode);
            let held = [node.disk.entry(key), hint.and_then(|hint| hint.entry)];
            for entry in held.into_iter().flatten() {
                let older = Version::peek(&entry).ok();
                let older = older.filter(|older| older.newest() > floor);
                let older = older.filter(|older| older.stamp() < dropped.stamp());
                if let Some(older) = older.filter(|older| older.kind() == Some(Kind::Value)) {
                    return Err(format!(
                        "{} let go of a trace at {:?} while {} holds a value of that key at {:?}",
                        by.name,
                        dropped.stamp(),
                        node.name,
                        older.stamp()
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Whether `node` was removed by force by the ring of `by`: that waits for the grace of who was, and then nobody takes
/// anything from that one.
fn is_removed(by: &SimNode, node: &SimNode) -> bool {
    let Some(running) = &by.running else {
        return false;
    };
    let view = running.engine.view();
    let (ring, name) = (view.ring(), &node.name);
    !ring.members.contains_key(name) && ring.removed.iter().any(|it| it.node == *name)
}

/// Traces on a disk.
fn traces(node: &SimNode) -> Traces {
    let Some(running) = &node.running else {
        return BTreeMap::new();
    };
    let partitions = running.engine.view().ring().partitions;
    let entries = node.disk.entries().into_iter();
    let data = entries.filter(|(key, _)| StoreKey::space_of(key) == Some(Space::Data));
    data.filter_map(|(key, entry)| {
        let version = Version::peek(&entry).ok()?;
        let is_trace = matches!(version.kind(), Some(Kind::Tombstone | Kind::Stub { .. }));
        let slot = u16::from_be_bytes([*key.get(2)?, *key.get(3)?]);
        let partition = partitions.partition_of(rkv_ring::Slot(slot));
        is_trace.then_some((key, (partition, version)))
    })
    .collect()
}

/// Whether the node's copy shows an entry under `key`.
fn shows(node: &SimNode, partition: Partition, key: &Bytes) -> bool {
    let copy = CopyId {
        service: ServiceId(1),
        partition,
    };
    let running = node.running.as_ref();
    let shown = running.and_then(|running| running.engine.host().shown(copy).ok());
    shown.is_some_and(|entries| entries.iter().any(|(of, _)| of == key))
}

/// Whether the node's copy is an owner's that answers: then nothing but reaping drops what it holds.
fn serves(node: &SimNode, partition: Partition) -> bool {
    let Some(running) = &node.running else {
        return false;
    };
    let copy = CopyId {
        service: ServiceId(1),
        partition,
    };
    let phase = running
        .engine
        .host()
        .inspect(copy, |phase, _| phase.clone());
    phase == Some(Phase::Serving)
}
