//! This file answers: what is known of one operation of a run?

use std::path::Path;

use super::rows::{self, Fields};
use crate::error::Error;

/// The files of one operation. What has no file is empty.
#[derive(Debug, Clone, Default)]
pub struct Operation {
    /// `put`, `get`, `get-own-puts`, `read`, ...
    pub name: String,
    /// The first operations, one by one.
    pub single: Vec<Single>,
    /// Each second.
    pub windows: Vec<Window>,
    /// The percentile curve: percentile (0 to 100) and microseconds.
    pub curve: Vec<(f64, f64)>,
}

/// One operation of the run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Single {
    /// When, in microseconds of Unix time.
    pub at_us: i64,
    /// How long it took.
    pub latency_us: f64,
}

/// A second, or what was left of the last.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Its end, seconds after the run began.
    pub elapsed_s: f64,
    /// Its length.
    pub window_s: f64,
    /// Operations that ended in it.
    pub n: u64,
    /// Of these; none when there were none.
    pub latencies: Option<Latencies>,
    /// Operations that failed in it.
    pub errors: u64,
}

/// Latencies of a window in microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs, reason = "each is what its name says")]
pub struct Latencies {
    pub median: f64,
    pub p95: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub max: f64,
}

const SINGLE: &str = "_single.csv";
const WINDOWS: &str = "_latencies.csv";
const CURVE: &str = ".hgrm.csv";

/// The operation that a file is of, by the file's name.
pub(super) fn named_by(file: &str) -> Option<&str> {
    let endings = [SINGLE, WINDOWS, CURVE].into_iter();
    let mut names = endings.filter_map(|ending| file.strip_suffix(ending));
    names.next().filter(|name| !name.is_empty())
}

impl Operation {
    pub(super) fn read(folder: &Path, name: &str) -> Result<Operation, Error> {
        let file = |ending: &str| folder.join(format!("{name}{ending}"));
        let windows = "elapsed,window,n,min,mean,median,95th,99th,99_9th,max,errors";
        Ok(Operation {
            name: name.to_owned(),
            single: rows::read(&file(SINGLE), "timestamp,unit,microseconds", single)?,
            windows: rows::read(&file(WINDOWS), windows, window)?,
            curve: rows::read(&file(CURVE), "percentile,microseconds", point)?,
        })
    }
}

fn single(fields: &mut Fields<'_>) -> Result<Single, String> {
    let at = fields.number("timestamp")?;
    let unit = rows::unit(fields.text("unit")?)?;
    Ok(Single {
        at_us: unit.microseconds(at),
        latency_us: positive(fields.number("microseconds")?, "microseconds")?,
    })
}

fn window(fields: &mut Fields<'_>) -> Result<Window, String> {
    let elapsed_s = positive(fields.number("elapsed")?, "elapsed")?;
    let window_s = positive(fields.number("window")?, "window")?;
    let n = fields.number("n")?;
    fields.latency("min")?;
    fields.latency("mean")?;
    let median = fields.latency("median")?;
    let p95 = fields.latency("95th")?;
    let p99 = fields.latency("99th")?;
    let p99_9 = fields.latency("99_9th")?;
    let max = fields.latency("max")?;
    let errors = fields.number("errors")?;
    let latencies = match (n, median, p95, p99, p99_9, max) {
        (1.., Some(median), Some(p95), Some(p99), Some(p99_9), Some(max)) => Some(Latencies {
            median,
            p95,
            p99,
            p99_9,
            max,
        }),
        (0, ..) => None,
        _ => return Err(format!("{n} operations without latencies")),
    };
    Ok(Window {
        elapsed_s,
        window_s,
        n,
        latencies,
        errors,
    })
}

fn point(fields: &mut Fields<'_>) -> Result<(f64, f64), String> {
    let percentile: f64 = fields.number("percentile")?;
    if !(0.0..=100.0).contains(&percentile) {
        return Err(format!("a percentile is 0 to 100, not {percentile}"));
    }
    let latency = positive(fields.number("microseconds")?, "microseconds")?;
    Ok((percentile, latency))
}

fn positive(number: f64, name: &str) -> Result<f64, String> {
    match number.is_finite() && number >= 0.0 {
        true => Ok(number),
        false => Err(format!("{name} is 0 or more, not {number}")),
    }
}
