//! `rkv-graphs [RESULT_DIR] [OUT_DIR]`: what `scripts/graphs` runs.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Draws the results of `rkv bench` as PNG and SVG.
#[derive(Parser)]
#[command(name = "scripts/graphs", version)]
struct Arguments {
    /// What `rkv bench --test-dir` wrote. Subfolders that were each run at a rate make one more figure.
    #[arg(default_value = "tests")]
    result_dir: PathBuf,
    /// Where the figures go.
    #[arg(default_value = "benchmark_graphs")]
    out_dir: PathBuf,
}

fn main() -> ExitCode {
    let Arguments {
        result_dir,
        out_dir,
    } = Arguments::parse();
    match rkv_graphs::draw(&result_dir, &out_dir) {
        Ok(files) => {
            files.iter().for_each(|file| println!("{}", file.display()));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
