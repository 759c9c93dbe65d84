//! This file answers: what does a service bring, so that the framework can run it on every node?
//!
//! The framework owns the bytes and the service owns their meaning. A vnode's entries lie in the node's store under
//! its service's number, ordered by slot; the framework reads, writes, moves, compares and drops them. The service
//! says what a command does and how two versions of one entry merge. In the line of `riak_core_vnode`, whose dozen
//! callbacks this keeps where they carry meaning: `handle_command`, the handoff item (`merge`, `digest`),
//! `handoff_starting`, `handoff_finished`, `handoff_cancelled`, `start` and `stop`; `is_empty`, `delete`, the fold and
//! the item's encoding are the framework's, since it owns the bytes.

use bytes::Bytes;
use rkv_quorum::clock::Stamp;
use rkv_ring::{Floors, NodeName, Partition};
use rkv_wire::message::{Answer, Command, ServiceId};

/// Reads an entry by its store key.
pub type Held<'a> = &'a dyn Fn(&Bytes) -> Result<Option<Bytes>, rkv_storage::Error>;

/// Shows an entry, by its store key, where it lies: `None`, there is none.
pub type Look<'a> =
    &'a dyn Fn(&Bytes, &mut dyn FnMut(Option<&[u8]>)) -> Result<(), rkv_storage::Error>;

/// What a vnode sees while it decides one command.
pub struct Context<'a> {
    /// This node.
    pub node: &'a NodeName,
    /// The partition it is for.
    pub partition: Partition,
    /// Unix time in milliseconds.
    pub wall_ms: u64,
    /// Set while the copy may have lost what it acknowledged: a write stamped at or below this is to be refused with
    /// [`Answer::Floor`], for a newer one may have been lost.
    pub floor: Option<Stamp>,
    /// The keyspaces' floors: of an entry's keyspace, what was written at or below it is dead, and a write stamped so is to
    /// be refused with [`Answer::Floor`]. What is held is shown without it.
    pub floors: &'a Floors,
    /// Hybrid time: a write stamped at or below it, of a key that is not held, is to be refused with [`Answer::Floor`]: it may
    /// have been deleted by something that was let go of.
    pub reaped: u64,
    /// Reads the entry under a store key, writes on their way to the disk included.
    pub held: Held<'a>,
    /// The same for who only looks at it: in memory it is not copied.
    pub look: Look<'a>,
}

/// What a vnode decided.
#[derive(Debug)]
pub enum Decision {
    /// Answer at once; the body goes with it.
    Answer(Answer, Bytes),
    /// What the command would have held is held already under `key`: answer [`Answer::Stored`] when that is as durable as
    /// the configuration promises, for it may be on its way still.
    Held {
        /// A store key of this service and partition.
        key: Bytes,
    },
    /// Hold `value` under `key` from now on, and answer when it is as durable as the configuration promises.
    Write {
        /// A store key of this service and partition.
        key: Bytes,
        /// The whole entry.
        value: Bytes,
        /// Said when it is stored.
        answer: Answer,
        /// What the service found out of both entries; `None`: they are looked at anew to be counted.
        known: Option<Known>,
    },
}

/// An entry and the one in whose place it comes, as far as they count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// What [`Context::held`] gave for the key; `None`: nothing.
    pub held: Option<Weighed>,
    /// Of the entry that is to be held.
    pub nature: Nature,
}

/// What counts of an entry that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weighed {
    /// Bytes of the entry, without its key.
    pub bytes: usize,
    /// The rest.
    pub nature: Nature,
}

/// What came of a merge.
#[derive(Debug, PartialEq, Eq)]
pub enum Merged {
    /// What is held covers what came.
    Unchanged,
    /// Hold this from now on.
    Changed(Bytes),
}

/// What the framework goes by of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nature {
    /// See [`Vnode::digest`].
    pub digest: u64,
    /// The highest hybrid time at which something of it was written; 0 if it bears none.
    pub newest: u64,
    /// Whether it is what people call a key, and no trace of one that was deleted.
    pub is_value: bool,
    /// When it ends by itself, in unix milliseconds; `None`: never, or it has shrunk already.
    pub ends_ms: Option<u64>,
    /// Since when it is but a trace of what was deleted or has ended, in unix milliseconds; `None`: it is more than that.
    pub trace_ms: Option<u64>,
}

impl Nature {
    /// Whether there is something to read at `wall_ms`.
    pub fn is_live(&self, wall_ms: u64) -> bool {
        self.is_value && self.ends_ms.is_none_or(|ends_ms| wall_ms < ends_ms)
    }

    /// Since when it is but a trace, or will have been when it has shrunk; `None`: nothing says that it goes.
    pub fn gone_ms(&self) -> Option<u64> {
        let written_ms = Stamp::last_of(self.newest).wall_ms();
        let ended = || self.ends_ms.map(|ends_ms| ends_ms.max(written_ms));
        self.trace_ms.or_else(ended)
    }
}

/// What is left of an entry above a hybrid time: `None`, nothing.
pub type Cut = fn(&Bytes, u64) -> Option<Bytes>;

/// One service's vnode for one partition. It has one caller at a time and never blocks.
pub trait Vnode: Send {
    /// Decides one command. Commands of one vnode come in order, each seeing the writes decided before it.
    fn handle_command(&mut self, cx: &Context<'_>, command: Command, body: Bytes) -> Decision;

    /// Merges an entry that came from another copy into what is held. Must commute, associate and repeat: entries
    /// come in any order, late and twice. Bytes that are no entry are `Unchanged`.
    fn merge(&self, held: Option<&Bytes>, incoming: &Bytes) -> Merged;

    /// Tells versions of an entry apart: equal for equal versions on every node.
    fn digest(&self, entry: &[u8]) -> u64 {
        xxhash_rust::xxh3::xxh3_64(entry)
    }

    /// All that the framework goes by of an entry; at once, for it is asked of each.
    fn nature(&self, entry: &[u8]) -> Nature {
        Nature {
            digest: self.digest(entry),
            newest: 0,
            is_value: true,
            ends_ms: None,
            trace_ms: None,
        }
    }

    /// How a keyspace's floor applies to its entries. A service whose entries bear no stamps has no floors.
    fn cut(&self) -> Cut {
        |entry, _| Some(entry.clone())
    }

    /// The entry as if it were written at `stamp`, if it lies at or below `floor`, for data that this floor was not meant
    /// for; `None`: there is nothing to keep.
    fn lifted(&self, entry: &Bytes, floor: u64, stamp: Stamp) -> Option<Bytes> {
        let _ = (floor, stamp);
        Some(entry.clone())
    }

    /// What is left of an entry that ended before `wall_ms`: of the same digest, and covered by what it was. `None`: it
    /// stays as it is.
    fn shrunk(&self, entry: &Bytes, wall_ms: u64) -> Option<Bytes> {
        let _ = (entry, wall_ms);
        None
    }

    /// A transfer of this copy to `to` is about to begin; `Err` puts it off and tells people why.
    fn handoff_starting(&mut self, to: &NodeName) -> Result<(), String> {
        let _ = to;
        Ok(())
    }

    /// The copy has been handed to `to`.
    fn handoff_finished(&mut self, to: &NodeName) {
        let _ = to;
    }

    /// The transfer was given up; the copy stays.
    fn handoff_cancelled(&mut self) {}

    /// The copy begins to answer here.
    fn start(&mut self) {}

    /// The copy no longer answers here; its entries are dropped when the owners cover them.
    fn stop(&mut self) {}
}

/// A service: its number, its name and how its vnodes are made.
pub trait Service: Send + Sync + 'static {
    /// First byte of its entries; unique in a node.
    fn id(&self) -> ServiceId;

    /// Its name, for people and for routing by name.
    fn name(&self) -> &'static str;

    /// Makes the vnode for one partition.
    fn vnode(&self, partition: Partition) -> Box<dyn Vnode>;

    /// Whether its vnodes hold entries; one that does not is never transferred.
    fn has_entries(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost without it: a copy that has let go of what ended is given it again by one that holds its body still, or never gets a
    /// value that has a long life before it.
    #[test]
    fn what_has_ended_goes_as_what_was_deleted_does() {
        let written_ms = 300;
        let value = Nature {
            digest: 0,
            newest: written_ms << 16,
            is_value: true,
            ends_ms: None,
            trace_ms: None,
        };
        let ending = |ends_ms| Nature {
            ends_ms: Some(ends_ms),
            ..value
        };
        assert_eq!(value.gone_ms(), None);
        assert_eq!(ending(500).gone_ms(), Some(500));
        assert_eq!(ending(200).gone_ms(), Some(written_ms), "ended as written");
        let trace = Nature {
            trace_ms: Some(400),
            ..ending(500)
        };
        assert_eq!(trace.gone_ms(), Some(400));
    }
}
