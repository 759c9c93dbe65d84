//! This file answers: how does an operation reach the target, and what comes back?

mod native;
mod redis;

use std::borrow::Cow;

use bytes::Bytes;

use crate::keys::Key;
use crate::plan::{BenchError, Driver, Plan};

use native::{Clients, NativeConnection};
use redis::{Doors, RedisConnection};

/// One request: a get, or with a value a put.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) key: Key,
    pub(crate) put: Option<Bytes>,
}

/// What a request that succeeded came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Put,
    Got(Option<Bytes>),
}

/// What became of a request that did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failed {
    /// A word, by which errors are counted.
    pub(crate) kind: Cow<'static, str>,
    /// In words.
    pub(crate) message: String,
}

impl Failed {
    pub(crate) fn new(kind: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Failed {
        Failed {
            kind: kind.into(),
            message: message.into(),
        }
    }
}

/// What is measured.
#[derive(Debug)]
pub(crate) enum Target {
    Native(Clients),
    Redis(Doors),
}

impl Target {
    /// Finds it.
    pub(crate) async fn open(plan: &Plan, addresses: &[String]) -> Result<Target, BenchError> {
        match plan.driver {
            Driver::Native | Driver::Quorum => {
                Clients::open(plan, addresses).await.map(Target::Native)
            }
            Driver::Redis => Ok(Target::Redis(Doors::new(plan, addresses))),
        }
    }

    /// A connection for the worker of this number.
    pub(crate) async fn connection(&self, worker: usize) -> Result<Connection, BenchError> {
        match self {
            Target::Native(clients) => Ok(Connection::Native(clients.connection(worker))),
            Target::Redis(doors) => {
                let connection = doors.connection(worker).await?;
                Ok(Connection::Redis(Box::new(connection)))
            }
        }
    }

    /// What it says that it is, if it says so.
    pub(crate) async fn version(&self) -> Option<String> {
        match self {
            Target::Native(_) => None,
            Target::Redis(doors) => doors.version().await,
        }
    }
}

/// One worker's way to the target. Calls are sent together, and each is then awaited in its order.
#[derive(Debug)]
pub(crate) enum Connection {
    Native(NativeConnection),
    Redis(Box<RedisConnection>),
}

impl Connection {
    /// Sends them; the native driver leaves that to [`answer`](Connection::answer).
    pub(crate) async fn send(&mut self, calls: &[Call]) -> Result<(), Failed> {
        match self {
            Connection::Native(_) => Ok(()),
            Connection::Redis(connection) => connection.send(calls).await,
        }
    }

    /// The answer to the next call, which is `call`.
    pub(crate) async fn answer(&mut self, call: &Call) -> Result<Answer, Failed> {
        match self {
            Connection::Native(connection) => connection.call(call).await,
            Connection::Redis(connection) => connection.answer(call).await,
        }
    }

    /// What was sent is awaited no longer.
    pub(crate) fn give_up(&mut self) {
        match self {
            Connection::Native(_) => {}
            Connection::Redis(connection) => connection.give_up(),
        }
    }
}
