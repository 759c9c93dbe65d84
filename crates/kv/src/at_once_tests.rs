//! What is answered within the call, and what is not.

use std::sync::Arc;
use std::sync::mpsc;

use bytes::Bytes;
use rkv_quorum::policy::{GetOptions, PutOptions};
use rkv_ring::{Addresses, Incarnation, Member, Ring, Status};

use crate::alone::{engine, ring};
use crate::{Engine, Write};

fn get(engine: &Arc<Engine>, key: &[u8]) -> Option<Bytes> {
    let (tell, told) = mpsc::channel();
    let done = Box::new(move |got: Result<_, _>| tell.send(got).expect("somebody waits"));
    let keyspace = engine.default_keyspace();
    engine.get(keyspace, key, &GetOptions::default(), done);
    let got: rkv_quorum::outcome::GetOutcome = told.recv().unwrap().unwrap();
    got.object.and_then(|o| o.read(engine.wall_ms()).cloned())
}

fn get_at_once(engine: &Arc<Engine>, key: &[u8]) -> Option<Option<Bytes>> {
    let space = engine.default_keyspace();
    let object = engine.get_at_once(space, key, None)?;
    Some(object.and_then(|o| o.read(engine.wall_ms()).cloned()))
}

fn put_at_once(engine: &Arc<Engine>, key: &[u8], value: &'static str) -> bool {
    let body = Bytes::from_static(value.as_bytes());
    let space = engine.default_keyspace();
    engine.put_at_once(space, key, None, &body, None)
}

#[test]
fn both_ways_see_the_same() {
    // Lost without it: a client of the short way reads what one of the long way has replaced or deleted, or the reverse.
    let engine = engine(&ring());
    assert_eq!(get_at_once(&engine, b"k"), Some(None));
    assert!(put_at_once(&engine, b"k", "1"));
    assert_eq!(get(&engine, b"k").as_deref(), Some(&b"1"[..]));
    let (tell, told) = mpsc::channel();
    let done = Box::new(move |put: Result<_, _>| tell.send(put.is_ok()).expect("somebody waits"));
    let options = PutOptions::default();
    engine.put(
        engine.default_keyspace(),
        b"k",
        Write::Delete,
        &options,
        done,
    );
    assert_eq!(told.recv(), Ok(true));
    assert_eq!(get_at_once(&engine, b"k"), Some(None), "deleted");
    assert!(put_at_once(&engine, b"k", "2"));
    assert_eq!(get_at_once(&engine, b"k"), Some(Some("2".into())));
    assert_eq!(engine.coordinator().in_flight(), 0);
}

#[test]
fn what_ends_is_ended() {
    // Lost without it: a value that was put with a deadline is read after it.
    let engine = engine(&ring());
    let body = Bytes::from_static(b"v");
    let space = engine.default_keyspace();
    assert!(engine.put_at_once(space, b"gone", None, &body, Some(1)));
    assert_eq!(get_at_once(&engine, b"gone"), Some(None));
    let ends_ms = engine.wall_ms() + 60_000;
    assert!(engine.put_at_once(space, b"there", None, &body, Some(ends_ms)));
    assert_eq!(get_at_once(&engine, b"there"), Some(Some(body)));
}

#[test]
fn what_is_not_plain_is_left_alone() {
    // Lost without it: a key that is refused is stored, or one that others hold too is answered by this node alone.
    let engine_alone = engine(&ring());
    assert!(!put_at_once(&engine_alone, b"", "v") && get_at_once(&engine_alone, b"").is_none());
    let long = vec![b'k'; 1 << 20];
    assert!(!put_at_once(&engine_alone, &long, "v") && get_at_once(&engine_alone, &long).is_none());

    let engine_of_two = engine(&shared());
    let key = |of_both: bool| {
        let is_of_both = |key: &Vec<u8>| {
            let (_, preflist) = engine_of_two.preflist(key);
            preflist
                .places
                .iter()
                .any(|place| place.node.as_str() == "b")
                == of_both
        };
        (0..100_u32)
            .map(|n| n.to_string().into_bytes())
            .find(is_of_both)
            .expect("some rows have b and some have not")
    };
    assert!(!put_at_once(&engine_of_two, &key(true), "v"));
    assert!(get_at_once(&engine_of_two, &key(true)).is_none());
    assert!(put_at_once(&engine_of_two, &key(false), "v"));
}

/// A ring in which `b` has a place in every other row.
fn shared() -> Ring {
    let mut ring = ring();
    let member = Member {
        incarnation: Incarnation(2),
        status: Status::Valid,
        addresses: Addresses::default(),
        zone: None,
        weight: 1.0,
    };
    ring.members.insert("b".into(), member);
    for partition in ring.partitions.partitions().step_by(2) {
        ring.rows[partition.index()][1] = "b".into();
    }
    ring
}
