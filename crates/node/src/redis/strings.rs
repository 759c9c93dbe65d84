//! This file answers: how are GET, SET, DEL and EXISTS carried out, and each key of MGET and MSET?
//!
//! Each key by itself, with the quorums of its keyspace. DEL reads a key only to count it: the tombstone is written
//! whatever the read saw, so that a delete reaches values that the read missed. When the read fails, the key counts as
//! one that was there once its tombstone is acknowledged.

use std::sync::Arc;

use bytes::Bytes;
use rkv_kv::Write;
use rkv_quorum::outcome::GetOutcome;
use rkv_quorum::policy::{GetOptions, PutOptions};
use rkv_resp::Reply;
use rkv_resp::set::Expire;

use super::inbox::{Answer, Promise};
use super::server::Server;

/// What SET writes at the time `wall_ms`. A deadline may have passed: then the key is gone once this is written.
pub(super) fn write_of(value: Bytes, expire: Expire, wall_ms: u64) -> Write {
    let at_ms = match expire {
        Expire::Keep => return Write::ValueKeepingDeadline { body: value },
        Expire::Never => None,
        Expire::At(at_ms) => Some(at_ms),
        Expire::In(ms) => Some(wall_ms.saturating_add(ms)),
    };
    Write::Value { body: value, at_ms }
}

/// GET
pub(super) fn get(server: Arc<Server>, key: &[u8], promise: Promise) {
    let of = server.clone();
    let done = Box::new(move |got: Result<GetOutcome, rkv_kv::KvError>| {
        promise.keep(match value_of(got, of.engine.wall_ms()) {
            Ok(value) => Answer::Value(value),
            Err(error) => Answer::Reply(Reply::error(error.redis_text())),
        });
    });
    let keyspace = server.engine.default_keyspace();
    let options = GetOptions::default();
    server.engine.get(keyspace, key, &options, done);
}

/// The value to answer with, where now is `wall_ms`.
pub(super) fn value_of(
    got: Result<GetOutcome, rkv_kv::KvError>,
    wall_ms: u64,
) -> Result<Option<Bytes>, rkv_kv::KvError> {
    let object = got?.object;
    Ok(object.and_then(|object| object.read(wall_ms).cloned()))
}

/// One key of MGET.
pub(super) fn get_part(server: Arc<Server>, key: &[u8], promise: Promise) {
    let of = server.clone();
    let done = Box::new(move |got: Result<GetOutcome, rkv_kv::KvError>| {
        promise.keep(Answer::Part(value_of(got, of.engine.wall_ms())));
    });
    let keyspace = server.engine.default_keyspace();
    let options = GetOptions::default();
    server.engine.get(keyspace, key, &options, done);
}

/// One key of MSET.
pub(super) fn set_part(server: &Server, key: &[u8], write: Write, promise: Promise) {
    let done = Box::new(move |put: Result<_, rkv_kv::KvError>| {
        promise.keep(Answer::Counts(put.map(|_| true)));
    });
    let keyspace = server.engine.default_keyspace();
    let options = PutOptions::default();
    server.engine.put(keyspace, key, write, &options, done);
}

/// SET
pub(super) fn set(server: &Server, key: &[u8], write: Write, promise: Promise) {
    let done = Box::new(move |put: Result<_, rkv_kv::KvError>| {
        promise.reply(match put {
            Ok(_) => Reply::OK,
            Err(error) => Reply::error(error.redis_text()),
        });
    });
    let keyspace = server.engine.default_keyspace();
    let options = PutOptions::default();
    server.engine.put(keyspace, key, write, &options, done);
}

/// One key of EXISTS.
pub(super) fn exists(server: Arc<Server>, key: &[u8], promise: Promise) {
    let of = server.clone();
    let done = Box::new(move |got: Result<GetOutcome, rkv_kv::KvError>| {
        let wall_ms = of.engine.wall_ms();
        promise.keep(Answer::Counts(got.map(|got| is_live(&got, wall_ms))));
    });
    let keyspace = server.engine.default_keyspace();
    let options = GetOptions::default();
    server.engine.get(keyspace, key, &options, done);
}

/// One key of DEL.
pub(super) fn delete(server: Arc<Server>, key: Bytes, promise: Promise) {
    let (of, name) = (server.clone(), key.clone());
    let and_write = Box::new(move |got: Result<GetOutcome, rkv_kv::KvError>| {
        let wall_ms = of.engine.wall_ms();
        let was_live = got.map_or(true, |got| is_live(&got, wall_ms));
        let done = Box::new(move |put: Result<_, rkv_kv::KvError>| {
            promise.keep(Answer::Counts(put.map(|_| was_live)));
        });
        let keyspace = of.engine.default_keyspace();
        let options = PutOptions::default();
        let engine = &of.engine;
        engine.put(keyspace, &name, Write::Delete, &options, done);
    });
    let keyspace = server.engine.default_keyspace();
    let options = GetOptions::default();
    server.engine.get(keyspace, &key, &options, and_write);
}

fn is_live(got: &GetOutcome, wall_ms: u64) -> bool {
    let object = got.object.as_ref();
    object.is_some_and(|object| object.version().is_live(wall_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_writes_the_deadline_that_it_was_given() {
        // Lost without it: a relative deadline is stored as an absolute one, and the key is gone at once or never.
        let until = |at_ms| Write::Value {
            body: "v".into(),
            at_ms,
        };
        let keeping = Write::ValueKeepingDeadline { body: "v".into() };
        for (expire, expected) in [
            (Expire::Never, until(None)),
            (Expire::In(500), until(Some(1_500))),
            (Expire::At(500), until(Some(500))),
            (Expire::Keep, keeping),
        ] {
            assert_eq!(write_of("v".into(), expire, 1_000), expected, "{expire:?}");
        }
    }
}
