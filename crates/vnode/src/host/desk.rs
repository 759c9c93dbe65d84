//! This file answers: how does an event reach its actor, and who carries out what the actor wishes for?
//!
//! An event goes straight to its actor when nobody else is with it: then the caller's own thread runs the step, and a
//! read or an in-memory write costs no queue. Otherwise it is left in the actor's mailbox, and whoever is with the actor
//! serves it. Answers and reports are kept in an outbox until no lock is held.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use rkv_ring::{NodeName, Partition, RingId};
use rkv_storage::{Awaited, Ended, Error, Job, Listener};
use rkv_wire::message::{Answer, Command, CopyId, Message, RequestId, Role, ServiceId};
use smallvec::SmallVec;

use super::{Host, Upward};
use crate::actor::{Actor, Asked, Cx, Effect, Event, Looking, ReplyTo};
use crate::holding::MAILBOX;
use crate::phase::Phase;
use crate::view::View;
use crate::vnode::Service;

/// An actor and what waits for it.
pub(super) struct Desk {
    pub(super) actor: Mutex<Actor>,
    mailbox: Mutex<VecDeque<Event>>,
    /// Whether it is among the host's restless copies.
    restless: AtomicBool,
}

impl Desk {
    pub(super) fn of(actor: Actor) -> Desk {
        Desk {
            actor: Mutex::new(actor),
            mailbox: Mutex::new(VecDeque::new()),
            restless: AtomicBool::new(false),
        }
    }

    /// How many events wait.
    pub(super) fn waiting(&self) -> usize {
        self.mailbox.lock().len()
    }

    /// Leaves an event for whoever is with the actor; a command that finds the mailbox full is given back.
    fn leave(&self, event: Event) -> Result<(), ReplyTo> {
        let mut mailbox = self.mailbox.lock();
        match event {
            Event::Command(Asked { to, .. }) if mailbox.len() >= MAILBOX => Err(to),
            event => {
                mailbox.push_back(event);
                Ok(())
            }
        }
    }
}

impl Desk {
    /// Leaves word of what landed, in order.
    fn leave_landed(&self, ended: &mut [Ended]) {
        let events = ended.iter_mut().map(|ended| Event::Landed {
            token: ended.number,
            result: std::mem::replace(&mut ended.result, Ok(())),
        });
        self.mailbox.lock().extend(events);
    }
}

impl Listener for Host {
    /// One copy after the other: each is locked once for all that landed of it, and answers are handed on when all copies have
    /// heard.
    fn landed(&self, mut ended: Vec<Ended>) {
        self.world.together(&mut || {
            ended.sort_by_key(|ended| ended.of);
            let mut outbox = Outbox::default();
            for of_one in ended.chunk_by_mut(|a, b| a.of == b.of) {
                self.serve_landed(of_one, &mut outbox);
            }
            self.hand_on(outbox);
        });
    }
}

/// As the store knows a copy.
fn number_of(copy: CopyId) -> u64 {
    (u64::from(copy.service.0) << 16) | u64::from(copy.partition.0)
}

fn copy_of(number: u64) -> CopyId {
    CopyId {
        service: ServiceId((number >> 16) as u8),
        partition: Partition(number as u16),
    }
}

/// A step under way; one that ends in a panic leaves word of it.
struct UnderWay<'a> {
    is_broken: &'a AtomicBool,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.is_broken.store(true, Ordering::Relaxed);
        }
    }
}

/// A service and its actors, one a partition.
pub(super) struct Running {
    pub(super) service: Arc<dyn Service>,
    pub(super) desks: Box<[Desk]>,
}

/// What came of a step, to be handed on when no lock is held.
#[derive(Default)]
pub(super) struct Outbox {
    answers: SmallVec<[(ReplyTo, Answer, Bytes); 1]>,
    ready: Vec<(Partition, u32, NodeName)>,
    broken: Vec<(Partition, u32)>,
    pulls: Vec<NodeName>,
    warnings: Vec<String>,
    /// Places of transfers that were given back.
    freed: usize,
}

impl Outbox {
    fn answer(&mut self, to: ReplyTo, answer: Answer, body: Bytes) {
        self.answers.push((to, answer, body));
    }

    /// Whether there is nothing to hand on.
    fn is_empty(&self) -> bool {
        self.answers.is_empty()
            && self.ready.is_empty()
            && self.broken.is_empty()
            && self.pulls.is_empty()
            && self.warnings.is_empty()
            && self.freed == 0
    }

    /// The answer to a request, if it is there.
    pub(super) fn take_answer(&mut self, asked: &ReplyTo) -> Option<(Answer, Bytes)> {
        let at = self.answers.iter().position(|(to, ..)| to == asked)?;
        let (_, answer, body) = self.answers.swap_remove(at);
        Some((answer, body))
    }
}

impl Host {
    pub(super) fn desk(&self, copy: CopyId) -> Option<&Desk> {
        let mut running = self.services.iter();
        let running = running.find(|r| r.service.id() == copy.service)?;
        running.desks.get(copy.partition.index())
    }

    /// Delivers an event to one copy, and hands on what came of it.
    pub(super) fn tell(&self, copy: CopyId, event: Event) {
        if let Some(desk) = self.desk(copy) {
            let mut outbox = Outbox::default();
            self.deliver(desk, event, &mut outbox);
            self.hand_on(outbox);
        }
    }

    pub(super) fn to_copy(&self, copy: CopyId, from: &NodeName, message: Message) {
        self.figures.came(&message);
        let (from, message) = (from.clone(), Box::new(message));
        self.tell(copy, Event::Message { from, message });
    }

    pub(super) fn tell_all(&self, event: impl Fn() -> Event) {
        let mut outbox = Outbox::default();
        for desk in self.services.iter().flat_map(|running| &running.desks) {
            self.deliver(desk, event(), &mut outbox);
        }
        self.hand_on(outbox);
    }

    /// Copies that want to see time pass, as of now.
    pub(super) fn restless_copies(&self) -> Vec<CopyId> {
        self.restless.lock().iter().copied().collect()
    }

    pub(super) fn tell_restless(&self, event: impl Fn() -> Event) {
        let copies = self.restless_copies();
        let mut outbox = Outbox::default();
        for desk in copies.into_iter().filter_map(|copy| self.desk(copy)) {
            self.deliver(desk, event(), &mut outbox);
        }
        self.hand_on(outbox);
    }

    /// Runs the event if nobody is with the actor; leaves it in the mailbox otherwise. Whoever is with the actor
    /// looks into the mailbox before and after leaving, so nothing is left behind.
    pub(super) fn deliver(&self, desk: &Desk, event: Event, outbox: &mut Outbox) {
        let mut event = Some(event);
        loop {
            let Some(actor) = desk.actor.try_lock() else {
                let Some(event) = event.take() else {
                    return;
                };
                if let Err(to) = desk.leave(event) {
                    self.figures.turned_away();
                    outbox.answer(to, Answer::Busy, Bytes::new());
                    return;
                }
                continue;
            };
            self.serve(desk, actor, &mut event, outbox);
            if desk.mailbox.lock().is_empty() {
                return;
            }
        }
    }

    /// Looks at a copy. What is left for it meanwhile is served afterwards: whoever left it found somebody there, and
    /// relies on that.
    pub(super) fn look<T>(&self, desk: &Desk, look: impl FnOnce(&Actor) -> T) -> T {
        let seen = look(&desk.actor.lock());
        if !desk.mailbox.lock().is_empty() {
            let mut outbox = Outbox::default();
            self.serve_left(desk, &mut outbox);
            self.hand_on(outbox);
        }
        seen
    }

    /// Serves what was left for an actor; if somebody is with it now, that one does.
    fn serve_left(&self, desk: &Desk, outbox: &mut Outbox) {
        while !desk.mailbox.lock().is_empty() {
            let Some(actor) = desk.actor.try_lock() else {
                return;
            };
            self.serve(desk, actor, &mut None, outbox);
        }
    }

    /// Serves one copy what landed of it.
    fn serve_landed(&self, ended: &mut [Ended], outbox: &mut Outbox) {
        let copy = ended.first().map(|first| copy_of(first.of));
        let Some(desk) = copy.and_then(|copy| self.desk(copy)) else {
            return;
        };
        desk.leave_landed(ended);
        self.serve_left(desk, outbox);
    }

    /// Runs what waits, then the event. Events are large: from here on they are taken where they lie.
    fn serve(
        &self,
        desk: &Desk,
        mut actor: MutexGuard<'_, Actor>,
        event: &mut Option<Event>,
        outbox: &mut Outbox,
    ) {
        loop {
            let mut left = desk.mailbox.lock().pop_front();
            let next = if left.is_some() {
                &mut left
            } else {
                &mut *event
            };
            if next.is_none() {
                break;
            }
            self.run(&self.view.load(), &mut actor, next, outbox);
        }
        self.note_restless(desk, &actor);
    }

    /// The answer to a command that nothing stands in the way of: nobody is with the actor, and the ring is the one that it
    /// came by. Otherwise the command is given back, and nothing has happened.
    pub(super) fn answer_at_once(
        &self,
        desk: &Desk,
        (ring, role): (RingId, Role),
        command: Command,
        body: Bytes,
    ) -> Result<(Answer, Bytes), (Command, Bytes)> {
        let Some(mut actor) = desk.actor.try_lock() else {
            return Err((command, body));
        };
        let (view, store) = (self.view.load(), &*self.store);
        let is_at_once = role == Role::Owner
            && view.id() == ring
            && actor.answers_at_once(&view, store, &command)
            && desk.mailbox.lock().is_empty()
            && !self.is_broken();
        if !is_at_once {
            return Err((command, body));
        }
        self.budget.courtesy.asked();
        let _step = UnderWay {
            is_broken: &self.is_broken,
        };
        let looking = Looking {
            view: &view,
            store,
            wall_ms: self.world.wall_ms(),
        };
        let answered = actor.answer_at_once(looking, command, body);
        self.note_restless(desk, &actor);
        drop(actor);
        if !desk.mailbox.lock().is_empty() {
            let mut outbox = Outbox::default();
            self.serve_left(desk, &mut outbox);
            self.hand_on(outbox);
        }
        Ok(answered)
    }

    fn note_restless(&self, desk: &Desk, actor: &Actor) {
        let restless = actor.is_restless();
        // Only who is with the actor changes it.
        if desk.restless.load(Ordering::Relaxed) != restless {
            desk.restless.store(restless, Ordering::Relaxed);
            let mut all = self.restless.lock();
            if restless {
                all.insert(actor.id);
            } else {
                all.remove(&actor.id);
            }
        }
    }

    /// Takes the event.
    fn run(
        &self,
        view: &View,
        actor: &mut Actor,
        waiting: &mut Option<Event>,
        outbox: &mut Outbox,
    ) {
        let Some(event) = waiting.as_ref().filter(|_| !self.is_broken()) else {
            // The node ends: what this copy says by now may be half true.
            *waiting = None;
            return;
        };
        let _step = UnderWay {
            is_broken: &self.is_broken,
        };
        let now_ms = self.world.now_ms();
        let hints_clear_since = match actor.phase {
            Phase::CatchingUp { .. } => self.hints_clear_since(view, actor.id, now_ms),
            _ => None,
        };
        let quiet_at = match event {
            Event::Tick if actor.holding.oldest_trace_ms().is_some() => {
                self.quiet_at(view, actor.id)
            }
            _ => None,
        };
        let mut running = self.services.iter();
        let running = running.find(|r| r.service.id() == actor.id.service);
        let cx = Cx {
            now_ms,
            wall_ms: self.world.wall_ms(),
            view,
            store: &*self.store,
            settings: &self.settings,
            places: &self.places,
            sweeps: &self.sweeps,
            budget: &self.budget,
            figures: &self.figures,
            hints_clear_since,
            quiet_at,
            clock_fits: self.clock_fits.load(Ordering::Relaxed),
            has_entries: running.is_some_and(|running| running.service.has_entries()),
        };
        if matches!(event, Event::Tick) && actor.wants_to_reap(&cx) {
            self.want_quiet();
        }
        let is_command = matches!(event, Event::Command(_));
        let began_us = match event {
            Event::Command(_) => {
                self.budget.courtesy.asked();
                None
            }
            Event::Landed { .. } | Event::View => None,
            Event::Message { .. }
            | Event::Tick
            | Event::Repair
            | Event::Damaged
            | Event::MoveOn
            | Event::CompareOn => Some(self.world.now_us()),
        };
        let mut effects = std::mem::take(&mut actor.effects);
        let mut landed: SmallVec<[(u64, Result<(), Error>); 2]> = SmallVec::new();
        loop {
            // What one step writes the next one sees: so each is carried out before the next.
            let next = if !landed.is_empty() {
                let (token, result) = landed.remove(0);
                Some(Event::Landed { token, result })
            } else if waiting.is_some() && actor.is_behind(view) {
                waiting.take_if(|event| matches!(event, Event::View));
                Some(Event::View)
            } else {
                waiting.take()
            };
            let Some(next) = next else {
                break;
            };
            actor.step(&cx, next, &mut effects);
            for effect in effects.drain(..) {
                if let Some(at_once) = self.carry(actor.id, effect, outbox) {
                    landed.push(at_once);
                }
            }
        }
        actor.effects = effects;
        if !is_command {
            outbox.freed += self.places.take_freed();
        }
        if let Some(began_us) = began_us {
            let us = self.world.now_us().saturating_sub(began_us);
            self.budget.courtesy.spend(now_ms, us);
        }
    }

    /// Carries out one wish. What a volatile store writes has landed at once.
    fn carry(
        &self,
        copy: CopyId,
        effect: Effect,
        outbox: &mut Outbox,
    ) -> Option<(u64, Result<(), Error>)> {
        let volatile = self.store.is_volatile();
        match effect {
            Effect::Write { token, batch, .. } if volatile => {
                return Some((token, self.store.apply(&batch)));
            }
            Effect::Write {
                token,
                batch,
                sync: false,
            } => self.store.submit_awaited(
                batch,
                Awaited {
                    by: self.this.clone(),
                    of: number_of(copy),
                    number: token,
                },
            ),
            Effect::Write { token, batch, sync } => {
                let done = self.when_landed(copy, token);
                self.store.submit(Job { batch, sync, done });
            }
            Effect::Drop { token, start, end } if volatile => {
                return Some((token, self.store.drop_now(&start, &end)));
            }
            Effect::Drop { token, start, end } => {
                let done = self.when_landed(copy, token);
                self.store.drop_range(start, end, done);
            }
            Effect::Answer { to, answer, body } => outbox.answer(to, answer, body),
            Effect::Send { to, message } => {
                self.figures.leaves(&message);
                self.world.send(&to, *message);
            }
            Effect::MoveReady { attempt, to } => outbox.ready.push((copy.partition, attempt, to)),
            Effect::MoveBroken { attempt } => outbox.broken.push((copy.partition, attempt)),
            Effect::Pull(from) => outbox.pulls.push(from),
            Effect::Warn(text) => outbox.warnings.push(text),
        }
        None
    }

    fn when_landed(&self, copy: CopyId, token: u64) -> Landed {
        let host = self.this.clone();
        Box::new(move |result| {
            if let Some(host) = host.upgrade() {
                host.tell(copy, Event::Landed { token, result });
            }
        })
    }

    /// Tells those above and those who asked what came of a step; and those who wait for a place of a transfer that one is
    /// free: the next begins now and not a tick later.
    pub(super) fn hand_on(&self, outbox: Outbox) {
        if outbox.is_empty() {
            return;
        }
        let mut freed = outbox.freed;
        self.tell_on(outbox);
        while freed > 0 {
            freed -= 1;
            let Some(next) = self.places.next_waiting(self.world.now_ms()) else {
                return;
            };
            if let Some(desk) = self.desk(next) {
                let mut outbox = Outbox::default();
                self.deliver(desk, Event::Tick, &mut outbox);
                freed += outbox.freed;
                self.tell_on(outbox);
            }
        }
    }

    fn tell_on(&self, outbox: Outbox) {
        let upward = self.upward();
        let mut me = None;
        for (to, answer, body) in outbox.answers {
            match to {
                ReplyTo::Local(id) => {
                    let me = me.get_or_insert_with(|| self.view.load().me().clone());
                    upward.answered(id, me, answer, body);
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
        desks.all(|desk| {
            self.look(desk, |actor| match &actor.phase {
                Phase::Forwarding {
                    attempt: current, ..
                } => *current == attempt,
                _ => false,
            })
        })
    }

    pub(super) fn answer_afar(&self, to: &NodeName, id: RequestId, answer: Answer, body: Bytes) {
        self.world.send(to, Message::Answer { id, answer, body });
    }

    pub(super) fn upward(&self) -> &Arc<dyn Upward> {
        self.upward
            .get()
            .expect("nothing happens to a host before it is started")
    }
}

/// Called when a write has landed.
type Landed = Box<dyn FnOnce(Result<(), Error>) + Send + 'static>;
