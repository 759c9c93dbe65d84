//! Each word with which a change of the cluster is refused, as an operator meets it.

use anyhow::{Result, ensure};
use rkv_ct::processes::{Node, Processes, eventually, set_all};
use serde_json::Value;

/// What a refusal must leave as it was: the ring, and what is staged.
fn state(node: &Node) -> Result<[Value; 2]> {
    let status = node.cli(&["cluster", "status"])?;
    let plan = node.cli(&["cluster", "plan"])?;
    Ok([status["ring_digest"].clone(), plan["plan"].clone()])
}

/// `asked` is refused with this word, and `member` knows of no change.
fn refused(member: &Node, asked: &Node, args: &[&str], word: &str) -> Result<()> {
    let before = state(member)?;
    let (code, document) = asked.cli_raw(&[&["cluster"], args].concat())?;
    let error = &document["error"];
    ensure!(
        code == Some(4) && error["reason"] == word,
        "{args:?} ended with {code:?}, not {word}: {document}"
    );
    ensure!(
        error["message"]
            .as_str()
            .is_some_and(|text| text.len() > 20),
        "{args:?} says nothing that helps: {document}"
    );
    let after = state(member)?;
    ensure!(before == after, "{args:?} changed {before:?} to {after:?}");
    Ok(())
}

fn peer(node: &Node) -> String {
    format!("127.0.0.1:{}", node.peer)
}

/// A node of two, whose cluster is asked; who asks is alone.
fn pair() -> Result<Processes> {
    let cluster = Processes::start(2, "memory", "batch")?;
    cluster.join()?;
    Ok(cluster)
}

/// Lost without it: a node that does not fit comes in, or its operator does not learn why it may not.
#[test]
fn who_does_not_fit_does_not_join() -> Result<()> {
    let cluster = pair()?;
    let (one, two) = (&cluster.nodes[0], &cluster.nodes[1]);
    let alone = cluster.another("node3")?;
    refused(one, one, &["join", &peer(one)], "self_join")?;
    refused(one, one, &["join", &peer(two)], "not_single_node")?;
    refused(one, one, &["join", &peer(&alone)], "not_single_node")?;
    refused(one, &alone, &["join", "127.0.0.1:1"], "not_reachable")?;
    refused(&alone, &alone, &["leave"], "only_member")?;
    let namesakes = Processes::start(2, "memory", "batch")?;
    let namesake = &namesakes.nodes[1];
    refused(one, namesake, &["join", &peer(one)], "duplicate_name")?;
    // What is meant for the member of that name still goes to it, and its answers count.
    let keys = (0..50).map(|i| (format!("key{i}"), "v".to_owned()));
    set_all(&mut one.redis()?, keys)?;
    let held = namesake.redis()?.call(&["DBSIZE"])?;
    ensure!(held.text() == "0", "the namesake holds {held:?}");
    for (key, value, word) in [
        ("RKV_CLUSTER__NAME", "another", "different_cluster_name"),
        ("RKV_RING__PARTITIONS", "32", "different_ring_sizes"),
        ("RKV_RING__REPLICAS", "2", "different_ring_sizes"),
        ("RKV_CLUSTER__SECRET", "another", "wrong_secret"),
    ] {
        let other = Processes::start_with(1, "memory", "batch", &[(key, value)])?;
        refused(one, &other.nodes[0], &["join", &peer(one)], word)?;
    }
    Ok(())
}

/// Lost without it: a change that makes no sense is staged, and shows only when it is committed.
#[test]
fn what_makes_no_sense_is_not_staged() -> Result<()> {
    let cluster = pair()?;
    let one = &cluster.nodes[0];
    refused(one, one, &["commit"], "nothing_planned")?;
    refused(one, one, &["down", "node2"], "node_is_up")?;
    for args in [
        &["leave", "node9"][..],
        &["remove", "node9"],
        &["replace", "node9", "node2"],
        &["down", "node9"],
        &["weight", "node9", "2"],
        &["zone", "node9", "a"],
    ] {
        refused(one, one, args, "not_member")?;
    }
    refused(
        one,
        one,
        &["replace", "node1", "node2"],
        "invalid_replacement",
    )?;

    one.cli(&["cluster", "leave", "node2"])?;
    refused(one, one, &["leave", "node1"], "only_member")?;
    refused(
        one,
        one,
        &["commit", "--plan", "0123456789abcdef"],
        "plan_changed",
    )?;
    let seen = one.cli(&["cluster", "plan"])?["plan"].clone();
    one.cli(&["cluster", "weight", "node1", "2"])?;
    let seen = seen.as_str().unwrap_or_default();
    refused(one, one, &["commit", "--plan", seen], "plan_changed")?;
    one.cli(&["cluster", "clear"])?;

    let third = cluster.another("node3")?;
    third.cli(&["cluster", "join", &peer(one)])?;
    one.cli(&["cluster", "replace", "node1", "node3"])?;
    let replace = ["replace", "node2", "node3"];
    refused(one, one, &replace, "already_replacement")?;
    refused(one, one, &["recover", "--without", "node2"], "node_is_up")?;
    one.cli(&["cluster", "clear"])?;

    // Held, so that it is seen on its way out.
    one.cli(&["cluster", "handoff", "pause"])?;
    one.cli(&["cluster", "leave", "node2"])?;
    one.cli(&["cluster", "commit"])?;
    refused(one, one, &["leave", "node2"], "already_leaving")
}

/// Lost without it: who asks a node that can decide nothing waits for ever, or believes that it was done.
#[test]
fn without_a_majority_nothing_is_staged() -> Result<()> {
    let mut cluster = Processes::start(3, "memory", "batch")?;
    cluster.join()?;
    let missed = |node: &Node, lost: &[&str]| {
        eventually("they are missed", || {
            let status = node.cli(&["cluster", "status"]).unwrap_or_default();
            status["unreachable"] == serde_json::json!(lost)
        })
    };
    cluster.nodes[1].kill()?;
    missed(&cluster.nodes[0], &["node2"])?;
    let one = &cluster.nodes[0];
    let recover = ["recover", "--without", "node2"];
    refused(one, one, &recover, "majority_is_there")?;
    cluster.nodes[2].kill()?;
    missed(&cluster.nodes[0], &["node2", "node3"])?;
    let one = &cluster.nodes[0];
    refused(one, one, &["weight", "node1", "2"], "no_majority")?;
    refused(
        one,
        one,
        &["recover", "--without", "node2", "node3"],
        "data_loss",
    )
}
