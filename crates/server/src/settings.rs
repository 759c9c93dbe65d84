//! This file answers: what is a node told?
//!
//! Plain values, checked by whoever read them; the configuration's keys of the same names say what each means.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rkv_kv::Bounds;
use rkv_quorum::policy::Defaults;
use rkv_ring::{Addresses, NodeName, PartitionCount};
use rkv_storage::{BackendKind, Durability};
use rkv_wire::faults::FaultSwitch;

/// All that one node is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `node.name`
    pub name: NodeName,
    /// `node.data_dir`
    pub data_dir: PathBuf,
    /// `node.zone`
    pub zone: Option<String>,
    /// `node.weight`
    pub weight: f64,
    /// What others are told of its listeners.
    pub addresses: Addresses,
    /// `cluster.name`
    pub cluster: String,
    /// `cluster.secret`
    pub secret: Option<String>,
    /// `cluster.client_secret`
    pub client_secret: Option<String>,
    /// `cluster.seeds`
    pub seeds: Vec<String>,
    /// `cluster.gossip_interval_ms`
    pub gossip_interval: Duration,
    /// `ring.partitions`: of a cluster that this node founds.
    pub partitions: PartitionCount,
    /// `ring.replicas`: likewise.
    pub replicas: u8,
    /// `storage.backend`
    pub backend: BackendKind,
    /// `storage.durability`
    pub durability: Durability,
    /// `storage.sync_interval_ms`
    pub sync_interval: Duration,
    /// The keyspace `default`: `default.*` and `request.timeout_ms`.
    pub defaults: Defaults,
    /// `limits.key_bytes` and `limits.value_bytes`
    pub bounds: Bounds,
    /// `transfers.limit`
    pub transfers: usize,
    /// `transfers.bytes_per_s`; 0: as fast as it goes.
    pub bytes_per_s: u64,
    /// `transfers.grace_s`
    pub grace: Duration,
    /// `delete.grace_s`
    pub delete_grace: Duration,
    /// `clock.max_drift_ms`
    pub max_drift_ms: u64,
}

impl Settings {
    /// A node in memory without secrets, of rings with 16 partitions, and quick to give up what it no longer needs: for tests.
    pub fn in_memory(name: NodeName, data_dir: PathBuf, peer: String) -> Settings {
        Settings {
            name,
            data_dir,
            zone: None,
            weight: 1.0,
            addresses: Addresses {
                peer,
                redis: String::new(),
                http: String::new(),
            },
            cluster: "test".to_owned(),
            secret: None,
            client_secret: None,
            seeds: Vec::new(),
            gossip_interval: Duration::from_millis(50),
            partitions: PartitionCount::new(16).expect("16 is a power of two"),
            replicas: 3,
            backend: BackendKind::Memory,
            durability: Durability::Batch,
            sync_interval: Duration::from_millis(100),
            defaults: Defaults::default(),
            bounds: Bounds::default(),
            transfers: 8,
            bytes_per_s: 0,
            grace: Duration::from_millis(500),
            delete_grace: Duration::from_secs(86_400),
            max_drift_ms: 500,
        }
    }
}

/// What can be broken on purpose: links and the disk.
#[derive(Clone, Default)]
pub struct Switches {
    /// Links cut or slowed; gossip's too.
    pub links: Arc<FaultSwitch>,
    /// Storage that fails.
    pub disk: rkv_storage::Faults,
}
