//! Backends behind one contract, and the writer that commits for all of them.
//!
//! **Invariant:** jobs are applied whole and in the order they were submitted, each completes exactly once, and on a disk
//! backend a job that completed well has left the process.
//!
//! In reading order: [`order`] where an entry lies · [`error`] what a store answers when it cannot · [`backend`] the
//! contract · [`memory`], [`sled`], [`fjall`] one engine a file · [`cached`] what was read of late · [`checked`] what becomes of a value that was damaged ·
//! [`logged`] where a write is until an engine has it · [`healing`] what a full disk and a broken engine do · [`open`](mod@open) which engine a folder holds · [`store`] the face that
//! everyone uses · [`direct`] it, without a thread · [`commit`] it, with the one writer · `company` whom that waits for · [`near`] memory that is needed in a moment · [`faults`] failing on purpose.

pub mod backend;
pub mod cached;
pub mod checked;
pub mod commit;
mod company;
pub mod direct;
pub mod error;
pub mod faults;
pub mod fjall;
pub mod healing;
pub mod logged;
pub mod memory;
pub mod near;
pub mod open;
pub mod order;
mod preimage;
pub mod sled;
pub mod store;

pub use backend::{Backend, BackendKind, Batch, Op, Scan, Stats};
pub use error::Error;
pub use faults::{DiskFault, Faults};
pub use open::{Opened, folders_set_aside, open};
pub use order::{Space, StoreKey};
pub use store::{Awaited, Done, Durability, Ended, Job, Listener, Snapshot, Store, start};
