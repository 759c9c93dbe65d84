//! This file answers: how does a command fail, and what does the process exit with?

use serde::Deserialize;
use serde_json::{Value, json};

use super::documents::Replica;

/// The kinds of INTERFACES, each with its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Yours: the request itself is wrong.
    Usage,
    /// The node cannot be reached.
    Unreachable,
    /// Unsafe, or not the state it needs.
    Refused,
    /// Too few nodes for what was asked.
    NoReplicas,
    /// Not done in time.
    Timeout,
    /// Too few answers.
    QuorumNotMet,
    /// Overload: not applied.
    Busy,
    /// Anything else.
    Internal,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Kind; 8] = [
        Kind::Usage,
        Kind::Unreachable,
        Kind::Refused,
        Kind::NoReplicas,
        Kind::Timeout,
        Kind::QuorumNotMet,
        Kind::Busy,
        Kind::Internal,
    ];

    /// Its name in documents.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Kind::Usage => "usage",
            Kind::Unreachable => "unreachable",
            Kind::Refused => "refused",
            Kind::NoReplicas => "no_replicas",
            Kind::Timeout => "timeout",
            Kind::QuorumNotMet => "quorum_not_met",
            Kind::Busy => "busy",
            Kind::Internal => "internal",
        }
    }

    /// The kind of that name; one that a newer node made up counts as internal.
    pub(crate) fn named(name: &str) -> Kind {
        let mut all = Kind::ALL.into_iter();
        all.find(|kind| kind.as_str() == name)
            .unwrap_or(Kind::Internal)
    }

    /// What the process exits with.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Kind::Usage => 2,
            Kind::Unreachable => 3,
            Kind::Refused | Kind::NoReplicas => 4,
            Kind::Timeout => 5,
            Kind::QuorumNotMet | Kind::Busy | Kind::Internal => 1,
        }
    }
}

/// Why a command came to nothing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failure {
    /// Which exit code.
    pub(crate) kind: Kind,
    /// What a person is told.
    pub(crate) message: String,
    /// Whether what was asked for may have been done all the same: a write, a change of the cluster.
    pub(crate) maybe_applied: bool,
    /// The replicas that answered, if it was a request.
    pub(crate) replicas: Vec<Replica>,
    /// The document for scripts.
    document: String,
}

/// The inside of an error document, as far as it is read here.
#[derive(Deserialize)]
struct Inside {
    kind: String,
    message: String,
    #[serde(default)]
    maybe_applied: bool,
    #[serde(default)]
    replicas: Vec<Replica>,
}

#[derive(Deserialize)]
struct Document {
    error: Inside,
}

impl Failure {
    /// One that arose here.
    pub(crate) fn new(kind: Kind, reason: &str, message: impl Into<String>) -> Failure {
        Failure::with(kind, reason, message, json!({}))
    }

    /// One that arose here, with more fields in its document.
    pub(crate) fn with(
        kind: Kind,
        reason: &str,
        message: impl Into<String>,
        more: Value,
    ) -> Failure {
        let message = message.into();
        let mut error = json!({"kind": kind.as_str(), "reason": reason, "message": message});
        if let (Some(error), Value::Object(more)) = (error.as_object_mut(), &more) {
            error.extend(more.clone());
        }
        Failure {
            kind,
            message,
            maybe_applied: more.get("maybe_applied") == Some(&Value::Bool(true)),
            replicas: Vec::new(),
            document: json!({ "error": error }).to_string(),
        }
    }

    /// The command line itself is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Kind::Usage, "usage", message)
    }

    /// Something that should not happen.
    pub(crate) fn internal(message: impl Into<String>) -> Failure {
        Failure::new(Kind::Internal, "internal", message)
    }

    /// The error that a node's answer holds, if it is an error document.
    pub(crate) fn from_document(text: &str) -> Option<Failure> {
        let inside = serde_json::from_str::<Document>(text).ok()?.error;
        Some(Failure {
            kind: Kind::named(&inside.kind),
            message: inside.message,
            maybe_applied: inside.maybe_applied,
            replicas: inside.replicas,
            document: text.trim().to_owned(),
        })
    }

    /// The document for scripts.
    pub(crate) fn document(&self) -> &str {
        &self.document
    }

    /// The lines for people.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("error: {}", self.message);
        if !self.replicas.is_empty() {
            text.push('\n');
            text.push_str(super::table::replicas(&self.replicas).trim_end());
        }
        if self.maybe_applied {
            text.push_str("\nit may have been done all the same: look before you ask for it again");
        }
        text
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<crate::config::ConfigError> for Failure {
    fn from(error: crate::config::ConfigError) -> Failure {
        Failure::with(
            Kind::Usage,
            "config",
            error.to_string(),
            json!({"problems": error.0}),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost without it: scripts would take a refusal for a crash, or a lost quorum for a wrong flag.
    #[test]
    fn kinds_have_the_exit_codes_that_are_promised() {
        for (name, code) in [
            ("usage", 2),
            ("unreachable", 3),
            ("refused", 4),
            ("no_replicas", 4),
            ("timeout", 5),
            ("quorum_not_met", 1),
            ("busy", 1),
            ("internal", 1),
            ("of a newer node", 1),
        ] {
            assert_eq!(Kind::named(name).exit_code(), code, "{name}");
        }
    }

    /// Lost without it: what a node says of an error would not reach scripts word for word, nor people at all.
    #[test]
    fn a_nodes_error_is_passed_on() {
        let text = r#"{"error":{"kind":"quorum_not_met","reason":"timeout","message":"1 of 2 answered","maybe_applied":true,
            "replicas":[{"node":"node1","partition":3,"replica":0,"role":"primary","result":"ok"}],"extra":1}}"#;
        let failure = Failure::from_document(text).unwrap();
        assert_eq!(failure.kind, Kind::QuorumNotMet);
        assert_eq!(failure.document(), text);
        let shown = failure.text();
        assert!(
            shown.contains("1 of 2 answered")
                && shown.contains("node1")
                && shown.contains("may have been")
        );
        assert_eq!(Failure::from_document("<html>"), None);
        let own = Failure::new(Kind::Unreachable, "connect", "no");
        let document: Value = serde_json::from_str(own.document()).unwrap();
        assert_eq!(
            document,
            json!({"error": {"kind": "unreachable", "reason": "connect", "message": "no"}})
        );
    }
}
