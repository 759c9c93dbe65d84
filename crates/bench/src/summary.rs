//! This file answers: what are the figures of a run, as `summary.json` has them?

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::machine::Machine;
use crate::ratio::Ratio;

/// A run's figures. More fields may be added.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The command line.
    pub command: Vec<String>,
    /// What was measured, with what.
    pub versions: Versions,
    /// On what.
    pub machine: Machine,
    /// When recording began, in Unix milliseconds.
    pub started: u64,
    /// `max` or `rate:N`.
    pub mode: String,
    /// Operations a second that were offered; none in a closed loop.
    pub offered_per_s: Option<u64>,
    /// All that was asked for and is not in the command, spelled out.
    pub settings: BTreeMap<&'static str, String>,
    /// The target's figures.
    #[serde(flatten)]
    pub figures: Figures,
    /// Those of the second target.
    pub against: Option<Against>,
    /// How they compare, by operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratios: Option<BTreeMap<&'static str, Ratio>>,
    /// Whether it was interrupted, or ended at an error.
    pub ended_early: bool,
}

/// What was measured, with what.
#[derive(Debug, Clone, Serialize)]
pub struct Versions {
    /// This program's.
    pub rkv: &'static str,
    /// The target's, if it tells.
    pub target: Option<String>,
}

/// The second target.
#[derive(Debug, Clone, Serialize)]
pub struct Against {
    /// Its address.
    pub target: String,
    /// Its version, if it tells.
    pub version: Option<String>,
    /// Its figures.
    #[serde(flatten)]
    pub figures: Figures,
}

/// What came of one target.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// How long was recorded, all rounds together.
    pub seconds: f64,
    /// Each operation's.
    pub operations: BTreeMap<&'static str, OperationFigures>,
    /// Operations a second that succeeded.
    pub throughput_per_s: f64,
    /// How many failed, by kind.
    pub errors: BTreeMap<String, u64>,
    /// What the first of each kind said.
    pub error_messages: BTreeMap<String, String>,
    /// Operations of an open loop that were due and never began.
    pub not_begun: u64,
}

impl Figures {
    /// How many operations failed.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// What came of one operation. Latencies are of those that succeeded, in microseconds.
#[derive(Debug, Clone, Serialize)]
pub struct OperationFigures {
    /// How many succeeded.
    pub n: u64,
    /// How many failed.
    pub errors: u64,
    /// How many succeeded a second.
    pub throughput_per_s: f64,
    /// How long they took.
    #[serde(flatten)]
    pub latencies: Latencies,
}

/// What is told of latencies, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Latencies {
    /// The shortest.
    pub min: f64,
    /// The average.
    pub mean: f64,
    /// Half are not longer.
    pub median: f64,
    /// 95 of 100 are not longer.
    #[serde(rename = "95th")]
    pub p95: f64,
    /// 99 of 100 are not longer.
    #[serde(rename = "99th")]
    pub p99: f64,
    /// 999 of 1000 are not longer.
    #[serde(rename = "99_9th")]
    pub p99_9: f64,
    /// The longest.
    pub max: f64,
}

impl Latencies {
    /// Of a histogram of nanoseconds; zeros when it is empty.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Latencies {
        if histogram.is_empty() {
            return Latencies::default();
        }
        let micros = |nanos: f64| (nanos / 100.0).round() / 10.0;
        let at = |quantile| micros(histogram.value_at_quantile(quantile) as f64);
        Latencies {
            min: micros(histogram.min() as f64),
            mean: micros(histogram.mean()),
            median: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            p99_9: at(0.999),
            max: micros(histogram.max() as f64),
        }
    }

    /// In the order of the files.
    pub(crate) fn columns(self) -> [f64; 7] {
        let Latencies {
            min,
            mean,
            median,
            p95,
            p99,
            p99_9,
            max,
        } = self;
        [min, mean, median, p95, p99, p99_9, max]
    }
}
