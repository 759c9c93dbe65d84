//! This file answers: what is one copy, and who takes what happens to it?
//!
//! One actor a (service, partition): it has one caller at a time, decides, and wishes for effects; the host carries
//! them out. It answers commands in order, and it runs what concerns its copy: a move out or in, the drain of its
//! hints, the comparison with its peers. What it must never do: answer for a place that the ring or a move does not
//! give it, acknowledge in a session what the target lacks, or drop what the owners do not cover.
//!
//! In reading order: `event` all that can happen and all it may wish for · `commands` reads and writes, `at_once` most of
//! them · `writes` what follows when one has landed · `hints` what owners missed · `giving` and `forwarding` a move's source · `receiving`
//! its target · `floors` what a flush means for it · `listing` the keys that it holds · `comparing` exchanges with peers ·
//! `coming_back` a copy after a restart · `repair` one that serves · `shrinking` what has ended · `reaping` traces of what was deleted · `leaving` one out of
//! the row · `ring_change` what a new ring means for it · `absorbing` another cluster's data ·
//! `ids` whose request an answer is for · `step` in which steps of transfers it is.

mod absorbing;
mod at_once;
mod backoff;
mod coming_back;
mod commands;
mod comparing;
mod event;
mod floors;
mod forwarding;
mod giving;
mod hints;
mod ids;
mod leaving;
mod listing;
mod reaping;
mod receiving;
mod repair;
mod ring_change;
mod shrinking;
mod step;
mod writes;

use std::collections::{BTreeMap, VecDeque};

use rkv_ring::{ClusterId, Floors, NodeName, PartitionCount, RingId};
use rkv_storage::{Error, Store};
use rkv_wire::message::{CopyId, CopyState, Message, RequestId, Totals};

use crate::catch_up::CatchUp;
use crate::handoff_in::HandoffIn;
use crate::holding::{Contents, Holding};
use crate::phase::Phase;
use crate::places::Place;
use crate::view::View;
use crate::vnode::Vnode;

pub use absorbing::Lift;
pub(crate) use commands::Looking;
pub use event::{Asked, Cx, Effect, Event, QuietAt, ReplyTo};
pub use ids::{Ids, asking_copy};
pub use step::Step;
pub use writes::phase_key;

use floors::Sweep;
use forwarding::{Gate, Gated, Relay};
use giving::Giving;
use hints::Hinting;
use leaving::Leaving;
use reaping::Reaping;
use repair::Repair;
pub(crate) use ring_change::Standing;
use shrinking::Shrinking;
use writes::Then;

/// One copy.
pub struct Actor {
    pub(crate) id: CopyId,
    /// The cluster whose data this is.
    cluster: ClusterId,
    /// The ring that it was brought in line with last.
    in_line_with: Option<RingId>,
    /// Set while data of a cluster that this node has left waits to be turned to hints.
    absorbing: bool,
    pub(crate) phase: Phase,
    pub(crate) standing: Standing,
    pub(crate) holding: Holding,
    vnode: Box<dyn Vnode>,
    /// What follows when the write of a number has landed, in the order of these numbers.
    then: VecDeque<(u64, Then)>,
    /// Writes that failed so far.
    failures: u64,
    /// Answers that wait for the target of a move.
    gated: Vec<Gated>,
    /// The session in which the copy moved last, and the last forward that its target said to have.
    handed_over: Option<Gate>,
    /// Reads that were sent on to it.
    relays: BTreeMap<RequestId, Relay>,
    pub(crate) giving: Giving,
    incoming: Option<HandoffIn>,
    pub(crate) hinting: Hinting,
    pub(crate) leaving: Leaving,
    catch_up: Option<CatchUp>,
    /// Held while what it lacks is asked for.
    catch_up_place: Option<Place>,
    pub(crate) repair: Repair,
    shrinking: Shrinking,
    reaping: Reaping,
    /// The highest hybrid time of a trace that it let go of.
    pub(crate) reaped: u64,
    sweep: Sweep,
    ids: Ids,
    /// Room for what a step wishes for, empty between steps.
    pub(crate) effects: Vec<Effect>,
    /// Entries of it that comparisons mended, for metrics and for the check that they stand still.
    pub(crate) repairs: u64,
}

impl Actor {
    /// A copy in its persisted phase; `seed` differs in each boot, so that request ids do not repeat.
    pub fn new(
        id: CopyId,
        cluster: ClusterId,
        partitions: PartitionCount,
        phase: Phase,
        vnode: Box<dyn Vnode>,
        seed: u64,
    ) -> Actor {
        Actor {
            id,
            cluster,
            in_line_with: None,
            absorbing: false,
            phase,
            standing: Standing::default(),
            holding: Holding::new(id, partitions, vnode.cut()),
            vnode,
            then: VecDeque::new(),
            failures: 0,
            gated: Vec::new(),
            handed_over: None,
            relays: BTreeMap::new(),
            giving: Giving::new(seed),
            incoming: None,
            hinting: Hinting::default(),
            leaving: Leaving::default(),
            catch_up: None,
            catch_up_place: None,
            repair: Repair::default(),
            shrinking: Shrinking::default(),
            reaping: Reaping::default(),
            reaped: 0,
            sweep: Sweep::default(),
            ids: Ids::new(id, seed),
            effects: Vec::new(),
            repairs: 0,
        }
    }

    /// Counts what the store has; once, before the first event.
    pub fn load(&mut self, store: &dyn Store) -> Result<(), Error> {
        self.holding.count(store, &*self.vnode)
    }

    /// Goes by the floors that the ring had at the start; before [`Actor::load`].
    pub(crate) fn open_under(&mut self, floors: &Floors) {
        self.holding.rename_floors(floors);
    }

    /// Whether it has everything that it ever acknowledged, and acknowledges by itself.
    pub(crate) fn is_whole(&self) -> bool {
        let lost_nothing = matches!(
            self.phase,
            Phase::Serving | Phase::CatchingUp { lost: false, .. }
        );
        lost_nothing && !self.absorbing
    }

    /// What it amounts to.
    pub fn totals(&self) -> Totals {
        self.holding.totals()
    }

    /// Whether it answers commands: not while data of a cluster that this node has left waits to be turned to hints.
    pub(crate) fn answers(&self) -> bool {
        !self.absorbing
    }

    /// What others are told of its state.
    pub fn state(&self) -> CopyState {
        self.phase.state(self.giving.out.is_some())
    }

    /// The highest hybrid time of anything that it holds or may have lost.
    pub(crate) fn newest(&self) -> u64 {
        let lost = self.floor().map_or(0, |floor| floor.time);
        self.holding.newest().max(lost)
    }

    /// Whether its answers wait for no other node: it moves nowhere.
    pub fn serves_by_itself(&self, view: &View) -> bool {
        matches!(self.phase, Phase::Serving)
            && !self.absorbing
            && self.giving.out.is_none()
            && self.in_line_with == Some(view.id())
    }

    /// Whether a session of a move is under way, in or out.
    pub(crate) fn is_moving(&self) -> bool {
        self.absorbing || self.giving.out.is_some() || self.incoming.is_some()
    }

    /// Whether it has something to do beyond answering commands, so that it wants to see time pass.
    pub fn is_restless(&self) -> bool {
        !matches!(self.phase, Phase::Serving | Phase::Absent)
            || self.absorbing
            || self.holding.is_masked()
            || self.holding.hints() > 0
            || self.giving.out.is_some()
            || self.giving.is_due()
            || self.hinting.drain.is_some()
            || self.repair.is_under_way()
            || self.shrinking.is_under_way()
            || self.reaping.is_under_way()
            || !self.gated.is_empty()
            || !self.relays.is_empty()
    }

    /// Whether it has not been told of the present ring yet: an [`Event::View`] comes before whatever else there is, for all is
    /// judged by that ring.
    pub fn is_behind(&self, view: &View) -> bool {
        self.in_line_with != Some(view.id())
    }

    /// Something happened.
    pub fn step(&mut self, cx: &Cx<'_>, event: Event, effects: &mut Vec<Effect>) {
        debug_assert!(
            !self.is_behind(cx.view) || matches!(event, Event::View | Event::Landed { .. }),
            "the present ring comes first"
        );
        self.keep_to_floors(cx);
        match event {
            Event::Command(asked) => self.command(cx, asked, effects),
            Event::Message { from, message } => self.message(cx, from, *message, effects),
            Event::Landed { token, result } => self.landed(cx, token, result, effects),
            Event::View => self.view_changed(cx, effects),
            Event::Tick => self.tick(cx, effects),
            Event::Repair | Event::MoveOn | Event::CompareOn if self.absorbing => {}
            Event::Repair => self.ask_for_repair(cx, effects),
            Event::Damaged => self.damaged(cx, effects),
            Event::MoveOn => self.pump_out(cx, effects),
            Event::CompareOn => self.pump_comparisons(cx, effects),
        }
    }

    fn message(
        &mut self,
        cx: &Cx<'_>,
        from: NodeName,
        message: Message,
        effects: &mut Vec<Effect>,
    ) {
        if self.absorbing {
            return;
        }
        match message {
            Message::HandoffOpen { .. }
            | Message::HandoffItems { .. }
            | Message::HandoffForward { .. }
            | Message::HandoffMark { .. } => self.source_says(cx, from, message, effects),
            Message::HandoffOpened { .. }
            | Message::HandoffTook { .. }
            | Message::HandoffMarked { .. } => self.target_says(cx, message, effects),
            Message::HandoffBroken {
                session, reason, ..
            } => {
                if self.giving.session(session).is_some() {
                    self.break_out(cx, reason, effects);
                } else if self.incoming_session(&from, session).is_some() {
                    self.incoming = None;
                }
            }
            Message::AskSums { .. }
            | Message::SumsAre { .. }
            | Message::Compare { .. }
            | Message::Compared { .. }
            | Message::Fill { .. }
            | Message::Filled { .. } => self.peer_says(cx, from, message, effects),
            Message::Answer { id, answer, body } => self.relay_answered(id, answer, body, effects),
            _ => {}
        }
    }

    fn tick(&mut self, cx: &Cx<'_>, effects: &mut Vec<Effect>) {
        if self.absorbing {
            return self.absorb(cx, effects);
        }
        self.run_reaping(cx, effects);
        self.release_gates(cx, effects);
        self.relays.retain(|_, relay| relay.until_ms >= cx.now_ms);
        self.run_sweep(cx, effects);
        self.run_move(cx, effects);
        self.watch_incoming(cx);
        self.run_drain(cx, effects);
        self.run_catch_up(cx, effects);
        self.run_repair(cx, effects);
        self.give_up_repair(cx);
        self.pump_comparisons(cx, effects);
        self.end_repair(cx);
        self.pump_hints(cx, effects);
        self.run_shrinking(cx, effects);
    }

    /// What it holds, to compare and to send.
    fn contents(&self) -> Contents<'_> {
        Contents {
            holding: &self.holding,
            vnode: &*self.vnode,
        }
    }
}
