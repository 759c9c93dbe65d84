//! This file answers: how does one connection go on?
//!
//! In turns. A turn parses what came, begins what is asked, and writes the replies that are there with one call; then
//! the connection waits for whatever comes first: bytes, answers, room to write. It reads no more while its client does
//! not take its replies, or while too much is under way.

use std::io::{self, IoSlice};
use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rkv_resp::command::{by_text, find};
use rkv_resp::{Command, CommandError, Reply, Request, RequestParser};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;

use super::listener::stopped;
use super::many::Each;
use super::operation::Ask;
use super::output::{Output, SLICES};
use super::pace::Pace;
use super::pipeline::Pipeline;
use super::server::{Admitted, FREE_BYTES};
use super::session::Session;
use super::slots::Manner;
use super::strings::write_of;
use super::{expire, own};

/// Requests (and keys of one request) in a turn; then replies leave, and other connections have their turn.
const TURN: usize = 256;
/// The least and the most that one read asks for; within a large value as much as has come of it.
const READ_BYTES: std::ops::RangeInclusive<usize> = (16 << 10)..=(64 << 10);
/// A connection that is to close waits so long for its last answers, and for its client to take them.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);
/// So long is read and thrown away what a client sent that is told an error and closed: else the error could be lost.
const LINGER: Duration = Duration::from_secs(1);

/// One connection.
pub(super) struct Connection {
    admitted: Admitted,
    session: Session,
    parser: RequestParser,
    pipeline: Pipeline,
    input: BytesMut,
    /// What the next read asks for.
    read_bytes: usize,
    output: Output,
    /// The command parsed last.
    command: &'static str,
    /// Nothing more will come.
    is_ended: bool,
    /// Nothing more is begun, since then.
    closing: Option<Instant>,
    /// Its place in the stream is lost, or it was refused.
    is_refused: bool,
    /// The request that has not wholly come.
    arriving: Pace,
    /// The replies that the socket does not take.
    leaving: Pace,
}

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// All that came is begun.
    Idle,
    /// Too much is under way, or written and not taken.
    Full,
    /// Others are to have their turn first.
    More,
}

impl Connection {
    pub(super) fn new(admitted: Admitted) -> Connection {
        let session = Session::new(admitted.server.clone(), admitted.client.clone());
        Connection {
            parser: RequestParser::new(session.limits()),
            pipeline: Pipeline::new(admitted.server.clone(), admitted.client.clone()),
            session,
            admitted,
            input: BytesMut::new(),
            read_bytes: *READ_BYTES.start(),
            output: Output::default(),
            command: "NULL",
            is_ended: false,
            closing: None,
            is_refused: false,
            arriving: Pace::default(),
            leaving: Pace::default(),
        }
    }

    /// Goes on until the client leaves, breaks the protocol, or the node stops.
    pub(super) async fn run(mut self, mut stream: TcpStream, mut stop: watch::Receiver<bool>) {
        let (mut reader, mut writer) = stream.split();
        let client = self.admitted.client.clone();
        // Begun once: to wait anew in every turn would be to queue anew among all connections.
        let mut stopping = pin!(stopped(&mut stop));
        let mut killed = pin!(client.killed());
        while !client.is_killed() {
            let turn = self.turn();
            if self.flush(&writer).is_err() {
                return;
            }
            self.tell(turn);
            let has_room = turn == Turn::Full && !self.pipeline.is_full(self.output.len());
            if turn == Turn::More || has_room {
                tokio::task::yield_now().await;
                continue;
            }
            if self.is_over(turn) {
                break;
            }
            let may_read = turn == Turn::Idle && !self.is_ended && self.closing.is_none();
            let room = if may_read { self.room() } else { 0 };
            let deadline = self.deadline().map(tokio::time::Instant::from_std);
            tokio::select! {
                biased;
                () = self.pipeline.inbox().wait(), if self.pipeline.is_waiting() => {}
                read = receive(&reader, &mut self.input, room), if may_read => match read {
                    Ok(0) => self.is_ended = true,
                    Ok(bytes) => self.read(bytes),
                    Err(_) => return,
                },
                ready = writer.writable(), if !self.output.is_empty() => {
                    if ready.is_err() {
                        return;
                    }
                }
                () = &mut stopping, if self.closing.is_none() => self.close(),
                () = &mut killed => return,
                () = until(deadline), if deadline.is_some() => return,
            }
        }
        if writer.shutdown().await.is_ok() && self.is_refused {
            // Whether it takes the error in time is its own affair.
            let _ = tokio::time::timeout(LINGER, discard(&mut reader)).await;
        }
    }

    /// Begins what came, as far as there is room, and writes what may leave.
    fn turn(&mut self) -> Turn {
        self.pipeline.look_at_the_clock();
        self.pipeline.settle(&mut self.output);
        for _ in 0..TURN {
            if self.pipeline.is_full(self.output.len()) {
                return Turn::Full;
            }
            if !self.pipeline.begin_next_key() {
                if self.closing.is_some() {
                    return Turn::Idle;
                }
                match self.parser.next(&mut self.input) {
                    Ok(Some(request)) => self.carry_out(request),
                    Ok(None) => return Turn::Idle,
                    Err(error) => self.refuse(error.reply()),
                }
            }
            self.pipeline.settle(&mut self.output);
        }
        Turn::More
    }

    fn carry_out(&mut self, request: Request) {
        self.pipeline.counted.commands += 1;
        let manner = self.session.next_manner();
        let command = match self.understand(request) {
            Ok(command) => command,
            Err(error) => return self.pipeline.answered(manner, error.into()),
        };
        if let Err(reply) = self.begin(manner, command) {
            self.pipeline.answered(manner, reply);
        }
    }

    fn understand(&mut self, request: Request) -> Result<Command, CommandError> {
        let spec = find(&request).inspect_err(|error| {
            if let CommandError::WrongArity(text) = error
                && let Some(spec) = by_text(text.as_bytes())
            {
                self.pipeline.counted.called.rejected(spec.name);
            }
        })?;
        self.command = spec.text;
        if !self.session.is_authenticated() && !spec.is_free_of_auth() {
            self.pipeline.counted.called.rejected(spec.name);
            return Err(CommandError::NoAuth);
        }
        self.pipeline.note(spec, &request.args);
        Command::parse(spec.name, request)
    }

    /// Begins a command; an error is the reply to one that cannot be.
    fn begin(&mut self, manner: Manner, command: Command) -> Result<(), Reply> {
        let server = &self.admitted.server;
        let keyspace = |named: &Option<bytes::Bytes>| match named {
            Some(name) => match server.keyspace(name) {
                Ok(_) => Ok(()),
                Err(error) => Err(Reply::error(error.redis_text())),
            },
            None => Ok(()),
        };
        let (key, ask) = match command {
            Command::Get(key) => (key, Ask::Get),
            Command::Set {
                key,
                value,
                options,
            } => {
                options.check_eventual(&server.engine.default_keyspace().name)?;
                let write = write_of(value, options.expire, server.engine.wall_ms());
                (key, Ask::Set(write))
            }
            Command::Del(keys) => {
                self.pipeline.ask_each(manner, Each::Delete, keys);
                return Ok(());
            }
            Command::Exists(keys) => {
                self.pipeline.ask_each(manner, Each::Exists, keys);
                return Ok(());
            }
            Command::MGet(keys) => {
                self.pipeline.ask_each(manner, Each::Get, keys);
                return Ok(());
            }
            Command::MSet(pairs) => {
                self.pipeline.ask_each(manner, Each::Set, pairs);
                return Ok(());
            }
            Command::Look { key, look } => (key, Ask::Look(look)),
            Command::Expire { key, at, condition } => {
                let ending = expire::ending(at, condition, server.engine.wall_ms());
                (key, Ask::End(ending))
            }
            Command::Persist(key) => (key, Ask::End(expire::PERSIST)),
            Command::GetEx { key, change } => {
                let ask = match expire::getex(change, server.engine.wall_ms()) {
                    Ok(None) => Ask::Get,
                    Ok(Some(ending)) => Ask::GetAndEnd(ending),
                    Err(error) => Ask::RefuseIfThere(error),
                };
                (key, ask)
            }
            Command::RkvPut {
                key,
                value,
                options,
            } => {
                keyspace(&options.keyspace)?;
                (key, own::put(value, &options))
            }
            Command::RkvDelete { key, options } => {
                keyspace(&options.keyspace)?;
                (key, own::delete(&options))
            }
            Command::RkvGet { key, options } => {
                keyspace(&options.keyspace)?;
                (key, own::read(&options))
            }
            Command::RkvReplicas {
                key,
                keyspace: named,
            } => {
                keyspace(&named)?;
                (key, Ask::Replicas)
            }
            Command::RkvPreflist(key) => {
                let (slot, preflist) = server.engine.preflist(&key);
                return Err(own::preflist_reply(slot, &preflist));
            }
            Command::AboutKey { key, question } => (key, Ask::About(question)),
            Command::Wait { nodes, timeout_ms } => {
                self.pipeline.wait(manner, nodes, timeout_ms);
                return Ok(());
            }
            Command::Flush => return self.alone(manner, Ask::Flush),
            Command::DbSize => return self.alone(manner, Ask::Size),
            Command::RandomKey => return self.alone(manner, Ask::RandomKey),
            Command::SlotKeys(asked) => return self.alone(manner, Ask::SlotKeys(asked)),
            about_session => {
                self.answer(manner, about_session);
                return Ok(());
            }
        };
        self.pipeline.ask(manner, key, ask);
        Ok(())
    }

    /// Begins what is about all keys.
    fn alone(&mut self, manner: Manner, ask: Ask) -> Result<(), Reply> {
        self.pipeline.ask_alone(manner, ask);
        Ok(())
    }

    fn answer(&mut self, mut manner: Manner, command: Command) {
        if let Command::ClientReply(mode) = &command {
            manner.is_silent = self.session.set_replies(*mode);
        }
        let was_authenticated = self.session.is_authenticated();
        let reply = self.session.answer(command);
        if self.session.is_over() {
            self.close();
        }
        manner.protocol = self.session.protocol();
        self.pipeline.answered(manner, reply);
        if self.session.is_authenticated() != was_authenticated {
            self.parser.set_limits(self.session.limits());
        }
    }

    /// Begins nothing more.
    fn close(&mut self) {
        self.closing.get_or_insert_with(Instant::now);
    }

    fn refuse(&mut self, reply: Reply) {
        let manner = self.session.next_manner();
        self.pipeline.answered(manner, reply);
        self.is_refused = true;
        self.close();
    }

    fn is_over(&self, turn: Turn) -> bool {
        let is_last = self.closing.is_some() || (self.is_ended && turn == Turn::Idle);
        is_last && self.pipeline.is_empty() && self.output.is_empty()
    }

    // ---- bytes -------------------------------------------------------------------------------------------------------

    /// What the next read asks for: never more than twice what has come, whatever length is claimed. A connection that
    /// waits for a request keeps no buffer: most connections of most nodes wait.
    fn room(&mut self) -> usize {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        let missing = self.parser.missing(&self.input);
        let most = self.input.len().max(*READ_BYTES.end());
        missing.clamp(self.read_bytes, most)
    }

    fn read(&mut self, bytes: usize) {
        self.pipeline.counted.input_bytes += bytes as u64;
        self.arriving.moved(bytes);
        self.read_bytes = if bytes >= self.read_bytes {
            self.read_bytes.saturating_mul(2).min(*READ_BYTES.end())
        } else {
            *READ_BYTES.start()
        };
        if self.input.len() > FREE_BYTES && self.admitted.server.is_crowded() {
            self.refuse(Reply::error(
                "BUSY the buffers of this node's connections are full; nothing was applied",
            ));
        }
    }

    /// Writes what the socket takes.
    fn flush(&mut self, writer: &WriteHalf<'_>) -> io::Result<()> {
        while !self.output.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = self.output.slices(&mut slices);
            match writer.try_write_vectored(&slices[..count]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => {
                    self.output.sent(bytes);
                    self.pipeline.counted.output_bytes += bytes as u64;
                    self.leaving.moved(bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.leaving.begin(Instant::now());
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.leaving.end();
        Ok(())
    }

    /// Tells others what was done in the turn.
    fn tell(&mut self, turn: Turn) {
        let is_owed = turn == Turn::Idle && !self.input.is_empty();
        if self.pipeline.counted.commands > 0 || !is_owed {
            self.arriving.end();
        }
        if is_owed {
            self.arriving.begin(Instant::now());
        }
        if self.pipeline.counted.commands > 0 {
            let mut shown = self.admitted.client.shown.lock();
            shown.last = self.pipeline.now();
            shown.command = self.command;
        }
        self.admitted.server.stats.add(&mut self.pipeline.counted);
        let [input, output, replies] = [self.input.len(), self.output.len(), self.pipeline.bytes()];
        let room = self.input.capacity() - input;
        self.admitted.client.holds(input, room, output, replies);
        self.admitted.buffers(input + output + replies);
    }

    /// When the connection ends unless something happens.
    fn deadline(&self) -> Option<Instant> {
        let patience = &self.admitted.server.config.patience;
        let proves_until = (!self.session.is_authenticated())
            .then_some(self.admitted.client.since + patience.auth);
        let arrives_until = self.arriving.until(patience.slow);
        let leaves_until = self.leaving.until(patience.slow);
        let closes_until = self.closing.map(|since| since + CLOSE_WITHIN);
        let all = [proves_until, arrives_until, leaves_until, closes_until];
        all.into_iter().flatten().min()
    }
}

/// Reads once something is there, and only then makes room for it.
async fn receive(reader: &ReadHalf<'_>, input: &mut BytesMut, room: usize) -> io::Result<usize> {
    loop {
        reader.readable().await?;
        input.reserve(room);
        match reader.try_read_buf(input) {
            // The system thought so and was wrong.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if input.is_empty() {
                    *input = BytesMut::new();
                }
            }
            read => return read,
        }
    }
}

async fn until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn discard(reader: &mut ReadHalf<'_>) {
    // On the heap: else every connection's task would have room for it.
    let mut buffer = vec![0; 4096];
    while let Ok(1..) = reader.read(&mut buffer).await {}
}
