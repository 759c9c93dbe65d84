//! Two nodes, a service that holds the largest of the values given, and one move between them.

#![allow(dead_code)] // each file of tests uses a part of it

use std::sync::Arc;

use bytes::Bytes;
use rkv_ring::{NodeName, Partition, Ring, Slot, moves};
use rkv_storage::{Space, StoreKey};
use rkv_vnode::actor::Actor;
use rkv_vnode::ping::Ping;
use rkv_vnode::trial::{SETTINGS, Trial};
use rkv_vnode::{Context, Decision, Merged, Phase, Service, Settings, Vnode};
use rkv_wire::message::{
    Answer, Command, CopyId, Message, Report, Role, ServiceId, Totals, TransferKind, TransferReport,
};

pub(crate) const LARGEST: ServiceId = ServiceId(9);

/// Holds the largest of the values given.
pub(crate) struct Largest;

impl Service for Largest {
    fn id(&self) -> ServiceId {
        LARGEST
    }

    fn name(&self) -> &'static str {
        "largest"
    }

    fn vnode(&self, _: Partition) -> Box<dyn Vnode> {
        Box::new(Largest)
    }
}

impl Vnode for Largest {
    fn handle_command(&mut self, cx: &Context<'_>, command: Command, body: Bytes) -> Decision {
        let Command::Put { key, .. } = command else {
            return Decision::Answer(Answer::Busy, Bytes::new());
        };
        let held = (cx.held)(&key).expect("a memory store reads");
        match self.merge(held.as_ref(), &body) {
            Merged::Unchanged => Decision::Held { key },
            Merged::Changed(value) => Decision::Write {
                key,
                value,
                answer: Answer::Stored,
                known: None,
            },
        }
    }

    fn merge(&self, held: Option<&Bytes>, incoming: &Bytes) -> Merged {
        match held {
            Some(held) if held >= incoming => Merged::Unchanged,
            _ => Merged::Changed(incoming.clone()),
        }
    }
}

/// `a`, who founded the cluster, and `b`.
pub(crate) struct Two {
    pub(crate) trial: Trial,
    /// The ring in which one move from `a` to `b` is under way.
    pub(crate) joined: Ring,
    /// Bytes of entries that arrived in transfers, and when.
    pub(crate) pages: Vec<(u64, usize)>,
}

impl Two {
    /// Both run; `b` has not joined yet.
    pub(crate) fn new() -> Two {
        Two::sending(0)
    }

    /// The same where `b` has founded a cluster of its own, as every node does that is not told otherwise.
    pub(crate) fn strangers() -> Two {
        Two::started(0, Trial::start_alone)
    }

    /// The same where each sends at most so many bytes a second in transfers.
    pub(crate) fn sending(bytes_per_s: u64) -> Two {
        Two::started(bytes_per_s, Trial::start)
    }

    fn started(bytes_per_s: u64, start: fn(&mut Trial, &str)) -> Two {
        let settings = Settings {
            bytes_per_s,
            ..SETTINGS
        };
        let services = || -> Vec<Arc<dyn Service>> { vec![Arc::new(Ping), Arc::new(Largest)] };
        let mut trial = Trial::found("a", 1, settings, services);
        start(&mut trial, "b");
        let mut joined = trial.joined("b");
        // One move is enough, and easier to watch.
        let first = *joined.moves.keys().next().expect("b gets something");
        joined.moves.retain(|partition, _| *partition == first);
        joined.next.retain(|partition, _| *partition == first);
        Two {
            trial,
            joined,
            pages: Vec::new(),
        }
    }

    /// The partition that moves.
    pub(crate) fn moving(&self) -> Partition {
        *self.joined.moves.keys().next().expect("there is one move")
    }

    /// Stores `count` entries of `size` bytes in the partition that moves.
    pub(crate) fn fill(&mut self, count: usize, size: usize) {
        for i in 0..count {
            let answer = self.put(Role::Owner, i, size, Vec::new());
            assert_eq!(answer, Answer::Stored);
        }
    }

    /// Puts an entry at `a` in the partition that moves.
    pub(crate) fn put(
        &mut self,
        role: Role,
        i: usize,
        size: usize,
        hint_for: Vec<NodeName>,
    ) -> Answer {
        let slot = *self.joined.partitions.slots(self.moving()).start();
        self.put_in(slot, role, i, size, hint_for)
    }

    /// Puts an entry at `a` in that slot, counted from the first, of the partition that moves.
    pub(crate) fn put_at(&mut self, i: usize, slot: u16, size: usize) {
        let first = *self.joined.partitions.slots(self.moving()).start();
        let answer = self.put_in(first + slot, Role::Owner, i, size, Vec::new());
        assert_eq!(answer, Answer::Stored);
    }

    fn put_in(
        &mut self,
        slot: u16,
        role: Role,
        i: usize,
        size: usize,
        hint_for: Vec<NodeName>,
    ) -> Answer {
        let name = format!("key{i}");
        let key = StoreKey::entry(Space::Data, LARGEST.0, slot, 0, name.as_bytes());
        let command = Command::Put { key, hint_for };
        let body = Bytes::from(vec![b'x'; size]);
        let place = (LARGEST, Slot(slot));
        let (answer, _) = self.trial.ask_as(role, "a", place, command, body);
        answer
    }

    /// What a node's copy of the partition that moves amounts to.
    pub(crate) fn totals(&self, node: &str) -> Totals {
        let copy = CopyId {
            service: LARGEST,
            partition: self.moving(),
        };
        let totals = |_: &Phase, actor: &Actor| actor.totals();
        self.trial.host(node).inspect(copy, totals).expect("a copy")
    }

    /// The same as [`Two::arrive_one`], looked at.
    pub(crate) fn arrive_with(&mut self, mut look: impl FnMut(&Message)) -> bool {
        let on_its_way = self.trial.next();
        let is_some = on_its_way.is_some();
        if let Some(on_its_way) = on_its_way {
            look(&on_its_way.2);
            self.trial.arrive(on_its_way);
        }
        is_some
    }

    /// Lets `ms` pass while everything arrives that is sent.
    pub(crate) fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 50 {
            self.trial.tick();
            while self.arrive_one() {}
        }
    }

    /// Lets the next message arrive, if there is one.
    pub(crate) fn arrive_one(&mut self) -> bool {
        let Some(on_its_way) = self.trial.next() else {
            return false;
        };
        if let Message::HandoffItems { body, .. }
        | Message::Fill { body, .. }
        | Message::Compared { body, .. } = &on_its_way.2
        {
            self.pages.push((self.trial.now_ms(), body.len()));
        }
        self.trial.arrive(on_its_way);
        true
    }

    /// The move is ready, or soon will be: it is completed.
    pub(crate) fn complete(&mut self) {
        while !self.is_ready() {
            self.pass(50);
        }
        let mut ring = self.joined.clone();
        assert!(moves::complete(&mut ring, self.moving()));
        ring.epoch.0 += 1;
        self.trial.adopt(ring);
    }

    /// Whether only the next epoch is waited for.
    pub(crate) fn is_ready(&self) -> bool {
        let waiting_for = self.transfer(TransferKind::Ownership).waiting_for;
        waiting_for.as_deref() == Some("the next epoch")
    }

    /// What `a` tells people.
    pub(crate) fn report(&self) -> Report {
        self.trial.host("a").report()
    }

    /// The one transfer of this kind that `a` reports.
    pub(crate) fn transfer(&self, kind: TransferKind) -> TransferReport {
        let transfers = self.report().transfers;
        let mut alike = transfers.into_iter().filter(|t| t.kind == kind);
        let only = alike.next().expect("a transfer is reported");
        assert_eq!(alike.next(), None, "and no other");
        only
    }
}
