//! What a provider's errors mean, whatever the protocol.
//!
//! The client is told what the provider says of its request. What the provider says of itself or of our key is not for
//! the client; its kind goes to the log.

mod told;

use std::time::{Duration, SystemTime};

use reqwest::{
    Response, StatusCode,
    header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER},
};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::Error;
use told::code;
pub(super) use told::{Secrets, for_client};

const MAX_BODY_BYTES: usize = 64 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest that a provider is believed to want us to wait.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Phrases by which providers say that a conversation is too long, none of them with a code for it.
const OVERFLOW_PHRASES: &[&str] = &[
    "maximum context length",
    "context window",
    "context length",
    "context size",
    "context limit",
    "prompt is too long",
    "exceeds the maximum number of tokens",
    // xAI, Groq, Kimi and Copilot, in this order; the last is several's.
    "maximum prompt length",
    "reduce the length of the messages",
    "exceeded model token limit",
    "exceeds the limit of",
    "input is too long",
];

/// The error object of an API; everything in it may be missing. Some servers send a plain text instead.
#[derive(Debug, Default)]
pub(super) struct Details {
    message: String,
    code: Value,
    r#type: Value,
    status: Value,
    /// Google's own, of several types.
    details: Vec<Value>,
    /// OpenRouter's own.
    metadata: Value,
}

impl Details {
    /// Google puts the object into a list where it speaks Chat Completions; `SGLang`, older vLLM and Mistral have no object
    /// in the object.
    pub(super) fn read(body: &[u8]) -> Self {
        let mut body: Value = serde_json::from_slice(body).unwrap_or_default();
        if let Value::Array(bodies) = &mut body {
            body = bodies.first_mut().map(Value::take).unwrap_or_default();
        }
        // A text alone is a page of a proxy, if anything.
        let Value::Object(mut fields) = body else { return Self::default() };
        match fields.remove("error") {
            Some(error @ (Value::Object(_) | Value::String(_))) => error.into(),
            Some(_) | None => Value::Object(fields).into(),
        }
    }
}

impl From<Value> for Details {
    fn from(error: Value) -> Self {
        let mut fields = match error {
            Value::String(message) => return Self { message, ..Self::default() },
            Value::Object(fields) => fields,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => return Self::default(),
        };
        let mut take = |name: &str| fields.remove(name).unwrap_or_default();
        let [message, detail] = ["message", "detail"].map(&mut take);
        let message = if message.is_null() { detail } else { message };
        let message = match message {
            Value::String(message) => message,
            Value::Null => String::new(),
            // Lists of what is wrong with which field.
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => message.to_string(),
        };
        let details = if let Value::Array(details) = take("details") { details } else { Vec::new() };
        let [code, r#type, status, metadata] = ["code", "type", "status", "metadata"].map(take);
        Self { message, code, r#type, status, details, metadata }
    }
}

impl<'de> Deserialize<'de> for Details {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Value::deserialize(deserializer)?.into())
    }
}

/// Whether an answer is JSON, where a stream was asked for.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
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

/// When to try again: `retry-after-ms`, else `Retry-After`, which is a number of seconds or a date (RFC 9110, 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let millis = text("retry-after-ms").and_then(|text| text.parse::<f64>().ok());
    let after = millis.and_then(|millis| Duration::try_from_secs_f64(millis / 1000.0).ok()).or_else(|| {
        let text = text(RETRY_AFTER.as_str())?;
        seconds(text).or_else(|| {
            let date = httpdate::parse_http_date(text).ok()?;
            // A date that is past means now.
            Some(date.duration_since(SystemTime::now()).unwrap_or_default())
        })
    })?;
    Some(after.min(MAX_RETRY_AFTER))
}

fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

/// What an answer other than 2xx means.
pub(super) fn from_status(provider_id: &str, status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Error {
    let details = Details::read(body);
    tracing::warn!(
        gen_ai.provider.name = provider_id,
        http.response.status_code = status.as_u16(),
        error.type = code(details.kind()),
        error.code = code(&details.code),
        "a model provider refused a request"
    );
    let retry_after = retry_after.or_else(|| details.retry_after());
    match status {
        _ if details.is_context_overflow() => Error::ContextLengthExceeded(details.for_client()),
        _ if details.is_quota() => Error::QuotaExceeded,
        _ if details.is_moderation() => Error::InvalidRequest(details.for_client()),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::Unauthorized,
        _ if details.is_auth() => Error::Unauthorized,
        StatusCode::PAYMENT_REQUIRED => Error::QuotaExceeded,
        StatusCode::TOO_MANY_REQUESTS => Error::RateLimited { retry_after },
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => Error::TimedOut,
        StatusCode::SERVICE_UNAVAILABLE => Error::ProviderOverloaded { retry_after },
        _ if status.as_u16() == 529 || details.is_overload() => Error::ProviderOverloaded { retry_after },
        _ if status.is_client_error() => Error::InvalidRequest(details.for_client()),
        _ => Error::Failed(format!("HTTP {}", status.as_u16())),
    }
}

/// What an error in the middle of a stream means; there is no status to go by.
pub(super) fn from_stream(details: &Details) -> Error {
    tracing::warn!(error.type = code(details.kind()), error.code = code(&details.code), "a model provider broke off an answer");
    let retry_after = details.retry_after();
    if details.is_context_overflow() {
        Error::ContextLengthExceeded(details.for_client())
    } else if details.is_quota() {
        Error::QuotaExceeded
    } else if details.is_auth() {
        Error::Unauthorized
    } else if details.is_any(&["rate_limit_exceeded", "rate_limit_error", "429", "RESOURCE_EXHAUSTED"]) {
        Error::RateLimited { retry_after }
    } else if details.is_overload() {
        Error::ProviderOverloaded { retry_after }
    } else if details.is_any(&["timeout_error", "504", "DEADLINE_EXCEEDED"]) {
        Error::TimedOut
    } else if details.is_any(&["invalid_request_error", "invalid_prompt", "400", "INVALID_ARGUMENT"]) {
        Error::InvalidRequest(details.for_client())
    } else {
        Error::Failed("it reported an error in the middle of its answer".to_owned())
    }
}

/// What a JSON answer with 200 means.
pub(super) fn from_json(provider_id: &str, body: &[u8]) -> Error {
    let details = Details::read(body);
    if details.message.is_empty() && details.code.is_null() {
        tracing::warn!(gen_ai.provider.name = provider_id, "a model provider sent JSON where a stream was asked for");
        return Error::Failed("it sent no stream".to_owned());
    }
    from_stream(&details)
}

/// What an answer means that should have been vectors and is not.
pub(super) fn from_whole(details: &Details) -> Error {
    if details.message.is_empty() && details.code.is_null() {
        return Error::Failed("it sent no embeddings".to_owned());
    }
    from_stream(details)
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
    /// An error that is not in an object of its own.
    pub(super) fn new(code: &str, message: &str) -> Self {
        Self { message: message.to_owned(), code: code.into(), ..Self::default() }
    }

    fn kind(&self) -> &Value {
        if self.r#type.is_null() { &self.status } else { &self.r#type }
    }

    fn is(&self, name: &str) -> bool {
        let is_number = |value: &Value| value.as_u64().is_some() && value.as_u64() == name.parse().ok();
        let is_named = |value: &Value| value.as_str() == Some(name) || is_number(value);
        [&self.code, &self.r#type, &self.status].into_iter().any(is_named)
            || self.details.iter().any(|detail| detail["reason"].as_str() == Some(name))
    }

    fn is_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.is(name))
    }

    fn is_quota(&self) -> bool {
        // Anthropic has no code for it.
        self.is_any(&["insufficient_quota", "billing_not_active", "billing_error", "402"])
            || self.message.contains("credit balance is too low")
    }

    fn is_auth(&self) -> bool {
        // Google answers a wrong key with 400.
        self.is_any(&["authentication_error", "permission_error", "invalid_api_key", "API_KEY_INVALID", "401"])
    }

    /// OpenRouter says so of what it was asked, and with a status that is else for keys.
    fn is_moderation(&self) -> bool {
        ["reasons", "flagged_input"].iter().any(|field| self.metadata.get(field).is_some())
    }

    fn is_overload(&self) -> bool {
        self.is_any(&["overloaded_error", "server_overloaded", "UNAVAILABLE", "503", "529"])
    }

    fn is_context_overflow(&self) -> bool {
        let message = self.message.to_ascii_lowercase();
        self.is_any(&["context_length_exceeded", "request_too_large", "exceed_context_size_error"])
            || OVERFLOW_PHRASES.iter().any(|phrase| message.contains(phrase))
    }

    /// Google's `RetryInfo`, like `{"retryDelay": "34.07s"}`.
    fn retry_after(&self) -> Option<Duration> {
        let delay = self.details.iter().find_map(|detail| detail["retryDelay"].as_str())?;
        Some(seconds(delay.strip_suffix('s')?)?.min(MAX_RETRY_AFTER))
    }

    fn for_client(&self) -> String {
        if self.message.is_empty() {
            return "it gave no reason".to_owned();
        }
        self.message.clone()
    }
}

#[cfg(test)]
mod tests;
