//! This file answers: what does CONFIG tell, and what does it change?
//!
//! Tools ask for a few of Redis' settings before they begin; these are answered with what holds here. The slow log's can
//! be changed while the node runs. Rkv's own configuration is read at the start and shown by `rkv config show`.

use bytes::Bytes;
use rkv_resp::Reply;
use rkv_resp::glob::matches_ignoring_case;

use super::server::Server;
use super::slow_log;

/// So much of a name that a client sent is shown to it again.
const SHOWN_BYTES: usize = 128;

const SLOWER_THAN: &str = "slowlog-log-slower-than";
const MOST_ENTRIES: &str = "slowlog-max-len";

/// CONFIG GET
pub(super) fn get(server: &Server, patterns: &[Bytes]) -> Reply {
    let is_asked = |name: &str| {
        let mut patterns = patterns.iter();
        patterns.any(|pattern| matches_ignoring_case(pattern, name.as_bytes()))
    };
    let all = all(server).into_iter();
    Reply::Map(
        all.filter(|(name, _)| is_asked(name))
            .map(|(name, value)| (Reply::bulk(name), Reply::bulk(value)))
            .collect(),
    )
}

fn all(server: &Server) -> [(&'static str, String); 16] {
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
        (SLOWER_THAN, server.slow_log.slower_than_us().to_string()),
        (MOST_ENTRIES, server.slow_log.most().to_string()),
        (
            "tcp-keepalive",
            super::listener::KEEPALIVE.as_secs().to_string(),
        ),
        ("timeout", "0".to_owned()),
        ("notify-keyspace-events", String::new()),
    ]
}

/// CONFIG SET: all of the settings, or none and why not.
pub(super) fn set(server: &Server, settings: &[(Bytes, Bytes)]) -> Reply {
    let mut changes = Vec::with_capacity(settings.len());
    for (at, (name, value)) in settings.iter().enumerate() {
        let name = shown(name);
        let is_before =
            |(before, _): &&(Bytes, Bytes)| before.eq_ignore_ascii_case(name.as_bytes());
        if settings[..at].iter().find(is_before).is_some() {
            return failed(&name, "duplicate parameter");
        }
        match change(server, &name, value) {
            Ok(change) => changes.push(change),
            Err(reply) => return reply,
        }
    }
    for change in changes {
        match change {
            Change::SlowerThan(us) => server.slow_log.set_slower_than_us(us),
            Change::MostEntries(most) => server.slow_log.set_most(most),
            Change::None => {}
        }
    }
    Reply::OK
}

/// What CONFIG SET can do.
enum Change {
    SlowerThan(i64),
    MostEntries(usize),
    /// What is asked for holds already.
    None,
}

fn change(server: &Server, name: &str, value: &[u8]) -> Result<Change, Reply> {
    let number = |most: i64, least: i64| {
        let text = std::str::from_utf8(value).ok();
        let number = text.and_then(|text| text.parse::<i64>().ok());
        match number {
            Some(number) if (least..=most).contains(&number) => Ok(number),
            Some(_) => Err(failed(
                name,
                &format!("argument must be between {least} and {most} inclusive"),
            )),
            None => Err(failed(name, "argument couldn't be parsed into an integer")),
        }
    };
    if name.eq_ignore_ascii_case(SLOWER_THAN) {
        return number(i64::MAX, -1).map(Change::SlowerThan);
    }
    if name.eq_ignore_ascii_case(MOST_ENTRIES) {
        let most = number(slow_log::MOST_ENTRIES as i64, 0)?;
        return Ok(Change::MostEntries(usize::try_from(most).unwrap_or(0)));
    }
    let known = all(server)
        .into_iter()
        .find(|(known, _)| name.eq_ignore_ascii_case(known));
    match known {
        Some((_, holds)) if holds.as_bytes() == value => Ok(Change::None),
        Some(_) => Err(failed(
            name,
            "settings are read from rkv's configuration when the node starts",
        )),
        None => Err(Reply::error(format!(
            "ERR Unknown option or number of arguments for CONFIG SET - '{name}'"
        ))),
    }
}

fn failed(name: &str, why: &str) -> Reply {
    Reply::error(format!(
        "ERR CONFIG SET failed (possibly related to argument '{name}') - {why}"
    ))
}

fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(&name[..name.len().min(SHOWN_BYTES)]).into_owned()
}

/// CONFIG REWRITE
pub(super) fn refuse_rewrite() -> Reply {
    Reply::error("ERR settings are read from rkv's configuration, which is never rewritten")
}
