//! This file answers: what does a command ask of one key, and how is that begun?

use std::sync::Arc;

use bytes::Bytes;
use rkv_kv::{Ending, Write};
use rkv_quorum::policy::{GetOptions, PutOptions};
use rkv_resp::CommandError;
use rkv_resp::look::Look;
use rkv_resp::slot::SlotKeys;
use rkv_resp::typed::AboutKey;

use super::inbox::Promise;
use super::lanes::Access;
use super::server::Server;
use super::{about_key, expire, keyspace, look, own, strings, wait};

/// One key's part of a request. Key and value are slices of the receive buffer; the store copies what it keeps.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) key: Bytes,
    pub(super) ask: Ask,
}

/// What is asked of it.
#[derive(Debug)]
pub(super) enum Ask {
    /// GET
    Get,
    /// SET
    Set(Write),
    /// One key of MGET.
    GetPart,
    /// One key of MSET.
    SetPart(Write),
    /// STRLEN, TYPE, GETRANGE, TTL and its kin.
    Look(Look),
    /// EXPIRE and its kin, PERSIST.
    End(Ending),
    /// GETEX that changes the deadline.
    GetAndEnd(Ending),
    /// GETEX with a time that is none.
    RefuseIfThere(CommandError),
    /// One key of DEL.
    Delete,
    /// One key of EXISTS.
    Exists,
    /// RKV.PUT and RKV.DELETE
    OwnWrite(Write, PutOptions),
    /// RKV.GET
    OwnGet(GetOptions),
    /// RKV.REPLICAS
    Replicas,
    /// OBJECT, MEMORY USAGE
    About(AboutKey),
    /// WAIT, of the key written last: for so many nodes, within so many ms.
    Wait(i64, u64),
    /// FLUSHALL and FLUSHDB; like those that follow of no key, and alone on its connection.
    Flush,
    /// DBSIZE
    Size,
    /// RANDOMKEY
    RandomKey,
    /// CLUSTER COUNTKEYSINSLOT and GETKEYSINSLOT
    SlotKeys(SlotKeys),
}

impl Operation {
    pub(super) fn access(&self) -> Access {
        match self.ask {
            Ask::Get
            | Ask::GetPart
            | Ask::Look(_)
            | Ask::RefuseIfThere(_)
            | Ask::Exists
            | Ask::OwnGet(_)
            | Ask::Replicas
            | Ask::About(_)
            | Ask::Wait(..)
            | Ask::Size
            | Ask::RandomKey
            | Ask::SlotKeys(_) => Access::Read,
            Ask::Set(_)
            | Ask::SetPart(_)
            | Ask::End(_)
            | Ask::GetAndEnd(_)
            | Ask::Delete
            | Ask::OwnWrite(..)
            | Ask::Flush => Access::Write,
        }
    }

    /// Begins it; the promise is kept once, perhaps before this returns.
    pub(super) fn begin(self, server: &Arc<Server>, promise: Promise) {
        let (key, server) = (self.key, server.clone());
        match self.ask {
            Ask::Get => strings::get(server, &key, promise),
            Ask::Set(write) => strings::set(&server, &key, write, promise),
            Ask::GetPart => strings::get_part(server, &key, promise),
            Ask::SetPart(write) => strings::set_part(&server, &key, write, promise),
            Ask::Look(asked) => look::look(server, &key, asked, promise),
            Ask::End(ending) => expire::end(&server, &key, ending, promise),
            Ask::GetAndEnd(ending) => expire::get_and_end(&server, &key, ending, promise),
            Ask::RefuseIfThere(error) => expire::refuse_if_there(&server, &key, error, promise),
            Ask::Delete => strings::delete(server, key, promise),
            Ask::Exists => strings::exists(server, &key, promise),
            Ask::OwnWrite(write, options) => own::write(&server, &key, write, &options, promise),
            Ask::OwnGet(options) => own::get(server, &key, &options, promise),
            Ask::Replicas => own::replicas(&server, &key, promise),
            Ask::About(question) => about_key::ask(server, &key, question, promise),
            Ask::Wait(nodes, timeout_ms) => wait::begin(server, key, nodes, timeout_ms, promise),
            Ask::Flush => keyspace::flush(&server, promise),
            Ask::Size => keyspace::size(&server, promise),
            Ask::RandomKey => keyspace::random_key(&server, promise),
            Ask::SlotKeys(asked) => keyspace::keys_in_slot(&server, asked, promise),
        }
    }
}
