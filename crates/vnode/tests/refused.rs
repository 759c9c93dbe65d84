//! What becomes of a move when a disk of the two refuses what is written.

mod two;

use rkv_ring::Ring;
use rkv_storage::DiskFault;
use rkv_wire::message::{Answer, Role};

use two::Two;

/// Lost without it: a write is said not to be applied, its target has stored it, and it turns up when the move is done.
#[test]
fn what_went_on_to_the_target_may_have_been_applied() {
    let mut two = Two::new();
    two.trial.faults("a").set(Some(DiskFault::Full));
    let alone = two.put(Role::Owner, 0, 10, Vec::new());
    assert!(
        matches!(
            alone,
            Answer::Failed {
                maybe_applied: false,
                ..
            }
        ),
        "{alone:?}"
    );
    two.trial.faults("a").set(None);

    two.trial.adopt(two.joined.clone());
    while !two.is_ready() {
        two.pass(50);
    }
    two.trial.faults("a").set(Some(DiskFault::Full));
    let forwarded = two.put(Role::Owner, 1, 10, Vec::new());
    two.pass(200);
    assert_eq!(two.totals("b").entries, 1, "the target has stored it");
    assert!(
        matches!(
            forwarded,
            Answer::Failed {
                maybe_applied: true,
                ..
            }
        ),
        "{forwarded:?}"
    );
    two.complete();
    assert_eq!(two.totals("b").entries, 1, "and it stays");
}

/// The ring after `two.joined` in which the move is another attempt.
fn attempted_anew(two: &Two) -> Ring {
    let mut ring = two.joined.clone();
    ring.epoch.0 += 2;
    let listed = ring.moves.values_mut().next().expect("there is one move");
    listed.attempt += 2;
    ring
}

/// Lost without it: a copy that could not be dropped takes no move any more until its node starts anew.
#[test]
fn a_copy_whose_drop_failed_is_filled_anew() {
    let mut two = Two::new();
    two.fill(3, 10);
    two.trial.adopt(two.joined.clone());
    while !two.is_ready() {
        two.pass(50);
    }
    let mut cancelled = two.joined.clone();
    cancelled.epoch.0 += 1;
    cancelled.moves.clear();
    two.trial.faults("b").set(Some(DiskFault::Error));
    two.trial.adopt(cancelled);
    two.pass(100);
    two.trial.faults("b").set(None);
    two.joined = attempted_anew(&two);
    two.trial.adopt(two.joined.clone());
    two.pass(10_000);
    assert!(two.is_ready(), "{:?}", two.report().transfers);
}
