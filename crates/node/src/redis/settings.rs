//! This file answers: what does CONFIG tell, and why does it change nothing?
//!
//! Tools ask for a few of Redis' settings before they begin; these are answered with what holds here. Rkv's own
//! configuration is read at the start and shown by `rkv config show`.

use bytes::Bytes;
use rkv_resp::Reply;
use rkv_resp::glob::matches_ignoring_case;

use super::server::Server;

/// So much of a name that a client sent is shown to it again.
const SHOWN_BYTES: usize = 128;

/// CONFIG GET
pub(super) fn get(server: &Server, patterns: &[Bytes]) -> Reply {
    let is_asked = |name: &str| {
        let mut patterns = patterns.iter();
        patterns.any(|pattern| matches_ignoring_case(pattern, name.as_bytes()))
    };
    let all = settings(server).into_iter();
    Reply::Map(
        all.filter(|(name, _)| is_asked(name))
            .map(|(name, value)| (Reply::bulk(name), Reply::bulk(value)))
            .collect(),
    )
}

fn settings(server: &Server) -> [(&'static str, String); 14] {
    let is_volatile = server.engine.host().store().is_volatile();
    let appendonly = if is_volatile { "no" } else { "yes" };
    [
        ("appendonly", appendonly.to_owned()),
        ("bind", server.local.ip().to_string()),
        ("cluster-enabled", "yes".to_owned()),
        ("databases", server.config.databases.len().to_string()),
        ("maxclients", server.config.connections.to_string()),
        ("maxmemory", "0".to_owned()),
        ("maxmemory-policy", "noeviction".to_owned()),
        ("port", server.local.port().to_string()),
        ("proto-max-bulk-len", server.limits().max_bulk.to_string()),
        ("requirepass", String::new()),
        ("save", String::new()),
        (
            "tcp-keepalive",
            super::listener::KEEPALIVE.as_secs().to_string(),
        ),
        ("timeout", "0".to_owned()),
        ("notify-keyspace-events", String::new()),
    ]
}

/// CONFIG SET
pub(super) fn refuse_set(settings: &[(Bytes, Bytes)]) -> Reply {
    let name: &[u8] = settings.first().map_or(b"", |(name, _)| name);
    let name = String::from_utf8_lossy(&name[..name.len().min(SHOWN_BYTES)]);
    Reply::error(format!(
        "ERR CONFIG SET failed (possibly related to argument '{name}') - settings are read from rkv's configuration \
         when the node starts"
    ))
}

/// CONFIG REWRITE
pub(super) fn refuse_rewrite() -> Reply {
    Reply::error("ERR settings are read from rkv's configuration, which is never rewritten")
}
