//! This file answers: in what order do the nodes of a row stand?
//!
//! Order moves no data; it says who is first replica. Each node is first in its share of the rows, rounded down or up.
//! That can always be had: were each of the N nodes of a row its first by 1/N, all would have exactly that, and where
//! a flow with whole bounds exists, one in whole numbers does.

use std::collections::VecDeque;

use super::{Node, Problem};

/// Rows of N: first replica first, and nodes repeated in turn where there are fewer than N.
pub(super) fn order(problem: &Problem<'_>, owners: Vec<Vec<Node>>) -> Vec<Vec<Node>> {
    let firsts = Firsts::new(problem, &owners).choose();
    owners
        .into_iter()
        .enumerate()
        .map(|(partition, owners)| match firsts[partition] {
            Some(first) => row(problem, partition, owners, first),
            None => Vec::new(),
        })
        .collect()
}

fn row(problem: &Problem<'_>, partition: usize, mut owners: Vec<Node>, first: Node) -> Vec<Node> {
    let nodes = problem.nodes.len();
    if owners.len() == nodes {
        // All nodes, in the order of their names from the first on: later places are as even as the first.
        owners.sort_by_key(|&n| (n + nodes - first) % nodes);
    } else {
        // The first, then who was there before in the order of before, then newcomers.
        let before = |n: Node| problem.had[partition].iter().position(|&h| h == n);
        owners.sort_by_key(|&n| (n != first, before(n).unwrap_or(usize::MAX), n));
    }
    owners
        .iter()
        .copied()
        .cycle()
        .take(problem.replicas)
        .collect()
}

/// The choice of a first replica for each row.
struct Firsts<'a> {
    owners: &'a [Vec<Node>],
    /// For each row; none only when the row is empty.
    first: Vec<Option<Node>>,
    /// For each node: the rows in which it is first.
    rows_of: Vec<Vec<usize>>,
    least: Vec<usize>,
    most: Vec<usize>,
}

impl<'a> Firsts<'a> {
    /// Begins with the first replicas of before where they are still owners.
    fn new(problem: &Problem<'_>, owners: &'a [Vec<Node>]) -> Firsts<'a> {
        let nodes = problem.nodes.len();
        let mut load = vec![0; nodes];
        for &node in owners.iter().flatten() {
            load[node] += 1;
        }
        let total = load.iter().sum::<usize>().max(1);
        let first: Vec<Option<Node>> = owners
            .iter()
            .zip(&problem.had)
            .map(|(owners, had)| {
                let before = had.first().filter(|n| owners.contains(n));
                before.or(owners.first()).copied()
            })
            .collect();
        let mut rows_of = vec![Vec::new(); nodes];
        for (row, node) in first.iter().enumerate() {
            if let Some(node) = *node {
                rows_of[node].push(row);
            }
        }
        Firsts {
            owners,
            first,
            rows_of,
            least: load.iter().map(|l| l * owners.len() / total).collect(),
            most: load
                .iter()
                .map(|l| (l * owners.len()).div_ceil(total))
                .collect(),
        }
    }

    fn count(&self, node: Node) -> usize {
        self.rows_of[node].len()
    }

    fn choose(mut self) -> Vec<Option<Node>> {
        // Those that are first too often pass rows on, to nodes below their least before others.
        for node in 0..self.rows_of.len() {
            while self.count(node) > self.most[node] {
                let passed = self.pass(node, |s, n| s.count(n) < s.least[n])
                    || self.pass(node, |s, n| s.count(n) < s.most[n]);
                if !passed {
                    break;
                }
            }
        }
        // Those that are first too seldom then get one from nodes that can spare it; those pass on in name order from
        // the last, so that the earliest name keeps what is over.
        for node in (0..self.rows_of.len()).rev() {
            while self.count(node) > self.least[node]
                && self.pass(node, |s, n| s.count(n) < s.least[n])
            {}
        }
        self.first
    }

    /// Makes `from` first in one row fewer and the nearest node that `wants` it first in one row more, along a chain
    /// of rows in which the next node of the chain stands too.
    fn pass(&mut self, from: Node, wants: impl Fn(&Self, Node) -> bool) -> bool {
        let mut came_by: Vec<Option<usize>> = vec![None; self.rows_of.len()];
        let mut queue = VecDeque::from([from]);
        while let Some(node) = queue.pop_front() {
            for &row in &self.rows_of[node] {
                for &next in &self.owners[row] {
                    if next == from || came_by[next].is_some() {
                        continue;
                    }
                    came_by[next] = Some(row);
                    if wants(self, next) {
                        self.pass_along(from, next, &came_by);
                        return true;
                    }
                    queue.push_back(next);
                }
            }
        }
        false
    }

    fn pass_along(&mut self, from: Node, to: Node, came_by: &[Option<usize>]) {
        let mut node = to;
        while node != from {
            let row = came_by[node].expect("the search came to each node of the chain by a row");
            let before = self.first[row]
                .replace(node)
                .expect("a row on the chain has a first");
            self.rows_of[before].retain(|&r| r != row);
            self.rows_of[node].push(row);
            node = before;
        }
    }
}
