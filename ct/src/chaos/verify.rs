//! This file answers: is everything there that was acknowledged, at every node and in every copy?

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::fleet::Fleet;
use super::ledger::{Entry, Wrong};
use super::membership::forget_who_left;
use super::refilled::{is_refilled, is_still, now_ms};
use super::told::Told;
use super::waiting::{NOW_AND_THEN, holds_within, within};
use crate::processes::{Redis, Reply};

/// How long a healed cluster may take to come to rest.
const SETTLES_WITHIN: Duration = Duration::from_secs(180);
/// Keys asked for at once.
const BATCH: usize = 100;
/// For how long one node is asked to wait.
const ASKED_FOR: Duration = Duration::from_secs(10);
/// How long a read is repeated that fails.
const READ_WITHIN: Duration = Duration::from_secs(20);
/// Wrong keys that are told in full.
const TOLD: usize = 20;

/// What is wrong at the end.
#[derive(Debug, Default)]
pub struct Findings {
    /// How many keys, by what is wrong at some node.
    pub wrong: BTreeMap<Wrong, usize>,
    /// Keys whose copies differ.
    pub unequal: usize,
    /// Some of them, told in full.
    pub told: Vec<String>,
}

impl Findings {
    /// Whether all is as promised.
    pub fn is_clean(&self) -> bool {
        self.wrong.is_empty() && self.unequal == 0
    }

    /// These keys' copies differ in the end.
    pub fn differ(&mut self, unequal: Vec<String>) {
        self.unequal += unequal.len();
        unequal.into_iter().for_each(|what| self.tell(what));
    }

    fn tell(&mut self, what: String) {
        if self.told.len() < TOLD {
            self.told.push(what);
        }
    }
}

/// Waits until the cluster says that nothing moves, and nobody is on the way out.
pub fn wait(fleet: &Fleet, told: &Told) -> Result<()> {
    // Who is asked may be about to leave, and who waits waits for it to come back.
    let seconds = ASKED_FOR.as_secs().to_string();
    let ended = within(SETTLES_WITHIN, NOW_AND_THEN, || {
        if let Err(error) = forget_who_left(fleet, told) {
            return Some(Err(error));
        }
        let rests = fleet.ask(&["cluster", "wait", "--timeout", &seconds]);
        // It waits for nobody whom a node does not see yet.
        (rests.is_ok() && is_still(fleet) && stays_as_it_is(fleet)).then_some(Ok(()))
    });
    ended.unwrap_or_else(|| bail!("no rest after {SETTLES_WITHIN:?}: {}", restless(fleet)))
}

/// Waits until all copies have been compared with all others.
pub fn compare(fleet: &Fleet) -> Result<()> {
    let since_ms = now_ms();
    let is_compared = || is_refilled(fleet, since_ms);
    if !holds_within(SETTLES_WITHIN, NOW_AND_THEN, is_compared) {
        bail!("not compared after {SETTLES_WITHIN:?}: {}", restless(fleet));
    }
    Ok(())
}

/// Whether nobody is on the way out: who has handed off everything ends a little later.
fn stays_as_it_is(fleet: &Fleet) -> bool {
    let told = fleet.ask(&["cluster", "members"]).unwrap_or_default();
    let listed = told["members"].as_array().cloned().unwrap_or_default();
    let is_valid = |it: &Value| it["status"] == "valid";
    listed.len() == fleet.members().len() && listed.iter().all(is_valid)
}

/// What keeps a cluster from its rest.
fn restless(fleet: &Fleet) -> String {
    let mut told = String::new();
    for words in [
        &["cluster", "status"][..],
        &["cluster", "members"],
        &["cluster", "transfers"],
        &["cluster", "plan"],
    ] {
        let document = fleet.ask(words).unwrap_or_default();
        told += &format!("\n{words:?} {document}");
    }
    let repair = fleet
        .ask(&["cluster", "repair", "--status"])
        .unwrap_or_default();
    let copies = repair["repairs"].as_array().cloned().unwrap_or_default();
    let busy = |copy: &&Value| copy["state"] != "idle" || copy["divergence"] != 0;
    for copy in copies.iter().filter(busy) {
        told += &format!("\n{copy}");
    }
    told
}

/// Reads all keys through each node.
pub fn read_back(fleet: &Fleet, ledger: &[Entry]) -> Result<Findings> {
    let mut findings = Findings::default();
    for member in fleet.members() {
        let mut redis = Redis::connect_within(member.redis, READ_WITHIN)
            .with_context(|| format!("{} is there", member.name))?;
        for entries in ledger.chunks(BATCH) {
            for (entry, read) in entries.iter().zip(read_all(&mut redis, entries)?) {
                if let Err(wrong) = entry.judge(read.as_deref()) {
                    *findings.wrong.entry(wrong).or_default() += 1;
                    let copies = replicas(&mut redis, &entry.key)?;
                    findings.tell(format!(
                        "{wrong:?} at {}: {}, acknowledged {:?}, unknown {:?}, sent {}; copies {copies:?}",
                        member.name, entry.key, entry.acknowledged, entry.unknown, entry.number
                    ));
                }
            }
        }
    }
    Ok(findings)
}

/// Keys of which not all copies hold the same, and what these hold.
pub fn unequal(fleet: &Fleet, ledger: &[Entry]) -> Result<Vec<String>> {
    let members = fleet.members();
    let any = members.first().context("there are nodes")?;
    let mut redis = Redis::connect_within(any.redis, READ_WITHIN)?;
    let mut unequal = Vec::new();
    for entries in ledger.chunks(BATCH) {
        let ask = |entry: &Entry| vec!["RKV.REPLICAS".to_owned(), entry.key.clone()];
        let commands: Vec<Vec<String>> = entries.iter().map(ask).collect();
        for (entry, reply) in entries.iter().zip(redis.pipeline(&commands)?) {
            let copies = copies_of(&entry.key, &reply)?;
            let is_equal = copies.windows(2).all(|pair| pair[0].1 == pair[1].1);
            if copies.len() != 3 || !is_equal {
                unequal.push(format!("copies of {} differ: {copies:?}", entry.key));
            }
        }
    }
    Ok(unequal)
}

fn read_all(redis: &mut Redis, entries: &[Entry]) -> Result<Vec<Option<Vec<u8>>>> {
    let get = |entry: &Entry| vec!["GET".to_owned(), entry.key.clone()];
    let commands: Vec<Vec<String>> = entries.iter().map(get).collect();
    let mut failed = None;
    let read = within(READ_WITHIN, NOW_AND_THEN, || {
        let replies = match redis.pipeline(&commands) {
            Ok(replies) => replies,
            Err(error) => return Some(Err(error)),
        };
        let values = replies.iter().map(|reply| match reply {
            Reply::Bulk(value) => Some(value.clone()),
            _ => None,
        });
        let values: Option<Vec<_>> = values.collect();
        let is_error = |reply: &Reply| matches!(reply, Reply::Error(_));
        failed = replies.into_iter().find(is_error);
        values.map(Ok)
    });
    read.unwrap_or_else(|| bail!("reads fail: {failed:?}"))
}

fn replicas(redis: &mut Redis, key: &str) -> Result<Vec<(String, String)>> {
    copies_of(key, &redis.call(&["RKV.REPLICAS", key])?)
}

/// Who holds what: the version and digest of a value, nothing where there is none. A trace of a delete may be gone in one
/// copy sooner than in another.
fn copies_of(key: &str, reply: &Reply) -> Result<Vec<(String, String)>> {
    let Reply::Array(rows) = reply else {
        bail!("RKV.REPLICAS {key} answered no array: {reply:?}");
    };
    let copy = |row: &Reply| {
        let Reply::Array(row) = row else {
            bail!("a row is an array");
        };
        let text = |at: usize| row.get(at).map(Reply::text).unwrap_or_default();
        let held = match text(4).as_str() {
            "value" => format!("{} {}", text(5), text(6)),
            "tombstone" | "missing" => String::new(),
            other => other.to_owned(),
        };
        Ok((text(0), held))
    };
    rows.iter().map(copy).collect()
}
