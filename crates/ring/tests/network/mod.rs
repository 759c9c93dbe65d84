//! This file answers: how do a few of these machines live together in a test?
//!
//! A tiny network with one clock and one seed: it carries effects one at a time, crashes a node between any two of
//! them, restarts it from what it persisted, and loses, repeats, delays and reorders messages. An observer looks at
//! each adopted ring.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary has this file as its own module and uses its own part of it"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rkv_ring::boot;
use rkv_ring::claimant;
use rkv_ring::cluster::{
    AdminReply, AdminRequest, Cluster, ClusterMessage, Config, Effect, Event, Facts, Fault,
    Identity, Stored, Target,
};
use rkv_ring::{
    Addresses, Ballot, ClusterId, Epoch, Incarnation, Member, NodeName, Partition, PartitionCount,
    Refusal, Ring, RingDigest, Status,
};

pub const DETECTION_MS: u64 = 2_000;
const TICK_MS: u64 = 100;

/// What goes wrong, as probabilities.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    pub loss: f64,
    pub duplicate: f64,
    /// A message that takes up to [`Faults::late_ms`].
    pub late: f64,
    pub late_ms: u64,
    /// A crash before an effect.
    pub crash: f64,
    /// A suspicion, true or not, each tick and node.
    pub rumour: f64,
}

/// Faults as a bad day has them.
pub const STORM: Faults = Faults {
    loss: 0.05,
    duplicate: 0.1,
    late: 0.5,
    late_ms: 1_500,
    crash: 0.05,
    rumour: 0.1,
};

pub struct Node {
    pub identity: Identity,
    pub disk: Stored,
    /// `None` while it is down.
    pub machine: Option<Cluster>,
    pub left: bool,
    pub warnings: Vec<String>,
    told: Vec<Facts>,
    down_since: u64,
    up_at: Option<u64>,
}

enum Happening {
    Tick(NodeName),
    Arrive {
        from: NodeName,
        to: NodeName,
        message: Box<ClusterMessage>,
    },
}

type Answer = Result<AdminReply, Refusal>;

pub struct Network {
    pub now: u64,
    pub faults: Faults,
    pub nodes: BTreeMap<NodeName, Node>,
    pub answers: BTreeMap<u64, Answer>,
    /// Links that carry nothing, by (from, to).
    pub cut: BTreeSet<(NodeName, NodeName)>,
    /// Kinds of message that do not arrive, by a word in their debug text.
    pub swallow: Vec<&'static str>,
    /// The ring of each (cluster, lineage, epoch) that was chosen.
    pub chosen: BTreeMap<(ClusterId, u64, Epoch), (RingDigest, Arc<Ring>)>,
    pub violations: Vec<String>,
    /// Who has accepted what on disk: by digest of the parent, and ballot.
    votes: BTreeMap<(RingDigest, Ballot), BTreeSet<NodeName>>,
    rng: ChaCha8Rng,
    queue: BTreeMap<(u64, u64), Happening>,
    queued: u64,
    asked: u64,
    /// Whose move does not get ready.
    pub held: Option<Partition>,
    config: Config,
}

pub fn name(text: &str) -> NodeName {
    NodeName::from(text)
}

pub fn identity(node: &str) -> Identity {
    let number = node.bytes().fold(0u128, |sum, b| sum * 256 + u128::from(b));
    Identity {
        name: name(node),
        incarnation: Incarnation(number),
        boot: 1,
        addresses: Addresses {
            peer: format!("{node}:7379"),
            redis: format!("{node}:6379"),
            http: format!("{node}:8098"),
        },
        zone: None,
        weight: 1.0,
    }
}

fn q(partitions: u16) -> PartitionCount {
    PartitionCount::new(partitions).unwrap()
}

/// A ring of full members that has been there for long; rows in turn.
pub fn settled_ring(nodes: &[&str], partitions: u16) -> Ring {
    let first = Stored::found(&identity(nodes[0]), ClusterId(7), "test", q(partitions), 3);
    let mut ring = Ring::clone(&first.ring);
    for node in &nodes[1..] {
        let identity = identity(node);
        let member = Member {
            incarnation: identity.incarnation,
            status: Status::Valid,
            addresses: identity.addresses,
            zone: None,
            weight: 1.0,
        };
        ring.members.insert(name(node), member);
    }
    let owner = |p: usize, place: usize| name(nodes[(p + place) % nodes.len()]);
    for (p, row) in ring.rows.iter_mut().enumerate() {
        *row = (0..3).map(|place| owner(p, place)).collect();
    }
    ring
}

impl Network {
    pub fn new(seed: u64, fault: Fault) -> Network {
        Network {
            now: 0,
            faults: Faults::default(),
            nodes: BTreeMap::new(),
            answers: BTreeMap::new(),
            cut: BTreeSet::new(),
            swallow: Vec::new(),
            chosen: BTreeMap::new(),
            violations: Vec::new(),
            votes: BTreeMap::new(),
            rng: ChaCha8Rng::seed_from_u64(seed),
            queue: BTreeMap::new(),
            queued: 0,
            asked: 0,
            held: None,
            config: Config {
                detection_ms: DETECTION_MS,
                fault,
                ..Config::default()
            },
        }
    }

    /// Everything is quicker, so that more of it happens at once.
    pub fn hasten(&mut self) {
        self.config.detection_ms = 300;
        self.config.epoch_interval_ms = 100;
        let nodes: Vec<NodeName> = self.nodes.keys().cloned().collect();
        for node in nodes {
            self.start(&node);
        }
    }

    /// A network of clusters of one.
    pub fn of_singles(nodes: &[&str]) -> Network {
        let mut network = Network::new(1, Fault::None);
        for node in nodes {
            network.add_single(node, 16);
        }
        network
    }

    /// A network of one cluster with these full members.
    pub fn of_cluster(nodes: &[&str], seed: u64, fault: Fault) -> Network {
        let ring = settled_ring(nodes, 16);
        let mut network = Network::new(seed, fault);
        for node in nodes {
            network.add(identity(node), Stored::fresh(ring.clone()));
        }
        network
    }

    pub fn add_single(&mut self, node: &str, partitions: u16) {
        let identity = identity(node);
        let cluster = ClusterId(identity.incarnation.0);
        let stored = Stored::found(&identity, cluster, "test", q(partitions), 3);
        self.add(identity, stored);
    }

    pub fn add(&mut self, identity: Identity, disk: Stored) {
        let node = identity.name.clone();
        let ring = disk.ring.clone();
        self.nodes.insert(
            node.clone(),
            Node {
                identity,
                disk,
                machine: None,
                left: false,
                warnings: Vec::new(),
                told: Vec::new(),
                down_since: self.now,
                up_at: None,
            },
        );
        self.observe(&ring);
        self.start(&node);
        self.plan_happening(TICK_MS, Happening::Tick(node));
    }

    pub fn start(&mut self, node: &NodeName) {
        let seed = self.rng.random();
        let config = Config {
            seed,
            ..self.config.clone()
        };
        let now = self.now;
        let state = self.nodes.get_mut(node).unwrap();
        state.identity.boot = boot::next(state.identity.boot, 0);
        state.up_at = None;
        let machine = Cluster::new(state.identity.clone(), state.disk.clone(), config, now);
        state.told.push(machine.facts());
        state.machine = Some(machine);
    }

    pub fn crash(&mut self, node: &NodeName) {
        let state = self.nodes.get_mut(node).unwrap();
        state.machine = None;
        state.down_since = self.now;
    }

    /// The node comes back with an empty folder, as a cluster of its own.
    pub fn wipe(&mut self, node: &str) {
        let node = name(node);
        self.crash(&node);
        let state = self.nodes.get_mut(&node).unwrap();
        state.identity.incarnation.0 += 1 << 64;
        let cluster = ClusterId(state.identity.incarnation.0);
        let partitions = state.disk.ring.partitions;
        state.disk = Stored::found(&state.identity, cluster, "test", partitions, 3);
        let ring = state.disk.ring.clone();
        self.observe(&ring);
        self.start(&node);
    }

    pub fn ring(&self, node: &str) -> &Arc<Ring> {
        self.nodes[&name(node)]
            .machine
            .as_ref()
            .expect("it is up")
            .ring()
    }

    /// The last ring that was chosen in `cluster`.
    pub fn latest(&self, cluster: ClusterId) -> &Arc<Ring> {
        let rings = self
            .chosen
            .range((cluster, 0, Epoch(0))..=(cluster, u64::MAX, Epoch(u64::MAX)));
        let (_, (_, ring)) = rings.last().expect("it was founded");
        ring
    }

    pub fn random(&mut self, below: usize) -> usize {
        self.rng.random_range(0..below)
    }

    /// An operator asks `node`; the answer turns up in [`Network::answers`] under the number returned.
    pub fn ask(&mut self, node: &str, request: AdminRequest) -> u64 {
        self.asked += 1;
        let id = self.asked;
        self.happen(&name(node), Event::Admin { id, request });
        id
    }

    /// Asks and waits for the answer.
    pub fn answer(&mut self, node: &str, request: AdminRequest) -> Answer {
        let id = self.ask(node, request);
        self.run_until(10_000, |network| network.answers.contains_key(&id));
        self.answers[&id].clone()
    }

    /// Lets `event` happen at `node`, if it is up, and carries out what it wishes for.
    pub fn happen(&mut self, node: &NodeName, event: Event) {
        let now = self.now;
        let mut effects = Vec::new();
        match self
            .nodes
            .get_mut(node)
            .and_then(|state| state.machine.as_mut())
        {
            Some(machine) => machine.step(now, event, &mut effects),
            None => return,
        }
        for effect in effects {
            if self.faults.crash > 0.0 && self.rng.random_bool(self.faults.crash) {
                self.crash(node);
                let back = self.rng.random_range(10..300);
                self.nodes.get_mut(node).unwrap().up_at = Some(now + back);
                return;
            }
            self.carry(node, effect);
        }
    }

    fn carry(&mut self, node: &NodeName, effect: Effect) {
        match effect {
            Effect::Send { to, message } => self.post(node, &to, message),
            Effect::Persist(stored) => {
                self.count(node, &stored);
                self.nodes.get_mut(node).unwrap().disk = stored;
            }
            Effect::Adopt(ring) => {
                if self.nodes[node].disk.ring != ring {
                    self.violations
                        .push(format!("{node} routes by a ring not on disk"));
                }
                self.observe(&ring);
            }
            Effect::Answer { id, result } => {
                if self.answers.insert(id, result).is_some() {
                    self.violations
                        .push(format!("request {id} was answered twice"));
                }
            }
            Effect::Publish(facts) => self.nodes.get_mut(node).unwrap().told.push(facts),
            Effect::Left => self.nodes.get_mut(node).unwrap().left = true,
            Effect::Warn(text) => self.nodes.get_mut(node).unwrap().warnings.push(text),
        }
    }

    /// A ring is chosen as soon as a majority has it on disk for one ballot, whoever knows that.
    fn count(&mut self, node: &NodeName, stored: &Stored) {
        let Some(accepted) = &stored.acceptor.accepted else {
            return;
        };
        let ballot = (stored.ring.digest(), accepted.ballot.clone());
        let votes = self.votes.entry(ballot).or_default();
        votes.insert(node.clone());
        if claimant::is_majority(&stored.ring, votes) {
            self.observe(&accepted.ring);
        }
    }

    /// One ring an epoch, and its parent the one before.
    fn observe(&mut self, ring: &Arc<Ring>) {
        let (id, digest) = (ring.id(), ring.digest());
        let key = |epoch| (id.cluster, id.lineage, epoch);
        let (known, _) = self
            .chosen
            .entry(key(id.epoch))
            .or_insert_with(|| (digest, ring.clone()));
        if *known != digest {
            self.violations
                .push(format!("two rings were chosen for epoch {}", id.epoch));
        }
        if let Some((before, _)) = self.chosen.get(&key(Epoch(id.epoch.0 - 1)))
            && ring.parent != *before
        {
            self.violations
                .push(format!("epoch {} does not follow the one before", id.epoch));
        }
    }

    fn post(&mut self, from: &NodeName, to: &Target, message: ClusterMessage) {
        let to = match to {
            Target::Node(node) => node.clone(),
            Target::Address(address) => name(address.trim_end_matches(":7379")),
        };
        let text = format!("{:?}", message.body);
        if self.swallow.iter().any(|word| text.starts_with(word)) {
            return;
        }
        let copies = 1 + usize::from(self.rng.random_bool(self.faults.duplicate));
        for _ in 0..copies {
            if self.rng.random_bool(self.faults.loss) {
                continue;
            }
            let is_late = self.rng.random_bool(self.faults.late);
            let most = if is_late { self.faults.late_ms } else { 20 };
            let delay = self.rng.random_range(1..=most);
            let (from, to) = (from.clone(), to.clone());
            let message = Box::new(message.clone());
            self.plan_happening(delay, Happening::Arrive { from, to, message });
        }
    }

    fn plan_happening(&mut self, delay: u64, happening: Happening) {
        self.queued += 1;
        self.queue
            .insert((self.now + delay, self.queued), happening);
    }

    /// Runs for `ms`, or until `done`. Says whether it was done.
    pub fn run_until(&mut self, ms: u64, done: impl Fn(&Network) -> bool) -> bool {
        let end = self.now + ms;
        while !done(self) {
            let Some((&(at, number), _)) = self.queue.first_key_value() else {
                return false;
            };
            if at > end {
                self.now = end;
                return false;
            }
            self.now = at;
            match self.queue.remove(&(at, number)).expect("it was the first") {
                Happening::Tick(node) => self.tick(node),
                Happening::Arrive { from, to, message } => {
                    if !self.cut.contains(&(from.clone(), to.clone())) {
                        let message = *message;
                        self.happen(&to, Event::Message { from, message });
                    }
                }
            }
        }
        true
    }

    pub fn run(&mut self, ms: u64) {
        self.run_until(ms, |_| false);
    }

    /// A node's tick: time, gossip of one other, and what its detector believes.
    fn tick(&mut self, node: NodeName) {
        self.plan_happening(TICK_MS, Happening::Tick(node.clone()));
        if self.nodes[&node].up_at.is_some_and(|at| self.now >= at) {
            self.start(&node);
        }
        let others: Vec<NodeName> = self.nodes.keys().filter(|n| **n != node).cloned().collect();
        for other in &others {
            let state = &self.nodes[other];
            let is_cut = self.cut.contains(&(other.clone(), node.clone()));
            let unheard = self.now - state.down_since;
            let life = state.identity.incarnation;
            let known = self.nodes[&node].machine.as_ref().map(|m| m.ring());
            let listed = known.and_then(|ring| ring.members.get(other));
            let is_other = listed.is_some_and(|member| member.incarnation != life);
            let is_dead = is_cut
                || is_other
                || (state.machine.is_none() && unheard >= self.config.detection_ms);
            let is_rumour = self.faults.rumour > 0.0 && self.rng.random_bool(self.faults.rumour);
            let event = if is_dead || is_rumour {
                Event::Down
            } else {
                Event::Up
            };
            // Under rumours a wrong belief lasts for a while.
            if self.faults.rumour == 0.0 || is_rumour || self.rng.random_bool(0.05) {
                self.happen(&node, event(other.clone()));
            }
        }
        if !others.is_empty() {
            let other = others[self.random(others.len())].clone();
            let told = &self.nodes[&other].told;
            let back = if self.faults.late > 0.0 {
                told.len().min(5)
            } else {
                1
            };
            let facts = told[told.len() - 1 - self.rng.random_range(0..back)];
            if !self.cut.contains(&(other.clone(), node.clone())) {
                self.happen(&node, Event::Facts { node: other, facts });
            }
        }
        self.work(&node);
        self.happen(&node, Event::Tick);
    }

    /// What the vnodes of `node` report: its moves get ready (or break, under faults), and an exiting node is empty.
    fn work(&mut self, node: &NodeName) {
        let Some(machine) = &self.nodes[node].machine else {
            return;
        };
        let ring = machine.ring().clone();
        for (&partition, m) in ring.moves.iter().filter(|(_, m)| m.from == *node) {
            if self.held == Some(partition) {
                continue;
            }
            let event = if self.faults.loss > 0.0 && self.rng.random_bool(0.1) {
                Event::MoveBroken {
                    partition,
                    attempt: m.attempt,
                }
            } else {
                let life = |node: &NodeName| ring.members[node].incarnation;
                Event::MoveReady {
                    partition,
                    attempt: m.attempt,
                    from: m.from.clone(),
                    to: m.to.clone(),
                    incarnations: (life(&m.from), life(&m.to)),
                }
            };
            self.happen(node, event);
        }
        let life = self.nodes[node].identity.incarnation;
        let listed = ring.members.get(node).filter(|m| m.incarnation == life);
        if listed.is_none_or(|m| m.status == Status::Exiting) {
            self.happen(node, Event::Drained);
        }
    }

    /// Every third time another node is cut off, one way or both; every third time all links are whole.
    pub fn cut_at_random(&mut self) {
        match self.random(3) {
            0 => self.cut.clear(),
            1 => {
                let names: Vec<NodeName> = self.nodes.keys().cloned().collect();
                let node = names[self.random(names.len())].clone();
                let ways = self.random(3);
                for other in names {
                    if ways != 1 {
                        self.cut.insert((node.clone(), other.clone()));
                    }
                    if ways != 2 {
                        self.cut.insert((other, node.clone()));
                    }
                }
            }
            _ => {}
        }
    }

    /// Nothing goes wrong any more.
    pub fn calm(&mut self) {
        self.faults = Faults::default();
        self.cut.clear();
        let down: Vec<NodeName> = self
            .nodes
            .iter()
            .filter(|(_, s)| s.machine.is_none())
            .map(|(n, _)| n.clone())
            .collect();
        for node in down {
            self.start(&node);
        }
    }
}
