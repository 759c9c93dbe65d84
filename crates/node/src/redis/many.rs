//! This file answers: what does a request of several keys do with each, and in which order do they begin?
//!
//! Each key is asked for or written by itself, with its own quorum: nothing of it is atomic. Keys begin as others end,
//! and what came of them is gathered in the request's slot ([`super::slots`]).

use bytes::Bytes;
use rkv_kv::Write;
use rkv_resp::Args;

use super::operation::{Ask, Operation};

/// What a request of several keys does with each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Each {
    /// EXISTS, TOUCH
    Exists,
    /// DEL, UNLINK
    Delete,
    /// MGET
    Get,
    /// MSET: key and value in turn.
    Set,
}

/// A request of several keys some of which have not begun.
pub(super) struct Spread {
    pub(super) slot: u64,
    each: Each,
    /// The next one's place among them.
    part: u32,
    rest: smallvec::IntoIter<[Bytes; 5]>,
}

impl Spread {
    pub(super) fn new(slot: u64, each: Each, args: Args) -> Spread {
        Spread {
            slot,
            each,
            part: 0,
            rest: args.into_iter(),
        }
    }

    /// The next key's operation, and its place.
    pub(super) fn next(&mut self) -> Option<(u32, Operation)> {
        let key = self.rest.next()?;
        let ask = match self.each {
            Each::Exists => Ask::Exists,
            Each::Delete => Ask::Delete,
            Each::Get => Ask::GetPart,
            Each::Set => Ask::SetPart(Write::Value {
                body: self.rest.next()?,
                at_ms: None,
            }),
        };
        let part = self.part;
        self.part += 1;
        Some((part, Operation { key, ask }))
    }
}
