//! This file answers: what becomes of a message that arrives?

use std::sync::{Arc, Weak};

use rkv_kv::Engine;
use rkv_ring::NodeName;
use rkv_wire::handshake::{PeerInfo, Role};
use rkv_wire::message::{Envelope, Message};
use rkv_wire::transport::Handler;

use crate::world::RealWorld;

/// What arrives by sockets, on its way to the engine.
pub(crate) struct Inbox {
    pub(crate) engine: Weak<Engine>,
    pub(crate) world: Arc<RealWorld>,
}

impl Handler for Inbox {
    fn message(&self, from: &PeerInfo, envelope: Envelope) {
        let Some(engine) = self.engine.upgrade() else {
            return;
        };
        match from.role {
            Role::Peer => {
                self.world.heard_address(&from.name, &from.address);
                engine.message(&from.name, envelope);
            }
            // A client may ask vnodes, nothing else; and it has no clock that a node would learn from.
            Role::Client => {
                if matches!(envelope.message, Message::Command { .. }) {
                    self.world.heard_address(&from.name, &from.address);
                    engine.message(
                        &from.name,
                        Envelope {
                            clock: 0,
                            ..envelope
                        },
                    );
                }
            }
        }
    }

    fn unreachable(&self, name: &NodeName, undelivered: Vec<Envelope>) {
        if let Some(engine) = self.engine.upgrade() {
            engine.unreachable(name, &undelivered);
        }
    }
}
