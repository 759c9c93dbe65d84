//! A client and a real cluster.

use std::time::Duration;

use rkv_client::TestCluster;

#[tokio::test]
async fn first() {
    let _ = tracing_subscriber::fmt().with_env_filter("info").try_init();
    let t = std::time::Instant::now();
    let mut cluster = TestCluster::start(3).await.unwrap();
    eprintln!("start {:?}", t.elapsed());
    let client = cluster.client().await.unwrap();
    client.put("k", "v").await.unwrap();
    eprintln!("put {:?}", t.elapsed());
    assert_eq!(client.get("k").await.unwrap().unwrap(), "v");
    eprintln!(
        "{:?}",
        client
            .put_quorum("k", "w", 3, 3, Duration::from_secs(1))
            .await
    );
    cluster.kill(0).await.unwrap();
    eprintln!("killed {:?}", t.elapsed());
    eprintln!("{:?}", client.get("k").await);
    eprintln!(
        "{:?}",
        client
            .put_quorum("k", "w", 3, 3, Duration::from_secs(1))
            .await
    );
    eprintln!(
        "{:?}",
        client
            .put_quorum("k", "w", 3, 2, Duration::from_secs(1))
            .await
    );
    cluster.restart(0).await.unwrap();
    eprintln!("restarted {:?}", t.elapsed());
    cluster.settled().await.unwrap();
    eprintln!("settled {:?}", t.elapsed());
    eprintln!(
        "{:?}",
        client
            .put_quorum("k", "w", 3, 3, Duration::from_secs(1))
            .await
    );
    drop(cluster);
    eprintln!("dropped {:?}", t.elapsed());
}
