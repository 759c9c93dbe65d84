//! This file answers: what time is it, for all that happens together?
//!
//! A clock is read in some 20 ns, and a write that three nodes store would read theirs twenty times. What came in one read of
//! a socket is carried out in a fraction of a millisecond, so one reading is enough for all of it. Whatever measures
//! how long something takes reads the clock itself.

use std::cell::Cell;
use std::marker::PhantomData;
use std::time::{Instant, SystemTime};

/// One reading of both clocks.
#[derive(Clone, Copy)]
struct Moment {
    now: Instant,
    wall: SystemTime,
}

impl Moment {
    fn read() -> Moment {
        Moment {
            now: Instant::now(),
            wall: SystemTime::now(),
        }
    }
}

thread_local!(static HELD: Cell<Option<Moment>> = const { Cell::new(None) });

/// While this lives, its thread goes by one reading of the clocks. Not to be kept over an await.
#[must_use]
pub struct Held {
    /// What was held before.
    before: Option<Moment>,
    /// It stays on its thread.
    here: PhantomData<*const ()>,
}

/// Reads the clocks for all that this thread does until [`Held`] is dropped. Within another one: goes on with that one's.
pub fn hold() -> Held {
    let before = HELD.get();
    HELD.set(Some(before.unwrap_or_else(Moment::read)));
    Held {
        before,
        here: PhantomData,
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.set(self.before);
    }
}

/// Now, monotonic.
pub(crate) fn now() -> Instant {
    HELD.get().map_or_else(Instant::now, |held| held.now)
}

/// Now by the wall.
pub(crate) fn wall() -> SystemTime {
    HELD.get().map_or_else(SystemTime::now, |held| held.wall)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits until the clock has gone on.
    fn later_than(moment: Instant) {
        while Instant::now() <= moment {
            std::hint::spin_loop();
        }
    }

    /// Lost without it: a thread whose time stands still for good, or goes back.
    #[test]
    fn time_stands_while_it_is_held_and_no_longer() {
        let held = hold();
        let (moment, wall) = (now(), super::wall());
        later_than(moment);
        assert_eq!((now(), super::wall()), (moment, wall));
        drop(hold());
        assert_eq!(now(), moment, "the outer one is held still");
        drop(held);
        assert!(now() > moment);
    }
}
