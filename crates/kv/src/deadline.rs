//! This file answers: how is a deadline changed, and nothing else?
//!
//! The version is read with the quorum of a get; then the deadline alone is written, for the value that was read. So a
//! value that is written meanwhile is not touched: the deadline is for one that is no longer held.

use std::sync::Arc;

use rkv_quorum::clock::Stamp;
use rkv_quorum::object::{Object, Version};
use rkv_quorum::outcome::{GetOutcome, PutOutcome};
use rkv_quorum::policy::{GetOptions, PutOptions, PutPolicy};
use rkv_quorum::put::Draft;
use rkv_vnode::Fault;

use crate::engine::{Done, Engine};
use crate::error::KvError;
use crate::figures::Op;
use crate::keyspace::Keyspace;

/// A change of a key's deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// When the value is to end, in unix milliseconds, perhaps in the past: then it is gone. None: never.
    pub at_ms: Option<u64>,
    /// Whether to write it at all.
    pub when: When,
}

/// On which condition a deadline is written, judged by the version that was read: somebody else may write in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum When {
    /// On none.
    #[default]
    Always,
    /// Only where none is.
    Unset,
    /// Only where one is.
    Set,
    /// Only where one is, and earlier: without one a value lives for ever.
    Later,
    /// Only where none is, or a later one.
    Sooner,
    /// Only where a later one is.
    SetAndSooner,
}

impl When {
    /// Whether a deadline `new` is written over `old`.
    pub fn admits(self, old: Option<u64>, new: Option<u64>) -> bool {
        let last = |at: Option<u64>| at.unwrap_or(u64::MAX);
        match self {
            When::Always => true,
            When::Unset => old.is_none(),
            When::Set => old.is_some(),
            When::Later => old.is_some() && last(new) > last(old),
            When::Sooner => last(new) < last(old),
            When::SetAndSooner => old.is_some() && last(new) < last(old),
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// What was read, as it was before; none where nothing lived.
    pub object: Option<Object>,
    /// The write of the deadline; none where nothing lived, or the condition did not hold.
    pub put: Option<PutOutcome>,
}

impl Engine {
    /// Reads `key` and, if it lives and the condition holds, writes its deadline.
    pub fn end(
        self: &Arc<Self>,
        keyspace: &Keyspace,
        key: &[u8],
        ending: Ending,
        options: &PutOptions,
        done: Done<Result<Ended, KvError>>,
    ) {
        let view = self.view();
        let checked = self.may_write(&view, key, 0).and_then(|()| {
            let ring_n = view.ring().replicas;
            Ok(PutPolicy::new(options, &keyspace.defaults, ring_n)?)
        });
        let policy = match checked {
            Ok(policy) => policy,
            Err(error) => return self.refuse(Op::Put, error, done),
        };
        let read = GetOptions {
            n: Some(u32::from(policy.n)),
            timeout_ms: Some(policy.timeout_ms),
            ..GetOptions::default()
        };
        let until_ms = self.now_ms().saturating_add(policy.timeout_ms);
        let (engine, space, name) = (self.clone(), keyspace.clone(), key.to_vec());
        let and_write = Box::new(move |got: Result<GetOutcome, KvError>| {
            let wall_ms = engine.wall_ms();
            let live = |object: &Object| object.version().is_live(wall_ms);
            let object = match got {
                Ok(got) => got.object.filter(live),
                Err(error) => return done(Err(error)),
            };
            let admitted = object.as_ref().and_then(|object| {
                let of = object.version().stamp()?;
                let admits = ending.when.admits(object.version().ends_ms(), ending.at_ms);
                admits.then(|| (engine.draft(object, of, ending.at_ms), object.version()))
            });
            let Some((draft, version)) = admitted else {
                return done(Ok(Ended { object, put: None }));
            };
            let stamp = engine.stamp_above(version);
            // The read took its part of the time.
            let left_ms = until_ms.saturating_sub(engine.now_ms());
            let policy = PutPolicy {
                timeout_ms: left_ms,
                ..policy
            };
            let told = Box::new(move |put: Result<PutOutcome, KvError>| {
                done(put.map(|put| Ended {
                    object,
                    put: Some(put),
                }));
            });
            engine.start_put(&space, &name, (draft, stamp), policy, told);
        });
        self.get(keyspace, key, &read, and_write);
    }

    fn draft(&self, object: &Object, of: Stamp, at_ms: Option<u64>) -> Draft {
        if self.host().fault() == Fault::ExpireRewritesValue {
            let body = object.body().clone();
            return Draft::Value { body, at_ms };
        }
        let value = object.clone();
        Draft::Deadline { at_ms, of, value }
    }

    /// Above the deadline that was read, which a clock that is behind would otherwise be refused for.
    fn stamp_above(&self, version: &Version) -> Stamp {
        let now = self.stamp(&self.host().view_now());
        let held = version.deadline().map(|held| held.stamp);
        match held.filter(|held| *held >= now) {
            Some(held) => self.clock().after(&held),
            None => now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost without it: a lease that is only ever to be prolonged is cut short; a key without a deadline counts as one that
    /// ends at once instead of never.
    #[test]
    fn conditions_take_no_deadline_for_the_latest() {
        let (none, soon, late) = (None, Some(5), Some(9));
        let admitted = |when: When| {
            let pairs = [(none, soon), (soon, late), (late, soon), (soon, soon)];
            pairs.map(|(old, new)| when.admits(old, new))
        };
        assert_eq!(admitted(When::Always), [true; 4]);
        assert_eq!(admitted(When::Unset), [true, false, false, false]);
        assert_eq!(admitted(When::Set), [false, true, true, true]);
        assert_eq!(admitted(When::Later), [false, true, false, false]);
        assert_eq!(admitted(When::Sooner), [true, false, true, false]);
        assert_eq!(admitted(When::SetAndSooner), [false, false, true, false]);
        assert!(When::Set.admits(soon, none) && !When::Set.admits(none, none));
    }
}
