//! This file answers: what must have occurred in a run of many lives?
//!
//! A promise is kept by whoever is never tried. So a run tells how often everything occurred, what never did included.

use std::collections::BTreeMap;

use rkv_vnode::actor::Step;

use crate::sim::world::AMID;

/// From how many lives on all of it must have occurred.
pub const ENOUGH_SEEDS: u64 = 2_000;

/// Faults, upheavals and requests.
const DEEDS: [&str; 37] = [
    "asked Cancel",
    "asked Clear",
    "asked Commit",
    "asked Down",
    "asked Handoff",
    "asked Join",
    "asked Leave",
    "asked Remove",
    "asked Replace",
    "asked Weight",
    "clock drift",
    "clock jump",
    "copies told together",
    "crash Kill",
    "crash PowerCut",
    "crash Wiped",
    "cut both ways",
    "cut one way",
    "deaf",
    "died before telling what landed",
    "dumb",
    "false suspicion",
    "get hedged",
    "left",
    "long absence",
    "old disk",
    "old disk set aside",
    "message late",
    "message lost",
    "message twice",
    "pause",
    "reaped",
    "sync failed",
    "ForceReplace",
    "OldDisk",
    "Rejoin",
    "Replace",
];

/// The same, of members that go by force.
const REMOVALS: [&str; 2] = ["RemoveDead", "RemoveLive"];

/// Transfers, by what flowed in them.
pub const TRANSFERS: [&str; 6] = [
    "transfer ownership",
    "transfer ownership resumed",
    "transfer hinted",
    "transfer repair",
    "transfer catching up",
    "transfer old copy",
];

/// What a keeper was about to do when it died.
const KEEPERS: [&str; 12] = [
    "Prepare",
    "Promise",
    "Accept",
    "Accepted",
    "Chosen",
    "RingIs",
    "Report",
    "saving a promise",
    "saving a proposal",
    "saving a ring",
    "saving a request to join",
    "adopt",
];

/// The name by which writes are counted that were acknowledged while this was wrong.
pub fn written_amid(what: &str) -> String {
    format!("written amid {what}")
}

/// The name by which a death is counted that came in this step of a transfer.
pub fn death_amid(step: Step) -> String {
    format!("died amid {step:?}")
}

/// The name by which a keeper's death is counted.
pub fn death_before(what: &str) -> String {
    format!("died before {what}")
}

/// Everything that must occur, at 0 each.
pub fn none_yet() -> BTreeMap<String, u64> {
    let named = DEEDS.into_iter().chain(REMOVALS).chain(TRANSFERS);
    let deaths = Step::ALL.into_iter().map(death_amid);
    let keepers = KEEPERS.into_iter().map(death_before);
    let amid = AMID.into_iter().map(written_amid);
    let all = named.map(str::to_owned).chain(deaths);
    all.chain(keepers)
        .chain(amid)
        .map(|what| (what, 0))
        .collect()
}
