//! What one node may say to another, and how it travels.
//!
//! **Invariant:** messages to one node on one lane arrive in order, each at most once; only what is known never to
//! have left is called undelivered. Bytes from outside are bounded, and a bad frame ends its connection, never the
//! node.
//!
//! In reading order: [`message`] everything that can be said, on one page · [`request`]
//! what clients say · [`items`] many entries in one body ·
//! [`codec`] messages to frames and back · `plain` the headers of those of which there are most · [`handshake`] who is at the other end · [`transport`] what a node may
//! expect of its carrier · [`tcp`] between machines · [`before_sleep`] who goes first when there is nothing to do · [`faults`] links cut on purpose ·
//! [`memory`] within one process, for tests.

pub mod before_sleep;
pub mod codec;
pub mod faults;
pub mod handshake;
pub mod items;
pub mod memory;
pub mod message;
mod plain;
pub mod request;
pub mod tcp;
pub mod transport;

pub use codec::{MAX_BODY, MAX_HEADER};
pub use faults::{FaultSwitch, Faults};
pub use handshake::{Identity, PeerInfo, Secrets};
pub use message::{Envelope, Lane, Message};
pub use transport::{Handler, Peer, Transport};
