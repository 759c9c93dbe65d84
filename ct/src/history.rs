//! This file answers: what did clients do, and what were they told?

use std::collections::BTreeMap;

use rkv_kv::{Ended, KvError};
use rkv_quorum::Version;
use rkv_quorum::clock::Stamp;
use rkv_quorum::object::{Kind, Object};
use rkv_quorum::outcome::{GetOutcome, PutOutcome, ReplicaResult, ResultWord};
use rkv_quorum::tally::Role;

/// How a put ended.
#[derive(Debug, Clone)]
pub enum Put {
    /// Acknowledged.
    Acknowledged {
        /// The version.
        stamp: Stamp,
        /// Whether a fallback's vote was among those counted.
        fallback: bool,
    },
    /// Said to be applied nowhere.
    NotApplied,
    /// It may have been applied.
    Unknown,
}

impl Put {
    /// What the store's answer means.
    pub fn of(result: Result<PutOutcome, KvError>) -> Put {
        match result {
            Ok(outcome) => Put::Acknowledged {
                stamp: outcome.stamp,
                fallback: outcome.replicas.iter().any(|r| r.role == Role::Fallback),
            },
            Err(error) if error.was_maybe_applied() => Put::Unknown,
            Err(_) => Put::NotApplied,
        }
    }
}

/// How a get ended.
#[derive(Debug, Clone)]
pub enum Got {
    /// The version read; `None`: nothing was there.
    Version(Option<Stamp>),
    /// Read with the vote of a fallback, which promises nothing.
    ByFallback,
    /// Read though so few had answered whose answers count.
    TooFew(usize),
    /// No answer.
    Failed,
}

impl Got {
    /// What the store's answer means.
    pub fn of(result: Result<GetOutcome, KvError>) -> Got {
        match result {
            Ok(outcome) if has_too_few(&outcome) => Got::TooFew(votes(&outcome)),
            Ok(outcome) if outcome.replicas.iter().any(|r| r.role == Role::Fallback) => {
                Got::ByFallback
            }
            Ok(outcome) => Got::Version(outcome.object.and_then(|object| object.version().stamp())),
            Err(_) => Got::Failed,
        }
    }
}

/// Answers that may count for r, as far as they show it: of an owner that does not catch up any, of a fallback an object.
fn votes(outcome: &GetOutcome) -> usize {
    let is_value = |object: &Object| object.version().kind() == Some(Kind::Value);
    let is_trace = outcome.object.as_ref().is_some_and(|o| !is_value(o));
    let votes = |replica: &&ReplicaResult| match (replica.role, &replica.result) {
        (_, ResultWord::Ok | ResultWord::Stale) => true,
        (Role::Owner, ResultWord::NotFound) => true,
        // That something was deleted is an object, too.
        (Role::Fallback, ResultWord::NotFound) => is_trace,
        _ => false,
    };
    outcome.replicas.iter().filter(votes).count()
}

/// Whether fewer than r voted. Who answers at once, alone, tells of no replicas.
fn has_too_few(outcome: &GetOutcome) -> bool {
    !outcome.replicas.is_empty() && votes(outcome) < R
}

/// What a get waits for: a majority of three copies.
pub const R: usize = 2;

/// What a get saw, whoever voted.
#[derive(Debug, Clone)]
pub struct Saw {
    /// The version.
    pub version: Version,
    /// Whether there was a value to read, by the clock of who coordinated.
    pub live: bool,
    /// The put whose value it was.
    pub number: Option<u64>,
    /// Whether a fallback voted.
    pub fallback: bool,
}

impl Saw {
    /// What the store's answer shows; `wall_ms` is the coordinator's clock.
    pub fn of(result: &Result<GetOutcome, KvError>, wall_ms: u64) -> Option<Saw> {
        let outcome = result.as_ref().ok()?;
        let object = outcome.object.as_ref()?;
        let body = object.read(wall_ms);
        let text = body.and_then(|body| str::from_utf8(body).ok());
        let number = text.and_then(|text| text.strip_prefix('v')?.split_once('-'));
        Some(Saw {
            version: *object.version(),
            live: body.is_some(),
            number: number.and_then(|(number, _)| number.parse().ok()),
            fallback: outcome.replicas.iter().any(|r| r.role == Role::Fallback),
        })
    }
}

/// How an EXPIRE or PERSIST ended.
#[derive(Debug, Clone)]
pub enum Expired {
    /// Acknowledged.
    Written {
        /// The value that it is for.
        of: Stamp,
        /// Its own stamp.
        stamp: Stamp,
        /// Whether a fallback voted.
        fallback: bool,
    },
    /// Nothing lived, or it was not applied.
    Nothing,
    /// It may have been applied.
    Unknown,
}

impl Expired {
    /// What the store's answer means.
    pub fn of(result: Result<Ended, KvError>) -> Expired {
        let ended = match result {
            Ok(ended) => ended,
            Err(error) if error.was_maybe_applied() => return Expired::Unknown,
            Err(_) => return Expired::Nothing,
        };
        let of = ended.object.and_then(|object| object.version().stamp());
        match (of, ended.put) {
            (Some(of), Some(put)) => Expired::Written {
                of,
                stamp: put.stamp,
                fallback: put.replicas.iter().any(|r| r.role == Role::Fallback),
            },
            _ => Expired::Nothing,
        }
    }
}

/// One EXPIRE or PERSIST.
#[derive(Debug, Clone)]
pub struct Expire {
    /// The key.
    pub key: String,
    /// When it began.
    pub began_ms: u64,
    /// The deadline, in unix milliseconds; none: PERSIST.
    pub at_ms: Option<u64>,
    /// When and how it ended.
    pub end: Option<(u64, Expired)>,
}

impl Expire {
    /// The value it was written for, and its stamp, if it was acknowledged.
    pub fn written(&self) -> Option<(Stamp, Stamp)> {
        match self.end {
            Some((_, Expired::Written { of, stamp, .. })) => Some((of, stamp)),
            _ => None,
        }
    }

    /// When it ended; and what it wrote, if owners alone acknowledged it.
    pub fn by_owners(&self) -> Option<(u64, Option<(Stamp, Stamp)>)> {
        let (at, how) = self.end.as_ref()?;
        let fallback = matches!(how, Expired::Written { fallback: true, .. });
        Some((*at, self.written().filter(|_| !fallback)))
    }
}

/// One put, from its beginning to its end.
#[derive(Debug, Clone)]
pub struct PutRecord {
    /// Its number; its value begins with `v<number>-`.
    pub number: u64,
    /// The key.
    pub key: String,
    /// Whether it deletes.
    pub delete: bool,
    /// The deadline that it brings, in unix milliseconds.
    pub at_ms: Option<u64>,
    /// When it began.
    pub began_ms: u64,
    /// When and how it ended.
    pub end: Option<(u64, Put)>,
    /// What was wrong meanwhile with who took part in it.
    pub amid: Vec<&'static str>,
}

/// One get.
#[derive(Debug, Clone)]
pub struct GetRecord {
    /// The key.
    pub key: String,
    /// When it began.
    pub began_ms: u64,
    /// When and how it ended.
    pub end: Option<(u64, Got)>,
    /// What it saw.
    pub saw: Option<Saw>,
}

/// One flush of everything.
#[derive(Debug, Clone)]
pub struct FlushRecord {
    /// When it began.
    pub began_ms: u64,
    /// When it was acknowledged, and the floor that it raised; none while it is under way or when it failed.
    pub acknowledged: Option<(u64, u64)>,
}

/// All that clients did.
#[derive(Debug, Default)]
pub struct History {
    /// Puts and deletes, by number.
    pub puts: Vec<PutRecord>,
    /// Gets, by number.
    pub gets: Vec<GetRecord>,
    /// EXPIREs and PERSISTs, by number.
    pub expires: Vec<Expire>,
    /// Flushes, by number.
    pub flushes: Vec<FlushRecord>,
    /// How many gets have ended.
    pub gets_ended: u64,
    writing: BTreeMap<String, u64>,
}

impl History {
    /// A put begins, unless one of the same key is under way: each key has one writer at a time.
    pub fn put_begins(
        &mut self,
        key: &str,
        now_ms: u64,
        delete: bool,
        at_ms: Option<u64>,
    ) -> Option<u64> {
        let busy = self
            .writing
            .get(key)
            .is_some_and(|n| self.puts[*n as usize].end.is_none());
        // A writer whose node died is never told; after the request's deadline another may begin.
        let given_up = self
            .writing
            .get(key)
            .is_some_and(|n| now_ms > self.puts[*n as usize].began_ms + 3_000);
        if busy && !given_up {
            return None;
        }
        let number = self.puts.len() as u64;
        self.puts.push(PutRecord {
            number,
            key: key.to_owned(),
            delete,
            at_ms,
            began_ms: now_ms,
            end: None,
            amid: Vec::new(),
        });
        self.writing.insert(key.to_owned(), number);
        Some(number)
    }

    /// Whether the last write of `key` was a delete, begun since then and acknowledged.
    pub fn is_deleted_since(&self, key: &str, since_ms: u64) -> bool {
        let last = self.writing.get(key).map(|n| &self.puts[*n as usize]);
        last.is_some_and(|put| {
            let is_acknowledged = matches!(put.end, Some((_, Put::Acknowledged { .. })));
            put.delete && put.began_ms >= since_ms && is_acknowledged
        })
    }

    /// A put ended; `amid`: what was wrong meanwhile with who took part in it.
    pub fn put_ends(&mut self, number: u64, now_ms: u64, how: Put, amid: Vec<&'static str>) {
        let put = &mut self.puts[number as usize];
        assert!(put.end.is_none(), "a put ends once");
        put.end = Some((now_ms, how));
        put.amid = amid;
    }

    /// A get begins.
    pub fn get_begins(&mut self, key: &str, now_ms: u64) -> u64 {
        self.gets.push(GetRecord {
            key: key.to_owned(),
            began_ms: now_ms,
            end: None,
            saw: None,
        });
        self.gets.len() as u64 - 1
    }

    /// An EXPIRE begins, or a PERSIST, beside whatever else is under way.
    pub fn expire_begins(&mut self, key: &str, now_ms: u64, at_ms: Option<u64>) -> u64 {
        self.expires.push(Expire {
            key: key.to_owned(),
            began_ms: now_ms,
            at_ms,
            end: None,
        });
        self.expires.len() as u64 - 1
    }

    /// An EXPIRE ended.
    pub fn expire_ends(&mut self, number: u64, now_ms: u64, how: Expired) {
        let expire = &mut self.expires[number as usize];
        assert!(expire.end.is_none(), "an expire ends once");
        expire.end = Some((now_ms, how));
    }

    /// A get ended.
    pub fn get_ends(&mut self, number: u64, now_ms: u64, how: Got, saw: Option<Saw>) {
        self.gets_ended += 1;
        let get = &mut self.gets[number as usize];
        assert!(get.end.is_none(), "a get ends once");
        get.end = Some((now_ms, how));
        get.saw = saw;
    }

    /// A flush begins.
    pub fn flush_begins(&mut self, now_ms: u64) -> u64 {
        self.flushes.push(FlushRecord {
            began_ms: now_ms,
            acknowledged: None,
        });
        self.flushes.len() as u64 - 1
    }

    /// A flush was acknowledged.
    pub fn flush_ends(&mut self, number: u64, now_ms: u64, floor: u64) {
        let flush = &mut self.flushes[number as usize];
        assert!(flush.acknowledged.is_none(), "a flush ends once");
        flush.acknowledged = Some((now_ms, floor));
    }

    /// Acknowledged puts and deletes.
    pub fn acknowledged(&self) -> u64 {
        self.all_acknowledged().count() as u64
    }

    /// Those of them that fell within a fault.
    pub fn amid_fault(&self) -> u64 {
        let amid = |put: &&PutRecord| !put.amid.is_empty();
        self.all_acknowledged().filter(amid).count() as u64
    }

    /// How many of them while what was wrong; one may count more than once.
    pub fn written_amid(&self) -> BTreeMap<&'static str, u64> {
        let mut amid = BTreeMap::new();
        for what in self.all_acknowledged().flat_map(|put| &put.amid) {
            *amid.entry(*what).or_default() += 1;
        }
        amid
    }

    fn all_acknowledged(&self) -> impl Iterator<Item = &PutRecord> {
        let acknowledged =
            |put: &&PutRecord| matches!(put.end, Some((_, Put::Acknowledged { .. })));
        self.puts.iter().filter(acknowledged)
    }

    /// The newest version of each key that was acknowledged.
    pub fn newest_acknowledged(&self) -> BTreeMap<&str, Stamp> {
        let mut newest: BTreeMap<&str, Stamp> = BTreeMap::new();
        for put in &self.puts {
            if let Some((_, Put::Acknowledged { stamp, .. })) = &put.end {
                let known = newest.entry(&put.key).or_insert(*stamp);
                *known = (*known).max(*stamp);
            }
        }
        newest
    }
}
