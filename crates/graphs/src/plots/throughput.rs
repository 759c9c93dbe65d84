//! This file answers: how many operations a second ended over time?
//!
//! From the windows, which cover the whole run; where these are missing, by counting the single operations.

use super::{marks, since, time_axis, told};
use crate::figure::scale::{Scale, Unit};
use crate::figure::{Axis, Color, Figure, Panel, Series, Shape};
use crate::results::Results;
use crate::results::operation::Operation;

/// Windows of single operations are so long, in seconds.
const WINDOW_S: f64 = 1.0;

pub(super) fn figure(results: &Results, operation: &Operation) -> Figure {
    let name = &operation.name;
    let (done, failed) = match operation.windows.is_empty() {
        true => (counted(results, operation), Vec::new()),
        false => from_windows(operation),
    };
    let until = done.last().map_or(0.0, |point| point.0);
    let rates = done.iter().chain(&failed).map(|point| point.1);
    let most = rates.fold(0.0, f64::max);
    let mut series = vec![Series {
        name: format!("{name} a second"),
        shape: Shape::Steps,
        color: Color::BLUE,
        points: done,
    }];
    let worst = failed.iter().map(|point| point.1).fold(0.0, f64::max);
    if worst > 0.0 {
        series.push(Series {
            name: format!(
                "of these failed: at most {} a second",
                Unit::Count.text(worst)
            ),
            shape: Shape::Steps,
            color: Color::VERMILION,
            points: failed,
        });
    }
    Figure {
        title: format!("{name}: throughput over time"),
        subtitles: told::subtitles(results, operation),
        panels: vec![Panel {
            heading: None,
            x: time_axis(until),
            y: Axis {
                title: "Operations per second".to_owned(),
                scale: Scale::from_zero(most, Unit::Count),
            },
            series,
            marks: marks(results),
        }],
    }
}

type Points = Vec<(f64, f64)>;

/// All that ended and what of it failed, a second.
fn from_windows(operation: &Operation) -> (Points, Points) {
    let windows = operation
        .windows
        .iter()
        .filter(|window| window.window_s > 0.0);
    windows
        .map(|window| {
            let all = (window.n + window.errors) as f64 / window.window_s;
            let failed = window.errors as f64 / window.window_s;
            ((window.elapsed_s, all), (window.elapsed_s, failed))
        })
        .unzip()
}

/// Whole windows only: what began in the last one may not have been kept.
fn counted(results: &Results, operation: &Operation) -> Points {
    let times = operation.single.iter();
    let times = times.map(|single| since(results, single.at_us).max(0.0));
    let windows: Vec<usize> = times.map(|time| (time / WINDOW_S) as usize).collect();
    let last = windows.iter().copied().max().unwrap_or(0);
    let mut counts = vec![0_u64; last + 1];
    windows.iter().for_each(|at| counts[*at] += 1);
    if counts.len() > 2 {
        counts.pop();
    }
    let ends = (1..).map(|at| f64::from(at) * WINDOW_S);
    ends.zip(counts.iter().map(|count| *count as f64 / WINDOW_S))
        .collect()
}
