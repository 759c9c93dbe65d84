//! Who is there and who is not: nodes that are killed, paused, or only busy.

use anyhow::{Context, Result, ensure};
use rkv_ct::processes::{Node, Processes, Reply, eventually, set_all};

/// Whether `node` takes exactly `gone` for unreachable.
fn misses(node: &Node, gone: &[&str]) -> bool {
    let status = node.cli(&["cluster", "status"]).unwrap_or_default();
    let names = status["unreachable"].as_array().cloned();
    names.is_some_and(|names| {
        names
            .iter()
            .filter_map(|name| name.as_str())
            .eq(gone.iter().copied())
    })
}

fn all_miss(nodes: &[Node], gone: &[&str]) -> Result<()> {
    eventually(&format!("{gone:?} is missed by all"), || {
        nodes.iter().all(|node| misses(node, gone))
    })
}

/// How often `node` took somebody for dead.
fn suspicions(node: &Node) -> Result<usize> {
    let log = std::fs::read_to_string(node.data().with_extension("log"))?;
    Ok(log.matches("seems to be down").count() + log.matches("is gone:").count())
}

/// Lost without it: a dead node that is asked for ever, one that is back and never asked again, or requests that wait for
/// a replica that stands still though others have answered.
#[test]
fn a_node_that_dies_or_stands_still_is_missed_and_found_again() -> Result<()> {
    let mut cluster = Processes::start(3, "memory", "batch")?;
    cluster.join()?;
    let key = |i: usize| format!("key{i}");
    let mut redis = cluster.nodes[0].redis()?;
    set_all(&mut redis, (0..50).map(|i| (key(i), "1".to_owned())))?;

    cluster.nodes[2].pause()?;
    // Nobody suspects it yet, and nobody waits for it.
    for i in 0..50 {
        let put = redis.call(&["SET", &key(i), "2"])?;
        ensure!(put == Reply::Simple("OK".to_owned()), "{put:?}");
        let got = redis.call(&["GET", &key(i)])?;
        ensure!(got == Reply::Bulk(Some(b"2".to_vec())), "{got:?}");
    }
    all_miss(&cluster.nodes[..2], &["node3"])?;
    let members = cluster.nodes[0].cli(&["cluster", "members"])?;
    let third = members["members"].as_array().context("there are members")?;
    ensure!(third[2]["reachable"] == false, "{members}");
    cluster.nodes[2].resume()?;
    all_miss(&cluster.nodes, &[])?;

    cluster.nodes[2].kill()?;
    all_miss(&cluster.nodes[..2], &["node3"])?;
    let log = std::fs::read_to_string(cluster.nodes[0].data().with_extension("log"))?;
    ensure!(
        log.contains("nobody listens at its address"),
        "found out by gossip alone"
    );
    cluster.nodes[2].start()?;
    all_miss(&cluster.nodes, &[])?;
    cluster.settle()
}

/// Lost without it: load makes a node look dead, and each such error costs fallbacks, hints and moves.
#[test]
fn nobody_is_missed_who_is_only_busy() -> Result<()> {
    let cluster = Processes::start(3, "memory", "batch")?;
    cluster.join()?;
    all_miss(&cluster.nodes, &[])?;
    let before: usize = cluster
        .nodes
        .iter()
        .filter_map(|node| suspicions(node).ok())
        .sum();
    std::thread::scope(|scope| -> Result<()> {
        let loads: Vec<_> = cluster.nodes[..2]
            .iter()
            .map(|node| {
                scope.spawn(move || {
                    let all = (0..30_000).map(|i| (format!("{}-{i}", node.name), "x".repeat(100)));
                    set_all(&mut node.redis()?, all)
                })
            })
            .collect();
        for load in loads {
            load.join().expect("a load does not panic")?;
        }
        Ok(())
    })?;
    for node in &cluster.nodes {
        ensure!(misses(node, &[]), "{} misses somebody", node.name);
    }
    let after: usize = cluster
        .nodes
        .iter()
        .filter_map(|node| suspicions(node).ok())
        .sum();
    ensure!(after == before, "{} suspicions under load", after - before);
    Ok(())
}
