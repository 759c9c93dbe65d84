//! This file answers: what is there to decide of a put that goes as everybody expects?
//!
//! Each owner is asked once, and each stores it: then nothing but when enough of them have. Such a put is a list of who has
//! stored it.

use rkv_ring::NodeName;
use smallvec::SmallVec;

use super::Row;
use crate::clock::{Clock, Stamp};
use crate::object::Object;
use crate::outcome::{FINISHED, PutOutcome, ResultWord};
use crate::policy::PutPolicy;
use crate::put::{Answer, Draft, Effects, Event, Put};
use crate::roster::Ask;
use crate::tally::{Role, Tally};

/// A put, delete or deadline of which all that has happened is that owners have stored it.
#[derive(Debug, Clone)]
pub struct PlainPut {
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

impl PlainPut {
    /// A put of `draft` under `stamp`, which leaves for everybody in `row` now.
    pub fn new(row: Row, policy: PutPolicy, draft: Draft, stamp: Stamp, begun_ms: u64) -> PlainPut {
        PlainPut {
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
        self.row.awaited(&self.stored)
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
            replicas: self.row.results(&self.stored, &ResultWord::Ok),
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
