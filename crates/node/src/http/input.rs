//! This file answers: what does a request say?
//!
//! A body is JSON whatever its content type says, and nothing at all is `{}`. What cannot be read is answered with the
//! same error document as everything else.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use bytes::BytesMut;
use futures::StreamExt as _;
use serde::de::DeserializeOwned;

use super::Http;
use super::error::ApiError;

/// How much of a body that is too large is read and forgotten: a client that still sends does not hear an answer.
const FORGOTTEN_BYTES: usize = 64 << 20;

/// A body.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Arc<Http>> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, http: &Arc<Http>) -> Result<Body<T>, ApiError> {
        let within = http.patience.body;
        let read = tokio::time::timeout(within, read(request, http.body_bytes()));
        let late = |_| {
            let text = format!("the body did not come within {} s", within.as_secs_f64());
            ApiError::usage("slow_body", text)
        };
        parse(&read.await.map_err(late)??).map(Body)
    }
}

async fn read(request: Request, most: usize) -> Result<BytesMut, ApiError> {
    let mut body = request.into_body().into_data_stream();
    let (mut kept, mut read) = (BytesMut::new(), 0);
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| {
            ApiError::usage("bad_body", format!("the body cannot be read: {error}"))
        })?;
        read += chunk.len();
        if read <= most {
            kept.extend_from_slice(&chunk);
        } else if read > most + FORGOTTEN_BYTES {
            break;
        } else {
            kept.clear();
        }
    }
    if read > most {
        let text = format!("the body has more than {most} bytes; see limits.value_bytes");
        return Err(ApiError::usage("bad_body", text));
    }
    Ok(kept)
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let bytes = if bytes.is_empty() { b"{}" } else { bytes };
    serde_json::from_slice(bytes)
        .map_err(|error| ApiError::usage("bad_body", format!("the body cannot be read: {error}")))
}

/// What stands behind the `?`.
pub(super) struct Params<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Params<T>, ApiError> {
        let Query(params) = Query::try_from_uri(&parts.uri)
            .map_err(|error| ApiError::usage("bad_parameter", error.body_text()))?;
        Ok(Params(params))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Commit {
        plan: Option<String>,
    }

    /// Lost without it: a misspelt field would be taken for one that is not there, and a commit go through unchecked.
    #[test]
    fn nothing_is_an_empty_request_and_a_misspelt_one_is_refused() {
        assert_eq!(parse::<Commit>(b""), Ok(Commit { plan: None }));
        let plan = Some("ab".to_owned());
        assert_eq!(parse::<Commit>(br#"{"plan":"ab"}"#), Ok(Commit { plan }));
        for bad in [&br#"{"plam":"ab"}"#[..], b"plan=ab", b"{", b"[]x"] {
            assert!(parse::<Commit>(bad).is_err());
        }
    }
}
