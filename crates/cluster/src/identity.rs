//! This file answers: whose folder is this, and which start of it?
//!
//! A folder is one life of a node: an incarnation drawn when it is made, the node's name, and the number of its starts,
//! on disk before anybody hears of it. It is locked by its process.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use rkv_ring::{Incarnation, NodeName, boot};
use serde::{Deserialize, Serialize};

use crate::files::{self, FileError};

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The disk, its rights, or damage.
    #[error(transparent)]
    File(#[from] FileError),
    /// Another process has it.
    #[error(
        "node.data_dir {} is in use by another process; stop that one or give this node another folder",
        .0.display()
    )]
    InUse(PathBuf),
    /// It is another node's.
    #[error(
        "node.data_dir {} belongs to node '{holds}', and node.name is '{wanted}'; set node.name back or give this node another folder",
        dir.display()
    )]
    OtherNode {
        /// The folder.
        dir: PathBuf,
        /// Whose it is.
        holds: NodeName,
        /// Who this is.
        wanted: NodeName,
    },
    /// There is data and no ring that says what it is.
    #[error(
        "node.data_dir {} holds data but no readable ring; restore ring.a or ring.b, or move the folder away: founding a new cluster here would lose that data",
        .0.display()
    )]
    DataWithoutRing(PathBuf),
    /// The system gave no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    name: NodeName,
    incarnation: Incarnation,
    boot: u64,
    /// The machine's own boot, by the kernel.
    machine: String,
    /// Whether the last start ended with a clean stop.
    clean: bool,
}

/// One start of one folder. Unlocks it when dropped.
#[derive(Debug)]
pub struct Identity {
    dir: PathBuf,
    record: Record,
    machine_went_down: bool,
    _lock: File,
}

impl Identity {
    /// Locks the folder, making it if need be, and counts this start.
    pub fn open(dir: &Path, name: &NodeName) -> Result<Identity, IdentityError> {
        fs::create_dir_all(dir).map_err(FileError::io(dir))?;
        let lock_path = dir.join("lock");
        let lock = File::create(&lock_path).map_err(FileError::io(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(IdentityError::InUse(dir.to_owned())),
            Err(TryLockError::Error(error)) => return Err(FileError::io(&lock_path)(error).into()),
        }
        let path = dir.join("identity");
        let machine = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let before: Option<Record> = match files::read(&path)? {
            None => None,
            Some(content) => Some(
                rmp_serde::from_slice(&content)
                    .map_err(|_| FileError::Damaged { path: path.clone() })?,
            ),
        };
        if let Some(record) = before.as_ref().filter(|record| record.name != *name) {
            return Err(IdentityError::OtherNode {
                dir: dir.to_owned(),
                holds: record.name.clone(),
                wanted: name.clone(),
            });
        }
        let machine_went_down = before
            .as_ref()
            .is_some_and(|record| !record.clean && record.machine != machine);
        let record = Record {
            name: name.clone(),
            incarnation: match &before {
                Some(record) => record.incarnation,
                None => Incarnation(random()?),
            },
            boot: boot::next(before.map_or(0, |record| record.boot), random()? as u16),
            machine,
            clean: false,
        };
        let identity = Identity {
            dir: dir.to_owned(),
            record,
            machine_went_down,
            _lock: lock,
        };
        identity.save()?;
        Ok(identity)
    }

    fn save(&self) -> Result<(), FileError> {
        let content = rmp_serde::to_vec_named(&self.record).expect("a record is plain");
        files::write(&self.dir.join("identity"), &content)
    }

    /// This folder's life.
    pub fn incarnation(&self) -> Incarnation {
        self.record.incarnation
    }

    /// The [number](rkv_ring::boot) of this start.
    pub fn boot(&self) -> u64 {
        self.record.boot
    }

    /// A number that no other start of any node has.
    pub fn boot_id(&self) -> u64 {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.record.incarnation.0.to_le_bytes());
        hasher.update(&self.record.boot.to_le_bytes());
        let bytes = hasher.finalize();
        u64::from_le_bytes(bytes.as_bytes()[..8].try_into().expect("32 bytes hold 8"))
    }

    /// Whether the machine stopped since the last start without a clean stop of the node: what was not synced is lost.
    pub fn machine_went_down(&self) -> bool {
        self.machine_went_down
    }

    /// The node stopped cleanly: everything is synced.
    pub fn mark_clean(&mut self) -> Result<(), FileError> {
        self.record.clean = true;
        self.save()
    }

    /// Refuses a folder whose storage holds something although there is no ring: founding a cluster there would lose it.
    pub fn check_foundable(&self, storage: &Path) -> Result<(), IdentityError> {
        let holds_data = fs::read_dir(storage).is_ok_and(|mut entries| entries.next().is_some());
        if holds_data {
            return Err(IdentityError::DataWithoutRing(self.dir.clone()));
        }
        Ok(())
    }
}

/// A random number from the system.
pub fn random() -> Result<u128, IdentityError> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).map_err(IdentityError::Random)?;
    Ok(u128::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost without it: two processes in one folder, a boot number used twice, or a node in another's folder.
    #[test]
    fn a_folder_has_one_owner_and_counts_its_starts() {
        let folder = tempfile::tempdir().unwrap();
        let name = NodeName::from("a");
        let first = Identity::open(folder.path(), &name).unwrap();
        assert_eq!(boot::count(first.boot()), 1);
        let again = Identity::open(folder.path(), &name);
        assert!(matches!(again, Err(IdentityError::InUse(_))));
        let (life, id) = (first.incarnation(), first.boot_id());
        drop(first);
        let mut second = Identity::open(folder.path(), &name).unwrap();
        assert_eq!(
            (boot::count(second.boot()), second.incarnation()),
            (2, life)
        );
        assert_ne!(second.boot_id(), id);
        assert!(!second.machine_went_down());
        second.mark_clean().unwrap();
        drop(second);
        let other = Identity::open(folder.path(), &"b".into());
        assert!(matches!(other, Err(IdentityError::OtherNode { .. })));
    }
}
