//! This file answers: what does a thread do before it sleeps?
//!
//! While requests come side by side it lets others go first, once. A thread that has run out of work would sleep, and the next
//! request wake it for itself alone. What clients and peers send while they go first is there when the thread comes back: it
//! wakes nobody, and is carried out, sent on and answered together. Where nobody is to be let go first and many clients ask by
//! turns, it stays awake for a moment instead: the next of them is about to ask. A client's thread does the same of answers:
//! those that come while nodes go first are taken together, and so is what is asked next.
//!
//! Who calculates beside it does not give the processor back for milliseconds, and a request would wait for that as a sleeper
//! would not. So a thread watches how long it is away, and sleeps at once for a while when that is long on average.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// So many requests between two sleeps come side by side: one client that asks and waits never brings them, nor do moves.
const SIDE_BY_SIDE: usize = 4;
/// Many clients ask by turns when so many others had one since a client's last. Few have all asked by then, and would be kept
/// waiting.
const BY_TURNS: u64 = 16;
/// How long a thread stays awake for them.
const AWAKE: Duration = Duration::from_micros(30);
/// Who is back sooner was alone on its core.
const ALONE: Duration = Duration::from_micros(3);
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
    /// Requests, or answers, since it slept.
    requests: usize,
    /// Turns of clients, ever.
    turns: u64,
    /// The fewest of them between two of one client, of those since it slept.
    between: u64,
    /// How long it was away of late, on average.
    away: Duration,
    /// Until then it sleeps at once.
    rests_until: Option<Instant>,
}

impl Manners {
    const NEW: Manners = Manners {
        requests: 0,
        turns: 0,
        between: u64::MAX,
        away: Duration::ZERO,
        rests_until: None,
    };

    fn client_has_a_turn(&mut self, last: &mut u64, requests: usize) {
        self.requests = self.requests.saturating_add(requests);
        self.turns += 1;
        self.between = self.between.min(self.turns.saturating_sub(*last));
        *last = self.turns;
    }

    /// How long others are let go first, if requests came side by side since this was asked last.
    fn patience(&mut self) -> Option<Duration> {
        let requests = std::mem::take(&mut self.requests);
        let between = std::mem::replace(&mut self.between, u64::MAX);
        let is_by_turns = (BY_TURNS..u64::MAX).contains(&between);
        let patience = if is_by_turns { AWAKE } else { Duration::ZERO };
        (requests >= SIDE_BY_SIDE).then_some(patience)
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

/// So many requests of peers, or of a client of theirs, or so many answers to a client came to this thread.
pub fn came(requests: usize) {
    let mut manners = MANNERS.get();
    manners.requests = manners.requests.saturating_add(requests);
    MANNERS.set(manners);
}

/// So many requests of a client came to this thread; `last` is the client's own, 0 at first, and says when it had its last turn.
pub fn client_has_a_turn(last: &mut u64, requests: usize) {
    let mut manners = MANNERS.get();
    manners.client_has_a_turn(last, requests);
    MANNERS.set(manners);
}

/// A thread of a runtime has nothing to do, and is about to wait for events: for tokio's `on_thread_park`.
pub fn let_others_go() {
    let mut manners = MANNERS.get();
    if let Some(patience) = manners.patience() {
        let began = Instant::now();
        if !manners.is_resting(began) {
            let now = go_last(began, patience);
            manners.was_away(began, now);
        }
    }
    MANNERS.set(manners);
}

/// Lets others go first, once; while there are none, for as long as `patience`. Says when it is over.
fn go_last(began: Instant, patience: Duration) -> Instant {
    let mut before = began;
    loop {
        std::thread::yield_now();
        let now = Instant::now();
        if now - before > ALONE || now - began >= patience {
            return now;
        }
        before = now;
    }
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
            assert_eq!(manners.patience(), None, "{requests}");
        }
        manners.requests = SIDE_BY_SIDE;
        assert_eq!(manners.patience(), Some(Duration::ZERO));
        assert_eq!(manners.patience(), None, "those are of before the sleep");
    }

    /// Lost without it: a thread that stays awake while its few clients wait for it to see that they have asked.
    #[test]
    fn a_thread_stays_awake_only_for_many_clients_that_ask_by_turns() {
        let patience = |clients: usize, turns: usize| {
            let mut manners = Manners::NEW;
            let mut last = vec![0; clients];
            for turn in 0..turns {
                manners.client_has_a_turn(&mut last[turn % clients], 1);
            }
            // What is asked after the sleep counts, by whoever asked before it.
            manners.patience();
            for turn in turns..turns + SIDE_BY_SIDE {
                manners.client_has_a_turn(&mut last[turn % clients], 1);
            }
            manners.patience()
        };
        assert_eq!(patience(50, 500), Some(AWAKE));
        assert_eq!(patience(8, 500), Some(Duration::ZERO));
        assert_eq!(patience(1, 500), Some(Duration::ZERO), "it pipelines");

        let mut manners = Manners::NEW;
        manners.requests = SIDE_BY_SIDE;
        assert_eq!(manners.patience(), Some(Duration::ZERO), "of peers alone");
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
        came(3);
        came(4);
        assert_eq!(MANNERS.get().requests, 7);
        std::thread::spawn(|| assert_eq!(MANNERS.get().requests, 0))
            .join()
            .unwrap();
        let_others_go();
        assert_eq!(MANNERS.get().requests, 0);
    }
}
