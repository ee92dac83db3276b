//! What a provider answers goes back to it with the next question: as it was said, and in its order.

use futures_util::StreamExt;
use serde_json::{Value, json};

use super::{
    result, sse,
    stub::{Reply, Stub},
    text,
    wire::{PATIENCE, question, remote},
};
use crate::{
    model::{Api, Model, Request},
    run::{Answer, Toolbox},
};

/// What the provider is sent after it has said this and called tools.
async fn replayed(api: Api, model: &str, data: &[&str], conversation: &str) -> Value {
    let stub = Stub::start([Reply::whole(&sse(data))]).await;
    let remote = remote(&stub, api, PATIENCE);
    let mut request = Request { model: model.to_owned(), ..question() };
    let (mut answer, toolbox) = (Answer::default(), Toolbox::default());
    let mut events = remote.stream(&request);
    while let Some(event) = events.next().await {
        answer.take(event.expect("an answer"), &toolbox);
    }
    let message = answer.finished().expect("it ended").message;
    let results: Vec<_> = message.tool_calls.iter().map(|call| result(&call.id, vec![text("7")])).collect();
    request.messages.push(message);
    request.messages.extend(results);
    remote.stream(&request).collect::<Vec<_>>().await;
    let asked: Value = serde_json::from_str(&stub.asked()[1].body).expect("JSON");
    let mut asked = asked[conversation].as_array().expect("a conversation").clone();
    asked.remove(0);
    asked.into()
}

#[tokio::test]
async fn anthropic_gets_its_blocks_back() {
    let block = |index: u64, block: Value, delta: Value| {
        let of =
            |kind: &str, field: &str, value: Value| json!({"type": kind, "index": index, field: value}).to_string();
        [
            of("content_block_start", "content_block", block),
            of("content_block_delta", "delta", delta),
            of("content_block_stop", "none", Value::Null),
        ]
    };
    let thinking = |index, thought: &str, signature: &str| {
        let start = json!({"type": "thinking", "thinking": thought});
        block(index, start, json!({"type": "signature_delta", "signature": signature}))
    };
    let saying = |index, words: &str| {
        let delta = json!({"type": "text_delta", "text": words});
        block(index, json!({"type": "text", "text": ""}), delta)
    };
    let calling = |index, arguments: &str| {
        let start = json!({"type": "tool_use", "id": "t1", "name": "f", "input": {}});
        block(index, start, json!({"type": "input_json_delta", "partial_json": arguments}))
    };
    let end = |reason: &str| {
        let end = json!({"type": "message_delta", "delta": {"stop_reason": reason}}).to_string();
        vec![end, json!({"type": "message_stop"}).to_string()]
    };
    let check = async |events: Vec<String>, blocks: Value| {
        let data: Vec<_> = events.iter().map(String::as_str).collect();
        let found = replayed(Api::AnthropicMessages, "claude-opus-4-6", &data, "messages").await;
        let results = json!([{"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "7"}],
            "cache_control": {"type": "ephemeral"}}]);
        let expected = json!([{"role": "assistant", "content": blocks}, {"role": "user", "content": results}]);
        assert_eq!(found, expected);
    };
    let interleaved = [
        thinking(0, "one", "s1"),
        saying(1, "let me"),
        thinking(2, "two", "s2"),
        saying(3, "see"),
        calling(4, "{\"a\":1}"),
    ];
    let blocks = json!([
        {"type": "thinking", "thinking": "one", "signature": "s1"},
        {"type": "text", "text": "let me"},
        {"type": "thinking", "thinking": "two", "signature": "s2"},
        {"type": "text", "text": "see"},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}},
    ]);
    check([interleaved.concat(), end("tool_use")].concat(), blocks).await;
    let cut_off = [thinking(0, "one", "s1"), calling(1, "{\"a\": \"b.t")];
    let blocks = json!([
        {"type": "thinking", "thinking": "one", "signature": "s1"},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
    ]);
    check([cut_off.concat(), end("max_tokens")].concat(), blocks).await;
}

#[tokio::test]
async fn responses_gets_its_items_back() {
    let item = |index: u64, item: Value| {
        json!({"type": "response.output_item.done", "output_index": index, "item": item}).to_string()
    };
    let thinking = |index, thought: &str, encrypted: &str| {
        let summary = json!([{"type": "summary_text", "text": thought}]);
        item(index, json!({"type": "reasoning", "summary": summary, "encrypted_content": encrypted}))
    };
    let saying = |words: &str| json!({"type": "response.output_text.delta", "delta": words}).to_string();
    let calling = |index, arguments: &str| {
        item(index, json!({"type": "function_call", "call_id": "c1", "name": "f", "arguments": arguments}))
    };
    let check = async |events: Vec<String>, items: Value| {
        let data: Vec<_> = events.iter().map(String::as_str).collect();
        let mut found = replayed(Api::OpenaiResponses, "gpt-5", &data, "input").await;
        let found = found.as_array_mut().expect("a list");
        let result = json!({"type": "function_call_output", "call_id": "c1", "output": "7"});
        assert_eq!(found.pop(), Some(result));
        assert_eq!(json!(found), items);
    };
    let thought = |thought: &str, encrypted: &str| {
        let summary = json!([{"type": "summary_text", "text": thought}]);
        json!({"type": "reasoning", "summary": summary, "encrypted_content": encrypted})
    };
    let said = |words: &str| json!({"role": "assistant", "content": [{"type": "output_text", "text": words}]});
    let call = |arguments: &str| json!({"type": "function_call", "call_id": "c1", "name": "f", "arguments": arguments});
    let completed = json!({"type": "response.completed", "response": {}}).to_string();
    let interleaved = vec![
        thinking(0, "one", "e1"),
        saying("let me"),
        thinking(2, "two", "e2"),
        saying("see"),
        calling(4, "{\"a\":1}"),
        completed,
    ];
    let items = json!([thought("one", "e1"), said("let me"), thought("two", "e2"), said("see"), call("{\"a\":1}")]);
    check(interleaved, items).await;
    let incomplete = json!({"type": "response.incomplete",
        "response": {"incomplete_details": {"reason": "max_output_tokens"}}});
    let cut_off = vec![thinking(0, "one", "e1"), calling(1, "{\"a\": \"b.t"), incomplete.to_string()];
    check(cut_off, json!([thought("one", "e1"), call("{}")])).await;
}

#[tokio::test]
async fn google_gets_its_parts_back() {
    let chunk = |parts: Value| json!({"candidates": [{"content": {"parts": parts}}]}).to_string();
    let end = |reason: &str| json!({"candidates": [{"finishReason": reason}]}).to_string();
    let check = async |chunks: [String; 2], parts: Value| {
        let [first, second] = &chunks;
        let found = replayed(Api::GoogleGenerativeAi, "gemini-3-pro", &[first, second], "contents").await;
        let results = json!([{"functionResponse": {"id": "c1", "name": "f", "response": {"result": "7"}}}]);
        assert_eq!(found, json!([{"role": "model", "parts": parts}, {"role": "user", "parts": results}]));
    };
    let told = json!([
        {"text": "one", "thought": true, "thoughtSignature": "s1"},
        {"text": "let me"},
        {"text": "two", "thought": true, "thoughtSignature": "s2"},
        {"text": "see", "thoughtSignature": "s3"},
        {"functionCall": {"id": "c1", "name": "f", "args": {"a": 1}}, "thoughtSignature": "s4"},
    ]);
    let parts = json!([
        {"text": "one", "thought": true, "thoughtSignature": "s1"},
        {"text": "let me"},
        {"text": "two", "thought": true, "thoughtSignature": "s2"},
        {"text": "see"},
        {"text": "", "thoughtSignature": "s3"},
        {"functionCall": {"id": "c1", "name": "f", "args": {"a": 1}}, "thoughtSignature": "s4"},
    ]);
    check([chunk(told), end("STOP")], parts).await;
    let told = json!([{"text": "one", "thought": true}, {"functionCall": {"id": "c1", "name": "f"}}]);
    let skipped = "skip_thought_signature_validator";
    let parts = json!([{"functionCall": {"id": "c1", "name": "f", "args": {}}, "thoughtSignature": skipped}]);
    check([chunk(told), end("MAX_TOKENS")], parts).await;
}

#[tokio::test]
async fn chat_completions_gets_its_thoughts_and_extras_back() {
    let delta = |delta: Value| json!({"choices": [{"delta": delta}]}).to_string();
    let calling = |call: Value| delta(json!({"tool_calls": [call]}));
    let end = |reason: &str| json!({"choices": [{"delta": {}, "finish_reason": reason}]}).to_string();
    let check = async |chunks: Vec<String>, answer: Value| {
        let data: Vec<_> = chunks.iter().map(String::as_str).collect();
        let found = replayed(Api::OpenaiCompletions, "m", &data, "messages").await;
        assert_eq!(found, json!([answer, {"role": "tool", "tool_call_id": "c1", "content": "7"}]));
    };
    let extra = json!({"google": {"thought_signature": "s1"}});
    let call = |arguments: &str| json!({"index": 0, "id": "c1", "function": {"name": "f", "arguments": arguments}});
    let called =
        |arguments: &str| json!({"id": "c1", "type": "function", "function": {"name": "f", "arguments": arguments}});
    let mut extra_call = call("{\"a\":1}");
    extra_call["extra_content"] = extra.clone();
    let interleaved = vec![
        delta(json!({"reasoning_content": "one "})),
        delta(json!({"content": "let me"})),
        delta(json!({"reasoning_content": "two"})),
        delta(json!({"content": "see"})),
        calling(extra_call),
        end("tool_calls"),
    ];
    let mut expected = called("{\"a\":1}");
    expected["extra_content"] = extra;
    let answer = json!({"role": "assistant", "content": "let me\nsee", "reasoning_content": "one two",
        "tool_calls": [expected]});
    check(interleaved, answer).await;
    // Under its other name nobody wants it back.
    let cut_off = vec![delta(json!({"reasoning": "one"})), calling(call("{\"a\": \"b.t")), end("length")];
    check(cut_off, json!({"role": "assistant", "content": null, "tool_calls": [called("{}")]})).await;
}
