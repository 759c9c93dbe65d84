//! Gossip, identity, and the keeper that carries out what the ring's machine wishes.
//!
//! **Invariant:** a ring or a promise is on disk, synced, before anything that depends on it is sent; only facts and
//! suspicions come out of gossip.
//!
//! In reading order: [`keeper`] carries the ring's machine · [`ring_file`] where its state survives · [`identity`] whose
//! folder this is · [`gossip`] what nodes tell each other · [`files`] how small files are written.

pub mod files;
pub mod gossip;
pub mod identity;
pub mod keeper;
pub mod ring_file;
