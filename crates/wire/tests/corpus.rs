//! What fuzzing found worth keeping, as ordinary tests: see `fuzz/entry.rs` and `scripts/fuzz`.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use rkv_quorum::clock::Stamp;
use rkv_quorum::outcome::{ReplicaResult, ResultWord};
use rkv_quorum::tally;
use rkv_ring::cluster::{Body, ClusterMessage, EncodedRing};
use rkv_ring::{
    Addresses, ClusterId, Incarnation, Member, Partition, PartitionCount, Ring, Slot, Status,
};
use rkv_wire::codec::{Batch, PREFIX};
use rkv_wire::items::one_item;
use rkv_wire::message::{
    Answer, Command, CopyId, CopyReport, CopyState, HintReport, RepairReport, Report, RequestId,
    Role, ServiceId, SessionId, Totals, TransferKind, TransferReport,
};
use rkv_wire::request::{Reply, Request};
use rkv_wire::{Envelope, Message};

#[path = "../fuzz/entry.rs"]
mod entry;

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target)
}

fn replay(target: &str, entry: fn(&[u8])) {
    let mut count = 0;
    for file in fs::read_dir(folder(target)).unwrap() {
        let file = file.unwrap().path();
        println!("{}", file.display()); // shown when it panics
        entry(&fs::read(&file).unwrap());
        count += 1;
    }
    assert!(count > 0, "no corpus of {target}");
}

/// Lost without it: bytes that once broke the codec, or that reach its rarest branches, could break it again.
#[test]
fn frames() {
    replay("frames", entry::frames);
}

/// Lost without it: the same for what stands in a frame.
#[test]
fn messages() {
    replay("messages", entry::messages);
}

/// Lost without it: the same for steps of the handshake, and a stranger might be taken for a peer.
#[test]
fn handshake() {
    replay("handshake", entry::handshake);
}

/// Writes a message of each kind where the fuzzers begin; to be run again after a change of the messages.
#[test]
#[ignore = "writes to the tree: the corpora's first inputs"]
fn seeds() {
    for (name, message) in samples() {
        let mut batch = Batch::new();
        batch
            .push(&Envelope {
                clock: 1 << 40,
                message,
            })
            .unwrap();
        let mut frame = BytesMut::new();
        batch.copy_to(&mut frame);
        let length = u16::from_le_bytes([frame[8], frame[9]]);
        let header = length | if frame[5] == 3 { entry::IS_PLAIN } else { 0 };
        let one = [&header.to_le_bytes(), &frame[PREFIX..]].concat();
        fs::write(folder("messages").join(name), one).unwrap();
        fs::write(
            folder("frames").join(name),
            [&[0x82, 7], &frame[..]].concat(),
        )
        .unwrap();
    }
    let scripts: [(&str, &[u8]); 5] = [
        ("peers", &[0]),
        ("client", &[1]),
        ("strangers", &[2]),
        ("changed", &[4, 0, 1, 9, 1]),
        ("repeated", &[8, 0, 0, 2, 1]),
    ];
    for (name, script) in scripts {
        fs::write(folder("handshake").join(name), script).unwrap();
    }
}

fn samples() -> Vec<(&'static str, Message)> {
    let id = RequestId(7);
    let ring = ring();
    let ring_id = ring.id();
    let copy = CopyId {
        service: ServiceId(1),
        partition: Partition(3),
    };
    let session = SessionId { boot: 9, number: 1 };
    let totals = Totals {
        entries: 1,
        bytes: 2,
        hash: 3,
    };
    let key = Bytes::from_static(b"\x01\x2f\x96kkkkkkkk");
    let body = one_item(&key, b"value");
    let command = |role, command| Message::Command {
        id,
        service: ServiceId(1),
        slot: Slot(12182),
        ring: ring_id,
        role,
        within_ms: 5000,
        command,
        body: Bytes::from_static(b"object"),
    };
    let answer = |answer| Message::Answer {
        id,
        answer,
        body: Bytes::new(),
    };
    let stamp = Stamp::default();
    let stored = |node: &str, replica| ReplicaResult {
        node: node.into(),
        partition: Partition(3),
        replica,
        role: tally::Role::Owner,
        result: ResultWord::Ok,
    };
    let said = |body| {
        Message::Cluster(Box::new(ClusterMessage {
            incarnation: Incarnation(5),
            boot: 1,
            peer: "127.0.0.1:8199".into(),
            body,
        }))
    };
    vec![
        (
            "put",
            command(
                Role::Owner,
                Command::Put {
                    key: key.clone(),
                    hint_for: vec!["b".into()],
                },
            ),
        ),
        (
            "get",
            command(Role::Relayed(session), Command::Get { key: key.clone() }),
        ),
        (
            "hint",
            command(
                Role::Fallback,
                Command::Hint {
                    key: key.clone(),
                    missing: vec!["b".into()],
                },
            ),
        ),
        (
            "plain_get",
            command(Role::Owner, Command::Get { key: key.clone() }),
        ),
        ("plain_stored", answer(Answer::Stored)),
        (
            "plain_ask",
            Message::Request {
                id,
                within_ms: 5000,
                cluster: Some(ring_id.cluster),
                request: Request::Put {
                    keyspace: None,
                    key: key.clone(),
                    ttl_ms: None,
                    n: Some(3),
                    w: None,
                    pw: None,
                },
                body: Bytes::from_static(b"value"),
            },
        ),
        (
            "plain_written",
            Message::Reply {
                id,
                ring: ring_id,
                reply: Box::new(Reply::Written {
                    context: stamp,
                    replicas: [stored("a", 0), stored("b", 1)].into_iter().collect(),
                }),
                body: Bytes::new(),
            },
        ),
        ("custom", command(Role::Owner, Command::Custom(key.clone()))),
        ("newer", answer(Answer::Newer(stamp))),
        ("moved", answer(Answer::Moved(ring_id))),
        (
            "failed",
            answer(Answer::Failed {
                text: "no".into(),
                maybe_applied: true,
            }),
        ),
        ("held", answer(Answer::Held(CopyState::Serving))),
        (
            "open",
            Message::HandoffOpen {
                copy,
                session,
                ring: ring_id,
                attempt: 2,
                resume: true,
                reaped: 9,
            },
        ),
        (
            "opened",
            Message::HandoffOpened {
                copy,
                session,
                kept: Some(totals),
                refused: Some("no".into()),
                full: true,
            },
        ),
        (
            "items",
            Message::HandoffItems {
                copy,
                session,
                seq: 1,
                body: body.clone(),
            },
        ),
        (
            "took",
            Message::HandoffTook {
                copy,
                session,
                items: 1,
                forwards: 2,
            },
        ),
        (
            "mark",
            Message::HandoffMark {
                copy,
                session,
                items: 1,
                forwards: 2,
                totals,
            },
        ),
        (
            "marked",
            Message::HandoffMarked {
                copy,
                session,
                forwards: 2,
                equal: true,
            },
        ),
        (
            "asksums",
            Message::AskSums {
                id,
                copy,
                ring: ring_id,
                both_ways: true,
                sums: vec![(0, 16_383, 3, 7).into()],
            },
        ),
        (
            "sums",
            Message::SumsAre {
                id,
                refused: Some(Answer::Busy),
                differ: vec![(0, 16_383, 4, 8).into()],
                reaped: 9,
            },
        ),
        (
            "compare",
            Message::Compare {
                id,
                copy,
                ring: ring_id,
                from: key.clone(),
                to: key.clone(),
                both_ways: true,
                spares: true,
                body: body.clone(),
            },
        ),
        (
            "compared",
            Message::Compared {
                id,
                lacking: vec![1, 2],
                absent: vec![1],
                spared: true,
                refused: Some(Answer::Busy),
                upto: key,
                body: body.clone(),
            },
        ),
        (
            "fill",
            Message::Fill {
                id,
                copy,
                ring: ring_id,
                mends: true,
                body,
            },
        ),
        (
            "hints",
            Message::HintsAre {
                id,
                counted: vec![copy],
            },
        ),
        (
            "unsettled",
            Message::UnsettledAre {
                id,
                ring: ring_id,
                copies: vec![copy],
            },
        ),
        ("ring", said(Body::RingIs(EncodedRing::of(&ring)))),
        (
            "pull",
            said(Body::PullRing {
                cluster: ring.cluster,
                lineage: 0,
                have: ring.epoch,
            }),
        ),
        (
            "askrepair",
            Message::AskRepair {
                id,
                ring: ring_id,
                partition: Some(Partition(3)),
                begin: true,
            },
        ),
        (
            "repair",
            Message::RepairIs {
                id,
                begun: 1,
                copies: vec![RepairReport {
                    copy,
                    state: CopyState::Serving,
                    exchanged_ms: Some(9),
                    repaired: 1,
                    divergence: 2,
                    with: Some("a".into()),
                    asked_for: vec!["b".into()],
                    last_error: Some("no".into()),
                }],
            },
        ),
        (
            "report",
            Message::ReportIs {
                id,
                report: Box::new(report(copy, totals)),
            },
        ),
    ]
}

fn ring() -> Ring {
    let member = Member {
        incarnation: Incarnation(5),
        status: Status::Valid,
        addresses: Addresses::default(),
        zone: None,
        weight: 1.0,
    };
    let partitions = PartitionCount::new(8).unwrap();
    Ring::found(ClusterId(7), "rkv", partitions, 3, "a".into(), member)
}

fn report(copy: CopyId, totals: Totals) -> Report {
    Report {
        ring: Some(ring().id()),
        digest: "00".into(),
        version: "0.1.0".into(),
        clock: 0,
        newest: 9,
        copies: vec![CopyReport {
            copy,
            state: CopyState::Sending,
            totals,
            live: 1,
            whole: true,
        }],
        hints: vec![HintReport {
            copy,
            keys: 1,
            waiting_for: vec!["b".into()],
        }],
        transfers: vec![TransferReport {
            kind: TransferKind::Ownership,
            copy,
            from: "a".into(),
            to: "b".into(),
            active: true,
            settled: false,
            keys_done: 1,
            keys_total: 2,
            bytes_done: 3,
            bytes_total: 4,
            keys_per_s: 5,
            waiting_for: Some("a".into()),
            last_error: None,
        }],
        warnings: vec!["a folder".into()],
        traces: 3,
        reaping_waits_for: Some("node3, which is away".to_owned()),
    }
}
