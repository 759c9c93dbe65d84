//! This file answers: what does a request say?
//!
//! A body is JSON whatever its content type says, and nothing at all is `{}`. What cannot be read is answered with the
//! same error document as everything else.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::error::ApiError;

/// A body.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Body<T>, ApiError> {
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|error| ApiError::usage("bad_body", error.body_text()))?;
        parse(&bytes).map(Body)
    }
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
