//! Every error that a client can get: the one table of statuses, types and codes.

use std::{num::NonZeroU32, time::Duration};

use axum::response::{IntoResponse, Response};
use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use proto::agent::v1::{Failed, FailureCode};
use schemars::JsonSchema;
use serde::Serialize;
use shared::transport::is_broken;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::kept::is_run_id;

/// An error as the client gets it: an HTTP answer, or a frame of a stream that has begun.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ApiError {
    status: StatusCode,
    kind: &'static str,
    code: &'static str,
    message: String,
    param: Option<String>,
    retry_after: Option<Duration>,
    /// Whether OpenAI's clients, which repeat what failed with such a status, must not.
    is_final: bool,
}

/// An error as it is written.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Error")]
pub(crate) struct ErrorBody<'a> {
    error: Details<'a>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ErrorDetails")]
struct Details<'a> {
    message: &'a str,
    r#type: &'static str,
    param: Option<&'a str>,
    code: &'static str,
}

/// How much of what a request says an error repeats.
const MAX_PARAM_BYTES: usize = 256;
const MAX_MESSAGE_BYTES: usize = 1024;
const INVALID_REQUEST: &str = "invalid_request_error";
const RATE_LIMIT: &str = "rate_limit_error";
const API: &str = "api_error";
/// What a client is told to wait when nobody knows better.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, code, message: message.into(), param: None, retry_after: None, is_final: false }
    }

    fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    pub(crate) fn unauthenticated() -> Self {
        let message = "missing or wrong secret; send `Authorization: Bearer <token>`";
        Self::new(StatusCode::UNAUTHORIZED, "authentication_error", "invalid_api_key", message)
    }

    /// In front of a gateway that leaves logging in to a proxy.
    pub(crate) fn not_by_proxy(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "authentication_error", "invalid_api_key", message)
    }

    /// `param` is where it was asked for.
    pub(crate) fn forbidden(message: impl Into<String>, param: &str) -> Self {
        let error = Self::new(StatusCode::FORBIDDEN, "permission_error", "forbidden", message);
        Self { param: Some(param.to_owned()), ..error }
    }

    pub(crate) fn not_found(path: &str) -> Self {
        let message =
            format!("there is nothing at {path}; see POST /v1/chat/completions, GET /v1/models and GET /v1/sessions");
        Self::new(StatusCode::NOT_FOUND, INVALID_REQUEST, "not_found", message)
    }

    /// An id that no run could have may be long, or hold anything, and is not repeated.
    pub(crate) fn run_not_found(run_id: &str) -> Self {
        let run = if is_run_id(run_id) { format!("run `{run_id}`") } else { "such run".to_owned() };
        let message = format!("there is no {run}, or nothing is kept of it");
        Self::new(StatusCode::NOT_FOUND, INVALID_REQUEST, "not_found", message)
    }

    fn session_not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, INVALID_REQUEST, "not_found", "no session has this key")
    }

    pub(crate) fn method_not_allowed(method: &str, path: &str) -> Self {
        let message = format!("{path} does not take {method}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, INVALID_REQUEST, "method_not_allowed", message)
    }

    pub(crate) fn invalid_json(reason: &str) -> Self {
        let message = format!("the request's body is not valid JSON: {reason}");
        Self::new(StatusCode::BAD_REQUEST, INVALID_REQUEST, "invalid_json", message)
    }

    /// Both can repeat what the request says, which may be long.
    pub(crate) fn invalid_value(param: impl Into<String>, reason: &str) -> Self {
        let param = cut(param.into(), MAX_PARAM_BYTES);
        let message = cut(format!("invalid `{param}`: {reason}"), MAX_MESSAGE_BYTES);
        Self { param: Some(param), ..Self::new(StatusCode::BAD_REQUEST, INVALID_REQUEST, "invalid_value", message) }
    }

    pub(crate) fn model_not_found(message: impl Into<String>, param: &str) -> Self {
        let error = Self::new(StatusCode::NOT_FOUND, INVALID_REQUEST, "model_not_found", message);
        Self { param: Some(param.to_owned()), ..error }
    }

    pub(crate) fn request_too_large(limit_bytes: usize) -> Self {
        let message = format!("the request's body has more than {limit_bytes} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, INVALID_REQUEST, "request_too_large", message)
    }

    pub(crate) fn headers_too_large(message: String) -> Self {
        Self::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, INVALID_REQUEST, "headers_too_large", message)
    }

    pub(crate) fn request_timeout(limit: Duration) -> Self {
        let message = format!("the request's body did not arrive within {} ms", limit.as_millis());
        Self::new(StatusCode::REQUEST_TIMEOUT, INVALID_REQUEST, "request_timeout", message)
    }

    fn idempotency_conflict() -> Self {
        let param = "Idempotency-Key";
        let message = "another request was made with this Idempotency-Key; take a new key for a new request";
        let error = Self::new(StatusCode::CONFLICT, INVALID_REQUEST, "idempotency_conflict", message);
        Self { param: Some(param.to_owned()), ..error }
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, API, "unavailable", message).retry_after(DEFAULT_RETRY_AFTER)
    }

    fn overloaded(message: &str) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, RATE_LIMIT, "overloaded", message).retry_after(DEFAULT_RETRY_AFTER)
    }

    pub(crate) fn too_many_bodies() -> Self {
        Self::overloaded("the gateway has as many bytes of requests in memory as it may; try again later")
    }

    /// `what` the caller has too many of.
    pub(crate) fn too_many_at_once(what: &str) -> Self {
        Self::overloaded(&format!("this caller has as many {what} in flight as it may; wait for one to end"))
    }

    pub(crate) fn rate_limit_exceeded(per_minute: NonZeroU32, wait: Duration) -> Self {
        let message = format!("this caller may make {per_minute} requests per minute; slow down");
        Self::new(StatusCode::TOO_MANY_REQUESTS, RATE_LIMIT, "rate_limit_exceeded", message).retry_after(wait)
    }

    pub(crate) fn too_many_failed_logins(wait: Duration) -> Self {
        let message = "too many wrong secrets came from this address; try again later";
        Self::new(StatusCode::TOO_MANY_REQUESTS, RATE_LIMIT, "too_many_failed_logins", message).retry_after(wait)
    }

    fn timeout(message: &str) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, API, "timeout", message)
    }

    fn internal() -> Self {
        let message = "something went wrong in the gateway; its log says what, under this request's id";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, API, "internal_error", message)
    }

    /// The HTTP status, also of an error that goes out as a frame.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The same, at fault being what stands in this field.
    pub(crate) fn about(self, param: &str) -> Self {
        Self { param: Some(param.to_owned()), ..self }
    }

    /// What it is, for a program.
    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    /// What it is, for people.
    pub(crate) fn param(&self) -> Option<&str> {
        self.param.as_deref()
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Whether somebody stopped what was asked for.
    pub(crate) fn is_cancellation(&self) -> bool {
        self.is_final
    }

    /// The error object as JSON: `{"error":{"message","type","param","code"}}`.
    pub(crate) fn to_json(&self) -> String {
        let details =
            Details { message: &self.message, r#type: self.kind, param: self.param.as_deref(), code: self.code };
        serde_json::to_string(&ErrorBody { error: details }).expect("strings always serialise")
    }
}

/// What a run that failed means over HTTP.
impl From<Failed> for ApiError {
    fn from(failed: Failed) -> Self {
        let Failed { message, param, retry_after_ms, .. } = &failed;
        let new = |status, kind, code| Self::new(status, kind, code, message.as_str());
        let mut error = match failed.code() {
            FailureCode::InvalidRequest => Self {
                param: Some(param.clone()).filter(|param| !param.is_empty()),
                ..new(StatusCode::BAD_REQUEST, INVALID_REQUEST, "invalid_value")
            },
            FailureCode::SessionBusy | FailureCode::SessionMoved => {
                new(StatusCode::TOO_MANY_REQUESTS, RATE_LIMIT, "session_busy").retry_after(DEFAULT_RETRY_AFTER)
            }
            FailureCode::Overloaded => Self::overloaded(message),
            FailureCode::UpstreamRateLimit => {
                new(StatusCode::TOO_MANY_REQUESTS, RATE_LIMIT, "upstream_rate_limit").retry_after(DEFAULT_RETRY_AFTER)
            }
            FailureCode::UpstreamAuth => new(StatusCode::BAD_GATEWAY, API, "upstream_auth"),
            FailureCode::InsufficientQuota => {
                new(StatusCode::PAYMENT_REQUIRED, "insufficient_quota", "insufficient_quota")
            }
            FailureCode::UpstreamInvalidRequest => {
                new(StatusCode::BAD_REQUEST, INVALID_REQUEST, "upstream_invalid_request")
            }
            FailureCode::ContextLengthExceeded => {
                new(StatusCode::BAD_REQUEST, INVALID_REQUEST, "context_length_exceeded")
            }
            FailureCode::UpstreamError => new(StatusCode::BAD_GATEWAY, API, "upstream_error"),
            FailureCode::Timeout => Self::timeout(message),
            FailureCode::Unavailable => Self::unavailable(message),
            // Somebody stopped it who would not have it begin again.
            FailureCode::Cancelled => {
                Self { is_final: true, ..new(StatusCode::SERVICE_UNAVAILABLE, API, "unavailable") }
            }
            FailureCode::Internal | FailureCode::Unspecified => Self::internal(),
        };
        if *retry_after_ms > 0 {
            error.retry_after = Some(Duration::from_millis(*retry_after_ms));
        }
        error
    }
}

/// What a call that the runner refused, or that never reached it, means over HTTP.
impl From<Status> for ApiError {
    fn from(status: Status) -> Self {
        Self::of_call(&status, "agent runner", |status| Self::model_not_found(status.message(), "model"))
    }
}

impl ApiError {
    /// What a call that the session store refused, or that never reached it, means over HTTP.
    pub(crate) fn of_store(status: &Status) -> Self {
        Self::of_call(status, "session store", |_| Self::session_not_found())
    }

    /// The same of a list of sessions, where all that can be missing is the session after which the page starts.
    pub(crate) fn of_store_list(status: &Status) -> Self {
        Self::of_call(status, "session store", |_| Self::invalid_value("after", "no session has this key"))
    }

    /// What a call for embeddings that failed means over HTTP: the same as a run that failed.
    pub(crate) fn of_embedding(status: &Status) -> Self {
        let reason = status.get_details_error_info().and_then(|info| FailureCode::from_str_name(&info.reason));
        let Some(code) = reason else {
            return Self::of_call(status, "agent runner", |status| Self::model_not_found(status.message(), "model"));
        };
        let retry_after = status.get_details_retry_info().and_then(|info| info.retry_delay).unwrap_or_default();
        Self::from(Failed {
            code: code.into(),
            message: status.message().to_owned(),
            retry_after_ms: u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX),
            ..Failed::default()
        })
    }

    /// `not_found` says what it was that `service` did not find.
    fn of_call(status: &Status, service: &str, not_found: impl FnOnce(&Status) -> Self) -> Self {
        #[expect(clippy::wildcard_enum_match_arm, reason = "every other code is a fault of ours")]
        match status.code() {
            Code::InvalidArgument => {
                let violation = status.get_details_bad_request().and_then(|mut bad| bad.field_violations.pop());
                match violation {
                    Some(violation) => Self::invalid_value(violation.field, &violation.description),
                    None => Self::new(StatusCode::BAD_REQUEST, INVALID_REQUEST, "invalid_value", status.message()),
                }
            }
            Code::NotFound => not_found(status),
            // The only ids that the gateway gives twice are those made of keys.
            Code::AlreadyExists => Self::idempotency_conflict(),
            Code::ResourceExhausted => {
                Self::overloaded(&format!("the {service} has as much to do as it may; try again later"))
            }
            // Said by the side that sends it: what a request says and its history are together more than services send.
            Code::OutOfRange => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                INVALID_REQUEST,
                "request_too_large",
                "with what was said before, the request is larger than the services take",
            ),
            Code::DeadlineExceeded => Self::timeout(&format!("the {service} took too long")),
            Code::Unavailable | Code::Cancelled => {
                tracing::error!(%status, "the {service} cannot be reached");
                Self::unavailable(format!("the {service} cannot be reached; try again later"))
            }
            Code::Unauthenticated => {
                tracing::error!(%status, "the {service} does not know this gateway; both need the same services.token");
                Self::unavailable(format!("the {service} cannot be used; try again later"))
            }
            _ if is_broken(status) => {
                tracing::error!(%status, "the connection to the {service} broke");
                Self::unavailable(format!("the {service} broke off; try again later"))
            }
            _ => {
                tracing::error!(%status, "the {service} failed");
                Self::internal()
            }
        }
    }
}

/// The beginning of a text, if it is longer than so many bytes.
fn cut(mut text: String, max_bytes: usize) -> String {
    if text.len() > max_bytes {
        text.truncate(text.floor_char_boundary(max_bytes));
        text.push('…');
    }
    text
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.to_json()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        if let Some(after) = self.retry_after {
            // Whole seconds, and never zero.
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if self.is_final {
            headers.insert("x-should-retry", HeaderValue::from_static("false"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests;
