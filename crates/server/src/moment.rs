//! This file answers: what does the wall clock say, for all that happens together?
//!
//! A clock is read in some 20 ns, and a write that three nodes store would read theirs a dozen times. What came in one read of a
//! socket is carried out in a fraction of a millisecond, so one reading is enough for all of it. Only of the wall clock, which
//! may jump anyway: the monotonic one must not go back, and of two threads one could hold it while the other goes on.

use std::cell::Cell;
use std::marker::PhantomData;
use std::time::SystemTime;

thread_local!(static HELD: Cell<Moment> = const { Cell::new(Moment::Passes) });

#[derive(Clone, Copy)]
enum Moment {
    /// Whoever asks is told the time.
    Passes,
    /// Whoever asks first is told the time, and those after it the same.
    Unread,
    Read(SystemTime),
}

/// While this lives, its thread goes by one reading of the wall clock. Not to be kept over an await.
#[must_use]
pub struct Held {
    /// This one began it.
    is_outer: bool,
    /// It stays on its thread.
    here: PhantomData<*const ()>,
}

/// Reads the clock once, when somebody asks, for all that this thread does until [`Held`] is dropped. Within another one: goes
/// on with that one's.
pub fn hold() -> Held {
    let is_outer = matches!(HELD.get(), Moment::Passes);
    if is_outer {
        HELD.set(Moment::Unread);
    }
    let here = PhantomData;
    Held { is_outer, here }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.is_outer {
            HELD.set(Moment::Passes);
        }
    }
}

/// Unix time.
pub(crate) fn wall() -> SystemTime {
    match HELD.get() {
        Moment::Passes => SystemTime::now(),
        Moment::Unread => {
            let now = SystemTime::now();
            HELD.set(Moment::Read(now));
            now
        }
        Moment::Read(then) => then,
    }
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
