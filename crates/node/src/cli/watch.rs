//! This file answers: how do transfers look to somebody who watches them?
//!
//! A bar each, as on Riak's console, in 79 columns: how far it is, how fast, how long it still takes, what it waits for. On
//! a terminal the block is drawn over the one before; elsewhere each follows the last.

use std::fmt::Write;

use super::documents::Transfer;
use super::output::{Colour, Output};
use super::table::{bytes, rule, title, waits};

/// How many are drawn on a terminal: with two lines each they fit 24 rows. The others are counted.
const SHOWN: usize = 8;
/// Columns of every line.
const WIDTH: usize = 79;
/// Columns of a bar.
const BAR: usize = 20;

/// Blocks, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Lines of the block before, to be drawn over.
    lines: usize,
}

impl Watch {
    /// What to print for `transfers` now.
    pub(crate) fn draw(&mut self, transfers: &[Transfer], output: &Output) -> String {
        let paint = |colour, text: &str| output.paint(colour, text);
        if !output.is_terminal() {
            return block(transfers, usize::MAX, paint);
        }
        let text = block(transfers, SHOWN, paint);
        let above = std::mem::replace(&mut self.lines, text.lines().count());
        over(above, &text)
    }
}

/// `text` in place of the `above` lines before it: what is left of longer lines, and of more lines, goes.
fn over(above: usize, text: &str) -> String {
    let mut drawn = match above {
        0 => String::new(),
        above => format!("\x1b[{above}A\r"),
    };
    for line in text.lines() {
        let _ = writeln!(drawn, "{line}\x1b[K");
    }
    drawn + "\x1b[J"
}

/// At most `most` of them, the first first, and a line about all.
fn block(transfers: &[Transfer], most: usize, paint: impl Fn(Colour, &str) -> String) -> String {
    let mut text = title("Transfers");
    if transfers.is_empty() {
        return text + "No transfers active\n";
    }
    for it in transfers.iter().take(most) {
        one(&mut text, it, &paint);
    }
    if let Some(more @ 1..) = transfers.len().checked_sub(most) {
        let _ = writeln!(text, "{:17}and {more} more", "");
    }
    text += &rule();
    text + &sum(transfers)
}

fn one(text: &mut String, it: &Transfer, paint: &impl Fn(Colour, &str) -> String) {
    let is_active = it.state == "active";
    let (kind, partition) = (&it.kind, it.partition);
    let route = format!("{} ==> {}", it.from, it.to);
    let filled = match it.keys_total {
        0 => 0,
        total => (BAR as u64 * it.keys_done.min(total) / total) as usize,
    };
    let bar = format!("{:<BAR$}", "=".repeat(filled));
    let colour = match (&it.last_error, is_active) {
        (Some(_), _) => Colour::Red,
        (None, true) => Colour::Green,
        (None, false) => Colour::Yellow,
    };
    let (bar, done) = (paint(colour, &bar), percent(it));
    let left = match is_active {
        true => it.eta_s.map_or("--".to_owned(), time),
        false => "waiting".to_owned(),
    };
    let _ = writeln!(
        text,
        "{kind:<9} {partition:>5}  {route:<24.24}  |{bar}| {done:>4} {left:>8}"
    );
    if is_active {
        let per_s = bytes(byte_rate(it) as u64);
        let line = format!(
            "{}/{} keys, {} of {}, {:.0} keys/s, {per_s}/s",
            it.keys_done,
            it.keys_total,
            bytes(it.bytes_done),
            bytes(it.bytes_total),
            it.keys_per_s
        );
        below(text, &line);
    }
    if let Some(why) = &it.waiting_for {
        below(text, &waits(why));
    }
    if let Some(why) = &it.last_error {
        below(text, &format!("last error: {why}"));
    }
}

/// A line about the transfer above it, no longer than it may be.
fn below(text: &mut String, line: &str) {
    let most = WIDTH - 17;
    if line.chars().count() <= most {
        let _ = writeln!(text, "{:17}{line}", "");
    } else {
        let start: String = line.chars().take(most - 3).collect();
        let _ = writeln!(text, "{:17}{start}...", "");
    }
}

fn percent(it: &Transfer) -> String {
    match it.keys_total {
        0 => "--".to_owned(),
        total => format!("{}%", 100 * it.keys_done.min(total) / total),
    }
}

/// Bytes a second: what its keys of now weigh that have been moved.
fn byte_rate(it: &Transfer) -> f64 {
    match it.keys_done {
        0 => 0.0,
        done => it.keys_per_s * it.bytes_done as f64 / done as f64,
    }
}

/// All of them in one line.
fn sum(transfers: &[Transfer]) -> String {
    let is_active = |it: &&Transfer| it.state == "active";
    let running = || transfers.iter().filter(is_active);
    let keys: f64 = running().map(|it| it.keys_per_s).sum();
    let weight: f64 = running().map(byte_rate).sum();
    let left = transfers
        .iter()
        .map(|it| it.keys_total.saturating_sub(it.keys_done));
    let left: u64 = left.sum();
    let active = running().count();
    let mut text = format!(
        "Active:{active} / Waiting:{}   {keys:.0} keys/s, {}/s, {left} keys left",
        transfers.len() - active,
        bytes(weight as u64)
    );
    if keys >= 1.0 {
        let _ = write!(text, ", {}", time(left as f64 / keys));
    }
    text + "\n"
}

/// How long, short: 12s, 3m05s, 2h10m.
fn time(seconds: f64) -> String {
    let seconds = seconds.ceil() as u64;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plain(_: Colour, text: &str) -> String {
        text.to_owned()
    }

    fn some() -> Vec<Transfer> {
        serde_json::from_value(json!([
            {"kind": "ownership", "partition": 3, "from": "node1", "to": "node2", "state": "active", "keys_done": 50,
             "keys_total": 120, "bytes_done": 4500, "bytes_total": 9000, "keys_per_s": 30, "eta_s": 125},
            {"kind": "hinted", "partition": 4, "from": "node1", "to": "node3", "state": "waiting",
             "waiting_for": "node3, which is not reachable"},
        ]))
        .unwrap()
    }

    /// Lost without it: who watches does not see how far, how fast, how long or why not; or lines that wrap.
    #[test]
    fn a_bar_each_and_what_it_waits_for() {
        let text = block(&some(), usize::MAX, plain);
        assert_eq!(
            text,
            "\
================================== Transfers ==================================
ownership     3  node1 ==> node2           |========            |  41%    2m05s
                 50/120 keys, 4.5 kB of 9.0 kB, 30 keys/s, 2.7 kB/s
hinted        4  node1 ==> node3           |                    |   --  waiting
                 waits for node3, which is not reachable
-------------------------------------------------------------------------------
Active:1 / Waiting:1   30 keys/s, 2.7 kB/s, 70 keys left, 3s
"
        );
        assert!(block(&[], 8, plain).ends_with("No transfers active\n"));
        let mut long = some();
        long[1].last_error = Some("a very long reason ".repeat(9));
        long[1].from = "a-host-with-a-long-name.example".to_owned();
        let text = block(&long, 1, plain) + &block(&long, 9, plain);
        assert!(text.contains("and 1 more") && text.contains("..."));
        assert!(
            text.lines().all(|line| line.chars().count() <= WIDTH),
            "{text}"
        );
    }

    /// Lost without it: a block that got shorter leaves lines of the one before on the screen.
    #[test]
    fn a_block_is_drawn_over_the_one_before() {
        assert_eq!(over(0, "a\nb\n"), "a\x1b[K\nb\x1b[K\n\x1b[J");
        assert_eq!(over(2, "c\n"), "\x1b[2A\rc\x1b[K\n\x1b[J");
    }
}
