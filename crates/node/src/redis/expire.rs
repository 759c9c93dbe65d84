//! This file answers: how are EXPIRE, PERSIST and GETEX carried out?
//!
//! The version is read and the deadline alone is written ([`rkv_kv::deadline`]); no value is. 1 is answered when a live
//! value was read, the condition held, and the deadline was stored by w replicas.

use std::sync::Arc;

use bytes::Bytes;
use rkv_kv::{Ended, Ending, KvError, When};
use rkv_quorum::policy::{GetOptions, PutOptions};
use rkv_resp::expire::{At, ExpireIf, GetEx};
use rkv_resp::{CommandError, Reply};

use super::inbox::{Answer, Promise};
use super::server::Server;
use super::strings;

/// PERSIST, understood.
pub(super) const PERSIST: Ending = Ending {
    at_ms: None,
    when: When::Set,
};

/// EXPIRE, understood at the time `wall_ms`.
pub(super) fn ending(at: At, condition: ExpireIf, wall_ms: u64) -> Ending {
    Ending {
        at_ms: Some(at.unix_ms(wall_ms)),
        when: match condition {
            ExpireIf::Always => When::Always,
            ExpireIf::Unset => When::Unset,
            ExpireIf::Set => When::Set,
            ExpireIf::Later => When::Later,
            ExpireIf::Sooner => When::Sooner,
            ExpireIf::SetAndSooner => When::SetAndSooner,
        },
    }
}

/// GETEX, understood at the time `wall_ms`: what to change, or what to say if the key is there.
pub(super) fn getex(change: GetEx, wall_ms: u64) -> Result<Option<Ending>, CommandError> {
    Ok(match change {
        GetEx::Read => None,
        GetEx::Persist => Some(PERSIST),
        GetEx::Expire(at) => Some(ending(at?, ExpireIf::Always, wall_ms)),
    })
}

/// EXPIRE, PERSIST
pub(super) fn end(server: &Server, key: &[u8], ending: Ending, promise: Promise) {
    let done = Box::new(move |ended: Result<Ended, KvError>| {
        promise.reply(match ended {
            Ok(ended) => Reply::Integer(ended.put.is_some().into()),
            Err(error) => Reply::error(error.redis_text()),
        });
    });
    begin(server, key, ending, done);
}

/// GETEX that changes the deadline.
pub(super) fn get_and_end(server: &Server, key: &[u8], ending: Ending, promise: Promise) {
    let done = Box::new(move |ended: Result<Ended, KvError>| {
        promise.keep(match ended {
            Ok(ended) => Answer::Value(ended.object.map(|object| object.body().clone())),
            Err(error) => Answer::Reply(Reply::error(error.redis_text())),
        });
    });
    begin(server, key, ending, done);
}

fn begin(server: &Server, key: &[u8], ending: Ending, done: rkv_kv::Done<Result<Ended, KvError>>) {
    let keyspace = server.engine.default_keyspace();
    let options = PutOptions::default();
    server.engine.end(keyspace, key, ending, &options, done);
}

/// GETEX with a time that is none: an error if the key is there.
pub(super) fn refuse_if_there(
    server: &Arc<Server>,
    key: &[u8],
    error: CommandError,
    promise: Promise,
) {
    let of = server.clone();
    let done = Box::new(move |got| {
        promise.keep(match strings::value_of(got, of.engine.wall_ms()) {
            Ok(None) => Answer::Value(None::<Bytes>),
            Ok(Some(_)) => Answer::Reply(error.into()),
            Err(error) => Answer::Reply(Reply::error(error.redis_text())),
        });
    });
    let keyspace = server.engine.default_keyspace();
    let options = GetOptions::default();
    server.engine.get(keyspace, key, &options, done);
}
