//! This file answers: in which order do replies go out?
//!
//! In that of the requests, whenever their answers come. A request has a slot from its beginning until its reply leaves;
//! one of several keys gathers their counts there.

use std::collections::VecDeque;

use rkv_kv::KvError;
use rkv_resp::{Protocol, Reply};

/// How a reply is sent: as the connection had agreed when its request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Manner {
    /// In which protocol.
    pub(super) protocol: Protocol,
    /// Not at all: CLIENT REPLY.
    pub(super) is_silent: bool,
}

/// The replies of one connection that have not left yet.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// The number of the first.
    first: u64,
    slots: VecDeque<(Manner, Slot)>,
    /// What the replies that are there weigh.
    bytes: usize,
}

#[derive(Debug)]
enum Slot {
    Waiting,
    Counting(Count),
    Ready(Reply),
}

/// Keys that one request counts.
#[derive(Debug)]
struct Count {
    keys: usize,
    left: usize,
    counted: i64,
    failed: usize,
    error: Option<KvError>,
}

impl Slots {
    /// How many requests have no reply that left.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// What is held back behind replies that are still missing.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A request whose reply comes later, by [`Slots::reply`]; returns its number.
    pub(super) fn open(&mut self, manner: Manner) -> u64 {
        self.push(manner, Slot::Waiting)
    }

    /// A request that counts so many keys, one at least, each by [`Slots::count`]; returns its number.
    pub(super) fn open_count(&mut self, manner: Manner, keys: usize) -> u64 {
        let count = Count {
            keys,
            left: keys,
            counted: 0,
            failed: 0,
            error: None,
        };
        self.push(manner, Slot::Counting(count))
    }

    /// A request whose reply is there.
    pub(super) fn ready(&mut self, manner: Manner, reply: Reply) {
        self.bytes += weight(&reply);
        self.push(manner, Slot::Ready(reply));
    }

    /// The reply of the request `number`.
    pub(super) fn reply(&mut self, number: u64, reply: Reply) {
        if let Some(slot @ Slot::Waiting) = self.slot(number) {
            let bytes = weight(&reply);
            *slot = Slot::Ready(reply);
            self.bytes += bytes;
        }
    }

    /// One more key of the request `number`: whether it counts.
    pub(super) fn count(&mut self, number: u64, counts: Result<bool, KvError>) {
        let Some(slot) = self.slot(number) else {
            return;
        };
        let Slot::Counting(count) = slot else {
            return;
        };
        count.left -= 1;
        match counts {
            Ok(counts) => count.counted += i64::from(counts),
            Err(error) => {
                count.failed += 1;
                let is_worse = error.was_maybe_applied();
                if count.error.is_none() || is_worse {
                    count.error = Some(error);
                }
            }
        }
        if count.left == 0 {
            let reply = count.reply();
            let bytes = weight(&reply);
            *slot = Slot::Ready(reply);
            self.bytes += bytes;
        }
    }

    /// The next reply, if it is there.
    pub(super) fn pop_ready(&mut self) -> Option<(Manner, Reply)> {
        let Some((_, Slot::Ready(_))) = self.slots.front() else {
            return None;
        };
        let (manner, Slot::Ready(reply)) = self.slots.pop_front()? else {
            return None;
        };
        self.first += 1;
        self.bytes -= weight(&reply);
        Some((manner, reply))
    }

    fn push(&mut self, manner: Manner, slot: Slot) -> u64 {
        self.slots.push_back((manner, slot));
        self.first + self.slots.len() as u64 - 1
    }

    fn slot(&mut self, number: u64) -> Option<&mut Slot> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.slots.get_mut(at).map(|(_, slot)| slot)
    }
}

impl Count {
    /// The count; or the worst error, and how many keys met none.
    fn reply(&mut self) -> Reply {
        match self.error.take() {
            None => Reply::Integer(self.counted),
            Some(error) if self.keys == 1 => Reply::error(error.redis_text()),
            Some(error) => Reply::error(format!(
                "{} ({} of {} keys failed)",
                error.redis_text(),
                self.failed,
                self.keys
            )),
        }
    }
}

/// About how many bytes a reply holds.
fn weight(reply: &Reply) -> usize {
    const EACH: usize = 64;
    match reply {
        Reply::Bulk(bytes) | Reply::Verbatim(bytes) | Reply::Written(bytes) => EACH + bytes.len(),
        Reply::Array(items) | Reply::Set(items) => EACH + items.iter().map(weight).sum::<usize>(),
        Reply::Map(pairs) => {
            let pair = |(key, value): &(Reply, Reply)| weight(key) + weight(value);
            EACH + pairs.iter().map(pair).sum::<usize>()
        }
        _ => EACH,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Manner = Manner {
        protocol: Protocol::Resp2,
        is_silent: false,
    };

    fn left(slots: &mut Slots) -> Vec<Reply> {
        std::iter::from_fn(|| slots.pop_ready())
            .map(|(_, reply)| reply)
            .collect()
    }

    #[test]
    fn replies_leave_in_the_order_of_requests() {
        // Lost without it: a client would take the answer to one request for that to another.
        let mut slots = Slots::default();
        let a = slots.open(PLAIN);
        slots.ready(PLAIN, Reply::PONG);
        let b = slots.open(PLAIN);
        slots.reply(b, Reply::Integer(2));
        assert_eq!(left(&mut slots), []);
        assert!(slots.bytes() > 0, "what is held back is counted");
        slots.reply(a, Reply::OK);
        let expected = [Reply::OK, Reply::PONG, Reply::Integer(2)];
        assert_eq!(left(&mut slots), expected);
        assert_eq!((slots.len(), slots.bytes()), (0, 0));
        let c = slots.open(PLAIN);
        slots.reply(a, Reply::Integer(9));
        assert_eq!(left(&mut slots), [], "a late answer to a request of before");
        slots.reply(c, Reply::Null);
        assert_eq!(left(&mut slots), [Reply::Null]);
    }

    #[test]
    fn keys_are_counted_and_the_worst_error_is_told() {
        // Lost without it: DEL of two keys, one of which may or may not be gone, would be told as a success or a retry.
        let mut slots = Slots::default();
        let number = slots.open_count(PLAIN, 3);
        slots.count(number, Ok(true));
        slots.count(number, Ok(false));
        assert_eq!(left(&mut slots), []);
        slots.count(number, Ok(true));
        assert_eq!(left(&mut slots), [Reply::Integer(2)]);

        let number = slots.open_count(PLAIN, 2);
        slots.count(number, Err(KvError::NotServing));
        slots.count(number, Ok(true));
        let text = "CLUSTERDOWN this node is no longer a member of its cluster; ask another (1 of 2 keys failed)";
        assert_eq!(left(&mut slots), [Reply::error(text)]);
    }
}
