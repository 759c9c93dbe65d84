//! Gets as short conversations: what is said on the left, what the machine does on the right.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;
use rkv_ring::{ClusterId, Epoch, Partition, Place};

use super::*;
use crate::clock::Stamp;

fn ring(epoch: u64) -> RingId {
    RingId {
        cluster: ClusterId(1),
        lineage: 0,
        epoch: Epoch(epoch),
    }
}

/// Places as letters, a capital one being down; then the fallbacks.
fn preflist(epoch: u64, places: &str, fallbacks: &str) -> Preflist {
    let name = |c: char| NodeName::from(c.to_ascii_lowercase().to_string());
    let place = |(replica, c): (u8, char)| Place {
        replica,
        node: name(c),
        up: c.is_lowercase(),
    };
    Preflist {
        partition: Partition(3),
        ring: ring(epoch),
        places: (0..).zip(places.chars()).map(place).collect(),
        fallbacks: fallbacks.chars().map(name).collect(),
    }
}

fn policy(n: u8, r: u8, pr: u8) -> GetPolicy {
    GetPolicy {
        n,
        r,
        pr,
        notfound_ok: true,
        timeout_ms: 1000,
    }
}

fn value(time: u64) -> Object {
    Object::value(
        Stamp {
            time,
            boot: 1,
            seq: 0,
        },
        Bytes::from(format!("v{time}")),
    )
}

fn found(time: u64) -> Answer {
    Answer::Found(value(time))
}

fn time_of(object: &Object) -> u64 {
    object.version().stamp().unwrap().time
}

struct Talk {
    get: Get,
    now_ms: u64,
    asks: BTreeMap<NodeName, Ask>,
}

fn outcome(decided: Result<GetOutcome, QuorumError>) -> String {
    match decided {
        Ok(outcome) => {
            let one = |r: &crate::ReplicaResult| format!("{}{}:{}", r.node, r.replica, r.result);
            let replicas: Vec<_> = outcome.replicas.iter().map(one).collect();
            let object = outcome
                .object
                .map_or("none".to_owned(), |o| time_of(&o).to_string());
            format!("{object} [{}]", replicas.join(" "))
        }
        Err(error) => error.to_string(),
    }
}

impl Talk {
    fn of(policy: GetPolicy, places: &str, fallbacks: &str) -> Talk {
        let get = Get::new(policy, &preflist(1, places, fallbacks));
        Talk {
            get,
            now_ms: 5000,
            asks: BTreeMap::new(),
        }
    }

    fn begin(&mut self) -> String {
        self.step(Event::Begin)
    }

    fn step(&mut self, event: Event) -> String {
        let mut effects = Effects::new();
        let decided = self.get.step(self.now_ms, event, &mut effects);
        let mut said: Vec<String> = decided.map(outcome).into_iter().collect();
        said.extend(effects.into_iter().map(|effect| self.told(effect)));
        said.join(", ")
    }

    fn told(&mut self, effect: Effect) -> String {
        match effect {
            Effect::Send { to, role, ask } => {
                self.asks.insert(to.clone(), ask);
                match role {
                    Role::Owner => to.to_string(),
                    Role::Fallback => format!("{to} fallback"),
                }
            }
            Effect::Repair { to, object } => format!("repair {to}@{}", time_of(&object)),
            Effect::Finished => "end".to_owned(),
        }
    }

    fn says(&mut self, node: &str, answer: Answer) -> String {
        let ask = self.asks[&NodeName::from(node)];
        self.step(Event::Answer {
            node: node.into(),
            ask,
            answer,
        })
    }

    fn refuses(&mut self, node: &str, refusal: Refusal) -> String {
        self.says(node, Answer::Refused(refusal))
    }

    fn lost(&mut self, node: &str) -> String {
        let ask = self.asks[&NodeName::from(node)];
        self.step(Event::Unreachable {
            node: node.into(),
            ask,
        })
    }

    fn at(&mut self, ms: u64) -> String {
        self.now_ms = 5000 + ms;
        self.step(Event::Tick)
    }
}

/// Lost without it: the plain get, and repairs of replicas that agree.
#[test]
fn two_of_three_are_enough_and_agreement_needs_no_repair() {
    let mut t = Talk::of(policy(3, 2, 0), "abc", "de");
    assert_eq!(t.begin(), "a, b, c");
    assert_eq!(t.says("b", found(7)), "");
    assert_eq!(t.says("b", found(7)), "", "an answer counts once");
    assert_eq!(t.says("a", found(7)), "7 [a0:ok b1:ok]");
    assert_eq!(t.says("c", found(7)), "end");
    let mut none = Talk::of(policy(3, 2, 0), "abc", "");
    none.begin();
    none.says("a", Answer::NotFound);
    assert_eq!(
        none.says("c", Answer::NotFound),
        "none [a0:notfound c2:notfound]"
    );
    assert_eq!(none.says("b", Answer::NotFound), "end");
}

/// Lost without it: a one-node cluster waits for answers that nobody owes.
#[test]
fn one_node_in_three_places_answers_for_all() {
    let mut t = Talk::of(policy(3, 3, 3), "aaa", "");
    assert_eq!(t.begin(), "a");
    assert_eq!(t.says("a", found(7)), "7 [a0:ok a1:ok a2:ok], end");
}

/// Lost without it: the newest is read but the others stay old.
#[test]
fn the_newest_wins_and_the_others_are_repaired() {
    let mut t = Talk::of(policy(3, 2, 0), "abc", "");
    t.begin();
    t.says("a", found(7));
    assert_eq!(t.says("b", Answer::NotFound), "7 [a0:ok b1:notfound]");
    assert_eq!(t.says("c", found(9)), "repair a@9, repair b@9, end");
    let mut stale = Talk::of(policy(3, 2, 0), "abc", "");
    stale.begin();
    stale.says("a", found(7));
    assert_eq!(stale.says("b", found(9)), "9 [a0:stale b1:ok]");
    assert_eq!(stale.at(1000), "repair a@9, end", "c is not asked in vain");
}

/// Lost without it: a deleted key is found again on the replica that missed the deletion.
#[test]
fn a_deletion_is_something_held() {
    let tombstone = Object::tombstone(Stamp {
        time: 9,
        boot: 1,
        seq: 0,
    });
    let mut t = Talk::of(
        GetPolicy {
            notfound_ok: false,
            ..policy(3, 2, 0)
        },
        "abc",
        "",
    );
    t.begin();
    t.says("a", found(7));
    assert_eq!(
        t.says("b", Answer::Found(tombstone)),
        "9 [a0:stale b1:notfound]"
    );
    assert_eq!(t.says("c", Answer::NotFound), "repair a@9, repair c@9, end");
}

/// Lost without it: a copy that was emptied says "not found" of what is acknowledged.
#[test]
fn a_copy_that_is_catching_up_is_merged_and_never_counts() {
    let mut t = Talk::of(policy(3, 2, 0), "abc", "");
    t.begin();
    assert_eq!(t.says("a", Answer::CatchingUp(Some(value(9)))), "");
    assert_eq!(t.says("b", found(7)), "");
    let said = t.says("c", found(7));
    assert_eq!(
        said,
        "9 [a0:error: catching up b1:stale c2:stale], repair b@9, repair c@9, end"
    );
    let mut two = Talk::of(policy(3, 2, 0), "abc", "");
    two.begin();
    two.says("a", Answer::CatchingUp(None));
    two.says("b", found(7));
    let short = "TRYAGAIN 1 of 2 answered, repair a@7, end";
    assert_eq!(
        two.says("c", Answer::CatchingUp(None))
            .replace("repair c@7, ", ""),
        short
    );
}

/// Lost without it: a fallback that never had the key answers for an owner that has.
#[test]
fn a_fallback_counts_with_an_object_and_never_with_its_absence() {
    let mut t = Talk::of(policy(3, 2, 0), "abC", "de");
    assert_eq!(t.begin(), "a, b", "two owners are enough");
    assert_eq!(t.lost("b"), "d fallback, e fallback");
    assert_eq!(t.says("a", Answer::NotFound), "");
    assert_eq!(t.says("d", Answer::NotFound), "");
    assert_eq!(
        t.says("e", found(7)),
        "7 [a0:notfound d1:notfound e2:ok], repair a@7, end"
    );
    let mut none = Talk::of(policy(3, 2, 0), "aBC", "d");
    assert_eq!(none.begin(), "a, d fallback");
    none.says("a", found(7));
    assert_eq!(
        none.says("d", Answer::NotFound),
        "TRYAGAIN 1 of 2 answered, end"
    );
}

/// Lost without it: absence counts although the keyspace says that it does not, or nothing is ever absent.
#[test]
fn absence_that_does_not_count_needs_the_whole_row() {
    let strict = GetPolicy {
        notfound_ok: false,
        ..policy(3, 2, 0)
    };
    let mut t = Talk::of(strict, "abc", "d");
    t.begin();
    t.says("a", Answer::NotFound);
    assert_eq!(t.says("b", Answer::NotFound), "");
    let said = t.says("c", Answer::NotFound);
    assert_eq!(said, "none [a0:notfound b1:notfound c2:notfound], end");
    let mut one = Talk::of(strict, "abc", "");
    one.begin();
    one.says("a", Answer::NotFound);
    one.says("b", Answer::NotFound);
    let said = one.says("c", found(7));
    assert_eq!(
        said,
        "TRYAGAIN 1 of 2 answered, repair a@7, repair b@7, end"
    );
}

/// Lost without it: a get that cannot succeed is sent, or waits for its timeout.
#[test]
fn too_few_is_said_at_once() {
    let none = |policy, places, fallbacks| Talk::of(policy, places, fallbacks).begin();
    let reach = "replicas can be reached; nothing was sent, end";
    assert_eq!(
        none(policy(3, 3, 0), "abC", ""),
        format!("NOREPLICAS 2 of 3 {reach}")
    );
    assert_eq!(
        none(policy(3, 2, 0), "aBC", ""),
        format!("CLUSTERDOWN no quorum: 1 of 2 {reach}")
    );
    assert_eq!(
        none(policy(3, 1, 3), "abC", "d"),
        format!("NOREPLICAS 2 of 3 {reach}")
    );
    let mut t = Talk::of(policy(3, 3, 0), "abc", "");
    t.begin();
    let failed = Refusal::Failed {
        message: "broken".to_owned(),
        maybe_applied: false,
    };
    assert_eq!(
        t.refuses("a", failed),
        "TRYAGAIN 0 of 3 answered",
        "the others are awaited"
    );
    t.says("b", found(7));
    assert_eq!(t.says("c", found(8)), "repair b@8, end");
}

/// Lost without it: a silent owner holds a get for ever.
#[test]
fn the_deadline_ends_it() {
    let mut t = Talk::of(policy(3, 2, 0), "abc", "");
    t.begin();
    t.says("a", found(7));
    assert_eq!(
        (t.at(999), t.get.next_tick_ms()),
        (String::new(), Some(6000))
    );
    assert_eq!(t.at(1000), "TRYAGAIN 1 of 2 answered, end");
    assert_eq!(t.get.next_tick_ms(), None);
}

/// Lost without it: overload looks like death, or is asked again at once.
#[test]
fn the_busy_are_asked_again() {
    let mut t = Talk::of(policy(1, 1, 0), "a", "");
    t.begin();
    assert_eq!(t.refuses("a", Refusal::Busy), "");
    assert_eq!(t.get.next_tick_ms(), Some(5010));
    assert_eq!(t.at(10), "a");
    t.refuses("a", Refusal::Busy);
    assert_eq!(t.at(1000), "BUSY 0 of 1 answered, end");
}

/// Lost without it: a get that was routed by an old ring fails.
#[test]
fn a_newer_ring_re_routes_what_was_refused() {
    let mut t = Talk::of(policy(3, 2, 0), "abc", "");
    t.begin();
    t.says("a", found(7));
    t.refuses("b", Refusal::NotOwner(ring(2)));
    assert_eq!(t.refuses("c", Refusal::NotOwner(ring(2))), "");
    assert_eq!(t.step(Event::Preflist(preflist(2, "dbe", ""))), "b, d, e");
    assert_eq!(t.says("b", found(7)), "", "a is an owner no more");
    assert_eq!(t.says("e", found(7)), "7 [b1:ok e2:ok]");
    assert_eq!(t.says("d", Answer::NotFound), "repair d@7, end");
}

/// Lost without it: a get that spares owners fails, or waits for its timeout, where one that asks all is answered.
#[test]
fn who_was_spared_is_asked_when_the_others_do_not_do() {
    let sparing = |turn| {
        let mut t = Talk::of(policy(3, 2, 0), "abc", "d");
        t.get = t.get.sparing(&"b".into(), turn, |_| false);
        t
    };
    for (turn, asked) in [(0, "a, b"), (1, "b, c"), (2, "a, b"), (3, "b, c")] {
        assert_eq!(sparing(turn).begin(), asked, "b and one of the others");
    }
    let mut t = sparing(0);
    t.begin();
    assert_eq!(t.get.next_tick_ms(), Some(5000 + HEDGE_MS));
    t.says("a", found(7));
    assert_eq!(t.says("b", found(8)), "8 [a0:stale b1:ok], repair a@8, end");
    type Step = fn(&mut Talk) -> String;
    let steps: [(&str, Step); 6] = [
        ("lost", |t| t.lost("a")),
        ("busy", |t| t.refuses("a", Refusal::Busy)),
        ("behind", |t| t.refuses("a", Refusal::Behind)),
        ("emptied", |t| t.says("a", Answer::CatchingUp(None))),
        ("slow", |t| t.at(HEDGE_MS)),
        ("moved", |t| t.refuses("a", Refusal::NotOwner(ring(2)))),
    ];
    for (why, step) in steps {
        let mut t = sparing(0);
        t.begin();
        assert_eq!(t.at(HEDGE_MS - 1), "");
        let said = step(&mut t);
        assert_eq!(said, "c", "{why}");
        t.says("b", found(7));
        let said = t.says("c", found(7));
        assert!(said.starts_with("7 ["), "{why}: {said}");
    }
    let mut strict = Talk::of(policy(3, 2, 3), "abc", "");
    strict.get = strict.get.sparing(&"b".into(), 0, |_| false);
    assert_eq!(strict.begin(), "a, b, c", "all three are needed");
    let mut down = Talk::of(policy(3, 2, 0), "aBc", "");
    down.get = down.get.sparing(&"b".into(), 0, |_| false);
    assert_eq!(down.begin(), "a, c", "who is down is not counted on");
    let mut moved = sparing(0);
    moved.begin();
    let newer = Event::Preflist(preflist(2, "abd", ""));
    assert_eq!(moved.step(newer), "d", "whom a newer ring names is asked");
    for (slow, asked) in [("a", "b, c"), ("c", "a, b"), ("ac", "a, b, c")] {
        let mut t = Talk::of(policy(3, 2, 0), "abc", "");
        let is_slow = |node: &NodeName| slow.contains(node.as_str());
        t.get = t.get.sparing(&"b".into(), 0, is_slow);
        assert_eq!(t.begin(), asked, "{slow} is not relied on");
    }
}

/// Lost without it: an answer given before its node took another's place over is counted for that place too.
#[test]
fn who_answers_for_more_places_is_asked_again() {
    let mut t = Talk::of(policy(3, 2, 0), "abc", "");
    t.begin();
    t.says("a", found(7));
    assert_eq!(t.step(Event::Preflist(preflist(2, "aba", ""))), "a");
    assert_eq!(t.says("a", found(8)), "8 [a0:ok a2:ok]");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// Lost without it: some order of events counts what does not count, answers twice, or never ends.
    #[test]
    fn any_order_of_events_keeps_the_promises(
        places in "[abcABC][abcABC][abcABC]", fallbacks in "d?e?", next in "[abdABD][abdABD][abdABD]",
        r in 1..4u8, pr in 0..3u8, notfound_ok: bool, spares in prop::option::of(0..4usize),
        script in prop::collection::vec((0..12u8, any::<prop::sample::Index>(), 0..40u64), 0..40),
    ) {
        let alike = |text: &str| -> String {
            let down = |c: char| text.contains(c.to_ascii_uppercase());
            text.chars().map(|c| if down(c) { c.to_ascii_uppercase() } else { c }).collect()
        };
        let policy = GetPolicy { notfound_ok, ..policy(3, r, pr) };
        let mut get = Get::new(policy, &preflist(1, &alike(&places), &fallbacks));
        if let Some(turn) = spares {
            get = get.sparing(&"b".into(), turn, |node| node.as_str() == "c");
        }
        let mut under_way: Vec<(NodeName, Role, Ask)> = Vec::new();
        let mut counted: BTreeSet<(NodeName, Role)> = BTreeSet::new();
        let mut absent: BTreeSet<NodeName> = BTreeSet::new();
        let mut newest = None;
        let (mut done, mut finished) = (0, 0);
        let (mut now_ms, mut effects) = (0, Effects::new());
        let mut decided = get.step(now_ms, Event::Begin, &mut effects);
        let mut steps = script.into_iter();
        loop {
            if let Some(outcome) = decided.take() {
                if let Ok(outcome) = outcome {
                    prop_assert_eq!(outcome.object.as_ref().map(time_of), newest);
                    prop_assert!(outcome.replicas.len() <= 3);
                    let good = outcome.replicas.iter()
                        .filter(|r| counted.contains(&(r.node.clone(), r.role)));
                    let all_absent = newest.is_none()
                        && outcome.replicas.iter().all(|r| absent.contains(&r.node));
                    prop_assert!(good.count() >= usize::from(r) || all_absent);
                }
                done += 1;
            }
            for effect in effects.drain(..) {
                prop_assert_eq!(finished, 0, "nothing comes after the end");
                match effect {
                    Effect::Send { to, role, ask } => under_way.push((to, role, ask)),
                    Effect::Repair { object, .. } => {
                        prop_assert_eq!(Some(time_of(&object)), newest);
                    }
                    Effect::Finished => finished += 1,
                }
            }
            let Some((kind, which, ms)) = steps.next() else {
                break;
            };
            now_ms += ms;
            let event = match kind {
                0 => Event::Tick,
                1 => Event::Preflist(preflist(2, &alike(&next), "e")),
                _ if under_way.is_empty() => continue,
                _ => {
                    let (node, role, ask) = under_way.swap_remove(which.index(under_way.len()));
                    let answer = match kind {
                        2 => Answer::NotFound,
                        3 => Answer::CatchingUp(ms.is_multiple_of(2).then(|| value(ms))),
                        4 => Answer::Refused(Refusal::Busy),
                        5 => Answer::Refused(Refusal::NotOwner(ring(2))),
                        6 | 7 => {
                            let lost = Event::Unreachable { node, ask };
                            decided = get.step(now_ms, lost, &mut effects);
                            continue;
                        }
                        _ => found(ms),
                    };
                    let awaited = finished == 0 && get.roster.awaited(&node, ask).is_some();
                    match &answer {
                        Answer::Found(_) => {
                            counted.insert((node.clone(), role));
                        }
                        Answer::NotFound if role == Role::Owner => {
                            absent.insert(node.clone());
                            if notfound_ok {
                                counted.insert((node.clone(), role));
                            }
                        }
                        _ => {}
                    }
                    if let Answer::Found(object) | Answer::CatchingUp(Some(object)) = &answer
                        && awaited
                    {
                        newest = newest.max(Some(time_of(object)));
                    }
                    Event::Answer { node, ask, answer }
                }
            };
            decided = get.step(now_ms, event, &mut effects);
        }
        done += usize::from(get.step(now_ms + 1000, Event::Tick, &mut effects).is_some());
        let ends = effects.iter().filter(|effect| matches!(effect, Effect::Finished));
        finished += ends.count();
        prop_assert_eq!((done, finished), (1, 1));
    }
}
