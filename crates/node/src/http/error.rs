//! This file answers: what does a caller read when it did not work?
//!
//! One document for every error. Its kind decides the HTTP status here and the exit code at the command line.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rkv_kv::KvError;
use rkv_quorum::outcome::Replicas;
use rkv_ring::Refusal;
use serde::Serialize;

/// An error on its way out.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ApiError {
    status: StatusCode,
    document: Box<Inner>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Document<'a> {
    error: &'a Inner,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Inner {
    kind: &'static str,
    reason: &'static str,
    message: String,
    maybe_applied: bool,
    replicas: Replicas,
}

fn status(kind: &str) -> StatusCode {
    match kind {
        "usage" => StatusCode::BAD_REQUEST,
        "refused" | "no_replicas" => StatusCode::CONFLICT,
        "busy" | "quorum_not_met" => StatusCode::SERVICE_UNAVAILABLE,
        "timeout" => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl ApiError {
    fn new(kind: &'static str, reason: &'static str, message: impl Into<String>) -> ApiError {
        ApiError {
            status: status(kind),
            document: Box::new(Inner {
                kind,
                reason,
                message: message.into(),
                maybe_applied: false,
                replicas: Replicas::new(),
            }),
        }
    }

    /// The request makes no sense, whatever the cluster's state.
    pub(super) fn usage(reason: &'static str, message: impl Into<String>) -> ApiError {
        ApiError::new("usage", reason, message)
    }

    /// Not in this state.
    pub(super) fn refused(reason: &'static str, message: impl Into<String>) -> ApiError {
        ApiError::new("refused", reason, message)
    }

    /// Nothing was done; to be tried again as it is.
    pub(super) fn again(reason: &'static str, message: impl Into<String>) -> ApiError {
        ApiError::new("busy", reason, message)
    }

    /// Nobody who could answer is up.
    pub(super) fn no_replicas(reason: &'static str, message: impl Into<String>) -> ApiError {
        ApiError::new("no_replicas", reason, message)
    }

    /// No answer in time.
    pub(super) fn timeout(message: impl Into<String>, maybe_applied: bool) -> ApiError {
        let mut error = ApiError::new("timeout", "timeout", message);
        error.document.maybe_applied = maybe_applied;
        error
    }

    /// Nobody's fault but this program's.
    pub(super) fn internal(reason: &'static str, message: impl Into<String>) -> ApiError {
        ApiError::new("internal", reason, message)
    }

    /// No token, or another one.
    pub(super) fn unauthorized() -> ApiError {
        let message =
            "this node asks for a token: give `http.token` as `--token-file` or RKV_TOKEN";
        ApiError {
            status: StatusCode::UNAUTHORIZED,
            ..ApiError::refused("token", message)
        }
    }

    /// A browser came from somebody else's page.
    pub(super) fn foreign_origin() -> ApiError {
        let message = "pages of other origins may not call this node";
        ApiError {
            status: StatusCode::FORBIDDEN,
            ..ApiError::refused("foreign_origin", message)
        }
    }

    /// There is nothing there.
    pub(super) fn unknown_path() -> ApiError {
        let message = "there is no such path: /health/live, /health/ready, /health/cluster and /v1 are served";
        ApiError {
            status: StatusCode::NOT_FOUND,
            ..ApiError::usage("unknown_path", message)
        }
    }

    /// There is something, to be asked otherwise.
    pub(super) fn wrong_method() -> ApiError {
        let message = "this path wants another method: GET to look, POST to act";
        ApiError {
            status: StatusCode::METHOD_NOT_ALLOWED,
            ..ApiError::usage("wrong_method", message)
        }
    }
}

impl From<KvError> for ApiError {
    fn from(error: KvError) -> ApiError {
        let message = match &error {
            // Its text begins with a word for Redis clients; the kind says the same here.
            KvError::Quorum(error) => error.message.clone(),
            other => other.to_string(),
        };
        let mut shown = ApiError::new(error.kind(), error.reason(), message);
        shown.document.maybe_applied = error.was_maybe_applied();
        shown.document.replicas = error.replicas();
        shown
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> ApiError {
        let mut error = ApiError::refused(refusal.word(), refusal.message());
        // The one refusal after which something may yet come of it.
        error.document.maybe_applied = refusal == Refusal::NoMajority;
        error
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let document = Json(Document {
            error: &self.document,
        });
        let mut response = (self.status, document).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, bearer);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use rkv_quorum::outcome::{ErrorKind, QuorumError};

    use super::*;

    fn quorum(kind: ErrorKind, maybe_applied: bool) -> ApiError {
        ApiError::from(KvError::from(QuorumError {
            kind,
            needed: 2,
            got: 1,
            maybe_applied,
            replicas: Replicas::new(),
            message: "1 of 2 answered".to_owned(),
        }))
    }

    /// Lost without it: a script would take "may have been applied" for a failure, or a refusal for a breakdown.
    #[test]
    fn kinds_decide_the_status() {
        let node = rkv_ring::NodeName::from("node2");
        for (error, code, kind, reason, maybe) in [
            (
                KvError::Key { length: 0, most: 9 }.into(),
                400,
                "usage",
                "bad_key",
                false,
            ),
            (
                KvError::NotServing.into(),
                409,
                "refused",
                "not_member",
                false,
            ),
            (
                quorum(ErrorKind::NoQuorum, false),
                409,
                "no_replicas",
                "no_quorum",
                false,
            ),
            (quorum(ErrorKind::Busy, false), 503, "busy", "busy", false),
            (
                quorum(ErrorKind::QuorumNotMet, true),
                503,
                "quorum_not_met",
                "too_many_failures",
                true,
            ),
            (
                quorum(ErrorKind::Timeout, true),
                504,
                "timeout",
                "timeout",
                true,
            ),
            (
                Refusal::NotMember { node }.into(),
                409,
                "refused",
                "not_member",
                false,
            ),
            (
                Refusal::NoMajority.into(),
                409,
                "refused",
                "no_majority",
                true,
            ),
            (ApiError::unauthorized(), 401, "refused", "token", false),
            (
                ApiError::internal("stopping", "x"),
                500,
                "internal",
                "stopping",
                false,
            ),
        ] {
            let ApiError { status, document } = &error;
            let shown = (
                status.as_u16(),
                document.kind,
                document.reason,
                document.maybe_applied,
            );
            assert_eq!(shown, (code, kind, reason, maybe));
        }
        let error = quorum(ErrorKind::Timeout, true);
        let text = serde_json::to_string(&Document {
            error: &error.document,
        })
        .unwrap();
        assert_eq!(
            text,
            r#"{"error":{"kind":"timeout","reason":"timeout","message":"1 of 2 answered","maybe_applied":true,"replicas":[]}}"#
        );
    }
}
