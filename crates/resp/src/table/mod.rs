//! This file answers: which commands are there?
//!
//! All of them in one table, made of the families' files. Flags, categories, tips and key specifications are those of
//! Redis 7, where Redis has the command: cluster clients route and fan out by them, and refuse to send what is not
//! listed.

mod cluster;
mod command;
mod connection;
mod diagnostics;
mod expiry;
mod extensions;
mod keys;
mod own;
mod server;
mod strings;

use crate::Name;
use crate::command::{Keys, Spec};

/// The families, those of the frequent commands first: names are looked up in this order.
const FAMILIES: &[&[Spec]] = &[
    strings::STRINGS,
    keys::KEYS,
    expiry::EXPIRY,
    own::OWN_COMMANDS,
    connection::CONNECTIONS,
    cluster::CLUSTER,
    server::SERVER,
    command::COMMANDS,
    diagnostics::DIAGNOSTICS,
    extensions::EXTENSIONS,
];

/// Every command.
pub const TABLE: &[Spec] = &joined::<{ count() }>();

const fn count() -> usize {
    let (mut family, mut count) = (0, 0);
    while family < FAMILIES.len() {
        count += FAMILIES[family].len();
        family += 1;
    }
    count
}

const fn joined<const COUNT: usize>() -> [Spec; COUNT] {
    let mut joined = [COMMAND; COUNT];
    let (mut family, mut at) = (0, 0);
    while family < FAMILIES.len() {
        let mut row = 0;
        while row < FAMILIES[family].len() {
            joined[at] = FAMILIES[family][row];
            at += 1;
            row += 1;
        }
        family += 1;
    }
    joined
}

/// What most have in common.
const COMMAND: Spec = Spec {
    name: Name::Command,
    text: "",
    arity: 0,
    flags: &[],
    keys: None,
    categories: &[],
    tips: &[],
    usage: "",
    summary: "",
    since: "1.0.0",
    group: "generic",
    differences: "",
    subcommands: &[],
};

/// The first argument alone is a key.
const fn one_key(access: &'static [&'static str]) -> Option<Keys> {
    Some(Keys {
        first: 1,
        last: 1,
        step: 1,
        access,
        notes: None,
    })
}

/// All arguments are keys.
const fn all_keys(access: &'static [&'static str]) -> Option<Keys> {
    Some(Keys {
        first: 1,
        last: -1,
        step: 1,
        access,
        notes: None,
    })
}

/// Clients that know of clusters split such a command by node, and add up what the parts give.
const SUM_OF_SHARDS: &[&str] = &["request_policy:multi_shard", "response_policy:agg_sum"];
