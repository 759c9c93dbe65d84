//! This file answers: what happens to one put?
//!
//! All up owners are asked at once. Owners that are down get their hint with the first sends: with a fallback outside
//! the row the hint is a copy and counts for w; on a node of the row it is only the key, kept beside the data, and does
//! not count. A replica that holds something newer refuses, and the put is stamped anew above that. After the answer the
//! machine lingers until everyone has spoken or the deadline has come, and sees to it that each owner that has not
//! stored the write has a hint. A delete is a put of a tombstone; EXPIRE and PERSIST are puts of a deadline.
//! Who has the value gets the deadline alone; who says that it lacks the value gets both.

use bytes::Bytes;
use rkv_ring::{NodeName, Preflist, RingId};
use smallvec::SmallVec;

use crate::clock::{Clock, Stamp};
use crate::object::{Deadline, Object};
use crate::outcome::{ErrorKind, FINISHED, PutOutcome, QuorumError, ResultWord};
use crate::policy::{PutPolicy, majority};
use crate::roster::{Ask, Refusal, Roster, Seat, Standing};
use crate::tally::{Role, Tally};

/// How often a put is stamped anew before it gives up. Each round is lost only to a write that came between.
pub const MAX_RESTAMPS: u8 = 4;

/// What is to be written, without its stamp: that may change on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Draft {
    /// A value.
    Value {
        /// The value itself.
        body: Bytes,
        /// When it ends, in unix milliseconds.
        at_ms: Option<u64>,
    },
    /// A deletion.
    Tombstone,
    /// A deadline for the value stamped `of`.
    Deadline {
        /// When that value ends, in unix milliseconds; none lifts a deadline set before.
        at_ms: Option<u64>,
        /// The stamp of the value it is for.
        of: Stamp,
        /// That value as it was read: copies that lack it get it under its own stamp, as a repair would bring it.
        value: Object,
    },
}

impl Draft {
    /// The object that is written under `stamp`; of a deadline nothing else.
    pub fn stamped(&self, stamp: Stamp) -> Object {
        match self {
            Draft::Value { body, at_ms: None } => Object::value(stamp, body.clone()),
            Draft::Value {
                body,
                at_ms: Some(at_ms),
            } => Object::value_until(stamp, body.clone(), *at_ms),
            Draft::Tombstone => Object::tombstone(stamp),
            Draft::Deadline { at_ms, of, .. } => Object::deadline(Deadline {
                at_ms: *at_ms,
                stamp,
                of: *of,
            }),
        }
    }

    /// Bytes of its values.
    pub fn bytes(&self) -> usize {
        match self {
            Draft::Value { body, .. } => body.len(),
            Draft::Tombstone => 0,
            Draft::Deadline { value, .. } => value.body().len(),
        }
    }

    /// The same with all that a copy needs which lacks the value that a deadline is for.
    pub fn whole(&self, stamp: Stamp) -> Object {
        let mut whole = self.stamped(stamp);
        if let Draft::Deadline { value, .. } = self {
            whole.merge(value);
        }
        whole
    }
}

/// What a replica says to a put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is stored as durably as the node promises, with every key hint that came along.
    Stored,
    /// Refused: it holds this, which is at or above what was sent. What is held covers the write.
    Newer(Stamp),
    /// Refused: it takes nothing stamped at or below this, and need not hold anything newer (it is catching up, or it
    /// reaped a deletion). The write is missing there.
    Floor(Stamp),
    /// Not stored: it lacks the value that the deadline is for.
    Lacks,
    /// Declined for another reason.
    Refused(Refusal),
}

/// All that can happen to a put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Go.
    Begin,
    /// A replica answered.
    Answer {
        /// Who.
        node: NodeName,
        /// Which ask it answers.
        ask: Ask,
        /// What it said.
        answer: Answer,
    },
    /// An ask will not be answered.
    Unreachable {
        /// By whom.
        node: NodeName,
        /// Which ask.
        ask: Ask,
        /// Whether some of it may have arrived; false only when the connection was refused before anything was sent.
        sent: bool,
    },
    /// A newer ring was adopted.
    Preflist(Preflist),
    /// [`Put::next_tick_ms`] has come.
    Tick,
}

/// How much of a write a replica is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// What is written.
    Draft,
    /// The same with all that a copy needs which lacks the value that a deadline is for.
    Whole,
}

/// All that a put may wish for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ask a replica to store the object, fenced with [`Put::ring`].
    Send {
        /// Whom.
        to: NodeName,
        /// An owner stores it as its own; a fallback stores it as a hint that is a copy.
        role: Role,
        /// To be named by the answer.
        ask: Ask,
        /// Which [`Put::object`] to store.
        extent: Extent,
        /// Owners that the receiver keeps a hint for, in the same batch as the data. A fallback's copy is their hint; an
        /// owner notes only the key.
        hint_for: Vec<NodeName>,
    },
    /// Owners turned out not to have stored the write, and nobody keeps a hint for them yet: the whole [`Put::object`] is what
    /// they lack. Asked for without an answer.
    Hint {
        /// Who is to keep one.
        to: NodeName,
        /// A fallback keeps a copy; an owner, which has stored the write, notes only the key.
        role: Role,
        /// For whom.
        missing: Vec<NodeName>,
    },
    /// Nothing more will come: the machine can be dropped.
    Finished,
}

/// What a step wishes for; room for what one asks of three replicas.
pub type Effects = SmallVec<[Effect; 4]>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    New,
    Asking,
    /// Answered; `acked` says how.
    Lingering {
        acked: bool,
    },
    Finished,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    Stored,
    Newer,
    Floor,
}

/// Who keeps a hint for an owner.
#[derive(Debug, Clone)]
struct Hint {
    owner: NodeName,
    /// It counts once this node, in this capacity, has stored the write. None: it was asked for after the fact.
    carrier: Option<(NodeName, Role)>,
}

/// One put, delete or deadline.
#[derive(Debug, Clone)]
pub struct Put {
    policy: PutPolicy,
    me: NodeName,
    draft: Draft,
    stamp: Stamp,
    roster: Roster<Says>,
    hints: Vec<Hint>,
    /// Nodes that lack the value which the deadline is for.
    lacking: Vec<NodeName>,
    needed: Tally,
    restamps: u8,
    /// It was refused once more after the last restamp.
    beaten: bool,
    deadline_ms: u64,
    phase: Phase,
}

impl Put {
    /// A put of `draft` under `stamp`, coordinated by `me` and routed by `preflist` (whose first n places take part).
    /// Nothing happens before [`Event::Begin`].
    pub fn new(
        policy: PutPolicy,
        preflist: &Preflist,
        draft: Draft,
        stamp: Stamp,
        me: NodeName,
    ) -> Put {
        Put {
            policy,
            me,
            draft,
            stamp,
            roster: Roster::new(preflist, policy.n),
            hints: Vec::new(),
            lacking: Vec::new(),
            needed: Tally::default(),
            restamps: 0,
            beaten: false,
            deadline_ms: 0,
            phase: Phase::New,
        }
    }

    /// The ring that its sends are routed by.
    pub fn ring(&self) -> RingId {
        self.roster.ring
    }

    /// How many places are to store it.
    pub fn w(&self) -> usize {
        usize::from(self.policy.w)
    }

    /// Bytes of what is to be written.
    pub fn bytes(&self) -> usize {
        self.draft.bytes()
    }

    /// The stamp of its last round.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// When it wants a [`Event::Tick`], unless something else happens before; none when it waits for nothing.
    pub fn next_tick_ms(&self) -> Option<u64> {
        match self.phase {
            Phase::New | Phase::Finished => None,
            Phase::Lingering { acked: false } => Some(self.deadline_ms),
            _ => Some(
                self.roster
                    .next_wake_ms()
                    .map_or(self.deadline_ms, |w| w.min(self.deadline_ms)),
            ),
        }
    }

    /// What is sent, under the stamp of its last round.
    pub fn object(&self, extent: Extent) -> Object {
        match extent {
            Extent::Draft => self.draft.stamped(self.stamp),
            Extent::Whole => self.draft.whole(self.stamp),
        }
    }

    /// Takes an event and appends what is to be done; the caller's answer, if this decides it, which is told first. It is
    /// decided once. `now_ms` is any clock that does not go back; `clock` is this node's, for stamps above one that refused.
    pub fn step(
        &mut self,
        now_ms: u64,
        event: Event,
        clock: &Clock,
        effects: &mut Effects,
    ) -> Option<Result<PutOutcome, QuorumError>> {
        let mut decided = None;
        match (self.phase, event) {
            (Phase::New, Event::Begin) => decided = self.begin(now_ms, effects).map(Err),
            (Phase::New | Phase::Finished, _) => return None,
            (_, event) => self.take(now_ms, event, clock),
        }
        let late = now_ms >= self.deadline_ms;
        if self.phase == Phase::Asking {
            decided = self.decide(late, effects);
        }
        if !late && matches!(self.phase, Phase::Asking | Phase::Lingering { acked: true }) {
            self.send(effects);
        }
        if let Phase::Lingering { acked } = self.phase {
            self.settle(acked, late, effects);
        }
        decided
    }

    /// Goes on only if w can be reached: else nothing is written at all.
    fn begin(&mut self, now_ms: u64, effects: &mut Effects) -> Option<QuorumError> {
        self.deadline_ms = now_ms.saturating_add(self.policy.timeout_ms);
        self.phase = Phase::Asking;
        let up = self.roster.tally(|seat| !seat.is_vacant());
        let down = self.roster.tally(Seat::is_vacant);
        let (w, pw) = (usize::from(self.policy.w), usize::from(self.policy.pw));
        self.needed = Tally {
            places: w,
            owners: pw,
            nodes: w.min(up.nodes),
        };
        let reachable = up.places + down.places.min(self.roster.fallbacks());
        if reachable >= w && up.owners >= pw {
            return None;
        }
        let kind = match up.places < usize::from(majority(self.policy.n)) {
            true => ErrorKind::NoQuorum,
            false => ErrorKind::NoReplicas,
        };
        let counted = if reachable < w {
            (reachable, w)
        } else {
            (up.owners, pw)
        };
        Some(self.fail(kind, counted, effects))
    }

    fn take(&mut self, now_ms: u64, event: Event, clock: &Clock) {
        let late = now_ms >= self.deadline_ms;
        match event {
            Event::Begin => {}
            Event::Answer { node, ask, answer } => self.hear(now_ms, &node, ask, answer, clock),
            Event::Unreachable { node, ask, sent } => self.roster.lose(&node, ask, sent),
            Event::Preflist(preflist) if !late => self.roster.reroute(&preflist),
            Event::Tick if !late => self.roster.wake(now_ms),
            Event::Preflist(_) | Event::Tick => {}
        }
    }

    /// An answer to an ask that was given up is for an earlier stamp, and counts for nothing.
    fn hear(&mut self, now_ms: u64, node: &NodeName, ask: Ask, answer: Answer, clock: &Clock) {
        let (says, beaten_by) = match answer {
            Answer::Stored => (Says::Stored, None),
            Answer::Newer(held) if held == self.stamp => (Says::Stored, None),
            Answer::Newer(held) => (Says::Newer, Some(held)),
            Answer::Floor(held) => (Says::Floor, Some(held)),
            Answer::Lacks => return self.lacks(now_ms, node, ask),
            Answer::Refused(refusal) => return self.roster.refuse(now_ms, node, ask, refusal),
        };
        let Some(seat) = self.roster.awaited(node, ask) else {
            return;
        };
        seat.standing = Standing::Answered(says);
        if let Some(held) = beaten_by.filter(|_| now_ms < self.deadline_ms) {
            self.restamp(held, clock);
        }
    }

    /// Asks once more, with the value.
    fn lacks(&mut self, now_ms: u64, node: &NodeName, ask: Ask) {
        if self.lacking.contains(node) {
            let refusal = Refusal::Failed {
                message: "it lacks the value that it was sent".to_owned(),
                maybe_applied: false,
            };
            return self.roster.refuse(now_ms, node, ask, refusal);
        }
        if let Some(seat) = self.roster.awaited(node, ask) {
            seat.standing = Standing::Idle;
            self.lacking.push(node.clone());
        }
    }

    /// Asks everyone again under a stamp above `held`, also those that have stored the older one.
    fn restamp(&mut self, held: Stamp, clock: &Clock) {
        if self.phase != Phase::Asking {
            return;
        }
        if self.restamps == MAX_RESTAMPS {
            self.beaten = true;
            return;
        }
        self.restamps += 1;
        self.stamp = clock.after(&held.max(self.stamp));
        // Also who is in the ring no more: it is not asked, but what it has stored is not this.
        for seat in &mut self.roster.seats {
            if matches!(seat.standing, Standing::Pending | Standing::Answered(_)) {
                seat.ask_again();
            }
        }
    }

    fn decide(
        &mut self,
        late: bool,
        effects: &mut Effects,
    ) -> Option<Result<PutOutcome, QuorumError>> {
        let stored = self.roster.tally(is_stored);
        if stored.meets(&self.needed) {
            self.phase = Phase::Lingering { acked: true };
            return Some(Ok(PutOutcome {
                reason: FINISHED,
                stamp: self.stamp,
                replicas: self.roster.results(false, word, is_stored),
            }));
        }
        let kind = if self.beaten {
            ErrorKind::QuorumNotMet
        } else if late && self.roster.is_busy() {
            ErrorKind::Busy
        } else if late {
            ErrorKind::Timeout
        } else {
            self.stand_in();
            let possible = self.roster.tally(|seat| seat.is_open() || is_stored(seat));
            if possible.meets(&self.needed) || self.roster.is_misrouted() {
                return None;
            }
            ErrorKind::QuorumNotMet
        };
        let counted = stored.of(&self.needed);
        Some(Err(self.fail(kind, counted, effects)))
    }

    fn fail(
        &mut self,
        kind: ErrorKind,
        counted: (usize, usize),
        effects: &mut Effects,
    ) -> QuorumError {
        let maybe_applied = self.is_maybe_applied();
        let replicas = self.roster.results(true, word, is_stored);
        if maybe_applied {
            self.phase = Phase::Lingering { acked: false };
        } else {
            self.finish(effects);
        }
        QuorumError::new(kind, true, counted, maybe_applied, replicas)
    }

    /// "Not applied" is said only if each replica asked has refused or was never sent to. A refusal proves nothing about
    /// an earlier copy of the same request, so a replica that was sent to twice may hold the write.
    fn is_maybe_applied(&self) -> bool {
        use Standing::*;
        let may_hold = |seat: &Seat<Says>| match &seat.standing {
            Pending | Answered(Says::Stored) | Lost { sent: true } => true,
            Failed { maybe_applied, .. } => *maybe_applied,
            Idle | Spared | Down | Paused { .. } | Misrouted | Lost { sent: false } => false,
            Answered(Says::Newer | Says::Floor) => false,
        };
        let sends = |node| {
            self.roster
                .seats_of(node)
                .map(|seat| seat.sends)
                .sum::<u32>()
        };
        let mut asked = self.roster.seats.iter().filter(|seat| seat.sends > 0);
        asked.any(|seat| seat.unsure || may_hold(seat) || sends(&seat.node) > 1)
    }

    /// Seats a fallback for each place whose owner answers nothing; where there is none, a hint rides on another send.
    fn stand_in(&mut self) {
        for (owner, place) in self.roster.uncovered(|says| *says == Says::Stored) {
            let carrier = match self.roster.stand_in(place) {
                Some(fallback) => Some((fallback, Role::Fallback)),
                None if self.is_hinted(&owner, Seat::is_open) => None,
                None => self.carrier(),
            };
            if carrier.is_some() {
                self.hints.push(Hint { owner, carrier });
            }
        }
    }

    /// Who can take a hint along with what it is about to be sent: best a fallback, whose copy serves all owners, else
    /// this node itself.
    fn carrier(&self) -> Option<(NodeName, Role)> {
        let due = self.roster.seats.iter().filter(|seat| seat.is_due());
        let rank = |seat: &&Seat<Says>| (seat.role == Role::Owner, seat.node != self.me);
        due.min_by_key(rank)
            .map(|seat| (seat.node.clone(), seat.role))
    }

    fn send(&mut self, effects: &mut Effects) {
        for index in 0..self.roster.seats.len() {
            let seat = &self.roster.seats[index];
            if !seat.is_due() {
                continue;
            }
            let (to, role) = (seat.node.clone(), seat.role);
            let rides =
                |(carrier, capacity): &(NodeName, Role)| *carrier == to && *capacity == role;
            let carried = self
                .hints
                .iter()
                .filter(|hint| hint.carrier.as_ref().is_some_and(rides));
            let hint_for = carried.map(|hint| hint.owner.clone()).collect();
            let extent = match role == Role::Fallback || self.lacking.contains(&to) {
                true => Extent::Whole,
                false => Extent::Draft,
            };
            let ask = self.roster.ask(index);
            effects.push(Effect::Send {
                to,
                role,
                ask,
                extent,
                hint_for,
            });
        }
    }

    /// Gives a hint to each owner that will not store the write any more, and ends when nobody is awaited.
    fn settle(&mut self, acked: bool, late: bool, effects: &mut Effects) {
        // A failed put asks nobody again: only answers that are under way are awaited.
        let awaits = |seat: &Seat<Says>| {
            let may_come = if acked {
                seat.is_open()
            } else {
                seat.is_pending()
            };
            may_come && seat.counts() && !late
        };
        let covers = |seat: &Seat<Says>| {
            matches!(seat.answer(), Some(Says::Stored | Says::Newer)) || awaits(seat)
        };
        let owners = self
            .roster
            .seats
            .iter()
            .filter(|s| s.role == Role::Owner && s.counts());
        let missing: Vec<NodeName> = owners
            .filter(|seat| !covers(seat) && !self.is_hinted(&seat.node, awaits))
            .map(|seat| seat.node.clone())
            .collect();
        if !missing.is_empty()
            && let Some((to, role)) = self.hint_keeper()
        {
            let hints = missing.iter().cloned().map(|owner| Hint {
                owner,
                carrier: None,
            });
            self.hints.extend(hints);
            effects.push(Effect::Hint { to, role, missing });
        }
        if !self.roster.seats.iter().any(awaits) {
            self.finish(effects);
        }
    }

    /// Whether somebody keeps a hint for `owner`, or will if it `may` still store what it was sent.
    fn is_hinted(&self, owner: &NodeName, may: impl Fn(&Seat<Says>) -> bool) -> bool {
        // A copy outside the row stays a hint whatever the ring says since; a noted key is worth no more than its copy.
        let keeps = |(carrier, role): &(NodeName, Role)| {
            let seats = self.roster.seats_of(carrier);
            seats
                .filter(|seat| seat.role == *role)
                .any(|seat| match role {
                    Role::Fallback => has_stored(seat) || may(seat),
                    Role::Owner => is_stored(seat) || may(seat),
                })
        };
        let mut hints = self.hints.iter().filter(|hint| hint.owner == *owner);
        hints.any(|hint| hint.carrier.as_ref().is_none_or(keeps))
    }

    /// Who keeps a hint after the fact: a fallback that has the copy, else one that gets it now, else an owner that has
    /// stored it, else one that had until a newer ring named others. Nobody, when nobody has: then nothing is spread.
    fn hint_keeper(&self) -> Option<(NodeName, Role)> {
        let rank = |seat: &&Seat<Says>| {
            let former = !seat.counts();
            (former, seat.role == Role::Owner, seat.node != self.me)
        };
        let stored = self.roster.seats.iter().filter(|seat| has_stored(seat));
        let best = stored.min_by_key(rank)?;
        if best.role == Role::Fallback {
            return Some((best.node.clone(), Role::Fallback));
        }
        if let Some(fallback) = self.roster.unused_fallback() {
            return Some((fallback.clone(), Role::Fallback));
        }
        let role = if best.counts() {
            Role::Owner
        } else {
            Role::Fallback
        };
        Some((best.node.clone(), role))
    }

    fn finish(&mut self, effects: &mut Effects) {
        self.phase = Phase::Finished;
        effects.push(Effect::Finished);
    }
}

/// Whether it has stored the last round, by whatever ring.
fn has_stored(seat: &Seat<Says>) -> bool {
    seat.standing == Standing::Answered(Says::Stored)
}

/// The same, and the ring in use names it.
fn is_stored(seat: &Seat<Says>) -> bool {
    seat.answer() == Some(&Says::Stored)
}

fn word(says: &Says) -> ResultWord {
    match says {
        Says::Stored => ResultWord::Ok,
        Says::Newer => ResultWord::Stale,
        Says::Floor => ResultWord::Error("catching up".to_owned()),
    }
}

#[cfg(test)]
#[path = "put_tests.rs"]
mod tests;
