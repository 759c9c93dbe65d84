//! This file answers: how many requests were there, how did they end, and how long did they take?
//!
//! For whoever watches the node; nothing is decided by it. A request adds to counters that its thread has to itself
//! ([`PerThread`]), so that requests on several threads do not meet here. Its time is taken
//! from the clock readings that carry it anyway: the one at its beginning, and the one that came with its last answer. A
//! request that was answered within the call that began it had no second reading: of these one in `SAMPLED` is timed
//! and counts for all.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use rkv_quorum::object::Object;
use rkv_quorum::outcome::ErrorKind;
use rkv_ring::NodeName;

use crate::error::KvError;
use crate::per_thread::PerThread;

/// Of requests that are answered at once one in so many is timed. A power of two.
pub(crate) const SAMPLED: u64 = 16;
/// Nodes whose answers are timed; a ring has fewer members than that.
const PEERS: usize = 1024;

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "they are words")]
pub enum Op {
    Get,
    Put,
    Delete,
    /// A command to one vnode: ping, and what one replica holds.
    Other,
}

impl Op {
    /// All of them.
    pub const ALL: [Op; 4] = [Op::Get, Op::Put, Op::Delete, Op::Other];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Op::Get => "get",
            Op::Put => "put",
            Op::Delete => "delete",
            Op::Other => "other",
        }
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// It was done.
    Ok,
    /// It was done, and there is nothing.
    NotFound,
    /// It was none that can be done.
    Usage,
    /// This node does not do it now.
    Refused,
    /// Too few nodes are up.
    NoReplicas,
    /// Not even a majority is.
    NoQuorum,
    /// Time was up.
    Timeout,
    /// Too many replicas failed.
    QuorumNotMet,
    /// Replicas had too much to do.
    Busy,
}

impl End {
    /// All of them.
    pub const ALL: [End; 9] = [
        End::Ok,
        End::NotFound,
        End::Usage,
        End::Refused,
        End::NoReplicas,
        End::NoQuorum,
        End::Timeout,
        End::QuorumNotMet,
        End::Busy,
    ];

    /// The result's name: `ok`, `notfound`, or the error's kind.
    pub fn as_str(self) -> &'static str {
        match self {
            End::Ok => "ok",
            End::NotFound => "notfound",
            End::Usage => "usage",
            End::Refused => "refused",
            End::NoReplicas | End::NoQuorum => "no_replicas",
            End::Timeout => "timeout",
            End::QuorumNotMet => "quorum_not_met",
            End::Busy => "busy",
        }
    }

    /// Why there was no quorum, where that was it.
    pub fn quorum_failure(self) -> Option<&'static str> {
        let kind = match self {
            End::NoReplicas => ErrorKind::NoReplicas,
            End::NoQuorum => ErrorKind::NoQuorum,
            End::Timeout => ErrorKind::Timeout,
            End::QuorumNotMet => ErrorKind::QuorumNotMet,
            End::Busy => ErrorKind::Busy,
            End::Ok | End::NotFound | End::Usage | End::Refused => return None,
        };
        Some(kind.reason())
    }

    /// Whether it was done.
    pub fn is_ok(self) -> bool {
        matches!(self, End::Ok | End::NotFound)
    }

    pub(crate) fn of_kind(kind: ErrorKind) -> End {
        match kind {
            ErrorKind::NoReplicas => End::NoReplicas,
            ErrorKind::NoQuorum => End::NoQuorum,
            ErrorKind::Timeout => End::Timeout,
            ErrorKind::QuorumNotMet => End::QuorumNotMet,
            ErrorKind::Busy => End::Busy,
        }
    }

    pub(crate) fn of_error(error: &KvError) -> End {
        match error {
            KvError::Quorum(error) => End::of_kind(error.kind),
            KvError::NotServing | KvError::Drift { .. } => End::Refused,
            KvError::NotFlushed { .. } | KvError::NotListed { .. } => End::Refused,
            KvError::MaybeFlushed { .. } => End::Timeout,
            KvError::Policy(_) | KvError::Key { .. } | KvError::Value { .. } => End::Usage,
            KvError::Keyspace(_) => End::Usage,
        }
    }

    /// Of a get.
    pub(crate) fn of_object(object: Option<&Object>, wall_ms: impl Fn() -> u64) -> End {
        let version = object.map(Object::version);
        match version.is_some_and(|version| version.is_live_by(wall_ms)) {
            true => End::Ok,
            false => End::NotFound,
        }
    }
}

/// Upper bounds of a histogram's buckets, in microseconds; one more bucket takes what is longer.
pub const BOUNDS_US: [u64; 21] = [
    1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000,
    250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
];

/// How long requests took, as they are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Durations {
    /// How many, by the bucket whose bound is the first that is not below; the last is without a bound.
    pub buckets: [u64; BOUNDS_US.len() + 1],
    /// All of them together.
    pub sum_us: u64,
}

impl Durations {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// What was counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Figures {
    /// By operation and end.
    pub requests: BTreeMap<(Op, End), u64>,
    /// By operation, and whether it was done. Of requests that were answered at once a sample, which counts for all.
    pub durations: BTreeMap<(Op, bool), Durations>,
    /// Copies that were behind and got what a read had found.
    pub read_repairs: u64,
    /// Gets that spared owners and asked them after all, for those asked first took long or could not make r.
    pub hedged_gets: u64,
    /// How long replicas on other nodes took to answer: a sample.
    pub peers: BTreeMap<NodeName, RoundTrips>,
}

/// How long one node's answers took, its work included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RoundTrips {
    /// How many were timed.
    pub count: u64,
    /// All of them together.
    pub sum_us: u64,
}

#[derive(Debug, Default)]
struct Timed {
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

/// One thread's counters.
#[derive(Debug, Default)]
struct Shard {
    requests: [[AtomicU64; End::ALL.len()]; Op::ALL.len()],
    /// Those that failed, those that were done.
    durations: [[Timed; 2]; Op::ALL.len()],
    read_repairs: AtomicU64,
    hedged_gets: AtomicU64,
}

#[derive(Debug, Default)]
struct Peer {
    count: AtomicU64,
    sum_us: AtomicU64,
}

/// Counts the requests of one node.
#[derive(Debug, Default)]
pub struct Counters {
    shards: PerThread<Shard>,
    peers: ArcSwap<BTreeMap<NodeName, Arc<Peer>>>,
}

/// Whether the next request of this thread that may be answered at once is one of those that are timed.
pub(crate) fn is_sampled() -> bool {
    thread_local!(static COUNT: Cell<u64> = const { Cell::new(0) });
    COUNT.with(|count| {
        count.set(count.get().wrapping_add(1));
        count.get().is_multiple_of(SAMPLED)
    })
}

impl Counters {
    /// A request has ended.
    pub(crate) fn ended(&self, op: Op, end: End) {
        add(&self.shards.mine().requests[op as usize][end as usize], 1);
    }

    /// It took so long, and stands for so many.
    pub(crate) fn took(&self, op: Op, end: End, us: u64, weight: u64) {
        let timed = &self.shards.mine().durations[op as usize][usize::from(end.is_ok())];
        let bucket = BOUNDS_US.partition_point(|bound| *bound < us);
        add(&timed.buckets[bucket], weight);
        add(&timed.sum_us, us * weight);
    }

    /// A copy that was behind is given what a read found.
    pub(crate) fn repaired(&self) {
        add(&self.shards.mine().read_repairs, 1);
    }

    /// A get asks whom it spared after all.
    pub(crate) fn hedged(&self) {
        add(&self.shards.mine().hedged_gets, 1);
    }

    /// `peer` took so long to answer.
    pub(crate) fn answered(&self, peer: &NodeName, us: u64) {
        let mut peers = self.peers.load();
        if !peers.contains_key(peer) && peers.len() < PEERS {
            self.peers.rcu(|peers| {
                let mut peers = BTreeMap::clone(peers);
                peers.entry(peer.clone()).or_default();
                peers
            });
            peers = self.peers.load();
        }
        if let Some(peer) = peers.get(peer) {
            add(&peer.count, 1);
            add(&peer.sum_us, us);
        }
    }

    /// What was counted so far.
    pub fn read(&self) -> Figures {
        let mut figures = Figures::default();
        for shard in self.shards.all() {
            for op in Op::ALL {
                for end in End::ALL {
                    let more = read(&shard.requests[op as usize][end as usize]);
                    *figures.requests.entry((op, end)).or_default() += more;
                }
                for is_ok in [false, true] {
                    let timed = &shard.durations[op as usize][usize::from(is_ok)];
                    let all = figures.durations.entry((op, is_ok)).or_default();
                    for (sum, more) in all.buckets.iter_mut().zip(&timed.buckets) {
                        *sum += read(more);
                    }
                    all.sum_us += read(&timed.sum_us);
                }
            }
            figures.read_repairs += read(&shard.read_repairs);
            figures.hedged_gets += read(&shard.hedged_gets);
        }
        let peers = self.peers.load();
        figures.peers = peers
            .iter()
            .map(|(name, peer)| {
                let trips = RoundTrips {
                    count: read(&peer.count),
                    sum_us: read(&peer.sum_us),
                };
                (name.clone(), trips)
            })
            .collect();
        figures
    }
}

fn add(total: &AtomicU64, more: u64) {
    total.fetch_add(more, Ordering::Relaxed);
}

fn read(total: &AtomicU64) -> u64 {
    total.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::per_thread::THREADS;

    /// Lost without it: requests of some threads, or some durations, would be missing in what is told.
    #[test]
    fn what_threads_count_adds_up() {
        let counters = Counters::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * THREADS {
                scope.spawn(|| {
                    counters.ended(Op::Get, End::NotFound);
                    counters.took(Op::Get, End::NotFound, 2, SAMPLED);
                    counters.took(Op::Put, End::Busy, 6_000_000, 1);
                    counters.answered(&"b".into(), 40);
                });
            }
        });
        let figures = counters.read();
        let all = 2 * THREADS as u64;
        assert_eq!(figures.requests[&(Op::Get, End::NotFound)], all);
        assert_eq!(figures.requests.values().sum::<u64>(), all);
        let got = figures.durations[&(Op::Get, true)];
        assert_eq!(
            (got.buckets[1], got.count()),
            (all * SAMPLED, all * SAMPLED)
        );
        let failed = figures.durations[&(Op::Put, false)];
        assert_eq!(
            (failed.buckets[BOUNDS_US.len()], failed.sum_us),
            (all, all * 6_000_000)
        );
        let trips = RoundTrips {
            count: all,
            sum_us: all * 40,
        };
        assert_eq!(figures.peers, BTreeMap::from([("b".into(), trips)]));
    }

    /// Lost without it: names that come in messages could fill the memory.
    #[test]
    fn peers_are_bounded() {
        let counters = Counters::default();
        for number in 0..PEERS + 10 {
            counters.answered(&format!("node{number}").into(), 1);
        }
        assert_eq!(counters.read().peers.len(), PEERS);
    }
}
