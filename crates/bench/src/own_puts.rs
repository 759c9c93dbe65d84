//! This file answers: which keys has this worker put, and what must they hold?

use std::collections::HashMap;

use rand::{Rng, RngExt};

use crate::values::Piece;

/// Most keys that all workers together remember; beyond, a new one takes the place of any.
const REMEMBERED_MOST: usize = 1 << 20;
/// What each worker may remember however many there are.
const REMEMBERED_LEAST: usize = 16;

/// What one worker remembers of its puts.
#[derive(Debug)]
pub(crate) struct OwnPuts {
    most: usize,
    numbers: Vec<u64>,
    /// None: nobody knows, its last put was not acknowledged.
    held: HashMap<u64, Option<Piece>>,
}

impl OwnPuts {
    pub(crate) fn new(workers: usize) -> OwnPuts {
        OwnPuts {
            most: (REMEMBERED_MOST / workers).max(REMEMBERED_LEAST),
            numbers: Vec::new(),
            held: HashMap::new(),
        }
    }

    /// A put of this key is about to be sent.
    pub(crate) fn begin(&mut self, number: u64, rng: &mut impl Rng) {
        if self.held.contains_key(&number) {
            return;
        }
        self.held.insert(number, None);
        if self.numbers.len() < self.most {
            self.numbers.push(number);
            return;
        }
        let place = rng.random_range(0..self.most);
        let forgotten = std::mem::replace(&mut self.numbers[place], number);
        self.held.remove(&forgotten);
    }

    /// What the last put of this key that was answered left there; none: it failed.
    pub(crate) fn end(&mut self, number: u64, held: Option<Piece>) {
        if let Some(known) = self.held.get_mut(&number) {
            *known = held;
        }
    }

    /// One of the keys.
    pub(crate) fn any(&self, rng: &mut impl Rng) -> Option<u64> {
        let len = self.numbers.len();
        (len > 0).then(|| self.numbers[rng.random_range(0..len)])
    }

    /// What this key must hold, if that is known.
    pub(crate) fn held(&self, number: u64) -> Option<Piece> {
        self.held.get(&number).copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::values::Values;

    /// Lost without it: memory grows with the run, or a key that was forgotten is still expected to hold something.
    #[test]
    fn memory_is_bounded_and_what_failed_is_unknown() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let piece = Values::Fixed(9).draw(&mut rng);
        let mut own = OwnPuts::new(REMEMBERED_MOST);
        assert_eq!(own.any(&mut rng), None);
        for number in 0..100 {
            own.begin(number, &mut rng);
            own.end(number, Some(piece));
        }
        assert_eq!(own.numbers.len(), REMEMBERED_LEAST);
        assert_eq!(own.held.len(), REMEMBERED_LEAST);
        let number = own.any(&mut rng).unwrap();
        assert_eq!(own.held(number), Some(piece));
        own.end(number, None);
        assert_eq!(own.held(number), None);
    }
}
