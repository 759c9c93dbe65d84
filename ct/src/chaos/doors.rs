//! This file answers: how does a writer reach the cluster, and what was it told?

use std::collections::BTreeMap;
use std::time::Duration;

use rkv_client::{Client, Error};
use tokio::runtime::Handle;

use super::fleet::Fleet;
use crate::processes::{Redis, Reply};

/// Longer than a node takes over a request (`config/ct.toml`).
const PATIENCE: Duration = Duration::from_secs(4);

/// What came of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Acknowledged.
    Done,
    /// Not applied: it may be tried again. Why, in a word.
    NotApplied(String),
    /// It may have been applied. Why, in a word.
    Unknown(String),
}

/// What came of a read.
pub type Read = Result<Option<Vec<u8>>, String>;

/// A way in.
pub enum Door {
    /// Each request to the node that is named, over one connection each.
    Redis(BTreeMap<u16, Redis>),
    /// The Rust client finds its way by the ring.
    Client(Handle, Client),
}

impl Door {
    /// Redis connections.
    pub fn redis() -> Door {
        Door::Redis(BTreeMap::new())
    }

    /// Writes, or deletes without a `value`; through node number `at` where the door has a choice.
    pub fn write(&mut self, fleet: &Fleet, at: usize, key: &str, value: Option<&str>) -> Told {
        match self {
            Door::Redis(open) => {
                let args: &[&str] = match &value {
                    Some(value) => &["SET", key, value],
                    None => &["DEL", key],
                };
                match call(open, fleet, at, args) {
                    Err(Unheard::NeverLeft) => Told::NotApplied("no connection".to_owned()),
                    Err(Unheard::Lost) => Told::Unknown("connection lost".to_owned()),
                    Ok(reply) => told(&reply),
                }
            }
            Door::Client(runtime, client) => {
                let done = runtime.block_on(async {
                    match value {
                        Some(value) => client.put(key, value.to_owned()).await,
                        None => client.delete(key).await,
                    }
                });
                match done {
                    Ok(()) => Told::Done,
                    Err(error) if error.is_retryable() => Told::NotApplied(word_of(&error)),
                    Err(error) => Told::Unknown(word_of(&error)),
                }
            }
        }
    }

    /// Reads.
    pub fn read(&mut self, fleet: &Fleet, at: usize, key: &str) -> Read {
        match self {
            Door::Redis(open) => match call(open, fleet, at, &["GET", key]) {
                Ok(Reply::Bulk(value)) => Ok(value),
                Ok(reply) => Err(first_word(&reply.text())),
                Err(_) => Err("connection lost".to_owned()),
            },
            Door::Client(runtime, client) => {
                let got = runtime.block_on(client.get(key));
                let got = got.map_err(|error| word_of(&error))?;
                Ok(got.map(|value| value.to_vec()))
            }
        }
    }
}

enum Unheard {
    NeverLeft,
    Lost,
}

fn call(
    open: &mut BTreeMap<u16, Redis>,
    fleet: &Fleet,
    at: usize,
    args: &[&str],
) -> Result<Reply, Unheard> {
    let ports = fleet.redis_ports();
    let port = *ports
        .get(at % ports.len().max(1))
        .ok_or(Unheard::NeverLeft)?;
    let mut redis = match open.remove(&port) {
        Some(redis) => redis,
        None => Redis::connect_within(port, PATIENCE).map_err(|_| Unheard::NeverLeft)?,
    };
    let reply = redis.call(args).map_err(|_| Unheard::Lost)?;
    open.insert(port, redis);
    Ok(reply)
}

fn told(reply: &Reply) -> Told {
    let Reply::Error(text) = reply else {
        return Told::Done;
    };
    let word = first_word(text);
    match word.as_str() {
        "TRYAGAIN" | "CLUSTERDOWN" | "NOREPLICAS" | "BUSY" => Told::NotApplied(word),
        "UNKNOWN" => Told::Unknown(word),
        // Nothing that these writers send is theirs to mend: it is told in full.
        _ => Told::Unknown(text.clone()),
    }
}

fn first_word(text: &str) -> String {
    text.split(' ').next().unwrap_or_default().to_owned()
}

fn word_of(error: &Error) -> String {
    match error {
        Error::QuorumNotMet(error) if error.maybe_applied => "client: unknown".to_owned(),
        Error::QuorumNotMet(error) => format!("client: {}", error.reason),
        Error::Again { reason, .. } => format!("client: {reason}"),
        Error::Unreachable(_) => "client: unreachable".to_owned(),
        Error::Unknown(text) if text.contains("connection") => "client: connection lost".to_owned(),
        Error::Unknown(_) | Error::Timeout(_) => "client: no answer in time".to_owned(),
        other => format!("client: {other}"),
    }
}
