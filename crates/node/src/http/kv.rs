//! This file answers: how is one key read, written or deleted?
//!
//! Keys and values that are no text come and go in base64. A context is checked and otherwise without effect so far: with
//! the rule `lww` the later write wins, whatever its writer had seen.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD};
use bytes::Bytes;
use rkv_kv::{Engine, Keyspace, KvError, Write};
use rkv_quorum::clock::Stamp;
use rkv_quorum::outcome::{GetOutcome, PutOutcome, Replicas};
use rkv_quorum::policy::{GetOptions, PutOptions};
use serde::{Deserialize, Serialize};

use super::Http;
use super::awaited::answer_to;
use super::error::ApiError;
use super::input::Body;

/// How bytes that are no text travel.
pub(super) const BASE64: GeneralPurpose = STANDARD;

/// One operation. All three take the same fields; each looks at those that concern it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Operation {
    key: Option<String>,
    key_base64: Option<String>,
    value: Option<String>,
    value_base64: Option<String>,
    keyspace: Option<String>,
    n: Option<u32>,
    r: Option<u32>,
    w: Option<u32>,
    pr: Option<u32>,
    pw: Option<u32>,
    timeout_ms: Option<u64>,
    context: Option<String>,
}

/// What a put or a delete shows.
#[derive(Debug, Serialize)]
pub(super) struct Written {
    ok: bool,
    reason: &'static str,
    context: String,
    replicas: Replicas,
}

/// What a get shows.
#[derive(Debug, Serialize)]
pub(super) struct Got {
    found: bool,
    /// Null when not UTF-8.
    value: Option<String>,
    value_base64: Option<String>,
    /// The version read, also that of a deletion; null when there never was any.
    context: Option<String>,
    reason: &'static str,
    replicas: Replicas,
}

/// `POST /v1/kv/get`
pub(super) async fn get(
    State(http): State<Arc<Http>>,
    Body(operation): Body<Operation>,
) -> Result<Json<Got>, ApiError> {
    let engine = &http.engine;
    let (keyspace, key) = operation.target(engine)?;
    let options = operation.get_options();
    let got = answer_to(|done| engine.get(keyspace, &key, &options, done)).await??;
    Ok(Json(show_got(got, engine.wall_ms())))
}

/// `POST /v1/kv/put`
pub(super) async fn put(
    State(http): State<Arc<Http>>,
    Body(operation): Body<Operation>,
) -> Result<Json<Written>, ApiError> {
    let (text, base64) = (operation.value.clone(), operation.value_base64.clone());
    let body = bytes_of("value", text, base64)?.into();
    write(&http.engine, operation, Write::Value { body, at_ms: None }).await
}

/// `POST /v1/kv/delete`
pub(super) async fn delete(
    State(http): State<Arc<Http>>,
    Body(operation): Body<Operation>,
) -> Result<Json<Written>, ApiError> {
    write(&http.engine, operation, Write::Delete).await
}

async fn write(
    engine: &Arc<Engine>,
    operation: Operation,
    write: Write,
) -> Result<Json<Written>, ApiError> {
    let (keyspace, key) = operation.target(engine)?;
    let options = operation.put_options();
    let put = answer_to(|done| engine.put(keyspace, &key, write, &options, done)).await??;
    Ok(Json(show_written(put)))
}

impl Operation {
    /// The key and its keyspace, when all that was given with them can be.
    fn target<'a>(&self, engine: &'a Engine) -> Result<(&'a Keyspace, Vec<u8>), ApiError> {
        let keyspace = engine.default_keyspace();
        match &self.keyspace {
            Some(name) if *name != keyspace.name => {
                return Err(KvError::Keyspace(name.clone()).into());
            }
            _ => {}
        }
        context_of(self.context.as_deref())?;
        let key = key_of(self.key.clone(), self.key_base64.clone())?;
        Ok((keyspace, key))
    }

    fn get_options(&self) -> GetOptions {
        GetOptions {
            n: self.n,
            r: self.r,
            pr: self.pr,
            notfound_ok: None,
            timeout_ms: self.timeout_ms,
        }
    }

    fn put_options(&self) -> PutOptions {
        PutOptions {
            n: self.n,
            w: self.w,
            pw: self.pw,
            timeout_ms: self.timeout_ms,
        }
    }
}

/// The key that was given, as text or in base64.
pub(super) fn key_of(text: Option<String>, base64: Option<String>) -> Result<Vec<u8>, ApiError> {
    bytes_of("key", text, base64)
}

fn bytes_of(name: &str, text: Option<String>, base64: Option<String>) -> Result<Vec<u8>, ApiError> {
    match (text, base64) {
        (Some(text), None) => Ok(text.into_bytes()),
        (None, Some(base64)) => BASE64.decode(base64).map_err(|error| {
            ApiError::usage("bad_base64", format!("{name}_base64 is no base64: {error}"))
        }),
        (None, None) => {
            let message = format!("give `{name}` or `{name}_base64`");
            Err(ApiError::usage("missing_field", message))
        }
        (Some(_), Some(_)) => {
            let message = format!("give `{name}` or `{name}_base64`, not both");
            Err(ApiError::usage("bad_body", message))
        }
    }
}

fn context_of(text: Option<&str>) -> Result<Option<Stamp>, ApiError> {
    let text = text.filter(|text| !text.is_empty());
    text.map(|text| {
        text.parse().map_err(|_| {
            let message = format!("{text:?} is no context: give what a get or a put returned");
            ApiError::usage("bad_context", message)
        })
    })
    .transpose()
}

fn show_written(put: PutOutcome) -> Written {
    Written {
        ok: true,
        reason: put.reason,
        context: put.stamp.to_string(),
        replicas: put.replicas,
    }
}

fn show_got(got: GetOutcome, wall_ms: u64) -> Got {
    let object = got.object.as_ref();
    let value: Option<&Bytes> = object.and_then(|object| object.read(wall_ms));
    let stamp = object.and_then(|object| object.version().stamp());
    let text = value.and_then(|value| std::str::from_utf8(value).ok());
    Got {
        found: value.is_some(),
        value: text.map(str::to_owned),
        value_base64: value.map(|value| BASE64.encode(value)),
        context: stamp.map(|stamp| stamp.to_string()),
        reason: got.reason,
        replicas: got.replicas,
    }
}

#[cfg(test)]
mod tests {
    use rkv_quorum::Object;
    use rkv_quorum::outcome::{FINISHED, ReplicaResult, ResultWord};
    use rkv_quorum::tally::Role;
    use rkv_ring::Partition;
    use serde_json::json;

    use super::super::survey::fixture::json;
    use super::*;

    const STAMP: &str = "0000000000000001-0000000000000002-00000003";

    fn stamp() -> Stamp {
        STAMP.parse().unwrap()
    }

    fn replicas(role: Role, result: ResultWord) -> Replicas {
        let node = "node1".into();
        Replicas::from_iter([ReplicaResult {
            node,
            partition: Partition(3),
            replica: 0,
            role,
            result,
        }])
    }

    fn got(object: Option<Object>) -> serde_json::Value {
        let replicas = Replicas::new();
        let outcome = GetOutcome {
            reason: FINISHED,
            object,
            replicas,
        };
        json(&show_got(outcome, 1_000))
    }

    /// Lost without it: scripts that read the promised fields find others.
    #[test]
    fn outcomes_read_as_promised() {
        let written = show_written(PutOutcome {
            reason: FINISHED,
            stamp: stamp(),
            replicas: replicas(Role::Fallback, ResultWord::Ok),
        });
        assert_eq!(
            json(&written),
            json!({
                "ok": true, "reason": "finished", "context": STAMP, "replicas": [
                    {"node": "node1", "partition": 3, "replica": 0, "role": "fallback", "result": "ok"},
                ],
            })
        );
        let text = Object::value(stamp(), Bytes::from_static(b"hello"));
        assert_eq!(
            got(Some(text)),
            json!({
                "found": true, "value": "hello", "value_base64": "aGVsbG8=", "context": STAMP,
                "reason": "finished", "replicas": [],
            })
        );
        let bytes = got(Some(Object::value(stamp(), Bytes::from_static(&[0xff]))));
        assert_eq!(bytes["value"], json!(null));
        assert_eq!(
            (&bytes["found"], &bytes["value_base64"]),
            (&json!(true), &json!("/w=="))
        );
    }

    /// Lost without it: what was deleted or has ended would be shown.
    #[test]
    fn what_is_gone_is_not_found() {
        let ended = Object::value_until(stamp(), Bytes::from_static(b"x"), 999);
        for (object, context) in [
            (None, json!(null)),
            (Some(Object::tombstone(stamp())), json!(STAMP)),
            (Some(ended), json!(STAMP)),
        ] {
            let shown = got(object);
            assert_eq!(shown["found"], false);
            assert_eq!(shown["value"], json!(null));
            assert_eq!(shown["value_base64"], json!(null));
            assert_eq!(shown["context"], context);
        }
    }

    /// Lost without it: a key given twice or not at all would be written somewhere.
    #[test]
    fn keys_are_given_once() {
        let key = |text: Option<&str>, base64: Option<&str>| {
            key_of(text.map(str::to_owned), base64.map(str::to_owned)).ok()
        };
        assert_eq!(key(Some("a"), None), Some(b"a".to_vec()));
        assert_eq!(key(None, Some("/w==")), Some(vec![0xff]));
        assert_eq!(key(None, None), None);
        assert_eq!(key(Some("a"), Some("YQ==")), None);
        assert_eq!(key(None, Some("?")), None);
        assert_eq!(context_of(Some("")), Ok(None));
        assert_eq!(context_of(Some(STAMP)), Ok(Some(stamp())));
        assert!(context_of(Some("yesterday")).is_err());
    }
}
