//! Real nodes that fail, come and go while clients write; everything acknowledged is read back at the end.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use rkv_ct::chaos::{Chaos, never};

/// Harms a cluster of real nodes for some minutes; exit 1 when anything acknowledged is lost
#[derive(Parser)]
struct Options {
    /// For how long
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Members at the beginning
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(3..=9))]
    nodes: u8,
    /// What they store in: memory, fjall or sled
    #[arg(long, default_value = "fjall")]
    backend: String,
    /// What is done; when it is done depends on the machine
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Clients
    #[arg(long, default_value_t = 8)]
    writers: usize,
    /// Tell each deed as it is done
    #[arg(long)]
    aloud: bool,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let chaos = Chaos {
        lasts: Duration::try_from_secs_f64(options.minutes * 60.0)?,
        nodes: usize::from(options.nodes),
        backend: options.backend,
        seed: options.seed,
        writers: options.writers,
        preloaded: 10_000,
        aloud: options.aloud,
    };
    let (told, findings, keys) = chaos.run()?;
    println!("{told}");
    println!("  {keys:8}  keys read back at every node");
    for name in never(&told) {
        println!("         0  {name}");
    }
    for line in &findings.told {
        println!("{line}");
    }
    let strange = told.how_often("reads of what nobody wrote") + told.sum("stuck");
    if findings.is_clean() && strange == 0 {
        println!("nothing lost, nothing back, all copies equal");
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "wrong: {:?}, copies unequal: {}",
        findings.wrong, findings.unequal
    );
    Ok(ExitCode::FAILURE)
}
