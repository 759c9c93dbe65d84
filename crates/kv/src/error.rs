//! This file answers: what went wrong, and whose is it to mend?

use rkv_quorum::outcome::{ErrorKind, QuorumError, Replicas};
use rkv_quorum::policy::PolicyError;

/// Why a request came to nothing, named by remedy: *yours* is to be changed, *again* may be tried again as it is, and
/// *unknown* may have been applied.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KvError {
    /// Yours: a number that no request can have.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// Yours: the key is empty or too long.
    #[error("a key has from 1 to {most} bytes (limits.key_bytes), not {length}")]
    Key {
        /// Its length.
        length: usize,
        /// The most.
        most: usize,
    },
    /// Yours: the value is too large.
    #[error("a value has at most {most} bytes (limits.value_bytes), not {length}")]
    Value {
        /// Its length.
        length: usize,
        /// The most.
        most: usize,
    },
    /// Yours: no such keyspace.
    #[error("there is no keyspace '{0}'; the keyspaces are: default")]
    Keyspace(String),
    /// Again, elsewhere: this node is no full member any more.
    #[error("this node is no longer a member of its cluster; ask another")]
    NotServing,
    /// Again, elsewhere: this node's clock is off.
    #[error(
        "this node's clock is {median_ms} ms off its peers' median, beyond clock.max_drift_ms; ask another or set its clock"
    )]
    Drift {
        /// How far.
        median_ms: i64,
    },
    /// Again: nothing was flushed.
    #[error("nothing was flushed: {why}; try again when the members answer")]
    NotFlushed {
        /// Why not.
        why: String,
    },
    /// Unknown: the flush is on its way and not everywhere, or may still be decided.
    #[error("the flush may have been applied: {why}")]
    MaybeFlushed {
        /// What is not known.
        why: String,
    },
    /// Again: the keys could not be listed.
    #[error("the keys cannot be listed now: {why}; try again")]
    NotListed {
        /// Why not.
        why: String,
    },
    /// See [`QuorumError`]: again, or unknown.
    #[error(transparent)]
    Quorum(Box<QuorumError>),
}

impl From<QuorumError> for KvError {
    fn from(error: QuorumError) -> KvError {
        KvError::Quorum(Box::new(error))
    }
}

impl KvError {
    /// The kind as documents name it.
    pub fn kind(&self) -> &'static str {
        match self {
            KvError::Policy(_) | KvError::Key { .. } | KvError::Value { .. } => "usage",
            KvError::Keyspace(_) => "usage",
            KvError::NotServing | KvError::Drift { .. } => "refused",
            KvError::NotFlushed { .. } | KvError::NotListed { .. } => "refused",
            KvError::MaybeFlushed { .. } => "timeout",
            KvError::Quorum(error) => error.kind.as_str(),
        }
    }

    /// A word for why.
    pub fn reason(&self) -> &'static str {
        match self {
            KvError::Policy(_) => "bad_quorum",
            KvError::Key { .. } => "bad_key",
            KvError::Value { .. } => "value_too_large",
            KvError::Keyspace(_) => "no_such_keyspace",
            KvError::NotServing => "not_member",
            KvError::Drift { .. } => "clock_drift",
            KvError::NotFlushed { .. } => "not_flushed",
            KvError::MaybeFlushed { .. } => "maybe_flushed",
            KvError::NotListed { .. } => "not_listed",
            KvError::Quorum(error) => error.kind.reason(),
        }
    }

    /// Whether a write may have been applied all the same.
    pub fn was_maybe_applied(&self) -> bool {
        match self {
            KvError::Quorum(error) => error.maybe_applied,
            KvError::MaybeFlushed { .. } => true,
            _ => false,
        }
    }

    /// How each replica that was asked stood.
    pub fn replicas(&self) -> Replicas {
        match self {
            KvError::Quorum(error) => error.replicas.clone(),
            _ => Replicas::new(),
        }
    }

    /// What a Redis client is told: the remedy first.
    pub fn redis_text(&self) -> String {
        match self {
            KvError::Quorum(error) => error.to_string(),
            KvError::NotServing => format!("CLUSTERDOWN {self}"),
            KvError::Drift { .. } | KvError::NotFlushed { .. } | KvError::NotListed { .. } => {
                format!("TRYAGAIN {self}")
            }
            KvError::MaybeFlushed { .. } => format!("UNKNOWN {self}"),
            other => format!("ERR {other}"),
        }
    }

    /// Whether the deadline came first.
    pub fn is_timeout(&self) -> bool {
        matches!(self, KvError::Quorum(error) if error.kind == ErrorKind::Timeout)
    }
}
