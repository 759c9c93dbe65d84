//! This file answers: what has this node done for its copies since its start?
//!
//! For whoever watches it; nothing is decided by it. What is counted happens by the page or by the hint, so one relaxed
//! addition each is no matter.

use std::sync::atomic::{AtomicU64, Ordering};

use rkv_wire::message::Message;

use crate::budget::Urgency;

/// What is counted while it happens.
#[derive(Debug, Default)]
pub struct Counters {
    busy: AtomicU64,
    hints_drained: AtomicU64,
    reaped: AtomicU64,
    hinted_out: AtomicU64,
    repair_out: AtomicU64,
    ownership_out: AtomicU64,
    ownership_in: AtomicU64,
    fill_in: AtomicU64,
    compare_in: AtomicU64,
}

/// What [`crate::Host::figures`] tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// Commands that were turned away because a mailbox was full.
    pub busy: u64,
    /// Events that wait in all mailboxes together, now.
    pub mailboxes: u64,
    /// Events that wait in the fullest mailbox, now.
    pub fullest_mailbox: u64,
    /// Hints that were delivered to all who were there.
    pub hints_drained: u64,
    /// Traces of what was deleted that were let go of.
    pub reaped: u64,
    /// Bytes of hints sent to owners.
    pub hinted_out: u64,
    /// Bytes sent in comparisons, and of what they found.
    pub repair_out: u64,
    /// Bytes of copies sent to their new owners, writes under way included.
    pub ownership_out: u64,
    /// Bytes of copies that came.
    pub ownership_in: u64,
    /// Bytes of hints and repairs that came: on arrival they are alike.
    pub fill_in: u64,
    /// Bytes that came in comparisons.
    pub compare_in: u64,
}

impl Counters {
    /// A full mailbox turned a command away.
    pub(crate) fn turned_away(&self) {
        add(&self.busy, 1);
    }

    /// Hints were delivered.
    pub(crate) fn drained(&self, hints: u64) {
        add(&self.hints_drained, hints);
    }

    /// Traces of what was deleted were let go of.
    pub(crate) fn reaped(&self, traces: u64) {
        add(&self.reaped, traces);
    }

    /// A page was sent.
    pub(crate) fn sent(&self, urgency: Urgency, bytes: usize) {
        let total = match urgency {
            Urgency::Hint => &self.hinted_out,
            Urgency::Repair => &self.repair_out,
            Urgency::Move => &self.ownership_out,
        };
        add(total, bytes as u64);
    }

    /// A message leaves that no page is: a write that is forwarded in a move.
    pub(crate) fn leaves(&self, message: &Message) {
        if let Message::HandoffForward { body, .. } = message {
            add(&self.ownership_out, body.len() as u64);
        }
    }

    /// A message came.
    pub(crate) fn came(&self, message: &Message) {
        match message {
            Message::HandoffItems { body, .. } | Message::HandoffForward { body, .. } => {
                add(&self.ownership_in, body.len() as u64);
            }
            Message::Fill { body, .. } => add(&self.fill_in, body.len() as u64),
            Message::Compare { body, .. } | Message::Compared { body, .. } => {
                add(&self.compare_in, body.len() as u64);
            }
            _ => {}
        }
    }

    /// What was counted; `waiting` are the lengths of the mailboxes.
    pub(crate) fn read(&self, waiting: impl Iterator<Item = usize>) -> Figures {
        let mut figures = Figures {
            busy: read(&self.busy),
            hints_drained: read(&self.hints_drained),
            reaped: read(&self.reaped),
            hinted_out: read(&self.hinted_out),
            repair_out: read(&self.repair_out),
            ownership_out: read(&self.ownership_out),
            ownership_in: read(&self.ownership_in),
            fill_in: read(&self.fill_in),
            compare_in: read(&self.compare_in),
            ..Figures::default()
        };
        for waiting in waiting {
            figures.mailboxes += waiting as u64;
            figures.fullest_mailbox = figures.fullest_mailbox.max(waiting as u64);
        }
        figures
    }
}

fn add(total: &AtomicU64, more: u64) {
    if more > 0 {
        total.fetch_add(more, Ordering::Relaxed);
    }
}

fn read(total: &AtomicU64) -> u64 {
    total.load(Ordering::Relaxed)
}
