//! `Idempotency-Key`: a request that is made again is answered again, and never run twice.

use serde_json::json;

use crate::{
    harness::{Gateway, Request, Signal, Topology, each_topology},
    provider::{Gate, Reply},
};

each_topology![
    a_repeat_gets_the_kept_answer,
    a_repeated_stream_is_replayed_from_its_start,
    a_repeat_of_a_live_request_attaches_to_it,
    a_client_that_hangs_up_finds_its_answer,
    a_failed_request_runs_again,
    another_request_with_the_same_key_is_a_conflict,
    a_wrong_key_is_named,
    an_answer_survives_a_restart,
    nobody_gets_the_answer_to_a_key_of_another_token,
];

/// A stateless request with a key, and one in a session.
fn keyed(gateway: &Gateway) -> [Request; 2] {
    let request = |key| gateway.ask("hi").header("idempotency-key", key);
    [request("k1"), request("k2").user("alice")]
}

/// Has the provider say `one`, and the rest when the gate is opened.
fn held(gateway: &Gateway) -> Gate {
    let gate = Gate::default();
    gateway.provider.answers_once(Reply::stream().delta("one").wait_for(&gate).delta(" two").finish("stop").done());
    gate
}

async fn a_repeat_gets_the_kept_answer(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    for (number, request) in keyed(&gateway).into_iter().enumerate() {
        let first = request.clone().send().await;
        assert_eq!(first.content(), "hello");
        let again = request.send().await;
        assert_eq!(again.json(), first.json());
        let ids = ["x-clawdbot-run-id", "x-clawdbot-session-key"];
        assert_eq!(ids.map(|name| again.header(name)), ids.map(|name| first.header(name)));
        assert_eq!(gateway.provider.asked().len(), number + 1);
    }
    gateway.ask("and now").user("alice").send().await.content();
    assert_eq!(gateway.provider.last_asked().conversation(), ["user: hi", "assistant: hello", "user: and now"]);
}

async fn a_repeated_stream_is_replayed_from_its_start(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    gateway.provider.answers(Reply::text(&["hel", "lo"]));
    for (number, request) in keyed(&gateway).into_iter().enumerate() {
        let request = request.with("stream_options", json!({"include_usage": true}));
        let first = request.clone().stream().await.end().await;
        assert_eq!(first.content(), "hello");
        let again = request.stream().await.end().await;
        assert_eq!(again.data, first.data);
        assert_eq!(gateway.provider.asked().len(), number + 1);
    }
}

async fn a_repeat_of_a_live_request_attaches_to_it(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    for (number, request) in keyed(&gateway).into_iter().enumerate() {
        let gate = held(&gateway);
        let mut first = request.clone().stream().await;
        first.text("one").await;
        let mut second = request.stream().await;
        second.text("one").await;
        gate.open();
        let (first, second) = (first.end().await, second.end().await);
        assert_eq!(first.content(), "one two");
        assert_eq!(second.data, first.data);
        assert_eq!(gateway.provider.asked().len(), number + 1);
    }
}

async fn a_client_that_hangs_up_finds_its_answer(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    for (number, request) in keyed(&gateway).into_iter().enumerate() {
        let gate = held(&gateway);
        let mut first = request.clone().stream().await;
        first.text("one").await;
        drop(first);
        gate.open();
        assert_eq!(request.stream().await.end().await.content(), "one two");
        assert_eq!(gateway.provider.asked().len(), number + 1);
    }
}

async fn a_failed_request_runs_again(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    for request in keyed(&gateway) {
        gateway.provider.answers_once(Reply::stream().delta("one").break_off());
        request.clone().send().await.assert_error(502, "api_error", "upstream_error");
        assert_eq!(request.send().await.content(), "hello");
    }
}

async fn another_request_with_the_same_key_is_a_conflict(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let conflict = async |request: Request| {
        let error = request.send().await.assert_error(409, "invalid_request_error", "idempotency_conflict");
        assert_eq!(error["param"], "Idempotency-Key");
    };
    for request in keyed(&gateway) {
        let gate = Gate::default();
        gateway.provider.answers_once(Reply::stream().delta("one").wait_for(&gate).finish("stop").done());
        let mut live = request.clone().stream().await;
        live.text("one").await;
        conflict(request.clone()).await;
        conflict(request.clone().with("stream", true).with("seed", 7)).await;
        gate.open();
        assert_eq!(live.end().await.content(), "one");
        conflict(request.clone().with("stream", true).with("seed", 7)).await;
        conflict(request.with("stream", true).with("model", "clawdbot:beta")).await;
    }
}

async fn a_wrong_key_is_named(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    for key in ["", &"k".repeat(256)] {
        let answer = gateway.ask("hi").header("idempotency-key", key).send().await;
        let error = answer.assert_error(400, "invalid_request_error", "invalid_value");
        assert_eq!(error["param"], "Idempotency-Key");
    }
}

async fn an_answer_survives_a_restart(topology: Topology) {
    let mut gateway = Gateway::start(topology).await;
    let mut first = Vec::new();
    for request in keyed(&gateway) {
        first.push(request.send().await.json());
    }
    gateway.restart(Signal::SIGKILL).await;
    for (request, first) in keyed(&gateway).into_iter().zip(first) {
        assert_eq!(request.send().await.json(), first);
    }
    assert_eq!(gateway.provider.asked().len(), 2);
}

async fn nobody_gets_the_answer_to_a_key_of_another_token(topology: Topology) {
    let tokens = json!([{"name": "alice", "token": "of-alice"}, {"name": "bob", "token": "of-bob"}]);
    let gateway = Gateway::with_config(topology, json!({"gateway": {"auth": {"tokens": tokens}}})).await;
    for request in keyed(&gateway) {
        let mut run_ids = Vec::new();
        for secret in ["secret", "of-alice", "of-bob"] {
            gateway.provider.answers_once(Reply::text(&[secret]));
            let answer = request.clone().bearer(secret).send().await;
            assert_eq!(answer.content(), secret);
            assert_eq!(request.clone().bearer(secret).send().await.content(), secret);
            run_ids.push(answer.header("x-clawdbot-run-id").to_owned());
        }
        run_ids.dedup();
        assert_eq!(run_ids.len(), 3, "{run_ids:?}");
    }
}
