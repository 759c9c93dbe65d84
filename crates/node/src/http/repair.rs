//! This file answers: how do copies compare with each other, and who has them compared now?
//!
//! Any node is asked; it asks the members concerned. Copies that move, leave or catch up are brought up to date by that, and
//! no exchange begins of them.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use rkv_kv::mending::{Ask, ByNode, Told};
use rkv_ring::{NodeName, Partition, Refusal};
use rkv_vnode::View;
use rkv_wire::message::{CopyState, RepairReport};
use serde::{Deserialize, Serialize};

use super::Http;
use super::awaited::answer_to;
use super::error::ApiError;
use super::input::{Body, Params};

/// Which copies: of one partition, of one member, of both, or all.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    partition: Option<u16>,
    node: Option<NodeName>,
}

/// Exchanges that begin.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Begun {
    ok: bool,
    /// Copies that are compared with each of their peers that is up.
    begun: u32,
    /// The same by member.
    nodes: Vec<BegunAt>,
    /// Members with copies concerned that did not answer.
    unreachable: Vec<NodeName>,
}

#[derive(Debug, PartialEq, Serialize)]
struct BegunAt {
    node: NodeName,
    begun: u32,
}

/// How copies compare with each other.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Repairs {
    repairs: Vec<Repair>,
    /// Members with copies concerned that did not answer.
    unreachable: Vec<NodeName>,
}

/// One copy.
#[derive(Debug, PartialEq, Serialize)]
struct Repair {
    node: NodeName,
    partition: Partition,
    /// `idle`, `exchanging`, `waiting` for its peers, or the state of a copy that is brought up to date otherwise.
    state: &'static str,
    /// Whom it is compared with now, or waits to be.
    with: Option<NodeName>,
    /// Since when it has been exchanged in full with every other owner, in unix milliseconds; null: not since its node started.
    last_full_exchange_ms: Option<u64>,
    /// How long ago that was.
    last_full_exchange_s_ago: Option<u64>,
    /// Keys of it that exchanges have mended since its node started.
    keys_repaired: u64,
    /// Slots that are known to differ from a peer's now.
    divergence: u64,
    last_error: Option<String>,
}

/// `POST /v1/cluster/repair`
pub(super) async fn begin(
    State(http): State<Arc<Http>>,
    Body(which): Body<Which>,
) -> Result<Json<Begun>, ApiError> {
    let (view, told) = ask(&http, &which, true).await?;
    Ok(Json(begun(&view, &which, told)))
}

/// `GET /v1/cluster/repair`, with `?partition=` and `?node=` of some only
pub(super) async fn show(
    State(http): State<Arc<Http>>,
    Params(which): Params<Which>,
) -> Result<Json<Repairs>, ApiError> {
    let (view, told) = ask(&http, &which, false).await?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_ms = since.map_or(0, |since| since.as_millis() as u64);
    Ok(Json(repairs(&view, &which, told, now_ms)))
}

async fn ask(http: &Http, which: &Which, begin: bool) -> Result<(Arc<View>, ByNode), ApiError> {
    let view = http.engine.view();
    check(&view, which)?;
    let ask = Ask {
        partition: which.partition.map(Partition),
        node: which.node.clone(),
        begin,
    };
    let told = answer_to(|done| http.engine.mend(&ask, done)).await?;
    Ok((view, told))
}

/// Whether there are such copies.
fn check(view: &View, which: &Which) -> Result<(), ApiError> {
    let q = view.ring().partitions.get();
    if let Some(partition) = which.partition.filter(|partition| *partition >= q) {
        let message = format!("there is no partition {partition}: they are 0 to {}", q - 1);
        return Err(ApiError::usage("bad_partition", message));
    }
    let Some(node) = &which.node else {
        return Ok(());
    };
    if !view.ring().members.contains_key(node) {
        return Err(Refusal::NotMember { node: node.clone() }.into());
    }
    if node != view.me() && !view.is_up(node) {
        let message = format!("{node} cannot be reached: its copies are compared when it is back");
        return Err(ApiError::refused("not_reachable", message));
    }
    let owners = |partition: u16| view.owners(Partition(partition));
    match which.partition {
        Some(partition) if !owners(partition).contains(node) => {
            let names: Vec<String> = owners(partition).iter().map(NodeName::to_string).collect();
            let names = names.join(", ");
            let message = format!("{node} owns no copy of partition {partition}: {names} do");
            Err(ApiError::refused("not_owner", message))
        }
        _ => Ok(()),
    }
}

/// Owners of what was asked about that told nothing.
fn unreachable(view: &View, which: &Which, told: &ByNode) -> Vec<NodeName> {
    let owns = |node: &NodeName| match which.partition {
        Some(partition) => view.ring().owns(node, Partition(partition)),
        None => view
            .ring()
            .partitions
            .partitions()
            .any(|p| view.ring().owns(node, p)),
    };
    let is_meant = |node: &&NodeName| which.node.as_ref().is_none_or(|wanted| wanted == *node);
    let members = view.ring().members.keys();
    members
        .filter(is_meant)
        .filter(|node| !told.contains_key(*node) && owns(node))
        .cloned()
        .collect()
}

fn begun(view: &View, which: &Which, told: ByNode) -> Begun {
    let unreachable = unreachable(view, which, &told);
    let at = |(node, told): (NodeName, Told)| BegunAt {
        node,
        begun: told.begun,
    };
    let nodes: Vec<BegunAt> = told.into_iter().map(at).collect();
    Begun {
        ok: true,
        begun: nodes.iter().map(|at| at.begun).sum(),
        nodes,
        unreachable,
    }
}

fn repairs(view: &View, which: &Which, told: ByNode, now_ms: u64) -> Repairs {
    let unreachable = unreachable(view, which, &told);
    let mut repairs: Vec<Repair> = told
        .into_iter()
        .flat_map(|(node, told)| {
            let of_copy = move |copy| repair(node.clone(), copy, now_ms);
            told.copies.into_iter().map(of_copy)
        })
        .collect();
    repairs.sort_by(|a, b| (a.partition, &a.node).cmp(&(b.partition, &b.node)));
    Repairs {
        repairs,
        unreachable,
    }
}

fn repair(node: NodeName, of: RepairReport, now_ms: u64) -> Repair {
    let waits_for = of.asked_for.first().cloned();
    let state = match of.state {
        CopyState::CatchingUp => "catching_up",
        CopyState::Forwarding => "forwarding",
        CopyState::Receiving => "receiving",
        CopyState::Draining => "draining",
        _ if of.with.is_some() => "exchanging",
        _ if waits_for.is_some() => "waiting",
        _ => "idle",
    };
    Repair {
        node,
        partition: of.copy.partition,
        state,
        with: of.with.or(waits_for),
        last_full_exchange_ms: of.exchanged_ms,
        last_full_exchange_s_ago: of
            .exchanged_ms
            .map(|ended_ms| now_ms.saturating_sub(ended_ms) / 1_000),
        keys_repaired: of.repaired,
        divergence: of.divergence,
        last_error: of.last_error,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::survey::fixture::{cluster, copy, json, survey};
    use super::*;

    fn which(partition: Option<u16>, node: Option<&str>) -> Which {
        Which {
            partition,
            node: node.map(NodeName::from),
        }
    }

    fn told() -> ByNode {
        let report = RepairReport {
            copy: copy(3),
            state: CopyState::Serving,
            exchanged_ms: Some(1_000),
            repaired: 7,
            divergence: 2,
            with: Some("node2".into()),
            asked_for: vec!["node3".into()],
            last_error: None,
        };
        let told = Told {
            begun: 1,
            copies: vec![report],
        };
        ByNode::from([("node1".into(), told)])
    }

    /// Lost without it: scripts that wait for a repair read other fields than those that are promised, and nobody hears whose
    /// copies were left out.
    #[test]
    fn copies_read_as_promised_and_the_absent_are_named() {
        let survey = survey(cluster(3), &["node3"]);
        let of_three = which(Some(3), None);
        assert_eq!(
            json(&repairs(&survey.view, &of_three, told(), 61_500)),
            json!({"repairs": [{
                "node": "node1", "partition": 3, "state": "exchanging", "with": "node2",
                "last_full_exchange_ms": 1000, "last_full_exchange_s_ago": 60, "keys_repaired": 7, "divergence": 2,
                "last_error": null,
            }], "unreachable": ["node2", "node3"]})
        );
        assert_eq!(
            json(&begun(&survey.view, &which(None, Some("node1")), told())),
            json!({"ok": true, "begun": 1, "nodes": [{"node": "node1", "begun": 1}], "unreachable": []})
        );
    }

    /// Lost without it: a repair of copies that do not exist says that it has begun.
    #[test]
    fn what_does_not_exist_is_refused() {
        let survey = survey(cluster(4), &["node4"]);
        let view = &survey.view;
        let stranger = view.ring().members.keys();
        let stranger = stranger
            .into_iter()
            .find(|node| !view.ring().owns(node, Partition(3)));
        let stranger = stranger.expect("three of four own a partition").clone();
        let usage = check(view, &which(Some(16), None)).unwrap_err();
        assert_eq!(
            usage,
            ApiError::usage(
                "bad_partition",
                "there is no partition 16: they are 0 to 15"
            )
        );
        assert!(check(view, &which(Some(15), None)).is_ok());
        assert!(check(view, &which(None, Some("node9"))).is_err());
        assert!(
            check(view, &which(None, Some("node4"))).is_err(),
            "it is away"
        );
        assert!(check(view, &which(Some(3), Some(stranger.as_str()))).is_err());
        assert!(check(view, &which(None, Some("node2"))).is_ok());
    }
}
