//! This file answers: what happened while a run went on?

use std::path::Path;

use super::rows::{self, Fields};
use crate::error::Error;

/// Something worth a mark: a node killed, a handoff begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When, in microseconds of Unix time.
    pub at_us: i64,
    /// What.
    pub label: String,
}

/// `events.csv`, in the order of time; nothing when there is no such file.
pub(super) fn read(file: &Path) -> Result<Vec<Event>, Error> {
    let mut events = rows::read(file, "timestamp,unit,label", event)?;
    events.sort_by_key(|event| event.at_us);
    Ok(events)
}

fn event(fields: &mut Fields<'_>) -> Result<Event, String> {
    let at = fields.number("timestamp")?;
    let unit = rows::unit(fields.text("unit")?)?;
    Ok(Event {
        at_us: unit.microseconds(at),
        label: fields.last("label")?,
    })
}
