//! This file answers: what becomes of a message that arrives?

use std::sync::{Arc, Weak};

use bytes::Bytes;
use rkv_kv::{Engine, Heard};
use rkv_ring::NodeName;
use rkv_wire::before_sleep;
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

impl Inbox {
    /// A client asks, and that is all: it has no clock to learn from, and no address, whatever it calls itself.
    fn client_asks(&self, engine: &Arc<Engine>, from: &PeerInfo, envelope: Envelope) {
        if let Message::Request {
            id,
            within_ms,
            cluster,
            request,
            body,
        } = envelope.message
        {
            let asked = (cluster, request, body);
            self.clients.request(engine, from, id, within_ms, asked);
        }
    }

    /// What a peer says together: who it is and what its clock shows is looked at once.
    fn peer_says(&self, engine: &Engine, from: &PeerInfo, envelopes: &mut Vec<Envelope>) {
        let start = (from.incarnation, from.boot);
        let is_itself = engine.is_itself(&from.name, start.0, start.1);
        if is_itself {
            self.world.heard_address(&from.name, &from.address);
            let clocks = envelopes.iter().map(|envelope| envelope.clock);
            engine.hears_clock(&from.name, clocks.max().unwrap_or(0));
        }
        for envelope in envelopes.drain(..) {
            let heard = match is_itself {
                true => engine.hears_itself(&from.name, start.0, &envelope.message),
                false => engine.hears(&from.name, start, &envelope.message),
            };
            match heard {
                Heard::Itself => engine.take_in(&from.name, envelope),
                Heard::Stranger => {
                    let clock = 0;
                    engine.take_in(&from.name, Envelope { clock, ..envelope });
                }
                Heard::Not => {}
            }
        }
    }
}

impl Handler for Inbox {
    fn message(&self, from: &PeerInfo, envelope: Envelope) {
        self.messages(from, &mut vec![envelope]);
    }

    fn messages(&self, from: &PeerInfo, envelopes: &mut Vec<Envelope>) {
        let _held = moment::hold();
        let Some(engine) = self.engine.upgrade() else {
            return envelopes.clear();
        };
        match from.role {
            Role::Client => {
                before_sleep::came(envelopes.len());
                for envelope in envelopes.drain(..) {
                    self.client_asks(&engine, from, envelope);
                }
            }
            Role::Peer => {
                before_sleep::came(envelopes.iter().filter_map(key_of).count());
                engine.expect_keys(envelopes.iter().filter_map(key_of));
                self.peer_says(&engine, from, envelopes);
            }
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
