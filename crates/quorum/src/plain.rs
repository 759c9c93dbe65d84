//! This file answers: what is there to decide of a put that goes as everybody expects?
//!
//! All owners are up, each is asked once, and each stores it: then nothing but when enough of them have. Such a put is a list
//! of who has stored it. Before anything else happens to it, it becomes the machine that it would have been
//! ([`Plain::grow`]): a new one is shown what has happened so far, and what it wishes for on the way has been done.

use std::sync::Arc;

use rkv_ring::{NodeName, Preflist, RingId};
use smallvec::SmallVec;

use crate::clock::{Clock, Stamp};
use crate::object::Object;
use crate::outcome::{FINISHED, PutOutcome, ReplicaResult, Replicas, ResultWord};
use crate::policy::PutPolicy;
use crate::put::{Answer, Draft, Effects, Event, Put};
use crate::roster::Ask;
use crate::tally::{Role, Tally};

/// A row of which every owner is up.
#[derive(Debug, Clone)]
pub struct Row {
    preflist: Arc<Preflist>,
    /// Of each place that takes part: the number of the ask that its node is sent, which are 1, 2, 3, ...
    asks: SmallVec<[u8; 8]>,
    nodes: u8,
}

impl Row {
    /// The first n places, if there are so many, all of them are up, and there is time to ask them.
    pub fn of(preflist: &Arc<Preflist>, policy: &PutPolicy) -> Option<Row> {
        let places = preflist.places.get(..usize::from(policy.n))?;
        if policy.timeout_ms == 0 || !places.iter().all(|place| place.up) {
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
        let mut asked = places.filter(|(_, it)| u32::from(**it) == ask.0);
        let (first, _) = asked.next()?;
        Some((&first.node, 1 + asked.count()))
    }
}

/// A put, delete or deadline of which all that has happened is that owners have stored it.
#[derive(Debug, Clone)]
pub struct Plain {
    row: Row,
    policy: PutPolicy,
    draft: Draft,
    stamp: Stamp,
    begun_ms: u64,
    /// Asks that were answered, in that order.
    stored: SmallVec<[Ask; 4]>,
    tally: Tally,
    /// The caller has its answer.
    is_decided: bool,
}

impl Plain {
    /// A put of `draft` under `stamp`, which leaves for everybody in `row` now.
    pub fn new(row: Row, policy: PutPolicy, draft: Draft, stamp: Stamp, begun_ms: u64) -> Plain {
        Plain {
            row,
            policy,
            draft,
            stamp,
            begun_ms,
            stored: SmallVec::new(),
            tally: Tally::default(),
            is_decided: false,
        }
    }

    /// Who is asked.
    pub fn row(&self) -> &Row {
        &self.row
    }

    /// What they are sent.
    pub fn object(&self) -> Object {
        self.draft.stamped(self.stamp)
    }

    /// Bytes of what is to be written.
    pub fn bytes(&self) -> usize {
        self.draft.bytes()
    }

    /// How many places are to store it.
    pub fn w(&self) -> usize {
        usize::from(self.policy.w)
    }

    /// Those whose answers are under way.
    pub fn awaited(&self) -> impl Iterator<Item = (&NodeName, Ask)> {
        let asks = self.row.asks();
        asks.filter(|(_, ask)| !self.stored.contains(ask))
    }

    /// Whether everybody has stored it.
    pub fn is_over(&self) -> bool {
        self.stored.len() == self.row.nodes()
    }

    /// `node` has stored what it was sent with `ask`: the caller's answer, if this decides it. It is decided once; of what is
    /// not awaited nothing counts.
    pub fn stored(&mut self, node: &NodeName, ask: Ask) -> Option<PutOutcome> {
        let (asked, places) = self.row.asked(ask)?;
        if asked != node || self.stored.contains(&ask) {
            return None;
        }
        self.stored.push(ask);
        self.tally.count(Role::Owner, places);
        if self.is_decided || !self.is_enough() {
            return None;
        }
        self.is_decided = true;
        Some(PutOutcome {
            reason: FINISHED,
            stamp: self.stamp,
            replicas: self.replicas(),
        })
    }

    /// Whether so many have stored it as are to.
    fn is_enough(&self) -> bool {
        self.tally.meets(&Tally {
            places: self.w(),
            owners: usize::from(self.policy.pw),
            nodes: self.w().min(self.row.nodes()),
        })
    }

    fn replicas(&self) -> Replicas {
        let Row { preflist, asks, .. } = &self.row;
        let places = preflist.places.iter().zip(asks);
        let stored = places.filter(|(_, ask)| self.stored.contains(&Ask(u32::from(**ask))));
        let results = stored.map(|(place, _)| ReplicaResult {
            node: place.node.clone(),
            partition: preflist.partition,
            replica: place.replica,
            role: Role::Owner,
            result: ResultWord::Ok,
        });
        results.collect()
    }

    /// The machine before anything has happened: nobody was asked.
    pub fn unbegun(self, me: NodeName) -> Put {
        let preflist = &self.row.preflist;
        Put::new(self.policy, preflist, self.draft, self.stamp, me)
    }

    /// The machine that has asked the same and heard the same. If the caller had its answer, so it had from that.
    pub fn grow(self, me: NodeName, clock: &Clock) -> Put {
        let (row, stored, begun_ms) = (self.row.clone(), self.stored.clone(), self.begun_ms);
        let mut put = self.unbegun(me);
        let mut done = Effects::new();
        put.step(begun_ms, Event::Begin, clock, &mut done);
        for ask in stored {
            if let Some((node, _)) = row.asked(ask) {
                let (node, answer) = (node.clone(), Answer::Stored);
                let event = Event::Answer { node, ask, answer };
                put.step(begun_ms, event, clock, &mut done);
            }
        }
        put
    }
}

#[cfg(test)]
#[path = "plain_tests.rs"]
mod tests;
