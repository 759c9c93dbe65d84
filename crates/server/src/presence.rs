//! This file answers: who is there, by what gossip says and by what happens to connections?
//!
//! Gossip is suspicious of whoever is silent for long. That nobody listens where a node did is known at once: it is taken
//! for gone until it proves to be there, or until gossip has something new to say of it.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use rkv_ring::NodeName;

/// What is known of each node that gossip has spoken of.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    known: Mutex<BTreeMap<NodeName, Seen>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// Whether it seems to be alive, by gossip.
    is_heard: bool,
    /// Whether nobody listened at its address since.
    is_refused: bool,
}

impl Seen {
    fn is_up(self) -> bool {
        self.is_heard && !self.is_refused
    }
}

impl Presence {
    /// Gossip says so; `tell` hears what it amounts to.
    pub(crate) fn heard(&self, node: &NodeName, up: bool, tell: impl FnOnce(bool)) {
        let seen = Seen {
            is_heard: up,
            is_refused: false,
        };
        // Told under the lock: of two threads the later one has the last word.
        self.known.lock().insert(node.clone(), seen);
        tell(up);
    }

    /// Nobody listens at its address; `tell` hears of it if that is news.
    pub(crate) fn refused(&self, node: &NodeName, tell: impl FnOnce(bool)) {
        self.change(node, |seen| seen.is_refused = true, tell);
    }

    /// It has just proved to be there.
    pub(crate) fn appeared(&self, node: &NodeName, tell: impl FnOnce(bool)) {
        self.change(node, |seen| seen.is_refused = false, tell);
    }

    fn change(&self, node: &NodeName, change: impl FnOnce(&mut Seen), tell: impl FnOnce(bool)) {
        let mut known = self.known.lock();
        let Some(seen) = known.get_mut(node) else {
            return;
        };
        let before = seen.is_up();
        change(seen);
        if seen.is_up() != before {
            tell(seen.is_up());
        }
    }

    /// Whether gossip takes it for alive: then it is worth a look whether it is.
    pub(crate) fn is_heard(&self, node: &NodeName) -> bool {
        let known = self.known.lock();
        known.get(node).is_some_and(|seen| seen.is_heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost without it: a node that was killed is asked for a second more, or one that is back is never asked again.
    #[test]
    fn a_refusal_counts_until_there_is_proof_of_life() {
        let presence = Presence::default();
        let node = NodeName::from("b");
        let told = Mutex::new(Vec::new());
        let tell = |up| told.lock().push(up);
        presence.refused(&node, tell);
        assert!(told.lock().is_empty(), "a stranger is nobody's to suspect");
        presence.heard(&node, true, tell);
        presence.refused(&node, tell);
        presence.refused(&node, tell);
        assert!(presence.is_heard(&node));
        presence.appeared(&node, tell);
        presence.appeared(&node, tell);
        presence.refused(&node, tell);
        presence.heard(&node, false, tell);
        presence.appeared(&node, tell);
        assert!(!presence.is_heard(&node), "gossip has the last word");
        presence.heard(&node, true, tell);
        assert_eq!(*told.lock(), [true, false, true, false, false, true]);
    }
}
