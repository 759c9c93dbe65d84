//! This file answers: what does `rkv bench` take, and how does it tell what came of it?

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rkv_bench::keys::Keys;
use rkv_bench::mix::{Mix, Workload};
use rkv_bench::seed::Seed;
use rkv_bench::summary::Figures;
use rkv_bench::values::Values;
use rkv_bench::{BenchError, Driver, Extent, Mode, Plan, Quorum, Summary};

use super::failure::{Failure, Kind};
use super::{End, Global};
use crate::duration::{parse_millis, parse_seconds};

/// Rounds of a comparison unless told otherwise: the middle one of five is no accident.
const ROUNDS: u32 = 5;

/// What stands below the help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  rkv bench                                                     a node on the usual port, the tutorial's mix, a minute
  rkv bench --driver redis --target 127.0.0.1:6379 127.0.0.1:6479 --workers 50 --duration 30s
  rkv bench --driver quorum --n 3 --r 2 --w 2 --workers 64      put_quorum and get_quorum
  rkv bench --driver redis --pipeline 16 --operations put       SETs, 16 in a write
  rkv bench --workload b --keys zipfian:1000000                 YCSB B on a million keys
  rkv bench --mode rate:5000 --workers 100                      5000 a second, whether they are answered in time or not
  rkv bench --count 1000 --warmup 0 --workers 1 --seed 7        the same thousand operations each time
  rkv bench --driver redis --against 127.0.0.1:7000             in turns with the Redis server on port 7000
  rkv bench --events told & echo 'node2 killed' >> told         marks in events.csv

Files in the test dir (those of an earlier run under these names are replaced):
  <op>_single.csv     timestamp,unit,microseconds     the first million operations that succeeded
  <op>_latencies.csv  elapsed,window,n,min,mean,median,95th,99th,99_9th,max,errors     each second, in microseconds
  <op>.hgrm.csv       percentile,microseconds         the whole run
  events.csv          timestamp,unit,label            with --events
  summary.json        command, versions, machine, figures, errors by kind
  against/            the same of the second target, with --against

Exit codes: 0 done, 1 an error with --shutdown-on-error, 2 usage, 3 the target cannot be reached.";

/// The flags of `rkv bench`.
#[derive(Debug, Args)]
pub(crate) struct Asked {
    /// How to reach the target: native (the Rust client), quorum (its quorum calls), redis (SET and GET)
    #[arg(long, value_name = "D", default_value = "native")]
    driver: Driver,
    /// Peer addresses (native, quorum) or Redis addresses; workers are spread over them [default: 127.0.0.1, 7379 or
    /// 6379]
    #[arg(long, value_name = "ADDR", num_args = 1..)]
    target: Vec<String>,
    /// max (each worker asks again when it is answered) or rate:N (N a second, latency from when each was due)
    #[arg(long, value_name = "M", default_value = "max")]
    mode: Mode,
    /// How many ask at once; in rate mode: how many are under way at most
    #[arg(long, value_name = "N", default_value_t = 2)]
    workers: usize,
    /// Threads that carry the workers [default: half of the cores]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// How long to record, such as 30s or 2m; a bare number is seconds [default: 60s]
    #[arg(long, value_name = "T", value_parser = parse_seconds, conflicts_with = "count")]
    duration: Option<Duration>,
    /// How many operations to record instead
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// What to do, by weight: put, get, get-own-puts, read, update, insert, read-modify-write
    #[arg(
        long,
        value_name = "OP:N,...",
        default_value = "get-own-puts:3,put:10,get:2",
        conflicts_with = "workload"
    )]
    operations: Mix,
    /// A mix of YCSB instead: a, b, c, d or f; its keys are loaded first
    #[arg(long, value_name = "W")]
    workload: Option<Workload>,
    /// Which keys: uniform_int:N, sequential, zipfian, latest (new ones are written, the newest read), each with :N or without; N
    /// is 100000 if left out [default: uniform_int:100000; zipfian for a workload, latest for d]
    #[arg(long, value_name = "K")]
    keys: Option<Keys>,
    /// Which values: fixed_bin:BYTES or uniform:FROM:TO
    #[arg(long, value_name = "V", default_value = "fixed_bin:100")]
    values: Values,
    /// Commands a worker sends in one write and then waits for; driver redis
    #[arg(long, value_name = "P", default_value_t = 1)]
    pipeline: usize,
    /// Where chance comes from: one to four numbers. The same seed and one worker: the same operations
    #[arg(long, value_name = "A,B,C", default_value = "1,4,3")]
    seed: Seed,
    /// How long to go on before recording begins, in each round; a bare number is seconds
    #[arg(long, value_name = "T", default_value = "5s", value_parser = parse_seconds)]
    warmup: Duration,
    /// How long an operation may take before it is an error (driver redis: to a quarter of a second); a bare number is
    /// milliseconds
    #[arg(long, value_name = "T", default_value = "5s", value_parser = parse_millis)]
    timeout: Duration,
    /// Copies of a key, driver quorum [default: 3]
    #[arg(long, value_name = "N")]
    n: Option<u32>,
    /// Answers that a read waits for, driver quorum [default: 2]
    #[arg(long, value_name = "R")]
    r: Option<u32>,
    /// Copies that a write waits for, driver quorum [default: 2]
    #[arg(long, value_name = "W")]
    w: Option<u32>,
    /// File with what the target wants to hear: cluster.client_secret, or the Redis password
    #[arg(long, value_name = "F")]
    secret_file: Option<PathBuf>,
    /// End at the first error, with exit code 1
    #[arg(long)]
    shutdown_on_error: bool,
    /// Where the files go
    #[arg(long, value_name = "DIR", default_value = "tests")]
    test_dir: PathBuf,
    /// A second target, in alternate rounds: prints how many times its figures the first one reaches
    #[arg(long, value_name = "ADDR")]
    against: Option<String>,
    /// How many rounds each of two targets has; they share the duration or count [default: 5]
    #[arg(long, value_name = "N", requires = "against")]
    rounds: Option<u32>,
    /// A file to which others append what happens meanwhile, a line each: `timestamp,unit,label` or the label
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
}

/// `rkv bench`.
pub(crate) fn bench(global: &Global, asked: Asked) -> Result<End, Failure> {
    let output = global.output();
    let plan = asked.plan(global)?;
    let finished = rkv_bench::run(&plan).map_err(failure)?;
    let summary = &finished.summary;
    let document = serde_json::to_string(summary)
        .map_err(|why| Failure::internal(format!("summary: {why}")))?;
    output.result(&document, || report(summary))?;
    match finished.shut_down {
        false => Ok(End::Done),
        // All has been said.
        true => Ok(End::Failed),
    }
}

fn failure(error: BenchError) -> Failure {
    match error {
        BenchError::Usage(text) => Failure::usage(text),
        BenchError::Unreachable(text) => Failure::new(Kind::Unreachable, "target", text),
        BenchError::Failed(text) => Failure::new(Kind::Internal, "bench", text),
    }
}

impl Asked {
    fn plan(self, global: &Global) -> Result<Plan, Failure> {
        let secret = self.secret()?;
        let quorum = self.quorum()?;
        let mut targets = self.target;
        if targets.is_empty() {
            targets.push(self.driver.usual_target().to_owned());
        }
        let keys = match (self.keys, self.workload) {
            (Some(keys), _) => keys,
            (None, Some(workload)) => workload.keys(),
            (None, None) => Keys::Uniform(Keys::USUAL),
        };
        Ok(Plan {
            driver: self.driver,
            targets,
            rounds: match self.against {
                Some(_) => self.rounds.unwrap_or(ROUNDS),
                None => 1,
            },
            against: self.against,
            mode: self.mode,
            workers: self.workers,
            threads: self.threads.unwrap_or_else(half_of_the_cores),
            extent: match (self.count, self.duration) {
                (Some(count), _) => Extent::Count(count),
                (None, Some(duration)) => Extent::Duration(duration),
                (None, None) => Extent::Duration(Duration::from_secs(60)),
            },
            warmup: self.warmup,
            mix: match self.workload {
                Some(workload) => workload.mix(),
                None => self.operations,
            },
            keys,
            values: self.values,
            pipeline: self.pipeline,
            seed: self.seed,
            quorum,
            timeout: self.timeout,
            secret,
            shutdown_on_error: self.shutdown_on_error,
            test_dir: self.test_dir,
            events: self.events,
            command: std::env::args_os()
                .map(|word| word.to_string_lossy().into_owned())
                .collect(),
            quiet: global.quiet,
        })
    }

    fn secret(&self) -> Result<Option<String>, Failure> {
        let Some(path) = &self.secret_file else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(path)
            .map_err(|why| Failure::usage(format!("--secret-file {}: {why}", path.display())))?;
        Ok(Some(text.trim().to_owned()))
    }

    fn quorum(&self) -> Result<Quorum, Failure> {
        let given = [self.n, self.r, self.w];
        if self.driver != Driver::Quorum && given.iter().any(Option::is_some) {
            let text = "--n, --r and --w are for --driver quorum; the others take the keyspace's";
            return Err(Failure::usage(text));
        }
        Ok(Quorum {
            n: self.n.unwrap_or(3),
            r: self.r.unwrap_or(2),
            w: self.w.unwrap_or(2),
        })
    }
}

/// The other half is for the target: on one machine they share it.
fn half_of_the_cores() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, Into::into);
    (cores / 2).max(1)
}

/// What people are told, down to the closing lines.
fn report(summary: &Summary) -> String {
    let mut text = figures(&summary.figures);
    if let Some(against) = &summary.against {
        let named = [Some(against.target.as_str()), against.version.as_deref()];
        let named: Vec<&str> = named.into_iter().flatten().collect();
        let told = figures(&against.figures);
        // A String takes all that is written to it.
        let _ = write!(text, "\nAgainst {}\n{told}", named.join(", "));
    }
    for (operation, ratio) in summary.ratios.iter().flatten() {
        let _ = write!(
            text,
            "\n{operation}: {:.2} times the other's {} (median of {} rounds, {:.2} to {:.2})",
            ratio.median, ratio.of, ratio.rounds, ratio.lowest, ratio.highest
        );
    }
    if summary.ratios.is_some() {
        text.push_str("\n\n");
    }
    if summary.ended_early {
        text.push_str("Ended early\n");
    }
    text.push_str("Benchmark finished\n");
    text.push_str(&errors(&summary.figures, ""));
    if let Some(against) = &summary.against
        && against.figures.failed() > 0
    {
        text.push_str(&errors(&against.figures, " of the other"));
    }
    text
}

fn figures(figures: &Figures) -> String {
    let mut text = format!(
        "{:<18}{:>10}{:>11}{:>9}{:>9}{:>9}{:>9}{:>10}{:>8}\n",
        "microseconds", "n", "per s", "median", "95th", "99th", "99.9th", "max", "errors"
    );
    for (operation, told) in &figures.operations {
        let it = &told.latencies;
        let _ = writeln!(
            text,
            "{operation:<18}{:>10}{:>11.0}{:>9.0}{:>9.0}{:>9.0}{:>9.0}{:>10.0}{:>8}",
            told.n, told.throughput_per_s, it.median, it.p95, it.p99, it.p99_9, it.max, told.errors
        );
    }
    let _ = writeln!(
        text,
        "{:.0} a second in {:.1} s",
        figures.throughput_per_s, figures.seconds
    );
    if figures.not_begun > 0 {
        let _ = writeln!(
            text,
            "{} operations were due and never began: too few --workers, or more than the target can do",
            figures.not_begun
        );
    }
    text
}

fn errors(figures: &Figures, whose: &str) -> String {
    if figures.errors.is_empty() {
        return "No Errors\n".to_owned();
    }
    let mut text = format!("{} Errors{whose}\n", figures.failed());
    for (kind, count) in &figures.errors {
        let first = figures.error_messages.get(kind).map_or("", String::as_str);
        let _ = writeln!(text, "  {kind}: {count} (the first: {first})");
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        global: Global,
        #[command(flatten)]
        asked: Asked,
    }

    fn plan(line: &str) -> Result<Plan, String> {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        let plan = line.asked.plan(&line.global);
        let plan = plan.map_err(|failure| failure.message)?;
        plan.check().map_err(|error| error.to_string())?;
        Ok(plan)
    }

    /// Lost without it: the tutorial's run would be another, or a flag would do nothing.
    #[test]
    fn flags_make_the_plan() {
        let usual = plan("").unwrap();
        assert_eq!(usual.mix.to_string(), "put:10,get:2,get-own-puts:3");
        assert_eq!(usual.keys.to_string(), "uniform_int:100000");
        assert_eq!(usual.values.to_string(), "fixed_bin:100");
        assert_eq!(usual.seed.to_string(), "1,4,3");
        assert_eq!((usual.workers, usual.pipeline, usual.rounds), (2, 1, 1));
        assert_eq!(usual.extent, Extent::Duration(Duration::from_secs(60)));
        assert_eq!(usual.warmup, Duration::from_secs(5));
        assert_eq!(usual.targets, ["127.0.0.1:7379"]);
        let other = plan(
            "--driver redis --target h:1 h:2 --mode rate:500 --workers 9 --threads 3 --count 7 --workload d \
             --pipeline 4 --warmup 250ms --timeout 100 --against h:3 --rounds 3 --events told --test-dir out",
        );
        let other = other.unwrap();
        assert_eq!(other.targets, ["h:1", "h:2"]);
        assert_eq!(
            (other.mode, other.extent),
            (Mode::Rate(500), Extent::Count(7))
        );
        assert_eq!(other.keys.to_string(), "latest:100000");
        assert_eq!(other.mix.to_string(), "read:95,insert:5");
        assert_eq!((other.workers, other.threads, other.rounds), (9, 3, 3));
        assert_eq!(other.timeout, Duration::from_millis(100));
        assert_eq!(other.against.as_deref(), Some("h:3"));
    }

    /// Lost without it: a mistake on the command line costs a run of a minute, or passes for one.
    #[test]
    fn what_cannot_be_meant_is_told() {
        for (line, why) in [
            ("--driver http", "native, redis or quorum"),
            ("--target nowhere", "host:port"),
            ("--mode fast", "rate:N"),
            ("--mode rate:0", "rate:N"),
            ("--workers 0", "--workers is from 1"),
            ("--workers many", "invalid value"),
            ("--threads 0", "--threads is from 1"),
            ("--duration soon", "a duration is written"),
            ("--duration 0", "--duration"),
            ("--duration 5s --count 5", "cannot be used with"),
            ("--count 0", "--count"),
            ("--operations put:0", "a weight is"),
            ("--operations put --workload a", "cannot be used with"),
            ("--workload e", "scans"),
            ("--keys pareto:5", "keys are"),
            ("--keys uniform_int:1", "too few for 2 workers"),
            ("--values big", "values are"),
            ("--values uniform:5:1", "The smaller comes first"),
            ("--pipeline 2", "--driver redis"),
            ("--pipeline 0 --driver redis", "--pipeline is from 1"),
            ("--seed one", "whole numbers"),
            ("--warmup -1", "unexpected argument"),
            ("--timeout 0", "--timeout"),
            ("--n 3", "--driver quorum"),
            ("--driver quorum --r 4", "from 1 to --n"),
            ("--secret-file /nowhere/at/all", "--secret-file"),
            ("--rounds 3", "--against"),
            ("--against h:1 --rounds 0", "--rounds is from 1"),
            ("--against here", "host:port"),
        ] {
            let error = plan(line).unwrap_err();
            assert!(error.contains(why), "{line}: {error}");
        }
    }

    /// Lost without it: scripts that wait for the closing lines wait for ever, and errors go unnamed.
    #[test]
    fn the_closing_lines_are_kept() {
        let mut figures = Figures::default();
        assert_eq!(errors(&figures, ""), "No Errors\n");
        figures.errors = [("BUSY".to_owned(), 3), ("timeout".to_owned(), 1)].into();
        figures.error_messages = [("BUSY".to_owned(), "BUSY so much".to_owned())].into();
        assert_eq!(
            errors(&figures, ""),
            "4 Errors\n  BUSY: 3 (the first: BUSY so much)\n  timeout: 1 (the first: )\n"
        );
    }
}
