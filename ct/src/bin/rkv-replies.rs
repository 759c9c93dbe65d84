//! Holds the replies of rkv against those of a real redis-server: `rkv-replies [FILE...]`, all of `ct/replies` when no
//! file is named. Exit 0: all agree; 1: some do not, each told; 0 with a word when redis-server is not installed.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use rkv_ct::processes::Processes;
use rkv_ct::replies::script::Script;
use rkv_ct::replies::server::RedisServer;
use rkv_ct::replies::{self, Outcome};

fn main() -> Result<ExitCode> {
    if !RedisServer::is_installed() {
        println!("skipped: redis-server is not installed (apt-get install redis-server)");
        return Ok(ExitCode::SUCCESS);
    }
    let files = match std::env::args_os().skip(1).map(PathBuf::from).collect() {
        none if Vec::is_empty(&none) => scripts()?,
        some => some,
    };
    let scripts = files.iter().map(|path| Script::read(path));
    let scripts = scripts.collect::<Result<Vec<Script>>>()?;
    let mut total = Outcome::default();
    for nodes in [1, 3] {
        let cluster = Processes::start(nodes, "fjall", "batch")?;
        if nodes > 1 {
            cluster.join()?;
        }
        for script in &scripts {
            let alone;
            let rkv = match &script.password {
                None => &cluster,
                // a password is one node's affair
                Some(_) if nodes > 1 => continue,
                Some(password) => {
                    let secret = [("RKV_REDIS__PASSWORD", password.as_str())];
                    alone = Processes::start_with(1, "memory", "batch", &secret)?;
                    &alone
                }
            };
            let password = script.password.as_deref();
            let reference = RedisServer::start(script.is_for_cluster, password)?;
            let outcome = replies::run(script, reference.port, rkv.nodes[0].redis)?;
            println!(
                "{nodes} node{}: {:<16} {:>4} the same, {:>3} not compared, {} different",
                if nodes > 1 { "s" } else { " " },
                script.name,
                outcome.same,
                outcome.skipped,
                outcome.differences.len()
            );
            for difference in &outcome.differences {
                println!("    {difference}");
            }
            total.same += outcome.same;
            total.skipped += outcome.skipped;
            total.differences.extend(outcome.differences);
        }
    }
    println!(
        "{} replies the same, {} not compared, {} different",
        total.same,
        total.skipped,
        total.differences.len()
    );
    Ok(if total.differences.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn scripts() -> Result<Vec<PathBuf>> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/replies"));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "txt") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
