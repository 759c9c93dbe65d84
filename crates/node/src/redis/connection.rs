//! This file answers: how does one connection go on?
//!
//! In turns. A turn parses what came, begins what is asked, and writes the replies that are there with one call; then
//! the connection waits for whatever comes first: bytes, answers, room to write. It reads no more while its client does
//! not take its replies, or while too much is under way.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rkv_resp::command::{by_text, find};
use rkv_resp::{Command, CommandError, Name, ProtocolError, Reply, Request, RequestParser};
use rkv_server::moment;
use rkv_wire::before_sleep;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::ahead::{Ahead, Known};
use super::many::Each;
use super::operation::Ask;
use super::output::{Output, SLICES};
use super::pace::Pace;
use super::pipeline::Pipeline;
use super::server::{Admitted, FREE_BYTES};
use super::session::Session;
use super::slots::Manner;
use super::strings::write_of;
use super::threads::{self, Habit, Habits, Moving};
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
    ahead: Ahead,
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
    habits: Habits,
    /// When it had a turn with requests last, by the count of its thread.
    last_turn: u64,
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

/// What a connection waited for.
enum News {
    /// Answers to what is under way.
    Answers,
    /// So many bytes came; none: the client sends no more.
    Read(usize),
    /// The socket takes more.
    Room,
    /// The node stops.
    Stop,
    /// The client is gone, too slow, or was killed.
    Over,
}

impl Connection {
    pub(super) fn new(admitted: Admitted) -> Connection {
        let session = Session::new(admitted.server.clone(), admitted.client.clone());
        Connection {
            parser: RequestParser::new(session.limits()),
            pipeline: Pipeline::new(admitted.server.clone(), admitted.client.clone()),
            ahead: Ahead::default(),
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
            habits: Habits::default(),
            last_turn: 0,
        }
    }

    /// How its client sends its requests.
    pub(super) fn habit(&self) -> Habit {
        self.habits.now()
    }

    /// Goes on until the client leaves, breaks the protocol, or the node stops; or until it is to go on elsewhere.
    pub(super) async fn run(mut self, mut stream: TcpStream) -> Option<Box<Moving>> {
        let habit = self.habit();
        while !self.admitted.client.is_killed() {
            let turn = self.turn();
            if self.flush(&stream).is_err() {
                return None;
            }
            self.tell(turn);
            if self.habit() != habit && turn == Turn::Idle {
                return self.leave(stream);
            }
            let has_room = turn == Turn::Full && !self.pipeline.is_full(self.output.len());
            if turn == Turn::More || has_room {
                tokio::task::yield_now().await;
                continue;
            }
            if self.is_over(turn) {
                break;
            }
            match self.wait(&mut stream, turn).await {
                News::Answers | News::Room => {}
                News::Read(0) => self.is_ended = true,
                News::Read(bytes) => self.read(bytes),
                News::Stop => self.close(),
                News::Over => return None,
            }
        }
        if stream.shutdown().await.is_ok() && self.is_refused {
            // Whether it takes the error in time is its own affair.
            let _ = tokio::time::timeout(LINGER, discard(&mut stream)).await;
        }
        None
    }

    /// Lets go of these threads.
    fn leave(self, stream: TcpStream) -> Option<Box<Moving>> {
        let connection = self;
        match stream.into_std() {
            Ok(stream) => Some(Box::new(Moving { connection, stream })),
            Err(error) => threads::lost(&error),
        }
    }

    /// Waits for whatever comes first.
    async fn wait(&mut self, stream: &mut TcpStream, turn: Turn) -> News {
        let may_read = turn == Turn::Idle && !self.is_ended && self.closing.is_none();
        let room = if may_read { self.room() } else { 0 };
        let deadline = self.deadline().map(tokio::time::Instant::from_std);
        let mut late = pin!(until(deadline));
        poll_fn(|cx| {
            let client = &self.admitted.client;
            client.wake_by(cx.waker());
            if client.is_killed() {
                return Poll::Ready(News::Over);
            }
            if self.closing.is_none() && self.admitted.server.is_stopping() {
                return Poll::Ready(News::Stop);
            }
            if self.pipeline.is_waiting() && self.pipeline.inbox().poll(cx).is_ready() {
                return Poll::Ready(News::Answers);
            }
            if may_read && let Poll::Ready(read) = receive(cx, stream, &mut self.input, room) {
                return Poll::Ready(read.map_or(News::Over, News::Read));
            }
            if !self.output.is_empty()
                && let Poll::Ready(ready) = stream.poll_write_ready(cx)
            {
                return Poll::Ready(ready.map_or(News::Over, |()| News::Room));
            }
            if deadline.is_some() {
                return late.as_mut().poll(cx).map(|()| News::Over);
            }
            Poll::Pending
        })
        .await
    }

    /// Begins what came, as far as there is room, and writes what may leave.
    fn turn(&mut self) -> Turn {
        let _held = moment::hold();
        if !self.input.is_empty() || self.ahead.bytes() > 0 {
            self.pipeline.look_at_the_clock();
        }
        self.pipeline.settle(&mut self.output);
        for _ in 0..TURN {
            if self.pipeline.is_full(self.output.len()) {
                return Turn::Full;
            }
            if !self.pipeline.begin_next_key() {
                if self.closing.is_some() {
                    return Turn::Idle;
                }
                match self.next_request() {
                    Ok(Some(known)) => self.carry_out(known),
                    Ok(None) => return Turn::Idle,
                    Err(error) => self.refuse(error.reply()),
                }
            }
            self.pipeline.settle(&mut self.output);
        }
        Turn::More
    }

    /// What a client that has yet to prove itself sends behind that is parsed by other limits.
    fn next_request(&mut self) -> Result<Option<Known>, ProtocolError> {
        let engine = &self.admitted.server.engine;
        let engine = self.session.is_authenticated().then_some(&**engine);
        self.ahead.next(&mut self.parser, &mut self.input, engine)
    }

    fn carry_out(&mut self, known: Known) {
        let Known { request, located } = known;
        self.pipeline.counted.commands += 1;
        let manner = self.session.next_manner();
        let name = match self.named(&request) {
            Ok(name) => name,
            Err(error) => return self.pipeline.answered(manner, error.into()),
        };
        let args = &request.args;
        let output = &mut self.output;
        let pipeline = &mut self.pipeline;
        if pipeline.answer_at_once(manner, name, args, located, output) {
            return;
        }
        self.pipeline.note(name, args);
        let begun = match Command::parse(name, request) {
            Ok(command) => self.begin(manner, command),
            Err(error) => Err(error.into()),
        };
        if let Err(reply) = begun {
            self.pipeline.answered(manner, reply);
        }
    }

    /// Which command it is, if this client may have it carried out.
    fn named(&mut self, request: &Request) -> Result<Name, CommandError> {
        let spec = find(request).inspect_err(|error| {
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
        Ok(spec.name)
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
    fn flush(&mut self, stream: &TcpStream) -> io::Result<()> {
        while !self.output.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let written = match self.output.slices(&mut slices) {
                1 => stream.try_write(&slices[0]),
                count => stream.try_write_vectored(&slices[..count]),
            };
            match written {
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
        let commands = self.pipeline.counted.commands;
        self.habits.came(commands);
        if commands > 0 {
            let requests = usize::try_from(commands).unwrap_or(usize::MAX);
            before_sleep::client_has_a_turn(&mut self.last_turn, requests);
            let mut shown = self.admitted.client.shown.lock();
            shown.last = self.pipeline.now();
            shown.command = self.command;
        }
        self.admitted.server.stats.add(&mut self.pipeline.counted);
        let input = self.input.len() + self.ahead.bytes();
        let [output, replies] = [self.output.len(), self.pipeline.bytes()];
        let room = self.input.capacity() - self.input.len();
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
fn receive(
    cx: &mut Context<'_>,
    stream: &mut TcpStream,
    input: &mut BytesMut,
    room: usize,
) -> Poll<io::Result<usize>> {
    ready!(stream.poll_read_ready(cx))?;
    input.reserve(room);
    // Not `try_read`: this one knows that a socket which gave less than there was room for is empty, and does not ask again.
    let read = pin!(stream.read_buf(input)).poll(cx);
    if read.is_pending() && input.is_empty() {
        // The system thought that there was something, and was wrong.
        *input = BytesMut::new();
    }
    read
}

async fn until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn discard(stream: &mut TcpStream) {
    // On the heap: else every connection's task would have room for it.
    let mut buffer = vec![0; 4096];
    while let Ok(1..) = stream.read(&mut buffer).await {}
}
