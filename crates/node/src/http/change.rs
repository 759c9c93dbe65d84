//! This file answers: how does an operator change the cluster?

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use rkv_ring::cluster::AdminRequest;
use rkv_ring::{Change, Epoch, NodeName};
use serde::{Deserialize, Serialize};

use super::Http;
use super::awaited::{change, staged};
use super::error::ApiError;
use super::input::Body;

/// It waits for a commit.
#[derive(Debug, Serialize)]
pub(super) struct Staged {
    ok: bool,
    staged: Change,
    /// The ring that lists it: of the cluster that a joiner is on its way into.
    epoch: Epoch,
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
    Ok(Json(Staged {
        ok: true,
        epoch: change(&http.engine, AdminRequest::Join { peer }).await?,
        staged: Change::Join { node },
    }))
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
    Ok(Json(Staged {
        ok: true,
        epoch: change(&http.engine, request).await?,
        staged: Change::Leave { node },
    }))
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
    let request = AdminRequest::Commit { plan: plan.clone() };
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
    cleared: Vec<Change>,
    epoch: Epoch,
}

/// `POST /v1/cluster/clear`
pub(super) async fn clear(State(http): State<Arc<Http>>) -> Result<Json<Cleared>, ApiError> {
    let was = staged(&http.engine).await?;
    Ok(Json(Cleared {
        ok: true,
        epoch: change(&http.engine, AdminRequest::Clear).await?,
        cleared: was.map_or(Vec::new(), |was| was.changes),
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
