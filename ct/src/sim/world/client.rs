//! This file answers: who reads and writes?

use std::sync::atomic::Ordering;

use bytes::Bytes;
use rand::RngExt;
use rkv_kv::{Keyspace, KvError, Write};
use rkv_quorum::policy::{Defaults, GetOptions, PutOptions};

use super::{Happening, World};
use crate::history::{Got, Put};

const TIMEOUT_MS: u64 = 1_000;
/// After the last fault clients go on for so long, with more rest in between.
pub(super) const AFTERWARDS_MS: u64 = 3_000;

impl World {
    /// A client asks one node: a put or delete of a key that only it writes now, or a get.
    pub(super) fn client(&mut self) {
        if self.now() >= self.options.trouble_ms + AFTERWARDS_MS {
            return;
        }
        let rest = if self.healed { 400 } else { 40 };
        let after = self.rng.random_range(1..rest);
        self.push(after, Happening::Client);
        let node = self.rng.random_range(0..self.nodes.len());
        // Before a node has joined, its keys are its own; these keys are those of the cluster of the first.
        if !(node == 0 || self.is_joined(node)) {
            return;
        }
        let flush_one_in = self.options.flush_one_in;
        if flush_one_in > 0 && self.rng.random_range(0..flush_one_in) == 0 {
            return self.flush(node);
        }
        let key = format!("k{}", self.rng.random_range(0..self.options.keys));
        if self.rng.random_range(0..2) == 0 {
            return self.get(node, &key);
        }
        let delete = self.rng.random_range(0..6) == 0;
        self.put(node, &key, delete);
    }

    /// A node that runs alone is given a key that nobody else ever writes.
    pub(super) fn own_key(&mut self, node: usize, number: u32) {
        if !self.is_joined(node) {
            let key = format!("{}-{number}", self.nodes[node].name);
            self.put(node, &key, false);
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
        let (history, clock) = (self.history.clone(), self.now_ms.clone());
        let trace = self.options.trace;
        let done = Box::new(move |result: Result<_, KvError>| {
            let at = clock.load(Ordering::Relaxed);
            if trace {
                println!("{at:>7} get {number} ends {result:?}");
            }
            history.lock().get_ends(number, at, Got::of(result));
        });
        let options = GetOptions {
            timeout_ms: Some(TIMEOUT_MS),
            ..GetOptions::default()
        };
        let keyspace = Keyspace::default_with(Defaults::default());
        self.with(node, |engine| {
            engine.get(&keyspace, key.as_bytes(), &options, done);
        });
    }

    fn put(&mut self, node: usize, key: &str, delete: bool) {
        if !self.is_reachable(node) {
            return;
        }
        let Some(number) = self.history.lock().put_begins(key, self.now()) else {
            return;
        };
        self.tell(|| format!("{} puts {number} to {key}", self.nodes[node].name));
        let (history, clock) = (self.history.clone(), self.now_ms.clone());
        let trace = self.options.trace;
        let done = Box::new(move |result: Result<_, KvError>| {
            let at = clock.load(Ordering::Relaxed);
            if trace {
                println!("{at:>7} put {number} ends {result:?}");
            }
            history.lock().put_ends(number, at, Put::of(result));
        });
        let write = if delete {
            Write::Delete
        } else {
            let mut body = format!("v{number}-").into_bytes();
            body.resize(20, b'.');
            Write::Value {
                body: Bytes::from(body),
                at_ms: None,
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
