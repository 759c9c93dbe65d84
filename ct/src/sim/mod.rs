//! A whole cluster in one thread, from one seed.
//!
//! The machines are the program's own; the network, the disks, the clocks, gossip and the faults are drawn from the
//! seed, so the same seed lives the same life and gives the same trace digest.
//!
//! In reading order: [`options`] what kind of life a seed has · [`world`] how it is lived · [`node`] one node ·
//! [`disk`] what survives a crash · [`landing`] what lands together · [`occurrence`] what must have occurred in a run.

pub mod disk;
pub mod landing;
pub mod node;
pub mod occurrence;
pub mod options;
pub mod world;

pub use options::{Council, Options};
pub use world::{Outcome, World};

use rkv_vnode::Fault;

/// Every fault that the checks must catch.
pub const FAULTS: [Fault; 17] = [
    Fault::OverwriteInsteadOfMerge,
    Fault::AckBeforeForward,
    Fault::DeleteSourceEarly,
    Fault::EmptiedCopyVotes,
    Fault::HintToOldOwner,
    Fault::ExpireRewritesValue,
    Fault::FloorNotAppliedAtOpening,
    Fault::MergeIgnoresFloor,
    Fault::FloorOfOneClock,
    Fault::MajoritySkipped,
    Fault::HintAckedBeforeSync,
    Fault::ReapByAgeAlone,
    Fault::FallbackAbsenceVotes,
    Fault::GetNeverHedges,
    Fault::MergeIntoLeftover,
    Fault::DeadIdentityReused,
    Fault::ReapDespiteHints,
];

/// Faults that show in less than one life of fifty: too long for every run of the tests.
pub const RARE_FAULTS: [Fault; 5] = [
    Fault::ResumeByCursorAlone,
    Fault::PromiseNotPersisted,
    Fault::ForcedOwnerVotes,
    Fault::DriftCheckOnMerges,
    Fault::ActOnOldReady,
];

/// The fault of that name.
pub fn fault_named(name: &str) -> Option<Fault> {
    let mut all = FAULTS.into_iter().chain(RARE_FAULTS);
    all.find(|fault| format!("{fault:?}") == name)
}
