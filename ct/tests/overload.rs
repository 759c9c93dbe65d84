//! More than a node can take, on real nodes: peers that stand still while clients go on.

use std::time::Duration;

use anyhow::{Result, ensure};
use rkv_ct::processes::{Processes, Reply, eventually, expect_equal_copies};

const CLIENTS: usize = 8;
const ROUNDS: usize = 40;
/// Commands of a round.
const PIPELINE: usize = 100;
const KEYS: usize = 200;
const VALUE_BYTES: usize = 4096;
/// What a node may hold of requests that wait for somebody who does not answer, besides its data.
const WAITING_BYTES: u64 = 384 << 20;

fn key(client: usize, at: usize) -> String {
    format!("key{client}-{}", at % KEYS)
}

/// Values tell which write they are of.
fn value(at: usize) -> String {
    format!("{at:0VALUE_BYTES$}")
}

/// One client's writes, in rounds; by key, the last write and whether it was acknowledged.
fn write(port: u16, client: usize) -> Result<Vec<Option<usize>>> {
    let mut redis = rkv_ct::processes::Redis::connect(port)?;
    let mut acknowledged = vec![None; KEYS];
    for round in 0..ROUNDS {
        let all = (round * PIPELINE)..((round + 1) * PIPELINE);
        let commands: Vec<Vec<String>> = all
            .clone()
            .map(|at| vec!["SET".to_owned(), key(client, at), value(at)])
            .collect();
        for (at, reply) in all.zip(redis.pipeline(&commands)?) {
            acknowledged[at % KEYS] = match &reply {
                Reply::Simple(ok) if ok == "OK" => Some(at),
                Reply::Error(text) => {
                    let remedies = ["UNKNOWN", "TRYAGAIN", "BUSY", "CLUSTERDOWN", "NOREPLICAS"];
                    let code = text.split(' ').next().unwrap_or_default();
                    ensure!(remedies.contains(&code), "{text}");
                    None
                }
                other => anyhow::bail!("no reply to a SET: {}", other.text()),
            };
        }
    }
    Ok(acknowledged)
}

/// Stops some of three nodes, writes at the first, lets them go on; what was acknowledged last is everywhere.
fn stand_still(stopped: std::ops::Range<usize>) -> Result<usize> {
    let cluster = Processes::start(3, "memory", "batch")?;
    cluster.join()?;
    let first = &cluster.nodes[0];
    let before = first.resident_bytes()?;
    for node in &cluster.nodes[stopped.clone()] {
        node.pause()?;
    }
    let port = first.redis;
    let writers: Vec<_> = (0..CLIENTS)
        .map(|client| std::thread::spawn(move || write(port, client)))
        .collect();
    let mut most = before;
    while !writers.iter().all(std::thread::JoinHandle::is_finished) {
        most = most.max(first.resident_bytes()?);
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let grown = most.saturating_sub(before);
    ensure!(grown < WAITING_BYTES, "{grown} bytes more than before");
    for node in &cluster.nodes[stopped] {
        node.resume()?;
    }
    let mut count = 0;
    let mut redis = first.redis()?;
    eventually("writes to be taken again", || {
        redis
            .call(&["SET", "after", "it"])
            .is_ok_and(|reply| reply.text() == "OK")
    })?;
    cluster.settle()?;
    for (client, writer) in writers.into_iter().enumerate() {
        let acknowledged = writer.join().expect("a client does not panic")?;
        for (at, last) in acknowledged.into_iter().enumerate() {
            let Some(last) = last else { continue };
            count += 1;
            let held = redis.call(&["GET", &key(client, at)])?.text();
            ensure!(
                held == value(last),
                "{} is not write {last}",
                key(client, at)
            );
            if at % 50 == 0 {
                // Who stood still may have to be dialled once more.
                eventually("copies to be equal", || {
                    expect_equal_copies(&mut redis, &key(client, at)).is_ok()
                })?;
            }
        }
    }
    Ok(count)
}

/// Lost without it: one node that hangs takes the memory of those that go on, or what they acknowledged meanwhile.
#[test]
fn a_stopped_node_costs_bounded_memory_and_no_write() -> Result<()> {
    let acknowledged = stand_still(2..3)?;
    ensure!(
        acknowledged == CLIENTS * KEYS,
        "{acknowledged} acknowledged"
    );
    Ok(())
}

/// Lost without it: a node without its quorum fills its memory, leaves clients without an answer, or does not go on when
/// the others do.
#[test]
fn a_node_that_is_left_alone_answers_and_goes_on() -> Result<()> {
    stand_still(1..3)?;
    Ok(())
}
