//! This file answers: how does one node keep up its way to another?
//!
//! A link is a queue and a task. It dials when there is something to send, keeps the connection, and after a failure
//! or a loss waits a little longer each time. What is sent during that wait comes back at once: the node was found
//! gone a moment ago, and whoever sends has others to ask. The wait ends early when that node itself turns up. Whoever is
//! missed is dialled though there is nothing to send: that nobody listens there any more is worth knowing at once.
//!
//! Whatever waited when a connection was lost is handed back, so nothing that was meant for one life of a node is
//! sent to its next.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rkv_ring::{Incarnation, NodeName, boot};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use crate::handshake::{PeerInfo, Purpose};
use crate::message::Envelope;
use crate::tcp::TcpConfig;
use crate::tcp::connection::Connection;
use crate::tcp::queue::Queue;
use crate::tcp::shake::{ConnectError, Established, dial};
use crate::transport::Handler;

/// The way to one node on one lane.
#[derive(Debug)]
pub(super) struct Link {
    name: NodeName,
    purpose: Purpose,
    pub(super) queue: Queue,
    /// The life in which the node last turned up here.
    latest: Mutex<Option<Life>>,
    appeared: Notify,
}

type Life = (Incarnation, u64);

impl Link {
    pub(super) fn new(name: NodeName, purpose: Purpose) -> Link {
        Link {
            name,
            purpose,
            queue: Queue::default(),
            latest: Mutex::default(),
            appeared: Notify::new(),
        }
    }

    /// The node has just proved to be there: ends a back-off, and a connection to an earlier life of it.
    pub(super) fn appeared(&self, peer: &PeerInfo) {
        *self.latest.lock() = Some((peer.incarnation, peer.boot));
        self.appeared.notify_one();
    }

    /// The task of this link; ends when its queue is closed.
    pub(super) async fn run(self: Arc<Link>, config: Arc<TcpConfig>, handler: Arc<dyn Handler>) {
        let mut backoff = Backoff::new(&config);
        let mut knocks = false;
        loop {
            while !self.queue.has_work() {
                if self.queue.is_closing() {
                    return;
                }
                if std::mem::take(&mut knocks) {
                    break;
                }
                self.queue.woken().await;
            }
            let undelivered = match self.dial(&config).await {
                Ok(established) => {
                    handler.appeared(&established.peer);
                    let since = Instant::now();
                    let undelivered = self.talk(established, &config, &handler).await;
                    backoff.lived(since.elapsed());
                    undelivered
                }
                Err(error) => {
                    self.log_failure(&error, backoff.is_first());
                    if error.is_refused() {
                        handler.refused(&self.name);
                    }
                    self.queue.drain()
                }
            };
            knocks = self.purpose == Purpose::Requests && handler.is_missed(&self.name);
            if !self.queue.is_closing() || !undelivered.is_empty() {
                handler.unreachable(&self.name, undelivered);
            }
            self.wait(backoff.next(), &handler).await;
        }
    }

    async fn dial(&self, config: &TcpConfig) -> Result<Established, ConnectError> {
        if config.faults.drops(&self.name) {
            sleep(config.timings.connect).await;
            return Err(ConnectError::Timeout(config.timings.connect));
        }
        let established = dial(config, &self.queue.address(), self.purpose).await?;
        let peer = &established.peer;
        match peer.name == self.name || peer.life() == self.name {
            true => Ok(established),
            false => Err(ConnectError::WrongName {
                expected: self.name.clone(),
                found: established.peer.name,
            }),
        }
    }

    /// Keeps the connection until it ends; returns what never left.
    async fn talk(
        &self,
        established: Established,
        config: &TcpConfig,
        handler: &Arc<dyn Handler>,
    ) -> Vec<Envelope> {
        let life = (established.peer.incarnation, established.peer.boot);
        tracing::debug!(node = %self.name, lane = ?self.purpose, "connected");
        let connection = Connection {
            config,
            handler,
            queue: &self.queue,
        };
        let (ending, undelivered) = connection.run(established, self.next_life(life)).await;
        if !self.queue.is_closing() {
            tracing::info!(node = %self.name, lane = ?self.purpose, %ending, "connection lost");
        }
        undelivered
    }

    /// Until the node turns up in a later life than `life` of the same folder.
    async fn next_life(&self, life: Life) -> &'static str {
        loop {
            self.appeared.notified().await;
            let latest = *self.latest.lock();
            if latest.is_some_and(|(folder, number)| {
                folder == life.0 && number != life.1 && !boot::is_outdated(number, life.1)
            }) {
                return "its node was started anew";
            }
        }
    }

    /// Waits until `wait` is over or the node turns up; hands back what is sent meanwhile.
    async fn wait(&self, wait: Duration, handler: &Arc<dyn Handler>) {
        let until = Instant::now() + wait;
        loop {
            tokio::select! {
                biased; // who sends because the node turned up is not told that it is gone
                () = self.appeared.notified() => return,
                () = sleep_until(until) => return,
                () = self.queue.woken() => {
                    let undelivered = self.queue.drain();
                    if !undelivered.is_empty() {
                        handler.unreachable(&self.name, undelivered);
                    }
                    if self.queue.is_closing() {
                        return;
                    }
                }
            }
        }
    }

    /// A node that stays away is news once.
    fn log_failure(&self, error: &ConnectError, first: bool) {
        let (node, lane, address) = (&self.name, self.purpose, self.queue.address());
        if first {
            tracing::warn!(%node, ?lane, address, %error, "cannot connect");
        } else {
            tracing::debug!(%node, ?lane, address, %error, "still cannot connect");
        }
    }
}

/// How long to wait before the next try.
struct Backoff {
    start: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    fn new(config: &TcpConfig) -> Backoff {
        let timings = &config.timings;
        Backoff {
            start: timings.backoff_start,
            most: timings.backoff_most,
            next: timings.backoff_start,
        }
    }

    fn is_first(&self) -> bool {
        self.next == self.start
    }

    /// A connection lasted `time`: long enough, and the next failure is a first one.
    fn lived(&mut self, time: Duration) {
        if time >= self.most {
            self.next = self.start;
        }
    }

    fn next(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.most);
        wait
    }
}
