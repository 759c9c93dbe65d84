//! This file answers: which keyspaces are there, and what of each is dead?
//!
//! A keyspace's **floor** is a hybrid time that only rises: whatever was written at or below it is dead wherever it turns
//! up. FLUSHALL raises it. It travels in the ring, so that two nodes that route by one ring agree on what is dead.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The number of the keyspace that is always there.
pub const DEFAULT_KEYSPACE: u32 = 0;

/// A keyspace as the ring lists it. Named fields, so that a later version can add to them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyspace {
    /// Its name.
    pub name: String,
    /// Hybrid time: an entry written at or below it is dead. 0: nothing is.
    #[serde(default)]
    pub floor: u64,
}

/// All keyspaces, by number. Numbers are never reused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Keyspaces(pub BTreeMap<u32, Keyspace>);

/// What a ring without a table has: `default`, of which nothing is dead.
impl Default for Keyspaces {
    fn default() -> Keyspaces {
        let default = Keyspace {
            name: "default".to_owned(),
            floor: 0,
        };
        Keyspaces(BTreeMap::from([(DEFAULT_KEYSPACE, default)]))
    }
}

impl Keyspaces {
    /// Whether this is what a ring without a table has: it is not written then, so that such rings keep their digests.
    pub fn is_default(&self) -> bool {
        *self == Keyspaces::default()
    }

    /// Raises the floor of a keyspace; one that is as high already stays. Whether there is such a keyspace.
    pub fn raise(&mut self, keyspace: u32, floor: u64) -> bool {
        let Some(listed) = self.0.get_mut(&keyspace) else {
            return false;
        };
        listed.floor = listed.floor.max(floor);
        true
    }

    /// The floors alone.
    pub fn floors(&self) -> Floors {
        let raised = self.0.iter().filter(|(_, listed)| listed.floor > 0);
        Floors(raised.map(|(id, listed)| (*id, listed.floor)).collect())
    }
}

/// The floors that were ever raised: few, cheap to clone, looked at with every entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Floors(Arc<[(u32, u64)]>);

impl Floors {
    /// The floor of a keyspace; 0: nothing of it is dead.
    pub fn of(&self, keyspace: u32) -> u64 {
        let mut floors = self.0.iter();
        let found = floors.find(|(id, _)| *id == keyspace);
        found.map_or(0, |(_, floor)| *floor)
    }

    /// The highest of all: a stamp above it is above each.
    pub fn highest(&self) -> u64 {
        self.0.iter().map(|(_, floor)| *floor).max().unwrap_or(0)
    }

    /// Whether none was ever raised.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is the very same table in memory: equal for certain, without a look at it.
    pub fn is_same(&self, other: &Floors) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost without it: a flush that comes late takes back a later one, and what that one killed lives again.
    #[test]
    fn a_floor_only_rises() {
        let mut all = Keyspaces::default();
        assert!(all.is_default() && all.floors().is_empty());
        assert!(all.raise(DEFAULT_KEYSPACE, 7) && all.raise(DEFAULT_KEYSPACE, 3));
        assert_eq!(
            (all.floors().of(DEFAULT_KEYSPACE), all.floors().of(9)),
            (7, 0)
        );
        assert!(!all.raise(9, 1) && !all.is_default());
    }
}
