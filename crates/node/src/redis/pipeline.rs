//! This file answers: which operations of a connection are under way, and what becomes of their answers?
//!
//! Operations begin as requests are parsed, so many side by side as [`IN_FLIGHT`] and the memory of their replies
//! allow; those on one key wait for each other ([`super::lanes`]). Replies leave in order ([`super::slots`]).

use std::sync::Arc;

use bytes::Bytes;
use rkv_resp::{Args, Reply};
use xxhash_rust::xxh3::xxh3_64;

use super::inbox::{Answer, Inbox, Promise, Ticket};
use super::lanes::Lanes;
use super::operation::{Ask, Operation};
use super::output::Output;
use super::server::{Counted, Server};
use super::slots::{Manner, Slots};

/// Operations of one connection that are under way or wait for one on the same key; and replies that have not left.
const IN_FLIGHT: usize = 1024;

/// One connection's requests, from parsed to answered.
pub(super) struct Pipeline {
    server: Arc<Server>,
    inbox: Arc<Inbox>,
    slots: Slots,
    lanes: Lanes<(Ticket, Operation)>,
    in_flight: usize,
    next: u64,
    spread: Option<Spread>,
    alone: Alone,
    /// About what a value that was got of late measures: so much may each operation under way bring.
    value_bytes: usize,
    pub(super) counted: Counted,
    // Empty between calls.
    came: Vec<(Ticket, Answer)>,
    begin: Vec<(Ticket, Operation)>,
}

/// What a request of several keys does with each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counting {
    /// EXISTS
    Exists,
    /// DEL
    Deletes,
}

/// A request about all keys: nothing else of the connection is under way beside it.
enum Alone {
    None,
    /// It waits for what is under way.
    Waits {
        slot: u64,
        ask: Ask,
    },
    /// It is the operation of this number.
    UnderWay(u64),
}

/// A request of several keys some of which have not begun: they begin as others end.
struct Spread {
    slot: u64,
    counting: Counting,
    keys: smallvec::IntoIter<[Bytes; 5]>,
}

impl Pipeline {
    pub(super) fn new(server: Arc<Server>) -> Pipeline {
        Pipeline {
            server,
            inbox: Arc::default(),
            slots: Slots::default(),
            lanes: Lanes::new(),
            in_flight: 0,
            next: 0,
            spread: None,
            alone: Alone::None,
            value_bytes: 0,
            counted: Counted::default(),
            came: Vec::new(),
            begin: Vec::new(),
        }
    }

    /// Where answers come in; to wait for them.
    pub(super) fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// Whether answers are to come.
    pub(super) fn is_waiting(&self) -> bool {
        self.in_flight > 0
    }

    /// Whether every request has been answered, and its reply written.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.len() == 0
    }

    /// What replies hold that cannot leave yet.
    pub(super) fn bytes(&self) -> usize {
        self.slots.bytes()
    }

    /// Whether no more may begin for now, with so many bytes of replies already written.
    pub(super) fn is_full(&self, written: usize) -> bool {
        let to_come = self.in_flight.saturating_mul(self.value_bytes);
        !matches!(self.alone, Alone::None)
            || self.in_flight >= IN_FLIGHT
            || self.slots.len() >= IN_FLIGHT
            || written + self.slots.bytes() + to_come >= self.server.output_bytes()
    }

    /// A request that is answered already.
    pub(super) fn answered(&mut self, manner: Manner, reply: Reply) {
        self.slots.ready(manner, reply);
    }

    /// A request of one operation.
    pub(super) fn ask(&mut self, manner: Manner, key: Bytes, ask: Ask) {
        let slot = self.slots.open(manner);
        self.begin(slot, Operation { key, ask });
    }

    /// A request about all keys: it begins when all before it has ended, and nothing begins until it has.
    pub(super) fn ask_alone(&mut self, manner: Manner, ask: Ask) {
        let slot = self.slots.open(manner);
        self.alone = Alone::Waits { slot, ask };
        self.begin_alone();
    }

    fn begin_alone(&mut self) {
        if self.in_flight > 0 || !matches!(self.alone, Alone::Waits { .. }) {
            return;
        }
        let under_way = Alone::UnderWay(self.next);
        if let Alone::Waits { slot, ask } = std::mem::replace(&mut self.alone, under_way) {
            let key = Bytes::new();
            self.begin(slot, Operation { key, ask });
        }
    }

    /// A request that counts keys, one at least; they begin one by one, by [`Pipeline::begin_next_key`].
    pub(super) fn count(&mut self, manner: Manner, counting: Counting, keys: Args) {
        self.spread = Some(Spread {
            slot: self.slots.open_count(manner, keys.len()),
            counting,
            keys: keys.into_iter(),
        });
    }

    /// Begins the next key of a request of several; false: all have begun.
    pub(super) fn begin_next_key(&mut self) -> bool {
        let Some(spread) = &mut self.spread else {
            return false;
        };
        let (slot, counting) = (spread.slot, spread.counting);
        let Some(key) = spread.keys.next() else {
            self.spread = None;
            return false;
        };
        let ask = match counting {
            Counting::Exists => Ask::Exists,
            Counting::Deletes => Ask::Delete,
        };
        self.begin(slot, Operation { key, ask });
        true
    }

    /// Looks at the answers that came, and writes the replies that may leave.
    pub(super) fn settle(&mut self, output: &mut Output) {
        if self.in_flight > 0 {
            self.inbox.take(&mut self.came);
            self.look(None);
            self.begin_alone();
        }
        while let Some((manner, reply)) = self.slots.pop_ready() {
            self.counted.errors += u64::from(matches!(reply, Reply::Error(_)));
            if !manner.is_silent {
                output.push(&reply, manner.protocol);
            }
        }
    }

    fn begin(&mut self, slot: u64, operation: Operation) {
        let ticket = Ticket {
            operation: self.next,
            slot,
            key: xxh3_64(&operation.key),
            access: operation.access(),
        };
        self.next += 1;
        self.in_flight += 1;
        if !self.lanes.is_free(ticket.key, ticket.access) {
            self.lanes
                .park(ticket.key, ticket.access, (ticket, operation));
            return;
        }
        self.hand_on(ticket, operation);
        // Answered before the call returned, as on one node in memory: then it never stands in a lane.
        let mut came = self.came.iter();
        if came.any(|(of, _)| of.operation == ticket.operation) {
            self.look(Some(ticket.operation));
        } else {
            self.lanes.began(ticket.key, ticket.access);
            self.look(None);
        }
    }

    fn hand_on(&mut self, ticket: Ticket, operation: Operation) {
        operation.begin(&self.server, Promise::new(self.inbox.clone(), ticket));
        self.inbox.take(&mut self.came);
    }

    /// Looks at what came, and begins what waited for it. `laneless` stands in no lane.
    fn look(&mut self, laneless: Option<u64>) {
        loop {
            for (ticket, answer) in self.came.drain(..) {
                self.in_flight -= 1;
                if matches!(self.alone, Alone::UnderWay(number) if number == ticket.operation) {
                    self.alone = Alone::None;
                }
                if laneless != Some(ticket.operation) {
                    self.lanes.ended(ticket.key, ticket.access, &mut self.begin);
                }
                match answer {
                    Answer::Value(value) => {
                        let bytes = value.as_ref().map_or(0, Bytes::len);
                        self.value_bytes = bytes.max(self.value_bytes - self.value_bytes / 8);
                        self.counted.hits += u64::from(value.is_some());
                        self.counted.misses += u64::from(value.is_none());
                        let reply = value.map_or(Reply::Null, Reply::Bulk);
                        self.slots.reply(ticket.slot, reply);
                    }
                    Answer::Counts(counts) => self.slots.count(ticket.slot, counts),
                    Answer::Reply(reply) => self.slots.reply(ticket.slot, reply),
                }
            }
            let Some((ticket, operation)) = self.begin.pop() else {
                return;
            };
            self.hand_on(ticket, operation);
        }
    }
}
