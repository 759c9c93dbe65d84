//! This file answers: where do the parts of a figure go?
//!
//! In units of a figure of 1600 by 900. Nothing lies on anything else: the legend has rows of its own above the plots, and
//! so have the words of the marks, as many as it takes.

use super::scale::Tick;
use super::{Color, Figure, Mark, Panel, Shape};

/// Width and height of a figure.
pub const SIZE: (u32, u32) = (1600, 900);

/// Sizes of letters, as heights of a line.
pub mod size {
    #![allow(missing_docs, reason = "each is what its name says")]
    pub const TITLE: f64 = 40.0;
    pub const SUBTITLE: f64 = 25.0;
    pub const LEGEND: f64 = 26.0;
    pub const AXIS: f64 = 27.0;
    pub const TICK: f64 = 25.0;
    pub const MARK: f64 = 24.0;
}

const LEFT: f64 = 28.0;
const RIGHT: f64 = 36.0;
const TOP: f64 = 20.0;
/// Under a plot: ticks and the axis's title.
const BELOW: f64 = 86.0;
/// Between panels.
const BETWEEN: f64 = 36.0;
/// Length of a line or width of a swatch in the legend, and the gap to its name.
const SWATCH: f64 = 44.0;
const GAP: f64 = 10.0;
/// Between two entries of the legend, and two words of marks.
const APART: f64 = 30.0;
/// Marks have at most so many rows of words; in the last ones they may then touch.
const MARK_ROWS: usize = 8;

/// How wide a text of a size is.
pub type Measure<'a> = &'a dyn Fn(&str, f64) -> f64;

/// A rectangle, y from the top.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs, reason = "each is what its name says")]
pub struct Area {
    pub left: f64,
    pub top: f64,
    pub right: f64,
    pub bottom: f64,
}

impl Area {
    /// The x of a place on the x axis.
    pub fn x(&self, place: f64) -> f64 {
        self.left + place * (self.right - self.left)
    }

    /// The y of a place on the y axis.
    pub fn y(&self, place: f64) -> f64 {
        self.bottom - place * (self.bottom - self.top)
    }
}

/// A text and where its first letter stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Word {
    /// The text.
    pub text: String,
    /// Its left end.
    pub x: f64,
    /// Its line.
    pub baseline: f64,
}

/// An entry of the legend.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The left end of its swatch.
    pub x: f64,
    /// Its name.
    pub word: Word,
    /// Which of the first panel's series it is.
    pub series: usize,
}

/// A panel's parts.
#[derive(Debug, Clone, PartialEq)]
pub struct PanelLayout {
    /// The plot between its axes.
    pub plot: Area,
    /// Ticks below.
    pub x_ticks: Vec<Tick>,
    /// Ticks at the left.
    pub y_ticks: Vec<Tick>,
    /// The middle of the turned title at the left.
    pub y_title_x: f64,
    /// Of each mark that the axis shows: the line's x, and its word.
    pub marks: Vec<(f64, Word)>,
}

/// Where everything goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// The first is the title.
    pub headings: Vec<Word>,
    /// The legend.
    pub legend: Vec<Entry>,
    /// As the figure's.
    pub panels: Vec<PanelLayout>,
}

/// Lays a figure out.
pub fn layout(figure: &Figure, measure: Measure<'_>) -> Layout {
    let (width, height) = (f64::from(SIZE.0), f64::from(SIZE.1));
    let (headings, below) = headings(figure, width, measure);
    let (legend, below) = legend(figure, width, below, measure);
    let count = figure.panels.len().max(1) as f64;
    let each = (width - LEFT - RIGHT - BETWEEN * (count - 1.0)) / count;
    let panels = figure.panels.iter().enumerate().map(|(at, panel)| {
        let left = LEFT + at as f64 * (each + BETWEEN);
        let outer = Area {
            left,
            top: below,
            right: left + each,
            bottom: height - BELOW,
        };
        lay_panel(panel, outer, measure)
    });
    Layout {
        panels: panels.collect(),
        headings,
        legend,
    }
}

fn headings(figure: &Figure, width: f64, measure: Measure<'_>) -> (Vec<Word>, f64) {
    let mut below = TOP;
    let mut words = Vec::new();
    let titles = std::iter::once((&figure.title, size::TITLE));
    let subtitles = figure.subtitles.iter().map(|text| (text, size::SUBTITLE));
    for (text, size) in titles.chain(subtitles) {
        words.push(Word {
            text: cut(text, size, width - LEFT - RIGHT, measure),
            x: LEFT,
            baseline: below + 0.75 * size,
        });
        below += 1.08 * size;
    }
    (words, below + 10.0)
}

/// A text that is not wider than `room`.
fn cut(text: &str, size: f64, room: f64, measure: Measure<'_>) -> String {
    if measure(text, size) <= room {
        return text.to_owned();
    }
    let mut letters: Vec<char> = text.chars().collect();
    loop {
        letters.pop();
        let shorter: String = letters.iter().collect();
        let shorter = format!("{}…", shorter.trim_end());
        if letters.is_empty() || measure(&shorter, size) <= room {
            return shorter;
        }
    }
}

fn legend(figure: &Figure, width: f64, top: f64, measure: Measure<'_>) -> (Vec<Entry>, f64) {
    let mut entries = Vec::new();
    let Some(panel) = figure.panels.first() else {
        return (entries, top);
    };
    let row = 1.2 * size::LEGEND;
    let (mut x, mut baseline) = (LEFT, top + 0.75 * size::LEGEND);
    for (series, shown) in panel.series.iter().enumerate() {
        let swatch = swatch_width(&shown.shape);
        let wide = swatch + GAP + measure(&shown.name, size::LEGEND);
        if x > LEFT && x + wide > width - RIGHT {
            (x, baseline) = (LEFT, baseline + row);
        }
        let word = Word {
            text: shown.name.clone(),
            x: x + swatch + GAP,
            baseline,
        };
        entries.push(Entry { x, word, series });
        x += wide + APART;
    }
    let below = match entries.is_empty() {
        true => top,
        false => baseline - 0.75 * size::LEGEND + row,
    };
    (entries, below + 10.0)
}

/// How wide a series' sample in the legend is: a cloud shows all its shades.
pub(crate) fn swatch_width(shape: &Shape) -> f64 {
    match shape {
        Shape::Cloud(_) => SWATCH * 2.0,
        _ => SWATCH,
    }
}

fn lay_panel(panel: &Panel, outer: Area, measure: Measure<'_>) -> PanelLayout {
    let y_ticks = panel.y.scale.ticks();
    let labels = y_ticks.iter().filter_map(|tick| tick.label.as_deref());
    let widest = labels
        .map(|label| measure(label, size::TICK))
        .fold(0.0, f64::max);
    let left = outer.left + 1.3 * size::AXIS + widest + 12.0;
    // the last tick's label stands half outside
    let right = outer.right - 12.0;
    let mut plot = Area {
        left,
        top: outer.top,
        right,
        bottom: outer.bottom,
    };
    if panel.heading.is_some() {
        plot.top += 1.3 * size::AXIS;
    }
    let shown = panel
        .marks
        .iter()
        .filter(|mark| panel.x.scale.shows(mark.at));
    let shown: Vec<(f64, &Mark)> = shown
        .map(|mark| (plot.x(panel.x.scale.place(mark.at)), mark))
        .collect();
    let (marks, rows) = lay_marks(&shown, plot, outer.right, measure);
    plot.top += rows as f64 * 1.15 * size::MARK + 8.0;
    PanelLayout {
        plot,
        x_ticks: thinned(panel.x.scale.ticks(), plot, measure),
        y_ticks,
        y_title_x: outer.left + 0.75 * size::AXIS,
        marks,
    }
}

/// The words of the marks, in rows from the plot's top downwards: each in the first row where it has room.
fn lay_marks(
    shown: &[(f64, &Mark)],
    plot: Area,
    end: f64,
    measure: Measure<'_>,
) -> (Vec<(f64, Word)>, usize) {
    let mut taken: Vec<f64> = Vec::new();
    let mut words = Vec::new();
    for (x, mark) in shown {
        let wide = measure(&mark.label, size::MARK);
        let first = (x - wide / 2.0).min(end - wide).max(plot.left);
        let free = taken.iter().position(|until| *until + APART <= first);
        let row = free.unwrap_or(taken.len()).min(MARK_ROWS - 1);
        if row == taken.len() {
            taken.push(0.0);
        }
        taken[row] = first + wide;
        let word = Word {
            text: mark.label.clone(),
            x: first,
            baseline: plot.top + (row as f64 * 1.15 + 0.8) * size::MARK,
        };
        words.push((*x, word));
    }
    (words, taken.len())
}

/// Ticks whose labels would touch lose every second of them.
fn thinned(mut ticks: Vec<Tick>, plot: Area, measure: Measure<'_>) -> Vec<Tick> {
    loop {
        let labelled: Vec<usize> = (0..ticks.len())
            .filter(|at| ticks[*at].label.is_some())
            .collect();
        let end = |at: usize, side: f64| {
            let label = ticks[at].label.as_deref().unwrap_or_default();
            plot.x(ticks[at].place) + side * measure(label, size::TICK) / 2.0
        };
        let touch = labelled
            .windows(2)
            .any(|pair| end(pair[0], 1.0) + GAP > end(pair[1], -1.0));
        if !touch || labelled.len() < 3 {
            return ticks;
        }
        for at in labelled.into_iter().skip(1).step_by(2) {
            ticks[at].label = None;
        }
    }
}

/// Sample colours of a series in the legend, left to right.
pub(crate) fn swatch_colors(shape: &Shape, color: Color) -> Vec<Color> {
    match shape {
        Shape::Cloud(_) => super::SHADES.to_vec(),
        _ => vec![color],
    }
}

#[cfg(test)]
mod tests {
    use super::super::scale::{Scale, Unit};
    use super::super::{Axis, Series, Stroke};
    use super::*;

    fn measure(text: &str, size: f64) -> f64 {
        text.chars().count() as f64 * size * 0.45
    }

    fn figure(marks: &[(f64, &str)], series: &[&str]) -> Figure {
        let series = series.iter().map(|name| Series {
            name: (*name).to_owned(),
            shape: Shape::Line(Stroke::Solid),
            color: Color::BLUE,
            points: vec![(1.0, 1.0)],
        });
        let marks = marks.iter().map(|(at, label)| Mark {
            at: *at,
            label: (*label).to_owned(),
        });
        let axis = |unit| Axis {
            title: "an axis".to_owned(),
            scale: Scale::from_zero(60.0, unit),
        };
        Figure {
            title: "What was measured, ".repeat(20),
            subtitles: vec!["how".to_owned()],
            panels: vec![Panel {
                heading: None,
                x: axis(Unit::Count),
                y: axis(Unit::Count),
                series: series.collect(),
                marks: marks.collect(),
            }],
        }
    }

    #[test]
    fn words_of_marks_never_touch_and_stay_inside() {
        // Without this "node2 killed" and "node2 back" a second later are one black smear.
        let close = [
            (1.0, "node2 killed"),
            (1.2, "handoff of 20 partitions begun"),
            (1.4, "node2 back"),
            (59.9, "the end of everything is near"),
            (99.0, "after the run"),
        ];
        let layout = layout(&figure(&close, &["put"]), &measure);
        let panel = &layout.panels[0];
        assert_eq!(
            panel.marks.len(),
            4,
            "what the axis does not show has no mark"
        );
        for (at, (x, word)) in panel.marks.iter().enumerate() {
            let end = word.x + measure(&word.text, size::MARK);
            assert!(*x >= panel.plot.left && *x <= panel.plot.right);
            assert!(
                word.x >= panel.plot.left && end <= f64::from(SIZE.0),
                "{word:?}"
            );
            assert!(word.baseline < panel.plot.top, "{word:?} lies in the plot");
            for (_, other) in &panel.marks[..at] {
                let is_beside = other.x + measure(&other.text, size::MARK) < word.x;
                assert!(
                    is_beside || other.baseline != word.baseline,
                    "{word:?} on {other:?}"
                );
            }
        }
    }

    #[test]
    fn a_long_legend_takes_rows_and_a_long_title_is_cut() {
        // Without this names run out of the figure, or over the lines that they name.
        let names = ["a rather long name of a series that is shown"; 6];
        let layout = layout(&figure(&[], &names), &measure);
        assert_eq!(layout.legend.len(), names.len());
        for entry in &layout.legend {
            let end = entry.word.x + measure(&entry.word.text, size::LEGEND);
            assert!(end <= f64::from(SIZE.0), "{entry:?}");
            assert!(entry.word.baseline < layout.panels[0].plot.top);
        }
        let title = &layout.headings[0];
        assert!(title.text.ends_with('…'), "{title:?}");
        assert!(measure(&title.text, size::TITLE) <= f64::from(SIZE.0));
    }

    #[test]
    fn labels_of_ticks_have_room() {
        // Without this "10 ms20 ms50 ms" is what one reads below a narrow panel.
        let ticks = Scale::log_around([1.0, 90.0].into_iter(), Unit::Microseconds).ticks();
        let narrow = Area {
            left: 0.0,
            top: 0.0,
            right: 300.0,
            bottom: 100.0,
        };
        let ticks = thinned(ticks, narrow, &measure);
        let labels: Vec<_> = ticks.iter().filter_map(|tick| tick.label.clone()).collect();
        assert_eq!(labels, ["1 µs", "5 µs", "20 µs", "100 µs"]);
    }
}
