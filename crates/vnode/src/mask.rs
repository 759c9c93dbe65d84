//! This file answers: what of the store is dead by a keyspace's floor, though it is still there?
//!
//! When a floor rises, what lies at or below it is dead at once and deleted bit by bit. Until then whoever reads the copy
//! looks through this mask, so that a copy that has not been swept answers as one that has.

use bytes::Bytes;
use rkv_ring::Floors;
use rkv_storage::{Space, StoreKey};

use crate::hint::Hint;
use crate::vnode::Cut;

/// What a copy sees of its entries.
pub struct Mask {
    floors: Floors,
    cut: Cut,
    /// Off: nothing that is dead is left in the store, nor on its way there.
    is_on: bool,
}

impl Mask {
    /// Nothing is dead.
    pub fn new(cut: Cut) -> Mask {
        Mask {
            floors: Floors::default(),
            cut,
            is_on: false,
        }
    }

    /// The floors that it goes by.
    pub fn floors(&self) -> &Floors {
        &self.floors
    }

    /// Goes by these from now on; whether it is on stays.
    pub fn set_floors(&mut self, floors: Floors) {
        self.floors = floors;
    }

    /// Whether there may be something dead in the store.
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// Something dead may be there, or all of it is gone.
    pub fn set(&mut self, is_on: bool) {
        self.is_on = is_on && !self.floors.is_empty();
    }

    /// What is to be seen of what is stored under `key`.
    pub fn see(&self, key: &[u8], stored: Bytes) -> Option<Bytes> {
        if self.is_on {
            self.above(key, stored)
        } else {
            Some(stored)
        }
    }

    /// What is left above the floor of what is stored, or comes to be stored, under `key`. A hint without an entry says
    /// nothing that could be dead.
    pub fn above(&self, key: &[u8], stored: Bytes) -> Option<Bytes> {
        let keyspace = StoreKey::keyspace_of(key);
        let floor = keyspace.map_or(0, |keyspace| self.floors.of(keyspace));
        if floor == 0 {
            return Some(stored);
        }
        match StoreKey::space_of(key) {
            Some(Space::Data) => (self.cut)(&stored, floor),
            Some(Space::Hint) => self.hint_above(stored, floor),
            _ => Some(stored),
        }
    }

    fn hint_above(&self, stored: Bytes, floor: u64) -> Option<Bytes> {
        let Some(mut hint) = Hint::decode(stored.clone()) else {
            return Some(stored);
        };
        let Some(entry) = hint.entry.take() else {
            return Some(stored);
        };
        let left = (self.cut)(&entry, floor)?;
        if left == entry {
            return Some(stored);
        }
        hint.entry = Some(left);
        Some(hint.encode())
    }
}
