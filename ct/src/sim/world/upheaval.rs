//! This file answers: how does a member go by force, is replaced, or come back with nothing?
//!
//! One such thing in a life, begun while others go wrong. What of the victim's disk is gone is told to the observer, as
//! with any disk that forgets.

use std::collections::BTreeMap;

use bytes::Bytes;
use rand::RngExt;
use rkv_ring::cluster::{AdminRequest, Stored};
use rkv_ring::{NodeName, Status};
use rkv_vnode::Fault;

use super::{Happening, World};
use crate::sim::disk::Crash;
use crate::sim::options::Upheaval;

/// It does not begin before: the cluster has just become one.
const FROM_MS: u64 = 5_000;
/// How long a victim stays dead, from and to.
const DEAD_MS: (u64, u64) = (2_000, 7_000);

/// How long a node lives on before its folder is exchanged for what it was.
const LIVES_ON_MS: (u64, u64) = (1_500, 4_000);
/// A folder is not exchanged while others have lost theirs: after so long it is tried again.
const EXCHANGE_AGAIN_MS: u64 = 300;

/// A folder as it once was.
pub(super) struct Backup {
    entries: BTreeMap<Bytes, Bytes>,
    ring: Option<Stored>,
    boot: u64,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Stage {
    #[default]
    Waiting,
    /// The victim is chosen, and dead if it is to be; operators stage and commit until the ring shows it.
    Begun(usize),
    Done,
}

impl World {
    /// The node that is not to join before it replaces another.
    pub(super) fn spare(&self) -> Option<usize> {
        let replaces = matches!(
            self.options.upheaval,
            Some(Upheaval::Replace | Upheaval::ForceReplace)
        );
        replaces.then(|| self.nodes.len() - 1)
    }

    /// Whether it is about to go.
    pub(super) fn is_victim(&self, node: usize) -> bool {
        self.upheaval == Stage::Begun(node)
    }

    /// Whether what was to happen to a member has.
    pub(super) fn upheaval_is_over(&self) -> bool {
        self.options.upheaval.is_none() || self.upheaval == Stage::Done
    }

    /// What an operator asks for next on the way, if anything.
    pub(super) fn next_upheaval(&mut self, step: usize) -> Option<(usize, AdminRequest)> {
        let upheaval = self.options.upheaval?;
        match self.upheaval {
            Stage::Waiting => {
                self.begin_upheaval(upheaval);
                None
            }
            Stage::Begun(victim) if self.is_over(upheaval, victim) => {
                self.count(format!("{upheaval:?}"));
                self.tell(|| format!("{upheaval:?} of {} is over", self.nodes[victim].name));
                self.upheaval = Stage::Done;
                None
            }
            Stage::Begun(victim) => self.push_on(upheaval, victim, step),
            Stage::Done => None,
        }
    }

    fn begin_upheaval(&mut self, upheaval: Upheaval) {
        let may_begin = self.now() >= FROM_MS && self.all_run() && self.may_lose();
        if !may_begin {
            return;
        }
        let members = self.nodes.len() - usize::from(self.spare().is_some());
        let victim = self.rng.random_range(0..members);
        self.tell(|| format!("{upheaval:?} of {}", self.nodes[victim].name));
        self.upheaval = Stage::Begun(victim);
        let dead_ms = self.rng.random_range(DEAD_MS.0..DEAD_MS.1);
        match upheaval {
            Upheaval::RemoveLive | Upheaval::Replace => {}
            Upheaval::RemoveDead | Upheaval::ForceReplace => {
                self.crash(victim, Crash::Kill);
                self.push(dead_ms, Happening::Start { node: victim });
            }
            Upheaval::Rejoin => {
                self.crash(victim, Crash::Wiped);
                *self.nodes[victim].ring_file.lock() = None;
                self.nodes[victim].life += 1;
                self.push(dead_ms / 2, Happening::Start { node: victim });
            }
            Upheaval::OldDisk => {
                let node = &self.nodes[victim];
                self.backup = Some(Backup {
                    entries: node.disk.entries(),
                    ring: node.ring_file.lock().clone(),
                    boot: node.folder_boot,
                });
                self.crash(victim, Crash::Kill);
                self.push(dead_ms / 4, Happening::Start { node: victim });
                let after = self.rng.random_range(LIVES_ON_MS.0..LIVES_ON_MS.1);
                self.push(dead_ms / 4 + after, Happening::PutBack { node: victim });
            }
        }
    }

    /// The folder of `node` becomes what it once was, boot number and ring and all.
    pub(super) fn put_back(&mut self, node: usize) {
        if !(self.all_run() && self.may_lose()) {
            return self.push(EXCHANGE_AGAIN_MS, Happening::PutBack { node });
        }
        let Some(backup) = self.backup.take() else {
            return;
        };
        self.tell(|| format!("{} gets an older folder back", self.nodes[node].name));
        self.count("old disk");
        self.crash(node, Crash::Wiped);
        let sim = &mut self.nodes[node];
        sim.disk.put_back(backup.entries);
        *sim.ring_file.lock() = backup.ring;
        sim.folder_boot = backup.boot;
        self.observer.put_back(&self.nodes, node);
        self.was_put_back = Some(node);
        let dead_ms = self.rng.random_range(DEAD_MS.0 / 4..DEAD_MS.1 / 4);
        self.push(dead_ms, Happening::Start { node });
    }

    /// Whether `node` runs on an older state of its folder.
    pub(super) fn is_put_back(&self, node: usize) -> bool {
        self.was_put_back == Some(node) && self.nodes[node].life == 0
    }

    /// It was told that others have seen a later boot: its folder is set aside, and it joins anew under its name.
    pub(super) fn set_aside(&mut self, node: usize) {
        self.count("old disk set aside");
        self.crash(node, Crash::Wiped);
        *self.nodes[node].ring_file.lock() = None;
        self.nodes[node].life += 1;
        self.push(EXCHANGE_AGAIN_MS, Happening::Start { node });
    }

    /// Whether the promises allow that a disk is lost now, and no copy that may have lost something needs it.
    fn may_lose(&self) -> bool {
        let excused = self.observer.is_excused();
        excused || (self.observer.may_forget() && !self.catches_up())
    }

    fn catches_up(&self) -> bool {
        let running = self.nodes.iter().filter_map(|node| node.running.as_ref());
        running.into_iter().any(|running| {
            let report = running.engine.host().report();
            report.copies.iter().any(|copy| !copy.whole)
        })
    }

    /// Stages and commits in turn, until it shows.
    fn push_on(
        &mut self,
        upheaval: Upheaval,
        victim: usize,
        step: usize,
    ) -> Option<(usize, AdminRequest)> {
        let others: Vec<usize> = (0..self.nodes.len())
            .filter(|at| *at != victim && Some(*at) != self.spare())
            .collect();
        let at = others[step % others.len()];
        let node = self.nodes[victim].name.clone();
        let peer = format!("{}:7000", self.nodes[at].name);
        let with = |world: &World| -> NodeName {
            let spare = world.spare().expect("a replacement has a spare node");
            world.nodes[spare].name.clone()
        };
        let joiner = match upheaval {
            Upheaval::Rejoin => Some(victim),
            Upheaval::OldDisk => (self.nodes[victim].life > 0).then_some(victim),
            _ => self.spare(),
        };
        match (step % 4, joiner) {
            (0, Some(joiner)) => Some((joiner, AdminRequest::Join { peer })),
            (_, None) if upheaval == Upheaval::OldDisk => None,
            (3, _) => Some((at, self.commit())),
            (_, _) => match upheaval {
                Upheaval::RemoveLive | Upheaval::RemoveDead => {
                    Some((at, AdminRequest::Remove { node }))
                }
                // Committed without it, since nobody had heard that it is to replace somebody: then that one goes by itself.
                Upheaval::Replace if self.is_valid(at, &with(self)) => {
                    Some((at, AdminRequest::Leave { node }))
                }
                Upheaval::ForceReplace if self.is_valid(at, &with(self)) => {
                    Some((at, AdminRequest::Remove { node }))
                }
                Upheaval::Replace | Upheaval::ForceReplace => {
                    let (with, force) = (with(self), upheaval == Upheaval::ForceReplace);
                    Some((at, AdminRequest::Replace { node, with, force }))
                }
                Upheaval::Rejoin | Upheaval::OldDisk => None,
            },
        }
    }

    /// Whether `node` is a full member by the ring of `at`.
    fn is_valid(&self, at: usize, node: &NodeName) -> bool {
        let stored = self.nodes[at].ring_file.lock();
        let mut rings = stored.iter().map(|stored| &stored.ring);
        rings.any(|ring| {
            let member = ring.members.get(node);
            member.is_some_and(|member| member.status == Status::Valid)
        })
    }

    /// Whether the latest ring shows that it was committed.
    fn is_over(&self, upheaval: Upheaval, victim: usize) -> bool {
        let saved = self
            .nodes
            .iter()
            .filter_map(|node| node.ring_file.lock().clone());
        let main = saved.filter(|stored| stored.ring.members.len() > 1);
        let Some(latest) = main.max_by_key(|stored| stored.ring.epoch) else {
            return false;
        };
        let member = latest.ring.members.get(&self.nodes[victim].name);
        match upheaval {
            Upheaval::Replace => {
                member.is_none_or(|m| matches!(m.status, Status::Leaving | Status::Exiting))
            }
            // With the fault of that name nobody tells it.
            Upheaval::OldDisk if self.options.fault == Fault::DeadIdentityReused => {
                self.is_put_back(victim) && self.nodes[victim].running.is_some()
            }
            Upheaval::OldDisk if self.nodes[victim].life == 0 => false,
            Upheaval::Rejoin | Upheaval::OldDisk => {
                member.is_some_and(|m| m.incarnation == self.identity(victim).incarnation)
            }
            _ => member.is_none(),
        }
    }

    /// In some lives somebody changes weights, marks the dead as down and gives up what is on the move.
    pub(super) fn fidget(&mut self, step: usize) -> Option<(usize, AdminRequest)> {
        if !self.options.fidgets || self.healed {
            return None;
        }
        let at = self.rng.random_range(0..self.nodes.len());
        let node = self.nodes[self.rng.random_range(0..self.nodes.len())]
            .name
            .clone();
        let dead = self.nodes.iter().find(|node| node.running.is_none());
        let dead = dead.map(|node| node.name.clone());
        match (step % 6, dead) {
            (0, _) => {
                let weight = f64::from(self.rng.random_range(1..5)) / 2.0;
                Some((at, AdminRequest::Weight { node, weight }))
            }
            (1, _) => Some((at, self.commit())),
            (2, _) if self.options.is_delayed() || self.rng.random_range(0..3) == 0 => {
                Some((at, AdminRequest::Cancel))
            }
            // Whoever may have lost something waits for fewer when one is down: the operator's word is taken for it.
            (_, Some(node)) if !self.catches_up() => Some((at, AdminRequest::Down { node })),
            _ => None,
        }
    }
}
