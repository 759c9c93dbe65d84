//! This file answers: how does a command reach the vnode of (service, partition) on a node, here or over the wire?

use std::sync::Arc;

use bytes::Bytes;
use rkv_ring::{NodeName, RingId, Slot};
use rkv_wire::message::{Answer, Command, Message, RequestId, Role, ServiceId};

use crate::host::Host;
use crate::view::View;
use crate::world::World;

/// Where a command goes and what fences it.
#[derive(Debug, Clone)]
pub struct Route {
    /// The request that waits for the answer.
    pub id: RequestId,
    /// Whose vnode.
    pub service: ServiceId,
    /// The key's slot.
    pub slot: Slot,
    /// The ring that it was routed by.
    pub ring: RingId,
    /// In what capacity the node is asked.
    pub role: Role,
    /// The answer is void after this.
    pub within_ms: u32,
}

/// Delivers commands.
#[derive(Clone)]
pub struct Router {
    host: Arc<Host>,
    world: Arc<dyn World>,
}

impl Router {
    /// A router to the vnodes of `host` and, through `world`, to everybody else's.
    pub fn new(host: Arc<Host>, world: Arc<dyn World>) -> Router {
        Router { host, world }
    }

    /// What is routed by now.
    pub fn view(&self) -> Arc<View> {
        self.host.view()
    }

    /// The world's time in microseconds.
    pub fn now_us(&self) -> u64 {
        self.world.now_us()
    }

    /// Unix time in milliseconds.
    pub fn wall_ms(&self) -> u64 {
        self.world.wall_ms()
    }

    /// Delivers. A vnode of this node that answers at once answers here; all others by [`crate::Upward::answered`].
    pub fn deliver(
        &self,
        me: &NodeName,
        to: &NodeName,
        route: Route,
        command: Command,
        body: Bytes,
    ) -> Option<(Answer, Bytes)> {
        if to == me {
            return self.host.ask_here(route, command, body);
        }
        let Route {
            id,
            service,
            slot,
            ring,
            role,
            within_ms,
        } = route;
        let message = Message::Command {
            id,
            service,
            slot,
            ring,
            role,
            within_ms,
            command,
            body,
        };
        self.world.send(to, message);
        None
    }
}
