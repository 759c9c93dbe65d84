//! This file answers: which engine does a folder hold, and does it still open?
//!
//! A file `STORAGE` names the format and the backend; the engine's files are in a folder of the backend's name beside
//! it, and logs in front of it in one more. An engine that does not open, or has forgotten the mark that was synced into it when it was made, is set aside
//! with its whole folder, never deleted, and a fresh one takes its place. A folder that is in use, not readable or of
//! another backend is an error instead: nothing is wrong with what it holds.

use std::io::{ErrorKind, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::backend::{Backend, BackendKind, Batch};
use crate::cached::Cached;
use crate::checked::{Checked, Damage};
use crate::error::Error;
use crate::fjall::Fjall;
use crate::healing::{self, Healing, Opener, Space};
use crate::logged::Logged;
use crate::memory::Memory;
use crate::sled::Sled;

/// The version of the folder, of store keys and of stored values. The first had no logs beside an engine, those of the second and the
/// third are named by a number alone, and else they were the same.
const FORMAT: u32 = 4;

const FIRST_FORMAT: u32 = 1;

const MARKER: &str = "STORAGE";

/// Behind all spaces, so that no range of entries holds it.
const MARK: &[u8] = b"\xffrkv";

/// A store, opened.
pub struct Opened {
    /// The engine.
    pub backend: Arc<dyn Backend>,
    /// Where the folder of an engine that did not open has gone.
    pub set_aside: Option<PathBuf>,
    /// Whether it holds nothing of an earlier life: new, set aside, or volatile.
    pub fresh: bool,
}

/// Opens the store in `dir`, or makes it there. That no other process uses `dir` is the caller's business.
pub fn open(kind: BackendKind, dir: &Path) -> Result<Opened, Error> {
    let held = held_kind(dir)?;
    if let Some(holds) = held.kind.filter(|holds| *holds != kind) {
        return Err(Error::OtherBackend {
            dir: dir.to_owned(),
            holds,
            wanted: kind,
        });
    }
    prepare(dir)?;
    if kind == BackendKind::Memory {
        write_marker(dir, kind)?;
        return Ok(Opened {
            backend: Arc::new(Memory::new()),
            set_aside: None,
            fresh: true,
        });
    }
    match open_engine(kind, dir, held.is_complete) {
        Ok((backend, fresh)) => {
            write_marker(dir, kind)?;
            Ok(Opened {
                backend,
                set_aside: None,
                fresh,
            })
        }
        Err(Error::Corrupt(what)) => {
            let aside = set_aside(dir)?;
            let to = aside.display();
            tracing::error!("the {kind} store does not open, it is kept as {to}: {what}");
            prepare(dir)?;
            let (backend, _) = open_engine(kind, dir, false)?;
            write_marker(dir, kind)?;
            Ok(Opened {
                backend,
                set_aside: Some(aside),
                fresh: true,
            })
        }
        Err(error) => Err(error),
    }
}

fn folder_error(dir: &Path, why: impl ToString) -> Error {
    Error::Folder {
        dir: dir.to_owned(),
        why: why.to_string(),
    }
}

/// What a folder says that it holds.
struct Held {
    kind: Option<BackendKind>,
    /// The engine was made to its end.
    is_complete: bool,
}

fn held_kind(dir: &Path) -> Result<Held, Error> {
    let marker = match std::fs::read_to_string(dir.join(MARKER)) {
        Ok(marker) => marker,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // A crash came between the making of the engine and of the file.
            let mut disks = [BackendKind::Sled, BackendKind::Fjall].into_iter();
            return Ok(Held {
                kind: disks.find(|kind| dir.join(kind.as_str()).exists()),
                is_complete: false,
            });
        }
        Err(error) => return Err(folder_error(dir, error)),
    };
    let words: Vec<&str> = marker.split_whitespace().collect();
    match words[..] {
        ["rkv-storage", "format", format, "backend", kind] => {
            let reads = FIRST_FORMAT..=FORMAT;
            if !format.parse().is_ok_and(|format| reads.contains(&format)) {
                let why = format!("it has format {format}, this version reads up to {FORMAT}");
                return Err(folder_error(dir, why));
            }
            let kind = kind.parse().map_err(|error| folder_error(dir, error))?;
            Ok(Held {
                kind: Some(kind),
                is_complete: true,
            })
        }
        _ => Err(folder_error(
            dir,
            format!("its file {MARKER} does not say what it holds"),
        )),
    }
}

fn write_marker(dir: &Path, kind: BackendKind) -> Result<(), Error> {
    let write = || -> std::io::Result<()> {
        let path = dir.join(MARKER);
        let marker = format!("rkv-storage\nformat {FORMAT}\nbackend {kind}\n");
        if std::fs::read_to_string(&path).is_ok_and(|held| held == marker) {
            return Ok(());
        }
        let draft = dir.join(format!("{MARKER}.new"));
        let mut file = std::fs::File::create(&draft)?;
        file.write_all(marker.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&draft, &path)?;
        std::fs::File::open(dir)?.sync_all()
    };
    write().map_err(|error| folder_error(dir, error))
}

/// Makes the folder and tries to write there.
fn prepare(dir: &Path) -> Result<(), Error> {
    let prepare = || -> std::io::Result<()> {
        std::fs::create_dir_all(dir)?;
        let probe = dir.join("probe");
        std::fs::File::create(&probe)?;
        std::fs::remove_file(&probe)
    };
    prepare().map_err(|error| folder_error(dir, format!("node.data_dir must be writable: {error}")))
}

/// Renames `dir`; the first number that is free.
fn set_aside(dir: &Path) -> Result<PathBuf, Error> {
    let name = |number: u32| {
        let mut name = dir.as_os_str().to_owned();
        name.push(format!(".set-aside-{number}"));
        PathBuf::from(name)
    };
    let aside = (1..)
        .map(name)
        .find(|path| !path.exists())
        .expect("folders are fewer than numbers");
    std::fs::rename(dir, &aside).map_err(|error| folder_error(dir, error))?;
    Ok(aside)
}

/// Folders of engines that did not open, beside the store in `dir`, in the order of their names.
pub fn folders_set_aside(dir: &Path) -> Vec<PathBuf> {
    let (Some(parent), Some(name)) = (dir.parent(), dir.file_name()) else {
        return Vec::new();
    };
    let prefix = format!("{}.set-aside-", name.to_string_lossy());
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let aside = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
    let mut folders: Vec<PathBuf> = aside.map(|entry| entry.path()).collect();
    folders.sort();
    folders
}

/// The engine, checked and healing, and whether it was made just now.
fn open_engine(
    kind: BackendKind,
    dir: &Path,
    must_be_old: bool,
) -> Result<(Arc<dyn Backend>, bool), Error> {
    let path = dir.join(kind.as_str());
    let space = space_of(dir.to_owned());
    let damage: Arc<Damage> = Arc::default();
    let opener: Opener = Box::new(move || open_raw(kind, &path, &damage));
    let backend = Healing::open(opener, space)?;
    let fresh = backend.get(MARK)?.is_none();
    if fresh {
        let behind: &[u8] = &[0xff; 8];
        if must_be_old || !backend.is_empty(&[], behind)? {
            return Err(Error::Corrupt("it has lost what it held".to_owned()));
        }
        let mut batch = Batch::default();
        batch.put(Bytes::from_static(MARK), Bytes::from_static(b"1"));
        backend.apply(&batch)?;
        backend.sync()?;
    }
    Ok((Arc::new(backend), fresh))
}

fn open_raw(
    kind: BackendKind,
    path: &Path,
    damage: &Arc<Damage>,
) -> Result<Box<dyn Backend>, Error> {
    // Both engines panic on some kinds of damage.
    let opened = catch_unwind(AssertUnwindSafe(|| -> Result<Box<dyn Backend>, Error> {
        let damage = Arc::clone(damage);
        Ok(match kind {
            BackendKind::Memory => Box::new(Memory::new()),
            BackendKind::Sled => Box::new(Cached::new(Checked::noting(Sled::open(path)?, damage))),
            BackendKind::Fjall => {
                let engine = Cached::new(Checked::noting(Fjall::open(path)?, damage));
                Box::new(Logged::open(engine, &path.with_extension("log"))?)
            }
        })
    }));
    opened.unwrap_or_else(|_| Err(Error::Corrupt(format!("{kind} panicked"))))
}

fn space_of(dir: PathBuf) -> Space {
    Box::new(move || healing::space(&dir))
}
