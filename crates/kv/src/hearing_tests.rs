//! Who is heard, and as whom.

use bytes::Bytes;
use rkv_ring::{Epoch, Incarnation, NodeName, Partition, RingId, Slot, boot};
use rkv_wire::message::{Command, CopyId, Message, RequestId, Role, ServiceId};

use super::Heard;
use crate::alone::{engine, ring};

fn command(ring: RingId) -> Message {
    let key = Bytes::from("k");
    Message::Command {
        id: RequestId(1),
        service: ServiceId(1),
        slot: Slot(0),
        ring,
        role: Role::Owner,
        within_ms: 1_000,
        command: Command::Get { key },
        body: Bytes::new(),
    }
}

fn fill(ring: RingId) -> Message {
    Message::Fill {
        id: RequestId(1),
        copy: CopyId {
            service: ServiceId(1),
            partition: Partition(0),
        },
        ring,
        mends: false,
        body: Bytes::new(),
    }
}

/// Lost without it: who runs on an older state of its disk, or under a member's name, is taken for that member; or one that
/// joined anew is not heard by who has not learned of it yet.
#[test]
fn only_the_latest_start_of_the_listed_life_speaks_for_a_member() {
    let ring = ring();
    let engine = engine(&ring);
    let (me, member) = ring.members.iter().next().unwrap();
    let (life, other_life) = (member.incarnation, Incarnation(99));
    let present = ring.id();
    let later = RingId {
        epoch: Epoch(present.epoch.0 + 1),
        ..present
    };
    let saved = boot::next(0, 1);
    let (latest, put_back) = (boot::next(saved, 2), boot::next(saved, 3));

    let hears = |start, message: &Message| engine.hears(me, start, message);
    assert_eq!(hears((life, latest), &command(present)), Heard::Itself);
    assert_eq!(hears((life, latest), &fill(present)), Heard::Itself);
    for ring in [present, later] {
        assert_eq!(hears((life, put_back), &command(ring)), Heard::Not);
        assert_eq!(hears((life, put_back), &fill(ring)), Heard::Not);
    }
    assert_eq!(hears((other_life, saved), &command(present)), Heard::Not);
    assert_eq!(hears((other_life, saved), &command(later)), Heard::Stranger);
    assert_eq!(hears((other_life, saved), &fill(later)), Heard::Not);

    let nobody = NodeName::from("nobody");
    assert_eq!(
        engine.hears(&nobody, (other_life, saved), &fill(present)),
        Heard::Not
    );
}
