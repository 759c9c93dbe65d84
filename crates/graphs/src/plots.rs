//! This file answers: which figures come of a folder of results?
//!
//! Of each operation, as far as its files are there: `single` latency of single operations over time · `throughput` over
//! time · `percentiles` of latency over time · `curve` the percentile curve. Of subfolders: `load` latency against
//! offered load. `told` is what titles say of the run.

mod curve;
mod load;
mod percentiles;
mod single;
mod throughput;
mod told;

use crate::figure::scale::{Scale, Unit};
use crate::figure::{Axis, Figure, Mark};
use crate::results::Results;

/// Names of files, without their ending, and what they show.
pub fn all(results: &Results) -> Vec<(String, Figure)> {
    let mut figures = Vec::new();
    for operation in &results.operations {
        let name = &operation.name;
        if !operation.single.is_empty() {
            let figure = single::figure(results, operation);
            figures.push((format!("latency_{name}_single"), figure));
        }
        if !operation.single.is_empty() || !operation.windows.is_empty() {
            let figure = throughput::figure(results, operation);
            figures.push((format!("throughput_{name}_single"), figure));
        }
        if operation.windows.iter().any(|window| window.n > 0) {
            let figure = percentiles::figure(results, operation);
            figures.push((format!("latency_{name}"), figure));
        }
        if !operation.curve.is_empty() {
            let figure = curve::figure(results, operation);
            figures.push((format!("percentiles_{name}"), figure));
        }
    }
    if !results.at_rates.is_empty() {
        figures.push(("load_latency".to_owned(), load::figure(&results.at_rates)));
    }
    figures
}

/// Latencies below this are drawn at it: a logarithmic axis has no zero.
const LEAST_US: f64 = 0.1;

fn latency_axis(title: &str, latencies: impl Iterator<Item = f64>) -> Axis {
    Axis {
        title: format!("{title} (logarithmic, µs to s)"),
        scale: Scale::log_around(latencies, Unit::Microseconds),
    }
}

/// To the end, or to the whole second that it all but reached: the last tick of a minute is 60, though its last operation
/// was at 59.99; and one at 60.01 adds no empty second.
fn time_axis(until_s: f64) -> Axis {
    let whole = match until_s > 5.0 {
        true => (until_s - 0.2).ceil(),
        false => 0.0,
    };
    Axis {
        title: "Time since the run began (s)".to_owned(),
        scale: Scale::up_to(until_s.max(whole), Unit::Count),
    }
}

/// Seconds since the run began.
fn since(results: &Results, at_us: i64) -> f64 {
    at_us.saturating_sub(results.started_us()) as f64 / 1e6
}

fn marks(results: &Results) -> Vec<Mark> {
    let marks = results.events.iter().map(|event| Mark {
        at: since(results, event.at_us),
        label: event.label.clone(),
    });
    marks.collect()
}
