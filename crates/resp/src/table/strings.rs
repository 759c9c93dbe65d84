//! This file answers: which commands read and write plain values?

use super::{COMMAND, all_keys, one_key};
use crate::Name;
use crate::command::{Keys, Spec};

/// Each key with its value behind it.
const PAIRS: Option<Keys> = Some(Keys {
    first: 1,
    last: -1,
    step: 2,
    access: &["OW", "update"],
    notes: None,
});

/// GET, SET and their like.
pub(super) const STRINGS: &[Spec] = &[
    Spec {
        name: Name::Get,
        text: "get",
        arity: 2,
        flags: &["readonly", "fast"],
        keys: one_key(&["RO", "access"]),
        categories: &["@read", "@string", "@fast"],
        usage: "key",
        summary: "Returns the value of a key.",
        group: "string",
        ..COMMAND
    },
    Spec {
        name: Name::Set,
        text: "set",
        arity: -3,
        flags: &["write", "denyoom"],
        keys: Some(Keys {
            first: 1,
            last: 1,
            step: 1,
            access: &["RW", "access", "update", "variable_flags"],
            notes: Some("RW and ACCESS due to the optional `GET` argument"),
        }),
        categories: &["@write", "@string", "@slow"],
        usage: "key value [NX|XX] [GET] [EX seconds|PX milliseconds|EXAT unix-seconds|PXAT unix-milliseconds|KEEPTTL]",
        summary: "Sets the value of a key, and when it expires.",
        group: "string",
        differences: "NX, XX and GET are refused with the remedy: they need an answer that all replicas agree on.",
        ..COMMAND
    },
    Spec {
        name: Name::MGet,
        text: "mget",
        arity: -2,
        flags: &["readonly", "fast"],
        keys: all_keys(&["RO", "access"]),
        categories: &["@read", "@string", "@fast"],
        tips: &["request_policy:multi_shard"],
        usage: "key [key ...]",
        summary: "Returns the values of keys, each read by itself.",
        group: "string",
        differences: "Each key by itself, on any nodes: not atomic. When a read fails the reply is an error that says how many failed.",
        ..COMMAND
    },
    Spec {
        name: Name::MSet,
        text: "mset",
        arity: -3,
        flags: &["write", "denyoom"],
        keys: PAIRS,
        categories: &["@write", "@string", "@slow"],
        tips: &[
            "request_policy:multi_shard",
            "response_policy:all_succeeded",
        ],
        usage: "key value [key value ...]",
        summary: "Sets keys, each written by itself: not atomic.",
        since: "1.0.1",
        group: "string",
        differences: "Each key by itself, on any nodes: not atomic. When a write fails the reply is an error that says how many failed.",
        ..COMMAND
    },
    Spec {
        name: Name::SetEx,
        text: "setex",
        arity: 4,
        flags: &["write", "denyoom"],
        keys: one_key(&["OW", "update"]),
        categories: &["@write", "@string", "@slow"],
        usage: "key seconds value",
        summary: "Sets the value of a key that expires in so many seconds.",
        since: "2.0.0",
        group: "string",
        ..COMMAND
    },
    Spec {
        name: Name::PSetEx,
        text: "psetex",
        arity: 4,
        flags: &["write", "denyoom"],
        keys: one_key(&["OW", "update"]),
        categories: &["@write", "@string", "@slow"],
        usage: "key milliseconds value",
        summary: "Sets the value of a key that expires in so many milliseconds.",
        since: "2.6.0",
        group: "string",
        ..COMMAND
    },
    Spec {
        name: Name::GetEx,
        text: "getex",
        arity: -2,
        flags: &["write", "fast"],
        keys: Some(Keys {
            first: 1,
            last: 1,
            step: 1,
            access: &["RW", "access", "update"],
            notes: Some("RW and UPDATE because it changes the TTL"),
        }),
        categories: &["@write", "@string", "@fast"],
        usage: "key [EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds|PERSIST]",
        summary: "Returns the value of a key, and then sets when it expires.",
        since: "6.2.0",
        group: "string",
        differences: "The value is read, then its deadline written: a SET in between is not touched.",
        ..COMMAND
    },
    Spec {
        name: Name::GetRange,
        text: "getrange",
        arity: 4,
        flags: &["readonly"],
        keys: one_key(&["RO", "access"]),
        categories: &["@read", "@string", "@slow"],
        usage: "key start end",
        summary: "Returns a part of a key's value.",
        since: "2.4.0",
        group: "string",
        ..COMMAND
    },
    Spec {
        name: Name::SubStr,
        text: "substr",
        arity: 4,
        flags: &["readonly"],
        keys: one_key(&["RO", "access"]),
        categories: &["@read", "@string", "@slow"],
        usage: "key start end",
        summary: "Returns a part of a key's value.",
        group: "string",
        ..COMMAND
    },
    Spec {
        name: Name::StrLen,
        text: "strlen",
        arity: 2,
        flags: &["readonly", "fast"],
        keys: one_key(&["RO"]),
        categories: &["@read", "@string", "@fast"],
        usage: "key",
        summary: "Returns the length of a key's value.",
        since: "2.2.0",
        group: "string",
        ..COMMAND
    },
];
