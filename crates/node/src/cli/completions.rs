//! This file answers: how does a shell complete rkv's commands?

use clap_complete::Shell;
use serde_json::json;

use super::failure::Failure;
use super::{End, Global};

/// `rkv completions SHELL`.
pub(crate) fn completions(
    global: &Global,
    shell: Shell,
    mut command: clap::Command,
) -> Result<End, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "rkv", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    let document = json!({"shell": shell.to_string(), "script": script});
    global
        .output()
        .result(&document.to_string(), || script.clone())?;
    Ok(End::Done)
}
