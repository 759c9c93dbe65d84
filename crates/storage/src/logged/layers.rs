//! This file answers: what do several layers of entries amount to, of which one hides what another holds?
//!
//! The tables in memory hold what was written last: a value, or that there is none. Below them lies the engine.

use std::collections::BTreeMap;
use std::iter::Peekable;

use bytes::Bytes;

use super::log::value_of;
use crate::backend::Scan;
use crate::error::Error;

/// Of each key what the uppermost layer holds that knows it.
pub(super) type Over = BTreeMap<Bytes, Bytes>;

/// The value of what a table holds; `None`: it was deleted.
pub(super) fn value(held: &Bytes) -> Option<Bytes> {
    value_of(held).map(|value| held.slice_ref(value))
}

/// Lays `over` on a page of the engine, both of the same range.
pub(super) fn lay_over(page: Vec<(Bytes, Bytes)>, over: Over) -> Vec<(Bytes, Bytes)> {
    if over.is_empty() {
        return page;
    }
    let mut laid: BTreeMap<Bytes, Bytes> = page.into_iter().collect();
    for (key, held) in over {
        match value(&held) {
            Some(value) => laid.insert(key, value),
            None => laid.remove(&key),
        };
    }
    laid.into_iter().collect()
}

/// A scan of the engine under `over`.
pub(super) struct Laid {
    over: Peekable<std::collections::btree_map::IntoIter<Bytes, Bytes>>,
    engine: Peekable<Scan>,
}

impl Laid {
    pub(super) fn new(over: Over, engine: Scan) -> Laid {
        Laid {
            over: over.into_iter().peekable(),
            engine: engine.peekable(),
        }
    }
}

impl Iterator for Laid {
    type Item = Result<(Bytes, Bytes), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let below = match self.engine.peek() {
                Some(Err(_)) => return self.engine.next(),
                Some(Ok((key, _))) => Some(key),
                None => None,
            };
            let is_next = |key: &Bytes| below.is_none_or(|below| key <= below);
            let Some((key, held)) = self.over.next_if(|(key, _)| is_next(key)) else {
                return self.engine.next();
            };
            let hides = |entry: &Result<(Bytes, Bytes), Error>| {
                entry.as_ref().is_ok_and(|(below, _)| *below == key)
            };
            self.engine.next_if(hides);
            if let Some(value) = value(&held) {
                return Some(Ok((key, value)));
            }
        }
    }
}
