//! Answers without streaming: their shape, their cost, and the options that reach the provider.

use async_openai::types::chat::CreateChatCompletionResponse;
use serde_json::{Value, json};

use crate::{
    harness::{Gateway, Request, Topology, each_topology},
    provider::Reply,
};

each_topology![
    an_answer_has_the_shape_of_openais,
    an_answer_carries_the_providers_usage,
    an_answer_without_text_is_an_answer,
    an_answer_cut_by_its_limit_says_so,
    options_reach_the_provider,
    a_header_names_another_model,
    the_environment_alone_names_a_provider,
    options_that_are_not_given_are_not_sent,
    a_message_of_more_than_a_megabyte_is_taken,
];

async fn an_answer_has_the_shape_of_openais(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let answer = gateway.ask("hi").with("stream", false).send().await;
    assert_eq!(answer.content(), "hello");
    let json = answer.json();
    assert!(json["id"].as_str().unwrap().starts_with("chatcmpl"), "{json}");
    assert!(json["created"].as_u64().unwrap() > 1_700_000_000, "{json}");
    assert_eq!((&json["object"], &json["model"]), (&json!("chat.completion"), &json!("clawdbot")));
    let expected = json!([{
        "index": 0,
        "message": {"role": "assistant", "content": "hello", "refusal": null},
        "logprobs": null,
        "finish_reason": "stop",
    }]);
    assert_eq!(json["choices"], expected);
    let typed: CreateChatCompletionResponse = serde_json::from_value(json).unwrap();
    assert_eq!(typed.choices[0].message.content.as_deref(), Some("hello"));
}

async fn an_answer_carries_the_providers_usage(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let reply = Reply::stream().delta("hello").finish("stop").usage(42, 17).done();
    gateway.provider.answers(reply);
    let usage = &gateway.ask("hi").send().await.json()["usage"];
    assert_eq!(usage["prompt_tokens"], 42);
    assert_eq!(usage["completion_tokens"], 17);
    assert_eq!(usage["total_tokens"], 59);
}

async fn an_answer_without_text_is_an_answer(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    gateway.provider.answers(Reply::text(&[]));
    let answer = gateway.ask("hi").send().await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let choice = &answer.json()["choices"][0];
    assert_eq!(choice["message"]["content"].as_str().unwrap_or_default(), "");
    assert_eq!(choice["finish_reason"], "stop");
}

async fn an_answer_cut_by_its_limit_says_so(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let reply = Reply::stream().delta("hel").finish("length").usage(7, 1).done();
    gateway.provider.answers(reply);
    let answer = gateway.ask("hi").with("max_tokens", 1).send().await;
    assert_eq!(answer.content(), "hel");
    assert_eq!(answer.json()["choices"][0]["finish_reason"], "length");
}

async fn options_reach_the_provider(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]});
    let options = json!({
        "temperature": 0.25,
        "top_p": 0.5,
        "seed": 7,
        "stop": ["END", "STOP"],
        "frequency_penalty": 0.5,
        "presence_penalty": -0.5,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "number", "schema": schema, "strict": true},
        },
    });
    let request = with_fields(&gateway, &options).with("max_completion_tokens", 99);
    request.send().await.content();
    let sent = gateway.provider.last_asked().body;
    for (name, value) in options.as_object().unwrap() {
        assert_eq!(&sent[name], value, "{name}");
    }
    let limit = sent.get("max_completion_tokens").or_else(|| sent.get("max_tokens"));
    assert_eq!(limit, Some(&json!(99)), "{sent}");
}

fn with_fields(gateway: &Gateway, fields: &Value) -> Request {
    let fields = fields.as_object().unwrap();
    fields.iter().fold(gateway.ask("hi"), |request, (name, value)| request.with(name, value.clone()))
}

async fn a_header_names_another_model(topology: Topology) {
    let listed = json!({"models": {"providers": {"stub": {"models": [{"id": "test-model"}, {"id": "other/model"}]}}}});
    let gateway = Gateway::with_config(topology, listed).await;
    for name in ["x-clawdbot-model", "x-openclaw-model", "x-moltbot-model"] {
        gateway.ask("hi").header(name, "stub/other/model").send().await.content();
        assert_eq!(gateway.provider.last_asked().body["model"], "other/model");
    }
    for model in ["stub/unlisted", "nobody/model", "model"] {
        let refused = gateway.ask("hi").header("x-clawdbot-model", model).send().await;
        let error = refused.assert_error(400, "invalid_request_error", "invalid_value");
        assert_eq!(error["param"], "x-clawdbot-model", "{model}");
    }
}

async fn the_environment_alone_names_a_provider(topology: Topology) {
    let prepared = Gateway::on(topology).await.config(json!({"models": null, "agents": null}));
    let base_url = prepared.provider_url();
    let prepared = prepared.env("OPENAI_API_KEY", "key-of-the-environment").env("OPENAI_BASE_URL", &base_url);
    let gateway = prepared.env("CLAWDBOT_MODEL", "openai/some-model").start().await;
    assert_eq!(gateway.ask("hi").user("alice").send().await.content(), "hello");
    let asked = gateway.provider.last_asked();
    assert_eq!(asked.header("authorization"), "Bearer key-of-the-environment");
    assert_eq!(asked.body["model"], "some-model");
}

async fn options_that_are_not_given_are_not_sent(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let request = gateway.ask("hi").with("temperature", Value::Null);
    request.with("made_up_field", json!({"a": 1})).send().await.content();
    let sent = gateway.provider.last_asked().body;
    let mut names: Vec<_> = sent.as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(names, ["messages", "model", "stream", "stream_options"]);
}

async fn a_message_of_more_than_a_megabyte_is_taken(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let long = "x".repeat(5_000_000);
    assert_eq!(gateway.ask(&long).send().await.content(), "hello");
    let sent = gateway.provider.last_asked().conversation();
    assert_eq!(sent[0].len(), "user: ".len() + long.len());
}
