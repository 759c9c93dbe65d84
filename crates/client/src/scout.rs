//! This file answers: how does a client come to know the ring, and who is there again?
//!
//! From its seeds at first, then from any member. It pulls the ring when a reply shows a later one, when a node is lost,
//! and now and then; it knocks at lost nodes for ever, so that no request has to find out that one is back.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use rkv_wire::request::{Reply, Request};
use rkv_wire::tcp::{ConnectError, TcpTransport};
use rkv_wire::transport::Peer;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::calls::{Calls, Heard};
use crate::error::Error;
use crate::routing::Routing;

/// How often the ring is pulled when nothing happens: a member that is up again takes its share within this.
const REFRESH: Duration = Duration::from_secs(10);
/// How often lost nodes are knocked at.
const KNOCK: Duration = Duration::from_millis(250);
/// The least time between two pulls.
const PULL_PAUSE: Duration = Duration::from_millis(50);
/// How long one node may take to tell the ring.
const PULL_WITHIN: Duration = Duration::from_secs(1);

/// What a client and its scout share.
pub(crate) struct Shared {
    pub(crate) transport: TcpTransport,
    pub(crate) calls: Arc<Calls>,
    pub(crate) routing: ArcSwap<Routing>,
    pub(crate) seeds: Vec<String>,
}

impl Shared {
    /// The task that keeps the ring up to date; ends when it is aborted.
    pub(crate) async fn scout(self: Arc<Shared>) {
        let mut refreshed = Instant::now();
        loop {
            let pause = match self.calls.lost().is_empty() {
                true => REFRESH,
                false => KNOCK,
            };
            tokio::select! {
                () = self.calls.news() => {}
                () = sleep(pause) => {}
            }
            let is_due = self.calls.take_want() || refreshed.elapsed() >= REFRESH;
            let pull = async {
                if is_due && !self.pull().await {
                    self.calls.want_ring();
                }
            };
            tokio::join!(pull, self.knock());
            if is_due {
                refreshed = Instant::now();
            }
            sleep(PULL_PAUSE).await;
        }
    }

    /// Looks whether lost nodes are back.
    async fn knock(&self) {
        let lost = self.calls.lost();
        let routing = self.routing.load_full();
        let knocks = lost.iter().map(|name| {
            let peer = routing.peers().iter().find(|peer| peer.name == *name);
            async move {
                let is_lost = match peer {
                    Some(peer) => match self.transport.connect(&peer.address).await {
                        // One that is about to stop can be reached, and refuses.
                        Ok(found) => found.name != *name || self.ring_of(peer).await.is_err(),
                        Err(_) => true,
                    },
                    // It is no member any more.
                    None => false,
                };
                self.calls.set_lost(name, is_lost);
            }
        });
        join_all(knocks).await;
    }

    /// Asks members, and then seeds, for the ring; whether one told it.
    async fn pull(&self) -> bool {
        let routing = self.routing.load_full();
        // A node that lost its disk, say, and is a cluster of its own now, knows nothing of ours.
        let is_ours = |told: &Routing| {
            let meant = routing.cluster();
            meant.is_none_or(|cluster| cluster == told.table().ring.cluster)
        };
        for peer in routing.peers() {
            if self.calls.is_lost(&peer.name) {
                continue;
            }
            match self.ring_of(peer).await {
                Ok(told) if told.table().ring == routing.table().ring => {
                    self.routing.store(Arc::new(told));
                    return true;
                }
                Ok(told) if !is_ours(&told) => {}
                Ok(told) if routing.is_behind(&told.table().ring) => {
                    tracing::debug!(epoch = told.table().ring.epoch.0, "ring pulled");
                    self.routing.store(Arc::new(told));
                    return true;
                }
                // It is itself behind.
                Ok(_) => {}
                Err(error) => tracing::debug!(node = %peer.name, %error, "no ring"),
            }
        }
        match meet(&self.transport, &self.calls, &self.seeds).await {
            Ok(told) => {
                let is_older = routing.table().ring.supersedes(&told.table().ring);
                let is_news = !is_older && is_ours(&told);
                if is_news {
                    self.routing.store(Arc::new(told));
                }
                is_news
            }
            Err(error) => {
                tracing::debug!(%error, "no ring");
                false
            }
        }
    }

    async fn ring_of(&self, peer: &Peer) -> Result<Routing, Error> {
        ring_of(&self.transport, &self.calls, peer).await
    }
}

/// The ring as `peer` has it.
async fn ring_of(transport: &TcpTransport, calls: &Calls, peer: &Peer) -> Result<Routing, Error> {
    let asked = calls.ask(
        transport,
        peer,
        PULL_WITHIN,
        (None, Request::Ring, Bytes::new()),
    );
    match timeout(PULL_WITHIN, asked.heard()).await {
        Ok(Heard::Reply(_, reply, _)) => match *reply {
            Reply::Ring(table) => Routing::new(*table),
            Reply::Refused(refused) => Err((*refused).into()),
            _ => Err(Error::Protocol("an answer that is no ring".to_owned())),
        },
        Ok(_) => Err(Error::Unreachable(format!("{} is gone", peer.name))),
        Err(_) => Err(Error::Timeout(PULL_WITHIN)),
    }
}

/// Asks all seeds at once; the first that tells a ring is believed.
pub(crate) async fn meet(
    transport: &TcpTransport,
    calls: &Calls,
    seeds: &[String],
) -> Result<Routing, Error> {
    let mut all: FuturesUnordered<_> = seeds
        .iter()
        .map(|seed| async move {
            let met = transport.connect(seed).await.map_err(|error| match error {
                ConnectError::Handshake(error) => Error::TurnedAway(format!("{seed}: {error}")),
                error => Error::Unreachable(format!("{seed}: {error}")),
            })?;
            let peer = Peer {
                name: met.name,
                address: seed.clone(),
            };
            ring_of(transport, calls, &peer).await
        })
        .collect();
    let mut errors = Vec::new();
    while let Some(told) = all.next().await {
        match told {
            Ok(routing) => return Ok(routing),
            Err(error) => errors.push(error),
        }
    }
    let is_final = |error: &Error| matches!(error, Error::TurnedAway(_));
    if let Some(at) = errors.iter().position(is_final) {
        return Err(errors.swap_remove(at));
    }
    let texts: Vec<String> = errors
        .into_iter()
        .map(|error| match error {
            Error::Unreachable(text) => text,
            error => error.to_string(),
        })
        .collect();
    Err(Error::Unreachable(texts.join("; ")))
}

/// The same, again and again until `until`, unless the client is turned away.
pub(crate) async fn meet_until(
    transport: &TcpTransport,
    calls: &Calls,
    seeds: &[String],
    until: Instant,
) -> Result<Routing, Error> {
    let mut last = Error::Unreachable("no seed answered in time".to_owned());
    loop {
        match timeout_at(until, meet(transport, calls, seeds)).await {
            Ok(Ok(routing)) => return Ok(routing),
            Ok(Err(error @ Error::TurnedAway(_))) => return Err(error),
            Ok(Err(error)) => last = error,
            Err(_) => return Err(last),
        }
        if Instant::now() + KNOCK >= until {
            return Err(last);
        }
        sleep(KNOCK).await;
    }
}
