//! This file answers: what is left of an object above a keyspace's floor?
//!
//! A value written at or below the floor is dead, and so is a deadline that is for such a value. A deadline for a later
//! value that has not arrived yet is left, without the value that it was beside.

use bytes::Bytes;

use super::{Kind, Object, Version};
use crate::clock::Stamp;

impl Version {
    /// What is left above the hybrid time `floor`.
    pub fn above(&self, floor: u64) -> Option<Version> {
        let left = Version {
            value: self.value.filter(|(stamp, _)| stamp.time > floor),
            deadline: self.deadline.filter(|d| d.of.time > floor),
        };
        (left != Version::default()).then_some(left)
    }

    /// The highest hybrid time that it names: a floor there leaves nothing.
    pub fn newest(&self) -> u64 {
        let value = self.value.map(|(stamp, _)| stamp.time);
        let deadline = self.deadline.map(|d| d.stamp.time.max(d.of.time));
        value.max(deadline).unwrap_or(0)
    }
}

impl Object {
    /// What is left above the hybrid time `floor`.
    pub fn above(mut self, floor: u64) -> Option<Object> {
        self.version = self.version.above(floor)?;
        if self.version.value.is_none() {
            self.body = Bytes::new();
        }
        Some(self)
    }

    /// What is left of an encoded object above `floor`. Bytes that are no object are left as they are.
    pub fn cut(encoded: &Bytes, floor: u64) -> Option<Bytes> {
        let Ok(version) = Version::peek(encoded) else {
            return Some(encoded.clone());
        };
        if version.above(floor)? == version {
            return Some(encoded.clone());
        }
        let object = Object::decode(encoded.clone()).ok()?;
        object.above(floor).map(|left| Bytes::from(left.encode()))
    }

    /// The same value written at `stamp`, if it was written at or below `floor`: for data that the floor was never meant
    /// for. `None`: nothing of it can be read, so nothing is to be lifted.
    pub fn lifted(encoded: &Bytes, floor: u64, stamp: Stamp) -> Option<Bytes> {
        let mut object = Object::decode(encoded.clone()).ok()?;
        let (old, kind) = object.version.value?;
        if old.time > floor {
            return Some(encoded.clone());
        }
        if kind != Kind::Value {
            return None;
        }
        object.version.value = Some((stamp, kind));
        object.version.deadline = object.version.deadline.filter(|d| d.of == old);
        if let Some(deadline) = &mut object.version.deadline {
            deadline.of = stamp;
            deadline.stamp = deadline.stamp.max(stamp);
        }
        Some(Bytes::from(object.encode()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Deadline;

    fn at(time: u64) -> Stamp {
        Stamp {
            time,
            boot: 1,
            seq: 0,
        }
    }

    fn cut(object: &Object, floor: u64) -> Option<Object> {
        let left = Object::cut(&Bytes::from(object.encode()), floor)?;
        Some(Object::decode(left).unwrap())
    }

    /// Lost without it: a flush leaves what it should kill, or kills what was written after it.
    #[test]
    fn values_at_or_below_the_floor_are_dead() {
        let value = Object::value(at(5), Bytes::from("v"));
        assert_eq!(cut(&value, 4), Some(value.clone()));
        assert_eq!(cut(&value, 5), None);
        assert_eq!(cut(&Object::tombstone(at(5)), 6), None);
        let until = Object::value_until(at(5), Bytes::from("v"), 99);
        assert_eq!(
            (cut(&until, 5), cut(&until, 4)),
            (None, Some(until.clone()))
        );
        assert_eq!(until.version().newest(), 5);
    }

    /// Lost without it: a flush takes the deadline of a value written after it, which then lives for ever.
    #[test]
    fn a_deadline_lives_as_long_as_the_value_that_it_is_for() {
        let deadline = Deadline {
            at_ms: Some(99),
            stamp: at(9),
            of: at(7),
        };
        let mut early = Object::value(at(5), Bytes::from("old"));
        early.merge(&Object::deadline(deadline));
        assert_eq!(early.version().newest(), 9);
        assert_eq!(cut(&early, 5), Some(Object::deadline(deadline)));
        assert_eq!(
            cut(&early, 7),
            None,
            "also its own stamp is no reason to stay"
        );
        assert_eq!(cut(&Object::deadline(deadline), 7), None);
        assert_eq!(
            Object::cut(&Bytes::from("no object"), 7),
            Some("no object".into())
        );
    }

    /// Lost without it: a node that joins with data older than the cluster's last flush loses it, or its deadlines.
    #[test]
    fn what_the_floor_was_not_meant_for_is_lifted_above_it() {
        let old = Bytes::from(Object::value_until(at(5), Bytes::from("v"), 99).encode());
        let lifted = Object::lifted(&old, 7, at(8)).unwrap();
        let object = Object::decode(lifted).unwrap();
        assert_eq!(object, Object::value_until(at(8), Bytes::from("v"), 99));
        assert_eq!(Object::lifted(&old, 4, at(8)), Some(old));
        let deleted = Bytes::from(Object::tombstone(at(5)).encode());
        assert_eq!(Object::lifted(&deleted, 7, at(8)), None);
    }
}
