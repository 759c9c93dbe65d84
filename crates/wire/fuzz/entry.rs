//! This file answers: what is done with bytes that a fuzzer made up?
//!
//! One function a target, shared by the targets (`fuzz_targets`) and by the test that replays their corpora
//! (`tests/corpus.rs`). Each says what must hold whatever the bytes are; a panic is a finding.
//!
//! Checksums are set right here wherever a fuzzer could not guess them: whoever attacks can compute them.

use bytes::{Buf, Bytes, BytesMut};
use rkv_ring::Incarnation;
use rkv_ring::cluster::Body;
use rkv_ring::slot::SLOTS;
use rkv_wire::codec::{Batch, Decoder, Limits, PREFIX};
use rkv_wire::handshake::{Handshake, Identity, Purpose, Remote, Role, Secrets, Step};
use rkv_wire::items::{ItemsWriter, read_items};
use rkv_wire::{Envelope, Message};

/// In the length of a message's header: it is a plain one.
pub(crate) const IS_PLAIN: u16 = 1 << 15;

/// A connection's bytes: the first picks its limits and whether the checksums are mended, the second how the bytes
/// are cut into reads.
pub(crate) fn frames(data: &[u8]) {
    let [options, piece, stream @ ..] = data else {
        return;
    };
    let limits = match options % 3 {
        0 => Limits::HANDSHAKE,
        1 => Limits::CLIENT,
        _ => Limits::NODE,
    };
    let mut stream = stream.to_vec();
    if options & 0x80 != 0 {
        mend(&mut stream);
    }
    let whole = decoded(&stream, stream.len(), limits);
    assert_eq!(
        whole,
        decoded(&stream, usize::from(*piece), limits),
        "the cuts matter"
    );
}

/// Sets the magic, the lengths' upper bytes and both checksums of one frame behind another.
fn mend(stream: &mut [u8]) {
    let mut rest = stream;
    while rest.len() >= PREFIX {
        rest[..5].copy_from_slice(b"rkv\x01\x01");
        rest[6..8].fill(0);
        let length = |at: usize| usize::from(rest[at]) | usize::from(rest[at + 1]) << 8;
        let (header, body) = (length(8), length(12));
        if let Some(bytes) = rest.get(PREFIX..PREFIX + header) {
            let crc = crc32c::crc32c(bytes);
            rest[16..20].copy_from_slice(&crc.to_le_bytes());
        }
        let crc = crc32c::crc32c(&rest[..20]);
        rest[20..PREFIX].copy_from_slice(&crc.to_le_bytes());
        let end = (PREFIX + header + body).min(rest.len());
        rest = &mut rest[end..];
    }
}

/// What became of the stream: each frame, then why it ended.
fn decoded(stream: &[u8], piece: usize, limits: Limits) -> Vec<String> {
    let mut decoder = Decoder::new(limits);
    let mut buffer = BytesMut::new();
    let mut all = Vec::new();
    for piece in stream.chunks(piece.max(1)) {
        decoder.room(&mut buffer);
        let room = buffer.capacity();
        // a claim buys no more than as much again as has come, and a read's worth
        assert!(
            room <= 2 * stream.len() + (256 << 10),
            "{room} bytes of room for a claim"
        );
        buffer.extend_from_slice(piece);
        loop {
            match decoder.next(&mut buffer) {
                Ok(Some(frame)) => {
                    assert!(
                        frame.header().len() <= limits.header,
                        "a header beyond its limit"
                    );
                    let kind = frame.kind();
                    let content = frame.into_message();
                    all.push(match content {
                        Ok(envelope) => format!("{kind:?} {}", carried_out(envelope)),
                        Err(error) => format!("{kind:?} {error}"),
                    });
                }
                Ok(None) => break,
                Err(error) => {
                    all.push(error.to_string());
                    return all;
                }
            }
        }
    }
    all
}

/// One message: how long its header is (two bytes, the highest bit for a plain one), the header, the body.
pub(crate) fn messages(mut data: &[u8]) {
    if data.len() < 2 {
        return;
    }
    let says = data.get_u16_le();
    let header = usize::from(says & !IS_PLAIN).min(data.len());
    let (header, body) = data.split_at(header);
    let mut stream = vec![0; PREFIX];
    stream[8..12].copy_from_slice(&(header.len() as u32).to_le_bytes());
    stream[12..16].copy_from_slice(&(body.len() as u32).to_le_bytes());
    stream[5] = if says & IS_PLAIN == 0 { 1 } else { 3 };
    stream.extend_from_slice(header);
    stream.extend_from_slice(body);
    mend(&mut stream);
    let once = decoded(&stream, stream.len(), Limits::NODE);
    assert_eq!(once.len(), 1, "a whole frame is a message or an error");
}

/// What every receiver does with a message before it looks at what was said; and it can be passed on unchanged.
fn carried_out(envelope: Envelope) -> String {
    if let Message::Command { slot, .. } = &envelope.message {
        assert!(slot.0 < SLOTS, "a slot that no partition has");
    }
    if let Message::Cluster(message) = &envelope.message {
        let ring = match &message.body {
            Body::RingIs(ring) | Body::Accept { ring, .. } | Body::JoinerStore(ring) => Some(ring),
            Body::Promise { accepted, .. } => accepted.as_ref().map(|(_, ring)| ring),
            _ => None,
        };
        if let Some(Ok(ring)) = ring.map(|ring| ring.open()) {
            let again =
                rkv_ring::Ring::decode(&ring.encode()).expect("what was read can be written");
            assert_eq!(again.digest(), ring.digest(), "a ring changed");
            for partition in ring.partitions.partitions() {
                assert!(
                    !ring.row(partition).is_empty(),
                    "a partition without owners"
                );
            }
        }
    }
    let body = envelope.message.body().cloned().unwrap_or_default();
    if let Ok(items) = read_items(body.clone()) {
        let mut writer = ItemsWriter::new();
        items
            .iter()
            .for_each(|(key, value)| writer.push(key, value));
        assert_eq!(writer.finish(), body, "items changed");
    }
    let written = encoded(&envelope);
    let mut decoder = Decoder::new(Limits::NODE);
    let frame = decoder
        .next(&mut written.clone())
        .expect("a frame")
        .expect("a whole one");
    let again: Envelope = frame
        .into_message()
        .expect("what was read can be written and read");
    assert_eq!(encoded(&again), written, "a message changed");
    format!("{envelope:?}")
}

fn encoded(envelope: &Envelope) -> BytesMut {
    let mut batch = Batch::new();
    batch.push(envelope).expect("within its limits");
    let mut bytes = BytesMut::new();
    batch.copy_to(&mut bytes);
    bytes
}

/// Two ends, and somebody between them who does not have the secret.
///
/// The first byte picks roles and secrets. Then, for each step: whether it passes as it is (0), is changed (1: place,
/// mask), is repeated from before (2: which), or is made up (others: length, bytes).
pub(crate) fn handshake(data: &[u8]) {
    let [options, script @ ..] = data else {
        return;
    };
    let mut script = Bytes::copy_from_slice(script);
    let role = if options & 1 == 0 {
        Role::Peer
    } else {
        Role::Client
    };
    let secrets = Secrets::new(Some("of the peers"), Some("of the clients"));
    let others = if options & 2 == 0 {
        secrets.clone()
    } else {
        Secrets::new(Some("a"), Some("b"))
    };
    let purpose = [Purpose::Requests, Purpose::Bulk, Purpose::Probe][usize::from(options >> 2) % 3];
    let mut acceptor = Handshake::accept(
        identity("acceptor", Role::Peer),
        secrets,
        [2; 32],
        Remote::Elsewhere,
    );
    let dialled = Handshake::dial(
        identity("dialler", role),
        others,
        purpose,
        [1; 32],
        Remote::Elsewhere,
    );
    let Ok((mut dialler, hello)) = dialled else {
        return;
    };
    let mut said = vec![hello];
    let mut all_true = true;
    for turn in 0..6 {
        let (message, is_true) = between(&mut script, &said);
        all_true &= is_true;
        let end = if turn % 2 == 0 {
            &mut acceptor
        } else {
            &mut dialler
        };
        match end.step(&message) {
            Step::Send(message) => said.push(message),
            Step::Done {
                send,
                peer,
                purpose: understood,
            } => {
                assert!(options & 2 == 0, "a peer that does not have the secret");
                // the proof is over both openings, so nobody has changed what was understood
                let expected = if turn % 2 == 0 {
                    ("dialler", role)
                } else {
                    ("acceptor", Role::Peer)
                };
                assert_eq!(
                    (peer.name.as_str(), peer.role),
                    expected,
                    "a peer under another name"
                );
                assert_eq!(understood, purpose, "another purpose than was dialled for");
                match send {
                    Some(message) => said.push(message),
                    None => return,
                }
            }
            Step::Failed { .. } => {
                assert!(
                    !all_true || options & 2 != 0,
                    "two ends that hold the same secret were kept apart"
                );
                return;
            }
        }
    }
}

/// The next step as it arrives, and whether that is as it was sent.
fn between(script: &mut Bytes, said: &[Vec<u8>]) -> (Vec<u8>, bool) {
    let mut message = said.last().cloned().unwrap_or_default();
    let mut byte = || {
        if script.is_empty() {
            0
        } else {
            script.get_u8()
        }
    };
    match byte() {
        0 => (message, true),
        1 => {
            let (place, mask) = (usize::from(byte()), byte());
            let place = place % message.len().max(1);
            if let Some(changed) = message.get_mut(place) {
                *changed ^= mask;
            }
            (message, mask == 0)
        }
        2 => {
            let which = usize::from(byte()) % said.len();
            (said[which].clone(), which + 1 == said.len())
        }
        _ => {
            let length = usize::from(byte()).min(script.len());
            (script.split_to(length).to_vec(), false)
        }
    }
}

fn identity(name: &str, role: Role) -> Identity {
    Identity {
        name: name.into(),
        incarnation: Incarnation(7),
        boot: 3,
        role,
        address: "127.0.0.1:8199".into(),
        cluster: "rkv".into(),
        protocol: (1, 1),
    }
}
