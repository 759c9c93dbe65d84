//! One node without its doors for people.
//!
//! Folder, ring, store, vnodes, keeper, gossip and the peers' listener, put together and taken apart in order. The
//! program adds the Redis and HTTP listeners, signals and configuration; a test cluster adds nothing.
//!
//! **Invariant:** whatever a part needs is open before it, and closed after it; a node that is stopped finishes what it
//! has begun.
//!
//! In reading order: [`settings`] what a node is told · [`node`] how its parts come up and go down · `opening` the
//! folder and the machines on it · `hearing` gossip's way in · `routine` what happens by itself · `world` sockets and
//! clocks · [`moment`] one reading of the wall clock for what happens together · [`wakes`] who is woken when that is done ·
//! `inbox` what arrives · [`clients`] which requests of clients are taken on · `request` what comes of one.

pub mod clients;
mod hearing;
mod inbox;
pub mod moment;
pub mod node;
mod opening;
mod presence;
mod request;
mod routine;
pub mod settings;
pub mod wakes;
mod world;

pub use node::Node;
pub use settings::{Settings, Switches};
