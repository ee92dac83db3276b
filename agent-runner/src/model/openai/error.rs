//! What a provider's errors mean.
//!
//! The client is told what the provider says of its request. What the provider says of itself or of our key is not for
//! the client; its kind goes to the log.

use std::time::Duration;

use reqwest::{
    Response, StatusCode,
    header::{HeaderMap, RETRY_AFTER},
};
use serde::Deserialize;

use crate::model::Error;

const MAX_BODY_BYTES: usize = 64 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_MESSAGE_CHARS: usize = 500;

/// The error object of the API; everything in it may be missing, and some servers send plain text instead.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Details {
    message: String,
    code: serde_json::Value,
    r#type: serde_json::Value,
}

#[derive(Deserialize)]
struct Body {
    error: Details,
}

/// The start of an error's body, as much as arrives soon.
pub(super) async fn read_body(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    let reading = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_BODY_BYTES {
                break;
            }
        }
    };
    // What has not arrived by then is done without.
    let _ = tokio::time::timeout(BODY_TIMEOUT, reading).await;
    body
}

/// The `Retry-After` header, in its form of seconds.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// What an answer other than 2xx means.
pub(super) fn from_status(provider_id: &str, status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Error {
    let details = serde_json::from_slice::<Body>(body).map(|body| body.error).unwrap_or_default();
    tracing::warn!(
        gen_ai.provider.name = provider_id,
        http.response.status_code = status.as_u16(),
        error.type = %details.r#type,
        error.code = %details.code,
        "a model provider refused a request"
    );
    match status {
        _ if details.is_context_overflow() => Error::ContextLengthExceeded(details.for_client()),
        _ if details.is_quota() => Error::QuotaExceeded,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::Unauthorized,
        StatusCode::PAYMENT_REQUIRED => Error::QuotaExceeded,
        StatusCode::TOO_MANY_REQUESTS => Error::RateLimited { retry_after },
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => Error::TimedOut,
        _ if status.is_client_error() => Error::InvalidRequest(details.for_client()),
        _ => Error::Failed(format!("HTTP {}", status.as_u16())),
    }
}

/// What an error in the middle of a stream means; there is no status to go by.
pub(super) fn from_stream(details: &Details) -> Error {
    tracing::warn!(error.type = %details.r#type, error.code = %details.code, "a model provider broke off an answer");
    if details.is_context_overflow() {
        Error::ContextLengthExceeded(details.for_client())
    } else if details.is_quota() {
        Error::QuotaExceeded
    } else if details.is("rate_limit_exceeded") || details.is("rate_limit_error") || details.is("429") {
        Error::RateLimited { retry_after: None }
    } else {
        Error::Failed("it reported an error in the middle of its answer".to_owned())
    }
}

/// What a broken connection means.
pub(super) fn from_transport(provider_id: &str, error: &reqwest::Error, idle_timeout: Duration) -> Error {
    let cause = std::iter::successors(std::error::Error::source(error), |error| error.source()).last();
    let cause = cause.map(ToString::to_string).unwrap_or_default();
    tracing::warn!(gen_ai.provider.name = provider_id, cause, "a model provider cannot be reached or broke off");
    if error.is_timeout() && !error.is_connect() {
        Error::Idle(idle_timeout)
    } else if error.is_connect() {
        Error::Failed("it cannot be reached".to_owned())
    } else {
        Error::Failed("the connection to it broke".to_owned())
    }
}

impl Details {
    fn is(&self, name: &str) -> bool {
        let is_number = |value: &serde_json::Value| value.as_u64().is_some() && value.as_u64() == name.parse().ok();
        [&self.code, &self.r#type].into_iter().any(|value| value.as_str() == Some(name) || is_number(value))
    }

    fn is_quota(&self) -> bool {
        self.is("insufficient_quota") || self.is("billing_not_active") || self.is("402")
    }

    fn is_context_overflow(&self) -> bool {
        let message = self.message.to_ascii_lowercase();
        self.is("context_length_exceeded")
            || ["maximum context length", "context window", "context length", "prompt is too long"]
                .iter()
                .any(|phrase| message.contains(phrase))
    }

    fn for_client(&self) -> String {
        if self.message.is_empty() {
            return "it gave no reason".to_owned();
        }
        self.message.chars().take(MAX_MESSAGE_CHARS).collect()
    }
}
