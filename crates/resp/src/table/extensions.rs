//! This file answers: which commands are about users, modules and scripts, of which there is little here?

use super::COMMAND;
use crate::Name;
use crate::command::Spec;

const ACL: Spec = Spec {
    flags: &["admin", "noscript", "loading", "stale"],
    categories: &["@admin", "@slow", "@dangerous"],
    since: "6.0.0",
    group: "server",
    ..COMMAND
};

const MODULE: Spec = Spec {
    flags: &["admin", "noscript"],
    categories: &["@admin", "@slow", "@dangerous"],
    since: "4.0.0",
    group: "server",
    ..COMMAND
};

const SCRIPT: Spec = Spec {
    flags: &["noscript"],
    categories: &["@slow", "@scripting"],
    since: "2.6.0",
    group: "scripting",
    ..COMMAND
};

/// ACL, MODULE, FUNCTION and SCRIPT.
pub(super) const EXTENSIONS: &[Spec] = &[
    Spec {
        name: Name::Acl,
        text: "acl",
        arity: -2,
        categories: &["@slow"],
        summary: "A container for questions about users.",
        since: "6.0.0",
        group: "server",
        subcommands: ACL_SUBCOMMANDS,
        ..COMMAND
    },
    Spec {
        name: Name::Module,
        text: "module",
        arity: -2,
        categories: &["@slow"],
        summary: "A container for questions about modules.",
        since: "4.0.0",
        group: "server",
        subcommands: MODULE_SUBCOMMANDS,
        ..COMMAND
    },
    Spec {
        name: Name::Function,
        text: "function",
        arity: -2,
        categories: &["@slow"],
        summary: "A container for functions, of which there are none.",
        since: "7.0.0",
        group: "scripting",
        subcommands: FUNCTION_SUBCOMMANDS,
        ..COMMAND
    },
    Spec {
        name: Name::Script,
        text: "script",
        arity: -2,
        categories: &["@slow"],
        summary: "A container for scripts, of which there are none.",
        since: "2.6.0",
        group: "scripting",
        subcommands: SCRIPT_SUBCOMMANDS,
        ..COMMAND
    },
];

const ACL_SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: Name::AclWhoAmI,
        text: "acl|whoami",
        arity: 2,
        flags: &["noscript", "loading", "stale"],
        categories: &["@slow"],
        summary: "Returns the user of this connection.",
        ..ACL
    },
    Spec {
        name: Name::AclList,
        text: "acl|list",
        arity: 2,
        summary: "Returns the users and what they may do: everything.",
        differences: "Passwords are not shown, hashed neither; users come from `redis.users`.",
        ..ACL
    },
    Spec {
        name: Name::AclUsers,
        text: "acl|users",
        arity: 2,
        summary: "Returns the names of the users.",
        ..ACL
    },
    Spec {
        name: Name::AclCat,
        text: "acl|cat",
        arity: -2,
        flags: &["noscript", "loading", "stale"],
        categories: &["@slow"],
        usage: "[category]",
        summary: "Returns the categories of commands, or the commands of one.",
        differences: "Only what is here.",
        ..ACL
    },
    Spec {
        name: Name::AclHelp,
        text: "acl|help",
        arity: 2,
        flags: &["loading", "stale"],
        categories: &["@slow"],
        summary: "Prints this help.",
        differences: "Tells the subcommands that are here.",
        ..ACL
    },
];

const MODULE_SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: Name::ModuleList,
        text: "module|list",
        arity: 2,
        tips: &["nondeterministic_output_order"],
        summary: "Returns the modules: none.",
        ..MODULE
    },
    Spec {
        name: Name::ModuleHelp,
        text: "module|help",
        arity: 2,
        flags: &["loading", "stale"],
        categories: &["@slow"],
        summary: "Prints this help.",
        since: "5.0.0",
        differences: "Tells the subcommands that are here.",
        ..MODULE
    },
];

const FUNCTION_SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: Name::FunctionFlush,
        text: "function|flush",
        arity: -2,
        flags: &["write", "noscript"],
        categories: &["@write", "@slow", "@scripting"],
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        usage: "[ASYNC|SYNC]",
        summary: "Accepted; there are no functions.",
        since: "7.0.0",
        ..SCRIPT
    },
    Spec {
        name: Name::FunctionHelp,
        text: "function|help",
        arity: 2,
        flags: &["loading", "stale"],
        summary: "Prints this help.",
        since: "7.0.0",
        differences: "Tells the subcommands that are here.",
        ..SCRIPT
    },
];

const SCRIPT_SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: Name::ScriptFlush,
        text: "script|flush",
        arity: -2,
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        usage: "[ASYNC|SYNC]",
        summary: "Accepted; there are no scripts.",
        ..SCRIPT
    },
    Spec {
        name: Name::ScriptHelp,
        text: "script|help",
        arity: 2,
        flags: &["loading", "stale"],
        summary: "Prints this help.",
        since: "5.0.0",
        differences: "Tells the subcommands that are here.",
        ..SCRIPT
    },
];
