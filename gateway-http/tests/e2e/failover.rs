//! Two providers, of which the first fails in every way there is: the second answers, and the first is left alone.

use serde_json::{Value, json};

use crate::{
    harness::{CollectedSpan, Collector, Gateway, Topology, assert_error, each_topology},
    provider::{Asked, Provider, Reply},
};

each_topology![
    the_second_provider_answers_whatever_the_first_does,
    every_key_of_a_provider_is_tried,
    a_failure_that_passes_is_not_noticed,
    an_answer_that_was_begun_is_not_begun_again,
    when_nobody_answers_the_error_names_everybody,
    a_trace_shows_both_providers,
];

/// The agent `main` asks `stub`, then `other`.
fn with_fallback(other: &Provider) -> Value {
    json!({
        "models": {"providers": {"other": {"baseUrl": other.base_url(), "apiKey": "other-key"}}},
        "agents": {"defaults": {
            "model": {"primary": "stub/test-model", "fallbacks": ["other/test-model"]},
            "modelRetries": 0,
            "idleTimeoutSeconds": 1,
        }},
    })
}

/// What a provider can do wrong before it says anything, and whether that is why it is left alone for a while.
fn faults() -> [(&'static str, Reply, bool); 9] {
    let error = |status: u16, code: &str| Reply::error(status, "error", code, "internals of the provider");
    [
        ("rate limit", error(429, "rate_limit_exceeded"), true),
        ("auth", error(401, "invalid_api_key"), true),
        ("billing", error(429, "insufficient_quota"), true),
        ("overloaded", error(503, "overloaded"), true),
        ("failed", error(500, "server_error"), true),
        ("broken connection", Reply::stream().break_off(), true),
        ("silence", Reply::silence(), true),
        ("bad request", error(400, "invalid_value"), false),
        ("too long", error(400, "context_length_exceeded"), false),
    ]
}

async fn the_second_provider_answers_whatever_the_first_does(topology: Topology) {
    let other = Provider::start().await;
    other.answers(Reply::text(&["I am ", "the other"]));
    // An agent and a first provider for each fault, all of them the same server.
    let faults = faults();
    let names: Vec<String> = (0..faults.len()).map(|index| format!("first{index}")).collect();
    let gateway = Gateway::on(topology).await.config(with_fallback(&other));
    let base_url = gateway.provider_url();
    let providers: serde_json::Map<String, Value> =
        names.iter().map(|name| (name.clone(), json!({"baseUrl": base_url}))).collect();
    let agents: Vec<Value> = names
        .iter()
        .map(|name| json!({"id": name, "model": {"primary": format!("{name}/test-model"), "fallbacks": ["other/test-model"]}}))
        .collect();
    let gateway = gateway.config(json!({"models": {"providers": providers}, "agents": {"list": agents}})).start().await;

    for ((fault, reply, cools_down), name) in faults.into_iter().zip(&names) {
        gateway.provider.answers(reply);
        let before = (gateway.provider.asked().len(), other.asked().len());
        let answer = gateway.ask("hi").header("x-clawdbot-agent-id", name).send().await;
        assert_eq!(answer.content(), "I am the other", "{fault}");
        let events = gateway.ask("hi").header("x-clawdbot-agent-id", name).stream().await.end().await;
        assert_eq!(events.content(), "I am the other", "{fault}");
        let asked = if cools_down { 1 } else { 2 };
        let after = (gateway.provider.asked().len(), other.asked().len());
        assert_eq!(after, (before.0 + asked, before.1 + 2), "{fault}");
    }
}

async fn every_key_of_a_provider_is_tried(topology: Topology) {
    let keys = json!({"models": {"providers": {"stub": {"apiKeys": ["second-key", "third-key"]}}}});
    let gateway = Gateway::with_config(topology, keys).await;
    gateway.provider.answers_once(Reply::error(401, "error", "invalid_api_key", "no"));
    gateway.provider.answers_once(Reply::error(402, "error", "insufficient_quota", "no"));
    assert_eq!(gateway.ask("hi").send().await.content(), "hello");
    assert_eq!(gateway.ask("hi").send().await.content(), "hello");
    let keys: Vec<_> = gateway.provider.asked().iter().map(|asked| asked.header("authorization").to_owned()).collect();
    assert_eq!(keys, ["Bearer provider-key", "Bearer second-key", "Bearer third-key", "Bearer third-key"]);
}

async fn a_failure_that_passes_is_not_noticed(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    gateway.provider.answers_once(Reply::error(503, "error", "overloaded", "no"));
    gateway.provider.answers_once(Reply::error(429, "error", "rate_limit_exceeded", "no").header("retry-after", "0"));
    assert_eq!(gateway.ask("hi").send().await.content(), "hello");
    assert_eq!(gateway.provider.asked().len(), 3);
}

async fn an_answer_that_was_begun_is_not_begun_again(topology: Topology) {
    let other = Provider::start().await;
    let gateway = Gateway::with_config(topology, with_fallback(&other)).await;
    gateway.provider.answers(Reply::stream().delta("he").break_off());
    let events = gateway.ask("hi").user("alice").stream().await.end().await;
    assert_eq!(events.text(), "he");
    assert_error(&events.error(), "api_error", "upstream_error");
    assert_eq!((gateway.provider.asked().len(), other.asked().len()), (1, 0));
}

async fn when_nobody_answers_the_error_names_everybody(topology: Topology) {
    let other = Provider::start().await;
    let gateway = Gateway::with_config(topology, with_fallback(&other)).await;
    gateway.provider.answers(Reply::error(429, "error", "rate_limit_exceeded", "internals of the provider"));
    other.answers(Reply::error(401, "error", "invalid_api_key", "bad key other-key"));
    let answer = gateway.ask("hi").send().await;
    // What the first model said decides.
    answer.assert_error(429, "rate_limit_error", "upstream_rate_limit");
    for part in ["stub/test-model", "limits the rate", "other/test-model", "refused the gateway's credentials"] {
        assert!(answer.body.contains(part), "{part}: {}", answer.body);
    }
    for private in ["internals", "other-key", "127.0.0.1"] {
        assert!(!answer.body.contains(private), "{}", answer.body);
    }
}

async fn a_trace_shows_both_providers(topology: Topology) {
    let (collector, other) = (Collector::start(), Provider::start().await);
    let gateway = Gateway::on(topology)
        .await
        .config(with_fallback(&other))
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())
        .env("OTEL_BSP_SCHEDULE_DELAY", "100")
        .start()
        .await;
    gateway.provider.answers(Reply::error(500, "server_error", "server_error", "out of order"));
    assert_eq!(gateway.ask("hi").send().await.content(), "hello");
    let trace_of = |asked: Asked| asked.header("traceparent").split('-').nth(1).map(str::to_owned);
    let trace_id = trace_of(gateway.provider.last_asked());
    assert!(trace_id.is_some());
    assert_eq!(trace_id, trace_of(other.last_asked()));
    let chats = |spans: &[CollectedSpan]| {
        let of_trace = spans.iter().filter(|span| Some(span.trace_id()) == trace_id);
        let chats = of_trace.filter(|span| span.span.name == "chat test-model");
        let mut told: Vec<_> = chats
            .map(|span| {
                let failed = span.span.status.as_ref().is_some_and(|status| status.code == 2);
                (span.attribute("gen_ai.provider.name"), span.attribute("error.type"), failed)
            })
            .collect();
        told.sort();
        told
    };
    let expected = [("other".to_owned(), String::new(), false), ("stub".to_owned(), "network".to_owned(), true)];
    collector.spans(|spans| chats(spans) == expected).await;
}
