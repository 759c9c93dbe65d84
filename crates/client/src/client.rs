//! This file answers: what can be done with a cluster?

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rkv_wire::MAX_BODY;
use rkv_wire::request::{Reply, Request};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use crate::builder::Builder;
use crate::error::Error;
use crate::operation::Operation;
use crate::outcome::{Outcome, ReadOptions, WriteOptions};
use crate::retry::RetryPolicy;
use crate::scout::Shared;
use crate::service::Service;
use crate::typed::Typed;

/// A cluster, as its user sees it. Cheap to clone; all clones share one connection a node. Every method takes `&self`, so
/// one client serves any number of tasks.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
    keyspace: Option<Arc<str>>,
}

pub(crate) struct Inner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) retry: Arc<dyn RetryPolicy>,
    pub(crate) in_flight: Semaphore,
    pub(crate) timeout: Duration,
    pub(crate) scout: AbortHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.scout.abort();
    }
}

impl Client {
    /// Begins a client.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn new(inner: Inner) -> Client {
        Client {
            inner: Arc::new(inner),
            keyspace: None,
        }
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.inner.shared
    }

    /// The same cluster, another set of keys. A keyspace that is not there is told by the first operation.
    pub fn keyspace(&self, name: &str) -> Client {
        Client {
            inner: self.inner.clone(),
            keyspace: Some(name.into()),
        }
    }

    /// The same calls, which also tell who answered.
    pub fn service(&self) -> Service {
        Service::new(self.clone())
    }

    /// The same keys with values of type `V`, as MessagePack.
    pub fn typed<V>(&self) -> Typed<V> {
        Typed::new(self.clone())
    }

    /// Writes `value` to a majority of the key's replicas.
    pub async fn put(&self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Result<(), Error> {
        let put = self.put_with(key, value, &WriteOptions::default()).await;
        put.map(drop)
    }

    /// Reads from a majority of the key's replicas; `None` when there is nothing.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, Error> {
        let got = self.get_with(key, &ReadOptions::default()).await;
        got.map(|got| got.value)
    }

    /// Deletes from a majority of the key's replicas. That there was nothing is no error.
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<(), Error> {
        let deleted = self.delete_with(key, &WriteOptions::default()).await;
        deleted.map(drop)
    }

    /// Sends `value` through the ring to the `ping` service, which adds one.
    pub async fn ping(&self, value: i64) -> Result<i64, Error> {
        self.service().ping(value).await.map(|(pong, ..)| pong)
    }

    /// Writes to the first `n` of the key's replicas and waits for `w` of them.
    ///
    /// Fewer than `w` is an [`Error::QuorumNotMet`] with the same list, and
    /// [`was_maybe_applied`](Error::was_maybe_applied) tells whether some replica may hold the value all the same.
    pub async fn put_quorum(
        &self,
        key: impl AsRef<[u8]>,
        value: impl Into<Bytes>,
        n: u32,
        w: u32,
        timeout: Duration,
    ) -> Result<Outcome, Error> {
        let options = WriteOptions::default().n(n).w(w).timeout(timeout);
        self.put_with(key, value, &options).await
    }

    /// Reads from the first `n` of the key's replicas and waits for `r` of them. With r + w > n a read sees every
    /// acknowledged write.
    pub async fn get_quorum(
        &self,
        key: impl AsRef<[u8]>,
        n: u32,
        r: u32,
        timeout: Duration,
    ) -> Result<Outcome<Option<Bytes>>, Error> {
        let options = ReadOptions::default().n(n).r(r).timeout(timeout);
        self.get_with(key, &options).await
    }

    /// Deletes from the first `n` of the key's replicas and waits for `w` of them.
    pub async fn delete_quorum(
        &self,
        key: impl AsRef<[u8]>,
        n: u32,
        w: u32,
        timeout: Duration,
    ) -> Result<Outcome, Error> {
        let options = WriteOptions::default().n(n).w(w).timeout(timeout);
        self.delete_with(key, &options).await
    }

    /// Writes, with all that can be asked for.
    pub async fn put_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl Into<Bytes>,
        options: &WriteOptions,
    ) -> Result<Outcome, Error> {
        let (key, value) = (Bytes::copy_from_slice(key.as_ref()), value.into());
        if value.len() > MAX_BODY {
            let message = format!("a value has at most {MAX_BODY} bytes, not {}", value.len());
            return Err(Error::invalid("value_too_large", message));
        }
        let ttl_ms = options.ttl.map(|ttl| ttl.as_millis() as u64);
        if ttl_ms == Some(0) {
            let message = "a time to live is at least 1 ms; to end a value now, delete it";
            return Err(Error::invalid("bad_ttl", message));
        }
        let request = Request::Put {
            keyspace: self.space(),
            key: key.clone(),
            ttl_ms,
            n: options.n,
            w: options.w,
            pw: options.pw,
        };
        self.write("put", key, request, value, options).await
    }

    /// Deletes, with all that can be asked for.
    pub async fn delete_with(
        &self,
        key: impl AsRef<[u8]>,
        options: &WriteOptions,
    ) -> Result<Outcome, Error> {
        let key = Bytes::copy_from_slice(key.as_ref());
        let request = Request::Delete {
            keyspace: self.space(),
            key: key.clone(),
            n: options.n,
            w: options.w,
            pw: options.pw,
        };
        self.write("delete", key, request, Bytes::new(), options)
            .await
    }

    /// Reads, with all that can be asked for.
    pub async fn get_with(
        &self,
        key: impl AsRef<[u8]>,
        options: &ReadOptions,
    ) -> Result<Outcome<Option<Bytes>>, Error> {
        let key = Bytes::copy_from_slice(key.as_ref());
        let request = Request::Get {
            keyspace: self.space(),
            key: key.clone(),
            n: options.n,
            r: options.r,
            pr: options.pr,
        };
        let operation = Operation {
            name: "get",
            key,
            request,
            value: Bytes::new(),
            is_repeatable: true,
            timeout: self.within(options.timeout)?,
        };
        match self.run(operation).await? {
            (
                Reply::Got {
                    found, replicas, ..
                },
                body,
            ) => Ok(Outcome::finished(found.then_some(body), replicas)),
            _ => Err(another_answer()),
        }
    }

    async fn write(
        &self,
        name: &'static str,
        key: Bytes,
        request: Request,
        value: Bytes,
        options: &WriteOptions,
    ) -> Result<Outcome, Error> {
        let operation = Operation {
            name,
            key,
            request,
            value,
            is_repeatable: false,
            timeout: self.within(options.timeout)?,
        };
        match self.run(operation).await? {
            (Reply::Written { replicas, .. }, _) => Ok(Outcome::finished((), replicas)),
            _ => Err(another_answer()),
        }
    }

    fn space(&self) -> Option<String> {
        self.keyspace.as_deref().map(str::to_owned)
    }

    /// The time that an operation has.
    pub(crate) fn within(&self, asked: Option<Duration>) -> Result<Duration, Error> {
        let timeout = asked.unwrap_or(self.inner.timeout);
        // Beyond this a deadline cannot be told to a node.
        let most = Duration::from_millis(u64::from(u32::MAX));
        match timeout.as_millis() {
            0 => Err(Error::invalid("bad_timeout", "a timeout is at least 1 ms")),
            _ => Ok(timeout.min(most)),
        }
    }
}

pub(crate) fn another_answer() -> Error {
    Error::Protocol("an answer to another question".to_owned())
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("seeds", &self.shared().seeds)
            .field("keyspace", &self.keyspace)
            .finish_non_exhaustive()
    }
}
