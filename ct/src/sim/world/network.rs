//! This file answers: what becomes of a message, and who is heard by whom?
//!
//! Messages are lost, repeated, late and out of order. Gossip is not carried but drawn: some time after a node changed,
//! each other one notices; or it believes a rumour.

use rand::RngExt;
use rkv_kv::Heard;
use rkv_ring::NodeName;
use rkv_ring::cluster::Facts;
use rkv_wire::message::{Envelope, Message};

use super::{GOSSIP_MS, Happening, World};

/// One in how many messages arrives twice.
const TWICE_ONE_IN: u32 = 60;
const LATE_MS: u64 = 1_500;

impl World {
    pub(super) fn send(&mut self, from: usize, to: usize, clock: u64, message: Message) {
        self.count_flow(from, &message);
        if self.cut.contains(&(from, to)) {
            return;
        }
        if self.rng.random_range(0..100) < self.loss_percent {
            self.observer.hindered(from, to);
            return self.count("message lost");
        }
        let late_one_in = match &message {
            Message::Cluster(_) => self.council().late_one_in,
            _ => self.options.late_one_in,
        };
        let envelope = Envelope { clock, message };
        let twice = !self.healed && self.rng.random_range(0..TWICE_ONE_IN) == 0;
        if twice {
            self.count("message twice");
        }
        for _ in 0..1 + usize::from(twice) {
            let late = !self.healed && self.rng.random_range(0..late_one_in) == 0;
            if late {
                self.count("message late");
                self.observer.hindered(from, to);
            }
            let most = if late { LATE_MS } else { 5 };
            let after = self.rng.random_range(1..most);
            let envelope = envelope.clone();
            let speaks_as = self.nodes[from].facts;
            let deliver = Happening::Deliver {
                from,
                to,
                speaks_as,
                envelope,
            };
            self.push(after, deliver);
        }
    }

    pub(super) fn deliver(
        &mut self,
        (from, to): (usize, usize),
        speaks_as: Option<Facts>,
        mut envelope: Envelope,
    ) {
        if let (Some(running), Some(facts)) = (&self.nodes[to].running, speaks_as) {
            let start = (facts.incarnation, facts.boot);
            let name = &self.nodes[from].name;
            match running.engine.hears(name, start, &envelope.message) {
                Heard::Itself => {}
                Heard::Stranger => envelope.clock = 0,
                Heard::Not => {
                    self.observer.hindered(from, to);
                    return self.count("message not heard");
                }
            }
        }
        self.note(1, to);
        let message = format!("{:?}", envelope.message);
        self.trace.update(message.as_bytes());
        let names = (&self.nodes[from].name, &self.nodes[to].name);
        self.tell(|| format!("{} -> {} {message}", names.0, names.1));
        self.observer
            .message(&self.nodes, (from, to), speaks_as, &envelope.message);
        let from = self.nodes[from].name.clone();
        self.with(to, |engine| engine.message(&from, envelope));
    }

    /// What others hear of `of` from now on, and it of them: facts, and who seems to be alive.
    pub(super) fn gossip_round(&mut self, of: usize) {
        for at in 0..self.nodes.len() {
            if at != of {
                self.observe(at, of);
                self.observe(of, at);
            }
        }
    }

    /// `at` will soon notice how `of` is.
    pub(super) fn observe(&mut self, at: usize, of: usize) {
        let detection_ms = self.options.council.detection_ms;
        let after = if self.is_heard(at, of) {
            self.rng.random_range(10..3 * GOSSIP_MS)
        } else {
            self.rng.random_range(detection_ms / 2..detection_ms * 2)
        };
        self.push(after, Happening::Look { at, of });
    }

    /// Who is not paused and to be reached from `at`, in both directions; itself too.
    pub(super) fn linked(&self, at: usize) -> Vec<usize> {
        let is_linked = |of: &usize| {
            let is_cut = self.cut.contains(&(at, *of)) || self.cut.contains(&(*of, at));
            !is_cut && !self.paused.contains_key(of)
        };
        (0..self.nodes.len()).filter(is_linked).collect()
    }

    fn is_heard(&self, at: usize, of: usize) -> bool {
        let slandered = self.rumours.get(&(at, of));
        self.nodes[of].running.is_some()
            && !self.paused.contains_key(&of)
            && !self.cut.contains(&(of, at))
            && slandered.is_none_or(|until| *until <= self.now())
    }

    /// Whether `at` takes who speaks for `of`, and not for another life of it or an older start.
    fn is_itself(&self, at: usize, of: &NodeName, facts: Facts) -> bool {
        let running = self.nodes[at].running.as_ref();
        running.is_none_or(|it| it.engine.is_itself(of, facts.incarnation, facts.boot))
    }

    pub(super) fn look(&mut self, at: usize, of: usize) {
        let heard = self.is_heard(at, of);
        let facts = self.nodes[of].facts.filter(|_| heard);
        let of = self.nodes[of].name.clone();
        let alive = heard && facts.is_none_or(|facts| self.is_itself(at, &of, facts));
        let running = self.nodes[at].running.as_ref();
        if running.is_some_and(|r| r.engine.view().is_up(&of) != alive) {
            let how = if alive { "up" } else { "down" };
            self.tell(|| format!("{} thinks {of} is {how}", self.nodes[at].name));
        }
        self.with(at, |engine| {
            if let Some(facts) = facts {
                engine.facts(&of, facts);
            }
            engine.suspect(&of, alive);
        });
    }
}
