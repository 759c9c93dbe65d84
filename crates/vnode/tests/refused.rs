//! What becomes of a move when a disk of the two refuses what is written.

mod two;

use rkv_ring::Ring;
use rkv_storage::DiskFault;
use rkv_vnode::Phase;
use rkv_wire::message::{Answer, CopyId, Message, Role};

use two::{LARGEST, Two};

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
    assert_eq!(two.totals("a").entries, 0, "nor is it counted");

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

/// Lost without it: the source of a move serves alone when what it wrote down failed and may be on disk all the same; after a
/// restart it goes by that, and its target lacks what was acknowledged meanwhile.
#[test]
fn a_source_that_may_have_written_down_that_it_forwards_does() {
    let mut two = Two::new();
    two.fill(3, 10);
    two.trial.adopt(two.joined.clone());
    let mut is_marked = false;
    while !is_marked {
        two.trial.tick();
        while let Some(on_its_way) = two.trial.next() {
            is_marked = matches!(on_its_way.2, Message::HandoffMarked { equal: true, .. });
            let fault = is_marked.then_some(DiskFault::Error);
            two.trial.faults("a").set(fault);
            two.trial.arrive(on_its_way);
            two.trial.faults("a").set(None);
            if is_marked {
                break;
            }
        }
    }
    assert!(matches!(phase(&two), Phase::Forwarding { .. }));
    assert!(!two.is_ready(), "nobody is told that it is ready");
    two.joined = attempted_anew(&two);
    two.trial.adopt(two.joined.clone());
    assert_eq!(phase(&two), Phase::Serving);
    two.complete();
    assert_eq!(two.totals("b").entries, 3);
}

/// In which the copy of the source is.
fn phase(two: &Two) -> Phase {
    let copy = CopyId {
        service: LARGEST,
        partition: two.moving(),
    };
    let phase = two.trial.host("a").inspect(copy, |phase, _| phase.clone());
    phase.expect("a copy")
}
