//! This file answers: how many copies does each node get, and how many copies of a row each zone?

use std::collections::BTreeMap;

use super::{Claimable, Node};

/// How many copies each node is to hold.
pub(super) struct Quotas {
    /// At first; they add up to the copies that there are to be.
    pub(super) at_first: Vec<usize>,
    /// The share rounded down.
    pub(super) least: Vec<usize>,
    /// The share rounded up.
    pub(super) most: Vec<usize>,
}

impl Quotas {
    /// Each node's share of all copies by weight, rounded so that they add up; at most one copy of each partition.
    ///
    /// Who is rounded up: first nodes of zones that are still short of a copy of each partition, then nodes that have
    /// the copy already, then the larger fraction, then the earlier name.
    pub(super) fn new(
        nodes: &[&Claimable],
        zone_of: &[usize],
        had: &[Vec<Node>],
        distinct: usize,
    ) -> Quotas {
        let partitions = had.len();
        let mut held = vec![0; nodes.len()];
        for &node in had.iter().flat_map(|row| row.iter().take(distinct)) {
            held[node] += 1;
        }
        let fixed: usize = (0..nodes.len())
            .filter(|&n| nodes[n].fixed)
            .map(|n| held[n])
            .sum();
        let free = (partitions * distinct).saturating_sub(fixed);
        let shares = shares(nodes, partitions, free);

        let rounded = |round: fn(f64) -> f64| -> Vec<usize> {
            let of = |n: Node| {
                if nodes[n].fixed {
                    held[n]
                } else {
                    round(shares[n]) as usize
                }
            };
            (0..nodes.len()).map(of).collect()
        };
        let (least, most) = (rounded(f64::floor), rounded(f64::ceil));
        let mut quotas = least.clone();
        let mut in_zone = vec![0; zone_of.iter().max().map_or(0, |z| z + 1)];
        for (node, &zone) in zone_of.iter().enumerate() {
            in_zone[zone] += quotas[node];
        }
        let mut candidates: Vec<Node> = (0..nodes.len()).filter(|&n| most[n] > least[n]).collect();
        candidates.sort_by(|&a, &b| {
            let keeps = |n: Node| held[n] > quotas[n];
            let fraction = |n: Node| shares[n].fract();
            keeps(b)
                .cmp(&keeps(a))
                .then(fraction(b).total_cmp(&fraction(a)))
                .then(a.cmp(&b))
        });
        let given: usize = quotas.iter().sum::<usize>() - fixed;
        for _ in given..free {
            let short = |&n: &Node| in_zone[zone_of[n]] < partitions;
            let Some(at) = candidates
                .iter()
                .position(short)
                .or((!candidates.is_empty()).then_some(0))
            else {
                break;
            };
            let node = candidates.remove(at);
            quotas[node] += 1;
            in_zone[zone_of[node]] += 1;
        }
        Quotas {
            at_first: quotas,
            least,
            most,
        }
    }
}

/// Shares of `copies` by weight of the nodes that are not fixed, none above `cap`: what a heavy node cannot take
/// goes to the others by their weight.
fn shares(nodes: &[&Claimable], cap: usize, copies: usize) -> Vec<f64> {
    let cap = cap as f64;
    let mut shares = vec![0.0; nodes.len()];
    let mut open: Vec<Node> = (0..nodes.len()).filter(|&n| !nodes[n].fixed).collect();
    let mut left = copies as f64;
    loop {
        let weights: f64 = open.iter().map(|&n| weight(nodes[n])).sum();
        let share = |n: Node| left * weight(nodes[n]) / weights;
        let (full, rest): (Vec<Node>, Vec<Node>) = open.iter().partition(|&&n| share(n) >= cap);
        if full.is_empty() {
            for &n in &open {
                shares[n] = near_whole(share(n));
            }
            return shares;
        }
        for &n in &full {
            shares[n] = cap;
        }
        left = (left - cap * full.len() as f64).max(0.0);
        open = rest;
    }
}

/// A weight that can be computed with, whatever the configuration said.
fn weight(node: &Claimable) -> f64 {
    if node.weight.is_nan() {
        1.0
    } else {
        node.weight.clamp(1e-6, 1e6)
    }
}

/// Takes away what floating point added to a whole number.
fn near_whole(share: f64) -> f64 {
    let whole = share.round();
    if (share - whole).abs() < 1e-6 {
        whole
    } else {
        share
    }
}

/// Each node's zone, numbered in the order of their names.
pub(super) fn number_zones(nodes: &[&Claimable]) -> Vec<usize> {
    let mut numbers: BTreeMap<Option<&str>, usize> =
        nodes.iter().map(|n| (n.zone.as_deref(), 0)).collect();
    for (number, slot) in numbers.values_mut().enumerate() {
        *slot = number;
    }
    nodes.iter().map(|n| numbers[&n.zone.as_deref()]).collect()
}

/// How many copies of one row each zone may hold.
///
/// A zone whose nodes together hold L of Q partitions' copies has L / Q of each row, rounded down or up. So a zone
/// with at most Q copies is never twice in a row and one with at least Q is in every row, and no assignment with these
/// quotas has more distinct zones. Without zones there is one, and the rule says nothing.
pub(super) struct Zones {
    of: Vec<usize>,
    least: Vec<usize>,
    most: Vec<usize>,
    /// Zones that must be in every row: never more than the row has nodes.
    everywhere: Vec<usize>,
}

impl Zones {
    pub(super) fn new(of: Vec<usize>, quotas: &Quotas, partitions: usize) -> Zones {
        let mut copies = vec![0; of.iter().max().map_or(0, |z| z + 1)];
        for (node, &zone) in of.iter().enumerate() {
            copies[zone] += quotas.at_first[node];
        }
        let least: Vec<usize> = copies.iter().map(|c| c / partitions).collect();
        Zones {
            of,
            most: copies.iter().map(|c| c.div_ceil(partitions)).collect(),
            everywhere: (0..least.len()).filter(|&z| least[z] > 0).collect(),
            least,
        }
    }

    /// How many zones there are.
    pub(super) fn number(&self) -> usize {
        self.least.len()
    }

    pub(super) fn of(&self, node: Node) -> usize {
        self.of[node]
    }

    fn count(&self, row: &[Node], zone: usize) -> usize {
        row.iter().filter(|&&n| self.of[n] == zone).count()
    }

    /// Whether `row` has too many nodes of the zone of `node`.
    pub(super) fn too_many(&self, row: &[Node], node: Node) -> bool {
        self.count(row, self.of[node]) > self.most[self.of[node]]
    }

    /// Whether `row` can spare one of the zone of `node`.
    pub(super) fn can_spare(&self, row: &[Node], node: Node) -> bool {
        self.count(row, self.of[node]) > self.least[self.of[node]]
    }

    /// Whether `row` may have one more of the zone of `node`.
    pub(super) fn has_room(&self, row: &[Node], node: Node) -> bool {
        self.count(row, self.of[node]) < self.most[self.of[node]]
    }

    /// How many nodes `row` is short of, over all zones.
    pub(super) fn missing(&self, row: &[Node]) -> usize {
        let missing = |&z: &usize| self.least[z].saturating_sub(self.count(row, z));
        self.everywhere.iter().map(missing).sum()
    }

    /// Whether `row` is short of a node of the zone of `node`.
    pub(super) fn misses(&self, row: &[Node], node: Node) -> bool {
        self.count(row, self.of[node]) < self.least[self.of[node]]
    }

    /// Whether `to` may take the place of `from` in `row`.
    pub(super) fn may_swap(&self, row: &[Node], from: Node, to: Node) -> bool {
        self.of[from] == self.of[to] || (self.can_spare(row, from) && self.has_room(row, to))
    }
}
