//! This file answers: what is one simulated node, and what does it wish for?

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
    pub mortal: Arc<Mortal>,
    /// Told what was saved.
    pub wishes: Arc<Mutex<Vec<Wish>>>,
}

impl RingStore for SimRingFile {
    fn save(&mut self, stored: &Stored) -> Result<(), String> {
        let mut saved = self.saved.lock();
        if !self
            .mortal
            .spend(|| news(saved.as_ref(), stored).to_owned())
        {
            return Err("crashed".to_owned());
        }
        *saved = Some(stored.clone());
        drop(saved);
        self.wishes
            .lock()
            .push(Wish::Saved(Box::new(stored.clone())));
        Ok(())
    }
}

/// What `after` has that `before` has not.
fn news(before: Option<&Stored>, after: &Stored) -> &'static str {
    let Some(before) = before.filter(|before| before.ring.id() == after.ring.id()) else {
        return "saving a ring";
    };
    if before.acceptor.accepted != after.acceptor.accepted {
        "saving a proposal"
    } else if before.acceptor != after.acceptor {
        "saving a promise"
    } else {
        "saving a request to join"
    }
}

/// How many effects a keeper may still carry out, and which one it did not live to.
pub struct Mortal {
    left: AtomicU64,
    died_before: Mutex<Option<String>>,
}

impl Default for Mortal {
    fn default() -> Mortal {
        Mortal {
            left: AtomicU64::new(u64::MAX),
            died_before: Mutex::default(),
        }
    }
}

impl Mortal {
    /// How many are left.
    pub fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    /// So many are left from now on.
    pub fn leave(&self, left: u64) {
        self.left.store(left, Ordering::Relaxed);
    }

    /// Before which effect it died, if it did.
    pub fn died_before(&self) -> Option<String> {
        self.died_before.lock().clone()
    }

    /// Takes one effect from what is left; `what` names it, should it be the one that is not lived to.
    fn spend(&self, what: impl FnOnce() -> String) -> bool {
        let left = &self.left;
        let spent = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        if spent.is_err() {
            self.died_before.lock().get_or_insert_with(what);
        }
        spent.is_ok()
    }
}

/// The keeper's way out, which ends in the middle of a step when the node is to crash there.
pub struct Crashing<'a> {
    /// The engine behind it.
    pub engine: &'a Engine,
    /// Effects that may still be carried out.
    pub mortal: &'a Mortal,
}

impl Crashing<'_> {
    fn goes_on(&self, what: &str) -> bool {
        self.mortal.spend(|| what.to_owned())
    }
}

impl Outward for Crashing<'_> {
    fn send(&self, to: Target, message: ClusterMessage) {
        let name = || {
            let body = format!("{:?}", message.body);
            let mut words = body.split([' ', '(']);
            words.next().unwrap_or_default().to_owned()
        };
        if self.mortal.spend(name) {
            self.engine.send(to, message);
        }
    }

    fn adopt(&self, ring: Arc<Ring>) {
        if self.goes_on("adopt") {
            self.engine.adopt(ring);
        }
    }

    fn answer(&self, id: u64, result: Result<AdminReply, Refusal>) {
        if self.goes_on("answer") {
            self.engine.answer(id, result);
        }
    }

    fn publish(&self, facts: Facts) {
        if self.goes_on("publish") {
            self.engine.publish(facts);
        }
    }

    fn left(&self) {
        if self.goes_on("left") {
            self.engine.left();
        }
    }

    fn warn(&self, text: String) {
        if self.goes_on("warn") {
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
    pub mortal: Arc<Mortal>,
}

/// One node through all its boots.
pub struct SimNode {
    /// Its name.
    pub name: NodeName,
    /// Its data.
    pub disk: Arc<SimDisk>,
    /// Its ring's files.
    pub ring_file: Arc<Mutex<Option<Stored>>>,
    /// How often it was started.
    pub boot: u64,
    /// The boot number that its folder keeps; a folder that was put back keeps an older one.
    pub folder_boot: u64,
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
