//! This file answers: what does a store say when it cannot?

use std::path::PathBuf;

use crate::backend::BackendKind;

/// Why not, by what helps. Cheap to clone: one failure answers all jobs of its group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Again, not applied: more is queued than the disk keeps up with.
    #[error("storage is busy: too many writes are queued")]
    Busy,
    /// Again, not applied: the disk has no room. Reads and deletes go on, and it ends by itself when there is space.
    #[error("the disk of node.data_dir is full: this node only reads until there is space")]
    Full,
    /// Not applied: the store was closed.
    #[error("the store is closed")]
    Closed,
    /// This disk; what was written may have been applied and may show after a restart.
    #[error("storage failed: {0}")]
    Broken(String),
    /// This disk: what the engine holds is damaged.
    #[error("what storage holds is damaged: {0}")]
    Corrupt(String),
    /// Yours: the folder holds another backend's data.
    #[error(
        "storage.backend is `{wanted}`, but {} holds data of `{holds}`: set storage.backend back, or give node.data_dir another folder",
        dir.display()
    )]
    OtherBackend {
        /// The folder.
        dir: PathBuf,
        /// What it holds.
        holds: BackendKind,
        /// What was asked for.
        wanted: BackendKind,
    },
    /// Yours: the folder cannot be used.
    #[error("cannot use {}: {why}", dir.display())]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl Error {
    /// Whether what was to be written may be there all the same, now or after a restart.
    pub fn is_maybe_applied(&self) -> bool {
        matches!(self, Error::Broken(_) | Error::Corrupt(_))
    }

    /// From a failed system call on an engine's files.
    pub(crate) fn from_io(error: &std::io::Error) -> Error {
        use std::io::ErrorKind;
        match error.kind() {
            // A file of the engine's that is not there, too short, or there already.
            ErrorKind::NotFound
            | ErrorKind::UnexpectedEof
            | ErrorKind::InvalidData
            | ErrorKind::AlreadyExists => Error::Corrupt(error.to_string()),
            _ => Error::Broken(error.to_string()),
        }
    }
}
