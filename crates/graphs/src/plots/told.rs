//! This file answers: what do titles say of a run?

use crate::results::Results;
use crate::results::operation::Operation;
use crate::results::summary::Summary;

/// How many, how fast, how; and on what.
pub(super) fn subtitles(results: &Results, operation: &Operation) -> Vec<String> {
    let Some(summary) = &results.summary else {
        return vec!["no summary.json: the run did not come to its end".to_owned()];
    };
    let mut told = Vec::new();
    if let Some(whole) = summary.operations.get(&operation.name) {
        told.push(format!(
            "{} operations in {} s, {}/s",
            grouped(whole.n),
            seconds(summary.seconds),
            grouped(whole.throughput_per_s.round() as u64),
        ));
        match whole.errors {
            0 => {}
            1 => told.push("1 error".to_owned()),
            errors => told.push(format!("{} errors", grouped(errors))),
        }
    }
    told.push(mode(summary));
    vec![told.join(" · "), setting(summary)]
}

/// Versions, machine and command.
pub(super) fn setting(summary: &Summary) -> String {
    let versions = &summary.versions;
    let rkv = versions
        .rkv
        .as_ref()
        .map(|version| format!("rkv {version}"));
    let target = versions
        .target
        .as_ref()
        .map(|target| format!("target {target}"));
    let machine = &summary.machine;
    let cores = machine.cores.map(|cores| match &machine.cpu {
        Some(cpu) => format!("{cores} cores of {cpu}"),
        None => format!("{cores} cores"),
    });
    let kernel = machine.kernel.as_ref().map(|kernel| {
        if kernel.starts_with("Linux") {
            kernel.clone()
        } else {
            format!("Linux {kernel}")
        }
    });
    let command = match summary.command.is_empty() {
        true => None,
        false => Some(command(&summary.command)),
    };
    let all = [rkv, target, cores, kernel, command];
    all.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

/// The command without the folder of its program.
fn command(words: &[String]) -> String {
    let mut words = words.to_vec();
    if let Some(program) = words.first_mut() {
        let name = program.rsplit('/').next().unwrap_or_default().to_owned();
        *program = name;
    }
    words.join(" ")
}

fn mode(summary: &Summary) -> String {
    match summary.offered_per_s {
        Some(rate) => format!(
            "open loop, {}/s offered, latency from the intended start",
            grouped(rate.round() as u64)
        ),
        None => "closed loop, as fast as it goes".to_owned(),
    }
}

fn seconds(seconds: f64) -> String {
    match seconds < 10.0 {
        true => format!("{seconds:.1}"),
        false => format!("{seconds:.0}"),
    }
}

/// A number in groups of three digits.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        // Without this one counts the digits of 1000000 with a finger on the figure.
        let numbers = [0, 999, 1_000, 999_999, 12_345_678].map(grouped);
        assert_eq!(numbers, ["0", "999", "1,000", "999,999", "12,345,678"]);
    }
}
