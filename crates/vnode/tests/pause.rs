//! Transfers that operators hold: what stops, what goes on, and how all of it ends.

mod two;

use rkv_ring::Ring;
use rkv_ring::handoff::{HandoffChange, PAUSED};
use rkv_wire::message::{Answer, Role, TransferKind};

use two::Two;

/// Every node goes by a ring with `change` from now on; other than that it is the one before.
fn say(two: &mut Two, change: HandoffChange) {
    let mut ring = Ring::clone(&two.trial.ring);
    ring.handoff = ring.handoff.after(change);
    ring.epoch.0 += 1;
    two.joined = ring.clone();
    two.trial.adopt(ring);
}

/// Lost without it: `pause` breaks a move, so that it begins again with nothing; or sends on, or stops for good.
#[test]
fn a_move_that_is_held_stands_and_goes_on_where_it_stood() {
    let mut two = Two::sending(200_000);
    two.fill(20_000, 100);
    two.trial.adopt(two.joined.clone());
    two.pass(1_000);
    say(&mut two, HandoffChange::Pause);
    two.pass(100);
    let held = two.transfer(TransferKind::Ownership);
    assert!(held.keys_done > 500, "{held:?}");
    assert!(!held.active && held.keys_done < held.keys_total, "{held:?}");
    assert_eq!(held.waiting_for.as_deref(), Some(PAUSED));
    let pages = two.pages.len();
    // Writes of the copy on its way are forwarded all the same: they wait for nothing.
    assert_eq!(two.put(Role::Owner, 1, 200, Vec::new()), Answer::Stored);
    two.pass(10_000);
    assert_eq!(two.pages.len(), pages, "nothing is sent");
    assert_eq!(two.transfer(TransferKind::Ownership).last_error, None);

    say(&mut two, HandoffChange::Resume);
    two.pass(300);
    let on = two.transfer(TransferKind::Ownership);
    assert!(on.active && on.keys_done > held.keys_done, "{on:?}");
    two.complete();
    let copies = two.trial.host("b").report().copies;
    let entries: u64 = copies.iter().map(|copy| copy.totals.entries).sum();
    assert_eq!(entries, 20_000);
}

/// Lost without it: hints and repair go on while an operator has a reason to hold them, or a move begins.
#[test]
fn nothing_begins_while_transfers_are_held() {
    let mut two = Two::new();
    two.fill(100, 100);
    say(&mut two, HandoffChange::Pause);
    let mut ring = two.trial.joined("b");
    let first = *ring.moves.keys().next().expect("b gets something");
    ring.moves.retain(|partition, _| *partition == first);
    ring.next.retain(|partition, _| *partition == first);
    two.joined = ring.clone();
    two.trial.adopt(ring);
    two.pass(5_000);
    assert!(two.pages.is_empty());
    let waiting = two.transfer(TransferKind::Ownership);
    assert_eq!(waiting.waiting_for.as_deref(), Some(PAUSED));
    say(&mut two, HandoffChange::Resume);
    two.complete();
    two.pass(2_000);
    two.trial.host("a").suspect(&"b".into(), false);
    for i in 0..3 {
        let answer = two.put(Role::Fallback, i, 200, vec!["b".into()]);
        assert_eq!(answer, Answer::Stored);
    }
    say(&mut two, HandoffChange::Pause);
    two.trial.host("a").suspect(&"b".into(), true);
    two.pass(5_000);
    let hinted = two.transfer(TransferKind::Hinted);
    assert_eq!((hinted.keys_done, hinted.keys_total), (0, 3), "{hinted:?}");
    assert_eq!(hinted.waiting_for.as_deref(), Some(PAUSED));
    say(&mut two, HandoffChange::Resume);
    two.pass(500);
    assert_eq!(two.report().hints, []);
}
