//! The Rust client of [rkv](https://docs.rs/rkv-client).
//!
pub mod builder;
mod calls;
pub mod client;
pub mod error;
mod operation;
pub mod outcome;
pub mod retry;
mod routing;
mod scout;
pub mod service;
#[cfg(feature = "test-cluster")]
pub mod test_cluster;
pub mod typed;

pub use builder::Builder;
pub use client::Client;
pub use error::{Error, QuorumNotMet};
pub use outcome::{Outcome, ReadOptions, Reason, WriteOptions};
pub use retry::{Backoff, Never, RetryPolicy};
#[doc(inline)]
pub use rkv_quorum::outcome::{ReplicaResult as Replica, ResultWord};
#[doc(inline)]
pub use rkv_quorum::tally::Role;
#[doc(inline)]
pub use rkv_ring::{NodeName, Partition};
pub use service::{Located, Service};
#[cfg(feature = "test-cluster")]
pub use test_cluster::TestCluster;
pub use typed::Typed;
