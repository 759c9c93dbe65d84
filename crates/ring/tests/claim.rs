//! Claim keeps its five rules: exhaustively for small clusters of equal nodes, at random for the rest.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rkv_ring::{Claimable, NodeName, PartitionCount, Row, claim};

/// A node's name; in name order as in number order.
fn name(i: usize) -> NodeName {
    format!("node{i:03}").into()
}

fn equal(count: usize) -> Vec<Claimable> {
    (1..=count).map(|i| node(i, None, 1.0)).collect()
}

fn node(i: usize, zone: Option<usize>, weight: f64) -> Claimable {
    Claimable {
        name: name(i),
        zone: zone.map(|z| format!("zone{z}")),
        weight,
        fixed: false,
    }
}

fn distinct(row: &Row) -> BTreeSet<&NodeName> {
    row.iter().collect()
}

/// Copies that each node holds.
fn copies(rows: &[Row]) -> BTreeMap<&NodeName, usize> {
    let mut copies = BTreeMap::new();
    for node in rows.iter().flat_map(distinct) {
        *copies.entry(node).or_default() += 1;
    }
    copies
}

/// Copies that `after` has and `before` lacks.
fn moved(before: &[Row], after: &[Row]) -> usize {
    let new = |(b, a): (&Row, &Row)| distinct(a).difference(&distinct(b)).count();
    before.iter().zip(after).map(new).sum()
}

/// Each node's exact share of copies: by weight, none above one of each partition.
fn shares(nodes: &[Claimable], q: usize, replicas: usize) -> Vec<f64> {
    let mut full = BTreeSet::new();
    loop {
        let left = q * (replicas.min(nodes.len()) - full.len());
        let weights: f64 = nodes
            .iter()
            .filter(|n| !full.contains(&n.name))
            .map(|n| n.weight)
            .sum();
        let share = |n: &Claimable| {
            if full.contains(&n.name) {
                q as f64
            } else {
                left as f64 * n.weight / weights
            }
        };
        let more: Vec<NodeName> = nodes
            .iter()
            .filter(|n| share(n) >= q as f64 && !full.contains(&n.name))
            .map(|n| n.name.clone())
            .collect();
        if more.is_empty() {
            return nodes.iter().map(share).collect();
        }
        full.extend(more);
    }
}

fn floor(share: f64) -> usize {
    (share + 1e-6).floor() as usize
}

fn ceil(share: f64) -> usize {
    (share - 1e-6).ceil() as usize
}

/// The fewest moves that any rows need in which each node holds its share, rounded down or up.
fn lower_bound(nodes: &[Claimable], before: &[Row], q: usize, replicas: usize) -> usize {
    let held = copies(before);
    let shares = shares(nodes, q, replicas);
    let total = q * replicas.min(nodes.len());
    let up = total - shares.iter().map(|&s| floor(s)).sum::<usize>();
    let held = |n: &Claimable| held.get(&n.name).copied().unwrap_or(0);
    let kept: usize = nodes
        .iter()
        .zip(&shares)
        .map(|(n, &s)| held(n).min(floor(s)))
        .sum();
    let kept_by_rounding_up = nodes
        .iter()
        .zip(&shares)
        .filter(|&(n, &s)| held(n).min(ceil(s)) > floor(s))
        .count();
    total - kept - kept_by_rounding_up.min(up)
}

/// (places whose zone stands in the row already, moves): the fewest that rows need that keep rules 1 to 3: a cheapest flow, the long way.
///
/// Nodes of the network: source, rows, (row, zone) pairs, nodes, sink. Only for small cases.
struct Cheapest {
    /// To, room, cost; the arc at `i ^ 1` is the way back.
    arcs: Vec<(usize, usize, i64)>,
    from: Vec<Vec<usize>>,
}

impl Cheapest {
    fn arc(&mut self, from: usize, to: usize, room: usize, cost: i64) {
        for (from, arc) in [(from, (to, room, cost)), (to, (from, 0, -cost))] {
            self.from.resize(self.from.len().max(from + 1), Vec::new());
            self.from[from].push(self.arcs.len());
            self.arcs.push(arc);
        }
    }

    fn moves(nodes: &[Claimable], before: &[Row], q: usize, replicas: usize) -> (usize, usize) {
        const MUST: i64 = 1_000_000_000_000;
        const ZONE: i64 = 1_000_000;
        let mut zones: Vec<&Option<String>> = nodes.iter().map(|n| &n.zone).collect();
        zones.sort();
        zones.dedup();
        let (source, sink) = (0, 1);
        let row = |r: usize| 2 + r;
        let pair = |r: usize, z: usize| 2 + q + r * zones.len() + z;
        let of_node = |n: usize| 2 + q + q * zones.len() + n;
        let mut net = Cheapest {
            arcs: Vec::new(),
            from: Vec::new(),
        };
        let wanted = replicas.min(nodes.len());
        for (r, owners) in before.iter().enumerate() {
            net.arc(source, row(r), wanted, 0);
            for z in 0..zones.len() {
                net.arc(row(r), pair(r, z), 1, 0);
                net.arc(row(r), pair(r, z), wanted, ZONE);
            }
            for (n, node) in nodes.iter().enumerate() {
                let z = zones.binary_search(&&node.zone).unwrap();
                net.arc(
                    pair(r, z),
                    of_node(n),
                    1,
                    i64::from(!owners.contains(&node.name)),
                );
            }
        }
        for (n, share) in shares(nodes, q, replicas).into_iter().enumerate() {
            net.arc(of_node(n), sink, floor(share), -MUST);
            net.arc(of_node(n), sink, ceil(share) - floor(share), 0);
        }
        let mut total = 0;
        for _ in 0..q * wanted {
            total += net.augment(source, sink);
        }
        let all = total.rem_euclid(MUST);
        ((all / ZONE) as usize, (all % ZONE) as usize)
    }

    /// Sends one unit along the cheapest way; its cost.
    fn augment(&mut self, source: usize, sink: usize) -> i64 {
        let mut cost = vec![i64::MAX; self.from.len()];
        let mut by = vec![usize::MAX; self.from.len()];
        let mut queue = std::collections::VecDeque::from([source]);
        cost[source] = 0;
        while let Some(at) = queue.pop_front() {
            for &arc in &self.from[at] {
                let (to, room, price) = self.arcs[arc];
                if room > 0 && cost[at] + price < cost[to] {
                    cost[to] = cost[at] + price;
                    by[to] = arc;
                    queue.push_back(to);
                }
            }
        }
        let mut at = sink;
        while at != source {
            self.arcs[by[at]].1 -= 1;
            self.arcs[by[at] ^ 1].1 += 1;
            at = self.arcs[by[at] ^ 1].0;
        }
        cost[sink]
    }
}

/// Rules 1, 2, 4 and 5.
fn check(nodes: &[Claimable], before: &[Row], after: &[Row], replicas: usize, zones: bool) {
    let q = after.len();
    for row in after {
        assert_eq!(row.len(), replicas);
        assert_eq!(
            distinct(row).len(),
            replicas.min(nodes.len()),
            "rule 1: {row:?}"
        );
    }
    let held = copies(after);
    for (node, share) in nodes.iter().zip(shares(nodes, q, replicas)) {
        let holds = held.get(&node.name).copied().unwrap_or(0);
        assert!(
            (floor(share)..=ceil(share)).contains(&holds),
            "rule 2: {node:?} {holds} of {share}"
        );
        let first = after.iter().filter(|row| row[0] == node.name).count();
        let share = share / replicas.min(nodes.len()) as f64;
        assert!(
            (floor(share)..=ceil(share)).contains(&first),
            "rule 4: {node:?} {first} of {share}"
        );
    }
    if !zones {
        let (moved, least) = (
            moved(before, after),
            lower_bound(nodes, before, q, replicas),
        );
        if moved * 10 > least * 11 {
            let (_, exact) = Cheapest::moves(nodes, before, q, replicas);
            assert!(
                moved * 10 <= exact * 11,
                "rule 5: {moved} moves, at least {exact}"
            );
        }
    }
}

fn partitions(q: usize) -> PartitionCount {
    PartitionCount::new(q as u16).unwrap()
}

/// Lost without it: a join or a leave in a small cluster could break a rule for some number of nodes and partitions.
#[test]
fn equal_nodes_exhaustively() {
    for replicas in [1, 2, 3, 5] {
        for q in [8, 16, 32, 64, 128, 256] {
            let mut rows = vec![vec![name(1); replicas]; q];
            for count in 1..=12 {
                let nodes = equal(count);
                let after = claim(partitions(q), replicas as u8, &nodes, &rows);
                check(&nodes, &rows, &after, replicas, false);
                assert_eq!(
                    after,
                    claim(partitions(q), replicas as u8, &nodes, &after),
                    "not stable"
                );
                rows = after;
                for leaver in 0..count.min(nodes.len()) {
                    let mut left = nodes.clone();
                    left.remove(leaver);
                    if !left.is_empty() {
                        let after = claim(partitions(q), replicas as u8, &left, &rows);
                        check(&left, &rows, &after, replicas, false);
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]
    /// Lost without it: histories and weights that nobody thought of could break a rule.
    #[test]
    fn histories(replicas in 1usize..=5, log_q in 3u32..=7, steps in prop::collection::vec((1usize..=15, 0.2f64..5.0, any::<bool>()), 1..12)) {
        let q = 1 << log_q;
        let mut nodes = vec![node(1, None, 1.0)];
        let mut rows = vec![vec![name(1); replicas]; q];
        for (who, weight, weighted) in steps {
            match nodes.iter().position(|n| n.name == name(who)) {
                Some(at) if nodes.len() > 1 => { nodes.remove(at); }
                Some(_) => continue,
                None => nodes.push(node(who, None, if weighted { weight } else { 1.0 })),
            }
            nodes.sort_by(|a, b| a.name.cmp(&b.name));
            let after = claim(partitions(q), replicas as u8, &nodes, &rows);
            check(&nodes, &rows, &after, replicas, false);
            rows = after;
        }
    }
}

/// Places of `rows` whose zone stands in the row already.
fn zone_repeats(nodes: &[Claimable], rows: &[Row]) -> usize {
    let zone = |name: &NodeName| &nodes.iter().find(|n| n.name == *name).unwrap().zone;
    let repeats = |row: &Row| {
        let row = distinct(row);
        row.len() - row.iter().map(|n| zone(n)).collect::<BTreeSet<_>>().len()
    };
    rows.iter().map(repeats).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]
    /// Lost without it: a zone that fails could take copies with it that might have stood elsewhere.
    #[test]
    fn zones(replicas in 1usize..=4, log_q in 3u32..=5, zones in 1usize..=5, steps in prop::collection::vec((1usize..=15, 0.2f64..5.0, any::<bool>()), 1..12)) {
        let q = 1 << log_q;
        let mut nodes = vec![node(1, Some(0), 1.0)];
        let mut rows = vec![vec![name(1); replicas]; q];
        for (who, weight, weighted) in steps {
            match nodes.iter().position(|n| n.name == name(who)) {
                Some(at) if nodes.len() > 1 => { nodes.remove(at); }
                Some(_) => continue,
                None => nodes.push(node(who, Some(who * 7 % zones), if weighted { weight } else { 1.0 })),
            }
            nodes.sort_by(|a, b| a.name.cmp(&b.name));
            let after = claim(partitions(q), replicas as u8, &nodes, &rows);
            check(&nodes, &rows, &after, replicas, true);
            let (repeats, moves) = Cheapest::moves(&nodes, &rows, q, replicas);
            prop_assert_eq!(zone_repeats(&nodes, &after), repeats, "rule 3");
            // In which zones nodes are rounded up is decided first, and may cost a copy for each such node and zone: 28 moves
            // where 21 would do, of six nodes in three zones, is the most that was found.
            let moved = moved(&rows, &after);
            let spare = nodes.len() + zones;
            prop_assert!(moved * 10 <= moves * 11 || moved <= moves + spare, "rule 5: {moved} moves, at least {moves}");
            rows = after;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]
    /// Lost without it: copies would be ordered from and to nodes that are down.
    #[test]
    fn fixed_nodes_keep_what_they_have(replicas in 1usize..=4, log_q in 3u32..=6, count in 2usize..=9, joins in 0usize..4, leaves in 0usize..3, fixed in prop::collection::btree_set(1usize..9, 1..3)) {
        let q = 1 << log_q;
        let before = claim(partitions(q), replicas as u8, &equal(count), &vec![vec![name(1); replicas]; q]);
        let mut nodes = equal(count + joins);
        for node in nodes.iter_mut().take(count) {
            node.fixed = fixed.iter().any(|&i| name(i) == node.name);
        }
        let mut leaves = leaves;
        nodes.retain(|n| n.fixed || leaves == 0 || { leaves -= 1; false });
        let after = claim(partitions(q), replicas as u8, &nodes, &before);
        let free = nodes.iter().filter(|n| !n.fixed).count();
        for (b, a) in before.iter().zip(&after) {
            prop_assert!(nodes.iter().all(|n| !n.fixed || b.contains(&n.name) == a.contains(&n.name)));
            let enough = replicas.min(free);
            prop_assert!(distinct(a).len() >= enough, "{:?} of {} free", a, free);
        }
    }
}

/// Lost without it: claim could become too slow, or break rules, for the largest clusters.
#[test]
fn a_thousand_nodes() {
    let q = 16384;
    for (zones, weighted) in [(1, false), (1, true), (7, false), (7, true), (1000, true)] {
        let weight = |i: usize| {
            if weighted {
                0.5 + (i * 37 % 100) as f64 / 50.0
            } else {
                1.0
            }
        };
        let all: Vec<Claimable> = (0..1000)
            .map(|i| node(i, Some(i % zones), weight(i)))
            .collect();
        let mut before = vec![vec![all[0].name.clone(); 3]; q];
        for nodes in [&all[..], &all[1..], &all[..]] {
            let after = claim(partitions(q), 3, nodes, &before);
            check(nodes, &before, &after, 3, zones > 1);
            before = after;
        }
    }
}

/// Lost without it: many partitions on few nodes, where copies reach their place only by way of others, could take
/// minutes instead of a fraction of a second.
#[test]
fn many_partitions_on_few_nodes() {
    let q = 16384;
    let weight = |i: usize| 0.5 + (i * 37 % 100) as f64 / 50.0;
    let mut before = vec![vec![name(0); 3]; q];
    for count in [1, 3, 5, 6, 12, 20, 19, 60, 59] {
        let nodes: Vec<Claimable> = (0..count)
            .map(|i| node(i, Some(i % 3), weight(i)))
            .collect();
        let after = claim(partitions(q), 3, &nodes, &before);
        check(&nodes, &before, &after, 3, true);
        before = after;
    }
}
