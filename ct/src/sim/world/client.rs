//! This file answers: who reads and writes?

use std::sync::atomic::Ordering;

use bytes::Bytes;
use rand::RngExt;
use rkv_kv::{Ended, Ending, Keyspace, KvError, When, Write};
use rkv_quorum::outcome::{FINISHED, GetOutcome, Replicas};
use rkv_quorum::policy::{Defaults, GetOptions, PutOptions};

use super::{Happening, World};
use crate::history::{Expired, Got, Put, Saw};
use crate::sim::node::WALL_START_MS;

const TIMEOUT_MS: u64 = 1_000;
/// After the last fault clients go on for so long, with more rest in between.
pub(super) const AFTERWARDS_MS: u64 = 3_000;
/// Deadlines lie at most so far ahead, and some have passed when they are given.
const LIVES_MS: u64 = 4_000;
const PASSED_MS: u64 = 100;

impl World {
    /// A client asks one node: a put or delete of a key that only it writes now, a get, or for the key's deadline, which
    /// anybody may at any time.
    pub(super) fn client(&mut self) {
        if self.now() >= self.options.trouble_ms + AFTERWARDS_MS {
            return;
        }
        let rest = if self.healed { 400 } else { 40 };
        let after = self.rng.random_range(1..rest);
        self.push(after, Happening::Client);
        let node = self.rng.random_range(0..self.nodes.len());
        // Before a node has joined, its keys are its own; these keys are those of the cluster of the first.
        let is_founder = node == 0 && self.nodes[node].life == 0;
        if !(is_founder || self.is_joined(node)) {
            return;
        }
        let flush_one_in = self.options.flush_one_in;
        if flush_one_in > 0 && self.rng.random_range(0..flush_one_in) == 0 {
            return self.flush(node);
        }
        let number = self.rng.random_range(0..self.options.keys);
        let key = format!("k{number}");
        if let Some(since_ms) = self.forsakes(number) {
            return self.forsake(node, &key, since_ms);
        }
        match self.rng.random_range(0..20) {
            0..9 => self.get(node, &key),
            9 => self.put(node, &key, true, None),
            10 => {
                let at_ms = self.draw_deadline();
                self.put(node, &key, false, Some(at_ms));
            }
            11..17 => self.put(node, &key, false, None),
            17 => self.expire(node, &key, None),
            _ => {
                let at_ms = self.draw_deadline();
                self.expire(node, &key, Some(at_ms));
            }
        }
    }

    /// While a node is away for long, some keys are given up: what is deleted and left alone is what may be let go of. Since when
    /// that of `number` is.
    fn forsakes(&self, number: u32) -> Option<u64> {
        let (since_ms, until_ms) = self.absence?;
        let is_given_up = number < self.options.keys / 3;
        (is_given_up && self.now() < until_ms).then_some(since_ms)
    }

    /// It is deleted, once, and only read from then on.
    fn forsake(&mut self, node: usize, key: &str, since_ms: u64) {
        let is_deleted = self.history.lock().is_deleted_since(key, since_ms);
        if is_deleted {
            self.get(node, key);
        } else {
            self.put(node, key, true, None);
        }
    }

    fn draw_deadline(&mut self) -> u64 {
        let now = WALL_START_MS + self.now();
        now - PASSED_MS + self.rng.random_range(0..LIVES_MS)
    }

    /// A node that runs alone is given a key that nobody else ever writes.
    pub(super) fn own_key(&mut self, node: usize, number: u32) {
        if !self.is_joined(node) {
            let key = format!("{}-{number}", self.nodes[node].name);
            self.put(node, &key, false, None);
        }
    }

    /// Everything is read once more, at every node.
    pub(super) fn read_back(&mut self) {
        self.reading_back = Some(self.history.lock().gets.len());
        let keys: Vec<String> = {
            let history = self.history.lock();
            let newest = history.newest_acknowledged();
            newest.into_keys().map(str::to_owned).collect()
        };
        for node in 0..self.nodes.len() {
            for key in &keys {
                self.get(node, key);
            }
        }
    }

    /// Everything is flushed.
    fn flush(&mut self, node: usize) {
        if !self.is_reachable(node) {
            return;
        }
        let number = self.history.lock().flush_begins(self.now());
        self.tell(|| format!("{} flushes, flush {number}", self.nodes[node].name));
        let (history, clock) = (self.history.clone(), self.now_ms.clone());
        let trace = self.options.trace;
        let done = Box::new(move |result: Result<u64, KvError>| {
            let at = clock.load(Ordering::Relaxed);
            if trace {
                println!("{at:>7} flush {number} ends {result:?}");
            }
            if let Ok(floor) = result {
                history.lock().flush_ends(number, at, floor);
            }
        });
        let keyspace = Keyspace::default_with(Defaults::default());
        self.with(node, |engine| engine.flush(&keyspace, done));
    }

    fn is_reachable(&self, node: usize) -> bool {
        self.nodes[node].running.is_some() && !self.paused.contains_key(&node)
    }

    fn get(&mut self, node: usize, key: &str) {
        if !self.is_reachable(node) {
            return;
        }
        let number = self.history.lock().get_begins(key, self.now());
        self.tell(|| format!("{} gets {key}, get {number}", self.nodes[node].name));
        let linked = self.linked(node);
        self.observer
            .get_begins(&self.nodes, (node, &linked), number, &self.history.lock());
        let (history, clock) = (self.history.clone(), self.now_ms.clone());
        let trace = self.options.trace;
        let offset_ms = self.nodes[node].wall_offset_ms.clone();
        let done = Box::new(move |result: Result<_, KvError>| {
            let at = clock.load(Ordering::Relaxed);
            if trace {
                println!("{at:>7} get {number} ends {result:?}");
            }
            let wall_ms =
                (WALL_START_MS + at).saturating_add_signed(offset_ms.load(Ordering::Relaxed));
            let saw = Saw::of(&result, wall_ms);
            history.lock().get_ends(number, at, Got::of(result), saw);
        });
        let options = GetOptions {
            timeout_ms: Some(TIMEOUT_MS),
            ..GetOptions::default()
        };
        let keyspace = Keyspace::default_with(Defaults::default());
        // As a Redis connection asks.
        self.with(node, |engine| {
            match engine.get_at_once(&keyspace, key.as_bytes(), None) {
                Some(object) => done(Ok(GetOutcome {
                    reason: FINISHED,
                    object,
                    replicas: Replicas::new(),
                })),
                None => engine.get(&keyspace, key.as_bytes(), &options, done),
            }
        });
    }

    /// EXPIREAT, or PERSIST.
    fn expire(&mut self, node: usize, key: &str, at_ms: Option<u64>) {
        if !self.is_reachable(node) {
            return;
        }
        let number = self.history.lock().expire_begins(key, self.now(), at_ms);
        self.tell(|| {
            format!(
                "{} ends {key} at {at_ms:?}, end {number}",
                self.nodes[node].name
            )
        });
        let (history, clock) = (self.history.clone(), self.now_ms.clone());
        let trace = self.options.trace;
        let done = Box::new(move |result: Result<Ended, KvError>| {
            let at = clock.load(Ordering::Relaxed);
            if trace {
                println!("{at:>7} end {number} ends {result:?}");
            }
            let how = Expired::of(result);
            history.lock().expire_ends(number, at, how);
        });
        let when = if at_ms.is_none() {
            When::Set
        } else {
            When::Always
        };
        let ending = Ending { at_ms, when };
        let options = PutOptions {
            timeout_ms: Some(TIMEOUT_MS),
            ..PutOptions::default()
        };
        let keyspace = Keyspace::default_with(Defaults::default());
        self.with(node, |engine| {
            engine.end(&keyspace, key.as_bytes(), ending, &options, done);
        });
    }

    fn put(&mut self, node: usize, key: &str, delete: bool, at_ms: Option<u64>) {
        if !self.is_reachable(node) {
            return;
        }
        let now = self.now();
        let begins = self.history.lock().put_begins(key, now, delete, at_ms);
        let Some(number) = begins else {
            return;
        };
        self.tell(|| format!("{} puts {number} to {key}", self.nodes[node].name));
        let (history, clock) = (self.history.clone(), self.now_ms.clone());
        let trace = self.options.trace;
        let judged = self.judged(node, key);
        let done = Box::new(move |result: Result<_, KvError>| {
            let at = clock.load(Ordering::Relaxed);
            if trace {
                println!("{at:>7} put {number} ends {result:?}");
            }
            history
                .lock()
                .put_ends(number, at, Put::of(result), judged.wrong());
        });
        let write = if delete {
            Write::Delete
        } else {
            let mut body = format!("v{number}-").into_bytes();
            body.resize(20, b'.');
            Write::Value {
                body: Bytes::from(body),
                at_ms,
            }
        };
        let options = PutOptions {
            timeout_ms: Some(TIMEOUT_MS),
            ..PutOptions::default()
        };
        let keyspace = Keyspace::default_with(Defaults::default());
        self.with(node, |engine| {
            engine.put(&keyspace, key.as_bytes(), write, &options, done);
        });
    }
}
