//! This file answers: who waits for which reply, and which nodes are out of reach?
//!
//! Requests to one node share a connection and are answered in any order. Each ends in one of three ways: a reply; the
//! knowledge that it never left; or silence, when its connection was lost under way.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use rkv_ring::{ClusterId, NodeName, RingId};
use rkv_wire::before_sleep;
use rkv_wire::handshake::PeerInfo;
use rkv_wire::message::{Envelope, Message, RequestId};
use rkv_wire::request::{Reply, Request};
use rkv_wire::tcp::TcpTransport;
use rkv_wire::transport::{Handler, Peer, Transport};
use tokio::sync::{Notify, oneshot};

/// What came of a request.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A reply, of a node that routes by this ring.
    Reply(RingId, Box<Reply>, Bytes),
    /// Nobody can have understood it.
    NeverLeft,
    /// It left, and its connection was lost.
    Lost,
}

/// The requests of one client that are under way. As many as the client lets: see `MAX_IN_FLIGHT`.
#[derive(Default)]
pub(crate) struct Calls {
    waiting: Mutex<BTreeMap<u64, Waiting>>,
    next: AtomicU64,
    /// Nodes that could not be reached when last tried.
    lost: ArcSwap<BTreeSet<NodeName>>,
    /// The ring is to be pulled.
    wants_ring: AtomicBool,
    news: Notify,
}

struct Waiting {
    node: NodeName,
    tell: oneshot::Sender<Heard>,
}

impl Waiting {
    fn tell(self, heard: Heard) {
        // Who waited may have gone meanwhile.
        let _ = self.tell.send(heard);
    }
}

/// One request under way; dropped, nobody waits for it any more.
pub(crate) struct Asked<'a> {
    calls: &'a Calls,
    id: u64,
    heard: oneshot::Receiver<Heard>,
    is_over: bool,
}

impl Asked<'_> {
    /// What comes of it.
    pub(crate) async fn heard(mut self) -> Heard {
        poll_fn(|cx| self.poll_heard(cx)).await
    }

    /// The same; not to be asked again once it is there.
    pub(crate) fn poll_heard(&mut self, cx: &mut Context<'_>) -> Poll<Heard> {
        let heard = ready!(Pin::new(&mut self.heard).poll(cx));
        self.is_over = true;
        Poll::Ready(heard.unwrap_or(Heard::Lost))
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        // Who told it took it out.
        if !self.is_over {
            self.calls.waiting.lock().remove(&self.id);
        }
    }
}

impl Calls {
    /// Sends a request to `peer`, which has `within` for it.
    pub(crate) fn ask(
        &self,
        transport: &TcpTransport,
        peer: &Peer,
        within: Duration,
        (cluster, request, body): (Option<ClusterId>, Request, Bytes),
    ) -> Asked<'_> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (tell, heard) = oneshot::channel();
        let message = Message::Request {
            id: RequestId(id),
            within_ms: u32::try_from(within.as_millis()).unwrap_or(u32::MAX).max(1),
            cluster,
            request,
            body,
        };
        let envelope = Envelope { clock: 0, message };
        let node = peer.name.clone();
        let mut waiting = self.waiting.lock();
        waiting.insert(id, Waiting { node, tell });
        // Under the lock: whoever finds it there finds it in its connection's queue, or further.
        transport.send(peer, envelope);
        drop(waiting);
        Asked {
            calls: self,
            id,
            heard,
            is_over: false,
        }
    }

    /// Whether `node` could not be reached when it was last tried.
    pub(crate) fn is_lost(&self, node: &NodeName) -> bool {
        self.lost.load().contains(node)
    }

    /// All of them.
    pub(crate) fn lost(&self) -> Arc<BTreeSet<NodeName>> {
        self.lost.load_full()
    }

    /// `node` is out of reach, or no longer.
    pub(crate) fn set_lost(&self, node: &NodeName, is_lost: bool) {
        if self.is_lost(node) == is_lost {
            return;
        }
        self.lost.rcu(|lost| {
            let mut lost = BTreeSet::clone(lost);
            match is_lost {
                true => lost.insert(node.clone()),
                false => lost.remove(node),
            };
            lost
        });
        if is_lost {
            self.want_ring();
        }
    }

    /// What is known of the ring may be out of date.
    pub(crate) fn want_ring(&self) {
        self.wants_ring.store(true, Ordering::Release);
        self.news.notify_one();
    }

    /// Whether it was asked for since the last call.
    pub(crate) fn take_want(&self) -> bool {
        self.wants_ring.swap(false, Ordering::AcqRel)
    }

    /// Until it is asked for. For one task.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }

    fn tell(&self, id: u64, heard: Heard) {
        let waiting = self.waiting.lock().remove(&id);
        if let Some(waiting) = waiting {
            waiting.tell(heard);
        }
    }

    fn never_left(&self, undelivered: Vec<Envelope>) {
        for envelope in undelivered {
            if let Message::Request { id, .. } = envelope.message {
                self.tell(id.0, Heard::NeverLeft);
            }
        }
    }
}

impl Handler for Calls {
    fn messages(&self, from: &PeerInfo, envelopes: &mut Vec<Envelope>) {
        before_sleep::came(envelopes.len());
        for envelope in envelopes.drain(..) {
            self.message(from, envelope);
        }
    }

    fn message(&self, from: &PeerInfo, envelope: Envelope) {
        let Message::Reply {
            id,
            ring,
            reply,
            body,
        } = envelope.message
        else {
            return;
        };
        let mut all = self.waiting.lock();
        if let Entry::Occupied(waiting) = all.entry(id.0)
            && waiting.get().node == from.name
        {
            let waiting = waiting.remove();
            drop(all);
            waiting.tell(Heard::Reply(ring, reply, body));
        }
    }

    fn unreachable(&self, name: &NodeName, undelivered: Vec<Envelope>) {
        self.set_lost(name, true);
        self.never_left(undelivered);
        let mut waiting = self.waiting.lock();
        let of_it = waiting.iter().filter(|(_, waiting)| waiting.node == *name);
        let ids: Vec<u64> = of_it.map(|(id, _)| *id).collect();
        let lost: Vec<Waiting> = ids.iter().filter_map(|id| waiting.remove(id)).collect();
        drop(waiting);
        for waiting in lost {
            waiting.tell(Heard::Lost);
        }
    }

    fn overloaded(&self, _: &NodeName, undelivered: Vec<Envelope>) {
        self.never_left(undelivered);
    }
}
