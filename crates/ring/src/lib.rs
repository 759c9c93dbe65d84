//! Who owns what, and who may change it. Pure: no clock, no randomness, no I/O.
//!
//! **Invariant:** for each (lineage, epoch) at most one ring is ever chosen, and nobody routes by a ring
//! that is not known to be chosen.
//!
//! In reading order: [`slot`] a key's place · [`member`] statuses and their legal moves · [`ring`] the
//! document that says who owns what · [`keyspace`] which keyspaces there are, and what of each is dead · [`handoff`] what operators said about transfers · [`walk`] in what order a partition considers nodes · [`mod@claim`] members
//! to owners · [`mod@preflist`] who answers for a key · [`change`] what may be staged · [`plan`] staging, and what a commit would do ·
//! [`boot`] which start of a folder is the later · [`refusal`] why not · [`moves`] which copies move · [`claimant`] who may write the next epoch ·
//! [`cluster`] all of these as one machine.

pub mod boot;
pub mod change;
pub mod claim;
pub mod claimant;
pub mod cluster;
pub mod handoff;
pub mod keyspace;
pub mod member;
pub mod moves;
pub mod plan;
pub mod preflist;
pub mod refusal;
pub mod ring;
pub mod slot;
pub mod walk;

pub use change::{Change, Removed};
pub use claim::{Claimable, claim};
pub use claimant::{Accepted, Acceptor, Ballot, Decree};
pub use cluster::Cluster;
pub use handoff::{Handoff, HandoffChange, MOST_TRANSFERS};
pub use keyspace::{DEFAULT_KEYSPACE, Floors, Keyspaces};
pub use member::{Addresses, Incarnation, Member, NodeName, Status};
pub use moves::Transfer;
pub use plan::{MemberShare, Plan};
pub use preflist::{Place, Preflist, preflist};
pub use refusal::Refusal;
pub use ring::{ClusterId, Epoch, Move, Ring, RingDigest, RingId, Row};
pub use slot::{Partition, PartitionCount, Slot};
pub use walk::Walk;
