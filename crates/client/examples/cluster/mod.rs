//! A client of the cluster whose peer addresses are the arguments, or of one that is started for the example.

use rkv_client::{Builder, Client, TestCluster};

/// Keep the cluster as long as the client is used. `RKV_SECRET` is the nodes' `cluster.client_secret`.
pub(crate) async fn builder() -> anyhow::Result<(Option<TestCluster>, Builder)> {
    let mut seeds: Vec<String> = std::env::args().skip(1).collect();
    let mut cluster = None;
    if seeds.is_empty() {
        println!("starting three nodes; give peer addresses (host:port) to use your own");
        let started = TestCluster::start(3).await?;
        seeds = started.seeds();
        cluster = Some(started);
    }
    let builder = Client::builder().seeds(seeds);
    Ok(match std::env::var("RKV_SECRET") {
        Ok(secret) => (cluster, builder.secret(secret)),
        Err(_) => (cluster, builder),
    })
}
