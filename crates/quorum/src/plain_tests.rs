//! A plain put beside the machine that it stands for.

use bytes::Bytes;
use proptest::prelude::*;
use rkv_ring::{ClusterId, Epoch, Partition, Place};

use super::*;
use crate::put::Effect;

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

fn policy(n: u8, w: u8, pw: u8) -> PutPolicy {
    PutPolicy {
        n,
        w,
        pw,
        timeout_ms: 1000,
    }
}

fn plain(places: &str, w: u8, pw: u8) -> Plain {
    let policy = policy(places.len() as u8, w, pw);
    let row = Row::of(&preflist(places), &policy).expect("all are up");
    let draft = Draft::Value {
        body: Bytes::from_static(b"x"),
        at_ms: None,
    };
    Plain::new(row, policy, draft, STAMP, 5000)
}

#[test]
fn a_row_is_plain_when_all_who_take_part_are_up_and_there_is_time() {
    // Lost without it: an owner that is down gets neither the write nor a hint, or a put that begins at its deadline is sent
    // and never told.
    let is_plain = |places, n| Row::of(&preflist(places), &policy(n, 1, 0)).is_some();
    assert!(is_plain("abc", 3) && is_plain("abC", 2) && is_plain("aaa", 3));
    assert!(!is_plain("abC", 3) && !is_plain("ab", 3));
    let late = PutPolicy {
        timeout_ms: 0,
        ..policy(3, 2, 0)
    };
    assert!(Row::of(&preflist("abc"), &late).is_none());
}

#[test]
fn who_has_stored_it_counts_once_and_under_its_own_ask() {
    // Lost without it: an answer that came twice is two copies.
    let mut put = plain("aba", 2, 2);
    let asks: Vec<(NodeName, Ask)> = put.row.asks().map(|(n, a)| (n.clone(), a)).collect();
    assert_eq!(asks, [("a".into(), Ask(1)), ("b".into(), Ask(2))]);
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

proptest! {
    /// Lost without it: the same put is acknowledged or not by whether something happens to it later.
    #[test]
    fn it_says_what_the_machine_says_and_grows_into_it(
        places in "[abc]{1,5}",
        w in 1..=5_u8,
        pw in 0..=5_u8,
        order in prop::collection::vec(1..=3_u32, 0..6),
    ) {
        let n = places.len() as u8;
        let mut plain = plain(&places, w.min(n), pw.min(n));
        let clock = Clock::new(9, 500);
        let mut machine = plain.clone().unbegun("a".into());
        let mut effects = Effects::new();
        machine.step(5000, Event::Begin, &clock, &mut effects);
        let sent: Vec<(NodeName, Ask)> = effects.drain(..).map(|effect| match effect {
            Effect::Send { to, role: Role::Owner, ask, hint_for, .. } if hint_for.is_empty() => (to, ask),
            other => panic!("{other:?}"),
        }).collect();
        let asks: Vec<(NodeName, Ask)> = plain.row.asks().map(|(n, a)| (n.clone(), a)).collect();
        prop_assert_eq!(&asks, &sent);
        for ask in order {
            let Some((node, ask)) = asks.iter().find(|(_, it)| it.0 == ask).cloned() else {
                continue;
            };
            let said = plain.stored(&node, ask);
            let event = Event::Answer { node, ask, answer: Answer::Stored };
            let decided = machine.step(5001, event, &clock, &mut effects);
            prop_assert_eq!(said.map(Ok), decided);
            prop_assert_eq!(plain.is_over(), effects.contains(&Effect::Finished));
            let grown = plain.clone().grow("a".into(), &clock);
            prop_assert_eq!(format!("{grown:?}"), format!("{machine:?}"));
        }
    }
}
