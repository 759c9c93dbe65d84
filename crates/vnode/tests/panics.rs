//! What becomes of a host one of whose vnodes panics.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use rkv_ring::{Partition, Slot};
use rkv_storage::{Space, StoreKey};
use rkv_vnode::trial::{SETTINGS, Trial};
use rkv_vnode::{Context, Decision, Merged, Service, Vnode};
use rkv_wire::message::{Answer, Command, ServiceId};

const FAULTY: ServiceId = ServiceId(9);

/// Panics at each write.
struct Faulty;

impl Service for Faulty {
    fn id(&self) -> ServiceId {
        FAULTY
    }

    fn name(&self) -> &'static str {
        "faulty"
    }

    fn vnode(&self, _: Partition) -> Box<dyn Vnode> {
        Box::new(Faulty)
    }
}

impl Vnode for Faulty {
    fn handle_command(&mut self, _: &Context<'_>, command: Command, _: Bytes) -> Decision {
        match command {
            Command::Put { .. } => panic!("a fault of the service's"),
            _ => Decision::Answer(Answer::NotFound, Bytes::new()),
        }
    }

    fn merge(&self, _: Option<&Bytes>, incoming: &Bytes) -> Merged {
        Merged::Changed(incoming.clone())
    }
}

/// Lost without it: a copy of which nobody knows what its step has left half done goes on, and is believed.
#[test]
fn a_host_knows_that_a_step_has_panicked() {
    let services = || -> Vec<Arc<dyn Service>> { vec![Arc::new(Faulty)] };
    let mut trial = Trial::found("a", 1, SETTINGS, services);
    let place = (FAULTY, Slot(0));
    let key = StoreKey::entry(Space::Data, FAULTY.0, 0, 0, b"k");
    let get = Command::Get { key: key.clone() };
    let (answer, _) = trial.ask("a", place, get, Bytes::new());
    assert_eq!(answer, Answer::NotFound);
    assert!(!trial.host("a").is_broken(), "nothing has happened");

    let put = Command::Put {
        key,
        hint_for: Vec::new(),
    };
    let asked = AssertUnwindSafe(|| trial.ask("a", place, put, Bytes::new()));
    assert!(catch_unwind(asked).is_err(), "the caller hears of it");
    assert!(trial.host("a").is_broken());
}
