//! This file answers: is a write within a fault, and what is wrong?
//!
//! A write is within a fault when, while it was under way, something was wrong with who took part in it: the node that
//! coordinated it, or an owner of its key by the ring which that node routes by. What is wrong elsewhere does not count, nor that
//! messages are lost, late or repeated, which they are all the time; nor that faults were there a moment ago.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rkv_ring::{NodeName, Partition, Slot, Status};
use rkv_vnode::actor::Step;

use super::World;
use super::boot::MAX_DRIFT_MS;

/// A node is not there.
const DOWN: &str = "a node down";
const PAUSED: &str = "a node paused";
/// A link between two of them is cut, in one direction at least.
const CUT: &str = "a link cut";
/// A clock is off by more than is allowed.
const CLOCK: &str = "a clock off";
/// One of them takes another for dead that lives.
const SUSPECTED: &str = "a false suspicion";
/// An owner lost something, or missed something, and does not vote.
const NOT_WHOLE: &str = "an owner not whole";
/// A member among them is marked down, or about to go by force.
const FORCED: &str = "a member forced out";
/// The partition moves, and the session that was is broken: its source forwards alone, or its target is not there.
const BROKEN_MOVE: &str = "a move broken off";
/// None of these when it began; one came before it ended.
const STRUCK: &str = "a fault that began meanwhile";

/// All that can be wrong.
pub const AMID: [&str; 9] = [
    DOWN,
    PAUSED,
    CUT,
    CLOCK,
    SUSPECTED,
    NOT_WHOLE,
    FORCED,
    BROKEN_MOVE,
    STRUCK,
];

/// How often something went wrong with each node.
#[derive(Debug, Clone, Default)]
pub(super) struct Struck(Arc<Vec<AtomicU64>>);

impl Struck {
    pub(super) fn of(nodes: usize) -> Struck {
        Struck(Arc::new((0..nodes).map(|_| AtomicU64::new(0)).collect()))
    }

    /// Something goes wrong with `node`.
    pub(super) fn strike(&self, node: usize) {
        self.0[node].fetch_add(1, Ordering::Relaxed);
    }

    fn sum(&self, nodes: &[usize]) -> u64 {
        let count = |node: &usize| self.0[*node].load(Ordering::Relaxed);
        nodes.iter().map(count).sum()
    }
}

/// What a write that has begun is judged by when it ends.
pub(super) struct Judged {
    struck: Struck,
    concerned: Vec<usize>,
    before: u64,
    wrong: Vec<&'static str>,
}

impl Judged {
    /// All that was wrong until now.
    pub(super) fn wrong(mut self) -> Vec<&'static str> {
        if self.wrong.is_empty() && self.struck.sum(&self.concerned) != self.before {
            self.wrong.push(STRUCK);
        }
        self.wrong
    }
}

impl World {
    /// A write of `key` by `node` begins.
    pub(super) fn judged(&self, node: usize, key: &str) -> Judged {
        let (partition, concerned) = self.concerned(node, key);
        Judged {
            struck: self.struck.clone(),
            before: self.struck.sum(&concerned),
            wrong: self.wrong(node, partition, &concerned),
            concerned,
        }
    }

    /// The coordinator and the owners, each once.
    fn concerned(&self, node: usize, key: &str) -> (Partition, Vec<usize>) {
        let running = self.nodes[node].running.as_ref();
        let view = running.expect("a coordinator runs").engine.view();
        let ring = view.ring();
        let partition = ring.partition_of(Slot::of(key.as_bytes()));
        let row = ring.row(partition);
        let takes_part = |at: &usize| *at == node || row.contains(&self.nodes[*at].name);
        let concerned = (0..self.nodes.len()).filter(takes_part).collect();
        (partition, concerned)
    }

    fn wrong(&self, by: usize, partition: Partition, concerned: &[usize]) -> Vec<&'static str> {
        let any = |is: &dyn Fn(usize) -> bool| concerned.iter().any(|at| is(*at));
        let both =
            |pair: &(usize, usize)| concerned.contains(&pair.0) && concerned.contains(&pair.1);
        let rumours = self.rumours.iter().filter(|(pair, _)| both(pair));
        let found = [
            (any(&|at| self.nodes[at].running.is_none()), DOWN),
            (any(&|at| self.paused.contains_key(&at)), PAUSED),
            (self.cut.iter().any(both), CUT),
            (any(&|at| self.is_clock_off(at)), CLOCK),
            (
                rumours.into_iter().any(|(_, until)| *until > self.now()),
                SUSPECTED,
            ),
            (any(&|at| self.lacks(at, partition)), NOT_WHOLE),
            (any(&|at| self.is_forced(by, at)), FORCED),
            (self.is_move_broken(by, partition), BROKEN_MOVE),
        ];
        let found = found.into_iter().filter(|(is_wrong, _)| *is_wrong);
        found.map(|(_, what)| what).collect()
    }

    fn is_clock_off(&self, at: usize) -> bool {
        let offset_ms = self.nodes[at].wall_offset_ms.load(Ordering::Relaxed);
        offset_ms.unsigned_abs() > MAX_DRIFT_MS
    }

    fn lacks(&self, at: usize, partition: Partition) -> bool {
        self.steps(at, partition).contains(&Step::CatchingUp)
    }

    fn is_forced(&self, by: usize, at: usize) -> bool {
        let running = self.nodes[by].running.as_ref();
        let view = running.expect("a coordinator runs").engine.view();
        let member = view.ring().members.get(&self.nodes[at].name);
        member.is_some_and(|member| member.status == Status::Down) || self.is_victim(at)
    }

    /// Whether the move that the coordinator's ring lists cannot go on as it was.
    fn is_move_broken(&self, by: usize, partition: Partition) -> bool {
        let running = self.nodes[by].running.as_ref();
        let view = running.expect("a coordinator runs").engine.view();
        let Some(listed) = view.ring().moves.get(&partition) else {
            return false;
        };
        let named = |name: &NodeName| self.nodes.iter().position(|node| node.name == *name);
        let (Some(from), Some(to)) = (named(&listed.from), named(&listed.to)) else {
            return false;
        };
        let is_there =
            |at: usize| self.nodes[at].running.is_some() && !self.paused.contains_key(&at);
        !is_there(to) || self.steps(from, partition).contains(&Step::ForwardingAlone)
    }
}
