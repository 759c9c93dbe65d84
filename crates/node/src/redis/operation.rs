//! This file answers: what does a command ask of one key, and how is that begun?

use std::sync::Arc;

use bytes::Bytes;
use rkv_kv::Write;
use rkv_quorum::policy::{GetOptions, PutOptions};
use rkv_resp::slot::SlotKeys;

use super::inbox::Promise;
use super::lanes::Access;
use super::server::Server;
use super::{keyspace, own, strings};

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
            Ask::Get | Ask::Exists | Ask::OwnGet(_) | Ask::Replicas => Access::Read,
            Ask::Size | Ask::RandomKey | Ask::SlotKeys(_) => Access::Read,
            Ask::Set(_) | Ask::Delete | Ask::OwnWrite(..) | Ask::Flush => Access::Write,
        }
    }

    /// Begins it; the promise is kept once, perhaps before this returns.
    pub(super) fn begin(self, server: &Arc<Server>, promise: Promise) {
        let (key, server) = (self.key, server.clone());
        match self.ask {
            Ask::Get => strings::get(server, &key, promise),
            Ask::Set(write) => strings::set(&server, &key, write, promise),
            Ask::Delete => strings::delete(server, key, promise),
            Ask::Exists => strings::exists(server, &key, promise),
            Ask::OwnWrite(write, options) => own::write(&server, &key, write, &options, promise),
            Ask::OwnGet(options) => own::get(server, &key, &options, promise),
            Ask::Replicas => own::replicas(&server, &key, promise),
            Ask::Flush => keyspace::flush(&server, promise),
            Ask::Size => keyspace::size(&server, promise),
            Ask::RandomKey => keyspace::random_key(&server, promise),
            Ask::SlotKeys(asked) => keyspace::keys_in_slot(&server, asked, promise),
        }
    }
}
