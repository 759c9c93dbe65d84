//! Who owns what, and who may change it. Pure: no clock, no randomness, no I/O.
//!
//! **Invariant:** for each (lineage, epoch) at most one ring is ever chosen, and nobody routes by a ring
//! that is not known to be chosen.
//!
//! In reading order: [`slot`] a key's place · [`member`] statuses and their legal moves · [`ring`] the
//! document that says who owns what · [`claim`] members to owners · [`preflist`] who answers for a key ·
//! [`plan`] staged changes and what a commit would do · [`moves`] which copies move · [`claimant`] who may
//! write the next epoch · [`cluster`] all of these as one machine.

pub mod member;
pub mod ring;
pub mod slot;

pub use member::{Addresses, Incarnation, Member, NodeName, Status};
pub use ring::{Change, ClusterId, Epoch, Move, Ring, RingDigest, RingId, Row};
pub use slot::{Partition, PartitionCount, Slot};
