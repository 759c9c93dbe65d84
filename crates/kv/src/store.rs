//! This file answers: what may be asked of the store?
//!
//! Put, get and delete with their quorums (deadlines: [`crate::deadline`]), what each replica holds, and one command to any service. Each call returns
//! at once; its caller is told once, perhaps before the call returns.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use rkv_quorum::clock::Stamp;
use rkv_quorum::object::{Kind, Version};
use rkv_quorum::outcome::{GetOutcome, PutOutcome};
use rkv_quorum::plain::{PlainGet, PlainPut, Row};
use rkv_quorum::policy::{GetOptions, GetPolicy, PutOptions, PutPolicy};
use rkv_quorum::put::Draft;
use rkv_quorum::{Get, Put};
use rkv_ring::{NodeName, Partition, Preflist, Slot};
use rkv_vnode::{Fault, View};
use rkv_wire::message::{Answer, Command, CopyState, ServiceId};

use crate::coordinate::{Now, Place, Question, Reply, Times};
use crate::engine::{Done, Engine, Errand};
use crate::error::KvError;
use crate::figures::{End, Op};
use crate::keyspace::Keyspace;
use crate::replica::KV;

/// What is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// A value, until a deadline if it has one (unix milliseconds).
    Value {
        /// The value.
        body: Bytes,
        /// When it ends.
        at_ms: Option<u64>,
    },
    /// A value that keeps the deadline of the one it replaces: the deadline is read first, the value is not.
    ValueKeepingDeadline {
        /// The value.
        body: Bytes,
    },
    /// Nothing any more: a tombstone.
    Delete,
}

impl Write {
    fn op(&self) -> Op {
        match self {
            Write::Value { .. } | Write::ValueKeepingDeadline { .. } => Op::Put,
            Write::Delete => Op::Delete,
        }
    }
}

/// What one replica holds now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaView {
    /// Who.
    pub node: NodeName,
    /// For which partition.
    pub partition: Partition,
    /// Which place of the row.
    pub replica: u8,
    /// What it holds, in a word: value, tombstone, missing, filling, unreachable.
    pub state: &'static str,
    /// The version held.
    pub version: String,
    /// A hash of the value held.
    pub digest: String,
}

impl Engine {
    /// Writes.
    pub fn put(
        self: &Arc<Self>,
        keyspace: &Keyspace,
        key: &[u8],
        write: Write,
        options: &PutOptions,
        done: Done<Result<PutOutcome, KvError>>,
    ) {
        let length = match &write {
            Write::Value { body, .. } | Write::ValueKeepingDeadline { body } => body.len(),
            Write::Delete => 0,
        };
        let view = self.host().view_now();
        let checked = self.may_write(&view, key, length).and_then(|()| {
            let ring_n = view.ring().replicas;
            Ok(PutPolicy::new(options, &keyspace.defaults, ring_n)?)
        });
        let policy = match checked {
            Ok(policy) => policy,
            Err(error) => return self.refuse(write.op(), error, done),
        };
        let draft = match write {
            Write::Value { body, at_ms } => Draft::Value { body, at_ms },
            Write::Delete => Draft::Tombstone,
            Write::ValueKeepingDeadline { body } => {
                return self.put_keeping_deadline(keyspace, key, body, policy, done);
            }
        };
        let stamp = self.stamp(&view);
        drop(view);
        self.start_put(keyspace, key, (draft, stamp), policy, done);
    }

    pub(crate) fn start_put(
        &self,
        keyspace: &Keyspace,
        key: &[u8],
        (draft, stamp): (Draft, Stamp),
        policy: PutPolicy,
        done: Done<Result<PutOutcome, KvError>>,
    ) {
        let (slot, key) = keyspace.locate(key);
        let place = Place { slot, key };
        let op = match draft {
            Draft::Tombstone => Op::Delete,
            Draft::Value { .. } | Draft::Deadline { .. } => Op::Put,
        };
        let view = self.host().view_now();
        let preflist = view.preflist(view.ring().partition_of(slot));
        let (times, coordinator) = (self.times(policy.timeout_ms), self.coordinator());
        if let Some(row) = Row::of(preflist, policy.n, policy.timeout_ms) {
            drop(view);
            let put = PlainPut::new(row, policy, draft, stamp, times.now.ms());
            return coordinator.put_plainly(put, op, place, times, done);
        }
        let put = Box::new(Put::new(policy, preflist, draft, stamp, self.me().clone()));
        drop(view);
        coordinator.put(put, op, place, times, done);
    }

    fn put_keeping_deadline(
        self: &Arc<Self>,
        keyspace: &Keyspace,
        key: &[u8],
        body: Bytes,
        policy: PutPolicy,
        done: Done<Result<PutOutcome, KvError>>,
    ) {
        let options = GetOptions {
            n: Some(u32::from(policy.n)),
            timeout_ms: Some(policy.timeout_ms),
            ..GetOptions::default()
        };
        let engine = self.clone();
        let (space, name) = (keyspace.clone(), key.to_vec());
        let and_put = Box::new(move |got: Result<GetOutcome, KvError>| match got {
            Ok(got) => {
                let wall_ms = engine.wall_ms();
                let version = got.object.map(|object| *object.version());
                let live = version.filter(|version| version.is_live(wall_ms));
                let at_ms = live.and_then(|version| version.ends_ms());
                let draft = Draft::Value { body, at_ms };
                let stamp = engine.stamp(&engine.host().view_now());
                engine.start_put(&space, &name, (draft, stamp), policy, done);
            }
            Err(error) => done(Err(error)),
        });
        self.get(keyspace, key, &options, and_put);
    }

    /// Reads.
    pub fn get(
        &self,
        keyspace: &Keyspace,
        key: &[u8],
        options: &GetOptions,
        done: Done<Result<GetOutcome, KvError>>,
    ) {
        let view = self.host().view_now();
        let checked = self.may_read(&view, key).and_then(|()| {
            let ring_n = view.ring().replicas;
            Ok(GetPolicy::new(options, &keyspace.defaults, ring_n)?)
        });
        let policy = match checked {
            Ok(policy) => policy,
            Err(error) => return self.refuse(Op::Get, error, done),
        };
        let (slot, key) = keyspace.locate(key);
        let preflist = view.preflist(view.ring().partition_of(slot)).clone();
        drop(view);
        let (host, keyspace) = (self.host().clone(), keyspace.id);
        let done = Box::new(move |result: Result<GetOutcome, KvError>| {
            // A replica may have answered before it knew of a flush that this node knows of.
            let floor = host.view_now().floors().of(keyspace);
            let seen = |mut got: GetOutcome| {
                got.object = got.object.and_then(|object| object.above(floor));
                got
            };
            done(result.map(seen));
        });
        self.start_get(&preflist, Place { slot, key }, policy, done);
    }

    fn start_get(
        &self,
        preflist: &Arc<Preflist>,
        place: Place,
        policy: GetPolicy,
        done: Done<Result<GetOutcome, KvError>>,
    ) {
        let (times, coordinator) = (self.times(policy.timeout_ms), self.coordinator());
        let now_ms = times.now.ms();
        let turn = coordinator.turn_to_spare(self.bounds().sparing_from);
        let fault = self.host().fault();
        if !matches!(fault, Fault::FallbackAbsenceVotes | Fault::GetNeverHedges)
            && let Some(row) = Row::of(preflist, policy.n, policy.timeout_ms)
            && let get = PlainGet::new(row, policy, now_ms)
            && let Some(get) = coordinator.sparing_plainly(get, turn, now_ms)
        {
            return coordinator.get_plainly(get, place, times, done);
        }
        let get = Get::new(policy, preflist);
        let get = match fault {
            Fault::FallbackAbsenceVotes => get.counting_absence(),
            Fault::GetNeverHedges => get.never_hedging(),
            _ => get,
        };
        let get = coordinator.sparing(get, turn, now_ms);
        coordinator.get(Box::new(get), place, times, done);
    }

    /// Who answers for `key` now.
    pub fn preflist(&self, key: &[u8]) -> (Slot, Arc<Preflist>) {
        let slot = Slot::of(key);
        let view = self.view();
        let partition = view.ring().partition_of(slot);
        (slot, view.preflist(partition).clone())
    }

    /// What each replica of `key` holds now: asked one by one, nothing is repaired.
    pub fn replicas(
        &self,
        keyspace: &Keyspace,
        key: &[u8],
        timeout_ms: u64,
        done: Done<Result<Vec<ReplicaView>, KvError>>,
    ) {
        let view = self.view();
        if let Err(error) = self.may_read(&view, key) {
            return done(Err(error));
        }
        let (slot, key) = keyspace.locate(key);
        let preflist = view.preflist(view.ring().partition_of(slot)).clone();
        let wall_ms = self.wall_ms();
        let count = preflist.places.len();
        let gathering = Arc::new(Mutex::new(Some(Gathering {
            views: vec![None; count],
            done,
        })));
        for (at, place) in preflist.places.iter().enumerate() {
            let (partition, replica) = (preflist.partition, place.replica);
            let gathering = gathering.clone();
            let node = place.node.clone();
            let tell = move |reply: Option<Reply>| {
                let view = replica_view(node, partition, replica, wall_ms, reply);
                gather(&gathering, at, view);
            };
            if !place.up {
                tell(None);
                continue;
            }
            let question = Question {
                service: KV,
                slot,
                ring: preflist.ring,
                command: Command::Inspect { key: key.clone() },
                body: Bytes::new(),
                timeout_ms,
            };
            self.coordinator()
                .ask(&place.node, question, self.now(), Box::new(tell));
        }
    }

    /// Sends one command to the first live owner's vnode of a service, routed by `key`; `None`: no answer. Who is an
    /// owner no more did nothing, and the next owner is asked.
    pub fn ask(
        self: &Arc<Self>,
        service: ServiceId,
        key: &[u8],
        command: Bytes,
        timeout_ms: u64,
        done: Done<Option<(Partition, Reply)>>,
    ) {
        self.run_errand(Errand {
            service,
            key: Bytes::copy_from_slice(key),
            command,
            until_ms: self.now_ms() + timeout_ms,
            done,
        });
    }

    pub(crate) fn run_errand(self: &Arc<Self>, errand: Errand) {
        let (slot, preflist) = self.preflist(&errand.key);
        let timeout_ms = errand.until_ms.saturating_sub(self.now_ms());
        let place = preflist.places.iter().find(|place| place.up);
        let Some(place) = place.filter(|_| timeout_ms > 0) else {
            return (errand.done)(None);
        };
        let question = Question {
            service: errand.service,
            slot,
            ring: preflist.ring,
            command: Command::Custom(errand.command.clone()),
            body: Bytes::new(),
            timeout_ms,
        };
        let partition = preflist.partition;
        let engine = Arc::downgrade(self);
        let tell = Box::new(move |reply: Option<Reply>| match reply {
            Some(reply) if matches!(reply.answer, Answer::NotOwner(_) | Answer::Behind(_)) => {
                match engine.upgrade() {
                    Some(engine) => engine.run_errand_later(errand),
                    None => (errand.done)(None),
                }
            }
            reply => (errand.done)(reply.map(|reply| (partition, reply))),
        });
        self.coordinator()
            .ask(&place.node, question, self.now(), tell);
    }

    pub(crate) fn may_read(&self, view: &View, key: &[u8]) -> Result<(), KvError> {
        let most = self.bounds().key_bytes;
        if key.is_empty() || key.len() > most {
            return Err(KvError::Key {
                length: key.len(),
                most,
            });
        }
        if !view.serves() {
            return Err(KvError::NotServing);
        }
        Ok(())
    }

    /// Whether this node may coordinate a write of a value of so many bytes.
    pub(crate) fn may_write(&self, view: &View, key: &[u8], length: usize) -> Result<(), KvError> {
        self.may_read(view, key)?;
        let most = self.bounds().value_bytes;
        if length > most {
            return Err(KvError::Value { length, most });
        }
        if !self.may_stamp() {
            let (median_ms, _) = self.drift();
            return Err(KvError::Drift { median_ms });
        }
        Ok(())
    }

    fn times(&self, timeout_ms: u64) -> Times {
        let now = self.now();
        Times {
            now,
            until_ms: now.ms().saturating_add(timeout_ms),
        }
    }

    pub(crate) fn now(&self) -> Now {
        Now::at_us(self.now_us())
    }

    /// Tells why a request was not begun.
    pub(crate) fn refuse<T>(&self, op: Op, error: KvError, done: Done<Result<T, KvError>>) {
        let counters = self.coordinator().counters();
        counters.ended(op, End::of_error(&error));
        done(Err(error));
    }

    /// A stamp for a write that begins now: above every floor of the view, also where that is ahead of this node's clock.
    pub(crate) fn stamp(&self, view: &View) -> Stamp {
        let stamp = self.clock().now(self.wall_ms());
        let floor = view.floors().highest();
        if stamp.time > floor {
            stamp
        } else {
            self.clock().after(&Stamp::last_of(floor))
        }
    }
}

/// Replicas' views that are being gathered.
struct Gathering {
    views: Vec<Option<ReplicaView>>,
    done: Done<Result<Vec<ReplicaView>, KvError>>,
}

fn gather(gathering: &Mutex<Option<Gathering>>, at: usize, view: ReplicaView) {
    let mut slot = gathering.lock();
    let Some(all) = slot.as_mut() else {
        return;
    };
    all.views[at] = Some(view);
    if all.views.iter().any(Option::is_none) {
        return;
    }
    if let Some(all) = slot.take() {
        drop(slot);
        (all.done)(Ok(all.views.into_iter().flatten().collect()));
    }
}

fn replica_view(
    node: NodeName,
    partition: Partition,
    replica: u8,
    wall_ms: u64,
    reply: Option<Reply>,
) -> ReplicaView {
    let mut view = ReplicaView {
        node,
        partition,
        replica,
        state: "unreachable",
        version: String::new(),
        digest: String::new(),
    };
    let Some(Reply {
        answer: Answer::Held(state),
        body,
        ..
    }) = reply
    else {
        return view;
    };
    let version = Version::peek(&body).ok();
    view.state = match version {
        Some(version) if version.is_live(wall_ms) => "value",
        Some(version) if version.kind() == Some(Kind::Value) => "tombstone",
        Some(version) if version.kind().is_some() => "tombstone",
        _ if matches!(state, CopyState::CatchingUp | CopyState::Receiving) => "filling",
        _ => "missing",
    };
    if let Some(version) = version {
        view.version = version.to_string();
        view.digest = match rkv_quorum::Object::decode(body) {
            Ok(object) => format!("{:016x}", xxhash_rust::xxh3::xxh3_64(object.body())),
            Err(_) => String::new(),
        };
    }
    view
}
