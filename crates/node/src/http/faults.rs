//! This file answers: how is this node made to fail on purpose?
//!
//! Only with `rkv start --faults`, for tests and game days. The set of faults is replaced as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use parking_lot::Mutex;
use rkv_ring::NodeName;
use rkv_storage::DiskFault;
use rkv_wire::faults::{FaultSwitch, Faults};
use serde::{Deserialize, Serialize};

use super::Http;
use super::error::ApiError;
use super::input::Body;

/// The longest delay: beyond any deadline, and nothing overflows.
const LONGEST_DELAY_MS: u64 = 600_000;

/// What is wrong on purpose.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FaultSet {
    /// Nothing comes from these nodes and nothing reaches them.
    drop: BTreeSet<NodeName>,
    /// Nothing comes from these nodes, though they hear this one.
    deaf_to: BTreeSet<NodeName>,
    /// Links with these nodes are that much slower, each way.
    delay_ms: BTreeMap<NodeName, u64>,
    /// What storage answers to writes.
    disk: Option<Disk>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Disk {
    Error,
    Full,
}

/// The switches of one node.
pub(crate) struct FaultsHandle {
    links: Arc<FaultSwitch>,
    disk: rkv_storage::Faults,
    now: Mutex<FaultSet>,
}

impl FaultsHandle {
    /// Switches the links (and gossip, if it shares `links`) and the store that has `disk`.
    pub(crate) fn new(links: Arc<FaultSwitch>, disk: rkv_storage::Faults) -> FaultsHandle {
        FaultsHandle {
            links,
            disk,
            now: Mutex::new(FaultSet::default()),
        }
    }

    fn set(&self, set: FaultSet) -> FaultSet {
        let mut now = self.now.lock();
        let delays = set.delay_ms.iter();
        self.links.set(Faults {
            dropped: set.drop.clone(),
            deaf_to: set.deaf_to.clone(),
            delay: delays
                .map(|(node, ms)| (node.clone(), Duration::from_millis(*ms)))
                .collect(),
        });
        self.disk.set(set.disk.map(|disk| match disk {
            Disk::Error => DiskFault::Error,
            Disk::Full => DiskFault::Full,
        }));
        *now = set.clone();
        set
    }
}

type Answer = Result<Json<FaultSet>, ApiError>;

fn handle(http: &Http) -> Result<&FaultsHandle, ApiError> {
    http.faults.as_ref().ok_or_else(|| {
        let message = "this node takes no faults: start it with `rkv start --faults`";
        ApiError::refused("faults_disabled", message)
    })
}

/// `GET /v1/faults`
pub(super) async fn show(State(http): State<Arc<Http>>) -> Answer {
    Ok(Json(handle(&http)?.now.lock().clone()))
}

/// `POST /v1/faults`
pub(super) async fn replace(State(http): State<Arc<Http>>, Body(set): Body<FaultSet>) -> Answer {
    let handle = handle(&http)?;
    check(&set, http.engine.me())?;
    Ok(Json(handle.set(set)))
}

/// `DELETE /v1/faults`
pub(super) async fn heal(State(http): State<Arc<Http>>) -> Answer {
    Ok(Json(handle(&http)?.set(FaultSet::default())))
}

fn check(set: &FaultSet, me: &NodeName) -> Result<(), ApiError> {
    let links = [set.drop.contains(me), set.deaf_to.contains(me)];
    if links.contains(&true) || set.delay_ms.contains_key(me) {
        let message = format!("{me} is this node: name the other end of the link");
        return Err(ApiError::usage("bad_fault", message));
    }
    if set.delay_ms.values().any(|ms| *ms > LONGEST_DELAY_MS) {
        let message = format!("delay_ms is at most {LONGEST_DELAY_MS}");
        return Err(ApiError::usage("bad_fault", message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::survey::fixture::json;
    use super::*;

    /// Lost without it: a game day's faults would not come, or not go.
    #[test]
    fn a_set_replaces_the_one_before() {
        let (links, disk) = (Arc::new(FaultSwitch::new()), rkv_storage::Faults::default());
        let handle = FaultsHandle::new(links.clone(), disk.clone());
        let [two, three, four] = ["node2", "node3", "node4"].map(NodeName::from);
        let text =
            r#"{"drop":["node2"],"deaf_to":["node4"],"delay_ms":{"node3":200},"disk":"full"}"#;
        let set: FaultSet = serde_json::from_str(text).unwrap();
        assert_eq!(
            json(&handle.set(set)),
            serde_json::from_str::<serde_json::Value>(text).unwrap()
        );
        assert!(links.drops(&two) && !links.drops(&three) && !links.drops(&four));
        assert!(links.is_deaf_to(&two) && links.is_deaf_to(&four) && !links.is_deaf_to(&three));
        assert_eq!(links.delay(&three), Some(Duration::from_millis(200)));
        assert_eq!(disk.get(), Some(DiskFault::Full));

        handle.set(FaultSet::default());
        assert!(!links.drops(&two) && links.delay(&three).is_none() && disk.get().is_none());
        let none = json!({"drop": [], "deaf_to": [], "delay_ms": {}, "disk": null});
        assert_eq!(json(&*handle.now.lock()), none);
    }

    /// Lost without it: a misspelt or impossible fault would be a fault that silently does not happen.
    #[test]
    fn impossible_faults_are_refused() {
        let me = NodeName::from("node1");
        for bad in [
            r#"{"drop":["node1"]}"#,
            r#"{"deaf_to":["node1"]}"#,
            r#"{"delay_ms":{"node2":600001}}"#,
        ] {
            let set: FaultSet = serde_json::from_str(bad).unwrap();
            assert!(check(&set, &me).is_err(), "{bad}");
        }
        for bad in [r#"{"dorp":["node2"]}"#, r#"{"disk":"slow"}"#] {
            assert!(serde_json::from_str::<FaultSet>(bad).is_err(), "{bad}");
        }
    }
}
