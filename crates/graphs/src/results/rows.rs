//! This file answers: how is a CSV file of a bench read?
//!
//! Line by line: a file of single operations has a million. Commas stand between fields; only the last may hold some.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use crate::error::Error;

/// The fields of one line.
pub(super) struct Fields<'a> {
    rest: Option<&'a str>,
}

impl<'a> Fields<'a> {
    /// The next one.
    pub(super) fn text(&mut self, name: &str) -> Result<&'a str, String> {
        let rest = self.rest.ok_or_else(|| format!("{name} is missing"))?;
        let (field, rest) = match rest.split_once(',') {
            Some((field, rest)) => (field, Some(rest)),
            None => (rest, None),
        };
        self.rest = rest;
        Ok(field.trim())
    }

    /// The next one, a number.
    pub(super) fn number<T: std::str::FromStr>(&mut self, name: &str) -> Result<T, String> {
        let text = self.text(name)?;
        text.parse()
            .map_err(|_| format!("{name} is no number: {text:?}"))
    }

    /// The next one, a number; none in a window without operations.
    pub(super) fn latency(&mut self, name: &str) -> Result<Option<f64>, String> {
        let text = self.text(name)?;
        let number = text.parse::<f64>();
        match number {
            Ok(number) if number.is_finite() => Ok(Some(number)),
            _ if text.is_empty() || text.eq_ignore_ascii_case("nan") => Ok(None),
            _ => Err(format!("{name} is no number: {text:?}")),
        }
    }

    /// All that is left, without quotes around it.
    pub(super) fn last(&mut self, name: &str) -> Result<String, String> {
        let rest = self.rest.take();
        let text = rest.ok_or_else(|| format!("{name} is missing"))?.trim();
        let inner = text
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'));
        Ok(match inner {
            Some(inner) => inner.replace("\"\"", "\""),
            None => text.to_owned(),
        })
    }
}

/// Reads a file whose first line is `header`; nothing when there is no such file.
pub(super) fn read<T>(
    file: &Path,
    header: &str,
    mut row: impl FnMut(&mut Fields<'_>) -> Result<T, String>,
) -> Result<Vec<T>, Error> {
    let opened = match File::open(file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::read(file, error)),
    };
    let mut reader = BufReader::new(opened);
    let mut line = String::new();
    let mut rows = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let length = reader.read_line(&mut line);
        if length.map_err(|error| Error::read(file, error))? == 0 {
            match number {
                1 => return Err(Error::broken(file, "it is empty, without a first line")),
                _ => break,
            }
        }
        let text = line.trim_end();
        if number == 1 {
            if text != header {
                let what = format!("line 1 should be {header:?}, not {text:?}");
                return Err(Error::broken(file, what));
            }
        } else if !text.is_empty() {
            let row = row(&mut Fields { rest: Some(text) });
            rows.push(row.map_err(|what| Error::broken(file, format!("line {number}: {what}")))?);
        }
    }
    Ok(rows)
}

/// How many microseconds a unit has.
pub(super) fn unit(word: &str) -> Result<Unit, String> {
    match word {
        "second" => Ok(Unit::Times(1_000_000)),
        "millisecond" => Ok(Unit::Times(1_000)),
        "microsecond" => Ok(Unit::Times(1)),
        "nanosecond" => Ok(Unit::Part(1_000)),
        _ => Err(format!(
            "the unit is second, millisecond, microsecond or nanosecond, not {word:?}"
        )),
    }
}

/// What to do with a whole number to get microseconds.
pub(super) enum Unit {
    /// Multiply.
    Times(i64),
    /// Divide.
    Part(i64),
}

impl Unit {
    /// In microseconds.
    pub(super) fn microseconds(&self, number: i64) -> i64 {
        match self {
            Unit::Times(by) => number.saturating_mul(*by),
            Unit::Part(by) => number / by,
        }
    }
}
