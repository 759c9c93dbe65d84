//! This file answers: what happens on one established connection until it ends?
//!
//! Three things at once, in one task: what arrives is decoded and handed on, what waits is written, and each end says
//! every second that it lives (unless it has just said something). Who hears nothing for three such seconds takes the
//! other for hung: its kernel may go on taking bytes that nobody reads. So is one that speaks and takes nothing. The signs of life go one way each, without
//! asking, so that a long body on a slow line does not make its receiver look dead.

use std::collections::VecDeque;
use std::future::pending;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::task::yield_now;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use crate::codec::{Batch, Decoder, FrameError, Kind};
use crate::handshake::PeerInfo;
use crate::message::Envelope;
use crate::tcp::TcpConfig;
use crate::tcp::queue::{Queue, Taken};
use crate::tcp::shake::Established;
use crate::transport::Handler;

/// Most messages handed on together.
const TOGETHER: usize = 32;
/// Most pieces given to one write.
const PIECES: usize = 64;
/// Most messages held back on a link that is slowed on purpose; beyond it nothing is read.
const MAX_HELD: usize = 64 * 1024;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ending {
    #[error("closed by the other end")]
    Eof,
    #[error("broken: {0}")]
    Io(#[from] io::Error),
    #[error("nothing heard for {0} beats")]
    Silent(u32),
    #[error("nothing of what was written was taken for {0} beats")]
    Stuck(u32),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("replaced: {0}")]
    Replaced(&'static str),
}

/// What the task of a connection needs.
pub(super) struct Connection<'a> {
    pub(super) config: &'a TcpConfig,
    pub(super) handler: &'a Arc<dyn Handler>,
    pub(super) queue: &'a Queue,
}

#[derive(Default)]
struct Signs {
    /// Something arrived since the last beat.
    heard: AtomicBool,
    /// Something was written since the last beat.
    said: AtomicBool,
    /// A write is under way.
    writing: AtomicBool,
    /// A beat is to be written.
    beat_due: AtomicBool,
}

/// The batch under way: kept apart from the task that writes it, so that an end in the middle leaves a record.
#[derive(Default)]
struct Outgoing {
    envelopes: Vec<Envelope>,
    batch: Batch,
}

impl Connection<'_> {
    /// Runs it until it ends or `replaced` does; returns why, and what is known never to have left.
    pub(super) async fn run(
        &self,
        established: Established,
        replaced: impl Future<Output = &'static str>,
    ) -> (Ending, Vec<Envelope>) {
        let Established {
            mut stream,
            decoder,
            buffer,
            peer,
            ..
        } = established;
        let (read, write) = stream.split();
        let signs = Signs::default();
        let mut outgoing = Outgoing::default();
        let ending = tokio::select! {
            ending = self.read(read, decoder, buffer, &peer, &signs) => ending,
            ending = self.write(write, &mut outgoing, &peer, &signs) => ending,
            ending = self.watch(&peer, &signs) => ending,
            why = replaced => Ending::Replaced(why),
        };
        let mut undelivered = outgoing.unwritten();
        undelivered.append(&mut self.queue.drain());
        (ending, undelivered)
    }

    async fn read(
        &self,
        mut stream: ReadHalf<'_>,
        mut decoder: Decoder,
        mut buffer: BytesMut,
        peer: &PeerInfo,
        signs: &Signs,
    ) -> Ending {
        let mut held = Held::default();
        let mut came = Vec::new();
        loop {
            let arrived = self.take_in(&mut decoder, &mut buffer, peer, &mut came, &mut held);
            if let Err(error) = arrived {
                return error.into();
            }
            decoder.room(&mut buffer);
            let read = match held.due() {
                None => stream.read_buf(&mut buffer).await,
                Some(due) => tokio::select! {
                    read = stream.read_buf(&mut buffer), if held.has_room() => read,
                    () = sleep_until(due) => {
                        held.release(|envelope| self.handler.message(peer, envelope));
                        continue;
                    }
                },
            };
            match read {
                Ok(0) => return Ending::Eof,
                Ok(_) if self.config.faults.is_deaf_to(&peer.name) => {}
                Ok(_) => signs.heard.store(true, Ordering::Relaxed),
                Err(error) => return error.into(),
            }
        }
    }

    /// Hands on what has wholly come, by way of `came`, which is empty before and after.
    fn take_in(
        &self,
        decoder: &mut Decoder,
        buffer: &mut BytesMut,
        peer: &PeerInfo,
        came: &mut Vec<Envelope>,
        held: &mut Held,
    ) -> Result<(), FrameError> {
        loop {
            let decoded = self.decode(decoder, buffer, peer, came);
            if !came.is_empty() {
                self.hand_on(peer, came, held);
            }
            if !decoded? {
                return Ok(());
            }
        }
    }

    /// Decodes some of what came; whether there may be more.
    fn decode(
        &self,
        decoder: &mut Decoder,
        buffer: &mut BytesMut,
        peer: &PeerInfo,
        came: &mut Vec<Envelope>,
    ) -> Result<bool, FrameError> {
        let is_cut = self.config.faults.is_deaf_to(&peer.name);
        while let Some(frame) = decoder.next(buffer)? {
            match frame.kind() {
                _ if is_cut => {}
                Kind::Beat => {}
                Kind::Message | Kind::Plain => {
                    let envelope = frame.into_message()?;
                    if !peer.may_say(&envelope.message) {
                        return Err(FrameError::NotAClients);
                    }
                    came.push(envelope);
                    if came.len() == TOGETHER {
                        return Ok(true);
                    }
                }
                Kind::Handshake => return Err(FrameError::OutOfPlace(Kind::Handshake)),
            }
        }
        Ok(false)
    }

    fn hand_on(&self, peer: &PeerInfo, came: &mut Vec<Envelope>, held: &mut Held) {
        match self.config.faults.delay(&peer.name) {
            None if held.is_empty() => self.handler.messages(peer, came),
            delay => {
                let due = Instant::now() + delay.unwrap_or_default();
                came.drain(..).for_each(|envelope| held.push(envelope, due));
            }
        }
    }

    async fn write(
        &self,
        mut stream: WriteHalf<'_>,
        outgoing: &mut Outgoing,
        peer: &PeerInfo,
        signs: &Signs,
    ) -> Ending {
        loop {
            outgoing.clear();
            let taken = self.queue.take(&mut outgoing.envelopes);
            if self.config.faults.drops(&peer.name) {
                outgoing.clear();
                if taken != Taken::Some {
                    self.queue.woken().await;
                }
                continue;
            }
            match taken {
                Taken::Some => {
                    let oversized = outgoing.encode();
                    self.report_refused(peer, oversized);
                }
                _ if signs.beat_due.swap(false, Ordering::Relaxed) => {
                    outgoing.batch.push_bare(Kind::Beat, &[]);
                }
                Taken::NotBefore(due) => {
                    tokio::select! {
                        () = sleep_until(due) => {}
                        () = self.queue.woken() => {}
                    }
                }
                Taken::Nothing => {
                    self.queue.woken().await;
                    // Whoever else is ready to send does so first, and who becomes so meanwhile: what they send leaves in the
                    // same write, which costs as much as the rest of a message's way.
                    yield_now().await;
                    yield_now().await;
                }
                Taken::Closed => {
                    // The other end closes when it has read all of it. Closing at once could cost it the last
                    // bytes: unread beats on our side would turn the close into a reset.
                    return match stream.shutdown().await {
                        Ok(()) => pending().await,
                        Err(error) => error.into(),
                    };
                }
            }
            signs.writing.store(true, Ordering::Relaxed);
            while !outgoing.batch.is_done() {
                let mut pieces = [IoSlice::new(&[]); PIECES];
                let filled = outgoing.batch.fill(&mut pieces);
                match stream.write_vectored(&pieces[..filled]).await {
                    Ok(0) => return io::Error::from(io::ErrorKind::WriteZero).into(),
                    Ok(bytes) => outgoing.batch.advance(bytes),
                    Err(error) => return error.into(),
                }
                signs.said.store(true, Ordering::Relaxed);
            }
            signs.writing.store(false, Ordering::Relaxed);
        }
    }

    /// Beats, listens for the other's, and reports what the queue turns away.
    async fn watch(&self, peer: &PeerInfo, signs: &Signs) -> Ending {
        let timings = &self.config.timings;
        let mut beat = interval_at(Instant::now() + timings.beat, timings.beat);
        // After a pause of this process the other end gets its time again.
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut silent = 0;
        let mut stuck = 0;
        loop {
            tokio::select! {
                _ = beat.tick() => {
                    silent = match signs.heard.swap(false, Ordering::Relaxed) {
                        true => 0,
                        false => silent + 1,
                    };
                    if silent >= timings.silent_beats {
                        return Ending::Silent(silent);
                    }
                    let said = signs.said.swap(false, Ordering::Relaxed);
                    stuck = match signs.writing.load(Ordering::Relaxed) && !said {
                        true => stuck + 1,
                        false => 0,
                    };
                    if stuck >= timings.stuck_beats {
                        return Ending::Stuck(stuck);
                    }
                    if !said {
                        signs.beat_due.store(true, Ordering::Relaxed);
                        self.queue.wake();
                    }
                }
                () = self.queue.overflowed() => {
                    self.report_refused(peer, self.queue.take_refused());
                }
            }
        }
    }

    fn report_refused(&self, peer: &PeerInfo, refused: Vec<Envelope>) {
        if !refused.is_empty() {
            self.handler.overloaded(&peer.name, refused);
        }
    }
}

impl Outgoing {
    fn clear(&mut self) {
        self.envelopes.clear();
        self.batch.clear();
    }

    /// Encodes the envelopes; takes out and returns those that break a bound.
    fn encode(&mut self) -> Vec<Envelope> {
        let batch = &mut self.batch;
        let refused = self.envelopes.extract_if(.., |envelope| {
            let pushed = batch.push(envelope);
            if let Err(error) = &pushed {
                tracing::error!(%error, "a message that cannot be sent");
            }
            pushed.is_err()
        });
        refused.collect()
    }

    /// The messages that did not leave to their last byte: nobody can have understood them.
    fn unwritten(&mut self) -> Vec<Envelope> {
        self.envelopes.split_off(self.batch.messages_written())
    }
}

/// Messages that arrived on a link that is slowed on purpose.
#[derive(Default)]
struct Held(VecDeque<(Instant, Envelope)>);

impl Held {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn has_room(&self) -> bool {
        self.0.len() < MAX_HELD
    }

    fn due(&self) -> Option<Instant> {
        self.0.front().map(|(due, _)| *due)
    }

    fn push(&mut self, envelope: Envelope, due: Instant) {
        let last = self.0.back().map(|(last, _)| *last);
        self.0
            .push_back((last.map_or(due, |last| last.max(due)), envelope));
    }

    fn release(&mut self, mut deliver: impl FnMut(Envelope)) {
        let now = Instant::now();
        while self.due().is_some_and(|due| due <= now) {
            if let Some((_, envelope)) = self.0.pop_front() {
                deliver(envelope);
            }
        }
    }
}
