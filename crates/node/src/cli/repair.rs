//! This file answers: how is a repair asked for, and what is seen of it?

use std::ffi::OsString;
use std::fmt::Write;

use clap::Args;

use super::api::ANSWER_WITHIN;
use super::documents::{RepairBegun, RepairRequest, Repairs};
use super::failure::Failure;
use super::output::Output;
use super::table::{rule, title};
use super::{End, Global};

/// Which copies.
#[derive(Debug, Clone, Args)]
pub(crate) struct Which {
    /// Only of this partition
    #[arg(long, value_name = "P")]
    partition: Option<u16>,
    /// Only copies of this member; `--node NODE` says the same here, unless NODE is a URL
    #[arg(long, value_name = "NODE")]
    member: Option<String>,
    /// Begin nothing; show when each copy was last compared with its peers, and what came of it
    #[arg(long)]
    status: bool,
}

/// The words of a command line, where the `--node` of a repair names a member.
///
/// The flag stands for two things: everywhere it is the address of the node to talk to, and behind `cluster repair` the member whose
/// copies are meant. Names have no `://` and no `:PORT`.
pub(crate) fn told_apart(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = words.into_iter().collect();
    let pair = words
        .windows(2)
        .position(|pair| pair[0] == "cluster" && pair[1] == "repair");
    let Some(begins) = pair else {
        return words;
    };
    let is_name = |text: &str| !text.contains(':');
    for at in begins + 2..words.len() {
        let value = words.get(at + 1).and_then(|value| value.to_str());
        let word = words[at].to_str().unwrap_or_default();
        match word.strip_prefix("--node=") {
            Some(name) if is_name(name) => words[at] = format!("--member={name}").into(),
            None if word == "--node" && value.is_some_and(is_name) => {
                words[at] = "--member".into();
            }
            _ => {}
        }
    }
    words
}

/// `rkv cluster repair [--partition P] [--node NODE] [--status]`.
pub(crate) fn repair(global: &Global, which: Which) -> Result<End, Failure> {
    if which.status {
        return status(global, &which);
    }
    let (node, output) = (global.node()?, global.output());
    let request = RepairRequest {
        partition: which.partition,
        node: which.member,
    };
    let answer = node.post("/v1/cluster/repair", &request, ANSWER_WITHIN)?;
    let begun: RepairBegun = answer.read()?;
    output.result(&answer.0, || {
        if begun.begun == 0 {
            return "Nothing to compare: no copy asked about has a peer that is up\n".to_owned();
        }
        let copies = if begun.begun == 1 { "copy" } else { "copies" };
        format!(
            "Repair has begun: {} {copies} compared with their peers\n",
            begun.begun
        )
    })?;
    tell_absent(&output, &begun.unreachable);
    output.note("see what comes of it: rkv cluster repair --status");
    Ok(End::Done)
}

fn status(global: &Global, which: &Which) -> Result<End, Failure> {
    let (node, output) = (global.node()?, global.output());
    let partition = which.partition.map(|partition| partition.to_string());
    let partition = partition
        .as_deref()
        .map(|partition| ("partition", partition));
    let member = which.member.as_deref().map(|member| ("node", member));
    let query: Vec<(&str, &str)> = partition.into_iter().chain(member).collect();
    let answer = node.get("/v1/cluster/repair", &query)?;
    let repairs: Repairs = answer.read()?;
    output.result(&answer.0, || table(&repairs))?;
    tell_absent(&output, &repairs.unreachable);
    Ok(End::Done)
}

fn tell_absent(output: &Output, names: &[String]) {
    if !names.is_empty() {
        output.note(&format!("did not answer: {}", names.join(", ")));
    }
}

/// The block `Repair`.
fn table(repairs: &Repairs) -> String {
    let mut text = title("Repair");
    let _ = writeln!(
        text,
        "{:>5}  {:<16} {:<24} {:>13} {:>8} {:>7}",
        "Part.", "Node", "State", "Exchanged", "Repaired", "Differ"
    );
    text += &rule();
    for it in &repairs.repairs {
        let state = match &it.with {
            Some(with) => format!("{} with {with}", it.state),
            None => it.state.clone(),
        };
        let ago = it.last_full_exchange_s_ago;
        let ago = ago.map_or("never".to_owned(), |s| format!("{s} s ago"));
        let (partition, node) = (it.partition, &it.node);
        let (repaired, differ) = (it.keys_repaired, it.divergence);
        let _ = writeln!(
            text,
            "{partition:>5}  {node:<16} {state:<24} {ago:>13} {repaired:>8} {differ:>7}"
        );
        if let Some(why) = &it.last_error {
            let _ = writeln!(text, "{:7}last error: {why}", "");
        }
    }
    let (mut repaired, mut differ) = (0, 0);
    for it in &repairs.repairs {
        repaired += it.keys_repaired;
        differ += it.divergence;
    }
    text += &rule();
    text + &format!(
        "Copies:{} / Repaired:{repaired} / Differing slots:{differ}\n",
        repairs.repairs.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apart(line: &str) -> String {
        let words = told_apart(line.split(' ').map(OsString::from));
        let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
        words.join(" ")
    }

    /// Lost without it: a repair of one member asks a host of that name, which is not there.
    #[test]
    fn the_node_of_a_repair_is_a_member_unless_it_is_an_address() {
        for (line, as_said) in [
            (
                "rkv cluster repair --node node2",
                "rkv cluster repair --member node2",
            ),
            (
                "rkv cluster repair --node=node2 --json",
                "rkv cluster repair --member=node2 --json",
            ),
            (
                "rkv --node http://a:1 cluster repair --status --node b",
                "rkv --node http://a:1 cluster repair --status --member b",
            ),
            (
                "rkv cluster repair --node http://a:1",
                "rkv cluster repair --node http://a:1",
            ),
            (
                "rkv cluster repair --node 127.0.0.1:8098",
                "rkv cluster repair --node 127.0.0.1:8098",
            ),
            (
                "rkv cluster members --node a",
                "rkv cluster members --node a",
            ),
            ("rkv cluster repair --node", "rkv cluster repair --node"),
        ] {
            assert_eq!(apart(line), as_said);
        }
    }

    /// Lost without it: a copy that was never compared, or that differs, looks like the others.
    #[test]
    fn a_table_says_when_and_what() {
        let text = r#"{"repairs": [{"node": "node1", "partition": 3, "state": "exchanging", "with": "node2",
            "last_full_exchange_s_ago": null, "keys_repaired": 7, "divergence": 2, "last_error": "node3 is busy"}],
            "unreachable": []}"#;
        let repairs: Repairs = serde_json::from_str(text).unwrap();
        let text = table(&repairs);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[3],
            "    3  node1            exchanging with node2            never        7       2"
        );
        assert_eq!(lines[4], "       last error: node3 is busy");
        assert_eq!(lines[6], "Copies:1 / Repaired:7 / Differing slots:2");
        assert!(lines.iter().all(|line| line.len() <= 79), "{text}");
    }
}
