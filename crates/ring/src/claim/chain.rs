//! This file answers: which chain of exchanges moves a copy at the least cost?
//!
//! Copies that a chain makes cost 1 each; one that it spares, because it had yet to be made, gives 1 back.

use std::collections::VecDeque;

use super::Node;
use super::assign::Flow;

/// `to` takes the place of `from` in `row`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Swap {
    pub(super) row: usize,
    pub(super) from: Node,
    pub(super) to: Node,
}

impl Swap {
    pub(super) fn back(self) -> Swap {
        Swap {
            row: self.row,
            from: self.to,
            to: self.from,
        }
    }
}

/// One step of a chain. A chain runs through nodes and, with the numbers after theirs, zones.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// A copy passes from node to node.
    Copy(Swap),
    /// A node with one copy too many is rounded up instead, if some other node of its zone is rounded down.
    Up { node: Node, zone: usize },
    /// That other node: it has one copy too many now.
    Down { zone: usize, node: Node },
}

impl Step {
    pub(super) fn from(self) -> usize {
        match self {
            Step::Copy(swap) => swap.from,
            Step::Up { node, .. } => node,
            Step::Down { zone, .. } => zone,
        }
    }

    pub(super) fn to(self) -> usize {
        match self {
            Step::Copy(swap) => swap.to,
            Step::Up { zone, .. } => zone,
            Step::Down { node, .. } => node,
        }
    }
}

/// What a search found.
pub(super) enum Found {
    Chain { steps: Vec<Step>, cost: i32 },
    Cycle(Vec<Step>),
    Nothing,
}

/// A search for the cheapest chain: Bellman and Ford's, with a queue.
pub(super) struct Search<'a, 'b> {
    flow: &'a Flow<'b>,
    nodes: usize,
    /// For each node: the rows in which it stands, banned ones left out.
    rows_of: Vec<Vec<usize>>,
    /// What the cheapest chain found yet to each node and zone costs, and its last step.
    cost_to: Vec<i32>,
    last: Vec<Option<Step>>,
    queue: VecDeque<usize>,
    queued: Vec<bool>,
    visits: Vec<usize>,
    /// The cheapest node below its quota found yet.
    end: Option<Node>,
}

impl<'a, 'b> Search<'a, 'b> {
    pub(super) fn new(flow: &'a Flow<'b>, banned: &[bool]) -> Search<'a, 'b> {
        let nodes = flow.load.len();
        let mut rows_of = vec![Vec::new(); nodes];
        for (row, members) in flow
            .rows
            .iter()
            .enumerate()
            .filter(|(row, _)| !banned[*row])
        {
            for &node in members {
                rows_of[node].push(row);
            }
        }
        let all = nodes + flow.problem.zones.number();
        Search {
            flow,
            nodes,
            rows_of,
            cost_to: vec![i32::MAX; all],
            last: vec![None; all],
            queue: VecDeque::new(),
            queued: vec![false; all],
            visits: vec![0; all],
            end: None,
        }
    }

    pub(super) fn begin_at(&mut self, node: Node) {
        self.cost_to[node] = 0;
        self.queued[node] = true;
        self.queue.push_back(node);
    }

    pub(super) fn run(mut self) -> Found {
        while let Some(at) = self.queue.pop_front() {
            self.queued[at] = false;
            self.visits[at] += 1;
            if self.visits[at] > self.cost_to.len() {
                return self.cycle(at);
            }
            if at < self.nodes {
                self.leave_node(at);
            } else {
                self.leave_zone(at);
            }
            if let Some(end) = self.end
                && self.cost_to[end] <= self.flow.cheapest
            {
                break;
            }
        }
        match self.end {
            Some(end) => self.chain(end),
            None => Found::Nothing,
        }
    }

    fn leave_node(&mut self, from: Node) {
        let flow = self.flow;
        let zone = self.nodes + flow.problem.zones.of(from);
        if flow.quota[from] < flow.problem.quotas.most[from] {
            self.reach(Step::Up { node: from, zone }, self.cost_to[from]);
        }
        let rows = std::mem::take(&mut self.rows_of[from]);
        for &row in &rows {
            let left = self.cost_to[from] - flow.cost(row, from);
            for to in 0..self.nodes {
                // The first test spares most of the work: no step costs less than nothing.
                if left < self.cost_to[to] {
                    let cost = left + flow.cost(row, to);
                    if cost < self.cost_to[to] && flow.may_swap(row, from, to) {
                        self.reach(Step::Copy(Swap { row, from, to }), cost);
                    }
                }
            }
        }
        self.rows_of[from] = rows;
    }

    fn leave_zone(&mut self, zone: usize) {
        let flow = self.flow;
        for node in 0..self.nodes {
            let same = self.nodes + flow.problem.zones.of(node) == zone;
            if same && flow.quota[node] > flow.problem.quotas.least[node] {
                self.reach(Step::Down { zone, node }, self.cost_to[zone]);
            }
        }
    }

    fn reach(&mut self, step: Step, cost: i32) {
        let to = step.to();
        if cost >= self.cost_to[to] {
            return;
        }
        self.cost_to[to] = cost;
        self.last[to] = Some(step);
        let is_end = to < self.nodes && self.flow.has_room(to);
        if is_end && self.end.is_none_or(|end| cost < self.cost_to[end]) {
            self.end = Some(to);
        }
        if !std::mem::replace(&mut self.queued[to], true) {
            self.queue.push_back(to);
        }
    }

    /// The steps that lead to `end`, first to last; the cycle among them if they never began.
    fn chain(&self, end: Node) -> Found {
        let mut steps = Vec::new();
        let mut at = end;
        while let Some(step) = self.last[at] {
            steps.push(step);
            if steps.len() > self.last.len() {
                return self.cycle(at);
            }
            at = step.from();
        }
        steps.reverse();
        Found::Chain {
            steps,
            cost: self.cost_to[end],
        }
    }

    /// The cycle that `at` is on or leads back to. Chains grow longer than there are nodes only where going round
    /// saves copies each time.
    fn cycle(&self, mut at: usize) -> Found {
        for _ in 0..self.last.len() {
            match self.last[at] {
                Some(step) => at = step.from(),
                None => return Found::Nothing,
            }
        }
        let mut steps = Vec::new();
        let start = at;
        while let Some(step) = self.last[at] {
            steps.push(step);
            at = step.from();
            if at == start {
                break;
            }
        }
        steps.reverse();
        Found::Cycle(steps)
    }
}
