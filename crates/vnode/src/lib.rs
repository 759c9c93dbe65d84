//! The framework: vnodes, the host that runs them, and how copies move, drain, catch up and heal.
//!
//! **Invariant:** a copy answers only for places that the ring or a move gives it; nothing is acknowledged in a move
//! that its target lacks; nothing is dropped that today's owners do not cover.
//!
//! In reading order: [`vnode`] what a service brings · [`host`] which vnodes run here · [`router`] here or over the
//! wire · [`view`] who owns what and who is up · [`actor`] one copy and all that can happen to it · [`phase`] its
//! persisted state · [`holding`] what it holds, and [`mask`] what of that is dead · [`handoff_out`] and [`handoff_in`] the two sides of a move · [`hint`]
//! and [`hint_drain`] what is kept for an owner that missed a write · [`compare`], [`survey`] and [`stretch`] two copies brought to
//! cover each other · [`catch_up`] when a copy that came back counts again · [`progress`] how far a transfer is ·
//! [`places`] how many transfers run at once · [`budget`] how many bytes they may send, and [`courtesy`] how much of a node's time they take · [`figures`] what was done so far ·
//! [`trial`] a cluster in one process, to try a service · [`settings`],
//! [`world`], [`fault`], [`ping`].

pub mod actor;
pub mod budget;
pub mod catch_up;
pub mod compare;
pub mod courtesy;
pub mod fault;
pub mod figures;
pub mod handoff_in;
pub mod handoff_out;
pub mod hint;
pub mod hint_drain;
pub mod holding;
pub mod host;
pub mod mask;
pub mod phase;
pub mod ping;
pub mod places;
pub mod progress;
pub mod router;
pub mod settings;
pub mod stretch;
pub mod survey;
pub mod trial;
pub mod view;
pub mod vnode;
pub mod world;

pub use fault::Fault;
pub use host::{Beginning, Host, Upward};
pub use phase::Phase;
pub use router::Router;
pub use settings::{Limits, Settings};
pub use view::View;
pub use vnode::{Context, Cut, Decision, Known, Merged, Nature, Service, Vnode, Weighed};
pub use world::World;
