//! This file answers: how is a disk made to fail on purpose?

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::error::Error;

/// What a disk is to pretend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFault {
    /// Each write fails.
    Error,
    /// It has no room.
    Full,
}

/// The switch of a store's faults; clones share it. Reads always work. Looked at once a group of writes.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<AtomicU8>);

impl Faults {
    /// From now on writes fail like this, or work again.
    pub fn set(&self, fault: Option<DiskFault>) {
        let number = match fault {
            None => 0,
            Some(DiskFault::Error) => 1,
            Some(DiskFault::Full) => 2,
        };
        self.0.store(number, Ordering::Relaxed);
    }

    /// What is set.
    pub fn get(&self) -> Option<DiskFault> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(DiskFault::Error),
            _ => Some(DiskFault::Full),
        }
    }

    /// What a write is answered with.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.get() {
            None => Ok(()),
            Some(DiskFault::Error) => Err(Error::Broken("a fault was set".to_owned())),
            Some(DiskFault::Full) => Err(Error::Full),
        }
    }
}
