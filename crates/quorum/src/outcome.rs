//! This file answers: what does a request report when it is decided?

use std::fmt;

use rkv_ring::{NodeName, Partition};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::clock::Stamp;
use crate::object::Object;
use crate::tally::Role;

/// Who had answered when a request was decided: one entry a place, first replica first. Without the heap up to three.
pub type Replicas = SmallVec<[ReplicaResult; 3]>;

/// The reason of every outcome that is none of [`QuorumError`].
pub const FINISHED: &str = "finished";

/// How one place of the row answered. A node in three places gives three entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaResult {
    /// Who answered.
    pub node: NodeName,
    /// For which partition.
    pub partition: Partition,
    /// Which place of the row; a fallback's is the one that it stands in for.
    pub replica: u8,
    /// In which capacity.
    pub role: Role,
    /// What it said.
    pub result: ResultWord,
}

/// What a replica said, in a word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum ResultWord {
    /// A put: stored. A get: it holds the version that was answered, and that is a value (which may have ended).
    Ok,
    /// It holds nothing, or a deletion.
    NotFound,
    /// A get: it holds an older version than the one answered. A put: what it holds is newer than what it was sent.
    Stale,
    /// No answer in time.
    Timeout,
    /// Too much to do.
    Busy,
    /// Something else, in words.
    Error(String),
}

impl fmt::Display for ResultWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResultWord::Ok => f.pad("ok"),
            ResultWord::NotFound => f.pad("notfound"),
            ResultWord::Stale => f.pad("stale"),
            ResultWord::Timeout => f.pad("timeout"),
            ResultWord::Busy => f.pad("busy"),
            ResultWord::Error(text) => write!(f, "error: {text}"),
        }
    }
}

impl From<ResultWord> for String {
    fn from(word: ResultWord) -> String {
        word.to_string()
    }
}

impl From<String> for ResultWord {
    fn from(text: String) -> ResultWord {
        match text.as_str() {
            "ok" => ResultWord::Ok,
            "notfound" => ResultWord::NotFound,
            "stale" => ResultWord::Stale,
            "timeout" => ResultWord::Timeout,
            "busy" => ResultWord::Busy,
            other => ResultWord::Error(other.strip_prefix("error: ").unwrap_or(other).to_owned()),
        }
    }
}

/// A put or delete that is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutOutcome {
    /// [`FINISHED`].
    pub reason: &'static str,
    /// The version that w places hold: after a restamp not the first one sent.
    pub stamp: Stamp,
    /// Who had answered: w at least, n at most.
    pub replicas: Replicas,
}

/// A get that had enough answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetOutcome {
    /// [`FINISHED`].
    pub reason: &'static str,
    /// All that was answered, merged; none when nobody holds anything. It may be a deletion, or past its deadline.
    pub object: Option<Object>,
    /// Who had answered: r at least, n at most.
    pub replicas: Replicas,
}

/// Why a request came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// Fewer owners and fallbacks are up than were asked for; nothing was sent.
    NoReplicas,
    /// The same, and not even a majority of the n places is up; nothing was sent.
    NoQuorum,
    /// The deadline came before enough answers.
    Timeout,
    /// So many failed that enough could not answer any more.
    QuorumNotMet,
    /// The deadline came, and all that were still asked had too much to do.
    Busy,
}

impl ErrorKind {
    /// The kind as documents name it; no quorum is one way to have no replicas, and [`ErrorKind::reason`] tells.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::NoReplicas | ErrorKind::NoQuorum => "no_replicas",
            ErrorKind::Timeout => "timeout",
            ErrorKind::QuorumNotMet => "quorum_not_met",
            ErrorKind::Busy => "busy",
        }
    }

    /// A word for why.
    pub fn reason(self) -> &'static str {
        match self {
            ErrorKind::NoReplicas => "too_few_nodes",
            ErrorKind::NoQuorum => "no_quorum",
            ErrorKind::Timeout => "timeout",
            ErrorKind::QuorumNotMet => "too_many_failures",
            ErrorKind::Busy => "busy",
        }
    }
}

/// A request without its quorum. Its text is what a Redis client is told: the remedy first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} {message}", self.code())]
pub struct QuorumError {
    /// Why.
    pub kind: ErrorKind,
    /// Places that had to answer; where they have, the distinct nodes that had to.
    pub needed: usize,
    /// How many of them did, as they should.
    pub got: usize,
    /// Whether some replica may hold the write. False is a promise: it is on no disk and in no message.
    pub maybe_applied: bool,
    /// How each place that was asked stood; also those that were not, being down.
    pub replicas: Replicas,
    /// In words.
    pub message: String,
}

impl QuorumError {
    /// The first word of the Redis error, which names the remedy.
    pub fn code(&self) -> &'static str {
        match self.kind {
            _ if self.maybe_applied => "UNKNOWN",
            ErrorKind::NoReplicas => "NOREPLICAS",
            ErrorKind::NoQuorum => "CLUSTERDOWN",
            ErrorKind::Timeout | ErrorKind::QuorumNotMet => "TRYAGAIN",
            ErrorKind::Busy => "BUSY",
        }
    }

    /// The error of a put, worded; how many places answered, and how many had to.
    pub fn of_put(kind: ErrorKind, counted: (usize, usize), maybe_applied: bool) -> QuorumError {
        QuorumError::new(kind, true, counted, maybe_applied, Replicas::new())
    }

    /// The same of a get.
    pub fn of_get(kind: ErrorKind, counted: (usize, usize)) -> QuorumError {
        QuorumError::new(kind, false, counted, false, Replicas::new())
    }

    /// The error of a put (`write`) or a get, worded.
    pub(crate) fn new(
        kind: ErrorKind,
        write: bool,
        (got, needed): (usize, usize),
        maybe_applied: bool,
        replicas: Replicas,
    ) -> QuorumError {
        let counted = format!("{got} of {needed} answered");
        let message = match kind {
            _ if maybe_applied => format!("{counted}; the write may have been applied"),
            ErrorKind::NoReplicas => {
                format!("{got} of {needed} replicas can be reached; nothing was sent")
            }
            ErrorKind::NoQuorum => {
                format!("no quorum: {got} of {needed} replicas can be reached; nothing was sent")
            }
            _ if write => format!("{counted}; the write was not applied"),
            _ => counted,
        };
        QuorumError {
            kind,
            needed,
            got,
            maybe_applied,
            replicas,
            message,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost without it: a client library takes "may have been applied" for an error that it can retry.
    #[test]
    fn errors_begin_with_their_remedy() {
        let text = |kind, write, maybe| {
            QuorumError::new(kind, write, (1, 2), maybe, Replicas::new()).to_string()
        };
        let unknown = "UNKNOWN 1 of 2 answered; the write may have been applied";
        assert_eq!(text(ErrorKind::Timeout, true, true), unknown);
        assert_eq!(text(ErrorKind::Busy, true, true), unknown);
        let not = "1 of 2 answered; the write was not applied";
        assert_eq!(
            text(ErrorKind::QuorumNotMet, true, false),
            format!("TRYAGAIN {not}")
        );
        assert_eq!(text(ErrorKind::Busy, true, false), format!("BUSY {not}"));
        assert_eq!(
            text(ErrorKind::Timeout, false, false),
            "TRYAGAIN 1 of 2 answered"
        );
        let reach = "1 of 2 replicas can be reached; nothing was sent";
        assert_eq!(
            text(ErrorKind::NoReplicas, true, false),
            format!("NOREPLICAS {reach}")
        );
        let down = format!("CLUSTERDOWN no quorum: {reach}");
        assert_eq!(text(ErrorKind::NoQuorum, false, false), down);
    }

    /// Lost without it: a replica's word reads differently after a journey.
    #[test]
    fn words_survive_as_text() {
        let failed = ResultWord::Error("disk full".to_owned());
        assert_eq!(failed.to_string(), "error: disk full");
        let others = [
            ResultWord::Ok,
            ResultWord::NotFound,
            ResultWord::Stale,
            ResultWord::Timeout,
        ];
        for word in others.into_iter().chain([ResultWord::Busy, failed]) {
            assert_eq!(ResultWord::from(String::from(word.clone())), word);
        }
    }
}
