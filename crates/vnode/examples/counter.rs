//! A third service: counters that every owner counts on by itself, and whose copies merge.
//!
//!     cargo run -p rkv-vnode --example counter
//!
//! The framework copies, moves and compares the entries; the service says what they mean. An entry holds how far each
//! node has counted, so two copies merge by taking the larger count of each node, and the sum is the counter.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use rkv_ring::{NodeName, Partition, Slot};
use rkv_storage::{Space, StoreKey};
use rkv_vnode::trial::{SETTINGS, Trial};
use rkv_vnode::{Context, Decision, Merged, Service, Vnode};
use rkv_wire::message::{Answer, Command, ServiceId};

const COUNTER: ServiceId = ServiceId(7);
struct Counter;

impl Service for Counter {
    fn id(&self) -> ServiceId {
        COUNTER
    }

    fn name(&self) -> &'static str {
        "counter"
    }

    fn vnode(&self, _: Partition) -> Box<dyn Vnode> {
        Box::new(Counter)
    }
}

/// How far each node has counted.
type Counts = BTreeMap<NodeName, u64>;

fn decode(entry: Option<&Bytes>) -> Counts {
    rmp_serde::from_slice(entry.map_or(b"", |entry| entry)).unwrap_or_default()
}

impl Vnode for Counter {
    /// The body names a counter; `add` counts one further and answers when that is stored, `sum` answers how far all are.
    fn handle_command(&mut self, cx: &Context<'_>, command: Command, name: Bytes) -> Decision {
        let key = StoreKey::entry(Space::Data, COUNTER.0, Slot::of(&name).0, 0, &name);
        let add = command == Command::Custom(Bytes::from("add"));
        let mut counts = match (cx.held)(&key) {
            // A copy that may have lost how far this node had counted learns that from its peers first.
            Ok(held) if !add || cx.floor.is_none() => decode(held.as_ref()),
            _ => return Decision::Answer(Answer::Busy, Bytes::new()),
        };
        *counts.entry(cx.node.clone()).or_default() += u64::from(add);
        let answer = Answer::Custom(counts.values().sum::<u64>().to_string().into());
        match rmp_serde::to_vec(&counts) {
            Ok(value) if add => Decision::Write {
                key,
                value: value.into(),
                answer,
                known: None,
            },
            _ => Decision::Answer(answer, Bytes::new()),
        }
    }

    fn merge(&self, held: Option<&Bytes>, incoming: &Bytes) -> Merged {
        let mut counts = decode(held);
        for (node, count) in decode(Some(incoming)) {
            let so_far = counts.entry(node).or_default();
            *so_far = count.max(*so_far);
        }
        match rmp_serde::to_vec(&counts) {
            Ok(merged) if counts != decode(held) => Merged::Changed(merged.into()),
            _ => Merged::Unchanged,
        }
    }
}

/// Has `node` carry out a command on the counter `visits`, and reads how far it is.
fn visits(trial: &mut Trial, node: &str, command: &'static str) -> u64 {
    let (name, command) = (Bytes::from("visits"), Command::Custom(command.into()));
    let (answer, _) = trial.ask(node, (COUNTER, Slot::of(&name)), command, name);
    match answer {
        Answer::Custom(sum) => String::from_utf8_lossy(&sum).parse().unwrap_or(0),
        refused => panic!("{node} refuses: {refused:?}"),
    }
}

fn main() {
    let mut trial = Trial::found("node1", 3, SETTINGS, || vec![Arc::new(Counter)]);
    for (members, newest) in (1..).zip(["node1", "node2", "node3"]) {
        trial.join(newest);
        for _ in 0..100 {
            visits(&mut trial, newest, "add");
        }
        trial.pass(20_000); // quiet copies are compared, and merged where they differ
        let sum = visits(&mut trial, "node1", "sum");
        println!("node1 says {sum} after {newest} has counted to 100");
        assert_eq!(sum, 100 * members);
    }
}
