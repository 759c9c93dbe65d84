//! This file answers: how many transfers may run at once on this node, and whose turn is next?
//!
//! So many go out, and as many moves come in. Going out, the more urgent is not kept waiting by the less urgent: hints
//! wait for hints alone, a copy that catches up for these two, and repair and moves, which may wait, for all. When a
//! place is free the most urgent of those who were turned away is told at once; of equals each in its turn.
//!
//! Copies that are only looked at have as many places of their own: nothing flows, so they neither wait nor are waited for.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use rkv_wire::message::CopyId;

/// What a place is wanted for, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turn {
    /// An owner gets what it missed.
    Hint,
    /// A copy that came back is filled.
    CatchUp,
    /// A copy is compared with a peer's and mended.
    Repair,
    /// A place of a row changes hands.
    Move,
    /// A copy is looked at beside a peer's, as it is from time to time, and so far nothing differs.
    Look,
}

/// How many kinds there are.
const TURNS: usize = 5;
/// Who was turned away and has not asked again for so long wants no place any more.
const STALE_MS: u64 = 1_000;
/// Moves wait no longer than this because others go first.
const PATIENCE_MS: u64 = 2_000;

/// The places of one node.
#[derive(Debug, Default)]
pub struct Places {
    out: Arc<Mutex<[usize; TURNS]>>,
    incoming: Arc<Mutex<[usize; TURNS]>>,
    /// Places given back since they were looked at.
    freed: Arc<AtomicUsize>,
    waiting: Mutex<Waiting>,
}

/// Who was turned away.
#[derive(Debug, Default)]
struct Waiting {
    /// When each asked last, by turn.
    asked: [BTreeMap<CopyId, u64>; TURNS],
    /// Who was told last, by turn.
    told: [Option<CopyId>; TURNS],
    /// Since when moves have waited for those who go first.
    moves_since: Option<u64>,
}

impl Places {
    /// A place to send from, of `most`; it is given back when dropped. `None`: `copy` is told when it may try again, and
    /// should try by itself now and then.
    pub fn take_out(&self, turn: Turn, copy: CopyId, most: usize, now_ms: u64) -> Option<Place> {
        let waiting = &mut *self.waiting.lock();
        let running = &mut *self.out.lock();
        let ahead: usize = match turn {
            Turn::Hint => running[Turn::Hint as usize],
            Turn::CatchUp => running[Turn::Hint as usize] + running[Turn::CatchUp as usize],
            Turn::Repair | Turn::Move => running[..=Turn::Move as usize].iter().sum(),
            Turn::Look => running[Turn::Look as usize],
        };
        if ahead >= most || (turn == Turn::Move && waiting.goes_before_moves(now_ms)) {
            waiting.asked[turn as usize].insert(copy, now_ms);
            return None;
        }
        waiting.asked[turn as usize].remove(&copy);
        if turn == Turn::Move {
            waiting.moves_since = None;
        }
        running[turn as usize] += 1;
        Some(self.place(&self.out, turn))
    }

    /// A place to take a move in, of `most`.
    pub fn take_in(&self, most: usize) -> Option<Place> {
        let running = &mut *self.incoming.lock();
        if running.iter().sum::<usize>() >= most {
            return None;
        }
        running[Turn::Move as usize] += 1;
        Some(self.place(&self.incoming, Turn::Move))
    }

    fn place(&self, running: &Arc<Mutex<[usize; TURNS]>>, turn: Turn) -> Place {
        Place {
            running: running.clone(),
            freed: self.freed.clone(),
            turn,
        }
    }

    /// How many places were given back since this was asked last.
    pub fn take_freed(&self) -> usize {
        match self.freed.load(Ordering::Relaxed) {
            0 => 0,
            _ => self.freed.swap(0, Ordering::Relaxed),
        }
    }

    /// Who may try again: the most urgent that was turned away, of equals the next after who was told last.
    pub fn next_waiting(&self, now_ms: u64) -> Option<CopyId> {
        let waiting = &mut *self.waiting.lock();
        (0..TURNS).find_map(|turn| waiting.next(turn, now_ms))
    }
}

impl Waiting {
    fn next(&mut self, turn: usize, now_ms: u64) -> Option<CopyId> {
        let asked = &mut self.asked[turn];
        asked.retain(|_, asked_ms| now_ms.saturating_sub(*asked_ms) < STALE_MS);
        let after = match self.told[turn] {
            Some(told) => Bound::Excluded(told),
            None => Bound::Unbounded,
        };
        let mut behind = asked.range((after, Bound::Unbounded));
        let (&next, _) = behind.next().or_else(|| asked.first_key_value())?;
        asked.remove(&next);
        self.told[turn] = Some(next);
        Some(next)
    }

    /// Whether somebody waits who goes before moves, and moves have not waited for such too long.
    fn goes_before_moves(&mut self, now_ms: u64) -> bool {
        let is_fresh = |asked_ms: &u64| now_ms.saturating_sub(*asked_ms) < STALE_MS;
        let repairs = &self.asked[Turn::Repair as usize];
        if !repairs.values().any(is_fresh) {
            self.moves_since = None;
            return false;
        }
        let since = *self.moves_since.get_or_insert(now_ms);
        now_ms.saturating_sub(since) < PATIENCE_MS
    }
}

/// The right to run one transfer.
#[derive(Debug)]
pub struct Place {
    running: Arc<Mutex<[usize; TURNS]>>,
    freed: Arc<AtomicUsize>,
    turn: Turn,
}

impl Place {
    /// Whether it was given for this.
    pub fn is_for(&self, turn: Turn) -> bool {
        self.turn == turn
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.running.lock()[self.turn as usize] -= 1;
        self.freed.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use rkv_ring::Partition;
    use rkv_wire::message::ServiceId;

    use super::*;

    fn copy(partition: u16) -> CopyId {
        CopyId {
            service: ServiceId(1),
            partition: Partition(partition),
        }
    }

    /// Lost without it: a move of hours keeps an owner that is back from its hints, or a copy from its peers.
    #[test]
    fn the_urgent_do_not_wait_for_those_who_may() {
        let places = Places::default();
        let take = |turn, at| places.take_out(turn, copy(at), 2, 1_000);
        let moves = [take(Turn::Move, 1), take(Turn::Move, 2)];
        assert!(moves.iter().all(Option::is_some) && take(Turn::Move, 3).is_none());
        assert!(take(Turn::Repair, 4).is_none());
        let hint = take(Turn::Hint, 5).expect("hints wait for hints alone");
        let catch_up = take(Turn::CatchUp, 6).expect("moves do not hold it up");
        assert!(take(Turn::CatchUp, 7).is_none());
        let second = take(Turn::Hint, 8).expect("nor do copies that catch up");
        assert!(take(Turn::Hint, 9).is_none());
        drop((moves, hint, second));
        assert!(take(Turn::Move, 3).is_none(), "repair goes first");
        let repair = take(Turn::Repair, 4).expect("one place is free");
        drop((repair, catch_up));
        assert!(take(Turn::Move, 3).is_some());
    }

    /// Lost without it: the copy with the lowest number is told again and again, or a free place stays free.
    #[test]
    fn who_waits_is_told_in_turn() {
        let places = Places::default();
        let now_ms = 1_000;
        let mut held = places.take_out(Turn::Move, copy(9), 1, now_ms);
        let mut had = Vec::new();
        for _ in 0..6 {
            for at in 1..=3 {
                assert!(places.take_out(Turn::Move, copy(at), 1, now_ms).is_none());
            }
            assert_eq!(places.take_freed(), 0);
            drop(held);
            assert_eq!(places.take_freed(), 1);
            let next = places.next_waiting(now_ms).expect("three wait");
            had.push(next.partition.0);
            held = places.take_out(Turn::Move, next, 1, now_ms);
            assert!(held.is_some());
        }
        assert_eq!(had, [1, 2, 3, 1, 2, 3]);
        assert_eq!(places.next_waiting(now_ms + STALE_MS), None);
    }

    /// Lost without it: looking at copies that are equal, which never ends, keeps every move waiting.
    #[test]
    fn looking_is_in_nobodys_way() {
        let places = Places::default();
        let take = |turn, at| places.take_out(turn, copy(at), 2, 1_000);
        let looks = [take(Turn::Look, 1), take(Turn::Look, 2)];
        assert!(looks.iter().all(Option::is_some) && take(Turn::Look, 3).is_none());
        let moves = [take(Turn::Move, 4), take(Turn::Move, 5)];
        assert!(moves.iter().all(Option::is_some), "a look that waits too");
        drop(looks);
        assert!(take(Turn::Look, 3).is_some(), "nor are moves in its way");
    }

    /// Lost without it: a repair that is never done keeps every move waiting for ever.
    #[test]
    fn moves_wait_for_repair_with_patience_and_no_longer() {
        let places = Places::default();
        let held = [1, 2].map(|at| places.take_out(Turn::Repair, copy(at), 2, 0));
        drop(held);
        let mut had_ms = None;
        for now_ms in (0..5_000).step_by(100) {
            let others = [3, 4].map(|at| places.take_out(Turn::Repair, copy(at), 2, now_ms));
            let third = places.take_out(Turn::Repair, copy(5), 2, now_ms);
            assert!(third.is_none());
            let [first, _second] = others;
            drop(first);
            if places.take_out(Turn::Move, copy(6), 2, now_ms).is_some() {
                had_ms = Some(now_ms);
                break;
            }
        }
        assert_eq!(had_ms, Some(PATIENCE_MS));
    }

    /// Lost without it: a target takes in as many copies at once as there are sources.
    #[test]
    fn so_many_come_in_and_no_more() {
        let places = Places::default();
        let first = places.take_in(2);
        let _second = places.take_in(2);
        assert!(places.take_in(2).is_none());
        assert!(places.take_out(Turn::Move, copy(1), 1, 0).is_some());
        drop(first);
        assert!(places.take_in(2).is_some());
    }
}
