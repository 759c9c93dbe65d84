//! This file answers: how do entries whose keys begin alike lie in order, with little room between them?
//!
//! In pieces of [`PIECE_ENTRIES`], each one stretch of memory. A full piece gives to a neighbour that has room before it is
//! made two, so that pieces are some four fifths full when keys come in any order, where a tree's nodes are two thirds. What
//! comes in order, as a copy that is handed over, fills its pieces. All but a run's first few entries lie in pieces of one
//! size: of several, the allocator would keep room for each.

use std::cmp::Ordering;

use smallvec::{SmallVec, smallvec};

use super::entry::{Entry, Sought};
use crate::near;

/// Entries of a piece at most: just under 512 bytes, which allocators have a size for.
const PIECE_ENTRIES: usize = 21;
/// Entries that a run has room for at first; twice as many then, and then a piece's.
const FIRST_ENTRIES: usize = 5;

/// Entries whose keys have the same first 8 bytes. There is at least one.
pub(super) struct Run {
    pub(super) prefix: u64,
    /// In order; none is empty. The first is at hand: a small store has no more.
    pieces: SmallVec<[Piece; 1]>,
}

/// Some neighbouring entries.
struct Piece {
    /// The head of the first: a piece that is passed over is not looked into.
    least: u64,
    /// In order.
    entries: Vec<Entry>,
}

/// A piece, and a place in it.
type Place = (usize, usize);

impl Run {
    /// One entry.
    pub(super) fn of(key: &Sought<'_>, value: &[u8]) -> Run {
        let mut entries = Vec::with_capacity(FIRST_ENTRIES);
        entries.push(Entry::new(key, value));
        let least = key.head;
        Run {
            prefix: key.prefix,
            pieces: smallvec![Piece { least, entries }],
        }
    }

    pub(super) fn len(&self) -> usize {
        self.pieces.iter().map(|piece| piece.entries.len()).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Where the key is, or else would be. Numbers are compared as long as they tell: almost always to the end.
    fn find(&self, key: &Sought<'_>) -> Result<Place, Place> {
        let at = self.piece_of(key);
        let entries = self.pieces.get(at).map_or(&[][..], |piece| &piece.entries);
        let is_less = |entry: &&Entry| entry.head() < key.head;
        let mut place = entries.iter().take_while(is_less).count();
        while let Some(entry) = entries.get(place) {
            match entry.order(key) {
                Ordering::Less => place += 1,
                Ordering::Equal => return Ok((at, place)),
                Ordering::Greater => break,
            }
        }
        Err((at, place))
    }

    /// The last piece that begins at or before the key; the first, if none does.
    fn piece_of(&self, key: &Sought<'_>) -> usize {
        let mut behind = self.pieces.partition_point(|piece| piece.least < key.head);
        while let Some(piece) = self.pieces.get(behind) {
            let first = piece.entries.first().filter(|_| piece.least == key.head);
            if first.is_none_or(|first| first.order(key) == Ordering::Greater) {
                break;
            }
            behind += 1;
        }
        behind.saturating_sub(1)
    }

    /// The first entry of a piece is another one perhaps.
    fn note_least(&mut self, at: usize) {
        if let Some(piece) = self.pieces.get_mut(at)
            && let Some(first) = piece.entries.first()
        {
            piece.least = first.head();
        }
    }

    pub(super) fn get(&self, key: &Sought<'_>) -> Option<&Entry> {
        let (at, place) = self.find(key).ok()?;
        Some(&self.pieces[at].entries[place])
    }

    /// Has the piece fetched that the key is in.
    pub(super) fn expect_entries(&self, key: &Sought<'_>) {
        if let Some(piece) = self.likely(key) {
            near::fetch_all(&piece.entries);
        }
    }

    /// Has the entry fetched.
    pub(super) fn expect_value(&self, key: &Sought<'_>) {
        let mut entries = self
            .likely(key)
            .into_iter()
            .flat_map(|piece| &piece.entries);
        if let Some(entry) = entries.find(|entry| entry.head() == key.head) {
            entry.expect();
        }
    }

    /// The piece of the key, as far as numbers tell: no entry is looked into.
    fn likely(&self, key: &Sought<'_>) -> Option<&Piece> {
        let behind = self.pieces.partition_point(|piece| piece.least <= key.head);
        self.pieces.get(behind.saturating_sub(1))
    }

    /// Holds the value under the key; how many bytes of key and value were held there before.
    pub(super) fn put(&mut self, key: &Sought<'_>, value: &[u8]) -> u64 {
        match self.find(key) {
            Ok((at, place)) => {
                let entry = &mut self.pieces[at].entries[place];
                let held = entry.bytes();
                entry.replace(key, value);
                held
            }
            Err(place) => {
                self.insert(place, key, value);
                0
            }
        }
    }

    fn insert(&mut self, mut place: Place, key: &Sought<'_>, value: &[u8]) {
        if self.pieces[place.0].entries.len() == PIECE_ENTRIES {
            place = self.relieve(place, key);
        }
        let entries = &mut self.pieces[place.0].entries;
        make_room(entries);
        entries.insert(place.1, Entry::new(key, value));
        self.note_least(place.0);
    }

    /// Makes room at a place of a full piece, or beside it: by a neighbour that has some, else by another piece. What
    /// is to come behind all others begins a new one. A neighbour keeps room for itself, so that both have some then.
    /// Says where the place of the key is now.
    fn relieve(&mut self, (at, place): Place, key: &Sought<'_>) -> Place {
        let room = |at: usize| match self.pieces.get(at) {
            Some(piece) => PIECE_ENTRIES - piece.entries.len(),
            None => 0,
        };
        let gives = |at: usize| room(at) / 2;
        let (before, behind) = (at.checked_sub(1).map_or(0, gives), gives(at + 1));
        if before > behind {
            let (lower, upper) = self.pieces.split_at_mut(at);
            let given = upper[0].entries.drain(..before);
            lower[at - 1].entries.extend(given);
            self.note_least(at);
        } else {
            let mut given = behind;
            if behind == 0 {
                let is_last = at + 1 == self.pieces.len() && place == PIECE_ENTRIES;
                let least = key.head;
                let entries = Vec::with_capacity(PIECE_ENTRIES);
                self.pieces.insert(at + 1, Piece { least, entries });
                if is_last {
                    return (at + 1, 0);
                }
                given = PIECE_ENTRIES / 2;
            }
            let (lower, upper) = self.pieces.split_at_mut(at + 1);
            let given = lower[at].entries.drain(PIECE_ENTRIES - given..);
            upper[0].entries.splice(..0, given);
            self.note_least(at + 1);
        }
        self.find(key).unwrap_or_else(|place| place)
    }

    /// Lets go of the key; how many bytes were held there.
    pub(super) fn delete(&mut self, key: &Sought<'_>) -> u64 {
        let Ok((at, place)) = self.find(key) else {
            return 0;
        };
        let held = self.pieces[at].entries.remove(place).bytes();
        self.note_least(at);
        self.tidy(at);
        held
    }

    /// An entry went from a piece: gives it back when it is empty, and makes one of two neighbours that fit well into it.
    fn tidy(&mut self, at: usize) {
        if self.pieces[at].entries.is_empty() {
            self.pieces.remove(at);
            return;
        }
        for lower in [at.saturating_sub(1), at] {
            let entries = |at: usize| self.pieces.get(at).map(|piece| piece.entries.len());
            let both = entries(lower).zip(entries(lower + 1));
            if both.is_some_and(|(one, other)| one + other <= PIECE_ENTRIES * 2 / 3) {
                let mut upper = self.pieces.remove(lower + 1);
                self.pieces[lower].entries.append(&mut upper.entries);
                return;
            }
        }
    }

    /// All entries, in order.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.pieces.iter().flat_map(|piece| &piece.entries)
    }

    /// The entries of `start..end`, in order.
    pub(super) fn between(
        &self,
        start: Sought<'_>,
        end: Sought<'_>,
    ) -> impl Iterator<Item = &Entry> {
        let (first, behind) = self.places(&start, &end);
        let pieces = self.pieces.iter().enumerate();
        pieces
            .take(behind.0 + 1)
            .skip(first.0)
            .flat_map(move |(at, piece)| &piece.entries[part(at, &piece.entries, first, behind)])
    }

    /// Lets go of the entries of `start..end`; how many they were, and their bytes.
    pub(super) fn drop_between(&mut self, start: &Sought<'_>, end: &Sought<'_>) -> (u64, u64) {
        let (first, behind) = self.places(start, end);
        let (mut dropped, mut bytes) = (0, 0);
        for at in first.0..self.pieces.len().min(behind.0 + 1) {
            let entries = &mut self.pieces[at].entries;
            for entry in entries.drain(part(at, entries, first, behind)) {
                dropped += 1;
                bytes += entry.bytes();
            }
            self.note_least(at);
        }
        self.pieces.retain(|piece| !piece.entries.is_empty());
        (dropped, bytes)
    }

    /// Where `start..end` begins, and where it has ended.
    fn places(&self, start: &Sought<'_>, end: &Sought<'_>) -> (Place, Place) {
        let place = |key: &Sought<'_>| match self.prefix.cmp(&key.prefix) {
            Ordering::Less => (self.pieces.len(), 0),
            Ordering::Equal => self.find(key).unwrap_or_else(|place| place),
            Ordering::Greater => (0, 0),
        };
        (place(start), place(end))
    }
}

/// Grows a piece that is full and smaller than it may be.
fn make_room(piece: &mut Vec<Entry>) {
    if piece.len() == piece.capacity() {
        let room = match piece.len() {
            FIRST_ENTRIES => 2 * FIRST_ENTRIES,
            _ => PIECE_ENTRIES,
        };
        piece.reserve_exact(room - piece.len());
    }
}

/// What of a piece lies between two places.
fn part(at: usize, piece: &[Entry], first: Place, behind: Place) -> std::ops::Range<usize> {
    let begins = if at == first.0 { first.1 } else { 0 };
    let ends = if at == behind.0 {
        behind.1
    } else {
        piece.len()
    };
    begins..ends
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> Vec<u8> {
        [&[1; 8][..], &n.to_be_bytes()].concat()
    }

    /// A run with these keys, each as its own value.
    fn filled(keys: impl IntoIterator<Item = u64>) -> Run {
        let keys: Vec<Vec<u8>> = keys.into_iter().map(key).collect();
        let mut run = Run::of(&Sought::new(&keys[0]), &keys[0]);
        for key in &keys[1..] {
            assert_eq!(run.put(&Sought::new(key), key), 0);
        }
        run
    }

    /// Keys in no order.
    fn mixed(n: u64) -> impl Iterator<Item = u64> {
        (0..n).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Lost without it: memory that nobody uses, when keys come in order or in none, or when most of them go.
    #[test]
    fn pieces_stay_full() {
        let mut run = filled(0..1_000);
        assert_eq!(run.pieces.len(), 1_000_usize.div_ceil(PIECE_ENTRIES));
        for n in (0..1_000).filter(|n| n % 50 != 0) {
            assert_eq!(run.delete(&Sought::new(&key(n))), 32);
        }
        assert_eq!(run.len(), 20);
        assert!(run.pieces.len() <= 3, "{} pieces", run.pieces.len());
        for n in (0..1_000).step_by(50) {
            assert!(run.get(&Sought::new(&key(n))).is_some());
            run.delete(&Sought::new(&key(n)));
        }
        assert!(run.is_empty());

        let run = filled(mixed(10_000));
        let room = run.pieces.iter().map(|piece| piece.entries.capacity());
        let room = room.sum::<usize>();
        assert!(room <= 10_000 * 5 / 4, "room for {room}");
        assert_eq!(room, run.pieces.len() * PIECE_ENTRIES);
    }

    /// Lost without it: entries that are lost, doubled or out of order where pieces are made two, filled up and joined.
    #[test]
    fn a_run_is_what_an_ordered_map_is() {
        let mut run = filled([1]);
        let mut map = std::collections::BTreeMap::from([(key(1), 16)]);
        for (turn, n) in mixed(6_000).enumerate() {
            let key = key(n % 700);
            let sought = Sought::new(&key);
            if turn % 3 == 0 || (turn > 4_000 && turn % 8 != 0) {
                let held = map.remove(&key).map_or(0, |value| 16 + value as u64);
                assert_eq!(run.delete(&sought), held);
            } else {
                let held = map.insert(key.clone(), turn % 40);
                let held = held.map_or(0, |value| 16 + value as u64);
                assert_eq!(run.put(&sought, &vec![7; turn % 40]), held);
            }
            assert_eq!(run.len(), map.len());
            if turn % 50 == 0 {
                let from = self::key(n % 300);
                let to = self::key(n % 300 + n % 400 + 1);
                let found = run.between(Sought::new(&from), Sought::new(&to));
                let found: Vec<_> = found.map(|entry| entry.to_pair(run.prefix)).collect();
                let expected = map.range(from.clone()..to.clone());
                let expected: Vec<_> = expected
                    .map(|(key, value)| (key.clone().into(), vec![7; *value].into()))
                    .collect();
                assert_eq!(found, expected);
                if turn % 500 == 0 {
                    let bytes = expected.iter().map(|(key, value)| key.len() + value.len());
                    let dropped = (expected.len() as u64, bytes.sum::<usize>() as u64);
                    let (start, end) = (Sought::new(&from), Sought::new(&to));
                    assert_eq!(run.drop_between(&start, &end), dropped);
                    map.retain(|key, _| *key < from || *key >= to);
                }
            }
        }
    }
}
