//! This file answers: how are jobs carried out when there is no disk to wait for?
//!
//! By the caller, at once. One caller's jobs land in its order; those of several in the order of their calls, entry by
//! entry.

use std::sync::Arc;

use bytes::Bytes;

use crate::backend::{Backend, Batch, Scan, Stats};
use crate::error::Error;
use crate::faults::Faults;
use crate::store::{Done, Job, Snapshot, Store};

/// The store without a thread.
pub struct Direct {
    backend: Arc<dyn Backend>,
    faults: Faults,
}

impl Direct {
    /// Over `backend`, which is volatile: on a disk each job would wait for it alone.
    pub fn new(backend: Arc<dyn Backend>, faults: Faults) -> Direct {
        Direct { backend, faults }
    }
}

impl Store for Direct {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.backend.get(key)
    }

    fn look(&self, key: &[u8], see: &mut dyn FnMut(Option<&[u8]>)) -> Result<(), Error> {
        self.backend.look(key, see)
    }

    fn expect(&self, keys: &[&Bytes]) {
        self.backend.expect(keys);
    }

    fn scan(&self, start: &[u8], end: &[u8]) -> Scan {
        self.backend.scan(start, end)
    }

    fn page(
        &self,
        start: &[u8],
        end: &[u8],
        entries: usize,
        bytes: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        self.backend.page(start, end, entries, bytes)
    }

    fn submit(&self, job: Job) {
        (job.done)(self.apply(&job.batch));
    }

    fn snapshot(&self, start: Bytes, end: Bytes, done: Snapshot) {
        done(Ok(self.backend.scan(&start, &end)));
    }

    fn drop_range(&self, start: Bytes, end: Bytes, done: Done) {
        done(self.drop_now(&start, &end));
    }

    fn sync(&self, done: Done) {
        done(self.faults.check());
    }

    fn apply(&self, batch: &Batch) -> Result<(), Error> {
        self.faults.check()?;
        self.backend.apply(batch)
    }

    fn drop_now(&self, start: &[u8], end: &[u8]) -> Result<(), Error> {
        self.faults.check()?;
        self.backend.drop_range(start, end).map(|_| ())
    }

    fn take_damaged(&self) -> Vec<Bytes> {
        self.backend.take_damaged()
    }

    fn stats(&self) -> Stats {
        self.backend.stats()
    }

    fn is_volatile(&self) -> bool {
        true
    }

    fn close(&self) -> Result<(), Error> {
        Ok(())
    }
}
