//! Holds the speed of rkv against that of others: what `scripts/compare` runs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use rkv_ct::compare::{self, CASES, Extent, table};
use serde_json::{Value, json};

/// Runs rkv beside Redis, Redis Cluster and its Erlang ancestor's measured share of Redis; starts all that on loopback.
#[derive(Parser)]
#[command(name = "scripts/compare")]
struct Arguments {
    /// Rounds of each case; both sides are asked in each.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// As little as shows that it works: one round, figures that mean nothing.
    #[arg(long)]
    quick: bool,
    /// Only this case; may be given several times.
    #[arg(long = "case", value_name = "N", value_parser = clap::value_parser!(u8).range(1..=8))]
    cases: Vec<u8>,
    /// Where results.json and table.md go.
    #[arg(long, value_name = "FOLDER", overrides_with = "out")]
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    match compared(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn compared(arguments: &Arguments) -> Result<()> {
    let given = std::env::var_os("RKV_BIN");
    ensure!(
        given.is_some_and(|path| Path::new(&path).is_file()),
        "RKV_BIN names no release binary of rkv: use scripts/compare, which builds it"
    );
    let started = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let out = arguments.out.clone();
    let out = out.unwrap_or_else(|| PathBuf::from(format!("tests/compare-{started}")));
    let extent = Extent {
        rounds: if arguments.quick {
            1
        } else {
            arguments.rounds.into()
        },
        is_quick: arguments.quick,
    };
    let mut lines = Vec::new();
    for case in CASES {
        let is_wanted = arguments.cases.is_empty() || arguments.cases.contains(&case.number);
        if !is_wanted {
            continue;
        }
        eprintln!("case {}: {}", case.number, case.what);
        let came = compare::run(case.number, extent);
        lines.extend(came.with_context(|| format!("case {}: {}", case.number, case.what))?);
        // what is known is kept, should the next case fail
        write(&out, arguments, &lines, started)?;
    }
    print!("{}", table::markdown(&lines));
    println!("\n{}", machine_line());
    if arguments.quick {
        println!("quick: it works, and the figures mean nothing");
    }
    println!(
        "{} and {}",
        out.join("results.json").display(),
        out.join("table.md").display()
    );
    Ok(())
}

fn write(out: &Path, arguments: &Arguments, lines: &[table::Line], started: u64) -> Result<()> {
    let folder = || {
        format!(
            "{} takes no results; name another folder with --out",
            out.display()
        )
    };
    std::fs::create_dir_all(out).with_context(folder)?;
    let document = json!({
        "command": std::env::args().collect::<Vec<_>>(),
        "started": started * 1000,
        "quick": arguments.quick,
        "rounds": arguments.rounds,
        "machine": machine(),
        "cases": table::document(lines),
    });
    let text = serde_json::to_string_pretty(&document)?;
    std::fs::write(out.join("results.json"), text + "\n").with_context(folder)?;
    let table = format!("{}\n{}\n", table::markdown(lines), machine_line());
    std::fs::write(out.join("table.md"), table).with_context(folder)
}

fn machine() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map(|model| model.trim_start_matches([' ', '\t', ':']));
    let meminfo = read("/proc/meminfo");
    let memory = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = memory.and_then(|text| text.trim().strip_suffix(" kB"));
    let kib = kib.and_then(|kib| kib.trim().parse::<u64>().ok());
    json!({
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "cpu": model,
        "memory_bytes": kib.map(|kib| kib * 1024),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "redis": version("redis-server"),
    })
}

fn version(program: &str) -> Option<String> {
    let output = std::process::Command::new(program)
        .arg("--version")
        .output();
    let text = String::from_utf8(output.ok()?.stdout).ok()?;
    let word = text
        .split_whitespace()
        .find_map(|word| word.strip_prefix("v="));
    word.map(str::to_owned)
}

fn machine_line() -> String {
    let machine = machine();
    let text = |name: &str| match &machine[name] {
        Value::String(text) => text.clone(),
        Value::Null => "unknown".to_owned(),
        other => other.to_string(),
    };
    format!(
        "{} cores of {}, Linux {}, redis-server {}",
        text("cores"),
        text("cpu"),
        text("kernel"),
        text("redis")
    )
}
