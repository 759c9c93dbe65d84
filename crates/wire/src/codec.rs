//! This file answers: how does a message become bytes, and bytes a message?
//!
//! A frame is a fixed prefix, a header, a body. All integers are little-endian:
//!
//! ```text
//! 0   magic          4 bytes, "rkv" and 0x01
//! 4   layout         u8, 1: the version of this prefix, not of the messages
//! 5   kind           u8, see Kind
//! 6   flags          u16, 0
//! 8   header length  u32, at most MAX_HEADER
//! 12  body length    u32, at most MAX_BODY
//! 16  header crc32c  u32
//! 20  prefix crc32c  u32, of bytes 0 to 19: a length is believed only when this holds
//! 24  header         MessagePack with named maps, so that versions may differ by fields; of the messages
//!                    of which there are most a layout of their own: see `plain`
//! ..  body           raw, never through serde
//! ```
//!
//! The body has no checksum here: what is stored carries its own from its coordinator on, and TCP has one against
//! accidents. Bytes from outside never panic and never make us allocate by their own claim: room for a large frame
//! grows with what has come ([`Decoder::room`]). A frame that breaks a rule ends its connection.

use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::message::Envelope;
use crate::plain;

/// Longest header between nodes. A ring travels in one: 16,384 partitions of three owners come to 12.6 MB where the
/// nodes' names are as long as they may be.
pub const MAX_HEADER: usize = 16 * 1024 * 1024;
/// Longest header from a client, who only sends requests and pulls the ring.
pub const MAX_CLIENT_HEADER: usize = 1024 * 1024;
/// Longest body.
pub const MAX_BODY: usize = 64 * 1024 * 1024;
/// Bodies at least this long are handed to the socket as they are; a shorter one is cheaper copied beside its header.
pub const SPLICE_FROM: usize = 4096;
/// Bytes before the header.
pub const PREFIX: usize = 24;
/// How much room a read gets at least, where nothing says that more is coming.
const READ_ROOM: usize = 64 * 1024;
/// A read with less room than this would not be worth its system call.
const LEAST_ROOM: usize = 4 * 1024;
/// Scratch space beyond this is given back after the batch that needed it.
const KEPT_SCRATCH: usize = 1024 * 1024;

const MAGIC: [u8; 4] = *b"rkv\x01";
const LAYOUT: u8 = 1;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A step of the handshake.
    Handshake,
    /// A message.
    Message,
    /// Nothing but a sign of life.
    Beat,
    /// A message of one of the sorts of which there are most.
    Plain,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Kind::Handshake => 0,
            Kind::Message => 1,
            Kind::Beat => 2,
            Kind::Plain => 3,
        }
    }

    fn of(code: u8) -> Result<Kind, FrameError> {
        match code {
            0 => Ok(Kind::Handshake),
            1 => Ok(Kind::Message),
            2 => Ok(Kind::Beat),
            3 => Ok(Kind::Plain),
            other => Err(FrameError::Kind(other)),
        }
    }
}

/// Why bytes are no frame, or a frame no message. Ends the connection.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Something else than rkv speaks here.
    #[error("not the peer protocol of rkv")]
    Magic,
    /// A prefix from another time.
    #[error("frame layout {0}, only {LAYOUT} is known")]
    Layout(u8),
    /// A kind from another time.
    #[error("frame of unknown kind {0}")]
    Kind(u8),
    /// Flags from another time.
    #[error("frame with unknown flags {0:#06x}")]
    Flags(u16),
    /// A frame of a kind that has no place here.
    #[error("{0:?} frame out of place")]
    OutOfPlace(Kind),
    /// A header over its bound.
    #[error("header of {length} bytes, at most {bound} are taken")]
    HeaderTooLong {
        /// Claimed, or reached.
        length: usize,
        /// What is allowed here.
        bound: usize,
    },
    /// A body over its bound.
    #[error("body of {length} bytes, at most {bound} are taken")]
    BodyTooLong {
        /// Claimed, or reached.
        length: usize,
        /// What is allowed here.
        bound: usize,
    },
    /// Bytes changed on their way.
    #[error("frame damaged: checksum of its {0} does not hold")]
    Damaged(&'static str),
    /// A body behind a header that has none.
    #[error("body behind a message that has none")]
    StrayBody,
    /// Bytes behind the header's value.
    #[error("header longer than its value")]
    StrayHeader,
    /// A client that speaks as a node does.
    #[error("a client may send requests and pull the ring, nothing else")]
    NotAClients,
    /// A plain message in no layout that is known.
    #[error("not the header of a plain message")]
    Plain,
    /// The header is no value of its type (or of a later version's).
    #[error("header not understood: {0}")]
    Header(#[from] rmp_serde::decode::Error),
    /// The header cannot be written: our mistake.
    #[error("header cannot be written: {0}")]
    Unwritable(#[from] rmp_serde::encode::Error),
}

/// What one connection takes at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Header bytes.
    pub header: usize,
    /// Body bytes.
    pub body: usize,
}

impl Limits {
    /// What is taken from a node.
    pub const NODE: Limits = Limits {
        header: MAX_HEADER,
        body: MAX_BODY,
    };
    /// What is taken from a client.
    pub const CLIENT: Limits = Limits {
        header: MAX_CLIENT_HEADER,
        body: MAX_BODY,
    };
    /// What is taken from who has not proved to be either.
    pub const HANDSHAKE: Limits = Limits {
        header: 4096,
        body: 0,
    };
}

/// One whole frame, a slice of the receive buffer.
#[derive(Debug)]
pub struct Frame {
    kind: Kind,
    bytes: Bytes,
    header: usize,
}

impl Frame {
    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its header's bytes.
    pub fn header(&self) -> &[u8] {
        &self.bytes[..self.header]
    }

    /// Its message. Body and key go on sharing the receive buffer, so whoever keeps a small one for long copies it.
    #[inline]
    pub fn into_message(mut self) -> Result<Envelope, FrameError> {
        let header = self.bytes.split_to(self.header);
        let mut read = match self.kind {
            Kind::Message => read_header(&header),
            Kind::Plain => plain::read(&header).ok_or(FrameError::Plain),
            Kind::Handshake | Kind::Beat => Err(FrameError::OutOfPlace(self.kind)),
        };
        if let Ok(Envelope { message, .. }) = &mut read
            && !self.bytes.is_empty()
        {
            if message.body().is_none() {
                return Err(FrameError::StrayBody);
            }
            message.set_body(self.bytes);
        }
        read
    }
}

/// Reads one MessagePack value that fills `bytes`.
pub(crate) fn read_header<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FrameError> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(bytes);
    let value = T::deserialize(&mut reader)?;
    match IgnoredAny::deserialize(&mut reader) {
        Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Ok(value), // nothing follows
        _ => Err(FrameError::StrayHeader),
    }
}

/// The prefix of a frame whose rest has not come yet.
#[derive(Debug, Clone, Copy)]
struct Prefix {
    kind: Kind,
    header: usize,
    body: usize,
    header_crc: u32,
}

impl Prefix {
    fn read(bytes: &[u8; PREFIX], limits: Limits) -> Result<Prefix, FrameError> {
        let u32_at = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        if bytes[..4] != MAGIC {
            return Err(FrameError::Magic);
        }
        if bytes[4] != LAYOUT {
            return Err(FrameError::Layout(bytes[4]));
        }
        if crc32c::crc32c(&bytes[..20]) != u32_at(20) {
            return Err(FrameError::Damaged("prefix"));
        }
        let flags = u16::from_le_bytes([bytes[6], bytes[7]]);
        if flags != 0 {
            return Err(FrameError::Flags(flags));
        }
        let prefix = Prefix {
            kind: Kind::of(bytes[5])?,
            header: u32_at(8) as usize,
            body: u32_at(12) as usize,
            header_crc: u32_at(16),
        };
        check_lengths(prefix.header, prefix.body, limits)?;
        Ok(prefix)
    }

    fn write(&self) -> [u8; PREFIX] {
        // both lengths were checked against bounds far below 4 GiB
        let length = |bytes: usize| u32::try_from(bytes).expect("frame lengths are bounded");
        let mut bytes = [0; PREFIX];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = LAYOUT;
        bytes[5] = self.kind.code();
        bytes[8..12].copy_from_slice(&length(self.header).to_le_bytes());
        bytes[12..16].copy_from_slice(&length(self.body).to_le_bytes());
        bytes[16..20].copy_from_slice(&self.header_crc.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..20]);
        bytes[20..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn rest(&self) -> usize {
        self.header + self.body
    }
}

fn check_lengths(header: usize, body: usize, limits: Limits) -> Result<(), FrameError> {
    if header > limits.header {
        return Err(FrameError::HeaderTooLong {
            length: header,
            bound: limits.header,
        });
    }
    if body > limits.body {
        return Err(FrameError::BodyTooLong {
            length: body,
            bound: limits.body,
        });
    }
    Ok(())
}

/// Takes frames out of a receive buffer, as they become whole.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    pending: Option<Prefix>,
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new(limits: Limits) -> Decoder {
        Decoder {
            limits,
            pending: None,
        }
    }

    /// From the next frame on other limits hold: the handshake is done.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The next whole frame of `buffer`, if there is one. After an error the stream is lost.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let prefix = match self.pending {
            Some(prefix) => prefix,
            None => {
                let Some(bytes) = buffer.first_chunk::<PREFIX>() else {
                    // what never was a frame is told at its first bytes, not by a timeout
                    return match MAGIC.starts_with(&buffer[..buffer.len().min(4)]) {
                        true => Ok(None),
                        false => Err(FrameError::Magic),
                    };
                };
                let prefix = Prefix::read(bytes, self.limits)?;
                buffer.advance(PREFIX);
                self.pending = Some(prefix);
                prefix
            }
        };
        if buffer.len() < prefix.rest() {
            return Ok(None);
        }
        self.pending = None;
        let bytes = buffer.split_to(prefix.rest()).freeze();
        if crc32c::crc32c(&bytes[..prefix.header]) != prefix.header_crc {
            return Err(FrameError::Damaged("header"));
        }
        Ok(Some(Frame {
            kind: prefix.kind,
            bytes,
            header: prefix.header,
        }))
    }

    /// Makes room in `buffer` for the next read: for the rest of a frame that has begun, yet never more than as
    /// much again as has already come, so that a claim alone costs its sender as much as us.
    pub fn room(&self, buffer: &mut BytesMut) {
        let missing = self
            .pending
            .map_or(0, |prefix| prefix.rest().saturating_sub(buffer.len()));
        let wanted = missing.min(buffer.len().max(READ_ROOM));
        let spare = buffer.capacity() - buffer.len();
        if spare < wanted.max(LEAST_ROOM) {
            buffer.reserve(wanted.max(READ_ROOM));
        }
    }
}

/// Frames on their way out, to be written together: prefixes, headers and small bodies back to back in one scratch
/// buffer, large bodies beside it. It is used again for the next batch, so a message costs no allocation here.
#[derive(Debug, Default)]
pub struct Batch {
    scratch: Vec<u8>,
    /// Large bodies, each with the place in `scratch` before which it goes.
    spliced: Vec<(usize, Bytes)>,
    /// Length of the whole batch up to the end of each message pushed.
    ends: Vec<usize>,
    length: usize,
    written: usize,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Adds a message. On an error the batch is as before.
    pub fn push(&mut self, envelope: &Envelope) -> Result<(), FrameError> {
        let body = envelope.message.body();
        let length = body.map_or(0, Bytes::len);
        let before = self.scratch.len();
        self.scratch.resize(before + PREFIX, 0);
        let written = match plain::write(envelope, &mut self.scratch) {
            true => Ok(Kind::Plain),
            false => rmp_serde::encode::write_named(&mut self.scratch, envelope)
                .map(|()| Kind::Message)
                .map_err(FrameError::from),
        };
        let header = self.scratch.len() - before - PREFIX;
        let checked = written.and_then(|kind| {
            check_lengths(header, length, Limits::NODE)?;
            Ok(kind)
        });
        let kind = match checked {
            Ok(kind) => kind,
            Err(error) => {
                self.scratch.truncate(before);
                return Err(error);
            }
        };
        self.seal(before, kind, header, length);
        match body {
            Some(body) if length >= SPLICE_FROM => {
                self.spliced.push((self.scratch.len(), body.clone()));
            }
            Some(body) => self.scratch.extend_from_slice(body),
            None => {}
        }
        self.length += PREFIX + header + length;
        self.ends.push(self.length);
        Ok(())
    }

    /// Adds a frame that is all header: a step of the handshake, or (with an empty one) a beat.
    pub fn push_bare(&mut self, kind: Kind, header: &[u8]) {
        let before = self.scratch.len();
        self.scratch.resize(before + PREFIX, 0);
        self.scratch.extend_from_slice(header);
        self.seal(before, kind, header.len(), 0);
        self.length += PREFIX + header.len();
    }

    fn seal(&mut self, at: usize, kind: Kind, header: usize, body: usize) {
        let prefix = Prefix {
            kind,
            header,
            body,
            header_crc: crc32c::crc32c(&self.scratch[at + PREFIX..]),
        };
        self.scratch[at..at + PREFIX].copy_from_slice(&prefix.write());
    }

    /// Bytes in the batch, written or not.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing was pushed.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Whether all of it is written.
    pub fn is_done(&self) -> bool {
        self.written == self.length
    }

    /// What is still to be written, as far as `slices` has room; returns how many it filled.
    pub fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut skip = self.written;
        let mut filled = 0;
        let mut put = |piece: &'a [u8]| {
            if skip >= piece.len() {
                skip -= piece.len();
            } else if let Some(slice) = slices.get_mut(filled) {
                *slice = IoSlice::new(&piece[skip..]);
                skip = 0;
                filled += 1;
            }
        };
        let mut from = 0;
        for (at, body) in &self.spliced {
            put(&self.scratch[from..*at]);
            put(body);
            from = *at;
        }
        put(&self.scratch[from..]);
        filled
    }

    /// `bytes` more were written.
    pub fn advance(&mut self, bytes: usize) {
        self.written += bytes;
        assert!(self.written <= self.length, "more was written than given");
    }

    /// How many of the messages, in the order of their pushes, are written to their last byte. One that is not
    /// cannot have been understood by anybody.
    pub fn messages_written(&self) -> usize {
        self.ends.partition_point(|&end| end <= self.written)
    }

    /// Copies all of it behind what `buffer` holds.
    pub fn copy_to(&self, buffer: &mut BytesMut) {
        let mut from = 0;
        for (at, body) in &self.spliced {
            buffer.extend_from_slice(&self.scratch[from..*at]);
            buffer.extend_from_slice(body);
            from = *at;
        }
        buffer.extend_from_slice(&self.scratch[from..]);
    }

    /// Ready for the next batch; lets the bodies go.
    pub fn clear(&mut self) {
        self.scratch.clear();
        self.scratch.shrink_to(KEPT_SCRATCH);
        self.spliced.clear();
        self.ends.clear();
        self.length = 0;
        self.written = 0;
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    use super::*;
    use crate::message::{Answer, Message, RequestId};

    fn answer(id: u64, body: Bytes) -> Envelope {
        Envelope {
            clock: id << 20,
            message: Message::Answer {
                id: RequestId(id),
                answer: Answer::Found,
                body,
            },
        }
    }

    fn bodiless(id: u64) -> Envelope {
        Envelope {
            clock: id,
            message: Message::AskHints { id: RequestId(id) },
        }
    }

    fn encoded(envelopes: &[Envelope]) -> BytesMut {
        let mut batch = Batch::new();
        for envelope in envelopes {
            batch.push(envelope).unwrap();
        }
        let mut bytes = BytesMut::new();
        batch.copy_to(&mut bytes);
        assert_eq!(bytes.len(), batch.len());
        bytes
    }

    fn decode_all(buffer: &mut BytesMut) -> Result<Vec<Envelope>, FrameError> {
        let mut decoder = Decoder::new(Limits::NODE);
        let mut all = Vec::new();
        while let Some(frame) = decoder.next(buffer)? {
            if matches!(frame.kind(), Kind::Message | Kind::Plain) {
                all.push(frame.into_message()?);
            }
        }
        Ok(all)
    }

    fn sample() -> Vec<Envelope> {
        let lengths = [0, 1, 100, SPLICE_FROM - 1, SPLICE_FROM, 100_000];
        let mut all: Vec<Envelope> = (1..)
            .zip(lengths)
            .map(|(id, length)| answer(id, Bytes::from(vec![id as u8; length])))
            .collect();
        all.push(bodiless(99));
        all
    }

    /// A prefix that says what it likes, with checksums that hold.
    fn forged(kind: u8, header: u32, body: u32) -> BytesMut {
        let mut bytes = [0; PREFIX];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = LAYOUT;
        bytes[5] = kind;
        bytes[8..12].copy_from_slice(&header.to_le_bytes());
        bytes[12..16].copy_from_slice(&body.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..20]);
        bytes[20..].copy_from_slice(&crc.to_le_bytes());
        BytesMut::from(&bytes[..])
    }

    /// Lost without it: messages that change on their way.
    #[test]
    fn messages_come_out_as_they_went_in() {
        let sent = sample();
        assert_eq!(decode_all(&mut encoded(&sent)).unwrap(), sent);
    }

    /// Lost without it: messages that break when the network cuts them where it likes.
    #[test]
    fn messages_survive_any_cut_of_the_stream() {
        let sent = sample();
        let stream = encoded(&sent);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..50 {
            let mut decoder = Decoder::new(Limits::NODE);
            let mut buffer = BytesMut::new();
            let mut received = Vec::new();
            let mut rest = &stream[..];
            while !rest.is_empty() {
                let most = if rng.next_u32() % 2 == 0 { 40 } else { 30_000 };
                let cut = (1 + rng.next_u32() as usize % most).min(rest.len());
                decoder.room(&mut buffer);
                buffer.extend_from_slice(&rest[..cut]);
                rest = &rest[cut..];
                while let Some(frame) = decoder.next(&mut buffer).unwrap() {
                    received.push(frame.into_message().unwrap());
                }
            }
            assert_eq!(received, sent);
        }
    }

    /// Lost without it: bytes sent twice or skipped after a write that took only a part, and messages reported as
    /// never sent that were.
    #[test]
    fn partial_writes_lose_and_repeat_nothing() {
        let sent = sample();
        let whole = encoded(&sent);
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for pieces in [1, 2, 64] {
            let mut batch = Batch::new();
            for envelope in &sent {
                batch.push(envelope).unwrap();
            }
            let mut written = BytesMut::new();
            while !batch.is_done() {
                let mut slices = vec![IoSlice::new(&[]); pieces];
                let filled = batch.fill(&mut slices);
                let offered: Vec<u8> = slices[..filled].iter().flat_map(|s| s.to_vec()).collect();
                let take = 1 + rng.next_u32() as usize % offered.len();
                written.extend_from_slice(&offered[..take]);
                batch.advance(take);
                let understood = decode_all(&mut written.clone()).unwrap();
                assert_eq!(understood, sent[..batch.messages_written()]);
            }
            assert_eq!(written, whole);
            assert_eq!(batch.messages_written(), sent.len());
        }
    }

    /// Lost without it: copies of large bodies on the way out and in.
    #[test]
    fn large_bodies_are_not_copied() {
        let body = Bytes::from(vec![7; SPLICE_FROM]);
        let mut batch = Batch::new();
        batch.push(&answer(1, body.clone())).unwrap();
        let mut slices = [IoSlice::new(&[]); 4];
        assert_eq!(batch.fill(&mut slices), 2);
        assert_eq!(slices[1].as_ptr(), body.as_ptr());

        let mut buffer = encoded(&[answer(1, body)]);
        let range = buffer.as_ptr_range();
        let received = decode_all(&mut buffer).unwrap();
        assert!(range.contains(&received[0].message.body().unwrap().as_ptr()));
    }

    /// Lost without it: a node that a stranger's bytes bring down.
    #[test]
    fn damaged_and_random_bytes_never_panic() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let good = encoded(&sample()[..3]);
        for _ in 0..20_000 {
            let mut bytes = good.clone();
            for _ in 0..1 + rng.next_u32() % 4 {
                let at = rng.next_u32() as usize % bytes.len();
                bytes[at] = rng.next_u32() as u8;
            }
            let _ = decode_all(&mut bytes);

            // random header bytes behind a prefix that holds
            let mut header = vec![0; rng.next_u32() as usize % 64];
            rng.fill_bytes(&mut header);
            let mut batch = Batch::new();
            batch.push_bare(Kind::Message, &header);
            let mut bytes = BytesMut::new();
            batch.copy_to(&mut bytes);
            let _ = decode_all(&mut bytes);
        }
        let mut noise = vec![0; 4096];
        rng.fill_bytes(&mut noise);
        assert!(matches!(
            decode_all(&mut BytesMut::from(&noise[..])),
            Err(FrameError::Magic)
        ));
    }

    /// Lost without it: changed bytes that are taken for what was sent.
    #[test]
    fn every_changed_byte_before_the_body_is_noticed() {
        let sent = [answer(5, Bytes::from_static(b"body"))];
        let good = encoded(&sent);
        for at in 0..good.len() - 4 {
            let mut bytes = good.clone();
            bytes[at] ^= 0x10;
            assert!(decode_all(&mut bytes).is_err(), "byte {at}");
        }
    }

    /// Lost without it: memory taken because a stranger claims that much will come.
    #[test]
    fn claims_are_bounded_and_cost_nothing() {
        let next = |mut bytes: BytesMut, limits| Decoder::new(limits).next(&mut bytes);
        assert!(matches!(
            next(forged(1, MAX_HEADER as u32 + 1, 0), Limits::NODE),
            Err(FrameError::HeaderTooLong { .. })
        ));
        assert!(matches!(
            next(forged(1, 0, u32::MAX), Limits::NODE),
            Err(FrameError::BodyTooLong { .. })
        ));
        assert!(matches!(
            next(forged(0, 10, 1), Limits::HANDSHAKE),
            Err(FrameError::BodyTooLong { .. })
        ));
        assert!(matches!(
            next(forged(7, 0, 0), Limits::NODE),
            Err(FrameError::Kind(7))
        ));
        assert!(matches!(
            next(BytesMut::from("GET /"), Limits::NODE),
            Err(FrameError::Magic)
        ));

        let mut decoder = Decoder::new(Limits::NODE);
        let mut buffer = forged(1, 100, MAX_BODY as u32);
        assert!(decoder.next(&mut buffer).unwrap().is_none());
        decoder.room(&mut buffer);
        assert!(buffer.capacity() <= 2 * READ_ROOM);
    }

    /// Lost without it: a body that silently goes nowhere, or bytes hidden behind a header.
    #[test]
    fn nothing_is_left_over() {
        let header = rmp_serde::to_vec_named(&bodiless(1)).unwrap();
        let frame = |header: &[u8], body: &[u8]| Frame {
            kind: Kind::Message,
            header: header.len(),
            bytes: Bytes::from([header, body].concat()),
        };
        assert!(frame(&header, b"").into_message().is_ok());
        assert!(matches!(
            frame(&header, b"stray").into_message(),
            Err(FrameError::StrayBody)
        ));
        for stray in [&[0x00][..], &[0xc1], &[0xd9], &[0xff, 0xff]] {
            let header = [&header[..], stray].concat();
            assert!(matches!(
                frame(&header, b"").into_message(),
                Err(FrameError::StrayHeader)
            ));
        }
    }

    /// Lost without it: one message over a bound that takes those beside it along.
    #[test]
    fn what_breaks_a_bound_is_refused_alone() {
        let mut batch = Batch::new();
        batch.push(&bodiless(1)).unwrap();
        let before = batch.len();
        let error = batch.push(&answer(2, Bytes::from(vec![0; MAX_BODY + 1])));
        assert!(matches!(error, Err(FrameError::BodyTooLong { .. })));
        assert_eq!(batch.len(), before);
        batch.push(&bodiless(3)).unwrap();
        let mut bytes = BytesMut::new();
        batch.copy_to(&mut bytes);
        assert_eq!(decode_all(&mut bytes).unwrap(), [bodiless(1), bodiless(3)]);
    }
}
