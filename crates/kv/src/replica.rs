//! This file answers: what does the key-value service's vnode do with a command?
//!
//! It holds one [`Object`] a key. A put at or below what is held is refused with the stamp held, so that the
//! coordinator restamps it above; everything else that comes is merged.

use bytes::Bytes;
use rkv_quorum::clock::Stamp;
use rkv_quorum::object::{Kind, Object, Version};
use rkv_ring::Partition;
use rkv_storage::StoreKey;
use rkv_vnode::{Context, Cut, Decision, Merged, Nature, Service, Vnode};
use rkv_wire::message::{Answer, Command, ServiceId};

/// Its number.
pub const KV: ServiceId = ServiceId(1);

/// The key-value service.
pub struct KvService;

impl Service for KvService {
    fn id(&self) -> ServiceId {
        KV
    }

    fn name(&self) -> &'static str {
        "kv"
    }

    fn vnode(&self, _: Partition) -> Box<dyn Vnode> {
        Box::new(KvVnode)
    }
}

/// The vnode of one partition. All its state is in the store.
struct KvVnode;

impl KvVnode {
    fn put(&self, cx: &Context<'_>, key: Bytes, object: Bytes) -> Decision {
        let incoming = match Version::peek(&object) {
            Ok(version) => version,
            Err(error) => return failed(error.to_string()),
        };
        let held = match (cx.held)(&key) {
            Ok(held) => held,
            Err(error) => return failed(error.to_string()),
        };
        let written = incoming.stamp().or(incoming.deadline().map(|d| d.stamp));
        let flushed = StoreKey::keyspace_of(&key).map_or(0, |keyspace| cx.floors.of(keyspace));
        let dead = (flushed > 0).then(|| Stamp::last_of(flushed));
        let floor = cx.floor.max(dead);
        let floor = floor.filter(|floor| written <= Some(*floor));
        let held_version = held.as_ref().and_then(|held| Version::peek(held).ok());
        if held_version.is_some_and(|held| held.covers(&incoming))
            && held_version.and_then(|v| v.stamp()) == incoming.stamp()
        {
            // The very write that is held: it came twice.
            return Decision::Answer(Answer::Stored, Bytes::new());
        }
        if let Some(newer) = held_version.and_then(|held| held.refuses(&incoming)) {
            return Decision::Answer(Answer::Newer(newer), Bytes::new());
        }
        if let Some(floor) = floor {
            return Decision::Answer(Answer::Floor(floor), Bytes::new());
        }
        // A deadline for a value that a flush killed: there is nothing left to end.
        let Some(object) = Object::cut(&object, flushed) else {
            return Decision::Answer(Answer::Stored, Bytes::new());
        };
        match merge(held.as_ref(), &object) {
            Merged::Unchanged => Decision::Answer(Answer::Stored, Bytes::new()),
            Merged::Changed(value) => Decision::Write {
                key,
                value,
                answer: Answer::Stored,
            },
        }
    }

    fn repair(&self, cx: &Context<'_>, key: Bytes, object: Bytes) -> Decision {
        match (cx.held)(&key) {
            Ok(held) => match merge(held.as_ref(), &object) {
                Merged::Unchanged => Decision::Answer(Answer::Stored, Bytes::new()),
                Merged::Changed(value) => Decision::Write {
                    key,
                    value,
                    answer: Answer::Stored,
                },
            },
            Err(error) => failed(error.to_string()),
        }
    }

    fn get(&self, cx: &Context<'_>, key: &Bytes) -> Decision {
        match (cx.held)(key) {
            Ok(Some(object)) => Decision::Answer(Answer::Found, object),
            Ok(None) => Decision::Answer(Answer::NotFound, Bytes::new()),
            Err(error) => failed(error.to_string()),
        }
    }
}

impl Vnode for KvVnode {
    fn handle_command(&mut self, cx: &Context<'_>, command: Command, body: Bytes) -> Decision {
        match command {
            Command::Put { key, .. } => self.put(cx, key, body),
            Command::Repair { key } => self.repair(cx, key, body),
            Command::Get { key } => self.get(cx, &key),
            Command::Hint { .. }
            | Command::Inspect { .. }
            | Command::Keys { .. }
            | Command::Custom(_) => failed("the key-value service has no such command".to_owned()),
        }
    }

    fn merge(&self, held: Option<&Bytes>, incoming: &Bytes) -> Merged {
        merge(held, incoming)
    }

    fn nature(&self, entry: &[u8]) -> Nature {
        let version = Version::peek(entry).ok();
        Nature {
            digest: version.map_or(0, |version| version.digest()),
            newest: version.map_or(0, |version| version.newest()),
            is_value: version.and_then(|version| version.kind()) == Some(Kind::Value),
            ends_ms: version.and_then(|version| version.ends_ms()),
        }
    }

    fn cut(&self) -> Cut {
        Object::cut
    }

    fn lifted(&self, entry: &Bytes, floor: u64, stamp: Stamp) -> Option<Bytes> {
        Object::lifted(entry, floor, stamp)
    }

    fn digest(&self, entry: &[u8]) -> u64 {
        match Version::peek(entry) {
            Ok(version) => version.digest(),
            Err(_) => 0,
        }
    }
}

/// Merges two encoded objects. What does not decode is never held, and never replaces what is.
fn merge(held: Option<&Bytes>, incoming: &Bytes) -> Merged {
    let Ok(new) = Version::peek(incoming) else {
        return Merged::Unchanged;
    };
    let Some(held) = held else {
        return Merged::Changed(incoming.clone());
    };
    let Ok(old) = Version::peek(held) else {
        return Merged::Changed(incoming.clone());
    };
    if old.covers(&new) {
        return Merged::Unchanged;
    }
    if new.covers(&old) {
        return Merged::Changed(incoming.clone());
    }
    let both = Object::decode(held.clone()).and_then(|mut both| {
        both.merge(&Object::decode(incoming.clone())?);
        Ok(both)
    });
    match both {
        Ok(both) => Merged::Changed(Bytes::from(both.encode())),
        Err(_) => Merged::Unchanged,
    }
}

fn failed(text: String) -> Decision {
    let answer = Answer::Failed {
        text,
        maybe_applied: false,
    };
    Decision::Answer(answer, Bytes::new())
}
