//! This file answers: what is there to decide of a request that goes as everybody expects?
//!
//! All owners are up, each is asked at most once, and each does as it is asked: then nothing but when enough of them have.
//! Such a request is a list of who has. Before anything else happens to it, it becomes the machine that it would have been
//! ([`PlainPut::grow`], [`PlainGet::grow`]): a new one is shown what has happened so far, and what it wishes for on the way
//! has been done.
//!
//! Beside this file: `put` and `get`.

mod get;
mod put;

use std::sync::Arc;

use rkv_ring::{NodeName, Preflist, RingId};
use smallvec::SmallVec;

use crate::outcome::{ReplicaResult, Replicas, ResultWord};
use crate::roster::{Ask, chosen};
use crate::tally::{Role, Tally};

pub use get::PlainGet;
pub use put::PlainPut;

/// What an answer is to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard<T> {
    /// What is not awaited; or it is expected, and decides nothing.
    Nothing,
    /// It decides.
    Enough(T),
    /// Not what was expected: nothing was done.
    Otherwise,
}

/// A row of which every owner is up.
#[derive(Debug, Clone)]
pub struct Row {
    preflist: Arc<Preflist>,
    /// Of each place that takes part: the number of the ask that its node is sent, which are 1, 2, 3, ..., or 0 if it is
    /// spared.
    asks: SmallVec<[u8; 8]>,
    /// How many nodes are asked.
    nodes: u8,
}

impl Row {
    /// The first `n` places, if there are so many, all of them are up, and there is time to ask them.
    pub fn of(preflist: &Arc<Preflist>, n: u8, timeout_ms: u64) -> Option<Row> {
        let places = preflist.places.get(..usize::from(n))?;
        if timeout_ms == 0 || !places.iter().all(|place| place.up) {
            return None;
        }
        let mut asks: SmallVec<[u8; 8]> = SmallVec::new();
        let mut nodes = 0;
        for place in places {
            let mut known = places[..asks.len()].iter();
            let known = known.position(|earlier| earlier.node == place.node);
            asks.push(known.map_or(nodes + 1, |at| asks[at]));
            nodes += u8::from(known.is_none());
        }
        Some(Row {
            preflist: preflist.clone(),
            asks,
            nodes,
        })
    }

    /// The same with only as many nodes as can make `needed`: see [`crate::Get::sparing`].
    fn sparing(mut self, needed: &Tally, first: &NodeName, turn: usize) -> Row {
        let owners: SmallVec<[(&NodeName, usize); 3]> = (1..=self.nodes)
            .filter_map(|ask| self.asked(Ask(u32::from(ask))))
            .collect();
        let chosen = chosen(&owners, needed, first, turn, |_| false);
        drop(owners);
        self.nodes = 0;
        let numbers = chosen.into_iter().map(|is_chosen| {
            self.nodes += u8::from(is_chosen);
            if is_chosen { self.nodes } else { 0 }
        });
        let numbers: SmallVec<[u8; 8]> = numbers.collect();
        for ask in &mut self.asks {
            *ask = numbers[usize::from(*ask) - 1];
        }
        self
    }

    /// Who is asked, in this order.
    pub fn asks(&self) -> impl Iterator<Item = (&NodeName, Ask)> {
        let mut last = 0;
        let places = self.preflist.places.iter().zip(&self.asks);
        places.filter_map(move |(place, ask)| {
            let is_first = *ask > last;
            last = last.max(*ask);
            is_first.then_some((&place.node, Ask(u32::from(*ask))))
        })
    }

    /// The ring that it is of.
    pub fn ring(&self) -> RingId {
        self.preflist.ring
    }

    fn nodes(&self) -> usize {
        usize::from(self.nodes)
    }

    /// Who is sent this ask, and in how many places.
    fn asked(&self, ask: Ask) -> Option<(&NodeName, usize)> {
        let places = self.preflist.places.iter().zip(&self.asks);
        let mut asked = places.filter(|(_, it)| **it != 0 && u32::from(**it) == ask.0);
        let (first, _) = asked.next()?;
        Some((&first.node, 1 + asked.count()))
    }

    /// Those of whom nothing was heard, when these asks were answered.
    fn awaited<'a>(&'a self, answered: &'a [Ask]) -> impl Iterator<Item = (&'a NodeName, Ask)> {
        self.asks().filter(|(_, ask)| !answered.contains(ask))
    }

    /// What is told of each place whose node has answered, when all have answered the same.
    fn results(&self, answered: &[Ask], word: &ResultWord) -> Replicas {
        let places = self.preflist.places.iter().zip(&self.asks);
        let answered = places.filter(|(_, ask)| answered.contains(&Ask(u32::from(**ask))));
        let results = answered.map(|(place, _)| ReplicaResult {
            node: place.node.clone(),
            partition: self.preflist.partition,
            replica: place.replica,
            role: Role::Owner,
            result: word.clone(),
        });
        results.collect()
    }
}

#[cfg(test)]
mod tests;
