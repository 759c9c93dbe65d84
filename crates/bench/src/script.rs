//! This file answers: what does one worker do next?
//!
//! Chance and the number of operations before decide, never the clock nor an answer: the same seed gives the same
//! operations.

use rand_chacha::ChaCha8Rng;

use crate::keys::{KeyChooser, Place};
use crate::mix::{Mix, Operation};
use crate::own_puts::OwnPuts;
use crate::plan::Plan;
use crate::values::{Piece, Values};

/// One operation on one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Action {
    pub(crate) operation: Operation,
    pub(crate) number: u64,
    /// What it writes, if it writes.
    pub(crate) value: Option<Piece>,
}

/// The endless list of what one worker does.
#[derive(Debug)]
pub(crate) struct Script {
    rng: ChaCha8Rng,
    mix: Mix,
    keys: KeyChooser,
    values: Values,
    /// Only where own puts are read.
    own: Option<OwnPuts>,
    /// How many of a worker's operations are under way at most.
    together: u64,
    begun: u64,
}

impl Script {
    pub(crate) fn new(plan: &Plan, round: u32, worker: u32) -> Script {
        let place = Place {
            worker: u64::from(worker),
            workers: plan.workers as u64,
        };
        let reads_own = plan.mix.has(Operation::GetOwnPuts);
        Script {
            rng: plan.seed.rng(round, worker),
            mix: plan.mix.clone(),
            keys: KeyChooser::new(plan.keys, place),
            values: plan.values,
            own: reads_own.then(|| OwnPuts::new(plan.workers)),
            together: plan.pipeline as u64,
            begun: 0,
        }
    }

    /// What is next.
    pub(crate) fn next(&mut self) -> Action {
        let begun = self.begun;
        self.begun += 1;
        self.keys.advance(begun, self.together);
        let drawn = self.mix.draw(&mut self.rng);
        let (operation, number) = match drawn {
            Operation::GetOwnPuts => match self.own_put() {
                Some(number) => (drawn, number),
                // There is nothing of its own to read yet.
                None => (Operation::Put, self.put()),
            },
            Operation::Put => (drawn, self.put()),
            Operation::Insert => (drawn, self.keys.fresh(begun)),
            _ => (drawn, self.keys.known(&mut self.rng)),
        };
        Action {
            operation,
            number,
            value: (!operation.is_read()).then(|| self.values.draw(&mut self.rng)),
        }
    }

    /// How a put ended: its value if it was acknowledged.
    pub(crate) fn put_ended(&mut self, number: u64, held: Option<Piece>) {
        if let Some(own) = &mut self.own {
            own.end(number, held);
        }
    }

    /// What a key that this worker has put must hold, if that is known.
    pub(crate) fn held(&self, number: u64) -> Option<Piece> {
        self.own.as_ref().and_then(|own| own.held(number))
    }

    fn own_put(&mut self) -> Option<u64> {
        self.own.as_ref()?.any(&mut self.rng)
    }

    fn put(&mut self) -> u64 {
        let number = self.keys.put(self.begun - 1, &mut self.rng);
        let Some(own) = &mut self.own else {
            return number;
        };
        let number = self.keys.owned(number);
        own.begin(number, &mut self.rng);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Keys;
    use crate::mix::Workload;

    fn actions(plan: &Plan, worker: u32) -> Vec<Action> {
        let mut script = Script::new(plan, 0, worker);
        (0..500).map(|_| script.next()).collect()
    }

    /// Lost without it: a run cannot be repeated, so neither can what it found.
    #[test]
    fn the_same_seed_gives_the_same_operations() {
        let plan = Plan::default();
        let first = actions(&plan, 0);
        assert_eq!(first, actions(&plan, 0));
        assert_ne!(first, actions(&plan, 1));
        let mut other = plan.clone();
        other.seed = "1,4,4".parse().unwrap();
        assert_ne!(first, actions(&other, 0));
        // Answers do not change what comes next.
        let mut script = Script::new(&plan, 0, 0);
        for action in &first {
            assert_eq!(script.next(), *action);
            script.put_ended(action.number, action.value);
        }
    }

    /// Lost without it: an own put would be read that never was, or a read would write.
    #[test]
    fn own_puts_are_puts_of_this_worker() {
        let plan = Plan {
            workers: 3,
            keys: Keys::Uniform(50),
            ..Plan::default()
        };
        let mut put = Vec::new();
        for action in actions(&plan, 2) {
            match action.operation {
                Operation::Put => {
                    assert!(action.value.is_some());
                    assert!(action.number < 50);
                    put.push(action.number);
                }
                Operation::GetOwnPuts => assert!(put.contains(&action.number)),
                other => assert_eq!((other, action.value), (Operation::Get, None)),
            }
        }
        let other = actions(&plan, 1).into_iter();
        let mut other = other.filter(|action| action.operation == Operation::Put);
        assert!(other.all(|action| !put.contains(&action.number)));
    }

    /// Lost without it: workload D would insert the same key again and again.
    #[test]
    fn inserts_are_new_keys() {
        let plan = Plan {
            mix: Workload::D.mix(),
            keys: Keys::Latest(100),
            ..Plan::default()
        };
        let mut next = 100;
        for action in actions(&plan, 0) {
            if action.operation == Operation::Insert {
                assert_eq!(action.number, next);
                next += plan.workers as u64;
            }
        }
        assert!(next > 100);
    }
}
