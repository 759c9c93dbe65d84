//! This file answers: which commands look into a key, or into what the node has done?

use super::COMMAND;
use crate::Name;
use crate::command::{Keys, Spec};

const OBJECT: Spec = Spec {
    flags: &["readonly"],
    categories: &["@keyspace", "@read", "@slow"],
    since: "2.2.3",
    group: "generic",
    ..COMMAND
};

const MEMORY: Spec = Spec {
    flags: &[],
    categories: &["@slow"],
    since: "4.0.0",
    group: "server",
    ..COMMAND
};

const SLOW_LOG: Spec = Spec {
    flags: &["admin", "loading", "stale"],
    categories: &["@admin", "@slow", "@dangerous"],
    since: "2.2.12",
    group: "server",
    ..COMMAND
};

const LATENCY: Spec = Spec {
    flags: &["admin", "noscript", "loading", "stale"],
    categories: &["@admin", "@slow", "@dangerous"],
    since: "2.8.13",
    group: "server",
    ..COMMAND
};

const KEY_BEHIND_SUBCOMMAND: Option<Keys> = Some(Keys {
    first: 2,
    last: 2,
    step: 1,
    access: &["RO"],
    notes: None,
});

/// OBJECT, MEMORY, SLOWLOG and LATENCY.
pub(super) const DIAGNOSTICS: &[Spec] = &[
    Spec {
        name: Name::Object,
        text: "object",
        arity: -2,
        categories: &["@slow"],
        summary: "A container for questions about what a key holds.",
        since: "2.2.3",
        subcommands: OBJECT_SUBCOMMANDS,
        ..COMMAND
    },
    Spec {
        name: Name::Memory,
        text: "memory",
        arity: -2,
        categories: &["@slow"],
        summary: "A container for questions about memory.",
        since: "4.0.0",
        group: "server",
        subcommands: MEMORY_SUBCOMMANDS,
        ..COMMAND
    },
    Spec {
        name: Name::SlowLog,
        text: "slowlog",
        arity: -2,
        categories: &["@slow"],
        summary: "A container for the log of slow commands.",
        since: "2.2.12",
        group: "server",
        subcommands: SLOW_LOG_SUBCOMMANDS,
        ..COMMAND
    },
    Spec {
        name: Name::Latency,
        text: "latency",
        arity: -2,
        categories: &["@slow"],
        summary: "A container for questions about latency.",
        since: "2.8.13",
        group: "server",
        subcommands: LATENCY_SUBCOMMANDS,
        ..COMMAND
    },
];

const OBJECT_SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: Name::ObjectEncoding,
        text: "object|encoding",
        arity: 3,
        keys: KEY_BEHIND_SUBCOMMAND,
        tips: &["nondeterministic_output"],
        usage: "key",
        summary: "Returns how Redis would hold the value: int, embstr or raw.",
        differences: "Told of the value as it is; how it is stored is another matter.",
        ..OBJECT
    },
    Spec {
        name: Name::ObjectRefCount,
        text: "object|refcount",
        arity: 3,
        keys: KEY_BEHIND_SUBCOMMAND,
        tips: &["nondeterministic_output"],
        usage: "key",
        summary: "Returns how often the value is referred to.",
        differences: "1 for every value, small integers too.",
        ..OBJECT
    },
    Spec {
        name: Name::ObjectIdleTime,
        text: "object|idletime",
        arity: 3,
        keys: KEY_BEHIND_SUBCOMMAND,
        tips: &["nondeterministic_output"],
        usage: "key",
        summary: "Returns for how many seconds the key has not been written.",
        differences: "Counted from the last write: reads leave no trace.",
        ..OBJECT
    },
    Spec {
        name: Name::ObjectFreq,
        text: "object|freq",
        arity: 3,
        keys: KEY_BEHIND_SUBCOMMAND,
        tips: &["nondeterministic_output"],
        usage: "key",
        summary: "Refused where a key is: reads are not counted.",
        since: "4.0.0",
        ..OBJECT
    },
    Spec {
        name: Name::ObjectHelp,
        text: "object|help",
        arity: 2,
        flags: &["loading", "stale"],
        categories: &["@keyspace", "@slow"],
        summary: "Prints this help.",
        since: "6.2.0",
        differences: "Tells the subcommands that are here.",
        ..OBJECT
    },
];

const MEMORY_SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: Name::MemoryUsage,
        text: "memory|usage",
        arity: -3,
        flags: &["readonly"],
        keys: KEY_BEHIND_SUBCOMMAND,
        categories: &["@read", "@slow"],
        usage: "key [SAMPLES count]",
        summary: "Returns how many bytes a key and its object take in one copy.",
        differences: "Counts what is stored of it: the key, the object and its head; not how a store lays it out.",
        ..MEMORY
    },
    Spec {
        name: Name::MemoryDoctor,
        text: "memory|doctor",
        arity: 2,
        tips: &[
            "nondeterministic_output",
            "request_policy:all_shards",
            "response_policy:special",
        ],
        summary: "Returns advice about memory.",
        differences: "Says where to look: this node keeps no statistics of its allocator.",
        ..MEMORY
    },
    Spec {
        name: Name::MemoryHelp,
        text: "memory|help",
        arity: 2,
        flags: &["loading", "stale"],
        summary: "Prints this help.",
        differences: "Tells the subcommands that are here.",
        ..MEMORY
    },
];

const SLOW_LOG_SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: Name::SlowLogGet,
        text: "slowlog|get",
        arity: -2,
        tips: &["request_policy:all_nodes", "nondeterministic_output"],
        usage: "[count]",
        summary: "Returns the latest commands that were slow.",
        differences: "The time is that from a command being read to its reply being there, replicas included.",
        ..SLOW_LOG
    },
    Spec {
        name: Name::SlowLogLen,
        text: "slowlog|len",
        arity: 2,
        tips: &[
            "request_policy:all_nodes",
            "response_policy:agg_sum",
            "nondeterministic_output",
        ],
        summary: "Returns how many entries the slow log has.",
        ..SLOW_LOG
    },
    Spec {
        name: Name::SlowLogReset,
        text: "slowlog|reset",
        arity: 2,
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        summary: "Empties the slow log.",
        ..SLOW_LOG
    },
    Spec {
        name: Name::SlowLogHelp,
        text: "slowlog|help",
        arity: 2,
        flags: &["loading", "stale"],
        categories: &["@slow"],
        summary: "Prints this help.",
        since: "6.2.0",
        differences: "Tells the subcommands that are here.",
        ..SLOW_LOG
    },
];

const LATENCY_SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: Name::LatencyLatest,
        text: "latency|latest",
        arity: 2,
        tips: &[
            "nondeterministic_output",
            "request_policy:all_nodes",
            "response_policy:special",
        ],
        summary: "Returns the latest spike of each event.",
        differences: "Always empty: no event is watched; `/metrics` has the histograms.",
        ..LATENCY
    },
    Spec {
        name: Name::LatencyHistory,
        text: "latency|history",
        arity: 3,
        tips: &[
            "nondeterministic_output",
            "request_policy:all_nodes",
            "response_policy:special",
        ],
        usage: "event",
        summary: "Returns the spikes of an event.",
        differences: "Always empty.",
        ..LATENCY
    },
    Spec {
        name: Name::LatencyReset,
        text: "latency|reset",
        arity: -2,
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        usage: "[event [event ...]]",
        summary: "Forgets the spikes of events; returns of how many.",
        differences: "Always 0.",
        ..LATENCY
    },
    Spec {
        name: Name::LatencyHelp,
        text: "latency|help",
        arity: 2,
        flags: &["loading", "stale"],
        categories: &["@slow"],
        summary: "Prints this help.",
        differences: "Tells the subcommands that are here.",
        ..LATENCY
    },
];
