//! Load and its measurement: `rkv bench` without its command line.
//!
//! A run is a [`Plan`]; [`run`](run::run) carries it out and gives a [`Summary`]. Its invariant: every operation that was
//! begun is counted once, as a latency or as an error, and every one that was offered and not begun is told. What is
//! done depends on the seed alone, never on the clock; when it is done depends on the mode alone.
//!
//! In reading order:
//!
//! - [`plan`] what a run is asked to do
//! - [`mix`] which operations, and how often · [`keys`] on which keys · [`values`] with which values · [`seed`] the chance
//!   behind them; `script` puts them together to what one worker does next, `own_puts` is what it remembers
//! - `pace` when an operation is due: as soon as the last has ended (closed loop) or by the clock (open loop); `alarm`
//!   wakes who waits for that
//! - `driver` how an operation reaches the target
//! - `worker` one worker's life; `load` the keys that have to be there first
//! - `report` what a worker tells of it; `ledger` what is made of all they tell, on a thread of its own; `files`,
//!   `progress`, `events` where that goes
//! - [`summary`] the figures of a run, `ratio` two targets held against each other, `machine` what they ran on
//! - [`mod@run`] all of it, in order

mod alarm;
mod driver;
mod events;
mod files;
pub mod keys;
mod ledger;
mod load;
mod machine;
pub mod mix;
mod own_puts;
mod pace;
pub mod plan;
mod progress;
mod ratio;
mod report;
pub mod run;
mod script;
pub mod seed;
pub mod summary;
pub mod values;
mod worker;

pub use plan::{BenchError, Driver, Extent, Mode, Plan, Quorum};
pub use run::{Finished, run};
pub use summary::Summary;
