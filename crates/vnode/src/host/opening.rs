//! This file answers: in what phase does a copy begin when its node starts?

use std::sync::Arc;

use rkv_ring::Partition;
use rkv_storage::{Error, Store};
use rkv_wire::message::CopyId;

use super::Beginning;
use super::desk::{Desk, Running};
use crate::actor::{Actor, Lift, phase_key};
use crate::fault::Fault;
use crate::phase::{Phase, Record};
use crate::settings::Settings;
use crate::view::View;
use crate::vnode::Service;

/// What a start knows.
pub(super) struct Opening<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) view: &'a View,
    pub(super) settings: &'a Settings,
    pub(super) beginning: Beginning,
    pub(super) wall_ms: u64,
}

impl Opening<'_> {
    /// Opens every copy of a service.
    pub(super) fn service(&self, service: Arc<dyn Service>) -> Result<Running, Error> {
        let partitions = self.view.ring().partitions.partitions();
        let desks: Result<Vec<Desk>, Error> = partitions
            .map(|partition| self.copy(&*service, partition).map(Desk::of))
            .collect();
        Ok(Running {
            desks: desks?.into_boxed_slice(),
            service,
        })
    }

    fn copy(&self, service: &dyn Service, partition: Partition) -> Result<Actor, Error> {
        let ring = self.view.ring();
        let copy = CopyId {
            service: service.id(),
            partition,
        };
        let owns = self.view.owns(partition);
        let stored = self.store.get(&phase_key(copy))?;
        let record = stored.and_then(|bytes| Record::decode(&bytes));
        let foreign = record.as_ref().is_none_or(|r| r.cluster != ring.cluster);
        let founded = self.beginning == Beginning::Founded;
        let known = record.as_ref().filter(|_| !foreign);
        let (places, reaped) = known.map_or((None, 0), |r| (r.places, r.reaped));
        let phase = match record {
            _ if !service.has_entries() && owns => Phase::Serving,
            _ if !service.has_entries() => Phase::Absent,
            Some(record) if !foreign => self.after_restart(record.phase),
            None if founded && owns => Phase::Serving,
            _ if owns => self.lost(),
            _ => Phase::Absent,
        };
        let vnode = service.vnode(partition);
        let seed = self.settings.boot ^ (u64::from(partition.0) << 20);
        let mut actor = Actor::new(copy, ring.cluster, ring.partitions, phase, vnode, seed);
        if !service.has_entries() {
            return Ok(actor);
        }
        actor.standing.places = places;
        actor.reaped = reaped;
        let floors = self.view.floors();
        if !foreign && self.settings.fault != Fault::FloorNotAppliedAtOpening {
            actor.open_under(floors);
        }
        actor.load(self.store)?;
        if foreign && !founded && actor.holding.totals().entries > 0 {
            let lift = Lift {
                floors: floors.clone(),
                boot: self.settings.boot,
            };
            actor.turn_to_hints(self.store, &lift)?;
        }
        actor.open_under(floors);
        actor.write_phase(self.store)?;
        Ok(actor)
    }

    /// The phase of a copy that was in this one before the restart.
    fn after_restart(&self, before: Phase) -> Phase {
        let alone = self.view.peers().next().is_none();
        match (before, self.beginning) {
            (Phase::Serving | Phase::CatchingUp { .. }, Beginning::Lossy) => self.lost(),
            // Fallbacks may have voted meanwhile.
            (Phase::Serving, _) if !alone => Phase::CatchingUp {
                lost: false,
                floor: 0,
            },
            (Phase::CatchingUp { lost: true, .. }, _) => self.lost(),
            (
                Phase::Receiving {
                    from,
                    session,
                    attempt,
                    since,
                    ..
                },
                Beginning::Lossy,
            ) => Phase::Receiving {
                from,
                session,
                attempt,
                since,
                complete: false,
            },
            (phase, _) => phase,
        }
    }

    /// Of a copy that may lack what it acknowledged.
    fn lost(&self) -> Phase {
        Phase::CatchingUp {
            lost: true,
            floor: self.settings.floor(self.wall_ms),
        }
    }
}
