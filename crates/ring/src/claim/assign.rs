//! This file answers: which nodes stand in which row, order aside, so that the fewest copies move?
//!
//! A flow of copies from rows to nodes: each row wants `distinct` different nodes within its zones' bounds, each node
//! its quota, and a copy that has to be made costs 1. It starts from the copies that there are (cost 0), drops what
//! breaks a zone's bound, fills rows that are short, and then moves copies from nodes above their quota to nodes below
//! it: directly where possible ([`Flow::shed`]), else along the cheapest chain of exchanges ([`Flow::exchange`]).
//! A flow that is only ever changed along cheapest chains stays the cheapest of its size, so the result is the minimum.

use super::chain::{Found, Search, Step, Swap};
use super::{Node, Problem};

/// How far along a partition's walk candidates are looked for before the neediest node is taken instead: bounds the
/// work when nearly all nodes are full.
const WALK_LIMIT: usize = 128;

/// The nodes of each row, in no particular order.
pub(super) fn assign(problem: &Problem<'_>) -> Vec<Vec<Node>> {
    let mut flow = Flow::new(problem);
    flow.keep_zones();
    flow.fill();
    flow.shed();
    flow.exchange();
    flow.force();
    flow.save();
    flow.rows
}

pub(super) struct Flow<'a> {
    pub(super) problem: &'a Problem<'a>,
    pub(super) rows: Vec<Vec<Node>>,
    /// Copies of each node.
    pub(super) load: Vec<usize>,
    /// Copies that each node is to have: its share rounded down or up. Being rounded up may pass from one node to
    /// another of its zone where that saves a copy.
    pub(super) quota: Vec<usize>,
    /// No chain of exchanges is cheaper than this; a search may stop at the first that is not dearer.
    pub(super) cheapest: i32,
}

impl<'a> Flow<'a> {
    fn new(problem: &'a Problem<'a>) -> Flow<'a> {
        let distinct = problem.distinct;
        // Copies of fixed nodes are kept whatever else a row holds.
        let keep = |row: &Vec<Node>| -> Vec<Node> {
            let mut row = row.clone();
            row.sort_by_key(|&node| !problem.fixed(node));
            row.truncate(distinct);
            row
        };
        let rows: Vec<Vec<Node>> = problem.had.iter().map(keep).collect();
        let mut load = vec![0; problem.nodes.len()];
        for &node in rows.iter().flatten() {
            load[node] += 1;
        }
        let spare_copies = problem.had.iter().any(|had| had.len() > distinct);
        let cheapest = if spare_copies { i32::MIN } else { 1 };
        let quota = problem.quotas.at_first.clone();
        Flow {
            problem,
            rows,
            load,
            quota,
            cheapest,
        }
    }

    /// How many copies `node` has above its quota; negative when it has room.
    fn excess(&self, node: Node) -> isize {
        self.load[node] as isize - self.quota[node] as isize
    }

    pub(super) fn has_room(&self, node: Node) -> bool {
        self.excess(node) < 0
    }

    fn add(&mut self, row: usize, node: Node) {
        self.rows[row].push(node);
        self.load[node] += 1;
    }

    fn drop(&mut self, row: usize, node: Node) {
        self.rows[row].retain(|&n| n != node);
        self.load[node] -= 1;
    }

    fn swap(&mut self, Swap { row, from, to }: Swap) {
        self.drop(row, from);
        self.add(row, to);
    }

    /// Drops copies that a zone has too many of in a row, or whose place another zone must have.
    fn keep_zones(&mut self) {
        let zones = &self.problem.zones;
        for row in 0..self.rows.len() {
            while let Some(node) = self.fullest(row, |row, n| zones.too_many(row, n)) {
                self.drop(row, node);
                self.cheapest = i32::MIN;
            }
            while zones.missing(&self.rows[row]) + self.rows[row].len() > self.problem.distinct {
                let Some(node) = self.fullest(row, |row, n| zones.can_spare(row, n)) else {
                    break;
                };
                self.drop(row, node);
                self.cheapest = i32::MIN;
            }
        }
    }

    /// The node of `row` that is furthest above its quota, of those that may go.
    fn fullest(&self, row: usize, may_go: impl Fn(&[Node], Node) -> bool) -> Option<Node> {
        let members = &self.rows[row];
        let candidates = members.iter().copied();
        candidates
            .filter(|&n| !self.problem.fixed(n) && may_go(members, n))
            .max_by_key(|&n| self.excess(n))
    }

    /// Gives rows that are short a node that has room.
    fn fill(&mut self) {
        for row in self.problem.walk.shuffled() {
            while self.rows[row].len() < self.problem.distinct {
                let may_enter = |n: Node| self.may_enter(row, n);
                let free = |n: Node| self.has_room(n) && may_enter(n);
                let Some(node) = self.candidate(row, free) else {
                    break;
                };
                self.add(row, node);
            }
        }
    }

    /// Gives rows that are still short a node that has no room; chains of exchanges make up for it.
    fn force(&mut self) {
        let mut any = false;
        for row in 0..self.rows.len() {
            while self.rows[row].len() < self.problem.distinct {
                let all = 0..self.load.len();
                let free = all.filter(|&n| self.may_enter(row, n));
                let Some(node) = free.min_by_key(|&n| (self.cost(row, n), self.excess(n))) else {
                    break;
                };
                self.add(row, node);
                any = true;
            }
        }
        if any {
            self.cheapest = i32::MIN;
            self.exchange();
        }
    }

    fn may_enter(&self, row: usize, node: Node) -> bool {
        let zones = &self.problem.zones;
        let members = &self.rows[row];
        let open = self.problem.distinct - members.len();
        !members.contains(&node)
            && !self.problem.fixed(node)
            && zones.has_room(members, node)
            && (zones.missing(members) < open || zones.misses(members, node))
    }

    /// Who of those that `suit` should get a copy of `row`: one that has it already, else the first on the walk, else
    /// the neediest.
    fn candidate(&self, row: usize, suits: impl Fn(Node) -> bool) -> Option<Node> {
        let had = self.problem.had[row].iter().copied();
        let partition = crate::slot::Partition(row as u16);
        let walked = self.problem.walk.points_from(partition).take(WALK_LIMIT);
        had.chain(walked).find(|&n| suits(n)).or_else(|| {
            let all = 0..self.load.len();
            all.filter(|&n| suits(n)).min_by_key(|&n| self.excess(n))
        })
    }

    /// Moves copies straight from nodes above their quota to nodes below it, as far as that goes.
    fn shed(&mut self) {
        let mut room: usize = (0..self.load.len())
            .map(|n| usize::try_from(-self.excess(n)).unwrap_or(0))
            .sum();
        for row in self.problem.walk.shuffled() {
            let mut stuck = Vec::new();
            while room > 0 {
                let Some(from) = self
                    .fullest(row, |_, n| !stuck.contains(&n))
                    .filter(|&n| self.excess(n) > 0)
                else {
                    break;
                };
                let may_take = |n: Node| self.has_room(n) && self.may_swap(row, from, n);
                match self.candidate(row, may_take) {
                    Some(to) => {
                        self.swap(Swap { row, from, to });
                        room -= 1;
                    }
                    None => stuck.push(from),
                }
            }
        }
    }

    pub(super) fn may_swap(&self, row: usize, from: Node, to: Node) -> bool {
        let members = &self.rows[row];
        members.contains(&from)
            && !members.contains(&to)
            && !self.problem.fixed(from)
            && !self.problem.fixed(to)
            && self.problem.zones.may_swap(members, from, to)
    }

    /// Moves what [`Flow::shed`] could not, along cheapest chains of exchanges.
    fn exchange(&mut self) {
        // A chain that uses one row twice may break a zone's bound halfway: that row is then left out.
        let mut banned = vec![false; self.rows.len()];
        while (0..self.load.len()).any(|n| self.is_over(n)) {
            let Some(chain) = self.cheapest_chain(&banned) else {
                return;
            };
            match self.try_chain(&chain) {
                Ok(()) => {
                    banned.fill(false);
                    self.repeat(&chain);
                }
                Err(row) => banned[row] = true,
            }
        }
    }

    /// Carries out more chains through the same nodes at the same cost, by way of other rows, as long as there are any:
    /// they are as cheap as what a new search would find.
    fn repeat(&mut self, chain: &[Step]) {
        let (Some(first), Some(last)) = (chain.first(), chain.last()) else {
            return;
        };
        let mut next_row = vec![0; chain.len()];
        while first.from() != last.to() && self.is_over(first.from()) && self.has_room(last.to()) {
            let mut again: Vec<Step> = Vec::with_capacity(chain.len());
            for (step, next_row) in chain.iter().zip(&mut next_row) {
                let step = match *step {
                    Step::Copy(swap) => {
                        let found = (*next_row..self.rows.len()).find(|&row| {
                            self.may_swap(row, swap.from, swap.to)
                                && self.price(Swap { row, ..swap }) == self.price(swap)
                        });
                        let Some(row) = found else { return };
                        *next_row = row + 1;
                        Step::Copy(Swap { row, ..swap })
                    }
                    step => step,
                };
                again.push(step);
            }
            let quotas = &self.problem.quotas;
            let quotas_allow = again.iter().all(|step| match *step {
                Step::Copy(_) => true,
                Step::Up { node, .. } => self.quota[node] < quotas.most[node],
                Step::Down { node, .. } => self.quota[node] > quotas.least[node],
            });
            if !quotas_allow || self.try_chain(&again).is_err() {
                return;
            }
        }
    }

    /// What `swap` adds to the copies that have to be made.
    fn price(&self, Swap { row, from, to }: Swap) -> i32 {
        self.cost(row, to) - self.cost(row, from)
    }

    /// Undoes what turned out not to be needed: which copies break a zone's bound is decided before all else, and only
    /// now it shows whether others would have been cheaper.
    fn save(&mut self) {
        if self.problem.zones.number() < 2 {
            return;
        }
        let mut banned = vec![false; self.rows.len()];
        loop {
            let mut search = Search::new(self, &banned);
            (0..self.load.len()).for_each(|node| search.begin_at(node));
            let Found::Cycle(cycle) = search.run() else {
                return;
            };
            if let Err(row) = self.try_chain(&cycle) {
                banned[row] = true;
            }
        }
    }

    /// Carries out all of `chain` or nothing; says which row did not allow it.
    fn try_chain(&mut self, chain: &[Step]) -> Result<(), usize> {
        for (done, &step) in chain.iter().enumerate() {
            match step {
                Step::Up { node, .. } => self.quota[node] += 1,
                Step::Down { node, .. } => self.quota[node] -= 1,
                Step::Copy(swap) if self.may_swap(swap.row, swap.from, swap.to) => self.swap(swap),
                Step::Copy(refused) => {
                    for &step in chain[..done].iter().rev() {
                        match step {
                            Step::Up { node, .. } => self.quota[node] -= 1,
                            Step::Down { node, .. } => self.quota[node] += 1,
                            Step::Copy(swap) => self.swap(swap.back()),
                        }
                    }
                    return Err(refused.row);
                }
            }
        }
        Ok(())
    }

    /// What making a copy of `row` on `node` costs.
    pub(super) fn cost(&self, row: usize, node: Node) -> i32 {
        if self.problem.had(row, node) { 0 } else { 1 }
    }

    /// The cheapest chain from a node above its quota to one below it, or a cycle that saves copies if there is one.
    fn cheapest_chain(&mut self, banned: &[bool]) -> Option<Vec<Step>> {
        let mut search = Search::new(self, banned);
        for node in (0..self.load.len()).filter(|&n| self.is_over(n)) {
            search.begin_at(node);
        }
        let found = search.run();
        if let Found::Chain { cost, .. } = found
            && !banned.contains(&true)
        {
            self.cheapest = self.cheapest.max(cost);
        }
        match found {
            Found::Chain { steps, .. } | Found::Cycle(steps) => Some(steps),
            Found::Nothing => None,
        }
    }

    fn is_over(&self, node: Node) -> bool {
        self.excess(node) > 0 && !self.problem.fixed(node)
    }
}
