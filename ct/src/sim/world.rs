//! This file answers: how does a whole simulated cluster live, from one seed?
//!
//! Everything that happens is an entry in one queue ordered by virtual time. A step takes the next, gives it to a node
//! and draws what becomes of the wishes that follow. Observers look at each step.
//!
//! Beside this file, one question each: `boot` how a node starts, acts and crashes · `network` what becomes of
//! messages, and who is heard by whom · `nemesis` what goes wrong · `operator` who joins and leaves · `upheaval` who goes
//! by force · `client` who reads and writes · `landing` when disks land what is queued · `mass` how many join at once · `amid` whether a write is within a fault ·
//! `tally` what is counted.

mod amid;
mod boot;
mod client;
mod landing;
mod mass;
mod nemesis;
mod network;
mod operator;
mod tally;
mod upheaval;

pub use amid::AMID;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rkv_ring::cluster::{Event, Facts};
use rkv_wire::message::Envelope;
use xxhash_rust::xxh3::Xxh3;

use crate::check::Observer;
use crate::history::History;
use crate::sim::disk::SimDisk;
use crate::sim::node::SimNode;
use crate::sim::occurrence::written_amid;
use crate::sim::options::{Council, Options};

/// What a life came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Equal for equal lives.
    pub digest: u64,
    /// The first promise that was broken.
    pub violation: Option<String>,
    /// Steps taken.
    pub steps: u64,
    /// Writes acknowledged.
    pub acknowledged: u64,
    /// Those of them that fell within a fault.
    pub amid_fault: u64,
    /// The highest epoch.
    pub epochs: u64,
    /// Whether more disks were lost at once than the promises about data speak of.
    pub excused: bool,
    /// How often what occurred.
    pub occurred: BTreeMap<String, u64>,
}

/// What can happen next.
enum Happening {
    Deliver {
        from: usize,
        to: usize,
        /// In which life and start the sender was.
        speaks_as: Option<Facts>,
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
    /// A disk tells of what landed together.
    DiskTell {
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
    /// Everybody looks at everybody.
    Gossip,
    Start {
        node: usize,
    },
    /// A paused node goes on.
    Resume {
        node: usize,
    },
    /// A node is given a key before it joins.
    OwnKey {
        node: usize,
        number: u32,
    },
    /// The folder of the node that is to lose its present is exchanged for an older one.
    PutBack {
        node: usize,
    },
    Client,
    Nemesis,
    Rumour,
    Operator,
}

impl Happening {
    /// The node whose process takes it, which must not be paused for that.
    fn process(&self) -> Option<usize> {
        match self {
            Happening::Deliver { to: node, .. }
            | Happening::Tick { node, .. }
            | Happening::DiskJob { node, .. }
            | Happening::DiskTell { node, .. }
            | Happening::DiskSync { node }
            | Happening::Keeper { node, .. }
            | Happening::Look { at: node, .. } => Some(*node),
            _ => None,
        }
    }
}

/// One life.
pub struct World {
    options: Options,
    rng: ChaCha8Rng,
    now_ms: Arc<AtomicU64>,
    queue: BTreeMap<(u64, u64), Happening>,
    sequence: u64,
    nodes: Vec<SimNode>,
    /// Nodes whose process stands still, and what waits for each, in order.
    paused: BTreeMap<usize, Vec<Happening>>,
    /// Links that are cut, each in one direction.
    cut: BTreeSet<(usize, usize)>,
    /// Who takes whom for dead without reason, and until when.
    rumours: BTreeMap<(usize, usize), u64>,
    trace: Xxh3,
    occurred: BTreeMap<String, u64>,
    /// How often something went wrong with whom.
    struck: amid::Struck,
    steps: u64,
    epochs: u64,
    healed: bool,
    /// Whether the last gets, of everything at every node, were begun: then how many of all gets came before.
    reading_back: Option<usize>,
    /// Whether they were answered; everything is read once more when the last deadline has passed.
    read_once: bool,
    loss_percent: u32,
    history: Arc<Mutex<History>>,
    observer: Observer,
    operator: operator::Operator,
    upheaval: upheaval::Stage,
    /// An older state of a folder, until it is put back.
    backup: Option<upheaval::Backup>,
    /// Who runs on such.
    was_put_back: Option<usize>,
    /// When the one long absence began, if it has, and when it ends.
    absence: Option<(u64, u64)>,
}

const TICK_MS: u64 = 50;
const GOSSIP_MS: u64 = 100;
/// Nothing but the network goes wrong before: the first joins may get through.
const TROUBLE_FROM_MS: u64 = 4_000;
/// How often settling is looked for, in steps: it costs.
const SETTLED_EVERY: u64 = 64;

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
            paused: BTreeMap::new(),
            cut: BTreeSet::new(),
            rumours: BTreeMap::new(),
            trace: Xxh3::new(),
            occurred: BTreeMap::new(),
            struck: amid::Struck::of(options.nodes),
            steps: 0,
            epochs: 0,
            healed: false,
            reading_back: None,
            read_once: false,
            loss_percent: 0,
            history: Arc::default(),
            observer: Observer::default(),
            operator: operator::Operator::default(),
            upheaval: upheaval::Stage::default(),
            backup: None,
            was_put_back: None,
            absence: None,
            options,
        };
        for node in 0..world.options.nodes {
            let offset = world.rng.random_range(-200..200);
            world.nodes.push(SimNode {
                name: format!("n{}", node + 1).into(),
                disk: Arc::new(SimDisk::new(world.options.volatile)),
                ring_file: Arc::default(),
                boot: 0,
                folder_boot: 0,
                life: 0,
                wall_offset_ms: Arc::new(AtomicI64::new(offset)),
                running: None,
                facts: None,
                left: false,
                power_cut: false,
            });
            world.push(1, Happening::Start { node });
            world.push(1_000, Happening::DiskSync { node });
            for number in 0..world.options.own_keys {
                let after = world.rng.random_range(50..450);
                world.push(after, Happening::OwnKey { node, number });
            }
        }
        world.loss_percent = world.rng.random_range(0..4);
        world.push(300, Happening::Gossip);
        world.push(500, Happening::Client);
        world.push(500, Happening::Operator);
        world.push(TROUBLE_FROM_MS - 1_000, Happening::Nemesis);
        world.push(TROUBLE_FROM_MS - 1_000, Happening::Rumour);
        world
    }

    /// Lives until everything has settled and was read back, a promise is broken, or the bound is reached.
    pub fn live(mut self) -> Outcome {
        let mut violation = None;
        while violation.is_none() {
            let Some(((at, _), happening)) = self.queue.pop_first() else {
                break;
            };
            self.now_ms.store(at, Ordering::Relaxed);
            self.steps += 1;
            if at >= self.options.trouble_ms && !self.healed {
                self.heal();
            }
            self.happen(happening);
            violation = self.observer.step(&self.nodes, at, &self.history.lock());
            if violation.is_none() && self.healed && self.steps.is_multiple_of(SETTLED_EVERY) {
                match self.has_ended() {
                    Ok(true) => break,
                    Ok(false) => {}
                    Err(why) => violation = Some(why),
                }
            }
        }
        let history = self.history.lock();
        Outcome {
            digest: self.trace.digest(),
            violation,
            steps: self.steps,
            acknowledged: history.acknowledged(),
            amid_fault: history.amid_fault(),
            epochs: self.epochs,
            excused: self.observer.is_excused(),
            occurred: {
                let mut occurred = self.occurred;
                occurred.insert("reaped".to_owned(), self.observer.reaped());
                occurred.insert("get hedged".to_owned(), self.observer.hedged());
                for (what, writes) in history.written_amid() {
                    occurred.insert(written_amid(what), writes);
                }
                occurred
            },
        }
    }

    /// After the last fault: whether all has come to rest and was read back; what is wrong if it never does.
    fn has_ended(&mut self) -> Result<bool, String> {
        if let Some(before) = self.reading_back {
            let (nodes, last) = (&self.nodes, self.read_once);
            let read = self
                .observer
                .read_back(nodes, &self.history.lock(), before, last)?;
            if read && !last {
                self.reading_back = None;
                self.read_once = true;
                return Ok(false);
            }
            return Ok(read);
        }
        if self.read_once {
            return self.reads_again();
        }
        if self.now() < self.options.trouble_ms + client::AFTERWARDS_MS {
            return Ok(false);
        }
        if !self.upheaval_is_over() {
            return self.not_yet(format!("{:?} never ended", self.options.upheaval));
        }
        let settled = self.observer.settled(&self.nodes, &self.history.lock());
        match settled {
            Ok(()) => {
                self.read_back();
                Ok(false)
            }
            Err(why) => self.not_yet(why),
        }
    }

    /// Reads everything once more when the last deadline has passed and all has come to rest again.
    fn reads_again(&mut self) -> Result<bool, String> {
        let now_ms = self.now();
        let gone = self
            .observer
            .let_go(&self.nodes, &self.history.lock(), now_ms);
        if !gone? {
            return Ok(false);
        }
        match self.observer.settled_again(&self.nodes) {
            Ok(()) => {
                self.read_back();
                Ok(false)
            }
            Err(why) => self.not_yet(why),
        }
    }

    /// It has not come to rest, and has so much time left to.
    fn not_yet(&self, why: String) -> Result<bool, String> {
        if self.now() >= self.options.trouble_ms + self.options.settle_within_ms {
            return Err(format!("10 converges: {why}"));
        }
        Ok(false)
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

    /// Something occurred that a run counts.
    fn count(&mut self, what: impl Into<String>) {
        *self.occurred.entry(what.into()).or_default() += 1;
    }

    fn note(&mut self, what: u64, node: usize) {
        self.trace.update(&self.now().to_le_bytes());
        self.trace.update(&what.to_le_bytes());
        self.trace.update(&(node as u64).to_le_bytes());
    }

    /// Whether things may go wrong now.
    fn is_troubled(&self) -> bool {
        !self.healed && self.now() >= TROUBLE_FROM_MS
    }

    /// What those who choose rings have to bear now.
    fn council(&self) -> Council {
        if self.is_troubled() {
            self.options.council
        } else {
            Council::CALM
        }
    }

    fn happen(&mut self, happening: Happening) {
        if let Some(node) = happening.process()
            && let Some(waiting) = self.paused.get_mut(&node)
        {
            waiting.push(happening);
            return;
        }
        match happening {
            Happening::Deliver {
                from,
                to,
                speaks_as,
                envelope,
            } => self.deliver((from, to), speaks_as, envelope),
            Happening::Tick { node, boot } => {
                if self.runs(node, boot) {
                    self.note(2, node);
                    self.with(node, |engine| engine.tick());
                    self.push(TICK_MS, Happening::Tick { node, boot });
                }
            }
            Happening::DiskJob { node, boot } => {
                if self.runs(node, boot) {
                    self.note(3, node);
                    self.land(node, boot);
                }
            }
            Happening::DiskTell { node, boot } => {
                if self.runs(node, boot) {
                    self.note(7, node);
                    self.tell_landed(node, boot);
                }
            }
            Happening::DiskSync { node } => {
                self.nodes[node].disk.sync_all();
                self.push(100, Happening::DiskSync { node });
            }
            Happening::Keeper { node, boot, event } => {
                if self.runs(node, boot) {
                    self.step_keeper(node, event);
                }
            }
            Happening::Look { at, of } => self.look(at, of),
            Happening::Gossip => {
                for of in 0..self.nodes.len() {
                    self.gossip_round(of);
                }
                self.push(GOSSIP_MS * 4, Happening::Gossip);
            }
            Happening::Start { node } => self.start(node),
            Happening::Resume { node } => self.resume(node),
            Happening::OwnKey { node, number } => self.own_key(node, number),
            Happening::PutBack { node } => self.put_back(node),
            Happening::Client => self.client(),
            Happening::Nemesis => self.nemesis(),
            Happening::Rumour => self.rumour(),
            Happening::Operator => self.operate(),
        }
    }

    fn runs(&self, node: usize, boot: u64) -> bool {
        self.nodes[node].boot == boot && self.nodes[node].running.is_some()
    }
}
