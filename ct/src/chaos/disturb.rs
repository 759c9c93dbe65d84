//! This file answers: how are nodes and links made to fail?
//!
//! One deed at a time: a node or a link fails, for a while, and is well again. Never more than the promises bear: fewer than half of
//! the nodes at once, and of nodes that lose their copies with their process one, until they are filled again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use super::fleet::{Fleet, Member};
use super::refilled::Losses;
use super::told::Told;
use super::waiting::{AT_ONCE, holds_within, rest};
use crate::processes::Node;

/// How long a node that has left may take to end when it is started.
const LEAVES_WITHIN: Duration = Duration::from_secs(5);
/// How long one that leaves may take to end when its doors are closed: as long as it waits for requests, and some more.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// What can happen to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Kill,
    KillClaimant,
    Pause,
    CutOff,
    CutLink,
    Deaf,
    DeafToAll,
    SlowLink,
    DiskFull,
    DiskError,
}

/// How likely, by the hundred.
const DEEDS: [(u32, Deed); 10] = [
    (22, Deed::Kill),
    (10, Deed::KillClaimant),
    (17, Deed::Pause),
    (9, Deed::CutOff),
    (7, Deed::CutLink),
    (7, Deed::Deaf),
    (5, Deed::DeafToAll),
    (8, Deed::SlowLink),
    (8, Deed::DiskFull),
    (7, Deed::DiskError),
];

/// As what each failure is counted.
pub fn names() -> Vec<String> {
    DEEDS.map(|(_, deed)| deed.name().to_owned()).to_vec()
}

impl Deed {
    /// Now and then one that occurred the least so far.
    fn drawn(dice: &mut impl Rng, told: &Told) -> Deed {
        let least = DEEDS.iter().min_by_key(|(_, it)| told.how_often(it.name()));
        if let Some((_, least)) = least.filter(|_| dice.random_bool(0.1)) {
            return *least;
        }
        let mut drawn = dice.random_range(0..100);
        for (part, deed) in DEEDS {
            if drawn < part {
                return deed;
            }
            drawn -= part;
        }
        Deed::Kill
    }

    fn name(self) -> &'static str {
        match self {
            Deed::Kill => "kill -9",
            Deed::KillClaimant => "kill -9 of the claimant",
            Deed::Pause => "SIGSTOP",
            Deed::CutOff => "cut off from all",
            Deed::CutLink => "one link cut",
            Deed::Deaf => "one link cut in one direction",
            Deed::DeafToAll => "hears nobody",
            Deed::SlowLink => "one slow link",
            Deed::DiskFull => "disk full",
            Deed::DiskError => "disk that fails",
        }
    }
}

/// What the disturber works on.
pub struct Disturber<'a> {
    /// The nodes.
    pub fleet: &'a Fleet,
    /// Which copies were lost of late.
    pub losses: &'a Losses,
    /// What occurs.
    pub told: &'a Told,
    /// Whether a node that is killed loses its copies.
    pub volatile: bool,
}

impl Disturber<'_> {
    /// Disturbs until `stop`, and leaves all well.
    pub fn work(&self, seed: u64, stop: &AtomicBool) -> Result<()> {
        let mut dice = ChaCha8Rng::seed_from_u64(seed ^ 0xd15);
        while !stop.load(Ordering::Relaxed) {
            self.one(&mut dice, stop)?;
            rest(Duration::from_millis(dice.random_range(200..2_500)), stop);
        }
        Ok(())
    }

    fn one(&self, dice: &mut ChaCha8Rng, stop: &AtomicBool) -> Result<()> {
        let deed = Deed::drawn(dice, self.told);
        let lasts = Duration::from_millis(dice.random_range(300..6_000));
        let at = dice.next_u64() as usize;
        let members = self.fleet.members();
        let victim = match deed {
            Deed::KillClaimant => self.claimant(&members),
            _ => members.get(at % members.len().max(1)).cloned(),
        };
        let Some(victim) = victim else {
            return Ok(());
        };
        let loses = self.volatile && matches!(deed, Deed::Kill | Deed::KillClaimant);
        if loses && !self.losses.may_lose(self.fleet) {
            self.told
                .count("  put off: copies are not filled again yet");
            return Ok(());
        }
        if !self.fleet.take(&victim, super::most_taken(members.len())) {
            self.losses.filled_unless_lost(loses);
            return Ok(());
        }
        let done = self.carry_out(deed, &victim, (lasts, stop), &members);
        if loses {
            self.losses.lost();
        }
        self.fleet.give_back(&victim);
        done
    }

    fn claimant(&self, members: &[Arc<Member>]) -> Option<Arc<Member>> {
        let told = self.fleet.ask(&["cluster", "members"]).ok()?;
        let name = told["claimant"].as_str()?;
        members.iter().find(|it| it.name == name).cloned()
    }

    fn carry_out(
        &self,
        deed: Deed,
        victim: &Member,
        (lasts, stop): (Duration, &AtomicBool),
        members: &[Arc<Member>],
    ) -> Result<()> {
        if victim.node.lock().ended().is_some() {
            return Ok(());
        }
        self.told.count(deed.name());
        self.told
            .say(&format!("{}: {} for {lasts:?}", victim.name, deed.name()));
        let names = || members.iter().map(|it| it.name.as_str());
        let others: Vec<&str> = names().filter(|name| *name != victim.name).collect();
        let drawn = lasts.as_millis() as usize % others.len().max(1);
        let other = others.get(drawn).copied().unwrap_or_default();
        let faults = match deed {
            Deed::Kill | Deed::KillClaimant => {
                victim.node.lock().kill()?;
                rest(lasts, stop);
                return start_again(&mut victim.node.lock());
            }
            Deed::Pause => {
                victim.node.lock().pause()?;
                rest(lasts, stop);
                return victim.node.lock().resume();
            }
            Deed::CutOff => json!({"drop": others}),
            Deed::CutLink => json!({"drop": [other]}),
            Deed::Deaf => json!({"deaf_to": [other]}),
            Deed::DeafToAll => json!({"deaf_to": others}),
            Deed::SlowLink => json!({"delay_ms": {other: 30 + lasts.as_millis() as u64 / 15}}),
            Deed::DiskFull => json!({"disk": "full"}),
            Deed::DiskError => json!({"disk": "error"}),
        };
        // It may have left meanwhile.
        if victim.node.lock().set_faults(&faults).is_ok() {
            rest(lasts, stop);
            let healed = victim.node.lock().set_faults(&json!({}));
            // Its doors close before it ends.
            let ends_well = || {
                let ended = victim.node.lock().ended();
                ended.is_some_and(|status| status.success())
            };
            if healed.is_err() && !holds_within(ENDS_WITHIN, AT_ONCE, ends_well) {
                return healed;
            }
        }
        Ok(())
    }
}

/// Starts it, unless it has left: then it ends at once, and well.
pub fn start_again(node: &mut Node) -> Result<()> {
    let started = node.start();
    if started.is_err() {
        let ends_well = || node.ended().is_some_and(|status| status.success());
        if holds_within(LEAVES_WITHIN, AT_ONCE, ends_well) {
            return Ok(());
        }
    }
    started
}
