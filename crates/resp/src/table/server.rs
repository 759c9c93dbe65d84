//! This file answers: which commands are about the node?

use super::COMMAND;
use crate::Name;
use crate::command::Spec;

const CONFIG: Spec = Spec {
    flags: &["admin", "noscript", "loading", "stale"],
    categories: &["@admin", "@slow", "@dangerous"],
    since: "2.0.0",
    group: "server",
    ..COMMAND
};

/// INFO, CONFIG and their like.
pub(super) const SERVER: &[Spec] = &[
    Spec {
        name: Name::Info,
        text: "info",
        arity: -1,
        flags: &["loading", "stale"],
        categories: &["@slow", "@dangerous"],
        tips: &[
            "nondeterministic_output",
            "request_policy:all_shards",
            "response_policy:special",
        ],
        usage: "[section [section ...]]",
        summary: "Returns figures of this node.",
        group: "server",
        differences: "Has sections of our own: Ring, Quorum, Handoff. Latencystats is empty: `/metrics` has the histograms. Keys are those of the whole cluster, as DBSIZE counts them, a moment old.",
        ..COMMAND
    },
    Spec {
        name: Name::Time,
        text: "time",
        arity: 1,
        flags: &["loading", "stale", "fast"],
        categories: &["@fast"],
        tips: &["nondeterministic_output"],
        summary: "Returns this node's clock: seconds and microseconds.",
        since: "2.6.0",
        group: "server",
        ..COMMAND
    },
    Spec {
        name: Name::Config,
        text: "config",
        arity: -2,
        categories: &["@slow"],
        summary: "A container for configuration commands.",
        since: "2.0.0",
        group: "server",
        subcommands: CONFIG_SUBCOMMANDS,
        differences: "Names are Redis' own, values are what holds here; `rkv config show` has rkv's settings.",
        ..COMMAND
    },
    Spec {
        name: Name::Role,
        text: "role",
        arity: 1,
        flags: &["noscript", "loading", "stale", "fast"],
        categories: &["@admin", "@fast", "@dangerous"],
        summary: "Returns the role of this node: master.",
        since: "2.8.12",
        group: "server",
        differences: "A node is always a master without replicas: replication is the ring's. The offset is 0.",
        ..COMMAND
    },
    Spec {
        name: Name::Wait,
        text: "wait",
        arity: 3,
        flags: &["noscript"],
        categories: &["@slow", "@connection"],
        tips: &["request_policy:all_shards", "response_policy:agg_min"],
        usage: "numreplicas timeout",
        summary: "Waits until so many more nodes than one hold this connection's last write; returns how many do.",
        since: "3.0.0",
        differences: "Asks the owners of the last key written, its fallbacks not; a timeout of 0 waits as long as a request may take. Redis counts replicas of everything before.",
        ..COMMAND
    },
    Spec {
        name: Name::LolWut,
        text: "lolwut",
        arity: -1,
        flags: &["readonly", "fast"],
        categories: &["@read", "@fast"],
        usage: "[VERSION version]",
        summary: "Returns the version of rkv.",
        since: "5.0.0",
        group: "server",
        differences: "No drawing.",
        ..COMMAND
    },
    Spec {
        name: Name::Debug,
        text: "debug",
        arity: -2,
        flags: &["admin", "noscript", "loading", "stale"],
        categories: &["@admin", "@slow", "@dangerous"],
        usage: "subcommand [argument [argument ...]]",
        summary: "Refused.",
        group: "server",
        differences: "Refused always: RKV.REPLICAS and `rkv status` look, `rkv start --faults` breaks.",
        ..COMMAND
    },
];

const CONFIG_SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: Name::ConfigGet,
        text: "config|get",
        arity: -3,
        usage: "parameter [parameter ...]",
        summary: "Returns the settings whose names match.",
        ..CONFIG
    },
    Spec {
        name: Name::ConfigSet,
        text: "config|set",
        arity: -4,
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        usage: "parameter value [parameter value ...]",
        summary: "Changes settings of the running node.",
        differences: "Only `slowlog-log-slower-than` and `slowlog-max-len` change (and a setting may be set to what it is): the rest is read when the node starts.",
        ..CONFIG
    },
    Spec {
        name: Name::ConfigResetStat,
        text: "config|resetstat",
        arity: 2,
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        summary: "Sets INFO's counters to 0.",
        ..CONFIG
    },
    Spec {
        name: Name::ConfigRewrite,
        text: "config|rewrite",
        arity: 2,
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        summary: "Writes changed settings to the configuration file.",
        since: "2.8.0",
        differences: "Refused: rkv's configuration is never rewritten.",
        ..CONFIG
    },
    Spec {
        name: Name::ConfigHelp,
        text: "config|help",
        arity: 2,
        flags: &["loading", "stale"],
        categories: &["@slow"],
        summary: "Prints this help.",
        since: "5.0.0",
        differences: "Tells the subcommands that are here.",
        ..CONFIG
    },
];
