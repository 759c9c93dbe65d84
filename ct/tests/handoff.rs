//! What operators say about transfers, and hints on nodes that die: on real processes.

use anyhow::{Result, ensure};
use rkv_ct::processes::{Processes, eventually, expect_all, expect_equal_copies, set_all};

const PAUSED: &str = "paused: rkv cluster handoff resume";

/// Lost without it: a restart, or another node, goes on with transfers that an operator holds; or nobody says that they
/// are held.
#[test]
fn transfers_that_are_held_stay_so_and_say_so() -> Result<()> {
    let mut cluster = Processes::start(3, "fjall", "batch")?;
    let all = || (0..2_000).map(|i| (format!("key{i}"), format!("value{i}")));
    set_all(&mut cluster.nodes[0].redis()?, all())?;
    let first = &cluster.nodes[0];
    ensure!(first.cli(&["cluster", "handoff"])?["paused"] == false);
    ensure!(first.cli(&["cluster", "handoff", "pause"])?["paused"] == true);
    let peer = format!("127.0.0.1:{}", first.peer);
    for node in &cluster.nodes[1..] {
        node.cli(&["cluster", "join", &peer])?;
    }
    first.cli(&["cluster", "commit"])?;
    cluster.nodes[0].kill()?;
    cluster.nodes[0].start()?;
    for node in &cluster.nodes {
        eventually("every node goes by the same", || {
            let held = node.cli(&["cluster", "handoff"]).unwrap_or_default();
            held["paused"] == true
        })?;
    }
    let (_, refused) = cluster.nodes[1].cli_raw(&["cluster", "handoff", "limit", "0"])?;
    ensure!(refused["error"]["kind"] == "usage", "{refused}");
    let limit = cluster.nodes[1].cli(&["cluster", "handoff", "limit", "3"])?;
    ensure!(limit["limit"] == 3 && limit["paused"] == true, "{limit}");
    let transfers = cluster.nodes[1].cli(&["cluster", "transfers"])?;
    let waiting = transfers["transfers"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let is_held = |it: &serde_json::Value| it["waiting_for"] == PAUSED && it["keys_done"] == 0;
    ensure!(waiting.iter().any(is_held), "{transfers}");
    ensure!(
        waiting.iter().all(|it| it["state"] == "waiting"),
        "{transfers}"
    );
    let (code, waits) = cluster.nodes[1].cli_raw(&["cluster", "wait", "--timeout", "0"])?;
    ensure!(
        code == Some(5) && waits.to_string().contains(PAUSED),
        "{code:?} {waits}"
    );

    ensure!(cluster.nodes[2].cli(&["cluster", "handoff", "resume"])?["paused"] == false);
    cluster.settle()?;
    for node in &cluster.nodes {
        expect_all(&mut node.redis()?, all())?;
        ensure!(node.cli(&["cluster", "handoff"])?["limit"] == 3);
    }
    Ok(())
}

/// Lost without it: hints die with the node that holds them, and an owner that was away lacks what was written meanwhile.
#[test]
fn hints_outlive_the_node_that_holds_them() -> Result<()> {
    for backend in ["fjall", "sled"] {
        let mut cluster = Processes::start(3, backend, "batch")?;
        cluster.join()?;
        cluster.nodes[2].kill()?;
        let status = |cluster: &Processes| cluster.nodes[1].cli(&["cluster", "status"]);
        let others_miss_it = |cluster: &Processes| {
            let alone = cluster.nodes[..2].iter();
            let seen = alone.map(|node| node.cli(&["cluster", "status"]).unwrap_or_default());
            seen.into_iter()
                .all(|status| status["unreachable"] == serde_json::json!(["node3"]))
        };
        eventually("node3 is missed", || others_miss_it(&cluster))?;
        let all = || (0..500).map(|i| (format!("key{i}"), format!("value{i}")));
        set_all(&mut cluster.nodes[0].redis()?, all())?;
        let held = status(&cluster)?["hints"].as_u64();
        ensure!(held >= Some(500), "{backend}: {held:?} hints");
        for at in [0, 1] {
            cluster.nodes[at].kill()?;
            cluster.nodes[at].start()?;
            eventually("all hints are there again", || {
                let now = status(&cluster).unwrap_or_default();
                now["hints"].as_u64() == held
            })?;
        }
        cluster.nodes[2].start()?;
        eventually("node3 is back", || {
            let now = status(&cluster).unwrap_or_default();
            now["unreachable"] == serde_json::json!([])
        })?;
        cluster.settle()?;
        ensure!(status(&cluster)?["hints"] == 0, "{backend}");
        let mut redis = cluster.nodes[2].redis()?;
        expect_all(&mut redis, all())?;
        for i in (0..500).step_by(25) {
            expect_equal_copies(&mut redis, &format!("key{i}"))?;
        }
    }
    Ok(())
}
