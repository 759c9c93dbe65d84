//! This file answers: how does a handler wait for the engine?
//!
//! The engine calls back once, perhaps at once and perhaps from another thread. Store requests and reports end at their
//! own deadlines; what the ring's keeper is asked also ends here, since a keeper whose disk failed says nothing more.

use std::time::Duration;

use rkv_kv::{Done, Engine};
use rkv_ring::cluster::{AdminReply, AdminRequest};
use rkv_ring::{Epoch, Plan, Refusal};
use tokio::sync::oneshot;

use super::error::ApiError;

/// Well above what the ring's machine takes until it says `no_majority`.
const KEEPER_WITHIN: Duration = Duration::from_secs(15);

/// Hands `ask` a callback and waits for it.
pub(super) async fn answer_to<T: Send + 'static>(ask: impl FnOnce(Done<T>)) -> Result<T, ApiError> {
    let (tell, told) = oneshot::channel();
    // A caller that went away meanwhile hears nothing: nothing is wrong with that.
    ask(Box::new(move |answer| drop(tell.send(answer))));
    told.await
        .map_err(|_| ApiError::internal("stopping", "the node stopped before it answered"))
}

/// What a commit would do; `None` when nothing is staged.
pub(super) async fn staged(engine: &Engine) -> Result<Option<Plan>, ApiError> {
    match admin(engine, AdminRequest::Plan).await? {
        AdminReply::Plan(plan) => Ok(plan.map(|plan| *plan)),
        AdminReply::Done { .. } => Err(another_answer()),
    }
}

/// Changes something; returns the epoch in which it shows.
pub(super) async fn change(engine: &Engine, request: AdminRequest) -> Result<Epoch, ApiError> {
    match admin(engine, request).await? {
        AdminReply::Done { ring } => Ok(ring.epoch),
        AdminReply::Plan(_) => Err(another_answer()),
    }
}

fn another_answer() -> ApiError {
    ApiError::internal("bad_answer", "the ring's keeper answered another question")
}

/// Asks the ring's machine.
async fn admin(engine: &Engine, request: AdminRequest) -> Result<AdminReply, ApiError> {
    let changes = request != AdminRequest::Plan;
    let answer = answer_to::<Result<AdminReply, Refusal>>(|done| engine.admin(request, done));
    match tokio::time::timeout(KEEPER_WITHIN, answer).await {
        Ok(answer) => Ok(answer??),
        Err(_) => Err(ApiError::timeout(
            "the ring's keeper does not answer; the log of this node says why",
            changes,
        )),
    }
}
