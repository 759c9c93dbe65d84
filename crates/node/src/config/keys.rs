//! This file answers: which keys are there, and what may each of them hold?
//!
//! The table knows no default: those are the struct's ([`Config`](super::Config)).

use rkv_ring::PartitionCount;
use toml::Value;

use crate::duration;

/// One key of the configuration.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its name, section and all.
    pub(crate) name: &'static str,
    /// What it may hold.
    pub(crate) kind: Kind,
    /// Whether it may hold nothing; then an empty text on the command line or in the environment takes it back.
    pub(crate) optional: bool,
}

/// What a key may hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// A node's name: see [`node_name`].
    Name,
    /// Any text but the empty one.
    Text,
    /// A file or folder.
    Path,
    /// `host:port`.
    Address,
    /// A list of `host:port`.
    Addresses,
    /// A list of texts.
    Names,
    /// A whole number within these.
    Number(i64, i64),
    /// A span of time in milliseconds, within these; also `250ms`, `5s`.
    Millis(i64, i64),
    /// A span of time in seconds, within these; also `5s`, `2m`.
    Seconds(i64, i64),
    /// Q.
    Partitions,
    /// A number above 0.
    Weight,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Which log lines.
    Filter,
    /// A secret: not on the command line.
    Secret,
    /// Names with a secret each: not on the command line.
    Users,
}

/// What `log.level` is made of.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// All keys, in the order in which they are shown.
pub(crate) const KEYS: &[Key] = &[
    must("node.name", Kind::Name),
    must("node.data_dir", Kind::Path),
    may("node.zone", Kind::Name),
    must("node.weight", Kind::Weight),
    must("cluster.name", Kind::Text),
    may("cluster.secret", Kind::Secret),
    may("cluster.secret_file", Kind::Path),
    may("cluster.client_secret", Kind::Secret),
    may("cluster.client_secret_file", Kind::Path),
    must("cluster.seeds", Kind::Addresses),
    must("cluster.gossip_interval_ms", Kind::Millis(10, 60_000)),
    must("ring.partitions", Kind::Partitions),
    must("ring.replicas", Kind::Number(1, 255)),
    must("listen.redis", Kind::Address),
    must("listen.peer", Kind::Address),
    must("listen.http", Kind::Address),
    may("advertise.redis", Kind::Address),
    may("advertise.peer", Kind::Address),
    may("advertise.http", Kind::Address),
    must("storage.backend", Kind::Word(&["memory", "sled", "fjall"])),
    must("storage.durability", Kind::Word(&["always", "batch", "os"])),
    must("storage.sync_interval_ms", Kind::Millis(1, 60_000)),
    must("request.timeout_ms", Kind::Millis(1, 3_600_000)),
    may("default.n", Kind::Number(1, 255)),
    may("default.r", Kind::Number(1, 255)),
    may("default.w", Kind::Number(1, 255)),
    must("redis.databases", Kind::Names),
    may("redis.password", Kind::Secret),
    may("redis.password_file", Kind::Path),
    may("redis.users", Kind::Users),
    may("redis.users_file", Kind::Path),
    may("http.token", Kind::Secret),
    may("http.token_file", Kind::Path),
    must("limits.key_bytes", Kind::Number(1, 65_536)),
    must("limits.value_bytes", Kind::Number(1, 536_870_912)),
    must("limits.connections", Kind::Number(1, 1_000_000)),
    must("transfers.limit", Kind::Number(1, 1024)),
    may("transfers.bytes_per_s", Kind::Number(1, i64::MAX)),
    must("transfers.grace_s", Kind::Seconds(0, 31_536_000)),
    must("clock.max_drift_ms", Kind::Millis(1, 86_400_000)),
    must("delete.grace_s", Kind::Seconds(0, 3_153_600_000)),
    must("log.format", Kind::Word(&["text", "json"])),
    must("log.level", Kind::Filter),
];

const fn must(name: &'static str, kind: Kind) -> Key {
    Key {
        name,
        kind,
        optional: false,
    }
}

const fn may(name: &'static str, kind: Kind) -> Key {
    Key {
        name,
        kind,
        optional: true,
    }
}

/// The key of that name.
pub(crate) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

impl Key {
    /// The value in the form in which the struct takes it, or what is allowed instead.
    pub(crate) fn check(&self, value: Value) -> Result<Value, String> {
        self.kind
            .check(value)
            .map_err(|allowed| format!("{} {allowed}", self.name))
    }

    /// What `text` from the command line or the environment means for this key; none takes the key back.
    pub(crate) fn parse(&self, text: &str) -> Result<Option<Value>, String> {
        if text.is_empty() && self.optional {
            return Ok(None);
        }
        self.check(self.kind.read(text)).map(Some)
    }
}

impl Kind {
    /// Whether it must stay off the command line, where every user of the machine can read it.
    pub(crate) fn is_secret(self) -> bool {
        matches!(self, Kind::Secret | Kind::Users)
    }

    /// `text` as the file would have it.
    fn read(self, text: &str) -> Value {
        let string = || Value::String(text.to_owned());
        match self {
            Kind::Number(..) | Kind::Partitions => {
                text.parse().map_or_else(|_| string(), Value::Integer)
            }
            Kind::Weight => text.parse().map_or_else(|_| string(), Value::Float),
            Kind::Addresses | Kind::Names => read_list(text),
            Kind::Users => users_in(text, ',').map_or_else(|_| string(), Value::Table),
            _ => string(),
        }
    }

    fn check(self, value: Value) -> Result<Value, String> {
        match (self, value) {
            (Kind::Name, Value::String(it)) => node_name(&it).map(|()| Value::String(it)),
            (Kind::Text | Kind::Path | Kind::Secret, Value::String(it)) if !it.is_empty() => {
                Ok(Value::String(it))
            }
            (Kind::Address, Value::String(it)) => {
                address(&it)?;
                Ok(Value::String(it))
            }
            (Kind::Addresses, Value::Array(list)) => check_all(list, |it| address(it).map(|_| ())),
            (Kind::Names, Value::Array(list)) if !list.is_empty() => check_all(list, node_name),
            (Kind::Number(least, most), Value::Integer(it)) => within(it, least, most, ""),
            (Kind::Millis(least, most), it) => time(it, least, most, "ms"),
            (Kind::Seconds(least, most), it) => time(it, least, most, "s"),
            (Kind::Partitions, Value::Integer(it)) => {
                match u16::try_from(it).map(PartitionCount::new) {
                    Ok(Ok(_)) => Ok(Value::Integer(it)),
                    _ => Err(instead(&self.allowed(), &it)),
                }
            }
            (Kind::Weight, Value::Integer(it)) => self.check(Value::Float(it as f64)),
            (Kind::Weight, Value::Float(it)) if it > 0.0 && it <= 1000.0 => Ok(Value::Float(it)),
            (Kind::Word(words), Value::String(it)) if words.contains(&it.as_str()) => {
                Ok(Value::String(it))
            }
            (Kind::Filter, Value::String(it)) if is_filter(&it) => Ok(Value::String(it)),
            (Kind::Users, Value::Table(users)) if users.values().all(is_full_text) => {
                Ok(Value::Table(users))
            }
            (kind, _) if kind.is_secret() => Err(format!("must be {}", kind.allowed())),
            (kind, other) => Err(instead(&kind.allowed(), &other)),
        }
    }

    /// What is allowed, after "must be".
    fn allowed(self) -> String {
        match self {
            Kind::Name => "a name of letters, digits and `-_.@`, at most 64".into(),
            Kind::Text => "a text".into(),
            Kind::Path => "a path".into(),
            Kind::Address => "`host:port`".into(),
            Kind::Addresses => "a list of `host:port`".into(),
            Kind::Names => "a list of names".into(),
            Kind::Number(least, i64::MAX) => format!("a whole number from {least}"),
            Kind::Number(least, most) => format!("a whole number from {least} to {most}"),
            Kind::Millis(least, most) => format!("milliseconds from {least} to {most}"),
            Kind::Seconds(least, most) => format!("seconds from {least} to {most}"),
            Kind::Partitions => "a power of two from 8 to 16384".into(),
            Kind::Weight => "a number above 0, at most 1000".into(),
            Kind::Word(words) => {
                let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
                format!("one of {}", quoted.join(", "))
            }
            Kind::Filter => {
                "`error`, `warn`, `info`, `debug`, `trace` or filters such as `info,rkv_wire=debug`"
                    .into()
            }
            Kind::Secret => "a text that is not empty".into(),
            Kind::Users => "a table of names, each with a password".into(),
        }
    }
}

fn instead(allowed: &str, given: &impl std::fmt::Display) -> String {
    format!("must be {allowed}, not {}", given.to_string().trim())
}

fn within(it: i64, least: i64, most: i64, unit: &str) -> Result<Value, String> {
    if (least..=most).contains(&it) {
        return Ok(Value::Integer(it));
    }
    let allowed = match unit {
        "ms" => Kind::Millis(least, most).allowed(),
        "s" => Kind::Seconds(least, most).allowed(),
        _ => Kind::Number(least, most).allowed(),
    };
    Err(instead(&allowed, &it))
}

/// A number in `unit`, or a text with a unit of its own.
fn time(value: Value, least: i64, most: i64, unit: &'static str) -> Result<Value, String> {
    let given = match &value {
        Value::Integer(it) => Some(*it),
        Value::String(text) => duration::parse(
            text,
            if unit == "ms" {
                duration::Unit::Millis
            } else {
                duration::Unit::Seconds
            },
        )
        .ok()
        .filter(|span| unit == "ms" || span.subsec_nanos() == 0)
        .map(|span| {
            if unit == "ms" {
                span.as_millis() as i64
            } else {
                span.as_secs() as i64
            }
        }),
        _ => None,
    };
    match given {
        Some(it) => within(it, least, most, unit),
        None => {
            let kind = if unit == "ms" {
                Kind::Millis(least, most)
            } else {
                Kind::Seconds(least, most)
            };
            Err(instead(&kind.allowed(), &value))
        }
    }
}

fn check_all(
    list: Vec<Value>,
    check: impl Fn(&str) -> Result<(), String>,
) -> Result<Value, String> {
    for item in &list {
        match item.as_str() {
            Some(text) => check(text)?,
            None => return Err(instead("a list of texts", item)),
        }
    }
    Ok(Value::Array(list))
}

fn is_full_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty())
}

/// `a,b` or `["a", "b"]`.
fn read_list(text: &str) -> Value {
    if text.trim_start().starts_with('[') {
        let parsed: Result<toml::Table, _> = toml::from_str(&format!("it = {text}"));
        return match parsed.ok().and_then(|mut table| table.remove("it")) {
            Some(list) => list,
            None => Value::String(text.to_owned()),
        };
    }
    let items = text
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty());
    Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
}

/// `name:password` each, between separators.
pub(crate) fn users_in(text: &str, separator: char) -> Result<toml::Table, String> {
    let lines = text.split(separator).map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| match line.split_once(':') {
            Some((name, password)) if !name.is_empty() && !password.is_empty() => {
                Ok((name.to_owned(), Value::String(password.to_owned())))
            }
            _ => Err("must hold `name:password`, one a line".to_owned()),
        })
        .collect()
}

/// Whether a node, a zone or a keyspace may be called `name`; if not, what is allowed.
pub(crate) fn node_name(name: &str) -> Result<(), String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    if !name.is_empty() && name.len() <= 64 && name.chars().all(is_plain) {
        Ok(())
    } else {
        Err(instead(&Kind::Name.allowed(), &format!("{name:?}")))
    }
}

/// Host and port of `text`; an IPv6 host stands in brackets.
pub(crate) fn address(text: &str) -> Result<(&str, u16), String> {
    let parts = text.rsplit_once(':').and_then(|(host, port)| {
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let host = match bare {
            Some(host) => host,
            None if host.contains(':') => return None,
            None => host,
        };
        Some((host, port.parse().ok()?))
    });
    match parts {
        Some((host, port)) if !host.is_empty() && !host.contains(char::is_whitespace) => {
            Ok((host, port))
        }
        _ => Err(instead(&Kind::Address.allowed(), &format!("{text:?}"))),
    }
}

/// Levels, or targets with one each. A filter of `tracing` may be more, and takes a slip in a level for a target.
fn is_filter(text: &str) -> bool {
    let is_level = |word: &str| LEVELS.contains(&word);
    let is_target = |word: &str| {
        !word.is_empty()
            && word
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_:".contains(c))
    };
    text.split(',')
        .all(|item| match item.trim().split_once('=') {
            Some((target, level)) => is_target(target) && is_level(level),
            None => is_level(item.trim()),
        })
}

/// The known key nearest to `name`, if any is near enough to be meant.
pub(crate) fn suggestion(name: &str) -> Option<&'static str> {
    nearest(name, KEYS.iter().map(|key| key.name))
}

/// The candidate nearest to `name`: at most a third of its letters differ.
fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let last = name.rsplit('.').next();
    let score = |candidate: &str| {
        let distance = distance(name, candidate);
        // the right key in a wrong section is what was meant more often than a near name
        if distance > 2 && candidate.rsplit('.').next() == last {
            2
        } else {
            distance
        }
    };
    candidates
        .map(|candidate| (score(candidate), candidate))
        .filter(|(score, _)| *score <= (name.len() / 3).max(2))
        .min_by_key(|(score, _)| *score)
        .map(|(_, candidate)| candidate)
}

/// How many letters must be added, dropped or changed, or neighbours swapped, to make one of the other.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=other.len()).collect()];
    for i in 1..=one.len() {
        let mut row = vec![i];
        for j in 1..=other.len() {
            let changed = usize::from(one[i - 1] != other[j - 1]);
            let mut best = (rows[i - 1][j] + 1)
                .min(row[j - 1] + 1)
                .min(rows[i - 1][j - 1] + changed);
            if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost without it: a slip in a key would be answered with a shrug, or with advice that leads astray.
    #[test]
    fn slips_are_recognised() {
        for (slip, meant) in [
            ("listen.redsi", Some("listen.redis")),
            ("lisen.redis", Some("listen.redis")),
            ("ring.partition", Some("ring.partitions")),
            ("ring.partitons", Some("ring.partitions")),
            ("storage.data_dir", Some("node.data_dir")),
            ("cluster.partitions", Some("ring.partitions")),
            ("request.timeout", Some("request.timeout_ms")),
            ("nothing.of.the.kind", None),
        ] {
            assert_eq!(suggestion(slip), meant, "{slip}");
        }
    }

    /// Lost without it: a bad value would reach the node, or a good one be refused.
    #[test]
    fn values_are_judged_by_their_key() {
        for (key, text, good) in [
            ("ring.partitions", "16", true),
            ("ring.partitions", "16384", true),
            ("ring.partitions", "12", false),
            ("ring.partitions", "4", false),
            ("ring.partitions", "32768", false),
            ("ring.replicas", "0", false),
            ("ring.replicas", "1", true),
            ("default.w", "0", false),
            ("listen.redis", "127.0.0.1:6379", true),
            ("listen.redis", "[::1]:6379", true),
            ("listen.redis", "::1:6379", false),
            ("listen.redis", "127.0.0.1", false),
            ("listen.redis", "127.0.0.1:65536", false),
            ("listen.redis", ":6379", false),
            ("storage.backend", "fjall", true),
            ("storage.backend", "dets", false),
            ("storage.durability", "never", false),
            ("request.timeout_ms", "250", true),
            ("request.timeout_ms", "5s", true),
            ("request.timeout_ms", "0", false),
            ("request.timeout_ms", "soon", false),
            ("transfers.grace_s", "10", true),
            ("transfers.grace_s", "500ms", false),
            ("node.zone", "rack-1", true),
            ("node.zone", "", true),
            ("node.name", "", false),
            ("node.name", "a b", false),
            ("node.weight", "2", true),
            ("node.weight", "0", false),
            ("cluster.seeds", "a:1,b:2", true),
            ("cluster.seeds", "a", false),
            ("cluster.seeds", r#"["a:1"]"#, true),
            ("redis.users", "ann:one,bob:two", true),
            ("redis.users", "ann", false),
            ("log.level", "info,rkv_wire=debug", true),
            ("log.level", "loud", false),
            ("log.level", "rkv_wire=", false),
        ] {
            let key = find(key).unwrap();
            let outcome = key.parse(text);
            assert_eq!(outcome.is_ok(), good, "{}={text}: {outcome:?}", key.name);
            if let Err(message) = outcome {
                assert!(message.starts_with(key.name), "{message}");
                assert!(message.contains("must be"), "{message}");
            }
        }
    }

    /// Lost without it: the struct and the table of keys could drift apart.
    #[test]
    fn the_table_lists_the_structs_keys() {
        let all = serde_json::to_value(super::super::Config::default()).unwrap();
        let mut names = Vec::new();
        for (section, keys) in all.as_object().unwrap() {
            names.extend(
                keys.as_object()
                    .unwrap()
                    .keys()
                    .map(|key| format!("{section}.{key}")),
            );
        }
        let mut listed: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
        listed.sort_unstable();
        names.sort_unstable();
        assert_eq!(names, listed);
    }
}
