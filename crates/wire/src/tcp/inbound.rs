//! This file answers: who is let in, and how many?
//!
//! A connection that a node dialled carries that node's messages only; ours to it take the one that we dialled. A
//! client has no listener, so its answers go back on the connection it came by.

use std::collections::BTreeMap;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rkv_ring::{Incarnation, NodeName};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::handshake::{PeerInfo, Purpose, Role};
use crate::tcp::connection::{Connection, Ending};
use crate::tcp::queue::Queue;
use crate::tcp::shake::{ConnectError, accept};
use crate::tcp::{Links, TcpConfig};
use crate::transport::Handler;

/// Most connections that have not said who they are; each may take [`Timings::accept_handshake`] for it.
///
/// [`Timings::accept_handshake`]: crate::tcp::Timings
pub const MAX_HANDSHAKES: usize = 256;
/// Most connections dialled by nodes.
pub const MAX_PEER_CONNECTIONS: usize = 4096;
/// Most connections dialled by clients.
pub const MAX_CLIENT_CONNECTIONS: usize = 4096;
/// How long to wait when the system gives no more sockets.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// All that was dialled from elsewhere.
pub(super) struct Inbound {
    config: Arc<TcpConfig>,
    links: Arc<ArcSwap<Links>>,
    handshakes: Arc<Semaphore>,
    peers: Arc<Semaphore>,
    clients: Arc<Semaphore>,
    /// For each origin, the connection that is read.
    turns: Mutex<BTreeMap<Origin, Turn>>,
    /// Answers to each client.
    answers: ArcSwap<BTreeMap<NodeName, Arc<Queue>>>,
    /// Serialises changes of `answers`.
    changes: Mutex<()>,
    numbers: AtomicU64,
}

/// What a node dials once.
type Origin = (NodeName, Incarnation, Purpose);

/// Of several connections from one origin the newest is right: the node gave the others up. It is read only when the
/// one before is no longer, so that messages stay in order.
#[derive(Clone)]
struct Turn {
    number: u64,
    replaced: Arc<Notify>,
    reading: Arc<tokio::sync::Mutex<()>>,
}

impl Inbound {
    pub(super) fn new(config: Arc<TcpConfig>, links: Arc<ArcSwap<Links>>) -> Inbound {
        Inbound {
            config,
            links,
            handshakes: Arc::new(Semaphore::new(MAX_HANDSHAKES)),
            peers: Arc::new(Semaphore::new(MAX_PEER_CONNECTIONS)),
            clients: Arc::new(Semaphore::new(MAX_CLIENT_CONNECTIONS)),
            turns: Mutex::default(),
            answers: ArcSwap::default(),
            changes: Mutex::default(),
            numbers: AtomicU64::default(),
        }
    }

    /// The queue of answers to a client, while it is connected.
    pub(super) fn client(&self, name: &NodeName) -> Option<Arc<Queue>> {
        self.answers.load().get(name).cloned()
    }

    /// Whether a client is connected.
    pub(super) fn has_clients(&self) -> bool {
        !self.answers.load().is_empty()
    }

    /// Accepts until `closing`, then lets every connection write what waits.
    pub(super) async fn serve(
        self: Arc<Inbound>,
        listener: TcpListener,
        handler: Arc<dyn Handler>,
        mut closing: watch::Receiver<bool>,
    ) {
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                _ = closing.changed() => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, from)) => {
                        let Ok(slot) = self.handshakes.clone().try_acquire_owned() else {
                            tracing::warn!(%from, "turned away: too many handshakes under way");
                            continue;
                        };
                        let (inbound, handler) = (self.clone(), handler.clone());
                        tasks.spawn(inbound.welcome(stream, from, slot, handler, closing.clone()));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept connections");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = tasks.join_next() => {}
            }
        }
        drop(listener);
        while tasks.join_next().await.is_some() {}
    }

    /// The task of one connection.
    async fn welcome(
        self: Arc<Inbound>,
        stream: TcpStream,
        from: SocketAddr,
        slot: OwnedSemaphorePermit,
        handler: Arc<dyn Handler>,
        mut closing: watch::Receiver<bool>,
    ) {
        let mut established = match accept(&self.config, stream, from).await {
            Ok(established) => established,
            Err(error) => return turned_away(from, &error, &handler),
        };
        drop(slot);
        if established.purpose == Purpose::Probe {
            return;
        }
        let room = match established.peer.role {
            Role::Peer => self.peers.clone().try_acquire_owned(),
            Role::Client => self.clients.clone().try_acquire_owned(),
        };
        let Ok(_room) = room else {
            tracing::warn!(%from, name = %established.peer.name, "turned away: too many connections");
            return;
        };
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let queue = Arc::new(Queue::default());
        match established.peer.role {
            Role::Peer => {
                if let Some(pair) = self.links.load().get(&established.peer.name) {
                    pair.appeared(&established.peer);
                }
                handler.appeared(&established.peer);
            }
            Role::Client => {
                established.peer.name = format!("client-{number}-{}", established.peer.name).into();
                established.peer.address.clear();
            }
        }
        let visit = Visit::begin(
            &self,
            &established.peer,
            established.purpose,
            number,
            &queue,
        );
        let connection = Connection {
            config: &self.config,
            handler: &handler,
            queue: &queue,
        };
        let _reading = visit.turn.reading.lock().await;
        let replaced = async {
            tokio::select! {
                () = visit.turn.replaced.notified() => "a newer connection of the same node",
                _ = closing.changed() => {
                    queue.close();
                    pending().await
                }
            }
        };
        let peer = established.peer.clone();
        let (ending, undelivered) = connection.run(established, replaced).await;
        match &ending {
            // it has the secret and breaks the rules: a bug on one side, or a broken machine
            Ending::Frame(error) => tracing::warn!(%from, name = %peer.name, %error, "bad frame"),
            ending => tracing::debug!(%from, name = %peer.name, %ending, "connection ended"),
        }
        if peer.role == Role::Client && !undelivered.is_empty() {
            handler.unreachable(&peer.name, undelivered);
        }
    }
}

/// The entries of one connection in the tables; taken out when it ends, however it ends.
struct Visit<'a> {
    inbound: &'a Inbound,
    origin: Origin,
    role: Role,
    turn: Turn,
}

impl Visit<'_> {
    fn begin<'a>(
        inbound: &'a Inbound,
        peer: &PeerInfo,
        purpose: Purpose,
        number: u64,
        queue: &Arc<Queue>,
    ) -> Visit<'a> {
        let origin = (peer.name.clone(), peer.incarnation, purpose);
        let mut turns = inbound.turns.lock();
        let before = turns.get(&origin);
        if let Some(before) = before {
            before.replaced.notify_one();
        }
        let turn = Turn {
            number,
            replaced: Arc::new(Notify::new()),
            reading: before.map_or_else(Arc::default, |before| before.reading.clone()),
        };
        turns.insert(origin.clone(), turn.clone());
        drop(turns);
        if peer.role == Role::Client {
            inbound.change_answers(|answers| answers.insert(peer.name.clone(), queue.clone()));
        }
        Visit {
            inbound,
            origin,
            role: peer.role,
            turn,
        }
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        let mut turns = self.inbound.turns.lock();
        if turns
            .get(&self.origin)
            .is_some_and(|turn| turn.number == self.turn.number)
        {
            turns.remove(&self.origin);
        }
        drop(turns);
        if self.role == Role::Client {
            self.inbound
                .change_answers(|answers| answers.remove(&self.origin.0));
        }
    }
}

impl Inbound {
    fn change_answers<T>(&self, change: impl FnOnce(&mut BTreeMap<NodeName, Arc<Queue>>) -> T) {
        let _serialised = self.changes.lock();
        let mut answers = BTreeMap::clone(&self.answers.load());
        change(&mut answers);
        self.answers.store(answers.into());
    }
}

fn turned_away(from: SocketAddr, error: &ConnectError, handler: &Arc<dyn Handler>) {
    match error {
        ConnectError::Handshake(error) => {
            tracing::warn!(%from, %error, "turned away");
            handler.turned_away(&from.to_string(), error);
        }
        error => tracing::debug!(%from, %error, "no handshake"),
    }
}
