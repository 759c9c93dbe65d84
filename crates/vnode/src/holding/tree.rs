//! This file answers: what do the entries of any range of slots amount to?
//!
//! A Merkle tree of one copy: its leaves are slots, as the store is ordered by them, and a leaf is the number of its
//! entries and the sum of their hashes. Sums add up, so inner nodes need not be kept: each is the sum of its leaves, taken
//! when it is asked for. It follows each write as it leaves, like the totals, and is counted from the data when the copy is opened.

use std::ops::RangeInclusive;

use rkv_storage::{StoreKey, near};
use rkv_wire::message::{Span, Sum};

/// The leaves of one copy.
#[derive(Debug)]
pub(super) struct Tree {
    slots: RangeInclusive<u16>,
    /// One a slot; none at all before the first entry.
    leaves: Vec<Sum>,
}

impl Tree {
    /// Of nothing.
    pub(super) fn new(slots: RangeInclusive<u16>) -> Tree {
        Tree {
            slots,
            leaves: Vec::new(),
        }
    }

    /// One more entry.
    pub(super) fn add(&mut self, key: &[u8], hash: u64) {
        if self.leaves.is_empty() {
            self.leaves = vec![Sum::default(); self.slots.len()];
        }
        if let Some(leaf) = self.leaf(key) {
            leaf.entries += 1;
            leaf.hash = leaf.hash.wrapping_add(hash);
        }
    }

    /// One entry less.
    pub(super) fn remove(&mut self, key: &[u8], hash: u64) {
        if let Some(leaf) = self.leaf(key) {
            leaf.entries = leaf.entries.saturating_sub(1);
            leaf.hash = leaf.hash.wrapping_sub(hash);
        }
    }

    /// `key` is written in a moment: its leaf is fetched meanwhile.
    pub(super) fn expect(&self, key: &[u8]) {
        if let Some(leaf) = self.at(key).and_then(|at| self.leaves.get(at)) {
            near::fetch(leaf);
        }
    }

    fn leaf(&mut self, key: &[u8]) -> Option<&mut Sum> {
        let at = self.at(key)?;
        self.leaves.get_mut(at)
    }

    fn at(&self, key: &[u8]) -> Option<usize> {
        let at = StoreKey::slot_of(key)?.checked_sub(*self.slots.start())?;
        Some(usize::from(at))
    }

    /// What the slots of `span` amount to; those of other copies to nothing.
    pub(super) fn sum(&self, span: Span) -> Sum {
        let first = *self.slots.start();
        let end = usize::from(span.last.saturating_add(1).saturating_sub(first));
        let end = end.min(self.leaves.len());
        let from = usize::from(span.first.saturating_sub(first)).min(end);
        let mut sum = Sum::default();
        for leaf in &self.leaves[from..end] {
            sum.entries += leaf.entries;
            sum.hash = sum.hash.wrapping_add(leaf.hash);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use rkv_storage::Space;

    use super::*;

    /// Lost without it: a span that is summed a slot short or long, and copies that differ for ever or never.
    #[test]
    fn a_span_is_the_sum_of_its_slots() {
        let mut tree = Tree::new(100..=199);
        let key = |slot: u16| StoreKey::entry(Space::Data, 1, slot, 0, b"k");
        assert_eq!(
            tree.sum(Span {
                first: 0,
                last: 16_383
            }),
            Sum::default()
        );
        for slot in 100..200 {
            tree.add(&key(slot), u64::from(slot));
        }
        tree.remove(&key(150), 150);
        for (first, last) in [
            (100, 199),
            (0, u16::MAX),
            (100, 100),
            (149, 151),
            (0, 99),
            (200, 300),
        ] {
            let inside = (first..=last).filter(|slot| (100..200).contains(slot) && *slot != 150);
            let expected = Sum {
                entries: inside.clone().count() as u64,
                hash: inside.map(u64::from).sum(),
            };
            assert_eq!(
                tree.sum(Span { first, last }),
                expected,
                "{first} to {last}"
            );
        }
    }
}
