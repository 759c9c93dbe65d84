//! This file answers: how do batches stand in a log, and which of them are there after a crash?
//!
//! Each batch is one record: a checksum, the record's length, the log's life, then its changes. A log's records count up to the
//! first that is not whole: what a crash tore, or what the file held in an earlier life. For a log that is done with is
//! written over by a later one: its blocks are there already, so a sync writes what is new and nothing about the file (measured on
//! ext4: 110 us instead of 200).
//!
//! What a crash tears was never synced. So the first record behind a sync bears a mark: how much of which log is on the disk for
//! certain. A log that is whole for less than that was damaged since, and that is said: who took its end for torn would lose what
//! was acknowledged. Not told apart from a crash is damage behind which nothing was written any more.
//!
//! A file is named by the number of its log and by its life, `N.LIFE.log`, and by the last number that it had when it waits to be a
//! log again, `N.spare`; `0.spare` was none yet. A life is drawn at random when a log begins, and nobody is told: nothing that the
//! file held before, and nothing that a client has written, passes for a record of this log. (`N.log` is of the format before:
//! its life is its number, and it bears no marks.) A name is on the disk before what relies on it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, Bytes};

use crate::backend::{Batch, Op};
use crate::error::Error;

/// Checksum of all behind it, length of the changes, life of the log.
const HEADER_BYTES: usize = 4 + 8 + 8;

const LIFE_AT: usize = 4 + 8;

/// Lengths of a key and of what is held under it.
const LENGTHS_BYTES: usize = 4 + 4;

/// What is held under a key that has no value. Else it is a value behind [`VALUE`].
pub(super) const DELETED: &[u8] = &[0];

const VALUE: u8 = 1;

/// What is held under no key at all: a [`Mark`], its log and its bytes behind this.
const MARK: u8 = 2;

/// A buffer that a large batch has blown up further than this is given back.
const KEPT_BUFFER_BYTES: usize = 4 << 20;

/// A file is prepared in pieces of so much, and after each it is rested for so many times as long as that took: the disk is others'.
const PIECE_BYTES: usize = 256 << 10;
const RESTS: u32 = 3;

const LOG: &str = "log";
const SPARE: &str = "spare";
const DRAFT: &str = "draft";

/// The number of a file that was no log yet.
const UNUSED: u64 = 0;

/// The value of what is held under a key; `None`: it was deleted.
pub(super) fn value_of(held: &[u8]) -> Option<&[u8]> {
    held.strip_prefix(&[VALUE])
}

/// Which log a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) number: u64,
    life: u64,
}

impl Name {
    fn drawn(number: u64) -> Name {
        let life = RandomState::new().build_hasher().finish();
        Name { number, life }
    }

    /// Of a file name without its last part.
    fn parse(name: &str) -> Option<Name> {
        let Some((number, life)) = name.split_once('.') else {
            let number = name.parse().ok()?;
            let life = number;
            return Some(Name { number, life });
        };
        Some(Name {
            number: number.parse().ok()?,
            life: u64::from_str_radix(life, 16).ok()?,
        })
    }

    /// Whether it is of the format before, which has no marks and may be told from other bytes by chance.
    fn is_old(self) -> bool {
        self.life == self.number
    }

    fn path(self, dir: &Path) -> PathBuf {
        let Name { number, life } = self;
        match self.is_old() {
            true => dir.join(format!("{number}.{LOG}")),
            false => dir.join(format!("{number}.{life:016x}.{LOG}")),
        }
    }
}

/// How much of a log is on the disk for certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    log: u64,
    bytes: u64,
}

/// The log that is being written.
pub(super) struct Log {
    name: Name,
    file: Arc<File>,
    /// Bytes that the operating system has.
    written: u64,
    /// Records behind those.
    buffer: Vec<u8>,
    /// What the next record is to say.
    mark: Option<Mark>,
}

impl Log {
    /// Begins a log in `dir`, under a number above all that were used there.
    pub(super) fn begin(dir: &Path, number: u64) -> io::Result<Log> {
        let name = Name::drawn(number);
        let path = name.path(dir);
        match spares(dir)?.last() {
            Some(spare) => std::fs::rename(waiting(dir, *spare, SPARE), &path)?,
            None => drop(File::create_new(&path)?),
        }
        let file = OpenOptions::new().write(true).open(&path)?;
        sync_folder(dir)?;
        Ok(Log {
            name,
            file: Arc::new(file),
            written: 0,
            buffer: Vec::new(),
            mark: None,
        })
    }

    /// The log behind this one, all of which is on the disk.
    pub(super) fn next(&self, dir: &Path) -> io::Result<Log> {
        let next = Log::begin(dir, self.name.number + 1)?;
        let mark = Some(self.pushed());
        Ok(Log { mark, ..next })
    }

    /// What the operating system has; on the disk when the file has been synced since.
    pub(super) fn pushed(&self) -> Mark {
        Mark {
            log: self.name.number,
            bytes: self.written,
        }
    }

    /// So much is on the disk.
    pub(super) fn synced(&mut self, mark: Mark) {
        self.mark = Some(mark);
    }

    pub(super) fn name(&self) -> Name {
        self.name
    }

    /// Bytes of its records.
    pub(super) fn bytes(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Adds a batch; `hold` is told what each change leaves under which key.
    pub(super) fn add(&mut self, batch: &Batch, mut hold: impl FnMut(&[u8], &[u8])) {
        let begins = self.buffer.len();
        let changes = begins + HEADER_BYTES;
        let lengths = batch.ops.len() * (LENGTHS_BYTES + 1);
        self.buffer.reserve(HEADER_BYTES + lengths + batch.bytes());
        self.buffer.resize(changes, 0);
        if let Some(mark) = self.mark.take() {
            self.buffer.extend_from_slice(&length(0));
            self.buffer.extend_from_slice(&length(1 + 8 + 8));
            self.buffer.push(MARK);
            self.buffer.extend_from_slice(&mark.log.to_le_bytes());
            self.buffer.extend_from_slice(&mark.bytes.to_le_bytes());
        }
        for op in &batch.ops {
            let (key, value) = match op {
                Op::Put(key, value) => (key, Some(value)),
                Op::Delete(key) => (key, None),
            };
            let held_bytes = 1 + value.map_or(0, Bytes::len);
            self.buffer.extend_from_slice(&length(key.len()));
            self.buffer.extend_from_slice(&length(held_bytes));
            self.buffer.extend_from_slice(key);
            let held = self.buffer.len();
            match value {
                Some(value) => {
                    self.buffer.push(VALUE);
                    self.buffer.extend_from_slice(value);
                }
                None => self.buffer.extend_from_slice(DELETED),
            }
            hold(key, &self.buffer[held..]);
        }
        let bytes = (self.buffer.len() - changes) as u64;
        let (sum, rest) = self.buffer[begins..].split_at_mut(4);
        rest[..8].copy_from_slice(&bytes.to_le_bytes());
        rest[8..16].copy_from_slice(&self.name.life.to_le_bytes());
        sum.copy_from_slice(&crc32c::crc32c(rest).to_le_bytes());
    }

    /// Hands all records to the operating system. After a failure nobody knows what it has: the log is done for.
    pub(super) fn push(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.file.write_all_at(&self.buffer, self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        self.buffer.shrink_to(KEPT_BUFFER_BYTES);
        Ok(())
    }

    /// Where its records are, to be synced without the log in hand.
    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }
}

fn length(bytes: usize) -> [u8; 4] {
    let bytes = u32::try_from(bytes).expect("keys and values are shorter than 4 GiB");
    bytes.to_le_bytes()
}

/// The file that was the log of this number last, or none yet.
fn waiting(dir: &Path, number: u64, what: &str) -> PathBuf {
    dir.join(format!("{number}.{what}"))
}

fn sync_folder(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Makes the folder of the logs; it is there after a power cut when this returns.
pub(super) fn make_folder(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    dir.parent().map_or(Ok(()), sync_folder)
}

/// Writes a file of `bytes` that waits to be a log, unless one waits or `goes_on` says no. It is no harm if it cannot. Piece by
/// piece: the log that is in use is synced meanwhile, and waits for no more of it than one.
pub(super) fn prepare(dir: &Path, bytes: u64, goes_on: impl Fn() -> bool) -> io::Result<()> {
    if !spares(dir)?.is_empty() {
        return Ok(());
    }
    let draft = waiting(dir, UNUSED, DRAFT);
    let write = || -> io::Result<bool> {
        let file = File::create(&draft)?;
        let piece = vec![0; usize::try_from(bytes).map_or(PIECE_BYTES, |all| all.min(PIECE_BYTES))];
        let mut written = 0;
        while written < bytes {
            if !goes_on() {
                return Ok(false);
            }
            let next = &piece[..piece.len().min((bytes - written) as usize)];
            let begun = Instant::now();
            file.write_all_at(next, written)?;
            file.sync_data()?;
            written += next.len() as u64;
            std::thread::sleep(begun.elapsed() * RESTS);
        }
        std::fs::rename(&draft, waiting(dir, UNUSED, SPARE))?;
        sync_folder(dir)?;
        Ok(true)
    };
    let is_prepared = write();
    if !matches!(is_prepared, Ok(true)) {
        forget_draft(dir);
    }
    is_prepared.map(drop)
}

/// What a crash left of a file that was being prepared goes.
pub(super) fn forget_draft(dir: &Path) {
    let _ = std::fs::remove_file(waiting(dir, UNUSED, DRAFT));
}

/// All files of this kind, ascending.
fn names(dir: &Path, what: &str) -> io::Result<Vec<Name>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let parts = name.to_str().and_then(|name| name.rsplit_once('.'));
        let named = parts.filter(|(_, kind)| *kind == what);
        names.extend(named.and_then(|(name, _)| Name::parse(name)));
    }
    names.sort_unstable();
    Ok(names)
}

fn spares(dir: &Path) -> io::Result<Vec<u64>> {
    let spares = names(dir, SPARE)?.into_iter();
    Ok(spares.map(|name| name.number).collect())
}

/// The logs that were not done with, in order.
pub(super) fn left(dir: &Path) -> io::Result<Vec<Name>> {
    names(dir, LOG)
}

/// A number above all that were used in `dir`.
pub(super) fn unused(dir: &Path) -> io::Result<u64> {
    let (logs, spares) = (left(dir)?, spares(dir)?);
    let last = logs
        .last()
        .map(|name| name.number)
        .max(spares.last().copied());
    Ok(last.map_or(1, |last| last + 1))
}

/// Another place has all that this log holds: from now on its file waits to be another one. On the disk when this returns, so
/// that no log comes back when one behind it does not.
pub(super) fn retire(dir: &Path, log: Name) -> io::Result<()> {
    for spare in spares(dir)? {
        std::fs::remove_file(waiting(dir, spare, SPARE))?;
    }
    std::fs::rename(log.path(dir), waiting(dir, log.number, SPARE))?;
    sync_folder(dir)
}

/// Hands the batches of these logs to `take`, in their order, each log as far as it is whole. An error where one was damaged.
pub(super) fn replay(
    dir: &Path,
    logs: &[Name],
    mut take: impl FnMut(&Batch) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut whole = BTreeMap::new();
    for name in logs {
        let mut log = Reading::open(dir, *name).map_err(from_io)?;
        while let Some(record) = log.next().map_err(from_io)? {
            check(record.mark, &whole)?;
            take(&record.batch)?;
        }
        whole.insert(name.number, log.whole);
        if name.is_old() {
            continue;
        }
        let behind = log.behind().map_err(from_io)?;
        behind.iter().try_for_each(|mark| check(*mark, &whole))?;
        // It was synced before the next one began.
        if Some(name) != logs.last() && !behind.is_empty() {
            return Err(damaged(name.number, log.whole));
        }
    }
    Ok(())
}

fn from_io(error: io::Error) -> Error {
    Error::from_io(&error)
}

/// Whether the log that `mark` is about is `whole` for as much.
fn check(mark: Option<Mark>, whole: &BTreeMap<u64, u64>) -> Result<(), Error> {
    match mark.and_then(|mark| Some((mark, *whole.get(&mark.log)?))) {
        Some((mark, whole)) if whole < mark.bytes => Err(damaged(mark.log, whole)),
        _ => Ok(()),
    }
}

fn damaged(log: u64, whole: u64) -> Error {
    Error::Corrupt(format!(
        "its log {log} is damaged behind byte {whole}: what was synced there cannot be read"
    ))
}

/// A batch as it stands in a log.
#[derive(Debug, PartialEq, Eq)]
struct Record {
    mark: Option<Mark>,
    batch: Batch,
}

/// What a record begins with.
struct Header {
    sum: u32,
    /// Of its changes.
    bytes: u64,
    life: u64,
}

impl Header {
    fn read(mut header: &[u8]) -> Header {
        Header {
            sum: header.get_u32_le(),
            bytes: header.get_u64_le(),
            life: header.get_u64_le(),
        }
    }
}

/// Whether these are the changes of the record that begins with `header`.
fn is_whole(header: &[u8], changes: &[u8]) -> bool {
    let found = crc32c::crc32c_append(crc32c::crc32c(&header[4..]), changes);
    found == Header::read(header).sum
}

/// A log that is read.
struct Reading {
    file: BufReader<File>,
    life: u64,
    /// Of the whole file.
    bytes: u64,
    /// Of the records so far.
    whole: u64,
}

impl Reading {
    fn open(dir: &Path, name: Name) -> io::Result<Reading> {
        let file = File::open(name.path(dir))?;
        Ok(Reading {
            bytes: file.metadata()?.len(),
            file: BufReader::with_capacity(1 << 20, file),
            life: name.life,
            whole: 0,
        })
    }

    /// The next record; `None`: what follows is none of this log.
    fn next(&mut self) -> io::Result<Option<Record>> {
        let mut bytes = [0; HEADER_BYTES];
        match self.file.read_exact(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let header = Header::read(&bytes);
        let left = self.bytes - self.whole - HEADER_BYTES as u64;
        if header.life != self.life || header.bytes > left {
            return Ok(None);
        }
        let mut changes = vec![0; usize::try_from(header.bytes).expect("it is in a file")];
        self.file.read_exact(&mut changes)?;
        if !is_whole(&bytes, &changes) {
            return Ok(None);
        }
        self.whole += HEADER_BYTES as u64 + header.bytes;
        Ok(decode(Bytes::from(changes)))
    }

    /// The marks of the records of this log that are whole behind what is not; without one `None`.
    fn behind(&mut self) -> io::Result<Vec<Option<Mark>>> {
        let mut rest = Vec::new();
        self.file.seek(SeekFrom::Start(self.whole))?;
        self.file.read_to_end(&mut rest)?;
        let rest = Bytes::from(rest);
        let (mut found, mut at) = (Vec::new(), 1);
        while let Some(header) = rest.get(at..at + HEADER_BYTES) {
            at += 1;
            if header[LIFE_AT..] != self.life.to_le_bytes() {
                continue;
            }
            let bytes = Header::read(header).bytes;
            let begins = at - 1 + HEADER_BYTES;
            if bytes > (rest.len() - begins) as u64 {
                continue;
            }
            let ends = begins + bytes as usize;
            let changes = rest.slice(begins..ends);
            if is_whole(header, &changes)
                && let Some(record) = decode(changes)
            {
                found.push(record.mark);
                at = ends;
            }
        }
        Ok(found)
    }
}

fn decode(mut changes: Bytes) -> Option<Record> {
    let (mut mark, mut batch) = (None, Batch::default());
    while !changes.is_empty() {
        if changes.len() < LENGTHS_BYTES {
            return None;
        }
        let (key, held) = (changes.get_u32_le() as usize, changes.get_u32_le() as usize);
        if changes.len() < key.checked_add(held)? {
            return None;
        }
        let (key, held) = (changes.split_to(key), changes.split_to(held));
        if let Some(mut said) = held.strip_prefix(&[MARK]) {
            let (log, bytes) = (said.try_get_u64_le().ok()?, said.try_get_u64_le().ok()?);
            mark = Some(Mark { log, bytes });
            continue;
        }
        match value_of(&held) {
            Some(value) => batch.put(key, held.slice_ref(value)),
            None => batch.delete(key),
        }
    }
    Some(Record { mark, batch })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(n: u8) -> Batch {
        let mut batch = Batch::default();
        batch.put(
            Bytes::from(vec![n; 3]),
            Bytes::from(vec![n; usize::from(n)]),
        );
        batch.delete(Bytes::from(vec![n; 2]));
        batch
    }

    fn write(dir: &Path, number: u64, batches: impl IntoIterator<Item = u8>) -> (Name, Vec<usize>) {
        let mut log = Log::begin(dir, number).unwrap();
        let mut ends = Vec::new();
        for n in batches {
            log.add(&batch(n), |_, _| ());
            ends.push(log.bytes() as usize);
        }
        log.push().unwrap();
        (log.name(), ends)
    }

    fn read(dir: &Path, logs: &[Name]) -> Result<Vec<Batch>, Error> {
        let mut all = Vec::new();
        replay(dir, logs, |batch| {
            all.push(batch.clone());
            Ok(())
        })?;
        Ok(all)
    }

    /// What becomes of a log that is cut, and of one that is flipped, at each of its bytes.
    fn spoil(dir: &Path, log: Name, mut look: impl FnMut(usize, bool)) {
        let path = log.path(dir);
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            std::fs::write(&path, &whole[..at]).unwrap();
            look(at, true);
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            std::fs::write(&path, flipped).unwrap();
            look(at, false);
        }
        std::fs::write(&path, whole).unwrap();
    }

    fn untouched(ends: &[usize], at: usize) -> usize {
        ends.iter().filter(|end| **end <= at).count()
    }

    /// Lost without it: a torn batch is taken for whole, or a whole one before it is lost.
    #[test]
    fn a_log_counts_up_to_the_first_record_that_is_not_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (log, ends) = write(dir.path(), 7, 0..4);
        let all: Vec<Batch> = (0..4).map(batch).collect();
        assert_eq!(read(dir.path(), &[log]).unwrap(), all);
        spoil(dir.path(), log, |at, _| {
            let read = read(dir.path(), &[log]).unwrap();
            assert_eq!(read, all[..untouched(&ends, at)], "at {at}");
        });
    }

    /// Lost without it: what was acknowledged behind a byte that has rotted is dropped without a word, as if a crash had torn it.
    #[test]
    fn what_was_synced_and_cannot_be_read_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::begin(dir.path(), 7).unwrap();
        let mut ends = Vec::new();
        for n in 0..6 {
            log.add(&batch(n), |_, _| ());
            ends.push(log.bytes() as usize);
            if n == 2 {
                log.push().unwrap();
                log.synced(log.pushed());
            }
        }
        log.push().unwrap();
        let all: Vec<Batch> = (0..6).map(batch).collect();
        assert_eq!(read(dir.path(), &[log.name()]).unwrap(), all);
        spoil(dir.path(), log.name(), |at, is_cut| {
            match read(dir.path(), &[log.name()]) {
                // Behind a cut there is nothing that could say more.
                Ok(read) => {
                    assert!(is_cut || at >= ends[2], "flipped at {at}");
                    assert_eq!(read, all[..untouched(&ends, at)], "at {at}");
                }
                Err(error) => {
                    assert!(!is_cut && at < ends[2], "at {at}: {error}");
                    assert!(matches!(error, Error::Corrupt(_)), "{error}");
                }
            }
        });
    }

    /// Lost without it: the same of a log behind which another has begun, to its last byte.
    #[test]
    fn a_log_before_another_is_whole_or_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::begin(dir.path(), 7).unwrap();
        (0..3).for_each(|n| log.add(&batch(n), |_, _| ()));
        log.push().unwrap();
        let mut next = log.next(dir.path()).unwrap();
        (3..6).for_each(|n| next.add(&batch(n), |_, _| ()));
        next.push().unwrap();
        let all: Vec<Batch> = (0..6).map(batch).collect();
        assert_eq!(read(dir.path(), &[log.name(), next.name()]).unwrap(), all);
        assert_eq!(
            read(dir.path(), &[next.name()]).unwrap(),
            all[3..],
            "7 is retired"
        );
        spoil(dir.path(), log.name(), |at, _| {
            assert!(
                read(dir.path(), &[log.name(), next.name()]).is_err(),
                "at {at}"
            );
        });
    }

    /// Lost without it: a client writes values that look like records, and the store does not open after the next crash.
    #[test]
    fn nothing_that_a_client_writes_passes_for_a_record() {
        let dir = tempfile::tempdir().unwrap();
        let mut forged = Log::begin(dir.path(), 7).unwrap();
        forged.synced(Mark {
            log: 8,
            bytes: 1 << 40,
        });
        forged.add(&batch(1), |_, _| ());
        forged.push().unwrap();
        let record = std::fs::read(forged.name().path(dir.path())).unwrap();
        let mut log = forged.next(dir.path()).unwrap();
        log.add(&batch(2), |_, _| ());
        let mut value = Batch::default();
        // Of the log before, and of this one by its number.
        let mut by_number = record.clone();
        by_number[LIFE_AT..HEADER_BYTES].copy_from_slice(&8_u64.to_le_bytes());
        let sum = crc32c::crc32c(&by_number[4..]);
        by_number[..4].copy_from_slice(&sum.to_le_bytes());
        value.put(Bytes::from("a"), Bytes::from([record, by_number].concat()));
        log.add(&value, |_, _| ());
        log.push().unwrap();
        let logs = [log.name()];
        assert_eq!(read(dir.path(), &logs).unwrap(), [batch(2), value]);
        let path = log.name().path(dir.path());
        let mut torn = std::fs::read(&path).unwrap();
        *torn.last_mut().unwrap() ^= 1;
        std::fs::write(&path, torn).unwrap();
        assert_eq!(read(dir.path(), &logs).unwrap(), [batch(2)]);
    }

    /// Lost without it: a folder of the format before opens without what its log holds.
    #[test]
    fn a_log_of_the_format_before_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let (name, _) = write(dir.path(), 7, 0..1);
        let mut bytes = std::fs::read(name.path(dir.path())).unwrap();
        bytes[LIFE_AT..HEADER_BYTES].copy_from_slice(&7_u64.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[4..]);
        bytes[..4].copy_from_slice(&sum.to_le_bytes());
        std::fs::remove_file(name.path(dir.path())).unwrap();
        std::fs::write(dir.path().join("7.log"), bytes).unwrap();
        let logs = left(dir.path()).unwrap();
        assert_eq!(read(dir.path(), &logs).unwrap(), [batch(0)]);
        retire(dir.path(), logs[0]).unwrap();
        assert_eq!(unused(dir.path()).unwrap(), 8);
    }

    /// Lost without it: writes of long ago come back behind those of today.
    #[test]
    fn what_a_file_held_as_another_log_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let (first, _) = write(dir.path(), 1, 0..9);
        retire(dir.path(), first).unwrap();
        let number = unused(dir.path()).unwrap();
        assert_eq!(number, 2);
        // The same batches: each of the earlier ones follows where a record of this log could.
        let (second, _) = write(dir.path(), number, 0..3);
        assert_eq!(left(dir.path()).unwrap(), [second]);
        assert_eq!(read(dir.path(), &[second]).unwrap().len(), 3);
        assert!(spares(dir.path()).unwrap().is_empty());
        retire(dir.path(), second).unwrap();
        assert_eq!(unused(dir.path()).unwrap(), 3);
    }
}
