//! Every row of the table.

use tonic_types::ErrorDetails;

use super::*;

/// The error's row, which the API's document must list.
fn shown(error: &ApiError) -> (u16, &'static str, &'static str, Option<&str>, Option<Duration>) {
    assert!(crate::openapi::is_listed(error.status.as_u16(), error.kind, error.code), "{error:?} is not documented");
    (error.status.as_u16(), error.kind, error.code, error.param.as_deref(), error.retry_after)
}

#[test]
fn a_failed_run_has_its_row() {
    let second = Some(Duration::from_secs(1));
    let check = |code: FailureCode, expected| {
        let failed = Failed { code: code.into(), message: "why".to_owned(), ..Failed::default() };
        assert_eq!(shown(&failed.into()), expected, "{code:?}");
    };
    check(FailureCode::InvalidRequest, (400, INVALID_REQUEST, "invalid_value", None, None));
    check(FailureCode::SessionBusy, (429, RATE_LIMIT, "session_busy", None, second));
    check(FailureCode::Overloaded, (429, RATE_LIMIT, "overloaded", None, second));
    check(FailureCode::UpstreamRateLimit, (429, RATE_LIMIT, "upstream_rate_limit", None, second));
    check(FailureCode::UpstreamAuth, (502, API, "upstream_auth", None, None));
    check(FailureCode::InsufficientQuota, (402, "insufficient_quota", "insufficient_quota", None, None));
    check(FailureCode::UpstreamInvalidRequest, (400, INVALID_REQUEST, "upstream_invalid_request", None, None));
    check(FailureCode::ContextLengthExceeded, (400, INVALID_REQUEST, "context_length_exceeded", None, None));
    check(FailureCode::UpstreamError, (502, API, "upstream_error", None, None));
    check(FailureCode::Timeout, (504, API, "timeout", None, None));
    check(FailureCode::Unavailable, (503, API, "unavailable", None, second));
    check(FailureCode::Cancelled, (503, API, "unavailable", None, None));
    check(FailureCode::Internal, (500, API, "internal_error", None, None));
    check(FailureCode::Unspecified, (500, API, "internal_error", None, None));
}

#[test]
fn a_refused_call_has_its_row() {
    let second = Some(Duration::from_secs(1));
    let check = |status: Status, expected| assert_eq!(shown(&status.clone().into()), expected, "{status:?}");
    let details = ErrorDetails::with_bad_request_violation("messages[2]", "is odd");
    let invalid = Status::with_error_details(Code::InvalidArgument, "", details);
    check(invalid, (400, INVALID_REQUEST, "invalid_value", Some("messages[2]"), None));
    check(Status::not_found("no `x`"), (404, INVALID_REQUEST, "model_not_found", Some("model"), None));
    check(Status::resource_exhausted(""), (429, RATE_LIMIT, "overloaded", None, second));
    check(Status::deadline_exceeded(""), (504, API, "timeout", None, None));
    check(Status::unavailable(""), (503, API, "unavailable", None, second));
    check(Status::unauthenticated("secret"), (503, API, "unavailable", None, second));
    check(Status::internal("secret"), (500, API, "internal_error", None, None));
}

#[test]
fn a_call_that_the_store_refused_has_its_row() {
    let second = Some(Duration::from_secs(1));
    let check = |status: Status, expected| assert_eq!(shown(&ApiError::of_store(&status)), expected, "{status:?}");
    let details = ErrorDetails::with_bad_request_violation("limit", "is odd");
    let invalid = Status::with_error_details(Code::InvalidArgument, "", details);
    check(invalid, (400, INVALID_REQUEST, "invalid_value", Some("limit"), None));
    check(Status::not_found(""), (404, INVALID_REQUEST, "not_found", None, None));
    check(Status::resource_exhausted(""), (429, RATE_LIMIT, "overloaded", None, second));
    check(Status::deadline_exceeded(""), (504, API, "timeout", None, None));
    check(Status::unavailable(""), (503, API, "unavailable", None, second));
    check(Status::internal("secret"), (500, API, "internal_error", None, None));
    let no_place = ApiError::of_store_list(&Status::not_found(""));
    assert_eq!(shown(&no_place), (400, INVALID_REQUEST, "invalid_value", Some("after"), None));
}

#[test]
fn what_a_token_may_not_do_has_its_row() {
    let error = ApiError::forbidden("why", "model");
    assert_eq!(shown(&error), (403, "permission_error", "forbidden", Some("model"), None));
}

#[test]
fn internals_stay_out_of_the_answer() {
    let json = ApiError::from(Status::internal("/var/lib/sessions.db is locked")).to_json();
    assert!(!json.contains("sessions.db"), "{json}");
}

#[test]
fn the_wait_is_whole_seconds_and_never_zero() {
    let check = |after_ms, expected: &str| {
        let failed =
            Failed { code: FailureCode::UpstreamRateLimit.into(), retry_after_ms: after_ms, ..Failed::default() };
        let response = ApiError::from(failed).into_response();
        assert_eq!(response.headers()[RETRY_AFTER], expected, "{after_ms} ms");
    };
    check(1, "1");
    check(1_000, "1");
    check(1_001, "2");
    check(60_000, "60");
}

#[test]
fn the_body_has_every_key() {
    let json = ApiError::unauthenticated().to_json();
    let expected = r#"{"error":{"message":"missing or wrong secret; send `Authorization: Bearer <token>`","type":"authentication_error","param":null,"code":"invalid_api_key"}}"#;
    assert_eq!(json, expected);
}
