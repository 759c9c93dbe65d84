//! This file answers: who owns what, and where does one key lie?

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use rkv_quorum::tally::Role;
use rkv_ring::{Epoch, NodeName, Partition, Preflist, Ring, Row, Slot};
use serde::{Deserialize, Serialize};

use super::Http;
use super::error::ApiError;
use super::input::Params;
use super::kv::{BASE64, key_of};

/// What `rkv cluster ring` shows.
#[derive(Debug, Serialize)]
pub(super) struct Owners {
    epoch: Epoch,
    partitions: u16,
    replicas: u8,
    owners: Vec<Row>,
}

fn owners(ring: &Ring) -> Owners {
    Owners {
        epoch: ring.epoch,
        partitions: ring.partitions.get(),
        replicas: ring.replicas,
        owners: ring.rows.clone(),
    }
}

/// What `rkv cluster ring --key KEY` shows.
#[derive(Debug, Serialize)]
pub(super) struct KeyPlace {
    /// As far as it is text.
    key: String,
    key_base64: String,
    slot: Slot,
    partition: Partition,
    preflist: Vec<Answerer>,
}

/// One entry of a preference list.
#[derive(Debug, Serialize)]
pub(super) struct Answerer {
    node: NodeName,
    /// The place of the row; a fallback's is the one that it stands in for.
    replica: u8,
    role: Role,
    up: bool,
}

fn key_place(key: &[u8], slot: Slot, preflist: &Preflist) -> KeyPlace {
    KeyPlace {
        key: String::from_utf8_lossy(key).into_owned(),
        key_base64: BASE64.encode(key),
        slot,
        partition: preflist.partition,
        preflist: answerers(preflist),
    }
}

/// The row, each owner that is down replaced by the next fallback as long as there are any. A fallback stands in for a
/// node, in the first of its places.
fn answerers(preflist: &Preflist) -> Vec<Answerer> {
    let mut fallbacks = preflist.fallbacks.iter();
    let mut replaced: Vec<&NodeName> = Vec::new();
    let mut answerers = Vec::new();
    for place in &preflist.places {
        let mut next = || {
            if place.up || replaced.contains(&&place.node) {
                return None;
            }
            replaced.push(&place.node);
            fallbacks.next()
        };
        answerers.push(match next() {
            Some(fallback) => Answerer {
                node: fallback.clone(),
                replica: place.replica,
                role: Role::Fallback,
                up: true,
            },
            None => Answerer {
                node: place.node.clone(),
                replica: place.replica,
                role: Role::Owner,
                up: place.up,
            },
        });
    }
    answerers
}

/// Which key to look for, if any.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    key: Option<String>,
    key_base64: Option<String>,
}

/// `GET /v1/cluster/ring`, with `?key=` or `?key_base64=` of one key
pub(super) async fn show(
    State(http): State<Arc<Http>>,
    Params(which): Params<Which>,
) -> Result<Response, ApiError> {
    if which.key.is_none() && which.key_base64.is_none() {
        return Ok(Json(owners(http.engine.view().ring())).into_response());
    }
    let key = key_of(which.key, which.key_base64)?;
    let (slot, preflist) = http.engine.preflist(&key);
    Ok(Json(key_place(&key, slot, &preflist)).into_response())
}

#[cfg(test)]
mod tests {
    use rkv_ring::{Place, Walk};
    use serde_json::json;

    use super::super::survey::fixture::*;
    use super::*;

    /// Lost without it: scripts that read the promised fields find others.
    #[test]
    fn the_table_reads_as_promised() {
        let shown = json(&owners(&cluster(3)));
        assert_eq!(shown["partitions"], 16);
        assert_eq!(shown["replicas"], 3);
        let rows = shown["owners"].as_array().unwrap();
        assert!(rows.len() == 16 && rows.iter().all(|row| row.as_array().unwrap().len() == 3));
    }

    /// Lost without it: the list would name a dead owner where another answers, or an answerer twice.
    #[test]
    fn fallbacks_take_the_places_of_the_dead() {
        let preflist = |places: &[(&str, bool)], fallbacks: &[&str]| Preflist {
            partition: Partition(3),
            ring: founded().id(),
            places: (0..)
                .zip(places)
                .map(|(replica, (node, up))| Place {
                    replica,
                    node: (*node).into(),
                    up: *up,
                })
                .collect(),
            fallbacks: fallbacks.iter().map(|node| (*node).into()).collect(),
        };
        let shown = |places: &[(&str, bool)], fallbacks: &[&str]| {
            let list = answerers(&preflist(places, fallbacks));
            let words = list.iter().map(|a| {
                let up = if a.up { "" } else { "!" };
                format!("{}/{}/{}{up}", a.node, a.replica, a.role)
            });
            words.collect::<Vec<_>>().join(" ")
        };
        for (places, fallbacks, expected) in [
            (
                [("a", true), ("b", true), ("c", true)],
                &["d"][..],
                "a/0/primary b/1/primary c/2/primary",
            ),
            (
                [("a", true), ("b", false), ("c", false)],
                &["d"],
                "a/0/primary d/1/fallback c/2/primary!",
            ),
            (
                [("b", false), ("b", false), ("a", true)],
                &["d", "e"],
                "d/0/fallback b/1/primary! a/2/primary",
            ),
        ] {
            assert_eq!(shown(&places, fallbacks), expected);
        }
    }

    /// Lost without it: scripts that read the promised fields find others.
    #[test]
    fn a_key_reads_as_promised() {
        let ring = founded();
        let slot = Slot::of(b"foo");
        let partition = ring.partition_of(slot);
        let list = rkv_ring::preflist(&ring, &Walk::of(&ring), partition, |_| true);
        let shown = json(&key_place(b"foo", slot, &list));
        let answerer =
            |replica| json!({"node": "node1", "replica": replica, "role": "primary", "up": true});
        let expected = json!({
            "key": "foo", "key_base64": "Zm9v", "slot": 12182, "partition": 11,
            "preflist": [answerer(0), answerer(1), answerer(2)],
        });
        assert_eq!(shown, expected);
    }
}
