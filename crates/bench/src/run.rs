//! This file answers: how is a run carried out, from the first connection to the last file?

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::driver::Target;
use crate::events::Events;
use crate::files;
use crate::ledger::{Ledger, RoundFigures, RoundStart};
use crate::load::load;
use crate::machine::Machine;
use crate::mix::Operation;
use crate::pace::Pace;
use crate::plan::{BenchError, Driver, Extent, Mode, Plan, Quorum};
use crate::progress::Progress;
use crate::ratio::Ratio;
use crate::report::{REPORTS_WAITING, Reporter};
use crate::script::Script;
use crate::summary::{Against, Figures, Summary, Versions};
use crate::values::Pool;
use crate::worker::Worker;

/// Where the files of the second target go, within the folder.
const AGAINST: &str = "against";

impl From<io::Error> for BenchError {
    fn from(error: io::Error) -> BenchError {
        BenchError::Failed(error.to_string())
    }
}

/// A run that has come to its end.
#[derive(Debug, Clone)]
pub struct Finished {
    /// What came of it.
    pub summary: Summary,
    /// Whether it ended because of an error, as it was told to.
    pub shut_down: bool,
}

/// Carries out `plan` on this thread and on threads of its own, and writes its files.
///
/// Not for a thread that carries tasks of a runtime: there, use `spawn_blocking`. SIGINT and SIGTERM end the run early;
/// its files are written all the same.
pub fn run(plan: &Plan) -> Result<Finished, BenchError> {
    plan.check()?;
    files::prepare(&plan.test_dir)?;
    let events = plan.events.as_deref();
    let events = events.map(|file| Events::watch(file, &plan.test_dir));
    let events = events.transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(plan.threads)
        .thread_name("bench")
        .on_thread_park(rkv_client::let_others_go)
        .enable_all()
        .build()?;
    let mut bench = Bench::open(plan, &runtime)?;
    let carried_out = bench.carry_out();
    if let Some(events) = events
        && !events.finish()?
    {
        let file = plan.events.as_deref().unwrap_or(Path::new(""));
        let text = format!("no events: {} was never there", file.display());
        bench.progress.note(&text);
    }
    let finished = carried_out.and_then(|()| bench.close());
    // A connection that does not end is not waited for.
    runtime.shutdown_background();
    finished
}

/// One target and what is known of it.
struct Side {
    name: String,
    target: Target,
    ledger: Ledger,
    /// When its first round's recording began.
    recorded_from: Option<Instant>,
    rounds: Vec<Vec<RoundFigures>>,
    not_begun: u64,
}

impl Side {
    fn open(
        plan: &Plan,
        runtime: &Runtime,
        addresses: &[String],
        folder: &Path,
    ) -> Result<Side, BenchError> {
        Ok(Side {
            name: addresses.join(","),
            target: runtime.block_on(Target::open(plan, addresses))?,
            ledger: Ledger::open(folder, &plan.mix)?,
            recorded_from: None,
            rounds: Vec::new(),
            not_begun: 0,
        })
    }

    fn close(self) -> Result<Figures, BenchError> {
        let mut figures = self.ledger.close()?;
        figures.not_begun = self.not_begun;
        Ok(figures)
    }
}

struct Bench<'a> {
    plan: &'a Plan,
    runtime: &'a Runtime,
    pool: Pool,
    side: Side,
    other: Option<Side>,
    stop: watch::Receiver<bool>,
    progress: Progress,
    started: SystemTime,
    shut_down: bool,
}

impl<'a> Bench<'a> {
    fn open(plan: &'a Plan, runtime: &'a Runtime) -> Result<Bench<'a>, BenchError> {
        let side = Side::open(plan, runtime, &plan.targets, &plan.test_dir)?;
        let other = match &plan.against {
            None => None,
            Some(address) => {
                let folder: PathBuf = plan.test_dir.join(AGAINST);
                files::prepare(&folder)?;
                let addresses = [address.clone()];
                Some(Side::open(plan, runtime, &addresses, &folder)?)
            }
        };
        Ok(Bench {
            plan,
            runtime,
            pool: Pool::new(plan.values, &mut plan.seed.rng(u32::MAX, u32::MAX)),
            side,
            other,
            stop: listen(runtime)?,
            progress: Progress::new(plan.quiet),
            started: SystemTime::now(),
            shut_down: false,
        })
    }

    fn carry_out(&mut self) -> Result<(), BenchError> {
        if self.plan.loads() {
            self.load()?;
        }
        self.started = SystemTime::now() + self.plan.warmup;
        for round in 0..self.plan.rounds {
            // There and back again: whatever drifts meanwhile drifts for both.
            let order = match round % 2 {
                0 => [true, false],
                _ => [false, true],
            };
            for is_target in order {
                if self.is_over() {
                    return Ok(());
                }
                self.round(round, is_target)?;
            }
        }
        self.progress.end_line();
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.shut_down || *self.stop.borrow()
    }

    fn load(&mut self) -> Result<(), BenchError> {
        let mut stop = self.stop.clone();
        for side in [Some(&self.side), self.other.as_ref()]
            .into_iter()
            .flatten()
        {
            let count = self.plan.keys.count();
            self.progress
                .note(&format!("loading {count} keys into {}", side.name));
            let loading = load(self.plan, &side.target, &self.pool);
            let loaded = self.runtime.block_on(async {
                tokio::select! {
                    loaded = loading => Some(loaded),
                    _ = stop.wait_for(|stop| *stop) => None,
                }
            });
            let interrupted = || BenchError::Failed("interrupted while keys were loaded".into());
            loaded.ok_or_else(interrupted)??;
        }
        Ok(())
    }

    fn round(&mut self, round: u32, is_target: bool) -> Result<(), BenchError> {
        let plan = self.plan;
        let side = match &mut self.other {
            Some(other) if !is_target => other,
            None if !is_target => return Ok(()),
            _ => &mut self.side,
        };
        if plan.against.is_some() {
            let (number, of) = (round + 1, plan.rounds);
            self.progress.label = format!("{} {number}/{of} ", side.name);
        }
        let connecting = async {
            let mut connections = Vec::new();
            for worker in 0..plan.workers {
                connections.push(side.target.connection(worker).await?);
            }
            Ok::<_, BenchError>(connections)
        };
        let connections = self.runtime.block_on(connecting)?;
        if !plan.warmup.is_zero() {
            let text = format!("{}warm-up {:?}", self.progress.label, plan.warmup);
            self.progress.note(&text);
        }
        let (begin, begin_unix) = (Instant::now(), SystemTime::now());
        let extent = plan.extent_of(round);
        let pace = Arc::new(Pace::new(begin, plan.warmup, extent, plan.mode));
        let record_from = pace.record_from();
        let (tell, told) = mpsc::channel(REPORTS_WAITING);
        let mut workers = JoinSet::new();
        {
            let _within = self.runtime.enter();
            for (number, connection) in connections.into_iter().enumerate() {
                let script = Script::new(plan, round, number as u32);
                let reporter = Reporter::new(number, record_from, tell.clone());
                let (pace, pool) = (pace.clone(), self.pool.clone());
                let worker = Worker::new(plan, pace, script, pool, connection, reporter)?;
                workers.spawn(worker.work());
            }
        }
        drop(tell);
        let (mut stop, stopped) = (self.stop.clone(), pace.clone());
        let stopper = self.runtime.spawn(async move {
            if stop.wait_for(|stop| *stop).await.is_ok() {
                stopped.stop(Instant::now());
            }
        });
        let first = *side.recorded_from.get_or_insert(record_from);
        let start = RoundStart {
            workers: plan.workers,
            unix_micros: micros(begin_unix + plan.warmup),
            after: record_from.duration_since(first).as_nanos() as u64,
            nanos: match extent {
                Extent::Duration(duration) => Some(duration.as_nanos() as u64),
                Extent::Count(_) => None,
            },
        };
        let figures = side.ledger.round(start, told, &mut self.progress);
        side.not_begun += pace.not_begun(Instant::now());
        stopper.abort();
        let ended = self.runtime.block_on(workers.join_all());
        side.rounds.push(figures?);
        ended.into_iter().collect::<io::Result<()>>()?;
        let has_failed = side.ledger.has_errors();
        self.shut_down = plan.shutdown_on_error && has_failed;
        Ok(())
    }

    fn close(self) -> Result<Finished, BenchError> {
        let (plan, runtime) = (self.plan, self.runtime);
        let ended_early = self.is_over();
        let version = runtime.block_on(self.side.target.version());
        let ratios = self
            .other
            .as_ref()
            .map(|other| ratios(plan, &self.side, other));
        let against = match self.other {
            None => None,
            Some(other) => Some(Against {
                target: other.name.clone(),
                version: runtime.block_on(other.target.version()),
                figures: other.close()?,
            }),
        };
        let summary = Summary {
            command: plan.command.clone(),
            versions: Versions {
                rkv: env!("CARGO_PKG_VERSION"),
                target: version,
            },
            machine: Machine::this(),
            started: micros(self.started) / 1000,
            mode: plan.mode.to_string(),
            offered_per_s: match plan.mode {
                Mode::Max => None,
                Mode::Rate(rate) => Some(rate),
            },
            settings: settings(plan),
            figures: self.side.close()?,
            against,
            ratios,
            ended_early,
        };
        let text = serde_json::to_vec_pretty(&summary);
        let text = text.map_err(|error| BenchError::Failed(error.to_string()))?;
        files::put(&plan.test_dir, files::SUMMARY, &text)?;
        Ok(Finished {
            summary,
            shut_down: self.shut_down,
        })
    }
}

/// By operation, from the rounds that both had.
fn ratios(plan: &Plan, side: &Side, other: &Side) -> BTreeMap<&'static str, Ratio> {
    let ratio = |ours: &RoundFigures, theirs: &RoundFigures| match plan.mode {
        Mode::Max => ours.per_s / theirs.per_s,
        // All that was offered is done by both, unless one breaks down: they differ in how long it takes.
        Mode::Rate(_) => theirs.median / ours.median,
    };
    let of = match plan.mode {
        Mode::Max => "throughput",
        Mode::Rate(_) => "median latency",
    };
    let of_operation = |(place, operation): (usize, Operation)| {
        let rounds = side.rounds.iter().zip(&other.rounds);
        let ratios = rounds.map(|(ours, theirs)| ratio(&ours[place], &theirs[place]));
        Some((operation.name(), Ratio::new(of, ratios.collect())?))
    };
    let operations = plan.mix.operations().enumerate();
    operations.filter_map(of_operation).collect()
}

/// What was asked for, defaults included.
fn settings(plan: &Plan) -> BTreeMap<&'static str, String> {
    let extent = match plan.extent {
        Extent::Duration(duration) => ("duration", format!("{duration:?}")),
        Extent::Count(count) => ("count", count.to_string()),
    };
    let Quorum { n, r, w } = plan.quorum;
    let quorum = format!("n={n} r={r} w={w}");
    let quorum = (plan.driver == Driver::Quorum).then_some(("quorum", quorum));
    let all = [
        extent,
        ("driver", plan.driver.to_string()),
        ("target", plan.targets.join(",")),
        ("workers", plan.workers.to_string()),
        ("threads", plan.threads.to_string()),
        ("warmup", format!("{:?}", plan.warmup)),
        ("operations", plan.mix.to_string()),
        ("keys", plan.keys.to_string()),
        ("values", plan.values.to_string()),
        ("pipeline", plan.pipeline.to_string()),
        ("seed", plan.seed.to_string()),
        ("timeout", format!("{:?}", plan.timeout)),
    ];
    all.into_iter().chain(quorum).collect()
}

/// Becomes true when somebody wants the run to end.
fn listen(runtime: &Runtime) -> io::Result<watch::Receiver<bool>> {
    let _within = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (tell, told) = watch::channel(false);
    runtime.spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        let _ = tell.send(true);
        // Nobody is told that there is no more to hear.
        std::future::pending::<()>().await;
    });
    Ok(told)
}

fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_micros() as u64
}
