//! This file answers: in which order are a figure's parts painted, and how does each look?
//!
//! Grid, then series, then marks and axes; words last.

use plotters::prelude::DrawingBackend;

use super::layout::{Area, Layout, PanelLayout, Word, size, swatch_colors, swatch_width};
use super::pen::{Align, Pen};
use super::{Color, Figure, Panel, Series, Shape, Stroke, shade};
use crate::error::Error;

const INK: Color = Color::BLACK;
const SOFT: Color = Color(0x5a, 0x5a, 0x5a);
const GRID: Color = Color(0xdc, 0xdc, 0xdc);
const FAINT: Color = Color(0xf0, 0xf0, 0xf0);
const PAPER: Color = Color(0xff, 0xff, 0xff);
const LINE: f64 = 2.6;

/// Paints all of it.
pub(crate) fn paint<DB: DrawingBackend>(
    pen: &Pen<'_, DB>,
    figure: &Figure,
    layout: &Layout,
) -> Result<(), Error> {
    for (panel, place) in figure.panels.iter().zip(&layout.panels) {
        grid(pen, place)?;
        for series in &panel.series {
            paint_series(pen, panel, series, place.plot)?;
        }
        marks(pen, place)?;
        axes(pen, panel, place)?;
    }
    headings(pen, &layout.headings)?;
    legend(pen, figure, layout)
}

fn grid<DB: DrawingBackend>(pen: &Pen<'_, DB>, place: &PanelLayout) -> Result<(), Error> {
    let plot = place.plot;
    for has_label in [false, true] {
        let (color, width) = if has_label { (GRID, 1.2) } else { (FAINT, 1.0) };
        let is_wanted = |label: &Option<String>| label.is_some() == has_label;
        for tick in place.x_ticks.iter().filter(|tick| is_wanted(&tick.label)) {
            let x = plot.x(tick.place);
            pen.line(&[(x, plot.top), (x, plot.bottom)], color, width)?;
        }
        for tick in place.y_ticks.iter().filter(|tick| is_wanted(&tick.label)) {
            let y = plot.y(tick.place);
            pen.line(&[(plot.left, y), (plot.right, y)], color, width)?;
        }
    }
    Ok(())
}

fn paint_series<DB: DrawingBackend>(
    pen: &Pen<'_, DB>,
    panel: &Panel,
    series: &Series,
    plot: Area,
) -> Result<(), Error> {
    let place = |(x, y): (f64, f64)| {
        (
            plot.x(panel.x.scale.place(x)),
            plot.y(panel.y.scale.place(y)),
        )
    };
    let points: Vec<(f64, f64)> = series.points.iter().copied().map(place).collect();
    match &series.shape {
        Shape::Line(stroke) => line(pen, &points, series.color, *stroke),
        Shape::Rings(holds) => {
            line(pen, &points, series.color, Stroke::Solid)?;
            points
                .iter()
                .zip(holds)
                .try_for_each(|(at, holds)| ring(pen, *at, series.color, *holds))
        }
        Shape::Steps => steps(pen, &points, series.color, plot),
        Shape::Cloud(counts) => {
            // the many over the few
            let mut order: Vec<usize> = (0..points.len()).collect();
            order.sort_by_key(|at| counts[*at]);
            order
                .into_iter()
                .try_for_each(|at| pen.dot(points[at], 2.2, shade(counts[at])))
        }
    }
}

/// With paper beside it, so that it is seen on dots and other lines.
fn line<DB: DrawingBackend>(
    pen: &Pen<'_, DB>,
    points: &[(f64, f64)],
    color: Color,
    stroke: Stroke,
) -> Result<(), Error> {
    match stroke {
        Stroke::Solid => {
            pen.line(points, PAPER, LINE + 2.0)?;
            pen.line(points, color, LINE)
        }
        Stroke::Dashed => pen.dashes(points, color, LINE),
    }
}

fn ring<DB: DrawingBackend>(
    pen: &Pen<'_, DB>,
    at: (f64, f64),
    color: Color,
    is_full: bool,
) -> Result<(), Error> {
    pen.dot(at, 7.0, color)?;
    match is_full {
        true => Ok(()),
        false => pen.dot(at, 4.2, PAPER),
    }
}

fn steps<DB: DrawingBackend>(
    pen: &Pen<'_, DB>,
    points: &[(f64, f64)],
    color: Color,
    plot: Area,
) -> Result<(), Error> {
    let mut outline = Vec::new();
    let mut from = plot.left;
    for (x, y) in points {
        pen.fill((from, *y), (*x, plot.bottom), color, 0.16)?;
        outline.extend([(from, *y), (*x, *y)]);
        from = *x;
    }
    pen.line(&outline, color, LINE)
}

fn marks<DB: DrawingBackend>(pen: &Pen<'_, DB>, place: &PanelLayout) -> Result<(), Error> {
    for (x, word) in &place.marks {
        let from = word.baseline + 0.34 * size::MARK;
        pen.dashes(&[(*x, from), (*x, place.plot.bottom)], INK, 1.6)?;
    }
    for (_, word) in &place.marks {
        pen.text(
            &word.text,
            (word.x, word.baseline),
            size::MARK,
            INK,
            Align::Left,
        )?;
    }
    Ok(())
}

fn axes<DB: DrawingBackend>(
    pen: &Pen<'_, DB>,
    panel: &Panel,
    place: &PanelLayout,
) -> Result<(), Error> {
    let plot = place.plot;
    let corner = [
        (plot.left, plot.top),
        (plot.left, plot.bottom),
        (plot.right, plot.bottom),
    ];
    pen.line(&corner, SOFT, 1.6)?;
    let beneath = plot.bottom + 0.95 * size::TICK;
    for tick in &place.x_ticks {
        if let Some(label) = &tick.label {
            let at = (plot.x(tick.place), beneath);
            pen.text(label, at, size::TICK, SOFT, Align::Middle)?;
        }
    }
    for tick in &place.y_ticks {
        if let Some(label) = &tick.label {
            let at = (plot.left - 10.0, plot.y(tick.place) + 0.26 * size::TICK);
            pen.text(label, at, size::TICK, SOFT, Align::Right)?;
        }
    }
    let middle = (plot.left + plot.right) / 2.0;
    let at = (middle, beneath + 1.35 * size::AXIS);
    pen.text(&panel.x.title, at, size::AXIS, INK, Align::Middle)?;
    let at = (place.y_title_x, (plot.top + plot.bottom) / 2.0);
    pen.upward_text(&panel.y.title, at, size::AXIS, INK)?;
    match &panel.heading {
        Some(heading) => {
            let at = (middle, plot.top - 0.6 * size::AXIS);
            pen.text(heading, at, size::AXIS, INK, Align::Middle)
        }
        None => Ok(()),
    }
}

fn headings<DB: DrawingBackend>(pen: &Pen<'_, DB>, words: &[Word]) -> Result<(), Error> {
    for (at, word) in words.iter().enumerate() {
        let (size, color) = match at {
            0 => (size::TITLE, INK),
            _ => (size::SUBTITLE, SOFT),
        };
        pen.text(
            &word.text,
            (word.x, word.baseline),
            size,
            color,
            Align::Left,
        )?;
    }
    Ok(())
}

fn legend<DB: DrawingBackend>(
    pen: &Pen<'_, DB>,
    figure: &Figure,
    layout: &Layout,
) -> Result<(), Error> {
    for entry in &layout.legend {
        let series = &figure.panels[0].series[entry.series];
        let wide = swatch_width(&series.shape);
        let y = entry.word.baseline - 0.26 * size::LEGEND;
        let ends = [(entry.x, y), (entry.x + wide, y)];
        let middle = (entry.x + wide / 2.0, y);
        match &series.shape {
            Shape::Line(stroke) => line(pen, &ends, series.color, *stroke)?,
            Shape::Rings(_) => {
                line(pen, &ends, series.color, Stroke::Solid)?;
                ring(pen, middle, series.color, true)?;
            }
            Shape::Steps => {
                pen.fill((ends[0].0, y), (ends[1].0, y + 8.0), series.color, 0.16)?;
                pen.line(&ends, series.color, LINE)?;
            }
            Shape::Cloud(_) => {
                let colors = swatch_colors(&series.shape, series.color);
                let step = wide / colors.len() as f64;
                for (at, color) in colors.into_iter().enumerate() {
                    pen.dot((entry.x + (at as f64 + 0.5) * step, y), 5.0, color)?;
                }
            }
        }
        let at = (entry.word.x, entry.word.baseline);
        pen.text(&entry.word.text, at, size::LEGEND, INK, Align::Left)?;
    }
    Ok(())
}
