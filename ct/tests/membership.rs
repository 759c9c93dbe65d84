//! The life of a member on real processes: weighed, put into a zone, replaced, back on an empty folder, lost, and lost with
//! the majority.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rkv_ct::processes::{Node, Processes, eventually, expect_all, expect_equal_copies, set_all};
use serde_json::Value;

fn keys(count: usize) -> impl Iterator<Item = (String, String)> {
    (0..count).map(|i| (format!("key{i}"), format!("value{i}")))
}

fn peer(node: &Node) -> String {
    format!("127.0.0.1:{}", node.peer)
}

/// Carries out what is staged, as it was shown, and waits until that is done. What was shown.
fn commit(cluster: &Processes) -> Result<Value> {
    let plan = cluster.nodes[0].cli(&["cluster", "plan"])?;
    let id = plan["plan"].as_str().context("something is staged")?;
    cluster.nodes[0].cli(&["cluster", "commit", "--plan", id])?;
    cluster.settle()?;
    Ok(plan)
}

fn staged(cluster: &Processes, args: &[&str]) -> Result<Value> {
    cluster.nodes[0].cli(&[&["cluster"], args].concat())?;
    commit(cluster)
}

/// A member, as all are shown.
fn member(cluster: &Processes, name: &str) -> Result<Value> {
    let shown = cluster.nodes[0].cli(&["cluster", "members"])?;
    let all = shown["members"].as_array().cloned().unwrap_or_default();
    let mut named = all.into_iter().filter(|member| member["name"] == name);
    named.next().with_context(|| format!("{name} is a member"))
}

fn copies(cluster: &Processes, name: &str) -> Result<u64> {
    let member = member(cluster, name)?;
    member["vnodes"].as_u64().context("copies are counted")
}

fn rows(cluster: &Processes) -> Result<Vec<BTreeSet<String>>> {
    let ring = cluster.nodes[0].cli(&["cluster", "ring"])?;
    Ok(serde_json::from_value(ring["owners"].clone())?)
}

fn ends(node: &mut Node) -> Result<()> {
    let mut how = None;
    eventually("it ends by itself", || {
        how = node.ended();
        how.is_some()
    })?;
    let how = how.context("it ended")?;
    ensure!(how.success(), "{} ended with {how}", node.name);
    Ok(())
}

fn is_missed(cluster: &Processes, name: &str) -> Result<()> {
    eventually("it is missed", || {
        member(cluster, name).is_ok_and(|member| member["reachable"] == false)
    })
}

/// Lost without it: a change that is planned well and carried out otherwise, or loses keys on the way.
#[test]
fn a_member_lives_through_every_change() -> Result<()> {
    let mut cluster = Processes::start(4, "fjall", "batch")?;
    cluster.join()?;
    set_all(&mut cluster.nodes[0].redis()?, keys(400))?;

    staged(&cluster, &["weight", "node1", "2"])?;
    ensure!(copies(&cluster, "node1")? == 16, "all that a node can have");
    staged(&cluster, &["weight", "node1", "1"])?;
    ensure!(copies(&cluster, "node1")? == 12, "a fourth of all");

    for (node, zone) in [
        ("node1", "a"),
        ("node2", "a"),
        ("node3", "b"),
        ("node4", "b"),
    ] {
        cluster.nodes[0].cli(&["cluster", "zone", node, zone])?;
    }
    let warnings = commit(&cluster)?["warnings"].to_string();
    ensure!(
        warnings.contains("share a zone"),
        "three in two zones: {warnings}"
    );
    let zone_a = BTreeSet::from(["node1".to_owned(), "node2".to_owned()]);
    for row in rows(&cluster)? {
        let in_a = row.intersection(&zone_a).count();
        ensure!(row.len() == 3 && (1..=2).contains(&in_a), "{row:?}");
    }

    // node5 gets what node4 has, and node4 goes.
    let before = rows(&cluster)?;
    let fifth = cluster.another("node5")?;
    fifth.cli(&["cluster", "join", &peer(&cluster.nodes[0])])?;
    cluster.nodes[0].cli(&["cluster", "zone", "node5", "b"])?;
    staged(&cluster, &["replace", "node4", "node5"])?;
    let renamed = |row: &BTreeSet<String>| -> BTreeSet<String> {
        row.iter().map(|name| name.replace('4', "5")).collect()
    };
    let expected: Vec<_> = before.iter().map(renamed).collect();
    ensure!(rows(&cluster)? == expected, "others have moved too");
    ends(&mut cluster.nodes[3])?;
    cluster.nodes[3] = fifth;

    // It comes back under its name without its disk, and has its places as before.
    cluster.nodes[3].kill()?;
    cluster.nodes[3].wipe()?;
    cluster.nodes[3].start()?;
    cluster.nodes[3].cli(&["cluster", "join", &peer(&cluster.nodes[0])])?;
    commit(&cluster)?;
    ensure!(rows(&cluster)? == expected, "places were moved");
    expect_all(&mut cluster.nodes[3].redis()?, keys(400))?;

    // Lost for good, and replaced from the copies that are left.
    cluster.nodes[3].kill()?;
    is_missed(&cluster, "node5")?;
    let sixth = cluster.another("node6")?;
    sixth.cli(&["cluster", "join", &peer(&cluster.nodes[0])])?;
    staged(&cluster, &["replace", "node5", "node6", "--force"])?;
    cluster.nodes[3] = sixth;
    expect_all(&mut cluster.nodes[3].redis()?, keys(400))?;

    // Lost for good, and not replaced.
    cluster.nodes[3].kill()?;
    is_missed(&cluster, "node6")?;
    staged(&cluster, &["remove", "node6"])?;
    ensure!(copies(&cluster, "node1")? == 16, "three have all");
    cluster.nodes.truncate(3);
    let mut redis = cluster.nodes[1].redis()?;
    expect_all(&mut redis, keys(400))?;
    for i in (0..400).step_by(40) {
        expect_equal_copies(&mut redis, &format!("key{i}"))?;
    }
    Ok(())
}

/// Lost without it: transfers that cannot be called off, or that leave copies on the wrong side when they are.
#[test]
fn what_is_on_its_way_is_called_off() -> Result<()> {
    let slow = [("RKV_TRANSFERS__BYTES_PER_S", "20000")];
    let mut cluster = Processes::start_with(3, "fjall", "batch", &slow)?;
    let third = cluster.nodes.pop().context("three were started")?;
    cluster.join()?;
    set_all(&mut cluster.nodes[0].redis()?, keys(4_000))?;
    let before = rows(&cluster)?;
    third.cli(&["cluster", "join", &peer(&cluster.nodes[0])])?;
    cluster.nodes[0].cli(&["cluster", "commit"])?;
    eventually("something is on its way", || {
        let status = cluster.nodes[0].cli(&["cluster", "status"]);
        status.unwrap_or_default()["transfers_active"].as_u64() > Some(0)
    })?;
    cluster.nodes[0].cli(&["cluster", "cancel"])?;
    let begun = Instant::now();
    cluster.settle()?;
    ensure!(begun.elapsed() < Duration::from_secs(20), "they went on");
    let moved = rows(&cluster)?
        .iter()
        .zip(&before)
        .filter(|(now, then)| now != then)
        .count();
    ensure!(moved < 16, "all was moved before it could be called off");
    for node in [&cluster.nodes[0], &cluster.nodes[1], &third] {
        expect_all(&mut node.redis()?, keys(4_000))?;
    }
    Ok(())
}

/// Lost without it: a cluster that lost its majority is lost, goes on without a person having seen the price, or takes in
/// nothing of what the others bring when they turn up after all.
#[test]
fn a_lost_majority_is_left_behind() -> Result<()> {
    let mut cluster = Processes::start(5, "fjall", "batch")?;
    cluster.join()?;
    set_all(&mut cluster.nodes[0].redis()?, keys(400))?;
    for lost in 2..5 {
        cluster.nodes[lost].kill()?;
    }
    for lost in ["node3", "node4", "node5"] {
        is_missed(&cluster, lost)?;
    }
    let recover = ["cluster", "recover", "--without", "node3", "node4", "node5"];
    let (code, shown) = cluster.nodes[0].cli_raw(&recover)?;
    ensure!(
        code == Some(4) && shown["error"]["reason"] == "data_loss",
        "{code:?} {shown}"
    );
    cluster.nodes[0].cli(&[&recover[..], &["--accept-data-loss"]].concat())?;
    cluster.settle()?;
    for row in rows(&cluster)? {
        let two = BTreeSet::from(["node1".to_owned(), "node2".to_owned()]);
        ensure!(row == two, "{row:?}");
    }
    set_all(
        &mut cluster.nodes[1].redis()?,
        [("after".into(), "1".into())].into_iter(),
    )?;

    // Who comes back brings what it has, and goes.
    for lost in 2..5 {
        cluster.nodes[lost].start()?;
    }
    for lost in 2..5 {
        ends(&mut cluster.nodes[lost])?;
    }
    cluster.settle()?;
    for at in [0, 1] {
        expect_all(&mut cluster.nodes[at].redis()?, keys(400))?;
    }
    Ok(())
}

/// How many entries were mended in reads and by comparisons, at all nodes.
fn mended(cluster: &Processes) -> Result<f64> {
    let names = ["rkv_anti_entropy_repairs_total", "rkv_read_repairs_total"];
    let mut sum = 0.0;
    for node in &cluster.nodes {
        for line in node.metrics()?.lines() {
            if names.iter().any(|name| line.starts_with(name)) {
                let value = line.rsplit(' ').next().unwrap_or_default();
                sum += value.parse::<f64>()?;
            }
        }
    }
    Ok(sum)
}

/// A node is away for `away` of writes and deletes, and back.
fn away_and_back(away: Duration) -> Result<()> {
    let mut cluster = Processes::start(3, "fjall", "batch")?;
    cluster.join()?;
    set_all(&mut cluster.nodes[0].redis()?, keys(1_000))?;
    cluster.nodes[2].kill()?;
    let (mut redis, begun, mut round) = (cluster.nodes[0].redis()?, Instant::now(), 0);
    while begun.elapsed() < away {
        round += 1;
        let some = (0..1_000).filter(|i| i % 3 == round % 3);
        let value = format!("round{round}");
        set_all(
            &mut redis,
            some.clone().map(|i| (format!("key{i}"), value.clone())),
        )?;
        for i in some.filter(|i| i % 5 == 0) {
            redis.call(&["DEL", &format!("key{i}")])?;
        }
    }
    cluster.nodes[2].start()?;
    cluster.settle()?;
    // Nobody reads: what is mended from here on is mended by what the nodes do by themselves.
    let (mut before, mut since) = (mended(&cluster)?, Instant::now());
    eventually("nothing is mended for three seconds", || {
        let now = mended(&cluster).unwrap_or(-1.0);
        if now != before {
            (before, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_secs(3)
    })?;
    for i in 0..1_000 {
        expect_equal_copies(&mut redis, &format!("key{i}"))?;
    }
    ensure!(mended(&cluster)? == before, "reads found something to mend");
    Ok(())
}

/// Lost without it: what a node missed, deletes above all, is made good only when somebody reads it, or never stops being.
#[test]
fn who_was_away_becomes_like_the_others_though_nobody_reads() -> Result<()> {
    away_and_back(Duration::from_secs(3))
}

/// The same for a minute.
#[test]
#[ignore = "takes more than a minute"]
fn who_was_away_for_a_minute_becomes_like_the_others() -> Result<()> {
    away_and_back(Duration::from_secs(60))
}

/// Lost without it: many that join in one plan take for ever, or never come to rest.
#[test]
#[ignore = "starts ten nodes"]
fn ten_nodes_join_in_one_plan() -> Result<()> {
    let mut cluster = Processes::start(10, "fjall", "batch")?;
    set_all(&mut cluster.nodes[0].redis()?, keys(10_000))?;
    let begun = Instant::now();
    cluster.join()?;
    println!("ten nodes are one after {:?}", begun.elapsed());
    ensure!(
        begun.elapsed() < Duration::from_secs(60),
        "it takes a minute"
    );
    expect_all(&mut cluster.nodes[9].redis()?, keys(10_000))?;
    cluster.nodes[9].stop().map(drop)
}
