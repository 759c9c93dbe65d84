//! This file answers: which commands are about the connection itself?

use super::COMMAND;
use crate::Name;
use crate::command::Spec;

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

/// From HELLO to CLIENT.
pub(super) const CONNECTIONS: &[Spec] = &[
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
        differences: "`mode` is always `cluster`; `version` is that of the Redis whose clients are at home here.",
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
        differences: "The numbers are those of `redis.databases`, keyspaces by name; allowed although the mode is cluster.",
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
        name: Name::Client,
        text: "client",
        arity: -2,
        categories: &["@slow"],
        summary: "A container for connection commands.",
        since: "2.4.0",
        group: "connection",
        subcommands: CLIENT_SUBCOMMANDS,
        differences: "PAUSE, TRACKING, UNBLOCK and their like are not here.",
        ..COMMAND
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
        differences: "`fd`, buffers and `tot-mem` are those of this connection; what does not exist here is shown as unused.",
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
        name: Name::ClientKill,
        text: "client|kill",
        arity: -3,
        flags: &["admin", "noscript", "loading", "stale"],
        categories: &["@admin", "@slow", "@dangerous", "@connection"],
        usage: "ip:port|[ID client-id] [TYPE NORMAL|MASTER|REPLICA|PUBSUB] [USER username] [ADDR ip:port] [LADDR ip:port] [SKIPME YES|NO] [...]",
        summary: "Ends connections.",
        since: "2.4.0",
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
        differences: "Tells the subcommands that are here.",
        ..CLIENT
    },
];
