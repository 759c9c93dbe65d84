//! This file answers: what does one copy do when something happens to it?
//!
//! One actor a (service, partition): it has one caller at a time, decides, and wishes for effects; the host carries
//! them out. It answers commands in order, and it runs what concerns its copy: a handoff out or in, the drain of its
//! hints, the comparison with its peers. What it must never do: answer for a place that the ring or a move does not
//! give it, acknowledge in a session what the target lacks, or drop what the owners do not cover.

use std::collections::BTreeMap;

use bytes::Bytes;
use rkv_quorum::clock::Stamp;
use rkv_ring::{ClusterId, NodeName, PartitionCount};
use rkv_storage::{Batch, Error, Space, Store, StoreKey};
use rkv_wire::items::read_items;
use rkv_wire::message::{
    Answer, Command, CopyId, CopyState, Message, RequestId, Role, SessionId, Totals,
};

use crate::catch_up::CatchUp;
use crate::compare::{self, Compared, Comparison};
use crate::fault::Fault;
use crate::handoff_in::{HandoffIn, Mark, Stream};
use crate::handoff_out::{HandoffOut, Stage};
use crate::hint::{Head, Hint};
use crate::hint_drain::HintDrain;
use crate::holding::Holding;
use crate::phase::{Phase, Record};
use crate::settings::{Limits, Permit, Settings};
use crate::view::View;
use crate::vnode::{Context, Decision, Merged, Vnode};

/// To whom an answer goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplyTo {
    /// A request of this node.
    Local(RequestId),
    /// A request of another.
    Remote(NodeName, RequestId),
}

/// What can happen to a copy.
pub enum Event {
    /// Somebody asks something of it.
    Command {
        /// Whom to answer.
        to: ReplyTo,
        /// In what capacity it is asked.
        role: Role,
        /// What.
        command: Command,
        /// The object that goes with it.
        body: Bytes,
        /// The answer is void after this.
        within_ms: u32,
    },
    /// A message about this copy that is no command.
    Message {
        /// The sender.
        from: NodeName,
        /// What it said.
        message: Message,
    },
    /// A write landed or failed.
    Landed {
        /// Its number.
        token: u64,
        /// How.
        result: Result<(), Error>,
    },
    /// The view changed.
    View,
    /// Time passed.
    Tick,
}

/// What a copy may wish for. Carried out in order.
pub enum Effect {
    /// Apply a batch (also an empty one: it lands after all before it); [`Event::Landed`] comes back.
    Write {
        /// Its number.
        token: u64,
        /// What to write.
        batch: Batch,
        /// Whether it must survive a power cut before it counts as landed.
        sync: bool,
    },
    /// Drop a range; [`Event::Landed`] comes back.
    Drop {
        /// Its number.
        token: u64,
        /// First key.
        start: Bytes,
        /// First key behind it.
        end: Bytes,
    },
    /// Answer a command.
    Answer {
        /// Whom.
        to: ReplyTo,
        /// What.
        answer: Answer,
        /// The object that goes with it.
        body: Bytes,
    },
    /// Send a message to another node.
    Send {
        /// Whom.
        to: NodeName,
        /// What.
        message: Message,
    },
    /// Tell the claimant that this copy's move is ready.
    MoveReady {
        /// The attempt that is.
        attempt: u32,
        /// The target.
        to: NodeName,
    },
    /// Tell the claimant that a move that was ready is so no more.
    MoveBroken {
        /// The attempt.
        attempt: u32,
    },
    /// Fetch a later ring from this node: it told of one.
    Pull(NodeName),
    /// Tell people.
    Warn(String),
}

/// What a step may look at.
pub struct Cx<'a> {
    /// Now, monotonic.
    pub now_ms: u64,
    /// Unix time.
    pub wall_ms: u64,
    /// Who owns what and who is up.
    pub view: &'a View,
    /// Reads.
    pub store: &'a dyn Store,
    /// What the configuration says.
    pub settings: &'a Settings,
    /// How many transfers at once.
    pub limits: &'a Limits,
    /// Since when each reachable member has been known to hold no counted hint for this copy; `None`: one does or has
    /// not told.
    pub hints_clear_since: Option<u64>,
    /// Whether the service holds entries at all.
    pub has_entries: bool,
}

impl Cx<'_> {
    /// The phase of a copy that may lack anything, from now on.
    fn lossy(&self) -> Phase {
        Phase::CatchingUp {
            lost: true,
            floor: self.settings.floor(self.wall_ms),
        }
    }
}

/// What follows when a write has landed.
enum Then {
    Nothing,
    Answer {
        to: ReplyTo,
        answer: Answer,
        body: Bytes,
        /// The forward that the target must have taken first.
        gate: Option<(SessionId, u64)>,
        until_ms: u64,
    },
    Opened {
        from: NodeName,
        session: SessionId,
    },
    Took {
        session: SessionId,
        stream: Stream,
        seq: u64,
    },
    Marked {
        session: SessionId,
        forwards: u64,
    },
    Forwarding {
        session: SessionId,
    },
    Filled {
        to: NodeName,
        id: RequestId,
    },
    Compared {
        to: NodeName,
        message: Message,
        failures: u64,
    },
}

/// An answer that waits for the target of a move.
struct Gated {
    session: SessionId,
    forward: u64,
    to: ReplyTo,
    answer: Answer,
    body: Bytes,
    until_ms: u64,
}

/// A read that was sent on to the target of a move.
struct Relay {
    to: ReplyTo,
    until_ms: u64,
}

/// Trouble of a transfer and when to try again.
#[derive(Default)]
struct Backoff {
    not_before_ms: u64,
    tries: u32,
    last_error: Option<String>,
}

impl Backoff {
    fn failed(&mut self, now_ms: u64, why: String) {
        let wait = BACKOFF_FIRST_MS << self.tries.min(5);
        self.tries += 1;
        self.not_before_ms = now_ms + wait;
        self.last_error = Some(why);
    }
}

const BACKOFF_FIRST_MS: u64 = 100;
/// How often readiness is told again until an epoch answers.
const READY_REPEAT_MS: u64 = 500;
/// How long a partition must see no write before it is compared with its peers.
const QUIET_MS: u64 = 1_500;

/// One copy.
pub struct Actor {
    pub(crate) id: CopyId,
    /// The cluster whose data this is.
    cluster: ClusterId,
    /// Set while data of a cluster that this node has left waits to be turned to hints.
    absorbing: bool,
    pub(crate) phase: Phase,
    pub(crate) holding: Holding,
    vnode: Box<dyn Vnode>,
    then: BTreeMap<u64, Then>,
    gated: Vec<Gated>,
    /// The session in which the copy moved last, and the last forward that its target said to have.
    handed_over: Option<(SessionId, u64)>,
    relays: BTreeMap<RequestId, Relay>,
    pub(crate) out: Option<HandoffOut>,
    out_permit: Option<Permit>,
    out_backoff: Backoff,
    told_ready_ms: u64,
    incoming: Option<HandoffIn>,
    pub(crate) hint_drain: Option<HintDrain>,
    hint_backoff: Backoff,
    pub(crate) drain: Vec<Comparison>,
    drained: bool,
    epoch_since_ms: u64,
    dropping: bool,
    catch_up: Option<CatchUp>,
    repair: Option<Comparison>,
    repair_due_ms: u64,
    repair_turn: usize,
    asked_totals: Option<(RequestId, NodeName)>,
    suspect: Option<(NodeName, Totals)>,
    last_write_ms: u64,
    failures: u64,
    next_id: u64,
    sessions: u64,
    /// Comparisons that found something to mend, for metrics and for the check that they stand still.
    pub(crate) repairs: u64,
}

impl Actor {
    /// A copy in its persisted phase; `seed` differs in each boot, so that request ids do not repeat.
    pub fn new(
        id: CopyId,
        cluster: ClusterId,
        partitions: PartitionCount,
        phase: Phase,
        vnode: Box<dyn Vnode>,
        seed: u64,
    ) -> Actor {
        Actor {
            id,
            cluster,
            absorbing: false,
            phase,
            holding: Holding::new(id, partitions),
            vnode,
            then: BTreeMap::new(),
            gated: Vec::new(),
            handed_over: None,
            relays: BTreeMap::new(),
            out: None,
            out_permit: None,
            out_backoff: Backoff::default(),
            told_ready_ms: 0,
            incoming: None,
            hint_drain: None,
            hint_backoff: Backoff::default(),
            drain: Vec::new(),
            drained: false,
            epoch_since_ms: 0,
            dropping: false,
            catch_up: None,
            repair: None,
            repair_due_ms: 0,
            repair_turn: 0,
            asked_totals: None,
            suspect: None,
            last_write_ms: 0,
            failures: 0,
            next_id: seed & 0xff_ffff_ffff,
            sessions: seed & 0xffff_ffff,
            repairs: 0,
        }
    }

    /// Counts what the store has; once, before the first event.
    pub fn load(&mut self, store: &dyn Store) -> Result<(), Error> {
        self.holding.count(store, &*self.vnode)
    }

    /// Turns every entry of this copy into a hint for the partition: data of a cluster that this node has left, or of
    /// a copy that belongs to no current owner. Runs before the first event, page by page.
    pub fn turn_to_hints(&mut self, store: &dyn Store) -> Result<u64, Error> {
        let mut turned = 0;
        let (mut from, to) = self.holding.range(Space::Data);
        loop {
            let page = store.page(&from, &to, 1024, 4 << 20)?;
            let Some((last, _)) = page.last() else {
                break;
            };
            from = crate::holding::after(last);
            let mut batch = Batch::default();
            for (key, entry) in page {
                let hint_key = StoreKey::respace(&key, Space::Hint);
                let mut hint = Hint::default();
                let mut merged = entry;
                if let Some(there) = store.get(&hint_key)?.and_then(Hint::decode) {
                    hint.head = Head {
                        ring: None,
                        ..there.head
                    };
                    if let Some(other) = there.entry {
                        if let Merged::Changed(both) = self.vnode.merge(Some(&merged), &other) {
                            merged = both;
                        }
                    }
                }
                hint.entry = Some(merged);
                batch.put(hint_key, hint.encode());
                batch.delete(key);
                turned += 1;
            }
            store.apply(&batch)?;
        }
        self.load(store)?;
        Ok(turned)
    }

    /// What others are told of its state.
    pub fn state(&self) -> CopyState {
        self.phase.state(self.out.is_some())
    }

    /// Whether it has something to do beyond answering commands, so that it wants to see time pass.
    pub fn is_restless(&self) -> bool {
        !matches!(self.phase, Phase::Serving | Phase::Absent)
            || self.absorbing
            || self.holding.hints() > 0
            || self.out.is_some()
            || self.hint_drain.is_some()
            || self.repair.is_some()
            || self.suspect.is_some()
            || !self.gated.is_empty()
            || !self.relays.is_empty()
    }

    /// Something happened.
    pub fn step(&mut self, cx: &Cx<'_>, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Command {
                to,
                role,
                command,
                body,
                within_ms,
            } => self.command(cx, to, role, command, body, within_ms, effects),
            Event::Message { from, message } => self.message(cx, from, message, effects),
            Event::Landed { token, result } => self.landed(cx, token, result, effects),
            Event::View => self.view_changed(cx, effects),
            Event::Tick => self.tick(cx, effects),
        }
    }

    // ---- commands --------------------------------------------------------------------------------------------------

    #[allow(clippy::too_many_arguments)]
    fn command(
        &mut self,
        cx: &Cx<'_>,
        to: ReplyTo,
        role: Role,
        command: Command,
        body: Bytes,
        within_ms: u32,
        effects: &mut Vec<Effect>,
    ) {
        if self.absorbing {
            return refuse(to, Answer::Busy, effects);
        }
        let until_ms = cx.now_ms + u64::from(within_ms);
        if let Command::Inspect { key } = &command {
            let held = self.holding.get(cx.store, key).ok().flatten();
            let answer = Answer::Held(self.state());
            let body = held.unwrap_or_default();
            effects.push(Effect::Answer { to, answer, body });
            return;
        }
        if self.holding.is_full() {
            return refuse(to, Answer::Busy, effects);
        }
        if let Command::Hint { key, missing } = command {
            return self.keep_hint(cx, to, key, missing, body, until_ms, effects);
        }
        let mine = match role {
            Role::Owner => self.phase.answers() && cx.view.owns(self.id.partition),
            Role::Fallback => {
                return self.command_on_hint(cx, to, command, body, until_ms, effects);
            }
            Role::Relayed(asked) => match &self.phase {
                Phase::Receiving {
                    session, complete, ..
                } => *complete && *session == asked,
                phase => matches!(phase, Phase::Serving) && cx.view.owns(self.id.partition),
            },
        };
        if !mine {
            return refuse(to, Answer::NotOwner(cx.view.id()), effects);
        }
        if self.relays_reads() && !matches!(command, Command::Put { .. } | Command::Repair { .. }) {
            return self.relay(cx, to, command, until_ms, effects);
        }
        self.decide(cx, to, role, command, body, until_ms, effects);
    }

    fn relays_reads(&self) -> bool {
        matches!(self.phase, Phase::Forwarding { .. })
    }

    /// Sends a read on to the target of the move: it may have become the owner without this node knowing.
    fn relay(
        &mut self,
        cx: &Cx<'_>,
        to: ReplyTo,
        command: Command,
        until_ms: u64,
        effects: &mut Vec<Effect>,
    ) {
        let Phase::Forwarding {
            to: target,
            session,
            ..
        } = self.phase.clone()
        else {
            unreachable!("only a forwarding copy relays");
        };
        let Command::Get { key } = &command else {
            // Another service's command may write: it waits for the epoch.
            return refuse(to, Answer::Busy, effects);
        };
        let Some(slot) = StoreKey::slot_of(key) else {
            return refuse(to, bad_key(), effects);
        };
        let id = self.fresh_id();
        self.relays.insert(id, Relay { to, until_ms });
        let message = Message::Command {
            id,
            service: self.id.service,
            slot: rkv_ring::Slot(slot),
            ring: cx.view.id(),
            role: Role::Relayed(session),
            within_ms: u32::try_from(until_ms.saturating_sub(cx.now_ms)).unwrap_or(u32::MAX),
            command,
            body: Bytes::new(),
        };
        effects.push(Effect::Send {
            to: target,
            message,
        });
    }

    #[allow(clippy::too_many_arguments)]
    fn decide(
        &mut self,
        cx: &Cx<'_>,
        to: ReplyTo,
        role: Role,
        command: Command,
        body: Bytes,
        until_ms: u64,
        effects: &mut Vec<Effect>,
    ) {
        let key = match &command {
            Command::Put { key, .. } | Command::Get { key } | Command::Repair { key } => {
                if !self.is_my_key(key) {
                    return refuse(to, bad_key(), effects);
                }
                Some(key.clone())
            }
            _ => None,
        };
        let hint_for = match &command {
            Command::Put { hint_for, .. } => hint_for.clone(),
            _ => Vec::new(),
        };
        let catching_up = matches!(self.phase, Phase::CatchingUp { .. })
            && role == Role::Owner
            && cx.settings.fault != Fault::EmptiedCopyVotes;
        let decision = {
            let holding = &self.holding;
            let held = |key: &[u8]| {
                let key = Bytes::copy_from_slice(key);
                holding.get_to_write(cx.store, &key)
            };
            let context = Context {
                node: cx.view.me(),
                partition: self.id.partition,
                wall_ms: cx.wall_ms,
                floor: self.floor(),
                held: &held,
            };
            self.vnode.handle_command(&context, command, body)
        };
        match decision {
            Decision::Write { key, value, answer } => {
                self.write_and_answer(
                    cx,
                    to,
                    Some((key, value)),
                    hint_for,
                    answer,
                    until_ms,
                    effects,
                );
            }
            Decision::Answer(Answer::Stored, _) => {
                // Held already, perhaps on its way to the disk or to the target: the answer waits for both.
                // A forwarding copy holds what its target may lack, also when their session is gone.
                let at_rest = key.is_some_and(|key| !self.holding.is_leaving(&key));
                let alone = self.out.is_none() && self.gate_without_session().is_none();
                if at_rest && hint_for.is_empty() && alone {
                    refuse(to, Answer::Stored, effects);
                } else {
                    let answer = Answer::Stored;
                    self.write_and_answer(cx, to, None, hint_for, answer, until_ms, effects);
                }
            }
            Decision::Answer(Answer::Found | Answer::NotFound, body) if catching_up => {
                let answer = Answer::CatchingUp;
                effects.push(Effect::Answer { to, answer, body });
            }
            Decision::Answer(answer, body) => effects.push(Effect::Answer { to, answer, body }),
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn write_and_answer(
        &mut self,
        cx: &Cx<'_>,
        to: ReplyTo,
        write: Option<(Bytes, Bytes)>,
        hint_for: Vec<NodeName>,
        answer: Answer,
        until_ms: u64,
        effects: &mut Vec<Effect>,
    ) {
        let mut writes = Vec::with_capacity(1);
        if let Some((key, _)) = &write {
            if !hint_for.is_empty() {
                match self.hint_write(cx, key, &hint_for) {
                    Ok(hint) => writes.push(hint),
                    Err(error) => return refuse(to, failed(&error), effects),
                }
            }
        }
        let mut gate = None;
        if let Some((key, value)) = write {
            self.last_write_ms = cx.now_ms;
            gate = self.forward(&key, &value, effects);
            writes.insert(0, (key, Some(value)));
        } else if let Some(out) = self.out.as_ref().filter(|out| out.is_open()) {
            gate = Some((out.session, out.forwards_sent()));
        }
        if gate.is_none() {
            gate = self.gate_without_session();
        }
        let then = Then::Answer {
            to,
            answer,
            body: Bytes::new(),
            gate,
            until_ms,
        };
        self.write(cx, writes, false, then, effects);
    }

    /// The hint of the key alone: what this node holds then is what the owners get.
    fn hint_write(
        &self,
        cx: &Cx<'_>,
        key: &Bytes,
        missing: &[NodeName],
    ) -> Result<(Bytes, Option<Bytes>), Error> {
        let hint_key = StoreKey::respace(key, Space::Hint);
        let held = self.holding.get(cx.store, &hint_key)?;
        let mut hint = held.and_then(Hint::decode).unwrap_or_else(|| Hint {
            head: Head {
                ring: Some(cx.view.id()),
                ..Head::default()
            },
            entry: None,
        });
        hint.absorb(Some(cx.view.id()), missing, false);
        Ok((hint_key, Some(hint.encode())))
    }

    /// Forwards a write to the target of a session, and tells which acknowledgement to wait for.
    fn forward(
        &mut self,
        key: &Bytes,
        value: &Bytes,
        effects: &mut Vec<Effect>,
    ) -> Option<(SessionId, u64)> {
        let out = self.out.as_mut().filter(|out| out.is_open())?;
        let seq = out.forward(key, value, effects);
        Some((out.session, seq))
    }

    /// A forwarding copy whose session did not survive a restart acks nothing at all: only an epoch helps.
    fn gate_without_session(&self) -> Option<(SessionId, u64)> {
        match &self.phase {
            Phase::Forwarding { session, .. } => Some((*session, u64::MAX)),
            _ => None,
        }
    }

    fn floor(&self) -> Option<Stamp> {
        match self.phase {
            Phase::CatchingUp { lost: true, floor } => Some(Stamp {
                time: floor,
                boot: u64::MAX,
                seq: u32::MAX,
            }),
            _ => None,
        }
    }

    fn is_my_key(&self, key: &[u8]) -> bool {
        let (start, end) = self.holding.range(Space::Data);
        start[..] <= *key && *key < end[..]
    }

    // ---- hints -----------------------------------------------------------------------------------------------------

    /// A command that this node answers as a fallback: on the hint instead of on the data.
    fn command_on_hint(
        &mut self,
        cx: &Cx<'_>,
        to: ReplyTo,
        command: Command,
        body: Bytes,
        until_ms: u64,
        effects: &mut Vec<Effect>,
    ) {
        let (key, hint_for) = match &command {
            Command::Put { key, hint_for } => (key.clone(), hint_for.clone()),
            Command::Get { key } => (key.clone(), Vec::new()),
            _ => return refuse(to, Answer::NotOwner(cx.view.id()), effects),
        };
        if !self.is_my_key(&key) {
            return refuse(to, bad_key(), effects);
        }
        let hint_key = StoreKey::respace(&key, Space::Hint);
        let there = match self.holding.get(cx.store, &hint_key) {
            Ok(there) => there.and_then(Hint::decode),
            Err(error) => return refuse(to, failed(&error), effects),
        };
        let entry = there.as_ref().and_then(|hint| hint.entry.clone());
        let decision = {
            let held = |_: &[u8]| Ok(entry.clone());
            let context = Context {
                node: cx.view.me(),
                partition: self.id.partition,
                wall_ms: cx.wall_ms,
                floor: None,
                held: &held,
            };
            self.vnode.handle_command(&context, command, body)
        };
        match decision {
            Decision::Write { value, answer, .. } => {
                let ring = Some(cx.view.id());
                let mut hint = there.unwrap_or_else(|| Hint {
                    head: Head {
                        ring,
                        ..Head::default()
                    },
                    entry: None,
                });
                hint.absorb(ring, &hint_for, true);
                hint.entry = Some(value);
                let then = Then::Answer {
                    to,
                    answer,
                    body: Bytes::new(),
                    gate: None,
                    until_ms,
                };
                let writes = vec![(hint_key, Some(hint.encode()))];
                self.write(cx, writes, false, then, effects);
            }
            Decision::Answer(Answer::Stored, _) => {
                let then = Then::Answer {
                    to,
                    answer: Answer::Stored,
                    body: Bytes::new(),
                    gate: None,
                    until_ms,
                };
                self.write(cx, Vec::new(), false, then, effects);
            }
            Decision::Answer(answer, body) => effects.push(Effect::Answer { to, answer, body }),
        }
    }

    /// An owner turned out silent after the fact.
    #[allow(clippy::too_many_arguments)]
    fn keep_hint(
        &mut self,
        cx: &Cx<'_>,
        to: ReplyTo,
        key: Bytes,
        missing: Vec<NodeName>,
        body: Bytes,
        until_ms: u64,
        effects: &mut Vec<Effect>,
    ) {
        if !self.is_my_key(&key) {
            return refuse(to, bad_key(), effects);
        }
        let write = if cx.view.owns(self.id.partition) && self.phase.answers() {
            self.hint_write(cx, &key, &missing)
        } else {
            self.entry_hint(cx, &key, &missing, body)
        };
        match write {
            Ok(write) => {
                let then = Then::Answer {
                    to,
                    answer: Answer::Stored,
                    body: Bytes::new(),
                    gate: None,
                    until_ms,
                };
                self.write(cx, vec![write], false, then, effects);
            }
            Err(error) => refuse(to, failed(&error), effects),
        }
    }

    fn entry_hint(
        &self,
        cx: &Cx<'_>,
        key: &Bytes,
        missing: &[NodeName],
        entry: Bytes,
    ) -> Result<(Bytes, Option<Bytes>), Error> {
        let hint_key = StoreKey::respace(key, Space::Hint);
        let there = self
            .holding
            .get(cx.store, &hint_key)?
            .and_then(Hint::decode);
        let mut hint = there.unwrap_or_else(|| Hint {
            head: Head {
                ring: Some(cx.view.id()),
                ..Head::default()
            },
            entry: None,
        });
        hint.absorb(Some(cx.view.id()), missing, false);
        hint.entry = match self.vnode.merge(hint.entry.as_ref(), &entry) {
            Merged::Changed(merged) => Some(merged),
            Merged::Unchanged => hint.entry,
        };
        Ok((hint_key, Some(hint.encode())))
    }

    fn pump_hints(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        if self.hint_drain.is_none() {
            let idle = self.holding.hints() == 0 || cx.now_ms < self.hint_backoff.not_before_ms;
            if idle || !cx.view.ring().members.contains_key(cx.view.me()) {
                return;
            }
            self.hint_drain = Some(HintDrain::new(self.id, &self.holding));
        }
        let Some(mut drain) = self.hint_drain.take() else {
            return;
        };
        let delivered = drain.delivered.0;
        let writes = drain.pump(
            cx.now_ms,
            cx.view,
            cx.store,
            &*self.vnode,
            &self.holding,
            cx.settings.fault,
            &mut id_source(self.id, &mut self.next_id),
            effects,
        );
        match writes {
            Ok(writes) => {
                if !writes.is_empty() {
                    self.write(cx, writes, false, Then::Nothing, effects);
                }
                if drain.delivered.0 > delivered {
                    self.hint_backoff.tries = 0;
                }
                if drain.is_finished() {
                    // What is left waits for owners that are not there.
                    self.hint_backoff
                        .failed(cx.now_ms, "waiting for owners".to_owned());
                } else {
                    self.hint_drain = Some(drain);
                }
            }
            Err(error) => self.hint_backoff.failed(cx.now_ms, error.to_string()),
        }
    }

    // ---- writes ----------------------------------------------------------------------------------------------------

    fn write(
        &mut self,
        cx: &Cx<'_>,
        writes: Vec<(Bytes, Option<Bytes>)>,
        sync: bool,
        then: Then,
        effects: &mut Vec<Effect>,
    ) {
        let token = self
            .holding
            .write(cx.store, &*self.vnode, writes, sync, effects);
        self.then.insert(token, then);
    }

    /// The phase as it is stored.
    fn record(&self, phase: &Phase) -> (Bytes, Option<Bytes>) {
        let record = Record {
            cluster: self.cluster,
            phase: phase.clone(),
        };
        let value = (*phase != Phase::Absent).then(|| record.encode());
        (phase_key(self.id), value)
    }

    /// Changes the phase and writes it down, synced; `then` follows when it is on disk.
    fn enter(&mut self, cx: &Cx<'_>, phase: Phase, then: Then, effects: &mut Vec<Effect>) {
        let record = self.record(&phase);
        self.phase = phase;
        self.write(cx, vec![record], true, then, effects);
    }

    fn landed(
        &mut self,
        cx: &Cx<'_>,
        token: u64,
        result: Result<(), Error>,
        effects: &mut Vec<Effect>,
    ) {
        self.holding.landed(cx.store, &*self.vnode, token, &result);
        let then = self.then.remove(&token).unwrap_or(Then::Nothing);
        if let Err(error) = &result {
            self.failures += 1;
            return self.write_failed(cx, then, error, effects);
        }
        match then {
            Then::Nothing => {}
            Then::Answer {
                to,
                answer,
                body,
                gate,
                until_ms,
            } => match gate {
                Some(gate) if self.is_lost_on_the_way(gate) => {
                    refuse(to, Answer::Moved(cx.view.id()), effects);
                }
                Some((session, forward)) if self.is_gated(cx, session, forward) => {
                    self.gated.push(Gated {
                        session,
                        forward,
                        to,
                        answer,
                        body,
                        until_ms,
                    });
                }
                _ => effects.push(Effect::Answer { to, answer, body }),
            },
            Then::Opened { from, session } => effects.push(Effect::Send {
                to: from,
                message: Message::HandoffOpened {
                    copy: self.id,
                    session,
                    refused: None,
                },
            }),
            Then::Took {
                session,
                stream,
                seq,
            } => self.took_in(session, stream, seq, effects),
            Then::Marked { session, forwards } => self.equal_and_synced(session, forwards, effects),
            Then::Forwarding { session } => self.forwarding_written(cx, session, effects),
            Then::Filled { to, id } => effects.push(Effect::Send {
                to,
                message: Message::Filled {
                    id,
                    answer: Answer::Stored,
                },
            }),
            Then::Compared {
                to,
                message,
                failures,
            } => {
                if failures == self.failures {
                    effects.push(Effect::Send { to, message });
                }
            }
        }
        if self.holding.in_flight() == 0 {
            self.dropping = false;
            self.absorb(cx, effects);
        }
    }

    /// Data of a cluster that this node has left becomes hints, as soon as nothing is under way.
    fn absorb(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        if !self.absorbing || self.holding.in_flight() > 0 {
            return;
        }
        match self.turn_to_hints(cx.store) {
            Ok(_) => {
                self.absorbing = false;
                self.cluster = cx.view.id().cluster;
                self.enter(cx, Phase::Absent, Then::Nothing, effects);
                self.view_changed(cx, effects);
            }
            Err(error) => effects.push(Effect::Warn(error.to_string())),
        }
    }

    fn write_failed(&mut self, cx: &Cx<'_>, then: Then, error: &Error, effects: &mut Vec<Effect>) {
        match then {
            Then::Answer { to, .. } => refuse(to, failed(error), effects),
            Then::Filled { to, id } => {
                let answer = failed(error);
                effects.push(Effect::Send {
                    to,
                    message: Message::Filled { id, answer },
                });
            }
            Then::Took { session, .. }
            | Then::Marked { session, .. }
            | Then::Opened { session, .. } => {
                if let Some(incoming) = self.incoming.take_if(|i| i.session == session) {
                    effects.push(Effect::Send {
                        to: incoming.from,
                        message: Message::HandoffBroken {
                            copy: self.id,
                            session,
                            reason: error.to_string(),
                        },
                    });
                }
            }
            Then::Forwarding { .. } => {
                // Not on disk: it was not told to anybody, so it still serves.
                self.phase = Phase::Serving;
                self.break_out(cx, error.to_string(), effects);
            }
            Then::Nothing | Then::Compared { .. } => {}
        }
    }

    fn is_gated(&self, cx: &Cx<'_>, session: SessionId, forward: u64) -> bool {
        if cx.settings.fault == Fault::AckBeforeForward {
            return false;
        }
        match (&self.out, &self.phase) {
            (Some(out), _) if out.session == session => out.forwards_took() < forward,
            // No session and yet forwarding: nothing is acknowledged.
            (
                None,
                Phase::Forwarding {
                    session: current, ..
                },
            ) => *current == session,
            _ => false,
        }
    }

    /// Whether the copy moved in this session before its target had this forward: the target owns now and may lack it.
    fn is_lost_on_the_way(&self, (session, forward): (SessionId, u64)) -> bool {
        self.handed_over
            .is_some_and(|(moved, took)| moved == session && took < forward)
    }

    fn release_gates(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        for gate in std::mem::take(&mut self.gated) {
            if gate.until_ms < cx.now_ms {
                continue;
            }
            if self.is_lost_on_the_way((gate.session, gate.forward)) {
                refuse(gate.to, Answer::Moved(cx.view.id()), effects);
            } else if self.is_gated(cx, gate.session, gate.forward) {
                self.gated.push(gate);
            } else {
                effects.push(Effect::Answer {
                    to: gate.to,
                    answer: gate.answer,
                    body: gate.body,
                });
            }
        }
    }

    // ---- messages --------------------------------------------------------------------------------------------------

    fn message(
        &mut self,
        cx: &Cx<'_>,
        from: NodeName,
        message: Message,
        effects: &mut Vec<Effect>,
    ) {
        if self.absorbing {
            return;
        }
        match message {
            Message::HandoffOpen {
                session, attempt, ..
            } => self.open_in(cx, from, session, attempt, effects),
            Message::HandoffOpened {
                session, refused, ..
            } => self.opened_out(cx, session, refused, effects),
            Message::HandoffItems {
                session, seq, body, ..
            } => self.stream_in(cx, &from, session, Stream::Items, seq, body, effects),
            Message::HandoffForward {
                session, seq, body, ..
            } => self.stream_in(cx, &from, session, Stream::Forwards, seq, body, effects),
            Message::HandoffTook {
                session,
                items,
                forwards,
                ..
            } => {
                if let Some(out) = self.out.as_mut().filter(|out| out.session == session) {
                    out.took(cx.now_ms, items, forwards);
                    self.release_gates(cx, effects);
                    self.pump_out(cx, effects);
                }
            }
            Message::HandoffMark {
                session,
                items,
                forwards,
                totals,
                ..
            } => {
                if let Some(incoming) = self.incoming_session(&from, session) {
                    incoming.marked(Mark {
                        items,
                        forwards,
                        totals,
                    });
                    self.judge_mark(cx, effects);
                } else {
                    self.unknown_session(from, session, effects);
                }
            }
            Message::HandoffMarked {
                session,
                forwards,
                equal,
                ..
            } => self.marked_out(cx, session, forwards, equal, effects),
            Message::HandoffBroken {
                session, reason, ..
            } => {
                if self.out.as_ref().is_some_and(|out| out.session == session) {
                    self.break_out(cx, reason, effects);
                } else if self.incoming_session(&from, session).is_some() {
                    self.incoming = None;
                }
            }
            Message::AskTotals { id, .. } => effects.push(Effect::Send {
                to: from,
                message: Message::TotalsAre {
                    id,
                    state: self.state(),
                    totals: self.holding.totals(),
                },
            }),
            Message::TotalsAre { id, state, totals } => {
                self.heard_totals(cx, id, state, totals, effects);
            }
            Message::Compare { id, .. } => self.answer_compare(cx, from, id, message, effects),
            Message::Compared {
                id,
                lacking,
                refused,
                upto,
                body,
            } => {
                let compared = Compared {
                    id,
                    lacking,
                    refused,
                    upto,
                };
                self.compared(cx, compared, body, effects);
            }
            Message::Fill { id, body, .. } => self.fill(cx, from, id, body, effects),
            Message::Filled { id, answer } => self.filled(cx, id, &answer, effects),
            Message::Answer { id, answer, body } => {
                if let Some(relay) = self.relays.remove(&id) {
                    let to = relay.to;
                    // What the target refuses is nothing that this node may answer by itself.
                    effects.push(Effect::Answer { to, answer, body });
                }
            }
            _ => {}
        }
    }

    // ---- a move, as its target -------------------------------------------------------------------------------------

    fn incoming_session(&mut self, from: &NodeName, session: SessionId) -> Option<&mut HandoffIn> {
        self.incoming
            .as_mut()
            .filter(|i| i.session == session && i.from == *from)
    }

    fn unknown_session(&self, from: NodeName, session: SessionId, effects: &mut Vec<Effect>) {
        effects.push(Effect::Send {
            to: from,
            message: Message::HandoffBroken {
                copy: self.id,
                session,
                reason: "the target does not know this session".to_owned(),
            },
        });
    }

    fn open_in(
        &mut self,
        cx: &Cx<'_>,
        from: NodeName,
        session: SessionId,
        attempt: u32,
        effects: &mut Vec<Effect>,
    ) {
        if self.incoming_session(&from, session).is_some() {
            if !self.then.values().any(|t| matches!(t, Then::Opened { .. })) {
                effects.push(Effect::Send {
                    to: from,
                    message: Message::HandoffOpened {
                        copy: self.id,
                        session,
                        refused: None,
                    },
                });
            }
            return;
        }
        let listed = cx.view.ring().moves.get(&self.id.partition);
        let listed =
            listed.is_some_and(|m| m.to == *cx.view.me() && m.from == from && m.attempt == attempt);
        let refused = if !listed {
            Some("the target's ring does not list this move".to_owned())
        } else if self.dropping || self.holding.in_flight() > 0 {
            Some("the target is still busy with its old copy".to_owned())
        } else if !matches!(self.phase, Phase::Absent | Phase::Receiving { .. }) {
            Some(format!("the target's copy is {:?}", self.state()))
        } else {
            None
        };
        if refused.is_some() {
            effects.push(Effect::Send {
                to: from,
                message: Message::HandoffOpened {
                    copy: self.id,
                    session,
                    refused,
                },
            });
            return;
        }
        // A session begins with an empty copy: what an earlier one left behind is no part of it.
        let token = self.holding.drop_all(Space::Data, effects);
        self.then.insert(token, Then::Nothing);
        self.incoming = Some(HandoffIn::new(from.clone(), session));
        let phase = Phase::Receiving {
            from: from.clone(),
            session,
            attempt,
            complete: false,
        };
        self.enter(cx, phase, Then::Opened { from, session }, effects);
    }

    #[allow(clippy::too_many_arguments)]
    fn stream_in(
        &mut self,
        cx: &Cx<'_>,
        from: &NodeName,
        session: SessionId,
        stream: Stream,
        seq: u64,
        body: Bytes,
        effects: &mut Vec<Effect>,
    ) {
        let Some(incoming) = self.incoming_session(from, session) else {
            // After the epoch the new owner still takes what the old one forwarded before it knew.
            if self.phase.answers() && cx.view.owns(self.id.partition) {
                if let Ok(writes) = self.merge_items(cx, body) {
                    if !writes.is_empty() {
                        self.write(cx, writes, false, Then::Nothing, effects);
                    }
                }
            } else {
                self.unknown_session(from.clone(), session, effects);
            }
            return;
        };
        incoming.came(stream, seq, body);
        while let Some((seq, body)) = self.incoming.as_mut().and_then(|i| i.next(stream)) {
            match self.merge_items(cx, body) {
                Ok(writes) => {
                    let then = Then::Took {
                        session,
                        stream,
                        seq,
                    };
                    self.write(cx, writes, false, then, effects);
                }
                Err(reason) => {
                    self.incoming = None;
                    effects.push(Effect::Send {
                        to: from.clone(),
                        message: Message::HandoffBroken {
                            copy: self.id,
                            session,
                            reason,
                        },
                    });
                    return;
                }
            }
            self.judge_mark(cx, effects);
        }
    }

    /// What merging these items would write.
    fn merge_items(&self, cx: &Cx<'_>, body: Bytes) -> Result<Vec<(Bytes, Option<Bytes>)>, String> {
        let items = read_items(body).map_err(|e| e.to_string())?;
        let mut writes: BTreeMap<Bytes, Bytes> = BTreeMap::new();
        for (key, entry) in items {
            if !self.is_my_key(&key) {
                return Err("an entry of another partition".to_owned());
            }
            let held = match writes.get(&key) {
                Some(written) => Some(written.clone()),
                None => self
                    .holding
                    .get(cx.store, &key)
                    .map_err(|e| e.to_string())?,
            };
            let merged = match cx.settings.fault {
                Fault::OverwriteInsteadOfMerge if held.as_ref() != Some(&entry) => {
                    Merged::Changed(entry)
                }
                _ => self.vnode.merge(held.as_ref(), &entry),
            };
            if let Merged::Changed(merged) = merged {
                writes.insert(key, merged);
            }
        }
        Ok(writes.into_iter().map(|(k, v)| (k, Some(v))).collect())
    }

    fn took_in(&mut self, session: SessionId, stream: Stream, seq: u64, effects: &mut Vec<Effect>) {
        let copy = self.id;
        let Some(incoming) = self.incoming.as_mut().filter(|i| i.session == session) else {
            return;
        };
        incoming.stored(stream, seq);
        let (items, forwards) = incoming.took();
        let message = Message::HandoffTook {
            copy,
            session,
            items,
            forwards,
        };
        effects.push(Effect::Send {
            to: incoming.from.clone(),
            message,
        });
    }

    fn judge_mark(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        let totals = self.holding.totals();
        let Some(incoming) = self.incoming.as_mut() else {
            return;
        };
        let Some((forwards, equal)) = incoming.at_mark(totals) else {
            return;
        };
        let (from, session) = (incoming.from.clone(), incoming.session);
        if !equal {
            let message = Message::HandoffMarked {
                copy: self.id,
                session,
                forwards,
                equal,
            };
            self.incoming = None;
            effects.push(Effect::Send { to: from, message });
            return;
        }
        let Phase::Receiving { attempt, .. } = self.phase else {
            return;
        };
        let phase = Phase::Receiving {
            from,
            session,
            attempt,
            complete: true,
        };
        // Written as complete, but it counts as such only when that is on disk.
        let writes = vec![self.record(&phase)];
        self.write(
            cx,
            writes,
            true,
            Then::Marked { session, forwards },
            effects,
        );
    }

    fn equal_and_synced(&mut self, session: SessionId, forwards: u64, effects: &mut Vec<Effect>) {
        let Some(from) = self
            .incoming
            .as_ref()
            .filter(|i| i.session == session)
            .map(|i| i.from.clone())
        else {
            return;
        };
        if let Phase::Receiving {
            session: current,
            complete,
            ..
        } = &mut self.phase
        {
            if *current == session {
                *complete = true;
                effects.push(Effect::Send {
                    to: from,
                    message: Message::HandoffMarked {
                        copy: self.id,
                        session,
                        forwards,
                        equal: true,
                    },
                });
            }
        }
    }

    // ---- a move, as its source -------------------------------------------------------------------------------------

    fn opened_out(
        &mut self,
        cx: &Cx<'_>,
        session: SessionId,
        refused: Option<String>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(out) = self.out.as_mut().filter(|out| out.session == session) else {
            return;
        };
        match refused {
            Some(reason) => {
                if !out.is_open() {
                    self.break_out(cx, reason, effects);
                }
            }
            None => {
                out.opened(cx.now_ms, &self.holding, effects);
                self.pump_out(cx, effects);
            }
        }
    }

    fn pump_out(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        let Some(out) = self.out.as_mut() else {
            return;
        };
        if let Err(error) = out.pump(cx.now_ms, cx.store, &self.holding, effects) {
            self.break_out(cx, error.to_string(), effects);
        }
    }

    fn marked_out(
        &mut self,
        cx: &Cx<'_>,
        session: SessionId,
        forwards: u64,
        equal: bool,
        effects: &mut Vec<Effect>,
    ) {
        let Some(out) = self.out.as_mut().filter(|out| out.session == session) else {
            return;
        };
        match out.marked(cx.now_ms, forwards, equal) {
            Ok(false) => {}
            Ok(true) => {
                let phase = Phase::Forwarding {
                    to: out.to.clone(),
                    session,
                    attempt: out.attempt,
                };
                self.enter(cx, phase, Then::Forwarding { session }, effects);
            }
            Err(reason) => self.break_out(cx, reason, effects),
        }
    }

    fn forwarding_written(&mut self, cx: &Cx<'_>, session: SessionId, effects: &mut Vec<Effect>) {
        if let Some(out) = self.out.as_mut().filter(|out| out.session == session) {
            out.stage = Stage::Ready;
            out.note_quiet(cx.now_ms);
            self.out_permit = None;
            self.tell_ready(cx, effects);
        }
    }

    fn tell_ready(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        if let Some(out) = self.out.as_ref().filter(|out| out.stage == Stage::Ready) {
            self.told_ready_ms = cx.now_ms;
            effects.push(Effect::MoveReady {
                attempt: out.attempt,
                to: out.to.clone(),
            });
        }
    }

    /// Gives a session up. Before it was ready the copy goes on serving alone; afterwards only an epoch decides, and
    /// the claimant is told that this attempt is lost.
    fn break_out(&mut self, cx: &Cx<'_>, reason: String, effects: &mut Vec<Effect>) {
        let Some(out) = self.out.take() else {
            return;
        };
        self.out_permit = None;
        self.out_backoff.failed(cx.now_ms, reason.clone());
        effects.push(Effect::Send {
            to: out.to,
            message: Message::HandoffBroken {
                copy: self.id,
                session: out.session,
                reason,
            },
        });
        match self.phase {
            Phase::Forwarding { attempt, .. } => {
                self.told_ready_ms = cx.now_ms;
                effects.push(Effect::MoveBroken { attempt });
            }
            _ => self.vnode.handoff_cancelled(),
        }
        self.release_gates(cx, effects);
    }

    fn run_move(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        if !cx.has_entries {
            return;
        }
        let partition = self.id.partition;
        let listed = cx.view.ring().moves.get(&partition);
        let Some(listed) = listed.filter(|m| m.from == *cx.view.me()) else {
            return;
        };
        if let Phase::Forwarding { attempt, .. } = self.phase {
            if cx.now_ms.saturating_sub(self.told_ready_ms) >= READY_REPEAT_MS {
                self.told_ready_ms = cx.now_ms;
                if self.out.is_some() {
                    self.tell_ready(cx, effects);
                } else {
                    effects.push(Effect::MoveBroken { attempt });
                }
            }
        }
        if let Some(out) = self.out.as_mut() {
            if out.was_quiet() {
                out.note_quiet(cx.now_ms);
            }
            if out.is_silent(cx.now_ms) {
                let reason = format!("{} is silent", out.to);
                return self.break_out(cx, reason, effects);
            }
            out.ask(cx.now_ms, cx.view.id(), effects);
            return self.pump_out(cx, effects);
        }
        let startable = self.phase == Phase::Serving
            && cx.now_ms >= self.out_backoff.not_before_ms
            && cx.view.is_up(&listed.to);
        if !startable {
            return;
        }
        let Some(permit) = cx.limits.take() else {
            return;
        };
        if let Err(reason) = self.vnode.handoff_starting(&listed.to) {
            self.out_backoff.failed(cx.now_ms, reason);
            return;
        }
        self.sessions += 1;
        let session = SessionId {
            boot: cx.settings.boot,
            number: (self.sessions << 24)
                | (u64::from(self.id.service.0) << 16)
                | u64::from(partition.0),
        };
        let mut out = HandoffOut::new(
            self.id,
            listed.to.clone(),
            session,
            listed.attempt,
            cx.now_ms,
        );
        out.ask(cx.now_ms.max(1_000), cx.view.id(), effects);
        self.out = Some(out);
        self.out_permit = Some(permit);
    }

    // ---- comparing, draining, filling ------------------------------------------------------------------------------

    fn answer_compare(
        &mut self,
        cx: &Cx<'_>,
        asker: NodeName,
        id: RequestId,
        message: Message,
        effects: &mut Vec<Effect>,
    ) {
        let Message::Compare {
            from,
            to,
            both_ways,
            body,
            ..
        } = message
        else {
            return;
        };
        let compared = |refused, lacking, upto, body| Message::Compared {
            id,
            lacking,
            refused,
            upto,
            body,
        };
        if !(self.phase.answers() && cx.view.owns(self.id.partition)) {
            let refused = Some(Answer::NotOwner(cx.view.id()));
            let message = compared(refused, Vec::new(), from, Bytes::new());
            effects.push(Effect::Send { to: asker, message });
            return;
        }
        let answered = compare::answer(
            cx.store,
            &*self.vnode,
            &self.holding,
            &from,
            &to,
            both_ways,
            body,
        );
        let (lacking, upto, body) = match answered {
            Ok(answered) => answered,
            Err(error) => {
                let text = error.to_string();
                let refused = Some(Answer::Failed {
                    text,
                    maybe_applied: false,
                });
                let message = compared(refused, Vec::new(), from, Bytes::new());
                effects.push(Effect::Send { to: asker, message });
                return;
            }
        };
        let message = compared(None, lacking, upto, body);
        if both_ways {
            effects.push(Effect::Send { to: asker, message });
        } else {
            // The asker will drop what this says is covered: it must survive a power cut first.
            let then = Then::Compared {
                to: asker,
                message,
                failures: self.failures,
            };
            self.write(cx, Vec::new(), true, then, effects);
        }
    }

    fn fill(
        &mut self,
        cx: &Cx<'_>,
        from: NodeName,
        id: RequestId,
        body: Bytes,
        effects: &mut Vec<Effect>,
    ) {
        let refused = if !(self.phase.answers() && cx.view.owns(self.id.partition)) {
            Some(Answer::NotOwner(cx.view.id()))
        } else if self.holding.is_full() || matches!(self.phase, Phase::Forwarding { .. }) {
            // While forwarding nothing is promised without the target: it comes back after the epoch.
            Some(Answer::Busy)
        } else {
            None
        };
        if let Some(answer) = refused {
            let message = Message::Filled { id, answer };
            effects.push(Effect::Send { to: from, message });
            return;
        }
        match self.merge_items(cx, body) {
            Ok(writes) => {
                for (key, value) in &writes {
                    if let Some(value) = value {
                        self.forward(key, value, effects);
                    }
                }
                self.write(cx, writes, true, Then::Filled { to: from, id }, effects);
            }
            Err(text) => {
                let answer = Answer::Failed {
                    text,
                    maybe_applied: false,
                };
                effects.push(Effect::Send {
                    to: from,
                    message: Message::Filled { id, answer },
                });
            }
        }
    }

    fn compared(
        &mut self,
        cx: &Cx<'_>,
        compared: Compared,
        body: Bytes,
        effects: &mut Vec<Effect>,
    ) {
        let id = compared.id;
        let found = !compared.lacking.is_empty() || !body.is_empty();
        let merge = self.with_comparison(cx, |comparison, cx, holding, ids| {
            comparison.is_about(id).then(|| {
                comparison.compared(
                    cx.now_ms,
                    cx.view.id(),
                    Compared {
                        id: compared.id,
                        lacking: compared.lacking.clone(),
                        refused: compared.refused.clone(),
                        upto: compared.upto.clone(),
                    },
                    cx.store,
                    holding,
                    ids,
                    effects,
                )
            })
        });
        match merge {
            Some(Ok(true)) => {
                self.repairs += u64::from(found && self.phase == Phase::Serving);
                if let Ok(writes) = self.merge_items(cx, body) {
                    if !writes.is_empty() {
                        for (key, value) in &writes {
                            if let Some(value) = value {
                                self.forward(key, value, effects);
                            }
                        }
                        self.write(cx, writes, false, Then::Nothing, effects);
                    }
                }
                self.comparisons_moved(cx, effects);
            }
            Some(Err(error)) => effects.push(Effect::Warn(error.to_string())),
            Some(Ok(false)) | None => {}
        }
    }

    fn filled(&mut self, cx: &Cx<'_>, id: RequestId, answer: &Answer, effects: &mut Vec<Effect>) {
        if let Some(drain) = self.hint_drain.as_mut() {
            drain.filled(cx.now_ms, id, answer);
        }
        let moved = self.with_comparison(cx, |comparison, cx, holding, ids| {
            comparison.is_about(id).then(|| {
                comparison.filled(
                    cx.now_ms,
                    cx.view.id(),
                    id,
                    answer,
                    cx.store,
                    holding,
                    ids,
                    effects,
                )
            })
        });
        match moved {
            Some(Ok(())) => self.comparisons_moved(cx, effects),
            Some(Err(error)) => effects.push(Effect::Warn(error.to_string())),
            None => self.pump_hints(cx, effects),
        }
    }

    /// Runs `run` on each comparison under way until one of them says that it was meant.
    fn with_comparison<T>(
        &mut self,
        cx: &Cx<'_>,
        mut run: impl FnMut(&mut Comparison, &Cx<'_>, &Holding, compare::Ids<'_>) -> Option<T>,
    ) -> Option<T> {
        let mut ids = id_source(self.id, &mut self.next_id);
        let catch_up = self.catch_up.as_mut().and_then(CatchUp::comparison_mut);
        let all = self
            .drain
            .iter_mut()
            .chain(catch_up)
            .chain(&mut self.repair);
        for comparison in all {
            if let Some(told) = run(comparison, cx, &self.holding, &mut ids) {
                return Some(told);
            }
        }
        None
    }

    fn comparisons_moved(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        if self.repair.as_ref().is_some_and(Comparison::is_done) {
            self.repair = None;
        }
        self.pump_comparisons(cx, effects);
    }

    fn pump_comparisons(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        let mut ids = id_source(self.id, &mut self.next_id);
        let catch_up = self.catch_up.as_mut().and_then(CatchUp::comparison_mut);
        let all = self
            .drain
            .iter_mut()
            .chain(catch_up)
            .chain(&mut self.repair);
        for comparison in all {
            let pumped = comparison.pump(
                cx.now_ms,
                cx.view.id(),
                cx.store,
                &*self.vnode,
                &self.holding,
                &mut ids,
                effects,
            );
            if let Err(error) = pumped {
                effects.push(Effect::Warn(error.to_string()));
            }
        }
    }

    // ---- a copy that left the row ----------------------------------------------------------------------------------

    fn run_drain(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        let Phase::Draining { to } = &self.phase else {
            return;
        };
        if cx.settings.fault == Fault::DeleteSourceEarly {
            return self.drop_copy(cx, effects);
        }
        if self.holding.in_flight() > 0 || self.dropping {
            return;
        }
        if self.drain.is_empty() && !self.drained {
            let owners = cx.view.owners(self.id.partition);
            let to: Vec<NodeName> = match to {
                Some(to) if owners.contains(to) => vec![to.clone()],
                _ => owners,
            };
            let drains = to
                .into_iter()
                .filter(|node| node != cx.view.me())
                .map(|node| Comparison::new(self.id, node, false, &self.holding));
            self.drain = drains.collect();
        }
        self.pump_comparisons(cx, effects);
        if !self.drain.is_empty() && self.drain.iter().all(Comparison::is_done) {
            self.drain.clear();
            self.drained = true;
        }
        let grace = if cx.view.serves() {
            cx.settings.grace_ms
        } else {
            0
        };
        let patient = cx.now_ms.saturating_sub(self.epoch_since_ms) >= grace;
        if self.drained && patient && cx.view.all_reachable_agree() {
            self.drop_copy(cx, effects);
        }
    }

    fn drop_copy(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        // A hint of a key alone says "what this node holds": it takes the entry along before that goes.
        let mut writes = Vec::new();
        if self.holding.hints() > 0 {
            let (from, to) = self.holding.range(Space::Hint);
            let page = self
                .holding
                .page(cx.store, &from, &to, usize::MAX, usize::MAX);
            let Ok(page) = page else {
                return;
            };
            for (key, raw) in page.entries {
                let Some(mut hint) = Hint::decode(raw).filter(|hint| hint.entry.is_none()) else {
                    continue;
                };
                let data_key = StoreKey::respace(&key, Space::Data);
                match self.holding.get(cx.store, &data_key) {
                    Ok(Some(entry)) => {
                        hint.entry = Some(entry);
                        writes.push((key, Some(hint.encode())));
                    }
                    Ok(None) => writes.push((key, None)),
                    Err(_) => return,
                }
            }
        }
        if !writes.is_empty() {
            self.write(cx, writes, true, Then::Nothing, effects);
        }
        self.dropping = true;
        self.drain.clear();
        self.drained = false;
        let token = self.holding.drop_all(Space::Data, effects);
        self.then.insert(token, Then::Nothing);
        self.enter(cx, Phase::Absent, Then::Nothing, effects);
    }

    // ---- a copy that came back ----------------------------------------------------------------------------------------

    fn run_catch_up(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        let Phase::CatchingUp { lost, .. } = self.phase else {
            self.catch_up = None;
            return;
        };
        let catch_up = self
            .catch_up
            .get_or_insert_with(|| CatchUp::new(cx.now_ms, lost));
        catch_up.advance(self.id, cx.view, &self.holding);
        self.pump_comparisons(cx, effects);
        let done = self.catch_up.as_ref().is_some_and(|c| {
            c.is_done(cx.view, self.id.partition)
                && c.has_settled(cx.now_ms, cx.view)
                && cx.hints_clear_since >= Some(c.since_ms())
        });
        if done {
            if lost && self.holding.totals().entries == 0 {
                let text = format!(
                    "partition {} serves as empty: no owner holds an entry of it",
                    self.id.partition
                );
                effects.push(Effect::Warn(text));
            }
            self.catch_up = None;
            self.enter(cx, Phase::Serving, Then::Nothing, effects);
        }
    }

    fn run_repair(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        if self.phase != Phase::Serving || self.repair.is_some() || !cx.has_entries {
            return;
        }
        let quiet = cx.now_ms.saturating_sub(self.last_write_ms) >= QUIET_MS;
        if !quiet || cx.now_ms < self.repair_due_ms || !cx.view.owns(self.id.partition) {
            return;
        }
        let interval = if self.suspect.is_some() {
            QUIET_MS / 3
        } else {
            cx.settings.anti_entropy_ms
        };
        let first = self.repair_due_ms == 0;
        self.repair_due_ms = cx.now_ms + interval;
        if first {
            return;
        }
        let others = cx.view.other_owners(self.id.partition);
        let with = match &self.suspect {
            Some((suspect, _)) => Some(suspect.clone()),
            None if others.is_empty() => None,
            None => {
                self.repair_turn += 1;
                others.get(self.repair_turn % others.len()).cloned()
            }
        };
        let Some(with) = with.filter(|node| cx.view.is_up(node) && others.contains(node)) else {
            self.suspect = None;
            return;
        };
        let id = self.fresh_id();
        self.asked_totals = Some((id, with.clone()));
        effects.push(Effect::Send {
            to: with,
            message: Message::AskTotals {
                id,
                copy: self.id,
                ring: cx.view.id(),
            },
        });
    }

    fn heard_totals(
        &mut self,
        cx: &Cx<'_>,
        id: RequestId,
        state: CopyState,
        totals: Totals,
        effects: &mut Vec<Effect>,
    ) {
        let Some((_, with)) = self.asked_totals.take_if(|(asked, _)| *asked == id) else {
            return;
        };
        let comparable = matches!(state, CopyState::Serving | CopyState::CatchingUp);
        if !comparable || totals == self.holding.totals() {
            self.suspect = None;
            return;
        }
        // A write under way makes copies differ for a moment; one that differs the same way twice differs.
        match self.suspect.take() {
            Some((node, before)) if node == with && before == totals => {
                self.repair = Some(Comparison::new(self.id, with, true, &self.holding));
                self.pump_comparisons(cx, effects);
            }
            _ => {
                self.suspect = Some((with, totals));
                self.repair_due_ms = cx.now_ms + QUIET_MS / 3;
            }
        }
    }

    // ---- time and membership ---------------------------------------------------------------------------------------

    fn tick(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        if self.absorbing {
            return self.absorb(cx, effects);
        }
        self.release_gates(cx, effects);
        self.relays.retain(|_, relay| relay.until_ms >= cx.now_ms);
        self.run_move(cx, effects);
        self.run_drain(cx, effects);
        self.run_catch_up(cx, effects);
        self.run_repair(cx, effects);
        let gone = |repair: &Comparison| {
            !cx.view.is_up(&repair.with) || !cx.view.ring().owns(&repair.with, self.id.partition)
        };
        if self.repair.as_ref().is_some_and(gone) {
            self.repair = None;
        }
        self.pump_comparisons(cx, effects);
        if self.repair.as_ref().is_some_and(Comparison::is_done) {
            self.repair = None;
        }
        self.pump_hints(cx, effects);
    }

    /// Brings the copy in line with the ring.
    fn view_changed(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        if self.cluster != cx.view.id().cluster && !cx.has_entries {
            self.cluster = cx.view.id().cluster;
        }
        if self.cluster != cx.view.id().cluster {
            self.absorbing = true;
            self.out = None;
            self.out_permit = None;
            self.gated.clear();
            self.relays.clear();
            return self.absorb(cx, effects);
        }
        let partition = self.id.partition;
        let me = cx.view.me().clone();
        let owns = cx.view.owns(partition);
        if !cx.has_entries {
            // Nothing to move and nothing to lose: it answers where the ring has it, at once.
            self.phase = if owns { Phase::Serving } else { Phase::Absent };
            return;
        }
        let listed = cx.view.ring().moves.get(&partition).cloned();
        self.hint_backoff.not_before_ms = 0;
        self.hint_backoff.tries = 0;
        self.out_backoff.not_before_ms = self.out_backoff.not_before_ms.min(cx.now_ms + 50);
        let mine = listed.as_ref().filter(|m| m.from == me);
        if let Some(out) = &self.out {
            let goes_on = mine.is_some_and(|m| m.to == out.to && m.attempt == out.attempt);
            if !goes_on {
                self.end_session(cx, effects);
            }
        }
        match self.phase.clone() {
            Phase::Absent | Phase::Draining { .. } if owns => {
                // Owner by force, or back before the old copy was dropped: it may lack anything.
                self.vnode.start();
                self.drain.clear();
                self.drained = false;
                self.enter(cx, cx.lossy(), Then::Nothing, effects);
            }
            Phase::Serving | Phase::CatchingUp { .. } if !owns => {
                self.leave_row(cx, None, effects);
            }
            Phase::Forwarding {
                to,
                session,
                attempt,
            } => {
                let is_over = self.handed_over.is_some_and(|(moved, _)| moved == session);
                if self.out.is_none() && !is_over && cx.view.ring().owns(&to, partition) {
                    // Moved without a session: nothing that came since reached the target.
                    self.handed_over = Some((session, 0));
                }
                if !owns {
                    self.leave_row(cx, Some(to), effects);
                } else if !mine.is_some_and(|m| m.attempt == attempt && m.to == to) {
                    self.enter(cx, Phase::Serving, Then::Nothing, effects);
                    self.release_gates(cx, effects);
                }
            }
            Phase::Receiving { complete, .. } => {
                if owns {
                    self.incoming = None;
                    self.vnode.start();
                    let phase = if complete { Phase::Serving } else { cx.lossy() };
                    self.enter(cx, phase, Then::Nothing, effects);
                } else if !listed.is_some_and(|m| m.to == me) {
                    self.incoming = None;
                    self.drop_copy(cx, effects);
                }
            }
            Phase::Draining { .. } => {
                // The owners may be others now: begin the proof again.
                self.drain.clear();
                self.drained = false;
            }
            _ => {}
        }
        self.tick(cx, effects);
    }

    /// The session is over because an epoch decided.
    fn end_session(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        let Some(out) = self.out.take() else {
            return;
        };
        self.out_permit = None;
        self.out_backoff = Backoff::default();
        let moved = cx.view.ring().row(self.id.partition).contains(&out.to);
        if moved {
            self.vnode.handoff_finished(&out.to);
        } else {
            self.vnode.handoff_cancelled();
        }
        if moved {
            self.handed_over = Some((out.session, out.forwards_took()));
        }
        self.release_gates(cx, effects);
    }

    fn leave_row(&mut self, cx: &Cx<'_>, to: Option<NodeName>, effects: &mut Vec<Effect>) {
        self.vnode.stop();
        self.catch_up = None;
        self.repair = None;
        self.suspect = None;
        self.drained = false;
        self.drain.clear();
        self.epoch_since_ms = cx.now_ms;
        self.enter(cx, Phase::Draining { to }, Then::Nothing, effects);
        for (_, relay) in std::mem::take(&mut self.relays) {
            refuse(relay.to, Answer::NotOwner(cx.view.id()), effects);
        }
    }

    /// Writes its phase down before the first event: what a restart decided is what the next one finds.
    pub(crate) fn write_phase(&self, store: &dyn Store) -> Result<(), Error> {
        let mut batch = Batch::default();
        match self.record(&self.phase) {
            (key, Some(value)) => batch.put(key, value),
            (key, None) => batch.delete(key),
        }
        store.apply(&batch)
    }

    // ---- for people ------------------------------------------------------------------------------------------------

    /// The exchange that it catches up by.
    pub(crate) fn catching_up_with(&self) -> Option<&Comparison> {
        self.catch_up.as_ref().and_then(CatchUp::comparison)
    }

    /// Why its transfer out does not move on, if it does not.
    pub(crate) fn out_trouble(&self) -> Option<&String> {
        self.out_backoff.last_error.as_ref()
    }

    /// Why its hints do not drain.
    pub(crate) fn hint_trouble(&self) -> Option<&String> {
        self.hint_drain
            .as_ref()
            .and_then(|drain| drain.trouble.as_ref())
            .or(self.hint_backoff.last_error.as_ref())
    }

    fn fresh_id(&mut self) -> RequestId {
        id_source(self.id, &mut self.next_id)()
    }
}

/// Ids of requests that a copy makes: the top bit, its name, and a number.
fn id_source(copy: CopyId, next: &mut u64) -> impl FnMut() -> RequestId {
    move || {
        *next = (*next + 1) & 0xff_ffff_ffff;
        let name = (u64::from(copy.service.0) << 55) | (u64::from(copy.partition.0) << 40);
        RequestId((1 << 63) | name | *next)
    }
}

/// The copy that made a request, if one did.
pub fn asking_copy(id: RequestId) -> Option<CopyId> {
    (id.0 >> 63 == 1).then(|| CopyId {
        service: rkv_wire::message::ServiceId(((id.0 >> 55) & 0xff) as u8),
        partition: rkv_ring::Partition(((id.0 >> 40) & 0x7fff) as u16),
    })
}

/// Where a copy's phase is stored.
pub fn phase_key(copy: CopyId) -> Bytes {
    let name = format!("copy/{}/{}", copy.service.0, copy.partition);
    StoreKey::meta(name.as_bytes())
}

fn refuse(to: ReplyTo, answer: Answer, effects: &mut Vec<Effect>) {
    effects.push(Effect::Answer {
        to,
        answer,
        body: Bytes::new(),
    });
}

fn bad_key() -> Answer {
    Answer::Failed {
        text: "the key is none of this partition".to_owned(),
        maybe_applied: false,
    }
}

fn failed(error: &Error) -> Answer {
    if matches!(error, Error::Busy) {
        return Answer::Busy;
    }
    Answer::Failed {
        text: error.to_string(),
        maybe_applied: matches!(error, Error::Broken(_) | Error::Corrupt(_)),
    }
}
