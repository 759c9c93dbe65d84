//! This file answers: do reads and writes go on, and is what was acknowledged what is read?
//!
//! Each key has one writer, which counts upwards; so whoever reads a key must see at least the number that was
//! acknowledged before the read began, and at most the last that was tried.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::resp::{Redis, Reply};
use crate::cli::failure::Failure;

/// Keys of each writer.
const KEYS: usize = 50;

/// Between two requests of one thread, so that the machine is not the bottleneck.
const PAUSE: Duration = Duration::from_millis(1);

/// After an error, before the next try.
const BACK_OFF: Duration = Duration::from_millis(20);

/// Threads that read and write until they are told to stop.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    keys: Vec<Arc<Vec<Counter>>>,
    threads: Vec<JoinHandle<Tally>>,
}

/// One key, as its writer and all readers know it.
#[derive(Debug)]
pub(super) struct Counter {
    /// The key.
    pub(super) key: String,
    tried: AtomicU64,
    acknowledged: AtomicU64,
}

/// What one thread has seen.
#[derive(Debug, Default)]
struct Tally {
    reads: u64,
    writes: u64,
    /// When each request that failed was begun, and what it was told.
    errors: Vec<(Instant, String)>,
    /// Reads that did not see what had been acknowledged.
    stale: Vec<String>,
}

/// What all threads have seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Reads that were answered.
    pub(super) reads: u64,
    /// Writes that were acknowledged.
    pub(super) writes: u64,
    /// When each request that failed was begun, and what it was told.
    pub(super) errors: Vec<(Instant, String)>,
    /// Reads that did not see what had been acknowledged.
    pub(super) stale: Vec<String>,
    /// The keys written.
    pub(super) keys: Vec<Arc<Vec<Counter>>>,
}

impl Counter {
    /// Whether `value` can be what the key holds now: acknowledged, or tried without an answer.
    pub(super) fn allows(&self, value: u64) -> bool {
        (self.acknowledged.load(Ordering::Acquire)..=self.tried.load(Ordering::Acquire))
            .contains(&value)
    }
}

impl Load {
    /// A writer and a reader through each of `nodes` (Redis addresses); readers read what other nodes' writers write.
    pub(super) fn start(nodes: &[String]) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let counters = |writer: usize| -> Vec<Counter> {
            let key = |i| format!("load:{writer}:{i}");
            (0..KEYS)
                .map(|i| Counter {
                    key: key(i),
                    tried: 0.into(),
                    acknowledged: 0.into(),
                })
                .collect()
        };
        let keys: Vec<_> = (0..nodes.len())
            .map(|writer| Arc::new(counters(writer)))
            .collect();
        let mut threads = Vec::new();
        for (i, node) in nodes.iter().enumerate() {
            let (address, mine, stopped) = (node.clone(), keys[i].clone(), stop.clone());
            threads.push(std::thread::spawn(move || {
                run(&address, &mine, &stopped, write)
            }));
            let (address, theirs, stopped) = (
                node.clone(),
                keys[(i + 1) % nodes.len()].clone(),
                stop.clone(),
            );
            threads.push(std::thread::spawn(move || {
                run(&address, &theirs, &stopped, read)
            }));
        }
        Load {
            stop,
            keys,
            threads,
        }
    }

    /// Stops the threads; what they have seen.
    pub(super) fn stop(mut self) -> Result<Seen, Failure> {
        self.stop.store(true, Ordering::Release);
        let mut seen = Seen {
            keys: std::mem::take(&mut self.keys),
            ..Seen::default()
        };
        for thread in self.threads.drain(..) {
            let tally = thread
                .join()
                .map_err(|_| Failure::internal("a thread of the load has panicked"))?;
            seen.reads += tally.reads;
            seen.writes += tally.writes;
            seen.errors.extend(tally.errors);
            seen.stale.extend(tally.stale);
        }
        Ok(seen)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

type Request = fn(&mut Redis, &Counter, &mut Tally) -> Result<(), String>;

fn run(address: &str, keys: &[Counter], stop: &AtomicBool, request: Request) -> Tally {
    let mut tally = Tally::default();
    let mut connection = None;
    for counter in keys.iter().cycle() {
        if stop.load(Ordering::Acquire) {
            break;
        }
        let begun = Instant::now();
        let outcome = match connection.take() {
            Some(redis) => Ok(redis),
            None => Redis::connect(address).map_err(|why| why.to_string()),
        };
        let outcome =
            outcome.and_then(|mut redis| request(&mut redis, counter, &mut tally).map(|()| redis));
        match outcome {
            Ok(redis) => {
                connection = Some(redis);
                std::thread::sleep(PAUSE);
            }
            Err(why) => {
                tally.errors.push((begun, why));
                std::thread::sleep(BACK_OFF);
            }
        }
    }
    tally
}

fn write(redis: &mut Redis, counter: &Counter, tally: &mut Tally) -> Result<(), String> {
    let next = counter.tried.fetch_add(1, Ordering::AcqRel) + 1;
    let reply = redis
        .command(&["SET", &counter.key, &next.to_string()])
        .map_err(|why| why.to_string())?;
    if !reply.is_ok() {
        return Err(format!("SET {}: {reply:?}", counter.key));
    }
    counter.acknowledged.store(next, Ordering::Release);
    tally.writes += 1;
    Ok(())
}

fn read(redis: &mut Redis, counter: &Counter, tally: &mut Tally) -> Result<(), String> {
    let least = counter.acknowledged.load(Ordering::Acquire);
    let reply = redis
        .command(&["GET", &counter.key])
        .map_err(|why| why.to_string())?;
    let value = match &reply {
        Reply::Bulk(None) => 0,
        Reply::Bulk(Some(_)) => reply.text().and_then(|text| text.parse().ok()).unwrap_or(0),
        _ => return Err(format!("GET {}: {reply:?}", counter.key)),
    };
    let most = counter.tried.load(Ordering::Acquire);
    if !(least..=most).contains(&value) {
        tally.stale.push(format!(
            "{} was {value}, and {least} had been acknowledged",
            counter.key
        ));
    }
    tally.reads += 1;
    Ok(())
}
