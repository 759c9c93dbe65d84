//! This file answers: how does the Rust client put and get?

use std::time::Duration;

use rkv_client::builder::MAX_IN_FLIGHT;
use rkv_client::{Client, Error};

use super::{Answer, Call, Failed};
use crate::plan::{BenchError, Driver, Plan, Quorum};

/// Clients of one cluster: one, unless there are more workers than it lets ask at once.
#[derive(Debug)]
pub(crate) struct Clients {
    clients: Vec<Client>,
    asks: Asks,
}

/// Which of the client's calls are measured.
#[derive(Debug, Clone, Copy)]
enum Asks {
    Plainly,
    Quorums(Quorum, Duration),
}

/// One worker's handle.
#[derive(Debug)]
pub(crate) struct NativeConnection {
    client: Client,
    asks: Asks,
}

impl Clients {
    pub(crate) async fn open(plan: &Plan, seeds: &[String]) -> Result<Clients, BenchError> {
        let mut clients = Vec::new();
        for _ in 0..plan.workers.div_ceil(MAX_IN_FLIGHT) {
            let mut builder = Client::builder()
                .seeds(seeds)
                .name("bench")
                .timeout(plan.timeout);
            if let Some(secret) = &plan.secret {
                builder = builder.secret(secret);
            }
            let client = builder.build().await;
            clients.push(client.map_err(|error| not_met(&error, seeds))?);
        }
        let asks = match plan.driver {
            Driver::Quorum => Asks::Quorums(plan.quorum, plan.timeout),
            _ => Asks::Plainly,
        };
        Ok(Clients { clients, asks })
    }

    pub(crate) fn connection(&self, worker: usize) -> NativeConnection {
        NativeConnection {
            client: self.clients[worker % self.clients.len()].clone(),
            asks: self.asks,
        }
    }
}

fn not_met(error: &Error, seeds: &[String]) -> BenchError {
    let text = format!(
        "{}: {error} (this driver wants peer addresses, listen.peer)",
        seeds.join(", ")
    );
    match error {
        Error::Invalid { .. } => BenchError::Usage(text),
        Error::TurnedAway(_) => BenchError::Failed(text),
        _ => BenchError::Unreachable(text),
    }
}

impl NativeConnection {
    pub(crate) async fn call(&mut self, call: &Call) -> Result<Answer, Failed> {
        let (client, key) = (&self.client, call.key.as_bytes());
        let answer = match (&call.put, self.asks) {
            (None, Asks::Plainly) => client.get(key).await.map(Answer::Got),
            (None, Asks::Quorums(Quorum { n, r, .. }, timeout)) => {
                let got = client.get_quorum(key, n, r, timeout).await;
                got.map(|got| Answer::Got(got.value))
            }
            (Some(value), Asks::Plainly) => {
                let put = client.put(key, value.clone()).await;
                put.map(|()| Answer::Put)
            }
            (Some(value), Asks::Quorums(Quorum { n, w, .. }, timeout)) => {
                let put = client.put_quorum(key, value.clone(), n, w, timeout).await;
                put.map(|_| Answer::Put)
            }
        };
        answer.map_err(|error| Failed::new(kind(&error), error.to_string()))
    }
}

/// The word by which it is counted: where a node gave one, that.
fn kind(error: &Error) -> String {
    match error {
        Error::Invalid { reason, .. } | Error::Again { reason, .. } => reason.clone(),
        Error::QuorumNotMet(error) => error.kind.clone(),
        Error::Unreachable(_) => "unreachable".to_owned(),
        Error::TurnedAway(_) => "turned_away".to_owned(),
        Error::Unknown(_) => "unknown".to_owned(),
        Error::Timeout(_) => "timeout".to_owned(),
        _ => "protocol".to_owned(),
    }
}
