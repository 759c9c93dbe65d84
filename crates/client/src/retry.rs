//! This file answers: is an operation tried again, and after how long?

use std::time::Duration;

use crate::error::Error;

/// Decides whether an operation that came to nothing is tried again.
///
/// Asked after each failure, until it says no or the operation's time is over. A closure will do:
/// `|tries, error: &Error| error.is_retryable().then_some(Duration::from_millis(20))`.
///
/// [`Backoff`] is the default. It never repeats a write that may have been applied; a policy of your own may, if writing
/// twice does no harm.
pub trait RetryPolicy: Send + Sync + 'static {
    /// How long to wait before the next try, after `tries` of them (1, 2, ...) and this `error`; `None`: give up.
    fn after(&self, tries: u32, error: &Error) -> Option<Duration>;
}

impl<F> RetryPolicy for F
where
    F: Fn(u32, &Error) -> Option<Duration> + Send + Sync + 'static,
{
    fn after(&self, tries: u32, error: &Error) -> Option<Duration> {
        self(tries, error)
    }
}

/// Twice as long each time: the default policy.
///
/// Only what is known not to have been applied is tried again. What a node refused, `tries` times in all; that no node
/// can be reached is worth waiting for as long as the operation has time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// How often an operation that was refused is tried in all: 6.
    pub tries: u32,
    /// The first wait: 10 ms.
    pub first: Duration,
    /// The longest: 250 ms.
    pub most: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff {
            tries: 6,
            first: Duration::from_millis(10),
            most: Duration::from_millis(250),
        }
    }
}

impl RetryPolicy for Backoff {
    fn after(&self, tries: u32, error: &Error) -> Option<Duration> {
        let is_worth_it = match error {
            Error::Unreachable(_) => true,
            error => error.is_retryable() && tries < self.tries,
        };
        let doubled = self.first.saturating_mul(1 << tries.clamp(1, 16) >> 1);
        is_worth_it.then(|| doubled.min(self.most))
    }
}

/// Each operation is tried once; only a node that was never reached is passed over for the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Never;

impl RetryPolicy for Never {
    fn after(&self, _: u32, _: &Error) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost without it: clients that hammer a cluster in trouble, or repeat what may have been applied.
    #[test]
    fn waits_grow_and_end() {
        let again = Error::Again {
            reason: "busy".to_owned(),
            message: "busy".to_owned(),
        };
        let policy = Backoff::default();
        let waits: Vec<_> = (1..=6).map(|tries| policy.after(tries, &again)).collect();
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(waits, [ms(10), ms(20), ms(40), ms(80), ms(160), None]);
        let gone = Error::Unreachable("all".to_owned());
        assert_eq!(policy.after(1_000_000, &gone), ms(250));
        assert_eq!(policy.after(1, &Error::Unknown("lost".to_owned())), None);
        assert_eq!(Never.after(1, &again), None);
    }
}
