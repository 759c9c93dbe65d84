//! This file answers: what of a copy is dead by its keyspaces' floors, and what is left to delete of that?

use bytes::Bytes;
use rkv_ring::Floors;
use rkv_storage::{Error, Space, Store, StoreKey};

use super::{Holding, Write};
use crate::hint::Hint;
use crate::vnode::Vnode;

impl Holding {
    /// The floors that it goes by.
    pub fn floors(&self) -> &Floors {
        self.mask.floors()
    }

    /// Goes by floors that are the same as before, so that the next look is a quick one.
    pub fn rename_floors(&mut self, floors: &Floors) {
        self.mask.set_floors(floors.clone());
    }

    /// Goes by these floors from now on: what lies at or below them is not seen and not counted any more. Quick when all
    /// of it does; otherwise it is counted.
    pub fn keep_to(&mut self, floors: &Floors, store: &dyn Store, vnode: &dyn Vnode) {
        self.mask.set_floors(floors.clone());
        self.mask.set(true);
        let mut newest = self.newest.iter();
        let all_dead = newest.all(|(keyspace, newest)| *newest <= floors.of(*keyspace));
        let counted = if all_dead && !self.has_unstamped {
            self.tally = self.nothing();
            self.first_end_ms = None;
            match self.hints.count() {
                0 => Ok(()),
                _ => self.count_hints(store, vnode).map(drop),
            }
        } else if !self.drops.is_empty() {
            self.miscounted = true;
            Ok(())
        } else {
            self.count(store, vnode)
        };
        self.miscounted |= counted.is_err();
    }

    /// What is left above its floor of an entry that comes to be held under `key`.
    pub fn above(&self, key: &[u8], entry: Bytes) -> Option<Bytes> {
        self.mask.above(key, entry)
    }

    /// Whether something dead may be in the store.
    pub fn is_masked(&self) -> bool {
        self.mask.is_on()
    }

    /// Nothing dead is there any more, or the rest is on its way out.
    pub fn unmask(&mut self) {
        self.mask.set(false);
    }

    /// What to write so that nothing dead is left in a page of `space`, and where to go on. The hint of a key of which
    /// nothing is held says nothing either.
    pub fn dead(
        &self,
        store: &dyn Store,
        space: Space,
        from: &Bytes,
        entries: usize,
        bytes: usize,
    ) -> Result<(Vec<Write>, Option<Bytes>), Error> {
        let end = self.range(space).1;
        let page = self.stored(store, from, &end, entries, bytes)?;
        let mut writes = Vec::new();
        for (key, stored) in page.entries {
            let seen = self.mask.above(&key, stored.clone());
            let says_nothing = space == Space::Hint
                && Hint::decode(stored.clone()).is_some_and(|hint| hint.entry.is_none())
                && self
                    .get(store, &StoreKey::respace(&key, Space::Data))?
                    .is_none();
            if says_nothing {
                writes.push(Write::delete(key));
            } else if seen.as_ref() != Some(&stored) {
                writes.push(Write::new(key, seen));
            }
        }
        Ok((writes, page.next))
    }
}
