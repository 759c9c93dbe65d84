//! This file answers: which operations of a connection are under way, and what becomes of their answers?
//!
//! Operations begin as requests are parsed, so many side by side as [`IN_FLIGHT`] and the memory of their replies
//! allow; those on one key wait for each other ([`super::lanes`]). Replies leave in order ([`super::slots`]).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rkv_kv::{Located, Write};
use rkv_quorum::Object;
use rkv_resp::{Args, Name, Reply};
use xxhash_rust::xxh3::xxh3_64;

use super::client::Client;
use super::inbox::{Answer, Inbox, Promise, Ticket};
use super::lanes::{Access, Lanes};
use super::many::{Each, Spread};
use super::operation::{Ask, Operation};
use super::output::Output;
use super::server::Server;
use super::slots::{Manner, Slots};
use super::stats::Counted;
use super::{slow_log, wait};

/// Operations of one connection that are under way or wait for one on the same key; and replies that have not left.
const IN_FLIGHT: usize = 1024;
/// The memory of a longer key written last is given back with the next.
const KEPT_KEY_BYTES: usize = 1024;

/// One connection's requests, from parsed to answered.
pub(super) struct Pipeline {
    server: Arc<Server>,
    inbox: Arc<Inbox>,
    slots: Slots,
    lanes: Lanes<(Ticket, Operation)>,
    in_flight: usize,
    next: u64,
    spread: Option<Spread>,
    /// What the request is that is looked at now.
    noted: Option<Note>,
    /// What the requests that have no reply yet were, in their order.
    notes: VecDeque<Note>,
    /// When the last reply was there, or the turn began.
    now: Instant,
    /// The key written last; of a long one the memory is given back when another is written.
    written: Vec<u8>,
    client: Arc<Client>,
    alone: Alone,
    /// About what a value that was got of late measures: so much may each operation under way bring.
    value_bytes: usize,
    pub(super) counted: Counted,
    // Empty between calls.
    came: Vec<(Ticket, Answer)>,
    begin: Vec<(Ticket, Operation)>,
}

/// What a request was, until its reply is there.
#[derive(Debug)]
struct Note {
    /// None: it was no command.
    name: Option<Name>,
    began: Instant,
    /// The first of its arguments, and how many there are; none where nobody may see them.
    args: Args,
    count: usize,
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

impl Pipeline {
    pub(super) fn new(server: Arc<Server>, client: Arc<Client>) -> Pipeline {
        Pipeline {
            server,
            client,
            noted: None,
            notes: VecDeque::new(),
            now: Instant::now(),
            written: Vec::new(),
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
        // What a request of several values has gathered only leaves when its last key has begun.
        if self.spread.is_some() && self.in_flight == 0 && self.slots.len() == 1 && written == 0 {
            return false;
        }
        let to_come = self.in_flight.saturating_mul(self.value_bytes);
        !matches!(self.alone, Alone::None)
            || self.in_flight >= IN_FLIGHT
            || self.slots.len() >= IN_FLIGHT
            || written + self.slots.bytes() + to_come >= self.server.output_bytes()
    }

    /// A turn with requests begins: they began now or later.
    pub(super) fn look_at_the_clock(&mut self) {
        self.now = Instant::now();
    }

    /// When the last reply was there, or the turn began.
    pub(super) fn now(&self) -> Instant {
        self.now
    }

    /// What the request that is answered or asked next is.
    pub(super) fn note(&mut self, name: Name, args: &Args) {
        let is_secret = matches!(name, Name::Auth | Name::Hello);
        let is_kept = self.server.slow_log.is_on() && !is_secret;
        let most = if is_kept { slow_log::ARGS } else { 0 };
        self.noted = Some(Note {
            name: Some(name),
            began: self.now,
            args: args.iter().take(most).cloned().collect(),
            count: if is_kept { args.len() } else { 0 },
        });
    }

    fn open(&mut self) {
        let note = self.noted.take().unwrap_or_else(|| Note {
            name: None,
            began: self.now,
            args: Args::new(),
            count: 0,
        });
        self.notes.push_back(note);
    }

    /// A request that is answered already.
    pub(super) fn answered(&mut self, manner: Manner, reply: Reply) {
        self.open();
        self.slots.ready(manner, reply);
    }

    /// WAIT, which waits behind the write that it is about.
    pub(super) fn wait(&mut self, manner: Manner, nodes: i64, timeout_ms: u64) {
        if self.written.is_empty() {
            let reply = wait::without_a_write(&self.server);
            return self.answered(manner, reply);
        }
        let key = Bytes::copy_from_slice(&self.written);
        self.ask(manner, key, Ask::Wait(nodes, timeout_ms));
    }

    /// A request of one operation.
    pub(super) fn ask(&mut self, manner: Manner, key: Bytes, ask: Ask) {
        self.open();
        // One without a deadline has been tried.
        if let Ask::Set(Write::Value { body, at_ms }) = &ask
            && at_ms.is_some()
            && self.in_flight == 0
        {
            let engine = &self.server.engine;
            let keyspace = engine.default_keyspace();
            if engine.put_at_once(keyspace, &key, None, body, *at_ms) {
                self.remember(&key);
                return self.slots.ready(manner, Reply::OK);
            }
        }
        let slot = self.slots.open(manner);
        self.begin(slot, 0, Operation { key, ask });
    }

    /// Answers within this call what can be: a plain GET or SET while nothing else is under way. False: nothing was done.
    pub(super) fn answer_at_once(
        &mut self,
        manner: Manner,
        name: Name,
        args: &Args,
        located: Option<Located>,
        output: &mut Output,
    ) -> bool {
        if !self.is_empty() {
            return false;
        }
        let engine = &self.server.engine;
        let keyspace = engine.default_keyspace();
        let reply = match (name, &args[1..]) {
            (Name::Get, [key]) => {
                let Some(object) = engine.get_at_once(keyspace, key, located) else {
                    return false;
                };
                let live = object.filter(|o| o.version().is_live_by(|| engine.wall_ms()));
                let value = live.map(Object::into_body);
                note_value(value.as_ref(), &mut self.value_bytes, &mut self.counted);
                value.map_or(Reply::Null, Reply::Bulk)
            }
            (Name::Set, [key, value]) => {
                if !engine.put_at_once(keyspace, key, located, value, None) {
                    return false;
                }
                self.remember(key);
                Reply::OK
            }
            _ => return false,
        };
        let began = std::mem::replace(&mut self.now, Instant::now());
        let us = micros(self.now.saturating_duration_since(began));
        self.counted.called.called(name, us, false);
        if self.server.slow_log.is_slow(us) {
            self.log_slow(us, args, args.len());
        }
        if !manner.is_silent {
            output.push(&reply, manner.protocol);
        }
        true
    }

    /// A request about all keys: it begins when all before it has ended, and nothing begins until it has.
    pub(super) fn ask_alone(&mut self, manner: Manner, ask: Ask) {
        self.open();
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
            self.begin(slot, 0, Operation { key, ask });
        }
    }

    /// A request of several keys, one at least; they begin one by one, by [`Pipeline::begin_next_key`].
    pub(super) fn ask_each(&mut self, manner: Manner, each: Each, args: Args) {
        self.open();
        let slot = match each {
            Each::Exists | Each::Delete => self.slots.open_count(manner, args.len()),
            Each::Set => self.slots.open_all(manner, args.len() / 2),
            Each::Get => self.slots.open_gather(manner, args.len()),
        };
        self.spread = Some(Spread::new(slot, each, args));
    }

    /// Begins the next key of a request of several; false: all have begun.
    pub(super) fn begin_next_key(&mut self) -> bool {
        let Some(spread) = &mut self.spread else {
            return false;
        };
        let slot = spread.slot;
        let Some((part, operation)) = spread.next() else {
            self.spread = None;
            return false;
        };
        self.begin(slot, part, operation);
        true
    }

    /// Looks at the answers that came, and writes the replies that may leave.
    pub(super) fn settle(&mut self, output: &mut Output) {
        if self.in_flight > 0 {
            self.inbox.take(&mut self.came);
            self.look(None);
            self.begin_alone();
        }
        let mut now = None;
        while let Some((manner, reply)) = self.slots.pop_ready() {
            let now = *now.get_or_insert_with(Instant::now);
            self.now = now;
            self.ended(&reply, now);
            if !manner.is_silent {
                output.push(&reply, manner.protocol);
            }
        }
    }

    /// Counts a request whose reply is there.
    fn ended(&mut self, reply: &Reply, now: Instant) {
        let Some(note) = self.notes.pop_front() else {
            return;
        };
        let error = match reply {
            Reply::Error(text) => Some(text),
            _ => None,
        };
        if let Some(text) = error {
            self.counted.errors += 1;
            self.counted.called.failed(text);
        }
        let Some(name) = note.name else {
            return;
        };
        let us = micros(now.saturating_duration_since(note.began));
        self.counted.called.called(name, us, error.is_some());
        // WAIT is slow by request
        if note.count > 0 && name != Name::Wait && self.server.slow_log.is_slow(us) {
            self.log_slow(us, &note.args, note.count);
        }
    }

    fn log_slow(&self, us: u64, args: &Args, count: usize) {
        let client = self.client.shown.lock().name.clone();
        let log = &self.server.slow_log;
        log.add(us, args, count, self.client.addr, client);
    }

    fn begin(&mut self, slot: u64, part: u32, operation: Operation) {
        let ticket = Ticket {
            operation: self.next,
            slot,
            part,
            key: xxh3_64(&operation.key),
            access: operation.access(),
        };
        if ticket.access == Access::Write {
            self.remember(&operation.key);
        }
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

    /// Keeps the key written last, in a buffer of its own.
    fn remember(&mut self, key: &[u8]) {
        if self.written.capacity() > KEPT_KEY_BYTES {
            self.written = Vec::new();
        }
        self.written.clear();
        self.written.extend_from_slice(key);
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
                        note_value(value.as_ref(), &mut self.value_bytes, &mut self.counted);
                        let reply = value.map_or(Reply::Null, Reply::Bulk);
                        self.slots.reply(ticket.slot, reply);
                    }
                    Answer::Part(value) => {
                        if let Ok(value) = &value {
                            note_value(value.as_ref(), &mut self.value_bytes, &mut self.counted);
                        }
                        let most_bytes = self.server.output_bytes();
                        self.slots
                            .gather(ticket.slot, ticket.part, value, most_bytes);
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

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

/// A value was read, or its absence.
fn note_value(value: Option<&Bytes>, value_bytes: &mut usize, counted: &mut Counted) {
    let bytes = value.map_or(0, Bytes::len);
    *value_bytes = bytes.max(*value_bytes - *value_bytes / 8);
    counted.hits += u64::from(value.is_some());
    counted.misses += u64::from(value.is_none());
}
