//! This file answers: what is a figure?
//!
//! Values only: titles, axes, lines, dots, marks. [`scale`] from values to places and ticks · [`layout`] where the parts go ·
//! `pen` strokes on a surface · `paint` the parts, stroke by stroke · `file` PNG and SVG.

pub mod file;
pub mod layout;
pub(crate) mod paint;
pub(crate) mod pen;
pub mod scale;

use scale::Scale;

/// A figure: one panel or several side by side, which share the legend.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// What was measured.
    pub title: String,
    /// How, on what: a line each, cut where the figure ends.
    pub subtitles: Vec<String>,
    /// The plots.
    pub panels: Vec<Panel>,
}

/// One plot.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// What this one is of, where there are several.
    pub heading: Option<String>,
    /// Below.
    pub x: Axis,
    /// At the left.
    pub y: Axis,
    /// What is shown; later ones lie on top.
    pub series: Vec<Series>,
    /// What happened meanwhile.
    pub marks: Vec<Mark>,
}

/// An axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// What it measures, with its unit unless each tick has one.
    pub title: String,
    /// From values to places.
    pub scale: Scale,
}

/// One line, or one cloud of dots.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// How it looks.
    pub shape: Shape,
    /// Its colour; that of a cloud's legend.
    pub color: Color,
    /// Points (x, y).
    pub points: Vec<(f64, f64)>,
}

/// How a series looks.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// A line from point to point.
    Line(Stroke),
    /// A line with a ring at each point: full where it holds, open where it does not.
    Rings(Vec<bool>),
    /// A step a point, from the one before to its x; filled down to the axis.
    Steps,
    /// Dots, each with the number of operations that it stands for.
    Cloud(Vec<u32>),
}

/// How a line is drawn, so that it is told from others without its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stroke {
    /// Without gaps.
    Solid,
    /// With gaps.
    Dashed,
}

/// Something that happened: a line across the plot with a word above it.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// Where on the x axis.
    pub at: f64,
    /// What.
    pub label: String,
}

/// Red, green, blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Color(pub u8, pub u8, pub u8);

/// Colours that colour-blind people can tell apart (Okabe and Ito, "Color Universal Design", 2008).
#[allow(missing_docs, reason = "each is a colour")]
impl Color {
    pub const BLACK: Color = Color(0x22, 0x22, 0x22);
    pub const BLUE: Color = Color(0x00, 0x72, 0xb2);
    pub const GREEN: Color = Color(0x00, 0x9e, 0x73);
    pub const ORANGE: Color = Color(0xe6, 0x9f, 0x00);
    pub const VERMILION: Color = Color(0xd5, 0x5e, 0x00);
    pub const PURPLE: Color = Color(0xcc, 0x79, 0xa7);
    pub const GREY: Color = Color(0x77, 0x77, 0x77);
}

/// Shades of a cloud: one operation, up to ten, a hundred, a thousand, more.
pub const SHADES: [Color; 5] = [
    Color(0xa6, 0xcb, 0xe3),
    Color(0x6d, 0xae, 0xd5),
    Color(0x38, 0x87, 0xc0),
    Color(0x12, 0x5d, 0xa6),
    Color(0x08, 0x30, 0x6b),
];

/// The shade of a dot that stands for so many.
pub fn shade(count: u32) -> Color {
    let decade = count.max(1).ilog10() as usize;
    SHADES[decade.min(SHADES.len() - 1)]
}
