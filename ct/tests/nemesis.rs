//! Nodes that join, die and come back while clients go on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rkv_ct::processes::{
    Node, Processes, Redis, Reply, eventually, expect_all, expect_equal_copies, set_all,
};

/// One writer of its own keys, which reads them back: what it was told, and when it was told an error.
struct Load {
    written: BTreeMap<String, String>,
    errors: Vec<(Instant, String)>,
    requests: u64,
}

fn load(port: u16, keys: Vec<String>, stop: &AtomicBool) -> Result<Load> {
    let mut redis = Redis::connect(port)?;
    let mut load = Load {
        written: BTreeMap::new(),
        errors: Vec::new(),
        requests: 0,
    };
    for round in 0.. {
        for key in &keys {
            if stop.load(Ordering::Relaxed) {
                return Ok(load);
            }
            let value = format!("{key}-{round}");
            match redis.call(&["SET", key, &value])? {
                Reply::Simple(_) => drop(load.written.insert(key.clone(), value)),
                other => {
                    load.errors.push((Instant::now(), other.text()));
                    load.written.remove(key);
                }
            }
            if let Some(expected) = load.written.get(key) {
                match redis.call(&["GET", key])? {
                    Reply::Error(text) => load.errors.push((Instant::now(), text)),
                    got => ensure!(got.text() == *expected, "{key}: {got:?}, not {expected}"),
                }
            }
            load.requests += 2;
        }
    }
    Ok(load)
}

fn own_keys(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|i| format!("{prefix}{i}")).collect()
}

fn join_under_load(backend: &str, keys: usize) -> Result<()> {
    let cluster = Processes::start(3, backend, "batch")?;
    let all = || (0..keys).map(|i| (format!("key{i}"), format!("value{i}")));
    set_all(&mut cluster.nodes[0].redis()?, all())?;
    let stop = AtomicBool::new(false);
    let port = cluster.nodes[0].redis;
    let loads = std::thread::scope(|scope| -> Result<Vec<Load>> {
        let stop = &stop;
        let writers: Vec<_> = ["x", "y"]
            .into_iter()
            .map(|prefix| scope.spawn(move || load(port, own_keys(prefix, 200), stop)))
            .collect();
        let joined = cluster.join();
        stop.store(true, Ordering::Relaxed);
        let loads = writers
            .into_iter()
            .map(|writer| writer.join().expect("a writer does not panic"));
        let loads = loads.collect::<Result<Vec<_>>>();
        joined?;
        loads
    })?;
    cluster.settle()?;
    for load in &loads {
        ensure!(load.errors.is_empty(), "{:?}", load.errors.first());
        ensure!(load.requests > 0, "a load that asks nothing shows nothing");
    }
    for node in &cluster.nodes {
        let mut redis = node.redis()?;
        expect_all(&mut redis, all())?;
        for load in &loads {
            expect_all(&mut redis, load.written.clone().into_iter())?;
        }
    }
    let mut redis = cluster.nodes[1].redis()?;
    for (key, _) in all().step_by(keys / 50) {
        expect_equal_copies(&mut redis, &key)?;
    }
    for key in loads.iter().flat_map(|load| load.written.keys()) {
        expect_equal_copies(&mut redis, key)?;
    }
    Ok(())
}

/// Lost without it: a write that a membership change loses, on the durable engine.
#[test]
fn two_nodes_join_under_load_on_fjall() -> Result<()> {
    join_under_load("fjall", 20_000)
}

/// Lost without it: the same on sled.
#[test]
fn two_nodes_join_under_load_on_sled() -> Result<()> {
    join_under_load("sled", 20_000)
}

/// Lost without it: the same in memory.
#[test]
fn two_nodes_join_under_load_in_memory() -> Result<()> {
    join_under_load("memory", 20_000)
}

/// The full size of the promise; `cargo test -p rkv-ct --test nemesis -- --ignored`.
#[test]
#[ignore = "takes minutes: 100,000 keys on each engine"]
fn a_hundred_thousand_keys_move_under_load() -> Result<()> {
    ["fjall", "sled", "memory"]
        .into_iter()
        .try_for_each(|backend| join_under_load(backend, 100_000))
}

/// Lost without it: a node's death that clients see as more than a moment, or hints that never drain.
#[test]
fn any_of_three_nodes_may_die_under_load() -> Result<()> {
    each_dies("fjall", Duration::ZERO)
}

/// Half a minute after each death in which nobody may see an error.
#[test]
#[ignore = "takes minutes: 35 s for each of three nodes on each engine"]
fn half_a_minute_after_a_death_is_quiet() -> Result<()> {
    ["fjall", "sled", "memory"]
        .into_iter()
        .try_for_each(|backend| each_dies(backend, Duration::from_secs(33)))
}

fn each_dies(backend: &str, away: Duration) -> Result<()> {
    let mut cluster = Processes::start(3, backend, "batch")?;
    cluster.join()?;
    (0..3).try_for_each(|victim| {
        kill_one(&mut cluster, victim, away)
            .with_context(|| format!("node{} of three on {backend}", victim + 1))
    })
}

fn kill_one(cluster: &mut Processes, victim: usize, away: Duration) -> Result<()> {
    let survivors: Vec<u16> = (0..3)
        .filter(|at| *at != victim)
        .map(|at| cluster.nodes[at].redis)
        .collect();
    let stop = AtomicBool::new(false);
    let (killed_at, loads) = std::thread::scope(|scope| -> Result<_> {
        let stop = &stop;
        let writers: Vec<_> = survivors
            .iter()
            .zip(["p", "q"])
            .map(|(port, prefix)| scope.spawn(move || load(*port, own_keys(prefix, 100), stop)))
            .collect();
        let at = (victim + 1) % 3;
        let ran = die_and_return(&mut cluster.nodes, victim, at, away);
        stop.store(true, Ordering::Relaxed);
        let loads = writers
            .into_iter()
            .map(|writer| writer.join().expect("a writer does not panic"));
        let loads = loads.collect::<Result<Vec<_>>>();
        Ok((ran?, loads?))
    })?;
    cluster.settle()?;
    for load in &loads {
        for (at, text) in &load.errors {
            let after = at.saturating_duration_since(killed_at);
            ensure!(
                after < Duration::from_secs(2),
                "{text} {after:?} after the kill"
            );
        }
    }
    let mut redis = cluster.nodes[victim].redis()?;
    for load in &loads {
        expect_all(&mut redis, load.written.clone().into_iter())?;
        for key in load.written.keys() {
            expect_equal_copies(&mut redis, key)?;
        }
    }
    Ok(())
}

/// Kills a node, waits until it is missed, has been `away` for so long and hints are held for it, and starts it again.
fn die_and_return(nodes: &mut [Node], victim: usize, at: usize, away: Duration) -> Result<Instant> {
    nodes[victim].kill()?;
    let killed_at = Instant::now();
    let status = |node: &Node| node.cli(&["cluster", "status"]);
    eventually("the dead node is missed and hints are held", || {
        status(&nodes[at]).is_ok_and(|status| {
            let unreachable = status["unreachable"].as_array().map_or(0, Vec::len);
            killed_at.elapsed() >= away && unreachable == 1 && status["hints"].as_u64() > Some(50)
        })
    })?;
    nodes[victim].start()?;
    eventually("its hints drain", || {
        status(&nodes[at]).is_ok_and(|status| {
            status["unreachable"].as_array().is_some_and(Vec::is_empty)
                && status["hints"].as_u64() == Some(0)
        })
    })
    .context("after its return")?;
    Ok(killed_at)
}
