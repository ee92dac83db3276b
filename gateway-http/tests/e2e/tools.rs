//! The client's own function tools: offered to the model, and called through the client.

use async_openai::types::chat::CreateChatCompletionStreamResponse;
use serde_json::{Value, json};

use crate::{
    harness::{Gateway, Request, Topology, each_topology, user},
    provider::Reply,
};

each_topology![
    tools_reach_the_provider,
    a_call_without_streaming_ends_the_turn,
    a_call_is_streamed_in_fragments,
    two_calls_keep_their_fragments_apart,
    a_call_and_its_result_make_one_conversation_of_a_session,
    a_required_choice_without_tools_is_refused,
];

fn weather() -> Value {
    json!([{"type": "function", "function": {
        "name": "get_weather",
        "description": "Says what the weather is.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }}])
}

fn ask_with_tools(gateway: &Gateway) -> Request {
    gateway.ask("What's the weather in Rome?").with("tools", weather())
}

/// Two calls, one after the other, whose arguments come in fragments.
fn calls(count: usize) -> Reply {
    let begun = Reply::stream().delta("Let me see.");
    let called = (0..count).fold(begun, |reply, index| {
        let first = json!([{
            "index": index,
            "id": format!("call_{index}"),
            "type": "function",
            "function": {"name": "get_weather", "arguments": ""},
        }]);
        let fragments = [r#"{"ci"#, r#"ty":"Ro"#, r#"me"}"#];
        fragments.iter().fold(reply.tool_calls(&first), |reply, fragment| {
            reply.tool_calls(&json!([{"index": index, "function": {"arguments": fragment}}]))
        })
    });
    called.finish("tool_calls").usage(7, 3).done()
}

fn call(index: usize) -> Value {
    json!({
        "id": format!("call_{index}"),
        "type": "function",
        "function": {"name": "get_weather", "arguments": r#"{"city":"Rome"}"#},
    })
}

async fn tools_reach_the_provider(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    ask_with_tools(&gateway).send().await.content();
    let sent = gateway.provider.last_asked().body;
    assert_eq!(sent["tools"], weather());
    let named = json!({"type": "function", "function": {"name": "get_weather"}});
    gateway.provider.answers(calls(1));
    for choice in [json!("none"), json!("auto"), json!("required"), named] {
        let request = ask_with_tools(&gateway).with("tool_choice", choice.clone());
        request.with("parallel_tool_calls", false).send().await.content();
        let sent = gateway.provider.last_asked().body;
        assert_eq!(sent["tool_choice"], choice);
        assert_eq!(sent["parallel_tool_calls"], false);
    }
}

async fn a_call_without_streaming_ends_the_turn(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    gateway.provider.answers(calls(1));
    let answer = ask_with_tools(&gateway).send().await;
    assert_eq!(answer.content(), "Let me see.");
    let choice = &answer.json()["choices"][0];
    assert_eq!(choice["message"]["tool_calls"], json!([call(0)]));
    assert_eq!(choice["finish_reason"], "tool_calls");
    assert_eq!(gateway.provider.asked().len(), 1);
}

async fn a_call_is_streamed_in_fragments(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    gateway.provider.answers(calls(1));
    let events = ask_with_tools(&gateway).stream().await.end().await;
    assert_eq!(events.content(), "Let me see.");
    assert_eq!(events.finish_reasons(), ["tool_calls"]);
    assert_eq!(assembled(&events.chunks()), json!([call(0)]));
}

async fn two_calls_keep_their_fragments_apart(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    gateway.provider.answers(calls(2));
    let events = ask_with_tools(&gateway).stream().await.end().await;
    assert_eq!(assembled(&events.chunks()), json!([call(0), call(1)]));
    let answer = ask_with_tools(&gateway).send().await;
    assert_eq!(answer.json()["choices"][0]["message"]["tool_calls"], json!([call(0), call(1)]));
}

/// Puts streamed calls together as clients do: by index, the id and name once, the arguments appended.
fn assembled(chunks: &[Value]) -> Value {
    let mut calls: Vec<Value> = Vec::new();
    for chunk in chunks {
        serde_json::from_value::<CreateChatCompletionStreamResponse>(chunk.clone()).unwrap();
        let deltas = chunk["choices"][0]["delta"]["tool_calls"].as_array();
        for delta in deltas.into_iter().flatten() {
            let index = usize::try_from(delta["index"].as_u64().unwrap()).unwrap();
            let fragment = delta["function"]["arguments"].as_str().unwrap_or_default();
            if index == calls.len() {
                assert_eq!(delta["type"], "function", "{delta}");
                let function = json!({"name": delta["function"]["name"], "arguments": fragment});
                calls.push(json!({"id": delta["id"], "type": "function", "function": function}));
            } else {
                let arguments = calls[index]["function"]["arguments"].as_str().unwrap().to_owned();
                calls[index]["function"]["arguments"] = json!(arguments + fragment);
            }
        }
    }
    json!(calls)
}

async fn a_call_and_its_result_make_one_conversation_of_a_session(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    gateway.provider.answers_once(calls(1));
    ask_with_tools(&gateway).user("alice").send().await.content();
    let messages = json!([
        user("What's the weather in Rome?"),
        {"role": "assistant", "content": "Let me see.", "tool_calls": [call(0)]},
        {"role": "tool", "tool_call_id": "call_0", "content": "Sunny, 70F."},
    ]);
    let body = json!({"model": "clawdbot", "messages": messages, "tools": weather()});
    assert_eq!(gateway.chat(body).user("alice").send().await.content(), "hello");
    let asked = gateway.provider.last_asked();
    assert_eq!(
        asked.conversation(),
        ["user: What's the weather in Rome?", "assistant: Let me see.", "tool: Sunny, 70F."]
    );
    assert_eq!(asked.messages()[1]["tool_calls"], json!([call(0)]));
    assert_eq!(asked.messages()[2]["tool_call_id"], "call_0");
}

async fn a_required_choice_without_tools_is_refused(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let unknown = json!({"type": "function", "function": {"name": "launch"}});
    let refused = [
        gateway.ask("hi").with("tool_choice", "required"),
        ask_with_tools(&gateway).with("tool_choice", unknown),
        ask_with_tools(&gateway).with("tool_choice", "sometimes"),
    ];
    for request in refused {
        let error = request.send().await.assert_error(400, "invalid_request_error", "invalid_value");
        assert!(error["param"].as_str().unwrap().starts_with("tool_choice"), "{error}");
    }
}
