//! This file answers: what can be wrong with a folder of results, and what is to be done?

use std::path::{Path, PathBuf};

/// Why nothing was drawn.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing to draw.
    #[error(
        "{} holds no results: run `rkv bench --test-dir {}` first, or name the folder of a run",
        .0.display(), .0.display()
    )]
    NoResults(PathBuf),
    /// A file is not what a bench writes.
    #[error(
        "{}: {what}; run the bench again, or move this file away to draw the others",
        file.display()
    )]
    Broken {
        /// Which.
        file: PathBuf,
        /// Where in it, and what was expected.
        what: String,
    },
    /// The system does not give a file or folder.
    #[error("{} cannot be read: {error}", file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The system does not take a file or folder.
    #[error("{} cannot be written: {error}; name another folder for the figures", file.display())]
    Write {
        /// Which.
        file: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The library that draws gave up: a mistake of ours.
    #[error("a figure cannot be drawn: {0}")]
    Draw(String),
}

impl Error {
    pub(crate) fn broken(file: &Path, what: impl Into<String>) -> Error {
        Error::Broken {
            file: file.to_owned(),
            what: what.into(),
        }
    }

    pub(crate) fn read(file: &Path, error: std::io::Error) -> Error {
        Error::Read {
            file: file.to_owned(),
            error,
        }
    }

    pub(crate) fn write(file: &Path, error: impl Into<std::io::Error>) -> Error {
        Error::Write {
            file: file.to_owned(),
            error: error.into(),
        }
    }
}
