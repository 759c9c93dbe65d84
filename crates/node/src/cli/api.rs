//! This file answers: how is a node asked?
//!
//! The contract of `/v1`, which the HTTP listener keeps and everything here relies on. Bodies and answers are JSON,
//! field by field in [`documents`](super::documents).
//!
//! | request | body or query | answer |
//! |---|---|---|
//! | `POST /v1/cluster/join` | `JoinRequest {peer}` | `Staged {ok, staged: {action: "join", node}}` |
//! | `POST /v1/cluster/leave` | `LeaveRequest {node?}` | `Staged {ok, staged: {action: "leave", node}}` |
//! | `POST /v1/cluster/remove` | `AboutNode {node}` | `Staged {ok, staged: {action: "remove", node}}` |
//! | `POST /v1/cluster/replace` | `ReplaceRequest {node, with, force}` | `Staged {..., staged: {action: "replace", node, with}}`, by force `"force-replace"` |
//! | `POST /v1/cluster/weight` | `WeightRequest {node, weight}` | `Staged {..., staged: {action: "weight", node, weight}}` |
//! | `POST /v1/cluster/zone` | `ZoneRequest {node, zone}` | `Staged {..., staged: {action: "zone", node, zone}}` |
//! | `POST /v1/cluster/down` | `AboutNode {node}` | `MarkedDown {ok, down, epoch}` |
//! | `POST /v1/cluster/recover` | `RecoverRequest {without, accept_data_loss}` | `Recovered {ok, without, epoch}` |
//! | `POST /v1/cluster/cancel` | `{}` | `Cancelled {ok, cancelled, epoch}` |
//! | `POST /v1/cluster/commit` | `CommitRequest {plan?}` | `Committed {ok, plan, epoch, transfers}` |
//! | `POST /v1/cluster/clear` | `{}` | `Cleared {ok, cleared}` |
//! | `GET /v1/cluster/handoff` | | `HandoffSetting` |
//! | `POST /v1/cluster/handoff` | `HandoffRequest {action: "pause", "resume" or "limit", limit?}` | `HandoffSetting` |
//! | `GET /v1/cluster/plan` | | `Plan` |
//! | `GET /v1/cluster/members` | | `Members` |
//! | `GET /v1/cluster/status` | | `ClusterStatus` |
//! | `GET /v1/cluster/ring` | | `RingTable` |
//! | `GET /v1/cluster/ring` | `?key=KEY` | `KeyPlace` |
//! | `GET /v1/cluster/transfers` | | `Transfers` |
//! | `GET /v1/cluster/can-stop` | `?node=NODE`, else the node asked | `CanStop`, with status 200 for a no as well |
//! | `POST /v1/cluster/repair` | `RepairRequest {partition?, node?}` | `RepairBegun {ok, begun, nodes, unreachable}` |
//! | `GET /v1/cluster/repair` | `?partition=P`, `?node=NODE` | `Repairs {repairs, unreachable}` |
//! | `GET /v1/status` | | `Status` |
//! | `POST /v1/ping` | `PingRequest {value}` | `Pong` |
//! | `POST /v1/kv/get` | `KvRequest` | `GetAnswer`, with status 200 for an absent key as well |
//! | `POST /v1/kv/put`, `/v1/kv/delete` | `KvRequest` | `PutAnswer` |
//!
//! With `http.token` set every request bears `Authorization: Bearer TOKEN`.
//!
//! An error is `{"error":{kind, reason, message, ...}}`, for requests with `maybe_applied` and `replicas`, under a status
//! by kind: `usage` 400, `refused` and `no_replicas` 409, `busy` and `quorum_not_met` 503, `timeout` 504, `internal` 500;
//! a missing or wrong token is 401 with kind `refused`, reason `token`. The document counts, the status is for proxies.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::failure::{Failure, Kind};

/// How long a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// How long an answer may take that is not bounded by the request itself: longer than any `request.timeout_ms` in use.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// What an answer may take on top of the time that the node has for the request.
pub(crate) const SLACK: Duration = Duration::from_secs(2);

/// The largest document that is read: a value of the largest size in base64, and the replicas.
const ANSWER_BYTES: u64 = 1 << 30;

/// A node, to be asked over HTTP.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    agent: ureq::Agent,
    base: String,
    token: Option<String>,
}

/// What a node answered: the document, word for word.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer(pub(crate) String);

impl Answer {
    /// The document, understood.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_str(&self.0).map_err(|why| {
            Failure::internal(format!(
                "the node's answer is not understood ({why}): {}",
                self.0
            ))
        })
    }
}

/// Whether asking twice does harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Reads,
    Writes,
}

impl Node {
    /// The node at `url`; without a scheme it is `http://`.
    pub(crate) fn at(url: &str, token: Option<String>) -> Node {
        let url = url.trim_end_matches('/');
        let base = if url.contains("://") {
            url.to_owned()
        } else {
            format!("http://{url}")
        };
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_connect(Some(CONNECT_WITHIN));
        Node {
            agent: config.build().into(),
            base,
            token,
        }
    }

    /// Asks for a document.
    pub(crate) fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Answer, Failure> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        for (name, value) in query {
            request = request.query(name, value);
        }
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let request = request.config().timeout_global(Some(ANSWER_WITHIN)).build();
        self.answer(request.call(), Effect::Reads)
    }

    /// Asks for a document, understood.
    pub(crate) fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.get(path, &[])?.read()
    }

    /// Sends a body that changes nothing.
    pub(crate) fn query(
        &self,
        path: &str,
        body: &impl Serialize,
        within: Duration,
    ) -> Result<Answer, Failure> {
        self.send(path, body, within, Effect::Reads)
    }

    /// Sends a body that may change something.
    pub(crate) fn post(
        &self,
        path: &str,
        body: &impl Serialize,
        within: Duration,
    ) -> Result<Answer, Failure> {
        self.send(path, body, within, Effect::Writes)
    }

    fn send(
        &self,
        path: &str,
        body: &impl Serialize,
        within: Duration,
        effect: Effect,
    ) -> Result<Answer, Failure> {
        let mut request = self.agent.post(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let request = request.config().timeout_global(Some(within)).build();
        self.answer(request.send_json(body), effect)
    }

    fn answer(
        &self,
        outcome: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
        effect: Effect,
    ) -> Result<Answer, Failure> {
        let mut response = outcome.map_err(|error| self.failed(&error, effect))?;
        let status = response.status();
        let text = response
            .body_mut()
            .with_config()
            .limit(ANSWER_BYTES)
            .read_to_string();
        let text = text.map_err(|error| self.failed(&error, effect))?;
        if status.is_success() {
            return Ok(Answer(text.trim().to_owned()));
        }
        Err(Failure::from_document(&text).unwrap_or_else(|| {
            let start: String = text.trim().chars().take(200).collect();
            Failure::internal(format!(
                "{} answers {status}: is it a node of rkv? {start}",
                self.base
            ))
        }))
    }

    fn failed(&self, error: &ureq::Error, effect: Effect) -> Failure {
        let base = &self.base;
        match error {
            ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve)
            | ureq::Error::ConnectionFailed
            | ureq::Error::HostNotFound => self.unreachable(&error.to_string()),
            ureq::Error::Io(why) if why.kind() == std::io::ErrorKind::ConnectionRefused => {
                self.unreachable("connection refused")
            }
            ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::TlsRequired => {
                Failure::usage(format!(
                    "--node {base}: {error}; it is written http://HOST:PORT"
                ))
            }
            ureq::Error::Timeout(_) => Failure::with(
                Kind::Timeout,
                "client",
                format!("{base} has not answered in time"),
                json!({"maybe_applied": effect == Effect::Writes}),
            ),
            // the connection broke while the node had the request
            _ => Failure::with(
                Kind::Unreachable,
                "connection",
                format!("lost the connection to {base}: {error}"),
                json!({"maybe_applied": effect == Effect::Writes}),
            ),
        }
    }

    fn unreachable(&self, why: &str) -> Failure {
        Failure::new(
            Kind::Unreachable,
            "connect",
            format!(
                "cannot reach the node at {}: {why}. Is it running, and is --node (or RKV_NODE) its HTTP address?",
                self.base
            ),
        )
    }
}
