//! This file answers: what does a hint say?
//!
//! A hint is addressed to a partition, never to a node: it drains to whoever owns the partition then. `missing` only
//! saves work, and only while the ring is still the one that the hint was written under.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use rkv_ring::{NodeName, RingId};
use serde::{Deserialize, Serialize};

use crate::progress::Amount;

/// What is kept for owners that missed a write; stored under the entry's key in the hints' space.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hint {
    /// Who missed it, under which ring.
    pub head: Head,
    /// The entry; `None`: this node is an owner itself and sends what it holds then.
    pub entry: Option<Bytes>,
}

/// A hint without its entry.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Head {
    /// The ring under which it was written; `None`: none that counts, so every owner gets it.
    pub ring: Option<RingId>,
    /// Owners that missed it under that ring.
    pub missing: Vec<NodeName>,
    /// Whether it was given as a vote.
    pub counted: bool,
}

impl Hint {
    /// A hint of nothing yet, written under this ring.
    pub fn under(ring: RingId) -> Hint {
        Hint {
            head: Head {
                ring: Some(ring),
                ..Head::default()
            },
            entry: None,
        }
    }

    /// As it is stored: length of the head, head, entry.
    pub fn encode(&self) -> Bytes {
        let head =
            rmp_serde::to_vec_named(&self.head).expect("a hint holds nothing MessagePack cannot");
        let entry = self.entry.as_deref();
        let mut bytes = BytesMut::with_capacity(5 + head.len() + entry.map_or(0, <[u8]>::len));
        bytes.put_u8(u8::from(entry.is_some()));
        bytes.put_u32_le(u32::try_from(head.len()).expect("a row is short"));
        bytes.put_slice(&head);
        bytes.put_slice(entry.unwrap_or_default());
        bytes.freeze()
    }

    /// Reads what [`Hint::encode`] wrote.
    pub fn decode(mut bytes: Bytes) -> Option<Hint> {
        if bytes.len() < 5 {
            return None;
        }
        let has_entry = bytes[0] == 1;
        let length = u32::from_le_bytes(bytes[1..5].try_into().ok()?) as usize;
        let _ = bytes.split_to(5);
        if length > bytes.len() {
            return None;
        }
        let head = rmp_serde::from_slice(&bytes.split_to(length)).ok()?;
        Some(Hint {
            head,
            entry: has_entry.then_some(bytes),
        })
    }

    /// Takes over what another hint for the same entry says; entries are the caller's to merge.
    pub fn absorb(&mut self, ring: Option<RingId>, missing: &[NodeName], counted: bool) {
        if self.head.ring != ring {
            self.head.ring = None;
        }
        for node in missing {
            if !self.head.missing.contains(node) {
                self.head.missing.push(node.clone());
            }
        }
        self.head.counted |= counted;
    }

    /// Who is to get it, given today's ring and owners.
    pub fn targets(&self, ring: RingId, owners: &[NodeName]) -> Vec<NodeName> {
        self.head.targets(ring, owners)
    }
}

impl Head {
    fn targets(&self, ring: RingId, owners: &[NodeName]) -> Vec<NodeName> {
        if self.ring == Some(ring) {
            let missed = |node: &&NodeName| self.missing.contains(node);
            owners.iter().filter(missed).cloned().collect()
        } else {
            owners.to_vec()
        }
    }
}

/// How many hints of a copy are for whom; kept with every write of one.
#[derive(Debug, Default)]
pub struct Addressed {
    /// How many have which head: few have another, for most were written while the same owners were away.
    heads: Vec<(Head, Amount)>,
}

impl Addressed {
    /// A hint is held from now on.
    pub fn add(&mut self, key: &[u8], raw: &Bytes) {
        *self.of(raw) += Amount::one(key, raw);
    }

    /// A hint is gone, or has become another.
    pub fn remove(&mut self, key: &[u8], raw: &Bytes) {
        let gone = Amount::one(key, raw);
        let held = self.of(raw);
        held.entries = held.entries.saturating_sub(gone.entries);
        held.bytes = held.bytes.saturating_sub(gone.bytes);
        self.heads.retain(|(_, held)| held.entries > 0);
    }

    /// How many are alike with this one. What does not decode is for everybody.
    fn of(&mut self, raw: &Bytes) -> &mut Amount {
        let head = Hint::decode(raw.clone()).map(|hint| hint.head);
        let head = head.unwrap_or_default();
        let mut heads = self.heads.iter();
        let at = heads.position(|(of, _)| *of == head).unwrap_or_else(|| {
            self.heads.push((head, Amount::default()));
            self.heads.len() - 1
        });
        &mut self.heads[at].1
    }

    /// Whether there are any that were given as votes.
    pub fn has_votes(&self) -> bool {
        self.heads.iter().any(|(head, _)| head.counted)
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.heads.iter().map(|(_, held)| held.entries).sum()
    }

    /// Whether there are any that can leave now: `is_there` says who is. One that nobody is to get is dropped.
    pub fn can_leave(
        &self,
        ring: RingId,
        owners: &[NodeName],
        is_there: impl Fn(&NodeName) -> bool,
    ) -> bool {
        self.heads.iter().any(|(head, _)| {
            let targets = head.targets(ring, owners);
            targets.is_empty() || targets.iter().any(&is_there)
        })
    }

    /// How much each of today's owners is to get.
    pub fn targets(&self, ring: RingId, owners: &[NodeName]) -> BTreeMap<NodeName, Amount> {
        let mut all: BTreeMap<NodeName, Amount> = BTreeMap::new();
        for (head, held) in &self.heads {
            for node in head.targets(ring, owners) {
                *all.entry(node).or_default() += *held;
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rkv_ring::{ClusterId, Epoch};

    fn ring(epoch: u64) -> RingId {
        RingId {
            cluster: ClusterId(1),
            lineage: 0,
            epoch: Epoch(epoch),
        }
    }

    /// Lost without it: a hint that goes to the node that owned the partition once, and is dropped there.
    #[test]
    fn a_hint_goes_to_todays_owners() {
        let hint = Hint {
            head: Head {
                ring: Some(ring(3)),
                missing: vec!["c".into()],
                counted: true,
            },
            entry: Some(Bytes::from("entry")),
        };
        let now: Vec<NodeName> = vec!["a".into(), "b".into(), "d".into()];
        assert_eq!(hint.targets(ring(4), &now), now);
        let then: Vec<NodeName> = vec!["a".into(), "b".into(), "c".into()];
        assert_eq!(hint.targets(ring(3), &then), vec![NodeName::from("c")]);
        assert_eq!(Hint::decode(hint.encode()), Some(hint.clone()));
        let mut addressed = Addressed::default();
        let key = Bytes::from("key");
        addressed.add(&key, &hint.encode());
        let to_c = |addressed: &Addressed, ring, owners: &[NodeName]| {
            let targets = addressed.targets(ring, owners);
            let entries = targets.get(&NodeName::from("c")).map(|held| held.entries);
            (targets.len(), entries)
        };
        assert_eq!(to_c(&addressed, ring(3), &then), (1, Some(1)));
        assert_eq!(to_c(&addressed, ring(4), &now), (3, None));
        assert!(addressed.has_votes());
        addressed.remove(&key, &hint.encode());
        assert!(!addressed.has_votes());
        assert_eq!((addressed.count(), addressed.heads.len()), (0, 0));
        for cut in 0..5 {
            assert_eq!(Hint::decode(hint.encode().slice(..cut)), None);
        }
    }
}
