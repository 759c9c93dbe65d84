//! Requests that go as everybody expects until something else happens, and puts that wait for a disk which takes its time.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, Receiver, TryRecvError};

use parking_lot::Mutex;
use rkv_cluster::keeper::Outward as _;
use rkv_quorum::policy::{GetOptions, PutOptions};
use rkv_ring::Epoch;
use rkv_storage::memory::Memory;
use rkv_storage::store::Snapshot;
use rkv_storage::{Backend, Batch, Done, Error, Job, Scan, Stats, Store};
use rkv_wire::message::Answer;

use super::*;
use crate::alone::{engine, engine_over, of_three, ring};
use crate::coordinate::MOST_REQUESTS;
use crate::{Engine, Write};

/// A disk on which nothing lands before it is told to.
#[derive(Default)]
struct SlowDisk {
    entries: Memory,
    queue: Mutex<VecDeque<Job>>,
}

impl SlowDisk {
    /// Lands what is queued, and what that brings, or fails it all.
    fn land(&self, result: &Result<(), Error>) {
        loop {
            let Some(job) = self.queue.lock().pop_front() else {
                return;
            };
            if result.is_ok() {
                self.entries.apply(&job.batch).unwrap();
            }
            (job.done)(result.clone());
        }
    }
}

impl Store for SlowDisk {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.entries.get(key)
    }

    fn scan(&self, start: &[u8], end: &[u8]) -> Scan {
        self.entries.scan(start, end)
    }

    fn submit(&self, job: Job) {
        self.queue.lock().push_back(job);
    }

    fn snapshot(&self, start: Bytes, end: Bytes, done: Snapshot) {
        done(Ok(self.entries.scan(&start, &end)));
    }

    fn drop_range(&self, start: Bytes, end: Bytes, done: Done) {
        done(self.entries.drop_range(&start, &end).map(drop));
    }

    fn sync(&self, done: Done) {
        done(Ok(()));
    }

    fn apply(&self, batch: &Batch) -> Result<(), Error> {
        self.entries.apply(batch)
    }

    fn drop_now(&self, start: &[u8], end: &[u8]) -> Result<(), Error> {
        self.entries.drop_range(start, end).map(drop)
    }

    fn stats(&self) -> Stats {
        self.entries.stats()
    }

    fn is_volatile(&self) -> bool {
        false
    }

    fn close(&self) -> Result<(), Error> {
        Ok(())
    }
}

type Told = Receiver<Result<PutOutcome, KvError>>;

fn put(engine: &Arc<Engine>, key: &[u8], timeout_ms: u64) -> Told {
    let (tell, told) = mpsc::channel();
    let done = Box::new(move |put: Result<_, _>| tell.send(put).expect("somebody waits"));
    let write = Write::Value {
        body: Bytes::from_static(b"v"),
        at_ms: None,
    };
    let options = PutOptions {
        timeout_ms: Some(timeout_ms),
        ..PutOptions::default()
    };
    engine.put(engine.default_keyspace(), key, write, &options, done);
    told
}

const LONG_MS: u64 = 60_000;

#[test]
fn a_write_is_told_when_it_has_landed() {
    // Lost without it: a write is acknowledged that no disk has, or is never acknowledged.
    let disk = Arc::new(SlowDisk::default());
    let engine = engine_over(&ring(), disk.clone());
    let told: Vec<Told> = (0..3_u8).map(|key| put(&engine, &[key], LONG_MS)).collect();
    for told in &told {
        assert_eq!(told.try_recv(), Err(TryRecvError::Empty));
    }
    assert_eq!(engine.in_flight(), 3);
    disk.land(&Ok(()));
    for told in told {
        let put = told.try_recv().unwrap().unwrap();
        assert_eq!(put.replicas.len(), 3, "each place is this node's");
    }
    assert_eq!(engine.in_flight(), 0);
}

#[test]
fn a_write_that_lands_under_another_ring_asks_who_owns_it_now() {
    // Lost without it: a write that landed while a node took over its row is acknowledged by too few.
    let disk = Arc::new(SlowDisk::default());
    let mut ring = ring();
    let engine = engine_over(&ring, disk.clone());
    let told = put(&engine, b"k", LONG_MS);
    ring.epoch = Epoch(2);
    engine.adopt(Arc::new(ring));
    disk.land(&Ok(()));
    let put = told.try_recv().unwrap().unwrap();
    let space = engine.default_keyspace();
    let object = engine.get_at_once(space, b"k", None);
    let object = object.unwrap();
    assert_eq!(object.unwrap().version().stamp(), Some(put.stamp));
    assert_eq!(
        engine.figures().requests.values().sum::<u64>(),
        2,
        "a put, a get"
    );
}

#[test]
fn what_a_broken_disk_may_hold_is_said_so() {
    // Lost without it: a client that is told "not applied" writes again over what another has written since.
    let disk = Arc::new(SlowDisk::default());
    let engine = engine_over(&ring(), disk.clone());
    let told = put(&engine, b"k", LONG_MS);
    disk.land(&Err(Error::Broken("told to".to_owned())));
    let error = told.try_recv().unwrap().unwrap_err();
    assert!(error.was_maybe_applied(), "{error}");
    assert_eq!(engine.in_flight(), 0);
}

#[test]
fn beyond_the_bound_the_answer_is_busy_at_once() {
    // Lost without it: a node whose disk falls behind takes writes until its memory is full.
    let disk = Arc::new(SlowDisk::default());
    let engine = engine_over(&ring(), disk.clone());
    let all = 0..MOST_REQUESTS as u32;
    let told: Vec<Told> = all
        .map(|key| put(&engine, &key.to_be_bytes(), LONG_MS))
        .collect();
    let refused = put(&engine, b"k", LONG_MS);
    let error = refused.try_recv().unwrap().unwrap_err();
    assert_eq!(
        error.redis_text(),
        "BUSY 0 of 2 answered; the write was not applied"
    );
    disk.land(&Ok(()));
    for told in told {
        assert!(told.try_recv().unwrap().is_ok());
    }
    let again = put(&engine, b"k", LONG_MS);
    disk.land(&Ok(()));
    assert!(again.try_recv().unwrap().is_ok());
}

#[test]
fn a_disk_that_never_answers_is_not_waited_for() {
    // Lost without it: a client of a hung disk waits for ever.
    let disk = Arc::new(SlowDisk::default());
    let engine = engine_over(&ring(), disk.clone());
    let patient = put(&engine, b"patient", LONG_MS);
    let told = put(&engine, b"k", 1);
    let error = loop {
        engine.tick();
        match told.try_recv() {
            Ok(put) => break put.unwrap_err(),
            Err(_) => std::thread::yield_now(),
        }
    };
    assert!(error.was_maybe_applied(), "{error}");
    assert_eq!(patient.try_recv(), Err(TryRecvError::Empty));
    disk.land(&Ok(()));
    assert!(patient.try_recv().unwrap().is_ok());
    assert_eq!(engine.in_flight(), 0);
}

/// The engine of `a` with `b` and `c` up, who hear nothing and say what the test says; and the number of its next request.
fn among_three() -> (Arc<Engine>, u64) {
    let engine = engine(&of_three());
    engine.suspect(&"b".into(), true);
    engine.suspect(&"c".into(), true);
    let base = engine.coordinator().fresh_id().0 + (1 << ASK_BITS);
    (engine, base)
}

/// `node` answers; `a`, `b` and `c` are asked in the order of the row.
fn says(engine: &Engine, base: u64, node: &str, answer: Answer) {
    says_with(engine, base, node, answer, Bytes::new());
}

fn says_with(engine: &Engine, base: u64, node: &str, answer: Answer, body: Bytes) {
    let view = engine.view();
    let mut row = view.ring().rows[0].iter();
    let at = row.position(|it| it.as_str() == node).expect("an owner");
    let id = wire_id(base, Ask(at as u32 + 1));
    let now = Now::at_us(engine.now_us());
    let coordinator = engine.coordinator();
    coordinator.answered(id, &node.into(), answer, body, now);
}

fn fails() -> Answer {
    Answer::Failed {
        text: "no".to_owned(),
        maybe_applied: false,
    }
}

#[test]
fn it_is_told_by_two_and_lingers_for_the_third() {
    // Lost without it: a put is told by one copy, or twice, or is never forgotten.
    let (engine, base) = among_three();
    let told = put(&engine, b"k", LONG_MS);
    assert_eq!(told.try_recv(), Err(TryRecvError::Empty), "a alone");
    says(&engine, base, "b", Answer::Stored);
    says(&engine, base, "b", Answer::Stored);
    assert_eq!(told.try_recv().unwrap().unwrap().replicas.len(), 2);
    assert_eq!(engine.in_flight(), 1);
    says(&engine, base, "c", Answer::Stored);
    assert_eq!(engine.in_flight(), 0);
    assert_eq!(told.try_recv(), Err(TryRecvError::Disconnected));
    assert!(engine.coordinator().desks().is_empty());
}

#[test]
fn whatever_else_happens_happens_to_a_request_like_any_other() {
    // Lost without it: a put whose owner refuses, is lost, or says nothing is never told, or leaves nobody a hint.
    let (engine, base) = among_three();
    let told = put(&engine, b"k", LONG_MS);
    says(&engine, base, "b", fails());
    assert_eq!(engine.coordinator().desks().len(), 1);
    says(&engine, base, "c", Answer::Stored);
    assert!(told.try_recv().unwrap().is_ok());
    assert_eq!(engine.in_flight(), 0, "b has its hint");

    let (engine, base) = among_three();
    let told = put(&engine, b"k", LONG_MS);
    says(&engine, base, "c", Answer::Stored);
    assert!(told.try_recv().unwrap().is_ok());
    let coordinator = engine.coordinator();
    coordinator.node_lost(&"c".into(), &[], engine.now_ms());
    assert_eq!(
        (engine.in_flight(), coordinator.desks().len()),
        (1, 0),
        "it waits for b alone"
    );
    coordinator.node_lost(&"b".into(), &[], engine.now_ms());
    assert_eq!(engine.in_flight(), 0);

    let (engine, _) = among_three();
    let told = put(&engine, b"k", LONG_MS);
    let coordinator = engine.coordinator();
    coordinator.tick(engine.now_ms() + LONG_MS - 1_000);
    assert!(coordinator.desks().is_empty());
    coordinator.tick(engine.now_ms() + LONG_MS);
    let error = told.try_recv().unwrap().unwrap_err();
    assert!(error.is_timeout() && error.was_maybe_applied(), "{error}");
    assert_eq!(engine.in_flight(), 0);
}

type Got = Receiver<Result<GetOutcome, KvError>>;

fn get(engine: &Arc<Engine>, key: &[u8]) -> Got {
    let (tell, told) = mpsc::channel();
    let done = Box::new(move |got: Result<_, _>| tell.send(got).expect("somebody waits"));
    let options = GetOptions {
        timeout_ms: Some(LONG_MS),
        ..GetOptions::default()
    };
    engine.get(engine.default_keyspace(), key, &options, done);
    told
}

/// As [`among_three`], when all of them hold the same for `k`; the object is what they hold.
fn that_hold_the_same() -> (Arc<Engine>, u64, Object) {
    let (engine, base) = among_three();
    let told = put(&engine, b"k", LONG_MS);
    says(&engine, base, "b", Answer::Stored);
    says(&engine, base, "c", Answer::Stored);
    let stamp = told.try_recv().unwrap().unwrap().stamp;
    let held = Object::value(stamp, Bytes::from_static(b"v"));
    let base = engine.coordinator().fresh_id().0 + (1 << ASK_BITS);
    (engine, base, held)
}

fn holds(engine: &Engine, base: u64, node: &str, held: &Object) {
    says_with(engine, base, node, Answer::Found, held.encode().into());
}

#[test]
fn a_get_is_told_by_two_that_hold_the_same() {
    // Lost without it: a get is told by one copy, or twice, or is never forgotten.
    let (engine, base, held) = that_hold_the_same();
    let got = get(&engine, b"k");
    assert_eq!(got.try_recv(), Err(TryRecvError::Empty), "a alone");
    holds(&engine, base, "b", &held);
    holds(&engine, base, "b", &held);
    let outcome = got.try_recv().unwrap().unwrap();
    assert_eq!(outcome.object.as_ref(), Some(&held));
    assert_eq!((outcome.replicas.len(), engine.in_flight()), (2, 1));
    holds(&engine, base, "c", &held);
    assert_eq!(got.try_recv(), Err(TryRecvError::Disconnected));
    assert!(engine.in_flight() == 0 && engine.coordinator().desks().is_empty());

    let (engine, base) = among_three();
    let got = get(&engine, b"nowhere");
    says(&engine, base, "c", Answer::NotFound);
    assert_eq!(got.try_recv().unwrap().unwrap().object, None);
    says(&engine, base, "b", Answer::NotFound);
    assert_eq!(engine.in_flight(), 0);
}

#[test]
fn a_get_whose_owners_differ_fail_or_are_lost_is_one_like_any_other() {
    // Lost without it: an older copy is told, or stays old; or a get whose owner fails or is lost is never told.
    let (engine, base, held) = that_hold_the_same();
    let got = get(&engine, b"k");
    says(&engine, base, "b", Answer::NotFound);
    let outcome = got.try_recv().unwrap().unwrap();
    assert_eq!(outcome.object.as_ref(), Some(&held));
    assert_eq!(engine.coordinator().desks().len(), 1, "it waits for c");
    holds(&engine, base, "c", &held);
    assert_eq!(engine.in_flight(), 0);
    assert_eq!(engine.figures().read_repairs, 1, "b is told");

    let (engine, base, held) = that_hold_the_same();
    let got = get(&engine, b"k");
    let newer = engine
        .coordinator()
        .clock
        .after(&held.version().stamp().unwrap());
    let newer = Object::value(newer, Bytes::from_static(b"w"));
    holds(&engine, base, "b", &newer);
    let outcome = got.try_recv().unwrap().unwrap();
    assert_eq!(outcome.object.as_ref(), Some(&newer), "a is behind");

    let (engine, base, held) = that_hold_the_same();
    let got = get(&engine, b"k");
    says(&engine, base, "b", fails());
    assert_eq!(got.try_recv(), Err(TryRecvError::Empty));
    holds(&engine, base, "c", &held);
    assert_eq!(got.try_recv().unwrap().unwrap().object, Some(held));

    let (engine, base, held) = that_hold_the_same();
    let got = get(&engine, b"k");
    says_with(&engine, base, "b", Answer::Found, Bytes::from_static(b"?"));
    holds(&engine, base, "c", &held);
    assert_eq!(got.try_recv().unwrap().unwrap().object, Some(held));

    let (engine, base, held) = that_hold_the_same();
    let got = get(&engine, b"k");
    let coordinator = engine.coordinator();
    coordinator.node_lost(&"c".into(), &[], engine.now_ms());
    holds(&engine, base, "b", &held);
    assert_eq!(got.try_recv().unwrap().unwrap().object, Some(held));
    assert_eq!(engine.in_flight(), 0);

    let (engine, _, _) = that_hold_the_same();
    let got = get(&engine, b"k");
    let coordinator = engine.coordinator();
    coordinator.tick(engine.now_ms() + LONG_MS);
    assert!(got.try_recv().unwrap().unwrap_err().is_timeout());
    assert_eq!(engine.in_flight(), 0);
}

/// What is done to a request at the same time by threads of their own, each when the request is known.
type Deed = fn(&Engine, u64);

fn b_stores(engine: &Engine, base: u64) {
    says(engine, base, "b", Answer::Stored);
}

fn c_stores(engine: &Engine, base: u64) {
    says(engine, base, "c", Answer::Stored);
}

fn b_holds_nothing(engine: &Engine, base: u64) {
    says(engine, base, "b", Answer::NotFound);
}

fn c_holds_nothing(engine: &Engine, base: u64) {
    says(engine, base, "c", Answer::NotFound);
}

fn c_holds_something(engine: &Engine, base: u64) {
    let stamp = engine.coordinator().clock.now(1_700_000_000_000);
    let held = Object::value(stamp, Bytes::from_static(b"w"));
    holds(engine, base, "c", &held);
}

fn c_refuses(engine: &Engine, base: u64) {
    says(engine, base, "c", fails());
}

fn c_is_lost(engine: &Engine, _: u64) {
    let coordinator = engine.coordinator();
    coordinator.node_lost(&"c".into(), &[], engine.now_ms());
}

fn it_is_late(engine: &Engine, _: u64) {
    engine.coordinator().tick(engine.now_ms() + LONG_MS);
}

/// For each of these meetings, many times, a request is begun, and is to be told once.
fn meet<T>(meetings: &[&[Deed]], begin: impl Fn(&Arc<Engine>) -> Receiver<T>) {
    const ROUNDS: usize = 200;
    for deeds in meetings.iter().cycle().take(ROUNDS * meetings.len()) {
        let (engine, base) = among_three();
        let is_sent = AtomicBool::new(false);
        let told = std::thread::scope(|scope| {
            for deed in *deeds {
                let (engine, is_sent) = (&engine, &is_sent);
                scope.spawn(move || {
                    while engine.in_flight() == 0 && !is_sent.load(Ordering::Acquire) {
                        std::hint::spin_loop();
                    }
                    deed(engine, base);
                });
            }
            let told = begin(&engine);
            is_sent.store(true, Ordering::Release);
            told
        });
        assert!(told.recv().is_ok(), "somebody tells it");
        assert!(told.recv().is_err(), "once");
        assert_eq!(engine.in_flight(), 0);
    }
}

#[test]
fn threads_that_meet_at_one_put_tell_it_once() {
    // Lost without it: an answer that comes while the put is still being sent, or becomes a machine, is counted twice or by
    // nobody.
    let meetings: [&[Deed]; 6] = [
        &[b_stores, c_stores],
        &[b_stores, b_stores, c_stores],
        &[b_stores, c_refuses],
        &[b_stores, c_is_lost],
        &[b_stores, c_stores, c_is_lost],
        &[b_stores, c_stores, it_is_late],
    ];
    meet(&meetings, |engine| put(engine, b"k", LONG_MS));
}

#[test]
fn threads_that_meet_at_one_get_tell_it_once() {
    // Lost without it: as of puts; and one who finds the copies differ takes the get from under another.
    let meetings: [&[Deed]; 6] = [
        &[b_holds_nothing, c_holds_nothing],
        &[b_holds_nothing, b_holds_nothing, c_holds_nothing],
        &[b_holds_nothing, c_refuses],
        &[b_holds_nothing, c_holds_something],
        &[b_holds_nothing, c_holds_nothing, c_is_lost],
        &[b_holds_nothing, c_holds_something, it_is_late],
    ];
    meet(&meetings, |engine| get(engine, b"k"));
}
