//! This file answers: how does latency grow with the load that is offered?
//!
//! Each run at a rate is a point; a ring that is open says that the target did not keep up with what was offered, so its latency is
//! that of a queue which only grows.

use std::collections::BTreeSet;

use super::{LEAST_US, latency_axis, told};
use crate::figure::scale::{Scale, Unit};
use crate::figure::{Axis, Color, Figure, Panel, Series, Shape};
use crate::results::summary::{OperationSummary, Summary};

/// A target kept up when it did this share of what was offered.
const KEPT_UP: f64 = 0.98;
/// Loads further apart than this are laid out logarithmically.
const WIDE: f64 = 16.0;

type Line = (&'static str, Color, fn(&OperationSummary) -> f64);

const LINES: [Line; 4] = [
    ("99.9th percentile", Color::VERMILION, |all| all.p99_9),
    ("99th percentile", Color::ORANGE, |all| all.p99),
    ("95th percentile", Color::GREEN, |all| all.p95),
    ("median", Color::BLUE, |all| all.median),
];

pub(super) fn figure(runs: &[Summary]) -> Figure {
    let operations: BTreeSet<&String> = runs.iter().flat_map(|run| run.operations.keys()).collect();
    let all = runs.iter().flat_map(|run| run.operations.values());
    let values: Vec<f64> = all
        .flat_map(|operation| LINES.map(|(_, _, value)| value(operation).max(LEAST_US)))
        .collect();
    let y = latency_axis("Latency", values.into_iter());
    let x = load_axis(runs);
    let panels = operations.iter().map(|name| Panel {
        heading: Some((*name).clone()),
        x: x.clone(),
        y: y.clone(),
        series: lines(runs, name),
        marks: Vec::new(),
    });
    let first = runs.first().map(told::setting).unwrap_or_default();
    Figure {
        title: "Latency against offered load".to_owned(),
        subtitles: vec![
            format!(
                "{} runs, each an open loop · open rings: less than {:.0} % of what was offered was done",
                runs.len(),
                KEPT_UP * 100.0
            ),
            first,
        ],
        panels: panels.collect(),
    }
}

fn load_axis(runs: &[Summary]) -> Axis {
    let least = runs.iter().map(Summary::offered).fold(f64::MAX, f64::min);
    let most = runs.iter().map(Summary::offered).fold(0.0, f64::max);
    let scale = match most > WIDE * least {
        true => Scale::log_around(runs.iter().map(Summary::offered), Unit::Count),
        false => Scale::from_zero(most, Unit::Count),
    };
    Axis {
        title: "Offered load, all operations (per second)".to_owned(),
        scale,
    }
}

fn lines(runs: &[Summary], name: &str) -> Vec<Series> {
    let with = runs
        .iter()
        .filter_map(|run| Some((run, run.operations.get(name)?)));
    let with: Vec<(&Summary, &OperationSummary)> = with.collect();
    let kept_up = with
        .iter()
        .map(|(run, _)| run.throughput_per_s >= KEPT_UP * run.offered());
    let kept_up: Vec<bool> = kept_up.collect();
    let lines = LINES.map(|(line, color, value)| Series {
        name: line.to_owned(),
        shape: Shape::Rings(kept_up.clone()),
        color,
        points: with
            .iter()
            .map(|(run, operation)| (run.offered(), value(operation).max(LEAST_US)))
            .collect(),
    });
    lines.to_vec()
}
