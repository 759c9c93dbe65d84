//! This file answers: how are strokes and letters brought onto a surface?
//!
//! Everything is drawn [`FINER`] times larger than it is shown: pixels are then made of several, so that edges are smooth,
//! and SVG has fractions of a unit.

use std::sync::OnceLock;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{Color as _, register_font};

use super::Color;
use crate::error::Error;

/// How many times larger it is drawn than it is shown.
pub(crate) const FINER: u32 = 3;
/// The font in the repository is the first; who opens an SVG may have another.
const FONT: &str = "Open Sans, Helvetica, Arial, sans-serif";
static OPEN_SANS: &[u8] = include_bytes!("../../fonts/OpenSans-Regular.ttf");

/// Which part of a text its place is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Middle,
    Right,
}

/// Draws on a surface, in the units of the layout.
pub(crate) struct Pen<'a, DB: DrawingBackend> {
    pub(crate) surface: &'a DrawingArea<DB, Shift>,
    pub(crate) letters: Letters,
}

/// What a surface makes of a text's size and place: each has its own idea.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Letters {
    /// How much larger a size is to be asked for.
    larger: f64,
    /// From the top of a text to the line its letters stand on, in sizes.
    baseline: f64,
}

impl Letters {
    /// A size is the height of a line of the font; the letters stand at half of it.
    pub(crate) const PIXELS: Letters = Letters {
        larger: 1.0,
        baseline: 0.5,
    };
    /// A size is 1.24 em, where a line of the font is 1.362 em; the letters stand at 0.76 em.
    pub(crate) const SVG: Letters = Letters {
        larger: 1.24 / 1.362,
        baseline: 0.76 / 1.362,
    };
}

/// How wide a text is.
pub(crate) fn width(text: &str, size: f64) -> f64 {
    prepare_font();
    let font = (FONT, size * f64::from(FINER)).into_font();
    let (width, _) = font.box_size(text).unwrap_or((0, 0));
    f64::from(width) / f64::from(FINER)
}

/// Letters come from the file in the repository, whatever the system has.
fn prepare_font() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        let registered = register_font(FONT, FontStyle::Normal, OPEN_SANS);
        assert!(registered.is_ok(), "the font in the repository is a font");
    });
}

fn fine(value: f64) -> i32 {
    (value * f64::from(FINER)).round() as i32
}

fn rgb(color: Color) -> RGBColor {
    RGBColor(color.0, color.1, color.2)
}

impl<DB: DrawingBackend> Pen<'_, DB> {
    pub(crate) fn fill(
        &self,
        from: (f64, f64),
        to: (f64, f64),
        color: Color,
        opacity: f64,
    ) -> Result<(), Error> {
        let style = rgb(color).mix(opacity).filled();
        let corners = [(fine(from.0), fine(from.1)), (fine(to.0), fine(to.1))];
        self.draw(&Rectangle::new(corners, style))
    }

    pub(crate) fn line(
        &self,
        points: &[(f64, f64)],
        color: Color,
        width: f64,
    ) -> Result<(), Error> {
        let points: Vec<(i32, i32)> = points.iter().map(|(x, y)| (fine(*x), fine(*y))).collect();
        let style = rgb(color).stroke_width(fine(width).unsigned_abs().max(1));
        match points.len() {
            0 | 1 => Ok(()),
            _ => self.draw(&PathElement::new(points, style)),
        }
    }

    pub(crate) fn dashes(
        &self,
        points: &[(f64, f64)],
        color: Color,
        width: f64,
    ) -> Result<(), Error> {
        for dash in dashes(points, 12.0, 8.0) {
            self.line(&dash, color, width)?;
        }
        Ok(())
    }

    pub(crate) fn dot(&self, (x, y): (f64, f64), radius: f64, color: Color) -> Result<(), Error> {
        let style = rgb(color).filled();
        self.draw(&Circle::new((fine(x), fine(y)), fine(radius), style))
    }

    pub(crate) fn text(
        &self,
        text: &str,
        at: (f64, f64),
        size: f64,
        color: Color,
        align: Align,
    ) -> Result<(), Error> {
        let at = (at.0, at.1 - self.letters.baseline * size);
        self.write(text, at, size, color, align, FontTransform::None)
    }

    /// From below upwards, its letters standing on the line x.
    pub(crate) fn upward_text(
        &self,
        text: &str,
        at: (f64, f64),
        size: f64,
        color: Color,
    ) -> Result<(), Error> {
        let at = (at.0 - self.letters.baseline * size, at.1);
        self.write(
            text,
            at,
            size,
            color,
            Align::Middle,
            FontTransform::Rotate270,
        )
    }

    fn write(
        &self,
        text: &str,
        (x, y): (f64, f64),
        size: f64,
        color: Color,
        align: Align,
        turn: FontTransform,
    ) -> Result<(), Error> {
        use plotters::style::text_anchor::{HPos, Pos, VPos};
        prepare_font();
        let side = match align {
            Align::Left => HPos::Left,
            Align::Middle => HPos::Center,
            Align::Right => HPos::Right,
        };
        let font = (FONT, size * self.letters.larger * f64::from(FINER))
            .into_font()
            .transform(turn);
        let style = font.color(&rgb(color)).pos(Pos::new(side, VPos::Top));
        self.draw(&Text::new(text, (fine(x), fine(y)), style))
    }

    fn draw<'b, E>(&self, element: &'b E) -> Result<(), Error>
    where
        &'b E: plotters::element::PointCollection<'b, (i32, i32)>,
        E: plotters::element::Drawable<DB>,
    {
        self.surface.draw(element).map_err(failed)
    }
}

pub(crate) fn failed(error: impl std::fmt::Display) -> Error {
    Error::Draw(error.to_string())
}

/// Cuts a line into pieces of a length with gaps between them.
fn dashes(points: &[(f64, f64)], dash: f64, gap: f64) -> Vec<Vec<(f64, f64)>> {
    let mut pieces = Vec::new();
    let mut piece: Vec<(f64, f64)> = points.first().copied().into_iter().collect();
    let (mut is_on, mut left) = (true, dash);
    for pair in points.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let length = f64::hypot(to.0 - from.0, to.1 - from.1);
        let mut done = 0.0;
        while length - done > left {
            done += left;
            let share = done / length;
            let at = (
                from.0 + share * (to.0 - from.0),
                from.1 + share * (to.1 - from.1),
            );
            if is_on {
                piece.push(at);
                pieces.push(std::mem::take(&mut piece));
            } else {
                piece = vec![at];
            }
            is_on = !is_on;
            left = if is_on { dash } else { gap };
        }
        left -= length - done;
        if is_on {
            piece.push(to);
        }
    }
    pieces.push(piece);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_cover_their_share_of_the_line() {
        // Without this a dashed line over a steep corner is solid, or gone.
        let pieces = dashes(&[(0.0, 0.0), (100.0, 0.0), (100.0, 100.0)], 12.0, 8.0);
        let length = |piece: &Vec<(f64, f64)>| -> f64 {
            let pairs = piece.windows(2);
            pairs
                .map(|pair| f64::hypot(pair[1].0 - pair[0].0, pair[1].1 - pair[0].1))
                .sum()
        };
        let drawn: f64 = pieces.iter().map(length).sum();
        assert!((drawn - 120.0).abs() < 1e-6, "{drawn}");
        assert!(pieces.iter().all(|piece| length(piece) <= 12.0 + 1e-6));
    }

    #[test]
    fn the_font_has_all_letters_that_figures_use() {
        // Without this a tick reads "10 □s".
        for letter in "µ…·–×%".chars() {
            assert!(width(&letter.to_string(), 40.0) > 2.0, "{letter}");
        }
        assert!(width("wider", 20.0) > width("wide", 20.0));
    }
}
