//! This file answers: is this node alive, ready, and is the cluster able to serve?
//!
//! For load balancers and supervisors, without a token.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::Http;
use super::error::ApiError;
use super::standing::{Health, Partitions, partitions};
use super::survey::Survey;

/// How far a node is between its start and its end.
#[derive(Debug, Default)]
pub(crate) struct NodeState {
    ready: AtomicBool,
    draining: AtomicBool,
}

impl NodeState {
    /// The ring is loaded and every listener is open.
    pub(crate) fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// It is going to stop: whoever has a choice asks another node.
    pub(crate) fn set_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Why it should not be sent requests; none: it should.
    fn not_ready(&self) -> Option<&'static str> {
        if self.draining.load(Ordering::Acquire) {
            Some("draining")
        } else if !self.ready.load(Ordering::Acquire) {
            Some("starting")
        } else {
            None
        }
    }
}

#[derive(Serialize)]
pub(super) struct Live {
    live: bool,
}

/// `GET /health/live`
pub(super) async fn live() -> Json<Live> {
    Json(Live { live: true })
}

#[derive(Serialize)]
pub(super) struct Ready {
    ready: bool,
    reason: Option<&'static str>,
}

/// `GET /health/ready`
pub(super) async fn ready(State(http): State<Arc<Http>>) -> (StatusCode, Json<Ready>) {
    let reason = http.state.not_ready();
    let ready = reason.is_none();
    (unless(!ready), Json(Ready { ready, reason }))
}

#[derive(Serialize)]
pub(super) struct ClusterHealth {
    health: Health,
    partitions: Partitions,
}

/// `GET /health/cluster`
pub(super) async fn cluster(
    State(http): State<Arc<Http>>,
) -> Result<(StatusCode, Json<ClusterHealth>), ApiError> {
    let partitions = partitions(&Survey::take(&http).await?);
    let health = partitions.health();
    let document = ClusterHealth { health, partitions };
    Ok((unless(health == Health::NoQuorum), Json(document)))
}

fn unless(ill: bool) -> StatusCode {
    match ill {
        true => StatusCode::SERVICE_UNAVAILABLE,
        false => StatusCode::OK,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost without it: a load balancer sends requests to a node that is starting or stopping.
    #[test]
    fn ready_is_between_start_and_stop() {
        let state = NodeState::default();
        assert_eq!(state.not_ready(), Some("starting"));
        state.set_ready();
        assert_eq!(state.not_ready(), None);
        state.set_draining();
        assert_eq!(state.not_ready(), Some("draining"));
    }
}
