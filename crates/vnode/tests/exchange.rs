//! What comparing two copies costs, and what a move that was broken sends again: a few nodes, a network and a clock that the test moves.

mod two;

use std::sync::Arc;

use bytes::Bytes;
use rkv_ring::{Partition, Slot};
use rkv_storage::checked::Checked;
use rkv_storage::memory::Memory;
use rkv_storage::{Backend, Batch, Error, Scan, Space, Stats, StoreKey};
use rkv_vnode::Service;
use rkv_vnode::trial::{SETTINGS, Trial};
use rkv_wire::items::read_items;
use rkv_wire::message::{Answer, Command, CopyId, CopyState, Message, Role, Totals};

use two::{LARGEST, Largest, Two};

/// The partition that is looked at, and how many slots it has.
const PARTITION: Partition = Partition(0);
const SLOTS: u16 = 2_048;

/// Two owners, `a` and `b`.
struct Pair(Trial);

impl Pair {
    fn new() -> Pair {
        let services = || -> Vec<Arc<dyn Service>> { vec![Arc::new(Largest)] };
        let mut trial = Trial::found("a", 2, SETTINGS, services);
        trial.join("b");
        Pair(trial)
    }

    fn key(i: usize) -> (Slot, Bytes) {
        let slot = (i % usize::from(SLOTS)) as u16;
        let name = format!("key{i}");
        let key = StoreKey::entry(Space::Data, LARGEST.0, slot, 0, name.as_bytes());
        (Slot(slot), key)
    }

    /// Puts an entry at one of them only.
    fn put(&mut self, node: &str, i: usize, value: &[u8]) {
        let (slot, key) = Pair::key(i);
        let command = Command::Put {
            key,
            hint_for: Vec::new(),
        };
        let value = Bytes::copy_from_slice(value);
        let place = (LARGEST, slot);
        let asked = self.0.ask_as(Role::Owner, node, place, command, value);
        assert_eq!(asked.0, Answer::Stored);
    }

    fn get(&self, node: &str, i: usize) -> Option<Bytes> {
        let store = self.0.host(node).store();
        store.get(&Pair::key(i).1).expect("a store in memory reads")
    }

    fn pass(&self, ms: u64, mut look: impl FnMut(&Message)) {
        for _ in 0..ms / 50 {
            self.0.tick();
            while let Some(on_its_way) = self.0.next() {
                look(&on_its_way.2);
                self.0.arrive(on_its_way);
            }
        }
    }

    fn totals(&self, node: &str) -> Totals {
        let copy = CopyId {
            service: LARGEST,
            partition: PARTITION,
        };
        let host = self.0.host(node);
        host.inspect(copy, |_, actor| actor.totals())
            .expect("a copy")
    }

    fn repairs(&self) -> u64 {
        ["a", "b"]
            .map(|node| self.0.host(node).repairs())
            .iter()
            .sum()
    }
}

/// What passed between two copies.
#[derive(Debug, Default, PartialEq, Eq)]
struct Traffic {
    /// Messages of comparisons, either way.
    messages: u64,
    /// Digests of entries.
    digests: u64,
    /// Entries.
    entries: u64,
}

impl Traffic {
    fn note(&mut self, message: &Message) {
        let count = |body: &bytes::Bytes| {
            let items = read_items(body.clone()).expect("a host sends sound items");
            items.len() as u64
        };
        match message {
            Message::AskSums { .. } | Message::SumsAre { .. } => self.messages += 1,
            Message::Compare { body, .. } => {
                self.messages += 1;
                self.digests += count(body);
            }
            Message::Compared { body, .. } => {
                self.messages += 1;
                self.entries += count(body);
            }
            Message::Fill { body, .. } | Message::HandoffItems { body, .. } => {
                self.entries += count(body);
            }
            _ => {}
        }
    }
}

/// Lost without it: copies that are equal are walked again and again, or a few keys that differ cost as much as all.
#[test]
fn copies_exchange_what_differs_and_little_more() {
    let mut pair = Pair::new();
    for i in 0..20_000 {
        pair.put("a", i, b"same");
        pair.put("b", i, b"same");
    }
    pair.pass(3_000, |_| ());
    let (mut exchanges, mut equal) = (0, Traffic::default());
    pair.pass(5_000, |message| {
        equal.note(message);
        exchanges += u64::from(matches!(message, Message::AskSums { .. }));
    });
    // Each of eight copies of each of two nodes, every second or two: two at once have a place.
    assert!((30..=90).contains(&exchanges), "{exchanges}");
    assert_eq!(equal.messages, 2 * exchanges, "a message each way");
    assert_eq!((equal.digests, equal.entries), (0, 0));

    for i in 0..60 {
        pair.put("a", 30_000 + i, b"only here");
        pair.put("b", 40_000 + i, b"only there");
    }
    for i in 0..40 {
        pair.put("b", i * 100, b"zz newer");
    }
    let mut mended = Traffic::default();
    pair.pass(5_000, |message| mended.note(message));
    assert_eq!(pair.totals("a"), pair.totals("b"));
    assert_eq!(pair.totals("a").entries, 20_120);
    println!("{mended:?}");
    // Of two versions of an entry each side sends its own.
    assert_eq!(mended.entries, 60 + 60 + 2 * 40, "{mended:?}");
    assert!(mended.digests < 20_000 / 10, "{mended:?}");
    let repairs = pair.repairs();
    assert_eq!(repairs, 160);
    pair.pass(3_000, |_| ());
    assert_eq!(pair.repairs(), repairs, "it stands still");
}

/// Lost without it: a copy that is written to all the time is never compared, and keeps what it missed from everybody.
#[test]
fn a_copy_under_constant_writes_is_mended_too() {
    let mut pair = Pair::new();
    pair.put("a", 0, b"missed by the other");
    let mut i = 0;
    while pair.totals("b").entries == 0 || pair.get("b", 0).is_none() {
        // The other hears of each write a little later.
        pair.put("a", 10 + i % 50, format!("{i:09}").as_bytes());
        if i > 0 {
            let before = i - 1;
            pair.put("b", 10 + before % 50, format!("{before:09}").as_bytes());
        }
        pair.pass(50, |_| ());
        i += 1;
        assert!(i < 1_000, "it is never mended");
    }
}

/// Lost without it: whoever is killed in the middle of a large move has all of it sent again.
#[test]
fn a_broken_move_sends_the_difference() {
    for (killed, at_slots) in [("a", 2_048), ("b", 2_048), ("b", 1), ("", 2_048)] {
        let mut two = Two::new();
        for i in 0..20_000 {
            two.put_at(i, i as u16 % at_slots, 100);
        }
        two.trial.adopt(two.joined.clone());
        let mut sent = Traffic::default();
        while sent.entries < 10_000 {
            two.arrive_with(|message| sent.note(message));
        }
        match killed {
            // The link is cut: nothing arrives until the session is given up.
            "" => {
                while two.trial.next().is_some() {}
                for _ in 0..50 {
                    two.trial.tick();
                    while two.trial.next().is_some() {}
                }
            }
            node => two.trial.restart(node),
        }
        // Written while nobody forwards.
        two.put_at(20_000, 7 % at_slots, 100);
        two.put_at(3, 3 % at_slots, 200);
        while !two.is_ready() {
            two.trial.tick();
            while two.arrive_with(|message| sent.note(message)) {}
            assert!(
                two.trial.now_ms() < 120_000,
                "{killed} {at_slots}: {sent:?}"
            );
        }
        println!("{killed} {at_slots}: {sent:?}");
        assert!(sent.entries <= 21_000, "{killed} {at_slots}: {sent:?}");
        assert_eq!(two.totals("a"), two.totals("b"));
    }
}

/// Lost without it: a move that was broken off does not end while requests come.
#[test]
fn a_broken_move_goes_on_while_requests_come() {
    let mut two = Two::new();
    for i in 0..2_000 {
        two.put_at(i, i as u16 % SLOTS, 100);
    }
    two.trial.adopt(two.joined.clone());
    let mut sent = Traffic::default();
    while sent.entries < 1_000 {
        two.arrive_with(|message| sent.note(message));
    }
    two.trial.restart("b");
    two.trial.steps_take(100);
    for i in (0..2_000).cycle() {
        if two.is_ready() {
            break;
        }
        two.put_at(i, i as u16 % SLOTS, 100);
        two.trial.tick();
        while two.arrive_with(|message| sent.note(message)) {}
        assert!(two.trial.now_ms() < 120_000, "{sent:?}");
    }
    assert_eq!(two.totals("a"), two.totals("b"));
}

/// An engine in memory that others hold too.
#[derive(Clone, Default)]
struct Shared(Arc<Memory>);

impl Backend for Shared {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.0.get(key)
    }

    fn apply(&self, batch: &Batch) -> Result<(), Error> {
        self.0.apply(batch)
    }

    fn push(&self) -> Result<(), Error> {
        self.0.push()
    }

    fn sync(&self) -> Result<(), Error> {
        self.0.sync()
    }

    fn scan(&self, start: &[u8], end: &[u8]) -> Scan {
        self.0.scan(start, end)
    }

    fn stats(&self) -> Stats {
        self.0.stats()
    }

    fn is_volatile(&self) -> bool {
        true
    }
}

/// Lost without it: an entry that a disk damaged stays away from its copy, which votes as if it had never held it.
#[test]
fn a_damaged_entry_is_refilled_as_soon_as_it_is_met() {
    let engine = Shared::default();
    let mut trial = Trial::found("a", 2, SETTINGS, || vec![Arc::new(Largest)]);
    trial.join_on("b", Arc::new(Checked::new(engine.clone())));
    let mut pair = Pair(trial);
    for i in 0..100 {
        pair.put("a", i, b"value");
        pair.put("b", i, b"value");
    }
    pair.pass(3_000, |_| ());
    let mut flip = Batch::default();
    let (_, key) = Pair::key(7);
    flip.put(key, Bytes::from_static(b"\x01nothing that was sealed"));
    engine.apply(&flip).expect("memory takes it");
    assert_eq!(pair.totals("b"), pair.totals("a"), "nobody has noticed");
    assert_eq!(pair.get("b", 7), None, "it is met");
    pair.pass(50, |_| ());
    let state = || pair.0.host("b").report().copies[0].state;
    assert_eq!(
        state(),
        CopyState::CatchingUp,
        "it does not count meanwhile"
    );
    pair.pass(1_000, |_| ());
    assert_eq!(pair.get("b", 7), Some(Bytes::from_static(b"value")));
    assert_eq!(state(), CopyState::Serving);
    assert_eq!(
        pair.0.host("b").report().warnings.len(),
        1,
        "people are told"
    );
    pair.pass(5_000, |_| ());
    assert_eq!(pair.totals("b"), pair.totals("a"));
    assert_eq!(pair.0.host("b").report().warnings.len(), 1);
}

/// Lost without it: what another move, or an older stay in the row, left is merged into a new copy, and a delete that was
/// reaped meanwhile comes back.
#[test]
fn what_another_move_left_is_dropped_first() {
    for is_same in [true, false] {
        let mut two = Two::new();
        two.fill(1_000, 100);
        two.trial.adopt(two.joined.clone());
        while two.totals("b") == Totals::default() {
            two.arrive_one();
        }
        two.trial.restart("b");
        let listed = two.joined.moves.values_mut().next().expect("one move");
        // Given up once more, or dropped and listed again.
        listed.attempt += 1;
        if !is_same {
            listed.since += 1;
        }
        two.joined.epoch.0 += 1;
        two.trial.adopt(two.joined.clone());
        let mut sent = Traffic::default();
        while !two.is_ready() {
            two.trial.tick();
            while two.arrive_with(|message| sent.note(message)) {}
        }
        assert_eq!(sent.entries == 1_000, !is_same, "{sent:?}");
    }
}

/// Lost without it: of a write that two have voted for, one in a third one's stead, the one copy goes because the other has it; then
/// one lost disk is enough.
#[test]
fn who_stands_in_for_an_owner_covers_no_other() {
    let services = || -> Vec<Arc<dyn Service>> { vec![Arc::new(Largest)] };
    let mut trial = Trial::found("a", 2, SETTINGS, services);
    trial.join("b");
    trial.start("c");
    let mut joined = trial.joined("c");
    let (partition, listed) = joined.moves.first_key_value().expect("c gets something");
    let (partition, from) = (*partition, listed.from.clone());
    joined.moves.retain(|of, _| *of == partition);
    joined.next.retain(|of, _| *of == partition);
    let mut owners = joined.row(partition).iter();
    let away = owners.find(|owner| **owner != from).expect("two owners");
    let (from, away) = (from.to_string(), away.clone());
    let hears_of = |trial: &Trial, up| {
        for node in ["a", "b", "c"]
            .iter()
            .filter(|node| **node != away.as_str())
        {
            trial.host(node).suspect(&away, up);
        }
    };
    hears_of(&trial, false);
    let slot = *joined.partitions.slots(partition).start();
    let key = StoreKey::entry(Space::Data, LARGEST.0, slot, 0, b"key");
    for (role, node, hint_for) in [
        (Role::Owner, from.as_str(), Vec::new()),
        (Role::Fallback, "c", vec![away.clone()]),
    ] {
        let key = key.clone();
        let command = Command::Put { key, hint_for };
        let place = (LARGEST, Slot(slot));
        let asked = trial.ask_as(role, node, place, command, Bytes::from_static(b"value"));
        assert_eq!(asked.0, Answer::Stored, "{node}");
    }
    trial.adopt(joined);
    let holders = |trial: &Trial| {
        let holds = |node: &&str| {
            trial
                .host(node)
                .store()
                .get(&key)
                .expect("it reads")
                .is_some()
        };
        ["a", "b", "c"].iter().filter(|node| holds(node)).count()
    };
    let pass_without = |trial: &Trial| {
        for _ in 0..100 {
            trial.tick();
            while let Some(message) = trial.next() {
                if message.0 != away && message.1 != away {
                    trial.arrive(message);
                }
            }
        }
    };
    pass_without(&trial);
    assert!(trial.complete_ready());
    pass_without(&trial);
    assert_eq!(holders(&trial), 2, "the one that left, and c");
    hears_of(&trial, true);
    trial.pass(5_000);
    assert_eq!(holders(&trial), 2, "both owners");
    let store = trial.host(&from).store();
    assert_eq!(store.get(&key).expect("it reads"), None);
}
