//! What a node tells people about its transfers, and whose turn it is: two nodes or three, a network and a clock that the
//! test moves.

mod two;

use std::collections::BTreeSet;
use std::sync::Arc;

use rkv_ring::handoff::HandoffChange;
use rkv_vnode::ping::Ping;
use rkv_vnode::trial::{SETTINGS, Trial};
use rkv_vnode::{Service, Settings};
use rkv_wire::message::{Answer, Message, Role, TransferKind};

use two::{Largest, Two};

/// Lost without it: nobody knows how far a move is, how long it takes, or that what moves nothing is no move.
#[test]
fn a_move_says_how_far_it_is() {
    let mut two = Two::new();
    two.fill(20_000, 100);
    two.trial.adopt(two.joined.clone());
    // A few messages arrive and no more: the move is seen under way.
    for _ in 0..3 {
        two.arrive_one();
    }
    for _ in 0..20 {
        two.trial.tick();
    }
    let under_way = two.transfer(TransferKind::Ownership);
    assert!(under_way.active);
    assert_eq!(under_way.keys_total, 20_000);
    assert!(under_way.keys_done > 0 && under_way.keys_done < 20_000);
    let of = |done: u64, total: u64| done as f64 / total as f64;
    let keys = of(under_way.keys_done, under_way.keys_total);
    let bytes = of(under_way.bytes_done, under_way.bytes_total);
    assert!((keys - bytes).abs() < 0.01, "{under_way:?}");
    assert!(under_way.keys_per_s > 0, "{under_way:?}");
    assert_eq!(under_way.last_error, None);

    two.pass(1_000);
    assert!(two.is_ready());
    let ready = two.transfer(TransferKind::Ownership);
    assert_eq!(ready.keys_done, ready.keys_total);
    assert_eq!(ready.bytes_done, ready.bytes_total);
    assert_eq!(ready.waiting_for.as_deref(), Some("the next epoch"));

    two.complete();
    two.pass(200);
    let old = two.transfer(TransferKind::Ownership);
    assert_eq!(
        (old.settled, old.keys_done),
        (true, old.keys_total),
        "{old:?}"
    );
    two.pass(1_000);
    assert_eq!(two.report().transfers, []);
}

/// Lost without it: what comes while the copies are being told of a new ring is answered by what the old one made of them.
/// Here a move begins in the copy of another cluster, which then goes, and all of it is sent again.
#[test]
fn what_comes_before_a_copy_was_told_is_judged_by_the_new_ring() {
    let mut two = Two::strangers();
    two.fill(1_000, 100);
    two.trial.half_adopt("b", &two.joined);
    two.trial.host("a").adopt(Arc::new(two.joined.clone()));
    while two.arrive_one() {}
    two.trial.adopt(two.joined.clone());
    two.complete();
    let sent: usize = two.pages.iter().map(|(_, bytes)| bytes).sum();
    assert!(sent < 200_000, "{sent} bytes are sent of 100,000");
    assert_eq!(two.totals("b").entries, 1_000);
}

/// Lost without it: right after a commit each transfer shows an error, though its target has only not heard yet.
#[test]
fn a_target_that_is_behind_is_an_error_only_when_it_stays_so() {
    let mut two = Two::new();
    two.fill(10, 100);
    two.trial.host("a").adopt(Arc::new(two.joined.clone()));
    two.pass(150);
    let early = two.transfer(TransferKind::Ownership);
    assert_eq!(early.last_error, None);
    assert_eq!(early.waiting_for.as_deref(), Some("b to be ready"));
    two.pass(2_000);
    let late = two.transfer(TransferKind::Ownership).last_error;
    assert_eq!(
        late.as_deref(),
        Some("b is not ready: it has not adopted the ring that lists this move")
    );
    two.trial.host("b").adopt(Arc::new(two.joined.clone()));
    two.pass(2_000);
    assert!(two.is_ready());
    assert_eq!(two.transfer(TransferKind::Ownership).last_error, None);
}

/// Lost without it: hints for a node that is up seem to wait for one that is not, and `wait` returns too early.
#[test]
fn hints_name_whom_they_are_for() {
    let mut two = Two::new();
    two.fill(5, 100);
    two.trial.adopt(two.joined.clone());
    two.complete();
    two.pass(5_000);
    assert_eq!(two.report().transfers, []);

    two.trial.host("a").suspect(&"b".into(), false);
    for i in 0..3 {
        let answer = two.put(Role::Fallback, i, 200, vec!["b".into()]);
        assert_eq!(answer, Answer::Stored);
    }
    let hints = two.report().hints;
    assert_eq!(hints.len(), 1);
    assert_eq!(
        (hints[0].keys, &hints[0].waiting_for),
        (3, &vec!["b".into()])
    );
    let waiting = two.transfer(TransferKind::Hinted);
    assert_eq!((waiting.keys_done, waiting.keys_total), (0, 3));
    assert_eq!(
        waiting.waiting_for.as_deref(),
        Some("b, which is not reachable")
    );
    assert_eq!(waiting.last_error, None);

    two.trial.host("a").suspect(&"b".into(), true);
    two.pass(5_000);
    assert_eq!(
        (two.report().hints, two.report().transfers),
        (vec![], vec![])
    );
}

/// Lost without it: `transfers.bytes_per_s` is a word in a file, and a move takes the network from the requests.
#[test]
fn a_node_sends_no_more_than_it_may() {
    const BYTES_PER_S: u64 = 100_000;
    let mut two = Two::sending(BYTES_PER_S);
    two.fill(5_000, 100);
    let began_ms = two.trial.now_ms();
    two.trial.adopt(two.joined.clone());
    two.pass(4_000);
    let slow = two.transfer(TransferKind::Ownership);
    assert!((500..1_000).contains(&slow.keys_per_s), "{slow:?}");
    while !two.is_ready() {
        two.pass(1_000);
    }
    for (i, (from_ms, _)) in two.pages.iter().enumerate() {
        let mut bytes = 0;
        for (at_ms, page) in &two.pages[i..] {
            bytes += *page as u64;
            // What flows in meanwhile, a full bucket (a quarter of a second), and the message that empties it.
            let allowed = BYTES_PER_S * (at_ms - from_ms) / 1_000 + BYTES_PER_S * 6 / 10;
            assert!(
                bytes <= allowed,
                "{bytes} bytes from {from_ms} to {at_ms} ms"
            );
        }
    }
    let took_ms = two.trial.now_ms() - began_ms;
    let bytes: usize = two.pages.iter().map(|(_, bytes)| bytes).sum();
    let least_ms = bytes as u64 * 1_000 / BYTES_PER_S;
    assert!(
        took_ms < least_ms * 5 / 4 + 2_000,
        "{took_ms} ms for {bytes} bytes: it starves"
    );
}

/// Lost without it: a node that joins takes a copy in from each of the others at once, or two that are full wait for each
/// other for ever.
#[test]
fn a_target_takes_in_no_more_than_its_limit() {
    let services = || -> Vec<Arc<dyn Service>> { vec![Arc::new(Ping), Arc::new(Largest)] };
    let settings = Settings {
        transfers: 4,
        ..SETTINGS
    };
    let mut trial = Trial::found("a", 1, settings, services);
    trial.join("b");
    trial.start("c");
    let mut ring = trial.joined("c");
    assert!(ring.moves.len() > 1, "{:?}", ring.moves);
    ring.handoff = ring.handoff.after(HandoffChange::Limit(Some(1)));
    trial.adopt(ring);
    let (mut under_way, mut most, mut full) = (BTreeSet::new(), 0, 0);
    let mut told = BTreeSet::new();
    let end_ms = trial.now_ms() + 20_000;
    while !trial.ring.moves.is_empty() {
        assert!(trial.now_ms() < end_ms, "the moves do not end");
        trial.tick();
        while let Some(on_its_way) = trial.next() {
            match &on_its_way.2 {
                Message::HandoffOpened {
                    copy,
                    refused: None,
                    ..
                } => {
                    under_way.insert(*copy);
                }
                Message::HandoffOpened { full: true, .. } => full += 1,
                Message::HandoffMarked {
                    copy, equal: true, ..
                } => {
                    under_way.remove(copy);
                }
                _ => {}
            }
            most = most.max(under_way.len());
            trial.arrive(on_its_way);
        }
        for node in ["a", "b"] {
            let transfers = trial.host(node).report().transfers;
            told.extend(transfers.into_iter().filter_map(|t| t.waiting_for));
        }
        trial.complete_ready();
    }
    assert_eq!(most, 1, "one at once");
    assert!(full > 0, "somebody was put off");
    let why = "c takes 1 at once (transfers.limit)";
    assert!(told.contains(why), "{told:?}");
}
