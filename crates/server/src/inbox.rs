//! This file answers: what becomes of a message that arrives?

use std::sync::{Arc, Weak};

use bytes::Bytes;
use rkv_kv::{Engine, Heard};
use rkv_ring::NodeName;
use rkv_wire::handshake::{PeerInfo, Role};
use rkv_wire::message::{Command, Envelope, Message};
use rkv_wire::transport::Handler;

use crate::clients::Clients;
use crate::moment;
use crate::world::RealWorld;

/// The store key that a plain command is about.
fn key_of(envelope: &Envelope) -> Option<&Bytes> {
    match &envelope.message {
        Message::Command {
            command: Command::Get { key } | Command::Put { key, .. },
            ..
        } => Some(key),
        _ => None,
    }
}

/// What arrives by sockets, on its way to the engine.
pub(crate) struct Inbox {
    pub(crate) engine: Weak<Engine>,
    pub(crate) world: Arc<RealWorld>,
    pub(crate) clients: Arc<Clients>,
}

impl Handler for Inbox {
    fn message(&self, from: &PeerInfo, envelope: Envelope) {
        let Some(engine) = self.engine.upgrade() else {
            return;
        };
        match (from.role, envelope.message) {
            // It asks, and that is all: it has no clock to learn from, and no address, whatever it calls itself.
            (
                Role::Client,
                Message::Request {
                    id,
                    within_ms,
                    cluster,
                    request,
                    body,
                },
            ) => {
                let asked = (cluster, request, body);
                self.clients.request(&engine, from, id, within_ms, asked);
            }
            (Role::Client, _) => {}
            (Role::Peer, message) => {
                let start = (from.incarnation, from.boot);
                let clock = match engine.hears(&from.name, start, &message) {
                    Heard::Itself => {
                        self.world.heard_address(&from.name, &from.address);
                        envelope.clock
                    }
                    Heard::Stranger => 0,
                    Heard::Not => return,
                };
                engine.message(&from.name, Envelope { clock, message });
            }
        }
    }

    fn messages(&self, from: &PeerInfo, envelopes: Vec<Envelope>) {
        let _held = moment::hold();
        if let Some(engine) = self.engine.upgrade() {
            engine.expect_keys(envelopes.iter().filter_map(key_of));
        }
        for envelope in envelopes {
            self.message(from, envelope);
        }
    }

    fn unreachable(&self, name: &NodeName, undelivered: Vec<Envelope>) {
        // Only clients are sent replies. That one is gone says nothing about a node, even one of the same name.
        let is_reply = |envelope: &Envelope| matches!(envelope.message, Message::Reply { .. });
        if undelivered.iter().any(is_reply) {
            return;
        }
        if let Some(engine) = self.engine.upgrade() {
            engine.connection_lost(name);
            engine.unreachable(name, &undelivered);
        }
    }

    fn refused(&self, name: &NodeName) {
        let engine = self.engine.upgrade();
        self.world.presence.refused(name, |up| {
            tracing::info!(node = %name, "is gone: nobody listens at its address");
            if let Some(engine) = engine {
                engine.suspect(name, up);
            }
        });
    }

    fn appeared(&self, peer: &PeerInfo) {
        let engine = self.engine.upgrade();
        let is_another =
            |engine: &Arc<Engine>| !engine.is_itself(&peer.name, peer.incarnation, peer.boot);
        if engine.as_ref().is_some_and(is_another) {
            return;
        }
        self.world.presence.appeared(&peer.name, |up| {
            tracing::info!(node = %peer.name, "is there again");
            if let Some(engine) = engine {
                engine.suspect(&peer.name, up);
            }
        });
    }

    fn is_missed(&self, name: &NodeName) -> bool {
        self.world.presence.is_heard(name)
    }

    fn overloaded(&self, name: &NodeName, undelivered: Vec<Envelope>) {
        if let Some(engine) = self.engine.upgrade() {
            engine.unreachable(name, &undelivered);
        }
    }
}
