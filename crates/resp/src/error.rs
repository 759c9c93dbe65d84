//! This file answers: what is a client told whose request cannot be carried out as it stands?
//!
//! The texts are Redis 7's own, letter by letter: clients and their test suites match them. All of these are the
//! client's to mend (*yours*); failures of a quorum are told elsewhere.

use thiserror::Error;

use crate::Reply;

/// Why a request asks for nothing that can be done. Its text begins with the error's code.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CommandError {
    /// No such command; `args` is as Redis shows them.
    #[error("ERR unknown command '{name}', with args beginning with: {args}")]
    UnknownCommand {
        /// The first 128 bytes of what was asked for.
        name: String,
        /// Each in quotes and followed by a space, about 128 bytes in all.
        args: String,
    },
    /// A command of several, and none of this name.
    #[error("ERR unknown subcommand '{subcommand}'. Try {container} HELP.")]
    UnknownSubcommand {
        /// The first 128 bytes of what was asked for.
        subcommand: String,
        /// The command, in upper case.
        container: String,
    },
    /// Too few or too many arguments for the command of this name.
    #[error("ERR wrong number of arguments for '{0}' command")]
    WrongArity(&'static str),
    /// Options that are none, or that exclude one another.
    #[error("ERR syntax error")]
    Syntax,
    /// An option of a command of our own that is none; the second says what the command takes.
    #[error("ERR syntax error at '{option}', usage: {usage}")]
    Usage {
        /// What was met, its first 128 bytes.
        option: String,
        /// The command's name and arguments.
        usage: String,
    },
    /// What should be an integer.
    #[error("ERR value is not an integer or out of range")]
    NotInteger,
    /// A timeout that is no positive number of milliseconds.
    #[error("ERR timeout is not an integer or out of range")]
    NotTimeout,
    /// A time to live that is not positive, or ends beyond what can be told, for the command of this name.
    #[error("ERR invalid expire time in '{0}' command")]
    InvalidExpire(&'static str),
    /// EXPIRE with an option that is none.
    #[error("ERR Unsupported option {0}")]
    ExpireOption(String),
    /// EXPIRE with options that exclude one another.
    #[error("ERR NX and XX, GT or LT options at the same time are not compatible")]
    ExpireNx,
    /// Likewise.
    #[error("ERR GT and LT options at the same time are not compatible")]
    ExpireGtLt,
    /// A command of Redis that is not served, and what to do instead.
    #[error("ERR {name} {text}")]
    Refused {
        /// In upper case.
        name: String,
        /// Why, and the remedy.
        text: &'static str,
    },
    /// A database that is not configured.
    #[error("ERR DB index is out of range")]
    DbIndex,
    /// What is no slot.
    #[error("ERR Invalid slot")]
    Slot,
    /// What is no slot, or no number of keys.
    #[error("ERR Invalid slot or number of keys")]
    SlotOrNumber,
    /// HELLO of a protocol that is neither 2 nor 3.
    #[error("NOPROTO unsupported protocol version")]
    NoProtocol,
    /// HELLO of no number.
    #[error("ERR Protocol version is not an integer or out of range")]
    ProtocolNotInteger,
    /// HELLO with an option that is none or lacks its values.
    #[error("ERR Syntax error in HELLO option '{0}'")]
    HelloOption(String),
    /// A name that would spoil CLIENT LIST.
    #[error("ERR Client names cannot contain spaces, newlines or special characters.")]
    ClientName,
    /// CLIENT SETINFO with such a value.
    #[error("ERR {0} cannot contain spaces, newlines or special characters.")]
    ClientInfo(&'static str),
    /// CLIENT SETINFO of an attribute that is none.
    #[error("ERR Unrecognized option '{0}'")]
    ClientOption(String),
    /// CLIENT LIST of a kind of clients that is none.
    #[error("ERR Unknown client type '{0}'")]
    ClientKind(String),
    /// CLIENT LIST ID with what is no id.
    #[error("ERR Invalid client ID")]
    ClientId,
    /// CLIENT KILL ID of what is no id.
    #[error("ERR client-id should be greater than 0")]
    KillId,
    /// CLIENT KILL of a user that is none.
    #[error("ERR No such user '{0}'")]
    UnknownUser(String),
    /// CLIENT KILL of an address from which nobody is connected.
    #[error("ERR No such client")]
    NoSuchClient,
    /// Too many arguments for a subcommand that counts them itself.
    #[error(
        "ERR unknown subcommand or wrong number of arguments for '{subcommand}'. Try {container} HELP."
    )]
    SubcommandArity {
        /// In upper case.
        subcommand: &'static str,
        /// Likewise.
        container: &'static str,
    },
    /// SLOWLOG GET of what is no number of entries.
    #[error("ERR count should be greater than or equal to -1")]
    SlowLogCount,
    /// A timeout below 0.
    #[error("ERR timeout is negative")]
    NegativeTimeout,
    /// FUNCTION FLUSH with another option.
    #[error("ERR FUNCTION FLUSH only supports SYNC|ASYNC option")]
    FunctionFlush,
    /// SCRIPT FLUSH with another option.
    #[error("ERR SCRIPT FLUSH only support SYNC|ASYNC option")]
    ScriptFlush,
    /// ACL CAT of a category that is none.
    #[error("ERR Unknown category '{0}'")]
    UnknownCategory(String),
    /// A question about a node that is no member.
    #[error("ERR Unknown node {0}")]
    UnknownNode(String),
    /// A command of Redis Cluster that changes members or slots.
    #[error(
        "ERR {0} is not for clients here: stage a change with 'rkv cluster join' or 'rkv cluster leave', \
         look at it with 'rkv cluster plan', carry it out with 'rkv cluster commit'"
    )]
    ChangedByPlan(String),
    /// DEBUG
    #[error(
        "ERR DEBUG command not allowed: look with RKV.REPLICAS, INFO and 'rkv status', break things with 'rkv start --faults'"
    )]
    NoDebug,
    /// OBJECT FREQ, where nobody counts reads.
    #[error(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching \
         between policies at runtime LRU and LFU data will take some time to adjust."
    )]
    NoFrequency,
    /// COMMAND GETKEYS of what is no command.
    #[error("ERR Invalid command specified")]
    NotACommand,
    /// COMMAND GETKEYS with too few or too many arguments for the command.
    #[error("ERR Invalid number of arguments specified for command")]
    GetKeysArity,
    /// COMMAND GETKEYS of a command that takes none.
    #[error("ERR The command has no key arguments")]
    NoKeys,
    /// An option whose answer all must agree on, where answers are eventual.
    #[error(
        "ERR {what} needs a consistent answer and keyspace '{keyspace}' is eventual: \
         use plain SET, or a keyspace with allow_read_modify_write"
    )]
    NeedsConsistency {
        /// The command and its option: `SET NX`.
        what: &'static str,
        /// The connection's keyspace.
        keyspace: String,
    },
    /// Anything but HELLO, AUTH, QUIT and RESET before a password was given.
    #[error("NOAUTH Authentication required.")]
    NoAuth,
    /// HELLO without AUTH before a password was given.
    #[error(
        "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
         <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time"
    )]
    HelloNoAuth,
    /// A wrong user or password.
    #[error("WRONGPASS invalid username-password pair or user is disabled.")]
    WrongPassword,
    /// AUTH with a password where none is configured.
    #[error(
        "ERR AUTH <password> called without any password configured for the default user. \
         Are you sure your configuration is correct?"
    )]
    NoPasswordConfigured,
}

impl From<CommandError> for Reply {
    fn from(error: CommandError) -> Reply {
        Reply::error(error.to_string())
    }
}

/// At most the first 128 bytes of `argument`, up to a zero byte, as an error shows it.
pub(crate) fn shown(argument: &[u8]) -> String {
    shown_within(argument, 128)
}

/// Likewise, with a limit of its own.
pub(crate) fn shown_within(argument: &[u8], limit: usize) -> String {
    let end = argument
        .iter()
        .position(|&b| b == 0)
        .unwrap_or(argument.len());
    String::from_utf8_lossy(&argument[..end.min(limit)]).replace(['\r', '\n'], " ")
}
