//! Plain requests beside the machines that they stand for.

use bytes::Bytes;
use proptest::prelude::*;
use rkv_ring::{ClusterId, Epoch, Partition, Place};

use super::*;
use crate::clock::{Clock, Stamp};
use crate::object::Object;
use crate::policy::{GetPolicy, PutPolicy};
use crate::put::Draft;
use crate::{get, put};

/// Places as letters, a capital one being down.
fn preflist(places: &str) -> Arc<Preflist> {
    let place = |(replica, c): (u8, char)| Place {
        replica,
        node: c.to_ascii_lowercase().to_string().as_str().into(),
        up: c.is_lowercase(),
    };
    Arc::new(Preflist {
        partition: Partition(3),
        ring: RingId {
            cluster: ClusterId(1),
            lineage: 0,
            epoch: Epoch(1),
        },
        places: (0..).zip(places.chars()).map(place).collect(),
        fallbacks: vec!["x".into()],
    })
}

const STAMP: Stamp = Stamp {
    time: 100,
    boot: 9,
    seq: 0,
};

fn plain_put(places: &str, w: u8, pw: u8) -> PlainPut {
    let n = places.len() as u8;
    let timeout_ms = 1000;
    let policy = PutPolicy {
        n,
        w,
        pw,
        timeout_ms,
    };
    let row = Row::of(&preflist(places), n, timeout_ms).expect("all are up");
    let draft = Draft::Value {
        body: Bytes::from_static(b"x"),
        at_ms: None,
    };
    PlainPut::new(row, policy, draft, STAMP, 5000)
}

fn plain_get(places: &str, r: u8, pr: u8, notfound_ok: bool, turn: Option<usize>) -> PlainGet {
    let policy = GetPolicy {
        n: places.len() as u8,
        r,
        pr,
        notfound_ok,
        timeout_ms: 1000,
    };
    let row = Row::of(&preflist(places), policy.n, policy.timeout_ms).expect("all are up");
    let get = PlainGet::new(row, policy, 5000);
    match turn {
        Some(turn) => get.sparing(&"a".into(), turn),
        None => get,
    }
}

fn asks(row: &Row) -> Vec<(NodeName, Ask)> {
    let asks = row.asks().map(|(node, ask)| (node.clone(), ask));
    asks.collect()
}

#[test]
fn a_row_is_plain_when_all_who_take_part_are_up_and_there_is_time() {
    // Lost without it: an owner that is down gets neither the write nor a hint, or a put that begins at its deadline is sent
    // and never told.
    let is_plain = |places, n| Row::of(&preflist(places), n, 1).is_some();
    assert!(is_plain("abc", 3) && is_plain("abC", 2) && is_plain("aaa", 3));
    assert!(!is_plain("abC", 3) && !is_plain("ab", 3));
    assert!(Row::of(&preflist("abc"), 3, 0).is_none());
}

#[test]
fn who_has_stored_it_counts_once_and_under_its_own_ask() {
    // Lost without it: an answer that came twice is two copies.
    let mut put = plain_put("aba", 2, 2);
    assert_eq!(
        asks(put.row()),
        [("a".into(), Ask(1)), ("b".into(), Ask(2))]
    );
    assert_eq!(put.stored(&"a".into(), Ask(2)), None, "that is b's");
    assert_eq!(put.stored(&"c".into(), Ask(1)), None, "that is a's");
    assert_eq!(put.awaited().count(), 2);
    assert_eq!(put.stored(&"a".into(), Ask(1)), None, "two of one node");
    assert_eq!(put.stored(&"a".into(), Ask(1)), None, "it is known");
    assert!(!put.is_over());
    let outcome = put.stored(&"b".into(), Ask(2)).expect("two nodes");
    assert_eq!((outcome.replicas.len(), outcome.stamp), (3, STAMP));
    assert!(put.is_over());
}

#[test]
fn owners_that_hold_the_same_are_enough_and_others_are_not_for_it() {
    // Lost without it: a get is answered by one copy twice, or by whoever came first when copies differ.
    let held = Some(Object::value(STAMP, Bytes::from_static(b"x")));
    let mut get = plain_get("abc", 2, 2, true, Some(1));
    assert_eq!(
        asks(get.row()),
        [("a".into(), Ask(1)), ("c".into(), Ask(2))]
    );
    assert_eq!(get.hedges_ms(), Some(5000 + get::HEDGE_MS));
    let (a, c) = (NodeName::from("a"), NodeName::from("c"));
    assert_eq!(get.heard(&"b".into(), Ask(2), held.clone()), Heard::Nothing);
    assert_eq!(get.heard(&a, Ask(1), held.clone()), Heard::Nothing);
    assert_eq!(get.heard(&a, Ask(1), held.clone()), Heard::Nothing);
    assert_eq!(get.heard(&c, Ask(2), None), Heard::Otherwise);
    assert_eq!(get.awaited().collect::<Vec<_>>(), [(&c, Ask(2))]);
    let Heard::Enough(outcome) = get.heard(&c, Ask(2), held.clone()) else {
        panic!("two hold it");
    };
    assert_eq!((outcome.object, outcome.replicas.len()), (held, 2));
    assert!(get.is_over() && get.hedges_ms().is_none());
}

proptest! {
    /// Lost without it: the same put is acknowledged or not by whether something happens to it later.
    #[test]
    fn a_put_says_what_the_machine_says_and_grows_into_it(
        places in "[abc]{1,5}",
        w in 1..=5_u8,
        pw in 0..=5_u8,
        order in prop::collection::vec(1..=3_u32, 0..6),
    ) {
        let n = places.len() as u8;
        let mut plain = plain_put(&places, w.min(n), pw.min(n));
        let clock = Clock::new(9, 500);
        let mut machine = plain.clone().unbegun("a".into());
        let mut effects = put::Effects::new();
        machine.step(5000, put::Event::Begin, &clock, &mut effects);
        let sent: Vec<(NodeName, Ask)> = effects.drain(..).map(|effect| match effect {
            put::Effect::Send { to, role: Role::Owner, ask, hint_for, .. } if hint_for.is_empty() => (to, ask),
            other => panic!("{other:?}"),
        }).collect();
        let asks = asks(plain.row());
        prop_assert_eq!(&asks, &sent);
        for ask in order {
            let Some((node, ask)) = asks.iter().find(|(_, it)| it.0 == ask).cloned() else {
                continue;
            };
            let said = plain.stored(&node, ask);
            let event = put::Event::Answer { node, ask, answer: put::Answer::Stored };
            let decided = machine.step(5001, event, &clock, &mut effects);
            prop_assert_eq!(said.map(Ok), decided);
            prop_assert_eq!(plain.is_over(), effects.contains(&put::Effect::Finished));
            let grown = plain.clone().grow("a".into(), &clock);
            prop_assert_eq!(format!("{grown:?}"), format!("{machine:?}"));
        }
    }

    /// Lost without it: what a get says depends on whether something happens to it later, or a copy that is behind is not
    /// repaired.
    #[test]
    fn a_get_says_what_the_machine_says_and_grows_into_it(
        places in "[abc]{1,5}",
        (r, pr) in (1..=5_u8, 0..=5_u8),
        notfound_ok: bool,
        turn in prop::option::of(0..9_usize),
        answers in prop::collection::vec((1..=3_u32, 0..5_usize), 0..6),
    ) {
        let n = places.len() as u8;
        let mut plain = plain_get(&places, r.min(n), pr.min(n), notfound_ok, turn);
        let me = NodeName::from("a");
        let mut machine = plain.unbegun(&me);
        let mut effects = get::Effects::new();
        machine.step(5000, get::Event::Begin, &mut effects);
        let sent: Vec<(NodeName, Ask)> = effects.drain(..).map(|effect| match effect {
            get::Effect::Send { to, role: Role::Owner, ask } => (to, ask),
            other => panic!("{other:?}"),
        }).collect();
        let asks = asks(plain.row());
        prop_assert_eq!(&asks, &sent);
        let value = Object::value(STAMP, Bytes::from_static(b"x"));
        let gone = Object::tombstone(Stamp { seq: 1, ..STAMP });
        let held = [Some(value.clone()), Some(value.clone()), Some(value), Some(gone), None];
        for (ask, held_at) in answers {
            let Some((node, ask)) = asks.iter().find(|(_, it)| it.0 == ask).cloned() else {
                continue;
            };
            let held = held[held_at].clone();
            let answer = held.clone().map_or(get::Answer::NotFound, get::Answer::Found);
            let event = get::Event::Answer { node: node.clone(), ask, answer };
            let was = plain.clone();
            let said = plain.heard(&node, ask, held);
            let decided = machine.step(5001, event.clone(), &mut effects);
            let said = match said {
                Heard::Nothing => None,
                Heard::Enough(outcome) => Some(Ok(outcome)),
                Heard::Otherwise => {
                    prop_assert_eq!(format!("{plain:?}"), format!("{was:?}"));
                    let mut grown = plain.grow(&me);
                    let mut wished = get::Effects::new();
                    prop_assert_eq!(grown.step(5001, event, &mut wished), decided);
                    prop_assert_eq!(format!("{grown:?}"), format!("{machine:?}"));
                    prop_assert_eq!(wished, effects);
                    return Ok(());
                }
            };
            prop_assert_eq!(said, decided);
            prop_assert_eq!(plain.is_over(), effects.contains(&get::Effect::Finished));
            prop_assert!(effects.len() <= 1, "nothing else is to be done");
            let grown = plain.clone().grow(&me);
            prop_assert_eq!(format!("{grown:?}"), format!("{machine:?}"));
            let next_ms = plain.hedges_ms().unwrap_or(6000);
            prop_assert_eq!(machine.next_tick_ms(), (!plain.is_over()).then_some(next_ms));
        }
    }
}
