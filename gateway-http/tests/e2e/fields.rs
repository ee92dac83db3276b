//! Fields of Chat Completions: what reaches the provider, what comes back for it, and what is refused.

use async_openai::types::chat::{CreateChatCompletionResponse, CreateChatCompletionStreamResponse};
use serde_json::{Value, json};

use crate::{
    harness::{Collector, Gateway, Topology, each_topology},
    provider::Reply,
};

each_topology![
    what_providers_know_is_passed_on,
    what_means_nothing_here_is_accepted,
    what_cannot_be_had_is_refused,
    tools_that_are_not_allowed_are_not_offered,
    probabilities_are_told_where_the_provider_gives_them,
    a_refusal_is_told_as_one,
    an_answer_without_the_call_that_was_demanded_is_an_error,
    a_call_that_was_demanded_comes_with_what_was_said_before,
    labels_are_on_the_trace,
    odd_texts_arrive_whole,
];

async fn what_providers_know_is_passed_on(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let fields = json!({
        "reasoning_effort": "high",
        "verbosity": "low",
        "logprobs": true,
        "top_logprobs": 3,
        "logit_bias": {"50256": -100, "7": 1.5},
        "safety_identifier": "someone",
        "prompt_cache_key": "group",
    });
    let fields = fields.as_object().unwrap();
    let request = fields.iter().fold(gateway.ask("hi"), |request, (name, value)| request.with(name, value.clone()));
    let labels = json!({"chat": "7"});
    request.user("alice").with("metadata", labels).send().await.content();
    let sent = gateway.provider.last_asked().body;
    for (name, value) in fields {
        assert_eq!(&sent[name], value, "{name}");
    }
    // Who the user is, is nobody else's business.
    for name in ["user", "metadata"] {
        assert_eq!(sent.get(name), None, "{name}");
    }
}

async fn what_means_nothing_here_is_accepted(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let request = gateway
        .ask("hi")
        .with("service_tier", "priority")
        .with("store", true)
        .with("prediction", json!({"type": "content", "content": "hello"}))
        .with("modalities", json!(["text"]))
        .with("prompt_cache_retention", "24h")
        .with("stream_options", json!({"include_obfuscation": true}))
        .with("made_up", json!([1, 2]));
    assert_eq!(request.send().await.content(), "hello");
    let sent = gateway.provider.last_asked().body;
    let mut names: Vec<_> = sent.as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(names, ["messages", "model", "stream", "stream_options"]);
}

async fn what_cannot_be_had_is_refused(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let refused = [
        ("stream", json!("yes"), "stream"),
        ("n", json!(2), "n"),
        ("modalities", json!(["audio"]), "modalities"),
        ("audio", json!({"voice": "alloy", "format": "mp3"}), "audio"),
        ("functions", json!([{"name": "f"}]), "functions"),
        ("function_call", json!("auto"), "function_call"),
        ("moderation", json!({"model": "m"}), "moderation"),
        ("web_search_options", json!({}), "web_search_options"),
        ("top_logprobs", json!(3), "top_logprobs"),
        ("metadata", json!({"a": 1}), "metadata.a"),
        ("tools", json!([{"type": "custom", "custom": {"name": "f"}}]), "tools[0].type"),
    ];
    for (field, value, param) in refused {
        let answer = gateway.ask("hi").with(field, value).send().await;
        let error = answer.assert_error(400, "invalid_request_error", "invalid_value");
        assert_eq!(error["param"], param);
    }
    assert!(gateway.provider.asked().is_empty());
}

fn tool(name: &str) -> Value {
    json!({"type": "function", "function": {"name": name}})
}

async fn tools_that_are_not_allowed_are_not_offered(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let choice = json!({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [tool("g")]}});
    let request = gateway.ask("hi").with("tools", json!([tool("f"), tool("g")])).with("tool_choice", choice);
    request.send().await.content();
    let sent = gateway.provider.last_asked().body;
    assert_eq!((&sent["tools"], &sent["tool_choice"]), (&json!([tool("g")]), &json!("auto")));
}

/// The provider says `ab` in two chunks, the first with its token's probability.
fn with_probabilities(token: &Value) -> Reply {
    let choice = json!({
        "index": 0, "delta": {"content": "a"}, "finish_reason": null,
        "logprobs": {"content": [token], "refusal": null},
    });
    Reply::stream().event(&json!({"choices": [choice]})).delta("b").finish("stop").usage(7, 2).done()
}

async fn probabilities_are_told_where_the_provider_gives_them(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let candidate = json!({"token": "b", "logprob": -2.5, "bytes": [98]});
    let token = json!({"token": "a", "logprob": -0.25, "bytes": [97], "top_logprobs": [candidate]});
    let expected = json!({"content": [token], "refusal": null});
    gateway.provider.answers(with_probabilities(&token));
    let request = gateway.ask("hi").with("logprobs", true).with("top_logprobs", 1);
    let answer = request.clone().send().await;
    assert_eq!((answer.content().as_str(), &answer.json()["choices"][0]["logprobs"]), ("ab", &expected));
    let typed: CreateChatCompletionResponse = serde_json::from_value(answer.json()).unwrap();
    assert!(typed.choices[0].logprobs.is_some());

    let events = request.stream().await.end().await;
    assert_eq!(events.content(), "ab");
    let told: Vec<_> = events.chunks().iter().map(|chunk| chunk["choices"][0]["logprobs"].clone()).collect();
    assert_eq!(told, [Value::Null, expected, Value::Null, Value::Null]);

    gateway.provider.answers(Reply::text(&["hello"]));
    let answer = gateway.ask("hi").with("logprobs", true).send().await;
    assert_eq!(answer.json()["choices"][0]["logprobs"], Value::Null);
}

async fn a_refusal_is_told_as_one(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let choice = |refusal: &str| json!([{"index": 0, "delta": {"refusal": refusal}, "finish_reason": null}]);
    let begun =
        Reply::stream().event(&json!({"choices": choice("I must")})).event(&json!({"choices": choice(" not.")}));
    gateway.provider.answers(begun.finish("stop").usage(7, 2).done());
    let answer = gateway.ask("hi").user("alice").send().await;
    let choice = &answer.json()["choices"][0];
    assert_eq!(choice["message"], json!({"role": "assistant", "content": null, "refusal": "I must not."}));
    assert_eq!(choice["finish_reason"], "stop");
    let messages = gateway.session("GET", answer.session_key(), "/messages").send().await.json();
    assert_eq!(messages["data"][1]["content"], json!([{"type": "refusal", "refusal": "I must not."}]));

    let events = gateway.ask("hi").stream().await.end().await;
    assert_eq!(events.content(), "");
    let deltas = events.chunks().into_iter().map(|chunk| chunk["choices"][0]["delta"]["refusal"].clone());
    let deltas: Vec<_> = deltas.filter(Value::is_string).collect();
    assert_eq!(deltas, ["I must", " not."]);
}

async fn an_answer_without_the_call_that_was_demanded_is_an_error(topology: Topology) {
    let once = json!({"agents": {"defaults": {"modelRetries": 0}}});
    let gateway = Gateway::with_config(topology, once).await;
    gateway.provider.answers(Reply::text(&["I would ", "rather talk."]));
    for choice in [json!("required"), json!({"type": "function", "function": {"name": "f"}})] {
        let request = gateway.ask("hi").with("tools", json!([tool("f")])).with("tool_choice", choice);
        let answer = request.clone().send().await;
        let error = answer.assert_error(502, "api_error", "upstream_error");
        assert!(error["message"].as_str().unwrap().contains("`tool_choice`"), "{error}");
        // Before anything is heard a failure has a status of its own, unless the stream is open by then.
        let answer = request.with("stream", true).send().await;
        assert!(answer.body.contains("upstream_error") && !answer.body.contains("rather"), "{}", answer.body);
    }
    // An answer that was cut short may not have come to its call.
    gateway.provider.answers(Reply::stream().delta("I wo").finish("length").usage(7, 1).done());
    let request = gateway.ask("hi").with("tools", json!([tool("f")])).with("tool_choice", "required");
    assert_eq!(request.send().await.content(), "I wo");
}

async fn a_call_that_was_demanded_comes_with_what_was_said_before(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let call = json!([{"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
    let reply =
        Reply::stream().delta("Let me ").delta("see.").tool_calls(&call).finish("tool_calls").usage(7, 3).done();
    // The first answer slips, and is asked for again.
    gateway.provider.answers_once(Reply::text(&["no"]));
    gateway.provider.answers(reply);
    let request = gateway.ask("hi").with("tools", json!([tool("f")])).with("tool_choice", "required");
    let events = request.stream().await.end().await;
    assert_eq!((events.content().as_str(), events.finish_reasons()), ("Let me see.", vec!["tool_calls".to_owned()]));
    assert_eq!(gateway.provider.asked().len(), 2);
}

async fn labels_are_on_the_trace(topology: Topology) {
    let collector = Collector::start();
    let gateway = Gateway::on(topology)
        .await
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())
        .env("OTEL_BSP_SCHEDULE_DELAY", "100")
        .start()
        .await;
    gateway.ask("hi").with("metadata", json!({"chat": "7", "team": "blue"})).send().await.content();
    let spans = collector.spans(|spans| spans.iter().any(|span| span.attribute("openai.metadata.chat") == "7")).await;
    let labelled = spans.iter().find(|span| span.attribute("openai.metadata.chat") == "7").unwrap();
    assert_eq!(labelled.span.name, "POST /v1/chat/completions");
    assert_eq!(labelled.attribute("openai.metadata.team"), "blue");
}

async fn odd_texts_arrive_whole(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let deltas = ["<", "think", ">", "", "\u{2028}", "\"", "\r\n", "{\"a\":", "data: [DONE]", "\u{1F980}", "<"];
    let said = deltas.concat();
    let reply = Reply::text(&deltas).delta("after the end");
    gateway.provider.answers(reply);
    assert_eq!(gateway.ask("hi").send().await.content(), said);
    let events = gateway.ask("hi").stream().await.end().await;
    assert_eq!(events.content(), said);
    let chunks = events.chunks();
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    assert!(chunks.iter().all(|chunk| (&chunk["id"], &chunk["created"]) == (&chunks[0]["id"], &chunks[0]["created"])));
    for chunk in chunks {
        assert!(chunk["choices"][0].get("finish_reason").is_some(), "{chunk}");
        serde_json::from_value::<CreateChatCompletionStreamResponse>(chunk).unwrap();
    }
    assert!(!events.data.iter().any(|data| data.contains("after the end")), "{events:?}");
}
