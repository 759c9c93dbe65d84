//! A folder of results as `rkv bench` writes it, the same on every machine.

use std::fmt::Write;
use std::fs;
use std::path::Path;

/// A run in which a node is killed at 20 s and comes back at 35 s.
pub(crate) struct Run {
    /// Of each kind, in single.csv.
    pub(crate) operations: usize,
    pub(crate) offered_per_s: Option<f64>,
    pub(crate) done_per_s: f64,
}

const SECONDS: usize = 60;
const STARTED_MS: i64 = 1_700_000_000_000;

impl Default for Run {
    fn default() -> Run {
        Run {
            operations: 60_000,
            offered_per_s: None,
            done_per_s: 20_000.0,
        }
    }
}

impl Run {
    pub(crate) fn write(&self, folder: &Path) {
        fs::create_dir_all(folder).expect("a folder");
        let file = |name: &str, text: String| {
            fs::write(folder.join(name), text).expect("it is written");
        };
        for (seed, operation) in [(1, "get"), (2, "put")] {
            let mut latencies = self.latencies(seed);
            file(&format!("{operation}_single.csv"), singles(&latencies));
            file(&format!("{operation}_latencies.csv"), windows(&latencies));
            latencies.sort_by(|one, other| one.1.total_cmp(&other.1));
            file(&format!("{operation}.hgrm.csv"), curve(&latencies));
        }
        file("summary.json", self.summary());
        let at = |second: i64| STARTED_MS * 1000 + second * 1_000_000;
        file(
            "events.csv",
            format!(
                "timestamp,unit,label\n{},microsecond,node2 killed\n{},microsecond,\"node2 back, its hints drain\"\n",
                at(20),
                at(35)
            ),
        );
    }

    /// Seconds since the start, and microseconds.
    fn latencies(&self, seed: u64) -> Vec<(f64, f64)> {
        let mut state = seed;
        let mut draw = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let load = self.offered_per_s.unwrap_or(0.0) / 9_000.0;
        let mut all = Vec::new();
        for at in 0..self.operations {
            let time = at as f64 / self.operations as f64 * SECONDS as f64;
            let tail = (1.0 / (1.0 - draw())).powf(0.45);
            let slower = match time {
                20.0..21.2 => 60.0 * draw(),
                21.2..35.0 => 1.5,
                _ => 1.0,
            };
            let queue = 1.0 / (1.0 - load.min(0.97));
            all.push((time, 90.0 * (0.7 + draw()) * tail * slower.max(0.5) * queue));
        }
        all
    }

    fn summary(&self) -> String {
        let offered = self
            .offered_per_s
            .map_or("null".to_owned(), |rate| rate.to_string());
        let mode = self
            .offered_per_s
            .map_or("max".to_owned(), |rate| format!("rate:{rate}"));
        let mut operations = Vec::new();
        for (seed, operation) in [(1, "get"), (2, "put")] {
            let mut sorted = self.latencies(seed);
            sorted.sort_by(|one, other| one.1.total_cmp(&other.1));
            let of = |share| quantile(&sorted, share);
            operations.push(format!(
                r#""{operation}":{{"n":{n},"errors":{seed},"throughput_per_s":{per_s},"min":{},"mean":{},"median":{},"95th":{},"99th":{},"99_9th":{},"max":{}}}"#,
                of(0.0), of(0.5), of(0.5), of(0.95), of(0.99), of(0.999), of(1.0),
                n = (self.done_per_s * SECONDS as f64 / 2.0) as u64,
                per_s = self.done_per_s / 2.0,
            ));
        }
        format!(
            r#"{{"command":["target/release/rkv","bench","--driver","redis","--target","127.0.0.1:6379","--duration","60s"],
            "versions":{{"rkv":"0.1.0","target":"rkv 0.1.0"}},
            "machine":{{"cores":2,"memory_bytes":8000000000,"kernel":"6.1.0","cpu":"Some Processor 3.0 GHz"}},
            "started":{STARTED_MS},"seconds":{SECONDS}.0,"mode":"{mode}","offered_per_s":{offered},
            "operations":{{{}}},"throughput_per_s":{},"errors":{{"TRYAGAIN":3}}}}"#,
            operations.join(","),
            self.done_per_s
        )
    }
}

fn quantile(sorted: &[(f64, f64)], share: f64) -> f64 {
    let at = (share * sorted.len() as f64) as usize;
    sorted[at.min(sorted.len() - 1)].1
}

fn singles(latencies: &[(f64, f64)]) -> String {
    let mut text = "timestamp,unit,microseconds\n".to_owned();
    for (time, latency) in latencies {
        let at = STARTED_MS * 1000 + (time * 1e6) as i64;
        writeln!(text, "{at},microsecond,{latency:.1}").expect("a string grows");
    }
    text
}

fn windows(latencies: &[(f64, f64)]) -> String {
    let mut text = "elapsed,window,n,min,mean,median,95th,99th,99_9th,max,errors\n".to_owned();
    for second in 0..SECONDS {
        let begins = second as f64;
        let mut window: Vec<(f64, f64)> = latencies
            .iter()
            .copied()
            .filter(|(time, _)| (begins..begins + 1.0).contains(time))
            .collect();
        window.sort_by(|one, other| one.1.total_cmp(&other.1));
        if window.is_empty() {
            writeln!(text, "{},1.000,0,0,0,0,0,0,0,0,0", begins + 1.0).expect("a string grows");
            continue;
        }
        let of = |share| quantile(&window, share);
        let (n, errors) = match second {
            20 => (window.len() / 4, 80),
            _ => (window.len(), 0),
        };
        writeln!(
            text,
            "{},1.000,{n},{},{},{},{},{},{},{},{errors}",
            begins + 1.0,
            of(0.0),
            of(0.5),
            of(0.5),
            of(0.95),
            of(0.99),
            of(0.999),
            of(1.0)
        )
        .expect("a string grows");
    }
    text
}

fn curve(sorted: &[(f64, f64)]) -> String {
    let mut text = "percentile,microseconds\n".to_owned();
    let mut left = 1.0;
    while left > 1.0 / sorted.len() as f64 {
        let share = 1.0 - left;
        writeln!(text, "{},{}", share * 100.0, quantile(sorted, share)).expect("a string grows");
        left *= 0.93;
    }
    writeln!(text, "100,{}", quantile(sorted, 1.0)).expect("a string grows");
    text
}
