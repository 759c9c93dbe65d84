//! This file answers: what does a run say of itself?

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::error::Error;

/// `summary.json`. What a figure can do without may be missing.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Summary {
    /// The command, word by word.
    #[serde(default)]
    pub command: Vec<String>,
    /// What was measured with what.
    #[serde(default)]
    pub versions: Versions,
    /// On which machine.
    #[serde(default)]
    pub machine: Machine,
    /// When the run began, in milliseconds of Unix time.
    pub started: i64,
    /// How long it was.
    pub seconds: f64,
    /// `max` or a rate.
    #[serde(default)]
    pub mode: String,
    /// The rate, for an open loop.
    #[serde(default)]
    pub offered_per_s: Option<f64>,
    /// By name.
    #[serde(default)]
    pub operations: BTreeMap<String, OperationSummary>,
    /// Of all operations together.
    pub throughput_per_s: f64,
}

/// Versions of the bench and of what it asked.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Versions {
    /// Of the bench.
    #[serde(default)]
    pub rkv: Option<String>,
    /// Of the target, with its name.
    #[serde(default)]
    pub target: Option<String>,
}

/// A machine.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Machine {
    /// Its cores.
    #[serde(default)]
    pub cores: Option<u64>,
    /// The model of these.
    #[serde(default)]
    pub cpu: Option<String>,
    /// Its kernel's release.
    #[serde(default)]
    pub kernel: Option<String>,
}

/// One operation over the whole run; latencies in microseconds.
#[derive(Debug, Clone, Default, Deserialize)]
#[allow(missing_docs, reason = "each is what its name says")]
pub struct OperationSummary {
    pub n: u64,
    #[serde(default)]
    pub errors: u64,
    pub throughput_per_s: f64,
    pub median: f64,
    #[serde(rename = "95th")]
    pub p95: f64,
    #[serde(rename = "99th")]
    pub p99: f64,
    #[serde(rename = "99_9th")]
    pub p99_9: f64,
    pub max: f64,
}

impl Summary {
    /// Reads a summary; none when there is no such file.
    pub fn read(file: &Path) -> Result<Option<Summary>, Error> {
        let text = match std::fs::read(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::read(file, error)),
        };
        let summary = serde_json::from_slice(&text);
        summary
            .map(Some)
            .map_err(|error| Error::broken(file, format!("not a bench's summary: {error}")))
    }

    /// The rate that was offered; 0 where that was none.
    pub fn offered(&self) -> f64 {
        self.offered_per_s.unwrap_or(0.0)
    }
}
