//! Promise 4: whenever a copy that left the row is dropped, the synced state of an owner covers it, entry by entry.

use std::collections::BTreeMap;

use rkv_quorum::Version;
use rkv_ring::Partition;
use rkv_storage::{Space, StoreKey};
use rkv_vnode::Phase;
use rkv_wire::message::{CopyId, ServiceId};

use crate::sim::node::SimNode;

/// Remembers which copies were more than a beginning.
#[derive(Default)]
pub struct Cover {
    whole: BTreeMap<(usize, Partition), bool>,
}

impl Cover {
    /// A step was taken. A copy that received is no concern of this promise: its source still has everything.
    pub fn step(&mut self, nodes: &[SimNode], floor: u64) -> Result<(), String> {
        for (at, node) in nodes.iter().enumerate() {
            let Some(running) = &node.running else {
                self.whole.retain(|(of, _), _| *of != at);
                continue;
            };
            let view = running.engine.view();
            for partition in view.ring().partitions.partitions() {
                let copy = CopyId {
                    service: ServiceId(1),
                    partition,
                };
                let look = |phase: &Phase, _: &_| {
                    let receiving = matches!(phase, Phase::Receiving { .. });
                    (receiving, *phase == Phase::Absent)
                };
                let Some((receiving, absent)) = running.engine.host().inspect(copy, look) else {
                    continue;
                };
                let was = self.whole.insert((at, partition), !receiving && !absent);
                if was == Some(true) && absent && !node.disk.is_forgetful() {
                    covered(nodes, node, partition, floor)?;
                }
            }
        }
        Ok(())
    }
}

/// The drop has been wished for and waits for the disk: what it will take is still to be seen there, and must be synced
/// elsewhere, but for what lies below the highest floor: an owner may have let that go already.
fn covered(
    nodes: &[SimNode],
    node: &SimNode,
    partition: Partition,
    floor: u64,
) -> Result<(), String> {
    let Some(running) = &node.running else {
        return Ok(());
    };
    let view = running.engine.view();
    let slots = view.ring().partitions.slots(partition);
    let (start, end) = StoreKey::range(Space::Data, 1, slots);
    let row = view.ring().row(partition);
    let owners: Vec<&SimNode> = nodes.iter().filter(|n| row.contains(&n.name)).collect();
    for (key, entry) in node.disk.entries().range(start..end) {
        let Some(version) = Version::peek(entry).ok().and_then(|held| held.above(floor)) else {
            continue;
        };
        let covers = |owner: &&SimNode| {
            let held = owner.disk.synced_entry(key);
            held.is_some_and(|held| Version::peek(&held).is_ok_and(|held| held.covers(&version)))
        };
        if !owners.iter().any(covers) {
            return Err(format!(
                "{} drops partition {partition}, and no owner has {version} synced",
                node.name
            ));
        }
    }
    Ok(())
}
