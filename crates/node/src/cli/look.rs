//! This file answers: what does the cluster look like now?

use std::time::{Duration, Instant};

use serde_json::json;

use super::api::{ANSWER_WITHIN, Node};
use super::documents::{
    CanStop, ClusterStatus, KeyPlace, Members, PingRequest, Plan, Pong, RingTable, Status,
    Transfers,
};
use super::failure::{Failure, Kind};
use super::output::Output;
use super::watch::Watch;
use super::{End, Global, table};

/// How often `cluster wait` asks.
const POLL: Duration = Duration::from_millis(100);

/// How often `transfers --watch` asks.
const WATCH: Duration = Duration::from_secs(1);

/// `rkv status`.
pub(crate) fn status(global: &Global) -> Result<End, Failure> {
    let (answer, output) = (global.node()?.get("/v1/status", &[])?, global.output());
    let status: Status = answer.read()?;
    output.result(&answer.0, || {
        table::status(&status, &output.health(&status.health))
    })?;
    Ok(End::Done)
}

/// `rkv ping [VALUE]`.
pub(crate) fn ping(global: &Global, value: i64) -> Result<End, Failure> {
    let answer = global
        .node()?
        .query("/v1/ping", &PingRequest { value }, ANSWER_WITHIN)?;
    let pong: Pong = answer.read()?;
    global.output().result(&answer.0, || {
        format!(
            "pong {} {} partition {}\n",
            pong.pong, pong.node, pong.partition
        )
    })?;
    Ok(End::Done)
}

/// `rkv cluster members`.
pub(crate) fn members(global: &Global) -> Result<End, Failure> {
    let answer = global.node()?.get("/v1/cluster/members", &[])?;
    let members: Members = answer.read()?;
    global
        .output()
        .result(&answer.0, || table::membership(&members.members))?;
    Ok(End::Done)
}

/// `rkv cluster ring [--key KEY]`.
pub(crate) fn ring(global: &Global, key: Option<&str>) -> Result<End, Failure> {
    let (node, output) = (global.node()?, global.output());
    match key {
        Some(key) => {
            let answer = node.get("/v1/cluster/ring", &[("key", key)])?;
            let place: KeyPlace = answer.read()?;
            output.result(&answer.0, || table::key_place(&place))?;
        }
        None => {
            let answer = node.get("/v1/cluster/ring", &[])?;
            let ring: RingTable = answer.read()?;
            output.result(&answer.0, || table::ring(&ring))?;
        }
    }
    Ok(End::Done)
}

/// `rkv cluster plan`.
pub(crate) fn plan(global: &Global) -> Result<End, Failure> {
    let answer = global.node()?.get("/v1/cluster/plan", &[])?;
    let plan: Plan = answer.read()?;
    global.output().result(&answer.0, || table::plan(&plan))?;
    Ok(End::Done)
}

/// `rkv cluster status`.
pub(crate) fn cluster_status(global: &Global) -> Result<End, Failure> {
    let answer = global.node()?.get("/v1/cluster/status", &[])?;
    let status: ClusterStatus = answer.read()?;
    global
        .output()
        .result(&answer.0, || table::cluster_status(&status))?;
    Ok(End::Done)
}

/// `rkv cluster transfers [--watch]`: watching ends when there are none.
pub(crate) fn transfers(global: &Global, watch: bool) -> Result<End, Failure> {
    let (node, output) = (global.node()?, global.output());
    let mut blocks = Watch::default();
    loop {
        let answer = node.get("/v1/cluster/transfers", &[])?;
        let list: Transfers = answer.read()?;
        output.result(&answer.0, || match watch {
            true => blocks.draw(&list.transfers, &output),
            false => table::transfers(&list.transfers),
        })?;
        if !watch || list.transfers.is_empty() {
            return Ok(End::Done);
        }
        std::thread::sleep(WATCH);
    }
}

/// `rkv cluster can-stop [NODE]`: a no is exit 4.
pub(crate) fn can_stop(global: &Global, node: Option<&str>) -> Result<End, Failure> {
    let query: Vec<(&str, &str)> = node.map(|node| ("node", node)).into_iter().collect();
    let answer = global.node()?.get("/v1/cluster/can-stop", &query)?;
    let found: CanStop = answer.read()?;
    global
        .output()
        .result(&answer.0, || table::can_stop(&found))?;
    Ok(if found.can_stop { End::Done } else { End::No })
}

/// `rkv cluster wait [--timeout T]`.
pub(crate) fn wait(global: &Global, timeout: Duration) -> Result<End, Failure> {
    let (node, output) = (global.node()?, global.output());
    let (status, document) = settled(&node, timeout, &output)?;
    output.result(&document, || format!("settled at epoch {}\n", status.epoch))?;
    Ok(End::Done)
}

/// The status of the cluster that `node` is in as soon as it is settled. A node that cannot be asked at first is an
/// error at once; one that goes away meanwhile may come back within `timeout`.
pub(crate) fn settled(
    node: &Node,
    timeout: Duration,
    output: &Output,
) -> Result<(ClusterStatus, String), Failure> {
    let until = Instant::now() + timeout;
    let mut seen: Option<ClusterStatus> = None;
    let mut said = String::new();
    loop {
        match node.get("/v1/cluster/status", &[]) {
            Ok(answer) => {
                let status: ClusterStatus = answer.read()?;
                if status.settled {
                    return Ok((status, answer.0));
                }
                let waits = table::unsettled(&status);
                if waits != said {
                    output.note(&waits);
                    said = waits;
                }
                seen = Some(status);
            }
            Err(failure) if seen.is_none() || failure.kind != Kind::Unreachable => {
                return Err(failure);
            }
            Err(failure) => said = failure.message,
        }
        if Instant::now() >= until {
            let message = format!("not settled within {timeout:?}: {said}");
            return Err(Failure::with(
                Kind::Timeout,
                "not_settled",
                message,
                json!({"status": seen}),
            ));
        }
        std::thread::sleep(POLL);
    }
}
