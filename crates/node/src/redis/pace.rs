//! This file answers: how slow may a client be?
//!
//! As slow as it likes while it owes nothing. A request that has begun, and replies that wait, take memory of the node:
//! these have a while, and as much longer as their bytes take at a slow line's pace. So a large value over a slow line
//! comes through, and one byte now and then buys nothing.

use std::time::{Duration, Instant};

/// What a slow line moves, in bytes a second.
const SLOW_LINE: u64 = 4 << 10;

/// How long clients may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// To prove themselves.
    pub(crate) auth: Duration,
    /// To send a request they have begun, or to take replies, beyond what their bytes take on a slow line.
    pub(crate) slow: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            auth: Duration::from_secs(10),
            slow: Duration::from_secs(60),
        }
    }
}

/// One direction of a connection, while bytes are owed in it.
#[derive(Debug, Default)]
pub(super) struct Pace {
    since: Option<Instant>,
    bytes: u64,
}

impl Pace {
    /// Bytes are owed, at the latest since `now`.
    pub(super) fn begin(&mut self, now: Instant) {
        if self.since.is_none() {
            self.since = Some(now);
            self.bytes = 0;
        }
    }

    /// So many have moved.
    pub(super) fn moved(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// Nothing is owed any more.
    pub(super) fn end(&mut self) {
        self.since = None;
    }

    /// Until when more must move, if anything is owed.
    pub(super) fn until(&self, slow: Duration) -> Option<Instant> {
        let line = Duration::from_millis(self.bytes.saturating_mul(1_000) / SLOW_LINE);
        Some(self.since? + slow + line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost without it: a client that sends or takes a byte a minute holds what it began for ever, or a large value does not
    /// come through a slow line.
    #[test]
    fn only_bytes_buy_time() {
        let (start, slow) = (Instant::now(), Duration::from_secs(60));
        let mut pace = Pace::default();
        assert_eq!(pace.until(slow), None);
        pace.moved(1 << 20);
        pace.begin(start);
        assert_eq!(pace.until(slow), Some(start + slow));
        for second in 0..100 {
            pace.moved(1);
            pace.begin(start + Duration::from_secs(second));
        }
        let until = pace.until(slow).unwrap();
        assert!(until < start + slow + Duration::from_secs(1));
        pace.moved(8 << 20);
        let until = pace.until(slow).unwrap();
        assert!(until > start + Duration::from_secs(2_000));
        pace.end();
        assert_eq!(pace.until(slow), None);
    }
}
