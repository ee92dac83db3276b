//! What of a provider's error is told: to the client without secrets, to the log without what was asked.

use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::Value;

use crate::model::Error;

const MAX_MESSAGE_CHARS: usize = 500;
/// The longest code that is written to the log; more is no code.
const MAX_CODE_CHARS: usize = 40;
/// What is shorter is no secret, but a word like `none` that a server without keys is given.
const MIN_SECRET_CHARS: usize = 8;

/// What is sent with a request and must not come back in a message to the client.
pub(in crate::model) struct Secrets(Vec<HeaderValue>);

impl Secrets {
    /// Those of a request's headers that are marked so.
    pub(in crate::model) fn of(headers: &HeaderMap) -> Self {
        Self(headers.values().filter(|value| value.is_sensitive()).cloned().collect())
    }

    fn hide(&self, mut text: String) -> String {
        for secret in self.0.iter().filter_map(|value| value.to_str().ok()) {
            let secret = secret.strip_prefix("Bearer ").unwrap_or(secret);
            if secret.len() >= MIN_SECRET_CHARS && text.contains(secret) {
                text = text.replace(secret, "***");
            }
        }
        text
    }
}

/// The error as the client is told it: without secrets, and not too long.
pub(in crate::model) fn for_client(error: Error, secrets: &Secrets) -> Error {
    let told = |text| secrets.hide(text).chars().take(MAX_MESSAGE_CHARS).collect();
    match error {
        Error::InvalidRequest(text) => Error::InvalidRequest(told(text)),
        Error::ContextLengthExceeded(text) => Error::ContextLengthExceeded(told(text)),
        // Their texts are our own.
        error @ (Error::RateLimited { .. }
        | Error::Unauthorized
        | Error::QuotaExceeded
        | Error::Failed(_)
        | Error::ProviderOverloaded { .. }
        | Error::Idle(_)
        | Error::TimedOut
        | Error::Overloaded
        | Error::Slipped(_)) => error,
    }
}

/// A code as it may be logged; what a provider sends in its place may be anything.
pub(super) fn code(value: &Value) -> String {
    let is_code_like = |text: &str| {
        text.len() <= MAX_CODE_CHARS && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
    };
    match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) if is_code_like(text) => text.clone(),
        Value::Null => String::new(),
        Value::String(_) | Value::Bool(_) | Value::Array(_) | Value::Object(_) => "unreadable".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_a_code_is_logged() {
        let check = |value: Value, expected: &str| assert_eq!(code(&value), expected, "{value}");
        check(429.into(), "429");
        check("rate_limit_exceeded".into(), "rate_limit_exceeded");
        check(Value::Null, "");
        check("you said: hello".into(), "unreadable");
        check("x".repeat(41).into(), "unreadable");
        check(serde_json::json!({"a": "hello"}), "unreadable");
    }

    #[test]
    fn a_message_is_told_without_secrets_and_not_at_length() {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("authorization", "Bearer sk-0123456789"), ("x-api-key", "none"), ("x-plain", "plainly-said")]
        {
            let mut header = HeaderValue::from_static(value);
            header.set_sensitive(name != "x-plain");
            headers.insert(name, header);
        }
        let secrets = Secrets::of(&headers);
        let check = |text: &str, expected: &str| {
            let told = for_client(Error::InvalidRequest(text.to_owned()), &secrets).to_string();
            assert_eq!(told, format!("the model provider refused the request: {expected}"));
        };
        check("no key sk-0123456789, none plainly-said", "no key ***, none plainly-said");
        check(&"é".repeat(501), &"é".repeat(500));
        // A key is not told in part either.
        let before = "é".repeat(495);
        check(&format!("{before}sk-0123456789"), &format!("{before}***"));
    }
}
