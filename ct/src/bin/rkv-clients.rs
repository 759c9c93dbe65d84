//! Tries the Redis clients that people have on three nodes: `rkv-clients [NAME...]`, all when none is named.
//!
//! Each client has a folder in `scripts/clients.d`: `install VERSION` puts it into the working folder, which is temporary;
//! `run` uses it. What `run` prints is what is looked at:
//!
//!     ok LINE            a line of the table holds
//!     fail LINE: why     it does not
//!     note LINE: text    a figure
//!     kill               kill the third node; answered with a line on stdin once it is dead
//!
//! `run` finds the Redis ports in `PORTS`. Exit 0: every client that could be installed passes every line.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};
use rkv_ct::processes::Processes;

/// Name, folder and version.
const CLIENTS: [(&str, &str, &str); 11] = [
    ("redis-cli", "redis-cli", ""),
    ("redis-benchmark", "redis-benchmark", ""),
    ("redis-py-8", "redis-py", "8.*"),
    ("redis-py-5", "redis-py", "5.*"),
    ("redis-py-4.6", "redis-py", "4.6.*"),
    ("ioredis-6", "ioredis", "6"),
    ("ioredis-5", "ioredis", "5"),
    ("node-redis-6", "node-redis", "6"),
    ("node-redis-4", "node-redis", "4"),
    ("redis-rs", "redis-rs", "1"),
    ("exporter", "exporter", ""),
];

/// The table's columns, in their order.
const LINES: [&str; 11] = [
    "connect",
    "set-get",
    "del",
    "mget",
    "expire",
    "binary",
    "pipeline",
    "killed",
    "cluster",
    "cluster-killed",
    "tools",
];

/// What came of one client: its lines, or why it could not be installed.
type Outcome = std::result::Result<BTreeMap<String, String>, String>;

fn main() -> Result<ExitCode> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let mut cluster = Processes::start(3, "fjall", "batch")?;
    cluster.join()?;
    let mut outcomes: Vec<(&str, Outcome)> = Vec::new();
    for (name, folder, version) in CLIENTS {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| wanted == name) {
            continue;
        }
        eprintln!("== {name}");
        outcomes.push((name, try_client(&mut cluster, folder, version)?));
    }
    table(&outcomes);
    let all_pass = outcomes.iter().all(|(_, outcome)| match outcome {
        Ok(lines) => !lines.is_empty() && lines.values().all(String::is_empty),
        Err(_) => true,
    });
    Ok(if all_pass {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn try_client(cluster: &mut Processes, name: &str, version: &str) -> Result<Outcome> {
    let scripts = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/clients.d"));
    let scripts = scripts.join(name).canonicalize()?;
    let folder = tempfile::tempdir()?;
    let install = Command::new(scripts.join("install"))
        .arg(version)
        .env("SCRIPTS", &scripts)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()?;
    if !install.status.success() {
        let said = String::from_utf8_lossy(&install.stderr).into_owned();
        let last = said.lines().rev().find(|line| !line.trim().is_empty());
        return Ok(Err(last.unwrap_or("no word of why").trim().to_owned()));
    }
    let ports: Vec<String> = cluster
        .nodes
        .iter()
        .map(|node| node.redis.to_string())
        .collect();
    let mut child = Command::new(scripts.join("run"))
        .env("PORTS", ports.join(" "))
        .env("SCRIPTS", &scripts)
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().context("stdin is piped")?;
    let stdout = child.stdout.take().context("stdout is piped")?;
    let mut lines = BTreeMap::new();
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("ok", name) => {
                lines.entry(name.to_owned()).or_insert_with(String::new);
            }
            ("fail", told) => {
                let (name, why) = told.split_once(": ").unwrap_or((told, "no word of why"));
                lines.insert(name.to_owned(), why.to_owned());
                eprintln!("   {line}");
            }
            ("kill", "") => {
                cluster.nodes[2].kill()?;
                // It may have given up already; then it says so itself.
                let _ = stdin.write_all(b"killed\n");
                let _ = stdin.flush();
            }
            ("note", _) => eprintln!("   {line}"),
            _ => {}
        }
    }
    let status = child.wait()?;
    if !status.success() {
        lines.insert("run".to_owned(), format!("it ended with {status}"));
    }
    // as it was, for the next one
    cluster.nodes[2].kill()?;
    cluster.nodes[2].start()?;
    cluster.settle()?;
    Ok(Ok(lines))
}

fn table(outcomes: &[(&str, Outcome)]) {
    print!("{:<16}", "");
    LINES.iter().for_each(|line| print!(" {line:>9}"));
    println!();
    for (name, outcome) in outcomes {
        print!("{name:<16}");
        let Ok(lines) = outcome else {
            println!(" could not be installed");
            continue;
        };
        for line in LINES {
            let word = match lines.get(line) {
                None => "-",
                Some(why) if why.is_empty() => "ok",
                Some(_) => "FAIL",
            };
            print!(" {word:>width$}", width = line.len().max(9));
        }
        println!();
    }
    for (name, outcome) in outcomes {
        match outcome {
            Err(why) => println!("{name}: could not be installed: {why}"),
            Ok(lines) if lines.is_empty() => println!("{name}: said nothing"),
            Ok(lines) => {
                for (line, why) in lines.iter().filter(|(_, why)| !why.is_empty()) {
                    println!("{name}: {line}: {why}");
                }
            }
        }
    }
}
