//! What one node acknowledged survives its stop and its death, on every engine and at every level.

use anyhow::{Result, ensure};
use rkv_ct::processes::{Processes, expect_all, set_all};

fn keys() -> impl Iterator<Item = (String, String)> {
    (0..1000).map(|i| (format!("key{i}"), format!("value{i}")))
}

fn survives(backend: &str, durability: &str) -> Result<()> {
    let mut cluster = Processes::start(1, backend, durability)?;
    let node = &mut cluster.nodes[0];
    set_all(&mut node.redis()?, keys())?;
    node.kill()?;
    node.start()?;
    expect_all(&mut node.redis()?, keys())?;
    let ended = node.stop()?;
    ensure!(ended.success(), "{ended}");
    node.start()?;
    expect_all(&mut node.redis()?, keys())
}

/// Lost without it: an acknowledged write that a crash takes back.
#[test]
fn fjall_keeps_what_was_acknowledged() -> Result<()> {
    ["always", "batch", "os"]
        .into_iter()
        .try_for_each(|level| survives("fjall", level))
}

/// Lost without it: the same on the tutorial's engine, whose own flush is none.
#[test]
fn sled_keeps_what_was_acknowledged() -> Result<()> {
    ["always", "batch", "os"]
        .into_iter()
        .try_for_each(|level| survives("sled", level))
}

/// Lost without it: two processes on one folder, or a folder taken for another engine's.
#[test]
fn a_folder_that_cannot_be_used_is_refused_with_the_key_that_helps() -> Result<()> {
    let mut cluster = Processes::start(1, "fjall", "batch")?;
    let start = |sets: &[String]| {
        let mut command = std::process::Command::new(rkv_ct::processes::binary());
        command.arg("start");
        for set in sets {
            command.args(["--set", set]);
        }
        command.output()
    };
    let node = &cluster.nodes[0];
    let folder = format!("node.data_dir={}", node.data().display());
    let name = format!("node.name={}", node.name);
    let ports = ["redis", "peer", "http"].map(|l| format!("listen.{l}=127.0.0.1:0"));
    let mut sets = vec![folder, name];
    sets.extend(ports);
    let said = |sets: &[String], key: &str| -> Result<()> {
        let output = start(sets)?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            !output.status.success() && text.contains(key),
            "{key}: {text}"
        );
        Ok(())
    };
    said(&sets, "node.data_dir")?;
    let mut taken = sets.clone();
    taken[2] = format!("listen.redis=127.0.0.1:{}", node.redis);
    said(&taken, "listen.redis")?;
    cluster.nodes[0].stop()?;
    let with = |extra: &str| {
        let mut sets = sets.clone();
        sets.push(extra.to_owned());
        sets
    };
    said(&with("storage.backend=sled"), "storage.backend")?;
    said(&with("ring.partitions=12"), "ring.partitions")?;
    said(&with("ring.partition=16"), "ring.partitions")?;
    let mut other = sets.clone();
    other[1] = "node.name=somebody".to_owned();
    said(&other, "node.name")
}
