//! This file answers: what is there to decide of a get that goes as everybody expects?
//!
//! Each owner is asked at most once, and all of them hold the same, or nothing: then nothing but when enough have said so.
//! There is nothing to merge and nobody to repair.

use rkv_ring::NodeName;
use smallvec::SmallVec;

use super::{Heard, Row};
use crate::get::{Answer, Effects, Event, Get, HEDGE_MS};
use crate::object::{Kind, Object};
use crate::outcome::{FINISHED, GetOutcome, ResultWord};
use crate::policy::GetPolicy;
use crate::roster::Ask;
use crate::tally::{Role, Tally};

/// A get of which all that has happened is that owners hold the same.
#[derive(Debug, Clone)]
pub struct PlainGet {
    row: Row,
    policy: GetPolicy,
    /// Whose turn it is, if owners are spared.
    turn: Option<usize>,
    begun_ms: u64,
    /// Asks that were answered, in that order.
    answered: SmallVec<[Ask; 4]>,
    /// What all of them hold.
    held: Option<Object>,
    tally: Tally,
    /// The caller has its answer.
    is_decided: bool,
}

impl PlainGet {
    /// A get which leaves for everybody in `row` now.
    pub fn new(row: Row, policy: GetPolicy, begun_ms: u64) -> PlainGet {
        PlainGet {
            row,
            policy,
            turn: None,
            begun_ms,
            answered: SmallVec::new(),
            held: None,
            tally: Tally::default(),
            is_decided: false,
        }
    }

    /// The same, which leaves for as many owners as can make r: see [`Get::sparing`]. None of them is slow.
    #[must_use]
    pub fn sparing(mut self, first: &NodeName, turn: usize) -> PlainGet {
        let needed = self.policy.needed();
        self.row = self.row.sparing(&needed, first, turn);
        self.turn = Some(turn);
        self
    }

    /// Who is asked.
    pub fn row(&self) -> &Row {
        &self.row
    }

    /// Those whose answers are under way.
    pub fn awaited(&self) -> impl Iterator<Item = (&NodeName, Ask)> {
        self.row.awaited(&self.answered)
    }

    /// Whether everybody who was asked has answered.
    pub fn is_over(&self) -> bool {
        self.answered.len() == self.row.nodes()
    }

    /// When those who were spared are to be asked, unless it is decided before; none if nobody is.
    pub fn hedges_ms(&self) -> Option<u64> {
        let is_sparing = self.row.asks.contains(&0);
        (is_sparing && !self.is_decided).then(|| self.begun_ms.saturating_add(HEDGE_MS))
    }

    /// `node`, which is sent `ask`, holds this, or nothing. It is decided once.
    pub fn heard(&mut self, node: &NodeName, ask: Ask, held: Option<Object>) -> Heard<GetOutcome> {
        let Some((asked, places)) = self.row.asked(ask) else {
            return Heard::Nothing;
        };
        if asked != node || self.answered.contains(&ask) {
            return Heard::Nothing;
        }
        let is_first = self.answered.is_empty();
        if (!is_first && self.held != held) || (held.is_none() && !self.policy.notfound_ok) {
            return Heard::Otherwise;
        }
        self.answered.push(ask);
        self.tally.count(Role::Owner, places);
        if is_first {
            self.held = held;
        }
        if self.is_decided || !self.tally.meets(&self.policy.needed()) {
            return Heard::Nothing;
        }
        self.is_decided = true;
        let kind = self.held.as_ref().and_then(|held| held.version().kind());
        let word = match kind {
            Some(Kind::Value) => ResultWord::Ok,
            _ => ResultWord::NotFound,
        };
        Heard::Enough(GetOutcome {
            reason: FINISHED,
            object: self.held.clone(),
            replicas: self.row.results(&self.answered, &word),
        })
    }

    /// The machine before anything has happened: nobody was asked.
    pub fn unbegun(&self, me: &NodeName) -> Get {
        let get = Get::new(self.policy, &self.row.preflist);
        match self.turn {
            Some(turn) => get.sparing(me, turn, |_| false),
            None => get,
        }
    }

    /// The machine that has asked the same and heard the same. If the caller had its answer, so it had from that.
    pub fn grow(self, me: &NodeName) -> Get {
        let mut get = self.unbegun(me);
        let mut done = Effects::new();
        get.step(self.begun_ms, Event::Begin, &mut done);
        for ask in self.answered {
            if let Some((node, _)) = self.row.asked(ask) {
                let answer = match &self.held {
                    Some(held) => Answer::Found(held.clone()),
                    None => Answer::NotFound,
                };
                let node = node.clone();
                let event = Event::Answer { node, ask, answer };
                get.step(self.begun_ms, event, &mut done);
            }
        }
        get
    }
}
