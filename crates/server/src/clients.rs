//! This file answers: which of a client's requests are taken on?
//!
//! Those of a member that is not about to stop, and of one connection only so many at once: what a client sends faster
//! than the cluster answers is refused, not kept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use rkv_kv::Engine;
use rkv_ring::{ClusterId, NodeName};
use rkv_wire::handshake::PeerInfo;
use rkv_wire::message::{Message, RequestId};
use rkv_wire::request::{Remedy, Reply, Request};

use crate::request::{begin, refusal};
use crate::world::RealWorld;

/// Most requests of one client's connection that are under way.
pub const MAX_REQUESTS: usize = 1024;
/// Most bytes of values in them; a single one may be larger.
pub const MAX_REQUEST_BYTES: usize = 64 * 1024 * 1024;

/// The requests of all clients of a node.
pub(crate) struct Clients {
    world: Arc<RealWorld>,
    /// About to stop: clients are sent elsewhere.
    draining: AtomicBool,
    /// By connection, those that have requests under way.
    loads: Mutex<BTreeMap<NodeName, Load>>,
}

/// What one connection has under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Load {
    requests: usize,
    bytes: usize,
}

impl Load {
    fn take_on(&mut self, bytes: usize) -> bool {
        let fits = self.requests < MAX_REQUESTS
            && (self.requests == 0 || self.bytes + bytes <= MAX_REQUEST_BYTES);
        if fits {
            self.requests += 1;
            self.bytes += bytes;
        }
        fits
    }
}

impl Clients {
    pub(crate) fn new(world: Arc<RealWorld>) -> Clients {
        Clients {
            world,
            draining: AtomicBool::new(false),
            loads: Mutex::default(),
        }
    }

    /// From now on clients are sent elsewhere.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// A client asks.
    pub(crate) fn request(
        self: &Arc<Self>,
        engine: &Arc<Engine>,
        from: &PeerInfo,
        id: RequestId,
        within_ms: u32,
        (cluster, request, body): (Option<ClusterId>, Request, Bytes),
    ) {
        let ring = engine.view().id();
        let reply = {
            let (world, from) = (self.world.clone(), from.clone());
            move |reply: Reply, body: Bytes| {
                let message = Message::Reply {
                    id,
                    ring,
                    reply: Box::new(reply),
                    body,
                };
                world.reply(&from, message);
            }
        };
        if self.draining.load(Ordering::Acquire) {
            let text = "this node is about to stop; ask another";
            let draining = refusal(Remedy::Elsewhere, "refused", "draining", text);
            return reply(draining, Bytes::new());
        }
        if cluster.is_some_and(|cluster| cluster != ring.cluster) {
            let text = "this node is in another cluster than the one that was meant; ask another";
            let other = refusal(Remedy::Elsewhere, "refused", "other_cluster", text);
            return reply(other, Bytes::new());
        }
        let bytes = body.len();
        if !self.take_on(&from.name, bytes) {
            let text = format!(
                "more than {MAX_REQUESTS} requests or {MAX_REQUEST_BYTES} bytes of this client are under way"
            );
            return reply(refusal(Remedy::Again, "busy", "busy", text), Bytes::new());
        }
        let (clients, name) = (self.clone(), from.name.clone());
        let done = Box::new(move |answer, value| {
            clients.done(&name, bytes);
            reply(answer, value);
        });
        begin(engine, request, body, within_ms, done);
    }

    fn take_on(&self, client: &NodeName, bytes: usize) -> bool {
        let mut loads = self.loads.lock();
        loads.entry(client.clone()).or_default().take_on(bytes)
    }

    fn done(&self, client: &NodeName, bytes: usize) {
        let mut loads = self.loads.lock();
        if let Some(load) = loads.get_mut(client) {
            load.requests -= 1;
            load.bytes -= bytes;
            if load.requests == 0 {
                loads.remove(client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost without it: one client that does not wait for answers fills a node's memory.
    #[test]
    fn a_client_has_only_so_much_under_way() {
        let mut load = Load::default();
        assert!((0..MAX_REQUESTS).all(|_| load.take_on(1)));
        assert!(!load.take_on(1));
        let mut load = Load::default();
        assert!(load.take_on(MAX_REQUEST_BYTES + 1), "alone it is taken");
        assert!(!load.take_on(0));
        let mut load = Load::default();
        assert!(load.take_on(MAX_REQUEST_BYTES) && load.take_on(0) && !load.take_on(1));
    }
}
