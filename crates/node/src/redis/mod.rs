//! The Redis listener: any Redis client is a client of the store.
//!
//! **Invariant:** every request gets exactly one reply, replies leave in the order of the requests, and what one
//! connection asks of one key takes effect in the order in which it was asked; whatever a client sends, or does not
//! read, costs a bounded amount of memory and ends no connection but its own.
//!
//! In the order in which a request passes: [`listener`] takes the connection · [`threads`] where it runs · [`connection`] drives
//! it · [`ahead`] which requests are known before their turn · [`session`] what is known of its client ([`credentials`] who it
//! is) · [`operation`] what a command asks of one key, by family: [`strings`], [`look`], [`expire`], [`own`], [`about_key`] and
//! [`wait`]; [`many`] requests of several keys, [`keyspace`] of all · [`pipeline`] what is under way: [`lanes`] in which order
//! it takes effect, [`inbox`] where answers come in, [`slots`] in which order they go out · [`output`] the bytes on their way;
//! [`pace`] how slow a client may be. Beside it: [`server`] what all connections share: [`client`] who they are, [`stats`] and
//! [`command_stats`] what was counted, [`slow_log`] what was slow; [`info`], [`settings`], [`metrics`] and [`about_node`] what
//! it tells of itself, [`cluster`] what of the ring.

mod about_key;
mod about_node;
mod ahead;
mod client;
mod cluster;
mod command_stats;
mod connection;
mod credentials;
mod expire;
mod inbox;
mod info;
mod keyspace;
mod lanes;
mod listener;
mod look;
mod many;
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
mod slow_log;
mod stats;
mod strings;
#[cfg(test)]
mod tests;
mod threads;
mod wait;

pub(crate) use listener::serve;
pub(crate) use metrics::RedisFigures;
pub(crate) use server::RedisConfig;
pub(crate) use threads::Threads;
