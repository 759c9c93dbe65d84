//! This file answers: what does the node tell of itself, other than INFO?
//!
//! ROLE, SLOWLOG, LATENCY, ACL and their like; [`super::cluster`] has CLUSTER.

use bytes::Bytes;
use rkv_resp::node::{AboutNode, unknown_category};
use rkv_resp::{Protocol, Reply, command, describe};

use super::client::Client;
use super::server::Server;
use super::{cluster, credentials};

/// The answer to a question about the node.
pub(super) fn answer(
    server: &Server,
    client: &Client,
    question: &AboutNode,
    protocol: Protocol,
) -> Reply {
    match question {
        AboutNode::Role => {
            let role = Reply::bulk("master");
            Reply::Array(vec![role, Reply::Integer(0), Reply::EMPTY])
        }
        AboutNode::LolWut => {
            Reply::Verbatim(concat!("rkv ver. ", env!("CARGO_PKG_VERSION"), "\n").into())
        }
        AboutNode::MemoryDoctor => Reply::Verbatim(
            "INFO memory tells what this node takes, and 'rkv status' what each member holds: the allocator keeps no \
             statistics to look into.\n"
                .into(),
        ),
        AboutNode::SlowLogGet(count) => server.slow_log.get(*count),
        AboutNode::SlowLogLen => {
            Reply::Integer(i64::try_from(server.slow_log.len()).unwrap_or(i64::MAX))
        }
        AboutNode::SlowLogReset => {
            server.slow_log.reset();
            Reply::OK
        }
        AboutNode::Nothing => Reply::EMPTY,
        AboutNode::NothingForgotten => Reply::Integer(0),
        AboutNode::AclWhoAmI => Reply::bulk(client.shown.lock().user.clone()),
        AboutNode::AclList => Reply::bulks(server.config.user_names().map(|name| {
            let password = match server.config.needs_auth() {
                true => "",
                false => "nopass ",
            };
            format!("user {name} on {password}~* &* +@all")
        })),
        AboutNode::AclUsers => Reply::bulks(server.config.user_names().map(str::to_owned)),
        AboutNode::AclCat(None) => Reply::bulks(describe::categories()),
        AboutNode::AclCat(Some(category)) => commands_of(category),
        about_ring => cluster::answer(server, about_ring, protocol).unwrap_or(Reply::Null),
    }
}

fn commands_of(category: &Bytes) -> Reply {
    let is_it = |known: &&str| {
        let known = known.trim_start_matches('@');
        category.eq_ignore_ascii_case(known.as_bytes())
    };
    if !describe::categories().iter().any(is_it) {
        return unknown_category(category).into();
    }
    let specs = command::all().filter(|spec| spec.categories.iter().any(is_it));
    Reply::bulks(specs.map(|spec| spec.text))
}

/// Whether there is a user of this name.
pub(super) fn is_user(server: &Server, name: &[u8]) -> bool {
    let mut names = server.config.user_names();
    name == credentials::DEFAULT_USER.as_bytes() || names.any(|known| known.as_bytes() == name)
}
