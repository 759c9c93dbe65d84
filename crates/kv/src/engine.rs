//! This file answers: how do a node's machines hang together?
//!
//! One engine a node: the host with its vnodes, the coordinators of requests, the clock that stamps them, and the way
//! to the ring's keeper. It has no thread and no socket of its own: whoever runs it brings messages, time and
//! completions, in a program from sockets and in a simulator from a seed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard, RwLock};
use rkv_cluster::keeper::Outward;
use rkv_quorum::clock::{Clock, Drift};
use rkv_ring::cluster::{AdminReply, AdminRequest, ClusterMessage, Event, Facts, Target};
use rkv_ring::plan::Refusal;
use rkv_ring::{Incarnation, NodeName, Partition, Ring, RingId, boot};
use rkv_vnode::{Fault, Host, Router, Upward, View, World};
use rkv_wire::message::{Answer, Envelope, Message, Report, RequestId, ServiceId};

use crate::census::Counting;
use crate::coordinate::{Coordinator, Now, Reply};
use crate::figures::Figures;
use crate::flush::Flush;
use crate::keyspace::Keyspace;
use crate::mending::{Mendings, Told};

/// What the engine asks of the program around it, beyond the [`World`].
pub trait Surroundings: World {
    /// An event for the ring's keeper; it is stepped later, never within this call.
    fn tell_keeper(&self, event: Event);
    /// Sends a message about rings, perhaps to somebody who is no member.
    fn send_cluster(&self, to: Target, message: ClusterMessage);
    /// Gossip this of this node.
    fn publish(&self, facts: Facts);
    /// The members and their addresses may have changed.
    fn adopted(&self, ring: &Arc<Ring>);
    /// The cluster let this node go: finish and stop.
    fn left(&self);
    /// A line for the log.
    fn warn(&self, text: String);
}

/// What keys and values may measure, and from when on requests are many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// `limits.key_bytes`.
    pub key_bytes: usize,
    /// `limits.value_bytes`.
    pub value_bytes: usize,
    /// While fewer requests than these are under way at this node a get asks all owners, and has the quickest answers and
    /// all repairs; otherwise only as many as it needs, and the node does more of them.
    pub sparing_from: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            key_bytes: 65_536,
            value_bytes: 8 << 20,
            sparing_from: 2,
        }
    }
}

/// Called once with what came of a request.
pub type Done<T> = Box<dyn FnOnce(T) + Send>;

/// One node.
pub struct Engine {
    me: NodeName,
    host: Arc<Host>,
    world: Arc<dyn Surroundings>,
    clock: Arc<Clock>,
    drift: Mutex<Drift>,
    /// What `drift` says of that.
    may_stamp: AtomicBool,
    coordinator: Coordinator,
    admin: Mutex<BTreeMap<u64, Done<Result<AdminReply, Refusal>>>>,
    reports: Mutex<BTreeMap<RequestId, Reports>>,
    /// Commands that no owner took yet.
    errands: Mutex<Vec<Errand>>,
    /// Flushes that wait.
    flushes: Mutex<Vec<Flush>>,
    /// How many keys there were when they were counted last.
    counting: Mutex<Counting>,
    /// Members that were asked how their copies compare.
    mendings: Mendings,
    /// The life of its folder, and the start of it, in which each node was heard of last.
    starts: RwLock<BTreeMap<NodeName, (Incarnation, u64)>>,
    /// When the connection to a node was last lost, or refused.
    lost_ms: Mutex<BTreeMap<NodeName, u64>>,
    default: Keyspace,
    bounds: Bounds,
}

/// As whom a node is heard that says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// As the node of its name.
    Itself,
    /// As somebody else of that name: one who asks to be let in, or is to be told that it is out of date. Its clock and
    /// its address are not that node's.
    Stranger,
    /// Not at all.
    Not,
}

/// One command on its way to whoever owns a key.
pub(crate) struct Errand {
    pub(crate) service: ServiceId,
    pub(crate) key: Bytes,
    pub(crate) command: Bytes,
    pub(crate) until_ms: u64,
    pub(crate) done: Done<Option<(Partition, Reply)>>,
}

/// Reports of several nodes that somebody waits for.
struct Reports {
    waiting_for: Vec<NodeName>,
    until_ms: u64,
    got: BTreeMap<NodeName, Report>,
    done: Option<Done<BTreeMap<NodeName, Report>>>,
}

impl Engine {
    /// Puts a node together and starts its vnodes.
    pub fn start(
        host: Arc<Host>,
        world: Arc<dyn Surroundings>,
        clock: Arc<Clock>,
        drift: Drift,
        default: Keyspace,
        bounds: Bounds,
        boot: u64,
    ) -> Arc<Engine> {
        let me = host.view().me().clone();
        let router = Router::new(host.clone(), world.clone());
        let engine = Arc::new(Engine {
            coordinator: Coordinator::new(me.clone(), router, clock.clone(), boot),
            me,
            host,
            world,
            clock,
            may_stamp: AtomicBool::new(drift.may_coordinate()),
            drift: Mutex::new(drift),
            admin: Mutex::new(BTreeMap::new()),
            reports: Mutex::new(BTreeMap::new()),
            errands: Mutex::new(Vec::new()),
            flushes: Mutex::new(Vec::new()),
            counting: Mutex::default(),
            mendings: Mendings::default(),
            starts: RwLock::default(),
            lost_ms: Mutex::new(BTreeMap::new()),
            default,
            bounds,
        });
        engine.host.start(Arc::new(FromBelow {
            engine: Arc::downgrade(&engine),
        }));
        engine
    }

    /// This node's name.
    pub fn me(&self) -> &NodeName {
        &self.me
    }

    /// Its vnodes.
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// The view that requests are routed by now.
    pub fn view(&self) -> Arc<View> {
        self.host.view()
    }

    /// The keyspace `default`.
    pub fn default_keyspace(&self) -> &Keyspace {
        &self.default
    }

    pub(crate) fn coordinator(&self) -> &Coordinator {
        &self.coordinator
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn mendings(&self) -> &Mendings {
        &self.mendings
    }

    /// Sends a message to another node.
    pub(crate) fn send(&self, to: &NodeName, message: Message) {
        self.world.send(to, message);
    }

    /// What keys and values may measure, and from when on requests are many.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Now, monotonic.
    pub fn now_ms(&self) -> u64 {
        self.world.now_ms()
    }

    pub(crate) fn now_us(&self) -> u64 {
        self.world.now_us()
    }

    /// Unix time.
    pub fn wall_ms(&self) -> u64 {
        self.world.wall_ms()
    }

    /// Requests under way.
    pub fn in_flight(&self) -> usize {
        self.coordinator.in_flight()
    }

    /// How many requests there were, how they ended and how long they took.
    pub fn figures(&self) -> Figures {
        self.coordinator.counters().read()
    }

    /// This node's hybrid time, for the messages that it sends.
    pub fn clock_reading(&self) -> u64 {
        self.clock.reading(self.world.wall_ms())
    }

    /// How far the peers' clocks are ahead, and whether this node may stamp writes.
    pub fn drift(&self) -> (i64, bool) {
        let drift = self.drift.lock();
        (drift.median_ms(), drift.may_coordinate())
    }

    /// Whether this node's clock is fit to stamp writes.
    pub(crate) fn may_stamp(&self) -> bool {
        self.may_stamp.load(Ordering::Acquire)
    }

    fn drifts(&self, how: impl FnOnce(&mut Drift)) {
        let mut drift = self.drift.lock();
        how(&mut drift);
        self.may_stamp
            .store(drift.may_coordinate(), Ordering::Release);
    }

    // ---- what happens ----------------------------------------------------------------------------------------------

    /// A message came from another node.
    pub fn message(&self, from: &NodeName, envelope: Envelope) {
        self.hears_clock(from, envelope.clock);
        self.take_in(from, envelope);
    }

    /// The hybrid time of another node, the latest of what it said together; 0: it is not to be learnt from.
    pub fn hears_clock(&self, from: &NodeName, clock: u64) {
        if clock != 0 {
            let wall_ms = self.world.wall_ms();
            let own = self.clock.reading(wall_ms);
            self.drifts(|drift| drift.observe(from, clock, own));
            self.clock.witness(clock, wall_ms);
        }
    }

    /// A message of another node, whose clock has been heard.
    pub fn take_in(&self, from: &NodeName, envelope: Envelope) {
        match envelope.message {
            Message::Cluster(message) => self.world.tell_keeper(Event::Message {
                from: from.clone(),
                message: *message,
            }),
            Message::ReportIs { id, mut report } => {
                report.clock = envelope.clock;
                self.report_came(from, id, *report);
            }
            Message::RepairIs { id, begun, copies } => {
                self.mendings.came(from, id, Told { begun, copies });
            }
            message => self.host.message(from, message),
        }
    }

    /// Gossip told these facts of `node`.
    pub fn facts(&self, node: &NodeName, facts: Facts) {
        self.is_itself(node, facts.incarnation, facts.boot);
        self.host.heard_ring(
            node,
            RingId {
                cluster: facts.cluster,
                lineage: facts.lineage,
                epoch: facts.epoch,
            },
        );
        self.world.tell_keeper(Event::Facts {
            node: node.clone(),
            facts,
        });
    }

    /// Whether what a node says is listened to, in this life of its folder and this start of it. Entries are taken from members
    /// alone, or from who was removed so lately that nothing it holds can have been deleted and forgotten: by this node's
    /// clock, for the other's may have stood still with it.
    pub fn hears(&self, from: &NodeName, start: (Incarnation, u64), message: &Message) -> Heard {
        let is_other_life = self.is_other_life(from, start.0);
        if !is_other_life && self.is_latest(from, start) {
            return self.hears_itself(from, start.0, message);
        }
        match message {
            Message::Cluster(_) => Heard::Stranger,
            // It waits for that ring, which may list this life.
            Message::Command { ring, .. }
                if is_other_life && ring.supersedes(&self.host.view_now().id()) =>
            {
                Heard::Stranger
            }
            _ => Heard::Not,
        }
    }

    /// The same of one that is the node of its name ([`Engine::is_itself`]).
    pub fn hears_itself(&self, from: &NodeName, life: Incarnation, message: &Message) -> Heard {
        let brings_entries = matches!(
            message,
            Message::Fill { .. } | Message::HandoffItems { .. } | Message::HandoffForward { .. }
        );
        match !brings_entries || self.host.takes_entries_of(from, life) {
            true => Heard::Itself,
            false => Heard::Not,
        }
    }

    /// Whether who calls itself `node`, in this life of its folder and this start of it, is the node of that name: not if
    /// the ring lists that in another life, nor if a later start was heard of (an older state of its disk was put back).
    pub fn is_itself(&self, node: &NodeName, incarnation: Incarnation, number: u64) -> bool {
        !self.is_other_life(node, incarnation) && self.is_latest(node, (incarnation, number))
    }

    fn is_other_life(&self, node: &NodeName, incarnation: Incarnation) -> bool {
        let view = self.host.view_now();
        let member = view.ring().members.get(node);
        member.is_some_and(|member| member.incarnation != incarnation)
    }

    /// Whether no start of that life was heard of which this one cannot have come after; then it is the one heard of last.
    fn is_latest(&self, node: &NodeName, start: (Incarnation, u64)) -> bool {
        if self.starts.read().get(node) == Some(&start) {
            return true;
        }
        let mut starts = self.starts.write();
        let seen = starts.get(node).filter(|(life, _)| *life == start.0);
        let is_outdated = seen.is_some_and(|(_, seen)| boot::is_outdated(start.1, *seen));
        if is_outdated && self.host.fault() != Fault::DeadIdentityReused {
            return false;
        }
        starts.insert(node.clone(), start);
        true
    }

    /// Gossip suspects `node`, or no longer.
    pub fn suspect(&self, node: &NodeName, up: bool) {
        if !up {
            self.drifts(|drift| drift.forget(node));
        }
        self.host.suspect(node, up);
        if !up {
            self.coordinator.node_lost(node, &[], self.world.now_ms());
            self.no_report_from(node);
        }
        self.world.tell_keeper(if up {
            Event::Up(node.clone())
        } else {
            Event::Down(node.clone())
        });
    }

    /// The transport could not deliver; `undelivered` are known never to have left.
    pub fn unreachable(&self, node: &NodeName, undelivered: &[Envelope]) {
        let requests: Vec<RequestId> = undelivered
            .iter()
            .filter_map(|envelope| match &envelope.message {
                Message::Command { id, .. } => Some(*id),
                _ => None,
            })
            .collect();
        let now_ms = self.world.now_ms();
        self.coordinator.node_lost(node, &requests, now_ms);
    }

    /// The connection to `node` was lost, or refused: nothing routes by that, for gossip decides who is up; but clients
    /// that ask where to go are not sent there meanwhile.
    pub fn connection_lost(&self, node: &NodeName) {
        if self.view().ring().members.contains_key(node) {
            let now_ms = self.world.now_ms();
            self.lost_ms.lock().insert(node.clone(), now_ms);
        }
    }

    /// Nodes to which the connection was lost or refused within the last `within_ms`.
    pub fn lost_lately(&self, within_ms: u64) -> Vec<NodeName> {
        let now_ms = self.world.now_ms();
        let mut lost_ms = self.lost_ms.lock();
        lost_ms.retain(|_, at_ms| now_ms.saturating_sub(*at_ms) < within_ms);
        lost_ms.keys().cloned().collect()
    }

    /// Time passed; to be called some twenty times a second.
    pub fn tick(self: &Arc<Self>) {
        let now_ms = self.world.now_ms();
        self.coordinator.tick(now_ms);
        for errand in std::mem::take(&mut *self.errands.lock()) {
            self.run_errand(errand);
        }
        self.host.clock_fits(self.drift().1);
        self.host.tick();
        self.reports_due(now_ms);
        self.mendings.due(now_ms);
        self.run_flushes();
        self.world.tell_keeper(Event::Tick);
        if !self.view().serves() && self.host.is_drained() {
            self.world.tell_keeper(Event::Drained);
        }
    }

    /// Lets transfers go on that gave way to requests; whether there were any.
    pub fn go_on(&self) -> bool {
        self.host.go_on()
    }

    pub(crate) fn flush_later(&self, flush: Flush) {
        self.flushes.lock().push(flush);
    }

    pub(crate) fn flushes_due(&self) -> Vec<Flush> {
        std::mem::take(&mut *self.flushes.lock())
    }

    pub(crate) fn counting(&self) -> MutexGuard<'_, Counting> {
        self.counting.lock()
    }

    /// The ring is changing: the errand is tried again at the next tick.
    pub(crate) fn run_errand_later(&self, errand: Errand) {
        self.errands.lock().push(errand);
    }

    // ---- operators ---------------------------------------------------------------------------------------------------

    /// Asks the ring's machine something, here or at the claimant.
    pub fn admin(&self, request: AdminRequest, done: Done<Result<AdminReply, Refusal>>) {
        let id = self.coordinator.fresh_id().0;
        self.admin.lock().insert(id, done);
        self.world.tell_keeper(Event::Admin { id, request });
    }

    /// Asks every reachable member for its report; calls `done` when all have answered or time is up.
    pub fn reports(&self, timeout_ms: u64, done: Done<BTreeMap<NodeName, Report>>) {
        let view = self.view();
        let waiting_for: Vec<NodeName> = view.peers_up().cloned().collect();
        let own = self.host.report();
        let id = self.coordinator.fresh_id();
        let got = BTreeMap::from([(self.me.clone(), own)]);
        if waiting_for.is_empty() {
            return done(got);
        }
        let until_ms = self.world.now_ms() + timeout_ms;
        self.reports.lock().insert(
            id,
            Reports {
                waiting_for: waiting_for.clone(),
                until_ms,
                got,
                done: Some(done),
            },
        );
        for node in waiting_for {
            self.world.send(&node, Message::AskReport { id });
        }
    }

    fn report_came(&self, from: &NodeName, id: RequestId, report: Report) {
        let mut all = self.reports.lock();
        let Some(waiting) = all.get_mut(&id) else {
            return;
        };
        waiting.waiting_for.retain(|node| node != from);
        waiting.got.insert(from.clone(), report);
        if waiting.waiting_for.is_empty() {
            let finished = all.remove(&id);
            drop(all);
            finish(finished);
        }
    }

    /// `node` is suspected: nobody waits for what it has to tell.
    fn no_report_from(&self, node: &NodeName) {
        let mut all = self.reports.lock();
        for waiting in all.values_mut() {
            waiting.waiting_for.retain(|awaited| awaited != node);
        }
        let done: Vec<RequestId> = all
            .iter()
            .filter(|(_, waiting)| waiting.waiting_for.is_empty())
            .map(|(id, _)| *id)
            .collect();
        let finished: Vec<Option<Reports>> = done.iter().map(|id| all.remove(id)).collect();
        drop(all);
        finished.into_iter().for_each(finish);
    }

    fn reports_due(&self, now_ms: u64) {
        let mut all = self.reports.lock();
        let due: Vec<RequestId> = all
            .iter()
            .filter(|(_, waiting)| waiting.until_ms <= now_ms)
            .map(|(id, _)| *id)
            .collect();
        let finished: Vec<Option<Reports>> = due.iter().map(|id| all.remove(id)).collect();
        drop(all);
        finished.into_iter().for_each(finish);
    }
}

fn finish(reports: Option<Reports>) {
    if let Some(mut reports) = reports
        && let Some(done) = reports.done.take()
    {
        done(reports.got);
    }
}

/// What the keeper wishes for, on its way to the engine and out.
impl Outward for Engine {
    fn send(&self, to: Target, message: ClusterMessage) {
        self.world.send_cluster(to, message);
    }

    fn adopt(&self, ring: Arc<Ring>) {
        self.world.adopted(&ring);
        self.host.adopt(ring);
        self.coordinator.rerouted(self.world.now_ms());
    }

    fn answer(&self, id: u64, result: Result<AdminReply, Refusal>) {
        let done = self.admin.lock().remove(&id);
        if let Some(done) = done {
            done(result);
        }
    }

    fn publish(&self, facts: Facts) {
        self.world.publish(facts);
    }

    fn left(&self) {
        self.world.left();
    }

    fn warn(&self, text: String) {
        self.world.warn(text);
    }
}

/// What the host tells, on its way to the engine.
struct FromBelow {
    engine: std::sync::Weak<Engine>,
}

impl Upward for FromBelow {
    fn answered(&self, id: RequestId, from: &NodeName, answer: Answer, body: Bytes) {
        if let Some(engine) = self.engine.upgrade() {
            let now = Now::at_us(engine.world.now_us());
            engine.coordinator.answered(id, from, answer, body, now);
        }
    }

    fn move_ready(&self, partition: Partition, attempt: u32, to: &NodeName) {
        if let Some(engine) = self.engine.upgrade() {
            let view = engine.view();
            let life = |node: &NodeName| view.ring().members.get(node).map(|m| m.incarnation);
            if let (Some(mine), Some(theirs)) = (life(&engine.me), life(to)) {
                engine.world.tell_keeper(Event::MoveReady {
                    partition,
                    attempt,
                    from: engine.me.clone(),
                    to: to.clone(),
                    incarnations: (mine, theirs),
                });
            }
        }
    }

    fn move_broken(&self, partition: Partition, attempt: u32) {
        if let Some(engine) = self.engine.upgrade() {
            engine
                .world
                .tell_keeper(Event::MoveBroken { partition, attempt });
        }
    }

    fn pull(&self, from: &NodeName) {
        if let Some(engine) = self.engine.upgrade() {
            engine.world.tell_keeper(Event::Behind(from.clone()));
        }
    }

    fn warn(&self, text: String) {
        if let Some(engine) = self.engine.upgrade() {
            engine.world.warn(text);
        }
    }
}

#[cfg(test)]
#[path = "hearing_tests.rs"]
mod hearing;

#[cfg(test)]
#[path = "adoption_tests.rs"]
mod adoption;
