//! This file answers: how are figures written so that Prometheus reads them?
//!
//! The text format 0.0.4: a `# HELP` and a `# TYPE` line for each family, then its samples. A library would bring a
//! registry of shared handles where plain counters are read out by name: this writer is what is left of one.

use std::fmt::Write as _;

/// What a family's samples are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only grows, until the process ends; its name ends with `_total`.
    Counter,
    /// What is so now.
    Gauge,
    /// Counts by upper bound.
    Histogram,
    /// A sum and a count.
    Summary,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Summary => "summary",
        }
    }
}

/// Labels of a sample, by name.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// The text so far.
#[derive(Debug, Default)]
pub(super) struct Text {
    out: String,
    family: &'static str,
}

impl Text {
    /// Begins a family: what follows are its samples. Names tell the base unit: `_seconds`, `_bytes`, `_ratio`.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        debug_assert_eq!(kind == Kind::Counter, name.ends_with("_total"), "{name}");
        self.family = name;
        let kind = kind.as_str();
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A sample of the family.
    pub(super) fn sample(&mut self, labels: Labels<'_>, value: f64) {
        self.suffixed("", labels, value);
    }

    /// A family of one sample.
    pub(super) fn one(&mut self, name: &'static str, kind: Kind, help: &str, value: f64) {
        self.family(name, kind, help);
        self.sample(&[], value);
    }

    /// A sample with a suffix: `_sum`, `_count`, `_bucket`.
    pub(super) fn suffixed(&mut self, suffix: &str, labels: Labels<'_>, value: f64) {
        let _ = write!(self.out, "{}{suffix}", self.family);
        for (at, (name, text)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            let _ = write!(self.out, "{before}{name}=\"{}\"", escaped(text));
        }
        let after = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.out, "{after} {value}");
    }

    /// All of it.
    pub(super) fn finish(self) -> String {
        self.out
    }
}

fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    text.replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost without it: a node's name with a quote in it would make the whole text unreadable.
    #[test]
    fn samples_read_as_the_format_wants_them() {
        let mut text = Text::default();
        text.one("rkv_a", Kind::Gauge, "A.", 1.5);
        text.family("rkv_b_total", Kind::Counter, "B.");
        text.sample(&[("node", "a\"\\\nb"), ("kind", "x")], 3.0);
        let expected = "# HELP rkv_a A.\n# TYPE rkv_a gauge\nrkv_a 1.5\n# HELP rkv_b_total B.\n\
                        # TYPE rkv_b_total counter\nrkv_b_total{node=\"a\\\"\\\\\\nb\",kind=\"x\"} 3\n";
        assert_eq!(text.finish(), expected);
    }
}
