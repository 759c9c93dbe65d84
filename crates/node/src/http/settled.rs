//! This file answers: has everything come to rest?

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use rkv_ring::{Epoch, NodeName, Status};
use serde::Serialize;

use super::Http;
use super::error::ApiError;
use super::survey::Survey;
use super::transfers::{Progress, transfers};

/// What `rkv cluster status` shows.
#[derive(Debug, Serialize)]
pub(super) struct Settled {
    /// Every reachable member holds the same ring, no transfer is pending or active, no hint is held for a reachable
    /// member.
    settled: bool,
    /// Every reachable member holds the same ring.
    ring_ready: bool,
    epoch: Epoch,
    ring_digest: String,
    transfers_pending: usize,
    transfers_active: usize,
    /// Keys for which somebody holds a hint, once for each holder.
    hints: u64,
    unreachable: Vec<NodeName>,
    /// Whether operators hold transfers.
    handoff_paused: bool,
}

fn document(survey: &Survey) -> Settled {
    let ring = survey.ring();
    let all = transfers(survey);
    let count = |state| {
        let counted = all.iter().filter(|t| !t.settled && t.state == state);
        counted.count()
    };
    let (transfers_pending, transfers_active) = (count(Progress::Waiting), count(Progress::Active));
    let mut hints = survey.reports.values().flat_map(|report| &report.hints);
    let ring_ready = survey.agrees();
    let members = ring.members.iter();
    Settled {
        settled: ring_ready
            && ring.next.is_empty()
            && ring.moves.is_empty()
            && transfers_pending + transfers_active == 0
            && !hints.any(|hint| survey.can_drain(hint)),
        ring_ready,
        epoch: ring.epoch,
        ring_digest: ring.digest().to_string(),
        transfers_pending,
        transfers_active,
        hints: survey.hints(),
        // One that is joining is no member yet, and runs in its own cluster.
        unreachable: members
            .filter(|(name, m)| m.status != Status::Joining && !survey.view.is_up(name))
            .map(|(name, _)| name.clone())
            .collect(),
        handoff_paused: ring.handoff.paused,
    }
}

/// `GET /v1/cluster/status`
pub(super) async fn show(State(http): State<Arc<Http>>) -> Result<Json<Settled>, ApiError> {
    Ok(Json(document(&Survey::take(&http).await?)))
}

#[cfg(test)]
mod tests {
    use rkv_wire::message::{HintReport, Report, TransferKind, TransferReport};
    use serde_json::json;

    use super::super::survey::fixture::*;
    use super::*;

    /// Lost without it: scripts that read the promised fields find others.
    #[test]
    fn a_settled_cluster_reads_as_promised() {
        let ring = cluster(3);
        let digest = ring.digest().to_string();
        assert_eq!(
            json(&document(&survey(ring, &["node3"]))),
            json!({
                "settled": true, "ring_ready": true, "epoch": 1, "ring_digest": digest,
                "transfers_pending": 0, "transfers_active": 0, "hints": 0, "unreachable": ["node3"],
                "handoff_paused": false,
            })
        );
    }

    /// Lost without it: `wait` would return while copies move or a ring is still on its way.
    #[test]
    fn what_is_under_way_unsettles() {
        let node2 = |edit: fn(&mut Report)| {
            let document = document(&reporting(survey(cluster(3), &["node3"]), "node2", edit));
            (
                document.settled,
                document.transfers_pending,
                document.transfers_active,
                document.hints,
            )
        };
        let hinted = || transfer(TransferKind::Hinted, 1, "node2", "node3");
        assert_eq!(node2(|_| ()), (true, 0, 0, 0));
        for (edit, expected) in [
            (
                (|report| report.digest = "another".to_owned()) as fn(&mut Report),
                (false, 0, 0, 0),
            ),
            (
                |report| {
                    let repair = transfer(TransferKind::Repair, 1, "node1", "node2");
                    report.transfers.push(repair);
                },
                (false, 1, 0, 0),
            ),
            (
                |report| {
                    report.transfers.push(TransferReport {
                        active: true,
                        ..transfer(TransferKind::Repair, 1, "node1", "node2")
                    });
                },
                (false, 0, 1, 0),
            ),
            (
                |report| {
                    // An old copy in its grace.
                    report.transfers.push(TransferReport {
                        settled: true,
                        ..transfer(TransferKind::Ownership, 1, "node2", "node1")
                    });
                },
                (true, 0, 0, 0),
            ),
        ] {
            assert_eq!(node2(edit), expected);
        }
        let hint = |waiting_for: &[&str]| {
            let names = waiting_for.iter().map(|name| NodeName::from(*name));
            let waiting_for = names.collect();
            let survey = reporting(survey(cluster(3), &["node3"]), "node2", |report| {
                report.transfers.push(hinted());
                report.hints.push(HintReport {
                    copy: copy(1),
                    keys: 7,
                    waiting_for,
                });
            });
            let document = document(&survey);
            (document.settled, document.transfers_pending, document.hints)
        };
        assert_eq!(hint(&[]), (false, 1, 7));
        // node2 does not know yet that node1 is up again.
        assert_eq!(hint(&["node1"]), (false, 1, 7));
        assert_eq!(hint(&["node3"]), (true, 0, 7));
        assert!(!document(&survey(committed(), &[])).settled);
        let silent = Survey::new(survey(cluster(3), &[]).view, Default::default());
        assert!(!document(&silent).ring_ready);
    }
}
