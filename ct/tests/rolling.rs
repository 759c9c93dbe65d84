//! Nodes that are restarted: one after the other while clients go on, and all at once.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use rkv_client::Client;
use rkv_ct::processes::{Processes, eventually, expect_all, expect_equal_copies, set_all};

/// Puts and reads back keys of its own, one after the other, and stops at the first failure.
async fn go_on(client: Client, prefix: &str, stop: &AtomicBool) -> Result<u64> {
    let mut done = 0;
    while !stop.load(Ordering::Relaxed) {
        let (key, value) = (format!("{prefix}{}", done % 100), format!("{done}"));
        let failed = |what: &str, why| anyhow::anyhow!("{what} {key}, request {done}: {why}");
        let put = client.put(&key, value.clone()).await;
        put.map_err(|why| failed("put", why))?;
        let got = client.get(&key).await.map_err(|why| failed("get", why))?;
        ensure!(got.as_deref() == Some(value.as_bytes()), "{key}: {got:?}");
        done += 1;
    }
    Ok(done)
}

/// Stops and starts each node in turn, each when the cluster says that it can do without.
fn restart_each(cluster: &mut Processes) -> Result<()> {
    for at in 0..cluster.nodes.len() {
        let asked = (at + 1) % cluster.nodes.len();
        let name = cluster.nodes[at].name.clone();
        let other = &cluster.nodes[asked];
        eventually("it can be stopped", || {
            let (code, _) = other
                .cli_raw(&["cluster", "can-stop", &name])
                .unwrap_or_default();
            code == Some(0)
        })?;
        let ended = cluster.nodes[at].stop()?;
        ensure!(ended.success(), "{name} ended with {ended}");
        cluster.nodes[at].start()?;
        cluster.nodes[asked].cli(&["cluster", "wait", "--timeout", "60"])?;
    }
    Ok(())
}

/// Lost without it: an upgrade that clients see, though each node is let go in order and they retry what they may.
#[test]
fn a_rolling_restart_is_not_seen_by_clients() -> Result<()> {
    let mut cluster = Processes::start(3, "fjall", "batch")?;
    cluster.join()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let seeds = cluster
        .nodes
        .iter()
        .map(|node| format!("127.0.0.1:{}", node.peer));
    let client = runtime.block_on(Client::builder().seeds(seeds).build())?;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| -> Result<()> {
        let loads = ["a", "b", "c", "d"].map(|prefix| {
            let (client, stop, runtime) = (client.clone(), &stop, &runtime);
            scope.spawn(move || runtime.block_on(go_on(client, prefix, stop)))
        });
        let restarted = restart_each(&mut cluster);
        stop.store(true, Ordering::Relaxed);
        for load in loads {
            let done = load.join().expect("a load does not panic")?;
            ensure!(done > 50, "{done} requests show little");
        }
        restarted
    })
}

/// Lost without it: a cluster that does not come back after a power cut, or comes back without what it acknowledged.
#[test]
fn all_nodes_die_at_once_and_come_back_in_any_order() -> Result<()> {
    for (backend, order) in [("fjall", [2, 0, 1]), ("sled", [1, 2, 0])] {
        let mut cluster = Processes::start(3, backend, "batch")?;
        cluster.join()?;
        let all = || (0..600).map(|i| (format!("key{i}"), format!("value{i}")));
        set_all(&mut cluster.nodes[0].redis()?, all())?;
        for node in &mut cluster.nodes {
            node.kill()?;
        }
        for at in order {
            cluster.nodes[at].start()?;
        }
        eventually("everybody is there", || {
            cluster.nodes.iter().all(|node| {
                let status = node.cli(&["cluster", "status"]).unwrap_or_default();
                status["unreachable"].as_array().is_some_and(Vec::is_empty)
            })
        })?;
        cluster.settle()?;
        for node in &cluster.nodes {
            expect_all(&mut node.redis()?, all())?;
        }
        let mut redis = cluster.nodes[0].redis()?;
        for i in (0..600).step_by(30) {
            expect_equal_copies(&mut redis, &format!("key{i}"))?;
        }
    }
    Ok(())
}

/// Lost without it: a memory cluster that waits for ever for copies that nobody has, after all of its nodes were restarted.
#[test]
fn a_memory_cluster_that_lost_everything_serves_again() -> Result<()> {
    let mut cluster = Processes::start(3, "memory", "batch")?;
    cluster.join()?;
    let before = (0..100).map(|i| (format!("key{i}"), "before".to_owned()));
    set_all(&mut cluster.nodes[0].redis()?, before)?;
    for node in &mut cluster.nodes {
        node.kill()?;
    }
    for node in cluster.nodes.iter_mut().rev() {
        node.start()?;
    }
    cluster.settle()?;
    let after = || (0..100).map(|i| (format!("key{i}"), "after".to_owned()));
    eventually("it takes writes again", || {
        let redis = cluster.nodes[1].redis();
        redis
            .and_then(|mut redis| set_all(&mut redis, after()))
            .is_ok()
    })?;
    for node in &cluster.nodes {
        expect_all(&mut node.redis()?, after())?;
    }
    Ok(())
}
