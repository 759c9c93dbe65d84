//! This file answers: what may one node say to another?
//!
//! All of it is on this page. A message travels as a MessagePack header with named maps (so that versions may
//! differ) and, where it has one, a raw body behind it: bodies are slices of the receive buffer and never pass
//! through serde; nor do the plainest headers (see `plain`). Every message is one way; an answer is a message that names the request's id. Nothing here is
//! reliable: a message arrives once, late, twice (after a reconnect) or never, and each conversation says what then.

use bytes::Bytes;
use rkv_quorum::clock::Stamp;
use rkv_ring::cluster::ClusterMessage;
use rkv_ring::{ClusterId, NodeName, Partition, RingId, Slot};
use serde::{Deserialize, Serialize};

use crate::request::{Reply, Request};

/// What travels: a message and the sender's clock, which every receiver learns from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// The sender's hybrid time when it sent this.
    pub clock: u64,
    /// What it said.
    pub message: Message,
}

/// Which of the two connections to a peer a message takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Lane {
    /// Requests, answers and whatever a request waits for.
    Requests,
    /// Large transfers, which must not delay requests.
    Bulk,
}

/// A request's number, unique within the sender's boot. The answer names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub u64);

/// A service's number: the first byte of its entries in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ServiceId(pub u8);

/// Names one copy on a node: the vnode of a service for a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CopyId {
    /// Whose data.
    pub service: ServiceId,
    /// Which slots.
    pub partition: Partition,
}

/// One transfer between two copies: unique for ever (the opener's boot and a number within it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId {
    /// Boot id of the node that opened it.
    pub boot: u64,
    /// Number within that boot.
    pub number: u64,
}

/// In what capacity a node is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// It stands in the partition's row.
    Owner,
    /// It stands outside the row and keeps what it is given as a hint.
    Fallback,
    /// It is the target of a move and answers for the mover, who sent this on.
    Relayed(SessionId),
}

/// What a vnode is asked to do. Keys are store keys ([`rkv_storage`'s order]): they name service, slot and keyspace.
///
/// [`rkv_storage`'s order]: https://docs.rs/rkv-storage
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Merge the object in the body, unless a newer version is held. `hint_for` names owners that this node keeps
    /// a hint for, in the same batch.
    Put {
        /// Where.
        key: Bytes,
        /// Owners that could not be asked.
        hint_for: Vec<NodeName>,
    },
    /// Read.
    Get {
        /// What.
        key: Bytes,
    },
    /// Merge the object in the body whatever is held: read repair and drained hints, which are no new writes.
    Repair {
        /// Where.
        key: Bytes,
    },
    /// Keep a hint for owners that turned out silent; on a node outside the row the body is the object.
    Hint {
        /// Where.
        key: Bytes,
        /// Owners that have not stored it.
        missing: Vec<NodeName>,
    },
    /// What this node holds, without judging it: for `RKV.REPLICAS`.
    Inspect {
        /// What.
        key: Bytes,
    },
    /// Which keys are live, of these store keys? A page at a time, and only of what this copy holds: for those who look
    /// around.
    Keys {
        /// The first.
        from: Bytes,
        /// The first behind them; of the same partition.
        to: Bytes,
        /// How many are to be named at most.
        most: u32,
    },
    /// Another service's command; what it means is between that service and its callers.
    Custom(Bytes),
}

/// What a replica answers to a [`Command`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Stored at the level that the configuration promises.
    Stored,
    /// Refused: this newer version is held. Proves nothing about an earlier copy of the same request.
    Newer(Stamp),
    /// Refused: nothing stamped at or below this is taken, and nothing newer need be held. The write is missing here.
    Floor(Stamp),
    /// Here it is: the object is the body.
    Found,
    /// Nothing here; to a put of a deadline: not the value that it is for.
    NotFound,
    /// This copy may lack what it once acknowledged: what it has is the body (empty: nothing). Merged, not counted.
    CatchingUp,
    /// Not mine by this later or equal ring: counts as nothing.
    NotOwner(RingId),
    /// A write that was under way when its partition moved, by this ring: this copy has it, its owners may lack it. Counts
    /// as nothing; to be asked again by that ring.
    Moved(RingId),
    /// I am behind your ring and fetching it: counts as nothing.
    Behind(RingId),
    /// Too much to do. Nothing was applied.
    Busy,
    /// Failed.
    Failed {
        /// Why.
        text: String,
        /// Whether the write may nevertheless have been applied.
        maybe_applied: bool,
    },
    /// To [`Command::Inspect`]: the state of the copy; the object is the body (empty: nothing).
    Held(CopyState),
    /// To [`Command::Keys`]: the body names the first ones, as items without values.
    Keys {
        /// How many are live, of those looked at.
        live: u32,
        /// Where to go on; `None`: all were looked at.
        next: Option<Bytes>,
    },
    /// Another service's answer.
    Custom(Bytes),
}

/// The states of a copy as its node tells others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CopyState {
    /// Answers for its places.
    Serving,
    /// May lack what it once acknowledged: takes writes, does not count for reads.
    CatchingUp,
    /// Answers, and sends every write on to the target of a move.
    Sending,
    /// The target of a move is ready: everything is sent on to it until an epoch decides.
    Forwarding,
    /// The target of a move, not yet an owner.
    Receiving,
    /// No longer in the row: kept until the owner covers it.
    Draining,
    /// Only hints.
    Hinted,
    /// Nothing.
    Absent,
}

/// How much a copy holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Entries, tombstones included.
    pub entries: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// Sum, modulo 2^64, of a hash of each entry's key and digest.
    pub hash: u64,
}

impl Totals {
    /// Whether the copies are equal (to 1 in 2^64). Bytes do not tell: of equal copies one may have let go of what ended.
    pub fn is_equal_copy(&self, other: &Totals) -> bool {
        (self.entries, self.hash) == (other.entries, other.hash)
    }

    /// How many bytes so many of the entries come to, if all are alike.
    pub fn share(&self, entries: u64) -> u64 {
        let bytes = u128::from(self.bytes) * u128::from(entries);
        let share = bytes.checked_div(u128::from(self.entries)).unwrap_or(0);
        u64::try_from(share).unwrap_or(u64::MAX)
    }
}

/// Consecutive slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

/// What the entries of some slots amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sum {
    /// Entries, tombstones included.
    pub entries: u64,
    /// Sum, modulo 2^64, of a hash of each entry's key and digest.
    pub hash: u64,
}

/// What one copy holds of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u16, u16, u64, u64)", into = "(u16, u16, u64, u64)")]
pub struct SpanSum {
    /// Which slots.
    pub span: Span,
    /// What it holds of them.
    pub sum: Sum,
}

impl From<(u16, u16, u64, u64)> for SpanSum {
    fn from((first, last, entries, hash): (u16, u16, u64, u64)) -> SpanSum {
        SpanSum {
            span: Span { first, last },
            sum: Sum { entries, hash },
        }
    }
}

impl From<SpanSum> for (u16, u16, u64, u64) {
    fn from(SpanSum { span, sum }: SpanSum) -> (u16, u16, u64, u64) {
        (span.first, span.last, sum.entries, sum.hash)
    }
}

/// All that one node may say to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Message {
    // ---- one request, one replica -------------------------------------------------------------------------------
    /// Asks the vnode of (service, partition of slot). The receiver answers only if the sender's ring is its own:
    /// who is behind pulls first.
    Command {
        /// Names it.
        id: RequestId,
        /// Whose vnode.
        service: ServiceId,
        /// The key's slot.
        slot: Slot,
        /// The ring that the sender routed by.
        ring: RingId,
        /// In what capacity.
        role: Role,
        /// What remains of the request's time; void afterwards.
        within_ms: u32,
        /// What to do.
        command: Command,
        /// The object, where the command has one.
        #[serde(skip)]
        body: Bytes,
    },
    /// Answers a [`Message::Command`].
    Answer {
        /// Of which.
        id: RequestId,
        /// What.
        answer: Answer,
        /// The object, where the answer has one.
        #[serde(skip)]
        body: Bytes,
    },

    // ---- a move A -> B: A speaks first -----------------------------------------------------------------------------
    /// A: begin. Repeated until answered.
    HandoffOpen {
        /// Which copy.
        copy: CopyId,
        /// The session that begins.
        session: SessionId,
        /// The ring that lists the move.
        ring: RingId,
        /// The move's attempt in that ring.
        attempt: u32,
        /// Whether B may keep what earlier sessions of the same move left there; otherwise it begins with an empty copy.
        #[serde(default)]
        resume: bool,
        /// The highest hybrid time of a trace of something deleted that A has let go of.
        #[serde(default)]
        reaped: u64,
    },
    /// B: begun, or why not (A tries again later).
    HandoffOpened {
        /// Which copy.
        copy: CopyId,
        /// The session.
        session: SessionId,
        /// What an earlier session left and B kept: only what differs is to be sent.
        #[serde(default)]
        kept: Option<Totals>,
        /// Why not, in words for people.
        refused: Option<String>,
        /// Whether that is only because others come in: there may be a place at any moment.
        #[serde(default)]
        full: bool,
    },
    /// A: entries of its snapshot, in the body. Merged, never overwriting.
    HandoffItems {
        /// Which copy.
        copy: CopyId,
        /// The session.
        session: SessionId,
        /// 1, 2, 3, ... of this kind in this session.
        seq: u64,
        /// Items.
        #[serde(skip)]
        body: Bytes,
    },
    /// A: a write that it applied since the session began, in its order.
    HandoffForward {
        /// Which copy.
        copy: CopyId,
        /// The session.
        session: SessionId,
        /// 1, 2, 3, ... of this kind in this session.
        seq: u64,
        /// One item.
        #[serde(skip)]
        body: Bytes,
    },
    /// B: all items and forwards up to these numbers are stored.
    HandoffTook {
        /// Which copy.
        copy: CopyId,
        /// The session.
        session: SessionId,
        /// Items taken.
        items: u64,
        /// Forwards taken.
        forwards: u64,
    },
    /// A: at this point of my order my copy amounts to `totals`.
    HandoffMark {
        /// Which copy.
        copy: CopyId,
        /// The session.
        session: SessionId,
        /// All items sent.
        items: u64,
        /// Forwards sent before the mark.
        forwards: u64,
        /// What A holds at the mark.
        totals: Totals,
    },
    /// B: at that mark mine amounts to the same (and it is synced), or not.
    HandoffMarked {
        /// Which copy.
        copy: CopyId,
        /// The session.
        session: SessionId,
        /// The mark: forwards before it.
        forwards: u64,
        /// Whether the totals were equal.
        equal: bool,
    },
    /// Either: this session is over.
    HandoffBroken {
        /// Which copy.
        copy: CopyId,
        /// The session.
        session: SessionId,
        /// Why, in words for people.
        reason: String,
    },

    // ---- copies that are compared, drained or filled ---------------------------------------------------------------
    /// This is what I hold of these slots: of which do you hold something else?
    AskSums {
        /// Names it.
        id: RequestId,
        /// Which copy.
        copy: CopyId,
        /// The sender's ring.
        ring: RingId,
        /// Whether the sender wants what it lacks (no: it only wants to get rid of its own, and the answer is said only
        /// of a synced state).
        both_ways: bool,
        /// What the sender holds of each span.
        sums: Vec<SpanSum>,
    },
    /// Answers [`Message::AskSums`].
    SumsAre {
        /// Of which.
        id: RequestId,
        /// `None`: compared. Otherwise why not.
        refused: Option<Answer>,
        /// What the answerer holds of those spans that differ, as they were asked about.
        differ: Vec<SpanSum>,
        /// The highest hybrid time of a trace of something deleted that the answerer has let go of.
        #[serde(default)]
        reaped: u64,
    },
    /// Here are the digests of all my entries in `from..to`: which do you lack, and what do you hold that I lack?
    Compare {
        /// Names it.
        id: RequestId,
        /// Which copy.
        copy: CopyId,
        /// The sender's ring.
        ring: RingId,
        /// First store key of the range.
        from: Bytes,
        /// The first store key behind it.
        to: Bytes,
        /// Whether the sender wants what it lacks (no: it only wants to get rid of its own).
        both_ways: bool,
        /// Whether traces of what was deleted, old enough to go, are left alone where one of the two holds nothing of the key.
        #[serde(default)]
        spares: bool,
        /// Items of store key and 8-byte digest, in key order.
        #[serde(skip)]
        body: Bytes,
    },
    /// Answers [`Message::Compare`]; said only of a synced state.
    Compared {
        /// Of which.
        id: RequestId,
        /// Positions in the list whose entries the answerer lacks or holds differently.
        lacking: Vec<u32>,
        /// Those of them of whose keys the answerer holds nothing, if the asker spares traces.
        #[serde(default)]
        absent: Vec<u32>,
        /// Whether the answerer holds traces that were spared.
        #[serde(default)]
        spared: bool,
        /// `None`: compared. Otherwise why not.
        refused: Option<Answer>,
        /// Up to where the answerer's own entries were compared; the rest is asked again.
        upto: Bytes,
        /// Items that the asker lacks or holds differently.
        #[serde(skip)]
        body: Bytes,
    },
    /// Merge these items (drained hints, leftovers, what [`Message::Compared`] lacked) and sync before answering.
    Fill {
        /// Names it.
        id: RequestId,
        /// Which copy.
        copy: CopyId,
        /// The sender's ring.
        ring: RingId,
        /// Whether an exchange found that the receiver lacks them: what they change is a repair.
        #[serde(default)]
        mends: bool,
        /// Items.
        #[serde(skip)]
        body: Bytes,
    },
    /// Answers [`Message::Fill`]: `Stored` after fsync, or a refusal.
    Filled {
        /// Of which.
        id: RequestId,
        /// How many of the items changed anything.
        #[serde(default)]
        changed: u32,
        /// How it went.
        answer: Answer,
    },
    /// For which partitions do you hold hints whose votes counted?
    AskHints {
        /// Names it.
        id: RequestId,
    },
    /// Which copies do you hold hints of, or a copy that is no plain owner's?
    AskUnsettled {
        /// Names it.
        id: RequestId,
    },
    /// Answers [`Message::AskUnsettled`].
    UnsettledAre {
        /// Of which.
        id: RequestId,
        /// By which ring the sender routes.
        ring: RingId,
        /// The copies concerned.
        copies: Vec<CopyId>,
    },
    /// Answers [`Message::AskHints`].
    HintsAre {
        /// Of which.
        id: RequestId,
        /// The copies concerned.
        counted: Vec<CopyId>,
    },

    // ---- the cluster ---------------------------------------------------------------------------------------------------
    /// Ring, membership, epochs: see [`ClusterMessage`].
    Cluster(Box<ClusterMessage>),
    /// Tell about yourself, for people.
    AskReport {
        /// Names it.
        id: RequestId,
    },
    /// Answers [`Message::AskReport`].
    ReportIs {
        /// Of which.
        id: RequestId,
        /// The report.
        report: Box<Report>,
    },
    /// How do your copies compare with their peers', and have them compared now if so asked.
    AskRepair {
        /// Names it.
        id: RequestId,
        /// The sender's ring.
        ring: RingId,
        /// Only of this partition.
        partition: Option<Partition>,
        /// Whether exchanges are to begin.
        begin: bool,
    },
    /// Answers [`Message::AskRepair`].
    RepairIs {
        /// Of which.
        id: RequestId,
        /// Copies of which an exchange with each peer that is up begins now.
        begun: u32,
        /// All copies that were asked about.
        copies: Vec<RepairReport>,
    },

    // ---- clients ------------------------------------------------------------------------------------------------------
    /// A client asks. All that one may say: see [`Message::is_clients`].
    Request {
        /// Names it, on this connection.
        id: RequestId,
        /// What remains of its time.
        within_ms: u32,
        /// A member of which cluster is asked, where the client knows: a node of another one answers nothing.
        #[serde(default)]
        cluster: Option<ClusterId>,
        /// What for.
        request: Request,
        /// The value, where the request has one.
        #[serde(skip)]
        body: Bytes,
    },
    /// Answers a [`Message::Request`], on the connection that it came by.
    Reply {
        /// Of which.
        id: RequestId,
        /// The ring that the node routes by: a client that knows an older one pulls it.
        ring: RingId,
        /// What came of it.
        reply: Box<Reply>,
        /// The value, where the reply has one.
        #[serde(skip)]
        body: Bytes,
    },
}

/// What a node tells about itself, for people: totals and transfers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Report {
    /// The ring it routes by.
    pub ring: Option<RingId>,
    /// Digest of that ring, in hex.
    pub digest: String,
    /// Its version.
    pub version: String,
    /// Its hybrid time when it told this: no stamp off its clock is above. Learned from the envelope.
    #[serde(skip)]
    pub clock: u64,
    /// The highest hybrid time of anything that it holds, hints too.
    #[serde(default)]
    pub newest: u64,
    /// Copies held: partition, state, totals (of all services).
    pub copies: Vec<CopyReport>,
    /// Hints held: for whom and how many.
    pub hints: Vec<HintReport>,
    /// Transfers that it runs or waits to run.
    pub transfers: Vec<TransferReport>,
    /// What people should know of its storage.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// How many entries are but traces of what was deleted or has ended.
    #[serde(default)]
    pub traces: u64,
    /// What traces that are old enough to go wait for, if it is more than their turn.
    #[serde(default)]
    pub reaping_waits_for: Option<String>,
}

/// One copy in a [`Report`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CopyReport {
    /// Which.
    pub copy: CopyId,
    /// In what state.
    pub state: CopyState,
    /// How much.
    pub totals: Totals,
    /// How many of its entries are values: keys that people would count, expired ones that are not swept among them.
    #[serde(default)]
    pub live: u64,
    /// Whether it has everything that it ever acknowledged, and acknowledges by itself.
    #[serde(default)]
    pub whole: bool,
}

/// How one copy compares with its peers', in a [`Message::RepairIs`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RepairReport {
    /// Which.
    pub copy: CopyId,
    /// In what state.
    pub state: CopyState,
    /// Unix milliseconds since when it has been exchanged in full with each other owner; `None`: not with all since the
    /// node started.
    pub exchanged_ms: Option<u64>,
    /// Entries of it that exchanges have mended since the node started.
    pub repaired: u64,
    /// Slots that are known to differ from a peer's now.
    pub divergence: u64,
    /// Whom it is compared with now.
    pub with: Option<NodeName>,
    /// Whom it is to be compared with, because somebody asked for it.
    pub asked_for: Vec<NodeName>,
    /// Why an exchange was given up last, if none has ended since.
    pub last_error: Option<String>,
}

/// Hints held, in a [`Report`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HintReport {
    /// For the owners of which copy.
    pub copy: CopyId,
    /// How many keys.
    pub keys: u64,
    /// Owners that it waits for.
    pub waiting_for: Vec<NodeName>,
}

/// What a transfer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransferKind {
    /// A place of a row changes hands.
    Ownership,
    /// An owner gets what it missed.
    Hinted,
    /// A copy is compared with its peers and filled.
    Repair,
    /// The number of partitions changes.
    Resize,
}

/// One transfer in a [`Report`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TransferReport {
    /// What for.
    pub kind: TransferKind,
    /// Which copy.
    pub copy: CopyId,
    /// Source.
    pub from: NodeName,
    /// Target.
    pub to: NodeName,
    /// Whether data flows now.
    pub active: bool,
    /// Whether the cluster counts as settled with it still there (an old copy kept for its grace).
    pub settled: bool,
    /// Entries sent.
    pub keys_done: u64,
    /// Entries to send.
    pub keys_total: u64,
    /// Bytes sent.
    pub bytes_done: u64,
    /// Bytes to send.
    pub bytes_total: u64,
    /// Rate over the last seconds.
    pub keys_per_s: u64,
    /// Why it does not move on.
    pub waiting_for: Option<String>,
    /// What went wrong last.
    pub last_error: Option<String>,
}

impl Message {
    /// The raw part, if this kind of message has one.
    pub fn body(&self) -> Option<&Bytes> {
        match self {
            Message::Command { body, .. }
            | Message::Answer { body, .. }
            | Message::HandoffItems { body, .. }
            | Message::HandoffForward { body, .. }
            | Message::Compare { body, .. }
            | Message::Compared { body, .. }
            | Message::Fill { body, .. }
            | Message::Request { body, .. }
            | Message::Reply { body, .. } => Some(body),
            _ => None,
        }
    }

    /// Sets the raw part; ignored by messages that have none.
    pub fn set_body(&mut self, bytes: Bytes) {
        match self {
            Message::Command { body, .. }
            | Message::Answer { body, .. }
            | Message::HandoffItems { body, .. }
            | Message::HandoffForward { body, .. }
            | Message::Compare { body, .. }
            | Message::Compared { body, .. }
            | Message::Fill { body, .. }
            | Message::Request { body, .. }
            | Message::Reply { body, .. } => *body = bytes,
            _ => {}
        }
    }

    /// Whether a client may say it. Who has proved only the clients' secret and says anything else is cut off.
    pub fn is_clients(&self) -> bool {
        matches!(self, Message::Request { .. })
    }

    /// Which connection it takes. Only what is large and nobody waits for goes by the bulk lane.
    pub fn lane(&self) -> Lane {
        match self {
            Message::HandoffItems { .. }
            | Message::Compare { .. }
            | Message::Compared { .. }
            | Message::Fill { .. }
            | Message::RepairIs { .. }
            | Message::ReportIs { .. } => Lane::Bulk,
            _ => Lane::Requests,
        }
    }
}
