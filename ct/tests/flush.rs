//! FLUSHALL on real nodes: what was flushed does not come back with a node that was away, and what is written afterwards
//! stays; and the counts of keys that people look at.

use std::time::Instant;

use anyhow::{Result, ensure};
use rkv_ct::processes::{Processes, Redis, Reply, eventually, expect_all, set_all};

fn keys(from: usize, to: usize) -> impl Iterator<Item = (String, String)> {
    (from..to).map(|i| (format!("key{i}"), format!("value{i}")))
}

fn size(redis: &mut Redis) -> Result<String> {
    Ok(redis.call(&["DBSIZE"])?.text())
}

fn expect_none(redis: &mut Redis, from: usize, to: usize) -> Result<()> {
    let names: Vec<String> = keys(from, to).map(|(key, _)| key).collect();
    for some in names.chunks(200) {
        let mut command = vec!["EXISTS".to_owned()];
        command.extend_from_slice(some);
        let found = redis.pipeline(&[command])?.remove(0).text();
        ensure!(found == "0", "{found} keys came back");
    }
    Ok(())
}

/// The states of the three replicas of `key`.
fn states(redis: &mut Redis, key: &str) -> Result<Vec<String>> {
    let Reply::Array(replicas) = redis.call(&["RKV.REPLICAS", key])? else {
        anyhow::bail!("no array");
    };
    let state = |replica: &Reply| match replica {
        Reply::Array(fields) => fields.get(4).map(Reply::text).unwrap_or_default(),
        other => other.text(),
    };
    Ok(replicas.iter().map(state).collect())
}

/// Kills node3, flushes without it, writes anew, and brings it back.
fn nothing_comes_back(backend: &str) -> Result<()> {
    let mut cluster = Processes::start(3, backend, "batch")?;
    cluster.join()?;
    let mut redis = cluster.nodes[0].redis()?;
    set_all(&mut redis, keys(0, 2_000))?;
    cluster.settle()?;
    ensure!(size(&mut redis)? == "2000", "{}", size(&mut redis)?);
    cluster.nodes[2].kill()?;
    // While nobody knows yet that it is gone, the flush waits for it.
    eventually("a flush without node3", || {
        redis
            .call(&["FLUSHALL"])
            .is_ok_and(|reply| reply.text() == "OK")
    })?;
    expect_none(&mut redis, 0, 2_000)?;
    set_all(&mut redis, keys(1_000, 1_500))?;
    cluster.nodes[2].start()?;
    cluster.settle()?;
    for node in &cluster.nodes {
        let mut redis = node.redis()?;
        expect_none(&mut redis, 0, 1_000)?;
        expect_all(&mut redis, keys(1_000, 1_500))?;
        eventually("500 keys", || {
            size(&mut redis).is_ok_and(|size| size == "500")
        })?;
        // A node that was just started may be filling, or not be seen by all; what it must not do is to hold it.
        let flushed = states(&mut redis, "key3")?;
        let holds = |state: &String| state == "value" || state == "tombstone";
        ensure!(!flushed.iter().any(holds), "key3 is {flushed:?}");
        eventually("key3 to be missing and key1003 to be everywhere", || {
            let all_are = |redis: &mut Redis, key, state: &str| {
                states(redis, key).is_ok_and(|found| found == [state; 3])
            };
            all_are(&mut redis, "key3", "missing") && all_are(&mut redis, "key1003", "value")
        })?;
    }
    Ok(())
}

/// Lost without it: a flush that a node takes back which was dead meanwhile, on the durable engine.
#[test]
fn a_flush_outlives_a_dead_node() -> Result<()> {
    nothing_comes_back("fjall")
}

/// Lost without it: the same on an engine that forgets, whose node fills itself from the others.
#[test]
fn a_flush_outlives_a_node_that_forgot() -> Result<()> {
    nothing_comes_back("memory")
}

/// Lost without it: counts that no tool can go by.
#[test]
fn keys_are_counted_over_the_cluster() -> Result<()> {
    let cluster = Processes::start(3, "memory", "batch")?;
    cluster.join()?;
    let mut redis = cluster.nodes[1].redis()?;
    ensure!(
        redis.call(&["RANDOMKEY"])?.text() == "",
        "no key is there yet"
    );
    set_all(
        &mut redis,
        (0..300).map(|i| (format!("{{t}}{i}"), "v".to_owned())),
    )?;
    redis.call(&["DEL", "{t}0"])?;
    redis.call(&["SET", "{t}1", "v", "PXAT", "1"])?;
    eventually("the counts to be taken anew", || {
        // One that has expired counts until it is swept.
        size(&mut redis).is_ok_and(|size| size == "299")
    })?;
    let slot = "15891";
    for node in &cluster.nodes {
        let mut redis = node.redis()?;
        let count = redis.call(&["CLUSTER", "COUNTKEYSINSLOT", slot])?.text();
        ensure!(count == "298", "{count} in the slot");
        let Reply::Array(names) = redis.call(&["CLUSTER", "GETKEYSINSLOT", slot, "20"])? else {
            anyhow::bail!("no array");
        };
        ensure!(names.len() == 20 && names.iter().all(|key| key.text().starts_with("{t}")));
        let key = redis.call(&["RANDOMKEY"])?.text();
        ensure!(key.starts_with("{t}"), "{key}");
    }
    let began = Instant::now();
    let replies = redis.pipeline(&[
        vec!["SET".into(), "{t}9".into(), "w".into()],
        vec!["FLUSHDB".into(), "ASYNC".into()],
        vec!["GET".into(), "{t}9".into()],
        vec!["SET".into(), "{t}9".into(), "x".into()],
        vec!["GET".into(), "{t}9".into()],
    ])?;
    let said: Vec<String> = replies.iter().map(Reply::text).collect();
    ensure!(
        said == ["OK", "OK", "", "OK", "x"],
        "{said:?} in {:?}",
        began.elapsed()
    );
    Ok(())
}
