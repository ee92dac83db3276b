//! Every way in which the providers say no.

use super::*;

#[test]
fn a_refusal_is_told_by_its_status_and_code() {
    let check = |status: u16, body: &str, expected: &str| {
        let status = StatusCode::from_u16(status).expect("a status");
        let error = from_status("stub", status, None, body.as_bytes());
        assert_eq!(error.to_string(), expected, "{status} {body}");
    };
    let (refused, limited) =
        ("the model provider refused the request: ", "the model provider limits the rate of requests; try again later");
    let (auth, quota) =
        ("the model provider refused the gateway's credentials", "the quota at the model provider is used up");
    let (too_long, overloaded) =
        ("the conversation is longer than the model can take: ", "the model provider is overloaded; try again later");
    check(400, r#"{"error":{"message":"bad"}}"#, &format!("{refused}bad"));
    check(400, r#"{"error":"plain"}"#, &format!("{refused}plain"));
    check(400, r#"[{"error":{"code":400,"message":"listed"}}]"#, &format!("{refused}listed"));
    check(400, r#"{"object":"error","message":"flat","type":"BadRequestError","code":400}"#, &format!("{refused}flat"));
    check(422, r#"{"detail":[{"msg":"missing"}]}"#, &format!(r#"{refused}[{{"msg":"missing"}}]"#));
    check(404, "not here", &format!("{refused}it gave no reason"));
    check(400, r#"{"error":{"message":"m","code":"context_length_exceeded"}}"#, &format!("{too_long}m"));
    check(401, r#"{"error":{"message":"bad key sk-1"}}"#, auth);
    check(403, "", auth);
    let flagged =
        r#"{"error":{"code":403,"message":"flagged","metadata":{"reasons":["violence"],"flagged_input":"x"}}}"#;
    check(403, flagged, &format!("{refused}flagged"));
    check(402, "", quota);
    check(429, r#"{"error":{"message":"pay","type":"insufficient_quota"}}"#, quota);
    check(429, r#"{"error":{"message":"slow"}}"#, limited);
    check(500, r#"{"error":{"message":"at 10.0.0.1"}}"#, "the model provider failed: HTTP 500");
    check(301, "", "the model provider failed: HTTP 301");
    check(504, "", "the model provider took too long");
    check(503, "", overloaded);

    let anthropic = |kind: &str, message: &str| {
        format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"{message}"}},"request_id":"r"}}"#)
    };
    check(529, &anthropic("overloaded_error", "Overloaded"), overloaded);
    check(401, &anthropic("authentication_error", "invalid x-api-key"), auth);
    check(400, &anthropic("invalid_request_error", "Your credit balance is too low to access"), quota);
    let long = "prompt is too long: 210000 tokens > 200000 maximum";
    check(400, &anthropic("invalid_request_error", long), &format!("{too_long}{long}"));
    check(413, &anthropic("request_too_large", "Request exceeds"), &format!("{too_long}Request exceeds"));
    check(429, &anthropic("rate_limit_error", "tokens per minute"), limited);

    let google = |code: u16, status: &str, message: &str, details: &str| {
        format!(r#"{{"error":{{"code":{code},"status":"{status}","message":"{message}","details":[{details}]}}}}"#)
    };
    check(400, &google(400, "INVALID_ARGUMENT", "API key not valid.", r#"{"reason":"API_KEY_INVALID"}"#), auth);
    check(429, &google(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota", ""), limited);
    check(503, &google(503, "UNAVAILABLE", "The model is overloaded.", ""), overloaded);
    let long = "The input token count (9) exceeds the maximum number of tokens allowed (8).";
    check(400, &google(400, "INVALID_ARGUMENT", long, ""), &format!("{too_long}{long}"));
}

#[test]
fn a_conversation_that_is_too_long_is_known_by_each_providers_words() {
    let check = |message: &str| {
        let body = format!(r#"{{"error":{{"message":"{message}"}}}}"#);
        let error = from_status("stub", StatusCode::BAD_REQUEST, None, body.as_bytes());
        assert!(matches!(error, Error::ContextLengthExceeded(_)), "{message}");
    };
    check("This model's maximum prompt length is 131072 but the request contains 140000 tokens.");
    check("Please reduce the length of the messages or completion.");
    check("Invalid request: Your request exceeded model token limit: 262144");
    check("prompt token count of 140000 exceeds the limit of 128000");
    check("Input is too long for requested model.");
}

#[test]
fn the_time_to_try_again_is_read_in_every_form() {
    let check = |name: &'static str, value: &str, expected: Option<u64>| {
        let headers = HeaderMap::from_iter([(name.parse().expect("a name"), value.parse().expect("a value"))]);
        assert_eq!(retry_after(&headers), expected.map(Duration::from_millis), "{name}: {value}");
    };
    check("retry-after", "7", Some(7000));
    check("retry-after", " 1.5 ", Some(1500));
    check("retry-after", "-1", None);
    check("retry-after", "soon", None);
    check("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT", Some(0));
    check("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT", Some(86_400_000));
    check("retry-after", "99999999999999999999", None);
    check("retry-after", "9999999999", Some(86_400_000));
    check("retry-after-ms", "250", Some(250));
    check("x-other", "7", None);

    let headers = [("retry-after-ms", "250"), ("retry-after", "7")];
    let headers = headers.map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")));
    assert_eq!(retry_after(&HeaderMap::from_iter(headers)), Some(Duration::from_millis(250)));

    let body = br#"{"error":{"code":429,"details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.5s"}]}}"#;
    let error = from_status("stub", StatusCode::TOO_MANY_REQUESTS, None, body);
    assert_eq!(error.retry_after(), Some(Duration::from_millis(34_500)));
}
