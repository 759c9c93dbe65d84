//! This file answers: what is a run asked to do?

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::keys::Keys;
use crate::mix::{Mix, Operation};
use crate::seed::Seed;
use crate::values::Values;

/// Most workers of a run.
pub const WORKERS_MOST: usize = 10_000;
/// Most commands of one worker that are under way together.
pub const PIPELINE_MOST: usize = 10_000;
/// Most operations a second that may be offered.
pub const RATE_MOST: u64 = 100_000_000;
/// Most rounds of a comparison.
pub const ROUNDS_MOST: u32 = 1000;
/// The longest times that may be asked for: a year, whose nanoseconds have room everywhere.
const TIME_MOST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Why there is no run, or none to the end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BenchError {
    /// What was asked cannot be: to be asked otherwise.
    #[error("{0}")]
    Usage(String),
    /// The target does not answer: is it there, and is the address right?
    #[error("{0}")]
    Unreachable(String),
    /// This machine, its disk say, or a target that answers and will not.
    #[error("{0}")]
    Failed(String),
}

/// How an operation reaches the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// The Rust client's `put` and `get`.
    Native,
    /// Its `put_quorum` and `get_quorum`.
    Quorum,
    /// SET and GET over the Redis protocol.
    Redis,
}

impl Driver {
    /// All of them.
    pub const ALL: [Driver; 3] = [Driver::Native, Driver::Redis, Driver::Quorum];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Driver::Native => "native",
            Driver::Redis => "redis",
            Driver::Quorum => "quorum",
        }
    }

    /// Where a node listens for it unless configured otherwise.
    pub fn usual_target(self) -> &'static str {
        match self {
            Driver::Native | Driver::Quorum => "127.0.0.1:7379",
            Driver::Redis => "127.0.0.1:6379",
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Driver {
    type Err = String;

    fn from_str(text: &str) -> Result<Driver, String> {
        let mut all = Driver::ALL.into_iter();
        all.find(|driver| driver.name() == text)
            .ok_or_else(|| format!("a driver is native, redis or quorum, not {text:?}"))
    }
}

/// When operations begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Closed loop: each worker begins the next when the last has ended.
    Max,
    /// Open loop: so many a second, whether the last have ended or not. A latency begins when its operation was due.
    Rate(u64),
}

/// `max` or `rate:N`.
impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Mode, String> {
        if text == "max" {
            return Ok(Mode::Max);
        }
        let rate = text
            .strip_prefix("rate:")
            .and_then(|rate| rate.parse().ok());
        let rate = rate.filter(|rate| (1..=RATE_MOST).contains(rate));
        rate.map(Mode::Rate).ok_or_else(|| {
            format!("a mode is max, or rate:N with N operations a second from 1 to {RATE_MOST}, not {text:?}")
        })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mode::Max => f.write_str("max"),
            Mode::Rate(rate) => write!(f, "rate:{rate}"),
        }
    }
}

/// How much is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// As long as this.
    Duration(Duration),
    /// So many operations.
    Count(u64),
}

/// What the driver `quorum` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quorum {
    /// Copies of a key.
    pub n: u32,
    /// Answers that a read waits for.
    pub r: u32,
    /// Copies that a write waits for.
    pub w: u32,
}

/// A run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How operations reach the target.
    pub driver: Driver,
    /// `host:port` of peer listeners (native, quorum) or Redis listeners, among which workers are spread.
    pub targets: Vec<String>,
    /// A second target of the same kind, in alternate rounds.
    pub against: Option<String>,
    /// How many rounds each target has; one without a second.
    pub rounds: u32,
    /// When operations begin.
    pub mode: Mode,
    /// Tasks, each with its own connection (redis) and one batch under way.
    pub workers: usize,
    /// Threads that carry them.
    pub threads: usize,
    /// How much is recorded of each target, all rounds together.
    pub extent: Extent,
    /// How long each round goes on before anything is recorded.
    pub warmup: Duration,
    /// What is done.
    pub mix: Mix,
    /// On which keys.
    pub keys: Keys,
    /// With which values.
    pub values: Values,
    /// Commands of a worker that are sent in one write.
    pub pipeline: usize,
    /// Where all chance comes from.
    pub seed: Seed,
    /// For [`Driver::Quorum`].
    pub quorum: Quorum,
    /// How long an operation may take before it is an error.
    pub timeout: Duration,
    /// What the target wants to hear: `cluster.client_secret`, or the Redis password.
    pub secret: Option<String>,
    /// End at the first error.
    pub shutdown_on_error: bool,
    /// Where the files go.
    pub test_dir: PathBuf,
    /// Where others write what happens meanwhile.
    pub events: Option<PathBuf>,
    /// The command line, for the summary.
    pub command: Vec<String>,
    /// No progress on stderr.
    pub quiet: bool,
}

/// The tutorial's run, of a second.
impl Default for Plan {
    fn default() -> Plan {
        Plan {
            driver: Driver::Native,
            targets: vec![Driver::Native.usual_target().to_owned()],
            against: None,
            rounds: 1,
            mode: Mode::Max,
            workers: 2,
            threads: 1,
            extent: Extent::Duration(Duration::from_secs(1)),
            warmup: Duration::ZERO,
            mix: "get-own-puts:3,put:10,get:2"
                .parse()
                .expect("the tutorial's mix"),
            keys: Keys::Uniform(Keys::USUAL),
            values: Values::Fixed(100),
            pipeline: 1,
            seed: "1,4,3".parse().expect("the tutorial's seed"),
            quorum: Quorum { n: 3, r: 2, w: 2 },
            timeout: Duration::from_secs(5),
            secret: None,
            shutdown_on_error: false,
            test_dir: "tests".into(),
            events: None,
            command: Vec::new(),
            quiet: true,
        }
    }
}

impl Plan {
    /// Whether all parts of it go together; else what to do about it.
    pub fn check(&self) -> Result<(), BenchError> {
        let wrong = self.wrong();
        wrong.map_or(Ok(()), |wrong| Err(BenchError::Usage(wrong)))
    }

    fn wrong(&self) -> Option<String> {
        let number = |name: &str, value: u64, most: u64| {
            let is_wrong = !(1..=most).contains(&value);
            is_wrong.then(|| format!("--{name} is from 1 to {most}, not {value}"))
        };
        // One target has nothing to alternate with.
        let rounds = match self.against {
            Some(_) => ROUNDS_MOST,
            None => 1,
        };
        number("workers", self.workers as u64, WORKERS_MOST as u64)
            .or_else(|| {
                number(
                    "threads",
                    self.threads as u64,
                    self.workers.max(1024) as u64,
                )
            })
            .or_else(|| number("pipeline", self.pipeline as u64, PIPELINE_MOST as u64))
            .or_else(|| number("rounds", u64::from(self.rounds), u64::from(rounds)))
            .or_else(|| self.wrong_times())
            .or_else(|| self.wrong_driver())
            .or_else(|| self.wrong_keys())
    }

    fn wrong_times(&self) -> Option<String> {
        let (least, what) = match self.extent {
            Extent::Duration(duration) => (
                duration / self.rounds >= Duration::from_millis(1),
                "--duration: at least 1ms a round",
            ),
            Extent::Count(count) => (
                count >= u64::from(self.rounds),
                "--count: at least one operation a round",
            ),
        };
        if !least {
            return Some(what.to_owned());
        }
        let duration = match self.extent {
            Extent::Duration(duration) => duration,
            Extent::Count(_) => Duration::ZERO,
        };
        if duration.max(self.warmup).max(self.timeout) > TIME_MOST {
            return Some("--duration, --warmup and --timeout are at most 365 days".to_owned());
        }
        let is_none = self.timeout < Duration::from_millis(1);
        is_none.then(|| "--timeout is at least 1ms".to_owned())
    }

    fn wrong_driver(&self) -> Option<String> {
        let Quorum { n, r, w } = self.quorum;
        if self.targets.is_empty() {
            return Some("--target wants at least one host:port".to_owned());
        }
        let addresses = self.targets.iter().chain(&self.against);
        for address in addresses {
            let port = address
                .rsplit_once(':')
                .map(|(_, port)| port.parse::<u16>());
            if !matches!(port, Some(Ok(_))) {
                return Some(format!("a target is host:port, not {address:?}"));
            }
        }
        if self.driver != Driver::Redis && self.pipeline > 1 {
            return Some(format!(
                "--pipeline is for --driver redis; the driver {} sends together what its workers ask for: raise --workers",
                self.driver
            ));
        }
        if !(1..=n).contains(&r) || !(1..=n).contains(&w) {
            return Some(format!(
                "--r and --w are from 1 to --n, not r {r} and w {w} of n {n}"
            ));
        }
        None
    }

    fn wrong_keys(&self) -> Option<String> {
        let reads_own = self.mix.has(Operation::GetOwnPuts);
        let is_few = self.keys.count() < self.workers as u64;
        (reads_own && is_few).then(|| {
            format!(
                "get-own-puts wants a key for each worker at least: --keys {} are too few for {} workers",
                self.keys, self.workers
            )
        })
    }

    /// Whether keys have to be written before the run.
    pub(crate) fn loads(&self) -> bool {
        self.mix.operations().any(Operation::needs_loading)
    }

    /// What is recorded in one round, counted from 0.
    pub(crate) fn extent_of(&self, round: u32) -> Extent {
        match self.extent {
            Extent::Duration(duration) => Extent::Duration(duration / self.rounds),
            Extent::Count(count) => {
                let (rounds, round) = (u64::from(self.rounds), u64::from(round));
                Extent::Count(count / rounds + u64::from(round < count % rounds))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost without it: a flag that cannot be meant would be measured as something else.
    #[test]
    fn what_does_not_go_together_is_told() {
        type Change = fn(&mut Plan);
        assert_eq!(Plan::default().check(), Ok(()));
        let cases: [(Change, &str); 13] = [
            (|plan| plan.workers = 0, "--workers is from 1"),
            (|plan| plan.workers = 10_001, "--workers is from 1 to 10000"),
            (|plan| plan.threads = 0, "--threads is from 1"),
            (|plan| plan.pipeline = 0, "--pipeline is from 1"),
            (|plan| plan.pipeline = 2, "--driver redis"),
            (|plan| plan.rounds = 0, "--rounds is from 1"),
            (
                |plan| plan.extent = Extent::Duration(Duration::ZERO),
                "--duration",
            ),
            (|plan| plan.extent = Extent::Count(0), "--count"),
            (|plan| plan.warmup = TIME_MOST * 2, "365 days"),
            (|plan| plan.timeout = Duration::ZERO, "--timeout"),
            (|plan| plan.targets = vec!["localhost".into()], "host:port"),
            (|plan| plan.quorum.r = 4, "from 1 to --n"),
            (|plan| plan.keys = Keys::Uniform(1), "too few for 2 workers"),
        ];
        for (i, (change, why)) in cases.into_iter().enumerate() {
            let mut plan = Plan::default();
            change(&mut plan);
            let told = plan.check();
            let Err(BenchError::Usage(told)) = told else {
                panic!("{i}: {told:?}");
            };
            assert!(told.contains(why), "{i}: {told}");
        }
    }

    /// Lost without it: a rate that is none would be the highest there is.
    #[test]
    fn modes_and_drivers_are_read() {
        assert_eq!("max".parse(), Ok(Mode::Max));
        assert_eq!("rate:500".parse(), Ok(Mode::Rate(500)));
        for wrong in ["", "rate", "rate:", "rate:0", "rate:-5", "rate:1e3", "500"] {
            let error = wrong.parse::<Mode>().unwrap_err();
            assert!(error.contains("rate:N"), "{wrong}: {error}");
        }
        for driver in Driver::ALL {
            assert_eq!(driver.to_string().parse(), Ok(driver));
        }
        let error = "http".parse::<Driver>().unwrap_err();
        assert!(error.contains("native, redis or quorum"), "{error}");
    }

    /// Lost without it: rounds would do more or fewer operations than was asked.
    #[test]
    fn rounds_share_what_was_asked() {
        let plan = Plan {
            against: Some("127.0.0.1:1".to_owned()),
            rounds: 3,
            extent: Extent::Count(11),
            ..Plan::default()
        };
        let shares: Vec<Extent> = (0..3).map(|round| plan.extent_of(round)).collect();
        assert_eq!(shares, [4, 4, 3].map(Extent::Count));
    }
}
