//! This file answers: what waits to be written to one connection?
//!
//! One bounded queue between all who send and the one task that writes. Its lock is the only one on a message's way
//! out, held for a push or for the taking of a batch.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::message::Envelope;

/// Most messages that wait for one connection.
pub const QUEUE_MESSAGES: usize = 16 * 1024;
/// Most bytes that wait for one connection; a single message may be larger.
pub const QUEUE_BYTES: usize = 128 * 1024 * 1024;
/// Most messages in one write.
pub const BATCH_MESSAGES: usize = 64;
/// No message is added to a write that has this many bytes.
pub const BATCH_BYTES: usize = 1024 * 1024;
/// What a message is taken to weigh besides its body.
const MESSAGE_WEIGHT: usize = 256;

/// Messages on their way to one connection.
#[derive(Debug, Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    /// Something was pushed, a beat is due, or the queue closes.
    writer: Notify,
    /// Something was turned away.
    overflow: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<Waiting>,
    weight: usize,
    /// Turned away, until the connection's task reports them.
    refused: Vec<Envelope>,
    closing: bool,
    /// Where the node of the newest message is.
    address: String,
}

#[derive(Debug)]
struct Waiting {
    envelope: Envelope,
    /// Not before: links can be slowed on purpose.
    due: Option<Instant>,
}

/// What [`Queue::take`] found.
#[derive(Debug, PartialEq)]
pub(super) enum Taken {
    /// Messages.
    Some,
    /// None that is due before this.
    NotBefore(Instant),
    /// None.
    Nothing,
    /// None, and no more will come.
    Closed,
}

impl Queue {
    /// Adds `envelope`, to a node at `address`. Never waits.
    pub(super) fn push(&self, address: &str, envelope: Envelope, delay: Option<Duration>) {
        let weight = weight(&envelope);
        let mut inner = self.inner.lock();
        if inner.closing {
            return;
        }
        if inner.address != address {
            inner.address = address.to_owned();
        }
        let full = inner.waiting.len() >= QUEUE_MESSAGES
            || (inner.weight + weight > QUEUE_BYTES && !inner.waiting.is_empty());
        if full {
            // Beyond the bound nobody hears of it either: to the sender it is as if lost on the way.
            if inner.refused.len() < QUEUE_MESSAGES {
                inner.refused.push(envelope);
            }
            drop(inner);
            return self.overflow.notify_one();
        }
        inner.weight += weight;
        let due = delay.map(|delay| {
            let due = Instant::now() + delay;
            let last = inner.waiting.back().and_then(|last| last.due);
            last.map_or(due, |last| last.max(due))
        });
        let idle = inner.waiting.is_empty();
        inner.waiting.push_back(Waiting { envelope, due });
        drop(inner);
        if idle {
            self.writer.notify_one();
        }
    }

    /// Moves up to a write's worth of messages to `batch`.
    pub(super) fn take(&self, batch: &mut Vec<Envelope>) -> Taken {
        let mut inner = self.inner.lock();
        let (mut count, mut bytes) = (0, 0);
        for waiting in inner.waiting.iter().take(BATCH_MESSAGES) {
            let due = waiting.due.filter(|due| *due > Instant::now());
            match due {
                Some(due) if count == 0 => return Taken::NotBefore(due),
                Some(_) => break,
                None if bytes >= BATCH_BYTES => break,
                None => {}
            }
            count += 1;
            bytes += weight(&waiting.envelope);
        }
        inner.weight -= bytes;
        batch.extend(inner.waiting.drain(..count).map(|waiting| waiting.envelope));
        match (batch.is_empty(), inner.closing) {
            (false, _) => Taken::Some,
            (true, false) => Taken::Nothing,
            (true, true) => Taken::Closed,
        }
    }

    /// All that waits, and all that was turned away.
    pub(super) fn drain(&self) -> Vec<Envelope> {
        let mut inner = self.inner.lock();
        inner.weight = 0;
        let waiting = inner.waiting.drain(..).map(|waiting| waiting.envelope);
        let mut all: Vec<Envelope> = waiting.collect();
        all.append(&mut inner.refused);
        all
    }

    /// What was turned away since the last call.
    pub(super) fn take_refused(&self) -> Vec<Envelope> {
        std::mem::take(&mut self.inner.lock().refused)
    }

    /// Whether something waits.
    pub(super) fn has_work(&self) -> bool {
        !self.inner.lock().waiting.is_empty()
    }

    /// Whether [`Queue::close`] was called.
    pub(super) fn is_closing(&self) -> bool {
        self.inner.lock().closing
    }

    /// Where the node of the newest message is.
    pub(super) fn address(&self) -> String {
        self.inner.lock().address.clone()
    }

    /// Takes no more; what waits may still go.
    pub(super) fn close(&self) {
        self.inner.lock().closing = true;
        self.writer.notify_one();
    }

    /// Wakes the writer without a message.
    pub(super) fn wake(&self) {
        self.writer.notify_one();
    }

    /// Until the writer has something to look at. For one task.
    pub(super) async fn woken(&self) {
        self.writer.notified().await;
    }

    /// Until something was turned away. For one task.
    pub(super) async fn overflowed(&self) {
        self.overflow.notified().await;
    }
}

fn weight(envelope: &Envelope) -> usize {
    MESSAGE_WEIGHT + envelope.message.body().map_or(0, Bytes::len)
}
