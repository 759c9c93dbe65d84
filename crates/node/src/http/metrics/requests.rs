//! This file answers: which figures tell how requests fare?

use rkv_kv::Engine;
use rkv_kv::figures::{BOUNDS_US, Durations, Figures, Op};

use super::text::{Kind, Text};

/// Requests that this node coordinated, whichever way they came in.
pub(super) fn write(engine: &Engine, text: &mut Text) {
    let figures = engine.figures();
    write_ends(&figures, text);
    write_durations(&figures, text);
    text.one(
        "rkv_requests_in_flight",
        Kind::Gauge,
        "Requests under way at this coordinator.",
        engine.in_flight() as f64,
    );
    text.one(
        "rkv_read_repairs_total",
        Kind::Counter,
        "Copies that were behind and were given what a read had found.",
        figures.read_repairs as f64,
    );
    text.one(
        "rkv_gets_hedged_total",
        Kind::Counter,
        "Gets that spared owners and asked them after all: those asked first took long, or could not make r.",
        figures.hedged_gets as f64,
    );
    write_peers(&figures, text);
    let (ahead_ms, may_coordinate) = engine.drift();
    text.one(
        "rkv_clock_skew_seconds",
        Kind::Gauge,
        "How far the peers' clocks are ahead of this node's, their median.",
        ahead_ms as f64 / 1_000.0,
    );
    text.one(
        "rkv_clock_ok",
        Kind::Gauge,
        "Whether this node's clock is near enough to its peers' to stamp writes (clock.max_drift_ms).",
        f64::from(u8::from(may_coordinate)),
    );
}

fn write_ends(figures: &Figures, text: &mut Text) {
    text.family(
        "rkv_requests_total",
        Kind::Counter,
        "Requests that ended at this coordinator, by operation and result: ok, notfound, or the error's kind.",
    );
    let mut by_word = std::collections::BTreeMap::new();
    for ((op, end), count) in &figures.requests {
        *by_word.entry((*op, end.as_str())).or_insert(0) += count;
    }
    for ((op, result), count) in by_word {
        text.sample(&[("op", op.as_str()), ("result", result)], count as f64);
    }
    text.family(
        "rkv_quorum_failures_total",
        Kind::Counter,
        "Requests that ended without their quorum, by reason.",
    );
    for ((op, end), count) in &figures.requests {
        if let Some(reason) = end.quorum_failure()
            && *op != Op::Other
        {
            text.sample(&[("op", op.as_str()), ("reason", reason)], *count as f64);
        }
    }
}

fn write_durations(figures: &Figures, text: &mut Text) {
    text.family(
        "rkv_request_duration_seconds",
        Kind::Histogram,
        "From the beginning of a request to its answer. Of requests that this node answered at once a sample, which counts for all.",
    );
    for ((op, is_ok), durations) in &figures.durations {
        let result = if *is_ok { "ok" } else { "error" };
        write_histogram(&[("op", op.as_str()), ("result", result)], durations, text);
    }
}

fn write_histogram(labels: &[(&str, &str); 2], durations: &Durations, text: &mut Text) {
    let mut count = 0;
    let [op, result] = *labels;
    for (at, more) in durations.buckets.iter().enumerate() {
        count += more;
        let bound = BOUNDS_US.get(at);
        let le = bound.map_or("+Inf".to_owned(), |us| seconds(*us).to_string());
        text.suffixed("_bucket", &[op, result, ("le", &le)], count as f64);
    }
    text.suffixed("_sum", labels, seconds(durations.sum_us));
    text.suffixed("_count", labels, count as f64);
}

fn write_peers(figures: &Figures, text: &mut Text) {
    text.family(
        "rkv_peer_rtt_seconds",
        Kind::Summary,
        "From sending a request to a replica on another node to its answer, its work included: a sample of the requests.",
    );
    for (node, trips) in &figures.peers {
        let labels = [("node", node.as_str())];
        text.suffixed("_sum", &labels, seconds(trips.sum_us));
        text.suffixed("_count", &labels, trips.count as f64);
    }
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}
