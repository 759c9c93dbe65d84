//! Promise 10: after the last fault, within a bound: equal copies across each row, no hints, moves, leftovers or copies
//! that catch up.

use std::collections::BTreeMap;

use bytes::Bytes;
use rkv_ring::Status;
use rkv_storage::{Space, StoreKey};
use rkv_wire::message::CopyState;

use crate::check::versions;
use crate::sim::node::SimNode;

/// Whether everything has come to rest.
pub fn settled(nodes: &[SimNode]) -> Result<(), String> {
    let mut ring = None;
    // The others may all have left it.
    let alone = nodes.iter().filter(|node| !node.left).count() == 1;
    for node in nodes.iter().filter(|node| !node.left) {
        let running = node
            .running
            .as_ref()
            .ok_or_else(|| format!("{} does not run", node.name))?;
        let view = running.engine.view();
        if (view.ring().members.len() < 2 && !alone)
            || !view.ring().members.contains_key(&node.name)
        {
            return Err(format!("{} is in no cluster with others", node.name));
        }
        if !view.ring().moves.is_empty() || !view.ring().next.is_empty() {
            return Err(format!("{} knows of moves", node.name));
        }
        let mut members = view.ring().members.values();
        if members.any(|member| member.status == Status::Exiting) {
            return Err(format!(
                "{} knows of a member that has not gone yet",
                node.name
            ));
        }
        match &ring {
            None => ring = Some(view.ring().clone()),
            Some(ring) if ring.id() != view.id() => {
                return Err(format!("{} routes by another ring", node.name));
            }
            Some(_) => {}
        }
        let report = running.engine.host().report();
        if let Some(copy) = report
            .copies
            .iter()
            .find(|copy| copy.state != CopyState::Serving)
        {
            let (partition, state) = (copy.copy.partition, copy.state);
            return Err(format!("{}: partition {partition} is {state:?}", node.name));
        }
        if !report.hints.is_empty() {
            return Err(format!("{} holds hints", node.name));
        }
        if running.engine.in_flight() > 0 {
            return Err(format!("{} has requests under way", node.name));
        }
    }
    let Some(ring) = ring else {
        return Ok(());
    };
    for partition in ring.partitions.partitions() {
        let (start, end) = StoreKey::range(Space::Data, 1, ring.partitions.slots(partition));
        let mut first: Option<(String, BTreeMap<Bytes, u64>)> = None;
        for node in nodes.iter().filter(|node| !node.left) {
            let mut held: BTreeMap<Bytes, u64> = versions(node)
                .into_iter()
                .map(|(key, version)| (key, version.digest()))
                .collect();
            held.retain(|key, _| *key >= start && *key < end);
            if !ring.owns(&node.name, partition) {
                if !held.is_empty() {
                    return Err(format!("{} keeps partition {partition}", node.name));
                }
                continue;
            }
            match &first {
                None => first = Some((node.name.to_string(), held)),
                Some((_, other)) if *other == held => {}
                Some((name, _)) => {
                    return Err(format!(
                        "{} and {name} differ in partition {partition}",
                        node.name
                    ));
                }
            }
        }
    }
    Ok(())
}
