//! This file answers: what can happen to a copy, and what may it wish for?

use bytes::Bytes;
use rkv_ring::NodeName;
use rkv_storage::{Batch, Error, Store};
use rkv_wire::message::{Answer, Command, CopyId, Message, RequestId, Role};

use crate::budget::{Budget, Urgency};
use crate::figures::Counters;
use crate::phase::Phase;
use crate::places::{Place, Places, Turn};
use crate::settings::{Limits, Settings};
use crate::view::View;

/// To whom an answer goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplyTo {
    /// A request of this node.
    Local(RequestId),
    /// A request of another.
    Remote(NodeName, RequestId),
}

/// A command to a copy, and whom to answer.
pub struct Asked {
    /// Whom to answer.
    pub to: ReplyTo,
    /// In what capacity it is asked.
    pub role: Role,
    /// What.
    pub command: Command,
    /// The object that goes with it.
    pub body: Bytes,
    /// The answer is void after this.
    pub within_ms: u32,
}

impl Asked {
    /// When the answer is void, as told in the step that takes the command.
    pub(super) fn until_ms(&self, cx: &Cx<'_>) -> u64 {
        cx.now_ms + u64::from(self.within_ms)
    }
}

/// What can happen to a copy.
pub enum Event {
    /// Somebody asks something of it.
    Command(Asked),
    /// A message about this copy that is no command.
    Message {
        /// The sender.
        from: NodeName,
        /// What it said.
        message: Box<Message>,
    },
    /// A write landed or failed.
    Landed {
        /// Its number.
        token: u64,
        /// How.
        result: Result<(), Error>,
    },
    /// The view changed.
    View,
    /// Time passed.
    Tick,
    /// Somebody wants the copy compared with its peers.
    Repair,
    /// Some of its entries cannot be read.
    Damaged,
    /// A move that gave way to requests may go on.
    MoveOn,
    /// So may a comparison.
    CompareOn,
}

/// What a copy may wish for. Carried out in order.
pub enum Effect {
    /// Apply a batch (also an empty one: it lands after all before it); [`Event::Landed`] comes back.
    Write {
        /// Its number.
        token: u64,
        /// What to write.
        batch: Batch,
        /// Whether it must survive a power cut before it counts as landed.
        sync: bool,
    },
    /// Drop a range; [`Event::Landed`] comes back.
    Drop {
        /// Its number.
        token: u64,
        /// First key.
        start: Bytes,
        /// First key behind it.
        end: Bytes,
    },
    /// Answer a command.
    Answer {
        /// Whom.
        to: ReplyTo,
        /// What.
        answer: Answer,
        /// The object that goes with it.
        body: Bytes,
    },
    /// Send a message to another node.
    Send {
        /// Whom.
        to: NodeName,
        /// What.
        message: Box<Message>,
    },
    /// Tell the claimant that this copy's move is ready.
    MoveReady {
        /// The attempt that is.
        attempt: u32,
        /// The target.
        to: NodeName,
    },
    /// Tell the claimant that a move that was ready is so no more.
    MoveBroken {
        /// The attempt.
        attempt: u32,
    },
    /// Fetch a later ring from this node: it told of one.
    Pull(NodeName),
    /// Tell people.
    Warn(String),
}

impl Effect {
    /// [`Effect::Send`]: in a box, since the wishes that most requests make are much smaller than messages.
    pub(crate) fn send(to: NodeName, message: Message) -> Effect {
        let message = Box::new(message);
        Effect::Send { to, message }
    }
}

/// When it was found that nobody holds anything of a copy but its owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuietAt {
    /// Monotonic: what came before and what after does not depend on a clock that is set.
    pub now_ms: u64,
    /// Unix time, while this node's clock agreed with its peers'.
    pub wall_ms: u64,
}

/// What a step may look at.
pub struct Cx<'a> {
    /// Now, monotonic.
    pub now_ms: u64,
    /// Unix time.
    pub wall_ms: u64,
    /// Who owns what and who is up.
    pub view: &'a View,
    /// Reads.
    pub store: &'a dyn Store,
    /// What the configuration says.
    pub settings: &'a Settings,
    /// Where transfers take their places.
    pub places: &'a Places,
    /// How many copies may be swept at once.
    pub sweeps: &'a Limits,
    /// How many bytes transfers may send.
    pub budget: &'a Budget,
    /// What is counted for whoever watches the node.
    pub figures: &'a Counters,
    /// Since when each reachable member has been known to hold no counted hint for this copy; `None`: one does or has
    /// not told.
    pub hints_clear_since: Option<u64>,
    /// When nobody held a hint of this copy, nor a copy that is no plain owner's, under the present ring; `None`: not known.
    pub quiet_at: Option<QuietAt>,
    /// Whether this node's clock agrees with its peers'.
    pub clock_fits: bool,
    /// Whether the service holds entries at all.
    pub has_entries: bool,
}

impl Cx<'_> {
    /// Whether operators hold transfers.
    pub(crate) fn is_paused(&self) -> bool {
        self.view.ring().handoff.paused
    }

    /// How many transfers may run here at once, in and out.
    pub(super) fn most_transfers(&self) -> usize {
        let said = self.view.ring().handoff;
        said.limit_or(self.settings.transfers)
    }

    /// A place for a transfer of `copy`, if it is its turn.
    pub(super) fn take_out(&self, turn: Turn, copy: CopyId) -> Option<Place> {
        let most = self.most_transfers();
        self.places.take_out(turn, copy, most, self.now_ms)
    }

    /// A page of a transfer leaves.
    pub(crate) fn spend(&self, urgency: Urgency, bytes: usize) {
        self.budget.spend(self.now_ms, bytes);
        if urgency == Urgency::Move {
            self.budget.courtesy.lend(self.now_ms);
        }
        self.figures.sent(urgency, bytes);
    }

    /// Up to which unix time something must have become a trace to be old enough to go at `at_ms`, when nothing contradicts it.
    pub(crate) fn ripe_ms(&self, at_ms: u64) -> u64 {
        let grace_ms = self.settings.delete_grace_ms + 2 * self.settings.max_drift_ms;
        at_ms.saturating_sub(grace_ms)
    }

    /// The phase of a copy that may lack anything, from now on.
    pub(super) fn lossy(&self) -> Phase {
        Phase::CatchingUp {
            lost: true,
            floor: self.settings.floor(self.wall_ms),
        }
    }
}
