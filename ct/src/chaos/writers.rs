//! This file answers: what do clients do meanwhile?
//!
//! Each writer has keys of its own: some that are written once, and a few that it writes again and again and deletes.
//! What is known not to have been applied is tried again, through another node; nothing else is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::doors::{Door, Told};
use super::fleet::Fleet;
use super::ledger::{Entry, Held, value};
use super::told;
use super::waiting::{rest, within};

/// How long a write is tried that is known not to have been applied.
const TRIED_FOR: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);
/// Keys that a writer overwrites and deletes.
const LIVE: usize = 40;
/// Those that end in "unsure" are remembered, and new ones take their place.
type Ledger = Vec<Entry>;

/// One of them.
pub struct Writer<'a> {
    /// Its number.
    pub number: usize,
    /// Its way in.
    pub door: Door,
    /// The nodes.
    pub fleet: &'a Fleet,
    /// What occurs.
    pub told: &'a told::Told,
    /// Its rest between two requests.
    pub pause: Duration,
}

struct Work<'a> {
    writer: Writer<'a>,
    dice: ChaCha8Rng,
    live: Ledger,
    done: Ledger,
    named: u64,
}

impl<'a> Writer<'a> {
    /// Writes until `stop`; all that it wrote.
    pub fn work(self, seed: u64, stop: &AtomicBool) -> Vec<Entry> {
        let mut work = Work {
            dice: ChaCha8Rng::seed_from_u64(seed ^ (self.number as u64 + 1) << 32),
            writer: self,
            live: Ledger::new(),
            done: Ledger::new(),
            named: 0,
        };
        while !stop.load(Ordering::Relaxed) {
            match work.dice.random_range(0..100) {
                0..40 => work.write_once(),
                40..70 => work.write_again(false),
                70..80 => work.write_again(true),
                _ => work.read(),
            }
            rest(work.writer.pause, stop);
        }
        work.done.append(&mut work.live);
        work.done
    }
}

impl Work<'_> {
    fn name(&mut self, kind: &str) -> String {
        self.named += 1;
        format!("{kind}-{}-{}", self.writer.number, self.named)
    }

    fn write_once(&mut self) {
        let mut entry = Entry::new(self.name("once"));
        self.write(&mut entry, false);
        self.done.push(entry);
    }

    fn write_again(&mut self, delete: bool) {
        if self.live.len() < LIVE {
            let key = self.name("again");
            self.live.push(Entry::new(key));
        }
        let at = self.dice.random_range(0..self.live.len());
        let mut entry = self.live.swap_remove(at);
        self.write(&mut entry, delete);
        match entry.unknown {
            None => self.live.push(entry),
            Some(_) => self.done.push(entry),
        }
    }

    fn write(&mut self, entry: &mut Entry, delete: bool) {
        entry.number += 1;
        let value = (!delete).then(|| value(&entry.key, entry.number));
        let held = match delete {
            true => Held::Nothing,
            false => Held::Value(entry.number),
        };
        let told = self.writer.told;
        if within(TRIED_FOR, PAUSE, || {
            self.try_once(entry, value.as_deref(), held)
        })
        .is_none()
        {
            told.count("given up: not applied in time");
        }
    }

    /// Sends it once; nothing when it is known not to have been applied.
    fn try_once(&mut self, entry: &mut Entry, value: Option<&str>, held: Held) -> Option<()> {
        let at = self.dice.random_range(0..usize::MAX);
        let Writer {
            door, fleet, told, ..
        } = &mut self.writer;
        match door.write(fleet, at, &entry.key, value) {
            Told::Done => {
                let kind = match held {
                    Held::Nothing => "acknowledged deletes",
                    Held::Value(_) => "acknowledged writes",
                };
                told.acknowledged(kind);
                entry.acknowledged = held;
                Some(())
            }
            Told::Unknown(why) => {
                told.count(&format!("unknown: {why}"));
                entry.unknown = Some(held);
                Some(())
            }
            Told::NotApplied(why) => {
                told.count(&format!("refused: {why}"));
                None
            }
        }
    }

    /// A read may miss what was acknowledged while a fallback's vote counted for it; it never finds what nobody sent.
    fn read(&mut self) {
        let from = if self.live.is_empty() {
            &self.done
        } else {
            &self.live
        };
        if from.is_empty() {
            return;
        }
        let entry = &from[self.dice.random_range(0..from.len())];
        let at = self.dice.next_u64() as usize;
        let told = self.writer.told;
        match self.writer.door.read(self.writer.fleet, at, &entry.key) {
            Err(why) => told.count(&format!("failed reads: {why}")),
            Ok(read) => match entry.judge(read.as_deref()) {
                Ok(()) => told.count("reads"),
                Err(_) if read.as_ref().is_none_or(|read| entry.was_sent(read)) => {
                    told.count("reads that were behind");
                }
                Err(_) => {
                    told.count("reads of what nobody wrote");
                    told.say(&format!("{} was read as what nobody wrote", entry.key));
                }
            },
        }
    }
}
