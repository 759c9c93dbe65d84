//! This file answers: how long does it take until many nodes that join at once are one settled cluster?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rkv_ring::cluster::{AdminReply, AdminRequest};
use rkv_ring::plan::Refusal;

use super::{Happening, World};
use crate::check::converges::settled;

/// How long each is alone before it asks.
const ALONE_MS: u64 = 2_000;
/// How often it is looked whether something has come true.
const LOOK_MS: u64 = 100;

impl World {
    /// All others ask the first at once to be let in, and one plan is committed. How long after that asking every node has the
    /// same ring, each copy is where it belongs, and nothing is on its way; messages are lost, late and repeated, and nothing
    /// else goes wrong.
    ///
    /// # Errors
    /// What has not come true within `within_ms`.
    pub fn join_at_once(mut self, within_ms: u64) -> Result<u64, String> {
        self.queue.retain(|_, happening| {
            !matches!(
                happening,
                Happening::Operator | Happening::Nemesis | Happening::Rumour | Happening::Client
            )
        });
        self.pass(ALONE_MS);
        let began = self.now();
        let until = began + within_ms;
        for node in 1..self.nodes.len() {
            let peer = "n1:7000".to_owned();
            self.ask(node, AdminRequest::Join { peer });
        }
        let all = self.nodes.len();
        self.until(until, "all are listed", |world| world.members() == all)?;
        let mut committed = self.ask(0, self.commit());
        self.until(until, "the plan is carried out", |world| {
            // Refused or lost: asked again.
            if committed.load(Ordering::Relaxed) && world.nodes_in(all) == 0 {
                committed = world.ask(0, world.commit());
            }
            world.nodes_in(all) == all
        })?;
        self.until(until, "all is settled", |world| {
            settled(&world.nodes).is_ok()
        })?;
        Ok(self.now() - began)
    }

    /// Lets so much time pass.
    fn pass(&mut self, ms: u64) {
        let end = self.now() + ms;
        while let Some(next) = self.queue.first_entry()
            && next.key().0 <= end
        {
            let ((at, _), happening) = next.remove_entry();
            self.now_ms.store(at, Ordering::Relaxed);
            self.happen(happening);
        }
        self.now_ms.store(end, Ordering::Relaxed);
    }

    fn until(
        &mut self,
        end_ms: u64,
        what: &str,
        mut holds: impl FnMut(&mut World) -> bool,
    ) -> Result<(), String> {
        while !holds(self) {
            if self.now() >= end_ms {
                let state = settled(&self.nodes);
                let moves = self.moves();
                return Err(format!(
                    "not within the time: {what}; {moves} moves are left; {state:?}"
                ));
            }
            self.pass(LOOK_MS);
        }
        Ok(())
    }

    /// Asks a node, and says when it has answered.
    fn ask(&mut self, node: usize, request: AdminRequest) -> Arc<AtomicBool> {
        let answered = Arc::new(AtomicBool::new(false));
        let tells = answered.clone();
        let done = Box::new(move |_: Result<AdminReply, Refusal>| {
            tells.store(true, Ordering::Relaxed);
        });
        self.with(node, |engine| engine.admin(request, done));
        answered
    }

    /// How many the first node's ring lists.
    fn members(&self) -> usize {
        let running = self.nodes[0].running.as_ref();
        running.map_or(0, |r| r.engine.view().ring().members.len())
    }

    /// How many moves its ring lists.
    fn moves(&self) -> usize {
        let running = self.nodes[0].running.as_ref();
        running.map_or(0, |r| r.engine.view().ring().moves.len())
    }

    /// How many nodes route by a ring of so many members that has something to move or has moved it.
    fn nodes_in(&self, all: usize) -> usize {
        let is_in = |running: &crate::sim::node::Running| {
            let view = running.engine.view();
            view.ring().members.len() == all && view.ring().staged.is_empty()
        };
        let running = self.nodes.iter().filter_map(|node| node.running.as_ref());
        running.filter(|running| is_in(running)).count()
    }
}
