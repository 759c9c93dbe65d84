//! This file answers: what may a coordinator be asked, where does that lie, and until when is it worth an answer?

use bytes::Bytes;
use rkv_ring::{NodeName, RingId, Slot};
use rkv_wire::message::{Answer, Command, ServiceId};

/// Where a key lies.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its slot.
    pub slot: Slot,
    /// The key of its entry in every store.
    pub key: Bytes,
}

/// A moment of the world's time, known to the microsecond where something is measured, else to the millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    us: u64,
}

impl Now {
    /// A moment to the microsecond.
    pub fn at_us(us: u64) -> Now {
        Now { us }
    }

    /// A moment to the millisecond.
    pub fn at_ms(ms: u64) -> Now {
        let us = ms.saturating_mul(1_000);
        Now { us }
    }

    /// Its microsecond.
    pub(crate) fn us(self) -> u64 {
        self.us
    }

    /// Its millisecond.
    pub fn ms(self) -> u64 {
        self.us / 1_000
    }
}

/// When a request began and when it ends at the latest.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Now.
    pub now: Now,
    /// Its deadline.
    pub until_ms: u64,
}

/// What one vnode answered to a [`Question`].
#[derive(Debug, Clone)]
pub struct Reply {
    /// Who.
    pub node: NodeName,
    /// What.
    pub answer: Answer,
    /// The object that went with it.
    pub body: Bytes,
}

/// One command for one vnode.
#[derive(Debug, Clone)]
pub struct Question {
    /// Whose vnode.
    pub service: ServiceId,
    /// Of which slot's partition.
    pub slot: Slot,
    /// The ring that it is routed by.
    pub ring: RingId,
    /// What to do.
    pub command: Command,
    /// The object that goes with it.
    pub body: Bytes,
    /// How long to wait.
    pub timeout_ms: u64,
}
