//! This file answers: what does a node tell Prometheus?
//!
//! Figures that are counted anyway, read out when somebody asks; nothing is asked of other nodes, so a scrape waits for
//! nobody. Labels are words of this program and names of members, never keys. In reading order: `requests`, `cluster`,
//! `node` one part of the text each · `text` how it is written.

mod cluster;
mod node;
mod requests;
#[cfg(test)]
pub(super) mod strict;
mod text;

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::Http;
use crate::redis::RedisFigures;
use text::Text;

/// What is told beyond what the engine knows.
#[derive(Default)]
pub(crate) struct Watched {
    /// `storage.backend`.
    pub(crate) backend: String,
    /// The Redis listener's.
    pub(crate) redis: RedisFigures,
}

/// `GET /metrics`
pub(super) async fn show(State(http): State<Arc<Http>>) -> impl IntoResponse {
    let format = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, format)], written(&http))
}

fn written(http: &Http) -> String {
    let engine = &http.engine;
    let (view, report) = (engine.view(), engine.host().report());
    let mut text = Text::default();
    requests::write(engine, &mut text);
    cluster::write(&view, &report, &mut text);
    cluster::write_transfers(engine, &report, &mut text);
    node::write_redis(&http.watched.redis, &mut text);
    node::write_storage(engine, &http.watched.backend, &report, &mut text);
    node::write_process(&mut text);
    text.finish()
}
