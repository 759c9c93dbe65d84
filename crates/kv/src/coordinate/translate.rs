//! This file answers: how does what the machines of requests say become what the wire says, and back?

use bytes::Bytes;
use rkv_quorum::clock::Stamp;
use rkv_quorum::object::Object;
use rkv_quorum::put::{Extent, Put};
use rkv_quorum::roster::{Ask, Refusal};
use rkv_quorum::{get, put, tally};
use rkv_ring::RingId;
use rkv_vnode::router::Route;
use rkv_wire::message::{Answer, RequestId, Role};

use super::UNHEARD;
use super::desk::{Desk, Event};
use crate::replica::KV;

pub(super) fn wire_id(base: u64, ask: Ask) -> RequestId {
    RequestId(base | (u64::from(ask.0) & UNHEARD))
}

pub(super) fn within(deadline_ms: u64, now_ms: u64) -> u32 {
    u32::try_from(deadline_ms.saturating_sub(now_ms)).unwrap_or(u32::MAX)
}

pub(super) fn kv_route(desk: &Desk, ask: Ask, ring: RingId, role: Role, within_ms: u32) -> Route {
    Route {
        id: wire_id(desk.base, ask),
        service: KV,
        slot: desk.slot,
        ring,
        role,
        within_ms,
    }
}

pub(super) fn wire_role(role: tally::Role) -> Role {
    match role {
        tally::Role::Owner => Role::Owner,
        tally::Role::Fallback => Role::Fallback,
    }
}

/// What is sent, encoded; once for all who are sent the same.
pub(super) fn encode_once(
    encoded: &mut Option<(Stamp, Extent, Bytes)>,
    put: &Put,
    extent: Extent,
) -> Bytes {
    match encoded {
        Some((stamp, of, bytes)) if *stamp == put.stamp() && *of == extent => bytes.clone(),
        _ => {
            let bytes = Bytes::from(put.object(extent).encode());
            *encoded = Some((put.stamp(), extent, bytes.clone()));
            bytes
        }
    }
}

/// What the wire says, as the put's machine hears it.
pub(super) fn put_event(event: Event) -> Option<put::Event> {
    Some(match event {
        Event::Begin => put::Event::Begin,
        Event::Tick => put::Event::Tick,
        Event::Preflist(preflist) => put::Event::Preflist((*preflist).clone()),
        Event::Unreachable(node, ask, sent) => put::Event::Unreachable { node, ask, sent },
        Event::Lost(..) => return None,
        Event::Answer(node, ask, answer, _) => {
            let answer = match answer {
                Answer::Stored => put::Answer::Stored,
                Answer::Newer(stamp) => put::Answer::Newer(stamp),
                Answer::Floor(stamp) => put::Answer::Floor(stamp),
                Answer::NotFound | Answer::CatchingUp => put::Answer::Lacks,
                other => put::Answer::Refused(refusal(other)),
            };
            put::Event::Answer { node, ask, answer }
        }
    })
}

/// What the wire says, as the get's machine hears it.
pub(super) fn get_event(event: Event) -> Option<get::Event> {
    Some(match event {
        Event::Begin => get::Event::Begin,
        Event::Tick => get::Event::Tick,
        Event::Preflist(preflist) => get::Event::Preflist((*preflist).clone()),
        Event::Unreachable(node, ask, _) => get::Event::Unreachable { node, ask },
        Event::Lost(..) => return None,
        Event::Answer(node, ask, answer, body) => {
            let answer = match answer {
                Answer::Found => match Object::decode(body) {
                    Ok(object) => get::Answer::Found(object),
                    Err(error) => get::Answer::Refused(Refusal::Failed {
                        message: error.to_string(),
                        maybe_applied: false,
                    }),
                },
                Answer::NotFound => get::Answer::NotFound,
                Answer::CatchingUp => get::Answer::CatchingUp(
                    (!body.is_empty())
                        .then(|| Object::decode(body).ok())
                        .flatten(),
                ),
                other => get::Answer::Refused(refusal(other)),
            };
            get::Event::Answer { node, ask, answer }
        }
    })
}

fn refusal(answer: Answer) -> Refusal {
    match answer {
        Answer::NotOwner(ring) => Refusal::NotOwner(ring),
        Answer::Moved(ring) => Refusal::Moved(ring),
        Answer::Behind(_) => Refusal::Behind,
        Answer::Busy => Refusal::Busy,
        Answer::Failed {
            text,
            maybe_applied,
        } => Refusal::Failed {
            message: text,
            maybe_applied,
        },
        other => Refusal::Failed {
            message: format!("an answer to another question: {other:?}"),
            maybe_applied: true,
        },
    }
}
