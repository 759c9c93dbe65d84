//! This file answers: what does the key-value service's vnode do with a command?
//!
//! It holds one [`Object`] a key. A put at or below what is held is refused with the stamp held, so that the
//! coordinator restamps it above; everything else that comes is merged. Nothing is kept of a deadline
//! alone whose value is not here, or not any more: it is asked for with the value.

use bytes::Bytes;
use rkv_quorum::clock::Stamp;
use rkv_quorum::object::{Kind, Object, Version};
use rkv_ring::Partition;
use rkv_storage::StoreKey;
use rkv_vnode::{Context, Cut, Decision, Known, Merged, Nature, Service, Vnode, Weighed};
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
        let mut held = None;
        let looked = (cx.look)(&key, &mut |entry| held = entry.map(Here::look));
        if let Err(error) = looked {
            return failed(error.to_string());
        }
        let reaped = (cx.reaped > 0 && held.is_none()).then(|| Stamp::last_of(cx.reaped));
        let flushed = StoreKey::keyspace_of(&key).map_or(0, |keyspace| cx.floors.of(keyspace));
        let dead = (flushed > 0).then(|| Stamp::last_of(flushed));
        let floor = cx.floor.max(dead).max(reaped);
        let floor = floor.filter(|floor| incoming.written() <= Some(*floor));
        let held_version = held.and_then(|held| held.version);
        if let Some(newer) = held_version.and_then(|held| held.refuses(&incoming)) {
            return Decision::Answer(Answer::Newer(newer), Bytes::new());
        }
        if held_version.is_some_and(|held| held.covers(&incoming))
            && held_version.and_then(|v| v.stamp()) == incoming.stamp()
        {
            // The very write that is held: it came twice.
            return Decision::Held { key };
        }
        if let Some(floor) = floor {
            return Decision::Answer(Answer::Floor(floor), Bytes::new());
        }
        let (object, incoming) = match flushed {
            0 => (object, incoming),
            flushed => match above(&object, flushed) {
                Some(left) => left,
                // A deadline for a value that a flush killed: there is nothing left to end.
                None => return Decision::Held { key },
            },
        };
        if lacks_value(held_version.as_ref(), &incoming) {
            return Decision::Answer(Answer::NotFound, Bytes::new());
        }
        let mut whole = None;
        if held_version.is_some_and(|held| held.merges_with(&incoming)) {
            whole = match (cx.held)(&key) {
                Ok(whole) => whole,
                Err(error) => return failed(error.to_string()),
            };
        }
        stored(key, held, whole.as_ref(), (object, incoming))
    }

    fn repair(&self, cx: &Context<'_>, key: Bytes, object: Bytes) -> Decision {
        let held = match (cx.held)(&key) {
            Ok(held) => held,
            Err(error) => return failed(error.to_string()),
        };
        let Ok(incoming) = Version::peek(&object) else {
            return Decision::Held { key };
        };
        let here = held.as_deref().map(Here::look);
        stored(key, here, held.as_ref(), (object, incoming))
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
        nature(Version::peek(entry).ok().as_ref())
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

    fn shrunk(&self, entry: &Bytes, wall_ms: u64) -> Option<Bytes> {
        let mut object = Object::decode(entry.clone()).ok()?;
        let shrunk = object.shrink(wall_ms);
        shrunk.then(|| Bytes::from(object.encode()))
    }
}

/// What the framework goes by of an object; `None`: of bytes that are none.
fn nature(version: Option<&Version>) -> Nature {
    Nature {
        digest: version.map_or(0, Version::digest),
        newest: version.map_or(0, Version::newest),
        is_value: version.and_then(Version::kind) == Some(Kind::Value),
        ends_ms: version.and_then(ends_ms),
        trace_ms: version.and_then(trace_ms),
    }
}

/// Since when nothing of a value is left.
fn trace_ms(version: &Version) -> Option<u64> {
    let written_ms = version.newest() >> 16;
    match version.kind() {
        Some(Kind::Value) => None,
        Some(Kind::Stub { at_ms }) => Some(written_ms.max(at_ms)),
        Some(Kind::Tombstone) | None => Some(written_ms),
    }
}

/// When a value ends that has not let its body go.
fn ends_ms(version: &Version) -> Option<u64> {
    let ends_ms = version.ends_ms()?;
    match version.kind()? {
        Kind::Value => Some(ends_ms),
        Kind::Stub { at_ms } => Some(ends_ms).filter(|ends_ms| *ends_ms != at_ms),
        Kind::Tombstone => None,
    }
}

/// Whether `incoming` is a deadline alone, for a value that is not held, or whose body is gone.
fn lacks_value(held: Option<&Version>, incoming: &Version) -> bool {
    let alone = incoming.deadline().filter(|_| incoming.stamp().is_none());
    let Some(deadline) = alone else {
        return false;
    };
    match held {
        Some(held) => held.lacks_value_of(deadline) && !held.covers(incoming),
        None => true,
    }
}

/// Merges two encoded objects. What does not decode is never held, and never replaces what is.
fn merge(held: Option<&Bytes>, incoming: &Bytes) -> Merged {
    let Ok(new) = Version::peek(incoming) else {
        return Merged::Unchanged;
    };
    let old = held.and_then(|held| Version::peek(held).ok());
    match merge_held(old, held, (incoming, new)) {
        Some((merged, _)) => Merged::Changed(merged.unwrap_or_else(|| incoming.clone())),
        None => Merged::Unchanged,
    }
}

/// The same of two whose versions are known: what is to be held then (`None`: what came) and its version; or nothing else than
/// what is. What is `held` is read only where the two [merge](Version::merges_with).
fn merge_held(
    old: Option<Version>,
    held: Option<&Bytes>,
    (incoming, new): (&Bytes, Version),
) -> Option<(Option<Bytes>, Version)> {
    let Some(old) = old else {
        return Some((None, new));
    };
    if old.covers(&new) {
        return None;
    }
    if new.covers(&old) {
        return Some((None, new));
    }
    let mut both = Object::decode(held?.clone()).ok()?;
    both.merge(&Object::decode(incoming.clone()).ok()?);
    Some((Some(Bytes::from(both.encode())), *both.version()))
}

/// What is left of an object above a floor.
fn above(object: &Bytes, floor: u64) -> Option<(Bytes, Version)> {
    let left = Object::cut(object, floor)?;
    let version = Version::peek(&left).ok()?;
    Some((left, version))
}

/// What is held under a key, as far as it was looked at.
#[derive(Clone, Copy)]
struct Here {
    bytes: usize,
    /// Of bytes that are no object none.
    version: Option<Version>,
}

impl Here {
    fn look(entry: &[u8]) -> Here {
        Here {
            bytes: entry.len(),
            version: Version::peek(entry).ok(),
        }
    }

    fn weighed(self) -> Weighed {
        Weighed {
            bytes: self.bytes,
            nature: nature(self.version.as_ref()),
        }
    }
}

/// What comes of an object that is merged into what is held; the `whole` of that where it takes both.
fn stored(
    key: Bytes,
    here: Option<Here>,
    whole: Option<&Bytes>,
    (object, incoming): (Bytes, Version),
) -> Decision {
    let old = here.and_then(|here| here.version);
    let Some((merged, version)) = merge_held(old, whole, (&object, incoming)) else {
        return Decision::Held { key };
    };
    Decision::Write {
        key,
        value: merged.unwrap_or(object),
        answer: Answer::Stored,
        known: Some(Known {
            held: here.map(Here::weighed),
            nature: nature(Some(&version)),
        }),
    }
}

fn failed(text: String) -> Decision {
    let answer = Answer::Failed {
        text,
        maybe_applied: false,
    };
    Decision::Answer(answer, Bytes::new())
}

#[cfg(test)]
mod tests {
    use rkv_quorum::object::Deadline;
    use rkv_ring::{Floors, NodeName};

    use super::*;

    fn stamp(time: u64) -> Stamp {
        Stamp {
            time,
            boot: 1,
            seq: 0,
        }
    }

    fn value(time: u64) -> Object {
        Object::value(stamp(time), Bytes::from_static(b"v"))
    }

    fn deadline(of: u64, time: u64, at_ms: Option<u64>) -> Object {
        Object::deadline(Deadline {
            at_ms,
            stamp: stamp(time),
            of: stamp(of),
        })
    }

    fn both(value: &Object, deadline: &Object) -> Object {
        let mut both = value.clone();
        both.merge(deadline);
        both
    }

    /// What a copy that holds `held` says to a put, and what it holds then.
    fn put(
        held: Option<&Object>,
        floor: Option<Stamp>,
        incoming: &Object,
    ) -> (Answer, Option<Object>) {
        let held = held.map(|held| Bytes::from(held.encode()));
        let node = NodeName::from("a");
        let cx = Context {
            node: &node,
            partition: Partition(0),
            wall_ms: 0,
            floor,
            floors: &Floors::default(),
            reaped: 0,
            held: &|_| Ok(held.clone()),
            look: &|_, see| {
                see(held.as_deref());
                Ok(())
            },
        };
        let command = Command::Put {
            key: Bytes::from_static(b"k"),
            hint_for: Vec::new(),
        };
        let decode = |bytes: Bytes| Object::decode(bytes).unwrap();
        match KvVnode.handle_command(&cx, command, Bytes::from(incoming.encode())) {
            Decision::Answer(answer, _) => (answer, held.clone().map(decode)),
            Decision::Held { .. } => (Answer::Stored, held.clone().map(decode)),
            Decision::Write { value, answer, .. } => (answer, Some(decode(value))),
        }
    }

    /// Lost without it: a deadline is acknowledged by a copy that has no value to end, or ends another one.
    #[test]
    fn a_deadline_is_stored_where_its_value_is() {
        let expire = deadline(5, 8, Some(50));
        let ended = both(&value(5), &expire);
        assert_eq!(
            put(Some(&value(5)), None, &expire),
            (Answer::Stored, Some(ended.clone()))
        );
        let lacks = |held: Option<&Object>| (Answer::NotFound, held.cloned());
        assert_eq!(put(None, None, &expire), lacks(None));
        let older = both(&value(4), &deadline(4, 6, Some(9)));
        assert_eq!(
            put(Some(&older), None, &expire),
            lacks(Some(&older)),
            "and keeps its own"
        );
        let mut stub = both(&value(5), &deadline(5, 6, Some(9)));
        stub.shrink(9);
        assert_eq!(
            put(Some(&stub), None, &expire),
            lacks(Some(&stub)),
            "its body is gone"
        );
        // With the value it is stored everywhere, and the body is back.
        for held in [None, Some(&older), Some(&stub)] {
            assert_eq!(
                put(held, None, &ended),
                (Answer::Stored, Some(ended.clone()))
            );
        }
        // A newer value came in between: that is no reason to refuse, nor to change anything.
        let newer = value(7);
        for incoming in [&expire, &ended] {
            let stored = (Answer::Stored, Some(newer.clone()));
            assert_eq!(put(Some(&newer), None, incoming), stored);
        }
    }

    /// Lost without it: of two deadlines the one that came last at a copy wins there, and another one elsewhere.
    #[test]
    fn the_later_of_two_deadlines_is_held() {
        let held = both(&value(5), &deadline(5, 9, None));
        for incoming in [
            deadline(5, 8, Some(50)),
            both(&value(5), &deadline(5, 8, Some(50))),
        ] {
            let refused = (Answer::Newer(stamp(9)), Some(held.clone()));
            assert_eq!(put(Some(&held), None, &incoming), refused);
        }
        let later = both(&value(5), &deadline(5, 10, Some(50)));
        assert_eq!(
            put(Some(&held), None, &later),
            (Answer::Stored, Some(later.clone()))
        );
        // A copy that may have lost something judges the deadline by its own stamp.
        let floor = Some(stamp(9));
        assert_eq!(put(None, floor, &later), (Answer::Stored, Some(later)));
        let older = both(&value(5), &deadline(5, 9, None));
        assert_eq!(put(None, floor, &older), (Answer::Floor(stamp(9)), None));
    }

    /// Lost without it: values that ended stay in memory for ever, or copies that let go of them differ.
    #[test]
    fn what_has_ended_shrinks_once() {
        let entry = |object: &Object| Bytes::from(object.encode());
        let ended = entry(&both(&value(5), &deadline(5, 8, Some(50))));
        assert_eq!(KvVnode.nature(&ended).ends_ms, Some(50));
        assert_eq!(KvVnode.shrunk(&ended, 49), None);
        let small = KvVnode.shrunk(&ended, 50).unwrap();
        assert_eq!(KvVnode.digest(&small), KvVnode.digest(&ended));
        assert_eq!(KvVnode.merge(Some(&small), &ended), Merged::Unchanged);
        assert_eq!(KvVnode.nature(&small).ends_ms, None);
        for object in [
            value(5),
            Object::tombstone(stamp(5)),
            deadline(5, 8, Some(50)),
        ] {
            assert_eq!(KvVnode.nature(&entry(&object)).ends_ms, None);
        }
    }
}
