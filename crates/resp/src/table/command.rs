//! This file answers: which commands are about the commands?

use super::COMMAND;
use crate::Name;
use crate::command::Spec;

const ABOUT_COMMANDS: Spec = Spec {
    flags: &["loading", "stale"],
    categories: &["@slow", "@connection"],
    since: "2.8.13",
    group: "server",
    ..COMMAND
};

/// COMMAND.
pub(super) const COMMANDS: &[Spec] = &[Spec {
    name: Name::Command,
    text: "command",
    arity: -1,
    tips: &["nondeterministic_output_order"],
    summary: "Returns details about all commands.",
    differences: "Only what is here.",
    subcommands: COMMAND_SUBCOMMANDS,
    ..ABOUT_COMMANDS
}];

const COMMAND_SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: Name::CommandCount,
        text: "command|count",
        arity: 2,
        summary: "Returns how many commands there are.",
        differences: "Only what is here.",
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
        differences: "Without arguments and complexity.",
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
        differences: "One argument is enough, as from Redis 7.2 on.",
        ..ABOUT_COMMANDS
    },
    Spec {
        name: Name::CommandGetKeysAndFlags,
        text: "command|getkeysandflags",
        arity: -3,
        usage: "command [arg [arg ...]]",
        summary: "Returns the keys among a command's arguments, each with what is done with it.",
        since: "7.0.0",
        differences: "One argument is enough, as from Redis 7.2 on.",
        ..ABOUT_COMMANDS
    },
    Spec {
        name: Name::CommandHelp,
        text: "command|help",
        arity: 2,
        summary: "Prints this help.",
        since: "5.0.0",
        differences: "Tells the subcommands that are here.",
        ..ABOUT_COMMANDS
    },
];
