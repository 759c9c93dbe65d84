//! `rkv-graphs [RESULT_DIR] [OUT_DIR]`: what `scripts/graphs` runs.

use std::path::PathBuf;

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

fn main() -> anyhow::Result<()> {
    let Arguments {
        result_dir,
        out_dir,
    } = Arguments::parse();
    for path in rkv_graphs::draw(&result_dir, &out_dir)? {
        println!("{}", path.display());
    }
    Ok(())
}
