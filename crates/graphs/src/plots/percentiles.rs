//! This file answers: how did the percentiles of latency change over time?

use super::{LEAST_US, latency_axis, marks, time_axis, told};
use crate::figure::{Color, Figure, Panel, Series, Shape, Stroke};
use crate::results::Results;
use crate::results::operation::{Latencies, Operation};

/// Name, look and value of a line; the highest first, as they stand in the figure.
type Line = (&'static str, Stroke, Color, fn(&Latencies) -> f64);

const LINES: [Line; 5] = [
    ("maximum", Stroke::Dashed, Color::GREY, |all| all.max),
    (
        "99.9th percentile",
        Stroke::Solid,
        Color::VERMILION,
        |all| all.p99_9,
    ),
    ("99th percentile", Stroke::Solid, Color::ORANGE, |all| {
        all.p99
    }),
    ("95th percentile", Stroke::Dashed, Color::GREEN, |all| {
        all.p95
    }),
    ("median", Stroke::Solid, Color::BLUE, |all| all.median),
];

pub(super) fn figure(results: &Results, operation: &Operation) -> Figure {
    let series = LINES.map(|(name, stroke, color, value)| Series {
        name: name.to_owned(),
        shape: Shape::Line(stroke),
        color,
        points: line(operation, value),
    });
    let values = series.iter().flat_map(|line| &line.points);
    let y = latency_axis("Latency of each second", values.map(|point| point.1));
    let ends = operation.windows.iter().map(|window| window.elapsed_s);
    Figure {
        title: format!("{}: latency over time", operation.name),
        subtitles: told::subtitles(results, operation),
        panels: vec![Panel {
            heading: None,
            x: time_axis(ends.fold(0.0, f64::max)),
            y,
            series: series.to_vec(),
            marks: marks(results),
        }],
    }
}

/// At the middle of each window.
fn line(operation: &Operation, value: fn(&Latencies) -> f64) -> Vec<(f64, f64)> {
    let windows = operation.windows.iter();
    let points = windows.filter_map(|window| {
        let latency = value(window.latencies.as_ref()?);
        let middle = window.elapsed_s - window.window_s / 2.0;
        Some((middle.max(0.0), latency.max(LEAST_US)))
    });
    points.collect()
}
