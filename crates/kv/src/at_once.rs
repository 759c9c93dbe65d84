//! This file answers: which requests are answered within the call, without a request being opened?
//!
//! Those of a row that is this node alone (a single node, or n = 1 and this node first), when its vnode is idle and no disk
//! is waited for. The same vnode takes the same step under the same lock; what is left out is the machine that
//! would gather the answers of several nodes, for there is one. Whatever is not as plain as that is left to
//! [`Engine::get`] and [`Engine::put`].

use bytes::Bytes;
use rkv_quorum::object::{Object, Version};
use rkv_quorum::policy::{GetOptions, GetPolicy, PutOptions, PutPolicy};
use rkv_ring::{NodeName, Preflist, Slot};
use rkv_vnode::View;
use rkv_vnode::router::Route;
use rkv_wire::message::{Answer, Command, RequestId, Role};
use smallvec::SmallVec;

use crate::engine::Engine;
use crate::figures::{End, Op, SAMPLED, is_sampled};
use crate::keyspace::Keyspace;
use crate::replica::KV;

/// No answer to a request of this number is ever awaited: its answer is in the call.
const UNNUMBERED: RequestId = RequestId(0);

/// Where a key lies, found out ahead of its request.
#[derive(Debug)]
pub struct Located {
    slot: Slot,
    entry: Bytes,
}

impl Engine {
    /// Where `key` lies.
    pub fn locate(&self, keyspace: &Keyspace, key: &[u8]) -> Located {
        let (slot, entry) = keyspace.locate(key);
        Located { slot, entry }
    }

    /// These keys are asked for in a moment, one after the other: what the store has of them in memory is fetched meanwhile.
    pub fn expect<'a>(&self, located: impl Iterator<Item = &'a Located>) {
        self.expect_keys(located.map(|located| &located.entry));
    }

    /// The same of store keys.
    pub fn expect_keys<'a>(&self, keys: impl Iterator<Item = &'a Bytes>) {
        let keys: SmallVec<[&Bytes; 32]> = keys.collect();
        if keys.len() > 1 {
            self.host().store().expect(&keys);
        }
    }

    /// Whether writes wait for no disk.
    fn is_volatile(&self) -> bool {
        self.host().store().is_volatile()
    }

    /// What is held under `key`, by the keyspace's own n and r; `None`: nothing was asked yet. `located` is where the key
    /// lies, if that was found out.
    pub fn get_at_once(
        &self,
        keyspace: &Keyspace,
        key: &[u8],
        located: Option<Located>,
    ) -> Option<Option<Object>> {
        let view = self.host().view_now();
        self.may_read(&view, key).ok()?;
        let policy = GetPolicy::new(
            &GetOptions::default(),
            &keyspace.defaults,
            view.ring().replicas,
        );
        let policy = policy.ok()?;
        if !view.may_be_alone(policy.n) {
            return None;
        }
        let began_us = is_sampled().then(|| self.now_us());
        let slot = located.as_ref().map_or_else(|| Slot::of(key), |l| l.slot);
        let preflist = view.preflist(view.ring().partition_of(slot));
        if !is_alone(&view, preflist, policy.n) {
            return None;
        }
        let key = located.map_or_else(|| keyspace.entry(slot, key), |l| l.entry);
        let route = self.route_at_once(slot, preflist, policy.timeout_ms);
        let command = Command::Get { key };
        let host = self.host();
        let answered = host.ask_at_once(preflist.partition, route, command, Bytes::new());
        let object = match answered? {
            (Answer::Found, body) => Some(Object::decode(body).ok()?),
            (Answer::NotFound, _) => None,
            _ => return None,
        };
        let end = End::of_object(object.as_ref(), || self.wall_ms());
        self.ended_at_once(Op::Get, end, began_us);
        Some(object)
    }

    /// Writes a value by the keyspace's own n and w. Not stored is not written: it is to be put as if nothing had
    /// been tried.
    pub fn put_at_once(
        &self,
        keyspace: &Keyspace,
        key: &[u8],
        located: Option<Located>,
        body: &Bytes,
        at_ms: Option<u64>,
    ) -> bool {
        if !self.is_volatile() {
            return false;
        }
        let view = self.host().view_now();
        if self.may_write(&view, key, body.len()).is_err() {
            return false;
        }
        let policy = PutPolicy::new(
            &PutOptions::default(),
            &keyspace.defaults,
            view.ring().replicas,
        );
        let Some(policy) = policy.ok().filter(|it| view.may_be_alone(it.n)) else {
            return false;
        };
        let began_us = is_sampled().then(|| self.now_us());
        let slot = located.as_ref().map_or_else(|| Slot::of(key), |l| l.slot);
        let preflist = view.preflist(view.ring().partition_of(slot));
        if !is_alone(&view, preflist, policy.n) {
            return false;
        }
        let key = located.map_or_else(|| keyspace.entry(slot, key), |l| l.entry);
        let stamp = self.stamp(&view);
        let encoded = Bytes::from(Version::of_value(stamp, at_ms).encode_with(body));
        let route = self.route_at_once(slot, preflist, policy.timeout_ms);
        let hint_for = Vec::new();
        let command = Command::Put { key, hint_for };
        let host = self.host();
        let answered = host.ask_at_once(preflist.partition, route, command, encoded);
        let is_stored = matches!(answered, Some((Answer::Stored, _)));
        if is_stored {
            self.ended_at_once(Op::Put, End::Ok, began_us);
        }
        is_stored
    }

    fn route_at_once(&self, slot: Slot, preflist: &Preflist, timeout_ms: u64) -> Route {
        Route {
            id: UNNUMBERED,
            service: KV,
            slot,
            ring: preflist.ring,
            role: Role::Owner,
            within_ms: u32::try_from(timeout_ms).unwrap_or(u32::MAX),
        }
    }

    fn ended_at_once(&self, op: Op, end: End, began_us: Option<u64>) {
        let counters = self.coordinator().counters();
        counters.ended(op, end);
        if let Some(began_us) = began_us {
            let us = self.now_us().saturating_sub(began_us);
            counters.took(op, end, us, SAMPLED);
        }
    }
}

/// Whether the first n places are this node's: one answer speaks for all of them.
fn is_alone(view: &View, preflist: &Preflist, n: u8) -> bool {
    let me: &NodeName = view.me();
    let mut places = preflist.places.iter().take(usize::from(n));
    places.all(|place| place.up && place.node == *me)
}

#[cfg(test)]
#[path = "at_once_tests.rs"]
mod tests;
