//! `POST /v1/embeddings`: who makes the vectors, their shape, and what a client is told when there are none.

use std::time::Instant;

use serde_json::{Value, json};

use crate::{
    harness::{CollectedSpan, Collector, Gateway, Request, Topology, TracedSpan, each_topology},
    provider::Reply,
};

each_topology![
    texts_become_vectors_in_the_shape_of_openais,
    vectors_may_be_base64,
    each_agent_has_its_model_and_a_header_names_another,
    google_makes_vectors_too,
    a_wrong_request_names_the_field,
    limits_can_be_set,
    without_a_model_the_error_names_the_setting,
    what_fails_at_the_provider_is_told_as_of_a_chat,
    an_answer_that_is_not_whole_is_a_bad_gateway,
    the_next_key_is_asked_when_one_is_refused,
    a_hang_up_reaches_the_provider_of_vectors,
    they_can_be_turned_off,
    the_question_is_in_the_requests_trace_without_its_texts,
];

fn vectors(vectors: &[&[f32]]) -> Reply {
    let vector =
        |(index, embedding): (usize, &&[f32])| json!({"object": "embedding", "index": index, "embedding": embedding});
    let data: Vec<Value> = vectors.iter().enumerate().map(vector).collect();
    let usage = json!({"prompt_tokens": 5, "total_tokens": 5});
    Reply::json(&json!({"object": "list", "data": data, "model": "m", "usage": usage}))
}

fn searching() -> Value {
    json!({"agents": {"defaults": {"memorySearch": {"provider": "stub", "model": "embedder"}}}})
}

async fn start(topology: Topology) -> Gateway {
    let gateway = Gateway::with_config(topology, searching()).await;
    gateway.provider.answers(vectors(&[&[0.5, -1.0]]));
    gateway
}

fn embed(gateway: &Gateway, input: impl Into<Value>) -> Request {
    gateway.request("POST", "/v1/embeddings").json(json!({"model": "clawdbot", "input": input.into()}))
}

async fn texts_become_vectors_in_the_shape_of_openais(topology: Topology) {
    let gateway = start(topology).await;
    gateway.provider.answers_once(vectors(&[&[0.5, -1.0], &[2.0, 3.0]]));
    let answer = embed(&gateway, json!(["a", "b"])).with("dimensions", 2).with("user", "alice").send().await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let expected = json!({
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [0.5, -1.0]},
            {"object": "embedding", "index": 1, "embedding": [2.0, 3.0]},
        ],
        "model": "clawdbot",
        "usage": {"prompt_tokens": 5, "total_tokens": 5},
    });
    assert_eq!(answer.json(), expected);
    let asked = gateway.provider.last_asked();
    assert_eq!(asked.path, "/v1/embeddings");
    assert_eq!(asked.header("authorization"), "Bearer provider-key");
    assert_eq!(asked.body, json!({"model": "embedder", "input": ["a", "b"], "dimensions": 2}));
    embed(&gateway, "a").anonymous().send().await.assert_error(401, "authentication_error", "invalid_api_key");
}

async fn vectors_may_be_base64(topology: Topology) {
    let gateway = start(topology).await;
    let answer = embed(&gateway, "a").with("encoding_format", "base64").send().await.json();
    assert_eq!(answer["data"][0]["embedding"], "AAAAPwAAgL8=");
}

async fn each_agent_has_its_model_and_a_header_names_another(topology: Topology) {
    let patch = json!({"agents": {"list": [
        {"id": "main", "default": true},
        {"id": "beta", "memorySearch": {"model": "of-beta"}},
    ]}});
    let gateway = Gateway::on(topology).await.config(searching()).config(patch).start().await;
    gateway.provider.answers(vectors(&[&[1.0]]));
    for (model, expected) in
        [("clawdbot", "embedder"), ("text-embedding-3-large", "embedder"), ("clawdbot/beta", "of-beta")]
    {
        let answer = embed(&gateway, "a").with("model", model).send().await;
        assert_eq!(answer.json()["model"], model, "{}", answer.body);
        assert_eq!(gateway.provider.last_asked().body["model"], expected);
    }
    embed(&gateway, "a").header("x-clawdbot-agent-id", "beta").send().await;
    assert_eq!(gateway.provider.last_asked().body["model"], "of-beta");
    embed(&gateway, "a").header("x-clawdbot-model", "stub/another").send().await;
    assert_eq!(gateway.provider.last_asked().body["model"], "another");
    let unknown = embed(&gateway, "a").with("model", "clawdbot/nobody").send().await;
    unknown.assert_error(404, "invalid_request_error", "model_not_found");
    let unknown = embed(&gateway, "a").header("x-clawdbot-model", "nobody/m").send().await;
    let error = unknown.assert_error(400, "invalid_request_error", "invalid_value");
    assert_eq!(error["param"], "x-clawdbot-model");
}

async fn google_makes_vectors_too(topology: Topology) {
    let prepared = Gateway::on(topology).await;
    let base_url = prepared.provider_url();
    let google = json!({"api": "google-generative-ai", "baseUrl": base_url, "apiKey": "google-key"});
    let patch = json!({
        "models": {"providers": {"google": google}},
        "agents": {"defaults": {"memorySearch": {"provider": "gemini"}}},
    });
    let gateway = prepared.config(patch).start().await;
    gateway.provider.answers(Reply::json(&json!({"embeddings": [{"values": [0.5]}]})));
    let answer = embed(&gateway, "a").send().await.json();
    assert_eq!(answer["data"][0]["embedding"], json!([0.5]), "{answer}");
    let asked = gateway.provider.last_asked();
    assert_eq!(asked.path, "/v1/models/gemini-embedding-001:batchEmbedContents");
    assert_eq!(asked.header("x-goog-api-key"), "google-key");
}

async fn a_wrong_request_names_the_field(topology: Topology) {
    let gateway = start(topology).await;
    let check = async |request: Request, param: &str| {
        let error = request.send().await.assert_error(400, "invalid_request_error", "invalid_value");
        assert_eq!(error["param"], param, "{error}");
        error["message"].as_str().unwrap().to_owned()
    };
    check(embed(&gateway, "a").with("model", Value::Null), "model").await;
    check(embed(&gateway, Value::Null), "input").await;
    check(embed(&gateway, json!([])), "input").await;
    check(embed(&gateway, json!(["a", ""])), "input[1]").await;
    check(embed(&gateway, json!(vec!["a"; 129])), "input").await;
    check(embed(&gateway, "x".repeat(8193)), "input").await;
    check(embed(&gateway, json!(vec!["x".repeat(8192); 9])), "input").await;
    check(embed(&gateway, "a").with("dimensions", 0), "dimensions").await;
    check(embed(&gateway, "a").with("encoding_format", "hex"), "encoding_format").await;
    for ids in [json!([1, 2]), json!([[1, 2], [3]])] {
        let message = check(embed(&gateway, ids), "input[0]").await;
        assert!(message.contains("token ids are not taken"), "{message}");
    }
    let broken = gateway.request("POST", "/v1/embeddings").text("{");
    broken.send().await.assert_error(400, "invalid_request_error", "invalid_json");
    let got = gateway.request("GET", "/v1/embeddings").send().await;
    got.assert_error(405, "invalid_request_error", "method_not_allowed");
    assert!(gateway.provider.asked().is_empty());
}

async fn limits_can_be_set(topology: Topology) {
    let limits = json!({"maxInputs": 2, "maxInputChars": 3, "maxTotalChars": 4});
    let patch = json!({"gateway": {"http": {"endpoints": {"embeddings": limits}}}});
    let gateway = Gateway::on(topology).await.config(searching()).config(patch).start().await;
    gateway.provider.answers(vectors(&[&[0.5], &[1.0]]));
    assert_eq!(embed(&gateway, json!(["abc", "d"])).send().await.status, 200);
    for input in [json!(["a", "b", "c"]), json!("abcd"), json!(["abc", "de"])] {
        embed(&gateway, input).send().await.assert_error(400, "invalid_request_error", "invalid_value");
    }
}

async fn without_a_model_the_error_names_the_setting(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let error = embed(&gateway, "a").send().await.assert_error(400, "invalid_request_error", "invalid_value");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("`agents.defaults.memorySearch.provider`"), "{message}");
}

async fn what_fails_at_the_provider_is_told_as_of_a_chat(topology: Topology) {
    let gateway = start(topology).await;
    let check = async |reply: Reply, status: u16, kind: &str, code: &str| {
        gateway.provider.answers(reply);
        let answer = embed(&gateway, "a").send().await;
        answer.assert_error(status, kind, code);
        assert!(!answer.body.contains("provider-key"), "{}", answer.body);
        answer
    };
    let limited = Reply::error(429, "requests", "rate_limit_exceeded", "slow down").header("retry-after", "7");
    let answer = check(limited, 429, "rate_limit_error", "upstream_rate_limit").await;
    assert_eq!(answer.header("retry-after"), "7");
    let refused = Reply::error(400, "invalid_request_error", "x", "no such model, provider-key");
    let answer = check(refused, 400, "invalid_request_error", "upstream_invalid_request").await;
    assert!(answer.body.contains("no such model, ***"), "{}", answer.body);
    let unpaid = Reply::error(429, "insufficient_quota", "insufficient_quota", "pay");
    check(unpaid, 402, "insufficient_quota", "insufficient_quota").await;
    check(Reply::error(401, "x", "invalid_api_key", "who?"), 502, "api_error", "upstream_auth").await;
    check(Reply::error(500, "x", "x", "broken"), 502, "api_error", "upstream_error").await;
}

async fn an_answer_that_is_not_whole_is_a_bad_gateway(topology: Topology) {
    let patient = json!({"agents": {"defaults": {"modelRetries": 0}}});
    let gateway = Gateway::on(topology).await.config(searching()).config(patient).start().await;
    for reply in [vectors(&[&[1.0]]), vectors(&[&[1.0], &[1.0, 2.0]]), Reply::json(&json!({})), Reply::text(&["hello"])]
    {
        gateway.provider.answers(reply);
        embed(&gateway, json!(["a", "b"])).send().await.assert_error(502, "api_error", "upstream_error");
    }
}

async fn the_next_key_is_asked_when_one_is_refused(topology: Topology) {
    let keys = json!({"models": {"providers": {"stub": {"apiKeys": ["second-key"]}}}});
    let gateway = Gateway::on(topology).await.config(searching()).config(keys).start().await;
    gateway.provider.answers_once(Reply::error(401, "x", "invalid_api_key", "who?"));
    gateway.provider.answers(vectors(&[&[1.0]]));
    assert_eq!(embed(&gateway, "a").send().await.status, 200);
    let keys: Vec<_> = gateway.provider.asked().iter().map(|asked| asked.header("authorization").to_owned()).collect();
    assert_eq!(keys, ["Bearer provider-key", "Bearer second-key"]);
}

async fn a_hang_up_reaches_the_provider_of_vectors(topology: Topology) {
    let gateway = start(topology).await;
    gateway.provider.answers(vectors(&[&[1.0]]).hang());
    let request = tokio::spawn(embed(&gateway, "a").send());
    gateway.provider.request(1).await;
    let hung_up = Instant::now();
    request.abort();
    let took = gateway.provider.hang_up().await.saturating_duration_since(hung_up);
    eprintln!("the hang-up took {:.1} ms to the provider", took.as_secs_f64() * 1_000.0);
}

async fn they_can_be_turned_off(topology: Topology) {
    let off = json!({"gateway": {"http": {"endpoints": {"embeddings": {"enabled": false}}}}});
    let gateway = Gateway::with_config(topology, off).await;
    embed(&gateway, "a").send().await.assert_error(404, "invalid_request_error", "not_found");
}

async fn the_question_is_in_the_requests_trace_without_its_texts(topology: Topology) {
    let collector = Collector::start();
    let gateway = Gateway::on(topology)
        .await
        .config(searching())
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())
        .env("OTEL_BSP_SCHEDULE_DELAY", "100")
        .start()
        .await;
    gateway.provider.answers(vectors(&[&[0.5]]));
    let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let traceparent = format!("00-{trace_id}-00f067aa0ba902b7-01");
    let text = "the rain in Spain";
    assert_eq!(embed(&gateway, text).header("traceparent", &traceparent).send().await.status, 200);
    let named = |name: &'static str| move |span: &&CollectedSpan| span.trace_id() == trace_id && span.span.name == name;
    let is_there = |spans: &[CollectedSpan]| {
        let is_named = |name| spans.iter().any(|span| named(name)(&span));
        is_named("embeddings embedder") && is_named("POST /v1/embeddings")
    };
    let spans = collector.spans(is_there).await;
    let span = spans.iter().find(named("embeddings embedder")).unwrap();
    assert_eq!(span.attribute("gen_ai.operation.name"), "embeddings");
    assert_eq!(span.attribute("gen_ai.provider.name"), "stub");
    assert_eq!(TracedSpan::from(span).attribute("gen_ai.usage.input_tokens"), 5);
    let request = spans.iter().find(named("POST /v1/embeddings")).unwrap();
    assert_eq!(request.attribute("gen_ai.agent.id"), "main");
    assert!(!format!("{spans:?}").contains(text) && !gateway.logs().contains(text));
}
