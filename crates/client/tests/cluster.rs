//! A client and a real cluster, whose nodes come and go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rkv_client::{Client, Error, ResultWord, TestCluster, WriteOptions};
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `holds`, looking again and again.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let waited = timeout(PATIENCE, async {
        while !holds() {
            sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "in vain: {what}");
}

/// Writes new keys one after the other, and reads each back, until told to stop.
struct Worker {
    client: Client,
    number: usize,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
}

/// What one worker knows at its end.
#[derive(Default)]
struct Known {
    acknowledged: BTreeMap<String, String>,
    unknown: usize,
}

impl Worker {
    async fn run(self) -> Known {
        let mut known = Known::default();
        for round in 0.. {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let key = format!("key:{}:{round}", self.number);
            let value = format!("value {round}");
            match self.client.put(key.clone(), value.clone()).await {
                Ok(()) => {
                    let got = self.client.get(&key).await;
                    assert_eq!(got.unwrap().as_deref(), Some(value.as_bytes()), "{key}");
                    known.acknowledged.insert(key, value);
                    self.done.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) if error.was_maybe_applied() => known.unknown += 1,
                Err(error) => panic!("{key}: {error:?}"),
            }
        }
        known
    }
}

/// Lost without it: the death of a node is its clients' business, or costs a write that was acknowledged.
#[tokio::test]
async fn nodes_die_and_come_back_and_the_client_needs_no_help() {
    const WORKERS: usize = 8;
    let mut cluster = TestCluster::start(3).await.unwrap();
    let client = cluster.client().await.unwrap();
    let (stop, done) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let workers: Vec<_> = (0..WORKERS)
        .map(|number| {
            let worker = Worker {
                client: client.clone(),
                number,
                stop: stop.clone(),
                done: done.clone(),
            };
            tokio::spawn(worker.run())
        })
        .collect();
    let more = async || {
        let before = done.load(Ordering::Relaxed);
        let enough = || done.load(Ordering::Relaxed) >= before + 200;
        until("writes go on", enough).await;
    };
    more().await;
    for node in 0..3 {
        match node {
            2 => cluster.stop(node).await.unwrap(),
            _ => cluster.kill(node).await.unwrap(),
        }
        more().await;
        cluster.restart(node).await.unwrap();
        more().await;
        cluster.settled().await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let mut unknown = 0;
    for worker in workers {
        let known = worker.await.unwrap();
        unknown += known.unknown;
        for (key, value) in known.acknowledged {
            let got = client.get(&key).await.unwrap();
            assert_eq!(got.as_deref(), Some(value.as_bytes()), "{key}");
        }
    }
    // Only what was under way on a node when it died can be unknown: at most one write a worker.
    assert!(unknown <= 3 * WORKERS, "{unknown} unknown writes");
}

/// Lost without it: the calls of the documents, each with what it tells.
#[tokio::test]
async fn everything_that_can_be_asked_for() {
    let mut cluster = TestCluster::start(3).await.unwrap();
    // Named like a member: that must change nothing.
    let client = Client::builder()
        .seeds(cluster.seeds())
        .name("node2")
        .build()
        .await
        .unwrap();
    let second = Duration::from_secs(1);

    assert_eq!(client.get("none").await.unwrap(), None);
    client.put("empty", "").await.unwrap();
    assert_eq!(
        client.get("empty").await.unwrap().as_deref(),
        Some(&b""[..])
    );
    client.delete("empty").await.unwrap();
    assert_eq!(client.get("empty").await.unwrap(), None);
    assert_eq!(client.ping(41).await.unwrap(), 42);

    let put = client.put_quorum("k", "v", 3, 3, second).await.unwrap();
    let mut nodes: Vec<_> = put.result.iter().map(|r| r.node.to_string()).collect();
    nodes.sort();
    assert_eq!(nodes, ["node1", "node2", "node3"]);
    assert!(put.result.iter().all(|r| r.result == ResultWord::Ok));
    let got = client.get_quorum("k", 3, 3, second).await.unwrap();
    assert_eq!(
        (got.value.as_deref(), got.result.len()),
        (Some(&b"v"[..]), 3)
    );
    let (value, node, partition) = client.service().get("k").await.unwrap();
    assert_eq!(value.as_deref(), Some(&b"v"[..]));
    assert_eq!(
        (&node, partition),
        (&put.result[0].node, put.result[0].partition)
    );

    let soon = WriteOptions::default().ttl(Duration::from_millis(1));
    client.put_with("brief", "v", &soon).await.unwrap();
    let gone = async || client.get("brief").await.unwrap().is_none();
    let ended = timeout(PATIENCE, async { while !gone().await {} });
    ended.await.unwrap();

    let numbers = client.typed::<Vec<u32>>();
    numbers.put("numbers", &vec![1, 2, 3]).await.unwrap();
    assert_eq!(numbers.get("numbers").await.unwrap(), Some(vec![1, 2, 3]));
    assert!(matches!(numbers.get("k").await, Err(Error::Value(_))));

    let invalid = |error: Error| match error {
        Error::Invalid { reason, .. } => reason,
        other => panic!("{other:?}"),
    };
    let too_many = client.put_quorum("k", "v", 3, 4, second).await;
    assert_eq!(invalid(too_many.unwrap_err()), "bad_quorum");
    assert_eq!(invalid(client.put("", "v").await.unwrap_err()), "bad_key");
    let elsewhere = client.keyspace("elsewhere").get("k").await;
    assert_eq!(invalid(elsewhere.unwrap_err()), "no_such_keyspace");
    let huge = client.put("k", vec![0; 9 << 20]).await;
    assert_eq!(invalid(huge.unwrap_err()), "value_too_large");
    let timeless = client.get_quorum("k", 3, 2, Duration::ZERO).await;
    assert_eq!(invalid(timeless.unwrap_err()), "bad_timeout");

    cluster.kill(2).await.unwrap();
    let error = client.put_quorum("k", "w", 3, 3, second).await.unwrap_err();
    // Missed already, it is named and nobody is asked; otherwise all are.
    assert!(matches!(error.replicas().len(), 1 | 3), "{error:?}");
    assert!(
        error
            .replicas()
            .iter()
            .any(|r| r.node.as_str() == "node3" && r.result != ResultWord::Ok)
    );
    assert!(!(error.was_maybe_applied() && error.is_retryable()));
    client.put_quorum("k", "x", 3, 2, second).await.unwrap();
}

/// Lost without it: a second copy of a client's secret opens the cluster, or a dead seed closes it.
#[tokio::test]
async fn only_who_holds_the_secret_is_let_in() {
    let cluster = TestCluster::start_with_secret(1, "open sesame")
        .await
        .unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = free.local_addr().unwrap().to_string();
    drop(free);
    for secret in [None, Some("guess")] {
        let builder = Client::builder().seeds(cluster.seeds());
        let refused = match secret {
            Some(secret) => builder.secret(secret).build().await,
            None => builder.build().await,
        };
        let error = refused.unwrap_err();
        assert!(matches!(error, Error::TurnedAway(_)), "{error:?}");
        assert!(error.to_string().contains("client_secret"), "{error}");
        assert!(!error.is_retryable());
    }
    let client = Client::builder()
        .seeds([dead.clone()])
        .seeds(cluster.seeds())
        .secret("open sesame")
        .build()
        .await
        .unwrap();
    client.put("k", "v").await.unwrap();
    let nobody = Client::builder()
        .seeds([dead.clone()])
        .timeout(Duration::from_millis(300))
        .build()
        .await
        .unwrap_err();
    assert!(
        nobody.is_retryable() && nobody.to_string().contains(&dead),
        "{nobody}"
    );
}
