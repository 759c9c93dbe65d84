//! Multi-node suites: whole clusters simulated from a seed, and real processes.
//!
//! In reading order: [`sim`] a cluster in one thread · [`history`] what clients did · [`check`] the promises, one a file · [`processes`]
//! real nodes for the suites in `ct/tests` · [`chaos`] those that fail, come and go under load · [`replies`] what they reply, held against redis-server ·
//! [`compare`] how quick they are, held against others.

pub mod chaos;
pub mod check;
pub mod compare;
pub mod crowd;
pub mod history;
pub mod processes;
pub mod replies;
pub mod sim;
