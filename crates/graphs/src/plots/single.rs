//! This file answers: how long did single operations take over time?

use super::{LEAST_US, latency_axis, marks, since, time_axis, told};
use crate::figure::{Color, Figure, Panel, Series, Shape, Stroke};
use crate::results::Results;
use crate::results::operation::Operation;
use crate::thin::{Grid, over_time, thin};

const GRID: Grid = Grid {
    columns: 480,
    rows: 150,
};
/// Points of the lines through the dots, when there are enough operations.
const STRETCHES: usize = 150;
/// A stretch has at least so many operations, so that its 99th percentile is more than its maximum.
const STRETCH: usize = 500;

pub(super) fn figure(results: &Results, operation: &Operation) -> Figure {
    let points: Vec<(f64, f64)> = operation
        .single
        .iter()
        .map(|single| {
            (
                since(results, single.at_us),
                single.latency_us.max(LEAST_US),
            )
        })
        .collect();
    let until = points.iter().map(|point| point.0).fold(0.0, f64::max);
    let y = latency_axis("Latency", points.iter().map(|point| point.1));
    let mut series = vec![cloud(&points)];
    let stretches = (points.len() / STRETCH).min(STRETCHES);
    if stretches > 1 {
        let mut lines = over_time(&points, stretches, &[0.5, 0.99]).into_iter();
        let mut line = |name: &str, stroke, color| Series {
            name: name.to_owned(),
            shape: Shape::Line(stroke),
            color,
            points: lines.next().unwrap_or_default(),
        };
        series.push(line("median", Stroke::Solid, Color::VERMILION));
        series.push(line("99th percentile", Stroke::Dashed, Color::BLACK));
    }
    Figure {
        title: format!("{}: latency of single operations", operation.name),
        subtitles: subtitles(results, operation),
        panels: vec![Panel {
            heading: None,
            x: time_axis(until),
            y,
            series,
            marks: marks(results),
        }],
    }
}

fn cloud(points: &[(f64, f64)]) -> Series {
    let dots = thin(points, GRID);
    Series {
        name: "a dot: 1, 10, 100, 1k, 10k or more operations".to_owned(),
        color: Color::BLUE,
        points: dots.iter().map(|dot| (dot.x, dot.y)).collect(),
        shape: Shape::Cloud(dots.into_iter().map(|dot| dot.count).collect()),
    }
}

/// Single operations are kept up to a bound: the figure says when that was not all.
fn subtitles(results: &Results, operation: &Operation) -> Vec<String> {
    let mut subtitles = told::subtitles(results, operation);
    let shown = operation.single.len() as u64;
    let summary = results.summary.as_ref();
    let whole = summary.and_then(|summary| summary.operations.get(&operation.name));
    if whole.is_some_and(|whole| whole.n > shown) {
        let first = format!(" · shown: the first {}", told::grouped(shown));
        subtitles[0].push_str(&first);
    }
    subtitles
}
