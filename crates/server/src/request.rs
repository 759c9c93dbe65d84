//! This file answers: what comes of a client's request?
//!
//! The engine coordinates it as it does for every other door: the same quorums, bounds, stamps and errors.

use std::sync::Arc;

use bytes::Bytes;
use rkv_kv::{Engine, Keyspace, KvError, Write, coordinate};
use rkv_quorum::outcome::{GetOutcome, PutOutcome, Replicas};
use rkv_quorum::policy::{GetOptions, PutOptions};
use rkv_ring::{Partition, Status};
use rkv_wire::message::Answer;
use rkv_wire::request::{Refused, Remedy, Reply, Request, RoutingTable, TableNode};

/// Told once: the reply, and the value that goes with it.
pub(crate) type Done = Box<dyn FnOnce(Reply, Bytes) + Send>;

/// Begins a request; `done` is called once, perhaps before this returns.
pub(crate) fn begin(
    engine: &Arc<Engine>,
    request: Request,
    body: Bytes,
    within_ms: u32,
    done: Done,
) {
    let timeout_ms = Some(u64::from(within_ms));
    match request {
        Request::Put {
            keyspace,
            key,
            ttl_ms,
            n,
            w,
            pw,
        } => {
            let at_ms = ttl_ms.map(|ttl_ms| engine.wall_ms().saturating_add(ttl_ms));
            let options = PutOptions {
                n,
                w,
                pw,
                timeout_ms,
            };
            let write = Write::Value { body, at_ms };
            put(engine, keyspace, &key, write, &options, done);
        }
        Request::Delete {
            keyspace,
            key,
            n,
            w,
            pw,
        } => {
            let options = PutOptions {
                n,
                w,
                pw,
                timeout_ms,
            };
            put(engine, keyspace, &key, Write::Delete, &options, done);
        }
        Request::Get {
            keyspace,
            key,
            n,
            r,
            pr,
        } => {
            let options = GetOptions {
                n,
                r,
                pr,
                notfound_ok: None,
                timeout_ms,
            };
            get(engine, keyspace, &key, &options, done);
        }
        Request::Custom {
            service,
            key,
            command,
        } => custom(engine, &service, &key, command, within_ms, done),
        Request::Ring => done(Reply::Ring(Box::new(table(engine))), Bytes::new()),
    }
}

fn put(
    engine: &Arc<Engine>,
    keyspace: Option<String>,
    key: &[u8],
    write: Write,
    options: &PutOptions,
    done: Done,
) {
    let keyspace = match named(engine, keyspace) {
        Ok(keyspace) => keyspace,
        Err(error) => return done(refused(&error), Bytes::new()),
    };
    let told = Box::new(move |put: Result<PutOutcome, KvError>| {
        let reply = match put {
            Ok(put) => Reply::Written {
                context: put.stamp,
                replicas: put.replicas,
            },
            Err(error) => refused(&error),
        };
        done(reply, Bytes::new());
    });
    engine.put(keyspace, key, write, options, told);
}

fn get(
    engine: &Arc<Engine>,
    keyspace: Option<String>,
    key: &[u8],
    options: &GetOptions,
    done: Done,
) {
    let keyspace = match named(engine, keyspace) {
        Ok(keyspace) => keyspace,
        Err(error) => return done(refused(&error), Bytes::new()),
    };
    // What waits inside the engine must not keep it alive.
    let clock = Arc::downgrade(engine);
    let told = Box::new(move |got: Result<GetOutcome, KvError>| match got {
        Ok(got) => {
            let now_ms = clock.upgrade().map_or(0, |engine| engine.wall_ms());
            let object = got.object.as_ref();
            let value = object.and_then(|object| object.read(now_ms));
            let reply = Reply::Got {
                found: value.is_some(),
                context: object.and_then(|object| object.version().stamp()),
                replicas: got.replicas,
            };
            done(reply, value.cloned().unwrap_or_default());
        }
        Err(error) => done(refused(&error), Bytes::new()),
    });
    engine.get(keyspace, key, options, told);
}

fn named(engine: &Engine, name: Option<String>) -> Result<&Keyspace, KvError> {
    let default = engine.default_keyspace();
    match name {
        Some(name) if name != default.name => Err(KvError::Keyspace(name)),
        _ => Ok(default),
    }
}

fn custom(
    engine: &Arc<Engine>,
    service: &str,
    key: &[u8],
    command: Bytes,
    within_ms: u32,
    done: Done,
) {
    let most = engine.bounds().key_bytes;
    if key.is_empty() || key.len() > most {
        let length = key.len();
        return done(refused(&KvError::Key { length, most }), Bytes::new());
    }
    let Some(id) = engine.host().service_named(service) else {
        let text = format!("there is no service '{service}' on this node");
        return done(
            refusal(Remedy::Yours, "usage", "no_such_service", text),
            Bytes::new(),
        );
    };
    let (_, preflist) = engine.preflist(key);
    let is_anyone_up = preflist.places.iter().any(|place| place.up);
    let told = Box::new(move |answered: Option<(Partition, coordinate::Reply)>| {
        let reply = match answered {
            Some((partition, reply)) => answer(partition, reply),
            None if is_anyone_up => {
                let text = "no answer in time; the command may have been carried out";
                refusal(Remedy::Unknown, "timeout", "timeout", text)
            }
            None => {
                let text = "no owner of its partition can be reached; nothing was sent";
                refusal(Remedy::Again, "no_replicas", "too_few_nodes", text)
            }
        };
        done(reply, Bytes::new());
    });
    engine.ask(id, key, command, u64::from(within_ms), told);
}

fn answer(partition: Partition, reply: coordinate::Reply) -> Reply {
    let node = reply.node;
    match reply.answer {
        Answer::Custom(answer) => Reply::Custom {
            node,
            partition,
            answer,
        },
        Answer::Failed {
            text,
            maybe_applied: true,
        } => refusal(Remedy::Unknown, "internal", "failed", text),
        Answer::Failed { text, .. } => refusal(Remedy::Yours, "usage", "refused_command", text),
        Answer::Busy => {
            let text = format!("{node} has too much to do");
            refusal(Remedy::Again, "busy", "busy", text)
        }
        Answer::NotOwner(_) | Answer::Behind(_) => {
            let text = format!("the ring is changing, and {node} has another one");
            refusal(Remedy::Again, "refused", "ring_changing", text)
        }
        _ => {
            let text =
                format!("{node} answered something else; the command may have been carried out");
            refusal(Remedy::Unknown, "internal", "bad_answer", text)
        }
    }
}

/// The ring as this node routes by it, and whom it takes to be up.
fn table(engine: &Engine) -> RoutingTable {
    let view = engine.view();
    let ring = view.ring();
    // Who is joining is no member yet: what it acknowledges is of its own cluster.
    let members = ring.members.iter();
    let members: Vec<_> = members
        .filter(|(_, member)| member.status != Status::Joining)
        .collect();
    let names: Vec<_> = members.iter().map(|(name, _)| *name).collect();
    let place = |name| names.binary_search(&name).unwrap_or_default() as u16;
    let rows = ring.rows.iter();
    RoutingTable {
        ring: view.id(),
        partitions: ring.partitions,
        replicas: ring.replicas,
        nodes: members
            .iter()
            .map(|(name, member)| TableNode {
                name: (*name).clone(),
                address: member.addresses.peer.clone(),
                up: view.is_up(name) && matches!(member.status, Status::Valid | Status::Leaving),
            })
            .collect(),
        rows: rows.map(|row| row.iter().map(place).collect()).collect(),
    }
}

/// What a client is told of the store's error.
fn refused(error: &KvError) -> Reply {
    let remedy = match error {
        error if error.was_maybe_applied() => Remedy::Unknown,
        KvError::NotServing | KvError::Drift { .. } => Remedy::Elsewhere,
        KvError::Quorum(_) => Remedy::Again,
        _ => Remedy::Yours,
    };
    let text = match error {
        KvError::Quorum(error) => error.message.clone(),
        error => error.to_string(),
    };
    Reply::Refused(Box::new(Refused {
        remedy,
        kind: error.kind().to_owned(),
        reason: error.reason().to_owned(),
        text,
        replicas: error.replicas(),
    }))
}

/// A reply of this file's own.
pub(crate) fn refusal(remedy: Remedy, kind: &str, reason: &str, text: impl Into<String>) -> Reply {
    Reply::Refused(Box::new(Refused {
        remedy,
        kind: kind.to_owned(),
        reason: reason.to_owned(),
        text: text.into(),
        replicas: Replicas::new(),
    }))
}
