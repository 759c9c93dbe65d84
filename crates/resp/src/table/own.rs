//! This file answers: which commands are rkv's own?

use super::{COMMAND, one_key};
use crate::Name;
use crate::command::Spec;

const OWN: Spec = Spec {
    since: "0.1.0",
    group: "rkv",
    ..COMMAND
};

/// Those that begin with `RKV.`.
pub(super) const OWN_COMMANDS: &[Spec] = &[
    Spec {
        name: Name::RkvPut,
        text: "rkv.put",
        arity: -3,
        flags: &["write", "denyoom"],
        keys: one_key(&["OW", "update"]),
        categories: &["@write", "@string", "@slow"],
        usage: "key value [N n] [W w] [PW pw] [TIMEOUT ms] [CONTEXT c] [KEYSPACE k]",
        summary: "Puts with a quorum of its own; returns what each replica answered.",
        ..OWN
    },
    Spec {
        name: Name::RkvGet,
        text: "rkv.get",
        arity: -2,
        flags: &["readonly"],
        keys: one_key(&["RO", "access"]),
        categories: &["@read", "@string", "@slow"],
        usage: "key [N n] [R r] [PR pr] [TIMEOUT ms] [KEYSPACE k]",
        summary: "Gets with a quorum of its own; returns values, context and what each replica answered.",
        ..OWN
    },
    Spec {
        name: Name::RkvDelete,
        text: "rkv.delete",
        arity: -2,
        flags: &["write"],
        keys: one_key(&["RM", "delete"]),
        categories: &["@keyspace", "@write", "@slow"],
        usage: "key [N n] [W w] [PW pw] [TIMEOUT ms] [CONTEXT c] [KEYSPACE k]",
        summary: "Deletes with a quorum of its own; returns what each replica answered.",
        ..OWN
    },
    Spec {
        name: Name::RkvReplicas,
        text: "rkv.replicas",
        arity: -2,
        flags: &["readonly"],
        keys: one_key(&["RO"]),
        categories: &["@read", "@slow"],
        tips: &["nondeterministic_output"],
        usage: "key [KEYSPACE k]",
        summary: "Returns what each replica of a key holds now, without repairing it.",
        ..OWN
    },
    Spec {
        name: Name::RkvPreflist,
        text: "rkv.preflist",
        arity: 2,
        flags: &["readonly", "fast"],
        keys: one_key(&["RO"]),
        categories: &["@read", "@fast"],
        tips: &["nondeterministic_output"],
        usage: "key",
        summary: "Returns a key's slot, partition and the nodes that serve it now.",
        ..OWN
    },
];
