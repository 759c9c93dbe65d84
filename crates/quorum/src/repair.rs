//! This file answers: which replicas are behind what was read?

use rkv_ring::NodeName;

use crate::object::Version;

/// The nodes among `answers` that lack something of `merged`, in their order. One that holds nothing lacks all of it; one
/// whose digest is equal lacks nothing, whether or not it has let the body of an ended value go.
pub fn behind<'a>(
    answers: impl IntoIterator<Item = (&'a NodeName, Option<&'a Version>)>,
    merged: &Version,
) -> impl Iterator<Item = &'a NodeName> {
    let lacks = |held: Option<&Version>| held.is_none_or(|held| !held.covers(merged));
    answers
        .into_iter()
        .filter(move |(_, held)| lacks(*held))
        .map(|(node, _)| node)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::clock::Stamp;
    use crate::object::{Deadline, Object};

    /// Lost without it: a replica that missed a write never gets it, or equal ones are written for nothing.
    #[test]
    fn older_and_absent_are_behind_and_equal_is_not() {
        let stamp = |time| Stamp {
            time,
            boot: 1,
            seq: 0,
        };
        let new = Object::value_until(stamp(2), Bytes::from_static(b"x"), 10);
        let old = Object::tombstone(stamp(1));
        let mut stub = new.clone();
        stub.shrink(10);
        let mut longer = new.clone();
        let at_ms = Some(20);
        longer.merge(&Object::deadline(Deadline {
            at_ms,
            stamp: stamp(3),
            of: stamp(2),
        }));
        let names = ["new", "none", "old", "stub", "longer"].map(NodeName::from);
        let held = [Some(&new), None, Some(&old), Some(&stub), Some(&longer)];
        let answers = || names.iter().zip(held.map(|o| o.map(Object::version)));
        let found: Vec<_> = behind(answers(), new.version())
            .map(NodeName::as_str)
            .collect();
        assert_eq!(found, ["none", "old"]);
        let found: Vec<_> = behind(answers(), longer.version())
            .map(NodeName::as_str)
            .collect();
        assert_eq!(found, ["new", "none", "old", "stub"]);
    }
}
