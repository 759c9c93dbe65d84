//! This file answers: how does an operator change the cluster?

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use rkv_ring::cluster::{AdminReply, AdminRequest};
use rkv_ring::{Epoch, NodeName};
use serde::{Deserialize, Serialize};

use super::Http;
use super::awaited::admin;
use super::error::ApiError;
use super::input::Body;

/// It is in this ring.
#[derive(Debug, Serialize)]
pub(super) struct Changed {
    ok: bool,
    /// Of which cluster: after a join the one that the node is on its way into.
    cluster: String,
    epoch: Epoch,
}

type Answer = Result<Json<Changed>, ApiError>;

async fn change(http: &Http, request: AdminRequest) -> Answer {
    match admin(&http.engine, request).await? {
        AdminReply::Done { ring } => Ok(Json(Changed {
            ok: true,
            cluster: ring.cluster.to_string(),
            epoch: ring.epoch,
        })),
        AdminReply::Plan(_) => Err(ApiError::internal(
            "no_change",
            "the keeper answered with a plan",
        )),
    }
}

/// Whose cluster.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Join {
    peer: String,
}

/// `POST /v1/cluster/join`
pub(super) async fn join(State(http): State<Arc<Http>>, Body(Join { peer }): Body<Join>) -> Answer {
    if !is_address(&peer) {
        let message = format!("a peer address is host:port of a peer listener, not {peer:?}");
        return Err(ApiError::usage("bad_peer", message));
    }
    change(&http, AdminRequest::Join { peer }).await
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
) -> Answer {
    let node = node.unwrap_or_else(|| http.engine.me().clone());
    change(&http, AdminRequest::Leave { node }).await
}

/// Only this plan, if said.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Commit {
    plan: Option<String>,
}

/// `POST /v1/cluster/commit`
pub(super) async fn commit(
    State(http): State<Arc<Http>>,
    Body(Commit { plan }): Body<Commit>,
) -> Answer {
    change(&http, AdminRequest::Commit { plan }).await
}

/// `POST /v1/cluster/clear`
pub(super) async fn clear(State(http): State<Arc<Http>>) -> Answer {
    change(&http, AdminRequest::Clear).await
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
