//! This file answers: how many keys are there, and which?
//!
//! Counted over the whole cluster, each key once: of each partition what its first live replica holds. While copies
//! move or catch up that is about right and no more. Whoever asks is told of a count begun after the asking, so that a
//! client finds what it has just written; those who ask during a count share the next.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use rkv_ring::{NodeName, Partition, Slot};
use rkv_storage::{Space, StoreKey};
use rkv_vnode::View;
use rkv_wire::items::read_items;
use rkv_wire::message::{Answer, Command, CopyState, Report};

use crate::coordinate::{Question, Reply};
use crate::engine::{Done, Engine};
use crate::error::KvError;
use crate::keyspace::Keyspace;
use crate::replica::KV;

/// How old a count may be that nobody waits for.
const FRESH_MS: u64 = 200;
/// How long members may take to report.
const ASK_MS: u64 = 1_000;
/// How long a replica may take over one page of its keys.
const PAGE_MS: u64 = 2_000;
/// How many pages are asked for at most: bounds what one command costs.
const PAGES: u32 = 4_096;
/// Keys named by one command at most.
pub const MOST_KEYS: u32 = 100_000;

/// Live keys of each partition, by its first live replica.
#[derive(Debug, Clone, Default)]
pub(crate) struct Census {
    at_ms: u64,
    live: Vec<u64>,
}

/// The last count, and who waits for the next.
#[derive(Default)]
pub(crate) struct Counting {
    known: Option<Arc<Census>>,
    is_under_way: bool,
    waiting: Vec<Done<Arc<Census>>>,
}

impl Census {
    fn of(view: &View, reports: &BTreeMap<NodeName, Report>, at_ms: u64) -> Census {
        let of_copy = |node: &NodeName, partition: Partition| {
            let mut copies = reports.get(node)?.copies.iter();
            let copy = copies.find(|c| (c.copy.service, c.copy.partition) == (KV, partition))?;
            let counts = !matches!(copy.state, CopyState::Receiving | CopyState::Draining);
            counts.then_some((copy.state == CopyState::CatchingUp, copy.live))
        };
        let live = |partition| {
            let row = view.ring().row(partition).iter();
            let told = row.filter_map(|node| of_copy(node, partition));
            let best = told.reduce(|best, next| if best.0 && !next.0 { next } else { best });
            best.map_or(0, |(_, live)| live)
        };
        Census {
            at_ms,
            live: view.ring().partitions.partitions().map(live).collect(),
        }
    }

    fn total(&self) -> u64 {
        self.live.iter().sum()
    }

    /// The partition in which the live key number `nth` lies.
    fn find(&self, mut nth: u64) -> Option<Partition> {
        for (partition, live) in (0u16..).zip(&self.live) {
            if nth < *live {
                return Some(Partition(partition));
            }
            nth -= live;
        }
        None
    }
}

/// Keys of a stretch of one partition, gathered page by page.
struct Search {
    slot: Slot,
    /// Stretches that are still to be looked at, the next one last.
    stretches: Vec<(Bytes, Bytes)>,
    /// Stop when so many were found; the most that are named.
    enough: u64,
    named: u32,
    live: u64,
    keys: Vec<Bytes>,
    pages: u32,
    /// Replicas that did not answer for this page.
    asked: Vec<NodeName>,
    done: Done<Result<(u64, Vec<Bytes>), KvError>>,
}

impl Engine {
    /// How many live keys there are.
    pub fn size(self: &Arc<Self>, done: Done<u64>) {
        self.census(Box::new(move |census| done(census.total())));
    }

    /// How many there were when they were counted last; sees to it that they are counted again if that was long ago.
    pub fn size_known(self: &Arc<Self>) -> u64 {
        let is_old = |known: &Arc<Census>| self.now_ms() >= known.at_ms + FRESH_MS;
        if self.census_known().as_ref().is_none_or(is_old) && !self.counting().is_under_way {
            self.census(Box::new(|_| ()));
        }
        let known = self.census_known();
        known.map_or_else(|| self.own_census().total(), |census| census.total())
    }

    fn census_known(&self) -> Option<Arc<Census>> {
        self.counting().known.clone()
    }

    /// By the copies of this node alone: all there is where it has one of each partition.
    fn own_census(&self) -> Census {
        let own = BTreeMap::from([(self.me().clone(), self.host().report())]);
        Census::of(&self.view(), &own, self.now_ms())
    }

    fn census(self: &Arc<Self>, done: Done<Arc<Census>>) {
        self.counting().waiting.push(done);
        self.count();
    }

    /// Counts for all who wait, unless a count is under way: then at its end.
    fn count(self: &Arc<Self>) {
        let mut counting = self.counting();
        if counting.is_under_way || counting.waiting.is_empty() {
            return;
        }
        counting.is_under_way = true;
        let waiting = std::mem::take(&mut counting.waiting);
        drop(counting);
        let engine = self.clone();
        let counted = Box::new(move |reports| {
            let census = Arc::new(Census::of(&engine.view(), &reports, engine.now_ms()));
            let mut counting = engine.counting();
            counting.known = Some(census.clone());
            counting.is_under_way = false;
            drop(counting);
            waiting.into_iter().for_each(|done| done(census.clone()));
            engine.count();
        });
        self.reports(ASK_MS, counted);
    }

    /// A live key at random; `None`: there is none. Keys behind a gap in the order of hashes come a little more often.
    pub fn random_key(
        self: &Arc<Self>,
        keyspace: &Keyspace,
        done: Done<Result<Option<Bytes>, KvError>>,
    ) {
        let engine = self.clone();
        let keyspace = keyspace.id;
        self.census(Box::new(move |census| {
            engine.random_key_of(keyspace, &census, done);
        }));
    }

    fn random_key_of(
        self: &Arc<Self>,
        keyspace: u32,
        census: &Census,
        done: Done<Result<Option<Bytes>, KvError>>,
    ) {
        let draw = self.draw();
        let Some(partition) = draw
            .checked_rem(census.total())
            .and_then(|n| census.find(n))
        else {
            return done(Ok(None));
        };
        let slots = self.view().ring().partitions.slots(partition);
        let count = u64::from(slots.end() - slots.start()) + 1;
        let slot = slots.start() + u16::try_from(self.draw() % count).unwrap_or(0);
        let (start, end) = StoreKey::range(Space::Data, KV.0, slots);
        // Anywhere in the slot: behind a hash, before the keys that have it.
        let mut middle = StoreKey::entry(Space::Data, KV.0, slot, keyspace, b"").to_vec();
        let hash = self.draw().to_be_bytes();
        middle.truncate(rkv_storage::order::HEADER_BYTES - rkv_storage::order::HASH_BYTES);
        middle.extend_from_slice(&hash[..rkv_storage::order::HASH_BYTES]);
        let middle = Bytes::from(middle);
        let engine = self.clone();
        let found = move |found: Result<(u64, Vec<Bytes>), KvError>| match found {
            // All expired, or gone since they were counted.
            Ok((_, keys)) => done(Ok(keys.into_iter().next())),
            Err(error) => done(Err(error)),
        };
        engine.search(Search {
            slot: Slot(slot),
            stretches: vec![(start, middle.clone()), (middle, end)],
            enough: 1,
            named: 1,
            live: 0,
            keys: Vec::new(),
            pages: 0,
            asked: Vec::new(),
            done: Box::new(found),
        });
    }

    /// How many live keys lie in `slot`, and the first `most` of them; with `most` 0 all are counted, else the count ends
    /// where enough are found.
    pub fn keys_in_slot(
        self: &Arc<Self>,
        keyspace: &Keyspace,
        slot: Slot,
        most: u32,
        done: Done<Result<(u64, Vec<Bytes>), KvError>>,
    ) {
        let named = most.min(MOST_KEYS);
        let stretch = stretch_of(slot, keyspace.id);
        self.search(Search {
            slot,
            stretches: vec![stretch],
            enough: if most == 0 {
                u64::MAX
            } else {
                u64::from(named)
            },
            named,
            live: 0,
            keys: Vec::new(),
            pages: 0,
            asked: Vec::new(),
            done,
        });
    }

    /// Asks the first live replica that was not asked yet for the next page.
    fn search(self: &Arc<Self>, mut search: Search) {
        let is_over = search.live >= search.enough || search.pages >= PAGES;
        let Some((from, to)) = search.stretches.last().cloned().filter(|_| !is_over) else {
            return (search.done)(Ok((search.live, search.keys)));
        };
        let view = self.view();
        let preflist = view.preflist(view.ring().partition_of(search.slot)).clone();
        let mut places = preflist.places.iter();
        let place = places.find(|place| place.up && !search.asked.contains(&place.node));
        let Some(place) = place else {
            let why = "no replica of the slot tells its keys now".to_owned();
            return (search.done)(Err(KvError::NotListed { why }));
        };
        search.asked.push(place.node.clone());
        let left = search.named.saturating_sub(search.keys.len() as u32);
        let question = Question {
            service: KV,
            slot: search.slot,
            ring: preflist.ring,
            command: Command::Keys {
                from,
                to,
                most: left,
            },
            body: Bytes::new(),
            timeout_ms: PAGE_MS,
        };
        let engine = self.clone();
        let tell = Box::new(move |reply| {
            search.take(reply);
            engine.search(search);
        });
        self.coordinator()
            .ask(&place.node, question, self.now(), tell);
    }

    /// Anything: enough to choose a key by.
    fn draw(&self) -> u64 {
        let number = self.coordinator().fresh_id().0;
        xxhash_rust::xxh3::xxh3_64_with_seed(&number.to_be_bytes(), self.wall_ms())
    }
}

impl Search {
    /// Takes a page; anything else leaves it to the next replica.
    fn take(&mut self, reply: Option<Reply>) {
        let Some(Reply {
            answer: Answer::Keys { live, next },
            body,
            ..
        }) = reply
        else {
            return;
        };
        let Ok(items) = read_items(body) else {
            return;
        };
        let names = items
            .into_iter()
            .filter_map(|(key, _)| StoreKey::parse(key).ok());
        self.keys.extend(names.map(|key| key.key()));
        self.live += u64::from(live);
        self.pages += 1;
        self.asked.clear();
        match (self.stretches.last_mut(), next) {
            (Some((from, _)), Some(next)) if next > *from => *from = next,
            _ => drop(self.stretches.pop()),
        }
    }
}

/// The entries of a keyspace in a slot.
fn stretch_of(slot: Slot, keyspace: u32) -> (Bytes, Bytes) {
    let (start, end) = StoreKey::range(Space::Data, KV.0, slot.0..=slot.0);
    let from = [&start[..], &keyspace.to_be_bytes()].concat();
    let to = match keyspace.checked_add(1) {
        Some(next) => Bytes::from([&start[..], &next.to_be_bytes()].concat()),
        None => end,
    };
    (Bytes::from(from), to)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost without it: RANDOMKEY asks a partition that is empty, or never one of them.
    #[test]
    fn partitions_are_chosen_by_what_they_hold() {
        let census = Census {
            at_ms: 0,
            live: vec![0, 2, 0, 1],
        };
        let found: Vec<_> = (0..4).map(|nth| census.find(nth).map(|p| p.0)).collect();
        assert_eq!(found, [Some(1), Some(1), Some(3), None]);
        assert_eq!(census.total(), 3);
    }

    /// Lost without it: the keys of a slot are looked for among those of another, or of another keyspace.
    #[test]
    fn a_stretch_holds_the_keys_of_its_slot_and_keyspace() {
        let (from, to) = stretch_of(Slot(7), 3);
        let key = |slot, keyspace| StoreKey::entry(Space::Data, KV.0, slot, keyspace, b"k");
        let is_in = |key: Bytes| from <= key && key < to;
        assert!(is_in(key(7, 3)));
        assert!(!is_in(key(7, 2)) && !is_in(key(7, 4)) && !is_in(key(8, 3)));
    }
}
