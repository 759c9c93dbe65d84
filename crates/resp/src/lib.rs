//! The Redis protocol as values: bytes in, typed requests out; replies in, bytes out.
//!
//! Pure: no socket, no clock, no state of a store. Its invariant: whatever the bytes are and however they were cut
//! into reads, a parser gives the same requests or the same error, never panics, never trusts a claimed length with
//! memory, and looks at each byte a bounded number of times.
//!
//! In the order in which a request passes:
//!
//! - [`frame`] bytes to [`Request`]s (arrays of bulk strings, and inline lines)
//! - [`command`] which command a request names; [`table`] is the one table of all of them
//! - [`typed`] a request to the [`Command`] that it asks for; [`set`], [`expire`], [`look`], [`own`], [`slot`],
//!   [`kill`] and [`node`] hold what follows the name
//! - [`refusals`] what is said of Redis commands that are not served
//! - [`error`] what a request that asks for nothing possible is told
//! - [`describe`] the replies of COMMAND, from the table; [`glob`] their patterns; [`markdown`] the same for people
//! - [`reply`] a [`Reply`] to bytes, RESP2 or RESP3
//! - [`answer`] the other side: bytes to [`Reply`]s, for clients of ours

pub mod answer;
pub mod command;
pub mod describe;
pub mod error;
pub mod expire;
pub mod frame;
pub mod glob;
mod inline;
mod integer;
pub mod kill;
pub mod look;
pub mod markdown;
pub mod node;
pub mod own;
pub mod refusals;
pub mod reply;
pub mod set;
pub mod slot;
pub mod table;
pub mod typed;

pub use answer::{ReplyError, ReplyLimits, ReplyParser};
pub use command::{Name, Spec};
pub use error::CommandError;
pub use frame::{Args, Limits, ProtocolError, Request, RequestParser};
pub use reply::{Protocol, Reply};
pub use typed::Command;
