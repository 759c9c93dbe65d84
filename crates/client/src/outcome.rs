//! This file answers: what can be asked for beyond key and value, and what is told beyond the result?

use std::time::Duration;

use rkv_quorum::outcome::{ReplicaResult, Replicas};

/// What one write asks for; what is left out is the keyspace's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct WriteOptions {
    /// Narrows the write to the first n replicas of the key.
    pub n: Option<u32>,
    /// How many must have stored it.
    pub w: Option<u32>,
    /// How many of them must be owners of the key, and not stand in for one.
    pub pw: Option<u32>,
    /// How long the value is to be there.
    pub ttl: Option<Duration>,
    /// How long the write may take; none: as the client says.
    pub timeout: Option<Duration>,
}

/// What one read asks for; what is left out is the keyspace's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ReadOptions {
    /// Narrows the read to the first n replicas of the key.
    pub n: Option<u32>,
    /// How many must have answered.
    pub r: Option<u32>,
    /// How many of them must be owners of the key.
    pub pr: Option<u32>,
    /// How long the read may take; none: as the client says.
    pub timeout: Option<Duration>,
}

macro_rules! setters {
    ($options:ident: $($(#[$doc:meta])* $name:ident: $value:ty),* $(,)?) => {
        impl $options {
            $($(#[$doc])*
            pub fn $name(mut self, $name: $value) -> $options {
                self.$name = Some($name);
                self
            })*
        }
    };
}

setters!(WriteOptions:
    /// Narrows the write to the first n replicas of the key.
    n: u32,
    /// How many must have stored it.
    w: u32,
    /// How many of them must be owners.
    pw: u32,
    /// How long the value is to be there.
    ttl: Duration,
    /// How long the write may take.
    timeout: Duration,
);
setters!(ReadOptions:
    /// Narrows the read to the first n replicas of the key.
    n: u32,
    /// How many must have answered.
    r: u32,
    /// How many of them must be owners.
    pr: u32,
    /// How long the read may take.
    timeout: Duration,
);

/// How an operation ended that had its quorum.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome<V = ()> {
    /// [`Reason::Finished`]; everything else is an [`Error`](crate::Error).
    pub reason: Reason,
    /// What was read.
    pub value: V,
    /// The replicas that had answered when the quorum was met: w (or r) at least, n at most.
    pub result: Vec<ReplicaResult>,
}

/// Why an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// Enough replicas answered.
    Finished,
}

impl<V> Outcome<V> {
    pub(crate) fn finished(value: V, replicas: Replicas) -> Outcome<V> {
        Outcome {
            reason: Reason::Finished,
            value,
            result: replicas.into_vec(),
        }
    }
}
