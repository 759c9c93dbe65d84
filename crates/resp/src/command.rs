//! This file answers: which command does a request name, and what is known of it?
//!
//! One table ([`TABLE`]) drives the names, the arity, the dispatch ([`Name`] is what [`crate::typed`] matches on), who
//! may call before a password was given, and all ten fields of COMMAND's replies: a command that is not there does
//! not exist.

use crate::error::{shown, shown_within};
use crate::table::TABLE;
use crate::{CommandError, Request, refusals};

/// A command, or a subcommand of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the table says what each is")]
pub enum Name {
    Get,
    Set,
    Del,
    Exists,
    MGet,
    MSet,
    SetEx,
    PSetEx,
    GetEx,
    GetRange,
    SubStr,
    StrLen,
    Type,
    Unlink,
    Touch,
    Expire,
    PExpire,
    ExpireAt,
    PExpireAt,
    Ttl,
    PTtl,
    ExpireTime,
    PExpireTime,
    Persist,
    RkvPut,
    RkvGet,
    RkvDelete,
    RkvReplicas,
    RkvPreflist,
    DbSize,
    RandomKey,
    FlushDb,
    FlushAll,
    ClusterCountKeysInSlot,
    ClusterGetKeysInSlot,
    Ping,
    Echo,
    Quit,
    Hello,
    Auth,
    Select,
    Reset,
    ReadOnly,
    ReadWrite,
    Asking,
    Info,
    Time,
    Client,
    ClientId,
    ClientInfo,
    ClientList,
    ClientGetName,
    ClientSetName,
    ClientSetInfo,
    ClientReply,
    ClientNoEvict,
    ClientNoTouch,
    ClientHelp,
    Config,
    ConfigGet,
    ConfigSet,
    ConfigResetStat,
    ConfigRewrite,
    ConfigHelp,
    Command,
    CommandCount,
    CommandInfo,
    CommandDocs,
    CommandList,
    CommandGetKeys,
    ClusterSlots,
    ClusterShards,
    ClusterNodes,
    ClusterInfo,
    ClusterMyId,
    ClusterMyShardId,
    ClusterKeySlot,
    ClusterLinks,
    ClusterCountFailureReports,
    ClusterReplicas,
    ClusterSlaves,
    ClusterMeet,
    ClusterForget,
    ClusterSetSlot,
    ClusterFailover,
    ClusterReset,
    ClusterReplicate,
    ClusterAddSlots,
    ClusterAddSlotsRange,
    ClusterDelSlots,
    ClusterDelSlotsRange,
    ClusterFlushSlots,
    ClusterBumpEpoch,
    ClusterSaveConfig,
    ClusterSetConfigEpoch,
    ClusterHelp,
    Cluster,
    Object,
    Memory,
    SlowLog,
    Latency,
    ObjectEncoding,
    ObjectRefCount,
    ObjectIdleTime,
    ObjectFreq,
    ObjectHelp,
    MemoryUsage,
    MemoryDoctor,
    MemoryHelp,
    SlowLogGet,
    SlowLogLen,
    SlowLogReset,
    SlowLogHelp,
    LatencyLatest,
    LatencyHistory,
    LatencyReset,
    LatencyHelp,
    Acl,
    Module,
    Function,
    Script,
    AclWhoAmI,
    AclList,
    AclUsers,
    AclCat,
    AclHelp,
    ModuleList,
    ModuleHelp,
    FunctionFlush,
    FunctionHelp,
    ScriptFlush,
    ScriptHelp,
    Role,
    Wait,
    LolWut,
    Debug,
    ClientKill,
    CommandGetKeysAndFlags,
    CommandHelp,
}

impl Name {
    /// Its row of the table.
    pub fn spec(self) -> &'static Spec {
        all()
            .find(|spec| spec.name == self)
            .expect("each name has a row, which a test below shows")
    }
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spec {
    /// What it is dispatched by.
    pub name: Name,
    /// In lower case; a subcommand's after its command's and a bar: `client|id`.
    pub text: &'static str,
    /// How many arguments, the name counted (both names of a subcommand); negative: at least so many.
    pub arity: i32,
    /// How it behaves.
    pub flags: &'static [&'static str],
    /// Which arguments are keys.
    pub keys: Option<Keys>,
    /// Access control's categories.
    pub categories: &'static [&'static str],
    /// How clients fan it out over nodes, and what is uncertain in its reply.
    pub tips: &'static [&'static str],
    /// What follows the name, as people write it.
    pub usage: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// The version that brought it: of Redis, or of rkv for our own.
    pub since: &'static str,
    /// Redis' group of it, or `rkv`.
    pub group: &'static str,
    /// How it differs from Redis' command of that name, in sentences; empty: not at all that is known.
    pub differences: &'static str,
    /// Those of a command of several.
    pub subcommands: &'static [Spec],
}

/// The keys among a command's arguments, as Redis counts them: the name is 0, and a subcommand's name 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys {
    /// Where the first stands.
    pub first: i32,
    /// Where the last stands; -1: the last argument.
    pub last: i32,
    /// How far one is from the next.
    pub step: i32,
    /// What is done with them.
    pub access: &'static [&'static str],
    /// What is particular about that.
    pub notes: Option<&'static str>,
}

impl Spec {
    /// Whether a connection may ask for it before it gave the password.
    pub fn is_free_of_auth(&self) -> bool {
        self.flags.contains(&"no_auth")
    }

    /// The command's name without its container's: `id` of `client|id`.
    pub(crate) fn own_text(&self) -> &'static str {
        self.text.split_once('|').map_or(self.text, |(_, own)| own)
    }

    /// Whether its own text is this, in any letter case.
    fn is_called(&self, name: &[u8]) -> bool {
        let text = self.text.as_bytes();
        let Some(begins) = text.len().checked_sub(name.len()) else {
            return false;
        };
        text[begins..].eq_ignore_ascii_case(name)
            && match begins {
                0 => !name.contains(&b'|'),
                _ => text[begins - 1] == b'|',
            }
    }

    pub(crate) fn takes(&self, count: usize) -> bool {
        let arity = self.arity.unsigned_abs() as usize;
        if self.arity < 0 {
            count >= arity
        } else {
            count == arity
        }
    }
}

/// The row of the command that the request names, subcommands resolved, with arity checked. Allocates on errors only.
pub fn find(request: &Request) -> Result<&'static Spec, CommandError> {
    let spec = find_whatever_its_arity(request)?;
    if spec.takes(request.args.len()) {
        Ok(spec)
    } else {
        Err(CommandError::WrongArity(spec.text))
    }
}

/// The same without a look at how many arguments there are.
pub(crate) fn find_whatever_its_arity(request: &Request) -> Result<&'static Spec, CommandError> {
    let args = &request.args;
    let spec = args
        .first()
        .and_then(|name| named(TABLE, name))
        .ok_or_else(|| not_served(request))?;
    match args.get(1) {
        Some(subcommand) if !spec.subcommands.is_empty() => named(spec.subcommands, subcommand)
            .ok_or_else(|| CommandError::UnknownSubcommand {
                subcommand: shown(subcommand),
                container: spec.text.to_ascii_uppercase(),
            }),
        _ => Ok(spec),
    }
}

/// The row of this name, in any letter case; a subcommand's is `client|id`.
pub fn by_text(text: &[u8]) -> Option<&'static Spec> {
    match text.iter().position(|&byte| byte == b'|') {
        None => named(TABLE, text),
        Some(bar) => named(named(TABLE, &text[..bar])?.subcommands, &text[bar + 1..]),
    }
}

/// All rows, each command's before those of its subcommands.
pub fn all() -> impl Iterator<Item = &'static Spec> {
    TABLE
        .iter()
        .flat_map(|spec| std::iter::once(spec).chain(spec.subcommands))
}

fn named(specs: &'static [Spec], text: &[u8]) -> Option<&'static Spec> {
    specs.iter().find(|spec| spec.is_called(text))
}

fn not_served(request: &Request) -> CommandError {
    let name = request.args.first().map_or(&b""[..], |name| name);
    match refusals::text_for(name) {
        Some(text) => CommandError::Refused {
            name: shown(name).to_ascii_uppercase(),
            text,
        },
        None => unknown(request),
    }
}

/// As Redis: the arguments are shown until they fill 128 bytes, and the last of them is cut to what is left.
fn unknown(request: &Request) -> CommandError {
    let mut args = String::new();
    for arg in request.args.iter().skip(1) {
        if args.len() >= 128 {
            break;
        }
        args = format!("{args}'{}' ", shown_within(arg, 128 - args.len()));
    }
    CommandError::UnknownCommand {
        name: shown(request.args.first().map_or(b"", |name| name)),
        args,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// A request of the words in `line`.
    pub(crate) fn request(line: &str) -> Request {
        let args = line
            .split_ascii_whitespace()
            .map(|word| bytes::Bytes::copy_from_slice(word.as_bytes()));
        Request {
            args: args.collect(),
        }
    }

    fn error(line: &str) -> String {
        find(&request(line)).expect_err("an error").to_string()
    }

    #[test]
    fn every_row_is_found_by_its_name_alone() {
        // Lost without it: a command could be listed and not answer, or two rows answer to one name.
        let mut seen = BTreeSet::new();
        for spec in all() {
            assert!(seen.insert(spec.text), "{} stands twice", spec.text);
            assert_eq!(spec.name.spec(), spec);
            assert_eq!(
                by_text(spec.text.to_ascii_uppercase().as_bytes()),
                Some(spec)
            );
            assert_eq!(spec.text, spec.text.to_ascii_lowercase());
            assert!(!spec.summary.is_empty() && !spec.group.is_empty());
            assert!(spec.arity != 0);
        }
        let last = Name::CommandHelp as usize;
        assert_eq!(all().count(), last + 1, "each name has a row");
    }

    #[test]
    fn names_in_any_case() {
        // Lost without it: redis-cli's upper case and ioredis' lower case would not both work.
        for (line, name) in [
            ("get a", Name::Get),
            ("GeT a", Name::Get),
            ("RKV.put a b", Name::RkvPut),
            ("client ID", Name::ClientId),
            ("CLIENT no-EVICT on", Name::ClientNoEvict),
            ("command", Name::Command),
            ("COMMAND docs", Name::CommandDocs),
        ] {
            assert_eq!(find(&request(line)).unwrap().name, name);
        }
    }

    #[test]
    fn errors_are_redis_own() {
        // Lost without it: clients that match error texts; the texts are from redis-server 7.0.15.
        let table = [
            ("get", "ERR wrong number of arguments for 'get' command"),
            ("GET a b", "ERR wrong number of arguments for 'get' command"),
            (
                "client",
                "ERR wrong number of arguments for 'client' command",
            ),
            (
                "client setname",
                "ERR wrong number of arguments for 'client|setname' command",
            ),
            (
                "client foo",
                "ERR unknown subcommand 'foo'. Try CLIENT HELP.",
            ),
            (
                "config config|get",
                "ERR unknown subcommand 'config|get'. Try CONFIG HELP.",
            ),
            (
                "config get",
                "ERR wrong number of arguments for 'config|get' command",
            ),
            (
                "FOO",
                "ERR unknown command 'FOO', with args beginning with: ",
            ),
            (
                "FOO bar baz",
                "ERR unknown command 'FOO', with args beginning with: 'bar' 'baz' ",
            ),
        ];
        for (line, expected) in table {
            assert_eq!(error(line), expected);
        }
    }

    #[test]
    fn unknown_commands_are_shown_in_part_and_clean() {
        // Lost without it: an error could carry a megabyte, or line ends that pose as another reply.
        let (a, b) = ("a".repeat(200), "b".repeat(100));
        let cut = |n: usize, s: &str| s[..n].to_owned();
        assert_eq!(
            error(&format!("{a} b")),
            format!(
                "ERR unknown command '{}', with args beginning with: 'b' ",
                cut(128, &a)
            )
        );
        assert_eq!(
            error(&format!("FOO {} {b} c", cut(100, &a))),
            format!(
                "ERR unknown command 'FOO', with args beginning with: '{}' '{}' ",
                cut(100, &a),
                cut(25, &b)
            )
        );
        let dirty = Request {
            args: [&b"FOO"[..], b"", b"\r\nx", b"a\0b"]
                .map(bytes::Bytes::from_static)
                .into_iter()
                .collect(),
        };
        assert_eq!(
            find(&dirty).unwrap_err().to_string(),
            "ERR unknown command 'FOO', with args beginning with: '' '  x' 'a' "
        );
    }

    #[test]
    fn before_a_password_only_what_gives_one() {
        // Lost without it: a stranger could read, or nobody could log in.
        let free: Vec<_> = all()
            .filter(|spec| spec.is_free_of_auth())
            .map(|spec| spec.text)
            .collect();
        assert_eq!(free, ["quit", "hello", "auth", "reset"]);
    }
}
