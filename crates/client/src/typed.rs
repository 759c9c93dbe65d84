//! This file answers: how do values of a Rust type become bytes, and bytes values?
//!
//! MessagePack with named fields: a field added with `#[serde(default)]` reads what was written before it was there.

use std::marker::PhantomData;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::Client;
use crate::error::Error;

/// A [`Client`] whose values are of type `V`. Made by [`Client::typed`].
#[derive(Debug)]
pub struct Typed<V> {
    client: Client,
    values: PhantomData<fn() -> V>,
}

impl<V> Typed<V> {
    pub(crate) fn new(client: Client) -> Typed<V> {
        Typed {
            client,
            values: PhantomData,
        }
    }
}

impl<V> Clone for Typed<V> {
    fn clone(&self) -> Typed<V> {
        Typed::new(self.client.clone())
    }
}

impl<V: Serialize + DeserializeOwned> Typed<V> {
    /// As [`Client::put`].
    pub async fn put(&self, key: impl AsRef<[u8]>, value: &V) -> Result<(), Error> {
        self.client.put(key, encode(value)?).await
    }

    /// As [`Client::get`]; bytes that are no `V` are an [`Error::Value`].
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<V>, Error> {
        let got = self.client.get(key).await?;
        got.map(|bytes| decode(&bytes)).transpose()
    }

    /// As [`Client::delete`].
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<(), Error> {
        self.client.delete(key).await
    }
}

/// The bytes of a value, for the calls that take options.
pub fn encode<V: Serialize>(value: &V) -> Result<Bytes, Error> {
    let bytes = rmp_serde::to_vec_named(value).map_err(|error| Error::Value(error.to_string()))?;
    Ok(bytes.into())
}

/// The value of bytes that [`encode`] made.
pub fn decode<V: DeserializeOwned>(bytes: &[u8]) -> Result<V, Error> {
    rmp_serde::from_slice(bytes).map_err(|error| Error::Value(error.to_string()))
}
