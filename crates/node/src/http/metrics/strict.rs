//! This file answers: is a text what Prometheus would read, by its format and by its customs?
//!
//! Stricter than a scraper: also what `promtool check metrics` finds fault with is an error here.

use std::collections::{BTreeMap, BTreeSet};

/// Samples by their name and labels as written: `rkv_members{state="valid"}`.
pub(in super::super) type Samples = BTreeMap<String, f64>;

/// Reads a text, or says what is wrong with it.
pub(in super::super) fn read(text: &str) -> Result<Samples, String> {
    let mut samples = Samples::new();
    let mut families = BTreeSet::new();
    let mut lines = text.lines().peekable();
    if !text.ends_with('\n') {
        return Err("the last line does not end".to_owned());
    }
    while let Some(line) = lines.next() {
        let (name, help) = heading(line, "# HELP ")?;
        if help.is_empty() || !families.insert(name) {
            return Err(format!("{name}: no help, or twice"));
        }
        let (again, kind) = heading(lines.next().unwrap_or_default(), "# TYPE ")?;
        if again != name {
            return Err(format!("{name}: its type is missing"));
        }
        customs(name, kind)?;
        let mut own = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let (series, value) = sample(line)?;
            if samples.insert(series.to_owned(), value).is_some() {
                return Err(format!("{series}: twice"));
            }
            own.push((series, value));
        }
        belongs(name, kind, &own)?;
    }
    Ok(samples)
}

fn heading<'a>(line: &'a str, start: &str) -> Result<(&'a str, &'a str), String> {
    let rest = line.strip_prefix(start);
    let split = rest.and_then(|rest| rest.split_once(' '));
    split.ok_or_else(|| format!("`{start}` expected: {line}"))
}

fn customs(name: &str, kind: &str) -> Result<(), String> {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let units = ["_ms", "_us", "_milliseconds", "_percent", "_kb", "_mb"];
    let is_counter = kind == "counter";
    if !name.starts_with("rkv_") || !name.chars().all(is_name) {
        return Err(format!("{name}: no name of ours"));
    }
    if units.iter().any(|unit| name.ends_with(unit)) {
        return Err(format!("{name}: not in a base unit"));
    }
    if is_counter != name.ends_with("_total") {
        return Err(format!("{name}: _total is for counters, and they have it"));
    }
    if !is_counter && !["gauge", "histogram", "summary"].contains(&kind) {
        return Err(format!("{name}: unknown type {kind}"));
    }
    Ok(())
}

fn sample(line: &str) -> Result<(&str, f64), String> {
    let (series, value) = line.rsplit_once(' ').ok_or("a sample without a value")?;
    let value: f64 = value.parse().map_err(|_| format!("no number: {line}"))?;
    if !value.is_finite() || value.is_nan() {
        return Err(format!("not finite: {line}"));
    }
    let Some((_, labels)) = series.split_once('{') else {
        return Ok((series, value));
    };
    let labels = labels.strip_suffix('}').ok_or("labels do not end")?;
    for label in labels.split("\",") {
        let (name, text) = label.split_once("=\"").ok_or("no label")?;
        let text = text.strip_suffix('"').unwrap_or(text);
        if name.is_empty() || text.contains('"') && !text.contains("\\\"") {
            return Err(format!("labels: {line}"));
        }
    }
    Ok((series, value))
}

fn belongs(name: &str, kind: &str, own: &[(&str, f64)]) -> Result<(), String> {
    let base = |series: &str| series.split('{').next().unwrap_or_default().to_owned();
    let suffixes: &[&str] = match kind {
        "histogram" => &["_bucket", "_sum", "_count"],
        "summary" => &["_sum", "_count"],
        _ => &[""],
    };
    for (series, value) in own {
        let suffix = base(series).strip_prefix(name).map(str::to_owned);
        if !suffix.is_some_and(|suffix| suffixes.contains(&suffix.as_str())) {
            return Err(format!("{series} among those of {name}"));
        }
        if kind == "counter" && *value < 0.0 {
            return Err(format!("{series} is below 0"));
        }
    }
    if kind == "histogram" {
        buckets(name, own)?;
    }
    Ok(())
}

/// Buckets of each series grow, by rising bounds, up to the count.
fn buckets(name: &str, own: &[(&str, f64)]) -> Result<(), String> {
    let mut last: Option<(f64, f64)> = None;
    for (series, value) in own {
        if let Some((_, le)) = series.split_once("le=\"") {
            let bound = le.trim_end_matches(['"', '}']);
            let bound = if bound == "+Inf" {
                f64::INFINITY
            } else {
                bound.parse().map_err(|_| format!("{series}: no bound"))?
            };
            if last.is_some_and(|(before, count)| bound <= before || *value < count) {
                return Err(format!("{series}: buckets do not grow"));
            }
            last = Some((bound, *value));
        } else if series.starts_with(&format!("{name}_count")) {
            if last != Some((f64::INFINITY, *value)) {
                return Err(format!("{series}: not what is in the last bucket"));
            }
            last = None;
        }
    }
    Ok(())
}

/// Lost without it: the reader that judges the text would let everything through.
#[test]
fn the_reader_is_strict() {
    let good = "# HELP rkv_a_total A.\n# TYPE rkv_a_total counter\nrkv_a_total{op=\"get\"} 1\n";
    assert_eq!(read(good).unwrap()["rkv_a_total{op=\"get\"}"], 1.0);
    for (from, to) in [
        ("# TYPE rkv_a_total counter\n", ""),
        ("counter", "gauge"),
        ("rkv_a_total", "rkv_a"),
        ("rkv_", "other_"),
        (" 1\n", " x\n"),
        (" 1\n", " -1\n"),
        (" 1\n", " 1"),
        ("rkv_a_total{", "rkv_b_total{"),
        ("get\"} 1\n", "get\"} 1\nrkv_a_total{op=\"get\"} 2\n"),
    ] {
        assert!(read(&good.replace(from, to)).is_err(), "{from} {to}");
    }
    let histogram = |count: u32, last: u32| {
        format!(
            "# HELP rkv_h A.\n# TYPE rkv_h histogram\nrkv_h_bucket{{le=\"1\"}} 2\nrkv_h_bucket{{le=\"+Inf\"}} {last}\n\
             rkv_h_sum 3\nrkv_h_count {count}\n"
        )
    };
    assert!(read(&histogram(3, 3)).is_ok());
    assert!(read(&histogram(2, 3)).is_err());
    assert!(read(&histogram(1, 1)).is_err());
}
