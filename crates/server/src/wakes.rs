//! This file answers: when are those woken who wait for something of what happens together?
//!
//! When all of it is done. Some hundred writes land with one sync, several of each connection that pipelines: woken at the first of
//! them, it would look for answers, write what is there and wait again, while the rest comes in one by one.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::task::Waker;

thread_local!(static HELD: RefCell<Option<Vec<Waker>>> = const { RefCell::new(None) });

/// While this lives, whom its thread is to wake waits. Not to be kept over an await.
#[must_use]
pub struct Held {
    /// Another one is held already, and ends later.
    is_inner: bool,
    /// It stays on its thread.
    here: PhantomData<*const ()>,
}

/// Holds what this thread wakes until [`Held`] is dropped; within another one, until that one is.
pub fn hold() -> Held {
    let is_inner = HELD.with_borrow_mut(|held| {
        let is_inner = held.is_some();
        held.get_or_insert_default();
        is_inner
    });
    Held {
        is_inner,
        here: PhantomData,
    }
}

/// Wakes, at once or when nothing is held any more.
pub fn wake(waker: Waker) {
    let at_once = HELD.with_borrow_mut(|held| match held {
        Some(held) => {
            held.push(waker);
            None
        }
        None => Some(waker),
    });
    if let Some(waker) = at_once {
        waker.wake();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.is_inner {
            let held = HELD.take();
            held.into_iter().flatten().for_each(Waker::wake);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicU64);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lost without it: a connection whose answer is there sleeps for ever.
    #[test]
    fn whoever_is_held_is_woken_in_the_end() {
        let woken = Arc::new(Woken::default());
        let count = || woken.0.load(Ordering::Relaxed);
        let wake_one = || wake(Waker::from(woken.clone()));
        wake_one();
        assert_eq!(count(), 1);
        let held = hold();
        wake_one();
        drop(hold());
        wake_one();
        assert_eq!(count(), 1, "the outer one is held still");
        drop(held);
        assert_eq!(count(), 3);
        let panics = std::panic::catch_unwind(|| {
            let _held = hold();
            wake_one();
            panic!("what happens together fails");
        });
        assert!(panics.is_err());
        assert_eq!(count(), 4);
        wake_one();
        assert_eq!(count(), 5);
    }
}
