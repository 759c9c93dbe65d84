//! Puts as short conversations: what is said on the left, what the machine does on the right.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rkv_ring::{ClusterId, Epoch, Partition, Place};

use super::*;

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

fn policy(n: u8, w: u8, pw: u8) -> PutPolicy {
    PutPolicy {
        n,
        w,
        pw,
        timeout_ms: 1000,
    }
}

fn stamp(time: u64) -> Stamp {
    Stamp {
        time,
        boot: 9,
        seq: 0,
    }
}

struct Talk {
    put: Put,
    clock: Clock,
    now_ms: u64,
    asks: BTreeMap<NodeName, Vec<Ask>>,
}

fn outcome(decided: Result<PutOutcome, QuorumError>) -> String {
    match decided {
        Ok(outcome) => {
            let one = |r: &crate::ReplicaResult| format!("{}{}:{}", r.node, r.replica, r.result);
            let replicas: Vec<_> = outcome.replicas.iter().map(one).collect();
            format!("ok@{} [{}]", outcome.stamp.time, replicas.join(" "))
        }
        Err(error) => error.to_string(),
    }
}

impl Talk {
    /// Node `a` coordinates.
    fn of(policy: PutPolicy, places: &str, fallbacks: &str) -> Talk {
        let draft = Draft::Value {
            body: Bytes::from_static(b"x"),
            at_ms: None,
        };
        let preflist = preflist(1, places, fallbacks);
        Talk {
            put: Put::new(policy, &preflist, draft, stamp(100), "a".into()),
            clock: Clock::new(9, 500),
            now_ms: 5000,
            asks: BTreeMap::new(),
        }
    }

    fn begin(&mut self) -> String {
        self.step(Event::Begin)
    }

    fn step(&mut self, event: Event) -> String {
        let mut effects = Effects::new();
        let decided = self.put.step(self.now_ms, event, &self.clock, &mut effects);
        let mut said: Vec<String> = decided.map(outcome).into_iter().collect();
        said.extend(effects.into_iter().map(|effect| self.told(effect)));
        said.join(", ")
    }

    fn told(&mut self, effect: Effect) -> String {
        let list = |nodes: &[NodeName]| nodes.iter().map(NodeName::as_str).collect::<String>();
        match effect {
            Effect::Send {
                to,
                role,
                ask,
                extent,
                hint_for,
            } => {
                let object = self.put.object(extent);
                self.asks.entry(to.clone()).or_default().push(ask);
                let deadline = object.version().deadline().map(|d| d.stamp.time);
                let what = match (object.version().stamp().map(|s| s.time), deadline) {
                    (Some(value), Some(deadline)) => format!("{to}@{value}+{deadline}"),
                    (Some(value), None) => format!("{to}@{value}"),
                    (None, deadline) => format!("{to}-{}", deadline.unwrap()),
                };
                match (role, &hint_for[..]) {
                    (Role::Owner, []) => what,
                    (Role::Owner, hints) => format!("{what} keys {}", list(hints)),
                    (Role::Fallback, hints) => format!("{what} for {}", list(hints)),
                }
            }
            Effect::Hint { to, role, missing } => {
                format!("hint {} at {to} {role}", list(&missing))
            }
            Effect::Finished => "end".to_owned(),
        }
    }

    fn ask(&self, node: &str, back: usize) -> Ask {
        let asks = &self.asks[&NodeName::from(node)];
        asks[asks.len() - 1 - back]
    }

    /// The node's answer to its last ask.
    fn says(&mut self, node: &str, answer: Answer) -> String {
        let ask = self.ask(node, 0);
        self.step(Event::Answer {
            node: node.into(),
            ask,
            answer,
        })
    }

    fn stored(&mut self, node: &str) -> String {
        self.says(node, Answer::Stored)
    }

    fn refuses(&mut self, node: &str, refusal: Refusal) -> String {
        self.says(node, Answer::Refused(refusal))
    }

    fn fails(&mut self, node: &str, maybe_applied: bool) -> String {
        self.refuses(
            node,
            Refusal::Failed {
                message: "disk full".to_owned(),
                maybe_applied,
            },
        )
    }

    fn lost(&mut self, node: &str, sent: bool) -> String {
        let ask = self.ask(node, 0);
        self.step(Event::Unreachable {
            node: node.into(),
            ask,
            sent,
        })
    }

    fn at(&mut self, ms: u64) -> String {
        self.now_ms = 5000 + ms;
        self.step(Event::Tick)
    }
}

/// Lost without it: the plain put.
#[test]
fn two_of_three_are_enough_and_the_third_is_awaited() {
    let mut t = Talk::of(policy(3, 2, 0), "abc", "de");
    assert_eq!(t.put.next_tick_ms(), None);
    assert_eq!(t.begin(), "a@100, b@100, c@100");
    assert_eq!(t.put.next_tick_ms(), Some(6000));
    assert_eq!(t.stored("b"), "");
    assert_eq!(t.stored("b"), "", "an answer counts once");
    assert_eq!(t.stored("a"), "ok@100 [a0:ok b1:ok]");
    assert_eq!(t.stored("c"), "end");
    assert_eq!((t.at(2000), t.put.next_tick_ms()), (String::new(), None));
}

/// Lost without it: n=3 w=3 fails on a single node, or the same disk is written three times.
#[test]
fn one_node_in_three_places_answers_once_for_all() {
    let mut t = Talk::of(policy(3, 3, 3), "aaa", "");
    assert_eq!(t.begin(), "a@100");
    assert_eq!(t.stored("a"), "ok@100 [a0:ok a1:ok a2:ok], end");
}

/// Lost without it: one node in two places acknowledges alone although another owner is up.
#[test]
fn as_many_distinct_nodes_as_there_were() {
    let mut t = Talk::of(policy(3, 2, 0), "aab", "");
    assert_eq!(t.begin(), "a@100, b@100");
    assert_eq!(t.stored("a"), "");
    assert_eq!(t.stored("b"), "ok@100 [a0:ok a1:ok b2:ok], end");
    let mut lost = Talk::of(policy(3, 2, 0), "aab", "");
    lost.begin();
    lost.stored("a");
    let unknown = "UNKNOWN 1 of 2 answered; the write may have been applied";
    assert!(
        lost.lost("b", true).starts_with(unknown),
        "one of two nodes"
    );
    let mut alone = Talk::of(policy(3, 2, 0), "aaB", "");
    assert_eq!(alone.begin(), "a@100 keys b");
    assert_eq!(alone.stored("a"), "ok@100 [a0:ok a1:ok], end");
}

/// Lost without it: a smaller n writes to owners that it was not to touch.
#[test]
fn a_smaller_n_narrows_to_the_first_places() {
    let mut t = Talk::of(policy(1, 1, 1), "abc", "");
    assert_eq!(t.begin(), "a@100");
    assert_eq!(t.stored("a"), "ok@100 [a0:ok], end");
}

/// Lost without it: an owner that is down misses the write for good.
#[test]
fn a_fallback_stands_in_and_keeps_the_hint() {
    let mut t = Talk::of(policy(3, 3, 0), "aBc", "de");
    assert_eq!(t.begin(), "a@100, c@100, d@100 for b");
    assert_eq!(t.stored("a"), "");
    assert_eq!(t.stored("c"), "");
    assert_eq!(t.stored("d"), "ok@100 [a0:ok d1:ok c2:ok], end");
    let mut dead = Talk::of(policy(3, 3, 0), "aBc", "de");
    dead.begin();
    assert_eq!(
        dead.lost("d", true),
        "e@100 for b",
        "the next one takes over"
    );
}

/// Lost without it: on three nodes nothing is kept for the one that is down.
#[test]
fn without_a_fallback_an_owner_notes_the_key() {
    let mut t = Talk::of(policy(3, 2, 0), "bCa", "");
    assert_eq!(t.begin(), "b@100, a@100 keys c", "best the coordinator");
    assert_eq!(t.stored("a"), "");
    assert_eq!(t.stored("b"), "ok@100 [b0:ok a2:ok], end");
    let mut other = Talk::of(policy(3, 2, 0), "bcD", "");
    assert_eq!(other.begin(), "b@100 keys d, c@100", "else the first owner");
    other.stored("c");
    assert_eq!(
        other.lost("b", false),
        "UNKNOWN 1 of 2 answered; the write may have been applied, hint bd at c primary, end"
    );
}

/// Lost without it: one fallback is left for two dead owners, and one of them gets no hint.
#[test]
fn a_copy_serves_all_owners_that_have_no_fallback_of_their_own() {
    let mut t = Talk::of(policy(3, 2, 0), "aBC", "d");
    assert_eq!(t.begin(), "a@100, d@100 for bc");
    assert_eq!(t.stored("d"), "");
    assert_eq!(t.stored("a"), "ok@100 [a0:ok d1:ok], end");
}

/// Lost without it: something is written that can never be acknowledged.
#[test]
fn nothing_is_sent_when_too_few_are_there() {
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
        none(policy(3, 2, 3), "abC", "d"),
        format!("NOREPLICAS 2 of 3 {reach}")
    );
    assert_eq!(
        none(policy(3, 2, 0), "ABC", "d"),
        format!("CLUSTERDOWN no quorum: 1 of 2 {reach}")
    );
    assert_eq!(
        none(policy(3, 2, 0), "ABC", "de"),
        "d@100 for ac, e@100 for b"
    );
}

/// Lost without it: a fallback is taken for an owner where owners were asked for.
#[test]
fn only_owners_count_for_pw() {
    let mut t = Talk::of(policy(3, 2, 2), "aBc", "d");
    t.begin();
    assert_eq!(t.stored("a"), "");
    assert_eq!(t.stored("d"), "");
    assert_eq!(t.stored("c"), "ok@100 [a0:ok d1:ok c2:ok], end");
}

/// Lost without it: a put that follows another loses to it because its node's clock is behind.
#[test]
fn a_refusal_restamps_and_asks_everyone_again() {
    let mut t = Talk::of(policy(3, 2, 0), "abc", "");
    t.begin();
    assert_eq!(t.stored("a"), "");
    assert_eq!(
        t.says("b", Answer::Newer(stamp(500))),
        "a@501, b@501, c@501"
    );
    let ask = t.ask("c", 1);
    let answer = Answer::Stored;
    let late = t.step(Event::Answer {
        node: "c".into(),
        ask,
        answer,
    });
    assert_eq!(late, "", "an answer for the older stamp counts for nothing");
    assert_eq!(t.stored("b"), "");
    assert_eq!(t.stored("c"), "ok@501 [b1:ok c2:ok]");
    assert_eq!(
        t.says("a", Answer::Newer(stamp(900))),
        "end",
        "what it holds covers the write"
    );
}

/// Lost without it: a retry that reaches a replica twice restamps for ever.
#[test]
fn holding_the_write_itself_is_having_stored_it() {
    let mut t = Talk::of(policy(1, 1, 0), "a", "");
    t.begin();
    assert_eq!(
        t.says("a", Answer::Newer(stamp(100))),
        "ok@100 [a0:ok], end"
    );
}

/// Lost without it: a put chases other writers for ever, or is called failed although it may win yet.
#[test]
fn four_rounds_are_enough() {
    let mut t = Talk::of(policy(3, 2, 0), "abc", "");
    t.begin();
    for round in 1..=4 {
        let time = 200 * round + 1;
        let said = t.says("b", Answer::Newer(stamp(200 * round)));
        assert_eq!(said, format!("a@{time}, b@{time}, c@{time}"));
    }
    let unknown = "UNKNOWN 0 of 2 answered; the write may have been applied";
    assert_eq!(t.says("b", Answer::Newer(stamp(9999))), unknown);
    assert_eq!(t.stored("a"), "", "no fifth round, nor a second answer");
    assert_eq!(t.at(1000), "hint c at a primary, end");
}

/// Lost without it: a copy that takes nothing so old and holds nothing newer misses the write for good.
#[test]
fn a_floor_restamps_and_proves_nothing_held() {
    let mut t = Talk::of(policy(3, 2, 0), "abc", "");
    t.begin();
    assert_eq!(
        t.says("c", Answer::Floor(stamp(300))),
        "a@301, b@301, c@301"
    );
    t.stored("a");
    assert_eq!(t.stored("b"), "ok@301 [a0:ok b1:ok]");
    assert_eq!(
        t.says("c", Answer::Floor(stamp(400))),
        "hint c at a primary, end"
    );
}

/// Lost without it: overload sets off fallbacks and hints, which are more load.
#[test]
fn the_busy_are_asked_again_with_longer_pauses() {
    let mut t = Talk::of(policy(3, 3, 0), "abc", "de");
    t.begin();
    t.stored("a");
    t.stored("c");
    assert_eq!(t.refuses("b", Refusal::Busy), "");
    assert_eq!(t.put.next_tick_ms(), Some(5010));
    assert_eq!(t.at(9), "");
    assert_eq!(t.at(10), "b@100");
    assert_eq!(t.refuses("b", Refusal::Busy), "");
    assert_eq!(t.put.next_tick_ms(), Some(5030));
    assert_eq!(t.at(30), "b@100");
    assert_eq!(t.refuses("b", Refusal::Behind), "");
    assert_eq!(t.put.next_tick_ms(), Some(5070));
    assert_eq!(t.at(70), "b@100");
    assert_eq!(t.stored("b"), "ok@100 [a0:ok b1:ok c2:ok], end");
}

/// Lost without it: BUSY is never told, or is told of a write that may be there.
#[test]
fn busy_to_the_end() {
    let mut t = Talk::of(
        PutPolicy {
            timeout_ms: 5,
            ..policy(1, 1, 0)
        },
        "a",
        "",
    );
    t.begin();
    t.refuses("a", Refusal::Busy);
    assert_eq!(
        t.at(5),
        "BUSY 0 of 1 answered; the write was not applied, end"
    );
    let mut twice = Talk::of(
        PutPolicy {
            timeout_ms: 15,
            ..policy(1, 1, 0)
        },
        "a",
        "",
    );
    twice.begin();
    twice.refuses("a", Refusal::Busy);
    twice.at(10);
    twice.refuses("a", Refusal::Busy);
    let unknown = "UNKNOWN 0 of 1 answered; the write may have been applied";
    assert_eq!(twice.at(15), format!("{unknown}, end"), "it was sent twice");
}

/// Lost without it: a request that was routed by an old ring fails, or counts who is an owner no more.
#[test]
fn a_newer_ring_re_routes_what_was_refused() {
    let mut t = Talk::of(policy(3, 2, 0), "abc", "");
    t.begin();
    assert_eq!(t.stored("c"), "");
    assert_eq!(t.refuses("a", Refusal::NotOwner(ring(2))), "");
    assert_eq!(t.lost("b", true), "", "a newer ring may still name others");
    assert_eq!(
        t.step(Event::Preflist(preflist(2, "bda", ""))),
        "a@100 keys b, d@100"
    );
    assert_eq!(t.put.ring(), ring(2));
    assert_eq!(
        t.step(Event::Preflist(preflist(1, "abc", ""))),
        "",
        "no way back"
    );
    assert_eq!(
        t.stored("a"),
        "",
        "c has stored it, but is an owner no more"
    );
    assert_eq!(t.stored("d"), "ok@100 [d1:ok a2:ok], end");
}

/// Lost without it: a node that promoted a hint's keeper to owner takes the hint for its copy.
#[test]
fn a_fallback_that_becomes_an_owner_is_asked_for_a_copy() {
    let mut t = Talk::of(policy(3, 3, 0), "abC", "d");
    assert_eq!(t.begin(), "a@100, b@100, d@100 for c");
    t.stored("a");
    t.stored("d");
    assert_eq!(t.step(Event::Preflist(preflist(2, "abd", ""))), "d@100");
    t.stored("b");
    assert_eq!(t.stored("d"), "ok@100 [a0:ok b1:ok d2:ok], end");
}

/// Lost without it: a write is called not applied that is on a disk or under way, or clients may never retry.
#[test]
fn not_applied_is_said_only_when_it_is_certain() {
    let last = |ends: &[&str]| {
        let mut t = Talk::of(policy(3, 3, 0), "abc", "");
        t.begin();
        for (node, end) in ["a", "b", "c"].into_iter().zip(ends) {
            let said = match *end {
                "stored" => t.stored(node),
                "unsent" => t.lost(node, false),
                "sent" => t.lost(node, true),
                "failed" => t.fails(node, false),
                "torn" => t.fails(node, true),
                "moved" => t.refuses(node, Refusal::NotOwner(ring(2))),
                _ => String::new(),
            };
            if !said.is_empty() {
                return said;
            }
        }
        t.at(1000)
    };
    let not = |k| format!("TRYAGAIN {k} of 3 answered; the write was not applied, end");
    let unknown = |k| format!("UNKNOWN {k} of 3 answered; the write may have been applied");
    assert_eq!(last(&["moved", "unsent", "failed"]), not(0));
    assert_eq!(last(&["unsent"]), unknown(0), "b and c are still asked");
    assert_eq!(
        last(&["moved", "sent", "unsent"]),
        format!("{}, end", unknown(0))
    );
    assert_eq!(
        last(&["moved", "torn", "unsent"]),
        format!("{}, end", unknown(0))
    );
    assert_eq!(
        last(&["moved", "moved", "silent"]),
        format!("{}, end", unknown(0))
    );
    let hinted = format!("{}, hint bc at a primary, end", unknown(1));
    assert_eq!(last(&["stored", "moved", "silent"]), hinted);
}

/// Lost without it: an owner that falls silent after the answer never hears of the write.
#[test]
fn whoever_has_not_stored_it_in_the_end_gets_a_hint() {
    let mut t = Talk::of(policy(3, 1, 0), "abc", "d");
    t.begin();
    assert_eq!(t.stored("b"), "ok@100 [b1:ok]");
    assert_eq!(
        t.lost("a", true),
        "hint a at d fallback",
        "at once, at a node outside the row"
    );
    assert_eq!(t.at(999), "");
    assert_eq!(t.at(1000), "hint c at d fallback, end");
    let mut three = Talk::of(policy(3, 2, 0), "abc", "");
    three.begin();
    three.stored("c");
    assert_eq!(three.stored("b"), "ok@100 [b1:ok c2:ok]");
    assert_eq!(three.fails("a", true), "hint a at b primary, end");
}

/// Lost without it: a hint that rode on a send counts although its keeper never stored it.
#[test]
fn a_hint_whose_keeper_failed_is_given_to_another() {
    let mut t = Talk::of(policy(3, 1, 0), "abC", "");
    assert_eq!(t.begin(), "a@100 keys c, b@100");
    assert_eq!(t.stored("b"), "ok@100 [b1:ok]");
    assert_eq!(t.lost("a", true), "hint ac at b primary, end");
}

/// Lost without it: a delete or a deadline is stamped as something else on its way.
#[test]
fn drafts_become_what_they_say() {
    let s = stamp(7);
    let body = Bytes::from_static(b"x");
    let value = Draft::Value {
        body: body.clone(),
        at_ms: Some(3),
    }
    .stamped(s);
    assert_eq!(value, Object::value_until(s, body, 3));
    assert_eq!(Draft::Tombstone.stamped(s), Object::tombstone(s));
    let deadline = Draft::Deadline {
        at_ms: None,
        of: stamp(1),
        value: Object::value(stamp(1), Bytes::from_static(b"x")),
    };
    let (alone, whole) = (deadline.stamped(s), deadline.whole(s));
    for object in [&alone, &whole] {
        let written = object.version().deadline().map(|d| (d.of, d.stamp));
        assert_eq!(written, Some((stamp(1), s)));
    }
    assert_eq!(
        (alone.version().stamp(), &whole.body()[..]),
        (None, &b"x"[..])
    );
}

/// Lost without it: a deadline takes the place of that of an older value on a copy that never got the newer one; or it is
/// never stored there, and a value of megabytes crosses the network for every EXPIRE.
#[test]
fn who_lacks_the_value_gets_it_with_the_deadline() {
    let draft = Draft::Deadline {
        at_ms: Some(5),
        of: stamp(7),
        value: Object::value(stamp(7), Bytes::from_static(b"x")),
    };
    let deadline = |places: &str, fallbacks: &str| {
        let mut t = Talk::of(policy(3, 2, 0), places, fallbacks);
        let preflist = preflist(1, places, fallbacks);
        t.put = Put::new(
            policy(3, 2, 0),
            &preflist,
            draft.clone(),
            stamp(100),
            "a".into(),
        );
        t
    };
    let mut t = deadline("abc", "");
    assert_eq!(t.begin(), "a-100, b-100, c-100");
    assert_eq!(t.says("b", Answer::Lacks), "b@7+100");
    assert_eq!(t.stored("a"), "");
    assert_eq!(t.stored("b"), "ok@100 [a0:ok b1:ok]");
    assert_eq!(
        t.says("c", Answer::Lacks),
        "c@7+100",
        "also after the answer"
    );
    assert_eq!(
        t.says("c", Answer::Lacks),
        "hint c at a primary, end",
        "but once"
    );
    let mut t = deadline("abC", "d");
    assert_eq!(t.begin(), "a-100, b-100, d@7+100 for c");
    assert!(
        t.says("a", Answer::Newer(stamp(200)))
            .starts_with("a-201, b-201, d@7+201")
    );
}

/// What the replicas of a random conversation know.
#[derive(Default)]
struct World {
    /// Sends under way: to whom, in which capacity, which ask, which stamp, for whom else.
    under_way: Vec<(NodeName, Role, Ask, Stamp, Vec<NodeName>)>,
    /// Stored, as the machine was told: node, role, stamp.
    told: BTreeSet<(NodeName, Role, Stamp)>,
    /// Stored, told or not.
    on_disk: BTreeSet<(NodeName, Role, Stamp)>,
    hinted: BTreeSet<(NodeName, Stamp)>,
    done: Vec<Result<PutOutcome, QuorumError>>,
    finished: usize,
}

impl World {
    fn step(&mut self, put: &mut Put, now_ms: u64, event: Event, clock: &Clock) {
        let mut effects = Effects::new();
        self.done
            .extend(put.step(now_ms, event, clock, &mut effects));
        let stamp = put.stamp();
        for effect in effects {
            assert_eq!(self.finished, 0, "nothing comes after the end: {effect:?}");
            match effect {
                Effect::Send {
                    to,
                    role,
                    ask,
                    hint_for,
                    ..
                } => self.under_way.push((to, role, ask, stamp, hint_for)),
                Effect::Hint { missing, .. } => {
                    let missing = missing.into_iter().map(|owner| (owner, stamp));
                    self.hinted.extend(missing);
                }
                Effect::Finished => self.finished += 1,
            }
        }
    }

    /// What becomes of the ask at `at`.
    fn answer(&mut self, at: usize, kind: u8, ms: u64) -> Event {
        let (node, role, ask, stamp, hint_for) = self.under_way.remove(at);
        let here = (node.clone(), role, stamp);
        let above = Stamp {
            time: ms * 50 + 7,
            ..stamp
        };
        let answer = match kind {
            2 => Answer::Newer(above),
            3 => Answer::Floor(above),
            4 => Answer::Refused(Refusal::Busy),
            5 => Answer::Refused(Refusal::NotOwner(ring(2))),
            6 => {
                let maybe_applied = ms.is_multiple_of(2);
                if maybe_applied {
                    self.on_disk.insert(here);
                }
                let message = "broken".to_owned();
                Answer::Refused(Refusal::Failed {
                    message,
                    maybe_applied,
                })
            }
            7 | 8 => {
                let sent = kind == 7;
                if sent {
                    self.on_disk.insert(here);
                }
                return Event::Unreachable { node, ask, sent };
            }
            _ => {
                self.on_disk.insert(here.clone());
                self.told.insert(here);
                self.hinted
                    .extend(hint_for.into_iter().map(|owner| (owner, stamp)));
                Answer::Stored
            }
        };
        Event::Answer { node, ask, answer }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// Lost without it: some order of events acknowledges a write that is not there, answers twice, says "not applied" of
    /// a write on a disk, forgets an owner, or never ends.
    #[test]
    fn any_order_of_events_keeps_the_promises(
        places in "[abcABC][abcABC][abcABC]", fallbacks in "d?e?", next in "[abdABD][abdABD][abdABD]",
        w in 1..4u8, pw in 0..3u8,
        script in prop::collection::vec((0..12u8, any::<prop::sample::Index>(), 0..40u64), 0..40),
    ) {
        // A node is up or down, in all its places.
        let alike = |text: &str| -> String {
            let down = |c: char| text.contains(c.to_ascii_uppercase());
            text.chars().map(|c| if down(c) { c.to_ascii_uppercase() } else { c }).collect()
        };
        let mut put = Put::new(
            policy(3, w, pw),
            &preflist(1, &alike(&places), &fallbacks),
            Draft::Tombstone,
            stamp(100),
            "a".into(),
        );
        let clock = Clock::new(9, 500);
        let mut world = World::default();
        let mut row = preflist(1, &alike(&places), "");
        // What was said may be heard again.
        let mut said: Vec<Event> = Vec::new();
        let mut now_ms = 0;
        world.step(&mut put, now_ms, Event::Begin, &clock);
        for (kind, which, ms) in script {
            now_ms += ms;
            let event = match kind {
                0 => Event::Tick,
                1 => {
                    let next = alike(&next);
                    if put.ring() == ring(1) && world.finished == 0 && now_ms < 1000 {
                        row = preflist(2, &next, "");
                    }
                    Event::Preflist(preflist(2, &next, "e"))
                }
                11 if !said.is_empty() => said[which.index(said.len())].clone(),
                _ if world.under_way.is_empty() => continue,
                _ => {
                    let at = which.index(world.under_way.len());
                    let event = world.answer(at, kind, ms);
                    said.push(event.clone());
                    event
                }
            };
            world.step(&mut put, now_ms, event, &clock);
        }
        world.step(&mut put, 1000 + now_ms, Event::Tick, &clock);

        prop_assert_eq!((world.done.len(), world.finished), (1, 1));
        match &world.done[0] {
            Ok(outcome) => {
                let holds = |node: &NodeName, role| {
                    world.told.contains(&(node.clone(), role, outcome.stamp))
                };
                let good: Vec<_> = outcome.replicas.iter()
                    .filter(|r| r.result == ResultWord::Ok)
                    .collect();
                prop_assert!(good.len() >= usize::from(w) && outcome.replicas.len() <= 3);
                prop_assert!(good.iter().all(|r| holds(&r.node, r.role)));
                let owners = good.iter().filter(|r| r.role == Role::Owner).count();
                prop_assert!(owners >= usize::from(pw));
                for place in &row.places {
                    let held = holds(&place.node, Role::Owner);
                    let hinted = world.hinted.contains(&(place.node.clone(), outcome.stamp));
                    // Only a newer version held excuses: the machine knows, and this world does not.
                    let newer = put.roster.seats_of(&place.node).any(|seat| seat.answer() == Some(&Says::Newer));
                    prop_assert!(held || hinted || newer, "{} was forgotten", place.node);
                }
            }
            Err(error) if !error.maybe_applied => {
                prop_assert!(world.on_disk.is_empty(), "on disk, and said not to be");
                prop_assert!(world.under_way.is_empty(), "in a message, and said not to be");
            }
            Err(_) => {}
        }
    }
}
