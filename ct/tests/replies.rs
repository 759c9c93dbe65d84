//! The scripts of `ct/replies`, on a real redis-server and on one node; `scripts/replies` adds three nodes.

use anyhow::{Result, ensure};
use rkv_ct::processes::Processes;
use rkv_ct::replies;
use rkv_ct::replies::script::Script;
use rkv_ct::replies::server::RedisServer;

/// Lost without it: a client library that reads a reply by its bytes meets other bytes than with Redis.
#[test]
fn replies_are_those_of_redis_server() -> Result<()> {
    if !RedisServer::is_installed() {
        eprintln!("skipped: redis-server is not installed");
        return Ok(());
    }
    let node = Processes::start(1, "memory", "batch")?;
    let mut differences = Vec::new();
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/replies"))? {
        let script = Script::read(&entry?.path())?;
        let password = script.password.as_deref();
        let secured;
        let rkv = match password {
            None => &node,
            Some(password) => {
                let secret = [("RKV_REDIS__PASSWORD", password)];
                secured = Processes::start_with(1, "memory", "batch", &secret)?;
                &secured
            }
        };
        let reference = RedisServer::start(script.is_for_cluster, password)?;
        let outcome = replies::run(&script, reference.port, rkv.nodes[0].redis)?;
        differences.extend(outcome.differences);
    }
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    Ok(())
}
