//! This file answers: what is the world to a real node?
//!
//! Sockets for messages, the system's clocks, a thread for the ring's keeper, gossip for what others are told. It carries
//! and decides nothing.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Instant, UNIX_EPOCH};

use arc_swap::ArcSwap;
use rkv_cluster::gossip::Gossip;
use rkv_kv::Surroundings;
use rkv_quorum::clock::Clock;
use rkv_ring::cluster::{ClusterMessage, Event, Facts, Target};
use rkv_ring::{NodeName, Refusal, Ring};
use rkv_vnode::World;
use rkv_wire::handshake::PeerInfo;
use rkv_wire::message::{Envelope, Message};
use rkv_wire::tcp::TcpTransport;
use rkv_wire::transport::{Peer, Transport};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::presence::Presence;
use crate::{moment, wakes};

/// Time does not begin at 0: one before the start must be expressible.
const BEFORE_START_US: u64 = 10_000_000;

/// The world of one node.
pub(crate) struct RealWorld {
    me: NodeName,
    started: Instant,
    clock: Arc<Clock>,
    transport: Arc<TcpTransport>,
    /// Where each node is reached: from the ring, gossip and connections.
    peers: ArcSwap<BTreeMap<NodeName, Peer>>,
    keeper: parking_lot::Mutex<Sender<Event>>,
    /// Gossip ends with the node, however long this lives.
    gossip: OnceLock<Weak<dyn Gossip>>,
    /// What is to be published, until gossip is there.
    facts: parking_lot::Mutex<Option<Facts>>,
    left: watch::Sender<bool>,
    /// Who is there.
    pub(crate) presence: Presence,
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
            peers: ArcSwap::default(),
            keeper: parking_lot::Mutex::new(keeper),
            gossip: OnceLock::new(),
            facts: parking_lot::Mutex::new(None),
            left,
            presence: Presence::default(),
            runtime: Handle::current(),
        }
    }

    /// From now on `gossip` tells others what this node publishes.
    pub(crate) fn gossip_is(&self, gossip: &Arc<dyn Gossip>) {
        self.gossip.get_or_init(|| Arc::downgrade(gossip));
        if let Some(facts) = self.facts.lock().take() {
            gossip.publish(facts);
        }
    }

    fn gossip(&self) -> Option<Arc<dyn Gossip>> {
        self.gossip.get()?.upgrade()
    }

    /// `node` is reached at `address`.
    pub(crate) fn heard_address(&self, node: &NodeName, address: &str) {
        let known = self.peers.load();
        if address.is_empty() || known.get(node).is_some_and(|peer| peer.address == address) {
            return;
        }
        self.peers.rcu(|known| {
            let mut known = BTreeMap::clone(known);
            let peer = Peer {
                name: node.clone(),
                address: address.to_owned(),
            };
            known.insert(node.clone(), peer);
            known
        });
    }

    /// Who is reached at `address`.
    pub(crate) fn node_at(&self, address: &str) -> Option<NodeName> {
        let known = self.peers.load();
        let found = known.values().find(|peer| peer.address == address);
        found.map(|peer| peer.name.clone())
    }

    fn envelope(&self, message: Message) -> Envelope {
        Envelope {
            clock: self.clock.reading(self.wall_ms()),
            message,
        }
    }

    /// Answers a client, on the connection that it came by.
    pub(crate) fn reply(&self, client: &PeerInfo, message: Message) {
        self.transport.send(&client.peer(), self.envelope(message));
    }

    /// Sends to whoever is at `address`: its name is found out first. What is for a namesake of somebody known does not go
    /// the way to that one.
    fn send_to_address(&self, address: String, message: ClusterMessage) {
        let known = self.peers.load_full();
        let envelope = self.envelope(Message::Cluster(Box::new(message)));
        if let Some(peer) = known.values().find(|peer| peer.address == address) {
            return self.transport.send(peer, envelope);
        }
        let transport = self.transport.clone();
        let keeper = self.keeper.lock().clone();
        self.runtime.spawn(async move {
            match transport.connect(&address).await {
                Ok(peer) => {
                    let known = known.get(&peer.name);
                    let name = match known.is_some_and(|known| known.address != address) {
                        true => peer.life(),
                        false => peer.name,
                    };
                    transport.send(&Peer { name, address }, envelope);
                }
                Err(error) => {
                    tracing::warn!(address, %error, "cannot reach a peer address");
                    if error.is_wrong_secret() {
                        let refusal = Refusal::WrongSecret;
                        // A keeper that is gone is one that stops: nobody waits for it.
                        let _ = keeper.send(Event::TurnedAway { address, refusal });
                    }
                }
            }
        });
    }
}

impl World for RealWorld {
    fn now_ms(&self) -> u64 {
        self.now_us() / 1_000
    }

    fn now_us(&self) -> u64 {
        BEFORE_START_US + self.started.elapsed().as_micros() as u64
    }

    fn wall_ms(&self) -> u64 {
        let now = moment::wall().duration_since(UNIX_EPOCH);
        now.map_or(0, |since| since.as_millis() as u64)
    }

    fn send(&self, to: &NodeName, message: Message) {
        if let Some(peer) = self.peers.load().get(to) {
            self.transport.send(peer, self.envelope(message));
        }
    }

    fn together(&self, all: &mut dyn FnMut()) {
        let _moment = moment::hold();
        let _wakes = wakes::hold();
        all();
    }
}

impl Surroundings for RealWorld {
    fn tell_keeper(&self, event: Event) {
        // A keeper that is gone is one that stops: nobody waits for it.
        let _ = self.keeper.lock().send(event);
    }

    fn send_cluster(&self, to: Target, message: ClusterMessage) {
        match to {
            Target::Node(name) => self.send(&name, Message::Cluster(Box::new(message))),
            Target::Address(address) => self.send_to_address(address, message),
        }
    }

    fn publish(&self, facts: Facts) {
        match self.gossip() {
            Some(gossip) => gossip.publish(facts),
            None => *self.facts.lock() = Some(facts),
        }
    }

    fn adopted(&self, ring: &Arc<Ring>) {
        for (name, member) in &ring.members {
            if *name != self.me {
                self.heard_address(name, &member.addresses.peer);
                if let Some(gossip) = self.gossip() {
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
