//! This file answers: what is held for a key, and what are two such things together?
//!
//! An object of rule `lww` is two registers: a value (with a stamp) and a deadline (with a stamp of its own and the stamp
//! of the value that it is for). Each register is a maximum, so that merging commutes, associates and repeats, also when
//! a deadline arrives before its value. No body is ever needed to merge: the [`Version`] decides, the body follows.
//!
//! Beside this file, `floor`: what is left of one above a keyspace's floor.
//!
//! Siblings and counters are deliberately absent: they come as other kinds under a new format byte.

mod floor;

use std::fmt;

use bytes::{Buf, Bytes};
use xxhash_rust::xxh3::xxh3_64;

use crate::clock::Stamp;

/// The first byte of every encoded object.
const FORMAT: u8 = 1;

// Flags, the second byte. The lowest two bits are the kind.
const NO_VALUE: u8 = 0;
const VALUE: u8 = 1;
const TOMBSTONE: u8 = 2;
const STUB: u8 = 3;
const KIND_BITS: u8 = 0b11;
/// A deadline that was written with its value: both its stamps are the value's.
const OWN_DEADLINE: u8 = 1 << 2;
/// A deadline with two stamps of its own.
const LATER_DEADLINE: u8 = 1 << 3;
/// The deadline names a time; without this bit it says that there is none.
const HAS_TIME: u8 = 1 << 4;
const ALL_BITS: u8 = KIND_BITS | OWN_DEADLINE | LATER_DEADLINE | HAS_TIME;

/// The longest that an encoding is without its body.
const MAX_HEAD: usize = 2 + Stamp::LEN + 8 + 2 * Stamp::LEN + 8;

/// What a key's value register says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A value whose body was let go at its deadline. Below `Value`: where another copy still has the body, for instance
    /// because a later deadline reached it first, the body comes back.
    Stub {
        /// The deadline that had passed, in unix milliseconds.
        at_ms: u64,
    },
    /// A value.
    Value,
    /// Deleted.
    Tombstone,
}

/// When a value ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Deadline {
    /// Unix milliseconds, or none: a deadline set before is lifted.
    pub at_ms: Option<u64>,
    /// Which write this is.
    pub stamp: Stamp,
    /// The stamp of the value that it is for; in force only while that is the value held.
    pub of: Stamp,
}

impl Deadline {
    fn rank(&self) -> (Stamp, Stamp, Option<u64>) {
        (self.of, self.stamp, self.at_ms)
    }
}

/// An object without its body: all that decides what is newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Version {
    /// The value register; none while only a deadline has arrived.
    value: Option<(Stamp, Kind)>,
    /// The deadline register, never one for an older value than the one held: that can never be in force again.
    deadline: Option<Deadline>,
}

impl Version {
    /// Reads the version of an encoded object and looks at nothing of its body.
    pub fn peek(encoded: &[u8]) -> Result<Version, ObjectError> {
        parse(encoded).map(|(version, _)| version)
    }

    /// Of a value that is written at once with its deadline, if it has one.
    pub fn of_value(stamp: Stamp, at_ms: Option<u64>) -> Version {
        Version {
            value: Some((stamp, Kind::Value)),
            deadline: at_ms.map(|at_ms| Deadline {
                at_ms: Some(at_ms),
                stamp,
                of: stamp,
            }),
        }
    }

    /// An object of this version and this body, as [`Object::encode`] writes it.
    pub fn encode_with(&self, body: &[u8]) -> Vec<u8> {
        let mut head = Head::default();
        self.write_head(&mut head);
        let mut out = Vec::with_capacity(head.len + body.len());
        out.extend_from_slice(head.bytes());
        out.extend_from_slice(body);
        out
    }

    /// The stamp of the value register.
    pub fn stamp(&self) -> Option<Stamp> {
        self.value.map(|(stamp, _)| stamp)
    }

    /// What the value register says; none while only a deadline has arrived.
    pub fn kind(&self) -> Option<Kind> {
        self.value.map(|(_, kind)| kind)
    }

    /// The deadline register, in force or not.
    pub fn deadline(&self) -> Option<&Deadline> {
        self.deadline.as_ref()
    }

    /// The stamp of the write that made this: the deadline's, where that was written later than the value.
    pub fn written(&self) -> Option<Stamp> {
        let later = self.later_deadline().map(|deadline| deadline.stamp);
        later.or(self.stamp())
    }

    /// Whether `deadline`, which came alone, is for a value of which this lacks the body.
    pub fn lacks_value_of(&self, deadline: &Deadline) -> bool {
        match self.value {
            Some((stamp, Kind::Stub { .. })) => stamp <= deadline.of,
            Some((stamp, _)) => stamp < deadline.of,
            None => true,
        }
    }

    fn later_deadline(&self) -> Option<Deadline> {
        let later = |d: &Deadline| self.stamp() != Some(d.of) || d.stamp != d.of;
        self.deadline.filter(later)
    }

    /// When the value held ends: none when it does not.
    pub fn ends_ms(&self) -> Option<u64> {
        let in_force = self.deadline.filter(|d| Some(d.of) == self.stamp());
        in_force.and_then(|d| d.at_ms)
    }

    /// Whether there is a value to read at `now_ms`: none after a delete and past its deadline.
    pub fn is_live(&self, now_ms: u64) -> bool {
        self.is_live_by(|| now_ms)
    }

    /// The same; the clock is looked at only for a value that ends.
    pub fn is_live_by(&self, now_ms: impl FnOnce() -> u64) -> bool {
        self.kind() == Some(Kind::Value) && self.ends_ms().is_none_or(|at_ms| now_ms() < at_ms)
    }

    /// What both registers are after a merge with `other`.
    pub fn merge(&self, other: &Version) -> Version {
        let deadline = match (self.deadline, other.deadline) {
            (Some(a), Some(b)) if b.rank() > a.rank() => Some(b),
            (a, b) => a.or(b),
        };
        Version {
            value: self.value.max(other.value),
            deadline,
        }
        .without_obsolete()
    }

    /// A deadline for a value that a newer one replaced is forgotten: it could never be in force again.
    fn without_obsolete(mut self) -> Version {
        if self.deadline.is_some_and(|d| Some(d.of) < self.stamp()) {
            self.deadline = None;
        }
        self
    }

    /// Whether `other` adds nothing: both registers are the same here or newer. A stub covers the value that it was.
    pub fn covers(&self, other: &Version) -> bool {
        match (self.deadline, other.deadline) {
            // Nearly always: what follows comes to the same, by a longer way.
            (None, None) => self.value >= other.value,
            _ => self == other || self.merge(other).identity() == self.identity(),
        }
    }

    /// Whether what holds both is neither of them.
    pub fn merges_with(&self, other: &Version) -> bool {
        !self.covers(other) && !other.covers(self)
    }

    /// Fingerprint of stamps, kind and deadline: equal on copies that need no repair. Of the body nothing, for stamps are
    /// unique; nor whether the deadline has passed, for copies find that out at different times.
    pub fn digest(&self) -> u64 {
        let mut head = Head::default();
        match self.value {
            Some((_, Kind::Stub { .. })) => self.identity().write_head(&mut head),
            _ => self.write_head(&mut head),
        }
        xxh3_64(head.bytes())
    }

    /// The version with a stub turned back into the value that it was, so far as the deadline in force explains it. A stub
    /// whose deadline was moved or lifted since lacks a body that others have, and stays a stub: it is to be repaired.
    fn identity(mut self) -> Version {
        if let Some((stamp, Kind::Stub { at_ms })) = self.value
            && self.ends_ms() == Some(at_ms)
        {
            self.value = Some((stamp, Kind::Value));
        }
        self
    }

    /// Why a replica that holds this refuses the put of `incoming`: the stamp that it holds, at or above the put's. None:
    /// it takes the put (which may be the very one that it holds; taking it again changes nothing).
    pub fn refuses(&self, incoming: &Version) -> Option<Stamp> {
        match (incoming.value, incoming.later_deadline()) {
            (Some((stamp, _)), None) => self.stamp().filter(|&held| held > stamp),
            (_, Some(new)) => {
                let same_value = self.deadline.filter(|held| held.of == new.of);
                same_value
                    .map(|held| held.stamp)
                    .filter(|&held| held > new.stamp)
            }
            (None, None) => None,
        }
    }

    fn write_head(&self, head: &mut Head) {
        let own = self
            .deadline
            .is_some_and(|d| d.of == d.stamp && Some(d.of) == self.stamp());
        let kind = match self.kind() {
            None => NO_VALUE,
            Some(Kind::Value) => VALUE,
            Some(Kind::Tombstone) => TOMBSTONE,
            Some(Kind::Stub { .. }) => STUB,
        };
        let place = match self.deadline {
            None => 0,
            Some(_) if own => OWN_DEADLINE,
            Some(_) => LATER_DEADLINE,
        };
        let at_ms = self.deadline.and_then(|d| d.at_ms);
        let time = if at_ms.is_some() { HAS_TIME } else { 0 };
        head.put(&[FORMAT, kind | place | time]);
        if let Some((stamp, kind)) = self.value {
            head.put(&stamp.encode());
            if let Kind::Stub { at_ms } = kind {
                head.put(&at_ms.to_be_bytes());
            }
        }
        if let Some(deadline) = self.deadline.filter(|_| !own) {
            head.put(&deadline.of.encode());
            head.put(&deadline.stamp.encode());
        }
        if let Some(at_ms) = at_ms {
            head.put(&at_ms.to_be_bytes());
        }
    }
}

impl fmt::Display for Version {
    /// The value's stamp, and behind `+` the deadline's when it was written later. `-`: only a deadline is there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.stamp() {
            Some(stamp) => write!(f, "{stamp}")?,
            None => f.write_str("-")?,
        }
        match self.deadline {
            Some(d) if Some(d.stamp) != self.stamp() => write!(f, "+{}", d.stamp),
            _ => Ok(()),
        }
    }
}

/// What is held for a key. Cheap to clone: the body is shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    version: Version,
    /// Empty unless the kind is `Value`.
    body: Bytes,
}

impl Object {
    /// A value without a deadline.
    pub fn value(stamp: Stamp, body: Bytes) -> Object {
        let version = Version::of_value(stamp, None);
        Object { version, body }
    }

    /// A value that ends at `at_ms`, both written at once.
    pub fn value_until(stamp: Stamp, body: Bytes, at_ms: u64) -> Object {
        let version = Version::of_value(stamp, Some(at_ms));
        Object { version, body }
    }

    /// A deletion.
    pub fn tombstone(stamp: Stamp) -> Object {
        let value = Some((stamp, Kind::Tombstone));
        Object {
            version: Version {
                value,
                deadline: None,
            },
            body: Bytes::new(),
        }
    }

    /// A deadline alone, for a value that is elsewhere.
    pub fn deadline(deadline: Deadline) -> Object {
        let deadline = Some(deadline);
        Object {
            version: Version {
                value: None,
                deadline,
            },
            body: Bytes::new(),
        }
    }

    /// Its version.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The value to answer with at `now_ms`: none after a delete and past its deadline.
    pub fn read(&self, now_ms: u64) -> Option<&Bytes> {
        self.version.is_live(now_ms).then_some(&self.body)
    }

    /// The body as it is stored, whatever the deadline says; empty unless the kind is a value.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The same, and nothing else is kept.
    pub fn into_body(self) -> Bytes {
        self.body
    }

    /// Takes in what another copy held.
    pub fn merge(&mut self, other: &Object) {
        if self.version != other.version {
            if other.version.value > self.version.value {
                self.body = other.body.clone();
            }
            self.version = self.version.merge(&other.version);
        }
    }

    /// Whether `other` adds nothing to this; see [`Version::covers`].
    pub fn covers(&self, other: &Object) -> bool {
        self.version.covers(&other.version)
    }

    /// See [`Version::digest`].
    pub fn digest(&self) -> u64 {
        self.version.digest()
    }

    /// Lets the body go when its deadline has passed, and returns whether anything changed. A stub keeps both registers:
    /// dropping them would let a copy that has not seen the deadline bring the value back.
    pub fn shrink(&mut self, now_ms: u64) -> bool {
        let Some(at_ms) = self.version.ends_ms().filter(|&at_ms| at_ms <= now_ms) else {
            return false;
        };
        match &mut self.version.value {
            Some((_, kind @ (Kind::Value | Kind::Stub { .. })))
                if *kind != (Kind::Stub { at_ms }) =>
            {
                *kind = Kind::Stub { at_ms };
                self.body = Bytes::new();
                true
            }
            _ => false,
        }
    }

    /// Bytes that [`Object::encode`] makes.
    pub fn encoded_len(&self) -> usize {
        let mut head = Head::default();
        self.version.write_head(&mut head);
        head.len + self.body.len()
    }

    /// All but the body. Head and body one after the other are the encoding: who can write two slices needs no copy.
    pub fn encode_head(&self, out: &mut Vec<u8>) {
        let mut head = Head::default();
        self.version.write_head(&mut head);
        out.extend_from_slice(head.bytes());
    }

    /// The bytes that are stored and sent.
    pub fn encode(&self) -> Vec<u8> {
        self.version.encode_with(&self.body)
    }

    /// Reads what [`Object::encode`] wrote; the body stays a slice of `encoded`. Untrusted bytes give an error.
    pub fn decode(mut encoded: Bytes) -> Result<Object, ObjectError> {
        let (version, head) = parse(&encoded)?;
        encoded.advance(head);
        Ok(Object {
            version,
            body: encoded,
        })
    }
}

/// Room for the longest head, so that writing one takes nothing from the heap.
struct Head {
    bytes: [u8; MAX_HEAD],
    len: usize,
}

impl Default for Head {
    fn default() -> Head {
        Head {
            bytes: [0; MAX_HEAD],
            len: 0,
        }
    }
}

impl Head {
    fn put(&mut self, part: &[u8]) {
        self.bytes[self.len..self.len + part.len()].copy_from_slice(part);
        self.len += part.len();
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The version at the front of `encoded`, and where the body begins.
fn parse(encoded: &[u8]) -> Result<(Version, usize), ObjectError> {
    let mut rest = encoded;
    let [format, flags] = take(&mut rest)?;
    if format != FORMAT {
        return Err(ObjectError::Format(format));
    }
    if flags & !ALL_BITS != 0 {
        return Err(ObjectError::Flags(flags));
    }
    let value = match flags & KIND_BITS {
        NO_VALUE => None,
        VALUE => Some((take_stamp(&mut rest)?, Kind::Value)),
        TOMBSTONE => Some((take_stamp(&mut rest)?, Kind::Tombstone)),
        _ => {
            let stamp = take_stamp(&mut rest)?;
            Some((
                stamp,
                Kind::Stub {
                    at_ms: u64::from_be_bytes(take(&mut rest)?),
                },
            ))
        }
    };
    let stamps = match (flags & (OWN_DEADLINE | LATER_DEADLINE), value) {
        (0, Some(_)) if flags & HAS_TIME == 0 => None,
        (OWN_DEADLINE, Some((stamp, _))) => Some((stamp, stamp)),
        (LATER_DEADLINE, _) => Some((take_stamp(&mut rest)?, take_stamp(&mut rest)?)),
        _ => return Err(ObjectError::Flags(flags)),
    };
    let at_ms = match flags & HAS_TIME {
        0 => None,
        _ => Some(u64::from_be_bytes(take(&mut rest)?)),
    };
    let deadline = stamps.map(|(of, stamp)| Deadline { at_ms, stamp, of });
    if flags & KIND_BITS != VALUE && !rest.is_empty() {
        return Err(ObjectError::Trailing(rest.len()));
    }
    Ok((
        Version { value, deadline }.without_obsolete(),
        encoded.len() - rest.len(),
    ))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], ObjectError> {
    let (taken, left) = rest.split_first_chunk().ok_or(ObjectError::Short)?;
    *rest = left;
    Ok(*taken)
}

fn take_stamp(rest: &mut &[u8]) -> Result<Stamp, ObjectError> {
    take(rest).map(|bytes| Stamp::decode(&bytes))
}

/// Why bytes are no object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// Another version wrote it, or nobody did.
    #[error("objects of format {0} are not known here (known: {FORMAT})")]
    Format(u8),
    /// Its second byte makes no sense.
    #[error("no object has the flags {0:#010b}")]
    Flags(u8),
    /// It ends before its head does.
    #[error("the object is cut off")]
    Short,
    /// Something follows an object that has no body.
    #[error("{0} bytes follow an object that ends before them")]
    Trailing(usize),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stamp(time: u64) -> Stamp {
        Stamp {
            time,
            boot: time % 3,
            seq: 0,
        }
    }

    /// Objects over few stamps, so that registers meet; what a stamp wrote follows from the stamp, as stamps are unique.
    fn object() -> impl Strategy<Value = Object> {
        let (value, deadline) = (0..7u64, (0..6u64, 0..9u64));
        (value, deadline, any::<bool>(), 0..100u64).prop_map(|(value, (of, at), shrunk, now_ms)| {
            let written = match value % 3 {
                _ if value == 6 => None,
                0 => Some(Object::tombstone(stamp(value))),
                _ => Some(Object::value(
                    stamp(value),
                    Bytes::from(format!("body {value}")),
                )),
            };
            let at_ms = (at % 3 != 0).then_some(at * 20);
            let stamp_at = stamp(of.max(at));
            let deadline = Object::deadline(Deadline {
                at_ms,
                stamp: stamp_at,
                of: stamp(of),
            });
            let mut object = match written {
                Some(object) if at > 5 => object,
                Some(object) => merged(&object, &deadline),
                None => deadline,
            };
            if shrunk {
                object.shrink(now_ms);
            }
            object
        })
    }

    fn merged(a: &Object, b: &Object) -> Object {
        let mut merged = a.clone();
        merged.merge(b);
        merged
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Lost without it: copies that saw the same writes in another order never become equal.
        #[test]
        fn merging_commutes_associates_and_repeats(a in object(), b in object(), c in object()) {
            prop_assert_eq!(merged(&a, &b), merged(&b, &a));
            prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
            prop_assert_eq!(merged(&a, &a), a.clone());
        }

        /// Lost without it: a copy is dropped, or not repaired, although another lacks something of it.
        #[test]
        fn covering_says_what_merging_would_do(a in object(), b in object()) {
            prop_assert_eq!(a.covers(&b), merged(&a, &b).digest() == a.digest());
            prop_assert_eq!(a.digest() == b.digest(), a.covers(&b) && b.covers(&a));
            prop_assert!(merged(&a, &b).covers(&a));
            prop_assert!(merged(&a, &b).covers(&b));
        }

        /// Lost without it: two copies that agree read differently, before or after one of them let a body go.
        #[test]
        fn equal_digests_read_alike(a in object(), b in object(), now_ms in 100..200u64) {
            if a.digest() == b.digest() {
                prop_assert_eq!(a.read(now_ms), b.read(now_ms));
            }
            let mut small = a.clone();
            small.shrink(now_ms);
            prop_assert_eq!(small.read(now_ms), a.read(now_ms));
            prop_assert!(small.read(now_ms).is_some() || small.body().is_empty() || !a.covers(&small));
            prop_assert!(!small.shrink(now_ms));
        }

        /// Lost without it: what was stored comes back as something else.
        #[test]
        fn encodings_are_exact(a in object()) {
            let bytes = Bytes::from(a.encode());
            prop_assert_eq!(bytes.len(), a.encoded_len());
            prop_assert_eq!(Version::peek(&bytes), Ok(*a.version()));
            prop_assert_eq!(Object::decode(bytes.clone()), Ok(a.clone()));
            for len in 0..bytes.len() - a.body().len() {
                prop_assert!(Object::decode(bytes.slice(..len)).is_err());
            }
        }

        /// Lost without it: bytes from a peer or a disk panic the node.
        #[test]
        fn any_bytes_are_an_object_or_an_error(
            head in prop::option::of((0..3u8, 0..40u8)), mut bytes in prop::collection::vec(any::<u8>(), 0..120)
        ) {
            if let (Some((format, flags)), [a, b, ..]) = (head, &mut bytes[..]) {
                (*a, *b) = (format, flags);
            }
            let peeked = Version::peek(&bytes);
            match Object::decode(Bytes::from(bytes)) {
                Ok(object) => {
                    prop_assert_eq!(Ok(*object.version()), peeked);
                    prop_assert_eq!(Object::decode(Bytes::from(object.encode())), Ok(object));
                }
                Err(error) => prop_assert_eq!(Err(error), peeked),
            }
        }
    }

    /// Lost without it: a small value costs more than its stamp, and its body is copied on the way out.
    #[test]
    fn a_plain_value_is_its_stamp_and_its_body() {
        let encoded = Bytes::from(Object::value(stamp(4), Bytes::from_static(b"abc")).encode());
        assert_eq!(encoded.len(), 2 + Stamp::LEN + 3);
        let body = Object::decode(encoded.clone()).unwrap().body().clone();
        assert_eq!(body.as_ptr(), encoded[22..].as_ptr());
        let timed = Object::value_until(stamp(4), Bytes::new(), 99);
        assert_eq!(timed.encoded_len(), 2 + Stamp::LEN + 8);
    }

    /// Lost without it: EXPIRE and SET that cross give a value that ends although it was set later.
    #[test]
    fn a_deadline_is_for_one_value_only() {
        let expire = Object::deadline(Deadline {
            at_ms: Some(10),
            stamp: stamp(9),
            of: stamp(1),
        });
        let mut early = expire.clone();
        early.merge(&Object::value(stamp(1), Bytes::from_static(b"x")));
        assert_eq!((early.read(9).is_some(), early.read(10)), (true, None));
        early.merge(&Object::value(stamp(2), Bytes::from_static(b"y")));
        assert_eq!(early.read(10).map(|b| &b[..]), Some(&b"y"[..]));
        assert_eq!(early.version().deadline(), None);
        assert!(early.covers(&expire));
    }

    /// Lost without it: PERSIST is acknowledged, and the copy that had not heard of it deletes the value for all.
    #[test]
    fn a_body_let_go_too_early_comes_back() {
        let full = Object::value_until(stamp(1), Bytes::from_static(b"x"), 10);
        let mut stub = full.clone();
        assert!(!stub.shrink(9));
        assert!(stub.shrink(10));
        assert_eq!(stub.digest(), full.digest());
        let persist = Object::deadline(Deadline {
            at_ms: None,
            stamp: stamp(2),
            of: stamp(1),
        });
        let (stub, full) = (merged(&stub, &persist), merged(&full, &persist));
        assert_ne!(stub.digest(), full.digest());
        assert!(!stub.covers(&full) && full.covers(&stub));
        assert_eq!(
            merged(&stub, &full).read(10).map(|b| &b[..]),
            Some(&b"x"[..])
        );
    }

    /// Lost without it: a replica overwrites what is newer, or refuses the second copy of a write that it took.
    #[test]
    fn a_put_below_what_is_held_is_refused() {
        let value = |t| *Object::value(stamp(t), Bytes::new()).version();
        let deadline = |of, t| {
            *Object::deadline(Deadline {
                at_ms: None,
                stamp: stamp(t),
                of: stamp(of),
            })
            .version()
        };
        assert_eq!(value(5).refuses(&value(4)), Some(stamp(5)));
        assert_eq!(value(5).refuses(&value(5)), None);
        assert_eq!(value(5).refuses(&value(6)), None);
        assert_eq!(value(5).refuses(&deadline(5, 2)), None);
        assert_eq!(deadline(5, 9).refuses(&deadline(5, 8)), Some(stamp(9)));
        assert_eq!(deadline(5, 9).refuses(&deadline(6, 8)), None);
        assert_eq!(deadline(5, 9).refuses(&value(4)), None);
    }

    /// Lost without it: RKV.REPLICAS cannot tell two versions apart.
    #[test]
    fn versions_read_as_their_stamps() {
        let value = Object::value_until(stamp(1), Bytes::new(), 7);
        let later = Object::deadline(Deadline {
            at_ms: None,
            stamp: stamp(2),
            of: stamp(1),
        });
        let one = "0000000000000001-0000000000000001-00000000";
        let two = "0000000000000002-0000000000000002-00000000";
        assert_eq!(value.version().to_string(), one);
        assert_eq!(later.version().to_string(), format!("-+{two}"));
        assert_eq!(
            merged(&value, &later).version().to_string(),
            format!("{one}+{two}")
        );
    }
}
