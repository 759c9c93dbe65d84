//! This file answers: what is a chaos run?
//!
//! Real nodes, clients that note what was acknowledged, and two hands that do harm: one makes nodes and links fail, the other
//! has members come and go. In the end all is healed, and everything is read back.
//!
//! In reading order: [`ledger`] what must be read of each key · [`doors`] how writers reach the cluster · [`writers`] what they do ·
//! [`fleet`] the nodes · [`disturb`] failures · [`change`] and [`membership`] comings and goings · [`refilled`] what the promises bear ·
//! [`verify`] the reckoning · [`told`] what occurred · [`waiting`] how all of them wait.

pub mod change;
pub mod disturb;
pub mod doors;
pub mod fleet;
pub mod ledger;
pub mod membership;
pub mod refilled;
pub mod told;
pub mod verify;
pub mod waiting;
pub mod writers;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rkv_client::Client;

use crate::processes::{Processes, Shape};
use change::Change;
use disturb::{Disturber, start_again};
use doors::Door;
use fleet::Fleet;
use ledger::{Entry, Held, value};
use membership::{Operator, forget_who_left};
use refilled::Losses;
use told::Told;
use verify::Findings;
use waiting::{AT_ONCE, holds_within};
use writers::Writer;

/// What a run is like.
#[derive(Debug, Clone)]
pub struct Chaos {
    /// For how long harm is done.
    pub lasts: Duration,
    /// Members at the beginning: 3 at least.
    pub nodes: usize,
    /// `storage.backend`.
    pub backend: String,
    /// What is done; when it is done depends on the machine.
    pub seed: u64,
    /// Clients.
    pub writers: usize,
    /// Keys that are there before anything goes wrong, so that transfers last.
    pub preloaded: u64,
    /// Whether each deed is told as it is done.
    pub aloud: bool,
}

/// Rest of a writer between two requests.
const PAUSE: Duration = Duration::from_millis(15);

/// Most nodes that are made to fail at once: fewer than half.
pub fn most_taken(members: usize) -> usize {
    members.saturating_sub(1) / 2
}

/// What belongs to a run of some minutes and did not occur.
pub fn never(told: &Told) -> Vec<String> {
    let mut never = disturb::names();
    never.extend(Change::ALL.map(Change::name));
    never.retain(|name| told.how_often(name) == 0);
    never
}

impl Chaos {
    /// Runs; what occurred, and what is wrong at the end.
    pub fn run(&self) -> Result<(Told, Findings, usize)> {
        let set = |name: &str, value: &str| (format!("RKV_{name}"), value.to_owned());
        let processes = Processes::start_shaped(
            self.nodes,
            Shape {
                backend: self.backend.clone(),
                durability: "batch".to_owned(),
                // Traces of deletes go during the run, and copies take a while to move.
                environment: vec![
                    set("DELETE__GRACE_S", "20"),
                    set("TRANSFERS__BYTES_PER_S", "1000000"),
                ],
                faults: true,
            },
        )?;
        processes.join()?;
        let told = Told::new(self.aloud);
        let fleet = Fleet::new(processes);
        let mut ledger = self.preload(&fleet)?;
        self.live(&fleet, &told, &mut ledger)?;
        heal(&fleet, &told)?;
        nobody_panicked(&fleet)?;
        told.say("healed: waiting until nothing moves");
        verify::wait(&fleet, &told)?;
        // Before anybody is asked to repair: what a quorum finds depends on none.
        let behind = verify::unequal(&fleet, &ledger)?.len() as u64;
        told.count_many("keys whose copies differed when nothing moved", behind);
        told.say("reading everything back");
        let mut findings = verify::read_back(&fleet, &ledger)?;
        told.say("waiting until all copies have been compared");
        verify::compare(&fleet)?;
        findings.differ(verify::unequal(&fleet, &ledger)?);
        nobody_panicked(&fleet)?;
        Ok((told, findings, ledger.len()))
    }

    fn preload(&self, fleet: &Fleet) -> Result<Vec<Entry>> {
        let mut ledger = Vec::new();
        for number in 0..self.preloaded {
            ledger.push(Entry {
                acknowledged: Held::Value(1),
                number: 1,
                ..Entry::new(format!("before-{number}"))
            });
        }
        let pairs = ledger.iter().map(|it| (it.key.clone(), value(&it.key, 1)));
        let members = fleet.members();
        let first = members.first().context("there are nodes")?;
        crate::processes::set_all(&mut first.node.lock().redis()?, pairs)?;
        Ok(ledger)
    }

    /// Everybody at work, for the time that it lasts.
    fn live(&self, fleet: &Fleet, told: &Told, ledger: &mut Vec<Entry>) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let seeds: Vec<String> = fleet
            .members()
            .iter()
            .map(|it| format!("127.0.0.1:{}", it.peer))
            .collect();
        let client = runtime.block_on(Client::builder().seeds(seeds).build())?;
        let losses = Losses::default();
        let (stop, harm_ends) = (AtomicBool::new(false), AtomicBool::new(false));
        let disturber = Disturber {
            fleet,
            losses: &losses,
            told,
            volatile: self.backend == "memory",
        };
        let operator = Operator {
            fleet,
            losses: &losses,
            told,
            usual: self.nodes,
            volatile: self.backend == "memory",
        };
        std::thread::scope(|scope| -> Result<()> {
            let (stop, harm_ends) = (&stop, &harm_ends);
            let writers: Vec<_> = (0..self.writers)
                .map(|number| {
                    let door = match number % 2 {
                        0 => Door::redis(),
                        _ => Door::Client(runtime.handle().clone(), client.clone()),
                    };
                    let writer = Writer {
                        number,
                        door,
                        fleet,
                        told,
                        pause: PAUSE,
                    };
                    scope.spawn(move || writer.work(self.seed, stop))
                })
                .collect();
            let harm = [
                scope.spawn(|| disturber.work(self.seed, harm_ends)),
                scope.spawn(|| operator.work(self.seed, harm_ends)),
            ];
            let is_over = || harm.iter().any(|hand| hand.is_finished());
            holds_within(self.lasts, AT_ONCE, is_over);
            harm_ends.store(true, Ordering::Relaxed);
            let harm = harm.map(|hand| hand.join().expect("a hand does not panic"));
            stop.store(true, Ordering::Relaxed);
            for writer in writers {
                ledger.append(&mut writer.join().expect("a writer does not panic"));
            }
            harm.into_iter().collect()
        })
    }
}

/// A node of which a thread panicked may go on without it, and seem well to whoever reads keys alone.
fn nobody_panicked(fleet: &Fleet) -> Result<()> {
    let panics = fleet.panics();
    ensure!(panics.is_empty(), "nodes panicked: {panics:#?}");
    Ok(())
}

/// Everybody whom the ring lists runs, and nothing holds them up.
fn heal(fleet: &Fleet, told: &Told) -> Result<()> {
    forget_who_left(fleet, told)?;
    fleet.ask(&["cluster", "clear"])?;
    fleet.ask(&["cluster", "handoff", "resume"])?;
    let listed = fleet.ask(&["cluster", "members"])?;
    let listed = listed["members"].as_array().cloned().unwrap_or_default();
    let names: Vec<&str> = listed.iter().filter_map(|it| it["name"].as_str()).collect();
    for name in &names {
        if let Some(member) = fleet.take_back(name) {
            told.count("ODD: a node was listed after all");
            start_again(&mut member.node.lock())?;
        }
    }
    for member in fleet.members() {
        if !names.contains(&member.name.as_str()) {
            fleet.drop_member(&member)?;
        }
    }
    Ok(())
}
