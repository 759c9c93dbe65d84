//! This file answers: what does a person see while it runs?
//!
//! On stderr, each second: on a terminal one line that is drawn anew, elsewhere a line each.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write, stderr};

use hdrhistogram::Histogram;
use terminal_size::terminal_size_of;

use crate::mix::Operation;

/// How wide a terminal is that does not tell.
const USUAL_WIDTH: u16 = 80;

/// Where progress goes.
#[derive(Debug)]
pub(crate) struct Progress {
    is_quiet: bool,
    is_terminal: bool,
    /// Whether a line stands there that the next takes the place of.
    is_drawn: bool,
    /// Which target and round, when there is more than one.
    pub(crate) label: String,
}

impl Progress {
    pub(crate) fn new(is_quiet: bool) -> Progress {
        Progress {
            is_quiet,
            is_terminal: stderr().is_terminal(),
            is_drawn: false,
            label: String::new(),
        }
    }

    /// Something that is not of one second.
    pub(crate) fn note(&mut self, text: &str) {
        self.end_line();
        self.print(&format!("{text}\n"));
    }

    /// A second is over.
    pub(crate) fn window<'a>(
        &mut self,
        elapsed: f64,
        window: f64,
        operations: impl Iterator<Item = (Operation, &'a Histogram<u64>)>,
        errors: u64,
    ) {
        let text = line(&self.label, elapsed, window, operations, errors);
        if self.is_terminal {
            self.is_drawn = true;
            // A line that wraps cannot be drawn anew.
            let width = terminal_size_of(stderr()).map_or(USUAL_WIDTH, |(width, _)| width.0);
            let text: String = text
                .chars()
                .take(usize::from(width.saturating_sub(1)))
                .collect();
            // To the line's begin, the text, and away with what was longer before.
            self.print(&format!("\r{text}\x1b[K"));
        } else {
            self.print(&format!("{text}\n"));
        }
    }

    /// What comes next begins on a line of its own.
    pub(crate) fn end_line(&mut self) {
        if std::mem::take(&mut self.is_drawn) {
            self.print("\n");
        }
    }

    fn print(&self, text: &str) {
        if !self.is_quiet {
            let mut out = stderr().lock();
            // Nobody left to tell is no reason to fail.
            let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        }
    }
}

fn line<'a>(
    label: &str,
    elapsed: f64,
    window: f64,
    operations: impl Iterator<Item = (Operation, &'a Histogram<u64>)>,
    errors: u64,
) -> String {
    let (mut told, mut all) = (String::new(), 0);
    for (operation, latencies) in operations {
        all += latencies.len();
        let at = |quantile| short(latencies.value_at_quantile(quantile));
        // A String takes all that is written to it.
        let _ = match latencies.is_empty() {
            true => write!(told, "  {operation} -"),
            false => write!(told, "  {operation} p50 {} p99 {}", at(0.5), at(0.99)),
        };
    }
    let rate = all as f64 / window;
    let mut line = format!("{label}{elapsed:6.1}s {rate:>8.0}/s{told}");
    if errors > 0 {
        let _ = write!(line, "  errors {errors}");
    }
    line
}

/// Nanoseconds in three digits or so.
pub(crate) fn short(nanos: u64) -> String {
    let nanos = nanos as f64;
    match nanos {
        _ if nanos < 999_500.0 => format!("{:.0}us", nanos / 1e3),
        _ if nanos < 99_950_000.0 => format!("{:.2}ms", nanos / 1e6),
        _ if nanos < 999_500_000.0 => format!("{:.0}ms", nanos / 1e6),
        _ => format!("{:.2}s", nanos / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost without it: the line that people watch would mislead by a thousand.
    #[test]
    fn a_second_is_told() {
        let mut latencies = Histogram::new(3).unwrap();
        for _ in 0..500 {
            latencies.record(412_000).unwrap();
        }
        let none = Histogram::new(3).unwrap();
        let operations = [(Operation::Put, &latencies), (Operation::Get, &none)];
        let text = line("a 1/5 ", 12.5, 0.5, operations.into_iter(), 2);
        assert_eq!(
            text,
            "a 1/5   12.5s     1000/s  put p50 412us p99 412us  get -  errors 2"
        );
        for (nanos, meant) in [
            (400, "0us"),
            (999_499, "999us"),
            (1_200_000, "1.20ms"),
            (250_000_000, "250ms"),
            (5_000_000_000, "5.00s"),
        ] {
            assert_eq!(short(nanos), meant);
        }
    }
}
