//! This file answers: how do documents look to a person?
//!
//! The layout is that of Riak's console, 79 columns, since the tutorial and its readers know it.

use std::collections::BTreeMap;
use std::fmt::Write;

use rkv_ring::handoff::PAUSED;

use super::documents::{
    CanStop, Change, ClusterStatus, HandoffSetting, KeyPlace, Member, Plan, PlannedTransfer,
    Replica, RingTable, Status, Transfer,
};

/// Columns of every block.
const WIDTH: usize = 79;

/// Partitions in a line of the ring.
const RING_LINE: usize = 32;

/// Letters that stand for nodes in the ring, in order; who comes after them is `?`.
const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// A block's first line.
pub(crate) fn title(text: &str) -> String {
    format!("{:=^WIDTH$}\n", format!(" {text} "))
}

pub(crate) fn rule() -> String {
    format!("{}\n", "-".repeat(WIDTH))
}

/// Halves up, as Riak's console does: 31.25 is 31.3.
fn percent(share: f64) -> f64 {
    (share * 10.0).round() / 10.0
}

/// The block `Membership`.
pub(crate) fn membership(members: &[Member]) -> String {
    let mut text = title("Membership") + "Status     Ring    Pending    Node\n" + &rule();
    let mut sorted: Vec<&Member> = members.iter().collect();
    sorted.sort_by(|a, b| (&a.status, &a.name).cmp(&(&b.status, &b.name)));
    for member in &sorted {
        let pending = match member.pending_percent {
            Some(share) => format!("{:5.1}%", percent(share)),
            None => "  --  ".to_owned(),
        };
        let zone = member
            .zone
            .as_ref()
            .map(|zone| format!(" ({zone})"))
            .unwrap_or_default();
        let away = if member.reachable {
            ""
        } else {
            " (unreachable)"
        };
        let (status, ring, name) = (&member.status, percent(member.ring_percent), &member.name);
        let _ = writeln!(
            text,
            "{status:<8}  {ring:5.1}%    {pending}    {name}{zone}{away}"
        );
    }
    text += &rule();
    let counts = ["valid", "leaving", "exiting", "joining", "down"].map(|status| {
        let count = sorted
            .iter()
            .filter(|member| member.status == status)
            .count();
        format!("{}{}:{count}", status[..1].to_uppercase(), &status[1..])
    });
    text + &counts.join(" / ") + "\n"
}

/// The blocks `Nodes` and `Ring`: the legend, and the owner of each partition's first replica.
pub(crate) fn ring(ring: &RingTable) -> String {
    let firsts: Vec<&str> = ring
        .owners
        .iter()
        .filter_map(|row| row.first().map(String::as_str))
        .collect();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &ring.owners {
        for node in row {
            counts.entry(node).or_default();
        }
    }
    for first in &firsts {
        *counts.entry(first).or_default() += 1;
    }
    let letter = |node: &str| {
        let place = counts
            .keys()
            .position(|name| *name == node)
            .unwrap_or(usize::MAX);
        LETTERS.chars().nth(place).unwrap_or('?')
    };
    let mut text = title("Nodes");
    for (node, count) in &counts {
        let share = percent(100.0 * *count as f64 / ring.owners.len().max(1) as f64);
        let _ = writeln!(text, "Node {}: {count} ({share:5.1}%) {node}", letter(node));
    }
    text += &title("Ring");
    for line in firsts.chunks(RING_LINE) {
        for group in line.chunks(4) {
            text.extend(group.iter().map(|node| letter(node)));
            text.push('|');
        }
        text.push('\n');
    }
    text
}

/// Where a key lies.
pub(crate) fn key_place(place: &KeyPlace) -> String {
    let mut text = format!(
        "key {:?} slot {} partition {}\n",
        place.key, place.slot, place.partition
    );
    let _ = writeln!(text, "{:<9}{:<10}Node", "Replica", "Role");
    for entry in &place.preflist {
        let _ = writeln!(text, "{:<9}{:<10}{}", entry.replica, entry.role, entry.node);
    }
    text
}

/// Who answered a request.
pub(crate) fn replicas(replicas: &[Replica]) -> String {
    let mut text = format!(
        "{:<20} {:>9}  {:>7}  {:<8}  Result\n",
        "Node", "Partition", "Replica", "Role"
    );
    for it in replicas {
        let _ = writeln!(
            text,
            "{:<20} {:>9}  {:>7}  {:<8}  {}",
            it.node, it.partition, it.replica, it.role, it.result
        );
    }
    text
}

/// What a commit would do.
pub(crate) fn plan(plan: &Plan) -> String {
    let Some(id) = &plan.plan else {
        return "There are no staged changes\n".to_owned();
    };
    let mut text = title("Staged Changes") + "Action         Details(s)\n" + &rule();
    for change in &plan.changes {
        let _ = writeln!(text, "{:<15}{}", change.action, details(change));
    }
    text += &rule();
    text += "\nNOTE: Applying these changes will result in 1 cluster transition\n\n";
    let hashes = "#".repeat(WIDTH);
    let _ = writeln!(
        text,
        "{hashes}\n{:25}After cluster transition 1/1\n{hashes}\n",
        ""
    );
    text += &membership(&plan.members);
    for warning in &plan.warnings {
        let _ = write!(text, "\nWARNING: {warning}\n");
    }
    if !plan.refills.is_empty() {
        let _ = write!(
            text,
            "\nPartitions reassigned from cluster changes: {}\n",
            plan.refills.len()
        );
        text += &refilled(&plan.refills);
    }
    let _ = write!(
        text,
        "\nTransfers resulting from cluster changes: {}\n",
        plan.transfers.len()
    );
    text += &planned(&plan.transfers);
    let _ = write!(
        text,
        "\nPlan {id}\nCommit it with: rkv cluster commit --plan {id}\n"
    );
    text
}

/// Whom a change is about, and what more there is to say.
fn details(change: &Change) -> String {
    let node = &change.node;
    match (&change.with, change.weight, change.action.as_str()) {
        (Some(with), ..) => format!("{node} with {with}"),
        (_, Some(weight), _) => format!("{node} to {weight}"),
        (.., "zone") => format!("{node} to {}", change.zone.as_deref().unwrap_or("none")),
        _ => node.clone(),
    }
}

/// Lost copies, summed by who had them and who fills them again.
fn refilled(refills: &[PlannedTransfer]) -> String {
    let mut sums: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for refill in refills {
        *sums.entry((&refill.from, &refill.to)).or_default() += 1;
    }
    let mut text = String::new();
    for ((from, to), count) in sums {
        let _ = writeln!(text, "  {count} reassigned from {from} to {to}");
    }
    text
}

/// Planned transfers, summed by source and target.
fn planned(transfers: &[PlannedTransfer]) -> String {
    let mut sums: BTreeMap<(&str, &str), (u64, u64, u64)> = BTreeMap::new();
    for transfer in transfers {
        let sum = sums.entry((&transfer.from, &transfer.to)).or_default();
        *sum = (sum.0 + 1, sum.1 + transfer.keys, sum.2 + transfer.bytes);
    }
    let mut text = String::new();
    for ((from, to), (count, keys, size)) in sums {
        let many = if count == 1 { "" } else { "s" };
        let _ = writeln!(
            text,
            "  {count} transfer{many} from {from} to {to}: {keys} keys, {}",
            bytes(size)
        );
    }
    text
}

/// The block `Transfers`: what waits and what runs.
pub(crate) fn transfers(transfers: &[Transfer]) -> String {
    let mut text = title("Transfers");
    if transfers.is_empty() {
        return text + "No transfers active\n";
    }
    let _ = writeln!(
        text,
        "{:<9} {:>5}  {:<24} {:<7} {:>17} {:>5} {:>6}",
        "Kind", "Part.", "From -> To", "State", "Keys", "Done", "Left"
    );
    text += &rule();
    for it in transfers {
        let route = format!("{} -> {}", it.from, it.to);
        let keys = format!("{}/{}", it.keys_done, it.keys_total);
        let done = match it.keys_total {
            0 => "--".to_owned(),
            total => format!("{}%", 100 * it.keys_done.min(total) / total),
        };
        let left = it
            .eta_s
            .map_or("--".to_owned(), |left| format!("{left:.0}s"));
        let (kind, partition, state) = (&it.kind, it.partition, &it.state);
        let _ = writeln!(
            text,
            "{kind:<9} {partition:>5}  {route:<24} {state:<7} {keys:>17} {done:>5} {left:>6}"
        );
        if it.state == "active" {
            let _ = writeln!(
                text,
                "{:17}{} of {}, {:.0} keys/s",
                "",
                bytes(it.bytes_done),
                bytes(it.bytes_total),
                it.keys_per_s
            );
        }
        if let Some(why) = &it.waiting_for {
            let _ = writeln!(text, "{:17}{}", "", waits(why));
        }
        if let Some(why) = &it.last_error {
            let _ = writeln!(text, "{:17}last error: {why}", "");
        }
    }
    let active = transfers.iter().filter(|it| it.state == "active").count();
    text += &rule();
    text + &format!("Active:{active} / Waiting:{}\n", transfers.len() - active)
}

/// What a transfer waits for, in words; one that is held waits for whoever holds it.
pub(crate) fn waits(why: &str) -> String {
    match why == PAUSED {
        true => why.to_owned(),
        false => format!("waits for {why}"),
    }
}

/// The block `Handoff`: what holds for transfers.
pub(crate) fn handoff(setting: &HandoffSetting) -> String {
    let state = if setting.paused { PAUSED } else { "running" };
    let whose = match setting.limit_is_set {
        true => "on each node (rkv cluster handoff limit)",
        false => "on this node (transfers.limit of its configuration)",
    };
    let rows = [
        ("Transfers", state.to_owned()),
        ("At once", format!("{} in, {0} out, {whose}", setting.limit)),
    ];
    let mut text = title("Handoff");
    for (name, value) in rows {
        let _ = writeln!(text, "{:<14}{value}", format!("{name}:"));
    }
    text
}

/// How far the cluster is from settled.
pub(crate) fn cluster_status(status: &ClusterStatus) -> String {
    let yes = |it| if it { "yes" } else { "no" };
    let unreachable = match status.unreachable.as_slice() {
        [] => "none".to_owned(),
        names => names.join(", "),
    };
    let digest: String = status.ring_digest.chars().take(16).collect();
    let mut text = title("Cluster Status");
    let rows = [
        ("Settled", yes(status.settled).to_owned()),
        ("Ring ready", yes(status.ring_ready).to_owned()),
        ("Epoch", format!("{} ({digest})", status.epoch)),
        (
            "Transfers",
            format!(
                "{} pending, {} active",
                status.transfers_pending, status.transfers_active
            ),
        ),
        ("Hints", status.hints.to_string()),
        ("Unreachable", unreachable),
    ];
    let held = status
        .handoff_paused
        .then(|| ("Handoff", PAUSED.to_owned()));
    for (name, value) in rows.into_iter().chain(held) {
        let _ = writeln!(text, "{:<14}{value}", format!("{name}:"));
    }
    text
}

/// What a cluster still waits for, in one line.
pub(crate) fn unsettled(status: &ClusterStatus) -> String {
    let mut reasons = Vec::new();
    if !status.ring_ready {
        reasons.push("members hold different rings".to_owned());
    }
    if status.transfers_pending + status.transfers_active > 0 {
        reasons.push(format!(
            "{} transfers pending, {} active",
            status.transfers_pending, status.transfers_active
        ));
    }
    if status.handoff_paused {
        reasons.push(format!("transfers are {PAUSED}"));
    }
    if status.hints > 0 {
        reasons.push(format!("{} hints", status.hints));
    }
    if !status.unreachable.is_empty() {
        reasons.push(format!("unreachable: {}", status.unreachable.join(", ")));
    }
    if reasons.is_empty() {
        reasons.push("not settled".to_owned());
    }
    format!("epoch {}: {}", status.epoch, reasons.join("; "))
}

/// The one screen. `health` is the health word, coloured or not.
pub(crate) fn status(status: &Status, health: &str) -> String {
    let mut text = title("Status");
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "{:<14}{value}", format!("{name}:"));
    };
    row("Health", health.to_owned());
    let parts = &status.partitions;
    row(
        "Partitions",
        format!(
            "{} ok, {} degraded, {} no-quorum",
            parts.ok, parts.degraded, parts.no_quorum
        ),
    );
    if let Some(cluster) = &status.cluster {
        row("Cluster", cluster.clone());
    }
    if let Some(epoch) = status.epoch {
        let claimant = status.claimant.as_deref().unwrap_or("nobody");
        row("Epoch", format!("{epoch}, claimant {claimant}"));
    }
    if let Some(node) = &status.node {
        row("Seen by", node.clone());
    }
    if let Some(hints) = status.hints {
        row("Hints", hints.to_string());
    }
    if status.traces > 0 {
        let waits: Vec<String> = status
            .reaping_waits_for
            .iter()
            .map(|why| format!("; they wait for {why}"))
            .collect();
        row(
            "Deleted",
            format!("{} traces{}", status.traces, waits.concat()),
        );
    }
    if status.handoff_paused {
        row("Handoff", PAUSED.to_owned());
    }
    for warning in &status.warnings {
        let _ = writeln!(text, "WARNING: {warning}");
    }
    text + &membership(&status.members) + &transfers(&status.transfers)
}

/// Whether a node may be stopped.
pub(crate) fn can_stop(answer: &CanStop) -> String {
    let node = &answer.node;
    if answer.can_stop {
        return format!("{node} can stop: every partition keeps a quorum without it\n");
    }
    let reason = answer
        .reason
        .as_deref()
        .unwrap_or("partitions would lose their quorum");
    let mut text = format!("{node} cannot stop: {reason}\n");
    if !answer.partitions.is_empty() {
        let list: Vec<String> = answer.partitions.iter().map(u16::to_string).collect();
        let _ = writeln!(text, "partitions without a quorum: {}", list.join(", "));
    }
    text
}

/// A size with a unit that a person can take in.
pub(crate) fn bytes(size: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match units.into_iter().find(|(unit, _)| size >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", size as f64 / unit as f64),
        None => format!("{size} B"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn member(name: &str, status: &str, ring: f64, pending: Option<f64>) -> Member {
        let it = json!({"name": name, "status": status, "ring_percent": ring, "pending_percent": pending});
        serde_json::from_value(it).unwrap()
    }

    fn three() -> Vec<Member> {
        [("node2", 31.25), ("node1", 37.5), ("node3", 31.25)]
            .map(|(name, share)| member(name, "valid", share, None))
            .into()
    }

    /// Lost without it: the table that the tutorial shows, to the column.
    #[test]
    fn membership_looks_like_the_tutorials() {
        let shown = membership(&three());
        assert_eq!(
            shown,
            "\
================================= Membership ==================================
Status     Ring    Pending    Node
-------------------------------------------------------------------------------
valid      37.5%      --      node1
valid      31.3%      --      node2
valid      31.3%      --      node3
-------------------------------------------------------------------------------
Valid:3 / Leaving:0 / Exiting:0 / Joining:0 / Down:0
"
        );
        assert!(shown.lines().all(|line| line.len() <= WIDTH));
    }

    /// Lost without it: pending shares, zones and nodes that are away would not line up or not show.
    #[test]
    fn membership_shows_what_is_pending_and_who_is_away() {
        let mut away = member("b", "valid", 0.0, Some(50.0));
        (away.reachable, away.zone) = (false, Some("rack-1".into()));
        let shown = membership(&[away, member("a", "joining", 100.0, Some(50.0))]);
        let rows: Vec<&str> = shown.lines().skip(3).collect();
        assert_eq!(rows[0], "joining   100.0%     50.0%    a");
        assert_eq!(
            rows[1],
            "valid       0.0%     50.0%    b (rack-1) (unreachable)"
        );
        assert_eq!(
            rows[3],
            "Valid:1 / Leaving:0 / Exiting:0 / Joining:1 / Down:0"
        );
    }

    /// Lost without it: the ring that the tutorial shows, to the letter.
    #[test]
    fn the_ring_looks_like_the_tutorials() {
        let owners: Vec<Vec<String>> = "abcabcabcabcabca"
            .chars()
            .map(|first| {
                vec![
                    format!("node{}", first as u8 - b'a' + 1),
                    "node2".into(),
                    "node3".into(),
                ]
            })
            .collect();
        let shown = ring(&RingTable {
            epoch: 7,
            partitions: 16,
            replicas: 3,
            owners,
        });
        assert_eq!(
            shown,
            "\
==================================== Nodes ====================================
Node a: 6 ( 37.5%) node1
Node b: 5 ( 31.3%) node2
Node c: 5 ( 31.3%) node3
==================================== Ring =====================================
abca|bcab|cabc|abca|
"
        );
        let large = RingTable {
            epoch: 1,
            partitions: 64,
            replicas: 1,
            owners: vec![vec!["n".into()]; 64],
        };
        assert_eq!(ring(&large).lines().count(), 5);
        assert!(ring(&large).lines().all(|line| line.len() <= WIDTH));
    }

    /// Lost without it: a plan that people cannot read is committed unread.
    #[test]
    fn a_plan_says_what_moves_and_how_to_commit_it() {
        let transfer = |partition, to: &str| json!({"kind": "ownership", "partition": partition, "from": "node1", "to": to, "keys": 60, "bytes": 4500});
        let it = json!({
            "plan": "1a2b", "epoch": 3, "changes": [{"action": "join", "node": "node2"}],
            "members": [
                {"name": "node1", "status": "valid", "ring_percent": 100.0, "pending_percent": 50.0},
                {"name": "node2", "status": "valid", "ring_percent": 0.0, "pending_percent": 50.0},
            ],
            "transfers": [transfer(0, "node2"), transfer(1, "node2")],
            "warnings": ["Not all replicas will be on distinct nodes"],
        });
        let shown = plan(&serde_json::from_value(it).unwrap());
        assert_eq!(
            shown,
            "\
=============================== Staged Changes ================================
Action         Details(s)
-------------------------------------------------------------------------------
join           node2
-------------------------------------------------------------------------------

NOTE: Applying these changes will result in 1 cluster transition

###############################################################################
                         After cluster transition 1/1
###############################################################################

================================= Membership ==================================
Status     Ring    Pending    Node
-------------------------------------------------------------------------------
valid     100.0%     50.0%    node1
valid       0.0%     50.0%    node2
-------------------------------------------------------------------------------
Valid:2 / Leaving:0 / Exiting:0 / Joining:0 / Down:0

WARNING: Not all replicas will be on distinct nodes

Transfers resulting from cluster changes: 2
  2 transfers from node1 to node2: 120 keys, 9.0 kB

Plan 1a2b
Commit it with: rkv cluster commit --plan 1a2b
"
        );
        let empty: Plan = serde_json::from_value(json!({"plan": null})).unwrap();
        assert_eq!(plan(&empty), "There are no staged changes\n");
    }

    /// Lost without it: transfers that wait would not say why.
    #[test]
    fn transfers_say_how_far_they_are_and_why_they_wait() {
        let list: Vec<Transfer> = serde_json::from_value(json!([
            {"kind": "ownership", "partition": 3, "from": "node1", "to": "node2", "state": "active", "keys_done": 60,
             "keys_total": 120, "bytes_done": 4500, "bytes_total": 9000, "keys_per_s": 30, "eta_s": 2},
            {"kind": "hinted", "partition": 4, "from": "node1", "to": "node3", "state": "waiting",
             "waiting_for": "node3 to come back", "last_error": "connection refused"},
        ]))
        .unwrap();
        assert_eq!(
            transfers(&list),
            "\
================================== Transfers ==================================
Kind      Part.  From -> To               State                Keys  Done   Left
-------------------------------------------------------------------------------
ownership     3  node1 -> node2           active             60/120   50%     2s
                 4.5 kB of 9.0 kB, 30 keys/s
hinted        4  node1 -> node3           waiting               0/0    --     --
                 waits for node3 to come back
                 last error: connection refused
-------------------------------------------------------------------------------
Active:1 / Waiting:1
"
        );
        assert!(transfers(&[]).ends_with("No transfers active\n"));
    }
}
