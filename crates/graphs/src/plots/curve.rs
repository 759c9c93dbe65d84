//! This file answers: how slow is the slowest tenth, hundredth, thousandth of the operations?

use super::{LEAST_US, latency_axis, told};
use crate::figure::scale::Scale;
use crate::figure::{Axis, Color, Figure, Panel, Series, Shape, Stroke};
use crate::results::Results;
use crate::results::operation::Operation;

pub(super) fn figure(results: &Results, operation: &Operation) -> Figure {
    let mut points = operation.curve.clone();
    points
        .iter_mut()
        .for_each(|point| point.1 = point.1.max(LEAST_US));
    points.sort_by(|one, other| one.0.total_cmp(&other.0));
    let x = Axis {
        title:
            "Share of operations that were at most so slow (each nine as long as the one before)"
                .to_owned(),
        scale: Scale::nines(points.iter().map(|point| point.0)),
    };
    let y = latency_axis("Latency", points.iter().map(|point| point.1));
    let series = Series {
        name: format!("{}, the whole run after its warm-up", operation.name),
        shape: Shape::Line(Stroke::Solid),
        color: Color::BLUE,
        points,
    };
    Figure {
        title: format!("{}: percentiles of latency", operation.name),
        subtitles: told::subtitles(results, operation),
        panels: vec![Panel {
            heading: None,
            x,
            y,
            series: vec![series],
            marks: Vec::new(),
        }],
    }
}
