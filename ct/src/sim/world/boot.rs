//! This file answers: how does a node start, act and crash?

use std::sync::Arc;

use parking_lot::Mutex;
use rand::RngExt;
use rkv_cluster::keeper::Keeper;
use rkv_kv::{Engine, Keyspace, KvService};
use rkv_quorum::clock::{Clock, Drift};
use rkv_quorum::policy::Defaults;
use rkv_ring::cluster::{Cluster, Config, Event, Identity, Stored, Target};
use rkv_ring::{
    Addresses, ClusterId, Incarnation, Member, NodeName, PartitionCount, Ring, Status, boot,
    cluster,
};
use rkv_vnode::ping::Ping;
use rkv_vnode::{Beginning, Fault, Host, Service, Settings};
use rkv_wire::message::Message;

use super::{Happening, TICK_MS, World};
use crate::sim::disk::Crash;
use crate::sim::node::{Crashing, Mortal, NodeWorld, Running, SimRingFile, WALL_START_MS, Wish};
use crate::sim::occurrence::death_before;

pub(super) const MAX_DRIFT_MS: u64 = 500;
/// Longer than any request lasts, its latest message included.
const DELETE_GRACE_MS: u64 = 3_000;

impl World {
    pub(super) fn start(&mut self, node: usize) {
        if self.nodes[node].running.is_some() || self.nodes[node].left {
            return;
        }
        self.nodes[node].boot += 1;
        let sim = &mut self.nodes[node];
        // As good as drawn: no two starts have the same.
        sim.folder_boot = boot::next(sim.folder_boot, sim.boot as u16);
        let boot = self.nodes[node].boot;
        self.note(4, node);
        self.tell(|| format!("{} starts, boot {boot}", self.nodes[node].name));
        let identity = self.identity(node);
        let saved = self.nodes[node].ring_file.lock().clone();
        let beginning = match (&saved, self.options.volatile) {
            (None, _) => Beginning::Founded,
            (Some(_), true) => Beginning::Lossy,
            (Some(_), false) => self.nodes[node].beginning(),
        };
        let stored = saved.unwrap_or_else(|| self.founded(&identity));
        *self.nodes[node].ring_file.lock() = Some(stored.clone());
        let wishes: Arc<Mutex<Vec<Wish>>> = Arc::default();
        let engine = self.engine(node, &stored, beginning, &wishes);
        let mortal = Arc::new(Mortal::default());
        let file = SimRingFile {
            saved: self.nodes[node].ring_file.clone(),
            mortal: mortal.clone(),
            wishes: wishes.clone(),
        };
        let config = self.config(node, boot);
        let machine = Cluster::new(identity, stored, config, self.now());
        self.nodes[node].facts = Some(machine.facts());
        self.nodes[node].running = Some(Running {
            engine,
            keeper: Keeper::new(machine, Box::new(file)),
            wishes,
            mortal,
        });
        self.with(node, |_| ());
        let jitter = self.rng.random_range(0..TICK_MS);
        self.push(jitter, Happening::Tick { node, boot });
        self.gossip_round(node);
    }

    pub(super) fn identity(&self, node: usize) -> Identity {
        let name = self.nodes[node].name.clone();
        Identity {
            incarnation: Incarnation(
                u128::from(self.options.seed) << 32
                    | u128::from(self.nodes[node].life) << 16
                    | (node as u128 + 1),
            ),
            boot: self.nodes[node].folder_boot,
            addresses: addresses(&name),
            zone: None,
            weight: 1.0,
            name,
        }
    }

    /// A cluster of its own for a node that starts for the first time.
    fn founded(&self, me: &Identity) -> Stored {
        let member = Member {
            incarnation: me.incarnation,
            status: Status::Valid,
            addresses: me.addresses.clone(),
            zone: None,
            weight: 1.0,
        };
        let q = PartitionCount::new(self.options.partitions).expect("a power of two");
        let id = ClusterId(me.incarnation.0 | 1 << 120);
        Stored::fresh(Ring::found(id, "sim", q, 3, me.name.clone(), member))
    }

    fn engine(
        &self,
        node: usize,
        stored: &Stored,
        beginning: Beginning,
        wishes: &Arc<Mutex<Vec<Wish>>>,
    ) -> Arc<Engine> {
        let sim = &self.nodes[node];
        let jobs = wishes.clone();
        sim.disk
            .wake(Arc::new(move || jobs.lock().push(Wish::DiskJob)));
        let world = Arc::new(NodeWorld {
            now_ms: self.now_ms.clone(),
            wall_offset_ms: sim.wall_offset_ms.clone(),
            wishes: wishes.clone(),
        });
        let boot_id = boot_id(node, sim.boot);
        let settings = Settings {
            boot: boot_id,
            max_drift_ms: MAX_DRIFT_MS,
            transfers: 2,
            bytes_per_s: 0,
            grace_ms: 500,
            delete_grace_ms: DELETE_GRACE_MS,
            void_after_ms: DELETE_GRACE_MS,
            anti_entropy_ms: 1_000,
            fault: self.options.fault,
        };
        let services: Vec<Arc<dyn Service>> = vec![Arc::new(Ping), Arc::new(KvService)];
        let host = Host::open(
            sim.name.clone(),
            stored.ring.clone(),
            services,
            sim.disk.clone(),
            world.clone(),
            settings,
            beginning,
        )
        .expect("a simulated disk opens");
        Engine::start(
            host,
            world,
            Arc::new(Clock::new(boot_id, MAX_DRIFT_MS)),
            Drift::new(MAX_DRIFT_MS),
            Keyspace::default_with(Defaults::default()),
            self.options.bounds(),
            boot_id,
        )
    }

    fn config(&self, node: usize, boot: u64) -> Config {
        let council = self.options.council;
        Config {
            detection_ms: council.detection_ms,
            epoch_interval_ms: council.epoch_interval_ms,
            wall_at_zero_ms: WALL_START_MS,
            removed_grace_ms: DELETE_GRACE_MS / 2,
            seed: self.options.seed ^ boot_id(node, boot),
            fault: match self.options.fault {
                Fault::PromiseNotPersisted => cluster::Fault::PromiseNotPersisted,
                Fault::MajoritySkipped => cluster::Fault::MajoritySkipped,
                Fault::ActOnOldReady => cluster::Fault::ActOnOldReady,
                Fault::DeadIdentityReused => cluster::Fault::DeadIdentityReused,
                _ => cluster::Fault::None,
            },
            ..Config::default()
        }
    }

    /// Runs `act` on a node that runs, and draws what becomes of its wishes.
    pub(super) fn with(&mut self, node: usize, act: impl FnOnce(&Arc<Engine>)) {
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
                    self.send(node, to, 0, Message::Cluster(Box::new(message)));
                }
            }
            Wish::Keeper(event) => self.push(0, Happening::Keeper { node, boot, event }),
            Wish::Publish(facts) => {
                self.nodes[node].facts = Some(facts);
                self.gossip_round(node);
            }
            Wish::DiskJob => self.queued(node, boot),
            Wish::Saved(stored) => self.observer.saved(&self.nodes[node].name, &stored),
            Wish::Adopted(ring) => {
                self.note(5, node);
                let name = &self.nodes[node].name;
                self.tell(|| {
                    let (epoch, rows, moves) = (ring.epoch, &ring.rows, &ring.moves);
                    format!("{name} adopts {epoch}: {rows:?} moves {moves:?}")
                });
                self.epochs = self.epochs.max(ring.epoch.0);
                self.observer.adopted(&self.nodes[node].name, &ring);
            }
            Wish::Left if self.is_put_back(node) => self.set_aside(node),
            Wish::Left => {
                self.count("left");
                if self.is_removed_long_ago(node) {
                    self.observer
                        .given_up(&self.nodes, node, &self.history.lock());
                }
                self.nodes[node].left = true;
                self.crash(node, Crash::Kill);
            }
            Wish::Warn(text) => self.tell(|| format!("{} warns: {text}", self.nodes[node].name)),
        }
    }

    /// Whether a node ends since it was removed by force so long ago that nobody takes anything from it any more.
    fn is_removed_long_ago(&self, node: usize) -> bool {
        let life = self.identity(node).incarnation;
        let wall_ms = WALL_START_MS + self.now();
        let stored = self.nodes[node].ring_file.lock();
        let mut removed = stored.iter().flat_map(|stored| &stored.ring.removed);
        removed.any(|it| it.incarnation == life && wall_ms >= it.at_ms + DELETE_GRACE_MS / 2)
    }

    /// One event for a node's keeper, which may die between any two of its effects.
    pub(super) fn step_keeper(&mut self, node: usize, event: Event) {
        let council = self.council();
        let Some(mut running) = self.nodes[node].running.take() else {
            return;
        };
        let mortal = running.mortal.clone();
        if !(self.is_troubled() && self.may_crash()) {
            mortal.leave(u64::MAX);
        } else if mortal.left() > council.dies_within {
            mortal.leave(self.rng.random_range(0..council.dies_within));
        }
        let crashing = Crashing {
            engine: &running.engine.clone(),
            mortal: &mortal,
        };
        running.keeper.step(self.now(), event, &crashing);
        self.nodes[node].running = Some(running);
        self.with(node, |_| ());
        if let Some(what) = mortal.died_before() {
            self.count(death_before(&what));
            self.crash(node, Crash::Kill);
            let after = self.rng.random_range(council.back_ms.0..council.back_ms.1);
            self.push(after, Happening::Start { node });
        }
    }

    pub(super) fn crash(&mut self, node: usize, how: Crash) {
        self.note(6, node);
        self.tell(|| format!("{} crashes: {how:?}", self.nodes[node].name));
        self.count(format!("crash {how:?}"));
        if self.nodes[node].running.is_none() {
            return;
        }
        self.struck.strike(node);
        self.count_steps(node);
        self.nodes[node].running = None;
        // What waited for the process is lost with it; the disk goes on being synced.
        for waiting in self.paused.remove(&node).unwrap_or_default() {
            if let Happening::DiskSync { .. } = waiting {
                self.push(0, waiting);
            }
        }
        self.nodes[node].facts = None;
        let disk = self.nodes[node].disk.clone();
        if disk.is_untold() {
            self.count("died before telling what landed");
        }
        let rng = &mut self.rng;
        disk.crash(how, |n| rng.random_range(0..=n));
        self.nodes[node].crashed(how);
        self.observer
            .crashed(&self.nodes, node, how, &self.history.lock());
        self.gossip_round(node);
    }

    /// The process stands still: what happens to it waits.
    pub(super) fn pause(&mut self, node: usize, for_ms: u64) {
        self.tell(|| format!("{} pauses for {for_ms} ms", self.nodes[node].name));
        self.struck.strike(node);
        self.paused.entry(node).or_default();
        self.observer.paused(node);
        self.gossip_round(node);
        self.push(for_ms, Happening::Resume { node });
    }

    pub(super) fn resume(&mut self, node: usize) {
        let Some(waiting) = self.paused.remove(&node) else {
            return;
        };
        self.tell(|| format!("{} goes on", self.nodes[node].name));
        for happening in waiting {
            self.push(0, happening);
        }
        self.gossip_round(node);
    }

    fn index(&self, name: &NodeName) -> Option<usize> {
        self.nodes.iter().position(|node| node.name == *name)
    }
}

/// Unique among all boots of all nodes.
fn boot_id(node: usize, boot: u64) -> u64 {
    (boot << 8) | (node as u64 + 1)
}

fn addresses(name: &NodeName) -> Addresses {
    Addresses {
        peer: format!("{name}:7000"),
        redis: format!("{name}:6379"),
        http: format!("{name}:8098"),
    }
}
