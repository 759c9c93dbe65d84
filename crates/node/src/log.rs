//! This file answers: where do log lines go, and how do they look?

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// From now on log lines go to stderr as `log` says; coloured only on a terminal that wants it.
pub(crate) fn init(log: &Log) {
    let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&log.level))
        .with_writer(std::io::stderr)
        .with_ansi(!is_unwanted && std::io::stderr().is_terminal());
    // an error means that there is a subscriber already, which is as good
    let _ = match log.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
}
