//! This file answers: what is a client told when it is made?

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rkv_ring::Incarnation;
use rkv_wire::faults::FaultSwitch;
use rkv_wire::handshake::{Identity, PROTOCOL_MAX, PROTOCOL_MIN, Role, Secrets};
use rkv_wire::tcp::{TcpConfig, TcpTransport, Timings};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::calls::Calls;
use crate::client::{Client, Inner};
use crate::error::Error;
use crate::retry::{Backoff, RetryPolicy};
use crate::scout::{Shared, meet_until};

/// Most operations of one client that are under way; the next waits, within its own time. A node takes as many from one
/// connection.
pub const MAX_IN_FLIGHT: usize = 1024;
/// How long an operation may take, unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Makes a [`Client`].
pub struct Builder {
    seeds: Vec<String>,
    secret: Option<String>,
    name: String,
    timeout: Duration,
    retry: Arc<dyn RetryPolicy>,
}

impl Builder {
    pub(crate) fn new() -> Builder {
        Builder {
            seeds: Vec::new(),
            secret: None,
            name: "client".to_owned(),
            timeout: TIMEOUT,
            retry: Arc::new(Backoff::default()),
        }
    }

    /// Peer addresses (`host:port`, a node's `listen.peer`) to begin with. One that answers is enough; from then on the
    /// client knows all members.
    pub fn seeds(mut self, seeds: impl IntoIterator<Item = impl Into<String>>) -> Builder {
        self.seeds.extend(seeds.into_iter().map(Into::into));
        self
    }

    /// What the nodes have as `cluster.client_secret`. Without one only loopback addresses are talked to.
    pub fn secret(mut self, secret: impl Into<String>) -> Builder {
        self.secret = Some(secret.into());
        self
    }

    /// What the nodes' logs call this client. Default `client`. It need not be unique.
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = name.into();
        self
    }

    /// How long an operation may take in all, retries included. Default 5 s.
    pub fn timeout(mut self, timeout: Duration) -> Builder {
        self.timeout = timeout;
        self
    }

    /// Whether and when an operation is tried again. Default [`Backoff`]: only what is known not to have been applied.
    pub fn retry(mut self, policy: impl RetryPolicy) -> Builder {
        self.retry = Arc::new(policy);
        self
    }

    /// Finds a seed that answers and pulls the ring from it, within the timeout. Needs a tokio runtime, which carries the
    /// connections until the last clone of the client is dropped.
    pub async fn build(self) -> Result<Client, Error> {
        if self.seeds.is_empty() {
            let message = "a client needs the peer address of at least one node: Client::builder().seeds([...])";
            return Err(Error::invalid("no_seeds", message));
        }
        let calls = Arc::new(Calls::default());
        let transport = TcpTransport::new(TcpConfig {
            identity: self.identity()?,
            secrets: Secrets::new(None, self.secret.as_deref()),
            timings: Timings::default(),
            faults: Arc::new(FaultSwitch::new()),
        });
        transport.start(None, calls.clone());
        let until = Instant::now() + self.timeout;
        let routing = meet_until(&transport, &calls, &self.seeds, until).await?;
        let shared = Arc::new(Shared {
            transport,
            calls,
            routing: ArcSwap::from_pointee(routing),
            seeds: self.seeds,
        });
        let scout = tokio::spawn(shared.clone().scout()).abort_handle();
        Ok(Client::new(Inner {
            shared,
            retry: self.retry,
            in_flight: Semaphore::new(MAX_IN_FLIGHT),
            timeout: self.timeout,
            scout,
        }))
    }

    fn identity(&self) -> Result<Identity, Error> {
        let mut life = [0; 16];
        getrandom::fill(&mut life)
            .map_err(|error| Error::Unreachable(format!("no random numbers: {error}")))?;
        Ok(Identity {
            name: self.name.as_str().into(),
            incarnation: Incarnation(u128::from_le_bytes(life)),
            boot: 1,
            role: Role::Client,
            address: String::new(),
            cluster: String::new(),
            protocol: (PROTOCOL_MIN, PROTOCOL_MAX),
        })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("seeds", &self.seeds)
            .field("name", &self.name)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
