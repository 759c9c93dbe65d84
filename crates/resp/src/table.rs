//! This file answers: which commands are there?
//!
//! Flags, categories, tips and key specifications are those of Redis 7, where Redis has the command: cluster clients
//! route and fan out by them, and refuse to send what is not listed.

use crate::Name;
use crate::command::{Keys, Spec};

const COMMAND: Spec = Spec {
    name: Name::Command,
    text: "",
    arity: 0,
    flags: &[],
    keys: None,
    categories: &[],
    tips: &[],
    usage: "",
    summary: "",
    since: "1.0.0",
    group: "generic",
    subcommands: &[],
};

const OWN: Spec = Spec {
    since: "0.1.0",
    group: "rkv",
    ..COMMAND
};

const CONNECTION: Spec = Spec {
    flags: &["loading", "stale", "fast"],
    categories: &["@fast", "@connection"],
    group: "connection",
    ..COMMAND
};

const BEFORE_AUTH: Spec = Spec {
    flags: &[
        "noscript",
        "loading",
        "stale",
        "fast",
        "no_auth",
        "allow_busy",
    ],
    ..CONNECTION
};

const CLIENT: Spec = Spec {
    flags: &["noscript", "loading", "stale"],
    categories: &["@slow", "@connection"],
    group: "connection",
    ..COMMAND
};

const CONFIG: Spec = Spec {
    flags: &["admin", "noscript", "loading", "stale"],
    categories: &["@admin", "@slow", "@dangerous"],
    since: "2.0.0",
    group: "server",
    ..COMMAND
};

const ABOUT_COMMANDS: Spec = Spec {
    flags: &["loading", "stale"],
    categories: &["@slow", "@connection"],
    since: "2.8.13",
    group: "server",
    ..COMMAND
};

const fn one_key(access: &'static [&'static str]) -> Option<Keys> {
    Some(Keys {
        last: 1,
        access,
        notes: None,
    })
}

const fn all_keys(access: &'static [&'static str]) -> Option<Keys> {
    Some(Keys {
        last: -1,
        access,
        notes: None,
    })
}

const FLUSH: Spec = Spec {
    arity: -1,
    flags: &["write"],
    categories: &["@keyspace", "@write", "@slow", "@dangerous"],
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    usage: "[ASYNC|SYNC]",
    group: "server",
    ..COMMAND
};

const CLUSTER: Spec = Spec {
    flags: &["stale"],
    categories: &["@slow"],
    since: "3.0.0",
    group: "cluster",
    ..COMMAND
};

const SUM_OF_SHARDS: &[&str] = &["request_policy:multi_shard", "response_policy:agg_sum"];

/// Every command, the frequent ones first: names are looked up in this order.
pub const TABLE: &[Spec] = &[
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
            last: 1,
            access: &["RW", "access", "update", "variable_flags"],
            notes: Some("RW and ACCESS due to the optional `GET` argument"),
        }),
        categories: &["@write", "@string", "@slow"],
        usage: "key value [NX|XX] [GET] [EX seconds|PX milliseconds|EXAT unix-seconds|PXAT unix-milliseconds|KEEPTTL]",
        summary: "Sets the value of a key, and when it expires.",
        group: "string",
        ..COMMAND
    },
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
        ..COMMAND
    },
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
    Spec {
        name: Name::DbSize,
        text: "dbsize",
        arity: 1,
        flags: &["readonly", "fast"],
        categories: &["@keyspace", "@read", "@fast"],
        tips: &["request_policy:all_shards", "response_policy:agg_sum"],
        summary: "Counts the keys of the whole cluster, about right while copies move.",
        group: "server",
        ..COMMAND
    },
    Spec {
        name: Name::RandomKey,
        text: "randomkey",
        arity: 1,
        flags: &["readonly"],
        categories: &["@keyspace", "@read", "@slow"],
        tips: &["request_policy:all_shards", "nondeterministic_output"],
        summary: "Returns a key at random.",
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
    Spec {
        name: Name::Cluster,
        text: "cluster",
        arity: -2,
        categories: &["@slow"],
        summary: "A container for cluster commands.",
        since: "3.0.0",
        group: "cluster",
        subcommands: CLUSTER_SUBCOMMANDS,
        ..COMMAND
    },
    Spec {
        name: Name::Ping,
        text: "ping",
        arity: -1,
        flags: &["fast"],
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        usage: "[message]",
        summary: "Returns PONG, or the message.",
        ..CONNECTION
    },
    Spec {
        name: Name::Echo,
        text: "echo",
        arity: 2,
        usage: "message",
        summary: "Returns the message.",
        ..CONNECTION
    },
    Spec {
        name: Name::Quit,
        text: "quit",
        arity: -1,
        summary: "Ends the connection.",
        ..BEFORE_AUTH
    },
    Spec {
        name: Name::Hello,
        text: "hello",
        arity: -1,
        usage: "[protover [AUTH username password] [SETNAME clientname]]",
        summary: "Agrees on the protocol, and says who is here.",
        since: "6.0.0",
        ..BEFORE_AUTH
    },
    Spec {
        name: Name::Auth,
        text: "auth",
        arity: -2,
        usage: "[username] password",
        summary: "Proves who the client is.",
        ..BEFORE_AUTH
    },
    Spec {
        name: Name::Select,
        text: "select",
        arity: 2,
        usage: "index",
        summary: "Goes to the keyspace configured under a number.",
        ..CONNECTION
    },
    Spec {
        name: Name::Reset,
        text: "reset",
        arity: 1,
        summary: "Makes the connection as new.",
        since: "6.2.0",
        ..BEFORE_AUTH
    },
    Spec {
        name: Name::ReadOnly,
        text: "readonly",
        arity: 1,
        summary: "Accepted for cluster clients; any node reads any key.",
        since: "3.0.0",
        group: "cluster",
        ..CONNECTION
    },
    Spec {
        name: Name::ReadWrite,
        text: "readwrite",
        arity: 1,
        summary: "Accepted for cluster clients; any node takes any key.",
        since: "3.0.0",
        group: "cluster",
        ..CONNECTION
    },
    Spec {
        name: Name::Asking,
        text: "asking",
        arity: 1,
        flags: &["fast"],
        summary: "Accepted for cluster clients; any node takes any key.",
        since: "3.0.0",
        group: "cluster",
        ..CONNECTION
    },
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
        name: Name::Client,
        text: "client",
        arity: -2,
        categories: &["@slow"],
        summary: "A container for connection commands.",
        since: "2.4.0",
        group: "connection",
        subcommands: CLIENT_SUBCOMMANDS,
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
        ..COMMAND
    },
    Spec {
        name: Name::Command,
        text: "command",
        arity: -1,
        tips: &["nondeterministic_output_order"],
        summary: "Returns details about all commands.",
        subcommands: COMMAND_SUBCOMMANDS,
        ..ABOUT_COMMANDS
    },
];

const CLUSTER_SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: Name::ClusterCountKeysInSlot,
        text: "cluster|countkeysinslot",
        arity: 3,
        usage: "slot",
        summary: "Counts the keys of a slot, wherever it is held.",
        ..CLUSTER
    },
    Spec {
        name: Name::ClusterGetKeysInSlot,
        text: "cluster|getkeysinslot",
        arity: 4,
        tips: &["nondeterministic_output"],
        usage: "slot count",
        summary: "Returns keys of a slot, wherever it is held.",
        ..CLUSTER
    },
];

const CLIENT_SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: Name::ClientId,
        text: "client|id",
        arity: 2,
        summary: "Returns the connection's number.",
        since: "5.0.0",
        ..CLIENT
    },
    Spec {
        name: Name::ClientInfo,
        text: "client|info",
        arity: 2,
        tips: &["nondeterministic_output"],
        summary: "Returns what is known of this connection.",
        since: "6.2.0",
        ..CLIENT
    },
    Spec {
        name: Name::ClientList,
        text: "client|list",
        arity: -2,
        flags: &["admin", "noscript", "loading", "stale"],
        categories: &["@admin", "@slow", "@dangerous", "@connection"],
        tips: &["nondeterministic_output"],
        usage: "[TYPE NORMAL|MASTER|REPLICA|PUBSUB] [ID client-id [client-id ...]]",
        summary: "Returns what is known of the node's connections.",
        since: "2.4.0",
        ..CLIENT
    },
    Spec {
        name: Name::ClientGetName,
        text: "client|getname",
        arity: 2,
        summary: "Returns the connection's name.",
        since: "2.6.9",
        ..CLIENT
    },
    Spec {
        name: Name::ClientSetName,
        text: "client|setname",
        arity: 3,
        usage: "connection-name",
        summary: "Names the connection.",
        since: "2.6.9",
        ..CLIENT
    },
    Spec {
        name: Name::ClientSetInfo,
        text: "client|setinfo",
        arity: 4,
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        usage: "LIB-NAME libname|LIB-VER libver",
        summary: "Says which library the connection comes from.",
        since: "7.2.0",
        ..CLIENT
    },
    Spec {
        name: Name::ClientReply,
        text: "client|reply",
        arity: 3,
        usage: "ON|OFF|SKIP",
        summary: "Turns replies off and on again.",
        since: "3.2.0",
        ..CLIENT
    },
    Spec {
        name: Name::ClientNoEvict,
        text: "client|no-evict",
        arity: 3,
        flags: &["admin", "noscript", "loading", "stale"],
        categories: &["@admin", "@slow", "@dangerous", "@connection"],
        usage: "ON|OFF",
        summary: "Accepted; connections are not evicted.",
        since: "7.0.0",
        ..CLIENT
    },
    Spec {
        name: Name::ClientNoTouch,
        text: "client|no-touch",
        arity: 3,
        usage: "ON|OFF",
        summary: "Accepted; keys have no access time.",
        since: "7.2.0",
        ..CLIENT
    },
    Spec {
        name: Name::ClientHelp,
        text: "client|help",
        arity: 2,
        flags: &["loading", "stale"],
        summary: "Prints this help.",
        since: "5.0.0",
        ..CLIENT
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
        ..CONFIG
    },
];

const COMMAND_SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: Name::CommandCount,
        text: "command|count",
        arity: 2,
        summary: "Returns how many commands there are.",
        ..ABOUT_COMMANDS
    },
    Spec {
        name: Name::CommandInfo,
        text: "command|info",
        arity: -2,
        tips: &["nondeterministic_output_order"],
        usage: "[command-name [command-name ...]]",
        summary: "Returns details about some commands, or all.",
        ..ABOUT_COMMANDS
    },
    Spec {
        name: Name::CommandDocs,
        text: "command|docs",
        arity: -2,
        tips: &["nondeterministic_output_order"],
        usage: "[command-name [command-name ...]]",
        summary: "Returns what people should know of some commands, or all.",
        since: "7.0.0",
        ..ABOUT_COMMANDS
    },
    Spec {
        name: Name::CommandList,
        text: "command|list",
        arity: -2,
        tips: &["nondeterministic_output_order"],
        usage: "[FILTERBY MODULE name|ACLCAT category|PATTERN pattern]",
        summary: "Returns the commands' names.",
        since: "7.0.0",
        ..ABOUT_COMMANDS
    },
    Spec {
        name: Name::CommandGetKeys,
        text: "command|getkeys",
        arity: -3,
        usage: "command [arg [arg ...]]",
        summary: "Returns the keys among a command's arguments.",
        ..ABOUT_COMMANDS
    },
    Spec {
        name: Name::CommandHelp,
        text: "command|help",
        arity: 2,
        summary: "Prints this help.",
        since: "5.0.0",
        ..ABOUT_COMMANDS
    },
];
