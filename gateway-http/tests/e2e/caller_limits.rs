//! How much one caller may take of the gateway, whatever the others do.

use serde_json::{Value, json};

use crate::{
    harness::{Answer, Gateway, Topology, each_topology, eventually},
    provider::{Gate, Reply},
};

each_topology![
    a_token_makes_so_many_requests_a_minute,
    without_a_rate_nothing_is_said_of_one,
    a_token_has_so_many_runs_in_flight,
    a_token_has_so_many_streams_in_flight,
    a_run_that_goes_on_without_its_client_counts,
    a_stream_that_tells_of_a_run_counts,
    a_run_that_is_asked_for_again_counts_once,
    embeddings_count_as_runs,
    all_bodies_have_room_together,
];

fn limited(limits: &Value) -> Value {
    json!({"gateway": {"limits": limits, "auth": {"tokens": [
        {"name": "alice", "token": "of-alice"},
        {"name": "bob", "token": "of-bob", "limits": {"requestsPerMinute": 3, "maxRuns": 2, "maxStreams": 2}},
    ]}}})
}

pub(crate) fn assert_says_when_to_come_back(answer: &Answer) {
    assert!(answer.header("retry-after").parse::<u32>().is_ok_and(|wait| wait > 0), "{:?}", answer.headers);
}

async fn a_token_makes_so_many_requests_a_minute(topology: Topology) {
    let gateway = Gateway::with_config(topology, limited(&json!({"requestsPerMinute": 1}))).await;
    for (secret, limit) in [("secret", 1), ("of-alice", 1), ("of-bob", 3)] {
        for left in (0..limit).rev() {
            let answer = gateway.ask("hi").bearer(secret).send().await;
            assert_eq!(answer.content(), "hello");
            assert_eq!(answer.header("x-ratelimit-limit-requests"), limit.to_string());
            assert_eq!(answer.header("x-ratelimit-remaining-requests"), left.to_string());
            assert_ne!(answer.header("x-ratelimit-reset-requests"), "");
        }
        let answer = gateway.request("GET", "/v1/models").bearer(secret).send().await;
        answer.assert_error(429, "rate_limit_error", "rate_limit_exceeded");
        assert_says_when_to_come_back(&answer);
        assert_eq!(answer.header("x-ratelimit-remaining-requests"), "0");
    }
    assert_eq!(gateway.request("GET", "/healthz").anonymous().send().await.status, 200);
}

async fn without_a_rate_nothing_is_said_of_one(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let answer = gateway.ask("hi").send().await;
    assert_eq!(answer.content(), "hello");
    assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("x-ratelimit")), "{:?}", answer.headers);
}

async fn a_token_has_so_many_runs_in_flight(topology: Topology) {
    let gateway = Gateway::with_config(topology, limited(&json!({"maxRunsPerToken": 1}))).await;
    let gate = Gate::default();
    gateway.provider.answers_once(Reply::text(&["first"]).after(&gate));
    let first = tokio::spawn(gateway.ask("one").bearer("of-alice").send());
    gateway.provider.request(1).await;

    for request in [gateway.ask("two"), gateway.ask("two").with("stream", true)] {
        let second = request.bearer("of-alice").send().await;
        second.assert_error(429, "rate_limit_error", "overloaded");
        assert_says_when_to_come_back(&second);
    }
    assert_eq!(gateway.provider.asked().len(), 1);
    for secret in ["secret", "of-bob"] {
        assert_eq!(gateway.ask("two").bearer(secret).send().await.content(), "hello", "{secret}");
    }

    gate.open();
    assert_eq!(first.await.unwrap().content(), "first");
    assert_eq!(gateway.ask("three").bearer("of-alice").send().await.content(), "hello");
}

async fn a_token_has_so_many_streams_in_flight(topology: Topology) {
    let gateway = Gateway::with_config(topology, limited(&json!({"maxStreamsPerToken": 1}))).await;
    gateway.provider.answers_once(Reply::stream().delta("one ").hang());
    let mut stream = gateway.ask("one").stream().await;
    stream.text("one ").await;

    let second = gateway.ask("two").with("stream", true).send().await;
    second.assert_error(429, "rate_limit_error", "overloaded");
    assert_eq!(gateway.ask("two").send().await.content(), "hello", "it is no stream");
    assert_eq!(gateway.ask("two").bearer("of-alice").stream().await.end().await.content(), "hello");

    drop(stream);
    eventually("a client that hung up has no stream", async || {
        gateway.ask("three").with("stream", true).send().await.status == 200
    })
    .await;
    for _ in 0..3 {
        assert_eq!(gateway.ask("four").stream().await.end().await.content(), "hello", "one after the other");
    }
}

async fn a_run_that_goes_on_without_its_client_counts(topology: Topology) {
    let gateway =
        Gateway::with_config(topology, limited(&json!({"maxRunsPerToken": 1, "maxStreamsPerToken": 1}))).await;
    for (name, value) in [("idempotency-key", "k1"), ("x-clawdbot-on-disconnect", "continue")] {
        let gate = Gate::default();
        gateway.provider.answers_once(Reply::stream().delta("one ").wait_for(&gate).delta("two").finish("stop").done());
        let mut stream = gateway.ask("one").header(name, value).stream().await;
        stream.text("one ").await;
        drop(stream);
        for _ in 0..5 {
            gateway.ask("two").send().await.assert_error(429, "rate_limit_error", "overloaded");
        }
        gate.open();
        eventually("it is over", async || gateway.ask("three").send().await.status == 200).await;
    }
}

async fn a_stream_that_tells_of_a_run_counts(topology: Topology) {
    let gateway = Gateway::with_config(topology, limited(&json!({"maxStreamsPerToken": 2}))).await;
    gateway.provider.answers(Reply::stream().delta("one ").hang());
    let mut first = gateway.ask("one").header("x-clawdbot-on-disconnect", "continue").stream().await;
    first.text("one ").await;
    let path = format!("/v1/runs/{}/events", first.header("x-clawdbot-run-id"));
    let mut second = gateway.request("GET", &path).follow().await;
    second.text("one ").await;
    gateway.request("GET", &path).send().await.assert_error(429, "rate_limit_error", "overloaded");
    drop((first, second));
    gateway.provider.answers(Reply::text(&["hello"]));
    eventually("there is room again", async || gateway.ask("two").with("stream", true).send().await.status == 200)
        .await;
}

async fn a_run_that_is_asked_for_again_counts_once(topology: Topology) {
    let gateway = Gateway::with_config(topology, limited(&json!({"maxRunsPerToken": 1}))).await;
    let gate = Gate::default();
    gateway
        .provider
        .answers_once(Reply::stream().delta("he").wait_for(&gate).delta("llo").finish("stop").usage(7, 3).done());
    let ask = || gateway.ask("one").bearer("of-alice").header("Idempotency-Key", "k1");
    let mut first = ask().stream().await;
    first.text("he").await;
    drop(first);
    let again = ask().stream().await;
    gateway.ask("two").bearer("of-alice").send().await.assert_error(429, "rate_limit_error", "overloaded");
    gate.open();
    assert_eq!(again.end().await.content(), "hello");
    eventually("the run counts no more", async || gateway.ask("two").bearer("of-alice").send().await.status == 200)
        .await;
}

async fn embeddings_count_as_runs(topology: Topology) {
    let mut config = limited(&json!({"maxRunsPerToken": 1}));
    config["agents"] = json!({"defaults": {"memorySearch": {"provider": "stub", "model": "embedder"}}});
    let gateway = Gateway::with_config(topology, config).await;
    let gate = Gate::default();
    gateway.provider.answers_once(Reply::text(&["first"]).after(&gate));
    let first = tokio::spawn(gateway.ask("one").bearer("of-alice").send());
    gateway.provider.request(1).await;
    let embed = || gateway.request("POST", "/v1/embeddings").json(json!({"model": "clawdbot", "input": "hi"}));
    embed().bearer("of-alice").send().await.assert_error(429, "rate_limit_error", "overloaded");
    gate.open();
    assert_eq!(first.await.unwrap().content(), "first");
}

async fn all_bodies_have_room_together(topology: Topology) {
    let small = json!({"gateway": {"http": {"maxBodyBytes": 4096}, "limits": {"maxBodyBytesInFlight": 4096}}});
    let gateway = Gateway::with_config(topology, small).await;
    let gate = Gate::default();
    let slow = Reply::stream().delta("he").wait_for(&gate).delta("llo").finish("stop").usage(7, 3).done();
    let waiting = Gate::default();
    gateway.provider.answers_once(slow.after(&waiting));
    let large = "x".repeat(3000);
    let first = tokio::spawn(gateway.ask(&large).stream());
    gateway.provider.request(1).await;
    let refused = gateway.ask(&large).send().await;
    refused.assert_error(429, "rate_limit_error", "overloaded");
    assert_says_when_to_come_back(&refused);
    // Room is needed only until the model begins to answer.
    waiting.open();
    let mut first = first.await.unwrap();
    first.text("he").await;
    assert_eq!(gateway.ask(&large).send().await.content(), "hello");
    gate.open();
    assert_eq!(first.end().await.content(), "hello");
}
