//! This file answers: what does a request ask for?
//!
//! [`crate::command::find`] first says which command it is (and so whether it may be asked for before a password was
//! given); [`Command::parse`] then reads its arguments. What comes out is complete: whoever carries it out meets no
//! more errors of form.

use bytes::Bytes;

use crate::describe::ListFilter;
use crate::error::shown;
use crate::expire::{self, At, ExpireIf, GetEx, Unit};
use crate::frame::Args;
use crate::kill::{Kill, is_normal_kind};
use crate::look::{Look, Range};
use crate::node::{self, AboutNode};
use crate::own::Options;
use crate::set::{Expire, SetOptions};
use crate::slot::SlotKeys;
use crate::{CommandError, Name, Protocol, Request, integer};

/// A request with its arguments read. Keys and values are slices of the receive buffer ([`crate::frame`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// GET
    Get(Bytes),
    /// SET
    Set {
        /// The key.
        key: Bytes,
        /// Its new value.
        value: Bytes,
        /// What else is to be done.
        options: SetOptions,
    },
    /// DEL or UNLINK of at least one key.
    Del(Args),
    /// EXISTS or TOUCH of at least one key; one given twice counts twice.
    Exists(Args),
    /// MGET of at least one key.
    MGet(Args),
    /// MSET: key and value in turn, one pair at least.
    MSet(Args),
    /// GETEX
    GetEx {
        /// The key.
        key: Bytes,
        /// What becomes of its deadline.
        change: GetEx,
    },
    /// STRLEN, TYPE, GETRANGE, SUBSTR, TTL and its kin.
    Look {
        /// The key.
        key: Bytes,
        /// What is asked of it.
        look: Look,
    },
    /// EXPIRE and its kin.
    Expire {
        /// The key.
        key: Bytes,
        /// When it is to end.
        at: At,
        /// On which condition.
        condition: ExpireIf,
    },
    /// PERSIST
    Persist(Bytes),
    /// RKV.PUT
    RkvPut {
        /// The key.
        key: Bytes,
        /// Its new value.
        value: Bytes,
        /// The quorum.
        options: Options,
    },
    /// RKV.GET
    RkvGet {
        /// The key.
        key: Bytes,
        /// The quorum.
        options: Options,
    },
    /// RKV.DELETE
    RkvDelete {
        /// The key.
        key: Bytes,
        /// The quorum.
        options: Options,
    },
    /// RKV.REPLICAS
    RkvReplicas {
        /// The key.
        key: Bytes,
        /// Another keyspace than the connection's.
        keyspace: Option<Bytes>,
    },
    /// RKV.PREFLIST
    RkvPreflist(Bytes),
    /// DBSIZE
    DbSize,
    /// RANDOMKEY
    RandomKey,
    /// FLUSHDB and FLUSHALL, which are the same as long as there is one keyspace.
    Flush,
    /// CLUSTER COUNTKEYSINSLOT and GETKEYSINSLOT
    SlotKeys(SlotKeys),
    /// PING, with what to answer other than PONG.
    Ping(Option<Bytes>),
    /// ECHO
    Echo(Bytes),
    /// QUIT
    Quit,
    /// HELLO
    Hello(Hello),
    /// AUTH
    Auth(Credentials),
    /// SELECT of a number that is not negative.
    Select(usize),
    /// RESET
    Reset,
    /// READONLY, READWRITE, ASKING, FUNCTION FLUSH, SCRIPT FLUSH: answered `+OK` and nothing done.
    Accepted,
    /// INFO of these sections; of the default ones if none.
    Info(Args),
    /// TIME
    Time,
    /// CLIENT ID
    ClientId,
    /// CLIENT INFO
    ClientInfo,
    /// CLIENT LIST
    ClientList(ClientFilter),
    /// CLIENT GETNAME
    ClientGetName,
    /// CLIENT SETNAME; an empty name takes it away.
    ClientSetName(Bytes),
    /// CLIENT SETINFO LIB-NAME
    ClientLibraryName(Bytes),
    /// CLIENT SETINFO LIB-VER
    ClientLibraryVersion(Bytes),
    /// CLIENT REPLY
    ClientReply(ReplyMode),
    /// CONFIG GET of the settings that match one of these patterns.
    ConfigGet(Args),
    /// CONFIG SET of at least one setting.
    ConfigSet(Vec<(Bytes, Bytes)>),
    /// CONFIG RESETSTAT
    ConfigResetStat,
    /// CONFIG REWRITE
    ConfigRewrite,
    /// COMMAND
    CommandTable,
    /// COMMAND COUNT
    CommandCount,
    /// COMMAND INFO of these; of all if none.
    CommandInfo(Args),
    /// COMMAND DOCS of these; of all if none.
    CommandDocs(Args),
    /// COMMAND LIST
    CommandList(ListFilter),
    /// COMMAND GETKEYS of this command and its arguments.
    CommandGetKeys(Args),
    /// COMMAND GETKEYSANDFLAGS of this command and its arguments.
    CommandGetKeysAndFlags(Args),
    /// HELP of a command of several.
    Help(Name),
    /// CLIENT KILL
    ClientKill(Kill),
    /// CLIENT NO-EVICT
    ClientNoEvict(bool),
    /// CLIENT NO-TOUCH
    ClientNoTouch(bool),
    /// A question about the node or its ring.
    AboutNode(AboutNode),
    /// OBJECT, MEMORY USAGE
    AboutKey {
        /// The key.
        key: Bytes,
        /// What is asked of it.
        question: AboutKey,
    },
    /// WAIT
    Wait {
        /// How many nodes besides one; none may be asked for, or fewer.
        nodes: i64,
        /// Within this time; 0: as long as a request may take.
        timeout_ms: u64,
    },
}

/// What is asked about what a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AboutKey {
    /// OBJECT ENCODING
    Encoding,
    /// OBJECT REFCOUNT
    References,
    /// OBJECT IDLETIME
    Idle,
    /// OBJECT FREQ
    Frequency,
    /// MEMORY USAGE
    Memory,
}

/// What HELLO asks for besides an introduction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hello {
    /// The protocol to speak from its reply on; none leaves it.
    pub protocol: Option<Protocol>,
    /// AUTH
    pub credentials: Option<Credentials>,
    /// SETNAME; an empty name takes it away.
    pub name: Option<Bytes>,
}

/// A user's name and password, shown by nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// None where the password alone was given: the user `default`.
    pub user: Option<Bytes>,
    /// The password.
    pub password: Bytes,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(***)")
    }
}

/// Whether replies are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyMode {
    /// From here on, this one's included.
    On,
    /// None from here on, this one's included.
    Off,
    /// Not the next one's, nor this one's.
    Skip,
}

/// Which connections CLIENT LIST shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientFilter {
    /// All.
    All,
    /// Those with these numbers.
    Ids(Vec<u64>),
    /// None: those of a kind that is never there (replicas, subscribers).
    None,
}

impl Command {
    /// Reads the arguments of the command `name`, which [`crate::command::find`] has found in this request.
    pub fn parse(name: Name, request: Request) -> Result<Command, CommandError> {
        let mut args = Arguments {
            name,
            args: request.args,
        };
        Ok(match name {
            Name::Get => Command::Get(args.take(1)?),
            Name::Set => {
                let options = SetOptions::parse(args.from(3))?;
                Command::Set {
                    key: args.take(1)?,
                    value: args.take(2)?,
                    options,
                }
            }
            Name::Del | Name::Unlink => Command::Del(args.rest(1)),
            Name::Exists | Name::Touch => Command::Exists(args.rest(1)),
            Name::MGet => Command::MGet(args.rest(1)),
            Name::MSet => match args.args.len() % 2 {
                1 => Command::MSet(args.rest(1)),
                _ => return Err(CommandError::WrongArity("mset")),
            },
            Name::SetEx => args.set_until(true)?,
            Name::PSetEx => args.set_until(false)?,
            Name::GetEx => {
                let change = GetEx::parse(args.from(2))?;
                Command::GetEx {
                    key: args.take(1)?,
                    change,
                }
            }
            Name::GetRange | Name::SubStr => {
                let range = Range::parse(&args.take(2)?, &args.take(3)?)?;
                args.look(Look::Range(range))?
            }
            Name::StrLen => args.look(Look::Length)?,
            Name::Type => args.look(Look::Type)?,
            Name::Ttl => args.look(Look::TtlSeconds)?,
            Name::PTtl => args.look(Look::TtlMs)?,
            Name::ExpireTime => args.look(Look::EndsSeconds)?,
            Name::PExpireTime => args.look(Look::EndsMs)?,
            Name::Expire => args.expire(true, true)?,
            Name::PExpire => args.expire(false, true)?,
            Name::ExpireAt => args.expire(true, false)?,
            Name::PExpireAt => args.expire(false, false)?,
            Name::Persist => Command::Persist(args.take(1)?),
            Name::RkvPut => {
                let options = Options::parse(name, args.from(3))?;
                Command::RkvPut {
                    key: args.take(1)?,
                    value: args.take(2)?,
                    options,
                }
            }
            Name::RkvGet => {
                let options = Options::parse(name, args.from(2))?;
                Command::RkvGet {
                    key: args.take(1)?,
                    options,
                }
            }
            Name::RkvDelete => {
                let options = Options::parse(name, args.from(2))?;
                Command::RkvDelete {
                    key: args.take(1)?,
                    options,
                }
            }
            Name::RkvReplicas => {
                let keyspace = Options::parse(name, args.from(2))?.keyspace;
                Command::RkvReplicas {
                    key: args.take(1)?,
                    keyspace,
                }
            }
            Name::RkvPreflist => Command::RkvPreflist(args.take(1)?),
            Name::DbSize => Command::DbSize,
            Name::RandomKey => Command::RandomKey,
            Name::FlushDb | Name::FlushAll => flush(args.from(1))?,
            Name::ClusterCountKeysInSlot => Command::SlotKeys(SlotKeys::count(&args.rest(2))?),
            Name::ClusterGetKeysInSlot => Command::SlotKeys(SlotKeys::list(&args.rest(2))?),
            Name::Ping => match args.args.len() {
                1 => Command::Ping(None),
                2 => Command::Ping(Some(args.take(1)?)),
                _ => return Err(CommandError::WrongArity("ping")),
            },
            Name::Echo => Command::Echo(args.take(1)?),
            Name::Quit => Command::Quit,
            Name::Hello => Command::Hello(hello(args.from(1))?),
            Name::Auth => Command::Auth(auth(args.from(1))?),
            Name::Select => Command::Select(select(&args.take(1)?)?),
            Name::Reset => Command::Reset,
            Name::ReadOnly | Name::ReadWrite | Name::Asking => Command::Accepted,
            Name::Info => Command::Info(args.rest(1)),
            Name::Time => Command::Time,
            Name::ClientId => Command::ClientId,
            Name::ClientInfo => Command::ClientInfo,
            Name::ClientList => Command::ClientList(client_filter(args.from(2))?),
            Name::ClientGetName => Command::ClientGetName,
            Name::ClientSetName => Command::ClientSetName(client_name(&args.take(2)?)?),
            Name::ClientSetInfo => client_info(&args.take(2)?, args.take(3)?)?,
            Name::ClientReply => Command::ClientReply(reply_mode(&args.take(2)?)?),
            Name::ClientNoEvict => Command::ClientNoEvict(node::on_or_off(&args.take(2)?)?),
            Name::ClientNoTouch => Command::ClientNoTouch(node::on_or_off(&args.take(2)?)?),
            Name::ClientKill => Command::ClientKill(Kill::parse(args.from(2))?),
            Name::ConfigGet => Command::ConfigGet(args.rest(2)),
            Name::ConfigSet => Command::ConfigSet(pairs(args.from(2))?),
            Name::ConfigResetStat => Command::ConfigResetStat,
            Name::ConfigRewrite => Command::ConfigRewrite,
            Name::Command => Command::CommandTable,
            Name::CommandCount => Command::CommandCount,
            Name::CommandInfo => Command::CommandInfo(args.rest(2)),
            Name::CommandDocs => Command::CommandDocs(args.rest(2)),
            Name::CommandList => Command::CommandList(ListFilter::parse(args.from(2))?),
            Name::CommandGetKeys => Command::CommandGetKeys(args.rest(2)),
            Name::CommandGetKeysAndFlags => Command::CommandGetKeysAndFlags(args.rest(2)),
            Name::ClientHelp => Command::Help(Name::Client),
            Name::ConfigHelp => Command::Help(Name::Config),
            Name::CommandHelp => Command::Help(Name::Command),
            Name::ClusterHelp => Command::Help(Name::Cluster),
            Name::ObjectHelp => Command::Help(Name::Object),
            Name::MemoryHelp => Command::Help(Name::Memory),
            Name::SlowLogHelp => Command::Help(Name::SlowLog),
            Name::LatencyHelp => Command::Help(Name::Latency),
            Name::AclHelp => Command::Help(Name::Acl),
            Name::ModuleHelp => Command::Help(Name::Module),
            Name::FunctionHelp => Command::Help(Name::Function),
            Name::ScriptHelp => Command::Help(Name::Script),
            Name::ObjectEncoding => args.about_key(AboutKey::Encoding)?,
            Name::ObjectRefCount => args.about_key(AboutKey::References)?,
            Name::ObjectIdleTime => args.about_key(AboutKey::Idle)?,
            Name::ObjectFreq => args.about_key(AboutKey::Frequency)?,
            Name::MemoryUsage => {
                node::samples(args.from(3))?;
                args.about_key(AboutKey::Memory)?
            }
            Name::FunctionFlush | Name::ScriptFlush => {
                node::flush(name, args.from(2))?;
                Command::Accepted
            }
            Name::Wait => {
                let (nodes, timeout_ms) = node::wait(&args.take(1)?, &args.take(2)?)?;
                Command::Wait { nodes, timeout_ms }
            }
            other => {
                let behind_name = if other.spec().text.contains('|') {
                    2
                } else {
                    1
                };
                match AboutNode::parse(other, args.from(behind_name))? {
                    Some(question) => Command::AboutNode(question),
                    // a command of several: their arity wants a subcommand, and `find` answers with that one's name
                    None => return Err(CommandError::WrongArity(name.spec().text)),
                }
            }
        })
    }
}

struct Arguments {
    name: Name,
    args: Args,
}

impl Arguments {
    /// Moves one out. That it is there was checked by arity; a caller who skipped that gets the error here.
    fn take(&mut self, at: usize) -> Result<Bytes, CommandError> {
        let arity = || CommandError::WrongArity(self.name.spec().text);
        match self.args.get_mut(at) {
            Some(arg) => Ok(std::mem::take(arg)),
            None => Err(arity()),
        }
    }

    fn look(&mut self, look: Look) -> Result<Command, CommandError> {
        let key = self.take(1)?;
        Ok(Command::Look { key, look })
    }

    fn expire(&mut self, in_seconds: bool, from_now: bool) -> Result<Command, CommandError> {
        let condition = expire::condition(self.from(3))?;
        let at = self.unit(in_seconds, from_now).at(&self.take(2)?)?;
        Ok(Command::Expire {
            key: self.take(1)?,
            at,
            condition,
        })
    }

    /// SETEX, PSETEX
    fn set_until(&mut self, in_seconds: bool) -> Result<Command, CommandError> {
        let expire = match self.unit(in_seconds, true).positive(&self.take(2)?)? {
            At::In(ms) | At::Unix(ms) => Expire::In(ms.unsigned_abs()),
        };
        Ok(Command::Set {
            key: self.take(1)?,
            value: self.take(3)?,
            options: SetOptions {
                expire,
                ..SetOptions::default()
            },
        })
    }

    fn unit(&self, in_seconds: bool, from_now: bool) -> Unit {
        Unit {
            command: self.name.spec().text,
            in_seconds,
            from_now,
        }
    }

    fn about_key(&mut self, question: AboutKey) -> Result<Command, CommandError> {
        let key = self.take(2)?;
        Ok(Command::AboutKey { key, question })
    }

    fn from(&self, at: usize) -> &[Bytes] {
        self.args.get(at..).unwrap_or(&[])
    }

    /// Moves out all from there on.
    fn rest(&mut self, at: usize) -> Args {
        std::mem::take(&mut self.args)
            .into_iter()
            .skip(at)
            .collect()
    }
}

fn hello(args: &[Bytes]) -> Result<Hello, CommandError> {
    let mut hello = Hello::default();
    let Some((version, mut options)) = args.split_first() else {
        return Ok(hello);
    };
    hello.protocol = match integer::parse(version) {
        Some(2) => Some(Protocol::Resp2),
        Some(3) => Some(Protocol::Resp3),
        Some(_) => return Err(CommandError::NoProtocol),
        None => return Err(CommandError::ProtocolNotInteger),
    };
    while let Some(option) = options.first() {
        options = match options {
            [_, user, password, rest @ ..] if option.eq_ignore_ascii_case(b"AUTH") => {
                hello.credentials = Some(Credentials {
                    user: Some(user.clone()),
                    password: password.clone(),
                });
                rest
            }
            [_, name, rest @ ..] if option.eq_ignore_ascii_case(b"SETNAME") => {
                hello.name = Some(client_name(name)?);
                rest
            }
            _ => return Err(CommandError::HelloOption(shown(option))),
        };
    }
    Ok(hello)
}

fn auth(args: &[Bytes]) -> Result<Credentials, CommandError> {
    match args {
        [password] => Ok(Credentials {
            user: None,
            password: password.clone(),
        }),
        [user, password] => Ok(Credentials {
            user: Some(user.clone()),
            password: password.clone(),
        }),
        _ => Err(CommandError::Syntax),
    }
}

/// ASYNC and SYNC are taken and make no difference: what is flushed is gone at once, and deleted later.
fn flush(args: &[Bytes]) -> Result<Command, CommandError> {
    let is_mode =
        |mode: &Bytes| mode.eq_ignore_ascii_case(b"ASYNC") || mode.eq_ignore_ascii_case(b"SYNC");
    match args {
        [] => Ok(Command::Flush),
        [mode] if is_mode(mode) => Ok(Command::Flush),
        _ => Err(CommandError::Syntax),
    }
}

fn select(index: &[u8]) -> Result<usize, CommandError> {
    let index = integer::parse(index).ok_or(CommandError::NotInteger)?;
    usize::try_from(index).map_err(|_| CommandError::DbIndex)
}

/// Names stand in CLIENT LIST between spaces and line ends.
fn client_name(name: &Bytes) -> Result<Bytes, CommandError> {
    if is_printable(name) {
        Ok(name.clone())
    } else {
        Err(CommandError::ClientName)
    }
}

fn is_printable(text: &[u8]) -> bool {
    text.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

fn client_info(attribute: &[u8], value: Bytes) -> Result<Command, CommandError> {
    let is = |text: &str| attribute.eq_ignore_ascii_case(text.as_bytes());
    let (name, command): (_, fn(Bytes) -> Command) = if is("LIB-NAME") {
        ("lib-name", Command::ClientLibraryName)
    } else if is("LIB-VER") {
        ("lib-ver", Command::ClientLibraryVersion)
    } else {
        return Err(CommandError::ClientOption(shown(attribute)));
    };
    if is_printable(&value) {
        Ok(command(value))
    } else {
        Err(CommandError::ClientInfo(name))
    }
}

fn client_filter(args: &[Bytes]) -> Result<ClientFilter, CommandError> {
    match args {
        [] => Ok(ClientFilter::All),
        [option, kind] if option.eq_ignore_ascii_case(b"TYPE") => {
            if is_normal_kind(kind)? {
                Ok(ClientFilter::All)
            } else {
                Ok(ClientFilter::None)
            }
        }
        [option, ids @ ..] if option.eq_ignore_ascii_case(b"ID") && !ids.is_empty() => {
            let id = |id: &Bytes| integer::parse(id).and_then(|id| u64::try_from(id).ok());
            ids.iter()
                .map(id)
                .collect::<Option<Vec<u64>>>()
                .map(ClientFilter::Ids)
                .ok_or(CommandError::ClientId)
        }
        _ => Err(CommandError::Syntax),
    }
}

fn reply_mode(mode: &[u8]) -> Result<ReplyMode, CommandError> {
    let modes = [
        ("ON", ReplyMode::On),
        ("OFF", ReplyMode::Off),
        ("SKIP", ReplyMode::Skip),
    ];
    let named = modes
        .into_iter()
        .find(|(text, _)| mode.eq_ignore_ascii_case(text.as_bytes()));
    named.map(|(_, mode)| mode).ok_or(CommandError::Syntax)
}

fn pairs(args: &[Bytes]) -> Result<Vec<(Bytes, Bytes)>, CommandError> {
    let (pairs, rest) = args.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(CommandError::Syntax);
    }
    Ok(pairs
        .iter()
        .map(|[name, value]| (name.clone(), value.clone()))
        .collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::command::{self, tests::request};

    fn understand(request: Request) -> Result<Command, CommandError> {
        Command::parse(command::find(&request)?.name, request)
    }

    fn parse(line: &str) -> Result<Command, CommandError> {
        understand(request(line))
    }

    fn args(line: &str) -> Args {
        request(line).args
    }

    #[test]
    fn commands_with_their_arguments() {
        // Lost without it: an argument could be read from the wrong place.
        let (a, b) = (|| Bytes::from_static(b"a"), || Bytes::from_static(b"b"));
        let expire = SetOptions {
            expire: Expire::In(1000),
            ..SetOptions::default()
        };
        let options = Options {
            w: Some(2),
            ..Options::default()
        };
        let hello = Hello {
            protocol: Some(Protocol::Resp3),
            credentials: Some(Credentials {
                user: Some(a()),
                password: b(),
            }),
            name: Some("c".into()),
        };
        let table = [
            ("get a", Command::Get(a())),
            (
                "set a b",
                Command::Set {
                    key: a(),
                    value: b(),
                    options: SetOptions::default(),
                },
            ),
            (
                "set a b ex 1",
                Command::Set {
                    key: a(),
                    value: b(),
                    options: expire,
                },
            ),
            ("del a b", Command::Del(args("a b"))),
            ("exists a a", Command::Exists(args("a a"))),
            (
                "rkv.put a b w 2",
                Command::RkvPut {
                    key: a(),
                    value: b(),
                    options: options.clone(),
                },
            ),
            ("rkv.delete a w 2", Command::RkvDelete { key: a(), options }),
            (
                "rkv.get a",
                Command::RkvGet {
                    key: a(),
                    options: Options::default(),
                },
            ),
            (
                "rkv.replicas a keyspace b",
                Command::RkvReplicas {
                    key: a(),
                    keyspace: Some(b()),
                },
            ),
            ("rkv.preflist a", Command::RkvPreflist(a())),
            ("unlink a b", Command::Del(args("a b"))),
            ("touch a a", Command::Exists(args("a a"))),
            ("mget a b", Command::MGet(args("a b"))),
            ("mset a 1 b 2", Command::MSet(args("a 1 b 2"))),
            (
                "setex a 1 b",
                Command::Set {
                    key: a(),
                    value: b(),
                    options: expire,
                },
            ),
            (
                "substr a -2 5",
                Command::Look {
                    key: a(),
                    look: Look::Range(Range { first: -2, last: 5 }),
                },
            ),
            (
                "expireat a 2 xx",
                Command::Expire {
                    key: a(),
                    at: At::Unix(2_000),
                    condition: ExpireIf::Set,
                },
            ),
            (
                "pttl a",
                Command::Look {
                    key: a(),
                    look: Look::TtlMs,
                },
            ),
            ("persist a", Command::Persist(a())),
            ("ping", Command::Ping(None)),
            ("ping a", Command::Ping(Some(a()))),
            ("quit now", Command::Quit),
            ("hello", Command::Hello(Hello::default())),
            ("hello 3 AUTH a b setname c", Command::Hello(hello)),
            (
                "auth b",
                Command::Auth(Credentials {
                    user: None,
                    password: b(),
                }),
            ),
            (
                "auth a b",
                Command::Auth(Credentials {
                    user: Some(a()),
                    password: b(),
                }),
            ),
            ("select 3", Command::Select(3)),
            ("asking", Command::Accepted),
            ("info server clients", Command::Info(args("server clients"))),
            (
                "client list type normal",
                Command::ClientList(ClientFilter::All),
            ),
            (
                "client list type pubsub",
                Command::ClientList(ClientFilter::None),
            ),
            (
                "client list id 1 2",
                Command::ClientList(ClientFilter::Ids(vec![1, 2])),
            ),
            (
                "client setinfo lib-ver a",
                Command::ClientLibraryVersion(a()),
            ),
            ("client reply skip", Command::ClientReply(ReplyMode::Skip)),
            ("client no-evict on", Command::ClientNoEvict(true)),
            ("client no-touch OFF", Command::ClientNoTouch(false)),
            ("readonly", Command::Accepted),
            ("config get a b", Command::ConfigGet(args("a b"))),
            ("config set a b", Command::ConfigSet(vec![(a(), b())])),
            ("command info a", Command::CommandInfo(args("a"))),
            ("config help", Command::Help(Name::Config)),
        ];
        for (line, expected) in table {
            assert_eq!(parse(line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn errors_are_redis_own() {
        // Lost without it: clients that match error texts; the texts are from redis-server 7.0.15 (SETINFO: 7.2).
        let table = [
            (
                "ping a b",
                "ERR wrong number of arguments for 'ping' command",
            ),
            (
                "mset a 1 b",
                "ERR wrong number of arguments for 'mset' command",
            ),
            ("setex a 0 v", "ERR invalid expire time in 'setex' command"),
            (
                "psetex a x v",
                "ERR value is not an integer or out of range",
            ),
            ("pexpire a 1 foo", "ERR Unsupported option foo"),
            (
                "expireat a 9223372036854776",
                "ERR invalid expire time in 'expireat' command",
            ),
            ("expire a x foo", "ERR Unsupported option foo"),
            (
                "substr a 0 x",
                "ERR value is not an integer or out of range",
            ),
            ("getex a EX", "ERR syntax error"),
            ("hello 4", "NOPROTO unsupported protocol version"),
            (
                "hello x",
                "ERR Protocol version is not an integer or out of range",
            ),
            ("hello 3 auth a", "ERR Syntax error in HELLO option 'auth'"),
            ("hello 3 foo", "ERR Syntax error in HELLO option 'foo'"),
            ("auth a b c", "ERR syntax error"),
            ("select x", "ERR value is not an integer or out of range"),
            ("select -1", "ERR DB index is out of range"),
            ("client list type foo", "ERR Unknown client type 'foo'"),
            ("client list id x", "ERR Invalid client ID"),
            ("client list foo", "ERR syntax error"),
            ("client reply foo", "ERR syntax error"),
            ("client no-evict skip", "ERR syntax error"),
            ("client setinfo foo b", "ERR Unrecognized option 'foo'"),
            ("config set a b c", "ERR syntax error"),
        ];
        for (line, expected) in table {
            assert_eq!(parse(line).unwrap_err().to_string(), expected, "{line}");
        }
        let spaced = |words: &[&'static str]| {
            let args = words
                .iter()
                .map(|word| Bytes::from_static(word.as_bytes()))
                .collect();
            understand(Request { args }).unwrap_err().to_string()
        };
        assert_eq!(
            spaced(&["client", "setname", "a b"]),
            CommandError::ClientName.to_string()
        );
        assert_eq!(
            spaced(&["hello", "3", "setname", "a\n"]),
            CommandError::ClientName.to_string()
        );
        assert_eq!(
            spaced(&["client", "setinfo", "lib-name", "a b"]),
            "ERR lib-name cannot contain spaces, newlines or special characters."
        );
    }

    #[test]
    fn passwords_are_not_shown() {
        // Lost without it: a log line of a command would hold a password.
        assert!(!format!("{:?}", parse("hello 3 auth me hunter2")).contains("hunter2"));
    }

    proptest! {
        #[test]
        fn any_arguments_are_survived(
            name in prop::sample::select(command::all().collect::<Vec<_>>()),
            words in prop::collection::vec(
                prop::sample::select(vec!["", "a", "1", "-1", "EX", "NX", "AUTH", "N", "ID", "TYPE", "ON", "FILTERBY", "get", "set"]),
                0..6,
            ),
        ) {
            // Lost without it: an unforeseen row of arguments could end the node.
            let words = name.text.split('|').chain(words);
            let args = words.map(|word| Bytes::from_static(word.as_bytes())).collect();
            let _ = understand(Request { args });
        }
    }
}
