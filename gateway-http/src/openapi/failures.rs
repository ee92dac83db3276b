//! Every error's row: its status, its type, and its codes.

use serde_json::{Value, json};

/// What an error of one status says.
pub(super) struct Failure {
    pub(super) status: u16,
    description: &'static str,
    types: &'static [&'static str],
    codes: &'static [&'static str],
    /// Headers that only this answer has.
    headers: &'static [&'static str],
}

const INVALID_REQUEST: &[&str] = &["invalid_request_error"];
const API: &[&str] = &["api_error"];

/// All that there are.
pub(super) const FAILURES: &[Failure] = &[
    failure(
        400,
        "The request is wrong; `param` names the field",
        INVALID_REQUEST,
        &["invalid_json", "invalid_value", "upstream_invalid_request", "context_length_exceeded"],
    ),
    Failure {
        headers: &["www-authenticate"],
        ..failure(401, "The secret is missing or wrong", &["authentication_error"], &["invalid_api_key"])
    },
    failure(402, "The model's provider is out of credit", &["insufficient_quota"], &["insufficient_quota"]),
    failure(403, "The token may not do this", &["permission_error"], &["forbidden"]),
    failure(404, "There is no such thing", INVALID_REQUEST, &["not_found", "model_not_found"]),
    Failure {
        headers: &["allow"],
        ..failure(405, "The path does not take the method", INVALID_REQUEST, &["method_not_allowed"])
    },
    failure(408, "The body came too slowly", INVALID_REQUEST, &["request_timeout"]),
    failure(409, "Another request was made with this key", INVALID_REQUEST, &["idempotency_conflict"]),
    failure(413, "The body is too large", INVALID_REQUEST, &["request_too_large"]),
    failure(431, "The head is too large", INVALID_REQUEST, &["headers_too_large"]),
    Failure {
        headers: &["retry-after"],
        ..failure(
            429,
            "There is too much to do; try again later",
            &["rate_limit_error"],
            &["session_busy", "overloaded", "rate_limit_exceeded", "too_many_failed_logins", "upstream_rate_limit"],
        )
    },
    failure(500, "A fault of the gateway's own", API, &["internal_error"]),
    failure(502, "The model's provider failed", API, &["upstream_error", "upstream_auth"]),
    Failure {
        headers: &["retry-after"],
        ..failure(503, "A part of the system cannot be reached; try again later", API, &["unavailable"])
    },
    failure(504, "It took too long", API, &["timeout"]),
];

const fn failure(
    status: u16,
    description: &'static str,
    types: &'static [&'static str],
    codes: &'static [&'static str],
) -> Failure {
    Failure { status, description, types, codes, headers: &[] }
}

impl Failure {
    /// The response, around the schema that all errors share.
    pub(super) fn to_json(&self, error: &Value) -> Value {
        let narrowed = json!({"type": {"enum": self.types}, "code": {"enum": self.codes}});
        let schema = json!({"allOf": [error, {"properties": {"error": {"properties": narrowed}}}]});
        let headers: serde_json::Map<String, Value> =
            self.headers.iter().map(|&name| (name.to_owned(), json!({"schema": {"type": "string"}}))).collect();
        json!({
            "description": self.description,
            "headers": headers,
            "content": {"application/json": {"schema": schema}},
        })
    }
}

/// Whether the table has this error.
#[cfg(test)]
pub(crate) fn is_listed(status: u16, kind: &str, code: &str) -> bool {
    FAILURES.iter().any(|row| row.status == status && row.types.contains(&kind) && row.codes.contains(&code))
}
