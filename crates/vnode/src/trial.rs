//! This file answers: how does somebody who writes a service try it, without a network?
//!
//! A cluster in one process: hosts in memory, messages that arrive in the order in which they were sent, a clock that
//! the caller moves, and moves that are completed as soon as they are ready. Nobody crashes here and nothing is lost:
//! for that there is the simulator.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use rkv_ring::plan::{commit, stage_join};
use rkv_ring::{
    Addresses, ClusterId, Incarnation, Member, NodeName, Partition, PartitionCount, Ring, Slot,
    Status, moves,
};
use rkv_storage::direct::Direct;
use rkv_storage::memory::Memory;
use rkv_storage::{Backend, Faults, Store};
use rkv_wire::message::{Answer, Command, Message, RequestId, Role, ServiceId};

use crate::fault::Fault;
use crate::host::{Beginning, Host, Upward};
use crate::router::Route;
use crate::settings::Settings;
use crate::vnode::Service;
use crate::world::World;

/// How much time passes at once.
const TICK_MS: u64 = 50;
/// How long a request or a move may take before the trial has failed.
const PATIENCE_MS: u64 = 60_000;

/// What a trial's nodes are set to, but for their boots.
pub const SETTINGS: Settings = Settings {
    boot: 0,
    max_drift_ms: 500,
    transfers: 2,
    bytes_per_s: 0,
    grace_ms: 500,
    delete_grace_ms: 86_400_000,
    void_after_ms: 12_000,
    anti_entropy_ms: 1_000,
    fault: Fault::None,
};

/// Services for one node.
pub type Services = Vec<Arc<dyn Service>>;

/// A message on its way: from, to, what.
pub type OnItsWay = (NodeName, NodeName, Message);

/// What the nodes share.
#[derive(Default)]
struct Net {
    now_ms: AtomicU64,
    /// What passes between two looks at the microseconds, and what has passed so.
    step_us: AtomicU64,
    spent_us: AtomicU64,
    queue: Mutex<VecDeque<OnItsWay>>,
    answers: Mutex<BTreeMap<RequestId, (Answer, Bytes)>>,
    ready: Mutex<Vec<(Partition, u32)>>,
}

/// One node's place in it.
struct Place {
    me: NodeName,
    net: Arc<Net>,
}

impl World for Place {
    fn now_ms(&self) -> u64 {
        self.net.now_ms.load(Ordering::Relaxed)
    }

    fn now_us(&self) -> u64 {
        let step_us = self.net.step_us.load(Ordering::Relaxed);
        let spent_us = self.net.spent_us.fetch_add(step_us, Ordering::Relaxed);
        self.now_ms() * 1_000 + spent_us
    }

    fn wall_ms(&self) -> u64 {
        self.now_ms()
    }

    fn send(&self, to: &NodeName, message: Message) {
        let mut queue = self.net.queue.lock();
        queue.push_back((self.me.clone(), to.clone(), message));
    }
}

impl Upward for Place {
    fn answered(&self, id: RequestId, _: &NodeName, answer: Answer, body: Bytes) {
        self.net.answers.lock().insert(id, (answer, body));
    }

    fn move_ready(&self, partition: Partition, attempt: u32, _: &NodeName) {
        self.net.ready.lock().push((partition, attempt));
    }

    fn move_broken(&self, _: Partition, _: u32) {}

    fn pull(&self, _: &NodeName) {}

    fn warn(&self, _: String) {}
}

/// A cluster in one process.
pub struct Trial {
    net: Arc<Net>,
    settings: Settings,
    services: fn() -> Services,
    hosts: BTreeMap<NodeName, Arc<Host>>,
    faults: BTreeMap<NodeName, Faults>,
    /// The ring that was adopted last.
    pub ring: Arc<Ring>,
    requests: u64,
    boots: u64,
}

impl Trial {
    /// A cluster of `founder` alone, of 8 partitions.
    pub fn found(
        founder: &str,
        replicas: u8,
        settings: Settings,
        services: fn() -> Services,
    ) -> Trial {
        let q = PartitionCount::new(8).expect("8 is a power of two");
        let member = member(1, Status::Valid);
        let ring = Ring::found(ClusterId(1), "trial", q, replicas, founder.into(), member);
        let net = Arc::new(Net::default());
        net.now_ms.store(10_000, Ordering::Relaxed);
        let mut trial = Trial {
            net,
            settings,
            services,
            hosts: BTreeMap::new(),
            faults: BTreeMap::new(),
            ring: Arc::new(ring),
            requests: 0,
            boots: 0,
        };
        trial.start(founder);
        trial
    }

    /// Starts a node that is no member yet.
    pub fn start(&mut self, name: &str) {
        self.start_on(name, Arc::new(Memory::new()));
    }

    /// The same over an engine of the caller's.
    pub fn start_on(&mut self, name: &str, engine: Arc<dyn Backend>) {
        let store = self.store(name, engine);
        self.open(name, self.ring.clone(), store, Beginning::Founded);
    }

    /// Starts a node that founds a cluster of its own.
    pub fn start_alone(&mut self, name: &str) {
        let ring = Ring::found(
            ClusterId(self.ring.cluster.0 + 1),
            "alone",
            self.ring.partitions,
            self.ring.replicas,
            name.into(),
            member(1, Status::Valid),
        );
        let store = self.store(name, Arc::new(Memory::new()));
        self.open(name, Arc::new(ring), store, Beginning::Founded);
    }

    fn store(&mut self, name: &str, engine: Arc<dyn Backend>) -> Arc<dyn Store> {
        let faults = self.faults.entry(name.into()).or_default();
        Arc::new(Direct::new(engine, faults.clone()))
    }

    /// How a node's disk is made to fail.
    pub fn faults(&self, name: &str) -> &Faults {
        &self.faults[&NodeName::from(name)]
    }

    /// Kills a node and starts it again with what it had stored. What was on its way to it is lost.
    pub fn restart(&mut self, name: &str) {
        let before = self.hosts.remove(&NodeName::from(name));
        let before = before.expect("only who runs is restarted");
        self.net
            .queue
            .lock()
            .retain(|(_, to, _)| to.as_str() != name);
        let store = before.store().clone();
        self.open(name, self.ring.clone(), store, Beginning::Intact);
    }

    fn open(&mut self, name: &str, ring: Arc<Ring>, store: Arc<dyn Store>, beginning: Beginning) {
        let me = NodeName::from(name);
        let place = Arc::new(Place {
            me: me.clone(),
            net: self.net.clone(),
        });
        self.boots += 1;
        let settings = Settings {
            boot: self.boots << 8,
            ..self.settings.clone()
        };
        let host = Host::open(
            me.clone(),
            ring,
            (self.services)(),
            store,
            place.clone(),
            settings,
            beginning,
        )
        .expect("a store in memory opens");
        host.start(place);
        for (other, running) in &self.hosts {
            running.suspect(&me, true);
            host.suspect(other, true);
            running.heard_ring(&me, self.ring.id());
            host.heard_ring(other, self.ring.id());
        }
        self.hosts.insert(me, host);
    }

    /// The ring in which `name` has joined and its moves are under way.
    pub fn joined(&self, name: &str) -> Ring {
        let incarnation = self.ring.members.len() as u128 + 1;
        let joining = member(incarnation, Status::Joining);
        let staged =
            stage_join(&self.ring, name.into(), joining, false).expect("it is no member yet");
        commit(&staged, None, 0).expect("something is staged")
    }

    /// Starts a node, has it join, and lets time pass until all its moves are done; nothing when it is a member.
    pub fn join(&mut self, name: &str) {
        self.join_on(name, Arc::new(Memory::new()));
    }

    /// The same over an engine of the caller's.
    pub fn join_on(&mut self, name: &str, engine: Arc<dyn Backend>) {
        if self.ring.members.contains_key(&NodeName::from(name)) {
            return;
        }
        self.start_on(name, engine);
        self.adopt(self.joined(name));
        let end_ms = self.now_ms() + PATIENCE_MS;
        while !self.ring.moves.is_empty() {
            assert!(self.now_ms() < end_ms, "the moves do not end");
            self.pass(TICK_MS);
            self.complete_ready();
        }
    }

    /// Every node routes by `ring` from now on, and knows it of the others.
    pub fn adopt(&mut self, ring: Ring) {
        self.ring = Arc::new(ring);
        for host in self.hosts.values() {
            host.adopt(self.ring.clone());
        }
        for host in self.hosts.values() {
            for node in self.hosts.keys() {
                host.heard_ring(node, self.ring.id());
            }
        }
    }

    /// The moment in which `name` routes by `ring` and its copies have not been told yet.
    pub fn half_adopt(&self, name: &str, ring: &Ring) {
        self.host(name).route_by(Arc::new(ring.clone()));
    }

    /// Completes the moves that are ready, in one epoch. Says whether there were any.
    pub fn complete_ready(&mut self) -> bool {
        let mut ring = (*self.ring).clone();
        let mut completed = false;
        for (partition, attempt) in std::mem::take(&mut *self.net.ready.lock()) {
            let listed = ring.moves.get(&partition);
            if listed.is_some_and(|listed| listed.attempt == attempt) {
                completed |= moves::complete(&mut ring, partition);
            }
        }
        if completed {
            ring.epoch.0 += 1;
            self.adopt(ring);
        }
        completed
    }

    /// A node's host.
    pub fn host(&self, name: &str) -> &Arc<Host> {
        &self.hosts[&NodeName::from(name)]
    }

    /// Asks `name`'s vnode for `slot` as an owner, and lets time pass until it has answered.
    pub fn ask(
        &mut self,
        name: &str,
        place: (ServiceId, Slot),
        command: Command,
        body: Bytes,
    ) -> (Answer, Bytes) {
        self.ask_as(Role::Owner, name, place, command, body)
    }

    /// The same in another capacity.
    pub fn ask_as(
        &mut self,
        role: Role,
        name: &str,
        (service, slot): (ServiceId, Slot),
        command: Command,
        body: Bytes,
    ) -> (Answer, Bytes) {
        self.requests += 1;
        let id = RequestId(self.requests);
        let route = Route {
            id,
            service,
            slot,
            ring: self.ring.id(),
            role,
            within_ms: PATIENCE_MS as u32,
        };
        if let Some(answered) = self.host(name).ask_here(route, command, body) {
            return answered;
        }
        let end_ms = self.now_ms() + PATIENCE_MS;
        loop {
            if let Some(answered) = self.net.answers.lock().remove(&id) {
                return answered;
            }
            assert!(self.now_ms() < end_ms, "nobody answers");
            self.pass(TICK_MS);
        }
    }

    /// Milliseconds since some moment.
    pub fn now_ms(&self) -> u64 {
        self.net.now_ms.load(Ordering::Relaxed)
    }

    /// From here on a step takes so long as it is measured, and who is asked for something moves less.
    pub fn steps_take(&self, us: u64) {
        self.net.step_us.store(us, Ordering::Relaxed);
    }

    /// Lets time pass while nothing arrives.
    pub fn tick(&self) {
        self.net.now_ms.fetch_add(TICK_MS, Ordering::Relaxed);
        for host in self.hosts.values() {
            host.tick();
            host.go_on();
        }
    }

    /// Lets `ms` pass while everything arrives that is sent.
    pub fn pass(&self, ms: u64) {
        for _ in 0..ms.div_ceil(TICK_MS) {
            self.tick();
            while let Some(message) = self.next() {
                self.arrive(message);
            }
        }
    }

    /// Takes the message that arrives next.
    pub fn next(&self) -> Option<OnItsWay> {
        self.net.queue.lock().pop_front()
    }

    /// Lets a message arrive.
    pub fn arrive(&self, (from, to, message): OnItsWay) {
        self.hosts[&to].message(&from, message);
    }
}

fn member(incarnation: u128, status: Status) -> Member {
    Member {
        incarnation: Incarnation(incarnation),
        status,
        addresses: Addresses::default(),
        zone: None,
        weight: 1.0,
    }
}
