//! What finding a key's place costs: its slot, and whom a request goes to.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use rkv_ring::plan::{commit, stage_join};
use rkv_ring::{
    Addresses, ClusterId, Incarnation, Member, NodeName, PartitionCount, Ring, Slot, Status, Walk,
    moves, preflist,
};

fn member(number: u32, status: Status) -> (NodeName, Member) {
    let member = Member {
        incarnation: Incarnation(u128::from(number)),
        status,
        addresses: Addresses::default(),
        zone: None,
        weight: 1.0,
    };
    (format!("node{number}").into(), member)
}

/// Five settled nodes, 64 partitions, 3 replicas.
fn ring() -> Ring {
    let (name, founder) = member(1, Status::Valid);
    let q = PartitionCount::new(64).expect("a power of two");
    let mut ring = Ring::found(ClusterId(7), "bench", q, 3, name, founder);
    for number in 2..=5 {
        let (name, joiner) = member(number, Status::Joining);
        ring = stage_join(&ring, name, joiner, false).expect("it is new");
    }
    let mut ring = commit(&ring, None, 0).expect("joins are staged");
    while let Some(&partition) = ring.moves.keys().next() {
        moves::complete(&mut ring, partition);
    }
    ring
}

fn routing(c: &mut Criterion) {
    c.bench_function("slot/of 16 bytes", |b| {
        b.iter(|| Slot::of(black_box(b"user:0123456789a")));
    });
    c.bench_function("slot/of a hashtag", |b| {
        b.iter(|| Slot::of(black_box(b"{user:01234}.name")));
    });
    let ring = ring();
    let walk = Walk::of(&ring);
    let down: NodeName = ring.rows[3][0].clone();
    let partitions: Vec<_> = ring.partitions.partitions().collect();
    let mut at = 0;
    let mut next = || {
        at = (at + 1) % partitions.len();
        partitions[at]
    };
    c.bench_function("preflist/all up", |b| {
        b.iter(|| preflist(&ring, &walk, next(), |_| true));
    });
    c.bench_function("preflist/one of five down", |b| {
        b.iter(|| preflist(&ring, &walk, next(), |node| *node != down));
    });
}

criterion_group!(benches, routing);
criterion_main!(benches);
