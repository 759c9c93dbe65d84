//! This file answers: in which order do replies go out?
//!
//! In that of the requests, whenever their answers come. A request has a slot from its beginning until its reply leaves;
//! one of several keys gathers there what came of them.

use std::collections::VecDeque;

use bytes::Bytes;
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
    Gathering(Gather),
    Ready(Reply),
}

/// Keys that one request counts, or writes.
#[derive(Debug)]
struct Count {
    /// What is told when none failed: how many counted, or OK.
    tells_count: bool,
    left: usize,
    counted: i64,
    failures: Failures,
}

/// Values that one request gathers.
#[derive(Debug)]
struct Gather {
    left: usize,
    parts: Vec<Reply>,
    /// What they weigh.
    bytes: usize,
    /// They weighed more than there is room for: nothing is kept any more, but all keys are awaited.
    is_too_much: bool,
    failures: Failures,
}

/// Keys of one request that met an error.
#[derive(Debug)]
struct Failures {
    keys: usize,
    failed: usize,
    /// The worst.
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
        self.push(manner, Slot::Counting(Count::of(keys, true)))
    }

    /// A request that writes so many keys, likewise; all of them, or it failed.
    pub(super) fn open_all(&mut self, manner: Manner, keys: usize) -> u64 {
        self.push(manner, Slot::Counting(Count::of(keys, false)))
    }

    /// A request for so many values, each by [`Slots::gather`].
    pub(super) fn open_gather(&mut self, manner: Manner, keys: usize) -> u64 {
        let gather = Gather {
            left: keys,
            parts: Vec::new(),
            bytes: 0,
            is_too_much: false,
            failures: Failures::among(keys),
        };
        self.push(manner, Slot::Gathering(gather))
    }

    /// A request whose reply is there.
    pub(super) fn ready(&mut self, manner: Manner, reply: Reply) {
        self.bytes += weight(&reply);
        self.push(manner, Slot::Ready(reply));
    }

    /// The reply of the request `number`; of one of several keys, that it was given up.
    pub(super) fn reply(&mut self, number: u64, reply: Reply) {
        let Some(slot) = self.slot(number) else {
            return;
        };
        let before = match slot {
            Slot::Ready(_) => return,
            Slot::Gathering(gather) => gather.bytes,
            Slot::Waiting | Slot::Counting(_) => 0,
        };
        let bytes = weight(&reply);
        *slot = Slot::Ready(reply);
        self.bytes = self.bytes - before + bytes;
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
            Err(error) => count.failures.note(error),
        }
        if count.left == 0 {
            let reply = count.reply();
            let bytes = weight(&reply);
            *slot = Slot::Ready(reply);
            self.bytes += bytes;
        }
    }

    /// One more value of the request `number`: the one at `part`. Together they may weigh `most_bytes`, unless it is but one.
    pub(super) fn gather(
        &mut self,
        number: u64,
        part: u32,
        value: Result<Option<Bytes>, KvError>,
        most_bytes: usize,
    ) {
        let Some(slot) = self.slot(number) else {
            return;
        };
        let Slot::Gathering(gather) = slot else {
            return;
        };
        let before = gather.bytes;
        gather.take(part as usize, value, most_bytes);
        let mut after = gather.bytes;
        if gather.left == 0 {
            let reply = gather.reply();
            after = weight(&reply);
            *slot = Slot::Ready(reply);
        }
        self.bytes = self.bytes - before + after;
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
    fn of(keys: usize, tells_count: bool) -> Count {
        Count {
            tells_count,
            left: keys,
            counted: 0,
            failures: Failures::among(keys),
        }
    }

    /// The count or OK; or the worst error, and how many keys met one.
    fn reply(&mut self) -> Reply {
        match self.failures.reply() {
            Some(error) => error,
            None if self.tells_count => Reply::Integer(self.counted),
            None => Reply::OK,
        }
    }
}

impl Gather {
    fn take(&mut self, part: usize, value: Result<Option<Bytes>, KvError>, most_bytes: usize) {
        self.left -= 1;
        let reply = match value {
            Ok(value) => value.map_or(Reply::Null, Reply::Bulk),
            Err(error) => return self.failures.note(error),
        };
        if self.is_too_much {
            return;
        }
        if self.parts.len() <= part {
            self.parts.resize(part + 1, Reply::Null);
        }
        self.bytes += weight(&reply);
        self.parts[part] = reply;
        if self.bytes > most_bytes && self.failures.keys > 1 {
            self.is_too_much = true;
            self.parts = Vec::new();
            self.bytes = 0;
        }
    }

    fn reply(&mut self) -> Reply {
        if let Some(error) = self.failures.reply() {
            return error;
        }
        if self.is_too_much {
            return Reply::error(
                "BUSY these values are more than this connection may hold: ask for fewer keys at a time",
            );
        }
        Reply::Array(std::mem::take(&mut self.parts))
    }
}

impl Failures {
    fn among(keys: usize) -> Failures {
        Failures {
            keys,
            failed: 0,
            error: None,
        }
    }

    fn note(&mut self, error: KvError) {
        self.failed += 1;
        if self.error.is_none() || error.was_maybe_applied() {
            self.error = Some(error);
        }
    }

    fn reply(&mut self) -> Option<Reply> {
        Some(match self.error.take()? {
            error if self.keys == 1 => Reply::error(error.redis_text()),
            error => Reply::error(format!(
                "{} ({} of {} keys failed)",
                error.redis_text(),
                self.failed,
                self.keys
            )),
        })
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

        let number = slots.open_all(PLAIN, 2);
        slots.count(number, Ok(true));
        slots.count(number, Ok(true));
        assert_eq!(left(&mut slots), [Reply::OK]);
        let number = slots.open_count(PLAIN, 2);
        slots.reply(number, Reply::error("TRYAGAIN"));
        slots.count(number, Ok(true));
        assert_eq!(left(&mut slots), [Reply::error("TRYAGAIN")], "given up");
    }

    #[test]
    fn values_are_gathered_in_the_order_of_their_keys_and_within_bounds() {
        // Lost without it: MGET mixes values up, tells a part as the whole, or holds gigabytes for one client.
        let value = |text: &'static str| Ok(Some(Bytes::from_static(text.as_bytes())));
        let mut slots = Slots::default();
        let number = slots.open_gather(PLAIN, 4);
        slots.gather(number, 3, value("d"), 1_000);
        slots.gather(number, 0, value("a"), 1_000);
        assert!(slots.bytes() > 0, "what is gathered is counted");
        slots.gather(number, 1, Ok(None), 1_000);
        slots.gather(number, 2, value("c"), 1_000);
        let expected = ["a", "", "c", "d"].map(|text| match text {
            "" => Reply::Null,
            text => Reply::bulk(text),
        });
        assert_eq!(left(&mut slots), [Reply::Array(expected.into())]);

        let number = slots.open_gather(PLAIN, 2);
        slots.gather(number, 0, Err(KvError::NotServing), 1_000);
        slots.gather(number, 1, value("b"), 1_000);
        let text = "CLUSTERDOWN this node is no longer a member of its cluster; ask another (1 of 2 keys failed)";
        assert_eq!(left(&mut slots), [Reply::error(text)]);

        let number = slots.open_gather(PLAIN, 3);
        for part in 0..3 {
            slots.gather(number, part, value("large"), 100);
        }
        let text = "BUSY these values are more than this connection may hold: ask for fewer keys at a time";
        assert_eq!(left(&mut slots), [Reply::error(text)]);
        let number = slots.open_gather(PLAIN, 1);
        slots.gather(number, 0, value("large"), 1);
        let only = Reply::Array(vec![Reply::bulk("large")]);
        assert_eq!(left(&mut slots), [only], "as GET");
        assert_eq!((slots.len(), slots.bytes()), (0, 0));
    }
}
