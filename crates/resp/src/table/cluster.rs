//! This file answers: which commands are there for clients that know of clusters?

use super::COMMAND;
use crate::Name;
use crate::command::Spec;

const FOR_CLUSTERS: Spec = Spec {
    flags: &["loading", "stale", "fast"],
    categories: &["@fast", "@connection"],
    group: "cluster",
    ..COMMAND
};

/// READONLY and its like.
pub(super) const CLUSTER: &[Spec] = &[
    Spec {
        name: Name::ReadOnly,
        text: "readonly",
        arity: 1,
        summary: "Accepted for cluster clients; any node reads any key.",
        since: "3.0.0",
        ..FOR_CLUSTERS
    },
    Spec {
        name: Name::ReadWrite,
        text: "readwrite",
        arity: 1,
        summary: "Accepted for cluster clients; any node takes any key.",
        since: "3.0.0",
        ..FOR_CLUSTERS
    },
    Spec {
        name: Name::Asking,
        text: "asking",
        arity: 1,
        flags: &["fast"],
        summary: "Accepted for cluster clients; any node takes any key.",
        since: "3.0.0",
        ..FOR_CLUSTERS
    },
];
