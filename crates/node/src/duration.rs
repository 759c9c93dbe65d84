//! This file answers: how long does a person mean?

use std::time::Duration;

/// What a bare number means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Milliseconds.
    Millis,
    /// Seconds.
    Seconds,
}

/// `250ms`, `5s`, `1.5s`, `2m`, `1h`; a bare number is in `bare`. Else what is allowed.
pub(crate) fn parse(text: &str, bare: Unit) -> Result<Duration, String> {
    let text = text.trim();
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match (unit, bare) {
        ("ms", _) | ("", Unit::Millis) => 0.001,
        ("s", _) | ("", Unit::Seconds) => 1.0,
        ("m", _) => 60.0,
        ("h", _) => 3600.0,
        _ => return Err(not_a_duration(text)),
    };
    let number: f64 = number.parse().map_err(|_| not_a_duration(text))?;
    // rounded to microseconds: 0.001 has no exact binary form
    let micros = (number * seconds * 1e6).round();
    if micros <= 1e15 {
        Ok(Duration::from_micros(micros as u64))
    } else {
        Err(not_a_duration(text))
    }
}

fn not_a_duration(text: &str) -> String {
    format!("a duration is written `250ms`, `5s` or `2m`, not {text:?}")
}

/// As clap wants it, for milliseconds.
pub(crate) fn parse_millis(text: &str) -> Result<Duration, String> {
    parse(text, Unit::Millis)
}

/// As clap wants it, for seconds.
pub(crate) fn parse_seconds(text: &str) -> Result<Duration, String> {
    parse(text, Unit::Seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost without it: `--timeout 5` could wait five milliseconds where five seconds were meant.
    #[test]
    fn durations() {
        let millis = Duration::from_millis;
        for (text, bare, meant) in [
            ("250ms", Unit::Seconds, Some(millis(250))),
            ("5s", Unit::Millis, Some(millis(5000))),
            ("5", Unit::Millis, Some(millis(5))),
            ("5", Unit::Seconds, Some(millis(5000))),
            ("1.5s", Unit::Millis, Some(millis(1500))),
            ("2m", Unit::Millis, Some(millis(120_000))),
            ("1h", Unit::Millis, Some(millis(3_600_000))),
            ("0", Unit::Seconds, Some(millis(0))),
            ("", Unit::Seconds, None),
            ("-1", Unit::Seconds, None),
            ("5 parsecs", Unit::Seconds, None),
            ("999999999999999999h", Unit::Seconds, None),
        ] {
            assert_eq!(parse(text, bare).ok(), meant, "{text}");
        }
    }
}
