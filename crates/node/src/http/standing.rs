//! This file answers: how well is each partition served?
//!
//! By places, as requests count: a node that stands in two places of a row and is down leaves both empty.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use rkv_quorum::policy::majority;
use rkv_ring::{Epoch, NodeName, Partition};
use serde::Serialize;

use super::Http;
use super::error::ApiError;
use super::members::{Member, members};
use super::survey::Survey;
use super::transfers::{Transfer, transfers};

/// A partition's health, and the cluster's: that of its worst partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Health {
    /// All its N places are served and nobody holds hints for them.
    Ok,
    /// Most of them are.
    Degraded,
    /// Not even that.
    NoQuorum,
}

/// Partitions by health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(super) struct Partitions {
    ok: usize,
    degraded: usize,
    no_quorum: usize,
}

impl Partitions {
    /// The cluster's.
    pub(super) fn health(&self) -> Health {
        match self {
            Partitions { no_quorum: 1.., .. } => Health::NoQuorum,
            Partitions { degraded: 1.., .. } => Health::Degraded,
            _ => Health::Ok,
        }
    }
}

/// Counts the partitions by health.
pub(super) fn partitions(survey: &Survey) -> Partitions {
    let hinted = survey.hinted();
    let mut partitions = Partitions::default();
    for partition in survey.ring().partitions.partitions() {
        match health(survey, partition, hinted.contains(&partition)) {
            Health::Ok => partitions.ok += 1,
            Health::Degraded => partitions.degraded += 1,
            Health::NoQuorum => partitions.no_quorum += 1,
        }
    }
    partitions
}

fn health(survey: &Survey, partition: Partition, hinted: bool) -> Health {
    let row = survey.ring().row(partition);
    let served = row.iter().filter(|node| survey.is_serving(node, partition));
    let served = served.count();
    if served == row.len() && !hinted {
        Health::Ok
    } else if served >= usize::from(majority(survey.ring().replicas)) {
        Health::Degraded
    } else {
        Health::NoQuorum
    }
}

/// What `rkv status` shows.
#[derive(Debug, Serialize)]
pub(super) struct Overview {
    health: Health,
    node: NodeName,
    /// The cluster's name.
    cluster: String,
    epoch: Epoch,
    claimant: NodeName,
    /// Keys for which somebody holds a hint, once for each holder.
    hints: u64,
    /// Traces of what was deleted or has ended, once for each copy.
    traces: u64,
    /// What those that are older than `delete.grace_s` wait for, if it is more than their turn.
    reaping_waits_for: BTreeSet<String>,
    /// Whether operators hold transfers.
    handoff_paused: bool,
    partitions: Partitions,
    members: Vec<Member>,
    transfers: Vec<Transfer>,
    /// What members tell of their storage: folders set aside, damaged values.
    warnings: Vec<String>,
}

fn overview(survey: &Survey) -> Overview {
    let ring = survey.ring();
    let partitions = partitions(survey);
    let (traces, reaping_waits_for) = survey.traces();
    Overview {
        traces,
        reaping_waits_for,
        health: partitions.health(),
        node: survey.view.me().clone(),
        cluster: ring.cluster_name.clone(),
        epoch: ring.epoch,
        claimant: ring.claimant.clone(),
        hints: survey.hints(),
        handoff_paused: ring.handoff.paused,
        partitions,
        members: members(survey),
        transfers: transfers(survey),
        warnings: survey
            .reports
            .iter()
            .flat_map(|(node, report)| {
                let told = report.warnings.iter();
                told.map(move |warning| format!("{node}: {warning}"))
            })
            .collect(),
    }
}

/// `GET /v1/status`
pub(super) async fn show(State(http): State<Arc<Http>>) -> Result<Json<Overview>, ApiError> {
    Ok(Json(overview(&Survey::take(&http).await?)))
}

#[cfg(test)]
mod tests {
    use rkv_wire::message::{CopyState, HintReport};

    use super::super::survey::fixture::*;
    use super::*;

    fn counts(survey: &Survey) -> (Health, [usize; 3]) {
        let p = partitions(survey);
        (p.health(), [p.ok, p.degraded, p.no_quorum])
    }

    /// Lost without it: a cluster that cannot answer would be called healthy, or a whole one ill.
    #[test]
    fn health_is_that_of_the_worst_partition() {
        assert_eq!(counts(&survey(founded(), &[])), (Health::Ok, [16, 0, 0]));
        let three = |down: &[&str]| survey(cluster(3), down);
        assert_eq!(counts(&three(&[])), (Health::Ok, [16, 0, 0]));
        let one_down = (Health::Degraded, [0, 16, 0]);
        assert_eq!(counts(&three(&["node2"])), one_down);
        let two_down = (Health::NoQuorum, [0, 0, 16]);
        assert_eq!(counts(&three(&["node2", "node3"])), two_down);

        let catching_up = reporting(three(&[]), "node3", |report| {
            report.copies[4].state = CopyState::CatchingUp;
        });
        assert_eq!(counts(&catching_up), (Health::Degraded, [15, 1, 0]));
        let hinted = reporting(three(&[]), "node3", |report| {
            report.hints.push(HintReport {
                copy: copy(5),
                keys: 2,
                waiting_for: vec![],
            });
        });
        assert_eq!(counts(&hinted), (Health::Degraded, [15, 1, 0]));
        let silent = Survey::new(three(&[]).view, Default::default());
        assert_eq!(counts(&silent).0, Health::NoQuorum);
    }

    /// Lost without it: scripts that read the promised fields find others.
    #[test]
    fn the_overview_reads_as_promised() {
        let shown = json(&overview(&survey(cluster(3), &["node2"])));
        assert_eq!(shown["health"], "degraded");
        let partitions = serde_json::json!({"ok": 0, "degraded": 16, "no_quorum": 0});
        assert_eq!(shown["partitions"], partitions);
        assert_eq!(shown["members"].as_array().unwrap().len(), 3);
        assert_eq!(shown["transfers"], serde_json::json!([]));
        assert_eq!(json(&Health::NoQuorum), "no-quorum");
    }
}
