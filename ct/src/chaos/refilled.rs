//! This file answers: may another node lose its copies now?
//!
//! A promise holds while fewer than w copies of a write are lost. So before the next node loses its copies all others must
//! have compared theirs with each other's, in full, since the last one lost its own.

use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde_json::Value;

use super::fleet::Fleet;

/// The latest loss.
#[derive(Default)]
pub struct Losses {
    state: Mutex<State>,
}

#[derive(Clone, Copy, Default)]
enum State {
    #[default]
    Filled,
    /// A node is without its copies.
    Losing,
    /// It came back, or was removed, at this time (unix milliseconds).
    Since(u64),
}

impl Losses {
    /// Whether a node may lose its copies; if so, nobody else may until this one is filled again.
    pub fn may_lose(&self, fleet: &Fleet) -> bool {
        // Asking takes a while, and another may ask too: who asks first has it.
        let Some(mut state) = self.state.try_lock() else {
            return false;
        };
        let may = match *state {
            State::Filled => true,
            State::Losing => false,
            State::Since(since) => is_refilled(fleet, since),
        };
        if may {
            *state = State::Losing;
        }
        may
    }

    /// Nothing came of it, if `was_meant`.
    pub fn filled_unless_lost(&self, was_meant: bool) {
        if was_meant {
            *self.state.lock() = State::Filled;
        }
    }

    /// The node is back, without its copies, or will not come back.
    pub fn lost(&self) {
        *self.state.lock() = State::Since(now_ms());
    }
}

/// Milliseconds since 1970, as nodes tell them.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

/// Whether everybody is there, nothing moves, and nobody holds a hint.
pub fn is_still(fleet: &Fleet) -> bool {
    let status = fleet.ask(&["cluster", "status"]).unwrap_or_default();
    status["settled"] == true
        && status["hints"] == 0
        && status["unreachable"].as_array().is_some_and(Vec::is_empty)
}

/// Whether all copies have been compared with all others since.
pub fn is_refilled(fleet: &Fleet, since_ms: u64) -> bool {
    if !is_still(fleet) {
        return false;
    }
    let ask = |args: &[&str]| fleet.ask(args).unwrap_or_default();
    let repair = ask(&["cluster", "repair", "--status"]);
    let is_compared = |copy: &Value| {
        let at = copy["last_full_exchange_ms"].as_u64();
        at.is_some_and(|at| at > since_ms) && copy["divergence"] == 0
    };
    let copies = repair["repairs"].as_array();
    let all = copies.is_some_and(|copies| !copies.is_empty() && copies.iter().all(is_compared));
    if !all {
        ask(&["cluster", "repair"]);
    }
    all && repair["unreachable"].as_array().is_some_and(Vec::is_empty)
}
