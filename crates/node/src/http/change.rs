//! This file answers: how does an operator change the cluster?

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use rkv_ring::cluster::AdminRequest;
use rkv_ring::member::{MOST_WEIGHT, is_weight};
use rkv_ring::{Change, Epoch, NodeName};
use serde::{Deserialize, Serialize};

use super::Http;
use super::awaited::{change, staged};
use super::error::ApiError;
use super::input::Body;
use crate::config::keys;

/// A change as people and scripts read it.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    action: &'static str,
    node: NodeName,
    /// Who takes its places.
    #[serde(skip_serializing_if = "Option::is_none")]
    with: Option<NodeName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<f64>,
    /// Null: that of all who name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<Option<String>>,
}

impl From<&Change> for Shown {
    fn from(change: &Change) -> Shown {
        let (mut weight, mut zone) = (None, None);
        let action = match change {
            Change::Join { .. } => "join",
            Change::Rejoin { .. } => "rejoin",
            Change::Leave { .. } => "leave",
            Change::Remove { .. } => "remove",
            Change::Replace { .. } => "replace",
            Change::ForceReplace { .. } => "force-replace",
            Change::Weight { weight: staged, .. } => {
                weight = Some(*staged);
                "weight"
            }
            Change::Zone { zone: staged, .. } => {
                zone = Some(staged.clone());
                "zone"
            }
        };
        Shown {
            action,
            node: change.node().clone(),
            with: change.replacement().cloned(),
            weight,
            zone,
        }
    }
}

/// All of `changes`.
pub(super) fn shown(changes: &[Change]) -> Vec<Shown> {
    changes.iter().map(Shown::from).collect()
}

/// It waits for a commit.
#[derive(Debug, Serialize)]
pub(super) struct Staged {
    ok: bool,
    staged: Shown,
    /// The ring that lists it: of the cluster that a joiner is on its way into.
    epoch: Epoch,
}

/// Has `request` stage `change`.
async fn stage(
    http: &Http,
    request: AdminRequest,
    staged: Change,
) -> Result<Json<Staged>, ApiError> {
    Ok(Json(Staged {
        ok: true,
        epoch: change(&http.engine, request).await?,
        staged: Shown::from(&staged),
    }))
}

/// Whose cluster.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Join {
    peer: String,
}

/// `POST /v1/cluster/join`
pub(super) async fn join(
    State(http): State<Arc<Http>>,
    Body(Join { peer }): Body<Join>,
) -> Result<Json<Staged>, ApiError> {
    if !is_address(&peer) {
        let message = format!("a peer address is host:port of a peer listener, not {peer:?}");
        return Err(ApiError::usage("bad_peer", message));
    }
    let node = http.engine.me().clone();
    stage(&http, AdminRequest::Join { peer }, Change::Join { node }).await
}

fn is_address(text: &str) -> bool {
    let parts = text.rsplit_once(':');
    parts.is_some_and(|(host, port)| {
        let port = port.parse::<u16>();
        !host.is_empty() && port.is_ok_and(|port| port > 0)
    })
}

/// Who; this node unless said.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Leave {
    node: Option<NodeName>,
}

/// `POST /v1/cluster/leave`
pub(super) async fn leave(
    State(http): State<Arc<Http>>,
    Body(Leave { node }): Body<Leave>,
) -> Result<Json<Staged>, ApiError> {
    let node = node.unwrap_or_else(|| http.engine.me().clone());
    let request = AdminRequest::Leave { node: node.clone() };
    stage(&http, request, Change::Leave { node }).await
}

/// Whom it is about.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct About {
    node: NodeName,
}

/// `POST /v1/cluster/remove`
pub(super) async fn remove(
    State(http): State<Arc<Http>>,
    Body(About { node }): Body<About>,
) -> Result<Json<Staged>, ApiError> {
    let request = AdminRequest::Remove { node: node.clone() };
    stage(&http, request, Change::Remove { node }).await
}

/// Who goes and who comes; by force: without handing anything off.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Replace {
    node: NodeName,
    with: NodeName,
    #[serde(default)]
    force: bool,
}

/// `POST /v1/cluster/replace`
pub(super) async fn replace(
    State(http): State<Arc<Http>>,
    Body(Replace { node, with, force }): Body<Replace>,
) -> Result<Json<Staged>, ApiError> {
    let request = AdminRequest::Replace {
        node: node.clone(),
        with: with.clone(),
        force,
    };
    let change = if force {
        Change::ForceReplace { node, with }
    } else {
        Change::Replace { node, with }
    };
    stage(&http, request, change).await
}

/// Whose share, and which.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Weight {
    node: NodeName,
    weight: f64,
}

/// `POST /v1/cluster/weight`
pub(super) async fn weight(
    State(http): State<Arc<Http>>,
    Body(Weight { node, weight }): Body<Weight>,
) -> Result<Json<Staged>, ApiError> {
    if !is_weight(weight) {
        let message = format!("a weight is above 0 and at most {MOST_WEIGHT}, not {weight}");
        return Err(ApiError::usage("bad_weight", message));
    }
    let request = AdminRequest::Weight {
        node: node.clone(),
        weight,
    };
    stage(&http, request, Change::Weight { node, weight }).await
}

/// Whose failure domain, and which; null: that of all who name none.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Zone {
    node: NodeName,
    zone: Option<String>,
}

/// `POST /v1/cluster/zone`
pub(super) async fn zone(
    State(http): State<Arc<Http>>,
    Body(Zone { node, zone }): Body<Zone>,
) -> Result<Json<Staged>, ApiError> {
    if let Some(Err(why)) = zone.as_deref().map(keys::node_name) {
        return Err(ApiError::usage("bad_zone", format!("a zone {why}")));
    }
    let request = AdminRequest::Zone {
        node: node.clone(),
        zone: zone.clone(),
    };
    stage(&http, request, Change::Zone { node, zone }).await
}

/// It was done at once.
#[derive(Debug, Serialize)]
pub(super) struct MarkedDown {
    ok: bool,
    down: NodeName,
    epoch: Epoch,
}

/// `POST /v1/cluster/down`
pub(super) async fn down(
    State(http): State<Arc<Http>>,
    Body(About { node }): Body<About>,
) -> Result<Json<MarkedDown>, ApiError> {
    let request = AdminRequest::Down { node: node.clone() };
    Ok(Json(MarkedDown {
        ok: true,
        epoch: change(&http.engine, request).await?,
        down: node,
    }))
}

/// Who is lost, and whether what goes with them may be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recover {
    without: Vec<NodeName>,
    #[serde(default)]
    accept_data_loss: bool,
}

/// The cluster goes on without them.
#[derive(Debug, Serialize)]
pub(super) struct Recovered {
    ok: bool,
    without: Vec<NodeName>,
    epoch: Epoch,
}

/// `POST /v1/cluster/recover`
pub(super) async fn recover(
    State(http): State<Arc<Http>>,
    Body(asked): Body<Recover>,
) -> Result<Json<Recovered>, ApiError> {
    if asked.without.is_empty() {
        let message = "`without` names the nodes that are gone for good".to_owned();
        return Err(ApiError::usage("missing_field", message));
    }
    let request = AdminRequest::Recover {
        without: asked.without.clone(),
        accepted: asked.accept_data_loss,
        wall_ms: unix_ms(),
    };
    Ok(Json(Recovered {
        ok: true,
        epoch: change(&http.engine, request).await?,
        without: asked.without,
    }))
}

/// Nothing is on the move any more.
#[derive(Debug, Serialize)]
pub(super) struct Cancelled {
    ok: bool,
    /// Transfers that were given up.
    cancelled: usize,
    epoch: Epoch,
}

/// `POST /v1/cluster/cancel`
pub(super) async fn cancel(State(http): State<Arc<Http>>) -> Result<Json<Cancelled>, ApiError> {
    let pending = rkv_ring::moves::transfers(http.engine.view().ring()).len();
    Ok(Json(Cancelled {
        ok: true,
        cancelled: pending,
        epoch: change(&http.engine, AdminRequest::Cancel).await?,
    }))
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

/// Only this plan, if said.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Commit {
    plan: Option<String>,
}

/// It is being carried out.
#[derive(Debug, Serialize)]
pub(super) struct Committed {
    ok: bool,
    plan: String,
    epoch: Epoch,
    transfers: usize,
}

/// `POST /v1/cluster/commit`
///
/// Without a plan's id it commits what is staged now, by that plan's id: so the answer tells what was committed.
pub(super) async fn commit(
    State(http): State<Arc<Http>>,
    Body(Commit { plan }): Body<Commit>,
) -> Result<Json<Committed>, ApiError> {
    let engine = &http.engine;
    let now = staged(engine).await?;
    let transfers = now.as_ref().map_or(0, |now| now.transfers.len());
    let plan = plan.or(now.map(|now| now.id));
    let request = AdminRequest::Commit {
        plan: plan.clone(),
        wall_ms: unix_ms(),
    };
    Ok(Json(Committed {
        ok: true,
        epoch: change(engine, request).await?,
        plan: plan.unwrap_or_default(),
        transfers,
    }))
}

/// Nothing is staged any more.
#[derive(Debug, Serialize)]
pub(super) struct Cleared {
    ok: bool,
    cleared: Vec<Shown>,
    epoch: Epoch,
}

/// `POST /v1/cluster/clear`
pub(super) async fn clear(State(http): State<Arc<Http>>) -> Result<Json<Cleared>, ApiError> {
    let was = staged(&http.engine).await?;
    Ok(Json(Cleared {
        ok: true,
        epoch: change(&http.engine, AdminRequest::Clear).await?,
        cleared: was.map_or(Vec::new(), |was| shown(&was.changes)),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost without it: a misspelt address is looked for until the join times out.
    #[test]
    fn peers_are_host_and_port() {
        for good in ["127.0.0.1:8199", "node1.example:7379", "[::1]:7379"] {
            assert!(is_address(good), "{good}");
        }
        for bad in [
            "",
            "node1",
            "127.0.0.1",
            ":8199",
            "node1:",
            "node1:0",
            "node1:70000",
            "a:b",
        ] {
            assert!(!is_address(bad), "{bad}");
        }
    }
}
