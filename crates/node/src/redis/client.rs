//! This file answers: what do others know of a connection, and how do they end it?
//!
//! CLIENT LIST shows it, CLIENT KILL ends it. The connection itself writes here what changes.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Instant;

use bytes::Bytes;
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use rkv_resp::Protocol;

use super::credentials::DEFAULT_USER;

/// One connection as the others see it.
pub(super) struct Client {
    pub(super) id: u64,
    pub(super) addr: SocketAddr,
    pub(super) since: Instant,
    pub(super) shown: Mutex<Shown>,
    /// The system's number of its socket.
    fd: i32,
    /// What its buffers held after its last turn.
    buffers: Buffers,
    is_killed: AtomicBool,
    /// The connection's task.
    task: AtomicWaker,
}

/// Bytes that a connection holds.
#[derive(Debug, Default)]
struct Buffers {
    input: AtomicUsize,
    input_room: AtomicUsize,
    output: AtomicUsize,
    replies: AtomicUsize,
}

/// What changes of a client.
pub(super) struct Shown {
    pub(super) name: Bytes,
    pub(super) library: Bytes,
    pub(super) library_version: Bytes,
    pub(super) user: String,
    pub(super) database: usize,
    pub(super) protocol: Protocol,
    pub(super) last: Instant,
    pub(super) command: &'static str,
    /// CLIENT NO-EVICT
    pub(super) is_never_evicted: bool,
    /// CLIENT NO-TOUCH
    pub(super) touches_nothing: bool,
}

impl Default for Shown {
    fn default() -> Shown {
        Shown {
            name: Bytes::new(),
            library: Bytes::new(),
            library_version: Bytes::new(),
            user: DEFAULT_USER.to_owned(),
            database: 0,
            protocol: Protocol::Resp2,
            last: Instant::now(),
            command: "NULL",
            is_never_evicted: false,
            touches_nothing: false,
        }
    }
}

impl Shown {
    /// The flags of CLIENT LIST: `N` where there is none.
    fn flags(&self) -> &'static str {
        match (self.is_never_evicted, self.touches_nothing) {
            (false, false) => "N",
            (true, false) => "e",
            (false, true) => "T",
            (true, true) => "eT",
        }
    }
}

impl Client {
    pub(super) fn new(id: u64, addr: SocketAddr, fd: i32) -> Client {
        Client {
            id,
            addr,
            since: Instant::now(),
            shown: Mutex::new(Shown::default()),
            fd,
            buffers: Buffers::default(),
            is_killed: AtomicBool::new(false),
            task: AtomicWaker::new(),
        }
    }

    /// Its connection ends, whatever it is at.
    pub(super) fn kill(&self) {
        self.is_killed.store(true, Ordering::Release);
        self.wake();
    }

    /// Whether somebody ended it.
    pub(super) fn is_killed(&self) -> bool {
        self.is_killed.load(Ordering::Acquire)
    }

    /// Has its connection look whether it is to end.
    pub(super) fn wake(&self) {
        self.task.wake();
    }

    /// Its connection is woken by this; to be said before it looks whether it is to end.
    pub(super) fn wake_by(&self, waker: &Waker) {
        self.task.register(waker);
    }

    /// What its buffers hold now: bytes received and not parsed, room for more of them, bytes written and not taken,
    /// and replies held back behind others.
    pub(super) fn holds(&self, input: usize, room: usize, output: usize, replies: usize) {
        let buffers = &self.buffers;
        buffers.input.store(input, Ordering::Relaxed);
        buffers.input_room.store(room, Ordering::Relaxed);
        buffers.output.store(output, Ordering::Relaxed);
        buffers.replies.store(replies, Ordering::Relaxed);
    }

    /// Its line of CLIENT LIST, without a line end. What does not exist here is shown as Redis shows it when unused.
    pub(super) fn line(&self, local: SocketAddr) -> String {
        let shown = self.shown.lock();
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        let held = |bytes: &AtomicUsize| bytes.load(Ordering::Relaxed);
        let [input, room, output, replies] = [
            &self.buffers.input,
            &self.buffers.input_room,
            &self.buffers.output,
            &self.buffers.replies,
        ]
        .map(held);
        let own = size_of::<super::connection::Connection>();
        format!(
            "id={} addr={} laddr={local} fd={} name={} age={} idle={} flags={} db={} sub=0 psub=0 ssub=0 multi=-1 \
             watch=0 qbuf={input} qbuf-free={room} argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl={output} oll=0 omem={replies} \
             tot-mem={} events={} cmd={} user={} redir=-1 resp={} lib-name={} lib-ver={}",
            self.id,
            self.addr,
            self.fd,
            text(&shown.name),
            self.since.elapsed().as_secs(),
            shown.last.elapsed().as_secs(),
            shown.flags(),
            shown.database,
            own + input + room + output + replies,
            if output > 0 { "rw" } else { "r" },
            shown.command,
            shown.user,
            shown.protocol.number(),
            text(&shown.library),
            text(&shown.library_version),
        )
    }
}
