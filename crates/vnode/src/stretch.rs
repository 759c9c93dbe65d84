//! This file answers: what does this copy lack of a stretch of another, and the other of this one?
//!
//! The answerer's side of a comparison; who asks, and what follows, is in [`crate::compare`].

use bytes::Bytes;
use rkv_storage::order::after;
use rkv_storage::{Error, Space, Store};
use rkv_wire::items::{BadItems, ItemsWriter, read_items};

use crate::holding::{Contents, Page};
use crate::vnode::Vnode;

/// Entries whose digests are compared in one step, at most: a request waits for no more of them.
pub const STRETCH_ENTRIES: usize = 256;
/// Bytes of entries in one message, about.
pub const FILL_BYTES: usize = 512 << 10;

/// A [`rkv_wire::message::Message::Compare`] taken apart.
pub struct Stretch {
    /// The first store key.
    pub from: Bytes,
    /// The first behind it.
    pub to: Bytes,
    /// Whether the asker wants what it lacks itself.
    pub both_ways: bool,
    /// What was deleted or ended before this unix time is left alone where the other holds nothing of its key.
    pub spared_ms: Option<u64>,
    /// The asker's keys and digests.
    pub digests: Bytes,
}

/// What came of a comparison.
#[derive(Debug, Default)]
pub struct Found {
    /// What the answerer lacks or holds differently, by position.
    pub lacking: Vec<u32>,
    /// Those of them of whose keys it holds nothing.
    pub absent: Vec<u32>,
    /// Whether it holds something that was spared.
    pub spared: bool,
    /// Up to where it compared.
    pub upto: Bytes,
    /// What the asker lacks or holds differently.
    pub items: Bytes,
}

/// The answerer's side: what it lacks of the asker's entries in `from..to`, up to where it compared, and (both ways)
/// the items that the asker lacks or holds differently, about `most_bytes` of them.
pub fn answer(
    store: &dyn Store,
    copy: Contents<'_>,
    stretch: Stretch,
    most_bytes: usize,
) -> Result<Found, Uncomparable> {
    let Stretch {
        from,
        to,
        both_ways,
        spared_ms,
        digests,
    } = stretch;
    let Contents { holding, vnode } = copy;
    let theirs = read_items(digests)?;
    let (start, end) = holding.range(Space::Data);
    let (from, to) = (from.max(start), to.min(end));
    let mut items = ItemsWriter::new();
    let mut found = Found::default();
    let mut next_theirs = 0usize;
    let mut cursor = from;
    loop {
        let Page { entries, next } =
            holding.page(store, &cursor, &to, STRETCH_ENTRIES, most_bytes)?;
        for (key, value) in &entries {
            while theirs
                .get(next_theirs)
                .is_some_and(|(their, _)| their < key)
            {
                found.lacking.push(next_theirs as u32);
                found.absent.push(next_theirs as u32);
                next_theirs += 1;
            }
            let same = match theirs.get(next_theirs) {
                Some((their, digest)) if their == key => {
                    let same = digest[..] == vnode.digest(value).to_le_bytes();
                    if !same {
                        found.lacking.push(next_theirs as u32);
                    }
                    next_theirs += 1;
                    same
                }
                _ if is_spared(vnode, value, spared_ms) => {
                    found.spared = true;
                    true
                }
                _ => false,
            };
            if both_ways && !same {
                items.push(key, value);
            }
            if items.bytes() >= most_bytes {
                found.upto = after(key);
                found.items = items.finish();
                return Ok(found);
            }
        }
        match next {
            Some(next) => cursor = next,
            None => break,
        }
    }
    let behind = next_theirs as u32..theirs.len() as u32;
    found.lacking.extend(behind.clone());
    found.absent.extend(behind);
    found.upto = to;
    found.items = items.finish();
    Ok(found)
}

/// Whether `entry` was deleted or ended before `spared_ms`: who holds nothing of its key may have let go of that already, also
/// where this copy holds the body still.
pub fn is_spared(vnode: &dyn Vnode, entry: &[u8], spared_ms: Option<u64>) -> bool {
    let gone_ms = || vnode.nature(entry).gone_ms();
    spared_ms.is_some_and(|spared_ms| gone_ms().is_some_and(|gone_ms| gone_ms <= spared_ms))
}

/// Why a comparison that was asked for could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Uncomparable {
    /// The list does not decode.
    #[error(transparent)]
    Bad(#[from] BadItems),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
}
