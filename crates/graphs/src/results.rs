//! This file answers: what does a folder of results hold?
//!
//! A file that is missing is a figure less; a file that is not what a bench writes is an error that names it.
//!
//! [`summary`] the run as a whole · `rows` CSV · [`operation`] the files of one operation · [`events`] what happened
//! meanwhile.

pub mod events;
pub mod operation;
mod rows;
pub mod summary;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::error::Error;
use events::Event;
use operation::Operation;
use summary::Summary;

/// A run, and runs at other rates in its subfolders.
#[derive(Debug, Clone)]
pub struct Results {
    /// What `summary.json` says; none of a bench that was killed.
    pub summary: Option<Summary>,
    /// Operations with files of their own, by name.
    pub operations: Vec<Operation>,
    /// What happened during the run, in the order of time.
    pub events: Vec<Event>,
    /// Runs in subfolders that were each made at a rate, the lowest rate first.
    pub at_rates: Vec<Summary>,
}

impl Results {
    /// Reads all that is there; an error when that is nothing.
    pub fn read(folder: &Path) -> Result<Results, Error> {
        let files = entries(folder)?;
        let names = files.iter().filter_map(|path| path.file_name()?.to_str());
        let operations: BTreeSet<&str> = names.filter_map(operation::named_by).collect();
        let operations = operations
            .into_iter()
            .map(|name| Operation::read(folder, name));
        let results = Results {
            summary: Summary::read(&folder.join("summary.json"))?,
            operations: operations.collect::<Result<_, Error>>()?,
            events: events::read(&folder.join("events.csv"))?,
            at_rates: at_rates(&files)?,
        };
        if results.operations.is_empty() && results.at_rates.is_empty() {
            return Err(Error::NoResults(folder.to_owned()));
        }
        Ok(results)
    }

    /// When the run began, in microseconds of Unix time. Without a summary: when the first thing was seen.
    pub fn started_us(&self) -> i64 {
        let first_seen = || {
            let operations = self.operations.iter();
            let firsts = operations.filter_map(|operation| {
                let all = operation.single.iter().map(|single| single.at_us);
                all.min()
            });
            firsts.min().unwrap_or(0)
        };
        match &self.summary {
            Some(summary) => summary.started.saturating_mul(1000),
            None => first_seen(),
        }
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let read = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::NoResults(folder.to_owned()),
        _ => Error::read(folder, error),
    };
    let entries = std::fs::read_dir(folder).map_err(read)?;
    let paths = entries.map(|entry| Ok(entry?.path()));
    let mut paths = paths.collect::<std::io::Result<Vec<_>>>().map_err(read)?;
    paths.sort();
    Ok(paths)
}

fn at_rates(paths: &[PathBuf]) -> Result<Vec<Summary>, Error> {
    let mut runs = Vec::new();
    for folder in paths.iter().filter(|path| path.is_dir()) {
        let summary = Summary::read(&folder.join("summary.json"))?;
        let is_at_a_rate =
            |run: &Summary| run.offered_per_s.is_some() && !run.operations.is_empty();
        runs.extend(summary.filter(is_at_a_rate));
    }
    runs.sort_by(|one, other| f64::total_cmp(&one.offered(), &other.offered()));
    Ok(runs)
}
