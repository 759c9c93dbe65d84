//! This file answers: what went wrong, and what can the caller do about it?

use std::time::Duration;

use rkv_quorum::outcome::ReplicaResult;
use rkv_wire::request::{Refused, Remedy};

/// Why an operation came to nothing.
///
/// Two questions matter to a caller, and every error answers both: [`was_maybe_applied`](Error::was_maybe_applied), and
/// [`is_retryable`](Error::is_retryable). They are never both true: what may have been applied is looked at before it is
/// written again.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Yours to mend: a number that no request can have, a key or value too long, a keyspace that is not there.
    #[error("{message}")]
    Invalid {
        /// A word for why, as in the documents.
        reason: String,
        /// In words.
        message: String,
    },
    /// No node could be asked; nothing was sent.
    #[error("no node could be asked: {0}")]
    Unreachable(String),
    /// The nodes do not talk to this client: wrong secret, other version. Trying again does not help.
    #[error("turned away: {0}")]
    TurnedAway(String),
    /// A node would not now: it has too much to do, is about to stop, or its ring is changing. Nothing was applied.
    #[error("{message}")]
    Again {
        /// A word for why.
        reason: String,
        /// In words.
        message: String,
    },
    /// Fewer replicas answered than were asked for.
    #[error("{}", .0.message)]
    QuorumNotMet(Box<QuorumNotMet>),
    /// A write left, and nobody told what became of it: its connection was lost, or its time was over.
    #[error("{0}; the write may have been applied")]
    Unknown(String),
    /// The time was over before anything came of it; nothing was applied.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// A value is not of the type that was asked for, or cannot be written.
    #[error("value: {0}")]
    Value(String),
    /// A node answered what this client does not understand: is one of them much older?
    #[error("answer not understood: {0}")]
    Protocol(String),
}

/// A request without its quorum.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuorumNotMet {
    /// The kind, as in the documents: `no_replicas`, `timeout`, `quorum_not_met` or `busy`.
    pub kind: String,
    /// A word for why.
    pub reason: String,
    /// In words.
    pub message: String,
    /// Whether some replica may hold the write all the same.
    pub maybe_applied: bool,
    /// How each replica stood.
    pub result: Vec<ReplicaResult>,
}

impl Error {
    /// Whether the operation may succeed if it is tried again as it is, and is known not to have been applied.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Unreachable(_) | Error::Again { .. } | Error::Timeout(_) => true,
            Error::QuorumNotMet(error) => !error.maybe_applied,
            _ => false,
        }
    }

    /// Whether a write may have been applied. False is a promise: it was not, and will not be.
    pub fn was_maybe_applied(&self) -> bool {
        match self {
            Error::Unknown(_) => true,
            Error::QuorumNotMet(error) => error.maybe_applied,
            _ => false,
        }
    }

    /// How each replica stood, where that is known.
    pub fn replicas(&self) -> &[ReplicaResult] {
        match self {
            Error::QuorumNotMet(error) => &error.result,
            _ => &[],
        }
    }

    pub(crate) fn invalid(reason: &str, message: impl Into<String>) -> Error {
        Error::Invalid {
            reason: reason.to_owned(),
            message: message.into(),
        }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Error {
        let (reason, message) = (refused.reason, refused.text);
        let is_quorum = matches!(
            refused.kind.as_str(),
            "no_replicas" | "timeout" | "quorum_not_met"
        );
        match refused.remedy {
            Remedy::Yours => Error::Invalid { reason, message },
            Remedy::Again | Remedy::Unknown if is_quorum || !refused.replicas.is_empty() => {
                Error::QuorumNotMet(Box::new(QuorumNotMet {
                    kind: refused.kind,
                    reason,
                    message,
                    maybe_applied: refused.remedy == Remedy::Unknown,
                    result: refused.replicas.into_vec(),
                }))
            }
            Remedy::Again | Remedy::Elsewhere => Error::Again { reason, message },
            Remedy::Unknown => Error::Unknown(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use rkv_quorum::outcome::Replicas;

    use super::*;

    fn told(remedy: Remedy, kind: &str) -> (bool, bool) {
        let error = Error::from(Refused {
            remedy,
            kind: kind.to_owned(),
            reason: "why".to_owned(),
            text: "words".to_owned(),
            replicas: Replicas::new(),
        });
        (error.is_retryable(), error.was_maybe_applied())
    }

    /// Lost without it: a write that may have been applied is sent again by itself.
    #[test]
    fn what_may_have_been_applied_is_not_tried_again() {
        for kind in ["timeout", "quorum_not_met", "busy", "internal", "new"] {
            assert_eq!(told(Remedy::Unknown, kind), (false, true), "{kind}");
            assert_eq!(told(Remedy::Again, kind), (true, false), "{kind}");
            assert_eq!(told(Remedy::Elsewhere, kind), (true, false), "{kind}");
            assert_eq!(told(Remedy::Yours, kind), (false, false), "{kind}");
        }
        assert!(Error::Unknown(String::new()).was_maybe_applied());
        assert!(!Error::TurnedAway(String::new()).is_retryable());
    }
}
