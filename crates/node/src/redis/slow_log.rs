//! This file answers: which commands were slow of late?
//!
//! SLOWLOG. A command is slow when its reply took longer than `slowlog-log-slower-than` to be there, replicas included.
//! What is kept of each is bounded as Redis bounds it, and how many are kept by `slowlog-max-len`.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use parking_lot::Mutex;
use rkv_resp::Reply;
use rkv_resp::frame::detach;

/// Commands that take so long are slow, until CONFIG SET says otherwise: Redis' own default.
const SLOWER_THAN_US: i64 = 10_000;
/// How many are kept, until CONFIG SET says otherwise: Redis' own default.
const ENTRIES: usize = 128;
/// How many may be asked to be kept at most.
pub(super) const MOST_ENTRIES: usize = 10_000;
/// Of one command so many arguments are kept, the last of which may say how many there were more.
pub(super) const ARGS: usize = 32;
/// So many bytes of each.
const ARG_BYTES: usize = 128;

/// The latest slow commands.
pub(super) struct SlowLog {
    /// Below 0: none is slow.
    slower_than_us: AtomicI64,
    most: AtomicUsize,
    next_id: AtomicU64,
    /// The latest first.
    entries: Mutex<VecDeque<Entry>>,
}

struct Entry {
    id: u64,
    at_s: u64,
    us: u64,
    args: Vec<Bytes>,
    addr: SocketAddr,
    name: Bytes,
}

impl Default for SlowLog {
    fn default() -> SlowLog {
        SlowLog {
            slower_than_us: AtomicI64::new(SLOWER_THAN_US),
            most: AtomicUsize::new(ENTRIES),
            next_id: AtomicU64::new(0),
            entries: Mutex::default(),
        }
    }
}

impl SlowLog {
    /// Whether commands are looked at: what a command was is to be remembered until its reply is there.
    pub(super) fn is_on(&self) -> bool {
        self.slower_than_us() >= 0
    }

    /// Whether a command that took so long is slow.
    pub(super) fn is_slow(&self, us: u64) -> bool {
        u64::try_from(self.slower_than_us()).is_ok_and(|limit| us >= limit)
    }

    /// `slowlog-log-slower-than`
    pub(super) fn slower_than_us(&self) -> i64 {
        self.slower_than_us.load(Ordering::Relaxed)
    }

    /// CONFIG SET slowlog-log-slower-than; below 0 none is slow.
    pub(super) fn set_slower_than_us(&self, us: i64) {
        self.slower_than_us.store(us, Ordering::Relaxed);
    }

    /// `slowlog-max-len`
    pub(super) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    /// CONFIG SET slowlog-max-len
    pub(super) fn set_most(&self, most: usize) {
        self.most.store(most.min(MOST_ENTRIES), Ordering::Relaxed);
        self.entries.lock().truncate(self.most());
    }

    /// Keeps a slow command: its first arguments, of `count`.
    pub(super) fn add(&self, us: u64, args: &[Bytes], count: usize, addr: SocketAddr, name: Bytes) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let entry = Entry {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            at_s: since.map_or(0, |since| since.as_secs()),
            us,
            args: bounded(args, count),
            addr,
            name,
        };
        let mut entries = self.entries.lock();
        entries.push_front(entry);
        entries.truncate(self.most());
    }

    /// SLOWLOG GET
    pub(super) fn get(&self, count: Option<usize>) -> Reply {
        let entries = self.entries.lock();
        let count = count.unwrap_or(usize::MAX);
        Reply::Array(entries.iter().take(count).map(Entry::reply).collect())
    }

    /// SLOWLOG LEN
    pub(super) fn len(&self) -> usize {
        self.entries.lock().len()
    }

    /// SLOWLOG RESET
    pub(super) fn reset(&self) {
        self.entries.lock().clear();
    }
}

impl Entry {
    fn reply(&self) -> Reply {
        let number = |number: u64| Reply::Integer(i64::try_from(number).unwrap_or(i64::MAX));
        Reply::Array(vec![
            number(self.id),
            number(self.at_s),
            number(self.us),
            Reply::bulks(self.args.iter().cloned()),
            Reply::bulk(self.addr.to_string()),
            Reply::Bulk(self.name.clone()),
        ])
    }
}

/// Arguments as Redis keeps them; copies, so that no receive buffer stays for them.
fn bounded(args: &[Bytes], count: usize) -> Vec<Bytes> {
    let shown = if count > ARGS { ARGS - 1 } else { count };
    let mut kept: Vec<Bytes> = args.iter().take(shown).map(bounded_arg).collect();
    if count > kept.len() {
        let more = count - kept.len();
        kept.push(format!("... ({more} more arguments)").into());
    }
    kept
}

fn bounded_arg(arg: &Bytes) -> Bytes {
    match arg.len().checked_sub(ARG_BYTES) {
        None | Some(0) => detach(arg),
        Some(more) => {
            let mut shown = arg[..ARG_BYTES].to_vec();
            shown.extend_from_slice(format!("... ({more} more bytes)").as_bytes());
            shown.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(log: &SlowLog, args: &[Bytes]) {
        let kept = &args[..args.len().min(ARGS)];
        let addr = SocketAddr::from(([1, 2, 3, 4], 5));
        log.add(7, kept, args.len(), addr, Bytes::new());
    }

    #[test]
    fn what_is_kept_is_bounded_as_redis_bounds_it() {
        // Lost without it: one MGET of a million keys, or one large value, would stay in memory for its slowness.
        let log = SlowLog::default();
        let word = |n: usize| Bytes::from(vec![b'x'; n]);
        add(&log, &vec![word(1); 40]);
        add(&log, &[word(128), word(200)]);
        let Reply::Array(entries) = log.get(None) else {
            panic!("an array")
        };
        let args = |at: usize| match &entries[at] {
            Reply::Array(fields) => match &fields[3] {
                Reply::Array(args) => args.clone(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        let (latest, first) = (args(0), args(1));
        let cut = "x".repeat(128) + "... (72 more bytes)";
        assert_eq!(latest, [Reply::bulk(word(128)), Reply::bulk(cut)]);
        assert_eq!(first.len(), 32);
        assert_eq!(first[31], Reply::bulk("... (9 more arguments)"));
    }

    #[test]
    fn the_latest_stay() {
        // Lost without it: the log grows for ever, or keeps what is old and drops what is new.
        let log = SlowLog::default();
        (0..200).for_each(|_| add(&log, &[Bytes::from_static(b"get")]));
        assert_eq!(log.len(), ENTRIES);
        log.set_most(2);
        let ids: Vec<Reply> = match log.get(Some(10)) {
            Reply::Array(entries) => entries
                .into_iter()
                .map(|entry| match entry {
                    Reply::Array(fields) => fields[0].clone(),
                    other => other,
                })
                .collect(),
            other => vec![other],
        };
        assert_eq!(ids, [Reply::Integer(199), Reply::Integer(198)]);
        log.reset();
        assert_eq!(log.len(), 0);
    }

    #[test]
    fn the_limit_is_a_time_and_below_0_there_is_none() {
        // Lost without it: `slowlog-log-slower-than -1` would log every command, and 0 none.
        let log = SlowLog::default();
        assert!(!log.is_slow(9_999) && log.is_slow(10_000));
        log.set_slower_than_us(0);
        assert!(log.is_on() && log.is_slow(0));
        log.set_slower_than_us(-1);
        assert!(!log.is_on() && !log.is_slow(u64::MAX));
    }
}
