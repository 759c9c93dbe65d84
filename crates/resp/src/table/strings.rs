//! This file answers: which commands read and write plain values?

use super::{COMMAND, one_key};
use crate::Name;
use crate::command::{Keys, Spec};

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
];
