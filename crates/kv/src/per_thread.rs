//! This file answers: how do many threads count without meeting?
//!
//! Each has a set of counters to itself, and whoever reads adds them up.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Threads beyond this share.
pub const THREADS: usize = 16;

/// One of each for each thread; what it is must bear that two threads share one.
#[derive(Debug, Default)]
pub struct PerThread<T> {
    each: [OfThread<T>; THREADS],
}

/// Apart from the next thread's: processors fetch cache lines in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct OfThread<T>(T);

impl<T> PerThread<T> {
    /// The calling thread's.
    pub fn mine(&self) -> &T {
        &self.each[number()].0
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        self.each.iter().map(|of_thread| &of_thread.0)
    }
}

/// The place of this thread: threads take turns.
fn number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static MINE: Cell<usize> = const { Cell::new(THREADS) });
    MINE.with(|mine| {
        if mine.get() == THREADS {
            mine.set(NEXT.fetch_add(1, Ordering::Relaxed) % THREADS);
        }
        mine.get()
    })
}
