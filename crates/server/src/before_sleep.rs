//! This file answers: what does a thread do before it sleeps?
//!
//! While requests come side by side it lets others go first, once. A thread that has run out of work would sleep, and the next
//! request wake it for itself alone. What clients and peers send while they go first is there when the thread comes back: it
//! wakes nobody, and is carried out, sent on and answered together.
//!
//! Who calculates beside it does not give the processor back for milliseconds, and a request would wait for that as a sleeper
//! would not. So a thread watches how long it is away, and sleeps at once for a while when that is long on average.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// So many requests between two sleeps come side by side: one client that asks and waits never brings them, nor do moves.
const SIDE_BY_SIDE: usize = 4;
/// On average nobody is let go first who takes longer. Clients and peers that share a core take a fifth of it; a program that
/// calculates takes a slice of the scheduler's, two to four times as long.
const MOST: Duration = Duration::from_millis(1);
/// One absence counts as one part in so many.
const MEMORY: u32 = 16;
/// How long a thread then sleeps at once.
const REST: Duration = Duration::from_millis(100);

thread_local!(static MANNERS: Cell<Manners> = const { Cell::new(Manners::NEW) });

/// What a thread knows of those beside it.
#[derive(Debug, Clone, Copy)]
struct Manners {
    /// Requests since it slept.
    requests: usize,
    /// How long it was away of late, on average.
    away: Duration,
    /// Until then it sleeps at once.
    rests_until: Option<Instant>,
}

impl Manners {
    const NEW: Manners = Manners {
        requests: 0,
        away: Duration::ZERO,
        rests_until: None,
    };

    /// Whether requests came side by side since this was asked last.
    fn is_busy(&mut self) -> bool {
        std::mem::take(&mut self.requests) >= SIDE_BY_SIDE
    }

    fn is_resting(&self, now: Instant) -> bool {
        self.rests_until.is_some_and(|until| now < until)
    }

    fn was_away(&mut self, since: Instant, now: Instant) {
        let away = now.saturating_duration_since(since);
        self.away = (self.away * (MEMORY - 1) + away) / MEMORY;
        self.rests_until = None;
        if self.away > MOST {
            // One that is short will do to go on, one that is long to rest again.
            self.away = MOST;
            self.rests_until = Some(now + REST);
        }
    }
}

/// So many requests came to this thread, of clients or for peers'.
pub fn requests_came(requests: usize) {
    let mut manners = MANNERS.get();
    manners.requests = manners.requests.saturating_add(requests);
    MANNERS.set(manners);
}

/// A thread of a runtime has nothing to do, and is about to wait for events.
pub fn let_others_go() {
    let mut manners = MANNERS.get();
    if manners.is_busy() {
        let began = Instant::now();
        if !manners.is_resting(began) {
            std::thread::yield_now();
            manners.was_away(began, Instant::now());
        }
    }
    MANNERS.set(manners);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_micros(200);
    const LONG: Duration = Duration::from_millis(4);

    /// Lost without it: a lone request that waits behind a program that calculates.
    #[test]
    fn only_requests_side_by_side_let_others_go() {
        let mut manners = Manners::NEW;
        for requests in [0, 1, SIDE_BY_SIDE - 1] {
            manners.requests = requests;
            assert!(!manners.is_busy(), "{requests}");
        }
        manners.requests = SIDE_BY_SIDE;
        assert!(manners.is_busy());
        assert!(!manners.is_busy(), "those are of before the sleep");
    }

    /// Lost without it: every sleep costs a slice of the scheduler's while something calculates beside the node.
    #[test]
    fn who_is_kept_away_for_long_rests_and_tries_again() {
        let mut manners = Manners::NEW;
        let mut now = Instant::now();
        for _ in 0..100 {
            manners.was_away(now, now + SHORT);
            assert!(!manners.is_resting(now + SHORT), "peers take their turns");
        }
        manners.was_away(now, now + LONG);
        assert!(!manners.is_resting(now + LONG), "once is nothing");
        let mut long = 1;
        while !manners.is_resting(now) {
            manners.was_away(now, now + LONG);
            now += LONG;
            long += 1;
        }
        assert!(long <= 5, "{long} slices were lost first");

        now += REST;
        assert!(!manners.is_resting(now), "it tries again");
        manners.was_away(now, now + LONG);
        now += LONG;
        assert!(manners.is_resting(now), "and rests at once");

        now += REST;
        manners.was_away(now, now + SHORT);
        assert!(!manners.is_resting(now + SHORT));
        manners.was_away(now, now + SHORT);
        assert!(!manners.is_resting(now + SHORT), "as it was before");
    }

    /// Lost without it: what is counted on one thread makes another let others go, or is never counted.
    #[test]
    fn a_thread_counts_its_own_requests() {
        requests_came(3);
        requests_came(4);
        assert_eq!(MANNERS.get().requests, 7);
        std::thread::spawn(|| assert_eq!(MANNERS.get().requests, 0))
            .join()
            .unwrap();
        let_others_go();
        assert_eq!(MANNERS.get().requests, 0);
    }
}
