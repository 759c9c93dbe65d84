//! This file answers: in which order do the parts of a node come up, and go down?

use crate::config::Config;

/// Runs one node until it is told to stop.
pub(crate) fn run(config: Config, faults: bool) -> anyhow::Result<()> {
    config.check_doors()?;
    anyhow::bail!("{} has no parts to start yet (faults: {faults})", config.node.name)
}
