//! This file answers: how is told what came of the cases?

use std::fmt::Write;

use serde::Serialize;
use serde_json::{Value, json};

use super::spread::{Spread, spread};

/// A case.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Its number.
    pub number: u8,
    /// What is compared.
    pub what: &'static str,
}

/// What a ratio is to be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
}

impl Goal {
    /// Whether a ratio is.
    pub fn is_reached(self, ratio: f64) -> bool {
        match self {
            Goal::AtLeast(goal) => ratio >= goal,
            Goal::AtMost(goal) => ratio <= goal,
        }
    }

    fn text(self) -> String {
        match self {
            Goal::AtLeast(goal) => format!(">= {goal:.1}"),
            Goal::AtMost(goal) => format!("<= {goal:.1}"),
        }
    }
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// Some rounds.
    Measured(Measured),
    /// None, and why.
    Skipped {
        /// Of which case.
        case: u8,
        /// What is missing.
        why: String,
    },
}

/// What some rounds gave.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    /// Of which case.
    pub case: u8,
    /// What was measured.
    pub what: String,
    /// The other side.
    pub against: String,
    /// Of the figures.
    pub unit: &'static str,
    /// This side's, round by round.
    pub rkv: Vec<f64>,
    /// The other side's.
    pub peer: Vec<f64>,
    /// What the ratios' median is to be.
    pub goal: Goal,
}

impl Measured {
    /// This side's share of the other's, round by round.
    pub fn ratios(&self) -> Vec<f64> {
        let pairs = self.rkv.iter().zip(&self.peer);
        pairs.map(|(rkv, peer)| rkv / peer).collect()
    }

    fn spreads(&self) -> Option<[Spread; 3]> {
        let [rkv, peer] = [spread(&self.rkv)?, spread(&self.peer)?];
        Some([rkv, peer, spread(&self.ratios())?])
    }
}

/// The table in Markdown: medians, the ratios' spread, the goals.
pub fn markdown(lines: &[Line]) -> String {
    let mut rows = vec![
        [
            "case",
            "what",
            "rkv",
            "against",
            "peer",
            "ratio",
            "lowest-highest",
            "goal",
            "reached",
        ]
        .map(str::to_owned),
    ];
    rows.extend(lines.iter().map(row));
    let mut widths = [0; 9];
    for row in &rows {
        for (width, field) in widths.iter_mut().zip(row) {
            *width = (*width).max(field.chars().count());
        }
    }
    let mut text = String::new();
    for (at, row) in rows.iter().enumerate() {
        let fields = row.iter().zip(widths);
        let fields: Vec<String> = fields
            .map(|(field, width)| format!("{field:<width$}"))
            .collect();
        let _ = writeln!(text, "| {} |", fields.join(" | "));
        if at == 0 {
            let rules = widths.map(|width| "-".repeat(width + 2));
            let _ = writeln!(text, "|{}|", rules.join("|"));
        }
    }
    text
}

fn row(line: &Line) -> [String; 9] {
    let none = || "-".to_owned();
    let skipped = |case: u8, why: &str| {
        let why = format!("skipped: {why}");
        [case.to_string(), why].into_iter()
    };
    let mut fields = match line {
        Line::Skipped { case, why } => skipped(*case, why),
        Line::Measured(measured) => match measured.spreads() {
            None => skipped(measured.case, "no round"),
            Some([rkv, peer, ratio]) => {
                let reached = match measured.goal.is_reached(ratio.median) {
                    true => "yes",
                    false => "no",
                };
                return [
                    measured.case.to_string(),
                    measured.what.clone(),
                    figure(rkv.median, measured.unit),
                    measured.against.clone(),
                    figure(peer.median, measured.unit),
                    format!("{:.2}", ratio.median),
                    format!("{:.2}-{:.2}", ratio.lowest, ratio.highest),
                    measured.goal.text(),
                    reached.to_owned(),
                ];
            }
        },
    };
    std::array::from_fn(|_| fields.next().unwrap_or_else(none))
}

/// A figure with its unit, as far as it can be trusted: three digits.
fn figure(value: f64, unit: &str) -> String {
    let (scaled, letter) = match value {
        1e6.. => (value / 1e6, "M"),
        1e3.. => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let decimals = match scaled {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    format!("{scaled:.decimals$}{letter} {unit}")
}

/// Everything, for programs.
pub fn document(lines: &[Line]) -> Value {
    let line = |line: &Line| match line {
        Line::Skipped { case, why } => json!({"case": case, "skipped": why}),
        Line::Measured(measured) => {
            let ratio = spread(&measured.ratios());
            json!({
                "case": measured.case,
                "what": measured.what,
                "against": measured.against,
                "unit": measured.unit,
                "rkv": measured.rkv,
                "peer": measured.peer,
                "ratios": measured.ratios(),
                "ratio": ratio,
                "goal": measured.goal,
                "reached": ratio.map(|ratio| measured.goal.is_reached(ratio.median)),
            })
        }
    };
    lines.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Vec<Line> {
        vec![
            Line::Measured(Measured {
                case: 1,
                what: "SET".to_owned(),
                against: "redis-server".to_owned(),
                unit: "/s",
                rkv: vec![120_000.0, 90_000.0, 110_000.0],
                peer: vec![100_000.0, 100_000.0, 100_000.0],
                goal: Goal::AtLeast(1.0),
            }),
            Line::Measured(Measured {
                case: 6,
                what: "memory".to_owned(),
                against: "redis-server".to_owned(),
                unit: "B",
                rkv: vec![300.0],
                peer: vec![200.0],
                goal: Goal::AtMost(1.0),
            }),
            Line::Skipped {
                case: 5,
                why: "redis-cli is not installed".to_owned(),
            },
        ]
    }

    #[test]
    fn the_table_says_figures_ratio_goal_and_what_was_skipped() {
        // Without this a goal that was missed, or a peer that was never asked, reads as reached.
        let expected = "\
| case | what                                | rkv     | against      | peer    | ratio | lowest-highest | goal   | reached |
|------|-------------------------------------|---------|--------------|---------|-------|----------------|--------|---------|
| 1    | SET                                 | 110k /s | redis-server | 100k /s | 1.10  | 0.90-1.20      | >= 1.0 | yes     |
| 6    | memory                              | 300 B   | redis-server | 200 B   | 1.50  | 1.50-1.50      | <= 1.0 | no      |
| 5    | skipped: redis-cli is not installed | -       | -            | -       | -     | -              | -      | -       |
";
        assert_eq!(markdown(&lines()), expected);
    }

    #[test]
    fn figures_have_three_digits() {
        // Without this 7.6k and 8.4k, ten percent apart, both read 8k.
        let figures = [8_420.0, 42_150.0, 113_000.0, 1_345_000.0, 97.26, 0.512];
        let texts = figures.map(|value| figure(value, "/s"));
        assert_eq!(
            texts,
            [
                "8.42k /s", "42.1k /s", "113k /s", "1.34M /s", "97.3 /s", "0.51 /s"
            ]
        );
    }

    #[test]
    fn the_document_has_every_round() {
        // Without this nobody can look again at what the medians were made of.
        let document = document(&lines());
        assert_eq!(document[0]["ratios"], json!([1.2, 0.9, 1.1]));
        assert_eq!(document[0]["ratio"]["lowest"], json!(0.9));
        assert_eq!(document[0]["goal"], json!({"at_least": 1.0}));
        assert_eq!(document[0]["reached"], json!(true));
        assert_eq!(document[1]["reached"], json!(false));
        assert_eq!(
            document[2],
            json!({"case": 5, "skipped": "redis-cli is not installed"})
        );
    }
}
