//! The Rust client of rkv, a distributed key-value store without a leader.
//!
//! ```
//! use std::time::Duration;
//! use rkv_client::{Client, ResultWord, TestCluster};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut cluster = TestCluster::start(3).await?; // three real nodes; in production you have your own
//! let client = Client::builder().seeds(cluster.seeds()).build().await?;
//!
//! client.put("food", "nuts").await?;
//! assert_eq!(client.get("food").await?.as_deref(), Some(&b"nuts"[..]));
//!
//! // Ask for quorums, and hear what each replica said.
//! let put = client.put_quorum("food", "figs", 3, 3, Duration::from_secs(2)).await?;
//! assert!(put.result.iter().all(|replica| replica.result == ResultWord::Ok));
//!
//! // A node dies. Nothing is to be done about it.
//! cluster.kill(0).await?;
//! assert_eq!(client.get("food").await?.as_deref(), Some(&b"figs"[..]));
//! client.delete("food").await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it does by itself
//!
//! - **Finds its way.** It knows the ring and sends each request straight to the first live replica of its key. When a
//!   node is lost, or an answer shows a later ring, it pulls the ring anew; at lost nodes it knocks until they are back.
//! - **Ends in time.** Every operation has a deadline: 5 s, or [`Builder::timeout`], or its own. Retries are within it.
//! - **Tries again what was not applied**, and nothing else: see [errors](#errors).
//! - **Shares one connection a node** among all tasks, with as many requests under way as they have, up to
//!   [`MAX_IN_FLIGHT`](builder::MAX_IN_FLIGHT). [`Client`] is cheap to clone.
//!
//! # Errors
//!
//! There is one [`Error`], and two questions to it:
//!
//! | | [`is_retryable`](Error::is_retryable) | [`was_maybe_applied`](Error::was_maybe_applied) |
//! |---|---|---|
//! | nothing was applied, and it may work in a moment | yes | no |
//! | a write left, and nobody told what became of it | no | yes |
//! | the request, the secret or a value is to be mended | no | no |
//!
//! The client never repeats a write that may have been applied: between its two copies somebody else may have written,
//! and the second would undo that. Whoever knows better says so with a [`RetryPolicy`]; a read tells what became of it.
//!
//! # Quorums
//!
//! Each key has N replicas. A write waits for w of them, a read for r, a majority each unless asked otherwise
//! ([`put_quorum`](Client::put_quorum), [`get_quorum`](Client::get_quorum), [`WriteOptions`], [`ReadOptions`]); with
//! r + w > n a read sees every acknowledged write. [`Outcome::result`] lists what each replica said, and so does the error
//! when the quorum was not met. [`Client::service`] tells who answered, [`Client::typed`] stores any serde type.
//!
//! # Security
//!
//! The nodes' `cluster.client_secret` is given as [`Builder::secret`]; both ends prove it, neither sends it. It opens
//! requests and the ring, nothing else. Without one only loopback addresses are talked to. What follows is neither
//! encrypted nor signed: a network where others can read or change packets needs a tunnel.
//!
//! # Tests
//!
//! The feature `test-cluster` brings `TestCluster`: real nodes in your test's process, with `kill`, `stop` and `restart`.
//! As a dev-dependency it costs your program nothing:
//!
//! ```toml
//! [dev-dependencies]
//! rkv-client = { version = "0.1", features = ["test-cluster"] }
//! ```
//!
//! # Threads
//!
//! Where nodes share the machine with a program of many calls at a time, its runtime does well to let the nodes go first
//! before it sleeps: their answers are then taken together, and so is what is asked next.
//!
//! ```
//! let runtime = tokio::runtime::Builder::new_multi_thread()
//!     .enable_all()
//!     .on_thread_park(rkv_client::let_others_go)
//!     .build();
//! # drop(runtime);
//! ```
//!
//! # Tracing
//!
//! Each operation is a [`tracing`] span `rkv` at level debug, with `op`, `key_bytes`, `value_bytes`, `tries`, `node` and
//! `error`. Keys and values are never logged.
//!
//! # Inside
//!
//! In reading order: [`client`] what can be done · [`builder`] what a client is told · `operation` how one operation finds
//! its way · `routing` which nodes, in which order · `calls` who waits for which reply · `scout` who is there again ·
//! [`retry`] · [`error`] · [`outcome`] · [`service`] · [`typed`].

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
#[doc(inline)]
pub use rkv_wire::before_sleep::let_others_go;
pub use service::{Located, Service};
#[cfg(feature = "test-cluster")]
pub use test_cluster::TestCluster;
pub use typed::Typed;
