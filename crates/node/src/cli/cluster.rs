//! This file answers: how is the cluster changed?

use serde_json::json;

use super::api::ANSWER_WITHIN;
use super::documents::{
    Cleared, CommitRequest, Committed, HandoffRequest, HandoffSetting, JoinRequest, LeaveRequest,
    Staged,
};
use super::failure::Failure;
use super::{End, Global, table};
use crate::config::keys;

/// `rkv cluster join PEER`.
pub(crate) fn join(global: &Global, peer: &str) -> Result<End, Failure> {
    keys::address(peer).map_err(|why| {
        Failure::usage(format!(
            "PEER {why}: it is the peer address of a node, not http"
        ))
    })?;
    let (node, output) = (global.node()?, global.output());
    let answer = node.post(
        "/v1/cluster/join",
        &JoinRequest {
            peer: peer.to_owned(),
        },
        ANSWER_WITHIN,
    )?;
    let staged: Staged = answer.read()?;
    output.result(&answer.0, || {
        format!(
            "Success: staged join request for {} to {peer}\n",
            staged.staged.node
        )
    })?;
    output.note("see what it would do: rkv cluster plan");
    Ok(End::Done)
}

/// `rkv cluster leave [NODE]`.
pub(crate) fn leave(global: &Global, leaver: Option<String>) -> Result<End, Failure> {
    let (node, output) = (global.node()?, global.output());
    let answer = node.post(
        "/v1/cluster/leave",
        &LeaveRequest { node: leaver },
        ANSWER_WITHIN,
    )?;
    let staged: Staged = answer.read()?;
    output.result(&answer.0, || {
        format!("Success: staged leave request for {}\n", staged.staged.node)
    })?;
    output.note("see what it would do: rkv cluster plan");
    Ok(End::Done)
}

/// `rkv cluster commit [--plan ID]`.
pub(crate) fn commit(global: &Global, plan: Option<String>) -> Result<End, Failure> {
    let (node, output) = (global.node()?, global.output());
    let answer = node.post("/v1/cluster/commit", &CommitRequest { plan }, ANSWER_WITHIN)?;
    let committed: Committed = answer.read()?;
    output.result(&answer.0, || {
        format!(
            "Cluster changes committed: plan {}, epoch {}\n",
            committed.plan, committed.epoch
        )
    })?;
    output.note("wait until it is carried out: rkv cluster wait");
    Ok(End::Done)
}

/// `rkv cluster handoff [pause|resume|limit N]`; without a verb it shows what holds.
pub(crate) fn handoff(global: &Global, change: Option<HandoffRequest>) -> Result<End, Failure> {
    let (node, output) = (global.node()?, global.output());
    let answer = match change {
        Some(change) => node.post("/v1/cluster/handoff", &change, ANSWER_WITHIN)?,
        None => node.get("/v1/cluster/handoff", &[])?,
    };
    let setting: HandoffSetting = answer.read()?;
    output.result(&answer.0, || table::handoff(&setting))?;
    Ok(End::Done)
}

/// `rkv cluster clear`.
pub(crate) fn clear(global: &Global) -> Result<End, Failure> {
    let (node, output) = (global.node()?, global.output());
    let answer = node.post("/v1/cluster/clear", &json!({}), ANSWER_WITHIN)?;
    let cleared: Cleared = answer.read()?;
    output.result(&answer.0, || match cleared.cleared.len() {
        0 => "There were no staged changes\n".to_owned(),
        count => format!("Cleared staged cluster changes: {count}\n"),
    })?;
    Ok(End::Done)
}

/// How many transfers at once; `None`: as each node's configuration says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit(pub(crate) Option<u64>);

/// Reads `N` or `default`.
pub(crate) fn limit(text: &str) -> Result<Limit, String> {
    if text == "default" {
        return Ok(Limit(None));
    }
    let most = rkv_ring::MOST_TRANSFERS;
    let limit = text
        .parse()
        .ok()
        .filter(|limit| (1..=u64::from(most)).contains(limit));
    let Some(limit) = limit else {
        return Err(format!(
            "1 to {most} or `default`; to hold all transfers: rkv cluster handoff pause"
        ));
    };
    Ok(Limit(Some(limit)))
}
