//! This file answers: how does the answer to an operation reach its connection?
//!
//! An operation is told its answer once, on whichever thread that is and perhaps before the call that began it returns.
//! It puts the answer here; the connection looks after each beginning, and is woken only when it waits. So an answer
//! that is there at once costs no task and no channel.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;
use rkv_kv::KvError;
use rkv_resp::Reply;
use rkv_server::wakes;

use super::lanes::Access;

/// Which operation an answer is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket {
    /// The operation's number on its connection.
    pub(super) operation: u64,
    /// The slot of its request.
    pub(super) slot: u64,
    /// Its place among the keys of that.
    pub(super) part: u32,
    /// The hash of its key.
    pub(super) key: u64,
    /// What it does with it.
    pub(super) access: Access,
}

/// What an operation came to.
#[derive(Debug)]
pub(super) enum Answer {
    /// GET: the value, if there is one.
    Value(Option<Bytes>),
    /// One key of DEL or EXISTS: whether it counts. One of MSET: whether it was written.
    Counts(Result<bool, KvError>),
    /// One key of MGET.
    Part(Result<Option<Bytes>, KvError>),
    /// Everything else.
    Reply(Reply),
}

/// The answers that one connection has not looked at yet.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    came: Mutex<Came>,
}

#[derive(Debug, Default)]
struct Came {
    answers: Vec<(Ticket, Answer)>,
    /// The connection, while it waits.
    waits: Option<Waker>,
}

impl Inbox {
    fn put(&self, ticket: Ticket, answer: Answer) {
        let mut came = self.came.lock();
        came.answers.push((ticket, answer));
        if let Some(waits) = came.waits.take() {
            drop(came);
            wakes::wake(waits);
        }
    }

    /// Moves all that came to `into`, which is empty.
    pub(super) fn take(&self, into: &mut Vec<(Ticket, Answer)>) {
        debug_assert!(
            into.is_empty(),
            "answers are looked at before more are taken"
        );
        std::mem::swap(&mut self.came.lock().answers, into);
    }

    /// Ready when something is there; else the task is woken when something comes.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let mut came = self.came.lock();
        if !came.answers.is_empty() {
            return Poll::Ready(());
        }
        match &mut came.waits {
            Some(waits) => waits.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

/// The duty to answer one operation. Forgetting it would leave the connection waiting for ever: dropped, it says so.
#[derive(Debug)]
pub(super) struct Promise {
    inbox: Arc<Inbox>,
    ticket: Ticket,
    is_kept: bool,
}

impl Promise {
    pub(super) fn new(inbox: Arc<Inbox>, ticket: Ticket) -> Promise {
        Promise {
            inbox,
            ticket,
            is_kept: false,
        }
    }

    /// Answers.
    pub(super) fn keep(mut self, answer: Answer) {
        self.is_kept = true;
        self.inbox.put(self.ticket, answer);
    }

    /// Answers with a reply.
    pub(super) fn reply(self, reply: Reply) {
        self.keep(Answer::Reply(reply));
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if !self.is_kept {
            let text = match self.ticket.access {
                Access::Read => "TRYAGAIN the node gave the request up",
                Access::Write => {
                    "UNKNOWN the node gave the request up; the write may have been applied"
                }
            };
            self.inbox
                .put(self.ticket, Answer::Reply(Reply::error(text)));
        }
    }
}
