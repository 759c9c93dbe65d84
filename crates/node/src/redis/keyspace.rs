//! This file answers: how are the commands about all keys carried out?
//!
//! Each is carried out alone on its connection: after all that was asked before it, and before all that comes later.

use std::sync::Arc;

use bytes::Bytes;
use rkv_kv::KvError;
use rkv_resp::Reply;
use rkv_resp::slot::SlotKeys;
use rkv_ring::Slot;

use super::inbox::Promise;
use super::server::Server;

/// FLUSHALL and FLUSHDB
pub(super) fn flush(server: &Arc<Server>, promise: Promise) {
    let done = Box::new(move |flushed: Result<u64, KvError>| {
        promise.reply(match flushed {
            Ok(_) => Reply::OK,
            Err(error) => Reply::error(error.redis_text()),
        });
    });
    let engine = &server.engine;
    engine.flush(engine.default_keyspace(), done);
}

/// DBSIZE
pub(super) fn size(server: &Arc<Server>, promise: Promise) {
    let done = Box::new(move |keys: u64| promise.reply(integer(keys)));
    server.engine.size(done);
}

/// RANDOMKEY
pub(super) fn random_key(server: &Arc<Server>, promise: Promise) {
    let done = Box::new(move |key: Result<Option<Bytes>, KvError>| {
        promise.reply(match key {
            Ok(key) => key.map_or(Reply::Null, Reply::Bulk),
            Err(error) => Reply::error(error.redis_text()),
        });
    });
    let engine = &server.engine;
    engine.random_key(engine.default_keyspace(), done);
}

/// CLUSTER COUNTKEYSINSLOT and GETKEYSINSLOT
pub(super) fn keys_in_slot(server: &Arc<Server>, asked: SlotKeys, promise: Promise) {
    let (slot, most) = match asked {
        SlotKeys::Count { slot } => (slot, None),
        SlotKeys::List { slot, most: 0 } => {
            let _ = slot;
            return promise.reply(Reply::EMPTY);
        }
        SlotKeys::List { slot, most } => (slot, Some(most)),
    };
    let done = Box::new(move |found: Result<(u64, Vec<Bytes>), KvError>| {
        promise.reply(match (found, most) {
            (Ok((live, _)), None) => integer(live),
            (Ok((_, keys)), Some(_)) => Reply::Array(keys.into_iter().map(Reply::Bulk).collect()),
            (Err(error), _) => Reply::error(error.redis_text()),
        });
    });
    let engine = &server.engine;
    let keyspace = engine.default_keyspace();
    engine.keys_in_slot(keyspace, Slot(slot), most.unwrap_or(0), done);
}

fn integer(count: u64) -> Reply {
    Reply::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}
