//! Draws every kind of figure from invented results, for whoever changes how they look: `sample [FOLDER]`.

#[path = "../tests/sample/mod.rs"]
mod sample;

use std::path::PathBuf;

fn main() -> anyhow::Result<()> {
    let folder = std::env::args_os().nth(1);
    let folder = folder.map_or_else(|| PathBuf::from("benchmark_graphs/sample"), PathBuf::from);
    let run = sample::Run {
        operations: 1_000_000,
        ..sample::Run::default()
    };
    run.write(&folder);
    for rate in [
        1_000.0, 2_000.0, 4_000.0, 6_000.0, 8_000.0, 10_000.0, 12_000.0,
    ] {
        let run = sample::Run {
            operations: 20_000,
            offered_per_s: Some(rate),
            done_per_s: f64::min(rate, 9_000.0),
        };
        run.write(&folder.join(format!("rate-{rate}")));
    }
    for path in rkv_graphs::draw(&folder, &folder.join("figures"))? {
        println!("{}", path.display());
    }
    Ok(())
}
