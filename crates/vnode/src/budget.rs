//! This file answers: how many bytes may this node send in transfers now?
//!
//! A token bucket, filled by the world's clock. What is sent is taken from it, also when it was more than was left; then
//! nothing follows until the debt is paid. Who may run into debt goes first: hints before repair before moves. Writes
//! that are forwarded in a move are requests and not counted: they wait for nothing. Moves give way to requests besides.

use parking_lot::Mutex;

use crate::courtesy::Courtesy;

/// What a transfer is for, as far as its turn depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// An owner gets what it missed.
    Hint,
    /// A copy is compared with its peers and filled.
    Repair,
    /// A place of a row changes hands.
    Move,
}

impl Urgency {
    /// How many fillings of the bucket may be owed by others before it has to wait.
    fn debt(self) -> i64 {
        match self {
            Urgency::Hint => 2,
            Urgency::Repair => 1,
            Urgency::Move => 0,
        }
    }
}

/// The bucket holds what flows in this part of a second: a node that was idle does not make up for it.
const BURST_PART: u64 = 4;

/// The bytes that transfers may send.
#[derive(Debug)]
pub struct Budget {
    /// 0: no limit.
    bytes_per_s: u64,
    bucket: Mutex<Bucket>,
    /// Who waits while requests come.
    pub courtesy: Courtesy,
}

#[derive(Debug, Default)]
struct Bucket {
    /// Thousandths of bytes, so that no part of one is lost from tick to tick; below zero: a debt.
    left: i64,
    at_ms: u64,
}

impl Budget {
    /// So many bytes a second; 0: no limit.
    pub fn new(bytes_per_s: u64) -> Budget {
        Budget {
            bytes_per_s: bytes_per_s.min(MOST),
            bucket: Mutex::default(),
            courtesy: Courtesy::default(),
        }
    }

    /// Whether a transfer may send now.
    pub fn allows(&self, urgency: Urgency, now_ms: u64) -> bool {
        let flows = self.bytes_per_s == 0 || self.left(now_ms) > -urgency.debt() * self.full();
        flows && (urgency != Urgency::Move || self.courtesy.allows(now_ms))
    }

    /// Bytes were sent.
    pub fn spend(&self, now_ms: u64, bytes: usize) {
        if self.bytes_per_s > 0 {
            self.left(now_ms);
            let spent = i64::try_from(bytes).unwrap_or(i64::MAX);
            let bucket = &mut *self.bucket.lock();
            bucket.left = bucket.left.saturating_sub(spent.saturating_mul(1_000));
        }
    }

    /// How large a message should be that would else be `most`: no more than the bucket holds.
    pub fn message_bytes(&self, most: usize) -> usize {
        match usize::try_from(self.bytes_per_s / BURST_PART) {
            Ok(burst) if self.bytes_per_s > 0 => most.min(burst.max(1)),
            _ => most,
        }
    }

    /// What a full bucket holds, in thousandths of bytes.
    fn full(&self) -> i64 {
        (self.bytes_per_s * 1_000 / BURST_PART) as i64
    }

    /// Fills the bucket up to now, and says what it holds.
    fn left(&self, now_ms: u64) -> i64 {
        let bucket = &mut *self.bucket.lock();
        let passed_ms = now_ms.saturating_sub(bucket.at_ms).min(PASSED_MS);
        bucket.at_ms = bucket.at_ms.max(now_ms);
        let filled = (passed_ms * self.bytes_per_s) as i64;
        bucket.left = bucket.left.saturating_add(filled).min(self.full());
        bucket.left
    }
}

/// No network is quicker; keeps the arithmetic within its bounds.
const MOST: u64 = 1 << 40;
/// Nobody looks more seldom than this while anything flows; keeps the arithmetic within its bounds.
const PASSED_MS: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends messages of `bytes` whenever it may, for ten seconds of ticks, and says how much that was.
    fn sent(budget: &Budget, urgency: Urgency, bytes: usize) -> usize {
        let mut sent = 0;
        for tick in 0..200 {
            let now_ms = 5_000 + tick * 50;
            while budget.allows(urgency, now_ms) && sent < 1 << 30 {
                budget.spend(now_ms, bytes);
                sent += bytes;
            }
        }
        sent
    }

    /// Lost without it: transfers take the whole network from those who wait for answers.
    #[test]
    fn no_more_is_sent_than_flows_in() {
        for (bytes_per_s, message) in [(100_000, 1_000), (1_000_000, 250_000), (1_000, 7)] {
            let sent = sent(&Budget::new(bytes_per_s), Urgency::Move, message);
            let most = bytes_per_s as usize * 10 + bytes_per_s as usize / 4 + message;
            assert!(sent <= most, "{sent} of at most {most}");
            assert!(sent * 10 > most * 9, "{sent} of {most}: it starves");
        }
        assert_eq!(sent(&Budget::new(0), Urgency::Move, 1 << 20), 1 << 30);
    }

    /// Lost without it: an owner that comes back waits for its hints until a large move is over.
    #[test]
    fn hints_go_before_moves() {
        let budget = Budget::new(1_000);
        assert!(budget.allows(Urgency::Move, 1_000));
        budget.spend(1_000, 400);
        let allowed = |urgency| budget.allows(urgency, 1_000);
        let all = [Urgency::Hint, Urgency::Repair, Urgency::Move];
        assert_eq!(all.map(allowed), [true, true, false]);
        budget.spend(1_000, 200);
        assert_eq!(all.map(allowed), [true, false, false]);
        budget.spend(1_000, 200);
        assert_eq!(all.map(allowed), [false; 3]);
        assert!(budget.allows(Urgency::Move, 2_000), "a debt is paid");
    }
}
