//! This file answers: who may call?
//!
//! Whoever bears `http.token`, if one is set. A browser that runs somebody else's page may not, token or none: a listener
//! on loopback is within reach of every page that its user opens.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use subtle::ConstantTimeEq;

use super::Http;
use super::error::ApiError;

/// Lets a request through, or answers it.
pub(super) async fn check(
    State(http): State<Arc<Http>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    may_pass(http.token.as_deref(), request.headers())?;
    Ok(next.run(request).await)
}

fn may_pass(token: Option<&str>, headers: &HeaderMap) -> Result<(), ApiError> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if headers.contains_key(header::ORIGIN) {
        let origin = text(header::ORIGIN).and_then(|origin| origin.split_once("://"));
        if origin.map(|(_, host)| host) != text(header::HOST) {
            return Err(ApiError::foreign_origin());
        }
    }
    let Some(token) = token else {
        return Ok(());
    };
    let given = text(header::AUTHORIZATION).and_then(|value| {
        let (scheme, given) = value.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then_some(given.trim())
    });
    match given {
        Some(given) if bool::from(given.as_bytes().ct_eq(token.as_bytes())) => Ok(()),
        _ => Err(ApiError::unauthorized()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(token: Option<&str>, headers: &[(&str, &str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: header::HeaderName = name.parse().unwrap();
            map.insert(name, value.parse().unwrap());
        }
        may_pass(token, &map).is_ok()
    }

    /// Lost without it: anyone who reaches the port could change the cluster.
    #[test]
    fn only_the_token_opens() {
        let secret = Some("secret");
        assert!(passes(None, &[]));
        assert!(passes(secret, &[("authorization", "Bearer secret")]));
        assert!(passes(secret, &[("authorization", "bearer secret")]));
        for other in [
            "Bearer secre",
            "Bearer secrets",
            "Bearer ",
            "secret",
            "Basic secret",
            "",
        ] {
            assert!(!passes(secret, &[("authorization", other)]), "{other}");
        }
        assert!(!passes(secret, &[]));
    }

    /// Lost without it: a page in the operator's browser could write to a node on loopback that has no token.
    #[test]
    fn foreign_pages_stay_out() {
        let host = ("host", "127.0.0.1:8098");
        assert!(passes(None, &[host]));
        assert!(passes(None, &[host, ("origin", "http://127.0.0.1:8098")]));
        for origin in ["http://evil.example", "null", "http://127.0.0.1:80"] {
            assert!(!passes(None, &[host, ("origin", origin)]), "{origin}");
        }
    }
}
