//! This file answers: how do the messages travel of which there are most?
//!
//! A put or get of one key between nodes and its answer, and the same between a client and a node: in a layout of
//! their own, which takes a third of the time that MessagePack with its names does. What is not as plain as that (a hint on the
//! way, a refusal, an option that few give) travels as MessagePack, like all other messages. The layout has no
//! room for more: whoever adds a field to one of these messages either says here when it is plain, or gives it another tag.
//!
//! All integers are little-endian; of what may be missing, all bits set say so.
//!
//! ```text
//! all          tag u8 · clock u64 · id u64 · what follows by the tag
//! PUT GET      within_ms u32 · service u8 · role u8 · slot u16 · ring · key to the end
//! STORED FOUND NOT_FOUND      nothing
//! ASK_PUT ASK_GET      within_ms u32 · has a cluster u8 · cluster u128 · n u64 · w or r u64 · key to the end
//! WRITTEN GOT GOT_NONE      ring · has a stamp u8 · its time u64, boot u64, seq u32 · replicas to the end
//! ring         cluster u128 · lineage u64 · epoch u64
//! replica      partition u16 · replica u8 · role u8 · result u8 · length of its node's name u8 · the name
//! ```

use bytes::{Buf, BufMut, Bytes};
use rkv_quorum::clock::Stamp;
use rkv_quorum::outcome::{ReplicaResult, Replicas, ResultWord};
use rkv_quorum::tally;
use rkv_ring::{ClusterId, Epoch, Partition, RingId, Slot};

use crate::message::{Answer, Command, Envelope, Message, RequestId, Role, ServiceId};
use crate::request::{Reply, Request};

const PUT: u8 = 1;
const GET: u8 = 2;
const STORED: u8 = 3;
const FOUND: u8 = 4;
const NOT_FOUND: u8 = 5;
const ASK_PUT: u8 = 6;
const ASK_GET: u8 = 7;
const WRITTEN: u8 = 8;
const GOT: u8 = 9;
const GOT_NONE: u8 = 10;

/// In place of a number that is not given.
const NONE: u64 = u64::MAX;

/// Appends the header of a plain message; false: it is none, and `out` is as before.
pub(crate) fn write(envelope: &Envelope, out: &mut Vec<u8>) -> bool {
    let before = out.len();
    let is_plain = lay_out(envelope, out).is_some();
    if !is_plain {
        out.truncate(before);
    }
    is_plain
}

fn lay_out(envelope: &Envelope, out: &mut Vec<u8>) -> Option<()> {
    let mut head = |tag: u8, id: &RequestId| {
        out.put_u8(tag);
        out.put_u64_le(envelope.clock);
        out.put_u64_le(id.0);
    };
    match &envelope.message {
        Message::Command {
            id,
            service,
            slot,
            ring,
            role,
            within_ms,
            command,
            body: _,
        } => {
            let (tag, key) = match command {
                Command::Put { key, hint_for } if hint_for.is_empty() => (PUT, key),
                Command::Get { key } => (GET, key),
                _ => return None,
            };
            let role = match role {
                Role::Owner => 0,
                Role::Fallback => 1,
                Role::Relayed(_) => return None,
            };
            head(tag, id);
            out.put_u32_le(*within_ms);
            out.put_u8(service.0);
            out.put_u8(role);
            out.put_u16_le(slot.0);
            put_ring(ring, out);
            out.put_slice(key);
        }
        Message::Answer {
            id,
            answer,
            body: _,
        } => match answer {
            Answer::Stored => head(STORED, id),
            Answer::Found => head(FOUND, id),
            Answer::NotFound => head(NOT_FOUND, id),
            _ => return None,
        },
        Message::Request {
            id,
            within_ms,
            cluster,
            request,
            body: _,
        } => {
            let (tag, key, n, quorum) = match request {
                Request::Put {
                    keyspace: None,
                    key,
                    ttl_ms: None,
                    n,
                    w,
                    pw: None,
                } => (ASK_PUT, key, n, w),
                Request::Get {
                    keyspace: None,
                    key,
                    n,
                    r,
                    pr: None,
                } => (ASK_GET, key, n, r),
                _ => return None,
            };
            head(tag, id);
            out.put_u32_le(*within_ms);
            out.put_u8(u8::from(cluster.is_some()));
            out.put_u128_le(cluster.map_or(0, |cluster| cluster.0));
            out.put_u64_le(n.map_or(NONE, u64::from));
            out.put_u64_le(quorum.map_or(NONE, u64::from));
            out.put_slice(key);
        }
        Message::Reply {
            id,
            ring,
            reply,
            body: _,
        } => {
            let (tag, context, replicas) = match &**reply {
                Reply::Written { context, replicas } => (WRITTEN, Some(*context), replicas),
                Reply::Got {
                    found,
                    context,
                    replicas,
                } => (if *found { GOT } else { GOT_NONE }, *context, replicas),
                _ => return None,
            };
            head(tag, id);
            put_ring(ring, out);
            let stamp = context.unwrap_or_default();
            out.put_u8(u8::from(context.is_some()));
            out.put_u64_le(stamp.time);
            out.put_u64_le(stamp.boot);
            out.put_u32_le(stamp.seq);
            for replica in replicas {
                put_replica(replica, out)?;
            }
        }
        _ => return None,
    }
    Some(())
}

fn put_ring(ring: &RingId, out: &mut Vec<u8>) {
    out.put_u128_le(ring.cluster.0);
    out.put_u64_le(ring.lineage);
    out.put_u64_le(ring.epoch.0);
}

fn put_replica(replica: &ReplicaResult, out: &mut Vec<u8>) -> Option<()> {
    let result = match replica.result {
        ResultWord::Ok => 0,
        ResultWord::NotFound => 1,
        ResultWord::Stale => 2,
        ResultWord::Timeout | ResultWord::Busy | ResultWord::Error(_) => return None,
    };
    let name = replica.node.as_str();
    out.put_u16_le(replica.partition.0);
    out.put_u8(replica.replica);
    out.put_u8(match replica.role {
        tally::Role::Owner => 0,
        tally::Role::Fallback => 1,
    });
    out.put_u8(result);
    out.put_u8(u8::try_from(name.len()).ok()?);
    out.put_slice(name.as_bytes());
    Some(())
}

/// The message of a header that [`write`] wrote, without its body; `None`: it is no such header. Its key is a slice of it.
pub(crate) fn read(header: &Bytes) -> Option<Envelope> {
    let mut rest = &header[..];
    let tag = rest.try_get_u8().ok()?;
    let clock = rest.try_get_u64_le().ok()?;
    let id = RequestId(rest.try_get_u64_le().ok()?);
    let body = Bytes::new();
    let message = match tag {
        PUT | GET => {
            let within_ms = rest.try_get_u32_le().ok()?;
            let service = ServiceId(rest.try_get_u8().ok()?);
            let role = match rest.try_get_u8().ok()? {
                0 => Role::Owner,
                1 => Role::Fallback,
                _ => return None,
            };
            let slot = Slot::try_from(rest.try_get_u16_le().ok()?).ok()?;
            let ring = get_ring(&mut rest)?;
            let key = header.slice_ref(std::mem::take(&mut rest));
            let command = match tag {
                PUT => Command::Put {
                    key,
                    hint_for: Vec::new(),
                },
                _ => Command::Get { key },
            };
            Message::Command {
                id,
                service,
                slot,
                ring,
                role,
                within_ms,
                command,
                body,
            }
        }
        STORED | FOUND | NOT_FOUND => {
            let answer = match tag {
                STORED => Answer::Stored,
                FOUND => Answer::Found,
                _ => Answer::NotFound,
            };
            Message::Answer { id, answer, body }
        }
        ASK_PUT | ASK_GET => {
            let within_ms = rest.try_get_u32_le().ok()?;
            let has_cluster = get_bool(&mut rest)?;
            let cluster = ClusterId(rest.try_get_u128_le().ok()?);
            let n = get_number(&mut rest)?;
            let quorum = get_number(&mut rest)?;
            let key = header.slice_ref(std::mem::take(&mut rest));
            let request = match tag {
                ASK_PUT => Request::Put {
                    keyspace: None,
                    key,
                    ttl_ms: None,
                    n,
                    w: quorum,
                    pw: None,
                },
                _ => Request::Get {
                    keyspace: None,
                    key,
                    n,
                    r: quorum,
                    pr: None,
                },
            };
            Message::Request {
                id,
                within_ms,
                cluster: has_cluster.then_some(cluster),
                request,
                body,
            }
        }
        WRITTEN | GOT | GOT_NONE => {
            let ring = get_ring(&mut rest)?;
            let has_stamp = get_bool(&mut rest)?;
            let stamp = Stamp {
                time: rest.try_get_u64_le().ok()?,
                boot: rest.try_get_u64_le().ok()?,
                seq: rest.try_get_u32_le().ok()?,
            };
            let context = has_stamp.then_some(stamp);
            let mut replicas = Replicas::new();
            while !rest.is_empty() {
                replicas.push(get_replica(&mut rest)?);
            }
            let reply = match tag {
                WRITTEN => Reply::Written {
                    context: context?,
                    replicas,
                },
                _ => Reply::Got {
                    found: tag == GOT,
                    context,
                    replicas,
                },
            };
            let reply = Box::new(reply);
            Message::Reply {
                id,
                ring,
                reply,
                body,
            }
        }
        _ => return None,
    };
    rest.is_empty().then_some(Envelope { clock, message })
}

fn get_bool(rest: &mut &[u8]) -> Option<bool> {
    match rest.try_get_u8().ok()? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// A number that may be missing; the outer `None`: it is neither.
fn get_number(rest: &mut &[u8]) -> Option<Option<u32>> {
    match rest.try_get_u64_le().ok()? {
        NONE => Some(None),
        number => u32::try_from(number).ok().map(Some),
    }
}

fn get_ring(rest: &mut &[u8]) -> Option<RingId> {
    Some(RingId {
        cluster: ClusterId(rest.try_get_u128_le().ok()?),
        lineage: rest.try_get_u64_le().ok()?,
        epoch: Epoch(rest.try_get_u64_le().ok()?),
    })
}

fn get_replica(rest: &mut &[u8]) -> Option<ReplicaResult> {
    let partition = Partition(rest.try_get_u16_le().ok()?);
    let replica = rest.try_get_u8().ok()?;
    let role = match get_bool(rest)? {
        false => tally::Role::Owner,
        true => tally::Role::Fallback,
    };
    let result = match rest.try_get_u8().ok()? {
        0 => ResultWord::Ok,
        1 => ResultWord::NotFound,
        2 => ResultWord::Stale,
        _ => return None,
    };
    let length = usize::from(rest.try_get_u8().ok()?);
    let name;
    (name, *rest) = rest.split_at_checked(length)?;
    Some(ReplicaResult {
        node: std::str::from_utf8(name).ok()?.into(),
        partition,
        replica,
        role,
        result,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring() -> RingId {
        RingId {
            cluster: ClusterId(u128::MAX / 3),
            lineage: 1 << 50,
            epoch: Epoch(7),
        }
    }

    fn replica(node: &str, result: ResultWord) -> ReplicaResult {
        ReplicaResult {
            node: node.into(),
            partition: Partition(500),
            replica: 2,
            role: tally::Role::Fallback,
            result,
        }
    }

    fn command(role: Role, command: Command) -> Message {
        Message::Command {
            id: RequestId(1 << 63),
            service: ServiceId(9),
            slot: Slot(16_383),
            ring: ring(),
            role,
            within_ms: u32::MAX,
            command,
            body: Bytes::new(),
        }
    }

    fn put(hint_for: &[&str]) -> Command {
        Command::Put {
            key: Bytes::from_static(b"key"),
            hint_for: hint_for.iter().map(|&node| node.into()).collect(),
        }
    }

    fn request(request: Request, cluster: Option<ClusterId>) -> Message {
        Message::Request {
            id: RequestId(4),
            within_ms: 5_000,
            cluster,
            request,
            body: Bytes::new(),
        }
    }

    fn ask_get(n: Option<u32>, pr: Option<u32>) -> Request {
        Request::Get {
            keyspace: None,
            key: Bytes::from_static(b"k"),
            n,
            r: Some(u32::MAX),
            pr,
        }
    }

    fn ask_put(keyspace: Option<&str>, ttl_ms: Option<u64>) -> Request {
        Request::Put {
            keyspace: keyspace.map(str::to_owned),
            key: Bytes::new(),
            ttl_ms,
            n: None,
            w: Some(0),
            pw: None,
        }
    }

    fn reply(reply: Reply) -> Message {
        Message::Reply {
            id: RequestId(4),
            ring: ring(),
            reply: Box::new(reply),
            body: Bytes::new(),
        }
    }

    fn written(replicas: &[ReplicaResult]) -> Message {
        let context = Stamp {
            time: 1 << 60,
            boot: 2,
            seq: 3,
        };
        let replicas = replicas.iter().cloned().collect();
        reply(Reply::Written { context, replicas })
    }

    fn answer(answer: Answer) -> Message {
        Message::Answer {
            id: RequestId(0),
            answer,
            body: Bytes::new(),
        }
    }

    fn plain() -> Vec<Message> {
        let got = |found, context| Reply::Got {
            found,
            context,
            replicas: Replicas::new(),
        };
        let key = Bytes::new();
        vec![
            command(Role::Owner, put(&[])),
            command(Role::Fallback, Command::Get { key }),
            answer(Answer::Stored),
            answer(Answer::Found),
            answer(Answer::NotFound),
            request(ask_get(None, None), None),
            request(ask_get(Some(0), None), Some(ClusterId(0))),
            request(ask_put(None, None), Some(ClusterId(u128::MAX))),
            written(&[]),
            written(&[
                replica("node1", ResultWord::Ok),
                replica("", ResultWord::NotFound),
                replica("n", ResultWord::Stale),
            ]),
            reply(got(true, Some(Stamp::default()))),
            reply(got(false, None)),
        ]
    }

    fn header(message: Message) -> Option<(Envelope, Bytes)> {
        let clock = 1 << 61;
        let envelope = Envelope { clock, message };
        let mut header = vec![1, 2];
        match write(&envelope, &mut header) {
            true => Some((envelope, Bytes::from(header.split_off(2)))),
            false => {
                assert_eq!(header, [1, 2], "as before");
                None
            }
        }
    }

    /// Lost without it: a field that changes on its way, or a header cut short that is taken for a whole one.
    #[test]
    fn what_is_written_is_read() {
        for message in plain() {
            let (envelope, header) = header(message).expect("it is plain");
            assert_eq!(read(&header).as_ref(), Some(&envelope));
            // A shorter one is another key, or fewer replicas, or nothing; a longer one likewise.
            for cut in 0..header.len() {
                let shorter = read(&header.slice(..cut));
                assert_ne!(shorter.as_ref(), Some(&envelope));
            }
            let longer = Bytes::from([&header[..], &[0]].concat());
            assert_ne!(read(&longer).as_ref(), Some(&envelope));
        }
    }

    /// Lost without it: what the layout has no room for is left out on the way.
    #[test]
    fn what_has_no_place_here_is_not_plain() {
        let session = crate::message::SessionId { boot: 1, number: 1 };
        let key = Bytes::new();
        let long = "n".repeat(256);
        for message in [
            command(Role::Relayed(session), put(&[])),
            command(Role::Owner, put(&["node2"])),
            command(Role::Owner, Command::Repair { key }),
            answer(Answer::Busy),
            request(ask_get(None, Some(1)), None),
            request(ask_put(Some("other"), None), None),
            request(ask_put(None, Some(1)), None),
            request(Request::Ring, None),
            written(&[
                replica("node1", ResultWord::Ok),
                replica("n", ResultWord::Busy),
            ]),
            written(&[replica(&long, ResultWord::Ok)]),
            Message::AskHints { id: RequestId(1) },
        ] {
            assert_eq!(header(message.clone()), None, "{message:?}");
        }
    }

    /// Lost without it: a slot that no partition has, or a number that is none, from a peer that is broken.
    #[test]
    fn what_nobody_writes_is_refused() {
        let changed = |message: Message, at: usize, byte: u8| {
            let (_, bytes) = header(message).expect("it is plain");
            let mut bytes = bytes.to_vec();
            bytes[at] = byte;
            read(&Bytes::from(bytes))
        };
        let put = || command(Role::Owner, put(&[]));
        assert_eq!(changed(put(), 0, 99), None, "a tag");
        assert_eq!(changed(put(), 22, 2), None, "a role");
        assert_eq!(changed(put(), 24, 0x40), None, "a slot");
        let get = || request(ask_get(None, None), None);
        assert_eq!(changed(get(), 21, 2), None, "yes or no");
        assert_eq!(changed(get(), 38, 0), None, "a number beyond 32 bits");
        let written = || written(&[replica("node1", ResultWord::Ok)]);
        assert_eq!(changed(written(), 49, 0), None, "no stamp of a write");
        assert_eq!(changed(written(), 74, 9), None, "a result");
        assert_eq!(changed(written(), 76, 0xff), None, "no text");
    }
}
