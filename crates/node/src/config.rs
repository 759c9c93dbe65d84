//! This file answers: what can be configured, what does each key mean, and what holds when nobody sets it?
//!
//! One struct, filled once at the start from layers ([`layers`]), each value checked by its key's kind ([`keys`]) and
//! all of them against each other ([`Config::load`]). Nothing else in the program reads configuration from the
//! environment: each part is handed its piece.

pub(crate) mod doors;
pub(crate) mod keys;
pub(crate) mod layers;
pub(crate) mod secret;
pub(crate) mod show;

use std::collections::BTreeMap;
use std::path::PathBuf;

use rkv_storage::{BackendKind, Durability};
use serde::{Deserialize, Serialize};

pub(crate) use layers::{ConfigError, Loaded, Sources};
pub(crate) use secret::Secret;

/// All that can be configured. `config/default.toml` shows the same for people.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Who this node is.
    pub(crate) node: Node,
    /// Which cluster it belongs to.
    pub(crate) cluster: Cluster,
    /// The shape of a ring that this node founds.
    pub(crate) ring: Ring,
    /// Where it listens.
    pub(crate) listen: Listen,
    /// Where others are told to find it.
    pub(crate) advertise: Advertise,
    /// Where and how safely data is kept.
    pub(crate) storage: Storage,
    /// What a request that says nothing else gets.
    pub(crate) request: Request,
    /// The keyspace `default`.
    pub(crate) default: DefaultKeyspace,
    /// The Redis listener.
    pub(crate) redis: Redis,
    /// The HTTP listener.
    pub(crate) http: Http,
    /// What is refused as too much.
    pub(crate) limits: Limits,
    /// Copies on the move.
    pub(crate) transfers: Transfers,
    /// This machine's clock.
    pub(crate) clock: Clock,
    /// Deleted keys.
    pub(crate) delete: Delete,
    /// Log lines.
    pub(crate) log: Log,
}

/// `[node]`: who this node is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Node {
    /// Its name, unique in the cluster. Default: the host name, since one node a machine is the usual case.
    pub(crate) name: String,
    /// The folder of its data and identity, relative to the working directory; locked by its process. Default `data`:
    /// a first try leaves everything in one visible folder.
    pub(crate) data_dir: PathBuf,
    /// Its failure domain; rows spread over zones where they can. Default none: all nodes count as one zone.
    pub(crate) zone: Option<String>,
    /// Its share of copies relative to the others. Default 1.0: equal machines.
    pub(crate) weight: f64,
}

impl Default for Node {
    fn default() -> Node {
        Node {
            name: host_name(),
            data_dir: "data".into(),
            zone: None,
            weight: 1.0,
        }
    }
}

/// `[cluster]`: which cluster this node belongs to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Cluster {
    /// Its name; nodes founded under different names refuse each other. Default `rkv`.
    pub(crate) name: String,
    /// What every node must prove to know, both ways. Default none, which keeps `listen.peer` on loopback.
    pub(crate) secret: Option<Secret>,
    /// The file that holds it, so that it shows in no command line or unit file. Default none.
    pub(crate) secret_file: Option<PathBuf>,
    /// What a client of the peer listener proves to know; opens requests and the ring, nothing else. Default none:
    /// such clients from loopback only.
    pub(crate) client_secret: Option<Secret>,
    /// The file that holds it. Default none.
    pub(crate) client_secret_file: Option<PathBuf>,
    /// Peer addresses to try. A node without a cluster stages a join through the first that answers; a member uses
    /// them only to find its members again. Default empty: nothing joins by itself.
    pub(crate) seeds: Vec<String>,
    /// How often a node gossips. Default 100: a killed node is suspected within 2 s, at some kilobytes a second.
    pub(crate) gossip_interval_ms: u64,
}

impl Default for Cluster {
    fn default() -> Cluster {
        Cluster {
            name: "rkv".to_owned(),
            secret: None,
            secret_file: None,
            client_secret: None,
            client_secret_file: None,
            seeds: Vec::new(),
            gossip_interval_ms: 100,
        }
    }
}

/// `[ring]`: read only when a cluster is founded; afterwards the ring's own values hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Ring {
    /// Q, the number of partitions: a power of two from 8 to 16384. Default 64: spreads evenly over up to a dozen
    /// nodes and keeps plans readable.
    pub(crate) partitions: u16,
    /// N, the copies of each partition. Default 3: a quorum survives the loss of any one node.
    pub(crate) replicas: u8,
}

impl Default for Ring {
    fn default() -> Ring {
        Ring {
            partitions: 64,
            replicas: 3,
        }
    }
}

/// `[listen]`: `host:port` of each listener. Defaults are on loopback: nobody outside gets in before a secret is set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Listen {
    /// The Redis protocol. Default `127.0.0.1:6379`, where Redis clients look.
    pub(crate) redis: String,
    /// Other nodes: TCP for data and handoff, UDP on the same number for gossip. Default `127.0.0.1:7379`.
    pub(crate) peer: String,
    /// Health, metrics and what the CLI calls. Default `127.0.0.1:8098`, Riak's.
    pub(crate) http: String,
}

impl Default for Listen {
    fn default() -> Listen {
        Listen {
            redis: "127.0.0.1:6379".to_owned(),
            peer: "127.0.0.1:7379".to_owned(),
            http: "127.0.0.1:8098".to_owned(),
        }
    }
}

/// `[advertise]`: what others are told, where that differs from [`Listen`] (containers, address translation).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Advertise {
    /// Default: as `listen.redis`.
    pub(crate) redis: Option<String>,
    /// Default: as `listen.peer`.
    pub(crate) peer: Option<String>,
    /// Default: as `listen.http`.
    pub(crate) http: Option<String>,
}

/// `[storage]`: where and how safely data is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Storage {
    /// The engine. Default `fjall`: durable, and the quickest per synced write.
    #[serde(with = "word")]
    pub(crate) backend: BackendKind,
    /// What an acknowledged write survives. Default `batch`: kill -9 of every node at the price of `os`, a power cut
    /// of all replicas' machines within the interval excepted.
    #[serde(with = "word")]
    pub(crate) durability: Durability,
    /// How often `batch` syncs. Default 100: ten syncs a second leave a disk free.
    pub(crate) sync_interval_ms: u64,
}

impl Default for Storage {
    fn default() -> Storage {
        Storage {
            backend: BackendKind::Fjall,
            durability: Durability::Batch,
            sync_interval_ms: 100,
        }
    }
}

/// `[request]`: what a request that says nothing else gets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Request {
    /// How long a request may take. Default 5000: longer than any detection of a dead node, shorter than a caller's
    /// patience.
    pub(crate) timeout_ms: u64,
}

impl Default for Request {
    fn default() -> Request {
        Request { timeout_ms: 5000 }
    }
}

/// `[default]`: the keyspace `default`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DefaultKeyspace {
    /// Copies a request is sent to. Default: `ring.replicas`.
    pub(crate) n: Option<u8>,
    /// Answers a read waits for. Default: a majority of n, so that reads see every acknowledged write.
    pub(crate) r: Option<u8>,
    /// Copies a write waits for. Default: a majority of n.
    pub(crate) w: Option<u8>,
}

/// `[redis]`: the Redis listener.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Redis {
    /// The keyspaces that SELECT 0, 1, ... mean, by name. Default only `default`.
    pub(crate) databases: Vec<String>,
    /// What AUTH must give. Default none, which keeps `listen.redis` on loopback.
    pub(crate) password: Option<Secret>,
    /// The file that holds it. Default none.
    pub(crate) password_file: Option<PathBuf>,
    /// Users and their passwords, for AUTH with two words. Default none.
    pub(crate) users: BTreeMap<String, Secret>,
    /// The file that holds them, one `name:password` a line. Default none.
    pub(crate) users_file: Option<PathBuf>,
}

impl Default for Redis {
    fn default() -> Redis {
        Redis {
            databases: vec!["default".to_owned()],
            password: None,
            password_file: None,
            users: BTreeMap::new(),
            users_file: None,
        }
    }
}

/// `[http]`: the HTTP listener.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Http {
    /// The bearer token of everything but `/health/*`. Default none, which keeps `listen.http` on loopback.
    pub(crate) token: Option<Secret>,
    /// The file that holds it. Default none.
    pub(crate) token_file: Option<PathBuf>,
}

/// `[limits]`: what is refused as too much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    /// The longest key. Default 65536: keys live in every index.
    pub(crate) key_bytes: u32,
    /// The largest value. Default 8388608: one value must not hold up a connection for long.
    pub(crate) value_bytes: u32,
    /// Clients connected at once. Default 10000, as in Redis.
    pub(crate) connections: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            key_bytes: 65_536,
            value_bytes: 8_388_608,
            connections: 10_000,
        }
    }
}

/// `[transfers]`: copies on the move.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Transfers {
    /// Transfers at once, in and out each. Default 2: requests come first.
    pub(crate) limit: u32,
    /// Bytes a second that this node sends in transfers. Default none: as fast as the receiver takes them.
    pub(crate) bytes_per_s: Option<u64>,
    /// How long a node keeps a copy that it has handed over. Default 10: more than any request still under way.
    pub(crate) grace_s: u64,
}

impl Default for Transfers {
    fn default() -> Transfers {
        Transfers {
            limit: 2,
            bytes_per_s: None,
            grace_s: 10,
        }
    }
}

/// `[clock]`: this machine's clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Clock {
    /// A node further than this from its peers' median does not coordinate. Default 500: far beyond NTP, far below
    /// what people notice.
    pub(crate) max_drift_ms: u64,
}

impl Default for Clock {
    fn default() -> Clock {
        Clock { max_drift_ms: 500 }
    }
}

/// `[delete]`: deleted keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Delete {
    /// How long a tombstone is kept at least, and how long a node may be away and still be drained. Default 86400: a
    /// day.
    pub(crate) grace_s: u64,
}

impl Default for Delete {
    fn default() -> Delete {
        Delete { grace_s: 86_400 }
    }
}

/// `[log]`: log lines, on stderr.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// `text` for people (default) or `json` for machines.
    pub(crate) format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, or filters such as `info,rkv_wire=debug`. Default `info`: a line an
    /// event, none a request.
    pub(crate) level: String,
}

impl Default for Log {
    fn default() -> Log {
        Log {
            format: LogFormat::Text,
            level: "info".to_owned(),
        }
    }
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For machines: an object a line.
    Json,
}

impl Config {
    /// The configuration that `sources` amount to, with the origin of each value; or all that is wrong with it.
    pub(crate) fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
        layers::load(sources)
    }

    /// What is wrong between keys, each of which is right alone; naming the keys.
    fn contradictions(&self) -> Vec<String> {
        let mut found = Vec::new();
        let (n, key) = match self.default.n {
            Some(n) => (n, "default.n"),
            None => (self.ring.replicas, "ring.replicas"),
        };
        if n > self.ring.replicas {
            found.push(format!(
                "default.n must be from 1 to ring.replicas ({}), not {n}",
                self.ring.replicas
            ));
        }
        for (name, asked) in [("default.r", self.default.r), ("default.w", self.default.w)] {
            if let Some(asked) = asked.filter(|asked| *asked > n) {
                found.push(format!("{name} must be from 1 to {key} ({n}), not {asked}"));
            }
        }
        found
    }
}

/// The machine's name as far as a node may be called so, else `node`.
fn host_name() -> String {
    let name = nix::unistd::gethostname().unwrap_or_default();
    let name = name.to_string_lossy().into_owned();
    match keys::node_name(&name) {
        Ok(()) => name,
        Err(_) => "node".to_owned(),
    }
}

/// Enums of other crates that are written as one word.
mod word {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<T: Display, S: Serializer>(it: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(it)
    }

    pub(super) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}
