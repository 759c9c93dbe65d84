//! This file answers: how much of its time does a node give to moves while it is asked for something else?
//!
//! A node of which nothing is asked moves copies as fast as it can. While requests come, pages of moves and the
//! comparisons that follow them take a 64th of one thread's time, as it was measured; so what a page costs
//! on this machine, with these values and this engine, need not be known. Never less, so no move starves. Pages are small
//! then and go one by one: the next when it is known how long the one before took.
//!
//! In a simulation a step takes no time, and nothing is ever put off.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

/// For so long after a request more are expected.
const CALM_MS: u64 = 100;
/// One part in so many of the time, while requests come. A page costs some six times what its source's step takes:
/// encoding, system calls and the target's merge come on top. So this is about a tenth of a core.
const PART: u64 = 64;
/// What is saved up at most, in microseconds.
const BURST_US: i64 = 50;
/// How long nothing more is sent when what the last took stays unknown.
const STEP_MS: u64 = 10;
/// What is owed at most: a step may have been held up by others.
const DEBT_US: i64 = 2_000;

/// A page is one part in so many of what it would else be, while requests come: some wait behind it, at its source and at its
/// target.
const PAGE_PART: usize = 6;

/// The time that moves may take.
#[derive(Debug, Default)]
pub struct Courtesy {
    /// Whether a request came since that was looked at. What all threads write to is written seldom.
    is_asked: AtomicBool,
    /// When it was seen last that one had.
    asked_ms: AtomicU64,
    /// Whether somebody was told to wait.
    has_put_off: AtomicBool,
    purse: Mutex<Purse>,
}

#[derive(Debug, Default)]
struct Purse {
    /// Microseconds; below zero: a debt.
    left_us: i64,
    at_ms: u64,
    /// When something was sent of which it is not known yet how long that takes.
    lent_ms: Option<u64>,
    /// Whether steps take time here.
    is_timed: bool,
}

impl Courtesy {
    /// A request came.
    pub fn asked(&self) {
        if !self.is_asked.load(Ordering::Relaxed) {
            self.is_asked.store(true, Ordering::Relaxed);
        }
    }

    /// Whether requests come.
    pub fn is_asked(&self, now_ms: u64) -> bool {
        if self.is_asked.load(Ordering::Relaxed) {
            self.is_asked.store(false, Ordering::Relaxed);
            self.asked_ms.store(now_ms, Ordering::Relaxed);
        }
        now_ms.saturating_sub(self.asked_ms.load(Ordering::Relaxed)) < CALM_MS
    }

    /// How many entries a page has that would have `most` if nothing were asked.
    pub fn page_entries(&self, now_ms: u64, most: usize) -> usize {
        match self.is_asked(now_ms) {
            true => most.div_ceil(PAGE_PART),
            false => most,
        }
    }

    /// Whether a move may go on now.
    pub fn allows(&self, now_ms: u64) -> bool {
        if !self.is_asked(now_ms) {
            return true;
        }
        let purse = &mut *self.purse.lock();
        purse.fill(now_ms);
        let lent_ms = purse.lent_ms.map(|since| now_ms.saturating_sub(since));
        let may = purse.left_us >= 0 && lent_ms.is_none_or(|for_ms| for_ms >= STEP_MS);
        if !may {
            self.has_put_off.store(true, Ordering::Relaxed);
        }
        may
    }

    /// Something of a move is sent: what that takes is said by [`Courtesy::spend`].
    pub fn lend(&self, now_ms: u64) {
        if self.is_asked(now_ms) {
            let purse = &mut *self.purse.lock();
            purse.lent_ms = purse.is_timed.then_some(now_ms);
        }
    }

    /// A move took so much time.
    pub fn spend(&self, now_ms: u64, us: u64) {
        if us > 0 && self.is_asked(now_ms) {
            let purse = &mut *self.purse.lock();
            purse.fill(now_ms);
            (purse.lent_ms, purse.is_timed) = (None, true);
            let us = i64::try_from(us).unwrap_or(i64::MAX);
            purse.left_us = purse.left_us.saturating_sub(us).max(-DEBT_US);
        }
    }

    /// Whether somebody was told to wait since this was asked last.
    pub fn take_put_off(&self) -> bool {
        self.has_put_off.swap(false, Ordering::Relaxed)
    }
}

impl Purse {
    fn fill(&mut self, now_ms: u64) {
        let passed_us = now_ms.saturating_sub(self.at_ms).saturating_mul(1_000);
        self.at_ms = self.at_ms.max(now_ms);
        let filled = i64::try_from(passed_us / PART).unwrap_or(i64::MAX);
        self.left_us = self.left_us.saturating_add(filled).min(BURST_US);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs steps of 100 us whenever it may, for ten seconds in which requests come every so many milliseconds, or none;
    /// says how many steps there were and how many at once.
    fn steps(request_each_ms: Option<u64>) -> (u64, u64) {
        let courtesy = Courtesy::default();
        let (mut steps, mut most) = (0, 0);
        for now_ms in 5_000..15_000 {
            if request_each_ms.is_some_and(|each| now_ms % each == 0) {
                courtesy.asked();
            }
            let mut at_once = 0;
            while at_once < 10 && courtesy.allows(now_ms) {
                courtesy.spend(now_ms, 100);
                at_once += 1;
            }
            steps += at_once;
            most = most.max(at_once);
        }
        (steps, most)
    }

    /// Lost without it: readers wait behind pages of a move, or a move waits for ever behind readers.
    #[test]
    fn moves_take_their_part_and_no_more() {
        let all = 10_000_000 / 100;
        for each_ms in [1, 2, 50] {
            let (steps, most) = steps(Some(each_ms));
            let part = all / PART;
            assert!(steps.abs_diff(part) * 10 < part, "{steps} and not {part}");
            assert!(most <= 4, "{most} at once");
        }
        assert_eq!(steps(None), (all, 10), "nobody to be courteous to");
    }

    /// Lost without it: one step sends all pages that may be on their way, before it is known how long the first took.
    #[test]
    fn one_page_goes_before_its_price_is_known() {
        let courtesy = Courtesy::default();
        courtesy.asked();
        courtesy.spend(1_000, 1);
        courtesy.asked();
        assert!(
            courtesy.allows(1_100) && courtesy.allows(1_100),
            "none was sent"
        );
        courtesy.lend(1_100);
        assert!(!courtesy.allows(1_100) && courtesy.take_put_off());
        courtesy.spend(1_101, 10);
        assert!(courtesy.allows(1_101));
        courtesy.lend(1_101);
        assert!(courtesy.allows(1_101 + STEP_MS), "nothing is heard of it");
    }

    /// Lost without it: one step that the machine held up stops moves for long.
    #[test]
    fn what_is_owed_is_bounded() {
        let courtesy = Courtesy::default();
        courtesy.asked();
        courtesy.spend(1_000, 10_000_000);
        assert!(!courtesy.allows(1_000) && courtesy.take_put_off());
        assert!(!courtesy.take_put_off());
        courtesy.asked();
        assert!(courtesy.allows(1_130), "it is paid within 130 ms");
    }
}
