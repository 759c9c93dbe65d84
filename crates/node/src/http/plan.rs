//! This file answers: what would a commit do?

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use rkv_ring::{Epoch, NodeName, Partition, Plan};
use rkv_wire::message::TransferKind;
use serde::Serialize;

use super::Http;
use super::awaited::staged;
use super::change::{Shown, shown};
use super::error::ApiError;
use super::members::{Member, member};
use super::survey::Survey;

/// What `rkv cluster plan` shows.
#[derive(Debug, Serialize)]
pub(super) struct PlanShown {
    /// Its id; null when nothing is staged.
    plan: Option<String>,
    epoch: Epoch,
    changes: Vec<Shown>,
    /// As the commit leaves them; `ring_percent` is what they have now.
    members: Vec<Member>,
    transfers: Vec<Planned>,
    /// Copies that are lost with the commit, by who is to fill them again from the other owners.
    refills: Vec<Planned>,
    warnings: Vec<String>,
}

/// One copy that would be made.
#[derive(Debug, Serialize)]
pub(super) struct Planned {
    kind: TransferKind,
    partition: Partition,
    from: NodeName,
    to: NodeName,
    /// What the source holds now; 0 when it has not reported.
    keys: u64,
    bytes: u64,
}

fn document(survey: &Survey, plan: Option<Plan>) -> PlanShown {
    let epoch = survey.ring().epoch;
    let Some(plan) = plan else {
        return PlanShown {
            plan: None,
            epoch,
            changes: Vec::new(),
            members: Vec::new(),
            transfers: Vec::new(),
            refills: Vec::new(),
            warnings: Vec::new(),
        };
    };
    let planned = |kind: TransferKind, transfer: rkv_ring::Transfer| {
        let held = match kind {
            // The copy is lost: it is filled from another.
            TransferKind::Repair => survey.others_totals(&transfer.from, transfer.partition),
            _ => survey.serving_totals(&transfer.from, transfer.partition),
        };
        let held = held.unwrap_or_default();
        Planned {
            kind,
            partition: transfer.partition,
            from: transfer.from,
            to: transfer.to,
            keys: held.entries,
            bytes: held.bytes,
        }
    };
    let shares = plan.members.into_iter();
    PlanShown {
        plan: Some(plan.id),
        epoch,
        changes: shown(&plan.changes),
        members: shares.filter_map(|share| member(survey, share)).collect(),
        transfers: plan
            .transfers
            .into_iter()
            .map(|transfer| planned(TransferKind::Ownership, transfer))
            .collect(),
        refills: plan
            .refills
            .into_iter()
            .map(|refill| planned(TransferKind::Repair, refill))
            .collect(),
        warnings: plan.warnings,
    }
}

/// `GET /v1/cluster/plan`
pub(super) async fn show(State(http): State<Arc<Http>>) -> Result<Json<PlanShown>, ApiError> {
    let plan = staged(&http.engine).await?;
    let survey = Survey::take(&http).await?;
    Ok(Json(document(&survey, plan)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::survey::fixture::*;
    use super::*;

    /// Lost without it: scripts that read the promised fields find others, and a plan hides what it moves.
    #[test]
    fn a_plan_reads_as_promised() {
        let ring = joining(founded(), &[2, 3]);
        let plan = rkv_ring::plan::plan(&ring);
        let id = plan.as_ref().unwrap().id.clone();
        let shown = json(&document(&survey(ring, &[]), plan));
        assert_eq!(shown["plan"], json!(id));
        let changes =
            json!([{"action": "join", "node": "node2"}, {"action": "join", "node": "node3"}]);
        assert_eq!(shown["changes"], changes);
        assert_eq!(shown["members"][0]["ring_percent"], 100.0);
        assert_eq!(shown["members"][0]["pending_percent"], 37.5);
        assert_eq!(shown["members"][1]["status"], "valid");
        assert_eq!(shown["members"][1]["pending_vnodes"], 16);
        assert_eq!(shown["transfers"].as_array().unwrap().len(), 32);
        let first = &shown["transfers"][0];
        assert_eq!(first["kind"], "ownership");
        assert_eq!(first["from"], "node1");
        assert_eq!(
            (&first["keys"], &first["bytes"]),
            (&json!(10), &json!(1000))
        );
        assert_eq!(shown["warnings"], json!([]));
    }

    /// Lost without it: with nothing staged a script could not tell from an empty plan.
    #[test]
    fn nothing_staged_is_null() {
        let shown = json(&document(&survey(founded(), &[]), None));
        assert_eq!(shown["plan"], json!(null));
        assert_eq!(
            (&shown["members"], &shown["transfers"]),
            (&json!([]), &json!([]))
        );
    }
}
