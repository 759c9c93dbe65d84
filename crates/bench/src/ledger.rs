//! This file answers: what comes of all that the workers tell?
//!
//! One for each target, across its rounds, on the thread that carries out the run. An operation is of the second in which
//! it ended; a second is closed once every worker has told of all that ended in it.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;

use hdrhistogram::Histogram;
use tokio::sync::mpsc::Receiver;

use crate::files::OperationFiles;
use crate::mix::{Mix, Operation};
use crate::progress::Progress;
use crate::report::{Mishap, Report, Sample};
use crate::summary::{Figures, Latencies, OperationFigures};

const SECOND: u64 = 1_000_000_000;
/// Kinds of errors that are told apart; the rest is of the kind `other`.
const KINDS_MOST: usize = 64;
/// Significant digits of a latency.
const DIGITS: u8 = 3;

/// Everything that is known of one target.
#[derive(Debug)]
pub(crate) struct Ledger {
    entries: Vec<Entry>,
    /// Which entry an operation is.
    places: [usize; Operation::ALL.len()],
    errors: BTreeMap<String, u64>,
    messages: BTreeMap<String, String>,
    nanos: u64,
    spare: Vec<Window>,
}

/// What is known of one operation.
#[derive(Debug)]
struct Entry {
    operation: Operation,
    whole: Histogram<u64>,
    errors: u64,
    files: OperationFiles,
}

/// One second: of each entry the latencies, and the errors.
#[derive(Debug)]
struct Window {
    latencies: Vec<Histogram<u64>>,
    errors: Vec<u64>,
}

/// A round, as its ledger has to know it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RoundStart {
    pub(crate) workers: usize,
    /// When its recording begins: in Unix time, and after the first round's.
    pub(crate) unix_micros: u64,
    pub(crate) after: u64,
    /// How long it is to be, if that is known.
    pub(crate) nanos: Option<u64>,
}

/// What came of one operation in one round. They stand in the mix's order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RoundFigures {
    pub(crate) per_s: f64,
    pub(crate) median: f64,
}

fn histogram() -> Histogram<u64> {
    Histogram::new(DIGITS).expect("a number of digits that there is")
}

impl Ledger {
    pub(crate) fn open(folder: &Path, mix: &Mix) -> io::Result<Ledger> {
        let mut places = [0; Operation::ALL.len()];
        let mut entries = Vec::new();
        for operation in mix.operations() {
            places[operation as usize] = entries.len();
            entries.push(Entry {
                operation,
                whole: histogram(),
                errors: 0,
                files: OperationFiles::create(folder, operation)?,
            });
        }
        Ok(Ledger {
            entries,
            places,
            errors: BTreeMap::new(),
            messages: BTreeMap::new(),
            nanos: 0,
            spare: Vec::new(),
        })
    }

    /// Takes reports until the last worker has ended.
    pub(crate) fn round(
        &mut self,
        start: RoundStart,
        mut reports: Receiver<Report>,
        progress: &mut Progress,
    ) -> io::Result<Vec<RoundFigures>> {
        let mut round = Round {
            start,
            told: vec![Some(0); start.workers],
            ended: 0,
            first: 0,
            open: VecDeque::new(),
            latencies: self.entries.iter().map(|_| histogram()).collect(),
        };
        while let Some(report) = reports.blocking_recv() {
            for sample in &report.samples {
                self.note(&mut round, sample)?;
            }
            for mishap in report.mishaps {
                self.note_error(&mut round, mishap);
            }
            round.told[report.worker] = (!report.is_last).then_some(report.until);
            if report.is_last {
                round.ended = round.ended.max(report.until);
            }
            let told = round.told.iter().flatten().min().copied();
            while let Some(until) = told
                && round.end_of(round.first) <= until
            {
                self.close_window(&mut round, progress)?;
            }
        }
        let last = round.ended.max(1).div_ceil(SECOND) - 1;
        while !round.open.is_empty() || round.first <= round.place(last) {
            self.close_window(&mut round, progress)?;
        }
        self.nanos += round.ended;
        Ok(figures_of(&round))
    }

    /// Whether anything has failed so far.
    pub(crate) fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// Closes the files, and tells it all.
    pub(crate) fn close(self) -> io::Result<Figures> {
        let seconds = self.nanos as f64 / SECOND as f64;
        let mut operations = BTreeMap::new();
        let mut succeeded = 0;
        for entry in self.entries {
            let n = entry.whole.len();
            succeeded += n;
            let figures = OperationFigures {
                n,
                errors: entry.errors,
                throughput_per_s: per_s(n, self.nanos),
                latencies: Latencies::of(&entry.whole),
            };
            operations.insert(entry.operation.name(), figures);
            entry.files.close(&entry.whole)?;
        }
        Ok(Figures {
            seconds: (seconds * 1000.0).round() / 1000.0,
            operations,
            throughput_per_s: per_s(succeeded, self.nanos),
            errors: self.errors,
            error_messages: self.messages,
            not_begun: 0,
        })
    }

    fn note(&mut self, round: &mut Round, sample: &Sample) -> io::Result<()> {
        let place = self.places[sample.operation as usize];
        let window = self.window(round, sample.ended);
        let recorded = window.latencies[place].record(sample.latency);
        recorded.expect("a histogram that grows takes every latency");
        let unix_micros = round.start.unix_micros + sample.ended / 1000;
        let latency_micros = (sample.latency + 500) / 1000;
        let files = &mut self.entries[place].files;
        files.single(unix_micros, latency_micros)
    }

    fn note_error(&mut self, round: &mut Round, mishap: Mishap) {
        let place = self.places[mishap.operation as usize];
        self.window(round, mishap.ended).errors[place] += 1;
        self.entries[place].errors += 1;
        let mut kind = mishap.failed.kind.into_owned();
        if self.errors.len() >= KINDS_MOST && !self.errors.contains_key(&kind) {
            kind = "other".to_owned();
        }
        if !self.errors.contains_key(&kind) {
            self.messages.insert(kind.clone(), mishap.failed.message);
        }
        *self.errors.entry(kind).or_insert(0) += 1;
    }

    /// The second in which something ended.
    fn window<'a>(&mut self, round: &'a mut Round, ended: u64) -> &'a mut Window {
        let place = round.place(ended / SECOND).max(round.first) - round.first;
        while round.open.len() as u64 <= place {
            let fresh = || Window {
                latencies: self.entries.iter().map(|_| histogram()).collect(),
                errors: vec![0; self.entries.len()],
            };
            round.open.push_back(self.spare.pop().unwrap_or_else(fresh));
        }
        &mut round.open[place as usize]
    }

    fn close_window(&mut self, round: &mut Round, progress: &mut Progress) -> io::Result<()> {
        let begin = round.first * SECOND;
        let end = match round.end_of(round.first) {
            u64::MAX => round.ended.max(begin + 1),
            end if round.told.iter().all(Option::is_none) => end.min(round.ended.max(begin + 1)),
            end => end,
        };
        self.window(round, begin);
        let mut window = round.open.pop_front().expect("it was just opened");
        round.first += 1;
        let elapsed = (round.start.after + end) as f64 / SECOND as f64;
        let length = (end - begin) as f64 / SECOND as f64;
        for (place, entry) in self.entries.iter_mut().enumerate() {
            let (latencies, errors) = (&window.latencies[place], window.errors[place]);
            entry.files.window(elapsed, length, latencies, errors)?;
            entry.whole += latencies;
            round.latencies[place] += latencies;
        }
        let operations = self.entries.iter().map(|entry| entry.operation);
        let operations = operations.zip(&window.latencies);
        let errors = window.errors.iter().sum();
        progress.window(elapsed, length, operations, errors);
        window.latencies.iter_mut().for_each(Histogram::reset);
        window.errors.fill(0);
        self.spare.push(window);
        Ok(())
    }
}

fn figures_of(round: &Round) -> Vec<RoundFigures> {
    let figures = round.latencies.iter().map(|latencies| RoundFigures {
        per_s: per_s(latencies.len(), round.ended),
        median: Latencies::of(latencies).median,
    });
    figures.collect()
}

fn per_s(n: u64, nanos: u64) -> f64 {
    let per_s = n as f64 / (nanos.max(1) as f64 / SECOND as f64);
    (per_s * 10.0).round() / 10.0
}

/// A round that goes on.
#[derive(Debug)]
struct Round {
    start: RoundStart,
    /// Up to when each worker has told everything; none once it has ended.
    told: Vec<Option<u64>>,
    /// When the last worker ended.
    ended: u64,
    /// The seconds that are not closed, and the number of the first.
    first: u64,
    open: VecDeque<Window>,
    latencies: Vec<Histogram<u64>>,
}

impl Round {
    /// The number of the second in which the `second`th is counted: what ends a moment after the round's time is of its
    /// last second, and does not make one of its own.
    fn place(&self, second: u64) -> u64 {
        second.min(self.last().unwrap_or(second))
    }

    /// When everything in it has ended. Of a round's last second only the end of the round tells.
    fn end_of(&self, place: u64) -> u64 {
        match self.last() {
            Some(last) if place >= last => u64::MAX,
            _ => (place + 1) * SECOND,
        }
    }

    fn last(&self) -> Option<u64> {
        self.start
            .nanos
            .map(|nanos| nanos.max(1).div_ceil(SECOND) - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::read_to_string;

    use tokio::sync::mpsc::channel;

    use super::*;
    use crate::driver::Failed;

    const MILLI: u64 = 1_000_000;

    fn report(worker: usize, until: u64, ended: &[u64], is_last: bool) -> Report {
        let sample = |ended: &u64| Sample {
            operation: Operation::Get,
            ended: *ended,
            latency: 5 * MILLI,
        };
        Report {
            worker,
            samples: ended.iter().map(sample).collect(),
            mishaps: Vec::new(),
            until,
            is_last,
        }
    }

    fn windows(reports: Vec<Report>, nanos: Option<u64>) -> (Vec<String>, Figures) {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path(), &"put,get".parse().unwrap()).unwrap();
        let (tell, told) = channel(reports.len());
        for report in reports {
            tell.try_send(report).unwrap();
        }
        drop(tell);
        let start = RoundStart {
            workers: 2,
            unix_micros: 1_000_000,
            after: 0,
            nanos,
        };
        let mut progress = Progress::new(true);
        ledger.round(start, told, &mut progress).unwrap();
        let figures = ledger.close().unwrap();
        let text = read_to_string(folder.path().join("get_latencies.csv")).unwrap();
        let columns = |line: &str| -> Option<String> {
            let columns: Vec<&str> = line.split(',').collect();
            Some(format!(
                "{} {} {} {}",
                columns[0], columns[1], columns[2], columns[10]
            ))
        };
        (text.lines().skip(1).filter_map(columns).collect(), figures)
    }

    /// Lost without it: a second is written before a slow worker has told of it, or what ended in it stands in another.
    #[test]
    fn an_operation_is_of_the_second_in_which_it_ended() {
        let reports = vec![
            report(0, 1100 * MILLI, &[100 * MILLI, 1050 * MILLI], false),
            report(1, 990 * MILLI, &[], false),
            report(1, 1200 * MILLI, &[995 * MILLI], false),
            report(0, 2500 * MILLI, &[2400 * MILLI], true),
            report(1, 2500 * MILLI, &[], true),
        ];
        let (windows, figures) = windows(reports, None);
        assert_eq!(
            windows,
            ["1.000 1.000 2 0", "2.000 1.000 1 0", "2.500 0.500 1 0"]
        );
        assert_eq!((figures.seconds, figures.operations["get"].n), (2.5, 4));
        assert_eq!(figures.throughput_per_s, 1.6);
        assert_eq!(figures.operations["put"].n, 0);
    }

    /// Lost without it: what ended a moment late makes a second of its own, whose rate is nonsense.
    #[test]
    fn the_last_second_takes_what_ended_late() {
        let reports = vec![
            report(0, 1003 * MILLI, &[100 * MILLI, 1003 * MILLI], true),
            report(1, 1001 * MILLI, &[1001 * MILLI], true),
        ];
        let (windows, _) = windows(reports, Some(SECOND));
        assert_eq!(windows, ["1.003 1.003 3 0"]);
    }

    /// Lost without it: seconds in which a target stood still are missing, and errors are no figures.
    #[test]
    fn nothing_is_told_of_too() {
        let mut failed = report(0, 2100 * MILLI, &[], true);
        failed.mishaps = (0..100)
            .map(|i| Mishap {
                operation: Operation::Get,
                ended: 2050 * MILLI,
                failed: Failed::new(format!("kind{i}"), "why"),
            })
            .collect();
        let (windows, figures) = windows(vec![failed, report(1, 2000 * MILLI, &[], true)], None);
        assert_eq!(
            windows,
            ["1.000 1.000 0 0", "2.000 1.000 0 0", "2.100 0.100 0 100"]
        );
        assert_eq!(figures.failed(), 100);
        assert_eq!(figures.errors.len(), KINDS_MOST + 1);
        assert_eq!(figures.errors["other"], 36);
        assert_eq!(figures.error_messages["kind0"], "why");
    }
}
