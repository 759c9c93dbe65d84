//! This file answers: in which order do the parts of a node come up, and go down?
//!
//! Up: folder, ring, store, vnodes, keeper, gossip, and last the peers' listener. Down: the same in reverse, each part
//! finishing what it has begun.

use std::sync::Arc;
use std::time::Duration;

use rkv_cluster::gossip::Gossip as _;
use rkv_kv::Engine;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clients::Clients;
use crate::inbox::Inbox;
use crate::opening::{Parts, open};
use crate::routine::{TICK, go_on, join_seeds, tick};
use crate::settings::{Settings, Switches};

/// How long clients are still told to ask elsewhere before connections close.
const LAST_CALL: Duration = Duration::from_millis(300);
/// How often it is looked whether every part is still there.
const VITAL_SIGNS: Duration = Duration::from_millis(500);
/// How long the last messages may take to leave.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// One node that runs. To be closed: dropping it leaves its threads running.
pub struct Node {
    parts: Parts,
    clients: Arc<Clients>,
    ticker: JoinHandle<()>,
    usher: JoinHandle<()>,
    joiner: JoinHandle<()>,
    left: watch::Receiver<bool>,
}

impl Node {
    /// Opens the folder, or makes it, and serves peers on `listener` (and gossip on the same number). Tasks run on the
    /// runtime that this is called in.
    pub fn start(
        settings: &Settings,
        listener: TcpListener,
        switches: Switches,
    ) -> anyhow::Result<Node> {
        let (leave, left) = watch::channel(false);
        let parts = open(settings, listener.local_addr()?, switches, leave)?;
        let clients = Arc::new(Clients::new(parts.world.clone()));
        let inbox = Inbox {
            engine: Arc::downgrade(&parts.engine),
            world: parts.world.clone(),
            clients: clients.clone(),
        };
        parts.transport.start(Some(listener), Arc::new(inbox));
        let ticker = tokio::spawn(tick(Arc::downgrade(&parts.engine)));
        let usher = tokio::spawn(go_on(Arc::downgrade(&parts.engine)));
        let seeds = settings.seeds.clone();
        let joiner = tokio::spawn(join_seeds(seeds, Arc::downgrade(&parts.engine)));
        Ok(Node {
            parts,
            clients,
            ticker,
            usher,
            joiner,
            left,
        })
    }

    /// What coordinates requests and knows the ring.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.parts.engine
    }

    /// Until the cluster has let this node go; never, if it does not.
    pub async fn let_go(&self) {
        let mut left = self.left.clone();
        if left.wait_for(|left| *left).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Until a part without which a node only seems to live has ended by a fault, nearly always a panic: what it was.
    /// Never, if none does. Then [`kill`](Node::kill) is the way out: a crash is what every promise is made for.
    pub async fn broken(&self) -> &'static str {
        let mut pulse = tokio::time::interval(VITAL_SIGNS);
        loop {
            pulse.tick().await;
            let parts = &self.parts;
            let signs = [
                ("the clock of the vnodes", self.ticker.is_finished()),
                ("the usher of the transfers", self.usher.is_finished()),
                ("the keeper of the ring", parts.keeper.is_finished()),
                ("gossip", parts.gossip.has_ended()),
                ("the writer of the storage", parts.store.has_ended()),
                ("a step of a vnode", parts.engine.host().is_broken()),
            ];
            if let Some((part, _)) = signs.into_iter().find(|(_, has_ended)| *has_ended) {
                return part;
            }
        }
    }

    /// Tells the other nodes, and clients that ask, that this one is about to stop.
    pub fn say_goodbye(&self) {
        self.clients.drain();
        self.parts.gossip.say_goodbye();
        self.joiner.abort();
    }

    /// Until clients had the time to hear that they are to ask elsewhere, and no request is under way here. What is on its
    /// way when the connection closes would have to count as unknown.
    pub async fn finished(&self) {
        if self.parts.transport.has_clients() {
            tokio::time::sleep(LAST_CALL).await;
        }
        while self.parts.engine.in_flight() > 0 {
            tokio::time::sleep(TICK).await;
        }
    }

    /// Stops: what was written is on disk, and the folder says that the stop was clean.
    pub async fn close(self) -> anyhow::Result<()> {
        self.ticker.abort();
        self.usher.abort();
        self.joiner.abort();
        drop(self.clients);
        self.parts.transport.close(LAST_WORDS).await;
        let closing = self.parts.store.clone();
        let closed = tokio::task::spawn_blocking(move || closing.close()).await?;
        let mut parts = self.parts;
        match closed {
            Ok(()) => parts.identity.mark_clean()?,
            Err(error) => tracing::error!(%error, "storage did not close cleanly"),
        }
        tokio::task::spawn_blocking(move || parts.end()).await?;
        tracing::info!("stopped");
        Ok(())
    }

    /// Ends at once, as a crash would: nobody is told and nothing is finished. For tests; afterwards the addresses and
    /// the folder are free.
    pub async fn kill(self) -> anyhow::Result<()> {
        self.ticker.abort();
        self.usher.abort();
        self.joiner.abort();
        drop(self.clients);
        self.parts.transport.abort().await;
        let parts = self.parts;
        Ok(tokio::task::spawn_blocking(move || parts.end()).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost without it: a node goes on without a part that it needs, and is not missed, or ends though nothing is wrong.
    #[tokio::test]
    async fn a_node_knows_when_a_part_of_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = listener.local_addr().unwrap().to_string();
        let settings = Settings::in_memory("node1".into(), folder.path().to_owned(), peer);
        let node = Node::start(&settings, listener, Switches::default()).unwrap();
        let whole = tokio::time::timeout(2 * VITAL_SIGNS, node.broken()).await;
        assert!(whole.is_err(), "{whole:?} is missed");

        node.ticker.abort();
        assert_eq!(node.broken().await, "the clock of the vnodes");
        node.kill().await.unwrap();
    }
}
