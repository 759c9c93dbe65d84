//! This file answers: what kind of life does a seed have?

use rkv_kv::Bounds;
use rkv_vnode::Fault;

use crate::sim::landing::Landing;

/// How a life is drawn.
#[derive(Debug, Clone)]
pub struct Options {
    /// All that is random comes from it.
    pub seed: u64,
    /// Nodes that end up in the cluster.
    pub nodes: usize,
    /// Q.
    pub partitions: u16,
    /// Whether the disks forget everything at a crash.
    pub volatile: bool,
    /// How what is queued on the disks lands.
    pub landing: Landing,
    /// A fault built in on purpose.
    pub fault: Fault,
    /// How long faults go on, in virtual milliseconds; then everything heals.
    pub trouble_ms: u64,
    /// Within how long after the last fault everything must have settled.
    pub settle_within_ms: u64,
    /// One in how many messages about data comes late, up to a second and a half.
    pub late_one_in: u32,
    /// Keys that all clients use.
    pub keys: u32,
    /// Keys that each node is given before it joins.
    pub own_keys: u32,
    /// One in how many things that clients do is a flush of everything; 0: none ever.
    pub flush_one_in: u32,
    /// Whether the last node leaves again.
    pub leaves: bool,
    /// How a member goes by force, is replaced, or comes back with nothing.
    pub upheaval: Option<Upheaval>,
    /// Whether somebody changes weights, marks the dead as down and gives up what is on the move.
    pub fidgets: bool,
    /// Whether operators hold transfers now and then, and bound how many run at once.
    pub pauses: bool,
    /// Whether a node is away for so long that what was deleted meanwhile could be let go of.
    pub long_absence: bool,
    /// What those who choose rings have to bear.
    pub council: Council,
    /// Whether to print what happens.
    pub trace: bool,
}

/// What happens to the membership of one node beside joining and leaving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upheaval {
    /// It is removed while it runs.
    RemoveLive,
    /// It dies, is removed, and comes back with its old disk.
    RemoveDead,
    /// A new node takes over what it has.
    Replace,
    /// It dies, a new node takes its places, and it comes back with its old disk.
    ForceReplace,
    /// It loses its disk and joins under its old name.
    Rejoin,
    /// An older state of its disk is put back; it is told so, and joins under its old name with none.
    OldDisk,
}

impl Upheaval {
    const ALL: [Upheaval; 6] = [
        Upheaval::RemoveLive,
        Upheaval::RemoveDead,
        Upheaval::Replace,
        Upheaval::ForceReplace,
        Upheaval::Rejoin,
        Upheaval::OldDisk,
    ];
}

/// The pace of choosing rings, and what goes wrong with it.
#[derive(Debug, Clone, Copy)]
pub struct Council {
    /// How long a node is silent before it is suspected.
    pub detection_ms: u64,
    /// The least time between two epochs.
    pub epoch_interval_ms: u64,
    /// One in how many messages about rings comes late, up to a second and a half.
    pub late_one_in: u32,
    /// A keeper dies after at most so many effects, between any two of them.
    pub dies_within: u64,
    /// How soon it is back, from and to.
    pub back_ms: (u64, u64),
    /// How often somebody is taken for dead who is not, at most; `None`: only when the nemesis thinks of it.
    pub rumour_ms: Option<u64>,
    /// Whether operators stage and withdraw changes all the time, so that there is always an epoch to choose.
    pub unrest: bool,
}

impl Council {
    /// As it usually is.
    pub const CALM: Council = Council {
        detection_ms: 700,
        epoch_interval_ms: 300,
        late_one_in: 100,
        dies_within: 4_000,
        back_ms: (200, 3_000),
        rumour_ms: None,
        unrest: false,
    };

    /// What is said of moves comes late, while operators give them up and have them made again all the time.
    pub const DELAYED: Council = Council {
        late_one_in: 4,
        ..Council::CALM
    };

    /// A storm: who was promised something comes back before the promise is called in, and old ballots arrive after
    /// new ones. Only so does it show whether promises are kept.
    pub const STORM: Council = Council {
        detection_ms: 300,
        epoch_interval_ms: 100,
        late_one_in: 2,
        dies_within: 40,
        back_ms: (10, 300),
        rumour_ms: Some(300),
        unrest: true,
    };
}

impl Options {
    /// The usual life of `seed`: what differs between lives is drawn from it.
    pub fn of_seed(seed: u64) -> Options {
        // Both with and without a node that leaves: of three nodes, rows of three collapse to two.
        let volatile = seed % 5 == 4;
        let upheaval = (seed % 4 == 3).then(|| Upheaval::ALL[(seed / 4 % 6) as usize]);
        // Where nothing is kept there is nothing to put back.
        let upheaval = upheaval.map(|upheaval| match upheaval {
            Upheaval::OldDisk if volatile => Upheaval::Rejoin,
            upheaval => upheaval,
        });
        let nodes = match upheaval {
            None => 3 + (seed / 4 % 2) as usize,
            // Three are left, or four and one that comes.
            Some(Upheaval::Replace | Upheaval::ForceReplace) => 5,
            Some(_) => 4,
        };
        let long_absence = seed % 8 == 4 && upheaval.is_none();
        let leaves = seed % 4 == 1;
        // Staging and withdrawing would get in the way of a node that leaves.
        let stormy = seed % 3 == 2 && !leaves && upheaval.is_none();
        let fidgets = seed % 4 == 2 && !volatile;
        Options {
            seed,
            nodes,
            partitions: 8,
            volatile,
            landing: match seed / 16 % 4 {
                0 => Landing::Together,
                1 => Landing::Synced,
                _ => Landing::OneByOne,
            },
            fault: Fault::None,
            trouble_ms: if long_absence { 28_000 } else { 14_000 },
            settle_within_ms: 90_000,
            late_one_in: if seed % 3 == 2 { 8 } else { 200 },
            keys: 12,
            own_keys: 3,
            // Most lives have none, so that what they show is not cut short by one.
            flush_one_in: if seed % 7 < 3 { 40 } else { 0 },
            leaves,
            upheaval,
            fidgets,
            pauses: seed % 6 == 3,
            long_absence,
            council: if stormy {
                Council::STORM
            } else if fidgets && nodes > 3 {
                Council::DELAYED
            } else {
                Council::CALM
            },
            trace: false,
        }
    }

    /// A life in which `nodes` join at once and nothing goes wrong but with the network.
    pub fn crowd(seed: u64, nodes: usize, partitions: u16) -> Options {
        Options {
            nodes,
            partitions,
            volatile: false,
            own_keys: 1,
            late_one_in: 200,
            council: Council::CALM,
            ..Options::of_seed(seed)
        }
    }

    /// In half of the lives all gets spare owners.
    pub fn bounds(&self) -> Bounds {
        let usual = Bounds::default();
        let sparing_from = if self.seed / 8 % 2 == 1 {
            0
        } else {
            usual.sparing_from
        };
        Bounds {
            sparing_from,
            ..usual
        }
    }

    /// Whether `fault` may show: a forgotten promise only does in a storm, an older disk only where one is put back.
    pub fn may_show(&self, fault: Fault) -> bool {
        match fault {
            Fault::PromiseNotPersisted => self.is_stormy(),
            Fault::DeadIdentityReused => self.upheaval == Some(Upheaval::OldDisk),
            Fault::ReapDespiteHints => self.long_absence,
            _ => true,
        }
    }

    /// Whether rings are chosen under [`Council::DELAYED`].
    pub fn is_delayed(&self) -> bool {
        self.fidgets && self.council.late_one_in == Council::DELAYED.late_one_in
    }

    /// Whether rings are chosen under [`Council::STORM`].
    pub fn is_stormy(&self) -> bool {
        self.council.unrest
    }
}
