//! Draws what `rkv bench` wrote: a folder of results becomes figures, each as PNG and as SVG.
//!
//! What a figure shows is decided as plain values and only then drawn, so tests look at values and not at pixels.
//!
//! In reading order: [`results`] what a folder holds · [`plots`] which figures come of it, one a file · [`thin`] a million
//! operations on a few thousand dots · [`figure`] what a figure is, where its parts go, and the pens that draw it ·
//! [`error`] what can be wrong.

pub mod error;
pub mod figure;
pub mod plots;
pub mod results;
pub mod thin;

use std::path::{Path, PathBuf};

pub use error::Error;
pub use results::Results;

/// Draws all that the results of `from` give, into `into`: the files, as they were written.
pub fn draw(from: &Path, into: &Path) -> Result<Vec<PathBuf>, Error> {
    let results = Results::read(from)?;
    std::fs::create_dir_all(into).map_err(|error| Error::write(into, error))?;
    let mut written = Vec::new();
    for (name, figure) in plots::all(&results) {
        written.extend(figure::file::save(&figure, &into.join(name))?);
    }
    Ok(written)
}
