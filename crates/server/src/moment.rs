//! This file answers: what does the wall clock say, for all that happens together?
//!
//! A clock is read in some 20 ns, and a write that three nodes store would read theirs a dozen times. What came in one read of a
//! socket is carried out in a fraction of a millisecond, so one reading is enough for all of it. Only of the wall clock, which
//! may jump anyway: the monotonic one must not go back, and of two threads one could hold it while the other goes on.

use std::cell::Cell;
use std::marker::PhantomData;
use std::time::SystemTime;

thread_local!(static HELD: Cell<Option<SystemTime>> = const { Cell::new(None) });

/// While this lives, its thread goes by one reading of the wall clock. Not to be kept over an await.
#[must_use]
pub struct Held {
    /// What was held before.
    before: Option<SystemTime>,
    /// It stays on its thread.
    here: PhantomData<*const ()>,
}

/// Reads the clock for all that this thread does until [`Held`] is dropped. Within another one: goes on with that one's.
pub fn hold() -> Held {
    let before = HELD.get();
    HELD.set(Some(before.unwrap_or_else(SystemTime::now)));
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

/// Unix time.
pub(crate) fn wall() -> SystemTime {
    HELD.get().unwrap_or_else(SystemTime::now)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits until the clock shows something else.
    fn pass(moment: SystemTime) {
        while SystemTime::now() == moment {
            std::hint::spin_loop();
        }
    }

    /// Lost without it: a thread whose time stands still for good.
    #[test]
    fn time_stands_while_it_is_held_and_no_longer() {
        let held = hold();
        let moment = wall();
        pass(moment);
        assert_eq!(wall(), moment);
        drop(hold());
        assert_eq!(wall(), moment, "the outer one is held still");
        drop(held);
        assert_ne!(wall(), moment);
    }
}
