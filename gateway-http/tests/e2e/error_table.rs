//! The error table of the README, row by row, with and without streaming. A request that asks for a stream gets the
//! same status and body as any other until the stream has begun; after that, errors are its last event.
//!
//! | row | test |
//! |---|---|
//! | 401 `invalid_api_key` | [`without_the_secret_nobody_is_answered`] |
//! | 403 `forbidden` | [`what_a_token_may_not_do_is_forbidden`] |
//! | 404 `not_found`, 405 `method_not_allowed` | [`unknown_paths_and_methods_are_refused`] |
//! | 404 `model_not_found` | [`an_agent_that_does_not_exist_is_not_found`] |
//! | 400 `invalid_json`, `invalid_value` | [`bad_json_and_bad_fields_are_refused`]; every field in `errors.rs` |
//! | 408 `request_timeout`, 413 `request_too_large` | [`large_and_slow_bodies_are_refused`]; more in `errors.rs` |
//! | 409 `idempotency_conflict` | [`a_key_that_is_used_twice_is_a_conflict`] |
//! | 429 `session_busy` | [`a_busy_session_says_when_to_come_back`] |
//! | 429 `overloaded` | [`a_full_runner_says_when_to_come_back`] |
//! | 429 `rate_limit_exceeded`, and `overloaded` for one caller | all of `caller_limits` |
//! | 429 `too_many_failed_logins` | `protection::who_guesses_secrets_is_locked_out_by_the_address_behind_the_proxy` |
//! | 431 `headers_too_large` | `connections.rs` |
//! | 429 `upstream_rate_limit` | `upstream_errors::a_rate_limit_says_when_to_come_back` |
//! | 502 `upstream_auth` | `upstream_errors::a_refused_key_is_the_gateways_fault` |
//! | 402 `insufficient_quota` | `upstream_errors::an_unpaid_bill_is_named` |
//! | 400 `upstream_invalid_request` | `upstream_errors::a_refused_request_is_the_clients_fault` |
//! | 400 `context_length_exceeded` | `upstream_errors::a_conversation_that_is_too_long_is_named` |
//! | 502 `upstream_error` | `upstream_errors::a_provider_that_is_down_is_a_bad_gateway` and the four beside it |
//! | 504 `timeout` | `upstream_errors::a_provider_that_stays_silent_is_a_timeout` and the one beside it |
//! | 503 `unavailable`: the store | [`a_store_without_its_database_is_unavailable`]; the whole store in `outages.rs` |
//! | 503 `unavailable`: the runner | [`without_its_runner_the_gateway_is_unavailable`], which can go only where it is a process |
//! | 503 `unavailable`: shutting down | `drain::what_outlasts_the_drain_ends_with_an_error` |
//! | 500 `internal_error` | [`a_fault_of_ours_says_nothing_of_what_is_inside`], which needs a runner that can be replaced |

use std::{fs, net::Ipv4Addr};

use axum::Router;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    harness::{Answer, Gateway, Request, Topology, assert_error, each_topology, eventually, run, soon, user},
    provider::{Gate, Reply},
};

each_topology![
    without_the_secret_nobody_is_answered,
    what_a_token_may_not_do_is_forbidden,
    unknown_paths_and_methods_are_refused,
    an_agent_that_does_not_exist_is_not_found,
    bad_json_and_bad_fields_are_refused,
    large_and_slow_bodies_are_refused,
    a_key_that_is_used_twice_is_a_conflict,
    a_busy_session_says_when_to_come_back,
    a_full_runner_says_when_to_come_back,
    a_store_without_its_database_is_unavailable,
];

const INVALID: &str = "invalid_request_error";

/// Sends the request as it is and with `stream`, and wants the same error for both.
async fn check(request: Request, status: u16, kind: &str, code: &str) -> Answer {
    let streaming = request.clone().with("stream", true).send().await;
    let answer = request.send().await;
    let heard = [&answer, &streaming].map(|answer| answer.assert_error(status, kind, code));
    assert_eq!(heard[0]["param"], heard[1]["param"], "a stream that did not begin is told the same");
    let needs_a_time = matches!(status, 429 | 503);
    for answer in [&answer, &streaming] {
        let says_when = answer.header("retry-after").parse::<u32>().is_ok();
        assert_eq!(says_when, needs_a_time, "{status}: {:?}", answer.headers);
    }
    answer
}

async fn without_the_secret_nobody_is_answered(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    for request in [gateway.ask("hi").anonymous(), gateway.ask("hi").bearer("wrong")] {
        let answer = check(request, 401, "authentication_error", "invalid_api_key").await;
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    assert!(gateway.provider.asked().is_empty());
}

async fn what_a_token_may_not_do_is_forbidden(topology: Topology) {
    let tokens = json!([{"name": "bob", "token": "of-bob", "agents": ["beta"]}]);
    let gateway = Gateway::with_config(topology, json!({"gateway": {"auth": {"tokens": tokens}}})).await;
    check(gateway.ask("hi").bearer("of-bob"), 403, "permission_error", "forbidden").await;
    assert!(gateway.provider.asked().is_empty());
}

async fn unknown_paths_and_methods_are_refused(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let body = json!({"messages": [user("hi")]});
    check(gateway.request("POST", "/v1/completions").json(body.clone()), 404, INVALID, "not_found").await;
    let put = gateway.request("PUT", "/v1/chat/completions").json(body);
    let answer = check(put, 405, INVALID, "method_not_allowed").await;
    assert_eq!(answer.header("allow"), "POST");
}

async fn an_agent_that_does_not_exist_is_not_found(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let request = gateway.ask("hi").with("model", "clawdbot/ghost");
    let error = check(request, 404, INVALID, "model_not_found").await.json()["error"].take();
    assert_eq!(error["param"], "model");
}

async fn bad_json_and_bad_fields_are_refused(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let answer = gateway.request("POST", "/v1/chat/completions").text(r#"{"stream": true, "#).send().await;
    answer.assert_error(400, INVALID, "invalid_json");
    let request = gateway.ask("hi").with("temperature", 3);
    let error = check(request, 400, INVALID, "invalid_value").await.json()["error"].take();
    assert_eq!(error["param"], "temperature");
    assert!(gateway.provider.asked().is_empty());
}

async fn large_and_slow_bodies_are_refused(topology: Topology) {
    let limits = json!({"gateway": {"http": {"maxBodyBytes": 1_000, "bodyTimeoutMs": 100}}});
    let gateway = Gateway::with_config(topology, limits).await;
    check(gateway.ask(&"x".repeat(1_000)), 413, INVALID, "request_too_large").await;
    for stream in [false, true] {
        let (status, body) = unfinished(&gateway, &format!("{{\"stream\": {stream}, \"messages\": ")).await;
        assert_eq!(status, "HTTP/1.1 408 Request Timeout");
        assert_error(&body, INVALID, "request_timeout");
    }
}

/// Sends the beginning of a body, and reads the status line and the body of the answer.
async fn unfinished(gateway: &Gateway, body: &str) -> (String, Value) {
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, gateway.port())).await.unwrap();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer secret\r\n\
                content-length: 100\r\nconnection: close\r\n\r\n";
    socket.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon("the gateway closes the connection", socket.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), serde_json::from_str(body).unwrap())
}

async fn a_key_that_is_used_twice_is_a_conflict(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let ask = |text| gateway.ask(text).header("idempotency-key", "k1");
    assert_eq!(ask("one").send().await.content(), "hello");
    check(ask("two"), 409, INVALID, "idempotency_conflict").await;
}

async fn a_busy_session_says_when_to_come_back(topology: Topology) {
    let gateway = Gateway::with_config(topology, json!({"session": {"waitMs": 50}})).await;
    let gate = Gate::default();
    gateway.provider.answers_once(Reply::text(&["first"]).after(&gate));
    let first = tokio::spawn(gateway.ask("one").user("alice").send());
    gateway.provider.request(1).await;
    check(gateway.ask("two").user("alice"), 429, "rate_limit_error", "session_busy").await;
    gate.open();
    assert_eq!(first.await.unwrap().content(), "first");
}

async fn a_full_runner_says_when_to_come_back(topology: Topology) {
    let small = json!({"services": {"agentRunner": {"maxConcurrentCalls": 1}}});
    let gateway = Gateway::with_config(topology, small).await;
    let gate = Gate::default();
    gateway.provider.answers_once(Reply::text(&["first"]).after(&gate));
    let first = tokio::spawn(gateway.ask("one").send());
    gateway.provider.request(1).await;
    check(gateway.ask("two"), 429, "rate_limit_error", "overloaded").await;
    gate.open();
    assert_eq!(first.await.unwrap().content(), "first");
}

async fn a_store_without_its_database_is_unavailable(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    assert_eq!(gateway.ask("one").user("alice").send().await.content(), "hello");
    let state = gateway.installation().state();
    for name in ["sessions.db", "sessions.db-wal", "sessions.db-shm"] {
        // The last two are there only while the database is in use.
        let _ = fs::rename(state.join(name), state.join(format!("{name}.away")));
    }
    check(gateway.ask("two").user("alice"), 503, "api_error", "unavailable").await;
    assert_eq!(gateway.ask("three").send().await.content(), "hello");
    assert_eq!(gateway.provider.asked().len(), 2);
}

#[tokio::test]
async fn without_its_runner_the_gateway_is_unavailable() {
    run(async {
        let mut gateway = Gateway::start(Topology::ThreeProcesses).await;
        gateway.kill("agent-runner").await;
        check(gateway.ask("hi"), 503, "api_error", "unavailable").await;
    })
    .await;
}

/// A runner that answers every call with the status of a bug, in the place of the one that was there.
#[tokio::test]
async fn a_fault_of_ours_says_nothing_of_what_is_inside() {
    run(async {
        let mut gateway = Gateway::start(Topology::ThreeProcesses).await;
        gateway.kill("agent-runner").await;
        let status = [("content-type", "application/grpc"), ("grpc-status", "13"), ("grpc-message", "what is inside")];
        let broken = Router::new().fallback(async move || (status, ""));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, gateway.runner_port())).await.unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, broken).await.unwrap() });
        let reached = async || gateway.ask("hi").send().await.status == 500;
        eventually("the gateway finds the new runner", reached).await;
        let answer = check(gateway.ask("hi"), 500, "api_error", "internal_error").await;
        assert!(!answer.body.contains("what is inside"), "{}", answer.body);
        server.abort();
    })
    .await;
}
