//! This file answers: what holds for transfers, and how does an operator change it?

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use rkv_ring::Epoch;
use rkv_ring::cluster::AdminRequest;
use rkv_ring::handoff::{HandoffChange, MOST_TRANSFERS};
use serde::{Deserialize, Serialize};

use super::Http;
use super::awaited::change;
use super::error::ApiError;
use super::input::Body;

/// What holds, as the ring says it: the same on every node.
#[derive(Debug, Serialize)]
pub(super) struct Setting {
    ok: bool,
    paused: bool,
    /// How many at once on the node that answers, in and out.
    limit: usize,
    /// Whether that is what operators said, and so the same on all nodes; else it is this node's configuration.
    limit_is_set: bool,
    epoch: Epoch,
}

fn setting(http: &Http) -> Setting {
    let host = http.engine.host();
    let view = host.view();
    let said = view.ring().handoff;
    Setting {
        ok: true,
        paused: said.paused,
        limit: host.transfers_at_once(),
        limit_is_set: said.limit.is_some(),
        epoch: view.ring().epoch,
    }
}

/// `GET /v1/cluster/handoff`
pub(super) async fn show(State(http): State<Arc<Http>>) -> Json<Setting> {
    Json(setting(&http))
}

/// What is to be otherwise.
#[derive(Debug, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Wanted {
    Pause,
    Resume,
    /// Null: as each node's configuration says.
    Limit {
        limit: Option<u64>,
    },
}

impl Wanted {
    fn change(self) -> Result<HandoffChange, ApiError> {
        let limit = match self {
            Wanted::Pause => return Ok(HandoffChange::Pause),
            Wanted::Resume => return Ok(HandoffChange::Resume),
            Wanted::Limit { limit: None } => return Ok(HandoffChange::Limit(None)),
            Wanted::Limit { limit: Some(limit) } => limit,
        };
        let bounded = u16::try_from(limit).ok();
        let bounded = bounded.filter(|limit| (1..=MOST_TRANSFERS).contains(limit));
        let bounded = bounded.ok_or_else(|| {
            let text = format!(
                "the limit of transfers is 1 to {MOST_TRANSFERS}, not {limit}; to hold them all: rkv cluster handoff pause"
            );
            ApiError::usage("bad_limit", text)
        })?;
        Ok(HandoffChange::Limit(Some(bounded)))
    }
}

/// `POST /v1/cluster/handoff`
pub(super) async fn replace(
    State(http): State<Arc<Http>>,
    Body(wanted): Body<Wanted>,
) -> Result<Json<Setting>, ApiError> {
    let wanted = wanted.change()?;
    change(&http.engine, AdminRequest::Handoff(wanted)).await?;
    Ok(Json(setting(&http)))
}
