//! This file answers: what does `crates/node/COMMANDS.md` say?
//!
//! The table of commands for people, with how each differs from Redis' command of that name. A test holds the file
//! against this; `cargo run -p rkv-resp --example commands > crates/node/COMMANDS.md` writes it anew.

use std::fmt::Write as _;

use crate::command::Spec;
use crate::refusals::FAMILIES;
use crate::table::TABLE;

const HEAD: &str = "\
# Commands

Made from the table of commands (`crates/resp/src/table`); do not edit. To make it anew:

    cargo run -p rkv-resp --example commands > crates/node/COMMANDS.md

RESP2 and RESP3, inline commands, and the errors of Redis 7 letter by letter. `scripts/replies` holds the replies against
those of a real redis-server.

What is different everywhere:

- Any node takes any key: `MOVED`, `ASK` and `CROSSSLOT` are never sent. A command of several keys does each by itself.
- A failure of a quorum begins with its remedy. `TRYAGAIN`: not applied anywhere, or a read without a quorum; retry freely.
  `UNKNOWN k of w answered; the write may have been applied`: look before writing again. `CLUSTERDOWN` and `NOREPLICAS`:
  nothing was sent. `BUSY`: too much to do, nothing was applied.
- What needs an answer that all replicas agree on (NX, XX, GETSET, APPEND, ...) is refused with the remedy: of two writers
  who race, both would believe that they won.
- Arity: a negative number is the least number of words, the name counted.
";

/// The whole file.
pub fn markdown() -> String {
    let mut text = HEAD.to_owned();
    let mut groups: Vec<&str> = Vec::new();
    for spec in TABLE {
        if !groups.contains(&spec.group) {
            groups.push(spec.group);
        }
    }
    for group in groups {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n## {group}\n\n| command | arity | does | differs from Redis |\n|---|---|---|---|\n"
        );
        for spec in TABLE.iter().filter(|spec| spec.group == group) {
            row(spec, &mut text);
            spec.subcommands
                .iter()
                .for_each(|spec| row(spec, &mut text));
        }
    }
    refused(&mut text);
    text
}

fn refused(text: &mut String) {
    text.push_str(
        "\n## Refused\n\nCOMMAND does not list them, and their arity is not looked at.\n\n",
    );
    text.push_str("| commands | told: the name, and |\n|---|---|\n");
    for family in FAMILIES {
        let names: Vec<String> = family
            .names
            .iter()
            .map(|name| format!("`{}`", name.to_ascii_uppercase()))
            .collect();
        let _ = writeln!(text, "| {} | {} |", names.join(" "), cell(family.text));
    }
}

fn row(spec: &Spec, text: &mut String) {
    let name = spec.text.replace('|', " ").to_ascii_uppercase();
    let usage = format!("{name} {}", spec.usage).trim_end().to_owned();
    let _ = writeln!(
        text,
        "| `{}` | {} | {} | {} |",
        cell(&usage),
        spec.arity,
        cell(spec.summary),
        cell(spec.differences)
    );
}

/// A bar would begin the next cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
