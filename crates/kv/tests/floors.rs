//! What a copy shows, counts and keeps when a keyspace's floor rises: one node, a clock and stamps that the test gives.

use std::sync::Arc;

use bytes::Bytes;
use rkv_kv::KvService;
use rkv_kv::replica::KV;
use rkv_quorum::clock::Stamp;
use rkv_quorum::object::{Deadline, Object};
use rkv_ring::{DEFAULT_KEYSPACE, Slot};
use rkv_storage::{Space, StoreKey};
use rkv_vnode::Service;
use rkv_vnode::trial::{SETTINGS, Trial};
use rkv_wire::message::{Answer, Command, CopyReport};

fn at(time: u64) -> Stamp {
    Stamp {
        time,
        boot: 1,
        seq: 0,
    }
}

/// One node, all of whose keys lie in one slot.
struct One {
    trial: Trial,
}

const SLOT: Slot = Slot(0);

impl One {
    fn new() -> One {
        let services = || -> Vec<Arc<dyn Service>> { vec![Arc::new(KvService)] };
        One {
            trial: Trial::found("a", 1, SETTINGS, services),
        }
    }

    fn ask(&mut self, command: Command, body: Bytes) -> (Answer, Bytes) {
        self.trial.ask("a", (KV, SLOT), command, body)
    }

    fn put(&mut self, key: &str, object: &Object) -> Answer {
        let command = Command::Put {
            key: store_key(key),
            hint_for: Vec::new(),
        };
        self.ask(command, Bytes::from(object.encode())).0
    }

    fn repair(&mut self, key: &str, object: &Object) -> Answer {
        let key = store_key(key);
        let command = Command::Repair { key };
        self.ask(command, Bytes::from(object.encode())).0
    }

    fn get(&mut self, key: &str) -> Option<Object> {
        let key = store_key(key);
        match self.ask(Command::Get { key }, Bytes::new()) {
            (Answer::Found, body) => Some(Object::decode(body).unwrap()),
            (Answer::NotFound, _) => None,
            other => panic!("{other:?}"),
        }
    }

    fn raise(&mut self, floor: u64) {
        let mut ring = (**self.trial.host("a").view().ring()).clone();
        ring.keyspaces.raise(DEFAULT_KEYSPACE, floor);
        ring.epoch.0 += 1;
        self.trial.adopt(ring);
    }

    fn copy(&self) -> CopyReport {
        let report = self.trial.host("a").report();
        let mut copies = report.copies.into_iter();
        copies.find(|copy| copy.copy.partition.0 == 0).unwrap()
    }

    fn stored(&self) -> usize {
        let (from, to) = StoreKey::range(Space::Data, KV.0, 0..=0);
        self.trial.host("a").store().scan(&from, &to).count()
    }
}

fn store_key(key: &str) -> Bytes {
    StoreKey::entry(Space::Data, KV.0, SLOT.0, DEFAULT_KEYSPACE, key.as_bytes())
}

fn value(time: u64) -> Object {
    Object::value(at(time), Bytes::from("v"))
}

/// Lost without it: a flush that waits until everything is deleted, or a copy that shows what it has not deleted yet.
#[test]
fn what_is_flushed_is_gone_at_once_and_deleted_later() {
    for later in [0, 100] {
        let mut one = One::new();
        for i in 0..10_000 {
            assert_eq!(one.put(&format!("old{i}"), &value(5)), Answer::Stored);
        }
        // With some above the floor the copy is counted, without any it is known to be empty.
        for i in 0..later {
            assert_eq!(one.put(&format!("new{i}"), &value(9)), Answer::Stored);
        }
        one.raise(7);
        assert_eq!(one.copy().live, later);
        assert_eq!(one.copy().totals.entries, later);
        assert_eq!(one.get("old1"), None);
        assert_eq!(one.get("new1").is_some(), later > 0);
        assert!(one.stored() > 5_000, "deleting takes its time");
        assert_eq!(
            one.put("old1", &value(8)),
            Answer::Stored,
            "and is not waited for"
        );
        one.trial.pass(5_000);
        assert_eq!(one.stored() as u64, later + 1);
        assert_eq!(one.copy().live, later + 1);
        assert_eq!(one.get("old1"), Some(value(8)));
    }
}

/// Lost without it: a write or a repair from before the flush that arrives after it.
#[test]
fn what_lies_below_the_floor_is_not_taken() {
    let mut one = One::new();
    one.raise(7);
    assert_eq!(one.put("a", &value(7)), Answer::Floor(Stamp::last_of(7)));
    assert_eq!(one.repair("a", &value(7)), Answer::Stored, "it is covered");
    assert_eq!((one.get("a"), one.stored()), (None, 0));
    assert_eq!(one.put("a", &value(8)), Answer::Stored);
    // A deadline for a value that is dead ends nothing; one for a value that is not here is asked for with that.
    let deadline = |of| {
        Object::deadline(Deadline {
            at_ms: Some(1),
            stamp: at(20),
            of: at(of),
        })
    };
    assert_eq!(one.put("b", &deadline(6)), Answer::Stored);
    assert_eq!(one.get("b"), None);
    assert_eq!(one.put("b", &deadline(9)), Answer::NotFound);
    let mut whole = value(9);
    whole.merge(&deadline(9));
    assert_eq!(one.put("b", &whole), Answer::Stored);
    assert_eq!(one.get("b"), Some(whole));
}

/// Lost without it: a second flush that comes while the first is still swept, or one that is behind it.
#[test]
fn floors_rise_while_copies_are_swept() {
    let mut one = One::new();
    for i in 0..10_000 {
        assert_eq!(
            one.put(&format!("k{i}"), &value(i % 10 + 1)),
            Answer::Stored
        );
    }
    one.raise(3);
    one.trial.pass(50);
    assert_eq!(one.copy().live, 7_000);
    one.raise(6);
    one.raise(2);
    assert_eq!(one.copy().live, 4_000);
    one.trial.pass(5_000);
    assert_eq!((one.stored(), one.copy().live), (4_000, 4_000));
}

/// Lost without it: tools that list a slot see deleted keys, or all of a large slot in one step.
#[test]
fn keys_are_listed_page_by_page() {
    let mut one = One::new();
    for i in 0..5_000 {
        one.put(&format!("k{i}"), &value(5));
    }
    one.put("k7", &Object::tombstone(at(6)));
    one.put("k8", &Object::value_until(at(6), Bytes::from("v"), 1));
    let (from, to) = StoreKey::range(Space::Data, KV.0, 0..=0);
    let keys = |from| Command::Keys {
        from,
        to: to.clone(),
        most: 3,
    };
    let (mut next, mut counted, mut pages) = (Some(from), 0, 0);
    while let Some(from) = next {
        let (answer, body) = one.ask(keys(from), Bytes::new());
        let Answer::Keys {
            live,
            next: further,
        } = answer
        else {
            panic!("{answer:?}");
        };
        let named = rkv_wire::items::read_items(body).unwrap().len();
        assert_eq!(named, live.min(3) as usize);
        (next, counted, pages) = (further, counted + live, pages + 1);
    }
    assert_eq!(counted, 4_998);
    assert!(pages > 1, "no page holds all");
}

/// Lost without it: a copy knows what it has let go of, and whoever takes its place does not.
#[test]
fn what_was_let_go_of_is_known_to_the_next_owner() {
    let services = || -> Vec<Arc<dyn Service>> { vec![Arc::new(KvService)] };
    let settings = rkv_vnode::Settings {
        delete_grace_ms: 1_000,
        void_after_ms: 1_000,
        ..SETTINGS
    };
    let mut trial = Trial::found("a", 1, settings, services);
    trial.host("a").clock_fits(true);
    let moving = *trial.joined("b").moves.keys().next().unwrap();
    let slot = Slot(*trial.ring.partitions.slots(moving).start());
    let key = StoreKey::entry(Space::Data, KV.0, slot.0, DEFAULT_KEYSPACE, b"k");
    let deleted_ms = trial.now_ms();
    let of_ms = |ms: u64| at(ms << 16);
    let put = |trial: &mut Trial, node: &str, object: &Object| {
        let command = Command::Put {
            key: key.clone(),
            hint_for: Vec::new(),
        };
        let body = Bytes::from(object.encode());
        trial.ask(node, (KV, slot), command, body).0
    };
    let tombstone = Object::tombstone(of_ms(deleted_ms));
    assert_eq!(put(&mut trial, "a", &tombstone), Answer::Stored);
    while trial.host("a").figures().reaped == 0 {
        trial.pass(1_000);
        assert!(
            trial.now_ms() < deleted_ms + 60_000,
            "it is never let go of"
        );
    }
    let older = Object::value(of_ms(deleted_ms - 1), Bytes::from("v"));
    let floor = Answer::Floor(Stamp::last_of(deleted_ms << 16));
    assert_eq!(put(&mut trial, "a", &older), floor);

    trial.join("b");
    let newer = Object::value(of_ms(deleted_ms + 1), Bytes::from("v"));
    assert_eq!(put(&mut trial, "b", &older), floor);
    assert_eq!(put(&mut trial, "b", &newer), Answer::Stored);
}
