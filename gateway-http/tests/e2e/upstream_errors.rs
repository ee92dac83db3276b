//! What a client hears when the model provider fails, with and without streaming.

use serde_json::json;

use crate::{
    harness::{Gateway, Topology, assert_error, each_topology},
    provider::Reply,
};

each_topology![
    a_rate_limit_says_when_to_come_back,
    a_refused_key_is_the_gateways_fault,
    an_unpaid_bill_is_named,
    a_refused_request_is_the_clients_fault,
    a_conversation_that_is_too_long_is_named,
    a_provider_that_fails_is_a_bad_gateway,
    a_provider_that_is_down_is_a_bad_gateway,
    a_provider_that_breaks_off_is_a_bad_gateway,
    a_provider_that_stops_without_a_reason_is_a_bad_gateway,
    an_error_in_the_providers_stream_is_an_error,
    a_provider_that_stays_silent_is_a_timeout,
    a_provider_that_falls_silent_is_a_timeout,
];

/// What a client must hear.
struct Heard {
    status: u16,
    kind: &'static str,
    code: &'static str,
}

const BAD_GATEWAY: Heard = Heard { status: 502, kind: "api_error", code: "upstream_error" };

const TIMEOUT: Heard = Heard { status: 504, kind: "api_error", code: "timeout" };

/// Asks with and without streaming a gateway whose provider always answers with `reply`.
async fn check(gateway: &Gateway, reply: Reply, heard: Heard) {
    gateway.provider.answers(reply);
    let answer = gateway.ask("hi").send().await;
    answer.assert_error(heard.status, heard.kind, heard.code);
    // What is inside stays inside.
    for internal in ["provider-key", "127.0.0.1", "internals of the provider"] {
        assert!(!answer.body.contains(internal), "{}", answer.body);
    }
    let events = gateway.ask("hi").stream().await.end().await;
    assert_error(&events.error(), heard.kind, heard.code);
}

async fn a_rate_limit_says_when_to_come_back(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let reply = Reply::error(429, "requests", "rate_limit_exceeded", "internals of the provider");
    let heard = Heard { status: 429, kind: "rate_limit_error", code: "upstream_rate_limit" };
    check(&gateway, reply.clone().header("retry-after", "1"), heard).await;
    let answer = gateway.ask("hi").send().await;
    assert_eq!(answer.header("retry-after"), "1");
    gateway.provider.answers(reply);
    let answer = gateway.ask("hi").send().await;
    assert!(answer.header("retry-after").parse::<u32>().is_ok(), "{:?}", answer.headers);
}

async fn a_refused_key_is_the_gateways_fault(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    for status in [401, 403] {
        let reply = Reply::error(status, "invalid_request_error", "invalid_api_key", "internals of the provider");
        let heard = Heard { status: 502, kind: "api_error", code: "upstream_auth" };
        check(&gateway, reply, heard).await;
    }
}

async fn an_unpaid_bill_is_named(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    for status in [402, 429] {
        let reply = Reply::error(status, "insufficient_quota", "insufficient_quota", "internals of the provider");
        let heard = Heard { status: 402, kind: "insufficient_quota", code: "insufficient_quota" };
        check(&gateway, reply, heard).await;
    }
}

async fn a_refused_request_is_the_clients_fault(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let reply = Reply::error(400, "invalid_request_error", "invalid_value", "seed is not for this model");
    let heard = Heard { status: 400, kind: "invalid_request_error", code: "upstream_invalid_request" };
    check(&gateway, reply, heard).await;
}

async fn a_conversation_that_is_too_long_is_named(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let reply = Reply::error(
        400,
        "invalid_request_error",
        "context_length_exceeded",
        "This model's maximum context length is 8192 tokens.",
    );
    let heard = Heard { status: 400, kind: "invalid_request_error", code: "context_length_exceeded" };
    check(&gateway, reply, heard).await;
}

async fn a_provider_that_fails_is_a_bad_gateway(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    for status in [500, 503] {
        let reply = Reply::error(status, "server_error", "server_error", "internals of the provider");
        check(&gateway, reply, BAD_GATEWAY).await;
    }
}

async fn a_provider_that_is_down_is_a_bad_gateway(topology: Topology) {
    // Port 1 is for a service that nobody has run for decades.
    let down = json!({"models": {"providers": {"stub": {"baseUrl": "http://127.0.0.1:1/v1"}}}});
    let gateway = Gateway::with_config(topology, down).await;
    check(&gateway, Reply::text(&["hello"]), BAD_GATEWAY).await;
}

async fn a_provider_that_breaks_off_is_a_bad_gateway(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    check(&gateway, Reply::stream().break_off(), BAD_GATEWAY).await;
    check(&gateway, Reply::stream().delta("half an ans").break_off(), BAD_GATEWAY).await;
    let events = gateway.ask("hi").stream().await.end().await;
    assert_eq!(events.text(), "half an ans");
}

async fn a_provider_that_stops_without_a_reason_is_a_bad_gateway(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    check(&gateway, Reply::stream().delta("half an ans"), BAD_GATEWAY).await;
}

async fn an_error_in_the_providers_stream_is_an_error(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let error = json!({"error": {"message": "internals of the provider", "type": "server_error", "code": null}});
    check(&gateway, Reply::stream().delta("half an ans").event(&error), BAD_GATEWAY).await;
}

async fn a_provider_that_stays_silent_is_a_timeout(topology: Topology) {
    let soon = json!({"agents": {"defaults": {"timeoutSeconds": 1}}});
    let gateway = Gateway::with_config(topology, soon).await;
    check(&gateway, Reply::silence(), TIMEOUT).await;
}

async fn a_provider_that_falls_silent_is_a_timeout(topology: Topology) {
    let soon = json!({"agents": {"defaults": {"idleTimeoutSeconds": 1}}});
    let gateway = Gateway::with_config(topology, soon).await;
    check(&gateway, Reply::stream().delta("half an ans").hang(), TIMEOUT).await;
}
