//! This file answers: which known faults can the simulator build in, to show that its checks catch them?

/// A fault built in on purpose. Programs run with [`Fault::None`]; the simulator shows that each other one is caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    /// As it should be.
    #[default]
    None,
    /// An acceptor answers before its promise is on disk.
    PromiseNotPersisted,
    /// The target of a move stores what comes instead of merging it.
    OverwriteInsteadOfMerge,
    /// The source of a move acknowledges a write before the target has it.
    AckBeforeForward,
    /// A move goes on where an earlier session ended, and nobody looks at what was written meanwhile.
    ResumeByCursorAlone,
    /// The source drops its copy before the owner is known to cover it.
    DeleteSourceEarly,
    /// A copy that came back empty votes in reads.
    EmptiedCopyVotes,
    /// Hints go to the owner of the day they were written.
    HintToOldOwner,
    /// EXPIRE writes the value that it read once more, with the deadline.
    ExpireRewritesValue,
    /// A copy that is opened knows its floors and shows what lies below them.
    FloorNotAppliedAtOpening,
    /// What comes from other copies is merged though it lies below the floor.
    MergeIgnoresFloor,
    /// A flush goes by the clock of the node that was asked, and by nothing that others hold.
    FloorOfOneClock,
    /// A ring is taken as chosen though no majority has it.
    MajoritySkipped,
    /// A report of readiness counts for whatever attempt its move is in, and the target of the move takes the ring's word for it.
    ActOnOldReady,
    /// Who got a place by force, without a move of its own, votes at once.
    ForcedOwnerVotes,
    /// Hints are acknowledged before they are on disk.
    HintAckedBeforeSync,
    /// What was deleted is let go of though members are away, and hints are held for them or by them.
    ReapDespiteHints,
    /// What was deleted is let go of as soon as it is old enough.
    ReapByAgeAlone,
    /// A fallback that holds no hint of a key votes that there is nothing.
    FallbackAbsenceVotes,
    /// A get never asks the owners that it spared.
    GetNeverHedges,
    /// A copy that goes leaves its entries behind, and whoever fills the place anew merges into them.
    MergeIntoLeftover,
    /// What comes from other copies is not merged when its stamp is too far ahead of the node's own clock.
    DriftCheckOnMerges,
    /// A node on an older state of its disk goes on as who it was.
    DeadIdentityReused,
}
