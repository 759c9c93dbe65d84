//! This file answers: what is the world to a real node?
//!
//! Sockets for messages, the system's clocks, a thread for the ring's keeper, gossip for what others are told. It carries
//! and decides nothing.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use rkv_cluster::gossip::Gossip;
use rkv_kv::{Engine, Surroundings};
use rkv_quorum::clock::Clock;
use rkv_ring::cluster::{ClusterMessage, Event, Facts, Target};
use rkv_ring::{NodeName, Ring};
use rkv_vnode::World;
use rkv_wire::handshake::{PeerInfo, Role};
use rkv_wire::message::{Envelope, Message};
use rkv_wire::tcp::TcpTransport;
use rkv_wire::transport::{Handler, Peer, Transport};
use tokio::runtime::Handle;
use tokio::sync::watch;

/// The world of one node.
pub(crate) struct RealWorld {
    me: NodeName,
    started: Instant,
    clock: Arc<Clock>,
    transport: Arc<TcpTransport>,
    /// Where each node is reached: from the ring, gossip and connections.
    addresses: ArcSwap<BTreeMap<NodeName, String>>,
    keeper: parking_lot::Mutex<Sender<Event>>,
    gossip: OnceLock<Arc<dyn Gossip>>,
    /// What is to be published, until gossip is there.
    facts: parking_lot::Mutex<Option<Facts>>,
    left: watch::Sender<bool>,
    runtime: Handle,
}

impl RealWorld {
    /// A world that can speak and not yet hear; `left` is told when the cluster let this node go.
    pub(crate) fn new(
        me: NodeName,
        clock: Arc<Clock>,
        transport: Arc<TcpTransport>,
        keeper: Sender<Event>,
        left: watch::Sender<bool>,
    ) -> RealWorld {
        RealWorld {
            me,
            started: Instant::now(),
            clock,
            transport,
            addresses: ArcSwap::default(),
            keeper: parking_lot::Mutex::new(keeper),
            gossip: OnceLock::new(),
            facts: parking_lot::Mutex::new(None),
            left,
            runtime: Handle::current(),
        }
    }

    /// From now on `gossip` tells others what this node publishes.
    pub(crate) fn gossip_is(&self, gossip: Arc<dyn Gossip>) {
        let gossip = self.gossip.get_or_init(|| gossip);
        if let Some(facts) = self.facts.lock().take() {
            gossip.publish(facts);
        }
    }

    /// `node` is reached at `address`.
    pub(crate) fn heard_address(&self, node: &NodeName, address: &str) {
        if address.is_empty()
            || self.addresses.load().get(node).map(String::as_str) == Some(address)
        {
            return;
        }
        self.addresses.rcu(|known| {
            let mut known = BTreeMap::clone(known);
            known.insert(node.clone(), address.to_owned());
            known
        });
    }

    /// Who is reached at `address`.
    pub(crate) fn node_at(&self, address: &str) -> Option<NodeName> {
        let known = self.addresses.load();
        let found = known.iter().find(|(_, known)| *known == address);
        found.map(|(node, _)| node.clone())
    }

    fn envelope(&self, message: Message) -> Envelope {
        Envelope {
            clock: self.clock.reading(self.wall_ms()),
            message,
        }
    }

    /// Sends to whoever is at `address`: its name is found out first.
    fn send_to_address(&self, address: String, message: ClusterMessage) {
        let known = self.addresses.load();
        let envelope = self.envelope(Message::Cluster(message));
        if let Some((name, _)) = known.iter().find(|(_, known)| **known == address) {
            let name = name.clone();
            return self.transport.send(&Peer { name, address }, envelope);
        }
        let transport = self.transport.clone();
        self.runtime.spawn(async move {
            match transport.connect(&address).await {
                Ok(peer) => transport.send(
                    &Peer {
                        name: peer.name,
                        address,
                    },
                    envelope,
                ),
                Err(error) => tracing::warn!(address, %error, "cannot reach a peer address"),
            }
        });
    }
}

impl World for RealWorld {
    fn now_ms(&self) -> u64 {
        // Not from 0: a time before the start must be expressible.
        10_000 + self.started.elapsed().as_millis() as u64
    }

    fn wall_ms(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.map_or(0, |since| since.as_millis() as u64)
    }

    fn send(&self, to: &NodeName, message: Message) {
        let Some(address) = self.addresses.load().get(to).cloned() else {
            return;
        };
        let peer = Peer {
            name: to.clone(),
            address,
        };
        self.transport.send(&peer, self.envelope(message));
    }
}

impl Surroundings for RealWorld {
    fn tell_keeper(&self, event: Event) {
        // A keeper that is gone is one that stops: nobody waits for it.
        let _ = self.keeper.lock().send(event);
    }

    fn send_cluster(&self, to: Target, message: ClusterMessage) {
        match to {
            Target::Node(name) => self.send(&name, Message::Cluster(message)),
            Target::Address(address) => self.send_to_address(address, message),
        }
    }

    fn publish(&self, facts: Facts) {
        match self.gossip.get() {
            Some(gossip) => gossip.publish(facts),
            None => *self.facts.lock() = Some(facts),
        }
    }

    fn adopted(&self, ring: &Arc<Ring>) {
        for (name, member) in &ring.members {
            if *name != self.me {
                self.heard_address(name, &member.addresses.peer);
                if let Some(gossip) = self.gossip.get() {
                    gossip.add_seed(&member.addresses.peer);
                }
            }
        }
        tracing::info!(
            epoch = ring.epoch.0,
            moves = ring.moves.len(),
            "ring adopted"
        );
    }

    fn left(&self) {
        self.left.send_replace(true);
    }

    fn warn(&self, text: String) {
        tracing::warn!("{text}");
    }
}

/// What arrives by sockets, on its way to the engine.
pub(crate) struct Inbox {
    pub(crate) engine: Weak<Engine>,
    pub(crate) world: Arc<RealWorld>,
}

impl Handler for Inbox {
    fn message(&self, from: &PeerInfo, envelope: Envelope) {
        let Some(engine) = self.engine.upgrade() else {
            return;
        };
        match from.role {
            Role::Peer => {
                self.world.heard_address(&from.name, &from.address);
                engine.message(&from.name, envelope);
            }
            // A client may ask vnodes, nothing else; and it has no clock that a node would learn from.
            Role::Client => {
                if matches!(envelope.message, Message::Command { .. }) {
                    self.world.heard_address(&from.name, &from.address);
                    engine.message(
                        &from.name,
                        Envelope {
                            clock: 0,
                            ..envelope
                        },
                    );
                }
            }
        }
    }

    fn unreachable(&self, name: &NodeName, undelivered: Vec<Envelope>) {
        if let Some(engine) = self.engine.upgrade() {
            engine.connection_lost(name);
            engine.unreachable(name, &undelivered);
        }
    }

    fn overloaded(&self, name: &NodeName, undelivered: Vec<Envelope>) {
        if let Some(engine) = self.engine.upgrade() {
            engine.unreachable(name, &undelivered);
        }
    }
}
