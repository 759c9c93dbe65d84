//! The promises of DESIGN, one a file, looked at during every step of a life.
//!
//! | file | promise |
//! |---|---|
//! | [`one_ring`] | 1: one chosen ring an epoch, its parent the one before |
//! | [`one_answerer`] | 2: once a new owner has answered, the old one does not |
//! | [`held`] | 3: an acknowledged write is in some copy, hint or undropped source |
//! | [`cover`] | 4: what is dropped is synced at an owner |
//! | [`quorum_meets`] | 5: a later get sees an acknowledged put |
//! | [`votes`] | 6: only copies that count vote; "not applied" is on no disk |
//! | [`order`] | 7: a later put ends higher |
//! | [`reaped`] | 8: what is let go of cannot be contradicted any more |
//! | [`deadlines`] | 9: an EXPIRE never undoes a SET, and what has ended never comes back |
//! | [`flushed`] | 9: what was flushed is dead, what came later is not |
//! | [`converges`] | 10: in the end all copies are equal and nothing is under way |
//! | [`answered`] | 11: a get is answered while as many owners as it needs are healthy |

use std::collections::BTreeMap;
use std::sync::Arc;

use rkv_quorum::clock::Stamp;
use rkv_ring::cluster::{Facts, Stored};
use rkv_ring::{NodeName, Ring};
use rkv_wire::message::Message;

use crate::history::History;
use crate::sim::disk::Crash;
use crate::sim::node::SimNode;

pub mod answered;
pub mod converges;
pub mod cover;
pub mod deadlines;
pub mod flushed;
pub mod held;
pub mod one_answerer;
pub mod one_ring;
pub mod order;
pub mod quorum_meets;
pub mod reaped;
pub mod votes;

/// Looks at a life from outside.
#[derive(Default)]
pub struct Observer {
    one_ring: one_ring::OneRing,
    one_answerer: one_answerer::OneAnswerer,
    held: held::Held,
    cover: cover::Cover,
    quorum_meets: quorum_meets::QuorumMeets,
    votes: votes::Votes,
    order: order::Order,
    reaped: reaped::Reaped,
    deadlines: deadlines::Deadlines,
    flushed: flushed::Flushed,
    answered: answered::Answered,
    broken: Option<String>,
}

impl Observer {
    /// A node adopted a ring.
    pub fn adopted(&mut self, node: &NodeName, ring: &Arc<Ring>) {
        let adopted = self.one_ring.adopted(node, ring);
        self.keep("1 one ring", adopted.err());
        let rises = self.flushed.adopted(ring);
        self.keep("9 dead stays dead", rises.err());
    }

    /// A node saved a ring state.
    pub fn saved(&mut self, node: &NodeName, stored: &Stored) {
        let saved = self.one_ring.saved(node, stored);
        self.keep("1 one ring", saved.err());
        // A node that dies before it adopts this ring starts with it.
        let rises = self.flushed.adopted(&stored.ring);
        self.keep("9 dead stays dead", rises.err());
    }

    /// A message is about to be taken.
    pub fn message(
        &mut self,
        nodes: &[SimNode],
        (from, to): (usize, usize),
        speaks_as: Option<Facts>,
        message: &Message,
    ) {
        let answered = self.one_answerer.message(nodes, from, to, message);
        self.keep("2 one answerer", answered.err());
        let voted = self.votes.message(nodes, from, to, speaks_as, message);
        self.keep("6 votes", voted.err());
    }

    /// Get `number` is about to begin at node `by`; `linked`: who is not paused and to be reached from there, in both directions.
    pub fn get_begins(
        &mut self,
        nodes: &[SimNode],
        (by, linked): (usize, &[usize]),
        number: u64,
        history: &History,
    ) {
        self.answered.begins(nodes, (by, linked), number, history);
    }

    /// Something that one node sends to another does not arrive, or late.
    pub fn hindered(&mut self, from: usize, to: usize) {
        self.answered.hindered(from, to);
    }

    /// A node stands still.
    pub fn paused(&mut self, node: usize) {
        self.answered.paused(node);
    }

    /// A node crashed.
    pub fn crashed(&mut self, nodes: &[SimNode], at: usize, how: Crash, history: &History) {
        self.held.crashed(nodes, at, how, history);
    }

    /// A node ends that was removed by force so long ago that nobody takes anything from it.
    pub fn given_up(&mut self, nodes: &[SimNode], at: usize, history: &History) {
        self.held.given_up(nodes, at, history);
    }

    /// An older state of a node's disk was put back.
    pub fn put_back(&mut self, nodes: &[SimNode], at: usize) {
        self.one_ring.put_back(&nodes[at].name);
    }

    /// Whether more disks were lost at once than the promises about data speak of.
    pub fn is_excused(&self) -> bool {
        self.held.is_excused()
    }

    /// How many traces of what was deleted were let go of.
    pub fn reaped(&self) -> u64 {
        self.reaped.count()
    }

    /// How many gets were answered only after those that they had spared were asked too.
    pub fn hedged(&self) -> u64 {
        self.answered.hedged()
    }

    /// Whether the promises allow that a disk forgets everything now.
    pub fn may_forget(&self) -> bool {
        self.held.is_whole()
    }

    /// A step was taken; the first promise that it broke.
    pub fn step(&mut self, nodes: &[SimNode], now_ms: u64, history: &History) -> Option<String> {
        let due = (self.held.is_due(now_ms), history.gets_ended);
        let reaped = self.reaped.step(nodes, due, self.flushed.floor());
        if !self.is_excused() {
            self.keep("8 reap is safe", reaped.err());
        }
        let held = self
            .held
            .step(nodes, now_ms, history, (&self.flushed, &self.reaped));
        self.keep("3 held", held.err());
        let covered = self.cover.step(nodes, self.flushed.floor());
        self.keep("4 cover", covered.err());
        let shown = self.flushed.shown(nodes, now_ms);
        self.keep("9 dead stays dead", shown.err());
        if !self.is_excused() {
            let excused = |key: &str, stamp, read: Option<Stamp>| {
                self.held.excuses(key)
                    || self.flushed.may_be_dead(key, stamp)
                    || (read.is_none()
                        && (self.reaped.may_be_gone(key, stamp)
                            || self.reaped.is_going(nodes, key, stamp)))
            };
            let met = self.quorum_meets.step(history, excused);
            self.keep("5 quorum meets", met.err());
            let voted = self.votes.step(history);
            self.keep("6 votes", voted.err());
            let ordered = self.order.step(history);
            self.keep("7 order", ordered.err());
            let excused = |key: &str| self.held.excuses(key);
            let ended = self.deadlines.step(history, excused);
            self.keep("9 deadlines", ended.err());
            let flushed = self.flushed.step(history);
            self.keep("9 dead stays dead", flushed.err());
        }
        let answered = self.answered.step(nodes, now_ms, history);
        self.keep("11 answered", answered.err());
        self.broken.take()
    }

    /// After the last fault: whether everything has come to rest, and as it should.
    pub fn settled(&mut self, nodes: &[SimNode], history: &History) -> Result<(), String> {
        converges::settled(nodes)?;
        flushed::swept(nodes)?;
        if !self.is_excused() {
            let gone = (&self.flushed, &self.reaped);
            let held = held::everywhere(nodes, &self.held.newest_kept(history, gone));
            self.keep("3 held", held.err());
            let (held, flushed) = (&self.held, &self.flushed);
            let reaped = &self.reaped;
            let excused = |key: &str, of| {
                held.excuses(key) || flushed.may_be_dead(key, of) || reaped.may_be_gone(key, of)
            };
            let ended = self.deadlines.everywhere(nodes, history, excused);
            self.keep("9 deadlines", ended.err());
        }
        let applied = votes::not_applied(nodes, history);
        self.keep("6 votes", applied.err());
        Ok(())
    }

    /// Once settled everything was read again, by the gets from number `from` on: whether they have all ended. `last`: the
    /// deadlines had all passed.
    pub fn read_back(
        &mut self,
        nodes: &[SimNode],
        history: &History,
        from: usize,
        last: bool,
    ) -> Result<bool, String> {
        if self.is_excused() {
            return Ok(true);
        }
        let newest = self.held.newest(history, &self.flushed);
        let may_be_gone = |key: &str, stamp| self.reaped.may_be_gone(key, stamp);
        let read = quorum_meets::read_back(history, from, &newest, may_be_gone);
        let read = read.map_err(|why| format!("5 quorum meets: {why}"))?;
        if read && last {
            let ended = self.deadlines.second_read(nodes, history, from);
            ended.map_err(|why| format!("9 deadlines: {why}"))?;
        } else if read {
            self.deadlines.first_read(history, from);
        }
        Ok(read)
    }

    /// Whether all deadlines have passed, and the bodies of what ended are gone.
    pub fn let_go(
        &self,
        nodes: &[SimNode],
        history: &History,
        now_ms: u64,
    ) -> Result<bool, String> {
        if self.is_excused() {
            return Ok(true);
        }
        let gone = self.deadlines.let_go(nodes, history, now_ms);
        gone.map_err(|why| format!("9 deadlines: {why}"))
    }

    /// Whether everything has come to rest again: a member may have been let go meanwhile.
    pub fn settled_again(&self, nodes: &[SimNode]) -> Result<(), String> {
        converges::settled(nodes)
    }

    fn keep(&mut self, promise: &str, broken: Option<String>) {
        if let (None, Some(why)) = (&self.broken, broken) {
            self.broken = Some(format!("{promise}: {why}"));
        }
    }
}

/// The KV entries that a node can read now, by store key, with the version of each.
pub fn versions(node: &SimNode) -> BTreeMap<bytes::Bytes, rkv_quorum::Version> {
    let data =
        |key: &bytes::Bytes| rkv_storage::StoreKey::space_of(key) == Some(rkv_storage::Space::Data);
    node.disk
        .entries()
        .into_iter()
        .filter(|(key, _)| data(key))
        .filter_map(|(key, entry)| Some((key, rkv_quorum::Version::peek(&entry).ok()?)))
        .collect()
}
