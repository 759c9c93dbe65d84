//! This file answers: what does the framework need of the world around it?
//!
//! Two clocks and a way to speak. A program gives sockets and the system's clocks, a simulator gives its own; so both
//! run the same code. Nothing here blocks.

use rkv_ring::NodeName;
use rkv_wire::message::Message;

/// The world as one node sees it.
pub trait World: Send + Sync + 'static {
    /// Milliseconds since some fixed moment; never goes back. All deadlines are in this time.
    fn now_ms(&self) -> u64;

    /// The same time in microseconds: what durations are measured by. Nothing is decided by it but how much of its time a
    /// node gives to moves.
    fn now_us(&self) -> u64 {
        self.now_ms().saturating_mul(1_000)
    }

    /// Unix time in milliseconds; may jump. Only stamps and expiries look at it.
    fn wall_ms(&self) -> u64;

    /// Sends `message`, stamped with this node's clock. Never blocks, and nothing is promised: it arrives once, late,
    /// twice or never. Messages to one node on one lane are sent in the order of the calls.
    fn send(&self, to: &NodeName, message: Message);

    /// Does `all` that belongs together: it may count as having happened at one moment, and whoever waits for something of it may
    /// be woken when all of it is done.
    fn together(&self, all: &mut dyn FnMut()) {
        all();
    }
}
