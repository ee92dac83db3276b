//! Streamed answers: the order of chunks, what all of them share, and what keeps an idle stream open.

use std::collections::HashSet;

use async_openai::types::chat::CreateChatCompletionStreamResponse;
use serde_json::json;

use crate::{
    harness::{Gateway, Topology, each_topology},
    provider::{Gate, Reply},
};

each_topology![
    a_stream_is_role_then_text_then_finish_then_done,
    a_stream_ends_with_its_usage_when_asked,
    equal_deltas_are_all_sent,
    a_stream_begins_before_the_provider_has_answered,
    a_delta_is_sent_before_the_next_one_exists,
    a_stream_without_text_still_ends_properly,
    an_idle_stream_is_kept_alive_by_comments,
    text_survives_any_cut_of_the_providers_bytes,
    a_flood_of_deltas_keeps_its_order,
];

async fn a_stream_is_role_then_text_then_finish_then_done(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    gateway.provider.answers(Reply::text(&["he", "llo"]));
    let stream = gateway.ask("hi").stream().await;
    assert!(stream.header("content-type").starts_with("text/event-stream"));
    let events = stream.end().await;
    assert_eq!(events.content(), "hello");

    let chunks = events.chunks();
    let [role, texts @ .., finish] = chunks.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!(role["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(role["choices"][0]["delta"]["content"].as_str().unwrap_or_default(), "");
    assert!(!texts.is_empty());
    for text in texts {
        assert!(text["choices"][0]["delta"]["content"].is_string(), "{text}");
    }
    assert_eq!(finish["choices"][0]["delta"], json!({}));
    assert_eq!(finish["choices"][0]["finish_reason"], "stop");

    for chunk in &chunks {
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert_eq!(chunk["model"], "clawdbot");
        assert!(chunk["usage"].is_null(), "not asked for: {chunk}");
        serde_json::from_value::<CreateChatCompletionStreamResponse>(chunk.clone()).unwrap();
    }
    let ids: HashSet<_> = chunks.iter().map(|chunk| (chunk["id"].as_str(), chunk["created"].as_u64())).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert!(chunks[0]["id"].as_str().unwrap().starts_with("chatcmpl"), "{ids:?}");
}

async fn a_stream_ends_with_its_usage_when_asked(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let request = gateway.ask("hi").with("stream_options", json!({"include_usage": true}));
    let events = request.stream().await.end().await;
    assert_eq!(events.content(), "hello");
    let chunks = events.chunks();
    let [.., finish, usage] = chunks.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!(finish["choices"][0]["finish_reason"], "stop");
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"]["prompt_tokens"], 7);
    assert_eq!(usage["usage"]["completion_tokens"], 3);
    assert_eq!(usage["usage"]["total_tokens"], 10);
    for chunk in &chunks {
        serde_json::from_value::<CreateChatCompletionStreamResponse>(chunk.clone()).unwrap();
    }
}

async fn equal_deltas_are_all_sent(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    gateway.provider.answers(Reply::text(&["hi", "hi"]));
    assert_eq!(gateway.ask("hi").stream().await.end().await.content(), "hihi");
}

async fn a_stream_begins_before_the_provider_has_answered(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let gate = Gate::default();
    gateway.provider.answers(Reply::text(&["hello"]).after(&gate));
    let mut stream = gateway.ask("hi").stream().await;
    let first = stream.next_chunk().await;
    assert_eq!(first["choices"][0]["delta"]["role"], "assistant");
    gate.open();
    assert_eq!(stream.end().await.content(), "hello");
}

async fn a_delta_is_sent_before_the_next_one_exists(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let (second, third) = (Gate::default(), Gate::default());
    let begun = Reply::stream().delta("one ").wait_for(&second).delta("two ");
    gateway.provider.answers(begun.wait_for(&third).delta("three").finish("stop").usage(7, 3).done());
    let mut stream = gateway.ask("count").stream().await;
    stream.text("one ").await;
    second.open();
    stream.text("two ").await;
    third.open();
    assert_eq!(stream.end().await.content(), "one two three");
}

async fn a_stream_without_text_still_ends_properly(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    gateway.provider.answers(Reply::text(&[]));
    let events = gateway.ask("hi").stream().await.end().await;
    assert_eq!(events.content(), "");
    assert_eq!(events.chunks()[0]["choices"][0]["delta"]["role"], "assistant");
}

async fn an_idle_stream_is_kept_alive_by_comments(topology: Topology) {
    let gateway = Gateway::with_config(topology, json!({"gateway": {"http": {"keepAliveMs": 50}}})).await;
    let gate = Gate::default();
    gateway.provider.answers(Reply::stream().wait_for(&gate).delta("hello").finish("stop").done());
    let mut stream = gateway.ask("hi").stream().await;
    stream.comments(3).await;
    gate.open();
    assert_eq!(stream.end().await.content(), "hello");
}

async fn text_survives_any_cut_of_the_providers_bytes(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let text = "Grüße 👩‍👩‍👧 \u{2028} \"quoted\" \\ \n\t 日本語";
    for size in [1, 2, 3, 7] {
        gateway.provider.answers(Reply::text(&[text, text]).in_pieces_of(size));
        let events = gateway.ask("hi").stream().await.end().await;
        assert_eq!(events.content(), text.repeat(2), "pieces of {size}");
    }
}

async fn a_flood_of_deltas_keeps_its_order(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let deltas: Vec<String> = (0..1_000).map(|number| format!("{number} ")).collect();
    let deltas: Vec<&str> = deltas.iter().map(String::as_str).collect();
    gateway.provider.answers(Reply::text(&deltas));
    assert_eq!(gateway.ask("count").stream().await.end().await.content(), deltas.concat());
    assert_eq!(gateway.ask("count").send().await.content(), deltas.concat());
}
