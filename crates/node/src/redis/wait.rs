//! This file answers: how many nodes hold what a connection wrote last?
//!
//! WAIT. Redis counts the replicas that have what its master has; here the owners of the key are asked what they hold,
//! again and again until so many hold the newest version or the time is over, and one of them is not counted, as Redis
//! does not count the master. Fallbacks do not count: their hints are on their way to an owner.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rkv_kv::{KvError, ReplicaView};
use rkv_resp::Reply;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::inbox::Promise;
use super::server::Server;

/// The owners are asked again after so long.
const ASK_AGAIN: Duration = Duration::from_millis(10);
/// An owner that says nothing for so long is counted as one that lacks it, this time.
const ANSWER_WITHIN: Duration = Duration::from_millis(200);
/// Nobody waits longer, whatever time was given.
const WAIT_AT_MOST: Duration = Duration::from_secs(60);

/// Waits until `nodes` owners besides one hold the newest version of `key`; `timeout_ms` 0: as long as a request may
/// take.
pub(super) fn begin(
    server: Arc<Server>,
    key: Bytes,
    nodes: i64,
    timeout_ms: u64,
    promise: Promise,
) {
    let timeout_ms = match timeout_ms {
        0 => server.engine.default_keyspace().defaults.timeout_ms,
        given => given,
    };
    let deadline = Instant::now() + Duration::from_millis(timeout_ms).min(WAIT_AT_MOST);
    tokio::spawn(async move {
        loop {
            let holding = match ask(&server, &key, deadline).await {
                Ok(views) => others_holding_the_newest(&views),
                Err(error) => return promise.reply(Reply::error(error.redis_text())),
            };
            if holding >= nodes || Instant::now() + ASK_AGAIN >= deadline {
                return promise.reply(Reply::Integer(holding));
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    });
}

async fn ask(server: &Server, key: &[u8], deadline: Instant) -> Result<Vec<ReplicaView>, KvError> {
    let (tell, told) = oneshot::channel();
    let done = Box::new(move |views| {
        // Nobody waits for it when the node stops.
        let _ = tell.send(views);
    });
    let left = deadline.duration_since(Instant::now()).min(ANSWER_WITHIN);
    let timeout_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1);
    let keyspace = server.engine.default_keyspace();
    server.engine.replicas(keyspace, key, timeout_ms, done);
    told.await.unwrap_or(Ok(Vec::new()))
}

/// Nodes besides one that hold the newest version that any holds.
fn others_holding_the_newest(views: &[ReplicaView]) -> i64 {
    let newest = views.iter().map(|view| view.version.as_str()).max();
    let holders: BTreeSet<&str> = views
        .iter()
        .filter(|view| !view.version.is_empty() && Some(view.version.as_str()) == newest)
        .map(|view| view.node.as_str())
        .collect();
    i64::try_from(holders.len().saturating_sub(1)).unwrap_or(i64::MAX)
}

/// What WAIT answers on a connection that wrote nothing: there is nothing that a live owner could lack.
pub(super) fn without_a_write(server: &Server) -> Reply {
    let view = server.engine.view();
    let most = usize::from(view.ring().replicas).saturating_sub(1);
    let others = view.peers_up().count().min(most);
    Reply::Integer(i64::try_from(others).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use rkv_ring::Partition;

    use super::*;

    #[test]
    fn one_node_in_three_places_is_no_replica() {
        // Lost without it: WAIT 1 on a single node would promise a copy that is not there.
        let view = |node: &str, version: &str| ReplicaView {
            node: node.into(),
            partition: Partition(0),
            replica: 0,
            state: "value",
            version: version.to_owned(),
            digest: String::new(),
        };
        let alone = [view("a", "2"), view("a", "2"), view("a", "2")];
        assert_eq!(others_holding_the_newest(&alone), 0);
        let behind = [view("a", "2"), view("b", "1"), view("c", "")];
        assert_eq!(others_holding_the_newest(&behind), 0);
        let all = [view("a", "2"), view("b", "2"), view("c", "2")];
        assert_eq!(others_holding_the_newest(&all), 2);
        assert_eq!(
            others_holding_the_newest(&[view("a", ""), view("b", "")]),
            0
        );
    }
}
