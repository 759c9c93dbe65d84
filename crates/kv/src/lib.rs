//! The store as its callers see it.
//!
//! **Invariant:** each request ends exactly once, at the latest at its deadline; "not applied" is said only of a write
//! that is on no disk and in no message.
//!
//! In reading order: [`store`] what may be asked · `at_once` what is answered within the call · [`keyspace`] where a key lies ·
//! [`coordinate`] who carries a request · [`deadline`] EXPIRE and PERSIST · [`replica`] the vnode that holds it · [`flush`] how
//! all of it is emptied · [`census`] how many keys there are · [`mending`] how copies compare · [`engine`] how a node's machines
//! hang together · [`figures`] how many requests there were
//! and how they ended · [`per_thread`] how they are counted · [`error`].

#[cfg(test)]
mod alone;
mod at_once;
pub mod census;
pub mod coordinate;
pub mod deadline;
pub mod engine;
pub mod error;
pub mod figures;
pub mod flush;
pub mod keyspace;
pub mod mending;
pub mod per_thread;
pub mod replica;
pub mod store;

pub use at_once::Located;
pub use deadline::{Ended, Ending, When};
pub use engine::{Bounds, Done, Engine, Heard, Surroundings};
pub use error::KvError;
pub use keyspace::Keyspace;
pub use per_thread::PerThread;
pub use replica::KvService;
pub use store::{ReplicaView, Write};
