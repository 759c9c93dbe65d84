//! This file answers: which vnode answers a ping?

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use rkv_kv::coordinate::Reply;
use rkv_ring::{NodeName, Partition};
use rkv_vnode::ping::PING;
use rkv_wire::message::Answer;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Http;
use super::awaited::answer_to;
use super::error::ApiError;
use super::input::Body;

/// What to send round; 1 unless said.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ping {
    value: Option<Value>,
    timeout_ms: Option<u64>,
}

/// What `rkv ping` shows.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Pong {
    pong: i64,
    node: NodeName,
    partition: Partition,
}

/// `POST /v1/ping`
pub(super) async fn ping(
    State(http): State<Arc<Http>>,
    Body(ping): Body<Ping>,
) -> Result<Json<Pong>, ApiError> {
    let value = number(ping.value)?;
    let key = format!("ping{value}");
    let command = Bytes::from(value.to_string());
    let engine = &http.engine;
    let within_ms = ping
        .timeout_ms
        .unwrap_or(engine.default_keyspace().defaults.timeout_ms);
    let answered =
        answer_to(|done| engine.ask(PING, key.as_bytes(), command, within_ms, done)).await?;
    match answered {
        Some((partition, reply)) => pong(partition, reply).map(Json),
        None => {
            let (_, preflist) = engine.preflist(key.as_bytes());
            let partition = preflist.partition;
            Err(if preflist.places.iter().any(|place| place.up) {
                ApiError::timeout(
                    format!("partition {partition} did not answer in time"),
                    false,
                )
            } else {
                let message = format!("no owner of partition {partition} can be reached");
                ApiError::no_replicas("too_few_nodes", message)
            })
        }
    }
}

fn number(value: Option<Value>) -> Result<i64, ApiError> {
    let parsed = match &value {
        None | Some(Value::Null) => Some(1),
        Some(Value::Number(number)) => number.as_i64(),
        Some(Value::String(text)) => text.parse().ok(),
        Some(_) => None,
    };
    parsed.filter(|n| *n < i64::MAX).ok_or_else(|| {
        let value = value.unwrap_or_default();
        let message = format!("ping takes a whole number below 2^63 - 1, not {value}");
        ApiError::usage("bad_value", message)
    })
}

fn pong(partition: Partition, reply: Reply) -> Result<Pong, ApiError> {
    let node = reply.node;
    let no_number = || ApiError::internal("bad_answer", format!("{node} answered no number"));
    match reply.answer {
        Answer::Custom(bytes) => {
            let text = std::str::from_utf8(&bytes).ok();
            let pong = text.and_then(|text| text.parse().ok());
            Ok(Pong {
                pong: pong.ok_or_else(no_number)?,
                node,
                partition,
            })
        }
        Answer::Failed { text, .. } => Err(ApiError::internal("failed", format!("{node}: {text}"))),
        Answer::NotOwner(_) | Answer::Moved(_) | Answer::Behind(_) => Err(ApiError::again(
            "ring_changing",
            format!("the ring is changing, and {node} has another one; try again"),
        )),
        Answer::Busy => {
            let message = format!("{node} has too much to do; try again");
            Err(ApiError::again("busy", message))
        }
        _ => Err(no_number()),
    }
}

#[cfg(test)]
mod tests {
    use rkv_wire::message::Answer;

    use super::*;

    /// Lost without it: the tutorial's first command shows another number than the vnode's.
    #[test]
    fn numbers_go_out_and_pongs_come_back() {
        assert_eq!(number(None), Ok(1));
        assert_eq!(number(Some(Value::from(-3))), Ok(-3));
        assert_eq!(number(Some(Value::from("7"))), Ok(7));
        for bad in [
            Value::from("x"),
            Value::from(1.5),
            Value::from(i64::MAX),
            Value::from(true),
        ] {
            assert!(number(Some(bad.clone())).is_err(), "{bad}");
        }
        let reply = |answer| Reply {
            node: "node1".into(),
            answer,
            body: Bytes::new(),
        };
        let expected = Pong {
            pong: 2,
            node: "node1".into(),
            partition: Partition(3),
        };
        let answer = Answer::Custom(Bytes::from_static(b"2"));
        assert_eq!(pong(Partition(3), reply(answer)), Ok(expected));
        assert!(pong(Partition(3), reply(Answer::Busy)).is_err());
        assert!(pong(Partition(3), reply(Answer::Stored)).is_err());
    }
}
