//! This file answers: which vnodes run on this node, and how does what happens reach them?
//!
//! Every service has one actor a partition. An event goes straight to its actor when nobody else is with it: then the
//! caller's own thread runs the step, a read or an in-memory write costs no queue. Otherwise it is left in the actor's
//! mailbox, and whoever is with the actor serves it. No lock is held while answers are handed on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use rkv_ring::{NodeName, Partition, Ring, RingId, Slot};
use rkv_storage::{Error, Job, Store};
use rkv_wire::message::{
    Answer, Command, CopyId, CopyReport, HintReport, Message, Report, RequestId, Role, ServiceId,
    TransferKind, TransferReport,
};

use crate::actor::{Actor, Asked, Cx, Effect, Event, ReplyTo, asking_copy, phase_key};
use crate::holding::MAILBOX;
use crate::phase::{Phase, Record};
use crate::settings::{Limits, Settings};
use crate::view::View;
use crate::vnode::Service;
use crate::world::World;

/// Commands that wait for a later ring, at most.
const PARKED: usize = 4096;
/// How often peers are asked for counted hints while a copy catches up.
const ASK_HINTS_MS: u64 = 200;
/// In how many ticks every copy is looked at once.
const SWEEP_TICKS: usize = 20;

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

struct Desk {
    actor: Mutex<Actor>,
    mailbox: Mutex<VecDeque<Event>>,
    restless: AtomicBool,
}

struct Running {
    service: Arc<dyn Service>,
    desks: Box<[Desk]>,
}

/// A command that came with a later ring than ours.
struct Parked {
    until_ms: u64,
    to: ReplyTo,
    service: ServiceId,
    slot: Slot,
    ring: RingId,
    role: Role,
    command: Command,
    body: Bytes,
}

/// What peers said of the counted hints that they hold.
#[derive(Default)]
struct HintsHeard {
    asked_ms: u64,
    asked: BTreeMap<RequestId, NodeName>,
    heard: BTreeMap<NodeName, (u64, BTreeSet<CopyId>)>,
}

/// What came of a step, to be handed on when no lock is held.
#[derive(Default)]
struct Outbox {
    answers: Vec<(ReplyTo, Answer, Bytes)>,
    ready: Vec<(Partition, u32, NodeName)>,
    broken: Vec<(Partition, u32)>,
    pulls: Vec<NodeName>,
    warnings: Vec<String>,
}

/// All vnodes of one node.
pub struct Host {
    this: Weak<Host>,
    world: Arc<dyn World>,
    store: Arc<dyn Store>,
    settings: Settings,
    limits: Limits,
    view: ArcSwap<View>,
    services: Vec<Running>,
    restless: Mutex<BTreeSet<CopyId>>,
    parked: Mutex<Vec<Parked>>,
    hints: Mutex<HintsHeard>,
    upward: OnceLock<Arc<dyn Upward>>,
    sweep: AtomicUsize,
    next_id: Mutex<u64>,
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
        limits: Limits,
        beginning: Beginning,
    ) -> Result<Arc<Host>, Error> {
        let view = View::new(me, ring);
        let wall_ms = world.wall_ms();
        let mut running = Vec::new();
        for service in services {
            let mut desks = Vec::new();
            for partition in view.ring().partitions.partitions() {
                let copy = CopyId {
                    service: service.id(),
                    partition,
                };
                let actor = open_copy(
                    copy, &*service, &*store, &view, &settings, beginning, wall_ms,
                )?;
                desks.push(Desk {
                    actor: Mutex::new(actor),
                    mailbox: Mutex::new(VecDeque::new()),
                    restless: AtomicBool::new(false),
                });
            }
            running.push(Running {
                service,
                desks: desks.into_boxed_slice(),
            });
        }
        Ok(Arc::new_cyclic(|this| Host {
            this: this.clone(),
            world,
            store,
            next_id: Mutex::new(settings.boot),
            settings,
            limits,
            view: ArcSwap::from_pointee(view),
            services: running,
            restless: Mutex::new(BTreeSet::new()),
            parked: Mutex::new(Vec::new()),
            hints: Mutex::new(HintsHeard::default()),
            upward: OnceLock::new(),
            sweep: AtomicUsize::new(0),
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

    /// The number of a service by its name.
    pub fn service_named(&self, name: &str) -> Option<ServiceId> {
        let found = self.services.iter().find(|r| r.service.name() == name);
        found.map(|running| running.service.id())
    }

    // ---- what happens ----------------------------------------------------------------------------------------------

    /// A request of this node asks a vnode of this node. The answer comes back at once when it is there at once,
    /// otherwise by [`Upward::answered`].
    #[allow(clippy::too_many_arguments)]
    pub fn ask_here(
        &self,
        id: RequestId,
        service: ServiceId,
        slot: Slot,
        ring: RingId,
        role: Role,
        within_ms: u32,
        command: Command,
        body: Bytes,
    ) -> Option<(Answer, Bytes)> {
        let view = self.view.load();
        if ring != view.id() {
            return Some((Answer::NotOwner(view.id()), Bytes::new()));
        }
        let partition = view.ring().partition_of(slot);
        let Some(desk) = self.desk(CopyId { service, partition }) else {
            return Some((no_such_service(service), Bytes::new()));
        };
        let event = Event::Command(Asked {
            to: ReplyTo::Local(id),
            role,
            command,
            body,
            within_ms,
        });
        let mut outbox = Outbox::default();
        self.deliver(desk, event, &mut outbox);
        let mine = outbox
            .answers
            .iter()
            .position(|(to, ..)| *to == ReplyTo::Local(id))
            .map(|at| outbox.answers.swap_remove(at));
        self.hand_on(outbox);
        mine.map(|(_, answer, body)| (answer, body))
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
                let parked = Parked {
                    until_ms: self.world.now_ms() + u64::from(within_ms),
                    to: ReplyTo::Remote(from.clone(), id),
                    service,
                    slot,
                    ring,
                    role,
                    command,
                    body,
                };
                self.command_from_afar(parked);
            }
            Message::Answer { id, answer, body } => match asking_copy(id) {
                Some(copy) => self.to_copy(copy, from, Message::Answer { id, answer, body }),
                None => self.upward().answered(id, from, answer, body),
            },
            Message::HandoffOpen { copy, ring, .. }
            | Message::AskTotals { copy, ring, .. }
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
            Message::TotalsAre { id, .. }
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
            Message::AskReport { id } => {
                let report = Box::new(self.report());
                self.world.send(from, Message::ReportIs { id, report });
            }
            Message::Cluster(_) | Message::ReportIs { .. } => {}
        }
    }

    /// A ring was adopted: route by it from now on.
    pub fn adopt(&self, ring: Arc<Ring>) {
        self.view.rcu(|view| view.with_ring(ring.clone()));
        self.tell_all(|| Event::View);
        let parked = std::mem::take(&mut *self.parked.lock());
        let now_ms = self.world.now_ms();
        for command in parked {
            if command.until_ms > now_ms {
                self.command_from_afar(command);
            }
        }
    }

    /// `node` came up or is suspected.
    pub fn suspect(&self, node: &NodeName, up: bool) {
        if self.view.load().is_up(node) == up {
            return;
        }
        self.view.rcu(|view| view.with_node(node, up));
        self.hints.lock().heard.remove(node);
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
        self.ask_hints();
        self.tell_restless(|| Event::Tick);
        let total: usize = self.services.iter().map(|r| r.desks.len()).sum();
        let slice = total.div_ceil(SWEEP_TICKS).max(1);
        let start = self.sweep.fetch_add(slice, Ordering::Relaxed);
        let mut outbox = Outbox::default();
        for at in start..start + slice.min(total) {
            let mut at = at % total;
            for running in &self.services {
                if at < running.desks.len() {
                    self.deliver(&running.desks[at], Event::Tick, &mut outbox);
                    break;
                }
                at -= running.desks.len();
            }
        }
        self.hand_on(outbox);
        let now_ms = self.world.now_ms();
        self.parked.lock().retain(|parked| parked.until_ms > now_ms);
    }

    // ---- carrying ----------------------------------------------------------------------------------------------------

    fn command_from_afar(&self, asked: Parked) {
        let view = self.view.load();
        let relayed = matches!(asked.role, Role::Relayed(_));
        let ReplyTo::Remote(from, id) = &asked.to else {
            unreachable!("only commands from afar come here");
        };
        let refused = if relayed || asked.ring == view.id() {
            None
        } else if asked.ring.supersedes(&view.id()) {
            let (from, id) = (from.clone(), *id);
            let mut parked = self.parked.lock();
            if parked.len() < PARKED {
                parked.push(asked);
                drop(parked);
                self.upward().pull(&from);
                return;
            }
            drop(parked);
            let answer = Answer::Behind(view.id());
            return self.answer_afar(&from, id, answer, Bytes::new());
        } else {
            Some(Answer::NotOwner(view.id()))
        };
        if let Some(answer) = refused {
            return self.answer_afar(from, *id, answer, Bytes::new());
        }
        let partition = view.ring().partition_of(asked.slot);
        let service = asked.service;
        let Some(desk) = self.desk(CopyId { service, partition }) else {
            return self.answer_afar(from, *id, no_such_service(service), Bytes::new());
        };
        let within = asked.until_ms.saturating_sub(self.world.now_ms());
        let event = Event::Command(Asked {
            to: asked.to,
            role: asked.role,
            command: asked.command,
            body: asked.body,
            within_ms: u32::try_from(within).unwrap_or(u32::MAX),
        });
        let mut outbox = Outbox::default();
        self.deliver(desk, event, &mut outbox);
        self.hand_on(outbox);
    }

    fn to_copy(&self, copy: CopyId, from: &NodeName, message: Message) {
        if let Some(desk) = self.desk(copy) {
            let from = from.clone();
            let mut outbox = Outbox::default();
            self.deliver(desk, Event::Message { from, message }, &mut outbox);
            self.hand_on(outbox);
        }
    }

    fn landed(&self, copy: CopyId, token: u64, result: Result<(), Error>) {
        if let Some(desk) = self.desk(copy) {
            let mut outbox = Outbox::default();
            self.deliver(desk, Event::Landed { token, result }, &mut outbox);
            self.hand_on(outbox);
        }
    }

    fn has_entries(&self, service: ServiceId) -> bool {
        let running = self.services.iter().find(|r| r.service.id() == service);
        running.is_some_and(|running| running.service.has_entries())
    }

    fn desk(&self, copy: CopyId) -> Option<&Desk> {
        let running = self
            .services
            .iter()
            .find(|r| r.service.id() == copy.service)?;
        running.desks.get(copy.partition.index())
    }

    /// Runs the event if nobody is with the actor; leaves it in the mailbox otherwise. Whoever is with the actor
    /// looks into the mailbox before and after leaving, so nothing is left behind.
    fn deliver(&self, desk: &Desk, event: Event, outbox: &mut Outbox) {
        let mut event = Some(event);
        loop {
            let Some(mut actor) = desk.actor.try_lock() else {
                let Some(event) = event.take() else {
                    return;
                };
                let mut mailbox = desk.mailbox.lock();
                match event {
                    Event::Command(Asked { to, .. }) if mailbox.len() >= MAILBOX => {
                        drop(mailbox);
                        outbox.answers.push((to, Answer::Busy, Bytes::new()));
                        return;
                    }
                    event => mailbox.push_back(event),
                }
                drop(mailbox);
                continue;
            };
            loop {
                let next = desk.mailbox.lock().pop_front().or_else(|| event.take());
                let Some(next) = next else {
                    break;
                };
                self.run(&mut actor, next, outbox);
            }
            self.note_restless(desk, &actor);
            drop(actor);
            if desk.mailbox.lock().is_empty() {
                return;
            }
        }
    }

    fn note_restless(&self, desk: &Desk, actor: &Actor) {
        let restless = actor.is_restless();
        if desk.restless.swap(restless, Ordering::AcqRel) != restless {
            let mut all = self.restless.lock();
            if restless {
                all.insert(actor.id);
            } else {
                all.remove(&actor.id);
            }
        }
    }

    fn run(&self, actor: &mut Actor, event: Event, outbox: &mut Outbox) {
        let view = self.view.load();
        let now_ms = self.world.now_ms();
        let volatile = self.store.is_volatile();
        let hints_clear_since = match actor.phase {
            Phase::CatchingUp { .. } => self.hints_clear_since(&view, actor.id, now_ms),
            _ => None,
        };
        let cx = Cx {
            now_ms,
            wall_ms: self.world.wall_ms(),
            view: &view,
            store: &*self.store,
            settings: &self.settings,
            limits: &self.limits,
            hints_clear_since,
            has_entries: self.has_entries(actor.id.service),
        };
        let copy = actor.id;
        let mut effects = Vec::new();
        let mut landed: VecDeque<Event> = VecDeque::new();
        let mut next = Some(event);
        while let Some(event) = next {
            actor.step(&cx, event, &mut effects);
            for effect in effects.drain(..) {
                match effect {
                    Effect::Write { token, batch, .. } if volatile => {
                        let result = self.store.apply(&batch);
                        landed.push_back(Event::Landed { token, result });
                    }
                    Effect::Write { token, batch, sync } => {
                        let done = self.when_landed(copy, token);
                        self.store.submit(Job { batch, sync, done });
                    }
                    Effect::Drop { token, start, end } if volatile => {
                        let result = self.store.drop_now(&start, &end);
                        landed.push_back(Event::Landed { token, result });
                    }
                    Effect::Drop { token, start, end } => {
                        let done = self.when_landed(copy, token);
                        self.store.drop_range(start, end, done);
                    }
                    Effect::Answer { to, answer, body } => outbox.answers.push((to, answer, body)),
                    Effect::Send { to, message } => self.world.send(&to, message),
                    Effect::MoveReady { attempt, to } => {
                        outbox.ready.push((copy.partition, attempt, to));
                    }
                    Effect::MoveBroken { attempt } => outbox.broken.push((copy.partition, attempt)),
                    Effect::Pull(from) => outbox.pulls.push(from),
                    Effect::Warn(text) => outbox.warnings.push(text),
                }
            }
            next = landed.pop_front();
        }
    }

    fn when_landed(
        &self,
        copy: CopyId,
        token: u64,
    ) -> Box<dyn FnOnce(Result<(), Error>) + Send + 'static> {
        let host = self.this.clone();
        Box::new(move |result| {
            if let Some(host) = host.upgrade() {
                host.landed(copy, token, result);
            }
        })
    }

    fn hand_on(&self, outbox: Outbox) {
        let upward = self.upward();
        for (to, answer, body) in outbox.answers {
            match to {
                ReplyTo::Local(id) => {
                    let me = self.view.load().me().clone();
                    upward.answered(id, &me, answer, body);
                }
                ReplyTo::Remote(node, id) => self.answer_afar(&node, id, answer, body),
            }
        }
        for (partition, attempt, to) in outbox.ready {
            if self.all_ready(partition, attempt) {
                upward.move_ready(partition, attempt, &to);
            }
        }
        for (partition, attempt) in outbox.broken {
            upward.move_broken(partition, attempt);
        }
        for from in outbox.pulls {
            upward.pull(&from);
        }
        for text in outbox.warnings {
            upward.warn(text);
        }
    }

    /// Whether the copies of every service that has entries are ready: an epoch moves them all.
    fn all_ready(&self, partition: Partition, attempt: u32) -> bool {
        let with_entries = self.services.iter().filter(|r| r.service.has_entries());
        let mut desks = with_entries.filter_map(|r| r.desks.get(partition.index()));
        desks.all(|desk| match &desk.actor.lock().phase {
            Phase::Forwarding {
                attempt: current, ..
            } => *current == attempt,
            _ => false,
        })
    }

    fn answer_afar(&self, to: &NodeName, id: RequestId, answer: Answer, body: Bytes) {
        self.world.send(to, Message::Answer { id, answer, body });
    }

    fn upward(&self) -> &Arc<dyn Upward> {
        self.upward
            .get()
            .expect("nothing happens to a host before it is started")
    }

    fn tell_all(&self, event: impl Fn() -> Event) {
        let mut outbox = Outbox::default();
        for desk in self.services.iter().flat_map(|running| &running.desks) {
            self.deliver(desk, event(), &mut outbox);
        }
        self.hand_on(outbox);
    }

    fn tell_restless(&self, event: impl Fn() -> Event) {
        let copies: Vec<CopyId> = self.restless.lock().iter().copied().collect();
        let mut outbox = Outbox::default();
        for desk in copies.into_iter().filter_map(|copy| self.desk(copy)) {
            self.deliver(desk, event(), &mut outbox);
        }
        self.hand_on(outbox);
    }

    // ---- hints that peers hold ------------------------------------------------------------------------------------

    fn counted_hints(&self) -> Vec<CopyId> {
        let view = self.view.load();
        let copies: Vec<CopyId> = self.restless.lock().iter().copied().collect();
        let holds = |copy: &CopyId| {
            let desk = self.desk(*copy);
            desk.is_some_and(|desk| desk.actor.lock().holding.hints() > 0)
        };
        let strangers = copies.into_iter().filter(|c| !view.owns(c.partition));
        strangers.filter(holds).collect()
    }

    fn ask_hints(&self) {
        let catching_up = {
            let copies: Vec<CopyId> = self.restless.lock().iter().copied().collect();
            copies.into_iter().any(|copy| {
                self.desk(copy)
                    .is_some_and(|desk| matches!(desk.actor.lock().phase, Phase::CatchingUp { .. }))
            })
        };
        let now_ms = self.world.now_ms();
        let mut hints = self.hints.lock();
        if !catching_up || now_ms.saturating_sub(hints.asked_ms) < ASK_HINTS_MS {
            return;
        }
        hints.asked_ms = now_ms;
        hints.asked.clear();
        let view = self.view.load();
        for node in view.peers_up() {
            let id = self.fresh_id();
            hints.asked.insert(id, node.clone());
            self.world.send(node, Message::AskHints { id });
        }
    }

    fn hints_heard(&self, from: &NodeName, id: RequestId, counted: Vec<CopyId>) {
        let mut hints = self.hints.lock();
        if hints.asked.get(&id) == Some(from) {
            let asked_ms = hints.asked_ms;
            let counted = counted.into_iter().collect();
            hints.heard.insert(from.clone(), (asked_ms, counted));
        }
    }

    fn hints_clear_since(&self, view: &View, copy: CopyId, now_ms: u64) -> Option<u64> {
        let hints = self.hints.lock();
        let mut since = now_ms;
        for node in view.peers_up() {
            let (heard_ms, counted) = hints.heard.get(node)?;
            if counted.contains(&copy) {
                return None;
            }
            since = since.min(*heard_ms);
        }
        Some(since)
    }

    fn fresh_id(&self) -> RequestId {
        let mut next = self.next_id.lock();
        *next = next.wrapping_add(1);
        RequestId(*next & (u64::MAX >> 1))
    }

    // ---- for people ------------------------------------------------------------------------------------------------

    /// Whether this node holds nothing that anybody waits for: no copy but empty ones, no hint.
    pub fn is_drained(&self) -> bool {
        let mut desks = self.services.iter().flat_map(|r| &r.desks);
        desks.all(|desk| {
            let actor = desk.actor.lock();
            matches!(actor.phase, Phase::Absent) && actor.holding.hints() == 0
        })
    }

    /// Comparisons that found something to mend since the start.
    pub fn repairs(&self) -> u64 {
        let desks = self.services.iter().flat_map(|r| &r.desks);
        desks.map(|desk| desk.actor.lock().repairs).sum()
    }

    /// What this node tells people about itself.
    pub fn report(&self) -> Report {
        let view = self.view();
        let mut report = Report {
            ring: Some(view.id()),
            digest: view.ring().digest().to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Report::default()
        };
        for running in &self.services {
            for desk in &running.desks {
                let actor = desk.actor.lock();
                report_copy(&view, &actor, &mut report);
            }
        }
        report
    }

    /// Looks at one copy: for tests and checks that observe from outside.
    pub fn inspect<T>(&self, copy: CopyId, look: impl FnOnce(&Phase, &Actor) -> T) -> Option<T> {
        let desk = self.desk(copy)?;
        let actor = desk.actor.lock();
        Some(look(&actor.phase, &actor))
    }

    /// The store that all copies lie in.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }
}

fn open_copy(
    copy: CopyId,
    service: &dyn Service,
    store: &dyn Store,
    view: &View,
    settings: &Settings,
    beginning: Beginning,
    wall_ms: u64,
) -> Result<Actor, Error> {
    let ring = view.ring();
    let owns = view.owns(copy.partition);
    let record = store
        .get(&phase_key(copy))?
        .and_then(|bytes| Record::decode(&bytes));
    let lost = Phase::CatchingUp {
        lost: true,
        floor: settings.floor(wall_ms),
    };
    let alone = view.peers().next().is_none();
    let foreign = record.as_ref().is_none_or(|r| r.cluster != ring.cluster);
    let phase = match record {
        _ if !service.has_entries() => {
            if owns {
                Phase::Serving
            } else {
                Phase::Absent
            }
        }
        None if beginning == Beginning::Founded && owns => Phase::Serving,
        Some(record) if !foreign => match (record.phase, beginning) {
            (Phase::Serving | Phase::CatchingUp { .. }, Beginning::Lossy) => lost,
            (Phase::Serving, _) if !alone => Phase::CatchingUp {
                lost: false,
                floor: 0,
            },
            (Phase::CatchingUp { lost: true, .. }, _) => lost,
            (
                Phase::Receiving {
                    from,
                    session,
                    attempt,
                    ..
                },
                Beginning::Lossy,
            ) => Phase::Receiving {
                from,
                session,
                attempt,
                complete: false,
            },
            (phase, _) => phase,
        },
        _ if owns => lost,
        _ => Phase::Absent,
    };
    let vnode = service.vnode(copy.partition);
    let seed = settings.boot ^ (u64::from(copy.partition.0) << 20);
    let mut actor = Actor::new(copy, ring.cluster, ring.partitions, phase, vnode, seed);
    if !service.has_entries() {
        return Ok(actor);
    }
    actor.load(store)?;
    let founded = beginning == Beginning::Founded;
    if foreign && !founded && actor.holding.totals().entries > 0 {
        actor.turn_to_hints(store)?;
    }
    actor.write_phase(store)?;
    Ok(actor)
}

fn report_copy(view: &View, actor: &Actor, report: &mut Report) {
    let copy = actor.id;
    let me = view.me();
    if actor.phase != Phase::Absent {
        report.copies.push(CopyReport {
            copy,
            state: actor.state(),
            totals: actor.holding.totals(),
        });
    }
    let transfer = |kind, to: &NodeName| TransferReport {
        kind,
        copy,
        from: me.clone(),
        to: to.clone(),
        active: false,
        settled: false,
        keys_done: 0,
        keys_total: actor.holding.totals().entries,
        bytes_done: 0,
        bytes_total: actor.holding.totals().bytes,
        keys_per_s: 0,
        waiting_for: None,
        last_error: None,
    };
    if actor.holding.hints() > 0 {
        let owners = view.owners(copy.partition);
        let absent = owners.iter().filter(|node| !view.is_up(node)).cloned();
        let waiting_for: Vec<NodeName> = absent.collect();
        for to in owners.iter().filter(|node| *node != me) {
            report.transfers.push(TransferReport {
                active: actor.hinting.drain.is_some() && view.is_up(to),
                keys_total: actor.holding.hints(),
                bytes_total: 0,
                waiting_for: (!view.is_up(to)).then(|| format!("{to} is not reachable")),
                last_error: actor.hinting.trouble().cloned(),
                ..transfer(TransferKind::Hinted, to)
            });
        }
        report.hints.push(HintReport {
            copy,
            keys: actor.holding.hints(),
            waiting_for,
        });
    }
    let listed = view.ring().moves.get(&copy.partition);
    if let Some(listed) = listed.filter(|m| m.from == *me) {
        let waiting_for = match (&actor.giving.out, &actor.phase) {
            (Some(out), _) if out.stage == crate::handoff_out::Stage::Ready => {
                Some("the next epoch".to_owned())
            }
            (Some(_), _) => None,
            (None, Phase::CatchingUp { .. }) => Some("the source catches up".to_owned()),
            (None, _) if !view.is_up(&listed.to) => Some(format!("{} is not reachable", listed.to)),
            (None, _) => Some("a free transfer (transfers.limit)".to_owned()),
        };
        let sent = actor
            .giving
            .out
            .as_ref()
            .map(|out| out.sent)
            .unwrap_or_default();
        report.transfers.push(TransferReport {
            active: actor.giving.out.is_some(),
            keys_done: sent.entries,
            bytes_done: sent.bytes,
            waiting_for,
            last_error: actor.giving.backoff.last_error().cloned(),
            ..transfer(TransferKind::Ownership, &listed.to)
        });
    }
    if let Phase::Draining { to } = &actor.phase {
        let to = to
            .clone()
            .or_else(|| view.ring().row(copy.partition).first().cloned());
        let done = actor.leaving.proofs.iter().map(|d| d.done.entries).max();
        if let Some(to) = to {
            report.transfers.push(TransferReport {
                active: !actor.leaving.proofs.is_empty(),
                settled: true,
                keys_done: done.unwrap_or_default(),
                waiting_for: Some("the owner to cover the old copy".to_owned()),
                last_error: actor.leaving.proofs.iter().find_map(|d| d.trouble.clone()),
                ..transfer(TransferKind::Ownership, &to)
            });
        }
    }
    if let Some(comparison) = actor.catching_up_with() {
        report.transfers.push(TransferReport {
            active: true,
            from: comparison.with.clone(),
            keys_done: comparison.done.entries,
            last_error: comparison.trouble.clone(),
            ..transfer(TransferKind::Repair, me)
        });
    } else if matches!(actor.phase, Phase::CatchingUp { .. }) {
        report.transfers.push(TransferReport {
            waiting_for: Some("its peers to answer".to_owned()),
            ..transfer(TransferKind::Repair, me)
        });
    }
}

fn no_such_service(service: ServiceId) -> Answer {
    Answer::Failed {
        text: format!("no service {} runs here", service.0),
        maybe_applied: false,
    }
}
