//! This file answers: how does a scan stay on its snapshot in an engine that has none?
//!
//! A writer that is about to change an entry which an open scan has still to come by first keeps, for that scan, what
//! the entry held. So a scan costs memory only for what changes before it, never for what it reads. All writes go
//! through here, and one lock orders them, the opening of scans and the reading of a scan's next page.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::backend::{Batch, Scan};
use crate::error::Error;
use crate::order::after;

const PAGE_ENTRIES: usize = 256;
const PAGE_BYTES: usize = 1 << 20;

/// An engine that can read and write, but not stand still.
pub(crate) trait Live: Send + Sync + 'static {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error>;
    fn apply(&self, batch: &Batch) -> Result<(), Error>;
    fn page(
        &self,
        start: &[u8],
        end: &[u8],
        entries: usize,
        bytes: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error>;
}

/// The engine with snapshots.
pub(crate) struct Preimages<L> {
    pub(crate) live: L,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    last: u64,
    scans: BTreeMap<u64, Pending>,
}

/// What one scan has still to come by.
struct Pending {
    from: Bytes,
    to: Bytes,
    /// What entries of `from..to` held when the scan began, where that has changed.
    before: BTreeMap<Bytes, Option<Bytes>>,
}

impl<L: Live> Preimages<L> {
    pub(crate) fn new(live: L) -> Preimages<L> {
        Preimages {
            live,
            open: Mutex::default(),
        }
    }

    pub(crate) fn apply(&self, batch: &Batch) -> Result<(), Error> {
        let mut open = self.open.lock();
        if !open.scans.is_empty() {
            for op in &batch.ops {
                self.keep(&mut open, op.key())?;
            }
        }
        self.live.apply(batch)
    }

    fn keep(&self, open: &mut Open, key: &Bytes) -> Result<(), Error> {
        let mut held: Option<Option<Bytes>> = None;
        for scan in open.scans.values_mut() {
            let ahead = scan.from <= *key && *key < scan.to;
            if !ahead || scan.before.contains_key(key) {
                continue;
            }
            let value = match &held {
                Some(value) => value.clone(),
                None => held.insert(self.live.get(key)?).clone(),
            };
            scan.before.insert(key.clone(), value);
        }
        Ok(())
    }

    pub(crate) fn scan(self: &Arc<Self>, start: &[u8], end: &[u8]) -> Scan {
        if start >= end {
            return Box::new(std::iter::empty());
        }
        let mut open = self.open.lock();
        open.last += 1;
        let number = open.last;
        let pending = Pending {
            from: Bytes::copy_from_slice(start),
            to: Bytes::copy_from_slice(end),
            before: BTreeMap::new(),
        };
        open.scans.insert(number, pending);
        Box::new(Pages {
            engine: Arc::clone(self),
            number,
            page: Vec::new().into_iter(),
        })
    }

    /// The next entries of a scan; `None` at its end.
    fn next_page(&self, number: u64) -> Result<Option<Vec<(Bytes, Bytes)>>, Error> {
        let mut open = self.open.lock();
        let Some(scan) = open.scans.get_mut(&number) else {
            return Ok(None);
        };
        while scan.from < scan.to {
            let live = self
                .live
                .page(&scan.from, &scan.to, PAGE_ENTRIES, PAGE_BYTES)?;
            let upto = match live.last() {
                Some((last, _)) => after(last),
                None => scan.to.clone(),
            };
            let rest = scan.before.split_off(&upto);
            let changed = std::mem::replace(&mut scan.before, rest);
            scan.from = upto;
            let page = merge(live, changed);
            if !page.is_empty() {
                return Ok(Some(page));
            }
        }
        open.scans.remove(&number);
        Ok(None)
    }
}

fn merge(
    live: Vec<(Bytes, Bytes)>,
    changed: BTreeMap<Bytes, Option<Bytes>>,
) -> Vec<(Bytes, Bytes)> {
    if changed.is_empty() {
        return live;
    }
    let mut page: BTreeMap<Bytes, Bytes> = live.into_iter().collect();
    for (key, before) in changed {
        match before {
            Some(value) => page.insert(key, value),
            None => page.remove(&key),
        };
    }
    page.into_iter().collect()
}

struct Pages<L: Live> {
    engine: Arc<Preimages<L>>,
    number: u64,
    page: std::vec::IntoIter<(Bytes, Bytes)>,
}

impl<L: Live> Iterator for Pages<L> {
    type Item = Result<(Bytes, Bytes), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(entry) = self.page.next() {
            return Some(Ok(entry));
        }
        match self.engine.next_page(self.number) {
            Ok(page) => {
                self.page = page?.into_iter();
                self.page.next().map(Ok)
            }
            Err(error) => {
                self.close();
                Some(Err(error))
            }
        }
    }
}

impl<L: Live> Pages<L> {
    fn close(&self) {
        self.engine.open.lock().scans.remove(&self.number);
    }
}

impl<L: Live> Drop for Pages<L> {
    fn drop(&mut self) {
        self.close();
    }
}
