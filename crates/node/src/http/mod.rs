//! This file answers: what does a node serve over HTTP?
//!
//! Health for whoever watches it, and `/v1`, which the command line calls: the JSON documents are promised to scripts.
//! Handlers ask the engine and put what it says into a document; what the document says is decided in plain functions
//! of a [`survey::Survey`].
//!
//! In reading order: `door` who may call · `input` what a request says · `error` the one shape of errors · `awaited` how
//! a handler waits for the engine · `survey` the cluster as this node sees it · `health` · `standing`, `members`,
//! `settled`, `plan`, `ring`, `transfers`, `can_stop`, `repair` one document each · `change` what an operator changes · `ping` ·
//! `kv` · `faults` · `metrics` figures for Prometheus · `listener` and `stream` which
//! connections are taken and when they end.

mod awaited;
mod can_stop;
mod change;
mod door;
mod error;
mod faults;
mod handoff;
mod health;
mod input;
mod kv;
mod listener;
mod members;
mod metrics;
mod ping;
mod plan;
mod repair;
mod ring;
#[cfg(test)]
mod served;
mod settled;
mod standing;
mod stream;
mod survey;
mod transfers;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use rkv_kv::Engine;
use tokio::sync::Semaphore;

pub(crate) use faults::FaultsHandle;
pub(crate) use health::NodeState;
pub(crate) use listener::{Patience, serve};
pub(crate) use metrics::Watched;

use error::ApiError;

/// Rounds of reports under way at once, for all callers together: each of them asks every member.
const SURVEYS: usize = 4;

/// What the handlers work on.
pub(crate) struct Http {
    engine: Arc<Engine>,
    /// `http.token`; none: no token is asked for.
    token: Option<String>,
    /// Only with `--faults`.
    faults: Option<FaultsHandle>,
    state: Arc<NodeState>,
    watched: Watched,
    patience: Patience,
    surveys: Semaphore,
}

impl Http {
    /// What the handlers of one node work on.
    pub(crate) fn new(
        engine: Arc<Engine>,
        token: Option<String>,
        faults: Option<FaultsHandle>,
        state: Arc<NodeState>,
        watched: Watched,
        patience: Patience,
    ) -> Arc<Http> {
        Arc::new(Http {
            engine,
            token,
            faults,
            state,
            watched,
            patience,
            surveys: Semaphore::new(SURVEYS),
        })
    }

    /// The most that a body may measure: Base64 is a third longer, and text in JSON may be escaped.
    fn body_bytes(&self) -> usize {
        let bounds = self.engine.bounds();
        2 * (bounds.key_bytes + bounds.value_bytes) + (64 << 10)
    }
}

/// All paths.
pub(crate) fn router(http: Arc<Http>) -> Router {
    let v1 = Router::new()
        .route("/status", get(standing::show))
        .route("/cluster/members", get(members::show))
        .route("/cluster/status", get(settled::show))
        .route("/cluster/plan", get(plan::show))
        .route("/cluster/ring", get(ring::show))
        .route("/cluster/transfers", get(transfers::show))
        .route("/cluster/can-stop", get(can_stop::show))
        .route("/cluster/repair", get(repair::show).post(repair::begin))
        .route("/cluster/join", post(change::join))
        .route("/cluster/leave", post(change::leave))
        .route("/cluster/remove", post(change::remove))
        .route("/cluster/replace", post(change::replace))
        .route("/cluster/down", post(change::down))
        .route("/cluster/weight", post(change::weight))
        .route("/cluster/zone", post(change::zone))
        .route("/cluster/cancel", post(change::cancel))
        .route("/cluster/recover", post(change::recover))
        .route("/cluster/commit", post(change::commit))
        .route("/cluster/clear", post(change::clear))
        .route(
            "/cluster/handoff",
            get(handoff::show).post(handoff::replace),
        )
        .route("/ping", post(ping::ping))
        .route("/kv/get", post(kv::get))
        .route("/kv/put", post(kv::put))
        .route("/kv/delete", post(kv::delete))
        .route(
            "/faults",
            get(faults::show).post(faults::replace).delete(faults::heal),
        )
        .method_not_allowed_fallback(async || ApiError::wrong_method())
        .fallback(async || ApiError::unknown_path())
        .layer(axum::middleware::from_fn_with_state(
            http.clone(),
            door::check,
        ))
        .with_state(http.clone());
    let metrics = Router::new()
        .route("/metrics", get(metrics::show))
        .layer(axum::middleware::from_fn_with_state(
            http.clone(),
            door::check,
        ))
        .with_state(http.clone());
    Router::new()
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/health/cluster", get(health::cluster))
        .method_not_allowed_fallback(async || ApiError::wrong_method())
        .fallback(async || ApiError::unknown_path())
        .with_state(http)
        .merge(metrics)
        .nest("/v1", v1)
}
