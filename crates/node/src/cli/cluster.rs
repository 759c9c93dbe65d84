//! This file answers: how is the cluster changed?

use serde::Serialize;
use serde_json::json;

use super::api::ANSWER_WITHIN;
use super::documents::{
    AboutNode, Cancelled, Change, Cleared, CommitRequest, Committed, HandoffRequest,
    HandoffSetting, JoinRequest, LeaveRequest, MarkedDown, RecoverRequest, Recovered,
    ReplaceRequest, Staged, WeightRequest, ZoneRequest,
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
    let request = JoinRequest {
        peer: peer.to_owned(),
    };
    stage(global, "/v1/cluster/join", &request, |staged| {
        format!("join request for {} to {peer}", staged.node)
    })
}

/// Has a change staged, and says so as `told` of what was.
fn stage(
    global: &Global,
    path: &str,
    request: &impl Serialize,
    told: impl FnOnce(&Change) -> String,
) -> Result<End, Failure> {
    let (node, output) = (global.node()?, global.output());
    let answer = node.post(path, request, ANSWER_WITHIN)?;
    let staged: Staged = answer.read()?;
    output.result(&answer.0, || {
        format!("Success: staged {}\n", told(&staged.staged))
    })?;
    output.note("see what it would do: rkv cluster plan");
    Ok(End::Done)
}

/// `rkv cluster leave [NODE]`.
pub(crate) fn leave(global: &Global, leaver: Option<String>) -> Result<End, Failure> {
    let request = LeaveRequest { node: leaver };
    stage(global, "/v1/cluster/leave", &request, |staged| {
        format!("leave request for {}", staged.node)
    })
}

/// `rkv cluster remove NODE`.
pub(crate) fn remove(global: &Global, node: String) -> Result<End, Failure> {
    let request = AboutNode { node };
    stage(global, "/v1/cluster/remove", &request, |staged| {
        format!("remove request for {}; its copies are lost", staged.node)
    })
}

/// `rkv cluster replace OLD NEW [--force]`.
pub(crate) fn replace(
    global: &Global,
    node: String,
    with: String,
    force: bool,
) -> Result<End, Failure> {
    let told = |staged: &Change| {
        let (old, new) = (&staged.node, staged.with.as_deref().unwrap_or("--"));
        if force {
            format!("forced replacement of {old} with {new}; the copies of {old} are lost")
        } else {
            format!("replacement of {old} with {new}")
        }
    };
    let request = ReplaceRequest { node, with, force };
    stage(global, "/v1/cluster/replace", &request, told)
}

/// `rkv cluster weight NODE W`.
pub(crate) fn weight(global: &Global, node: String, weight: f64) -> Result<End, Failure> {
    let request = WeightRequest { node, weight };
    stage(global, "/v1/cluster/weight", &request, |staged| {
        format!("weight {weight} for {}", staged.node)
    })
}

/// `rkv cluster zone NODE ZONE`.
pub(crate) fn zone(global: &Global, node: String, zone: Option<String>) -> Result<End, Failure> {
    let request = ZoneRequest { node, zone };
    stage(global, "/v1/cluster/zone", &request, |staged| {
        let zone = staged.zone.as_deref().unwrap_or("none");
        format!("zone {zone} for {}", staged.node)
    })
}

/// `rkv cluster down NODE`.
pub(crate) fn down(global: &Global, node: String) -> Result<End, Failure> {
    let (asked, output) = (global.node()?, global.output());
    let answer = asked.post("/v1/cluster/down", &AboutNode { node }, ANSWER_WITHIN)?;
    let marked: MarkedDown = answer.read()?;
    output.result(&answer.0, || {
        format!("Success: {} marked as down\n", marked.down)
    })?;
    output.note("it is a member again as soon as it is back");
    Ok(End::Done)
}

/// `rkv cluster cancel`.
pub(crate) fn cancel(global: &Global) -> Result<End, Failure> {
    let (node, output) = (global.node()?, global.output());
    let answer = node.post("/v1/cluster/cancel", &json!({}), ANSWER_WITHIN)?;
    let cancelled: Cancelled = answer.read()?;
    output.result(&answer.0, || match cancelled.cancelled {
        0 => "There were no transfers to cancel\n".to_owned(),
        1 => "Cancelled 1 transfer; its copy stays where it was\n".to_owned(),
        count => format!("Cancelled {count} transfers; their copies stay where they were\n"),
    })?;
    Ok(End::Done)
}

/// `rkv cluster recover --without NODE... --accept-data-loss`.
pub(crate) fn recover(
    global: &Global,
    without: Vec<String>,
    accept_data_loss: bool,
) -> Result<End, Failure> {
    let (node, output) = (global.node()?, global.output());
    let request = RecoverRequest {
        without,
        accept_data_loss,
    };
    let answer = node.post("/v1/cluster/recover", &request, ANSWER_WITHIN)?;
    let recovered: Recovered = answer.read()?;
    output.result(&answer.0, || {
        format!(
            "Success: the cluster goes on without {}, epoch {}\n",
            recovered.without.join(", "),
            recovered.epoch
        )
    })?;
    output.note("wait until the copies are filled again: rkv cluster wait");
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
