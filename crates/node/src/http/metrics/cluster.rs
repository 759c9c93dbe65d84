//! This file answers: which figures tell how the cluster looks from this node, and what moves in it?

use std::collections::{BTreeMap, BTreeSet};

use rkv_kv::Engine;
use rkv_kv::replica::KV;
use rkv_quorum::policy::majority;
use rkv_ring::{Partition, Status};
use rkv_vnode::View;
use rkv_wire::message::{CopyState, Report, TransferKind};

use super::text::{Kind, Text};

const STATES: [Status; 5] = [
    Status::Joining,
    Status::Valid,
    Status::Leaving,
    Status::Exiting,
    Status::Down,
];

/// The ring, its members, and how well its partitions are served.
pub(super) fn write(view: &View, report: &Report, text: &mut Text) {
    let ring = view.ring();
    let id = view.id();
    let gauges = [
        ("rkv_ring_epoch", "Number of the ring in use.", id.epoch.0),
        (
            "rkv_ring_lineage",
            "Lineage of the ring in use: how often a majority was given up.",
            id.lineage,
        ),
        (
            "rkv_ring_partitions",
            "Partitions of the ring.",
            u64::from(ring.partitions.get()),
        ),
        (
            "rkv_ring_replicas",
            "Replicas of each partition.",
            u64::from(ring.replicas),
        ),
        (
            "rkv_ring_moves",
            "Copies that the ring still has to move.",
            ring.moves.len() as u64,
        ),
    ];
    for (name, help, value) in gauges {
        text.one(name, Kind::Gauge, help, value as f64);
    }
    write_members(view, text);
    text.family(
        "rkv_partitions",
        Kind::Gauge,
        "Partitions by health, as far as this node knows by itself: who is up, its own copies and hints.",
    );
    for (health, count) in ["ok", "degraded", "no_quorum"]
        .iter()
        .zip(health(view, report))
    {
        text.sample(&[("health", health)], count as f64);
    }
}

fn write_members(view: &View, text: &mut Text) {
    let ring = view.ring();
    text.family(
        "rkv_ring_ownership_ratio",
        Kind::Gauge,
        "Share of the partitions whose first replica is the node.",
    );
    let mut first: BTreeMap<&str, usize> =
        ring.members.keys().map(|node| (node.as_str(), 0)).collect();
    for node in ring.rows.iter().filter_map(|row| row.first()) {
        *first.entry(node.as_str()).or_default() += 1;
    }
    for (node, count) in first {
        let share = count as f64 / f64::from(ring.partitions.get());
        text.sample(&[("node", node)], share);
    }
    text.family("rkv_members", Kind::Gauge, "Members by state.");
    for state in STATES {
        let members = ring.members.values();
        let count = members.filter(|member| member.status == state).count();
        text.sample(&[("state", &state.to_string())], count as f64);
    }
    text.family(
        "rkv_member_up",
        Kind::Gauge,
        "Whether this node takes the member to be up.",
    );
    for node in ring.members.keys() {
        let up = f64::from(u8::from(view.is_up(node)));
        text.sample(&[("node", node.as_str())], up);
    }
}

/// How many partitions are whole, have a majority, have none.
fn health(view: &View, report: &Report) -> [usize; 3] {
    let serves = |state| {
        use CopyState::*;
        matches!(state, Serving | Sending | Forwarding)
    };
    let copies = report.copies.iter();
    let own: BTreeSet<Partition> = copies
        .filter(|copy| copy.copy.service == KV && serves(copy.state))
        .map(|copy| copy.copy.partition)
        .collect();
    let hints = report.hints.iter().filter(|hint| hint.keys > 0);
    let hinted: BTreeSet<Partition> = hints.map(|hint| hint.copy.partition).collect();
    let mut counts = [0; 3];
    let ring = view.ring();
    for partition in ring.partitions.partitions() {
        let row = ring.row(partition);
        let served = row.iter().filter(|node| match *node == view.me() {
            true => own.contains(&partition),
            false => view.is_up(node),
        });
        let served = served.count();
        let at = if served == row.len() && !hinted.contains(&partition) {
            0
        } else if served >= usize::from(majority(ring.replicas)) {
            1
        } else {
            2
        };
        counts[at] += 1;
    }
    counts
}

/// Hints, transfers and what is turned away.
pub(super) fn write_transfers(engine: &Engine, report: &Report, text: &mut Text) {
    let figures = engine.host().figures();
    let hints: u64 = report.hints.iter().map(|hint| hint.keys).sum();
    text.one(
        "rkv_hints_pending",
        Kind::Gauge,
        "Keys for which this node holds a hint.",
        hints as f64,
    );
    text.one(
        "rkv_hints_drained_total",
        Kind::Counter,
        "Hints that were delivered to all owners that were there.",
        figures.hints_drained as f64,
    );
    text.one(
        "rkv_tombstones",
        Kind::Gauge,
        "Entries of this node that are but traces of what was deleted or has ended.",
        report.traces as f64,
    );
    text.one(
        "rkv_tombstones_reaped_total",
        Kind::Counter,
        "Such traces that were let go of.",
        figures.reaped as f64,
    );
    text.family(
        "rkv_handoff_active",
        Kind::Gauge,
        "Transfers of this node in which data flows, by kind.",
    );
    let kinds = [
        (TransferKind::Ownership, "ownership"),
        (TransferKind::Hinted, "hinted"),
        (TransferKind::Repair, "repair"),
        (TransferKind::Resize, "resize"),
    ];
    for (kind, word) in kinds {
        let transfers = report.transfers.iter();
        let active = transfers.filter(|transfer| transfer.kind == kind && transfer.active);
        text.sample(&[("kind", word)], active.count() as f64);
    }
    text.family(
        "rkv_handoff_bytes_total",
        Kind::Counter,
        "Bytes of transfers by kind; hints and repairs are alike where they arrive: fill.",
    );
    for (kind, direction, bytes) in [
        ("ownership", "out", figures.ownership_out),
        ("hinted", "out", figures.hinted_out),
        ("repair", "out", figures.repair_out),
        ("ownership", "in", figures.ownership_in),
        ("fill", "in", figures.fill_in),
        ("repair", "in", figures.compare_in),
    ] {
        text.sample(&[("kind", kind), ("direction", direction)], bytes as f64);
    }
    text.one(
        "rkv_anti_entropy_repairs_total",
        Kind::Counter,
        "Entries of this node's copies that comparisons with their peers mended.",
        engine.host().repairs() as f64,
    );
    text.one(
        "rkv_overload_rejections_total",
        Kind::Counter,
        "Commands that were turned away because a vnode's mailbox was full.",
        figures.busy as f64,
    );
    text.one(
        "rkv_vnode_mailbox_depth",
        Kind::Gauge,
        "Events that wait in all mailboxes together.",
        figures.mailboxes as f64,
    );
    text.one(
        "rkv_vnode_mailbox_depth_max",
        Kind::Gauge,
        "Events that wait in the fullest mailbox.",
        figures.fullest_mailbox as f64,
    );
}

#[cfg(test)]
mod tests {
    use rkv_wire::message::HintReport;

    use super::super::super::survey::fixture;
    use super::*;

    /// Lost without it: nobody is woken when a partition has lost its quorum.
    #[test]
    fn partitions_are_told_by_health() {
        let counted = |down: &[&str]| {
            let survey = fixture::survey(fixture::cluster(3), down);
            let own = survey.reports[&"node1".into()].clone();
            (survey.view, own)
        };
        let (view, own) = counted(&[]);
        assert_eq!(health(&view, &own), [16, 0, 0]);
        let (view, own) = counted(&["node2"]);
        assert_eq!(health(&view, &own), [0, 16, 0]);
        let (view, own) = counted(&["node2", "node3"]);
        assert_eq!(health(&view, &own), [0, 0, 16]);
        let (view, mut own) = counted(&[]);
        own.copies[4].state = CopyState::CatchingUp;
        own.hints.push(HintReport {
            copy: fixture::copy(9),
            keys: 1,
            waiting_for: Vec::new(),
        });
        assert_eq!(health(&view, &own), [14, 2, 0]);
    }
}
