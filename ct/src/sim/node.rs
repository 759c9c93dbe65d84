//! This file answers: what is one simulated node, and what does it wish for?

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;
use rkv_cluster::keeper::{Keeper, Outward, RingStore};
use rkv_kv::{Engine, Surroundings};
use rkv_ring::cluster::{AdminReply, ClusterMessage, Event, Facts, Stored, Target};
use rkv_ring::plan::Refusal;
use rkv_ring::{NodeName, Ring};
use rkv_vnode::{Beginning, World};
use rkv_wire::message::Message;

use crate::sim::disk::{Crash, SimDisk};

/// What a node wished for during a step, in order; the world draws what becomes of it.
#[derive(Debug)]
pub enum Wish {
    /// A message to a member.
    Send(NodeName, Message),
    /// A message about rings.
    SendCluster(Target, ClusterMessage),
    /// An event for its own keeper.
    Keeper(Event),
    /// Gossip.
    Publish(Facts),
    /// A job was queued on its disk.
    DiskJob,
    /// It has this on disk now.
    Saved(Box<Stored>),
    /// It adopted a ring.
    Adopted(Arc<Ring>),
    /// It was let go.
    Left,
    /// It warns.
    Warn(String),
}

/// The world as one boot of a node sees it.
pub struct NodeWorld {
    /// Virtual time, shared by all.
    pub now_ms: Arc<AtomicU64>,
    /// How far this node's wall clock is off.
    pub wall_offset_ms: Arc<AtomicI64>,
    /// What it wished for.
    pub wishes: Arc<Mutex<Vec<Wish>>>,
}

/// Where virtual time begins in unix time.
pub const WALL_START_MS: u64 = 1_700_000_000_000;

impl World for NodeWorld {
    fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    fn wall_ms(&self) -> u64 {
        let now = WALL_START_MS + self.now_ms();
        now.saturating_add_signed(self.wall_offset_ms.load(Ordering::Relaxed))
    }

    fn send(&self, to: &NodeName, message: Message) {
        self.wishes.lock().push(Wish::Send(to.clone(), message));
    }
}

impl Surroundings for NodeWorld {
    fn tell_keeper(&self, event: Event) {
        self.wishes.lock().push(Wish::Keeper(event));
    }

    fn send_cluster(&self, to: Target, message: ClusterMessage) {
        self.wishes.lock().push(Wish::SendCluster(to, message));
    }

    fn publish(&self, facts: Facts) {
        self.wishes.lock().push(Wish::Publish(facts));
    }

    fn adopted(&self, ring: &Arc<Ring>) {
        self.wishes.lock().push(Wish::Adopted(ring.clone()));
    }

    fn left(&self) {
        self.wishes.lock().push(Wish::Left);
    }

    fn warn(&self, text: String) {
        self.wishes.lock().push(Wish::Warn(text));
    }
}

/// The ring's files: what was saved survives every crash.
pub struct SimRingFile {
    /// The state saved last.
    pub saved: Arc<Mutex<Option<Stored>>>,
    /// Effects that may still be carried out before the crash; shared with [`Crashing`].
    pub left: Arc<AtomicU64>,
    /// Told what was saved.
    pub wishes: Arc<Mutex<Vec<Wish>>>,
}

impl RingStore for SimRingFile {
    fn save(&mut self, stored: &Stored) -> Result<(), String> {
        if !spend(&self.left) {
            return Err("crashed".to_owned());
        }
        *self.saved.lock() = Some(stored.clone());
        self.wishes
            .lock()
            .push(Wish::Saved(Box::new(stored.clone())));
        Ok(())
    }
}

/// Takes one effect from what may still be carried out.
fn spend(left: &AtomicU64) -> bool {
    let spent = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
    spent.is_ok()
}

/// The keeper's way out, which ends in the middle of a step when the node is to crash there.
pub struct Crashing<'a> {
    /// The engine behind it.
    pub engine: &'a Engine,
    /// Effects that may still be carried out.
    pub left: &'a AtomicU64,
    /// Set when one was suppressed: the node died there.
    pub crashed: Cell<bool>,
}

impl Crashing<'_> {
    fn goes_on(&self) -> bool {
        let goes_on = spend(self.left);
        if !goes_on {
            self.crashed.set(true);
        }
        goes_on
    }
}

impl Outward for Crashing<'_> {
    fn send(&self, to: Target, message: ClusterMessage) {
        if self.goes_on() {
            self.engine.send(to, message);
        }
    }

    fn adopt(&self, ring: Arc<Ring>) {
        if self.goes_on() {
            self.engine.adopt(ring);
        }
    }

    fn answer(&self, id: u64, result: Result<AdminReply, Refusal>) {
        if self.goes_on() {
            self.engine.answer(id, result);
        }
    }

    fn publish(&self, facts: Facts) {
        if self.goes_on() {
            self.engine.publish(facts);
        }
    }

    fn left(&self) {
        if self.goes_on() {
            self.engine.left();
        }
    }

    fn warn(&self, text: String) {
        if self.goes_on() {
            self.engine.warn(text);
        }
    }
}

/// One boot of a node.
pub struct Running {
    /// Its machines.
    pub engine: Arc<Engine>,
    /// Its ring's keeper.
    pub keeper: Keeper,
    /// What it wished for.
    pub wishes: Arc<Mutex<Vec<Wish>>>,
    /// Effects of its keeper that may still be carried out.
    pub effects_left: Arc<AtomicU64>,
}

/// One node through all its boots.
pub struct SimNode {
    /// Its name.
    pub name: NodeName,
    /// Its data.
    pub disk: Arc<SimDisk>,
    /// Its ring's files.
    pub ring_file: Arc<Mutex<Option<Stored>>>,
    /// Boot number, counted and kept on disk.
    pub boot: u64,
    /// How many folders it had before.
    pub life: u32,
    /// Its clock's error.
    pub wall_offset_ms: Arc<AtomicI64>,
    /// The machines, while it runs.
    pub running: Option<Running>,
    /// What its gossip says last.
    pub facts: Option<Facts>,
    /// Set when the cluster let it go.
    pub left: bool,
    /// Whether the last crash was one of the machine.
    pub power_cut: bool,
}

impl SimNode {
    /// It crashed like this.
    pub fn crashed(&mut self, how: Crash) {
        self.power_cut = how == Crash::PowerCut;
    }

    /// What a start finds, on a disk that remembers.
    pub fn beginning(&self) -> Beginning {
        if self.power_cut {
            Beginning::Lossy
        } else {
            Beginning::Intact
        }
    }
}
