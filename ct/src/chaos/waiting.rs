//! This file answers: how is something waited for?
//!
//! Nothing here waits for a time alone but what is the harm itself, or a client's own pace ([`rest`]).

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Between two looks at what costs nothing to look at.
pub const AT_ONCE: Duration = Duration::from_millis(20);
/// Between two questions to a node: each is a process of its own.
pub const NOW_AND_THEN: Duration = Duration::from_millis(250);

/// Looks again and again until there is something, once at least, for as long as `lasts`.
pub fn within<T>(
    lasts: Duration,
    between: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> Option<T> {
    let begun = Instant::now();
    loop {
        let seen = look();
        let left = lasts.saturating_sub(begun.elapsed());
        if seen.is_some() || left.is_zero() {
            return seen;
        }
        std::thread::park_timeout(between.min(left));
    }
}

/// Whether it comes to hold, in that time.
pub fn holds_within(lasts: Duration, between: Duration, mut holds: impl FnMut() -> bool) -> bool {
    within(lasts, between, || holds().then_some(())).is_some()
}

/// Lets that much time pass, or until `stop`.
pub fn rest(lasts: Duration, stop: &AtomicBool) {
    holds_within(lasts, AT_ONCE, || stop.load(Ordering::Relaxed));
}
