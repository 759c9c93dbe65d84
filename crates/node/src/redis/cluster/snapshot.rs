//! This file answers: what is the ring as clients of clusters see it?
//!
//! Members with ids and addresses, and for each partition its range of slots with the owners in order. Made once for a
//! view; what is long is written down once for each protocol.

use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use rkv_quorum::policy::majority;
use rkv_resp::{Protocol, Reply};
use rkv_ring::{Addresses, NodeName, Status};
use rkv_vnode::View;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::told;

/// One view, ready to be told.
pub(super) struct Snapshot {
    view: Arc<View>,
    /// Nodes that clients are not sent to although nobody suspects them yet.
    lost: Vec<NodeName>,
    /// All members, by name.
    pub(super) nodes: Vec<Node>,
    me: usize,
    /// One a partition, in the order of slots.
    pub(super) ranges: Vec<Range>,
    written: [Written; 3],
}

/// A reply's bytes in each protocol, once somebody has asked for them.
#[derive(Default)]
struct Written {
    resp2: OnceLock<Bytes>,
    resp3: OnceLock<Bytes>,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// 40 hexadecimal digits: the life of its data folder, and its name. So it outlives restarts, as the data does.
    pub(super) id: String,
    /// Likewise; each node is a shard of its own.
    pub(super) shard: String,
    /// Where clients reach it.
    pub(super) host: String,
    pub(super) port: u16,
    /// Where other nodes do.
    pub(super) peer_port: u16,
    pub(super) is_me: bool,
    /// Nobody suspects it, and the connection to it did not break lately.
    pub(super) is_up: bool,
    /// It asked to join, and nobody committed that yet.
    pub(super) is_joining: bool,
}

/// The slots of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: u16,
    pub(super) last: u16,
    /// Owners that are up, in the row's order, each once; they are numbers in [`Snapshot::nodes`].
    pub(super) up: Vec<usize>,
    /// Those that are not.
    pub(super) down: Vec<usize>,
    /// Most places of the row are served.
    pub(super) has_quorum: bool,
}

impl Snapshot {
    /// The snapshot of a view; the connections to the `lost` broke lately; `own` is where clients reach this node.
    pub(super) fn of(view: Arc<View>, lost: Vec<NodeName>, own: &str) -> Snapshot {
        let ring = view.ring().clone();
        let members = ring.members.iter();
        let mut nodes: Vec<Node> = members
            .map(|(name, member)| node(&view, name, member.incarnation.0, &member.addresses, own))
            .collect();
        for (node, (name, member)) in nodes.iter_mut().zip(&ring.members) {
            node.is_joining = member.status == Status::Joining;
            node.is_up &= !lost.contains(name);
        }
        if !nodes.iter().any(|node| node.is_me) {
            // The cluster let this node go.
            nodes.push(node(&view, view.me(), 0, &Addresses::default(), own));
        }
        let number = |name: &NodeName| ring.members.keys().position(|known| known == name);
        let majority = usize::from(majority(ring.replicas));
        let ranges = ring.partitions.partitions().map(|partition| {
            let row = ring.row(partition);
            let served = row.iter().filter(|name| view.is_up(name)).count();
            let mut owners: Vec<usize> = Vec::with_capacity(row.len());
            for number in row.iter().filter_map(number) {
                if !owners.contains(&number) {
                    owners.push(number);
                }
            }
            let (up, down) = owners.into_iter().partition(|&owner| nodes[owner].is_up);
            let slots = ring.partitions.slots(partition);
            Range {
                first: *slots.start(),
                last: *slots.end(),
                up,
                down,
                has_quorum: served >= majority && view.serves(),
            }
        });
        Snapshot {
            ranges: ranges.collect(),
            me: nodes.iter().position(|node| node.is_me).unwrap_or(0),
            nodes,
            view,
            lost,
            written: Default::default(),
        }
    }

    /// Whether it was made of this very view, with the same nodes lost.
    pub(super) fn is_of(&self, view: &Arc<View>, lost: &[NodeName]) -> bool {
        Arc::ptr_eq(&self.view, view) && self.lost == lost
    }

    /// The number of the ring.
    pub(super) fn epoch(&self) -> u64 {
        self.view.id().epoch.0
    }

    /// This node.
    pub(super) fn me(&self) -> &Node {
        &self.nodes[self.me]
    }

    /// The member of this id.
    pub(super) fn node(&self, id: &[u8]) -> Option<&Node> {
        let mut nodes = self.nodes.iter();
        nodes.find(|node| id.eq_ignore_ascii_case(node.id.as_bytes()))
    }

    /// CLUSTER SLOTS
    pub(super) fn slots(&self, protocol: Protocol) -> Reply {
        self.written(0, protocol, told::slots)
    }

    /// CLUSTER SHARDS
    pub(super) fn shards(&self, protocol: Protocol) -> Reply {
        self.written(1, protocol, told::shards)
    }

    /// CLUSTER NODES
    pub(super) fn nodes(&self, protocol: Protocol) -> Reply {
        self.written(2, protocol, told::nodes)
    }

    fn written(&self, which: usize, protocol: Protocol, tell: fn(&Snapshot) -> Reply) -> Reply {
        let written = match protocol {
            Protocol::Resp2 => &self.written[which].resp2,
            Protocol::Resp3 => &self.written[which].resp3,
        };
        let bytes = written.get_or_init(|| {
            let mut out = BytesMut::new();
            tell(self).write(protocol, &mut out);
            out.freeze()
        });
        Reply::Written(bytes.clone())
    }
}

fn node(view: &View, name: &NodeName, life: u128, told: &Addresses, own: &str) -> Node {
    let is_me = name == view.me();
    let (host, port) = split(if is_me { own } else { &told.redis });
    let short = (xxh3_64(name.as_str().as_bytes()) >> 32) as u32;
    Node {
        id: format!("{life:032x}{short:08x}"),
        shard: format!("{:032x}{short:08x}", xxh3_128(&life.to_be_bytes())),
        host,
        port,
        peer_port: split(&told.peer).1,
        is_me,
        is_up: view.is_up(name),
        is_joining: false,
    }
}

/// `host:port` in its parts; what is no address has port 0. An IPv6 host comes without brackets, as Redis tells it.
fn split(address: &str) -> (String, u16) {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (host.to_owned(), port.parse().unwrap_or(0))
}
