//! What an object costs on its way to and from bytes, and beside another.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use rkv_quorum::Object;
use rkv_quorum::clock::Stamp;
use rkv_quorum::object::Version;

fn stamp(time: u64) -> Stamp {
    Stamp {
        time: time << 16,
        boot: 7,
        seq: 0,
    }
}

fn objects(c: &mut Criterion) {
    let body = Bytes::from(vec![7; 100]);
    let older = Object::value(stamp(1), body.clone());
    let newer = Object::value_until(stamp(2), body, 1 << 41);
    let encoded = Bytes::from(newer.encode());
    c.bench_function("object/encode 100 B", |b| {
        b.iter(|| black_box(&newer).encode());
    });
    c.bench_function("object/decode 100 B", |b| {
        b.iter(|| Object::decode(black_box(encoded.clone())));
    });
    c.bench_function("object/peek at its version", |b| {
        b.iter(|| Version::peek(black_box(&encoded)));
    });
    c.bench_function("object/merge", |b| {
        b.iter_batched_ref(
            || older.clone(),
            |held| held.merge(black_box(&newer)),
            criterion::BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, objects);
criterion_main!(benches);
