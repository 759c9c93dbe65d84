//! This file answers: which copies are on their way, how far, and what do they wait for?
//!
//! What members report of the transfers that they run, and what the ring lists and nobody reported.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use rkv_ring::handoff::PAUSED;
use rkv_ring::{NodeName, Partition, moves};
use rkv_vnode::ping::PING;
use rkv_wire::message::{HintReport, Report, TransferKind, TransferReport};
use serde::Serialize;

use super::Http;
use super::error::ApiError;
use super::survey::Survey;

/// Whether data flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Progress {
    Active,
    Waiting,
}

/// One transfer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Transfer {
    kind: TransferKind,
    partition: Partition,
    from: NodeName,
    to: NodeName,
    pub(super) state: Progress,
    keys_done: u64,
    keys_total: u64,
    bytes_done: u64,
    bytes_total: u64,
    keys_per_s: u64,
    /// Null while nothing flows.
    eta_s: Option<u64>,
    waiting_for: Option<String>,
    last_error: Option<String>,
    /// Whether the cluster counts as settled all the same: an old copy in its grace, hints for a node that is away.
    pub(super) settled: bool,
}

/// All transfers: those that flow first, then by kind and partition.
pub(super) fn transfers(survey: &Survey) -> Vec<Transfer> {
    let mut transfers: Vec<Transfer> = survey
        .reports
        .values()
        .flat_map(|report| {
            let of_entries = report.transfers.iter().filter(|t| t.copy.service != PING);
            of_entries.map(move |transfer| reported(survey, report, transfer))
        })
        .collect();
    let unreported = unreported(survey, &transfers);
    transfers.extend(unreported);
    transfers.sort_by(|a, b| {
        let key = |t: &Transfer| (t.state, t.kind, t.partition);
        let nodes = |t: &Transfer| (t.from.clone(), t.to.clone());
        key(a).cmp(&key(b)).then_with(|| nodes(a).cmp(&nodes(b)))
    });
    transfers
}

fn reported(survey: &Survey, report: &Report, of: &TransferReport) -> Transfer {
    let left = of.keys_total.saturating_sub(of.keys_done);
    let flows = of.active && of.keys_per_s > 0;
    let hint = |hint: &&HintReport| hint.copy == of.copy;
    // While anything flows it is not only the absent that it is for.
    let waits_for_absent = of.kind == TransferKind::Hinted
        && !of.active
        && !report
            .hints
            .iter()
            .find(hint)
            .is_some_and(|hint| survey.can_drain(hint));
    Transfer {
        kind: of.kind,
        partition: of.copy.partition,
        from: of.from.clone(),
        to: of.to.clone(),
        state: if of.active {
            Progress::Active
        } else {
            Progress::Waiting
        },
        keys_done: of.keys_done,
        keys_total: of.keys_total,
        bytes_done: of.bytes_done,
        bytes_total: of.bytes_total,
        keys_per_s: of.keys_per_s,
        eta_s: flows.then(|| left.div_ceil(of.keys_per_s)),
        waiting_for: of.waiting_for.clone(),
        last_error: of.last_error.clone(),
        settled: of.settled || waits_for_absent,
    }
}

/// What the ring lists and no report names: the source is away, or another move of the partition comes first.
fn unreported(survey: &Survey, reported: &[Transfer]) -> Vec<Transfer> {
    let ring = survey.ring();
    let is_reported = |planned: &moves::Transfer| {
        reported.iter().any(|t| {
            t.kind == TransferKind::Ownership
                && (t.partition, &t.from, &t.to) == (planned.partition, &planned.from, &planned.to)
        })
    };
    let planned = moves::transfers(ring).into_iter();
    let missing = planned.filter(|planned| !is_reported(planned));
    missing
        .map(|planned| {
            let under_way = ring.moves.get(&planned.partition);
            let is_first = under_way.is_some_and(|m| m.to == planned.to);
            let waiting_for = if !is_first {
                "the move before it in this partition".to_owned()
            } else if ring.handoff.paused {
                PAUSED.to_owned()
            } else if survey.view.is_up(&planned.from) {
                format!("{} to begin", planned.from)
            } else {
                format!("{}, which is not reachable", planned.from)
            };
            let held = survey
                .serving_totals(&planned.from, planned.partition)
                .unwrap_or_default();
            Transfer {
                kind: TransferKind::Ownership,
                partition: planned.partition,
                from: planned.from,
                to: planned.to,
                state: Progress::Waiting,
                keys_done: 0,
                keys_total: held.entries,
                bytes_done: 0,
                bytes_total: held.bytes,
                keys_per_s: 0,
                eta_s: None,
                waiting_for: Some(waiting_for),
                last_error: None,
                settled: false,
            }
        })
        .collect()
}

/// What `rkv cluster transfers` shows.
#[derive(Debug, Serialize)]
pub(super) struct Transfers {
    transfers: Vec<Transfer>,
}

/// `GET /v1/cluster/transfers`
pub(super) async fn show(State(http): State<Arc<Http>>) -> Result<Json<Transfers>, ApiError> {
    let survey = Survey::take(&http).await?;
    Ok(Json(Transfers {
        transfers: transfers(&survey),
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::survey::fixture::*;
    use super::*;

    /// Lost without it: scripts that read the promised fields find others, and nobody knows how long it takes.
    #[test]
    fn a_reported_transfer_reads_as_promised() {
        let survey = reporting(survey(cluster(3), &[]), "node2", |report| {
            report.transfers.push(TransferReport {
                active: true,
                keys_done: 30,
                keys_total: 120,
                bytes_done: 3,
                bytes_total: 9000,
                keys_per_s: 40,
                ..transfer(TransferKind::Repair, 3, "node1", "node2")
            });
            let nothing = rkv_wire::message::CopyId {
                service: PING,
                ..copy(3)
            };
            report.transfers.push(TransferReport {
                copy: nothing,
                ..transfer(TransferKind::Ownership, 3, "node2", "node3")
            });
        });
        assert_eq!(
            json(&transfers(&survey)),
            json!([{
                "kind": "repair", "partition": 3, "from": "node1", "to": "node2", "state": "active",
                "keys_done": 30, "keys_total": 120, "bytes_done": 3, "bytes_total": 9000, "keys_per_s": 40,
                "eta_s": 3, "waiting_for": null, "last_error": null, "settled": false,
            }])
        );
    }

    /// Lost without it: a move whose source is away, or whose turn has not come, would be missing from the list.
    #[test]
    fn what_nobody_reports_is_listed_with_its_reason() {
        let ring = committed();
        let planned = moves::transfers(&ring).len();
        let first = ring.moves[&Partition(0)].to.clone();
        let survey = reporting(survey(ring, &[]), "node1", |report| {
            report.transfers.push(TransferReport {
                active: true,
                ..transfer(TransferKind::Ownership, 0, "node1", first.as_str())
            });
        });
        let all = transfers(&survey);
        assert_eq!(all.len(), planned);
        assert_eq!(all[0].state, Progress::Active);
        let of = |partition| {
            let of = all
                .iter()
                .filter(move |t| t.partition == Partition(partition));
            of.map(|t| t.waiting_for.clone().unwrap_or_default())
                .collect::<Vec<_>>()
        };
        assert_eq!(of(0), ["", "the move before it in this partition"]);
        let begins = "node1 to begin".to_owned();
        assert!(of(1).contains(&begins), "{:?}", of(1));
        assert_eq!(all.last().map(|t| t.keys_total), Some(10));
    }
}
