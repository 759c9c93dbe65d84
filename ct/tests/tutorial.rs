//! The tutorial's common test suite, on real processes.

use anyhow::{Result, ensure};
use rkv_ct::processes::{Processes, Reply, expect_all, set_all};

/// Lost without it: a machine on which no suite can run would look like a product that fails.
#[test]
fn simple_test() {
    assert!(rkv_ct::processes::binary().exists());
}

/// Lost without it: a fresh node that answers something for a key nobody wrote.
#[test]
fn get_not_found() -> Result<()> {
    let nodes = Processes::start(1, "memory", "batch")?;
    let got = nodes.nodes[0].cli(&["get", "k1"])?;
    ensure!(got["found"] == false, "{got}");
    Ok(())
}

/// Lost without it: three nodes that do not become one store.
#[test]
fn cluster_join() -> Result<()> {
    let cluster = Processes::start(3, "fjall", "batch")?;
    cluster.join()?;
    for node in &cluster.nodes {
        let got = node.cli(&["get", "k1"])?;
        ensure!(got["found"] == false, "{}: {got}", node.name);
    }
    cluster.nodes[0].cli(&["put", "k1", "v1"])?;
    let got = cluster.nodes[1].cli(&["get", "k1"])?;
    ensure!(got["value"] == "v1", "{got}");

    let members = cluster.nodes[2].cli(&["cluster", "members"])?;
    let mut shares: Vec<f64> = members["members"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|member| member["ring_percent"].as_f64())
        .collect();
    shares.sort_by(f64::total_cmp);
    ensure!(
        shares == [31.3, 31.3, 37.5] || shares == [31.25, 31.25, 37.5],
        "{shares:?}"
    );
    for value in ["3", "5", "7"] {
        let pong = cluster.nodes[0].cli(&["ping", value])?;
        ensure!(pong["pong"] == value.parse::<i64>()? + 1, "{pong}");
    }
    let put = cluster.nodes[0].cli(&["put", "k2", "v2", "--n", "3", "--w", "3"])?;
    ensure!(put["replicas"].as_array().map(Vec::len) == Some(3), "{put}");
    let got = cluster.nodes[1].cli(&["get", "k2", "--n", "3", "--r", "2"])?;
    ensure!(
        got["replicas"].as_array().is_some_and(|r| r.len() >= 2),
        "{got}"
    );
    let (code, refused) = cluster.nodes[0].cli_raw(&["put", "k", "v", "--w", "4"])?;
    ensure!(
        code == Some(2) && refused["error"]["kind"] == "usage",
        "{code:?} {refused}"
    );
    let (code, refused) = cluster.nodes[0].cli_raw(&["cluster", "commit"])?;
    ensure!(code == Some(4), "{code:?} {refused}");
    ensure!(refused["error"]["reason"] == "nothing_planned", "{refused}");

    let mut redis = cluster.nodes[1].redis()?;
    redis.call(&["SET", "shared", "1"])?;
    let got = cluster.nodes[2].redis()?.call(&["GET", "shared"])?;
    ensure!(got == Reply::Bulk(Some(b"1".to_vec())), "{got:?}");
    Ok(())
}

/// Lost without it: the tutorial's handoff chapter: keys that nodes had of their own vanish when they join.
#[test]
fn keys_of_three_single_nodes_are_all_there_after_they_join() -> Result<()> {
    let cluster = Processes::start(3, "fjall", "batch")?;
    let keys = |from: usize| (from..from + 100).map(|i| (format!("k{i}"), i.to_string()));
    for (at, node) in cluster.nodes.iter().enumerate() {
        set_all(&mut node.redis()?, keys(100 * at))?;
    }
    cluster.join()?;
    for node in &cluster.nodes {
        let mut redis = node.redis()?;
        (0..3).try_for_each(|at| expect_all(&mut redis, keys(100 * at)))?;
    }
    Ok(())
}

/// Lost without it: who got the secret wrong is told that nobody answers, or is let in.
#[test]
fn a_node_with_another_secret_does_not_join_and_hears_why() -> Result<()> {
    let mut cluster = Processes::start(2, "memory", "batch")?;
    let node = &mut cluster.nodes[1];
    node.stop()?;
    node.secret = Some("another".to_owned());
    node.start()?;
    let first = format!("127.0.0.1:{}", cluster.nodes[0].peer);
    let (code, refused) = cluster.nodes[1].cli_raw(&["cluster", "join", &first])?;
    ensure!(code == Some(4), "{code:?} {refused}");
    ensure!(refused["error"]["reason"] == "wrong_secret", "{refused}");
    let plan = cluster.nodes[0].cli(&["cluster", "plan"])?;
    ensure!(plan["plan"].is_null(), "{plan}");
    Ok(())
}
