//! This file answers: what becomes of data of a cluster that this node has left?
//!
//! It is turned to hints for the partition, which drain to the owners and merge. Nothing else happens to the copy until
//! that is done.
//!
//! What that cluster flushed is left behind. The floors of this one were not meant for data that comes in only now: a
//! value below them is lifted above, by the one node that has it.

use bytes::Bytes;
use rkv_quorum::clock::Stamp;
use rkv_ring::Floors;
use rkv_storage::order::after;
use rkv_storage::{Batch, Error, Space, Store, StoreKey};

use super::writes::Then;
use super::{Actor, Cx, Effect};
use crate::hint::{Head, Hint};
use crate::phase::Phase;
use crate::vnode::Merged;

/// Entries and bytes turned in one batch.
const PAGE_ENTRIES: usize = 1024;
const PAGE_BYTES: usize = 4 << 20;

/// Where data from outside comes in.
pub struct Lift {
    /// The floors of the cluster that it comes into.
    pub floors: Floors,
    /// This boot.
    pub boot: u64,
}

impl Actor {
    /// This node is in another cluster now.
    pub(super) fn begin_absorbing(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        self.absorbing = true;
        self.giving.take();
        self.incoming = None;
        self.gated.clear();
        self.relays.clear();
        self.absorb(cx, effects);
    }

    /// Turns the copy to hints as soon as nothing is under way. That waits for the store: where this thread must not, the
    /// next tick does it.
    pub(super) fn absorb(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        if !self.absorbing || self.holding.in_flight() > 0 {
            return;
        }
        let lift = Lift {
            floors: cx.view.floors().clone(),
            boot: cx.settings.boot,
        };
        match self.turn_to_hints(cx.store, &lift) {
            Ok(_) => {
                self.absorbing = false;
                self.cluster = cx.view.id().cluster;
                self.enter(cx, Phase::Absent, Then::Nothing, effects);
                self.view_changed(cx, effects);
            }
            Err(Error::Busy) => {}
            Err(error) => effects.push(Effect::Warn(error.to_string())),
        }
    }

    /// Turns every entry of this copy into a hint for the partition, page by page, and says how many there were: data
    /// of a cluster that this node has left, or of a copy that belongs to no current owner. Runs before the first event
    /// or while nothing is under way.
    pub fn turn_to_hints(&mut self, store: &dyn Store, lift: &Lift) -> Result<u64, Error> {
        let mut turned = 0;
        let (mut from, to) = self.holding.range(Space::Data);
        loop {
            let page = store.page(&from, &to, PAGE_ENTRIES, PAGE_BYTES)?;
            let Some((last, _)) = page.last() else {
                break;
            };
            from = after(last);
            let mut batch = Batch::default();
            for (key, entry) in page {
                let alive = self.holding.above(&key, entry);
                if let Some(entry) = alive.and_then(|entry| self.lifted(&key, entry, lift)) {
                    let hint_key = StoreKey::respace(&key, Space::Hint);
                    let hint = self.hint_of_foreign(store, &hint_key, entry)?;
                    batch.put(hint_key, hint.encode());
                    turned += 1;
                }
                batch.delete(key);
            }
            store.apply(&batch)?;
        }
        self.open_under(&lift.floors);
        self.load(store)?;
        Ok(turned)
    }

    fn lifted(&self, key: &[u8], entry: Bytes, lift: &Lift) -> Option<Bytes> {
        let keyspace = StoreKey::keyspace_of(key)?;
        let floor = lift.floors.of(keyspace);
        if floor == 0 {
            return Some(entry);
        }
        // No restamp of a request has this sequence number.
        let stamp = Stamp {
            time: floor.saturating_add(1),
            boot: lift.boot,
            seq: u32::MAX,
        };
        self.vnode.lifted(&entry, floor, stamp)
    }

    /// The hint that an entry becomes, merged with one that is there already.
    fn hint_of_foreign(
        &self,
        store: &dyn Store,
        hint_key: &Bytes,
        entry: Bytes,
    ) -> Result<Hint, Error> {
        let mut hint = Hint {
            head: Head::default(),
            entry: Some(entry),
        };
        if let Some(there) = store.get(hint_key)?.and_then(Hint::decode) {
            hint.head = Head {
                ring: None,
                ..there.head
            };
            let merged = there
                .entry
                .map(|other| self.vnode.merge(hint.entry.as_ref(), &other));
            if let Some(Merged::Changed(both)) = merged {
                hint.entry = Some(both);
            }
        }
        Ok(hint)
    }
}
