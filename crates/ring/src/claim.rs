//! This file answers: which members should own which partitions?
//!
//! Claim is pure and deterministic, and keeps these rules in this order, an earlier one never given up for a later:
//!
//! 1. the nodes of a row are distinct where there are N nodes; with fewer, all of them stand in every row;
//! 2. each node holds its share of copies by weight, rounded down or up (`quota`);
//! 3. the zones of a row are distinct as far as that allows (`quota::Zones`);
//! 4. each node is first replica of its share of partitions, rounded down or up (`order`);
//! 5. as few copies as possible move (`assign`).
//!
//! `ALGORITHM.md` has the argument why all five can be had at once.

use crate::member::NodeName;
use crate::ring::Row;
use crate::slot::PartitionCount;
use crate::walk::Walk;

mod assign;
mod chain;
mod order;
mod quota;

use quota::{Quotas, Zones};

/// A member as claim sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimable {
    /// Who.
    pub name: NodeName,
    /// Its failure domain; members without one count as standing in one together.
    pub zone: Option<String>,
    /// Its share of copies relative to the others.
    pub weight: f64,
    /// Whether it keeps exactly the copies it has: a member that is down can neither give nor take.
    pub fixed: bool,
}

/// Who should own each partition: Q rows of N, first replica first.
///
/// `current` are the owners now, a row for each partition, the most wanted first; who is not among `nodes` is ignored,
/// and a row may name more than N nodes when more hold a copy. Gives empty rows when `nodes` is empty.
pub fn claim(
    partitions: PartitionCount,
    replicas: u8,
    nodes: &[Claimable],
    current: &[Row],
) -> Vec<Row> {
    let problem = Problem::new(partitions, replicas, nodes, current);
    let owners = assign::assign(&problem);
    let rows = order::order(&problem, owners);
    let name = |node: Node| problem.nodes[node].name.clone();
    rows.into_iter()
        .map(|row| row.into_iter().map(name).collect())
        .collect()
}

/// A node by its place in name order.
type Node = usize;

/// What all steps of claim look at.
struct Problem<'a> {
    /// By name, each once.
    nodes: Vec<&'a Claimable>,
    replicas: usize,
    /// Distinct nodes in each row: N, or all nodes when there are fewer.
    distinct: usize,
    /// For each partition: the nodes that have a copy now, each once.
    had: Vec<Vec<Node>>,
    quotas: Quotas,
    zones: Zones,
    walk: Walk,
}

impl<'a> Problem<'a> {
    fn new(
        partitions: PartitionCount,
        replicas: u8,
        claimables: &'a [Claimable],
        current: &[Row],
    ) -> Problem<'a> {
        let mut nodes: Vec<&Claimable> = claimables.iter().collect();
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        nodes.dedup_by(|a, b| a.name == b.name);
        let names: Vec<NodeName> = nodes.iter().map(|n| n.name.clone()).collect();

        let q = usize::from(partitions.get());
        let replicas = usize::from(replicas);
        let distinct = replicas.min(nodes.len());
        let mut had: Vec<Vec<Node>> = current.iter().map(|row| known(row, &names)).collect();
        had.resize(q, Vec::new());

        let zone_of = quota::number_zones(&nodes);
        let quotas = Quotas::new(&nodes, &zone_of, &had, distinct);
        let zones = Zones::new(zone_of, &quotas, q);
        let walk = Walk::new(partitions, &names);
        Problem {
            nodes,
            replicas,
            distinct,
            had,
            quotas,
            zones,
            walk,
        }
    }

    fn had(&self, partition: usize, node: Node) -> bool {
        self.had[partition].contains(&node)
    }

    fn fixed(&self, node: Node) -> bool {
        self.nodes[node].fixed
    }
}

/// The nodes of `row` that are among the sorted `names`, each once.
fn known(row: &Row, names: &[NodeName]) -> Vec<Node> {
    let mut nodes = Vec::with_capacity(row.len());
    for node in row.iter().filter_map(|name| names.binary_search(name).ok()) {
        if !nodes.contains(&node) {
            nodes.push(node);
        }
    }
    nodes
}
