//! This file answers: what did operators say about transfers, for the whole cluster?
//!
//! Whether they are held, and how many may run at once. It travels in the ring: every node goes by the same, a restart
//! forgets nothing, and whoever is claimant later knows it too.

use serde::{Deserialize, Serialize};

/// The most transfers at once that may be asked for: more would be no limit.
pub const MOST_TRANSFERS: u16 = 1_024;

/// What people are told of a transfer that is held, with the remedy.
pub const PAUSED: &str = "paused: rkv cluster handoff resume";

/// What holds for transfers. Named fields, so that a later version can add to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Handoff {
    /// Whether moves, hints and anti-entropy are held. A copy that catches up goes on: reads need it.
    #[serde(default)]
    pub paused: bool,
    /// How many at once on each node, in and out, in place of what its configuration says; 1 to [`MOST_TRANSFERS`].
    #[serde(default)]
    pub limit: Option<u16>,
}

/// What an operator wants to be otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HandoffChange {
    /// Hold transfers.
    Pause,
    /// Let them go on.
    Resume,
    /// So many at once; `None`: as each node's configuration says.
    Limit(Option<u16>),
}

impl Handoff {
    /// Whether nobody said anything: it is not written then, so that such rings keep their digests.
    pub fn is_default(&self) -> bool {
        *self == Handoff::default()
    }

    /// Whether the limit is one that may be asked for.
    pub fn is_sound(&self) -> bool {
        self.limit
            .is_none_or(|limit| (1..=MOST_TRANSFERS).contains(&limit))
    }

    /// The same after `change`; a limit out of bounds becomes the nearest within.
    pub fn after(self, change: HandoffChange) -> Handoff {
        match change {
            HandoffChange::Pause => Handoff {
                paused: true,
                ..self
            },
            HandoffChange::Resume => Handoff {
                paused: false,
                ..self
            },
            HandoffChange::Limit(limit) => Handoff {
                limit: limit.map(|limit| limit.clamp(1, MOST_TRANSFERS)),
                ..self
            },
        }
    }

    /// How many transfers at once on a node whose configuration says `configured`.
    pub fn limit_or(&self, configured: usize) -> usize {
        self.limit.map_or(configured, usize::from).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost without it: pausing forgets the limit, or a limit of none stops every transfer for good.
    #[test]
    fn one_change_leaves_the_other_alone() {
        let all = Handoff::default()
            .after(HandoffChange::Limit(Some(7)))
            .after(HandoffChange::Pause);
        assert_eq!((all.paused, all.limit, all.limit_or(2)), (true, Some(7), 7));
        let resumed = all.after(HandoffChange::Resume);
        assert_eq!((resumed.paused, resumed.limit), (false, Some(7)));
        assert!(resumed.after(HandoffChange::Limit(None)).is_default());
        for asked in [0, u16::MAX] {
            let bounded = Handoff::default().after(HandoffChange::Limit(Some(asked)));
            assert!(bounded.is_sound() && bounded.limit_or(2) >= 1);
        }
        assert_eq!(Handoff::default().limit_or(0), 1);
    }
}
