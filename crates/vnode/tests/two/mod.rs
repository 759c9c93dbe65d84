//! Two nodes in one process: their hosts, and a network and a clock that the test moves.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use rkv_ring::plan::{commit, stage_join};
use rkv_ring::{
    Addresses, ClusterId, Incarnation, Member, NodeName, Partition, PartitionCount, Ring, Status,
    moves,
};
use rkv_storage::direct::Direct;
use rkv_storage::memory::Memory;
use rkv_storage::{Faults, Space, Store, StoreKey};
use rkv_vnode::ping::Ping;
use rkv_vnode::router::Route;
use rkv_vnode::{
    Beginning, Context, Decision, Fault, Host, Merged, Service, Settings, Upward, Vnode, World,
};
use rkv_wire::message::{
    Answer, Command, Message, Report, RequestId, Role, ServiceId, TransferKind, TransferReport,
};

const LARGEST: ServiceId = ServiceId(9);

/// Holds the largest of the values given.
struct Largest;

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
            Merged::Unchanged => Decision::Answer(Answer::Stored, Bytes::new()),
            Merged::Changed(value) => Decision::Write {
                key,
                value,
                answer: Answer::Stored,
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

/// What the nodes share.
#[derive(Default)]
pub(crate) struct Net {
    now_ms: AtomicU64,
    queue: Mutex<VecDeque<(NodeName, NodeName, Message)>>,
    /// Answers to `a`'s own requests.
    answers: Mutex<Vec<Answer>>,
    ready: Mutex<Vec<Partition>>,
}

struct At {
    me: NodeName,
    net: Arc<Net>,
}

impl World for At {
    fn now_ms(&self) -> u64 {
        self.net.now_ms.load(Ordering::Relaxed)
    }

    fn wall_ms(&self) -> u64 {
        self.now_ms()
    }

    fn send(&self, to: &NodeName, message: Message) {
        let mut queue = self.net.queue.lock();
        queue.push_back((self.me.clone(), to.clone(), message));
    }
}

impl Upward for At {
    fn answered(&self, _: RequestId, _: &NodeName, answer: Answer, _: Bytes) {
        self.net.answers.lock().push(answer);
    }

    fn move_ready(&self, partition: Partition, _: u32, _: &NodeName) {
        self.net.ready.lock().push(partition);
    }

    fn move_broken(&self, _: Partition, _: u32) {}

    fn pull(&self, _: &NodeName) {}

    fn warn(&self, text: String) {
        panic!("{text}");
    }
}

/// `a`, who founded the cluster, and `b`, who has joined it by [`Two::joined`].
pub(crate) struct Two {
    pub(crate) net: Arc<Net>,
    pub(crate) hosts: BTreeMap<NodeName, Arc<Host>>,
    pub(crate) founded: Arc<Ring>,
    /// The ring in which moves from `a` to `b` are under way.
    pub(crate) joined: Arc<Ring>,
    /// Bytes of entries that arrived in transfers, and when.
    pub(crate) pages: Vec<(u64, usize)>,
}

fn member(incarnation: u128, status: Status) -> Member {
    Member {
        incarnation: Incarnation(incarnation),
        status,
        addresses: Addresses::default(),
        zone: None,
        weight: 1.0,
    }
}

impl Two {
    /// Both run; `b` routes by a ring in which it owns nothing and no move has begun.
    pub(crate) fn new() -> Two {
        Two::sending(0)
    }

    /// The same where each sends at most so many bytes a second in transfers.
    pub(crate) fn sending(bytes_per_s: u64) -> Two {
        let q = PartitionCount::new(8).unwrap();
        let founder = member(1, Status::Valid);
        let founded = Ring::found(ClusterId(1), "two", q, 1, "a".into(), founder);
        let staged = stage_join(&founded, "b".into(), member(2, Status::Joining)).unwrap();
        let mut joined = commit(&staged, None).unwrap();
        // One move is enough, and easier to watch.
        let first = *joined.moves.keys().next().expect("b gets something");
        joined.moves.retain(|partition, _| *partition == first);
        joined.next.retain(|partition, _| *partition == first);
        let net = Arc::new(Net::default());
        net.now_ms.store(10_000, Ordering::Relaxed);
        let mut hosts = BTreeMap::new();
        for (name, boot) in [("a", 257), ("b", 513)] {
            let me = NodeName::from(name);
            let at = Arc::new(At {
                me: me.clone(),
                net: net.clone(),
            });
            let ring = Arc::new(founded.clone());
            let host = open(me.clone(), ring, at.clone(), boot, bytes_per_s);
            host.start(at);
            hosts.insert(me, host);
        }
        let two = Two {
            net,
            hosts,
            founded: Arc::new(founded),
            joined: Arc::new(joined),
            pages: Vec::new(),
        };
        for (node, host) in &two.hosts {
            for other in two.hosts.keys().filter(|other| *other != node) {
                host.suspect(other, true);
            }
        }
        two
    }

    pub(crate) fn host(&self, name: &str) -> &Arc<Host> {
        &self.hosts[&NodeName::from(name)]
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.net.now_ms.load(Ordering::Relaxed)
    }

    /// The partition whose move is under way.
    pub(crate) fn moving(&self) -> Partition {
        *self.joined.moves.keys().next().expect("b gets something")
    }

    /// Stores `count` entries of `size` bytes in the partition that will move.
    pub(crate) fn fill(&self, count: usize, size: usize) {
        for i in 0..count {
            let answer = self.put("a", Role::Owner, i, size, Vec::new());
            assert_eq!(answer, Some(Answer::Stored));
        }
    }

    /// Puts an entry at `node` in the partition that will move.
    pub(crate) fn put(
        &self,
        node: &str,
        role: Role,
        i: usize,
        size: usize,
        hint_for: Vec<NodeName>,
    ) -> Option<Answer> {
        let host = self.host(node);
        let partitions = self.founded.partitions;
        let slots = partitions.slots(self.moving());
        let slot = *slots.start();
        let name = format!("key{i}");
        let key = StoreKey::entry(Space::Data, LARGEST.0, slot, 0, name.as_bytes());
        let route = Route {
            id: RequestId(i as u64 + 1),
            service: LARGEST,
            slot: rkv_ring::Slot(slot),
            ring: host.view().id(),
            role,
            within_ms: 1_000,
        };
        let body = Bytes::from(vec![b'x'; size]);
        let told = host.ask_here(route, Command::Put { key, hint_for }, body);
        told.map(|(answer, _)| answer)
    }

    /// Lets everything that was said arrive, at once.
    pub(crate) fn deliver(&mut self) {
        while self.deliver_one() {}
    }

    fn deliver_one(&mut self) -> bool {
        let next = self.net.queue.lock().pop_front();
        let Some((from, to, message)) = next else {
            return false;
        };
        if let Message::HandoffItems { body, .. }
        | Message::Fill { body, .. }
        | Message::Compared { body, .. } = &message
        {
            self.pages.push((self.now_ms(), body.len()));
        }
        self.hosts[&to].message(&from, message);
        true
    }

    fn tick(&self) {
        self.net.now_ms.fetch_add(50, Ordering::Relaxed);
        for host in self.hosts.values() {
            host.tick();
        }
    }

    /// Lets the next `count` messages arrive.
    pub(crate) fn deliver_some(&mut self, count: usize) {
        for _ in 0..count {
            self.deliver_one();
        }
    }

    /// Lets `ms` pass in ticks, while nothing arrives.
    pub(crate) fn pass_alone(&mut self, ms: u64) {
        for _ in 0..ms / 50 {
            self.tick();
        }
    }

    /// All have heard that all route by this ring.
    pub(crate) fn agree(&self, ring: &Ring) {
        for host in self.hosts.values() {
            for node in self.hosts.keys() {
                host.heard_ring(node, ring.id());
            }
        }
    }

    /// Lets `ms` pass in ticks.
    pub(crate) fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 50 {
            self.tick();
            self.deliver();
        }
    }

    /// Whether the move under way was told to be ready.
    pub(crate) fn is_ready(&self) -> bool {
        self.net.ready.lock().contains(&self.moving())
    }

    /// The ring after the move under way.
    pub(crate) fn moved(&self) -> Arc<Ring> {
        let mut ring = (*self.joined).clone();
        assert!(moves::complete(&mut ring, self.moving()));
        ring.epoch.0 += 1;
        Arc::new(ring)
    }

    pub(crate) fn report(&self) -> Report {
        self.host("a").report()
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

fn open(me: NodeName, ring: Arc<Ring>, world: Arc<At>, boot: u64, bytes_per_s: u64) -> Arc<Host> {
    let store: Arc<dyn Store> = Arc::new(Direct::new(Arc::new(Memory::new()), Faults::default()));
    let settings = Settings {
        boot,
        max_drift_ms: 500,
        transfers: 2,
        bytes_per_s,
        grace_ms: 500,
        anti_entropy_ms: 1_000,
        fault: Fault::None,
    };
    let services: Vec<Arc<dyn Service>> = vec![Arc::new(Ping), Arc::new(Largest)];
    let beginning = Beginning::Founded;
    Host::open(me, ring, services, store, world, settings, beginning).unwrap()
}
