//! This file answers: where do log lines go, and how do they look?

use std::io::IsTerminal;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};

/// From now on log lines go to stderr as `log` says; coloured only on a terminal that wants it.
pub(crate) fn init(log: &Log) {
    let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(!is_unwanted && std::io::stderr().is_terminal());
    // the configuration has been checked by then
    let which = log.level.replace(char::is_whitespace, "").parse();
    let which: Targets = which.unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    let registry = tracing_subscriber::registry().with(which);
    // an error means that there is a subscriber already, which is as good
    let _ = match log.format {
        LogFormat::Text => registry.with(lines).try_init(),
        LogFormat::Json => registry.with(lines.json()).try_init(),
    };
}
