//! This file answers: what is known of a connection's client, and how are the commands about it answered?
//!
//! Whatever does not ask for a key is answered here, at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rkv_resp::describe;
use rkv_resp::frame::detach;
use rkv_resp::kill::Kill;
use rkv_resp::node::unknown_user;
use rkv_resp::typed::{ClientFilter, Credentials, Hello, ReplyMode};
use rkv_resp::{Command, CommandError, Limits, Protocol, Reply, Request};

use super::client::{Client, Shown};
use super::info::{self, REDIS_VERSION};
use super::server::Server;
use super::slots::Manner;
use super::{about_node, settings};

/// What a client may say of itself in each field of CLIENT LIST.
const SHOWN_BYTES: usize = 1024;

/// One client.
pub(super) struct Session {
    server: Arc<Server>,
    client: Arc<Client>,
    protocol: Protocol,
    is_authenticated: bool,
    /// CLIENT REPLY OFF.
    is_silent: bool,
    /// CLIENT REPLY SKIP: the next reply is not sent.
    skips_next: bool,
    /// It ended itself, by QUIT or CLIENT KILL.
    is_over: bool,
}

impl Session {
    pub(super) fn new(server: Arc<Server>, client: Arc<Client>) -> Session {
        Session {
            is_authenticated: !server.config.needs_auth(),
            server,
            client,
            protocol: Protocol::Resp2,
            is_silent: false,
            skips_next: false,
            is_over: false,
        }
    }

    /// Whether the connection ends once its replies have left.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether it may ask for anything.
    pub(super) fn is_authenticated(&self) -> bool {
        self.is_authenticated
    }

    /// What it may send.
    pub(super) fn limits(&self) -> Limits {
        if self.is_authenticated {
            self.server.limits()
        } else {
            Limits::UNAUTHENTICATED
        }
    }

    /// In which manner the reply to the next request is sent; one that is skipped is skipped now.
    pub(super) fn next_manner(&mut self) -> Manner {
        let skips = std::mem::take(&mut self.skips_next);
        Manner {
            protocol: self.protocol,
            is_silent: self.is_silent || skips,
        }
    }

    /// CLIENT REPLY; returns whether its own reply is silent.
    pub(super) fn set_replies(&mut self, mode: ReplyMode) -> bool {
        match mode {
            ReplyMode::On => self.is_silent = false,
            ReplyMode::Off => self.is_silent = true,
            ReplyMode::Skip => self.skips_next = !self.is_silent,
        }
        mode != ReplyMode::On
    }

    /// The reply to a command that asks for no key; afterwards [`Session::protocol`] and [`Session::limits`] may differ.
    pub(super) fn answer(&mut self, command: Command) -> Reply {
        match command {
            Command::Ping(None) => Reply::PONG,
            Command::Ping(Some(text)) | Command::Echo(text) => Reply::Bulk(text),
            Command::Accepted | Command::ClientReply(_) => Reply::OK,
            Command::Quit => {
                self.is_over = true;
                Reply::OK
            }
            Command::Hello(hello) => self.hello(hello).unwrap_or_else(Reply::from),
            Command::Auth(credentials) => match self.prove(&credentials) {
                Ok(()) => Reply::OK,
                Err(error) => error.into(),
            },
            Command::Select(index) => self.select(index),
            Command::Reset => {
                self.reset();
                Reply::simple("RESET")
            }
            Command::Info(sections) => info::info(&self.server, &sections),
            Command::Time => self.time(),
            Command::ConfigGet(patterns) => settings::get(&self.server, &patterns),
            Command::ConfigSet(settings) => settings::set(&self.server, &settings),
            Command::ConfigRewrite => settings::refuse_rewrite(),
            Command::ConfigResetStat => {
                self.server.stats.reset();
                Reply::OK
            }
            Command::CommandTable => describe::table(),
            Command::CommandCount => describe::count(),
            Command::CommandInfo(names) => describe::info(&names),
            Command::CommandDocs(names) => describe::docs(&names),
            Command::CommandList(filter) => describe::list(&filter),
            Command::CommandGetKeys(args) => {
                describe::get_keys(&Request { args }).unwrap_or_else(Reply::from)
            }
            Command::CommandGetKeysAndFlags(args) => {
                describe::get_keys_and_flags(&Request { args }).unwrap_or_else(Reply::from)
            }
            Command::Help(name) => describe::help(name),
            Command::AboutNode(question) => {
                about_node::answer(&self.server, &self.client, &question, self.protocol)
            }
            Command::ClientKill(kill) => self.kill(&kill).unwrap_or_else(Reply::from),
            Command::ClientNoEvict(is_on) => {
                self.client.shown.lock().is_never_evicted = is_on;
                Reply::OK
            }
            Command::ClientNoTouch(is_on) => {
                self.client.shown.lock().touches_nothing = is_on;
                Reply::OK
            }
            Command::ClientId => Reply::Integer(i64::try_from(self.client.id).unwrap_or(i64::MAX)),
            Command::ClientInfo => Reply::Verbatim(self.line(&self.client).into()),
            Command::ClientList(filter) => self.list(&filter),
            Command::ClientGetName => {
                let name = self.client.shown.lock().name.clone();
                if name.is_empty() {
                    Reply::Null
                } else {
                    Reply::Bulk(name)
                }
            }
            Command::ClientSetName(name) => self.show(&name, |shown| &mut shown.name),
            Command::ClientLibraryName(name) => self.show(&name, |shown| &mut shown.library),
            Command::ClientLibraryVersion(version) => {
                self.show(&version, |shown| &mut shown.library_version)
            }
            Command::Get(_)
            | Command::Set { .. }
            | Command::Del(_)
            | Command::Exists(_)
            | Command::MGet(_)
            | Command::MSet(_)
            | Command::GetEx { .. }
            | Command::Look { .. }
            | Command::Expire { .. }
            | Command::Persist(_)
            | Command::RkvPut { .. }
            | Command::RkvGet { .. }
            | Command::RkvDelete { .. }
            | Command::RkvReplicas { .. }
            | Command::RkvPreflist(_)
            | Command::AboutKey { .. }
            | Command::Wait { .. }
            | Command::Flush
            | Command::DbSize
            | Command::RandomKey
            | Command::SlotKeys(_) => Reply::error("ERR this command asks for keys"),
        }
    }

    /// The protocol that the next reply is sent in.
    pub(super) fn protocol(&self) -> Protocol {
        self.protocol
    }

    fn hello(&mut self, hello: Hello) -> Result<Reply, CommandError> {
        if let Some(credentials) = &hello.credentials {
            self.prove(credentials)?;
        }
        if !self.is_authenticated {
            return Err(CommandError::HelloNoAuth);
        }
        if let Some(name) = &hello.name {
            self.show(name, |shown| &mut shown.name);
        }
        if let Some(protocol) = hello.protocol {
            self.protocol = protocol;
            self.client.shown.lock().protocol = protocol;
        }
        let id = i64::try_from(self.client.id).unwrap_or(i64::MAX);
        Ok(Reply::Map(vec![
            (Reply::bulk("server"), Reply::bulk("redis")),
            (Reply::bulk("version"), Reply::bulk(REDIS_VERSION)),
            (Reply::bulk("proto"), Reply::Integer(self.protocol.number())),
            (Reply::bulk("id"), Reply::Integer(id)),
            (Reply::bulk("mode"), Reply::bulk("cluster")),
            (Reply::bulk("role"), Reply::bulk("master")),
            (Reply::bulk("modules"), Reply::EMPTY),
        ]))
    }

    /// A client that fails to prove itself anew stays who it was.
    fn prove(&mut self, credentials: &Credentials) -> Result<(), CommandError> {
        let user = self.server.config.prove(credentials)?;
        self.client.shown.lock().user = user;
        self.is_authenticated = true;
        Ok(())
    }

    fn select(&mut self, index: usize) -> Reply {
        let Some(name) = self.server.config.databases.get(index) else {
            return CommandError::DbIndex.into();
        };
        if let Err(error) = self.server.keyspace(name.as_bytes()) {
            return Reply::error(error.redis_text());
        }
        self.client.shown.lock().database = index;
        Reply::OK
    }

    fn reset(&mut self) {
        self.protocol = Protocol::Resp2;
        self.is_authenticated = !self.server.config.needs_auth();
        self.is_silent = false;
        self.skips_next = false;
        let mut shown = self.client.shown.lock();
        shown.name = Bytes::new();
        shown.user = super::credentials::DEFAULT_USER.to_owned();
        shown.database = 0;
        shown.protocol = Protocol::Resp2;
        shown.is_never_evicted = false;
        shown.touches_nothing = false;
    }

    /// Keeps what a client says of itself for CLIENT LIST, so far as it is no burden.
    fn show(&self, text: &Bytes, field: impl FnOnce(&mut Shown) -> &mut Bytes) -> Reply {
        if text.len() > SHOWN_BYTES {
            return Reply::error(format!("ERR this has at most {SHOWN_BYTES} bytes"));
        }
        *field(&mut self.client.shown.lock()) = detach(text);
        Reply::OK
    }

    fn time(&self) -> Reply {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let since = since.unwrap_or_default();
        Reply::bulks([
            since.as_secs().to_string(),
            since.subsec_micros().to_string(),
        ])
    }

    /// CLIENT KILL: who asks is told before it is ended.
    fn kill(&mut self, kill: &Kill) -> Result<Reply, CommandError> {
        if let Some(user) = &kill.user
            && !about_node::is_user(&self.server, user)
        {
            return Err(unknown_user(user));
        }
        let mut killed = 0;
        for client in self.server.clients() {
            let is_me = client.id == self.client.id;
            if !is_meant(kill, &client, self.server.local) || (is_me && kill.skips_me) {
                continue;
            }
            killed += 1;
            if is_me {
                self.is_over = true;
            } else {
                client.kill();
            }
        }
        match kill.is_by_address {
            false => Ok(Reply::Integer(killed)),
            true if killed > 0 => Ok(Reply::OK),
            true => Err(CommandError::NoSuchClient),
        }
    }

    fn line(&self, client: &Client) -> String {
        client.line(self.server.local) + "\n"
    }

    fn list(&self, filter: &ClientFilter) -> Reply {
        let is_shown = |client: &Arc<Client>| match filter {
            ClientFilter::All => true,
            ClientFilter::Ids(ids) => ids.contains(&client.id),
            ClientFilter::None => false,
        };
        let mut clients = self.server.clients();
        clients.retain(is_shown);
        let lines: String = clients.iter().map(|client| self.line(client)).collect();
        Reply::Verbatim(lines.into())
    }
}

/// Whether a connection is one that CLIENT KILL is to end.
fn is_meant(kill: &Kill, client: &Client, local: SocketAddr) -> bool {
    let is = |wanted: &Option<Bytes>, has: &str| {
        let wanted = wanted.as_ref();
        wanted.is_none_or(|wanted| wanted == has.as_bytes())
    };
    !kill.is_of_absent_kind
        && kill.id.is_none_or(|id| id == client.id)
        && is(&kill.address, &client.addr.to_string())
        && is(&kill.local_address, &local.to_string())
        && is(&kill.user, &client.shown.lock().user)
}
