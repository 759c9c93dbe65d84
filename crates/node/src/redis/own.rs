//! This file answers: how are the `RKV.` commands carried out, and what do they reply?
//!
//! CONTEXT is accepted and changes nothing: in a keyspace of rule `lww` the later write wins, whatever it had seen.

use std::sync::Arc;

use bytes::Bytes;
use rkv_kv::{KvError, ReplicaView, Write};
use rkv_quorum::outcome::{GetOutcome, PutOutcome, Replicas};
use rkv_quorum::policy::{GetOptions, PutOptions};
use rkv_quorum::tally::Role;
use rkv_resp::Reply;
use rkv_resp::own::Options;
use rkv_ring::{NodeName, Preflist, Slot};

use super::inbox::Promise;
use super::operation::Ask;
use super::server::Server;

/// RKV.PUT, understood.
pub(super) fn put(value: Bytes, options: &Options) -> Ask {
    let write = Write::Value {
        body: value,
        at_ms: None,
    };
    Ask::OwnWrite(write, put_options(options))
}

/// RKV.DELETE, understood.
pub(super) fn delete(options: &Options) -> Ask {
    Ask::OwnWrite(Write::Delete, put_options(options))
}

/// RKV.GET, understood.
pub(super) fn read(options: &Options) -> Ask {
    Ask::OwnGet(GetOptions {
        n: options.n,
        r: options.r,
        pr: options.pr,
        notfound_ok: None,
        timeout_ms: options.timeout_ms,
    })
}

fn put_options(options: &Options) -> PutOptions {
    PutOptions {
        n: options.n,
        w: options.w,
        pw: options.pw,
        timeout_ms: options.timeout_ms,
    }
}

/// RKV.PUT and RKV.DELETE: who had answered.
pub(super) fn write(
    server: &Server,
    key: &[u8],
    write: Write,
    options: &PutOptions,
    promise: Promise,
) {
    let done = Box::new(move |put: Result<PutOutcome, KvError>| {
        promise.reply(match put {
            Ok(put) => replicas_reply(&put.replicas),
            Err(error) => Reply::error(error.redis_text()),
        });
    });
    let keyspace = server.engine.default_keyspace();
    server.engine.put(keyspace, key, write, options, done);
}

/// RKV.GET: the values (none or one, so far), the version as context, and who had answered.
pub(super) fn get(server: Arc<Server>, key: &[u8], options: &GetOptions, promise: Promise) {
    let of = server.clone();
    let done = Box::new(move |got: Result<GetOutcome, KvError>| {
        promise.reply(match got {
            Ok(got) => got_reply(&got, of.engine.wall_ms()),
            Err(error) => Reply::error(error.redis_text()),
        });
    });
    let keyspace = server.engine.default_keyspace();
    server.engine.get(keyspace, key, options, done);
}

fn got_reply(got: &GetOutcome, wall_ms: u64) -> Reply {
    let object = got.object.as_ref();
    let value = object.and_then(|object| object.read(wall_ms)).cloned();
    let context = object.map(|object| object.version().to_string());
    Reply::Array(vec![
        Reply::bulks(value),
        Reply::bulk(context.unwrap_or_default()),
        replicas_reply(&got.replicas),
    ])
}

fn replicas_reply(replicas: &Replicas) -> Reply {
    let rows = replicas.iter().map(|replica| {
        Reply::Array(vec![
            node(&replica.node),
            Reply::Integer(i64::from(replica.partition.0)),
            Reply::Integer(i64::from(replica.replica)),
            Reply::bulk(replica.result.to_string()),
        ])
    });
    Reply::Array(rows.collect())
}

/// RKV.REPLICAS
pub(super) fn replicas(server: &Server, key: &[u8], promise: Promise) {
    let done = Box::new(move |views: Result<Vec<ReplicaView>, KvError>| {
        promise.reply(match views {
            Ok(views) => Reply::Array(views.into_iter().map(view_reply).collect()),
            Err(error) => Reply::error(error.redis_text()),
        });
    });
    let keyspace = server.engine.default_keyspace();
    let timeout_ms = keyspace.defaults.timeout_ms;
    server.engine.replicas(keyspace, key, timeout_ms, done);
}

/// The store asks the row itself, each of its owners: no fallback is among them.
fn view_reply(view: ReplicaView) -> Reply {
    Reply::Array(vec![
        node(&view.node),
        Reply::Integer(i64::from(view.partition.0)),
        Reply::Integer(i64::from(view.replica)),
        Reply::bulk(Role::Owner.to_string()),
        Reply::bulk(view.state),
        Reply::bulk(view.version),
        Reply::bulk(view.digest),
    ])
}

/// RKV.PREFLIST: an owner that is down gives its place to the next fallback; when there is none it stays empty.
pub(super) fn preflist_reply(slot: Slot, preflist: &Preflist) -> Reply {
    let mut fallbacks = preflist.fallbacks.iter();
    let place = |place: &rkv_ring::preflist::Place| {
        let (name, role) = if place.up {
            (&place.node, Role::Owner)
        } else {
            (fallbacks.next()?, Role::Fallback)
        };
        Some(Reply::Array(vec![
            node(name),
            Reply::Integer(i64::from(place.replica)),
            Reply::bulk(role.to_string()),
        ]))
    };
    let head = [
        Reply::Integer(i64::from(slot.0)),
        Reply::Integer(i64::from(preflist.partition.0)),
    ];
    let places = preflist.places.iter().filter_map(place);
    Reply::Array(head.into_iter().chain(places).collect())
}

fn node(name: &NodeName) -> Reply {
    Reply::bulk(name.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use rkv_ring::preflist::Place;
    use rkv_ring::{ClusterId, Epoch, Partition, RingId};

    use super::*;

    #[test]
    fn fallbacks_stand_in_the_places_of_who_is_down() {
        // Lost without it: RKV.PREFLIST names a dead node, and nobody sees where its writes go.
        let place = |replica, name: &str, up| Place {
            replica,
            node: name.into(),
            up,
        };
        let preflist = Preflist {
            partition: Partition(3),
            ring: RingId {
                cluster: ClusterId(1),
                lineage: 0,
                epoch: Epoch(1),
            },
            places: vec![
                place(0, "a", false),
                place(1, "b", true),
                place(2, "c", false),
            ],
            fallbacks: vec!["d".into()],
        };
        let row = |name: &str, replica, role: &str| {
            Reply::Array(vec![
                Reply::bulk(name.to_owned()),
                Reply::Integer(replica),
                Reply::bulk(role.to_owned()),
            ])
        };
        let expected = Reply::Array(vec![
            Reply::Integer(9),
            Reply::Integer(3),
            row("d", 0, "fallback"),
            row("b", 1, "primary"),
        ]);
        assert_eq!(preflist_reply(Slot(9), &preflist), expected);
    }
}
