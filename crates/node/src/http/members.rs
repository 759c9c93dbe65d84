//! This file answers: who is in the cluster, with which share?

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use rkv_ring::plan::shares;
use rkv_ring::{Epoch, MemberShare, NodeName, Status};
use serde::Serialize;

use super::Http;
use super::error::ApiError;
use super::survey::Survey;

/// One member.
#[derive(Debug, Serialize)]
pub(super) struct Member {
    name: NodeName,
    status: Status,
    reachable: bool,
    /// Share of first replicas.
    ring_percent: f64,
    /// The same when all transfers are done; null when nothing is pending.
    pending_percent: Option<f64>,
    /// Copies held.
    vnodes: usize,
    pending_vnodes: Option<usize>,
    peer: String,
    redis: String,
    http: String,
    zone: Option<String>,
    weight: f64,
    /// Null for one that has not reported.
    version: Option<String>,
}

/// The member that `share` is about; none when the ring does not list it.
pub(super) fn member(survey: &Survey, share: MemberShare) -> Option<Member> {
    let listed = survey.ring().members.get(&share.name)?;
    let report = survey.reports.get(&share.name);
    Some(Member {
        status: share.status,
        reachable: survey.view.is_up(&share.name),
        ring_percent: one_decimal(share.ring_percent),
        pending_percent: share.pending_percent.map(one_decimal),
        vnodes: share.copies,
        pending_vnodes: share.pending_copies,
        peer: listed.addresses.peer.clone(),
        redis: listed.addresses.redis.clone(),
        http: listed.addresses.http.clone(),
        zone: listed.zone.clone(),
        weight: listed.weight,
        version: report.map(|report| report.version.clone()),
        name: share.name,
    })
}

fn one_decimal(percent: f64) -> f64 {
    (percent * 10.0).round() / 10.0
}

/// All members, by name.
pub(super) fn members(survey: &Survey) -> Vec<Member> {
    let shares = shares(survey.ring()).into_iter();
    shares.filter_map(|share| member(survey, share)).collect()
}

/// What `rkv cluster members` shows.
#[derive(Debug, Serialize)]
pub(super) struct Members {
    cluster: String,
    epoch: Epoch,
    claimant: NodeName,
    members: Vec<Member>,
}

fn document(survey: &Survey) -> Members {
    let ring = survey.ring();
    Members {
        cluster: ring.cluster.to_string(),
        epoch: ring.epoch,
        claimant: ring.claimant.clone(),
        members: members(survey),
    }
}

/// `GET /v1/cluster/members`
pub(super) async fn show(State(http): State<Arc<Http>>) -> Result<Json<Members>, ApiError> {
    Ok(Json(document(&Survey::take(&http).await?)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::survey::fixture::*;
    use super::*;

    /// Lost without it: the tutorial's 6, 5 and 5 of 16 would not be what scripts read.
    #[test]
    fn members_read_as_promised() {
        let shown = json(&document(&survey(cluster(3), &["node3"])));
        assert_eq!(shown["cluster"], "00000000000000000000000000000007");
        assert_eq!(shown["claimant"], "node1");
        assert_eq!(
            shown["members"][0],
            json!({
                "name": "node1", "status": "valid", "reachable": true, "ring_percent": 37.5,
                "pending_percent": null, "vnodes": 16, "pending_vnodes": null, "peer": "127.0.0.1:8199",
                "redis": "127.0.0.1:6179", "http": "127.0.0.1:8198", "zone": null, "weight": 1.0,
                "version": "0.1.0",
            })
        );
        let third = &shown["members"][2];
        assert_eq!(third["ring_percent"], 31.3);
        assert_eq!(third["reachable"], false);
        assert_eq!(third["version"], json!(null));
    }

    /// Lost without it: nobody sees where a commit is going to while its copies move.
    #[test]
    fn what_is_pending_is_shown() {
        let percents = |ring| -> Vec<(f64, Option<f64>)> {
            let members = members(&survey(ring, &[])).into_iter();
            members
                .map(|m| (m.ring_percent, m.pending_percent))
                .collect()
        };
        let staged = percents(joining(founded(), &[2, 3]));
        assert_eq!(staged, [(100.0, None), (0.0, None), (0.0, None)]);
        let moving = percents(committed());
        let pending = [Some(37.5), Some(31.3), Some(31.3)];
        assert!(moving.iter().map(|(_, p)| *p).eq(pending), "{moving:?}");
    }
}
