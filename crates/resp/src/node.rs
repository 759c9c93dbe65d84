//! This file answers: what do the commands about the node and its ring ask for?
//!
//! Those that ask for no key: CLUSTER, SLOWLOG, LATENCY, ACL and their like. Commands that would change what only an
//! operator's plan changes are refused here, with the remedy.

use bytes::Bytes;

use crate::error::shown;
use crate::{CommandError, Name, integer};

/// A question about the node, or about the cluster as it sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the table says what each is")]
pub enum AboutNode {
    Role,
    LolWut,
    MemoryDoctor,
    /// So many of the latest; all if none.
    SlowLogGet(Option<usize>),
    SlowLogLen,
    SlowLogReset,
    /// LATENCY LATEST, LATENCY HISTORY, MODULE LIST: there is nothing of the kind.
    Nothing,
    /// LATENCY RESET: nothing was there to forget.
    NothingForgotten,
    AclWhoAmI,
    AclList,
    AclUsers,
    /// The categories; or the commands of one.
    AclCat(Option<Bytes>),
    ClusterSlots,
    ClusterShards,
    ClusterNodes,
    ClusterInfo,
    ClusterMyId,
    ClusterMyShardId,
    ClusterLinks,
    ClusterKeySlot(Bytes),
    /// Of the node with this id.
    ClusterCountFailureReports(Bytes),
    /// Of the node with this id.
    ClusterReplicas(Bytes),
}

/// How many entries SLOWLOG GET gives when it is not told.
const SLOW_LOG_ENTRIES: usize = 10;

impl AboutNode {
    /// What a command of this name asks for with what follows that; none: it is not one of these.
    pub(crate) fn parse(name: Name, args: &[Bytes]) -> Result<Option<AboutNode>, CommandError> {
        let first = || {
            let arity = CommandError::WrongArity(name.spec().text);
            args.first().cloned().ok_or(arity)
        };
        Ok(Some(match name {
            Name::Role => AboutNode::Role,
            Name::LolWut => lolwut(args)?,
            Name::MemoryDoctor => AboutNode::MemoryDoctor,
            Name::SlowLogGet => AboutNode::SlowLogGet(slow_log_entries(args)?),
            Name::SlowLogLen => AboutNode::SlowLogLen,
            Name::SlowLogReset => AboutNode::SlowLogReset,
            Name::LatencyLatest | Name::LatencyHistory | Name::ModuleList => AboutNode::Nothing,
            Name::LatencyReset => AboutNode::NothingForgotten,
            Name::AclWhoAmI => AboutNode::AclWhoAmI,
            Name::AclList => AboutNode::AclList,
            Name::AclUsers => AboutNode::AclUsers,
            Name::AclCat => match args {
                [] => AboutNode::AclCat(None),
                [category] => AboutNode::AclCat(Some(category.clone())),
                _ => {
                    return Err(CommandError::SubcommandArity {
                        subcommand: "CAT",
                        container: "ACL",
                    });
                }
            },
            Name::ClusterSlots => AboutNode::ClusterSlots,
            Name::ClusterShards => AboutNode::ClusterShards,
            Name::ClusterNodes => AboutNode::ClusterNodes,
            Name::ClusterInfo => AboutNode::ClusterInfo,
            Name::ClusterMyId => AboutNode::ClusterMyId,
            Name::ClusterMyShardId => AboutNode::ClusterMyShardId,
            Name::ClusterLinks => AboutNode::ClusterLinks,
            Name::ClusterKeySlot => AboutNode::ClusterKeySlot(first()?),
            Name::ClusterCountFailureReports => AboutNode::ClusterCountFailureReports(first()?),
            Name::ClusterReplicas | Name::ClusterSlaves => AboutNode::ClusterReplicas(first()?),
            Name::ClusterMeet
            | Name::ClusterForget
            | Name::ClusterSetSlot
            | Name::ClusterFailover
            | Name::ClusterReset
            | Name::ClusterReplicate
            | Name::ClusterAddSlots
            | Name::ClusterAddSlotsRange
            | Name::ClusterDelSlots
            | Name::ClusterDelSlotsRange
            | Name::ClusterFlushSlots
            | Name::ClusterBumpEpoch
            | Name::ClusterSaveConfig
            | Name::ClusterSetConfigEpoch => {
                return Err(CommandError::ChangedByPlan(
                    name.spec().text.replace('|', " ").to_ascii_uppercase(),
                ));
            }
            Name::Debug => return Err(CommandError::NoDebug),
            _ => return Ok(None),
        }))
    }
}

fn lolwut(args: &[Bytes]) -> Result<AboutNode, CommandError> {
    match args {
        [option, version, ..] if option.eq_ignore_ascii_case(b"VERSION") => {
            integer::parse(version).ok_or(CommandError::NotInteger)?;
            Ok(AboutNode::LolWut)
        }
        _ => Ok(AboutNode::LolWut),
    }
}

fn slow_log_entries(args: &[Bytes]) -> Result<Option<usize>, CommandError> {
    match args {
        [] => Ok(Some(SLOW_LOG_ENTRIES)),
        [count] => match integer::parse(count) {
            Some(-1) => Ok(None),
            Some(count) => usize::try_from(count)
                .map(Some)
                .map_err(|_| CommandError::SlowLogCount),
            None => Err(CommandError::SlowLogCount),
        },
        _ => Err(CommandError::SubcommandArity {
            subcommand: "GET",
            container: "SLOWLOG",
        }),
    }
}

/// What WAIT asks for: so many nodes, within so many ms (0: as long as a request may take).
pub(crate) fn wait(nodes: &[u8], timeout_ms: &[u8]) -> Result<(i64, u64), CommandError> {
    let nodes = integer::parse(nodes).ok_or(CommandError::NotInteger)?;
    let timeout_ms = integer::parse(timeout_ms).ok_or(CommandError::NotTimeout)?;
    let timeout_ms = u64::try_from(timeout_ms).map_err(|_| CommandError::NegativeTimeout)?;
    Ok((nodes, timeout_ms))
}

/// What follows MEMORY USAGE and its key. How many samples are asked for changes nothing: a value has no parts.
pub(crate) fn samples(options: &[Bytes]) -> Result<(), CommandError> {
    for pair in options.chunks(2) {
        match pair {
            [option, count] if option.eq_ignore_ascii_case(b"SAMPLES") => {
                let count = integer::parse(count).ok_or(CommandError::NotInteger)?;
                u64::try_from(count).map_err(|_| CommandError::Syntax)?;
            }
            _ => return Err(CommandError::Syntax),
        }
    }
    Ok(())
}

/// What follows FUNCTION FLUSH and SCRIPT FLUSH.
pub(crate) fn flush(name: Name, options: &[Bytes]) -> Result<(), CommandError> {
    let is_how = |option: &Bytes| {
        ["SYNC", "ASYNC"]
            .iter()
            .any(|how| option.eq_ignore_ascii_case(how.as_bytes()))
    };
    match options {
        [] => Ok(()),
        [option] if is_how(option) => Ok(()),
        _ if name == Name::ScriptFlush => Err(CommandError::ScriptFlush),
        _ => Err(CommandError::FunctionFlush),
    }
}

/// ON and OFF of CLIENT NO-EVICT and CLIENT NO-TOUCH.
pub(crate) fn on_or_off(mode: &[u8]) -> Result<bool, CommandError> {
    match () {
        () if mode.eq_ignore_ascii_case(b"ON") => Ok(true),
        () if mode.eq_ignore_ascii_case(b"OFF") => Ok(false),
        () => Err(CommandError::Syntax),
    }
}

/// That there is no such node, as CLUSTER tells it.
pub fn unknown_node(id: &[u8]) -> CommandError {
    CommandError::UnknownNode(shown(id))
}

/// That there is no such category of commands, as ACL CAT tells it.
pub fn unknown_category(category: &[u8]) -> CommandError {
    CommandError::UnknownCategory(shown(category))
}

/// That there is no such user, as CLIENT KILL tells it.
pub fn unknown_user(user: &[u8]) -> CommandError {
    CommandError::UnknownUser(shown(user))
}

#[cfg(test)]
mod tests {
    use crate::command::{self, tests::request};
    use crate::{Command, CommandError};

    fn parse(line: &str) -> Result<Command, CommandError> {
        let request = request(line);
        Command::parse(command::find(&request)?.name, request)
    }

    #[test]
    fn errors_are_redis_own() {
        // Lost without it: tools that match error texts; the texts are from redis-server 7.0.15.
        for (line, expected) in [
            (
                "slowlog get x",
                "ERR count should be greater than or equal to -1",
            ),
            (
                "slowlog get -2",
                "ERR count should be greater than or equal to -1",
            ),
            (
                "slowlog get 1 2",
                "ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP.",
            ),
            (
                "lolwut version x",
                "ERR value is not an integer or out of range",
            ),
            (
                "function flush foo",
                "ERR FUNCTION FLUSH only supports SYNC|ASYNC option",
            ),
            (
                "script flush foo",
                "ERR SCRIPT FLUSH only support SYNC|ASYNC option",
            ),
            ("wait a b", "ERR value is not an integer or out of range"),
            ("wait 0 a", "ERR timeout is not an integer or out of range"),
            ("wait 0 -1", "ERR timeout is negative"),
            ("memory usage k samples -1", "ERR syntax error"),
            (
                "memory usage k samples x",
                "ERR value is not an integer or out of range",
            ),
            ("memory usage k samples", "ERR syntax error"),
            (
                "cluster myid x",
                "ERR wrong number of arguments for 'cluster|myid' command",
            ),
            ("client no-touch skip", "ERR syntax error"),
        ] {
            assert_eq!(parse(line).unwrap_err().to_string(), expected, "{line}");
        }
    }

    #[test]
    fn what_a_plan_changes_is_refused_with_the_remedy() {
        // Lost without it: an operator who knows Redis Cluster would not learn how members join here.
        for line in [
            "cluster meet 127.0.0.1 6379",
            "cluster forget x",
            "cluster setslot 1 node x",
            "cluster failover",
            "cluster reset hard",
            "cluster addslots 1",
        ] {
            let text = parse(line).unwrap_err().to_string();
            assert!(text.contains("rkv cluster join"), "{text}");
        }
        let text = parse("cluster set-config-epoch 1").unwrap_err().to_string();
        assert!(text.starts_with("ERR CLUSTER SET-CONFIG-EPOCH "), "{text}");
        assert_eq!(parse("debug sleep 1"), Err(CommandError::NoDebug));
    }
}
