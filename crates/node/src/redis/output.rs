//! This file answers: which bytes are on their way to a client?
//!
//! Small replies are written one behind the other and leave together; a large value is not copied but sent from where
//! it lies.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};
use rkv_resp::reply::write_length;
use rkv_resp::{Protocol, Reply};

/// From this size on a value is sent from where it lies: below, a copy is cheaper than a slice of its own.
const UNCOPIED_BYTES: usize = 16 << 10;
/// An empty buffer above this size is given back.
const KEPT_BYTES: usize = 64 << 10;
/// How many slices one system call takes.
pub(super) const SLICES: usize = 32;

/// What one connection has still to send.
#[derive(Debug, Default)]
pub(super) struct Output {
    /// In front of `tail`.
    parts: VecDeque<Bytes>,
    tail: BytesMut,
    len: usize,
}

impl Output {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes to send.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Appends a reply.
    pub(super) fn push(&mut self, reply: &Reply, protocol: Protocol) {
        let before = self.tail.len();
        match reply {
            Reply::Bulk(body) if body.len() >= UNCOPIED_BYTES => {
                write_length(b'$', body.len(), &mut self.tail);
                self.len += self.tail.len() - before + body.len() + 2;
                self.parts.push_back(self.tail.split().freeze());
                self.parts.push_back(body.clone());
                self.tail.extend_from_slice(b"\r\n");
            }
            Reply::Written(bytes) if bytes.len() >= UNCOPIED_BYTES => {
                self.len += bytes.len();
                self.parts.push_back(self.tail.split().freeze());
                self.parts.push_back(bytes.clone());
            }
            reply => {
                reply.write(protocol, &mut self.tail);
                self.len += self.tail.len() - before;
            }
        }
    }

    /// The front of what is to be sent; returns how many slices there are.
    pub(super) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES]) -> usize {
        let tail: &[u8] = &self.tail;
        let all = self.parts.iter().map(|part| &part[..]).chain([tail]);
        let mut count = 0;
        for (slice, part) in slices.iter_mut().zip(all.filter(|part| !part.is_empty())) {
            *slice = IoSlice::new(part);
            count += 1;
        }
        count
    }

    /// So many bytes were sent.
    pub(super) fn sent(&mut self, mut bytes: usize) {
        self.len -= bytes;
        while let Some(part) = self.parts.front_mut() {
            if part.len() > bytes {
                part.advance(bytes);
                return;
            }
            bytes -= part.len();
            self.parts.pop_front();
        }
        self.tail.advance(bytes);
        if self.tail.is_empty() {
            if self.tail.capacity() > KEPT_BYTES {
                self.tail = BytesMut::new();
            } else {
                self.tail.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_in_pieces_is_what_was_written() {
        // Lost without it: a value larger than the socket's buffer would arrive damaged.
        let large = Bytes::from(vec![b'x'; UNCOPIED_BYTES + 7]);
        let replies = [
            Reply::OK,
            Reply::Bulk(large.clone()),
            Reply::Bulk(large),
            Reply::bulk("small"),
            Reply::Null,
        ];
        for step in [1, 7, 4096, usize::MAX] {
            let (mut output, mut expected) = (Output::default(), BytesMut::new());
            for reply in &replies {
                output.push(reply, Protocol::Resp2);
                reply.write(Protocol::Resp2, &mut expected);
            }
            assert_eq!(output.len(), expected.len());
            let mut got = Vec::new();
            while !output.is_empty() {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let count = output.slices(&mut slices);
                let front: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).collect();
                let sent = front.len().min(step);
                got.extend_from_slice(&front[..sent]);
                output.sent(sent);
            }
            assert!(got == expected, "in steps of {step}");
        }
    }
}
