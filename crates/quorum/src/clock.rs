//! This file answers: when was this written, in an order that everyone agrees on?
//!
//! Hybrid logical time (Kulkarni et al. 2014): wall milliseconds with a logical counter below them, so that stamps read
//! as times and still never repeat nor go back. What makes a stamp unique is not the clock but (boot, sequence).
//!
//! Nothing here reads a clock: the wall's milliseconds come in as an argument and may be anything.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use rkv_ring::NodeName;
use serde::{Deserialize, Serialize};

/// How many of a time's bits are its logical counter.
const LOGICAL_BITS: u32 = 16;

/// The latest wall clock that is believed, in the year 6429. Half of what 48 bits hold: the other half is room for the
/// counter, so that even a clock at this end never overflows.
const LATEST_WALL_MS: u64 = (1 << 47) - 1;

fn at(wall_ms: u64) -> u64 {
    wall_ms.min(LATEST_WALL_MS) << LOGICAL_BITS
}

/// The identity of one write, and its place in the order of all writes. Compared field by field, first to last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(from = "(u64, u64, u32)", into = "(u64, u64, u32)")]
pub struct Stamp {
    /// Unix milliseconds in the upper 48 bits, a logical counter in the lower 16.
    pub time: u64,
    /// Which start of which node: no two boots share it.
    pub boot: u64,
    /// 0 for a stamp off the clock, which that boot issues once per `time`; counted from 1 for restamps, whose time
    /// another node chose.
    pub seq: u32,
}

impl Stamp {
    /// Bytes that [`Stamp::encode`] makes.
    pub const LEN: usize = 20;

    /// Big endian, so that encodings compare as stamps do.
    pub fn encode(&self) -> [u8; Stamp::LEN] {
        let mut bytes = [0; Stamp::LEN];
        bytes[..8].copy_from_slice(&self.time.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.boot.to_be_bytes());
        bytes[16..].copy_from_slice(&self.seq.to_be_bytes());
        bytes
    }

    /// Reads what [`Stamp::encode`] wrote; every 20 bytes are a stamp.
    pub fn decode(bytes: &[u8; Stamp::LEN]) -> Stamp {
        let [a, b, c, d, e, f, g, h, rest @ ..] = *bytes;
        let [i, j, k, l, m, n, o, p, seq @ ..] = rest;
        Stamp {
            time: u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            boot: u64::from_be_bytes([i, j, k, l, m, n, o, p]),
            seq: u32::from_be_bytes(seq),
        }
    }

    /// The highest stamp of a time: who is to be above that time is to be above it.
    pub const fn last_of(time: u64) -> Stamp {
        Stamp {
            time,
            boot: u64::MAX,
            seq: u32::MAX,
        }
    }

    /// The unix milliseconds of its time, for people.
    pub fn wall_ms(&self) -> u64 {
        self.time >> LOGICAL_BITS
    }
}

impl From<(u64, u64, u32)> for Stamp {
    fn from((time, boot, seq): (u64, u64, u32)) -> Stamp {
        Stamp { time, boot, seq }
    }
}

impl From<Stamp> for (u64, u64, u32) {
    fn from(stamp: Stamp) -> (u64, u64, u32) {
        (stamp.time, stamp.boot, stamp.seq)
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}-{:08x}", self.time, self.boot, self.seq)
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is no stamp.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a stamp reads as three hexadecimal numbers of 16, 16 and 8 digits, joined by '-'")]
pub struct NotAStamp;

impl FromStr for Stamp {
    type Err = NotAStamp;

    fn from_str(text: &str) -> Result<Stamp, NotAStamp> {
        fn hex(part: Option<&str>, digits: usize) -> Result<u64, NotAStamp> {
            part.filter(|p| p.len() == digits && p.bytes().all(|b| b.is_ascii_hexdigit()))
                .and_then(|p| u64::from_str_radix(p, 16).ok())
                .ok_or(NotAStamp)
        }
        let mut parts = text.splitn(3, '-');
        Ok(Stamp {
            time: hex(parts.next(), 16)?,
            boot: hex(parts.next(), 16)?,
            seq: hex(parts.next(), 8)? as u32,
        })
    }
}

/// A node's clock: shared by all its requests without a lock.
#[derive(Debug)]
pub struct Clock {
    boot: u64,
    max_drift_ms: u64,
    /// The highest time issued or witnessed.
    time: AtomicU64,
    /// The last sequence number that a restamp took.
    restamps: AtomicU32,
}

impl Clock {
    /// A clock for this `boot` (unique to this start of this node). A peer's time moves it at most `max_drift_ms` ahead
    /// of the wall.
    pub fn new(boot: u64, max_drift_ms: u64) -> Clock {
        Clock {
            boot,
            max_drift_ms,
            time: AtomicU64::new(0),
            restamps: AtomicU32::new(0),
        }
    }

    /// A stamp that is above all that this clock issued off itself before, whatever `wall_ms` does.
    pub fn now(&self, wall_ms: u64) -> Stamp {
        let next = |time: u64| (time + 1).max(at(wall_ms));
        let mut time = self.time.load(Ordering::Relaxed);
        while let Err(now) =
            self.time
                .compare_exchange_weak(time, next(time), Ordering::AcqRel, Ordering::Relaxed)
        {
            time = now;
        }
        Stamp {
            time: next(time),
            boot: self.boot,
            seq: 0,
        }
    }

    /// What this node tells its peers with every message: its time, without moving it.
    pub fn reading(&self, wall_ms: u64) -> u64 {
        self.time.load(Ordering::Acquire).max(at(wall_ms))
    }

    /// Takes note of a peer's [`Clock::reading`]: later stamps are above it, unless it is further ahead of the wall than
    /// drift explains. Then it counts as far as drift goes, so that one wild peer does not drag everyone along.
    pub fn witness(&self, time: u64, wall_ms: u64) {
        let bound = at(wall_ms.saturating_add(self.max_drift_ms));
        self.time.fetch_max(time.min(bound), Ordering::AcqRel);
    }

    /// A stamp above `held`, which refused an earlier one: a tick later, by this boot. The clock stays where it is: a
    /// wild stamp of one key is no reason to stamp the others wildly.
    ///
    /// Above `held` unless that is at the very end of time, where only the boot decides.
    pub fn after(&self, held: &Stamp) -> Stamp {
        Stamp {
            time: held.time.saturating_add(1),
            boot: self.boot,
            seq: self.restamps.fetch_add(1, Ordering::AcqRel).wrapping_add(1),
        }
    }
}

/// Whether this node's clock is fit to stamp writes, judged by its peers'.
#[derive(Debug, Clone)]
pub struct Drift {
    max_drift_ms: u64,
    /// How far each peer's clock is ahead of ours, at its last message.
    offsets_ms: BTreeMap<NodeName, i64>,
    median_ms: i64,
}

impl Drift {
    /// No peer heard yet.
    pub fn new(max_drift_ms: u64) -> Drift {
        Drift {
            max_drift_ms,
            offsets_ms: BTreeMap::new(),
            median_ms: 0,
        }
    }

    /// A message came from `peer` with its [`Clock::reading`], when ours was `own_time`. Its time on the way counts as
    /// drift, which makes a peer look late by that much.
    pub fn observe(&mut self, peer: &NodeName, peer_time: u64, own_time: u64) {
        let ms = |time: u64| (time >> LOGICAL_BITS) as i64;
        let offset_ms = ms(peer_time) - ms(own_time);
        match self.offsets_ms.get_mut(peer) {
            Some(known) if *known == offset_ms => return,
            Some(known) => *known = offset_ms,
            None => drop(self.offsets_ms.insert(peer.clone(), offset_ms)),
        }
        self.find_median();
    }

    /// `peer` is gone, and so is its vote.
    pub fn forget(&mut self, peer: &NodeName) {
        self.offsets_ms.remove(peer);
        self.find_median();
    }

    fn find_median(&mut self) {
        let mut sorted: Vec<i64> = self.offsets_ms.values().copied().collect();
        sorted.sort_unstable();
        self.median_ms = match sorted.len() {
            0 => 0,
            len => 0i64.clamp(sorted[(len - 1) / 2], sorted[len / 2]),
        };
    }

    /// How far the peers' median is ahead of this node. Between the two middle ones of an even number this node is
    /// given the benefit of the doubt: of two peers that differ, one that agrees with it is enough. 0 without peers.
    pub fn median_ms(&self) -> i64 {
        self.median_ms
    }

    /// Whether this node may stamp and coordinate writes. Merges never ask: what is stamped is stamped.
    pub fn may_coordinate(&self) -> bool {
        self.median_ms().unsigned_abs() <= self.max_drift_ms
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn arbitrary_stamp() -> impl Strategy<Value = Stamp> {
        any::<(u64, u64, u32)>().prop_map(Stamp::from)
    }

    proptest! {
        /// Lost without it: two writes with one stamp, or a later write below an earlier one, after a clock jumped.
        #[test]
        fn stamps_are_unique_and_rise_whatever_the_wall_does(
            steps in prop::collection::vec((0u8..3, prop_oneof![any::<u64>(), 0..5u64]), 1..200)
        ) {
            let clock = Clock::new(7, 500);
            let mut issued = BTreeSet::new();
            let mut last = None;
            for (kind, wall_ms) in steps {
                match kind {
                    0 => {
                        let stamp = clock.now(wall_ms);
                        prop_assert!(last < Some(stamp));
                        last = Some(stamp);
                        prop_assert!(issued.insert(stamp));
                    }
                    1 => clock.witness(wall_ms.rotate_left(16), wall_ms),
                    _ => {
                        let before = clock.reading(0);
                        let held = last.unwrap_or_default();
                        let stamp = clock.after(&held);
                        prop_assert!(stamp > held);
                        prop_assert!(issued.insert(stamp));
                        prop_assert_eq!(clock.reading(0), before);
                    }
                }
            }
        }

        /// Lost without it: stamps in files and on the wire that order otherwise than in memory.
        #[test]
        fn encodings_are_exact_and_ordered(a in arbitrary_stamp(), b in arbitrary_stamp()) {
            prop_assert_eq!(Stamp::decode(&a.encode()), a);
            prop_assert_eq!(a.to_string().parse(), Ok(a));
            prop_assert_eq!(a.cmp(&b), a.encode().cmp(&b.encode()));
        }

        /// Lost without it: a stamp that a person typed panics the node.
        #[test]
        fn any_text_is_a_stamp_or_an_error(text in ".{0,50}") {
            let _ = text.parse::<Stamp>();
        }
    }

    /// Lost without it: one peer with a wild clock drags every clock of the cluster along for good.
    #[test]
    fn a_wild_peer_moves_the_clock_no_further_than_drift_goes() {
        let clock = Clock::new(1, 500);
        clock.witness(at(1_200), 1_000);
        assert_eq!(clock.now(1_000).wall_ms(), 1_200);
        clock.witness(at(9_999_999), 1_000);
        assert_eq!(clock.now(1_000).wall_ms(), 1_500);
        clock.witness(u64::MAX, u64::MAX);
        assert!(clock.now(0).time < u64::MAX / 2 + 10);
    }

    /// Lost without it: many threads draw from one clock and two get the same stamp.
    #[test]
    fn threads_share_a_clock() {
        let clock = Clock::new(1, 500);
        let draw = || (0..1000).map(|_| clock.now(5)).collect::<Vec<_>>();
        #[allow(
            clippy::disallowed_methods,
            reason = "threads are what this test is about"
        )]
        let all: Vec<Stamp> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(draw)).collect();
            threads
                .into_iter()
                .flat_map(|t| t.join().unwrap())
                .collect()
        });
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 4000);
    }

    /// Lost without it: a node with a wrong clock goes on stamping, or one wrong peer stops all the others.
    #[test]
    fn the_median_of_the_peers_judges() {
        let judged = |offsets: &[i64]| {
            let mut drift = Drift::new(500);
            for (i, offset) in offsets.iter().enumerate() {
                let peer = NodeName::from(format!("n{i}"));
                drift.observe(&peer, at((100_000 + offset) as u64), at(100_000));
            }
            (drift.median_ms(), drift.may_coordinate())
        };
        assert_eq!(judged(&[]), (0, true));
        assert_eq!(judged(&[400]), (400, true));
        assert_eq!(judged(&[-600]), (-600, false));
        assert_eq!(judged(&[10_000, 3]), (3, true));
        assert_eq!(judged(&[10_000, 9_000]), (9_000, false));
        assert_eq!(judged(&[-10_000, 9_000]), (0, true));
        assert_eq!(judged(&[-10_000, 20, 9_000]), (20, true));
        let mut drift = Drift::new(500);
        drift.observe(&"a".into(), at(9_000), at(1_000));
        assert!(!drift.may_coordinate());
        drift.forget(&"a".into());
        assert!(drift.may_coordinate());
    }
}
