//! This file answers: how are questions about the cluster answered?
//!
//! The ring is told as slots: any node takes any key, so nothing is ever redirected; clients that know of clusters go
//! straight to the first live replica. Answers come from a [`Snapshot`] of the view that requests are routed by, made
//! anew when that changed; the long ones are kept as bytes.

mod snapshot;
mod told;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rkv_resp::node::{AboutNode, unknown_node};
use rkv_resp::{Protocol, Reply};
use rkv_ring::Slot;

use self::snapshot::Snapshot;
use super::server::Server;

/// A node whose connection broke is left out for so long: within this time gossip says whether it is down. Clients ask
/// again at once when a node dies, and would be sent to it once more.
const LOST_MS: u64 = 2_000;

/// The snapshot last made.
#[derive(Default)]
pub(super) struct Snapshots {
    last: ArcSwapOption<Snapshot>,
}

impl Snapshots {
    /// That of the view by which requests are routed now.
    fn now(&self, server: &Server) -> Arc<Snapshot> {
        let view = server.engine.view();
        let lost = server.engine.lost_lately(LOST_MS);
        if let Some(last) = self.last.load_full()
            && last.is_of(&view, &lost)
        {
            return last;
        }
        let own = if server.config.announced.is_empty() {
            server.local.to_string()
        } else {
            server.config.announced.clone()
        };
        let made = Arc::new(Snapshot::of(view, lost, &own));
        self.last.store(Some(made.clone()));
        made
    }
}

/// The answer to a question about the cluster; none: it is about something else.
pub(super) fn answer(server: &Server, question: &AboutNode, protocol: Protocol) -> Option<Reply> {
    let snapshot = || server.snapshots.now(server);
    Some(match question {
        AboutNode::ClusterSlots => snapshot().slots(protocol),
        AboutNode::ClusterShards => snapshot().shards(protocol),
        AboutNode::ClusterNodes => snapshot().nodes(protocol),
        AboutNode::ClusterInfo => Reply::Verbatim(told::info(&snapshot()).into()),
        AboutNode::ClusterMyId => Reply::bulk(snapshot().me().id.clone()),
        AboutNode::ClusterMyShardId => Reply::bulk(snapshot().me().shard.clone()),
        AboutNode::ClusterLinks => told::links(&snapshot()),
        AboutNode::ClusterKeySlot(key) => Reply::Integer(i64::from(Slot::of(key).0)),
        AboutNode::ClusterCountFailureReports(id) => match snapshot().node(id) {
            Some(node) => Reply::Integer(i64::from(!node.is_up)),
            None => unknown_node(id).into(),
        },
        AboutNode::ClusterReplicas(id) => match snapshot().node(id) {
            Some(_) => Reply::EMPTY,
            None => unknown_node(id).into(),
        },
        _ => return None,
    })
}
