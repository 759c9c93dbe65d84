//! This file answers: how do members come and go meanwhile?

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use super::change::Change;
use super::disturb::start_again;
use super::fleet::{Fleet, Member, ask_of, refusal};
use super::refilled::Losses;
use super::told::Told;
use super::waiting::{AT_ONCE, NOW_AND_THEN, holds_within, rest, within};

/// How long the cluster may take to come to rest before the next change is tried all the same.
const RESTS_WITHIN: Duration = Duration::from_secs(40);
/// How long a node may take to end that has nothing more to hand off.
const ENDS_WITHIN: Duration = Duration::from_secs(60);
/// How long a node that is dead may seem to be there.
const MISSED_WITHIN: Duration = Duration::from_secs(5);
/// How long a change waits for copies to be filled again, before another is made in its place.
const FILLED_WITHIN: Duration = Duration::from_secs(15);
/// How long a join is tried.
const JOINS_WITHIN: Duration = Duration::from_secs(5);
/// How long a node without its disk tries to be let in again: it must not be left half done.
const REJOINS_WITHIN: Duration = Duration::from_secs(60);

/// What changes the members.
pub struct Operator<'a> {
    /// The nodes.
    pub fleet: &'a Fleet,
    /// Which copies were lost of late.
    pub losses: &'a Losses,
    /// What occurs.
    pub told: &'a Told,
    /// Members at the beginning, and never fewer of their own will.
    pub usual: usize,
    /// Whether a node that is killed loses its copies.
    pub volatile: bool,
}

impl Operator<'_> {
    /// Changes until `stop`.
    pub fn work(&self, seed: u64, stop: &AtomicBool) -> Result<()> {
        let mut dice = ChaCha8Rng::seed_from_u64(seed ^ 0x0b5);
        while !stop.load(Ordering::Relaxed) {
            forget_who_left(self.fleet, self.told)?;
            let members = self.fleet.members().len();
            let change = Change::drawn(&mut dice, members, self.usual, self.told);
            let name = format!("{change:?}");
            match self.carry_out(change, &mut dice, stop) {
                Ok(true) => {
                    self.told.count(&change.name());
                    self.told.say(&format!("operator: {name} is done"));
                }
                Ok(false) => {}
                Err(why) => {
                    self.told
                        .count(&format!("  not done: {name}: {}", why.root_cause()));
                    self.told.say(&format!("operator: {name}: {why:#}"));
                    // What is staged would go with the next plan.
                    let _ = self.fleet.ask(&["cluster", "clear"]);
                }
            }
            // Now and then the next change meets transfers of this one.
            if dice.random_bool(0.7) {
                self.come_to_rest(stop)?;
            }
            rest(Duration::from_millis(dice.random_range(200..2_000)), stop);
        }
        Ok(())
    }

    fn carry_out(&self, change: Change, dice: &mut ChaCha8Rng, stop: &AtomicBool) -> Result<bool> {
        let mut open: Vec<Arc<Member>> = self.fleet.calm();
        // Who is on the way out stays there.
        let listed = self.statuses()?;
        open.retain(|it| listed.get(&it.name).is_some_and(|status| status == "valid"));
        ensure!(open.len() > 1, "nobody to be asked");
        let one = open[dice.random_range(0..open.len())].clone();
        self.told
            .say(&format!("operator: {change:?} of {}", one.name));
        match change {
            Change::Join => {
                let newcomer = self.newcomer()?;
                self.commit_with(&newcomer, None)?;
                if dice.random_bool(0.25) {
                    rest(Duration::from_millis(dice.random_range(0..1_500)), stop);
                    self.fleet.ask(&["cluster", "cancel"])?;
                    self.told.count("member: Cancel");
                }
            }
            Change::Leave => {
                self.fleet.ask(&["cluster", "leave", &one.name])?;
                self.commit()?;
                return Ok(true);
            }
            Change::Replace => {
                let newcomer = self.newcomer()?;
                self.commit_with(&newcomer, Some((&one, false)))?;
            }
            Change::ForceReplace | Change::Remove => {
                return self.loses(&one, |operator| operator.lost_for_good(&one, change, dice));
            }
            Change::RejoinEmpty => {
                return self.loses(&one, |operator| operator.rejoin_empty(&one));
            }
            Change::DownAndBack => {
                if self.volatile {
                    return self.loses(&one, |operator| operator.down_and_back(&one));
                }
                let most = super::most_taken(self.fleet.members().len());
                if !self.fleet.take(&one, most) {
                    return Ok(false);
                }
                let done = self.down_and_back(&one);
                self.fleet.give_back(&one);
                done?;
            }
            Change::HoldTransfers => {
                self.fleet.ask(&["cluster", "handoff", "pause"])?;
                rest(Duration::from_millis(dice.random_range(300..3_000)), stop);
                self.fleet.ask(&["cluster", "handoff", "resume"])?;
            }
        }
        Ok(true)
    }

    /// Has `deed` done to a node that is without its copies afterwards, if that is borne now.
    fn loses(&self, one: &Member, deed: impl FnOnce(&Self) -> Result<()>) -> Result<bool> {
        let may_lose = || self.losses.may_lose(self.fleet);
        if !holds_within(FILLED_WITHIN, NOW_AND_THEN, may_lose) {
            self.told
                .count("  put off: copies are not filled again yet");
            return Ok(false);
        }
        let members = self.fleet.members().len();
        let is_there = members >= self.usual && !one.has_left();
        if !is_there || !self.fleet.take(one, super::most_taken(members)) {
            self.losses.filled_unless_lost(true);
            return Ok(false);
        }
        one.open(false);
        let done = deed(self);
        one.open(true);
        self.losses.lost();
        self.fleet.give_back(one);
        done.map(|()| true)
    }

    fn newcomer(&self) -> Result<Arc<Member>> {
        self.fleet.another().context("one more node")
    }

    /// The newcomer joins, in the place of another if one is named.
    fn commit_with(&self, newcomer: &Arc<Member>, of: Option<(&Member, bool)>) -> Result<()> {
        let done = self.join(newcomer).and_then(|()| {
            if let Some((old, force)) = of {
                let mut args = vec!["cluster", "replace", &old.name, &newcomer.name];
                args.extend(force.then_some("--force"));
                self.fleet.ask(&args)?;
            }
            self.commit()
        });
        if done.is_err() {
            let _ = self.fleet.ask(&["cluster", "clear"]);
        }
        // It may have been listed though nobody was told so.
        match done.is_ok() || self.is_member(newcomer) {
            true => newcomer.open(true),
            false => self.fleet.drop_member(newcomer)?,
        }
        done
    }

    fn join(&self, newcomer: &Member) -> Result<()> {
        let (mut last, mut turn) = (String::new(), 0);
        let joined = within(JOINS_WITHIN, NOW_AND_THEN, || {
            let mut calm = self.fleet.calm();
            // Through one that has left meanwhile nobody joins.
            calm.retain(|it| it.name != newcomer.name && !it.has_left());
            turn += 1;
            let through = calm.get(turn % calm.len().max(1))?;
            let peer = format!("127.0.0.1:{}", through.peer);
            let asked = ask_of(newcomer, &["cluster", "join", &peer]);
            asked.map_err(|refused| last = refusal(&refused)).ok()
        });
        joined.map(drop).with_context(|| format!("join: {last}"))
    }

    fn commit(&self) -> Result<()> {
        let plan = self.fleet.ask(&["cluster", "plan"])?;
        let id = plan["plan"].as_str().context("nothing is planned")?;
        self.fleet.ask(&["cluster", "commit", "--plan", id])?;
        Ok(())
    }

    /// As what the ring lists whom.
    fn statuses(&self) -> Result<BTreeMap<String, String>> {
        let told = self.fleet.ask(&["cluster", "members"])?;
        let all = told["members"].as_array().into_iter().flatten();
        let text = |it: &Value, field: &str| it[field].as_str().unwrap_or_default().to_owned();
        Ok(all
            .map(|it| (text(it, "name"), text(it, "status")))
            .collect())
    }

    /// Whether the cluster is known to count on it: while a node is only joining, what is written to it is its own.
    fn is_member(&self, member: &Member) -> bool {
        let listed = self.statuses().unwrap_or_default();
        listed
            .get(&member.name)
            .is_some_and(|status| status != "joining")
    }

    /// Whether the ring is known to list it no more.
    fn is_let_go(&self, member: &Member) -> bool {
        self.statuses()
            .is_ok_and(|listed| !listed.contains_key(&member.name))
    }

    /// A node dies and never comes back as a member; perhaps its folder turns up later.
    fn lost_for_good(&self, lost: &Arc<Member>, how: Change, dice: &mut ChaCha8Rng) -> Result<()> {
        lost.node.lock().kill()?;
        let done = match how {
            Change::Remove => {
                let staged = self.fleet.ask(&["cluster", "remove", &lost.name]);
                staged.and_then(|_| self.commit())
            }
            _ => {
                let newcomer = self.newcomer()?;
                self.commit_with(&newcomer, Some((lost, true)))
            }
        };
        if done.is_err() {
            let _ = self.fleet.ask(&["cluster", "clear"]);
        }
        let patience = match done {
            Ok(()) => RESTS_WITHIN,
            Err(_) => Duration::ZERO,
        };
        if !holds_within(patience, NOW_AND_THEN, || self.is_let_go(lost)) {
            start_again(&mut lost.node.lock())?;
            return done;
        }
        if dice.random_bool(0.5) {
            self.told
                .count("member: a removed node comes back with its disk");
            start_again(&mut lost.node.lock())?;
            if !holds_within(ENDS_WITHIN, AT_ONCE, || lost.has_left()) {
                self.told
                    .count("stuck: a removed node that came back does not end");
            }
        }
        self.fleet.drop_member(lost)?;
        done
    }

    /// A node dies and comes back under its name with an empty folder.
    fn rejoin_empty(&self, one: &Member) -> Result<()> {
        {
            let mut node = one.node.lock();
            node.kill()?;
            node.wipe()?;
            node.start()?;
        }
        let mut last = Ok(());
        let is_back = || {
            last = self.join(one).and_then(|()| self.commit());
            let told = ask_of(one, &["cluster", "members"]).unwrap_or_default();
            last.is_ok() || told["members"].as_array().is_some_and(|all| all.len() > 1)
        };
        match holds_within(REJOINS_WITHIN, NOW_AND_THEN, is_back) {
            true => Ok(()),
            false => {
                self.told
                    .count("stuck: a node without its disk is not let in again");
                last
            }
        }
    }

    fn down_and_back(&self, one: &Member) -> Result<()> {
        one.node.lock().kill()?;
        let mut marked = Ok(Value::Null);
        holds_within(MISSED_WITHIN, NOW_AND_THEN, || {
            marked = self.fleet.ask(&["cluster", "down", &one.name]);
            let seems_up =
                |why: &anyhow::Error| why.root_cause().to_string().contains("node_is_up");
            !marked.as_ref().is_err_and(seems_up)
        });
        start_again(&mut one.node.lock())?;
        marked.map(drop)
    }

    fn come_to_rest(&self, stop: &AtomicBool) -> Result<()> {
        let rests = within(RESTS_WITHIN, NOW_AND_THEN, || {
            if let Err(error) = forget_who_left(self.fleet, self.told) {
                return Some(Err(error));
            }
            let status = self.fleet.ask(&["cluster", "status"]).unwrap_or_default();
            let is_over = status["settled"] == true || stop.load(Ordering::Relaxed);
            is_over.then_some(Ok(()))
        });
        rests.unwrap_or_else(|| {
            self.told.count("not at rest before the next change");
            Ok(())
        })
    }
}

/// Whoever has handed off everything and ended is no member any more.
pub fn forget_who_left(fleet: &Fleet, told: &Told) -> Result<()> {
    for member in fleet.members() {
        if fleet.is_calm(&member) && member.has_left() {
            told.count("member: one has left");
            told.say(&format!("operator: {} has left", member.name));
            fleet.drop_member(&member)?;
        }
    }
    Ok(())
}
