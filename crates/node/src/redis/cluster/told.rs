//! This file answers: which words does CLUSTER tell the ring in?
//!
//! Those of Redis Cluster, whose every node is a master here: of the slots in whose rows it is the first that is up. The
//! others of a row stand as its replicas where the form has a place for them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use rkv_resp::Reply;

use super::snapshot::{Node, Range, Snapshot};

/// CLUSTER SLOTS: one range a partition; owners that are down are left out, and a range that has no other is too.
pub(super) fn slots(snapshot: &Snapshot) -> Reply {
    let owner = |&number: &usize| {
        let node = &snapshot.nodes[number];
        Reply::Array(vec![
            Reply::bulk(node.host.clone()),
            Reply::Integer(node.port.into()),
            Reply::bulk(node.id.clone()),
            Reply::EMPTY,
        ])
    };
    let served = snapshot.ranges.iter().filter(|range| !range.up.is_empty());
    let ranges = served.map(|range| {
        let slots = [range.first, range.last].map(|slot| Reply::Integer(slot.into()));
        Reply::Array(
            slots
                .into_iter()
                .chain(range.up.iter().map(owner))
                .collect(),
        )
    });
    Reply::Array(ranges.collect())
}

/// CLUSTER SHARDS: the partitions of equal owners together.
pub(super) fn shards(snapshot: &Snapshot) -> Reply {
    let mut shards: BTreeMap<(&[usize], &[usize]), Vec<&Range>> = BTreeMap::new();
    for range in &snapshot.ranges {
        let owners = (&range.up[..], &range.down[..]);
        shards.entry(owners).or_default().push(range);
    }
    let shard = |((up, down), ranges): (_, Vec<&Range>)| {
        let slots = merged(ranges.into_iter())
            .into_iter()
            .flat_map(|(first, last)| [first, last].map(|slot| Reply::Integer(slot.into())));
        let members = |numbers: &[usize], role| -> Vec<Reply> {
            let nodes = numbers.iter().map(|&number| &snapshot.nodes[number]);
            nodes.map(|node| shard_member(node, role)).collect()
        };
        let (up, down): (&[usize], &[usize]) = (up, down);
        let (first, others) = up.split_at(up.len().min(1));
        let mut nodes = members(first, "master");
        nodes.extend(members(others, "replica"));
        nodes.extend(members(down, "replica"));
        Reply::Map(vec![
            (Reply::bulk("slots"), Reply::Array(slots.collect())),
            (Reply::bulk("nodes"), Reply::Array(nodes)),
        ])
    };
    Reply::Array(shards.into_iter().map(shard).collect())
}

fn shard_member(node: &Node, role: &'static str) -> Reply {
    let field = |name: &'static str, value: Reply| (Reply::bulk(name), value);
    let health = if node.is_up { "online" } else { "fail" };
    Reply::Map(vec![
        field("id", Reply::bulk(node.id.clone())),
        field("port", Reply::Integer(node.port.into())),
        field("ip", Reply::bulk(node.host.clone())),
        field("endpoint", Reply::bulk(node.host.clone())),
        field("role", Reply::bulk(role)),
        field("replication-offset", Reply::Integer(0)),
        field("health", Reply::bulk(health)),
    ])
}

/// CLUSTER NODES: a line a member, with the slots of which it comes first.
pub(super) fn nodes(snapshot: &Snapshot) -> Reply {
    let epoch = snapshot.epoch();
    let mut text = String::new();
    for (number, node) in snapshot.nodes.iter().enumerate() {
        let flags = match node {
            Node { is_me: true, .. } => "myself,master",
            Node { is_up: false, .. } => "master,fail",
            Node {
                is_joining: true, ..
            } => "master,handshake",
            _ => "master",
        };
        let link = if node.is_up {
            "connected"
        } else {
            "disconnected"
        };
        let Node {
            id,
            host,
            port,
            peer_port,
            ..
        } = node;
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "{id} {host}:{port}@{peer_port} {flags} - 0 0 {epoch} {link}"
        );
        let first = |range: &&Range| range.up.first() == Some(&number);
        for (first, last) in merged(snapshot.ranges.iter().filter(first)) {
            let _ = match last {
                last if last == first => write!(text, " {first}"),
                last => write!(text, " {first}-{last}"),
            };
        }
        text.push('\n');
    }
    Reply::Verbatim(text.into())
}

/// Adjacent ranges as one.
fn merged<'a>(ranges: impl Iterator<Item = &'a Range>) -> Vec<(u16, u16)> {
    let mut merged: Vec<(u16, u16)> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some((_, last)) if *last + 1 == range.first => *last = range.last,
            _ => merged.push((range.first, range.last)),
        }
    }
    merged
}

/// CLUSTER INFO: `fail` only where a slot has no quorum; a node that is down is no failure.
pub(super) fn info(snapshot: &Snapshot) -> String {
    let slots = |is_wanted: fn(&Range) -> bool| -> u32 {
        let ranges = snapshot.ranges.iter().filter(|range| is_wanted(range));
        ranges
            .map(|range| u32::from(range.last - range.first) + 1)
            .sum()
    };
    let ok = slots(|range| range.has_quorum);
    let all = slots(|_| true);
    let size = (0..snapshot.nodes.len())
        .filter(|number| {
            let mut ranges = snapshot.ranges.iter();
            ranges.any(|range| range.up.first() == Some(number))
        })
        .count();
    let epoch = snapshot.epoch();
    let fields = [
        (
            "cluster_state",
            if ok == all { "ok" } else { "fail" }.to_owned(),
        ),
        ("cluster_slots_assigned", all.to_string()),
        ("cluster_slots_ok", ok.to_string()),
        ("cluster_slots_pfail", 0.to_string()),
        ("cluster_slots_fail", (all - ok).to_string()),
        ("cluster_known_nodes", snapshot.nodes.len().to_string()),
        ("cluster_size", size.to_string()),
        ("cluster_current_epoch", epoch.to_string()),
        ("cluster_my_epoch", epoch.to_string()),
        ("cluster_stats_messages_sent", 0.to_string()),
        ("cluster_stats_messages_received", 0.to_string()),
        ("total_cluster_links_buffer_limit_exceeded", 0.to_string()),
    ];
    let line = |(name, value): &(&str, String)| format!("{name}:{value}\r\n");
    fields.iter().map(line).collect()
}

/// CLUSTER LINKS: to and from each other member that is up.
pub(super) fn links(snapshot: &Snapshot) -> Reply {
    let others = snapshot
        .nodes
        .iter()
        .filter(|node| !node.is_me && node.is_up);
    let link = |(direction, node): (&'static str, &Node)| {
        let field = |name: &'static str, value: Reply| (Reply::bulk(name), value);
        Reply::Map(vec![
            field("direction", Reply::bulk(direction)),
            field("node", Reply::bulk(node.id.clone())),
            field("create-time", Reply::Integer(0)),
            field(
                "events",
                Reply::bulk(if direction == "to" { "rw" } else { "r" }),
            ),
            field("send-buffer-allocated", Reply::Integer(0)),
            field("send-buffer-used", Reply::Integer(0)),
        ])
    };
    let both = others.flat_map(|node| [("to", node), ("from", node)]);
    Reply::Array(both.map(link).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::BytesMut;
    use rkv_resp::Protocol;
    use rkv_ring::{
        Addresses, ClusterId, Incarnation, Member, NodeName, PartitionCount, Ring, Status,
    };
    use rkv_vnode::View;

    use super::*;

    /// Three members n1 to n3 and eight partitions; n1 looks, and `up` are those that it does not suspect.
    fn snapshot(up: &[&str]) -> Snapshot {
        snapshot_without(up, Vec::new())
    }

    /// The same, and the connections to the `lost` broke.
    fn snapshot_without(up: &[&str], lost: Vec<NodeName>) -> Snapshot {
        let member = |at: u16| Member {
            incarnation: Incarnation(u128::from(at)),
            status: Status::Valid,
            addresses: Addresses {
                peer: format!("127.0.0.1:{}", 8000 + at),
                redis: format!("127.0.0.1:{}", 6000 + at),
                http: String::new(),
            },
            zone: None,
            weight: 1.0,
        };
        let q = PartitionCount::new(8).unwrap();
        let mut ring = Ring::found(ClusterId(1), "test", q, 3, "n1".into(), member(1));
        for at in 2..=3 {
            ring.members
                .insert(format!("n{at}").as_str().into(), member(at));
        }
        let names: [NodeName; 3] = ["n1", "n2", "n3"].map(NodeName::from);
        for (at, row) in ring.rows.iter_mut().enumerate() {
            // n1 first in the first four, n2 in the next two, n3 in the last two
            let first = [0, 0, 0, 0, 1, 1, 2, 2][at];
            *row = (0..3).map(|i| names[(first + i) % 3].clone()).collect();
        }
        let mut view = View::new("n1".into(), Arc::new(ring));
        for node in up {
            view = view.with_node(&(*node).into(), true);
        }
        Snapshot::of(Arc::new(view), lost, "10.0.0.1:6001")
    }

    fn text(reply: Reply) -> String {
        let mut out = BytesMut::new();
        match reply {
            Reply::Verbatim(text) => return String::from_utf8(text.to_vec()).unwrap(),
            Reply::Written(bytes) => out.extend_from_slice(&bytes),
            reply => reply.write(Protocol::Resp2, &mut out),
        }
        let text = String::from_utf8(out.to_vec()).unwrap();
        text.replace("\r\n", " ")
    }

    #[test]
    fn each_partition_is_a_range_with_its_live_owners() {
        // Lost without it: cluster clients go to a node that is dead, or to one that has to ask another.
        let all = snapshot(&["n2", "n3"]);
        let Reply::Array(ranges) = slots(&all) else {
            panic!("an array")
        };
        assert_eq!(ranges.len(), 8);
        let id = |at: usize| all.nodes[at].id.clone();
        assert_eq!(id(1).len(), 40);
        assert_ne!(id(1), id(2));
        let node = |at: usize, host: &str| {
            format!(
                "*4 ${} {host} :600{} $40 {} *0 ",
                host.len(),
                at + 1,
                id(at)
            )
        };
        let (n1, n2, n3) = (
            node(0, "10.0.0.1"),
            node(1, "127.0.0.1"),
            node(2, "127.0.0.1"),
        );
        let first = text(ranges[0].clone());
        assert_eq!(first, format!("*5 :0 :2047 {n1}{n2}{n3}"));
        let last = text(ranges[7].clone());
        assert_eq!(last, format!("*5 :14336 :16383 {n3}{n1}{n2}"));

        let without_n3 = snapshot(&["n2"]);
        let Reply::Array(ranges) = slots(&without_n3) else {
            panic!("an array")
        };
        let last = text(ranges[7].clone());
        assert_eq!(last, format!("*4 :14336 :16383 {n1}{n2}"));
    }

    #[test]
    fn a_dead_node_is_shown_and_owns_nothing() {
        // Lost without it: redis-cli --cluster check finds slots without an owner, or does not show who is gone.
        let told = text(nodes(&snapshot(&["n2"])));
        let lines: Vec<&str> = told.lines().collect();
        assert!(
            lines[0]
                .ends_with("10.0.0.1:6001@8001 myself,master - 0 0 1 connected 0-8191 12288-16383"),
            "{told}"
        );
        assert!(
            lines[1].ends_with("127.0.0.1:6002@8002 master - 0 0 1 connected 8192-12287"),
            "{told}"
        );
        assert!(
            lines[2].ends_with("127.0.0.1:6003@8003 master,fail - 0 0 1 disconnected"),
            "{told}"
        );
    }

    #[test]
    fn the_state_fails_only_without_a_quorum() {
        // Lost without it: ioredis refuses a cluster of which one node is down, and that serves everything.
        let two = info(&snapshot(&["n2"]));
        assert!(two.starts_with("cluster_state:ok\r\ncluster_slots_assigned:16384\r\n"));
        assert!(two.contains("cluster_size:2\r\n"), "{two}");
        let one = info(&snapshot(&[]));
        assert!(one.starts_with("cluster_state:fail\r\n"), "{one}");
        assert!(one.contains("cluster_slots_fail:16384\r\n"), "{one}");
    }

    #[test]
    fn a_node_whose_connection_broke_is_not_recommended() {
        // Lost without it: a client whose node died asks where to go, and is sent to the same node until gossip knows.
        let lost = snapshot_without(&["n2", "n3"], vec!["n3".into()]);
        assert_eq!(text(slots(&lost)), text(slots(&snapshot(&["n2"]))));
        assert!(info(&lost).starts_with("cluster_state:ok"));
    }

    #[test]
    fn shards_are_rows() {
        // Lost without it: clients that read CLUSTER SHARDS find a slot twice, or a dead master.
        let Reply::Array(all) = shards(&snapshot(&["n2"])) else {
            panic!("an array")
        };
        // n3 first and n1 first are the same while n3 is down
        assert_eq!(all.len(), 2);
        let told = all.into_iter().map(text).collect::<Vec<_>>().join("\n");
        let slots = "$5 slots *4 :0 :8191 :12288 :16383 ";
        assert!(told.contains(slots), "{told}");
        assert_eq!(told.matches("$6 master").count(), 2, "{told}");
        assert_eq!(told.matches("$4 fail").count(), 2, "{told}");
    }

    #[test]
    fn what_is_written_once_is_what_is_told() {
        // Lost without it: a RESP3 client gets a RESP2 client's bytes.
        let snapshot = snapshot(&["n2", "n3"]);
        for protocol in [Protocol::Resp2, Protocol::Resp3, Protocol::Resp2] {
            let mut out = BytesMut::new();
            shards(&snapshot).write(protocol, &mut out);
            assert_eq!(snapshot.shards(protocol), Reply::Written(out.freeze()));
        }
        assert_eq!(text(links(&snapshot)).matches("direction").count(), 4);
    }
}
