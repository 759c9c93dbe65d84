//! This file answers: what does redis-benchmark say of a server?

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Extent;

/// Operations a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Of SET.
    pub set: f64,
    /// Of GET.
    pub get: f64,
}

/// Whether it is installed.
pub fn is_installed() -> bool {
    let version = Command::new("redis-benchmark").arg("--version").output();
    version.is_ok_and(|output| output.status.success())
}

/// How much of it a round is, for a pipeline of so many.
pub fn requests(extent: Extent, pipeline: usize) -> usize {
    match pipeline {
        1 => extent.of(200_000, 10_000),
        _ => extent.of(1_000_000, 50_000),
    }
}

/// 50 connections, 100,000 keys, values of 100 bytes, against a port of this machine.
pub fn run(port: u16, pipeline: usize, requests: usize) -> Result<Rates> {
    let output = Command::new("redis-benchmark")
        .args(["-h", "127.0.0.1", "-p", &port.to_string()])
        .args(["-c", "50", "-r", "100000", "-d", "100"])
        .args(["-P", &pipeline.to_string(), "-n", &requests.to_string()])
        .args(["-t", "set,get", "--csv"])
        .output()
        .context("redis-benchmark does not start")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "redis-benchmark ended with {}: {}",
        output.status,
        said.trim()
    );
    parse(&String::from_utf8_lossy(&output.stdout))
}

/// Reads its CSV: a heading, then a row a test.
pub fn parse(csv: &str) -> Result<Rates> {
    let rows: Vec<Vec<&str>> = csv
        .lines()
        .map(|line| {
            let fields = line.split(',');
            fields.map(|field| field.trim().trim_matches('"')).collect()
        })
        .collect();
    let heading = rows.iter().find(|row| row.first() == Some(&"test"));
    let heading = heading.with_context(|| format!("no heading in {csv:?}"))?;
    let column = heading.iter().position(|name| *name == "rps");
    let column = column.with_context(|| format!("no rps in {csv:?}"))?;
    let rate = |test: &str| -> Result<f64> {
        let row = rows.iter().find(|row| row.first() == Some(&test));
        let field = row.and_then(|row| row.get(column));
        let field = field.with_context(|| format!("no {test} in {csv:?}"))?;
        let rate: f64 = field
            .parse()
            .with_context(|| format!("{test}: {field:?} is no rate"))?;
        ensure!(
            rate.is_finite() && rate > 0.0,
            "{test} has a rate of {rate}"
        );
        Ok(rate)
    };
    Ok(Rates {
        set: rate("SET")?,
        get: rate("GET")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV: &str = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\"\n\
        \"SET\",\"113636.36\",\"0.239\",\"0.080\",\"0.231\"\n\
        \"GET\",\"111982.08\",\"0.241\",\"0.072\",\"0.231\"\n";

    #[test]
    fn rates_are_read_by_name() {
        // Without this a column more in the next Redis makes latencies of rates.
        let rates = parse(CSV).expect("it is what Redis 7 writes");
        assert_eq!((rates.set, rates.get), (113_636.36, 111_982.08));
        let turned = "\"test\",\"p50\",\"rps\"\n\"GET\",\"1\",\"2\"\n\"SET\",\"3\",\"4\"\n";
        let rates = parse(turned).expect("columns and rows may stand elsewhere");
        assert_eq!((rates.set, rates.get), (4.0, 2.0));
    }

    #[test]
    fn what_is_no_measurement_is_an_error() {
        // Without this a run that failed counts as one of no operations, and a ratio is infinite.
        for broken in [
            String::new(),
            "ERROR: failed to fetch CONFIG\n".to_owned(),
            CSV.replace("GET", "MGET"),
            CSV.replace("rps", "rate"),
            CSV.replace("113636.36", "0.00"),
            CSV.replace("111982.08", "nan"),
            CSV.replace("111982.08", ""),
        ] {
            assert!(parse(&broken).is_err(), "{broken:?}");
        }
    }
}
