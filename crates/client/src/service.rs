//! This file answers: which node answered, and as which partition's vnode?

use bytes::Bytes;
use rkv_quorum::outcome::{ReplicaResult, ResultWord};
use rkv_ring::{NodeName, Partition};
use rkv_wire::request::{Reply, Request};

use crate::client::{Client, another_answer};
use crate::error::Error;
use crate::operation::Operation;
use crate::outcome::{Outcome, ReadOptions, WriteOptions};

/// A result, the node of the first replica that gave it, and its partition.
pub type Located<T> = (T, NodeName, Partition);

/// A [`Client`] that tells who answered. Made by [`Client::service`].
#[derive(Debug, Clone)]
pub struct Service {
    client: Client,
}

impl Service {
    pub(crate) fn new(client: Client) -> Service {
        Service { client }
    }

    /// As [`Client::put`].
    pub async fn put(
        &self,
        key: impl AsRef<[u8]>,
        value: impl Into<Bytes>,
    ) -> Result<Located<()>, Error> {
        let options = WriteOptions::default();
        located(self.client.put_with(key, value, &options).await?)
    }

    /// As [`Client::get`].
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Located<Option<Bytes>>, Error> {
        located(self.client.get_with(key, &ReadOptions::default()).await?)
    }

    /// As [`Client::delete`].
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<Located<()>, Error> {
        located(
            self.client
                .delete_with(key, &WriteOptions::default())
                .await?,
        )
    }

    /// As [`Client::ping`].
    pub async fn ping(&self, value: i64) -> Result<Located<i64>, Error> {
        let key = Bytes::from(format!("ping{value}"));
        let request = Request::Custom {
            service: "ping".to_owned(),
            key: key.clone(),
            command: Bytes::from(value.to_string()),
        };
        let operation = Operation {
            name: "ping",
            key,
            request,
            value: Bytes::new(),
            is_repeatable: true,
            timeout: self.client.within(None)?,
        };
        let (
            Reply::Custom {
                node,
                partition,
                answer,
            },
            _,
        ) = self.client.run(operation).await?
        else {
            return Err(another_answer());
        };
        let text = std::str::from_utf8(&answer).ok();
        let pong = text.and_then(|text| text.parse().ok());
        let pong = pong.ok_or_else(|| Error::Protocol(format!("{node} answered no number")))?;
        Ok((pong, node, partition))
    }
}

fn located<V>(outcome: Outcome<V>) -> Result<Located<V>, Error> {
    let Outcome { value, result, .. } = outcome;
    let has_answered =
        |replica: &&ReplicaResult| matches!(replica.result, ResultWord::Ok | ResultWord::NotFound);
    let first = result.iter().find(has_answered).or(result.first());
    let first = first.ok_or_else(|| Error::Protocol("an outcome of no replica".to_owned()))?;
    Ok((value, first.node.clone(), first.partition))
}
