//! What a pipeline of requests costs from bytes to commands, and its replies to bytes.

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rkv_resp::frame::write_request;
use rkv_resp::{Command, Limits, Protocol, Reply, RequestParser, command};

const PIPELINE: usize = 100;

fn pipeline(request: &[&[u8]]) -> BytesMut {
    let mut bytes = BytesMut::new();
    for _ in 0..PIPELINE {
        write_request(request, &mut bytes);
    }
    bytes
}

/// Parses to the last command; how many there were.
fn parse(buffer: &mut BytesMut) -> usize {
    let mut parser = RequestParser::new(Limits::default());
    let mut commands = 0;
    while let Some(request) = parser.next(buffer).expect("well formed") {
        let spec = command::find(&request).expect("a command of ours");
        Command::parse(spec.name, request).expect("with its arguments");
        commands += 1;
    }
    commands
}

fn requests(c: &mut Criterion) {
    let value = [b'v'; 100];
    let mut group = c.benchmark_group("pipeline of 100");
    group.throughput(Throughput::Elements(PIPELINE as u64));
    for (name, request) in [
        ("GET", &[&b"GET"[..], b"user:0123456789a"][..]),
        ("SET of 100 B", &[b"SET", b"user:0123456789a", &value]),
        (
            "SET EX",
            &[b"SET", b"user:0123456789a", &value, b"EX", b"60"],
        ),
    ] {
        let bytes = pipeline(request);
        group.bench_function(name, |b| {
            b.iter_batched_ref(|| bytes.clone(), parse, BatchSize::SmallInput);
        });
    }
    let reply = Reply::Bulk(Bytes::from(value.to_vec()));
    let mut out = BytesMut::with_capacity(64 << 10);
    group.bench_function("replies of 100 B", |b| {
        b.iter(|| {
            out.clear();
            for _ in 0..PIPELINE {
                reply.write(Protocol::Resp2, &mut out);
            }
            out.len()
        });
    });
    group.finish();
}

criterion_group!(benches, requests);
criterion_main!(benches);
