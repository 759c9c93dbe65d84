//! What the program says, and how it ends, when no node runs.

use std::process::{Command, Output};

use rkv_ct::processes::binary;
use serde_json::Value;

/// Nothing listens there: it is the port that nobody may be given.
const NOBODY: &str = "http://127.0.0.1:1";

fn rkv(arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments).env_remove("RKV_NODE");
    command.output().unwrap()
}

/// Lost without it: a script cannot tell that it called wrongly from a node that is gone, or from a cluster that said no.
#[test]
fn it_ends_as_its_help_says() {
    let missing = "/nowhere/rkv.toml";
    for (arguments, code, says) in [
        (&["frobnicate"][..], 2, "unrecognized subcommand"),
        (&["put", "only-a-key"], 2, "<VALUE>"),
        (
            &["start", "--set", "ring.partitions=100"],
            2,
            "power of two",
        ),
        (&["start", "--config", missing], 2, missing),
        (&["config", "check", "--config", missing], 2, missing),
        (&["--node", NOBODY, "status"], 3, NOBODY),
        (&["--node", NOBODY, "cluster", "plan"], 3, NOBODY),
    ] {
        let output = rkv(arguments);
        let (said, printed) = (text(&output.stderr), text(&output.stdout));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
        assert_eq!(printed, "", "{arguments:?}");
    }
}

/// Lost without it: who asked for JSON gets prose, or nothing, just when something is wrong.
#[test]
fn its_errors_are_json_for_who_asked_for_it() {
    let output = rkv(&["--json", "--node", NOBODY, "get", "k"]);
    assert_eq!(output.status.code(), Some(3));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["error"]["kind"], "unreachable", "{document}");
}

/// Lost without it: a shell loads a script that does not know the commands.
#[test]
fn it_completes_itself_in_every_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let output = rkv(&["completions", shell]);
        assert!(output.status.success(), "{shell}");
        assert!(text(&output.stdout).contains("can-stop"), "{shell}");
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
