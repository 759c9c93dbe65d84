//! This file answers: what goes wrong, and when?

use std::sync::atomic::Ordering;

use rand::RngExt;

use super::boot::MAX_DRIFT_MS;
use super::{Happening, World};
use crate::sim::disk::Crash;

/// How far a clock is off at most while its drift is within bounds, and after a jump.
const DRIFT_MS: i64 = 400;
const JUMP_MS: i64 = 3_000;
/// From when on, and for how long, a node is away where lives have a long absence.
const ABSENT_FROM_MS: u64 = 6_000;
const ABSENT_MS: u64 = 18_000;

impl World {
    /// Something new goes wrong, or something is mended.
    pub(super) fn nemesis(&mut self) {
        if self.healed {
            return;
        }
        let node = self.rng.random_range(0..self.nodes.len());
        if self.options.long_absence && self.absence.is_none() && self.now() >= ABSENT_FROM_MS {
            self.leave_alone(node);
        }
        let other = self.rng.random_range(0..self.nodes.len());
        match self.rng.random_range(0..11) {
            0..=3 => self.crash_one(node),
            4 | 5 if node != other => self.cut_link(node, other),
            6 => self.mend_links(),
            7 => self.set_clock(node, DRIFT_MS),
            8 => self.set_clock(node, JUMP_MS),
            9 if node != other => self.slander(node, other, 800),
            10 if self.all_run() => {
                let for_ms = self.rng.random_range(1_000..3_000);
                self.count("pause");
                self.pause(node, for_ms);
            }
            _ => {}
        }
        let after = self.rng.random_range(100..2_500);
        self.push(after, Happening::Nemesis);
    }

    /// A node is away for so long that what is deleted meanwhile could be let go of.
    fn leave_alone(&mut self, node: usize) {
        if self.all_run() && self.may_crash() {
            self.absence = Some((self.now(), self.now() + ABSENT_MS));
            self.count("long absence");
            self.crash(node, Crash::Kill);
            self.push(ABSENT_MS, Happening::Start { node });
        }
    }

    /// In a storm somebody is taken for dead all the time, or goes deaf or dumb.
    pub(super) fn rumour(&mut self) {
        let Some(every_ms) = self.options.council.rumour_ms.filter(|_| !self.healed) else {
            return;
        };
        let one = self.rng.random_range(0..self.nodes.len());
        let other = self.rng.random_range(0..self.nodes.len());
        if self.is_troubled() {
            match self.rng.random_range(0..8) {
                0 => self.isolate(one, true),
                1 => self.isolate(one, false),
                2 | 3 => self.mend_links(),
                _ if one != other => {
                    let for_ms = self.rng.random_range(200..1_500);
                    self.slander(one, other, for_ms);
                }
                _ => {}
            }
        }
        let after = self.rng.random_range(every_ms / 10..every_ms);
        self.push(after, Happening::Rumour);
    }

    /// A node hears nobody, or is heard by nobody.
    fn isolate(&mut self, node: usize, deaf: bool) {
        self.count(if deaf { "deaf" } else { "dumb" });
        self.struck.strike(node);
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            let (from, to) = if deaf { (other, node) } else { (node, other) };
            self.cut_one_way(from, to);
            self.observe(to, from);
        }
        self.tell(|| format!("{} is cut off, deaf: {deaf}", self.nodes[node].name));
    }

    pub(super) fn all_run(&self) -> bool {
        let here = self.nodes.iter().filter(|node| !node.left);
        here.into_iter().all(|node| node.running.is_some()) && self.paused.is_empty()
    }

    /// Disks that forget do so one after another: of a life that loses more nothing is promised, and nothing learned.
    pub(super) fn may_crash(&self) -> bool {
        !self.options.volatile || self.observer.may_forget()
    }

    /// One node at a time.
    fn crash_one(&mut self, node: usize) {
        if !self.all_run() || self.nodes[node].left || !self.may_crash() {
            return;
        }
        let how = match self.rng.random_range(0..3) {
            0 => Crash::PowerCut,
            _ => Crash::Kill,
        };
        self.crash(node, how);
        let after = self.rng.random_range(300..4_000);
        self.push(after, Happening::Start { node });
    }

    /// One direction, or both.
    fn cut_link(&mut self, from: usize, to: usize) {
        let both = self.rng.random_range(0..2) == 0;
        self.tell(|| {
            let names = (&self.nodes[from].name, &self.nodes[to].name);
            format!("{} to {} is cut, both ways: {both}", names.0, names.1)
        });
        self.count(if both { "cut both ways" } else { "cut one way" });
        self.struck.strike(from);
        self.struck.strike(to);
        self.cut_one_way(from, to);
        if both {
            self.cut_one_way(to, from);
        }
        self.observe(to, from);
        self.observe(from, to);
    }

    fn cut_one_way(&mut self, from: usize, to: usize) {
        self.cut.insert((from, to));
        self.observer.hindered(from, to);
    }

    fn mend_links(&mut self) {
        self.tell(|| "all links are mended".to_owned());
        for (from, to) in std::mem::take(&mut self.cut) {
            self.observe(to, from);
        }
    }

    fn set_clock(&mut self, node: usize, most_ms: i64) {
        let offset = self.rng.random_range(-most_ms..most_ms);
        self.count(if most_ms == JUMP_MS {
            "clock jump"
        } else {
            "clock drift"
        });
        self.tell(|| {
            format!(
                "the clock of {} is off by {offset} ms",
                self.nodes[node].name
            )
        });
        let clock = &self.nodes[node].wall_offset_ms;
        clock.store(offset, Ordering::Relaxed);
        if offset.unsigned_abs() > MAX_DRIFT_MS {
            self.struck.strike(node);
        }
    }

    /// `at` takes `of` for dead, though it lives.
    fn slander(&mut self, at: usize, of: usize, for_ms: u64) {
        let until = self.now() + for_ms;
        self.struck.strike(of);
        self.count("false suspicion");
        self.rumours.insert((at, of), until);
        self.push(0, Happening::Look { at, of });
        self.push(for_ms, Happening::Look { at, of });
    }

    /// The last fault is over: all links are whole, and whoever is down starts.
    pub(super) fn heal(&mut self) {
        self.tell(|| "everything heals".to_owned());
        self.healed = true;
        self.loss_percent = 0;
        self.rumours.clear();
        self.mend_links();
        for node in 0..self.nodes.len() {
            self.resume(node);
            self.set_clock(node, DRIFT_MS / 2);
            self.push(1, Happening::Start { node });
            self.gossip_round(node);
        }
    }
}
