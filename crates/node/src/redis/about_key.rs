//! This file answers: what do OBJECT and MEMORY USAGE tell of what a key holds?
//!
//! They read the key as GET does. What they tell is of the value; how a storage engine lays it out is its own affair.

use std::sync::Arc;

use rkv_quorum::object::Object;
use rkv_quorum::outcome::GetOutcome;
use rkv_quorum::policy::GetOptions;
use rkv_resp::typed::AboutKey;
use rkv_resp::{CommandError, Reply};

use super::inbox::Promise;
use super::server::Server;

/// The longest value that Redis keeps in one piece with its head.
const EMBEDDED_BYTES: usize = 44;

/// Reads the key and answers the question.
pub(super) fn ask(server: Arc<Server>, key: &[u8], question: AboutKey, promise: Promise) {
    let of = server.clone();
    let key_bytes = key.len();
    let done = Box::new(move |got: Result<GetOutcome, rkv_kv::KvError>| {
        let wall_ms = of.engine.wall_ms();
        promise.reply(match got {
            Ok(got) => match got.object {
                Some(object) if object.read(wall_ms).is_some() => {
                    answer(&object, key_bytes, question, wall_ms)
                }
                _ => Reply::Null,
            },
            Err(error) => Reply::error(error.redis_text()),
        });
    });
    let keyspace = server.engine.default_keyspace();
    let options = GetOptions::default();
    server.engine.get(keyspace, key, &options, done);
}

fn answer(object: &Object, key_bytes: usize, question: AboutKey, wall_ms: u64) -> Reply {
    match question {
        AboutKey::Encoding => Reply::bulk(encoding(object.body())),
        AboutKey::References => Reply::Integer(1),
        AboutKey::Idle => {
            let written_ms = object.version().stamp().map_or(wall_ms, |s| s.wall_ms());
            let idle_s = wall_ms.saturating_sub(written_ms) / 1_000;
            Reply::Integer(i64::try_from(idle_s).unwrap_or(i64::MAX))
        }
        AboutKey::Frequency => CommandError::NoFrequency.into(),
        AboutKey::Memory => {
            let bytes = key_bytes + object.encoded_len();
            Reply::Integer(i64::try_from(bytes).unwrap_or(i64::MAX))
        }
    }
}

/// How Redis would hold a value.
fn encoding(value: &[u8]) -> &'static str {
    let text = std::str::from_utf8(value).unwrap_or_default();
    let is_integer = text
        .parse::<i64>()
        .is_ok_and(|number| number.to_string() == text);
    match value.len() {
        _ if is_integer => "int",
        0..=EMBEDDED_BYTES => "embstr",
        _ => "raw",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_those_of_redis() {
        // Lost without it: tools that look at OBJECT ENCODING take numbers for texts. From redis-server 7.0.15.
        let long = "x".repeat(45);
        for (value, expected) in [
            ("123", "int"),
            ("-9223372036854775808", "int"),
            ("9223372036854775808", "embstr"),
            ("007", "embstr"),
            ("+1", "embstr"),
            ("", "embstr"),
            (&long[1..], "embstr"),
            (&long, "raw"),
        ] {
            assert_eq!(encoding(value.as_bytes()), expected, "{value}");
        }
    }
}
