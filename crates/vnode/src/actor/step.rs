//! This file answers: in which steps of transfers is a copy just now?
//!
//! For checks that observe from outside: a simulator tells by it in which of them its nodes died.

use rkv_wire::message::RequestId;

use super::Actor;
use crate::catch_up::CatchUp;
use crate::handoff_out::Stage;
use crate::phase::Phase;

/// A step of a transfer, or of what follows one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The target of a move was asked to begin.
    Opening,
    /// Entries flow out.
    Filling,
    /// A mark was sent.
    Marking,
    /// Equal at the mark: it is being written down that this copy forwards.
    Equal,
    /// The move was reported ready, and its session goes on.
    Forwarding,
    /// It was, and the session is gone.
    ForwardingAlone,
    /// Entries flow in.
    TakingIn,
    /// All of them are there, and synced: an epoch may name this copy.
    TakenIn,
    /// Out of the row: it is shown to the owners what they lack.
    Covering,
    /// Its entries are on their way out.
    Dropping,
    /// Hints are on their way to owners.
    DrainingHints,
    /// It came back and is compared with its peers before it votes.
    CatchingUp,
    /// It is compared with a peer.
    Mending,
    /// Proof is being collected that traces of what was deleted may go.
    Reaping,
}

impl Step {
    /// All of them.
    pub const ALL: [Step; 14] = [
        Step::Opening,
        Step::Filling,
        Step::Marking,
        Step::Equal,
        Step::Forwarding,
        Step::ForwardingAlone,
        Step::TakingIn,
        Step::TakenIn,
        Step::Covering,
        Step::Dropping,
        Step::DrainingHints,
        Step::CatchingUp,
        Step::Mending,
        Step::Reaping,
    ];
}

impl Actor {
    /// The steps that it is in.
    pub fn steps(&self) -> Vec<Step> {
        let out = self.giving.out.as_ref().map(|out| match out.stage {
            Stage::Opening => Step::Opening,
            Stage::Filling => Step::Filling,
            Stage::Marking => Step::Marking,
            Stage::Equal => Step::Equal,
            Stage::Ready => Step::Forwarding,
        });
        let phase = match &self.phase {
            Phase::Forwarding { .. } if self.giving.out.is_none() => Some(Step::ForwardingAlone),
            Phase::Receiving { complete, .. } => Some(match complete {
                true => Step::TakenIn,
                false => Step::TakingIn,
            }),
            Phase::CatchingUp { .. } => Some(Step::CatchingUp),
            Phase::Draining { .. } => Some(Step::Covering),
            _ => None,
        };
        let others = [
            (self.leaving.dropping, Step::Dropping),
            (self.hinting.drain.is_some(), Step::DrainingHints),
            (self.repair.exchange.is_some(), Step::Mending),
            (self.reaping.is_proving(), Step::Reaping),
        ];
        let others = others.into_iter().filter(|(is_in, _)| *is_in);
        let others = others.map(|(_, step)| step);
        out.into_iter().chain(phase).chain(others).collect()
    }

    /// In which step it asked `id` of another copy, if that is still waited for.
    pub fn step_of(&self, id: RequestId) -> Option<Step> {
        let drain = self.hinting.drain.as_ref();
        let catch_up = self.catch_up.as_ref().and_then(CatchUp::comparison);
        let mut proofs = self.leaving.proofs.iter();
        if drain.is_some_and(|drain| drain.is_about(id)) {
            Some(Step::DrainingHints)
        } else if proofs.any(|proof| proof.is_about(id)) {
            Some(Step::Covering)
        } else if catch_up.is_some_and(|exchange| exchange.is_about(id)) {
            Some(Step::CatchingUp)
        } else {
            let exchange = self.repair.exchange.as_ref();
            exchange
                .is_some_and(|exchange| exchange.is_about(id))
                .then_some(Step::Mending)
        }
    }
}
