//! This file answers: what do the node and its callers say to each other, field by field?
//!
//! Scripts read the same documents, so fields are only ever added. Who reads is lenient about what it can do without:
//! a node may be older than the command line.

use serde::{Deserialize, Serialize};

/// `POST /v1/cluster/join`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct JoinRequest {
    /// Peer address of a node of the cluster to join.
    pub(crate) peer: String,
}

/// `POST /v1/cluster/leave`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LeaveRequest {
    /// Who is to leave; none: the node that is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<String>,
}

/// `POST /v1/cluster/remove`, `/v1/cluster/down`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AboutNode {
    /// Whom it is about.
    pub(crate) node: String,
}

/// `POST /v1/cluster/replace`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ReplaceRequest {
    /// Who goes.
    pub(crate) node: String,
    /// Who is joining and takes its places.
    pub(crate) with: String,
    /// Whether nothing is handed off.
    pub(crate) force: bool,
}

/// `POST /v1/cluster/weight`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WeightRequest {
    /// Whose.
    pub(crate) node: String,
    /// Relative to the others'.
    pub(crate) weight: f64,
}

/// `POST /v1/cluster/zone`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ZoneRequest {
    /// Whose.
    pub(crate) node: String,
    /// None: that of all who name none.
    pub(crate) zone: Option<String>,
}

/// `POST /v1/cluster/commit`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CommitRequest {
    /// The plan that was seen; none: whatever is staged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) plan: Option<String>,
}

/// `POST /v1/ping`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PingRequest {
    /// What is routed through the ring; the answer is one more.
    pub(crate) value: i64,
}

/// `POST /v1/kv/get`, `/v1/kv/put`, `/v1/kv/delete`. Exactly one of `key` and `key_base64` is given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct KvRequest {
    /// The key, when it is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    /// The key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key_base64: Option<String>,
    /// The value of a put.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value_base64: Option<String>,
    /// None: `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keyspace: Option<String>,
    /// Copies asked; none: the keyspace's. So are the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) n: Option<u32>,
    /// Answers that a get waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) r: Option<u32>,
    /// Copies that a put or delete waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) w: Option<u32>,
    /// Of the answers to a get, how many must be owners'.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pr: Option<u32>,
    /// Of the copies of a put or delete, how many must be owners'.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pw: Option<u32>,
    /// How long it may take; none: `request.timeout_ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeout_ms: Option<u64>,
    /// What an earlier answer gave as its context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) context: Option<String>,
}

/// One replica's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Replica {
    /// Who answered.
    pub(crate) node: String,
    /// For which partition.
    pub(crate) partition: u16,
    /// For which place of the row.
    pub(crate) replica: u8,
    /// `primary` or `fallback`.
    pub(crate) role: String,
    /// `ok`, `notfound`, `stale`, `timeout`, `busy` or `error: TEXT`.
    pub(crate) result: String,
}

/// The answer to a put or delete.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PutAnswer {
    /// Always; a failure is an error document.
    pub(crate) ok: bool,
    /// `finished`.
    pub(crate) reason: String,
    /// To be given with the next write of this key.
    #[serde(default)]
    pub(crate) context: Option<String>,
    /// Those that had answered when the quorum was met.
    #[serde(default)]
    pub(crate) replicas: Vec<Replica>,
}

/// The answer to a get.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct GetAnswer {
    /// Whether there is a value.
    pub(crate) found: bool,
    /// The value; null when it is not UTF-8 or not there.
    pub(crate) value: Option<String>,
    /// The value; null when it is not there.
    pub(crate) value_base64: Option<String>,
    /// To be given with the next write of this key.
    #[serde(default)]
    pub(crate) context: Option<String>,
    /// `finished`.
    pub(crate) reason: String,
    /// Those that had answered when the quorum was met.
    #[serde(default)]
    pub(crate) replicas: Vec<Replica>,
}

/// The answer to a ping.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Pong {
    /// One more than what was sent.
    pub(crate) pong: i64,
    /// Who answered.
    pub(crate) node: String,
    /// For which partition.
    pub(crate) partition: u16,
}

/// A member of the cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// Its name.
    pub(crate) name: String,
    /// `joining`, `valid`, `leaving`, `exiting` or `down`.
    pub(crate) status: String,
    /// Whether the node that answers can reach it.
    #[serde(default = "yes")]
    pub(crate) reachable: bool,
    /// Share of first replicas now, in percent.
    pub(crate) ring_percent: f64,
    /// The same when all transfers are done; null when nothing is pending.
    pub(crate) pending_percent: Option<f64>,
    /// Copies held.
    #[serde(default)]
    pub(crate) vnodes: usize,
    /// Its peer address. It and the rest are null in a plan.
    #[serde(default)]
    pub(crate) peer: Option<String>,
    /// Its Redis address.
    #[serde(default)]
    pub(crate) redis: Option<String>,
    /// Its HTTP address.
    #[serde(default)]
    pub(crate) http: Option<String>,
    /// Its zone.
    #[serde(default)]
    pub(crate) zone: Option<String>,
    /// Its weight.
    #[serde(default)]
    pub(crate) weight: Option<f64>,
    /// The version that it runs.
    #[serde(default)]
    pub(crate) version: Option<String>,
}

fn yes() -> bool {
    true
}

/// `GET /v1/cluster/members`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Members {
    /// The cluster's id.
    pub(crate) cluster: String,
    /// The ring's number.
    pub(crate) epoch: u64,
    /// Who writes the next ring.
    pub(crate) claimant: Option<String>,
    /// Everybody, by name.
    pub(crate) members: Vec<Member>,
}

/// `GET /v1/cluster/status`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ClusterStatus {
    /// Same ring everywhere, no transfer, no hint for a reachable member.
    pub(crate) settled: bool,
    /// Every reachable member holds the same ring.
    pub(crate) ring_ready: bool,
    /// The ring's number.
    pub(crate) epoch: u64,
    /// Its digest, in hex.
    pub(crate) ring_digest: String,
    /// Transfers that wait.
    pub(crate) transfers_pending: u64,
    /// Transfers that run.
    pub(crate) transfers_active: u64,
    /// Hints held anywhere.
    pub(crate) hints: u64,
    /// Members that cannot be reached.
    pub(crate) unreachable: Vec<String>,
    /// Whether operators hold transfers.
    #[serde(default)]
    pub(crate) handoff_paused: bool,
}

/// `GET /v1/cluster/ring`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RingTable {
    /// The ring's number.
    pub(crate) epoch: u64,
    /// Q.
    pub(crate) partitions: u16,
    /// N.
    pub(crate) replicas: u8,
    /// A row of N owners a partition.
    pub(crate) owners: Vec<Vec<String>>,
}

/// `GET /v1/cluster/ring?key=KEY`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct KeyPlace {
    /// The key.
    pub(crate) key: String,
    /// Its slot.
    pub(crate) slot: u16,
    /// Its partition.
    pub(crate) partition: u16,
    /// Who is asked for it now, in order.
    pub(crate) preflist: Vec<Place>,
}

/// One place of a preference list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Who.
    pub(crate) node: String,
    /// For which place of the row.
    pub(crate) replica: u8,
    /// `primary` or `fallback`.
    pub(crate) role: String,
}

/// A staged change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Change {
    /// `join`, `leave`, ...
    pub(crate) action: String,
    /// Whom it is about.
    pub(crate) node: String,
    /// Who takes its places.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) with: Option<String>,
    /// Its share from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) weight: Option<f64>,
    /// Its failure domain from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) zone: Option<String>,
}

/// A transfer that a plan would start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlannedTransfer {
    /// `ownership`.
    pub(crate) kind: String,
    /// Of which partition.
    pub(crate) partition: u16,
    /// From whom.
    pub(crate) from: String,
    /// To whom.
    pub(crate) to: String,
    /// Keys that the source holds; 0 when it cannot be asked.
    #[serde(default)]
    pub(crate) keys: u64,
    /// Their bytes.
    #[serde(default)]
    pub(crate) bytes: u64,
}

/// `GET /v1/cluster/plan`. With nothing staged `plan` is null and the lists are empty.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Its id.
    pub(crate) plan: Option<String>,
    /// The ring's number.
    #[serde(default)]
    pub(crate) epoch: u64,
    /// What is staged.
    #[serde(default)]
    pub(crate) changes: Vec<Change>,
    /// Members as the commit leaves them.
    #[serde(default)]
    pub(crate) members: Vec<Member>,
    /// What will be copied.
    #[serde(default)]
    pub(crate) transfers: Vec<PlannedTransfer>,
    /// Copies that are lost, by who fills them again from the other owners.
    #[serde(default)]
    pub(crate) refills: Vec<PlannedTransfer>,
    /// What should be known before.
    #[serde(default)]
    pub(crate) warnings: Vec<String>,
}

/// The answer to join and leave.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Staged {
    /// Always.
    pub(crate) ok: bool,
    /// What has been staged.
    pub(crate) staged: Change,
}

/// `POST /v1/cluster/recover`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RecoverRequest {
    /// Who is gone for good.
    pub(crate) without: Vec<String>,
    /// Whether what may be lost is accepted.
    pub(crate) accept_data_loss: bool,
}

/// The answer to recover.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Recovered {
    /// Always.
    pub(crate) ok: bool,
    /// Who was left behind.
    pub(crate) without: Vec<String>,
    /// The ring without them.
    pub(crate) epoch: u64,
}

/// The answer to down.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MarkedDown {
    /// Always.
    pub(crate) ok: bool,
    /// Who is marked.
    pub(crate) down: String,
}

/// The answer to cancel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Cancelled {
    /// Always.
    pub(crate) ok: bool,
    /// Transfers that were given up.
    #[serde(default)]
    pub(crate) cancelled: u64,
}

/// The answer to commit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Committed {
    /// Always.
    pub(crate) ok: bool,
    /// The plan that is carried out.
    pub(crate) plan: String,
    /// The ring that carries it out.
    pub(crate) epoch: u64,
    /// How many transfers it takes.
    #[serde(default)]
    pub(crate) transfers: u64,
}

/// `POST /v1/cluster/handoff`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub(crate) enum HandoffRequest {
    /// Hold moves, hints and anti-entropy.
    Pause,
    /// Let them go on.
    Resume,
    /// So many at once on each node, in and out; null: as each node's configuration says.
    Limit {
        /// 1 or more.
        limit: Option<u64>,
    },
}

/// `GET /v1/cluster/handoff`, and the answer to a change of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct HandoffSetting {
    /// Whether transfers are held.
    pub(crate) paused: bool,
    /// How many at once on the node that answers.
    pub(crate) limit: u64,
    /// Whether operators said so, for all nodes.
    pub(crate) limit_is_set: bool,
    /// The ring's number.
    #[serde(default)]
    pub(crate) epoch: u64,
}

/// The answer to clear.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Cleared {
    /// Always.
    pub(crate) ok: bool,
    /// What was staged and is no more.
    #[serde(default)]
    pub(crate) cleared: Vec<Change>,
}

/// A transfer that waits or runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Transfer {
    /// `ownership`, `hinted`, `repair` or `resize`.
    pub(crate) kind: String,
    /// Of which partition.
    pub(crate) partition: u16,
    /// From whom.
    pub(crate) from: String,
    /// To whom.
    pub(crate) to: String,
    /// `waiting` or `active`.
    pub(crate) state: String,
    /// Keys sent.
    #[serde(default)]
    pub(crate) keys_done: u64,
    /// Keys in all, as far as known.
    #[serde(default)]
    pub(crate) keys_total: u64,
    /// Bytes sent.
    #[serde(default)]
    pub(crate) bytes_done: u64,
    /// Bytes in all, as far as known.
    #[serde(default)]
    pub(crate) bytes_total: u64,
    /// The rate.
    #[serde(default)]
    pub(crate) keys_per_s: f64,
    /// How long it will take, if that can be said.
    #[serde(default)]
    pub(crate) eta_s: Option<f64>,
    /// Why it waits.
    #[serde(default)]
    pub(crate) waiting_for: Option<String>,
    /// Why it failed the last time.
    #[serde(default)]
    pub(crate) last_error: Option<String>,
}

/// `GET /v1/cluster/transfers`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Transfers {
    /// All of the cluster, as far as the node that answers knows.
    pub(crate) transfers: Vec<Transfer>,
}

/// `POST /v1/cluster/repair`: which copies; all when nothing is said.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RepairRequest {
    /// Of one partition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) partition: Option<u16>,
    /// Of one member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<String>,
}

/// What comes of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RepairBegun {
    /// Copies that are compared with their peers.
    pub(crate) begun: u64,
    /// Members with copies concerned that did not answer.
    pub(crate) unreachable: Vec<String>,
}

/// How one copy compares with its peers'.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Repair {
    /// Whose copy.
    pub(crate) node: String,
    /// Of which partition.
    pub(crate) partition: u16,
    /// `idle`, `exchanging`, `waiting`, or what brings it up to date otherwise.
    pub(crate) state: String,
    /// With whom.
    pub(crate) with: Option<String>,
    /// How long ago it had been exchanged in full with every other owner.
    pub(crate) last_full_exchange_s_ago: Option<u64>,
    /// Keys of it that exchanges mended.
    pub(crate) keys_repaired: u64,
    /// Slots that are known to differ.
    pub(crate) divergence: u64,
    /// Why an exchange was given up.
    pub(crate) last_error: Option<String>,
}

/// `GET /v1/cluster/repair`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Repairs {
    /// All copies asked about.
    pub(crate) repairs: Vec<Repair>,
    /// Members with copies concerned that did not answer.
    pub(crate) unreachable: Vec<String>,
}

/// `GET /v1/cluster/can-stop`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CanStop {
    /// The answer.
    pub(crate) can_stop: bool,
    /// About whom.
    pub(crate) node: String,
    /// Partitions that would lose their quorum.
    #[serde(default)]
    pub(crate) partitions: Vec<u16>,
    /// Why not.
    #[serde(default)]
    pub(crate) reason: Option<String>,
}

/// Partitions by health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartitionHealth {
    /// All primaries up and no hints.
    pub(crate) ok: u64,
    /// A majority up.
    pub(crate) degraded: u64,
    /// No majority up.
    pub(crate) no_quorum: u64,
}

/// `GET /v1/status`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Status {
    /// `ok`, `degraded` or `no-quorum`.
    pub(crate) health: String,
    /// Partitions by health.
    pub(crate) partitions: PartitionHealth,
    /// As in [`Members`].
    pub(crate) members: Vec<Member>,
    /// As in [`Transfers`].
    pub(crate) transfers: Vec<Transfer>,
    /// Who answers.
    #[serde(default)]
    pub(crate) node: Option<String>,
    /// The cluster's name.
    #[serde(default)]
    pub(crate) cluster: Option<String>,
    /// The ring's number.
    #[serde(default)]
    pub(crate) epoch: Option<u64>,
    /// Who writes the next ring.
    #[serde(default)]
    pub(crate) claimant: Option<String>,
    /// Hints held anywhere.
    #[serde(default)]
    pub(crate) hints: Option<u64>,
    /// Traces of what was deleted or has ended, once for each copy.
    #[serde(default)]
    pub(crate) traces: u64,
    /// What those that are old enough to go wait for.
    #[serde(default)]
    pub(crate) reaping_waits_for: Vec<String>,
    /// Whether operators hold transfers.
    #[serde(default)]
    pub(crate) handoff_paused: bool,
    /// What an operator should look at: folders set aside, a configuration that differs from the ring, a full disk.
    #[serde(default)]
    pub(crate) warnings: Vec<String>,
}
