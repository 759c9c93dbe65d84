//! This file answers: what happens to one get?
//!
//! All up owners are asked at once, or only as many as can make r and the rest when these do not ([`Get::sparing`]); the others
//! only by their fallbacks and only when the owners that are up cannot make r. A fallback counts with an object and never with
//! its absence; a copy that is catching up is merged and never counts. After the answer the machine lingers until everyone has spoken or the deadline has come, and then repairs the owners
//! whose answer was behind; none when they agree.

use rkv_ring::{NodeName, Preflist, RingId};
use smallvec::SmallVec;

use crate::object::{Kind, Object, Version};
use crate::outcome::{ErrorKind, FINISHED, GetOutcome, QuorumError, ResultWord};
use crate::policy::{GetPolicy, majority};
use crate::repair::behind;
use crate::roster::{Ask, Refusal, Roster, Seat, Standing};
use crate::tally::Role;

/// So long those that were asked at first have for it, before the others are asked too: several times what an answer takes when
/// all is well.
pub const HEDGE_MS: u64 = 25;

/// What a replica says to a get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It holds this; a deletion, too, is something held.
    Found(Object),
    /// It holds nothing.
    NotFound,
    /// It may lack what it once held: this is what it has.
    CatchingUp(Option<Object>),
    /// Declined.
    Refused(Refusal),
}

/// All that can happen to a get.
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
    },
    /// A newer ring was adopted.
    Preflist(Preflist),
    /// [`Get::next_tick_ms`] has come.
    Tick,
}

/// All that a get may wish for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ask a replica what it holds, fenced with [`Get::ring`].
    Send {
        /// Whom.
        to: NodeName,
        /// An owner looks into its copy, a fallback into its hints.
        role: Role,
        /// To be named by the answer.
        ask: Ask,
    },
    /// An owner is behind: it is to merge this. Asked for without an answer.
    Repair {
        /// Who.
        to: NodeName,
        /// All that was answered, merged.
        object: Box<Object>,
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
    Lingering,
    Finished,
}

/// What an answer held, without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
struct View {
    version: Option<Version>,
    catching_up: bool,
}

/// One get.
#[derive(Debug, Clone)]
pub struct Get {
    policy: GetPolicy,
    roster: Roster<View>,
    merged: Option<Object>,
    deadline_ms: u64,
    phase: Phase,
    /// Until then somebody is spared, unless the others turn out not to do; `None`: nobody is.
    sparing_until_ms: Option<u64>,
    absence_votes: bool,
    never_hedges: bool,
}

impl Get {
    /// A get routed by `preflist`, whose first n places take part. Nothing happens before [`Event::Begin`].
    pub fn new(policy: GetPolicy, preflist: &Preflist) -> Get {
        Get {
            policy,
            roster: Roster::new(preflist, policy.n),
            merged: None,
            deadline_ms: 0,
            phase: Phase::New,
            sparing_until_ms: None,
            absence_votes: false,
            never_hedges: false,
        }
    }

    /// The same, which begins with only as many owners as can make r: with `first` if it is one, of the rest each in its turn, and
    /// with those that are slow only besides. The others are asked as soon as these cannot make r any more, or when they have
    /// taken [`HEDGE_MS`] over it. What others lack is not seen by such a get, and not repaired.
    #[must_use]
    pub fn sparing(
        mut self,
        first: &NodeName,
        turn: usize,
        is_slow: impl Fn(&NodeName) -> bool,
    ) -> Get {
        let needed = self.policy.needed();
        self.roster.spare(&needed, first, turn, is_slow);
        self
    }

    /// Whether it has begun and owners are spared still.
    pub fn is_sparing(&self) -> bool {
        self.sparing_until_ms.is_some()
    }

    /// The same with a known fault, for tests of the checks: a fallback that holds nothing counts as well.
    #[must_use]
    pub fn counting_absence(mut self) -> Get {
        self.absence_votes = true;
        self
    }

    /// The same with another known fault: who was spared is never asked.
    #[must_use]
    pub fn never_hedging(mut self) -> Get {
        self.never_hedges = true;
        self
    }

    /// How many places are to answer.
    pub fn r(&self) -> usize {
        usize::from(self.policy.r)
    }

    /// The ring that its sends are routed by.
    pub fn ring(&self) -> RingId {
        self.roster.ring
    }

    /// When it wants a [`Event::Tick`], unless something else happens before; none when it waits for nothing.
    pub fn next_tick_ms(&self) -> Option<u64> {
        let wake = match self.phase {
            Phase::New | Phase::Finished => return None,
            Phase::Asking => {
                let wake = self.roster.next_wake_ms().into_iter();
                wake.chain(self.sparing_until_ms).min()
            }
            Phase::Lingering => None,
        };
        Some(wake.map_or(self.deadline_ms, |wake| wake.min(self.deadline_ms)))
    }

    /// Takes an event and appends what is to be done; the caller's answer, if this decides it, which is told first. It is
    /// decided once. `now_ms` is any clock that does not go back.
    pub fn step(
        &mut self,
        now_ms: u64,
        event: Event,
        effects: &mut Effects,
    ) -> Option<Result<GetOutcome, QuorumError>> {
        let mut decided = None;
        match (self.phase, event) {
            (Phase::New, Event::Begin) => decided = self.begin(now_ms, effects).map(Err),
            (Phase::New | Phase::Finished, _) => return None,
            (_, event) => self.take(now_ms, event),
        }
        let late = now_ms >= self.deadline_ms;
        if self.phase == Phase::Asking {
            self.hedge(now_ms);
            decided = self.decide(late);
        }
        if self.phase == Phase::Asking {
            self.send(effects);
        }
        // Once answered, nobody is asked again: only answers that are under way are awaited.
        let awaits = |seat: &Seat<View>| seat.counts() && seat.is_pending();
        if self.phase == Phase::Lingering && (late || !self.roster.seats.iter().any(awaits)) {
            self.repair(effects);
            self.finish(effects);
        }
        decided
    }

    /// Goes on only if r can be reached.
    fn begin(&mut self, now_ms: u64, effects: &mut Effects) -> Option<QuorumError> {
        self.deadline_ms = now_ms.saturating_add(self.policy.timeout_ms);
        let is_sparing = self.roster.seats.iter().any(Seat::is_spared);
        let hedges = is_sparing && !self.never_hedges;
        self.sparing_until_ms = hedges.then(|| now_ms.saturating_add(HEDGE_MS));
        self.phase = Phase::Asking;
        let needed = self.policy.needed();
        let up = self.roster.tally(|seat| !seat.is_vacant());
        let down = self.roster.tally(Seat::is_vacant);
        let reachable = up.places + down.places.min(self.roster.fallbacks());
        if reachable >= needed.places && up.owners >= needed.owners {
            return None;
        }
        let kind = match up.places < usize::from(majority(self.policy.n)) {
            true => ErrorKind::NoQuorum,
            false => ErrorKind::NoReplicas,
        };
        let counted = match reachable < needed.places {
            true => (reachable, needed.places),
            false => (up.owners, needed.owners),
        };
        let error = self.fail(kind, counted);
        self.finish(effects);
        Some(error)
    }

    /// Asks those who were spared too, when the others cannot make r or take long over it.
    fn hedge(&mut self, now_ms: u64) {
        let Some(until_ms) = self.sparing_until_ms else {
            return;
        };
        let counts = self.counting();
        let may_count = |seat: &Seat<View>| {
            seat.is_due() || (seat.counts() && seat.is_pending()) || counts(seat)
        };
        if now_ms >= until_ms || !self.roster.tally(may_count).meets(&self.policy.needed()) {
            self.roster.spare_nobody();
            self.sparing_until_ms = None;
        }
    }

    fn take(&mut self, now_ms: u64, event: Event) {
        match event {
            Event::Begin => {}
            Event::Answer { node, ask, answer } => match answer {
                Answer::Found(object) => self.hear(&node, ask, Some(object), false),
                Answer::NotFound => self.hear(&node, ask, None, false),
                Answer::CatchingUp(object) => self.hear(&node, ask, object, true),
                Answer::Refused(refusal) => self.roster.refuse(now_ms, &node, ask, refusal),
            },
            Event::Unreachable { node, ask } => self.roster.lose(&node, ask, true),
            Event::Preflist(preflist) => self.roster.reroute_read(&preflist),
            Event::Tick if now_ms < self.deadline_ms => self.roster.wake(now_ms),
            Event::Tick => {}
        }
    }

    fn hear(&mut self, node: &NodeName, ask: Ask, object: Option<Object>, catching_up: bool) {
        let Some(seat) = self.roster.awaited(node, ask) else {
            return;
        };
        let version = object.as_ref().map(|object| *object.version());
        seat.standing = Standing::Answered(View {
            version,
            catching_up,
        });
        match (&mut self.merged, object) {
            (Some(merged), Some(object)) => merged.merge(&object),
            (merged @ None, object) => *merged = object,
            (Some(_), None) => {}
        }
    }

    fn decide(&mut self, late: bool) -> Option<Result<GetOutcome, QuorumError>> {
        let needed = self.policy.needed();
        let counts = self.counting();
        let answered = self.roster.tally(counts);
        if answered.meets(&needed) || self.is_absent_everywhere(is_absent) {
            self.phase = Phase::Lingering;
            return Some(Ok(GetOutcome {
                reason: FINISHED,
                object: self.merged.clone(),
                replicas: self.roster.results(false, |view| self.word(view), counts),
            }));
        }
        let kind = if late && self.roster.is_busy() {
            ErrorKind::Busy
        } else if late {
            ErrorKind::Timeout
        } else {
            let may_count = |seat: &Seat<View>| seat.is_open() || counts(seat);
            if !self.roster.tally(may_count).meets(&needed) {
                self.stand_in();
            }
            if self.roster.tally(may_count).meets(&needed)
                || self.is_absent_everywhere(|seat| seat.is_open() || is_absent(seat))
                || self.roster.is_misrouted()
            {
                return None;
            }
            ErrorKind::QuorumNotMet
        };
        Some(Err(self.fail(kind, answered.of(&needed))))
    }

    /// Whether every place of the row is such; with `is_absent`, an answer whatever `notfound_ok` says.
    fn is_absent_everywhere(&self, such: impl Fn(&Seat<View>) -> bool) -> bool {
        let owners = self
            .roster
            .tally(|seat| seat.role == Role::Owner && such(seat))
            .owners;
        self.merged.is_none() && owners == usize::from(self.policy.n)
    }

    /// Seats a fallback for each place whose owner answers nothing. No more of them than n: hints lie with the first
    /// in the walk's order, and who holds none proves nothing.
    fn stand_in(&mut self) {
        for (_, place) in self.roster.uncovered(|view| view.version.is_some()) {
            let asked = self
                .roster
                .seats
                .iter()
                .filter(|seat| seat.role == Role::Fallback);
            if asked.count() < usize::from(self.policy.n) {
                self.roster.stand_in(place);
            }
        }
    }

    fn send(&mut self, effects: &mut Effects) {
        for index in 0..self.roster.seats.len() {
            let seat = &self.roster.seats[index];
            if seat.is_due() {
                let (to, role) = (seat.node.clone(), seat.role);
                effects.push(Effect::Send {
                    to,
                    role,
                    ask: self.roster.ask(index),
                });
            }
        }
    }

    fn fail(&mut self, kind: ErrorKind, counted: (usize, usize)) -> QuorumError {
        let counts = self.counting();
        let replicas = self.roster.results(true, |view| self.word(view), counts);
        self.phase = Phase::Lingering;
        QuorumError::new(kind, false, counted, false, replicas)
    }

    /// Whose answer counts for r.
    fn counting(&self) -> impl Fn(&Seat<View>) -> bool + Copy + use<> {
        let (notfound_ok, absence_votes) = (self.policy.notfound_ok, self.absence_votes);
        move |seat| counts_for_r(seat, notfound_ok, absence_votes)
    }

    fn repair(&mut self, effects: &mut Effects) {
        let Some(merged) = &self.merged else {
            return;
        };
        let owners = self
            .roster
            .seats
            .iter()
            .filter(|seat| seat.role == Role::Owner);
        let answers =
            owners.filter_map(|s| s.answer().map(|view| (&s.node, view.version.as_ref())));
        for to in behind(answers, merged.version()).cloned() {
            effects.push(Effect::Repair {
                to,
                object: Box::new(merged.clone()),
            });
        }
    }

    fn finish(&mut self, effects: &mut Effects) {
        self.phase = Phase::Finished;
        effects.push(Effect::Finished);
    }

    fn word(&self, view: &View) -> ResultWord {
        let covers = |v: &Version| self.merged.as_ref().is_none_or(|m| v.covers(m.version()));
        match &view.version {
            _ if view.catching_up => ResultWord::Error("catching up".to_owned()),
            None => ResultWord::NotFound,
            Some(version) if !covers(version) => ResultWord::Stale,
            Some(version) if version.kind() == Some(Kind::Value) => ResultWord::Ok,
            Some(_) => ResultWord::NotFound,
        }
    }
}

fn counts_for_r(seat: &Seat<View>, notfound_ok: bool, absence_votes: bool) -> bool {
    seat.answer().is_some_and(|view| match view.version {
        Some(_) => !view.catching_up,
        None => !view.catching_up && notfound_ok && (seat.role == Role::Owner || absence_votes),
    })
}

fn is_absent(seat: &Seat<View>) -> bool {
    seat.answer()
        .is_some_and(|view| !view.catching_up && view.version.is_none())
}

#[cfg(test)]
#[path = "get_tests.rs"]
mod tests;
