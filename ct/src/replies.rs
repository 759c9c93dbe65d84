//! This file answers: does rkv reply as redis-server does?
//!
//! The same script of commands goes to a real redis-server and to rkv, in RESP2 and in RESP3, and the replies are held
//! against each other byte by byte, but where a line says otherwise ([`script`]). A line that says "differs" must be
//! of a command whose row in the table of commands tells how.
//!
//! [`script`] what a line says · [`server`] the redis-server · [`connection`] raw replies · [`compare`] whether two agree.

pub mod compare;
pub mod connection;
pub mod script;
pub mod server;

use anyhow::{Context, Result};

use self::compare::Verdict;
use self::connection::{Connection, Protocol};
use self::script::Script;

/// What came of a script.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Replies that were the same as they should be.
    pub same: usize,
    /// Replies that a line says are not compared.
    pub skipped: usize,
    /// What differs and should not, a text each.
    pub differences: Vec<String>,
}

/// Runs a script on the reference (a port of this machine) and on a node of rkv, in both protocols.
pub fn run(script: &Script, reference: u16, rkv: u16) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let expected = replies(script, reference, protocol)
            .with_context(|| format!("{} on redis-server", script.name))?;
        let got =
            replies(script, rkv, protocol).with_context(|| format!("{} on rkv", script.name))?;
        for (line, (expected, got)) in script.lines.iter().zip(expected.iter().zip(&got)) {
            match compare::compare(line, expected, got) {
                Verdict::Same => outcome.same += 1,
                Verdict::Skipped => outcome.skipped += 1,
                Verdict::Differs(how) => outcome.differences.push(format!(
                    "{}:{} {protocol:?} {}: {how}",
                    script.name, line.number, line.text
                )),
            }
        }
    }
    Ok(outcome)
}

fn replies(script: &Script, port: u16, protocol: Protocol) -> Result<Vec<Vec<u8>>> {
    let mut connection = Connection::open(port, protocol, script.password.as_deref())?;
    let mut replies = Vec::with_capacity(script.lines.len());
    for line in &script.lines {
        if line.is_on_a_new_connection {
            connection = Connection::open(port, protocol, script.password.as_deref())?;
        }
        let reply = connection
            .say(&line.bytes)
            .with_context(|| format!("line {}: {}", line.number, line.text))?;
        replies.push(reply);
    }
    Ok(replies)
}
