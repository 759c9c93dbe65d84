//! This file answers: which commands say, and tell, when a key ends?

use super::{COMMAND, one_key};
use crate::Name;
use crate::command::Spec;

/// EXPIRE, TTL and their like.
pub(super) const EXPIRY: &[Spec] = &[
    Spec {
        name: Name::Expire,
        text: "expire",
        arity: -3,
        flags: &["write", "fast"],
        keys: one_key(&["RW", "update"]),
        categories: &["@keyspace", "@write", "@fast"],
        usage: "key seconds [NX|XX|GT|LT]",
        summary: "Sets in how many seconds a key expires. NX, XX, GT and LT are judged by what was read.",
        differences: "NX, XX, GT and LT are judged by what was read: somebody else may write in between. A SET in between is not touched.",
        ..COMMAND
    },
    Spec {
        name: Name::PExpire,
        text: "pexpire",
        arity: -3,
        flags: &["write", "fast"],
        keys: one_key(&["RW", "update"]),
        categories: &["@keyspace", "@write", "@fast"],
        usage: "key milliseconds [NX|XX|GT|LT]",
        summary: "Sets in how many milliseconds a key expires. NX, XX, GT and LT are judged by what was read.",
        since: "2.6.0",
        differences: "NX, XX, GT and LT are judged by what was read: somebody else may write in between. A SET in between is not touched.",
        ..COMMAND
    },
    Spec {
        name: Name::ExpireAt,
        text: "expireat",
        arity: -3,
        flags: &["write", "fast"],
        keys: one_key(&["RW", "update"]),
        categories: &["@keyspace", "@write", "@fast"],
        usage: "key unix-time-seconds [NX|XX|GT|LT]",
        summary: "Sets at which second a key expires. NX, XX, GT and LT are judged by what was read.",
        since: "1.2.0",
        differences: "NX, XX, GT and LT are judged by what was read: somebody else may write in between. A SET in between is not touched.",
        ..COMMAND
    },
    Spec {
        name: Name::PExpireAt,
        text: "pexpireat",
        arity: -3,
        flags: &["write", "fast"],
        keys: one_key(&["RW", "update"]),
        categories: &["@keyspace", "@write", "@fast"],
        usage: "key unix-time-milliseconds [NX|XX|GT|LT]",
        summary: "Sets at which millisecond a key expires. NX, XX, GT and LT are judged by what was read.",
        since: "2.6.0",
        differences: "NX, XX, GT and LT are judged by what was read: somebody else may write in between. A SET in between is not touched.",
        ..COMMAND
    },
    Spec {
        name: Name::Ttl,
        text: "ttl",
        arity: 2,
        flags: &["readonly", "fast"],
        keys: one_key(&["RO", "access"]),
        categories: &["@keyspace", "@read", "@fast"],
        tips: &["nondeterministic_output"],
        usage: "key",
        summary: "Returns in how many seconds a key expires.",
        ..COMMAND
    },
    Spec {
        name: Name::PTtl,
        text: "pttl",
        arity: 2,
        flags: &["readonly", "fast"],
        keys: one_key(&["RO", "access"]),
        categories: &["@keyspace", "@read", "@fast"],
        tips: &["nondeterministic_output"],
        usage: "key",
        summary: "Returns in how many milliseconds a key expires.",
        since: "2.6.0",
        ..COMMAND
    },
    Spec {
        name: Name::ExpireTime,
        text: "expiretime",
        arity: 2,
        flags: &["readonly", "fast"],
        keys: one_key(&["RO", "access"]),
        categories: &["@keyspace", "@read", "@fast"],
        usage: "key",
        summary: "Returns at which second a key expires.",
        since: "7.0.0",
        ..COMMAND
    },
    Spec {
        name: Name::PExpireTime,
        text: "pexpiretime",
        arity: 2,
        flags: &["readonly", "fast"],
        keys: one_key(&["RO", "access"]),
        categories: &["@keyspace", "@read", "@fast"],
        usage: "key",
        summary: "Returns at which millisecond a key expires.",
        since: "7.0.0",
        ..COMMAND
    },
    Spec {
        name: Name::Persist,
        text: "persist",
        arity: 2,
        flags: &["write", "fast"],
        keys: one_key(&["RW", "update"]),
        categories: &["@keyspace", "@write", "@fast"],
        usage: "key",
        summary: "Takes away when a key expires.",
        since: "2.2.0",
        ..COMMAND
    },
];
