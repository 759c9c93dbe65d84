//! This file answers: which commands ask for keys of whatever kind?

use super::{COMMAND, SUM_OF_SHARDS, all_keys};
use crate::Name;
use crate::command::Spec;

/// DEL, EXISTS and their like.
pub(super) const KEYS: &[Spec] = &[
    Spec {
        name: Name::Del,
        text: "del",
        arity: -2,
        flags: &["write"],
        keys: all_keys(&["RM", "delete"]),
        categories: &["@keyspace", "@write", "@slow"],
        tips: SUM_OF_SHARDS,
        usage: "key [key ...]",
        summary: "Deletes keys, each by itself.",
        differences: "Each key by itself, on any nodes: not atomic. A key counts as deleted when its read failed and its tombstone was acknowledged.",
        ..COMMAND
    },
    Spec {
        name: Name::Exists,
        text: "exists",
        arity: -2,
        flags: &["readonly", "fast"],
        keys: all_keys(&["RO"]),
        categories: &["@keyspace", "@read", "@fast"],
        tips: SUM_OF_SHARDS,
        usage: "key [key ...]",
        summary: "Counts which of the keys exist.",
        differences: "Each key by itself, on any nodes: not atomic.",
        ..COMMAND
    },
];
