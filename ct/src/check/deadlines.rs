//! Promise 9, so far as deadlines go, and what becomes of values beside them: an EXPIRE never undoes a SET; a value is
//! gone only by a deadline that somebody gave it; of two deadlines the later one holds; and what has ended never comes
//! back, however its body is let go of.

use std::collections::{BTreeMap, BTreeSet};

use rkv_quorum::Version;
use rkv_quorum::clock::Stamp;
use rkv_quorum::object::Kind;
use rkv_ring::{Epoch, Slot};

use crate::check::held::store_key;
use crate::history::{Expire, GetRecord, History, Put, PutRecord};
use crate::sim::node::{SimNode, WALL_START_MS};

/// How far clocks are off at most once all has healed, twice, and the time that a copy waits before it lets go.
const CLOCKS_MS: u64 = 2_000;
/// Within how long after the last deadline all copies have let go of what ended.
const LET_GO_WITHIN_MS: u64 = 40_000;

/// Compares what is read with what was written.
#[derive(Default)]
pub struct Deadlines {
    gets_seen: BTreeSet<usize>,
    open_get: usize,
    expires_seen: BTreeSet<usize>,
    open_expire: usize,
    /// Comparisons that found something to mend when all had settled, and the ring of that time.
    repairs: Option<(u64, Epoch)>,
    /// Keys that nobody could read once all had settled.
    dead: BTreeSet<String>,
}

impl Deadlines {
    /// Looks at the requests that have ended since.
    pub fn step(
        &mut self,
        history: &History,
        is_excused: impl Fn(&str) -> bool,
    ) -> Result<(), String> {
        for (number, get) in history.gets.iter().enumerate().skip(self.open_get) {
            if get.end.is_some() && self.gets_seen.insert(number) && !is_excused(&get.key) {
                undone(history, get)?;
                unexplained(history, get)?;
                missed(history, get)?;
            }
        }
        while self.gets_seen.remove(&self.open_get) {
            self.open_get += 1;
        }
        for (number, expire) in history.expires.iter().enumerate().skip(self.open_expire) {
            if expire.end.is_some() && self.expires_seen.insert(number) {
                let earlier = acknowledged(history, &expire.key, expire.began_ms);
                later_is_higher(expire, earlier)?;
            }
        }
        while self.expires_seen.remove(&self.open_expire) {
            self.open_expire += 1;
        }
        Ok(())
    }

    /// Once settled, and before everything is read: every owner holds every deadline that was acknowledged, unless a
    /// newer one or a newer value came.
    pub fn everywhere(
        &mut self,
        nodes: &[SimNode],
        history: &History,
        is_excused: impl Fn(&str, Stamp) -> bool,
    ) -> Result<(), String> {
        self.repairs = Some(repairs(nodes));
        for (key, of, stamp) in acknowledged_anywhere(history) {
            for (owner, held) in owners_of(nodes, key) {
                let lacks = held.is_none_or(|held| {
                    let deadline = held.deadline().filter(|deadline| deadline.of == of);
                    held.stamp() <= Some(of) && deadline.is_none_or(|held| held.stamp < stamp)
                });
                if lacks && !is_excused(key, of) {
                    return Err(format!(
                        "{owner} settled with {key} at {held:?}, its deadline {stamp} was acknowledged"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Everything was read once settled: what was dead then stays dead.
    pub fn first_read(&mut self, history: &History, from: usize) {
        let dead = history.gets[from..].iter().filter(|get| is_dead(get));
        self.dead = dead.map(|get| get.key.clone()).collect();
    }

    /// Whether every deadline has passed at every node, and no copy holds the body of what ended; what is wrong if that
    /// never happens.
    pub fn let_go(
        &self,
        nodes: &[SimNode],
        history: &History,
        now_ms: u64,
    ) -> Result<bool, String> {
        let last = history.expires.iter().filter_map(|expire| expire.at_ms);
        let last = last.chain(history.puts.iter().filter_map(|put| put.at_ms));
        let passed_ms = last.max().unwrap_or(0) + CLOCKS_MS;
        let wall_ms = WALL_START_MS + now_ms;
        if wall_ms < passed_ms {
            return Ok(false);
        }
        for key in history.puts.iter().map(|put| put.key.as_str()) {
            for (owner, held) in owners_of(nodes, key) {
                let ended = held.is_some_and(|held| held.ends_ms().is_some());
                let lies = held.is_some_and(|held| held.kind() == Some(Kind::Value));
                if ended && lies && wall_ms < passed_ms + LET_GO_WITHIN_MS {
                    return Ok(false);
                }
                if ended && lies {
                    return Err(format!(
                        "{owner} still holds the body of {key}, which ended: {held:?}"
                    ));
                }
            }
        }
        Ok(true)
    }

    /// Everything was read once more, after that.
    pub fn second_read(
        &self,
        nodes: &[SimNode],
        history: &History,
        from: usize,
    ) -> Result<(), String> {
        for get in &history.gets[from..] {
            let Some(saw) = &get.saw else {
                continue;
            };
            if saw.live && (self.dead.contains(&get.key) || saw.version.ends_ms().is_some()) {
                return Err(format!(
                    "{} was dead and is read again at {}",
                    get.key, saw.version
                ));
            }
        }
        match self.repairs {
            Some((before, epoch)) => match repairs(nodes) {
                (now, at) if at == epoch && now > before => Err(format!(
                    "letting go of what ended made copies mend each other: {before} comparisons, then {now}"
                )),
                _ => Ok(()),
            },
            None => Ok(()),
        }
    }
}

/// A get that sees the value of an earlier SET than one acknowledged before it began.
fn undone(history: &History, get: &GetRecord) -> Result<(), String> {
    let Some(saw) = get.saw.as_ref().filter(|saw| !saw.fallback) else {
        return Ok(());
    };
    let written = saw.number.and_then(|n| history.puts.get(n as usize));
    let Some((read, ended_ms)) = written.and_then(|put| Some((put, by_owners(put)?.0))) else {
        return Ok(());
    };
    let later = history.puts.iter().find(|put| {
        let acknowledged = by_owners(put).is_some_and(|(at, _)| at < get.began_ms);
        put.key == get.key && put.began_ms > ended_ms && acknowledged
    });
    match later {
        None => Ok(()),
        Some(later) => Err(format!(
            "a get of {} begun at {} ms read put {} under {}, though put {} had replaced it",
            get.key, get.began_ms, read.number, saw.version, later.number
        )),
    }
}

/// A get that finds a value dead of a deadline that nobody gave it.
fn unexplained(history: &History, get: &GetRecord) -> Result<(), String> {
    let Some(saw) = get.saw.as_ref().filter(|saw| !saw.live) else {
        return Ok(());
    };
    let set = history.puts.iter().find(|put| {
        let stamp = by_anybody(put).map(|(_, stamp)| stamp);
        put.key == get.key && !put.delete && stamp.is_some() && stamp == saw.version.stamp()
    });
    let Some(set) = set else {
        return Ok(());
    };
    let given = saw.version.ends_ms().is_some_and(|at_ms| {
        let expires = history.expires.iter().filter(|e| e.key == get.key);
        let mut given = expires.map(|expire| expire.at_ms).chain([set.at_ms]);
        given.any(|given| given == Some(at_ms))
    });
    if given {
        return Ok(());
    }
    Err(format!(
        "a get of {} found put {} dead, under {:?}, of no deadline that it was given",
        get.key, set.number, saw.version
    ))
}

/// A get that sees a value, and not the deadline that was acknowledged for it before.
fn missed(history: &History, get: &GetRecord) -> Result<(), String> {
    let Some(saw) = get.saw.as_ref().filter(|saw| !saw.fallback) else {
        return Ok(());
    };
    for (of, stamp) in acknowledged(history, &get.key, get.began_ms) {
        let held = saw.version.deadline().filter(|held| held.of == of);
        if saw.version.stamp() == Some(of) && held.is_none_or(|held| held.stamp < stamp) {
            return Err(format!(
                "a get of {} begun at {} ms saw {held:?}, the deadline {stamp} was acknowledged before",
                get.key, get.began_ms
            ));
        }
    }
    Ok(())
}

/// A deadline that ended below one acknowledged before it began.
fn later_is_higher(
    expire: &Expire,
    earlier: impl IntoIterator<Item = (Stamp, Stamp)>,
) -> Result<(), String> {
    let Some((_, Some((of, stamp)))) = expire.by_owners() else {
        return Ok(());
    };
    let higher = earlier.into_iter().find(|(e, at)| *e == of && *at >= stamp);
    match higher {
        None => Ok(()),
        Some((_, before)) => Err(format!(
            "a deadline of {} ended at {stamp}, below {before} that was acknowledged before it began",
            expire.key
        )),
    }
}

fn is_dead(get: &GetRecord) -> bool {
    get.saw.as_ref().is_some_and(|saw| !saw.live)
}

/// When a put was acknowledged, and its stamp, if only owners voted.
fn by_owners(put: &PutRecord) -> Option<(u64, Stamp)> {
    match &put.end {
        Some((
            at,
            Put::Acknowledged {
                stamp,
                fallback: false,
            },
        )) => Some((*at, *stamp)),
        _ => None,
    }
}

fn by_anybody(put: &PutRecord) -> Option<(u64, Stamp)> {
    match &put.end {
        Some((at, Put::Acknowledged { stamp, .. })) => Some((*at, *stamp)),
        _ => None,
    }
}

/// The deadlines of `key` that owners alone acknowledged before: the value each is for, and its stamp.
fn acknowledged<'h>(
    history: &'h History,
    key: &'h str,
    before_ms: u64,
) -> impl Iterator<Item = (Stamp, Stamp)> + 'h {
    let of_key = history.expires.iter().filter(move |e| e.key == key);
    of_key.filter_map(move |expire| {
        let (at, written) = expire.by_owners()?;
        written.filter(|_| at < before_ms)
    })
}

/// The newest deadline that was acknowledged for each value, whoever voted.
fn acknowledged_anywhere(history: &History) -> impl Iterator<Item = (&str, Stamp, Stamp)> {
    let mut newest: BTreeMap<(&str, Stamp), Stamp> = BTreeMap::new();
    for expire in &history.expires {
        if let Some((of, stamp)) = expire.written() {
            let known = newest.entry((&expire.key, of)).or_insert(stamp);
            *known = (*known).max(stamp);
        }
    }
    newest
        .into_iter()
        .map(|((key, of), stamp)| (key, of, stamp))
}

/// What each owner of `key` holds of it.
fn owners_of<'n>(
    nodes: &'n [SimNode],
    key: &str,
) -> impl Iterator<Item = (&'n str, Option<Version>)> {
    let runs = nodes.iter().find_map(|node| node.running.as_ref());
    let slot = Slot::of(key.as_bytes());
    let row: Vec<_> = runs.map_or(Vec::new(), |running| {
        let view = running.engine.view();
        let ring = view.ring();
        ring.row(ring.partition_of(slot)).to_vec()
    });
    let key = store_key(key);
    let owners = nodes.iter().filter(move |node| row.contains(&node.name));
    owners.map(move |node| {
        let entry = node.disk.entry(&key);
        let version = entry.and_then(|entry| Version::peek(&entry).ok());
        (node.name.as_str(), version)
    })
}

fn repairs(nodes: &[SimNode]) -> (u64, Epoch) {
    let running = || nodes.iter().filter_map(|node| node.running.as_ref());
    let epochs = running().map(|r| r.engine.view().ring().epoch);
    let repairs = running().map(|r| r.engine.host().repairs()).sum();
    (repairs, epochs.max().unwrap_or_default())
}
