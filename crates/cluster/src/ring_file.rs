//! This file answers: where does the ring machine's state survive?
//!
//! Two files, written in turn, each with a counter: the newer valid one counts. A write that was cut short left its file's
//! old content or none (it is renamed into place), and the other file is the state before. A file that is there and
//! damaged is not passed over: its state may hold a promise, and promises are kept.

use std::path::{Path, PathBuf};

use rkv_ring::cluster::Stored;
use serde::{Deserialize, Serialize};

use crate::files::{self, FileError};
use crate::keeper::RingStore;

#[derive(Serialize, Deserialize)]
struct Numbered {
    number: u64,
    stored: Stored,
}

/// The pair of files in a node's folder.
pub struct RingFile {
    folder: PathBuf,
    number: u64,
}

impl RingFile {
    /// The pair in `folder`, and what it holds.
    pub fn open(folder: &Path) -> Result<(RingFile, Option<Stored>), FileError> {
        let mut newest: Option<Numbered> = None;
        for path in paths(folder) {
            let Some(content) = files::read(&path)? else {
                continue;
            };
            let numbered: Numbered =
                rmp_serde::from_slice(&content).map_err(|_| FileError::Damaged { path })?;
            if newest.as_ref().is_none_or(|n| n.number < numbered.number) {
                newest = Some(numbered);
            }
        }
        let number = newest.as_ref().map_or(0, |n| n.number);
        let file = RingFile {
            folder: folder.to_owned(),
            number,
        };
        Ok((file, newest.map(|n| n.stored)))
    }
}

impl RingStore for RingFile {
    fn save(&mut self, stored: &Stored) -> Result<(), String> {
        let numbered = Numbered {
            number: self.number + 1,
            stored: stored.clone(),
        };
        let content = rmp_serde::to_vec_named(&numbered).map_err(|e| e.to_string())?;
        let path = &paths(&self.folder)[(numbered.number % 2) as usize];
        files::write(path, &content).map_err(|e| e.to_string())?;
        self.number = numbered.number;
        Ok(())
    }
}

fn paths(folder: &Path) -> [PathBuf; 2] {
    [folder.join("ring.a"), folder.join("ring.b")]
}

#[cfg(test)]
mod tests {
    use rkv_ring::{Addresses, ClusterId, Incarnation, Member, PartitionCount, Ring, Status};

    use super::*;

    fn stored(epoch: u64) -> Stored {
        let member = Member {
            incarnation: Incarnation(7),
            status: Status::Valid,
            addresses: Addresses::default(),
            zone: None,
            weight: 1.0,
        };
        let q = PartitionCount::new(8).unwrap();
        let mut ring = Ring::found(ClusterId(1), "t", q, 3, "a".into(), member);
        ring.epoch.0 = epoch;
        Stored::fresh(ring)
    }

    /// Lost without it: a restart that forgets a promise, or takes an old ring for the last.
    #[test]
    fn the_newest_state_counts() {
        let folder = tempfile::tempdir().unwrap();
        let (mut file, none) = RingFile::open(folder.path()).unwrap();
        assert!(none.is_none());
        for epoch in 1..5 {
            file.save(&stored(epoch)).unwrap();
            let (_, read) = RingFile::open(folder.path()).unwrap();
            assert_eq!(read.unwrap().ring.epoch.0, epoch);
        }
        std::fs::write(folder.path().join("ring.a"), b"rubbish").unwrap();
        assert!(RingFile::open(folder.path()).is_err());
    }
}
