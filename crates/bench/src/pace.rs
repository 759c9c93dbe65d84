//! This file answers: when does the next operation begin, and is it recorded?
//!
//! Pure but for counters that all workers share; the clock is passed in. In a closed loop an operation begins when its
//! worker is free. In an open loop it is due at a moment of its own, the nth at n / rate; whoever is free takes the next.
//! Who comes late finds it waiting, and its latency has run since it was due: so a target that stands still is seen to
//! do so (no coordinated omission). What was due and never begun is counted too.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::plan::{Extent, Mode};

const NANOS: u128 = 1_000_000_000;

/// The beat of one round.
#[derive(Debug)]
pub(crate) struct Pace {
    begin: Instant,
    /// Before this it is warm-up.
    record_from: Instant,
    end: Option<Instant>,
    count: Option<u64>,
    rate: Option<u64>,
    /// In an open loop the next operation that nobody has; in a closed one how many recorded ones have been taken.
    taken: AtomicU64,
    /// Recorded operations that began.
    begun: AtomicU64,
    stopped: OnceLock<Instant>,
}

/// When an operation begins, or was to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Its latency counts from here. In an open loop this may lie ahead.
    pub(crate) from: Instant,
    pub(crate) is_recorded: bool,
}

impl Pace {
    pub(crate) fn new(begin: Instant, warmup: Duration, extent: Extent, mode: Mode) -> Pace {
        let record_from = begin + warmup;
        let (end, count) = match extent {
            Extent::Duration(duration) => (Some(record_from + duration), None),
            Extent::Count(count) => (None, Some(count)),
        };
        let rate = match mode {
            Mode::Max => None,
            Mode::Rate(rate) => Some(rate),
        };
        Pace {
            begin,
            record_from,
            end,
            count,
            rate,
            taken: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            stopped: OnceLock::new(),
        }
    }

    /// When recording begins.
    pub(crate) fn record_from(&self) -> Instant {
        self.record_from
    }

    /// Whether operations are due by the clock.
    pub(crate) fn is_open(&self) -> bool {
        self.rate.is_some()
    }

    /// Nothing begins any more.
    pub(crate) fn stop(&self, now: Instant) {
        let _ = self.stopped.set(now);
    }

    /// Whether nothing begins any more.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.stopped.get().is_some() || self.end.is_some_and(|end| now >= end)
    }

    /// What this worker does next; none: it is over.
    pub(crate) fn next(&self, now: Instant) -> Option<Turn> {
        if self.is_over(now) {
            return None;
        }
        let Some(rate) = self.rate else {
            return self.next_when_free(now);
        };
        let ticket = self.taken.fetch_add(1, Ordering::Relaxed);
        self.turn(ticket, rate)
    }

    /// One more to begin together with what is about to; none: nothing is due yet, or it is over.
    pub(crate) fn another(&self, now: Instant) -> Option<Turn> {
        let Some(rate) = self.rate else {
            return self.next(now);
        };
        let mut ticket = self.taken.load(Ordering::Relaxed);
        loop {
            let turn = self.turn(ticket, rate).filter(|turn| turn.from <= now)?;
            let (next, order) = (ticket + 1, Ordering::Relaxed);
            match self.taken.compare_exchange(ticket, next, order, order) {
                Ok(_) => return Some(turn),
                Err(theirs) => ticket = theirs,
            }
        }
    }

    /// Recorded operations begin now.
    pub(crate) fn begin(&self, operations: u64) {
        self.begun.fetch_add(operations, Ordering::Relaxed);
    }

    /// Recorded operations of an open loop that were due before `now` and never began.
    pub(crate) fn not_begun(&self, now: Instant) -> u64 {
        let Some(rate) = self.rate else { return 0 };
        let until = self.stopped.get().copied().unwrap_or(now);
        let until = self.end.map_or(until, |end| until.min(end));
        let due = self.due_before(until, rate);
        let due = due.saturating_sub(self.first_recorded(rate));
        let due = match self.count {
            // To the end of a count all begin, however late.
            Some(count) if self.stopped.get().is_none() => count,
            Some(count) => due.min(count),
            None => due,
        };
        due.saturating_sub(self.begun.load(Ordering::Relaxed))
    }

    fn next_when_free(&self, now: Instant) -> Option<Turn> {
        let is_recorded = now >= self.record_from;
        if let Some(count) = self.count.filter(|_| is_recorded)
            && self.taken.fetch_add(1, Ordering::Relaxed) >= count
        {
            return None;
        }
        Some(Turn {
            from: now,
            is_recorded,
        })
    }

    fn turn(&self, ticket: u64, rate: u64) -> Option<Turn> {
        let nanos = u128::from(ticket) * NANOS / u128::from(rate);
        let from = self.begin + Duration::from_nanos(u64::try_from(nanos).ok()?);
        let is_late = self.end.is_some_and(|end| from >= end);
        let is_beyond = self
            .count
            .is_some_and(|count| ticket >= self.first_recorded(rate) + count);
        (!is_late && !is_beyond).then_some(Turn {
            from,
            is_recorded: from >= self.record_from,
        })
    }

    fn first_recorded(&self, rate: u64) -> u64 {
        self.due_before(self.record_from, rate)
    }

    /// How many operations are due before `moment`: also the number of the first that is not.
    fn due_before(&self, moment: Instant, rate: u64) -> u64 {
        let nanos = moment.saturating_duration_since(self.begin).as_nanos();
        (nanos * u128::from(rate)).div_ceil(NANOS) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    fn open(warmup: Duration, extent: Extent, rate: u64) -> (Pace, Instant) {
        let begin = Instant::now();
        (Pace::new(begin, warmup, extent, Mode::Rate(rate)), begin)
    }

    /// Takes turns that are due at `now` as one worker does, and begins them.
    fn serve(pace: &Pace, now: Instant) -> Vec<Turn> {
        let mut turns = Vec::new();
        while let Some(turn) = pace.another(now) {
            pace.begin(u64::from(turn.is_recorded));
            turns.push(turn);
        }
        turns
    }

    /// Lost without it: a target that stands still for a second is recorded as one slow operation (coordinated omission).
    #[test]
    fn what_is_late_counts_from_when_it_was_due() {
        let second = Extent::Duration(MILLI * 1000);
        let (pace, begin) = open(Duration::ZERO, second, 1000);
        let first = pace.next(begin).unwrap();
        pace.begin(1);
        assert_eq!((first.from, first.is_recorded), (begin, true));
        // It takes half a second; then all that was due meanwhile is served, each with the latency it has by now.
        let back = begin + MILLI * 500;
        let turns = serve(&pace, back);
        let late: Vec<Duration> = turns.iter().map(|turn| back - turn.from).collect();
        assert_eq!(turns.len(), 500);
        assert_eq!((late[0], late[499]), (MILLI * 499, Duration::ZERO));
        assert_eq!(pace.another(back), None);
        // The next is due in a millisecond, and nobody else takes it.
        assert_eq!(pace.next(back).unwrap().from, back + MILLI);
        assert_eq!(pace.next(back).unwrap().from, back + MILLI * 2);
    }

    /// Lost without it: what a target is too slow for vanishes from the result.
    #[test]
    fn what_never_began_is_counted() {
        let (pace, begin) = open(MILLI * 100, Extent::Duration(MILLI * 1000), 1000);
        let warm = serve(&pace, begin + MILLI * 300);
        assert_eq!(warm.iter().filter(|turn| turn.is_recorded).count(), 201);
        assert_eq!(warm.len(), 301);
        let end = begin + MILLI * 1100;
        assert!(!pace.is_over(end - MILLI) && pace.is_over(end));
        assert_eq!(pace.next(end), None);
        assert_eq!(pace.not_begun(end + MILLI * 50), 1000 - 201);
    }

    /// Lost without it: a run that was interrupted reports operations that it never offered.
    #[test]
    fn a_stop_ends_the_offer() {
        let (pace, begin) = open(Duration::ZERO, Extent::Count(1000), 1000);
        serve(&pace, begin + MILLI * 9);
        pace.stop(begin + MILLI * 20);
        assert_eq!(pace.next(begin + MILLI * 20), None);
        assert_eq!(pace.not_begun(begin + MILLI * 500), 10);
    }

    /// Lost without it: a count in an open loop gives fewer or more operations than were asked for.
    #[test]
    fn a_count_is_kept_however_late() {
        let (pace, begin) = open(MILLI * 10, Extent::Count(30), 1000);
        let turns = serve(&pace, begin + MILLI * 5000);
        assert_eq!(turns.iter().filter(|turn| turn.is_recorded).count(), 30);
        assert_eq!(turns.len(), 40);
        assert_eq!(pace.next(begin + MILLI * 5000), None);
        assert_eq!(pace.not_begun(begin + MILLI * 5000), 0);
    }

    /// Lost without it: a closed loop records its warm-up, or more operations than its count.
    #[test]
    fn a_closed_loop_begins_when_it_is_free() {
        let begin = Instant::now();
        let pace = Pace::new(begin, MILLI * 10, Extent::Count(2), Mode::Max);
        let at = |now| pace.next(now).map(|turn| (turn.from, turn.is_recorded));
        let (warm, recorded) = (begin + MILLI, begin + MILLI * 10);
        assert_eq!(at(warm), Some((warm, false)));
        assert_eq!(at(recorded), Some((recorded, true)));
        assert_eq!(at(recorded), Some((recorded, true)));
        assert_eq!(at(recorded), None);
        assert_eq!(pace.not_begun(recorded), 0);
    }
}
