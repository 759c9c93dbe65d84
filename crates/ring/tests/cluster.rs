//! This file answers: how do nodes join, change and leave a cluster, as conversations?

mod network;

use network::{DETECTION_MS, Faults, Network, STORM, identity, name, settled_ring};
use rkv_ring::cluster::{
    AdminReply, AdminRequest, Body, Cluster, ClusterMessage, Config, Effect, EncodedRing, Event,
    Facts, Fault, Stored, Target,
};
use rkv_ring::{
    ClusterId, Epoch, Handoff, HandoffChange, Incarnation, Member, Partition, Plan, Refusal,
    Removed, Ring, RingDigest, Status,
};

fn join(peer: &str) -> AdminRequest {
    AdminRequest::Join {
        peer: format!("{peer}:7379"),
    }
}

fn leave(node: &str) -> AdminRequest {
    AdminRequest::Leave { node: name(node) }
}

const COMMIT: AdminRequest = AdminRequest::Commit {
    plan: None,
    wall_ms: 0,
};

fn plan(network: &mut Network, node: &str) -> Option<Plan> {
    match network.answer(node, AdminRequest::Plan) {
        Ok(AdminReply::Plan(plan)) => plan.map(|plan| *plan),
        other => panic!("no plan: {other:?}"),
    }
}

/// The members that `node` knows, with their states.
fn members(network: &Network, node: &str) -> Vec<(String, Status)> {
    let ring = network.ring(node);
    ring.members
        .iter()
        .map(|(name, m)| (name.to_string(), m.status))
        .collect()
}

fn is_settled(network: &Network, node: &str) -> bool {
    let ring = network.ring(node);
    ring.moves.is_empty() && ring.next.is_empty() && ring.staged.is_empty()
}

/// Three nodes, one cluster: `b` and `c` have joined `a`, and all moves are done.
fn three() -> Network {
    let mut network = Network::of_singles(&["a", "b", "c"]);
    for node in ["b", "c"] {
        assert!(network.answer(node, join("a")).is_ok());
    }
    assert!(network.answer("a", COMMIT).is_ok());
    let settled = network.run_until(60_000, |n| {
        ["a", "b", "c"]
            .iter()
            .all(|node| is_settled(n, node) && n.ring(node).members.len() == 3)
    });
    assert!(settled, "{:?}", network.ring("a"));
    network
}

/// Lost without it: the main job. Join, look, commit, wait.
#[test]
fn three_nodes_become_one_cluster() {
    let mut network = Network::of_singles(&["a", "b", "c"]);
    assert_eq!(network.answer("a", COMMIT), Err(Refusal::NothingPlanned));
    assert!(network.answer("b", join("a")).is_ok());
    assert!(network.answer("c", join("a")).is_ok());
    // Staged, and nothing else: each is still a cluster of its own.
    network.run(5_000);
    assert_eq!(network.ring("b").members.len(), 1);
    let joining = Status::Joining;
    let expected = [("a", Status::Valid), ("b", joining), ("c", joining)];
    assert_eq!(
        members(&network, "a"),
        expected.map(|(node, s)| (node.to_owned(), s))
    );

    let plan = plan(&mut network, "a").expect("two joins are staged");
    assert_eq!(plan.changes.len(), 2);
    let commit = AdminRequest::Commit {
        plan: Some(plan.id),
        wall_ms: 0,
    };
    assert!(network.answer("a", commit).is_ok());
    let settled = network.run_until(60_000, |n| {
        ["a", "b", "c"]
            .iter()
            .all(|node| is_settled(n, node) && n.ring(node).copies(&name(node)) == 16)
    });
    assert!(settled, "{:?}", network.ring("a"));
    assert_eq!(network.ring("b").cluster, network.ring("a").cluster);
    assert_eq!(network.nodes[&name("b")].disk.joining, None);
    assert_eq!(network.violations, Vec::<String>::new());

    let epochs = network.ring("a").epoch.0;
    assert!(
        epochs <= network.now / 1_000 + 2,
        "{epochs} epochs in {} ms",
        network.now
    );
}

/// Lost without it: a handoff that takes no time waits a second for each of its steps; or each move that gets ready
/// makes an epoch of its own, and all disks sync for it.
#[test]
fn an_epoch_waits_for_what_may_get_ready_and_for_nothing_else() {
    for held in [None, Some(Partition(3))] {
        let mut network = Network::of_singles(&["a", "b", "c"]);
        network.held = held;
        for node in ["b", "c"] {
            assert!(network.answer(node, join("a")).is_ok());
        }
        let staged = network.ring("a").epoch.0;
        let asked = network.now;
        assert!(network.answer("a", COMMIT).is_ok());
        assert!(network.now - asked < 1_000, "a plan waits for nothing");
        network.run(900);
        let settled = ["a", "b", "c"]
            .iter()
            .all(|node| is_settled(&network, node));
        let epochs = network.ring("a").epoch.0 - staged;
        match held {
            None => assert!(settled && epochs == 3, "{epochs} epochs"),
            Some(held) => {
                assert_eq!((epochs, network.ring("a").moves.len()), (1, 16));
                network.run(2_000);
                let epochs = network.ring("a").epoch.0 - staged;
                let left: Vec<_> = network.ring("a").moves.keys().copied().collect();
                assert_eq!((epochs, left), (3, vec![held]));
            }
        }
        assert_eq!(network.violations, Vec::<String>::new());
    }
}

/// Lost without it: changes could be made at the claimant only, which no operator knows.
#[test]
fn any_node_takes_any_request() {
    let mut network = three();
    assert!(network.answer("c", leave("b")).is_ok());
    // Whoever asked sees it at once.
    assert!(!network.ring("c").staged.is_empty());
    assert!(plan(&mut network, "b").is_some());
    assert!(network.answer("b", AdminRequest::Clear).is_ok());
    assert_eq!(plan(&mut network, "a"), None);
}

/// Lost without it: a flush that a node does not hear of, one that takes a later one back, or one that waits for a plan.
#[test]
fn a_flush_raises_the_floor_in_one_epoch_and_no_other_lowers_it() {
    let mut network = three();
    let flush = |floor| AdminRequest::Flush { keyspace: 0, floor };
    let before = network.ring("c").epoch;
    assert!(network.answer("c", flush(700)).is_ok());
    let ring = network.ring("c");
    assert_eq!(
        (ring.keyspaces.floors().of(0), ring.epoch.0),
        (700, before.0 + 1)
    );
    assert!(network.answer("b", flush(300)).is_ok());
    assert!(network.answer("b", leave("a")).is_ok());
    assert!(network.answer("b", AdminRequest::Clear).is_ok());
    for node in ["a", "b", "c"] {
        let hears = network.run_until(5_000, |n| n.ring(node).keyspaces.floors().of(0) == 700);
        assert!(hears, "{:?}", network.ring(node));
    }
    let nowhere = AdminRequest::Flush {
        keyspace: 9,
        floor: 1,
    };
    let refused = network.answer("a", nowhere);
    assert_eq!(refused, Err(Refusal::NoSuchKeyspace { keyspace: 9 }));
}

/// Lost without it: one node goes on with transfers that another holds, or a later claimant forgets that they are held.
#[test]
fn what_holds_for_transfers_is_the_same_everywhere_and_outlives_its_claimant() {
    let mut network = three();
    let change = AdminRequest::Handoff;
    assert!(network.ring("b").handoff.is_default());
    assert!(network.answer("c", change(HandoffChange::Pause)).is_ok());
    let limit = HandoffChange::Limit(Some(3));
    assert!(network.answer("b", change(limit)).is_ok());
    let epoch = network.ring("b").epoch;
    assert!(network.answer("b", change(limit)).is_ok());
    assert_eq!(network.ring("b").epoch, epoch, "nothing new, no epoch");
    let held = Handoff {
        paused: true,
        limit: Some(3),
    };
    for node in ["a", "b", "c"] {
        assert!(network.run_until(5_000, |n| n.ring(node).handoff == held));
    }
    let claimant = network.ring("b").claimant.clone();
    assert_eq!(claimant.as_str(), "a");
    network.crash(&name("a"));
    let resumed = network.answer("c", change(HandoffChange::Resume));
    let taken_over = resumed.is_ok()
        || network.run_until(20_000, |n| n.ring("b").claimant != claimant)
            && network.answer("c", change(HandoffChange::Resume)).is_ok();
    assert!(taken_over);
    let resumed = network.ring("c").handoff;
    assert_eq!((resumed.paused, resumed.limit), (false, Some(3)));
}

/// Lost without it: a node that starts with the ring of a version before floors finds that nobody's digest is its own.
#[test]
fn a_ring_without_floors_is_written_as_it_was() {
    let network = three();
    let mut ring = rkv_ring::Ring::clone(network.ring("a"));
    let has = |bytes: &[u8], field: &[u8]| bytes.windows(field.len()).any(|part| part == field);
    let has_table = |bytes: &[u8]| has(bytes, b"keyspaces");
    assert!(!has_table(&ring.encode()) && !has(&ring.encode(), b"handoff"));
    ring.keyspaces.raise(0, 7);
    let bytes = ring.encode();
    assert!(has_table(&bytes));
    assert_eq!(rkv_ring::Ring::decode(&bytes).unwrap(), ring);
}

/// Lost without it: a node could never be taken out of service.
#[test]
fn a_member_leaves_the_claimant_too() {
    for gone in ["a", "b"] {
        let mut network = three();
        assert!(network.answer("c", leave(gone)).is_ok());
        assert!(network.answer("c", COMMIT).is_ok());
        assert_ne!(network.ring("c").claimant, name(gone));
        let left = network.run_until(60_000, |n| n.nodes[&name(gone)].left);
        assert!(left, "{gone}: {:?}", members(&network, "c"));
        network.run(2_000);
        assert_eq!(members(&network, "c").len(), 2);
        // It stays out, also after a restart.
        network.start(&name(gone));
        network.nodes.get_mut(&name(gone)).unwrap().left = false;
        network.run(1_000);
        assert!(network.nodes[&name(gone)].left);
        assert_eq!(network.violations, Vec::<String>::new());
    }
}

/// Lost without it: an operator could carry out something else than what was shown.
#[test]
fn a_stale_plan_is_refused() {
    let mut network = three();
    assert!(network.answer("a", leave("b")).is_ok());
    let seen = plan(&mut network, "a").unwrap().id;
    assert!(network.answer("a", AdminRequest::Clear).is_ok());
    assert!(network.answer("a", leave("c")).is_ok());
    let epoch = network.ring("a").epoch;
    let answer = network.answer(
        "a",
        AdminRequest::Commit {
            plan: Some(seen),
            wall_ms: 0,
        },
    );
    assert!(
        matches!(answer, Err(Refusal::PlanChanged { .. })),
        "{answer:?}"
    );
    assert_eq!(network.ring("a").epoch, epoch);
}

/// Lost without it: clusters that cannot be one would be made one.
#[test]
fn what_does_not_fit_does_not_join() {
    let mut network = three();
    network.add_single("d", 32);
    network.add_single("e", 16);
    let refused = |answer: Result<AdminReply, Refusal>| answer.expect_err("it is refused");
    assert_eq!(refused(network.answer("e", join("e"))), Refusal::SelfJoin);
    assert_eq!(
        refused(network.answer("b", join("e"))),
        Refusal::NotSingleNode
    );
    let refusal = refused(network.answer("d", join("c")));
    assert_eq!(
        refusal,
        Refusal::DifferentRingSizes {
            ours: 16,
            theirs: 32
        }
    );
    let refusal = refused(network.answer("e", join("nobody")));
    assert_eq!(
        refusal,
        Refusal::NotReachable {
            node: name("nobody:7379")
        }
    );

    // A second b, of another life, asks the claimant.
    let mut twin = identity("f");
    twin.name = name("b");
    let q = network.ring("a").partitions;
    let stored = Stored::found(&twin, ClusterId(9), "test", q, 3);
    let mut twin = Cluster::new(twin, stored, Config::default(), 0);
    let request = join("a");
    let [Effect::Send { message, .. }] =
        &effects_of(&mut twin, 0, Event::Admin { id: 1, request })[..]
    else {
        panic!("it asks");
    };
    let mut claimant = machine("a");
    let (from, message) = (name("b"), message.clone());
    match &effects_of(&mut claimant, 0, Event::Message { from, message })[..] {
        [Effect::Send { to, message }] => {
            assert_eq!(*to, Target::Address("f:7379".to_owned()));
            let answer = format!("{:?}", message.body);
            assert!(answer.contains("DuplicateName"), "{answer}");
        }
        other => panic!("{other:?}"),
    }
}

/// Lost without it: who got the secret wrong would be told that nobody answers, and look at the network.
#[test]
fn who_is_turned_away_hears_why() {
    let identity = identity("d");
    let q = settled_ring(&["a"], 16).partitions;
    let stored = Stored::found(&identity, ClusterId(9), "test", q, 3);
    let mut joiner = Cluster::new(identity, stored, Config::default(), 0);
    let request = join("a");
    effects_of(&mut joiner, 0, Event::Admin { id: 1, request });
    let away = |address: &str| Event::TurnedAway {
        address: address.to_owned(),
        refusal: Refusal::WrongSecret,
    };
    let of_another = effects_of(&mut joiner, 1, away("b:7379"));
    let answers = |effects: &[Effect]| {
        let mut effects = effects.iter();
        effects.any(|effect| matches!(effect, Effect::Answer { .. }))
    };
    assert!(!answers(&of_another), "{of_another:?}");
    let told = effects_of(&mut joiner, 2, away("a:7379"));
    let result = Err(Refusal::WrongSecret);
    assert!(told.contains(&Effect::Answer { id: 1, result }), "{told:?}");
    let once_more = effects_of(&mut joiner, 3, away("a:7379"));
    assert!(!answers(&once_more), "{once_more:?}");
}

/// Lost without it: a node that nobody wants would wait for ever, or be lost to its own cluster.
#[test]
fn a_cleared_joiner_goes_on_by_itself() {
    let mut network = Network::of_singles(&["a", "b"]);
    assert!(network.answer("b", join("a")).is_ok());
    assert!(network.nodes[&name("b")].disk.joining.is_some());
    // It may be down meanwhile.
    network.crash(&name("b"));
    assert!(network.answer("a", AdminRequest::Clear).is_ok());
    network.start(&name("b"));
    let forgotten = network.run_until(10_000, |n| n.nodes[&name("b")].disk.joining.is_none());
    assert!(forgotten);
    assert_eq!(members(&network, "b"), [("b".to_owned(), Status::Valid)]);
    assert!(network.answer("b", join("a")).is_ok(), "and may ask again");
}

/// Lost without it: a ring could need the vote of a node that never saw it.
#[test]
fn a_joiner_that_dies_before_storing_is_not_listed() {
    let mut network = Network::of_singles(&["a", "b"]);
    network.swallow.push("JoinerStored");
    let answer = network.answer("b", join("a"));
    assert_eq!(answer, Err(Refusal::NotReachable { node: name("b") }));
    assert_eq!(network.ring("a").members.len(), 1);

    network.swallow.clear();
    assert!(network.answer("b", join("a")).is_ok());
    network.crash(&name("b"));
    let answer = network.answer("a", COMMIT);
    assert_eq!(answer, Err(Refusal::NotReachable { node: name("b") }));
    assert_eq!(
        network.ring("a").members[&name("b")].status,
        Status::Joining
    );
    network.start(&name("b"));
    assert!(network.answer("a", COMMIT).is_ok());
    network.run(2_000);
    assert_eq!(network.ring("b").members.len(), 2);
}

/// Lost without it: a joiner could turn away from a ring that is about to be decided.
#[test]
fn an_undecided_join_is_not_forgotten() {
    let mut network = Network::of_singles(&["a", "b"]);
    network.swallow.push("JoinerStored");
    network.ask("b", join("a"));
    let joining = |n: &Network| n.nodes[&name("b")].disk.joining.clone();
    assert!(network.run_until(2_000, |n| joining(n).is_some()));
    network.crash(&name("b"));
    network.start(&name("b"));
    // It sees the ring before the one that it has stored, which does not list it.
    network.run(1_000);
    assert_eq!(
        joining(&network).map(|joining| joining.listed),
        Some(Epoch(2))
    );
}

/// Lost without it: a joiner that misses the news of its own membership would stay outside for ever.
#[test]
fn a_joiner_learns_late_that_it_is_in() {
    let mut network = Network::of_singles(&["a", "b"]);
    assert!(network.answer("b", join("a")).is_ok());
    network.swallow.push("Chosen");
    assert!(network.answer("a", COMMIT).is_ok());
    network.crash(&name("b"));
    network.run(3_000);
    network.swallow.clear();
    network.start(&name("b"));
    let is_in = network.run_until(5_000, |n| n.ring("b").members.len() == 2);
    assert!(is_in);
    assert_eq!(network.violations, Vec::<String>::new());
}

/// Lost without it: a commit would be lost with the claimant.
#[test]
fn a_staged_plan_outlives_its_claimant() {
    let mut network = three();
    assert!(network.answer("a", leave("b")).is_ok());
    let seen = plan(&mut network, "a").unwrap().id;
    network.run(1_000);
    network.crash(&name("a"));
    // Asked before anybody has noticed, and again when somebody took over.
    let early = network.ask("c", AdminRequest::Clear);
    network.run(4 * DETECTION_MS);
    assert_eq!(network.answers[&early], Err(Refusal::NoMajority));
    assert_eq!(network.ring("c").claimant, name("b"));
    let commit = AdminRequest::Commit {
        plan: Some(seen),
        wall_ms: 0,
    };
    assert!(network.answer("c", commit).is_ok());
    assert_ne!(network.ring("c").members[&name("b")].status, Status::Valid);
    assert_eq!(network.violations, Vec::<String>::new());
}

/// Lost without it: joins, leaves and commits that cross each other would leave a node between two clusters.
#[test]
fn crossing_joins_under_faults_end_in_whole_clusters() {
    const NODES: [&str; 5] = ["a", "b", "c", "d", "e"];
    let mut joined = 0;
    for seed in 0..40 {
        let mut network = Network::new(seed, Fault::None);
        for node in NODES {
            network.add_single(node, 16);
        }
        network.hasten();
        network.faults = Faults {
            crash: 0.01,
            ..STORM
        };
        for _ in 0..60 {
            network.run(300);
            network.cut_at_random();
            let [node, other] = [0; 2].map(|_| NODES[network.random(NODES.len())]);
            let request = match network.random(8) {
                0..3 => join(other),
                3..6 => COMMIT,
                6 => leave(other),
                _ => AdminRequest::Clear,
            };
            network.ask(node, request);
        }
        network.calm();
        network.run(60_000);
        assert_eq!(network.violations, Vec::<String>::new(), "seed {seed}");
        for (node, state) in network.nodes.iter().filter(|(_, state)| !state.left) {
            let mine = &state.disk.ring;
            let ring = network.latest(mine.cluster);
            assert_eq!(
                mine.id(),
                ring.id(),
                "seed {seed}: {node} has the last ring"
            );
            joined += usize::from(ring.members.len() > 1);
            // Whoever has a voice in a cluster is there, and nowhere else.
            for (other, member) in ring.members.iter().filter(|(_, m)| m.status.votes()) {
                let there = &network.nodes[other];
                assert_eq!(there.identity.incarnation, member.incarnation);
                assert_eq!(there.disk.ring.id(), ring.id(), "seed {seed}: {other}");
            }
            assert!(
                ring.moves.is_empty() && ring.next.is_empty(),
                "seed {seed}: moves end"
            );
        }
    }
    assert!(joined > 40, "the joins were real: {joined}");
}

/// Lost without it: a node that died could not be taken out by those who are left, or would vote on when it is back.
#[test]
fn a_dead_member_is_removed_and_ends_when_it_is_back() {
    let mut network = three();
    network.crash(&name("b"));
    network.run(2 * DETECTION_MS);
    let node = name("b");
    assert!(network.answer("c", AdminRequest::Remove { node }).is_ok());
    assert!(network.answer("c", COMMIT).is_ok());
    assert_eq!(members(&network, "c").len(), 2);
    network.run_until(20_000, |n| is_settled(n, "a") && is_settled(n, "c"));
    network.start(&name("b"));
    let ended = network.run_until(60_000, |n| n.nodes[&name("b")].left);
    assert!(ended, "it learns that it is no member");
    assert_eq!(network.violations, [""; 0]);
}

/// Lost without it: a node marked down would stay so, or one that is up could be.
#[test]
fn a_member_is_marked_down_and_is_back_by_itself() {
    let mut network = three();
    let node = name("b");
    let down = AdminRequest::Down { node: node.clone() };
    let refused = network.answer("a", down.clone());
    assert_eq!(refused, Err(Refusal::NodeIsUp { node }));
    network.crash(&name("b"));
    network.run(2 * DETECTION_MS);
    assert!(network.answer("c", down).is_ok());
    let status = |n: &Network| n.ring("a").members[&name("b")].status;
    assert_eq!(status(&network), Status::Down);
    network.start(&name("b"));
    let back = network.run_until(60_000, |n| status(n) == Status::Valid);
    assert!(back && network.violations.is_empty());
}

/// Lost without it: the only way out of a lost majority would lose what was held, or be open to two sides at once.
#[test]
fn survivors_go_on_without_a_lost_majority() {
    let nodes = ["a", "b", "c", "d", "e"];
    let mut network = Network::of_cluster(&nodes, 1, Fault::None);
    let without = vec![name("c"), name("d"), name("e")];
    let recover = |accepted: bool| AdminRequest::Recover {
        without: without.clone(),
        accepted,
        wall_ms: 5,
    };
    network.run(1_000);
    let refused = network.answer("a", recover(true));
    assert_eq!(refused, Err(Refusal::NodeIsUp { node: name("c") }));
    for node in ["c", "d", "e"] {
        network.crash(&name(node));
    }
    network.run(2 * DETECTION_MS);
    let told = network.answer("a", recover(false));
    assert!(matches!(told, Err(Refusal::DataLoss { losses }) if losses.len() == 3));
    assert_eq!(network.ring("a").lineage, 0, "nothing is done");
    let done = network.answer("a", recover(true));
    assert!(done.is_ok(), "{done:?}");
    let followed = network.run_until(20_000, |n| n.ring("b").lineage == n.ring("a").lineage);
    assert!(followed && members(&network, "b").len() == 2);
    let again = network.answer("a", recover(true));
    assert_eq!(again, Err(Refusal::NotMember { node: name("c") }));
    network.start(&name("d"));
    assert!(network.run_until(60_000, |n| n.nodes[&name("d")].left));
    let leave = network.answer("b", leave("b"));
    assert!(leave.is_ok(), "the new lineage chooses rings: {leave:?}");
    assert_eq!(network.violations, [""; 0]);
}

/// Lost without it: who lost a disk would have to take another name, or be two.
#[test]
fn a_member_rejoins_with_an_empty_folder() {
    let mut network = three();
    let rows = network.ring("a").rows.clone();
    network.crash(&name("b"));
    network.run(2 * DETECTION_MS);
    network.wipe("b");
    let answer = network.answer("b", join("a:7379"));
    assert!(answer.is_ok(), "{answer:?}");
    assert_ne!(
        network.ring("b").cluster,
        network.ring("a").cluster,
        "not before a commit"
    );
    assert!(network.answer("a", COMMIT).is_ok());
    let same = |n: &Network| n.ring("b").id() == n.ring("a").id();
    assert!(network.run_until(20_000, same));
    let life = network.nodes[&name("b")].identity.incarnation;
    assert_eq!(network.ring("a").members[&name("b")].incarnation, life);
    assert_eq!(network.ring("a").rows, rows);
    assert_eq!(network.violations, [""; 0]);
}

fn machine(node: &str) -> Cluster {
    let stored = Stored::fresh(settled_ring(&["a", "b", "c"], 16));
    Cluster::new(identity(node), stored, Config::default(), 0)
}

fn lone() -> Cluster {
    machine("b")
}

fn said_by(node: &str, boot: u64, body: Body) -> Event {
    let identity = identity(node);
    Event::Message {
        from: identity.name,
        message: ClusterMessage {
            incarnation: identity.incarnation,
            boot,
            peer: identity.addresses.peer,
            body,
        },
    }
}

fn facts_of(node: &str, boot: u64, epoch: u64) -> Event {
    let ring = settled_ring(&["a", "b", "c"], 16);
    let facts = Facts {
        incarnation: identity(node).incarnation,
        boot,
        cluster: ring.cluster,
        lineage: ring.lineage,
        epoch: Epoch(epoch),
        digest: RingDigest::default(),
    };
    Event::Facts {
        node: name(node),
        facts,
    }
}

fn effects_of(machine: &mut Cluster, now: u64, event: Event) -> Vec<Effect> {
    let mut effects = Vec::new();
    machine.step(now, event, &mut effects);
    effects
}

fn pulls(effects: &[Effect]) -> usize {
    let is_pull = |effect: &&Effect| match effect {
        Effect::Send { message, .. } => matches!(message.body, Body::PullRing { .. }),
        _ => false,
    };
    effects.iter().filter(is_pull).count()
}

fn warnings(effects: &[Effect]) -> usize {
    effects
        .iter()
        .filter(|effect| matches!(effect, Effect::Warn(_)))
        .count()
}

/// Lost without it: gossip, which anybody may garble, would decide something.
#[test]
fn facts_only_make_a_member_pull() {
    let mut machine = lone();
    assert_eq!(pulls(&effects_of(&mut machine, 0, facts_of("a", 3, 9))), 1);
    assert_eq!(machine.highest_heard_epoch(), Epoch(9));
    assert_eq!(machine.ring().epoch, Epoch(1));
    // Not at once again, but again.
    assert_eq!(pulls(&effects_of(&mut machine, 10, Event::Tick)), 0);
    assert_eq!(pulls(&effects_of(&mut machine, 1_000, Event::Tick)), 1);

    let mut machine = lone();
    for event in [facts_of("x", 1, 9), facts_of("b", 1, 9)] {
        assert_eq!(effects_of(&mut machine, 0, event), []);
    }
    // Another ring of the present epoch: said, and not believed.
    let effects = effects_of(&mut machine, 0, facts_of("a", 1, 1));
    assert_eq!((warnings(&effects), effects.len()), (1, 1));
}

/// The next ring, with nothing else changed.
fn after(ring: &Ring) -> Ring {
    Ring {
        epoch: Epoch(ring.epoch.0 + 1),
        parent: ring.digest(),
        ..ring.clone()
    }
}

/// The ring that `ring` becomes when `b` is removed by force at `at_ms`, and `a` gets its places.
fn without_b(ring: &Ring, at_ms: u64) -> Ring {
    let mut next = after(ring);
    next.members.remove(&name("b"));
    next.removed.push(Removed {
        node: name("b"),
        incarnation: identity("b").incarnation,
        at_ms,
    });
    let places = next.rows.iter_mut().flat_map(|row| row.iter_mut());
    places
        .filter(|node| **node == name("b"))
        .for_each(|node| *node = name("a"));
    next
}

/// Lost without it: who was removed offers what it holds to owners that are none any more, for hours.
#[test]
fn who_was_removed_hands_off_by_the_latest_ring() {
    let mut machine = lone();
    let removed = without_b(machine.ring(), 1);
    let later = after(&removed);
    let mut replaced = after(&later);
    let another = Member {
        incarnation: Incarnation(77),
        ..machine.ring().members[&name("b")].clone()
    };
    replaced.members.insert(name("b"), another);
    let mut hear = |ring: &Ring| {
        let body = Body::RingIs(EncodedRing::of(ring));
        effects_of(&mut machine, 10, said_by("a", 1, body))
    };
    for ring in [removed, later] {
        let effects = hear(&ring);
        let adopted = |effect: &Effect| matches!(effect, Effect::Adopt(it) if **it == ring);
        assert!(effects.iter().any(adopted), "{effects:?}");
        assert!(!effects.contains(&Effect::Left));
    }
    assert!(hear(&replaced).contains(&Effect::Left), "another is b now");
}

/// Lost without it: a disk restored from a backup would vote again on what it has forgotten.
#[test]
fn an_older_boot_is_not_heard() {
    let mut machine = lone();
    effects_of(&mut machine, 0, facts_of("a", 5, 1));
    let effects = effects_of(&mut machine, 1, facts_of("a", 4, 9));
    assert_eq!((warnings(&effects), pulls(&effects)), (1, 0));
    let told = |effects: &[Effect]| {
        let is_told = |effect: &Effect| match effect {
            Effect::Send { message, .. } => matches!(message.body, Body::OldBoot { seen: 5, .. }),
            _ => false,
        };
        effects.iter().any(is_told)
    };
    assert!(told(&effects));
    let ring = machine.ring().clone();
    let pull = Body::PullRing {
        cluster: ring.cluster,
        lineage: 0,
        have: Epoch(0),
    };
    let effects = effects_of(&mut machine, 2, said_by("a", 4, pull.clone()));
    assert!(effects.len() == 1 && told(&effects), "{effects:?}");
    assert_eq!(effects_of(&mut machine, 3, said_by("a", 5, pull)).len(), 1);
}

/// Lost without it: a node whose disk was put back to an older state would answer from it, and vote on what it has forgotten.
#[test]
fn a_node_on_an_older_state_of_its_disk_ends() {
    let mut network = three();
    let node = &network.nodes[&name("b")];
    let (old, old_boot) = (node.disk.clone(), node.identity.boot);
    for _ in 0..2 {
        network.crash(&name("b"));
        network.start(&name("b"));
        network.run(2 * DETECTION_MS);
    }
    network.crash(&name("b"));
    let node = network.nodes.get_mut(&name("b")).unwrap();
    node.disk = old;
    node.identity.boot = old_boot;
    network.start(&name("b"));
    assert!(network.run_until(20_000, |n| n.nodes[&name("b")].left));
    assert!(
        network.nodes[&name("b")]
            .warnings
            .iter()
            .any(|w| w.contains("put back"))
    );
}

/// Lost without it: what a crash forgets could have been said already.
#[test]
fn nothing_is_said_before_it_is_on_disk() {
    let mut machine = lone();
    let ring = settled_ring(&["a", "b", "c"], 16);
    let decree = rkv_ring::Decree::after(&ring);
    let ballot = rkv_ring::Ballot {
        round: 4,
        proposer: name("c"),
    };
    let prepare = Body::Prepare {
        decree,
        ballot: ballot.clone(),
    };
    let effects = effects_of(&mut machine, 0, said_by("c", 1, prepare.clone()));
    match effects.as_slice() {
        [Effect::Persist(stored), Effect::Send { message, .. }] => {
            assert_eq!(stored.acceptor.promised, Some(ballot.clone()));
            assert!(matches!(message.body, Body::Promise { .. }));
            // And a restart keeps it.
            let mut again = Cluster::new(identity("b"), stored.clone(), Config::default(), 0);
            let lower = Body::Prepare {
                decree,
                ballot: rkv_ring::Ballot {
                    round: 3,
                    proposer: name("a"),
                },
            };
            let effects = effects_of(&mut again, 0, said_by("a", 1, lower));
            let [Effect::Send { message, .. }] = effects.as_slice() else {
                panic!("{effects:?}");
            };
            assert!(matches!(message.body, Body::Nack { .. }));
        }
        other => panic!("{other:?}"),
    }
    let mut next = ring.clone();
    next.epoch = Epoch(2);
    next.parent = ring.digest();
    let accept = Body::Accept {
        decree,
        ballot,
        ring: EncodedRing::of(&next),
    };
    let effects = effects_of(&mut lone(), 0, said_by("c", 1, accept));
    match effects.as_slice() {
        [Effect::Persist(stored), Effect::Send { message, .. }] => {
            let accepted = stored.acceptor.accepted.as_ref().unwrap();
            assert_eq!(*accepted.ring, next);
            assert!(matches!(message.body, Body::Accepted { .. }));
        }
        other => panic!("{other:?}"),
    }
    // Nobody proposes in another's name, and a stranger not at all.
    assert_eq!(
        effects_of(&mut lone(), 0, said_by("a", 1, prepare.clone())),
        []
    );
    assert_eq!(effects_of(&mut lone(), 0, said_by("x", 1, prepare)), []);
}

/// Lost without it: two proposers would chase each other, and neither would get anything decided.
#[test]
fn who_meets_a_higher_ballot_stands_down() {
    let mut claimant = machine("a");
    let ring = claimant.ring().clone();
    let prepare = Body::Prepare {
        decree: rkv_ring::Decree::after(&ring),
        ballot: rkv_ring::Ballot {
            round: 7,
            proposer: name("b"),
        },
    };
    effects_of(&mut claimant, 0, said_by("b", 1, prepare));
    let request = leave("c");
    let effects = effects_of(&mut claimant, 10, Event::Admin { id: 1, request });
    assert_eq!(effects, [], "it keeps still");
    assert_eq!(effects_of(&mut claimant, DETECTION_MS - 1, Event::Tick), []);
    let effects = effects_of(&mut claimant, DETECTION_MS, Event::Tick);
    let rounds: Vec<u64> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send { message, .. } => match &message.body {
                Body::Prepare { ballot, .. } => Some(ballot.round),
                other => panic!("{other:?}"),
            },
            _ => None,
        })
        .collect();
    assert_eq!(rounds, [8, 8]);
}
