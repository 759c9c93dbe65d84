//! This file answers: where does a key lie, and with which n, r and w is it asked for?
//!
//! A keyspace is a named set of keys with its own n, r, w and rule. So far there is one, `default`.

use bytes::Bytes;
use rkv_quorum::policy::Defaults;
use rkv_ring::Slot;
use rkv_storage::{Space, StoreKey};

use crate::replica::KV;

/// A set of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyspace {
    /// Its number in store keys; never reused.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// What a request that says nothing else asks for.
    pub defaults: Defaults,
}

impl Keyspace {
    /// The keyspace `default`.
    pub fn default_with(defaults: Defaults) -> Keyspace {
        Keyspace {
            id: 0,
            name: "default".to_owned(),
            defaults,
        }
    }

    /// Where `key` lies: its slot, and the key of its entry in every store.
    pub fn locate(&self, key: &[u8]) -> (Slot, Bytes) {
        let slot = Slot::of(key);
        (slot, self.entry(slot, key))
    }

    /// The key of the entry of `key`, which lies in `slot`, in every store.
    pub(crate) fn entry(&self, slot: Slot, key: &[u8]) -> Bytes {
        StoreKey::entry(Space::Data, KV.0, slot.0, self.id, key)
    }
}
