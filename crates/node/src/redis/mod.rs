//! The Redis listener: any Redis client is a client of the store.
//!
//! **Invariant:** every request gets exactly one reply, replies leave in the order of the requests, and what one
//! connection asks of one key takes effect in the order in which it was asked; whatever a client sends, or does not
//! read, costs a bounded amount of memory and ends no connection but its own.
//!
//! In the order in which a request passes: [`listener`] takes the connection · [`connection`] drives it · [`session`]
//! what is known of its client ([`credentials`] who it is) · [`operation`] what a command asks of one key, by family:
//! [`strings`] and [`own`] · [`pipeline`] what is under way: [`lanes`] in which order it takes effect, [`inbox`] where
//! answers come in, [`slots`] in which order they go out · [`output`] the bytes on their way; [`pace`] how slow a client
//! may be. Beside it: [`server`] what
//! all connections share, [`info`], [`settings`] and [`metrics`] what it tells of itself.

mod connection;
mod credentials;
mod inbox;
mod info;
mod lanes;
mod listener;
mod metrics;
mod operation;
mod output;
mod own;
mod pace;
mod pipeline;
mod server;
mod session;
mod settings;
mod slots;
mod strings;
#[cfg(test)]
mod tests;

pub(crate) use listener::serve;
pub(crate) use metrics::RedisFigures;
pub(crate) use server::RedisConfig;
