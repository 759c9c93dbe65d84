//! This file answers: who is asked, and how does each stand?
//!
//! What a put and a get have in common: owners grouped by node, fallbacks that stand in, asks that are numbered so that
//! a late answer is never taken for the answer to a later ask, pauses for the busy, and a newer ring on the way.

use rkv_ring::{NodeName, Partition, Preflist, RingId};
use smallvec::SmallVec;

use crate::outcome::{ReplicaResult, Replicas, ResultWord};
use crate::tally::{Role, Tally};

/// The first pause before a busy replica is asked again; each further one is twice as long.
const FIRST_PAUSE_MS: u64 = 10;
/// The longest pause.
const LONGEST_PAUSE_MS: u64 = 640;

/// The number of one ask within its request: the answer bears it, so that it counts for what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ask(pub u32);

/// How a replica declines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// By this ring, which is the replica's, it does not answer for the slot.
    NotOwner(RingId),
    /// The write was under way there when, by this ring, the slot moved: it may be held, and counts for nothing.
    Moved(RingId),
    /// It has an older ring than the request and could not catch up in time.
    Behind,
    /// Its mailbox is full. An answer, not a death: it is asked again.
    Busy,
    /// It could not.
    Failed {
        /// Why, for people.
        message: String,
        /// Whether a write may have reached its disk all the same.
        maybe_applied: bool,
    },
}

/// How one node stands towards the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing<A> {
    /// To be asked.
    Idle,
    /// To be asked only if the others do not do.
    Spared,
    /// Known to be down: not asked.
    Down,
    /// Asked.
    Pending,
    /// To be asked again.
    Paused { until_ms: u64, busy: bool },
    /// It pointed to a newer ring: the request waits for that.
    Misrouted,
    /// It answered.
    Answered(A),
    /// It failed.
    Failed {
        message: String,
        maybe_applied: bool,
    },
    /// It could not be reached, or fell silent after it had been.
    Lost { sent: bool },
}

/// One node in the request.
#[derive(Debug, Clone)]
pub(crate) struct Seat<A> {
    pub(crate) node: NodeName,
    pub(crate) role: Role,
    /// The places that it answers for by the ring in use; a fallback: the one that it stands in for. Empty once a newer
    /// ring names it no more: then nothing of it counts, but what it was sent is not forgotten.
    pub(crate) places: SmallVec<[u8; 4]>,
    pub(crate) standing: Standing<A>,
    /// Asks that have left for it, not counting those known never to have arrived.
    pub(crate) sends: u32,
    /// An ask was given up for a later one while nobody knew its end.
    pub(crate) unsure: bool,
    ask: Ask,
    pauses: u32,
}

impl<A> Seat<A> {
    fn new(node: NodeName, role: Role, up: bool) -> Seat<A> {
        Seat {
            node,
            role,
            places: SmallVec::new(),
            standing: if up { Standing::Idle } else { Standing::Down },
            sends: 0,
            unsure: false,
            ask: Ask(0),
            pauses: 0,
        }
    }

    /// Whether the ring in use names it.
    pub(crate) fn counts(&self) -> bool {
        !self.places.is_empty()
    }

    /// Whether an answer that counts may still come.
    pub(crate) fn is_open(&self) -> bool {
        use Standing::*;
        let may_answer = matches!(
            self.standing,
            Idle | Spared | Pending | Paused { .. } | Misrouted
        );
        self.counts() && may_answer
    }

    /// Whether it is asked only if the others do not do.
    pub(crate) fn is_spared(&self) -> bool {
        matches!(self.standing, Standing::Spared)
    }

    /// Whether an answer is under way.
    pub(crate) fn is_pending(&self) -> bool {
        matches!(self.standing, Standing::Pending)
    }

    /// Whether it is to be asked now.
    pub(crate) fn is_due(&self) -> bool {
        self.counts() && matches!(self.standing, Standing::Idle)
    }

    fn is_misrouted(&self) -> bool {
        matches!(self.standing, Standing::Misrouted)
    }

    /// Whether it is an owner that somebody has to stand in for.
    pub(crate) fn is_vacant(&self) -> bool {
        use Standing::*;
        self.role == Role::Owner && matches!(self.standing, Down | Lost { .. } | Failed { .. })
    }

    pub(crate) fn answer(&self) -> Option<&A> {
        match &self.standing {
            Standing::Answered(answer) if self.counts() => Some(answer),
            _ => None,
        }
    }

    /// To be asked again; whatever the last ask's end, its answer counts no more.
    pub(crate) fn ask_again(&mut self) {
        self.unsure |= matches!(
            self.standing,
            Standing::Pending | Standing::Answered(_) | Standing::Lost { sent: true }
        );
        self.standing = Standing::Idle;
    }
}

/// Which of these owners, each with the number of its places, are asked to make `needed`: `first` if it is one of them, of the
/// others each in its `turn`, but those last that are slow, and these are not relied on.
pub(crate) fn chosen(
    owners: &[(&NodeName, usize)],
    needed: &Tally,
    first: &NodeName,
    turn: usize,
    is_slow: impl Fn(&NodeName) -> bool,
) -> SmallVec<[bool; 4]> {
    let is_first = |at: &usize| owners[*at].0 == first;
    let (mut order, mut others): (SmallVec<[usize; 4]>, SmallVec<[usize; 4]>) =
        (0..owners.len()).partition(is_first);
    let turn = turn % others.len().max(1);
    others.rotate_left(turn);
    others.sort_by_key(|at| is_slow(owners[*at].0));
    order.extend(others);
    let mut chosen = SmallVec::from_elem(false, owners.len());
    let mut asked = Tally::default();
    for at in order {
        let (node, places) = owners[at];
        if asked.meets(needed) {
            break;
        }
        chosen[at] = true;
        if !is_slow(node) {
            asked.count(Role::Owner, places);
        }
    }
    chosen
}

/// Everyone in one request.
#[derive(Debug, Clone)]
pub(crate) struct Roster<A> {
    pub(crate) ring: RingId,
    pub(crate) seats: SmallVec<[Seat<A>; 3]>,
    partition: Partition,
    /// Nodes that may stand in, best first; those that do have a seat.
    fallbacks: Vec<NodeName>,
    n: usize,
    asks: u32,
}

impl<A> Roster<A> {
    /// The first `n` places of the preference list.
    pub(crate) fn new(preflist: &Preflist, n: u8) -> Roster<A> {
        let mut roster = Roster {
            ring: preflist.ring,
            seats: SmallVec::new(),
            partition: preflist.partition,
            fallbacks: Vec::new(),
            n: usize::from(n),
            asks: 0,
        };
        roster.seat(preflist);
        roster
    }

    fn seat(&mut self, preflist: &Preflist) {
        for place in preflist.places.iter().take(self.n) {
            let mut seats = self.seats.iter();
            let known = |seat: &Seat<A>| seat.role == Role::Owner && seat.node == place.node;
            let index = seats.position(known).unwrap_or_else(|| {
                // What the node may have stored for another is a hint, not a copy of its own: it is asked for that now.
                let stood_in = self.seats.iter_mut().filter(|seat| seat.node == place.node);
                stood_in.for_each(|seat| seat.places.clear());
                self.seats
                    .push(Seat::new(place.node.clone(), Role::Owner, place.up));
                self.seats.len() - 1
            });
            let seat = &mut self.seats[index];
            seat.places.push(place.replica);
            if matches!(seat.standing, Standing::Misrouted | Standing::Down) {
                seat.standing = if place.up {
                    Standing::Idle
                } else {
                    Standing::Down
                };
            }
        }
        self.fallbacks.clone_from(&preflist.fallbacks);
    }

    /// Follows a newer ring: who is in it and has answered keeps its answer, who was refused for the ring's sake is
    /// asked again, and who is in it no more counts no more.
    ///
    /// An owner that answers for more places than before has what their former owners acknowledged only since: a read
    /// has to ask it again ([`Roster::reroute_read`]), while a write that it stored is there for all of them.
    pub(crate) fn reroute(&mut self, preflist: &Preflist) {
        if preflist.ring == self.ring || self.ring.supersedes(&preflist.ring) {
            return;
        }
        self.ring = preflist.ring;
        for seat in &mut self.seats {
            match seat.role {
                Role::Owner => seat.places.clear(),
                Role::Fallback if seat.is_misrouted() => seat.ask_again(),
                Role::Fallback => {}
            }
        }
        self.seat(preflist);
    }

    /// The same for a read.
    pub(crate) fn reroute_read(&mut self, preflist: &Preflist) {
        let before: SmallVec<[usize; 3]> =
            self.seats.iter().map(|seat| seat.places.len()).collect();
        self.reroute(preflist);
        for (seat, places) in self.seats.iter_mut().zip(before) {
            let was_asked = matches!(seat.standing, Standing::Pending | Standing::Answered(_));
            if was_asked && seat.places.len() > places {
                seat.ask_again();
            }
        }
    }

    /// The node's seats: two when it stood in for an owner and a newer ring made it one.
    pub(crate) fn seats_of<'a>(&'a self, node: &'a NodeName) -> impl Iterator<Item = &'a Seat<A>> {
        self.seats.iter().filter(move |seat| seat.node == *node)
    }

    /// The best fallback that is not in the request yet.
    pub(crate) fn unused_fallback(&self) -> Option<&NodeName> {
        self.fallbacks
            .iter()
            .find(|node| self.seats_of(node).next().is_none())
    }

    /// Fallbacks in the request or ready to be.
    pub(crate) fn fallbacks(&self) -> usize {
        self.fallbacks.len()
    }

    /// Seats the next fallback for `place`; none is left, or who it is.
    pub(crate) fn stand_in(&mut self, place: u8) -> Option<NodeName> {
        let node = self.unused_fallback()?.clone();
        let mut seat = Seat::new(node.clone(), Role::Fallback, true);
        seat.places.push(place);
        self.seats.push(seat);
        Some(node)
    }

    /// Places whose owner answers nothing and for which nobody stands in who is asked or has given a `good` answer.
    pub(crate) fn uncovered(&self, good: impl Fn(&A) -> bool) -> SmallVec<[(NodeName, u8); 2]> {
        let mut uncovered = SmallVec::new();
        for owner in self.seats.iter().filter(|seat| seat.is_vacant()) {
            let covered = |place| {
                self.seats.iter().any(|seat| {
                    seat.role == Role::Fallback
                        && seat.places.contains(place)
                        && (seat.is_open() || seat.answer().is_some_and(&good))
                })
            };
            let places = owner.places.iter().filter(|place| !covered(place));
            uncovered.extend(places.map(|place| (owner.node.clone(), *place)));
        }
        uncovered
    }

    /// The seat that `ask` was sent to, if it is still awaited.
    pub(crate) fn awaited(&mut self, node: &NodeName, ask: Ask) -> Option<&mut Seat<A>> {
        let awaited = |seat: &Seat<A>| seat.ask == ask && seat.is_pending();
        self.seats
            .iter_mut()
            .find(|seat| seat.node == *node && awaited(seat))
    }

    /// Spares whoever is not needed to make `needed`, before anybody is asked: see [`chosen`].
    pub(crate) fn spare(
        &mut self,
        needed: &Tally,
        first: &NodeName,
        turn: usize,
        is_slow: impl Fn(&NodeName) -> bool,
    ) {
        let due = self.seats.iter().filter(|seat| seat.is_due());
        let due: SmallVec<[_; 3]> = due.map(|seat| (&seat.node, seat.places.len())).collect();
        let chosen = chosen(&due, needed, first, turn, is_slow);
        drop(due);
        let due = self.seats.iter_mut().filter(|seat| seat.is_due());
        for (seat, is_chosen) in due.zip(chosen) {
            if !is_chosen {
                seat.standing = Standing::Spared;
            }
        }
    }

    /// Nobody is spared any more.
    pub(crate) fn spare_nobody(&mut self) {
        for seat in self.seats.iter_mut().filter(|seat| seat.is_spared()) {
            seat.standing = Standing::Idle;
        }
    }

    /// Marks the seat at `index` as asked.
    pub(crate) fn ask(&mut self, index: usize) -> Ask {
        self.asks += 1;
        let seat = &mut self.seats[index];
        seat.ask = Ask(self.asks);
        seat.sends += 1;
        seat.standing = Standing::Pending;
        seat.ask
    }

    /// Takes a refusal of `ask`.
    pub(crate) fn refuse(&mut self, now_ms: u64, node: &NodeName, ask: Ask, refusal: Refusal) {
        let ring = self.ring;
        let Some(seat) = self.awaited(node, ask) else {
            return;
        };
        let pause_ms = FIRST_PAUSE_MS << seat.pauses.min(10);
        let until_ms = now_ms.saturating_add(pause_ms.min(LONGEST_PAUSE_MS));
        seat.unsure |= matches!(refusal, Refusal::Moved(_));
        seat.standing = match refusal {
            Refusal::NotOwner(theirs) | Refusal::Moved(theirs) if theirs.supersedes(&ring) => {
                Standing::Misrouted
            }
            Refusal::NotOwner(_) | Refusal::Moved(_) | Refusal::Behind => Standing::Paused {
                until_ms,
                busy: false,
            },
            Refusal::Busy => Standing::Paused {
                until_ms,
                busy: true,
            },
            Refusal::Failed {
                message,
                maybe_applied,
            } => Standing::Failed {
                message,
                maybe_applied,
            },
        };
        seat.pauses += 1;
    }

    /// `ask` did not arrive, or nobody knows whether it did.
    pub(crate) fn lose(&mut self, node: &NodeName, ask: Ask, sent: bool) {
        if let Some(seat) = self.awaited(node, ask) {
            seat.sends -= u32::from(!sent);
            seat.standing = Standing::Lost { sent };
        }
    }

    /// Ends the pauses that are over.
    pub(crate) fn wake(&mut self, now_ms: u64) {
        for seat in &mut self.seats {
            if matches!(seat.standing, Standing::Paused { until_ms, .. } if until_ms <= now_ms) {
                seat.standing = Standing::Idle;
            }
        }
    }

    /// When the next pause is over.
    pub(crate) fn next_wake_ms(&self) -> Option<u64> {
        let paused = |seat: &Seat<A>| match seat.standing {
            Standing::Paused { until_ms, .. } if seat.counts() => Some(until_ms),
            _ => None,
        };
        self.seats.iter().filter_map(paused).min()
    }

    /// Counts the seats that the ring in use names and that satisfy `good`.
    pub(crate) fn tally(&self, good: impl Fn(&Seat<A>) -> bool) -> Tally {
        let mut tally = Tally::default();
        for seat in self.seats.iter().filter(|seat| seat.counts() && good(seat)) {
            tally.count(seat.role, seat.places.len());
        }
        tally
    }

    /// Whether a newer ring is awaited, which may name others.
    pub(crate) fn is_misrouted(&self) -> bool {
        self.seats
            .iter()
            .any(|seat| seat.counts() && seat.is_misrouted())
    }

    /// Whether all that are still asked are busy, and there are such.
    pub(crate) fn is_busy(&self) -> bool {
        let mut open = self.seats.iter().filter(|seat| seat.is_open()).peekable();
        let busy = |s: &Seat<A>| matches!(s.standing, Standing::Paused { busy: true, .. });
        open.peek().is_some() && open.all(busy)
    }

    /// One entry a place for all that answered, n at most; then `good` answers of owners before those of fallbacks, and
    /// these before the rest. With `silent` also for those that did not answer.
    pub(crate) fn results(
        &self,
        silent: bool,
        word: impl Fn(&A) -> ResultWord,
        good: impl Fn(&Seat<A>) -> bool,
    ) -> Replicas {
        let mut results = Replicas::new();
        let rank = |seat: &Seat<A>| match (good(seat), seat.role) {
            (true, Role::Owner) => 0,
            (true, Role::Fallback) => 1,
            (false, Role::Owner) => 2,
            (false, Role::Fallback) => 3,
        };
        for wanted in 0..=3 {
            for seat in self.seats.iter().filter(|seat| rank(seat) == wanted) {
                let Some(result) = seat.word(silent, &word) else {
                    continue;
                };
                results.extend(seat.places.iter().map(|&replica| ReplicaResult {
                    node: seat.node.clone(),
                    partition: self.partition,
                    replica,
                    role: seat.role,
                    result: result.clone(),
                }));
            }
        }
        results.truncate(self.n);
        results.sort_by_key(|result| (result.replica, result.role));
        results
    }
}

impl<A> Seat<A> {
    fn word(&self, silent: bool, word: impl Fn(&A) -> ResultWord) -> Option<ResultWord> {
        let error = |text: &str| Some(ResultWord::Error(text.to_owned()));
        match &self.standing {
            Standing::Idle | Standing::Spared => None,
            Standing::Pending => silent.then_some(ResultWord::Timeout),
            Standing::Down | Standing::Lost { .. } if !silent => None,
            Standing::Down | Standing::Lost { .. } => error("unreachable"),
            Standing::Paused { busy: true, .. } => Some(ResultWord::Busy),
            Standing::Paused { busy: false, .. } => error("its ring is behind"),
            Standing::Misrouted => error("not an owner"),
            Standing::Failed { message, .. } => error(message),
            Standing::Answered(answer) => Some(word(answer)),
        }
    }
}
