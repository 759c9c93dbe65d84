//! This file answers: how does a whole simulated cluster live, from one seed?
//!
//! Everything that happens is an entry in one queue ordered by virtual time. A step takes the next, gives it to a node
//! and draws what becomes of the wishes that follow. Observers look at each step.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rkv_cluster::keeper::Keeper;
use rkv_kv::{Bounds, Engine, Keyspace, KvService, Write};
use rkv_quorum::clock::{Clock, Drift};
use rkv_quorum::policy::{Defaults, GetOptions, PutOptions};
use rkv_ring::cluster::{
    AdminReply, AdminRequest, Cluster, Config, Event, Identity, Stored, Target,
};
use rkv_ring::plan::Refusal;
use rkv_ring::{
    Addresses, ClusterId, Incarnation, Member, NodeName, PartitionCount, Ring, Status, cluster,
};
use rkv_vnode::ping::Ping;
use rkv_vnode::{Beginning, Fault, Host, Limits, Service, Settings};
use rkv_wire::message::{Envelope, Message};
use xxhash_rust::xxh3::Xxh3;

use crate::check::Observer;
use crate::history::{Got, History, Put};
use crate::sim::disk::{Crash, SimDisk};
use crate::sim::node::{Crashing, NodeWorld, Running, SimNode, SimRingFile, Wish};

/// How a life is drawn.
#[derive(Debug, Clone)]
pub struct Options {
    /// All that is random comes from it.
    pub seed: u64,
    /// Nodes that end up in the cluster.
    pub nodes: usize,
    /// Q.
    pub partitions: u16,
    /// Whether the disks forget everything at a crash.
    pub volatile: bool,
    /// A fault built in on purpose.
    pub fault: Fault,
    /// How long faults go on, in virtual milliseconds; then everything heals.
    pub trouble_ms: u64,
    /// Within how long after the last fault everything must have settled.
    pub settle_within_ms: u64,
    /// Keys that clients use.
    pub keys: u32,
    /// One in how many messages comes late, up to a second and a half.
    pub late_one_in: u32,
    /// One in how many steps of a keeper ends in its crash, between any two of its effects.
    pub dies_one_in: u32,
    /// Whether to print what happens.
    pub trace: bool,
}

impl Options {
    /// The usual life of `seed`: what else differs is drawn from it too.
    pub fn of_seed(seed: u64) -> Options {
        // Every third life is hard on those who choose rings.
        let rough = seed % 3 == 2;
        Options {
            seed,
            nodes: 3 + (seed % 2) as usize,
            partitions: 8,
            volatile: seed % 5 == 4,
            fault: Fault::None,
            trouble_ms: 14_000,
            settle_within_ms: 90_000,
            keys: 12,
            late_one_in: if rough { 8 } else { 200 },
            dies_one_in: if rough { 60 } else { 1_500 },
            trace: false,
        }
    }
}

/// What a life came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Equal for equal lives.
    pub digest: u64,
    /// The first promise that was broken.
    pub violation: Option<String>,
    /// Steps taken.
    pub steps: u64,
    /// Requests acknowledged.
    pub acknowledged: u64,
    /// The highest epoch.
    pub epochs: u64,
}

/// What can happen next.
enum Happening {
    Deliver {
        from: usize,
        to: usize,
        envelope: Envelope,
    },
    Tick {
        node: usize,
        boot: u64,
    },
    DiskJob {
        node: usize,
        boot: u64,
    },
    DiskSync {
        node: usize,
    },
    Keeper {
        node: usize,
        boot: u64,
        event: Event,
    },
    /// A node looks at what gossip says of another.
    Look {
        at: usize,
        of: usize,
    },
    /// A node is told that another is down, which is not so.
    Slander {
        at: usize,
        of: usize,
    },
    /// Everybody looks at everybody.
    Gossip,
    Start {
        node: usize,
    },
    Client,
    Nemesis,
    Operator,
}

/// One life.
pub struct World {
    options: Options,
    rng: ChaCha8Rng,
    now_ms: Arc<AtomicU64>,
    queue: BTreeMap<(u64, u64), Happening>,
    sequence: u64,
    /// The nodes, in order of name.
    pub nodes: Vec<SimNode>,
    /// Links that are cut, each in one direction.
    cut: BTreeSet<(usize, usize)>,
    trace: Xxh3,
    steps: u64,
    healed: bool,
    loss_percent: u32,
    /// What clients did and saw.
    pub history: Arc<Mutex<History>>,
    observer: Observer,
    operator: Operator,
    next_value: u64,
    epochs: u64,
}

/// What the operator still has to do.
#[derive(Default)]
struct Operator {
    step: usize,
    waiting: Arc<AtomicU64>,
    asked_ms: u64,
    leaver: Option<usize>,
}

const TICK_MS: u64 = 50;
const GOSSIP_MS: u64 = 100;
/// How long a node is silent before it is suspected.
const DETECT_MS: u64 = 700;

impl World {
    /// A world in which every node runs alone and the operator is about to join them.
    pub fn new(options: Options) -> World {
        let rng = ChaCha8Rng::seed_from_u64(options.seed);
        let mut world = World {
            rng,
            now_ms: Arc::new(AtomicU64::new(1_000)),
            queue: BTreeMap::new(),
            sequence: 0,
            nodes: Vec::new(),
            cut: BTreeSet::new(),
            trace: Xxh3::new(),
            steps: 0,
            healed: false,
            loss_percent: 0,
            history: Arc::default(),
            observer: Observer::default(),
            operator: Operator::default(),
            next_value: 0,
            epochs: 0,
            options,
        };
        for index in 0..world.options.nodes {
            let offset = world.rng.random_range(-200..200);
            world.nodes.push(SimNode {
                name: format!("n{}", index + 1).into(),
                disk: Arc::new(SimDisk::new(world.options.volatile)),
                ring_file: Arc::default(),
                boot: 0,
                wall_offset_ms: Arc::new(AtomicI64::new(offset)),
                running: None,
                facts: None,
                left: false,
                power_cut: false,
            });
            world.push(1, Happening::Start { node: index });
            world.push(1_000, Happening::DiskSync { node: index });
        }
        world.loss_percent = world.rng.random_range(0..4);
        world.push(300, Happening::Gossip);
        world.push(500, Happening::Client);
        world.push(1_500, Happening::Operator);
        world.push(4_000, Happening::Nemesis);
        world
    }

    /// Lives until everything has settled, a promise is broken, or the bound is reached.
    pub fn live(mut self) -> Outcome {
        let end = self.options.trouble_ms;
        let bound = end + self.options.settle_within_ms;
        let mut violation = None;
        while violation.is_none() {
            let Some(((at, _), happening)) = self.queue.pop_first() else {
                break;
            };
            self.now_ms.store(at, Ordering::Relaxed);
            self.steps += 1;
            if at >= end && !self.healed {
                self.heal();
            }
            self.happen(happening);
            violation = self.observer.step(&self.nodes, at, &self.history.lock());
            if self.healed && violation.is_none() && self.steps.is_multiple_of(64) {
                let last = at >= bound;
                match self.observer.settled(&self.nodes, &self.history.lock()) {
                    Ok(()) => break,
                    Err(why) if last => violation = Some(format!("10 converges: {why}")),
                    Err(_) => {}
                }
            }
        }
        Outcome {
            digest: self.trace.digest(),
            violation,
            steps: self.steps,
            acknowledged: self.history.lock().acknowledged(),
            epochs: self.epochs,
        }
    }

    fn now(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    fn push(&mut self, after_ms: u64, happening: Happening) {
        self.sequence += 1;
        let at = self.now() + after_ms;
        self.queue.insert((at, self.sequence), happening);
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        if self.options.trace {
            println!("{:>7} {}", self.now(), what());
        }
    }

    fn note(&mut self, what: u64, node: usize) {
        self.trace.update(&self.now().to_le_bytes());
        self.trace.update(&what.to_le_bytes());
        self.trace.update(&(node as u64).to_le_bytes());
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Deliver { from, to, envelope } => {
                self.note(1, to);
                let digest = format!("{:?}", envelope.message);
                self.trace.update(digest.as_bytes());
                let names = (&self.nodes[from].name, &self.nodes[to].name);
                self.tell(|| format!("{} -> {} {digest}", names.0, names.1));
                self.observer.message(&self.nodes, from, to, &envelope.message);
                let from = self.nodes[from].name.clone();
                self.with(to, |engine| engine.message(&from, envelope));
            }
            Happening::Tick { node, boot } => {
                if self.nodes[node].boot == boot && self.nodes[node].running.is_some() {
                    self.note(2, node);
                    self.with(node, |engine| engine.tick());
                    self.push(TICK_MS, Happening::Tick { node, boot });
                }
            }
            Happening::DiskJob { node, boot } => {
                if self.nodes[node].boot == boot && self.nodes[node].running.is_some() {
                    self.note(3, node);
                    let disk = self.nodes[node].disk.clone();
                    self.with(node, |_| disk.complete_one());
                }
            }
            Happening::DiskSync { node } => {
                self.nodes[node].disk.sync_all();
                self.push(100, Happening::DiskSync { node });
            }
            Happening::Keeper { node, boot, event } => {
                if self.nodes[node].boot == boot {
                    self.step_keeper(node, event);
                }
            }
            Happening::Look { at, of } => self.look(at, of),
            Happening::Slander { at, of } => {
                let of = self.nodes[of].name.clone();
                self.with(at, |engine| engine.suspect(&of, false));
            }
            Happening::Gossip => {
                for of in 0..self.nodes.len() {
                    self.gossip_round(of);
                }
                self.push(GOSSIP_MS * 4, Happening::Gossip);
            }
            Happening::Start { node } => self.start(node),
            Happening::Client => self.client(),
            Happening::Nemesis => self.nemesis(),
            Happening::Operator => self.operate(),
        }
    }

    // ---- nodes -----------------------------------------------------------------------------------------------------

    fn start(&mut self, node: usize) {
        if self.nodes[node].running.is_some() || self.nodes[node].left {
            return;
        }
        self.nodes[node].boot += 1;
        let boot = self.nodes[node].boot;
        let now_ms = self.now();
        self.note(4, node);
        self.tell(|| format!("{} starts, boot {boot}", self.nodes[node].name));
        let name = self.nodes[node].name.clone();
        let incarnation = Incarnation(u128::from(self.options.seed) << 32 | (node as u128 + 1));
        let saved = self.nodes[node].ring_file.lock().clone();
        let founded = saved.is_none();
        let stored = saved.unwrap_or_else(|| {
            let member = Member {
                incarnation,
                status: Status::Valid,
                addresses: addresses(&name),
                zone: None,
                weight: 1.0,
            };
            let q = PartitionCount::new(self.options.partitions).expect("a power of two");
            let id = ClusterId(u128::from(self.options.seed) << 64 | (node as u128 + 1));
            Stored::fresh(Ring::found(id, "sim", q, 3, name.clone(), member))
        });
        *self.nodes[node].ring_file.lock() = Some(stored.clone());
        let beginning = match (founded, self.options.volatile) {
            (true, _) => Beginning::Founded,
            (false, true) => Beginning::Lossy,
            (false, false) => self.nodes[node].beginning(),
        };
        let wishes: Arc<Mutex<Vec<Wish>>> = Arc::default();
        let jobs = wishes.clone();
        self.nodes[node]
            .disk
            .wake(Arc::new(move || jobs.lock().push(Wish::DiskJob)));
        let world = Arc::new(NodeWorld {
            now_ms: self.now_ms.clone(),
            wall_offset_ms: self.nodes[node].wall_offset_ms.clone(),
            wishes: wishes.clone(),
        });
        let boot_id = (boot << 8) | (node as u64 + 1);
        let clock = Arc::new(Clock::new(boot_id, 500));
        let settings = Settings {
            boot: boot_id,
            max_drift_ms: 500,
            grace_ms: 500,
            anti_entropy_ms: 1_000,
            fault: self.options.fault,
        };
        let services: Vec<Arc<dyn Service>> = vec![Arc::new(Ping), Arc::new(KvService)];
        let disk = self.nodes[node].disk.clone();
        let host = Host::open(
            name.clone(),
            stored.ring.clone(),
            services,
            disk,
            world.clone(),
            settings,
            Limits::new(2),
            beginning,
        )
        .expect("a simulated disk opens");
        let keyspace = Keyspace::default_with(Defaults::default());
        let engine = Engine::start(
            host,
            world,
            clock,
            Drift::new(500),
            keyspace,
            Bounds::default(),
            boot_id,
        );
        let identity = Identity {
            name: name.clone(),
            incarnation,
            boot,
            addresses: addresses(&name),
            zone: None,
            weight: 1.0,
        };
        let config = Config {
            detection_ms: DETECT_MS,
            epoch_interval_ms: 300,
            seed: self.options.seed ^ boot_id,
            fault: match self.options.fault {
                Fault::PromiseNotPersisted => cluster::Fault::PromiseNotPersisted,
                _ => cluster::Fault::None,
            },
            ..Config::default()
        };
        let effects_left = Arc::new(AtomicU64::new(u64::MAX));
        let file = SimRingFile {
            saved: self.nodes[node].ring_file.clone(),
            left: effects_left.clone(),
            wishes: wishes.clone(),
        };
        let machine = Cluster::new(identity, stored, config, now_ms);
        let facts = machine.facts();
        self.nodes[node].facts = Some(facts);
        self.nodes[node].running = Some(Running {
            engine,
            keeper: Keeper::new(machine, Box::new(file)),
            wishes,
            effects_left,
        });
        self.with(node, |_| ());
        let jitter = self.rng.random_range(0..TICK_MS);
        self.push(jitter, Happening::Tick { node, boot });
        self.gossip_round(node);
    }

    /// Runs `act` on a node that runs, and draws what becomes of its wishes.
    fn with(&mut self, node: usize, act: impl FnOnce(&Arc<Engine>)) {
        let Some(running) = &self.nodes[node].running else {
            return;
        };
        let engine = running.engine.clone();
        let wishes = running.wishes.clone();
        act(&engine);
        let boot = self.nodes[node].boot;
        let wished = std::mem::take(&mut *wishes.lock());
        for wish in wished {
            self.grant(node, boot, &engine, wish);
        }
    }

    fn grant(&mut self, node: usize, boot: u64, engine: &Arc<Engine>, wish: Wish) {
        match wish {
            Wish::Send(to, message) => {
                if let Some(to) = self.index(&to) {
                    self.send(node, to, engine.clock_reading(), message);
                }
            }
            Wish::SendCluster(target, message) => {
                let to = match &target {
                    Target::Node(name) => self.index(name),
                    Target::Address(address) => {
                        let name = address.split(':').next().unwrap_or_default();
                        self.index(&NodeName::from(name))
                    }
                };
                if let Some(to) = to {
                    self.send(node, to, 0, Message::Cluster(message));
                }
            }
            Wish::Keeper(event) => {
                let happening = Happening::Keeper { node, boot, event };
                self.push(0, happening);
            }
            Wish::Publish(facts) => {
                self.nodes[node].facts = Some(facts);
                self.gossip_round(node);
            }
            Wish::DiskJob => {
                let after = self.rng.random_range(0..4);
                self.push(after, Happening::DiskJob { node, boot });
            }
            Wish::Saved(stored) => {
                self.observer.saved(&self.nodes[node].name.clone(), &stored);
            }
            Wish::Adopted(ring) => {
                self.note(5, node);
                self.tell(|| format!("{} adopts {}: {:?} moves {:?}", self.nodes[node].name, ring.epoch, ring.rows, ring.moves));
                self.epochs = self.epochs.max(ring.epoch.0);
                self.observer.adopted(&self.nodes[node].name.clone(), &ring);
            }
            Wish::Left => {
                self.nodes[node].left = true;
                self.crash(node, Crash::Kill);
            }
            Wish::Warn(text) => self.tell(|| format!("{} warns: {text}", self.nodes[node].name)),
        }
    }

    fn step_keeper(&mut self, node: usize, event: Event) {
        // Now and then a node dies between any two effects of its keeper.
        let dies = !self.healed && self.rng.random_range(0..self.options.dies_one_in) == 0;
        let budget = if dies {
            self.rng.random_range(0..5)
        } else {
            u64::MAX
        };
        let now_ms = self.now();
        let Some(mut running) = self.nodes[node].running.take() else {
            return;
        };
        running.effects_left.store(budget, Ordering::Relaxed);
        let crashing = Crashing {
            engine: &running.engine.clone(),
            left: &running.effects_left.clone(),
            crashed: Cell::new(false),
        };
        running.keeper.step(now_ms, event, &crashing);
        let crashed = dies && (crashing.crashed.get() || budget == 0);
        self.nodes[node].running = Some(running);
        if crashed {
            self.crash(node, Crash::Kill);
            let after = self.rng.random_range(200..3_000);
            self.push(after, Happening::Start { node });
        } else {
            self.with(node, |_| ());
        }
    }

    fn crash(&mut self, node: usize, how: Crash) {
        self.note(6, node);
        self.tell(|| format!("{} crashes: {how:?}", self.nodes[node].name));
        let Some(running) = self.nodes[node].running.take() else {
            return;
        };
        drop(running);
        self.nodes[node].facts = None;
        let rng = &mut self.rng;
        let disk = self.nodes[node].disk.clone();
        disk.crash(how, |n| rng.random_range(0..=n));
        self.nodes[node].crashed(how);
        self.observer.crashed(&self.nodes[node], how);
        self.gossip_round(node);
    }

    fn index(&self, name: &NodeName) -> Option<usize> {
        self.nodes.iter().position(|node| node.name == *name)
    }

    // ---- network and gossip ------------------------------------------------------------------------------------------

    fn send(&mut self, from: usize, to: usize, clock: u64, message: Message) {
        let envelope = Envelope { clock, message };
        if self.cut.contains(&(from, to)) || self.rng.random_range(0..100) < self.loss_percent {
            return;
        }
        let copies = if !self.healed && self.rng.random_range(0..60) == 0 {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let late = !self.healed && self.rng.random_range(0..self.options.late_one_in) == 0;
            let after = if late {
                self.rng.random_range(5..1_500)
            } else {
                self.rng.random_range(1..5)
            };
            let envelope = envelope.clone();
            self.push(after, Happening::Deliver { from, to, envelope });
        }
    }

    /// What others hear of `of` from now on: its facts, and whether it seems to be alive.
    fn gossip_round(&mut self, of: usize) {
        for at in 0..self.nodes.len() {
            if at == of {
                continue;
            }
            self.observe(at, of);
            self.observe(of, at);
        }
    }

    /// `at` will soon notice how `of` is.
    fn observe(&mut self, at: usize, of: usize) {
        let alive = self.is_heard(at, of);
        let after = if alive {
            self.rng.random_range(10..3 * GOSSIP_MS)
        } else {
            self.rng.random_range(DETECT_MS / 2..DETECT_MS * 2)
        };
        self.push(after, Happening::Look { at, of });
    }

    fn is_heard(&self, at: usize, of: usize) -> bool {
        self.nodes[of].running.is_some() && !self.cut.contains(&(of, at))
    }

    fn look(&mut self, at: usize, of: usize) {
        let alive = self.is_heard(at, of);
        let facts = self.nodes[of].facts.filter(|_| alive);
        let of = self.nodes[of].name.clone();
        let changes = self.nodes[at].running.as_ref().is_some_and(|r| r.engine.view().is_up(&of) != alive);
        if changes {
            self.tell(|| format!("{} thinks {of} is {}", self.nodes[at].name, if alive { "up" } else { "down" }));
        }
        self.with(at, |engine| {
            if let Some(facts) = facts {
                engine.facts(&of, facts);
            }
            engine.suspect(&of, alive);
        });
    }

    // ---- trouble ---------------------------------------------------------------------------------------------------

    fn nemesis(&mut self) {
        if self.healed {
            return;
        }
        let node = self.rng.random_range(0..self.nodes.len());
        match self.rng.random_range(0..9) {
            0..=3 => {
                let up = self.nodes.iter().filter(|n| n.running.is_some()).count();
                if up == self.nodes.len() && self.nodes[node].running.is_some() {
                    let how = match self.rng.random_range(0..3) {
                        0 => Crash::PowerCut,
                        _ => Crash::Kill,
                    };
                    self.crash(node, how);
                    let after = self.rng.random_range(300..4_000);
                    self.push(after, Happening::Start { node });
                }
            }
            4 | 5 => {
                let other = self.rng.random_range(0..self.nodes.len());
                if node != other {
                    self.cut.insert((node, other));
                    if self.rng.random_range(0..2) == 0 {
                        self.cut.insert((other, node));
                    }
                    self.observe(other, node);
                    self.observe(node, other);
                }
            }
            6 => self.mend_links(),
            7 => {
                let offset = self.rng.random_range(-400..400);
                self.nodes[node]
                    .wall_offset_ms
                    .store(offset, Ordering::Relaxed);
            }
            _ => {
                let other = self.rng.random_range(0..self.nodes.len());
                if node != other {
                    let (at, of) = (node, other);
                    self.push(0, Happening::Slander { at, of });
                    self.push(800, Happening::Look { at, of });
                }
            }
        }
        let after = self.rng.random_range(100..2_500);
        self.push(after, Happening::Nemesis);
    }

    fn mend_links(&mut self) {
        for (from, to) in std::mem::take(&mut self.cut) {
            self.observe(to, from);
        }
    }

    fn heal(&mut self) {
        self.healed = true;
        self.loss_percent = 0;
        self.mend_links();
        for node in 0..self.nodes.len() {
            self.push(1, Happening::Start { node });
        }
        for node in 0..self.nodes.len() {
            self.gossip_round(node);
        }
    }

    // ---- operator and clients ------------------------------------------------------------------------------------------

    /// Joins the others to the first, commits, and in some lives lets one of four leave again.
    fn operate(&mut self) {
        self.push(700, Happening::Operator);
        // Whoever was asked may have died: then the operator asks again.
        let patient = self.now() < self.operator.asked_ms + 8_000;
        if self.operator.waiting.load(Ordering::Relaxed) != 0 && patient {
            return;
        }
        let joiners: Vec<usize> = (1..self.nodes.len())
            .filter(|node| !self.is_joined(*node))
            .collect();
        let leaver = self.operator.leaver;
        let request = if let Some(joiner) = joiners.first().copied() {
            match self.operator.step % 3 {
                0 | 1 => {
                    let at = joiners[self.operator.step % joiners.len()];
                    let peer = "n1:7000".to_owned();
                    Some((at, AdminRequest::Join { peer }))
                }
                _ => {
                    let _ = joiner;
                    Some((0, AdminRequest::Commit { plan: None }))
                }
            }
        } else if self.nodes.len() == 4 && self.options.seed % 4 == 1 && leaver.is_none() {
            self.operator.leaver = Some(3);
            let node = self.nodes[3].name.clone();
            Some((0, AdminRequest::Leave { node }))
        } else if leaver.is_some() && self.operator.step % 2 == 0 {
            Some((1, AdminRequest::Commit { plan: None }))
        } else {
            None
        };
        self.operator.step += 1;
        if let Some((at, request)) = request {
            if self.nodes[at].running.is_none() {
                return;
            }
            self.operator.asked_ms = self.now();
            let waiting = self.operator.waiting.clone();
            waiting.store(1, Ordering::Relaxed);
            let done = Box::new(move |_: Result<AdminReply, Refusal>| {
                waiting.store(0, Ordering::Relaxed);
            });
            self.with(at, |engine| engine.admin(request, done));
        }
    }

    fn is_joined(&self, node: usize) -> bool {
        self.nodes[node].left
            || self.nodes[node]
                .ring_file
                .lock()
                .as_ref()
                .is_some_and(|stored| stored.ring.members.len() > 1)
            || self.operator.leaver == Some(node)
    }

    /// A client asks one node: a put or delete of a key that only it writes now, or a get.
    fn client(&mut self) {
        let rest = if self.healed { 400 } else { 40 };
        let after = self.rng.random_range(1..rest);
        if self.now() < self.options.trouble_ms + 3_000 {
            self.push(after, Happening::Client);
        }
        let node = self.rng.random_range(0..self.nodes.len());
        if self.nodes[node].running.is_none() {
            return;
        }
        // Before a node has joined, its keys are its own; the checks begin when all are one cluster.
        let together = self.is_joined(node) || node == 0;
        if !together {
            return;
        }
        let key = format!("k{}", self.rng.random_range(0..self.options.keys));
        let now_ms = self.now();
        let keyspace = Keyspace::default_with(Defaults::default());
        let timeout_ms = Some(1_000);
        if self.rng.random_range(0..2) == 0 {
            let options = GetOptions {
                timeout_ms,
                ..GetOptions::default()
            };
            let number = self.history.lock().get_begins(&key, now_ms);
            let (history, clock) = (self.history.clone(), self.now_ms.clone());
            self.tell(|| format!("{} gets {key}, get {number}", self.nodes[node].name));
            let trace = self.options.trace;
            let done = Box::new(move |result: Result<_, rkv_kv::KvError>| {
                let at = clock.load(Ordering::Relaxed);
                if trace {
                    println!("{at:>7} get {number} ends {result:?}");
                }
                history.lock().get_ends(number, at, Got::of(result));
            });
            self.with(node, |engine| {
                engine.get(&keyspace, key.as_bytes(), &options, done);
            });
            return;
        }
        let Some(number) = self.history.lock().put_begins(&key, now_ms) else {
            return;
        };
        self.next_value += 1;
        let write = if self.rng.random_range(0..6) == 0 {
            Write::Delete
        } else {
            let mut body = format!("v{number}-").into_bytes();
            body.resize(20, b'.');
            Write::Value {
                body: Bytes::from(body),
                at_ms: None,
            }
        };
        let options = PutOptions {
            timeout_ms,
            ..PutOptions::default()
        };
        let (history, clock) = (self.history.clone(), self.now_ms.clone());
        self.tell(|| format!("{} puts {number} to {key}", self.nodes[node].name));
        let trace = self.options.trace;
        let done = Box::new(move |result: Result<_, rkv_kv::KvError>| {
            let at = clock.load(Ordering::Relaxed);
            if trace {
                println!("{at:>7} put {number} ends {result:?}");
            }
            history.lock().put_ends(number, at, Put::of(result));
        });
        self.with(node, |engine| {
            engine.put(&keyspace, key.as_bytes(), write, &options, done);
        });
    }
}

fn addresses(name: &NodeName) -> Addresses {
    Addresses {
        peer: format!("{name}:7000"),
        redis: format!("{name}:6379"),
        http: format!("{name}:8098"),
    }
}
