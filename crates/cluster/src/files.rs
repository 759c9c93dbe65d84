//! This file answers: how is a small file written so that a crash leaves the old or the new one, never a mixture?
//!
//! A magic and a version, the length, a BLAKE3 of the content, the content; to a temporary file, synced, renamed, and the
//! folder synced.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 4] = b"rkv\x01";
const HEAD: usize = 4 + 8 + 32;

/// Why a small file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The disk or its rights.
    #[error("cannot use {}: {error}; check node.data_dir and its rights", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It is there and is not what was written.
    #[error(
        "{} is damaged; restore it from this node's other files or start the node on an empty node.data_dir and let it join again",
        path.display()
    )]
    Damaged {
        /// Which.
        path: PathBuf,
    },
}

impl FileError {
    /// For use with `map_err`.
    pub fn io(path: &Path) -> impl FnOnce(io::Error) -> FileError + '_ {
        move |error| FileError::Io {
            path: path.to_owned(),
            error,
        }
    }
}

/// Writes `content` to `path` in place of what was there.
pub fn write(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary).map_err(FileError::io(&temporary))?;
    let mut bytes = Vec::with_capacity(HEAD + content.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&(content.len() as u64).to_le_bytes());
    bytes.extend_from_slice(blake3::hash(content).as_bytes());
    bytes.extend_from_slice(content);
    file.write_all(&bytes).map_err(FileError::io(&temporary))?;
    file.sync_all().map_err(FileError::io(&temporary))?;
    fs::rename(&temporary, path).map_err(FileError::io(path))?;
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(FileError::io(folder))
}

/// Reads what [`write()`] wrote; `None` when there is no such file.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    let mut bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(FileError::io(path)(error)),
    };
    let damaged = || FileError::Damaged {
        path: path.to_owned(),
    };
    if bytes.len() < HEAD || bytes[..4] != *MAGIC {
        return Err(damaged());
    }
    let content = bytes.split_off(HEAD);
    let length = u64::from_le_bytes(bytes[4..12].try_into().expect("eight bytes"));
    if length != content.len() as u64 || bytes[12..HEAD] != *blake3::hash(&content).as_bytes() {
        return Err(damaged());
    }
    Ok(Some(content))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost without it: a node that starts from half a file.
    #[test]
    fn a_damaged_file_is_never_taken_for_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        assert_eq!(read(&path).unwrap(), None);
        write(&path, b"content").unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), b"content");
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            fs::write(&path, &whole[..at]).unwrap();
            assert!(matches!(read(&path), Err(FileError::Damaged { .. })));
            let mut bent = whole.clone();
            bent[at] ^= 0x10;
            fs::write(&path, &bent).unwrap();
            assert!(matches!(read(&path), Err(FileError::Damaged { .. })));
        }
    }
}
