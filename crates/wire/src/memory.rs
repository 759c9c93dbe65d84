//! This file answers: how do messages travel within one process, for tests?
//!
//! A [`Network`] holds what was sent until the test delivers it, so a test decides what arrives when. Every message
//! goes through the real codec: what tests send is what sockets carry. Without bounds, unlike a socket's queues.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::BytesMut;
use parking_lot::Mutex;
use rkv_ring::NodeName;
use tokio::sync::Notify;

use crate::codec::{Batch, Decoder, Limits};
use crate::handshake::{Identity, PeerInfo};
use crate::message::{Envelope, Lane};
use crate::transport::{Handler, Peer, Transport};

/// Nodes of one process that can talk to each other. Cheap to clone.
#[derive(Clone, Default)]
pub struct Network {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Held while a handler is called: messages arrive one after the other.
    delivering: Mutex<()>,
    sent: Notify,
}

#[derive(Default)]
struct State {
    nodes: BTreeMap<NodeName, Node>,
    queues: BTreeMap<Route, VecDeque<Parcel>>,
    cut: BTreeSet<(NodeName, NodeName)>,
    /// How many of the next messages of a link are lost without a trace.
    lossy: BTreeMap<(NodeName, NodeName), usize>,
    number: u64,
}

/// From, to, lane.
type Route = (NodeName, NodeName, Lane);

struct Node {
    info: PeerInfo,
    handler: Arc<dyn Handler>,
}

struct Parcel {
    /// Place in the order of all that was sent.
    number: u64,
    content: Content,
}

enum Content {
    Frame(BytesMut),
    /// Breaks a bound.
    Unsendable(Box<Envelope>),
}

impl Network {
    /// Nobody on it.
    pub fn new() -> Network {
        Network::default()
    }

    /// The transport of a node, or of a client. It is there once started; the same name again replaces it, as a
    /// restart would.
    pub fn node(&self, identity: &Identity) -> MemoryTransport {
        let info = PeerInfo {
            name: identity.name.clone(),
            incarnation: identity.incarnation,
            boot: identity.boot,
            role: identity.role,
            address: identity.address.clone(),
            cluster: identity.cluster.clone(),
            version: identity.protocol.1,
        };
        MemoryTransport {
            network: self.clone(),
            info,
        }
    }

    /// Takes `name` off the network: what it had sent and nobody has yet received is lost.
    pub fn stop(&self, name: &NodeName) {
        let mut state = self.shared.state.lock();
        state.nodes.remove(name);
        state.queues.retain(|(from, _, _), _| from != name);
    }

    /// From now on messages from `from` to `to` come back as undelivered, those under way too.
    pub fn cut(&self, from: &NodeName, to: &NodeName) {
        let link = (from.clone(), to.clone());
        self.shared.state.lock().cut.insert(link);
    }

    /// Takes back every [`cut`](Network::cut) and [`lose`](Network::lose).
    pub fn heal(&self) {
        let mut state = self.shared.state.lock();
        state.cut.clear();
        state.lossy.clear();
    }

    /// The next `count` messages delivered from `from` to `to` vanish, and nobody hears of it.
    pub fn lose(&self, from: &NodeName, to: &NodeName, count: usize) {
        let link = (from.clone(), to.clone());
        self.shared.state.lock().lossy.insert(link, count);
    }

    /// Messages sent and not yet delivered.
    pub fn waiting(&self) -> usize {
        let state = self.shared.state.lock();
        state.queues.values().map(VecDeque::len).sum()
    }

    /// Delivers the oldest message; false when there is none. Not to be called by a handler.
    pub fn step(&self) -> bool {
        self.step_where(|_, _, _| true)
    }

    /// Delivers the oldest message of the links and lanes (from, to, lane) that `chosen` picks.
    pub fn step_where(&self, chosen: impl Fn(&NodeName, &NodeName, Lane) -> bool) -> bool {
        let _one_at_a_time = self.shared.delivering.lock();
        let Some(arrival) = self.shared.state.lock().next(chosen) else {
            return false;
        };
        arrival.happen();
        true
    }

    /// Delivers until nothing is under way; returns how many messages that were.
    pub fn run(&self) -> usize {
        let mut steps = 0;
        while self.step() {
            steps += 1;
        }
        steps
    }

    /// Delivers for ever: for tests on a runtime, in a task of its own.
    pub async fn keep_running(&self) {
        loop {
            self.run();
            self.shared.sent.notified().await;
        }
    }
}

/// What a step does, once the lock is released.
enum Arrival {
    Lost,
    Message(Arc<dyn Handler>, PeerInfo, Box<Envelope>),
    Unreachable(Arc<dyn Handler>, NodeName, Box<Envelope>),
    Unsendable(Arc<dyn Handler>, NodeName, Box<Envelope>),
}

impl Arrival {
    fn happen(self) {
        match self {
            Arrival::Lost => {}
            Arrival::Message(handler, from, envelope) => handler.message(&from, *envelope),
            Arrival::Unreachable(handler, to, envelope) => {
                handler.unreachable(&to, vec![*envelope]);
            }
            Arrival::Unsendable(handler, to, envelope) => {
                handler.overloaded(&to, vec![*envelope]);
            }
        }
    }
}

impl State {
    fn next(&mut self, chosen: impl Fn(&NodeName, &NodeName, Lane) -> bool) -> Option<Arrival> {
        let oldest = self
            .queues
            .iter()
            .filter(|((from, to, lane), _)| chosen(from, to, *lane))
            .filter_map(|(route, queue)| Some((queue.front()?.number, route.clone())))
            .min();
        let (_, route) = oldest?;
        let parcel = self.queues.get_mut(&route)?.pop_front()?;
        let (from, to, _) = route;
        Some(self.arrival(from, to, parcel.content))
    }

    fn arrival(&mut self, from: NodeName, to: NodeName, content: Content) -> Arrival {
        let Some(sender) = self.nodes.get(&from) else {
            return Arrival::Lost;
        };
        let link = (from, to);
        if let Some(count) = self.lossy.get_mut(&link).filter(|count| **count > 0) {
            *count -= 1;
            return Arrival::Lost;
        }
        let cut = self.cut.contains(&link);
        let to = link.1;
        let frame = match content {
            Content::Frame(frame) => frame,
            Content::Unsendable(envelope) => {
                return Arrival::Unsendable(sender.handler.clone(), to, envelope);
            }
        };
        let envelope = Box::new(decode(frame));
        match self.nodes.get(&to).filter(|_| !cut) {
            Some(node) => Arrival::Message(node.handler.clone(), sender.info.clone(), envelope),
            None => Arrival::Unreachable(sender.handler.clone(), to, envelope),
        }
    }
}

fn decode(mut frame: BytesMut) -> Envelope {
    Decoder::new(Limits::NODE)
        .next(&mut frame)
        .ok()
        .flatten()
        .and_then(|frame| frame.into_message().ok())
        .expect("what the codec wrote it can read")
}

/// One node's end of a [`Network`].
pub struct MemoryTransport {
    network: Network,
    info: PeerInfo,
}

impl MemoryTransport {
    /// From now on messages to this node go to `handler`.
    pub fn start(&self, handler: Arc<dyn Handler>) {
        let node = Node {
            info: self.info.clone(),
            handler,
        };
        let mut state = self.network.shared.state.lock();
        state.nodes.insert(self.info.name.clone(), node);
    }

    /// Asks whether a node listens at `address`, as [`TcpTransport::connect`](crate::tcp::TcpTransport::connect) does.
    pub fn connect(&self, address: &str) -> Option<PeerInfo> {
        let state = self.network.shared.state.lock();
        let found = state
            .nodes
            .values()
            .find(|node| node.info.address == address)?;
        let (here, there) = (&self.info.name, &found.info.name);
        let cut = |from: &NodeName, to: &NodeName| state.cut.contains(&(from.clone(), to.clone()));
        (!cut(here, there) && !cut(there, here)).then(|| found.info.clone())
    }
}

impl Transport for MemoryTransport {
    fn send(&self, to: &Peer, envelope: Envelope) {
        let lane = envelope.message.lane();
        let mut batch = Batch::new();
        let content = match batch.push(&envelope) {
            Ok(()) => {
                let mut frame = BytesMut::with_capacity(batch.len());
                batch.copy_to(&mut frame);
                Content::Frame(frame)
            }
            Err(_) => Content::Unsendable(Box::new(envelope)),
        };
        let mut state = self.network.shared.state.lock();
        state.number += 1;
        let number = state.number;
        let route = (self.info.name.clone(), to.name.clone(), lane);
        let queue = state.queues.entry(route).or_default();
        queue.push_back(Parcel { number, content });
        drop(state);
        self.network.shared.sent.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rkv_ring::Incarnation;

    use super::*;
    use crate::codec::MAX_BODY;
    use crate::handshake::Role;
    use crate::message::{Answer, Message, RequestId};

    /// What a node heard, in words.
    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Handler for Heard {
        fn message(&self, from: &PeerInfo, envelope: Envelope) {
            let body = envelope.message.body().map_or(0, Bytes::len);
            let line = format!("{} says {} with {body} bytes", from.name, envelope.clock);
            self.0.lock().push(line);
        }

        fn unreachable(&self, name: &NodeName, undelivered: Vec<Envelope>) {
            let back: Vec<u64> = undelivered.iter().map(|envelope| envelope.clock).collect();
            self.0.lock().push(format!("{name} unreachable {back:?}"));
        }
    }

    fn node(network: &Network, name: &str) -> (MemoryTransport, Arc<Heard>, Peer) {
        let transport = network.node(&Identity {
            name: name.into(),
            incarnation: Incarnation(1),
            boot: 1,
            role: Role::Peer,
            address: format!("{name}:1"),
            cluster: "test".into(),
            protocol: (1, 1),
        });
        let heard = Arc::new(Heard::default());
        transport.start(heard.clone());
        let peer = transport.info.peer();
        (transport, heard, peer)
    }

    fn say(clock: u64, body: usize) -> Envelope {
        Envelope {
            clock,
            message: Message::Answer {
                id: RequestId(clock),
                answer: Answer::Found,
                body: Bytes::from(vec![0; body]),
            },
        }
    }

    /// Lost without it: tests of everything above that pass although what they say could not be said over a socket.
    #[test]
    fn tests_decide_what_arrives_when() {
        let network = Network::new();
        let (a, heard_a, at_a) = node(&network, "a");
        let (b, heard_b, at_b) = node(&network, "b");
        let (c, _, at_c) = node(&network, "c");
        let heard = |heard: &Heard| std::mem::take(&mut *heard.0.lock());
        let (name_a, name_b) = (&at_a.name, &at_b.name);

        a.send(&at_b, say(1, 10));
        c.send(&at_b, say(2, 0));
        a.send(&at_b, say(3, 5000));
        assert_eq!(network.waiting(), 3);
        assert!(network.step_where(|from, _, _| from == &at_c.name));
        assert_eq!(network.run(), 2);
        assert_eq!(
            heard(&heard_b),
            [
                "c says 2 with 0 bytes",
                "a says 1 with 10 bytes",
                "a says 3 with 5000 bytes"
            ]
        );

        assert_eq!(a.connect("b:1").map(|info| info.peer()), Some(at_b.clone()));
        network.cut(name_a, name_b);
        assert_eq!(a.connect("b:1"), None);
        a.send(&at_b, say(4, 0));
        b.send(&at_a, say(5, 0));
        network.run();
        assert_eq!(
            heard(&heard_a),
            ["b unreachable [4]", "b says 5 with 0 bytes"]
        );

        network.heal();
        network.lose(name_a, name_b, 1);
        a.send(&at_b, say(6, 0));
        a.send(&at_b, say(7, 0));
        a.send(&at_b, say(8, MAX_BODY + 1));
        network.run();
        assert_eq!(heard(&heard_b), ["a says 7 with 0 bytes"]);
        assert_eq!(heard(&heard_a), ["b unreachable [8]"]);

        b.send(&at_a, say(9, 0));
        a.send(&at_b, say(10, 0));
        network.stop(name_b);
        network.run();
        assert_eq!(heard(&heard_a), ["b unreachable [10]"]);
        assert!(heard(&heard_b).is_empty());
    }
}
