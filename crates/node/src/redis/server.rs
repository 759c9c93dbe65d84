//! This file answers: what do all connections share?
//!
//! The engine, the configuration, who is connected, figures, and the memory that their buffers may take together.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use rkv_kv::{Engine, Keyspace, KvError};
use rkv_resp::Limits;

use super::client::Client;
use super::cluster::Snapshots;
use super::slow_log::SlowLog;
use super::stats::Stats;

use super::metrics::RedisFigures;
use super::pace::Patience;

/// What a single argument may measure beyond the largest value: such a value gets the store's error and keeps its
/// connection.
const MIN_BULK_BYTES: usize = 1 << 20;
/// What all connections' buffers may hold together. Beyond, each is held to [`FREE_BYTES`] of replies, and a request
/// that is larger is refused.
const BUFFER_BYTES: usize = 1 << 30;
/// What a connection may always hold.
pub(super) const FREE_BYTES: usize = 64 << 10;
/// What a connection may hold of replies that its client does not read, while there is room.
const OUTPUT_BYTES: usize = 32 << 20;

/// What the listener looks at of the configuration.
#[derive(Clone)]
pub(crate) struct RedisConfig {
    /// `redis.password`: that of the user `default`.
    pub(crate) password: Option<String>,
    /// `redis.users`: name to password.
    pub(crate) users: BTreeMap<String, String>,
    /// `redis.databases`: the names of the keyspaces that SELECT chooses from.
    pub(crate) databases: Vec<String>,
    /// `limits.connections`.
    pub(crate) connections: usize,
    /// `advertise.redis`: what clients are told.
    pub(crate) announced: String,
    /// How long a client may take.
    pub(crate) patience: Patience,
    /// What is counted, for whoever reads it elsewhere.
    pub(crate) figures: RedisFigures,
}

impl Default for RedisConfig {
    fn default() -> RedisConfig {
        RedisConfig {
            password: None,
            users: BTreeMap::new(),
            databases: vec!["default".to_owned()],
            connections: 10_000,
            announced: String::new(),
            patience: Patience::default(),
            figures: RedisFigures::default(),
        }
    }
}

/// One listener and its connections.
pub(super) struct Server {
    pub(super) engine: Arc<Engine>,
    pub(super) config: RedisConfig,
    pub(super) local: SocketAddr,
    /// 40 hexadecimal digits, drawn at each start.
    pub(super) run_id: String,
    pub(super) started: Instant,
    pub(super) stats: Arc<Stats>,
    pub(super) slow_log: SlowLog,
    /// The ring as cluster clients are told it.
    pub(super) snapshots: Snapshots,
    clients: Mutex<BTreeMap<u64, Arc<Client>>>,
    next_id: AtomicU64,
    buffered: AtomicUsize,
    is_stopping: AtomicBool,
}

impl Server {
    pub(super) fn new(engine: Arc<Engine>, config: RedisConfig, local: SocketAddr) -> Server {
        let mut id = [0; 20];
        // It only tells one life of the server from another.
        if getrandom::fill(&mut id).is_err() {
            id[..8].copy_from_slice(&engine.wall_ms().to_be_bytes());
        }
        Server {
            engine,
            stats: config.figures.stats.clone(),
            config,
            local,
            run_id: id.iter().map(|byte| format!("{byte:02x}")).collect(),
            started: Instant::now(),
            slow_log: SlowLog::default(),
            snapshots: Snapshots::default(),
            clients: Mutex::new(BTreeMap::new()),
            next_id: AtomicU64::new(1),
            buffered: AtomicUsize::new(0),
            is_stopping: AtomicBool::new(false),
        }
    }

    /// No connection begins anything more.
    pub(super) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
        for client in self.clients() {
            client.wake();
        }
    }

    /// Whether the node stops.
    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// What a client that has proved itself may send.
    pub(super) fn limits(&self) -> Limits {
        let bounds = self.engine.bounds();
        let max_bulk = bounds
            .value_bytes
            .max(bounds.key_bytes)
            .saturating_mul(2)
            .max(MIN_BULK_BYTES);
        let standard = Limits::default();
        Limits {
            max_bulk,
            max_request_bytes: standard.max_request_bytes.max(max_bulk.saturating_mul(2)),
            ..standard
        }
    }

    /// The keyspace of this name.
    pub(super) fn keyspace(&self, name: &[u8]) -> Result<&Keyspace, KvError> {
        let default = self.engine.default_keyspace();
        if name == default.name.as_bytes() {
            Ok(default)
        } else {
            Err(KvError::Keyspace(
                String::from_utf8_lossy(name).into_owned(),
            ))
        }
    }

    // ---- who is connected --------------------------------------------------------------------------------------------

    /// A new connection, unless there are too many; it counts until what is returned is dropped.
    pub(super) fn admit(self: &Arc<Self>, addr: SocketAddr, fd: i32) -> Option<Admitted> {
        let mut clients = self.clients.lock();
        if clients.len() >= self.config.connections {
            self.stats.rejected.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        self.stats.connections.fetch_add(1, Ordering::Relaxed);
        self.stats.open.fetch_add(1, Ordering::Relaxed);
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let client = Arc::new(Client::new(id, addr, fd));
        clients.insert(client.id, client.clone());
        Some(Admitted {
            server: self.clone(),
            client,
            buffered: 0,
        })
    }

    /// How many are connected.
    pub(super) fn connected(&self) -> usize {
        self.clients.lock().len()
    }

    /// All that are connected, the oldest first.
    pub(super) fn clients(&self) -> Vec<Arc<Client>> {
        self.clients.lock().values().cloned().collect()
    }

    // ---- memory ------------------------------------------------------------------------------------------------------

    /// Whether the buffers of all connections are at their bound.
    pub(super) fn is_crowded(&self) -> bool {
        self.buffered.load(Ordering::Relaxed) >= BUFFER_BYTES
    }

    /// What a connection may hold of replies now.
    pub(super) fn output_bytes(&self) -> usize {
        if self.is_crowded() {
            FREE_BYTES
        } else {
            OUTPUT_BYTES
        }
    }
}

/// A place among the connections, given back when dropped.
pub(super) struct Admitted {
    pub(super) server: Arc<Server>,
    pub(super) client: Arc<Client>,
    buffered: usize,
}

impl Admitted {
    /// The connection's buffers hold so much now. What every connection may hold is not counted, so that the usual
    /// connection does not touch what all share.
    pub(super) fn buffers(&mut self, bytes: usize) {
        let bytes = bytes.saturating_sub(FREE_BYTES);
        if bytes != self.buffered {
            let total = &self.server.buffered;
            total.fetch_add(bytes, Ordering::Relaxed);
            total.fetch_sub(self.buffered, Ordering::Relaxed);
            self.buffered = bytes;
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.buffers(0);
        self.server.clients.lock().remove(&self.client.id);
        self.server.stats.open.fetch_sub(1, Ordering::Relaxed);
    }
}
