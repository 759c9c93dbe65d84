//! What a message costs on its way to bytes, and back.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rkv_ring::{ClusterId, Epoch, RingId, Slot};
use rkv_wire::codec::{Batch, Decoder, Limits};
use rkv_wire::message::{Command, RequestId, Role, ServiceId};
use rkv_wire::{Envelope, Message};

fn put(body: usize) -> Envelope {
    let ring = RingId {
        cluster: ClusterId(u128::MAX / 3),
        lineage: 0,
        epoch: Epoch(7),
    };
    Envelope {
        clock: 1 << 60,
        message: Message::Command {
            id: RequestId(1 << 40),
            service: ServiceId(1),
            slot: Slot(12182),
            ring,
            role: Role::Owner,
            within_ms: 5_000,
            command: Command::Put {
                key: Bytes::from_static(b"\x00\x01\x2f\x96\x00\x00\x00\x01hash12user:0123456789"),
                hint_for: Vec::new(),
            },
            body: Bytes::from(vec![7; body]),
        },
    }
}

fn codec(c: &mut Criterion) {
    for (name, body) in [("100 B", 100), ("1 MiB", 1 << 20)] {
        let envelope = put(body);
        let mut batch = Batch::new();
        batch.push(&envelope).expect("within its bounds");
        let mut frame = BytesMut::new();
        batch.copy_to(&mut frame);
        let frame = frame.freeze();
        let mut group = c.benchmark_group(format!("put of {name}"));
        group.throughput(Throughput::Elements(1));
        group.bench_function("encode", |b| {
            b.iter(|| {
                batch.clear();
                batch.push(black_box(&envelope)).expect("within its bounds");
                batch.len()
            });
        });
        group.bench_function("decode", |b| {
            // The receive buffer is the socket's: filling it is not the codec's.
            b.iter_batched_ref(
                || (Decoder::new(Limits::NODE), BytesMut::from(&frame[..])),
                |(decoder, buffer)| {
                    let frame = decoder.next(buffer).expect("a frame").expect("a whole one");
                    frame.into_message().expect("a message")
                },
                criterion::BatchSize::LargeInput,
            );
        });
        group.finish();
    }
}

criterion_group!(benches, codec);
criterion_main!(benches);
