//! This file answers: what is told of one key without its value going out as it is?
//!
//! STRLEN, TYPE, GETRANGE and the TTL family are reads: what they tell is judged by this node's clock.

use std::sync::Arc;

use rkv_kv::KvError;
use rkv_quorum::Object;
use rkv_quorum::outcome::GetOutcome;
use rkv_quorum::policy::GetOptions;
use rkv_resp::Reply;
use rkv_resp::look::Look;

use super::inbox::Promise;
use super::server::Server;

/// What the TTL family says of a key that is not there, and of one that does not end.
const NO_KEY: i64 = -2;
const NO_END: i64 = -1;

/// Reads the key and tells.
pub(super) fn look(server: Arc<Server>, key: &[u8], look: Look, promise: Promise) {
    let of = server.clone();
    let done = Box::new(move |got: Result<GetOutcome, KvError>| {
        promise.reply(match got {
            Ok(got) => told(look, got.object.as_ref(), of.engine.wall_ms()),
            Err(error) => Reply::error(error.redis_text()),
        });
    });
    let keyspace = server.engine.default_keyspace();
    let options = GetOptions::default();
    server.engine.get(keyspace, key, &options, done);
}

fn told(look: Look, object: Option<&Object>, wall_ms: u64) -> Reply {
    let value = object.and_then(|object| object.read(wall_ms));
    let length = |bytes: &bytes::Bytes| i64::try_from(bytes.len()).unwrap_or(i64::MAX);
    match look {
        Look::Length => Reply::Integer(value.map_or(0, length)),
        Look::Type => Reply::simple(if value.is_some() { "string" } else { "none" }),
        Look::Range(range) => {
            Reply::Bulk(value.map_or(bytes::Bytes::new(), |value| range.of(value)))
        }
        Look::TtlSeconds | Look::TtlMs | Look::EndsSeconds | Look::EndsMs => {
            let ends_ms = object.and_then(|object| object.version().ends_ms());
            Reply::Integer(match (value, ends_ms) {
                (None, _) => NO_KEY,
                (Some(_), None) => NO_END,
                (Some(_), Some(ends_ms)) => time(look, ends_ms, wall_ms),
            })
        }
    }
}

/// As Redis: what is left is rounded to the nearest second, and so is the end.
fn time(look: Look, ends_ms: u64, wall_ms: u64) -> i64 {
    let left_ms = ends_ms.saturating_sub(wall_ms);
    let number = match look {
        Look::TtlSeconds => left_ms.saturating_add(500) / 1_000,
        Look::TtlMs => left_ms,
        Look::EndsSeconds => ends_ms.saturating_add(500) / 1_000,
        _ => ends_ms,
    };
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rkv_quorum::clock::Stamp;

    use super::*;

    #[test]
    fn ends_are_told_as_redis_tells_them() {
        // Lost without it: clients that prolong what has less than a second left see 0 too early, or -1 for what is gone.
        let all = [
            Look::TtlSeconds,
            Look::TtlMs,
            Look::EndsSeconds,
            Look::EndsMs,
        ];
        let numbers = |object: Option<&Object>, wall_ms| {
            all.map(|look| match told(look, object, wall_ms) {
                Reply::Integer(number) => number,
                other => panic!("{other:?}"),
            })
        };
        let ends = Object::value_until(Stamp::default(), Bytes::from_static(b"v"), 10_500);
        let lasts = Object::value(Stamp::default(), Bytes::from_static(b"v"));
        assert_eq!(numbers(Some(&ends), 9_000), [2, 1_500, 11, 10_500]);
        assert_eq!(numbers(Some(&ends), 10_001), [0, 499, 11, 10_500]);
        assert_eq!(numbers(Some(&ends), 10_500), [-2; 4]);
        assert_eq!(numbers(Some(&lasts), 9_000), [-1; 4]);
        assert_eq!(numbers(None, 9_000), [-2; 4]);
        assert_eq!(told(Look::Type, Some(&ends), 10_500), Reply::simple("none"));
    }
}
