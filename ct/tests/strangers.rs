//! Nodes that clients of a cluster may come across and that are not of it: on their way in, or without their disk.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rkv_client::Client;
use rkv_ct::processes::Processes;

/// Short: nobody who may acknowledge is there.
const PATIENCE: Duration = Duration::from_secs(2);

fn seeds(cluster: &Processes) -> Vec<String> {
    let first = cluster.nodes[..2].iter();
    first
        .map(|node| format!("127.0.0.1:{}", node.peer))
        .collect()
}

/// With the members dead nobody acknowledges anything, and `stranger` holds nothing.
fn is_left_alone(mut cluster: Processes, client: &Client, stranger: usize) -> Result<()> {
    let runtime = tokio::runtime::Handle::current();
    for node in &mut cluster.nodes[..2] {
        node.kill()?;
    }
    for number in 0..3 {
        let put = runtime.block_on(client.put(format!("lost{number}"), "v"));
        ensure!(put.is_err(), "put {number} was acknowledged by a stranger");
    }
    let held = cluster.nodes[stranger].redis()?.call(&["DBSIZE"])?;
    ensure!(held.text() == "0", "the stranger holds {held:?}");
    Ok(())
}

/// Lost without it: what a node acknowledges while it is only asked in, and takes with it when it is not let in after all.
#[test]
fn a_node_that_is_joining_is_not_written_to() -> Result<()> {
    let cluster = Processes::start(3, "memory", "batch")?;
    let peer = format!("127.0.0.1:{}", cluster.nodes[0].peer);
    cluster.nodes[1].cli(&["cluster", "join", &peer])?;
    cluster.nodes[0].cli(&["cluster", "commit"])?;
    cluster.settle()?;
    cluster.nodes[2].cli(&["cluster", "join", &peer])?;
    let runtime = tokio::runtime::Runtime::new()?;
    let builder = Client::builder().seeds(seeds(&cluster)).timeout(PATIENCE);
    let client = runtime.block_on(builder.build())?;
    let _in = runtime.enter();
    is_left_alone(cluster, &client, 2)
}

/// Lost without it: what is written through a node that came back on an empty folder, as a cluster of its own.
#[test]
fn a_node_that_lost_its_disk_is_not_written_to() -> Result<()> {
    let mut cluster = Processes::start(3, "memory", "batch")?;
    cluster.join()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let builder = Client::builder().seeds(seeds(&cluster)).timeout(PATIENCE);
    let client = runtime.block_on(builder.build())?;
    runtime.block_on(client.put("known", "v"))?;
    let lost = &mut cluster.nodes[2];
    lost.kill()?;
    lost.wipe()?;
    lost.start().context("on an empty folder")?;
    let _in = runtime.enter();
    is_left_alone(cluster, &client, 2)
}
