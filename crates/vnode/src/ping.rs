//! This file answers: what is the smallest service?
//!
//! `ping` adds one and says where: the tutorial's first command, and the proof that the router finds the owner.

use bytes::Bytes;
use rkv_ring::Partition;
use rkv_wire::message::{Answer, Command, ServiceId};

use crate::vnode::{Context, Decision, Merged, Service, Vnode};

/// Its number.
pub const PING: ServiceId = ServiceId(0);

/// The service.
pub struct Ping;

impl Service for Ping {
    fn id(&self) -> ServiceId {
        PING
    }

    fn name(&self) -> &'static str {
        "ping"
    }

    fn vnode(&self, _: Partition) -> Box<dyn Vnode> {
        Box::new(PingVnode)
    }

    fn has_entries(&self) -> bool {
        false
    }
}

struct PingVnode;

impl Vnode for PingVnode {
    fn handle_command(&mut self, _: &Context<'_>, command: Command, _: Bytes) -> Decision {
        let value = match &command {
            Command::Custom(bytes) => std::str::from_utf8(bytes)
                .ok()
                .and_then(|text| text.parse::<i64>().ok()),
            _ => None,
        };
        let answer = match value.and_then(|value| value.checked_add(1)) {
            Some(pong) => Answer::Custom(Bytes::from(pong.to_string())),
            None => Answer::Failed {
                text: "ping takes a whole number below 2^63 - 1".to_owned(),
                maybe_applied: false,
            },
        };
        Decision::Answer(answer, Bytes::new())
    }

    fn merge(&self, _: Option<&Bytes>, _: &Bytes) -> Merged {
        Merged::Unchanged
    }
}
