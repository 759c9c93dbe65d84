//! This file answers: which commands ask for keys of whatever kind?

use super::{COMMAND, SUM_OF_SHARDS, all_keys, one_key};
use crate::Name;
use crate::command::Spec;

const FLUSH: Spec = Spec {
    arity: -1,
    flags: &["write"],
    categories: &["@keyspace", "@write", "@slow", "@dangerous"],
    usage: "[ASYNC|SYNC]",
    group: "server",
    differences: "One node empties the whole cluster, when a majority of it has agreed: an error says whether it may have happened. ASYNC and SYNC are the same.",
    ..COMMAND
};

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
    Spec {
        name: Name::Type,
        text: "type",
        arity: 2,
        flags: &["readonly", "fast"],
        keys: one_key(&["RO"]),
        categories: &["@keyspace", "@read", "@fast"],
        usage: "key",
        summary: "Returns what kind of value a key has: string or none.",
        ..COMMAND
    },
    Spec {
        name: Name::Unlink,
        text: "unlink",
        arity: -2,
        flags: &["write", "fast"],
        keys: all_keys(&["RM", "delete"]),
        categories: &["@keyspace", "@write", "@fast"],
        tips: SUM_OF_SHARDS,
        usage: "key [key ...]",
        summary: "Deletes keys, each by itself, as DEL does.",
        since: "4.0.0",
        differences: "As DEL.",
        ..COMMAND
    },
    Spec {
        name: Name::Touch,
        text: "touch",
        arity: -2,
        flags: &["readonly", "fast"],
        keys: all_keys(&["RO"]),
        categories: &["@keyspace", "@read", "@fast"],
        tips: SUM_OF_SHARDS,
        usage: "key [key ...]",
        summary: "Counts which of the keys exist; keys have no access time.",
        since: "3.2.1",
        differences: "Keys have no access time: only counts.",
        ..COMMAND
    },
    Spec {
        name: Name::DbSize,
        text: "dbsize",
        arity: 1,
        flags: &["readonly", "fast"],
        categories: &["@keyspace", "@read", "@fast"],
        summary: "Counts the keys of the whole cluster, about right while copies move.",
        group: "server",
        differences: "Every node counts the whole cluster, so there is nothing to add up: a client that adds up all nodes' answers counts each key once a node. A key whose time has come counts until it is swept, some seconds later.",
        ..COMMAND
    },
    Spec {
        name: Name::RandomKey,
        text: "randomkey",
        arity: 1,
        flags: &["readonly"],
        categories: &["@keyspace", "@read", "@slow"],
        tips: &["nondeterministic_output"],
        summary: "Returns a key at random.",
        differences: "Of the whole cluster, whichever node is asked.",
        ..COMMAND
    },
    Spec {
        name: Name::FlushDb,
        text: "flushdb",
        summary: "Deletes all keys of the connection's keyspace.",
        ..FLUSH
    },
    Spec {
        name: Name::FlushAll,
        text: "flushall",
        summary: "Deletes all keys.",
        ..FLUSH
    },
];
