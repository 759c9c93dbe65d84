//! What a version is, and when an answer is an answer. Pure: no clock, no randomness, no I/O.
//!
//! **Invariant:** a put is acknowledged only when w places hold exactly the version that is acknowledged, and "not
//! applied" is said only of a write that is on no disk and in no message.
//!
//! In reading order: [`clock`] hybrid logical time · [`object`] versions and their merge · [`policy`] n, r, w, pr, pw ·
//! [`tally`] counting answers by place · [`outcome`] what a request reports · [`roster`] who is asked and how each
//! stands · [`put`] and [`get`] one request each, [`plain`] requests as most are · [`repair`] who is behind. `ALGORITHM.md` beside this crate says what
//! all of it promises, and why that holds.

pub mod clock;
pub mod get;
pub mod object;
pub mod outcome;
pub mod plain;
pub mod policy;
pub mod put;
pub mod repair;
pub mod roster;
pub mod tally;

pub use clock::{Clock, Drift, Stamp};
pub use get::Get;
pub use object::{Deadline, Object, ObjectError, Version};
pub use outcome::{ErrorKind, GetOutcome, PutOutcome, QuorumError, ReplicaResult, ResultWord};
pub use plain::{PlainGet, PlainPut};
pub use policy::{Defaults, GetOptions, GetPolicy, PolicyError, PutOptions, PutPolicy};
pub use put::{Draft, Put};
pub use rkv_ring::{Place, Preflist};
pub use roster::{Ask, Refusal};
pub use tally::Role;
