//! This file answers: how do messages travel between machines?
//!
//! Each node dials each other once a lane, when it first has something to send, and sends on what it dialled: two
//! nodes hold two connections a lane, one a direction. So crossing dials need no agreement, and order on a lane is
//! the order of one socket. Clients are the exception: they cannot be dialled, so their answers go back on the
//! connection that they came by.
//!
//! A message costs a push on a locked queue, its place in a batch and its share of a write: no task, no allocation,
//! no other lock. Messages that are ready together leave in one write.

mod connection;
mod inbound;
mod link;
mod queue;
mod shake;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rkv_ring::NodeName;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

pub use self::inbound::{MAX_CLIENT_CONNECTIONS, MAX_HANDSHAKES, MAX_PEER_CONNECTIONS};
pub use self::queue::{BATCH_BYTES, BATCH_MESSAGES, QUEUE_BYTES, QUEUE_MESSAGES};
pub use self::shake::ConnectError;

use self::inbound::Inbound;
use self::link::Link;
use crate::faults::FaultSwitch;
use crate::handshake::{Identity, PeerInfo, Purpose, Secrets};
use crate::message::{Envelope, Lane};
use crate::transport::{Handler, Peer, Transport};

/// How long things may take.
#[derive(Debug, Clone)]
pub struct Timings {
    /// Until a socket is connected: 1 s. Longer means that packets go nowhere.
    pub connect: Duration,
    /// Until who was dialled has proved itself: 2 s. A paused node's kernel accepts for it.
    pub dial_handshake: Duration,
    /// Until who dialled has proved itself: 5 s. A busy machine is slow, a slow loris slower.
    pub accept_handshake: Duration,
    /// How often each end says that it lives: 1 s.
    pub beat: Duration,
    /// How many beats without a word until the other end counts as hung: 3.
    pub silent_beats: u32,
    /// How many beats in which the other end takes nothing of what is being written until it counts as hung: 10.
    pub stuck_beats: u32,
    /// The first wait after a failure: 20 ms.
    pub backoff_start: Duration,
    /// The longest: 500 ms, well below the 2 s in which gossip finds a node dead.
    pub backoff_most: Duration,
}

impl Default for Timings {
    fn default() -> Timings {
        Timings {
            connect: Duration::from_secs(1),
            dial_handshake: Duration::from_secs(2),
            accept_handshake: Duration::from_secs(5),
            beat: Duration::from_secs(1),
            silent_beats: 3,
            stuck_beats: 10,
            backoff_start: Duration::from_millis(20),
            backoff_most: Duration::from_millis(500),
        }
    }
}

/// What a TCP transport is told.
#[derive(Debug, Clone)]
pub struct TcpConfig {
    /// Who this end is.
    pub identity: Identity,
    /// What it proves that by.
    pub secrets: Secrets,
    /// How long things may take.
    pub timings: Timings,
    /// Links cut or slowed on purpose.
    pub faults: Arc<FaultSwitch>,
}

/// The ways to all nodes that were ever sent to.
type Links = BTreeMap<NodeName, Pair>;

#[derive(Debug, Clone)]
struct Pair {
    requests: Arc<Link>,
    bulk: Arc<Link>,
}

impl Pair {
    fn new(name: &NodeName) -> Pair {
        Pair {
            requests: Arc::new(Link::new(name.clone(), Purpose::Requests)),
            bulk: Arc::new(Link::new(name.clone(), Purpose::Bulk)),
        }
    }

    fn lane(&self, lane: Lane) -> &Arc<Link> {
        match lane {
            Lane::Requests => &self.requests,
            Lane::Bulk => &self.bulk,
        }
    }

    fn appeared(&self, peer: &PeerInfo) {
        self.requests.appeared(peer);
        self.bulk.appeared(peer);
    }
}

/// Messages over TCP. Dropping it ends everything soon, [`abort`](TcpTransport::abort) at once, and
/// [`close`](TcpTransport::close) politely.
pub struct TcpTransport {
    config: Arc<TcpConfig>,
    links: Arc<ArcSwap<Links>>,
    inbound: Arc<Inbound>,
    closing: watch::Sender<bool>,
    /// None before the start and after the end. Also serialises the making of links.
    running: Mutex<Option<Running>>,
}

struct Running {
    handler: Arc<dyn Handler>,
    runtime: Handle,
    tasks: JoinSet<()>,
}

impl Running {
    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(task, &self.runtime);
    }
}

impl TcpTransport {
    /// A transport that does nothing yet.
    pub fn new(config: TcpConfig) -> TcpTransport {
        let config = Arc::new(config);
        let links = Arc::new(ArcSwap::default());
        TcpTransport {
            inbound: Arc::new(Inbound::new(config.clone(), links.clone())),
            config,
            links,
            closing: watch::Sender::new(false),
            running: Mutex::new(None),
        }
    }

    /// Begins: what arrives goes to `handler`, on the runtime that this is called in. Before it, sends are dropped.
    /// Without a listener (a client) it only dials.
    pub fn start(&self, listener: Option<TcpListener>, handler: Arc<dyn Handler>) {
        let mut running = Running {
            handler: handler.clone(),
            runtime: Handle::current(),
            tasks: JoinSet::new(),
        };
        if let Some(listener) = listener {
            let inbound = self.inbound.clone();
            running.spawn(inbound.serve(listener, handler, self.closing.subscribe()));
        }
        *self.running.lock() = Some(running);
    }

    /// Asks who listens at `address`, for the joining of a cluster or a seed: what is known so far is only an address.
    /// The connection serves for that alone; a [`send`](Transport::send) to the name then found dials as ever.
    pub async fn connect(&self, address: &str) -> Result<PeerInfo, ConnectError> {
        let peer = shake::dial(&self.config, address, Purpose::Probe)
            .await?
            .peer;
        if let Some(pair) = self.links.load().get(&peer.name) {
            pair.appeared(&peer);
        }
        Ok(peer)
    }

    /// Whether a client is connected.
    pub fn has_clients(&self) -> bool {
        self.inbound.has_clients()
    }

    /// Links cut or slowed on purpose.
    pub fn faults(&self) -> &Arc<FaultSwitch> {
        &self.config.faults
    }

    /// Takes no more, writes what waits, waits for the other ends to have read it, ends. At most for `within`.
    pub async fn close(&self, within: Duration) {
        let Some(mut running) = self.running.lock().take() else {
            return;
        };
        self.closing.send_replace(true);
        for pair in self.links.load().values() {
            pair.requests.queue.close();
            pair.bulk.queue.close();
        }
        let all = async { while running.tasks.join_next().await.is_some() {} };
        if timeout(within, all).await.is_err() {
            tracing::warn!("connections still busy after {} ms", within.as_millis());
            running.tasks.shutdown().await;
        }
    }

    /// Ends everything at once, as a crash would; afterwards the listener's address is free.
    pub async fn abort(&self) {
        let running = self.running.lock().take();
        if let Some(mut running) = running {
            running.tasks.shutdown().await;
        }
    }

    /// The way to a node that was not sent to before.
    fn new_link(&self, name: &NodeName, lane: Lane) -> Option<Arc<Link>> {
        let mut running = self.running.lock();
        let running = running.as_mut()?;
        let links = self.links.load();
        if let Some(pair) = links.get(name) {
            return Some(pair.lane(lane).clone());
        }
        let pair = Pair::new(name);
        for link in [&pair.requests, &pair.bulk] {
            let task = Link::run(link.clone(), self.config.clone(), running.handler.clone());
            running.spawn(task);
        }
        let mut more = Links::clone(&links);
        more.insert(name.clone(), pair.clone());
        self.links.store(more.into());
        Some(pair.lane(lane).clone())
    }
}

impl Transport for TcpTransport {
    fn send(&self, to: &Peer, envelope: Envelope) {
        if to.address.is_empty() {
            match self.inbound.client(&to.name) {
                Some(queue) => queue.push("", envelope, None),
                None => tracing::debug!(to = %to.name, "an answer to a client that is gone"),
            }
            return;
        }
        let delay = self.config.faults.delay(&to.name);
        let lane = envelope.message.lane();
        if let Some(pair) = self.links.load().get(&to.name) {
            return pair.lane(lane).queue.push(&to.address, envelope, delay);
        }
        match self.new_link(&to.name, lane) {
            Some(link) => link.queue.push(&to.address, envelope, delay),
            None => tracing::debug!(to = %to.name, "a message before the start or after the end"),
        }
    }
}

impl fmt::Debug for TcpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpTransport")
            .field("identity", &self.config.identity)
            .finish_non_exhaustive()
    }
}
