//! This file answers: how does a figure become files?

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use plotters::prelude::*;

use super::Figure;
use super::layout::{SIZE, layout};
use super::paint::paint;
use super::pen::{self, FINER, Letters, Pen};
use crate::error::Error;

/// Writes `path` with the endings .png and .svg.
pub(crate) fn save(figure: &Figure, path: &Path) -> Result<[PathBuf; 2], Error> {
    let with_ending = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let (png, svg) = (with_ending(".png"), with_ending(".svg"));
    write_png(&png, &pixels(figure)?)?;
    std::fs::write(&svg, vectors(figure)?).map_err(|error| Error::write(&svg, error))?;
    Ok([png, svg])
}

fn fine_size() -> (u32, u32) {
    (SIZE.0 * FINER, SIZE.1 * FINER)
}

/// The figure's pixels, three bytes each.
fn pixels(figure: &Figure) -> Result<Vec<u8>, Error> {
    let (width, height) = fine_size();
    let mut fine = vec![0xff; (width * height * 3) as usize];
    {
        let surface = BitMapBackend::with_buffer(&mut fine, (width, height)).into_drawing_area();
        let pen = Pen {
            surface: &surface,
            letters: Letters::PIXELS,
        };
        paint(&pen, figure, &layout(figure, &pen::width))?;
        surface.present().map_err(pen::failed)?;
    }
    Ok(coarse(&fine, width as usize))
}

/// Makes one pixel of several: their mean.
fn coarse(fine: &[u8], width: usize) -> Vec<u8> {
    let finer = FINER as usize;
    let row_bytes = width * 3;
    let mut pixels = Vec::with_capacity(fine.len() / (finer * finer));
    for rows in fine.chunks_exact(row_bytes * finer) {
        for column in (0..width).step_by(finer) {
            for channel in 0..3 {
                let mut sum = 0_u32;
                for row in 0..finer {
                    let start = row * row_bytes + column * 3 + channel;
                    let values = (0..finer).map(|at| u32::from(rows[start + at * 3]));
                    sum += values.sum::<u32>();
                }
                let mean = sum / (FINER * FINER);
                pixels.push(u8::try_from(mean).expect("a mean of bytes is a byte"));
            }
        }
    }
    pixels
}

fn write_png(path: &Path, pixels: &[u8]) -> Result<(), Error> {
    let file = File::create(path).map_err(|error| Error::write(path, error))?;
    let mut encoder = png::Encoder::new(BufWriter::new(file), SIZE.0, SIZE.1);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(pixels)?;
        writer.finish()
    });
    written.map_err(|error| Error::write(path, error))
}

fn vectors(figure: &Figure) -> Result<String, Error> {
    let (width, height) = fine_size();
    let mut svg = String::new();
    {
        let surface = SVGBackend::with_string(&mut svg, (width, height)).into_drawing_area();
        surface.fill(&WHITE).map_err(pen::failed)?;
        let pen = Pen {
            surface: &surface,
            letters: Letters::SVG,
        };
        paint(&pen, figure, &layout(figure, &pen::width))?;
        surface.present().map_err(pen::failed)?;
    }
    // what is drawn finer is shown as large as the pixels
    let drawn = format!("width=\"{width}\" height=\"{height}\" viewBox");
    let shown = format!("width=\"{}\" height=\"{}\" viewBox", SIZE.0, SIZE.1);
    Ok(svg.replacen(&drawn, &shown, 1))
}
