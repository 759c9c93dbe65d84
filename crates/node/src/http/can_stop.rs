//! This file answers: may this node be stopped without taking a quorum away?
//!
//! By distinct nodes, not by places: while a node stands in two places of a row, its one copy is one copy. A copy that
//! catches up counts as absent, and so does a member that does not report.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use rkv_ring::{NodeName, Partition, Refusal};
use serde::{Deserialize, Serialize};

use super::Http;
use super::error::ApiError;
use super::input::Params;
use super::survey::Survey;

/// What `rkv cluster can-stop` shows.
#[derive(Debug, Serialize)]
pub(super) struct CanStop {
    can_stop: bool,
    node: NodeName,
    /// Those without a majority of their owners if the node stops.
    partitions: Vec<Partition>,
    /// Why not; null when it may.
    reason: Option<String>,
}

fn document(survey: &Survey, node: NodeName) -> CanStop {
    let all = survey.ring().partitions;
    let loses = |partition: &Partition| {
        let owners = survey.view.owners(*partition);
        let left = owners
            .iter()
            .filter(|owner| **owner != node && survey.is_serving(owner, *partition));
        left.count() <= owners.len() / 2
    };
    let partitions: Vec<Partition> = all.partitions().filter(loses).collect();
    let reason = (!partitions.is_empty()).then(|| {
        format!(
            "without {node} {} of {} partitions have no majority of their owners up and caught up",
            partitions.len(),
            all.get()
        )
    });
    CanStop {
        can_stop: partitions.is_empty(),
        node,
        partitions,
        reason,
    }
}

/// About whom; this node unless said.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    node: Option<NodeName>,
}

/// `GET /v1/cluster/can-stop`, with `?node=` of another one
pub(super) async fn show(
    State(http): State<Arc<Http>>,
    Params(which): Params<Which>,
) -> Result<Json<CanStop>, ApiError> {
    let node = which.node.unwrap_or_else(|| http.engine.me().clone());
    let survey = Survey::take(&http).await?;
    if !survey.ring().members.contains_key(&node) {
        return Err(Refusal::NotMember { node }.into());
    }
    Ok(Json(document(&survey, node)))
}

#[cfg(test)]
mod tests {
    use rkv_wire::message::CopyState;
    use serde_json::json;

    use super::super::survey::fixture::*;
    use super::*;

    /// Lost without it: a rolling restart would stop the node that holds a partition's quorum together.
    #[test]
    fn a_node_may_stop_when_the_others_are_enough() {
        let lost = |survey: &Survey, node: &str| document(survey, node.into()).partitions.len();
        assert_eq!(lost(&survey(founded(), &[]), "node1"), 16);
        assert_eq!(lost(&survey(cluster(2), &[]), "node2"), 16);
        let three = || survey(cluster(3), &[]);
        assert_eq!(lost(&three(), "node2"), 0);
        assert_eq!(lost(&survey(cluster(3), &["node3"]), "node2"), 16);
        assert_eq!(lost(&survey(cluster(3), &["node3"]), "node3"), 0);

        let catching_up = reporting(three(), "node3", |report| {
            report.copies[3].state = CopyState::CatchingUp;
        });
        let shown = json(&document(&catching_up, "node2".into()));
        let reason =
            "without node2 1 of 16 partitions have no majority of their owners up and caught up";
        assert_eq!(
            shown,
            json!({"can_stop": false, "node": "node2", "partitions": [3], "reason": reason})
        );
        assert_eq!(lost(&catching_up, "node3"), 0);
    }
}
