//! This file answers: how do the copies of all members compare with each other, and who has them compared now?
//!
//! Each member looks after its own copies; here several are asked at once. One that is up and does not answer in time is missing
//! from what comes of it.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;
use rkv_ring::{NodeName, Partition};
use rkv_wire::message::{Message, RepairReport, RequestId};

use crate::engine::{Done, Engine};

/// How long members may take to answer.
const ASK_MS: u64 = 2_000;

/// What is asked of members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Only of this partition.
    pub partition: Option<Partition>,
    /// Only of this member.
    pub node: Option<NodeName>,
    /// Whether exchanges are to begin.
    pub begin: bool,
}

/// What one member answered.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Told {
    /// Copies of which an exchange with each peer that is up begins now.
    pub begun: u32,
    /// Its copies that were asked about.
    pub copies: Vec<RepairReport>,
}

/// What was told, by member.
pub type ByNode = BTreeMap<NodeName, Told>;

/// All that is waited for.
#[derive(Default)]
pub(crate) struct Mendings(Mutex<BTreeMap<RequestId, Mending>>);

struct Mending {
    waiting_for: BTreeSet<NodeName>,
    until_ms: u64,
    told: ByNode,
    done: Done<ByNode>,
}

impl Mendings {
    /// A member answered.
    pub(crate) fn came(&self, from: &NodeName, id: RequestId, told: Told) {
        let mut all = self.0.lock();
        let Some(mending) = all.get_mut(&id) else {
            return;
        };
        if mending.waiting_for.remove(from) {
            mending.told.insert(from.clone(), told);
        }
        let is_over = mending.waiting_for.is_empty();
        let ended = is_over.then(|| all.remove(&id)).flatten();
        drop(all);
        if let Some(Mending { told, done, .. }) = ended {
            done(told);
        }
    }

    /// Whoever has not answered by now is not waited for.
    pub(crate) fn due(&self, now_ms: u64) {
        let mut all = self.0.lock();
        let due: Vec<RequestId> = all
            .iter()
            .filter(|(_, mending)| mending.until_ms <= now_ms)
            .map(|(id, _)| *id)
            .collect();
        let ended: Vec<Mending> = due.iter().filter_map(|id| all.remove(id)).collect();
        drop(all);
        for Mending { told, done, .. } in ended {
            done(told);
        }
    }
}

impl Engine {
    /// Asks the members that can be reached; calls `done` with what those told that answered in time.
    pub fn mend(&self, ask: &Ask, done: Done<ByNode>) {
        let view = self.view();
        let wanted = |node: &&NodeName| ask.node.as_ref().is_none_or(|wanted| wanted == *node);
        let mut told = ByNode::new();
        if wanted(&self.me()) {
            let host = self.host();
            let begun = match ask.begin {
                true => host.begin_repair(ask.partition),
                false => 0,
            };
            let copies = host.repair_reports(ask.partition);
            told.insert(self.me().clone(), Told { begun, copies });
        }
        let others: BTreeSet<NodeName> = view.peers_up().filter(wanted).cloned().collect();
        if others.is_empty() {
            return done(told);
        }
        let id = self.coordinator().fresh_id();
        let mending = Mending {
            waiting_for: others.clone(),
            until_ms: self.now_ms() + ASK_MS,
            told,
            done,
        };
        self.mendings().0.lock().insert(id, mending);
        for node in others {
            let message = Message::AskRepair {
                id,
                ring: view.id(),
                partition: ask.partition,
                begin: ask.begin,
            };
            self.send(&node, message);
        }
    }
}
