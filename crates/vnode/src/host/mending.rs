//! This file answers: how do this node's copies compare with their peers', and who has them compared now?

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use rkv_ring::{NodeName, Partition, Slot};
use rkv_storage::StoreKey;
use rkv_wire::message::{CopyId, RepairReport, ServiceId};

use super::Host;
use super::desk::Desk;
use crate::actor::{Actor, Event};
use crate::phase::Phase;

impl Host {
    /// Has the copies that serve, of all partitions or of one, compared with each of their peers that is up. Says how many
    /// those are: copies that have no peer there, and those that move, leave or catch up, are not among them.
    pub fn begin_repair(&self, partition: Option<Partition>) -> u32 {
        let view = self.view();
        let has_peer_up = |copy: CopyId| {
            let mut others = view.other_owners(copy.partition).into_iter();
            view.owns(copy.partition) && others.any(|node| view.is_up(&node))
        };
        let serving = |desk: &Desk| {
            let actor = desk.actor.lock();
            (actor.phase == Phase::Serving && has_peer_up(actor.id)).then_some(actor.id)
        };
        let copies: Vec<CopyId> = self.repairable(partition).filter_map(serving).collect();
        for copy in &copies {
            self.tell(*copy, Event::Repair);
        }
        copies.len() as u32
    }

    /// Has copies of which something cannot be read filled again.
    pub(super) fn mend_damaged(&self) {
        let keys = self.store.take_damaged();
        if keys.is_empty() {
            return;
        }
        self.damaged.fetch_add(keys.len() as u64, Ordering::Relaxed);
        let partitions = self.view().ring().partitions;
        let copy_of = |key: &Bytes| {
            let slot = StoreKey::slot_of(key).and_then(|slot| Slot::try_from(slot).ok())?;
            Some(CopyId {
                service: ServiceId(*key.get(1)?),
                partition: partitions.partition_of(slot),
            })
        };
        let copies: BTreeSet<CopyId> = keys.iter().filter_map(copy_of).collect();
        for copy in copies {
            self.tell(copy, Event::Damaged);
        }
    }

    /// People should know this of the node's storage as long as it runs.
    pub fn note(&self, text: String) {
        self.notes.lock().push(text);
    }

    /// What people should know of this node's storage.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = self.notes.lock().clone();
        match self.damaged.load(Ordering::Relaxed) {
            0 => {}
            damaged => notes.push(format!(
                "{damaged} stored values were damaged; their copies are filled again from the other owners"
            )),
        }
        notes
    }

    /// How the copies that answer for their places compare with their peers'.
    pub fn repair_reports(&self, partition: Option<Partition>) -> Vec<RepairReport> {
        let view = self.view();
        let mut reports = Vec::new();
        for desk in self.repairable(partition) {
            let actor = desk.actor.lock();
            if actor.phase == Phase::Absent {
                continue;
            }
            let others = view.other_owners(actor.id.partition);
            reports.push(report(&actor, &others));
        }
        reports
    }

    fn repairable(&self, partition: Option<Partition>) -> impl Iterator<Item = &Desk> {
        let with_entries = self.services.iter().filter(|r| r.service.has_entries());
        let desks = with_entries.flat_map(|running| running.desks.iter().enumerate());
        desks
            .filter(move |(at, _)| partition.is_none_or(|wanted| wanted.index() == *at))
            .map(|(_, desk)| desk)
    }
}

fn report(actor: &Actor, others: &[NodeName]) -> RepairReport {
    let repair = &actor.repair;
    let ended = |node| repair.ended_ms.get(node).copied();
    let all: Option<Vec<u64>> = others.iter().map(ended).collect();
    RepairReport {
        copy: actor.id,
        state: actor.state(),
        exchanged_ms: all.and_then(|ended| ended.into_iter().min()),
        repaired: actor.repairs,
        divergence: repair.divergence(),
        with: repair
            .exchange
            .as_ref()
            .map(|exchange| exchange.with.clone()),
        asked_for: repair.asked_for.iter().cloned().collect(),
        last_error: repair.trouble.clone(),
    }
}
