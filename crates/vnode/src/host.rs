//! This file answers: which vnodes run on this node, and how does what happens reach them?
//!
//! Every service has one actor a partition. What others say is fenced and delivered here; what a step wishes for is
//! carried out, and answers are handed on when no lock is held.
//!
//! In reading order: `desk` how an event reaches its actor and who carries out what it wishes for · `fence` a command
//! that came by another ring · `opening` in what phase a copy begins · `hints_heard` who holds hints for a copy that
//! catches up · `report` what people are told · `mending`
//! exchanges that somebody asks for, and damaged entries.

mod desk;
mod fence;
mod hints_heard;
mod mending;
mod opening;
mod quiet;
mod report;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use parking_lot::Mutex;
use rkv_ring::{Incarnation, NodeName, Partition, Ring, RingId};
use rkv_storage::{Error, Space, Store};
use rkv_wire::message::{Answer, Command, CopyId, Message, RequestId, ServiceId};

use crate::actor::{Actor, Asked, Event, ReplyTo, asking_copy};
use crate::budget::Budget;
use crate::fault::Fault;
use crate::figures::{Counters, Figures};
use crate::phase::Phase;
use crate::places::Places;
use crate::router::Route;
use crate::settings::{Limits, Settings};
use crate::view::View;
use crate::vnode::Service;
use crate::world::World;

use desk::{Outbox, Running};
use fence::{Parked, no_such_service};
use hints_heard::HintsHeard;
use opening::Opening;
use quiet::Quiet;

/// In how many ticks every copy is looked at once.
const SWEEP_TICKS: usize = 20;

/// How many copies are swept of what a flush killed at once: requests go on beside it.
const SWEEPS: usize = 2;

/// All vnodes of one node.
pub struct Host {
    this: Weak<Host>,
    world: Arc<dyn World>,
    store: Arc<dyn Store>,
    settings: Settings,
    places: Places,
    sweeps: Limits,
    budget: Budget,
    figures: Counters,
    view: ArcSwap<View>,
    services: Vec<Running>,
    /// Copies that want to see time pass.
    restless: Mutex<BTreeSet<CopyId>>,
    parked: Mutex<Vec<Parked>>,
    hints: Mutex<HintsHeard>,
    quiet: Mutex<Quiet>,
    upward: OnceLock<Arc<dyn Upward>>,
    sweep: AtomicUsize,
    /// Whether this node's clock agrees with its peers'; not before somebody has said so.
    clock_fits: AtomicBool,
    /// Damaged values met since the start.
    damaged: AtomicU64,
    /// What people should know of the storage.
    notes: Mutex<Vec<String>>,
    next_id: Mutex<u64>,
    is_broken: AtomicBool,
}

/// What the host tells those above it.
pub trait Upward: Send + Sync {
    /// A replica answered a request of this node.
    fn answered(&self, id: RequestId, from: &NodeName, answer: Answer, body: Bytes);
    /// A move's target is ready.
    fn move_ready(&self, partition: Partition, attempt: u32, to: &NodeName);
    /// A move that was ready is so no more.
    fn move_broken(&self, partition: Partition, attempt: u32);
    /// `from` routes by a later ring.
    fn pull(&self, from: &NodeName);
    /// Something that people should know.
    fn warn(&self, text: String);
}

/// What is known of this node's data when it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// The cluster was founded just now: empty copies are whole.
    Founded,
    /// A restart after which every acknowledged write is there.
    Intact,
    /// A restart after which acknowledged writes may be missing.
    Lossy,
}

impl Host {
    /// Opens every copy that the store knows of.
    pub fn open(
        me: NodeName,
        ring: Arc<Ring>,
        services: Vec<Arc<dyn Service>>,
        store: Arc<dyn Store>,
        world: Arc<dyn World>,
        settings: Settings,
        beginning: Beginning,
    ) -> Result<Arc<Host>, Error> {
        let view = View::new(me, ring);
        let opening = Opening {
            store: &*store,
            view: &view,
            settings: &settings,
            beginning,
            wall_ms: world.wall_ms(),
        };
        let running: Result<Vec<Running>, Error> = services
            .into_iter()
            .map(|service| opening.service(service))
            .collect();
        let services = running?;
        Ok(Arc::new_cyclic(|this| Host {
            this: this.clone(),
            world,
            store,
            next_id: Mutex::new(settings.boot),
            is_broken: AtomicBool::new(false),
            places: Places::default(),
            sweeps: Limits::new(SWEEPS),
            budget: Budget::new(settings.bytes_per_s),
            figures: Counters::default(),
            settings,
            view: ArcSwap::from_pointee(view),
            services,
            restless: Mutex::new(BTreeSet::new()),
            parked: Mutex::new(Vec::new()),
            hints: Mutex::new(HintsHeard::default()),
            quiet: Mutex::new(Quiet::default()),
            upward: OnceLock::new(),
            sweep: AtomicUsize::new(0),
            clock_fits: AtomicBool::new(false),
            damaged: AtomicU64::new(0),
            notes: Mutex::default(),
        }))
    }

    /// Says whom to hand answers to, and begins: every copy is brought in line with the ring.
    pub fn start(&self, upward: Arc<dyn Upward>) {
        assert!(self.upward.set(upward).is_ok(), "a host starts once");
        self.tell_all(|| Event::View);
    }

    /// The view that requests are routed by.
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// The same for a moment: held for long it slows whoever replaces it.
    pub fn view_now(&self) -> Guard<Arc<View>> {
        self.view.load()
    }

    /// The number of a service by its name.
    pub fn service_named(&self, name: &str) -> Option<ServiceId> {
        let found = self.services.iter().find(|r| r.service.name() == name);
        found.map(|running| running.service.id())
    }

    /// A request of this node asks a vnode of this node. The answer comes back at once when it is there at once,
    /// otherwise by [`Upward::answered`].
    pub fn ask_here(&self, route: Route, command: Command, body: Bytes) -> Option<(Answer, Bytes)> {
        let view = self.view.load();
        if route.ring != view.id() {
            return Some((Answer::NotOwner(view.id()), Bytes::new()));
        }
        let service = route.service;
        let partition = view.ring().partition_of(route.slot);
        let Some(desk) = self.desk(CopyId { service, partition }) else {
            return Some((no_such_service(service), Bytes::new()));
        };
        let fence = (route.ring, route.role);
        let (command, body) = match self.answer_at_once(desk, fence, command, body) {
            Ok(answered) => return Some(answered),
            Err(asked) => asked,
        };
        let event = Event::Command(Asked {
            to: ReplyTo::Local(route.id),
            role: route.role,
            command,
            body,
            within_ms: route.within_ms,
        });
        let mut outbox = Outbox::default();
        self.deliver(desk, event, &mut outbox);
        let mine = outbox.take_answer(&ReplyTo::Local(route.id));
        self.hand_on(outbox);
        mine
    }

    /// The same of a vnode of `partition`, that of the slot by the route's ring, where the answer is there when this returns:
    /// the vnode is idle and waits for nothing. `None`: that is not so, and nothing has happened.
    pub fn ask_at_once(
        &self,
        partition: Partition,
        route: Route,
        command: Command,
        body: Bytes,
    ) -> Option<(Answer, Bytes)> {
        let service = route.service;
        let desk = self.desk(CopyId { service, partition })?;
        let fence = (route.ring, route.role);
        self.answer_at_once(desk, fence, command, body).ok()
    }

    /// Whether entries that a node brings, in this life of its folder, may be merged: a member's, and those of one who was removed
    /// less than half the grace ago. After the whole of it the owners may have let go of the traces of what they deleted.
    pub fn takes_entries_of(&self, node: &NodeName, incarnation: Incarnation) -> bool {
        let view = self.view.load();
        let ring = view.ring();
        if ring.members.contains_key(node) {
            return true;
        }
        let wall_ms = self.world.wall_ms();
        let grace_ms = self.settings.delete_grace_ms / 2;
        let is_late = |at_ms: u64| wall_ms >= at_ms.saturating_add(grace_ms);
        let mut removed = ring.removed.iter();
        removed.any(|it| it.incarnation == incarnation && !is_late(it.at_ms))
    }

    /// A message came that concerns vnodes. Others are the caller's.
    pub fn message(&self, from: &NodeName, message: Message) {
        match message {
            Message::Command {
                id,
                service,
                slot,
                ring,
                role,
                within_ms,
                command,
                body,
            } => {
                let route = Route {
                    id,
                    service,
                    slot,
                    ring,
                    role,
                    within_ms,
                };
                self.command_from_afar(from, route, command, body);
            }
            Message::Answer { id, answer, body } => match asking_copy(id) {
                Some(copy) => self.to_copy(copy, from, Message::Answer { id, answer, body }),
                None => self.upward().answered(id, from, answer, body),
            },
            Message::HandoffOpen { copy, ring, .. }
            | Message::AskSums { copy, ring, .. }
            | Message::Compare { copy, ring, .. }
            | Message::Fill { copy, ring, .. } => {
                if ring.supersedes(&self.view.load().id()) {
                    self.upward().pull(from);
                }
                self.to_copy(copy, from, message);
            }
            Message::HandoffOpened { copy, .. }
            | Message::HandoffItems { copy, .. }
            | Message::HandoffForward { copy, .. }
            | Message::HandoffTook { copy, .. }
            | Message::HandoffMark { copy, .. }
            | Message::HandoffMarked { copy, .. }
            | Message::HandoffBroken { copy, .. } => self.to_copy(copy, from, message),
            Message::SumsAre { id, .. }
            | Message::Compared { id, .. }
            | Message::Filled { id, .. } => {
                if let Some(copy) = asking_copy(id) {
                    self.to_copy(copy, from, message);
                }
            }
            Message::AskHints { id } => {
                let counted = self.counted_hints();
                self.world.send(from, Message::HintsAre { id, counted });
            }
            Message::HintsAre { id, counted } => self.hints_heard(from, id, counted),
            Message::AskUnsettled { id } => {
                let ring = self.view.load().id();
                let copies = self.unsettled();
                self.world
                    .send(from, Message::UnsettledAre { id, ring, copies });
            }
            Message::UnsettledAre { id, ring, copies } => {
                self.unsettled_heard(from, id, ring, copies);
            }
            Message::AskReport { id } => {
                let report = Box::new(self.report());
                self.world.send(from, Message::ReportIs { id, report });
            }
            Message::AskRepair {
                id,
                ring,
                partition,
                begin,
            } => {
                if ring.supersedes(&self.view.load().id()) {
                    self.upward().pull(from);
                }
                let begun = if begin {
                    self.begin_repair(partition)
                } else {
                    0
                };
                let copies = self.repair_reports(partition);
                let message = Message::RepairIs { id, begun, copies };
                self.world.send(from, message);
            }
            Message::Cluster(_)
            | Message::RepairIs { .. }
            | Message::ReportIs { .. }
            | Message::Request { .. }
            | Message::Reply { .. } => {}
        }
    }

    /// A ring was adopted: route by it from now on.
    pub fn adopt(&self, ring: Arc<Ring>) {
        self.route_by(ring);
        self.tell_all(|| Event::View);
        self.unpark();
    }

    /// Requests are routed by `ring` from now on, and judged by it; the copies are told after that, one by one.
    pub(crate) fn route_by(&self, ring: Arc<Ring>) {
        self.view.rcu(|view| view.with_ring(ring.clone()));
    }

    /// `node` came up or is suspected.
    pub fn suspect(&self, node: &NodeName, up: bool) {
        if self.view.load().is_up(node) == up {
            return;
        }
        self.view.rcu(|view| view.with_node(node, up));
        self.hints.lock().forget(node);
        self.tell_restless(|| Event::View);
    }

    /// `node` was heard to route by `ring`.
    pub fn heard_ring(&self, node: &NodeName, ring: RingId) {
        if self.view.load().seen(node) != Some(ring) {
            self.view.rcu(|view| view.with_seen(node, ring));
        }
    }

    /// Time passed; to be called some twenty times a second.
    pub fn tick(&self) {
        self.mend_damaged();
        self.ask_hints();
        self.ask_quiet();
        self.tell_restless(|| Event::Tick);
        self.sweep();
        self.forget_parked();
    }

    /// Lets transfers go on that gave way to requests; whether there were any. To be called often while there are.
    pub fn go_on(&self) -> bool {
        let has_put_off = self.budget.courtesy.take_put_off();
        if has_put_off {
            // What is left when the moves have sent what they may is for old copies that are to go.
            self.tell_restless(|| Event::MoveOn);
            self.tell_restless(|| Event::CompareOn);
        }
        has_put_off
    }

    /// Whether this node's clock agrees with its peers': else nothing that ended is let go of.
    pub fn clock_fits(&self, fits: bool) {
        self.clock_fits.store(fits, Ordering::Relaxed);
    }

    /// The fault that is built in.
    pub fn fault(&self) -> Fault {
        self.settings.fault
    }

    /// Shows time to a slice of all copies: none waits for longer than [`SWEEP_TICKS`].
    fn sweep(&self) {
        let desks: usize = self.services.iter().map(|r| r.desks.len()).sum();
        let slice = desks.div_ceil(SWEEP_TICKS).max(1);
        let start = self.sweep.fetch_add(slice, Ordering::Relaxed);
        let mut outbox = Outbox::default();
        for at in start..start + slice.min(desks) {
            let mut at = at % desks;
            for running in &self.services {
                if at < running.desks.len() {
                    self.deliver(&running.desks[at], Event::Tick, &mut outbox);
                    break;
                }
                at -= running.desks.len();
            }
        }
        self.hand_on(outbox);
    }

    /// Whether a step of a vnode has panicked: what that copy knew in memory may be half done, and only a new start finds
    /// out what is true.
    pub fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Relaxed)
    }

    /// Whether this node holds nothing that anybody waits for: no copy but empty ones, no hint.
    pub fn is_drained(&self) -> bool {
        let mut desks = self.services.iter().flat_map(|r| &r.desks);
        let is_empty =
            |actor: &Actor| matches!(actor.phase, Phase::Absent) && actor.holding.hints() == 0;
        desks.all(|desk| self.look(desk, is_empty))
    }

    /// Entries of its copies that comparisons mended since the start.
    pub fn repairs(&self) -> u64 {
        let desks = self.services.iter().flat_map(|r| &r.desks);
        desks
            .map(|desk| self.look(desk, |actor| actor.repairs))
            .sum()
    }

    /// What was done since the start, and what waits now.
    pub fn figures(&self) -> Figures {
        let desks = self.services.iter().flat_map(|r| &r.desks);
        self.figures.read(desks.map(|desk| desk.waiting()))
    }

    /// Looks at one copy: for tests and checks that observe from outside.
    pub fn inspect<T>(&self, copy: CopyId, look: impl FnOnce(&Phase, &Actor) -> T) -> Option<T> {
        let desk = self.desk(copy)?;
        Some(self.look(desk, |actor| look(&actor.phase, actor)))
    }

    /// What one copy shows to whoever reads it: for tests and checks that observe from outside.
    pub fn shown(&self, copy: CopyId) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let Some(desk) = self.desk(copy) else {
            return Ok(Vec::new());
        };
        let actor = desk.actor.lock();
        if !actor.answers() {
            return Ok(Vec::new());
        }
        let (from, to) = actor.holding.range(Space::Data);
        let all = usize::MAX;
        let page = actor.holding.page(&*self.store, &from, &to, all, all)?;
        Ok(page.entries)
    }

    /// How many transfers run here at once, in and out: as operators say, else as this node's configuration does.
    pub fn transfers_at_once(&self) -> usize {
        let said = self.view.load().ring().handoff;
        said.limit_or(self.settings.transfers)
    }

    /// The store that all copies lie in.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }
}
