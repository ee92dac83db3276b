//! What the agent does while it works: shown to those who ask for it, and to nobody else.

use std::fs;

use async_openai::types::chat::CreateChatCompletionStreamResponse;
use serde_json::{Value, json};

use crate::{
    harness::{Gateway, Topology, each_topology},
    provider::Reply,
};

each_topology![
    tools_and_thoughts_are_streamed_to_those_who_ask,
    a_whole_answer_tells_of_them_too,
    only_what_was_asked_for_is_shown,
    an_unknown_word_is_refused,
];

const SECRET: &str = "The number is 42.";

/// A gateway whose agent thinks, reads a file and answers.
async fn working(topology: Topology) -> Gateway {
    let gateway = Gateway::on(topology).await;
    let workspace = gateway.state().join("workspace");
    fs::create_dir(&workspace).unwrap();
    fs::write(workspace.join("notes.txt"), SECRET).unwrap();
    let config = json!({"tools": {"profile": "coding"}, "agents": {"defaults": {"workspace": workspace}}});
    gateway.config(config).start().await
}

fn order_work(gateway: &Gateway) {
    let thought =
        json!({"choices": [{"index": 0, "delta": {"reasoning_content": "Let me look."}, "finish_reason": null}]});
    let call = |id: &str, path: &str| {
        let arguments = json!({"path": path}).to_string();
        json!({"index": 0, "id": id, "type": "function", "function": {"name": "read", "arguments": arguments}})
    };
    let first = Reply::stream().event(&thought).tool_calls(&json!([call("c1", "notes.txt")]));
    gateway.provider.answers_once(first.finish("tool_calls").usage(7, 3).done());
    let second = Reply::stream().tool_calls(&json!([call("c2", "nothing.txt")]));
    gateway.provider.answers_once(second.finish("tool_calls").usage(7, 3).done());
}

async fn tools_and_thoughts_are_streamed_to_those_who_ask(topology: Topology) {
    let gateway = working(topology).await;
    for name in ["x-clawdbot-events", "x-openclaw-events", "x-moltbot-events"] {
        order_work(&gateway);
        let events = gateway.ask("hi").header(name, "tools, reasoning").stream().await.end().await;
        assert_eq!(events.content(), "hello");
        let chunks = events.chunks();
        for chunk in &chunks {
            serde_json::from_value::<CreateChatCompletionStreamResponse>(chunk.clone()).unwrap();
        }
        let thoughts = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["reasoning_content"].as_str());
        assert_eq!(thoughts.collect::<String>(), "Let me look.");
        let mut tools: Vec<Value> = chunks.iter().filter_map(|chunk| chunk.get("clawdbot")).cloned().collect();
        for ended in [1, 3] {
            assert!(tools[ended]["tool"]["duration_ms"].is_u64(), "{tools:?}");
            tools[ended]["tool"]["duration_ms"] = 0.into();
        }
        let start = |id: &str, path: &str| {
            let arguments = json!({"path": path}).to_string();
            json!({"tool": {"id": id, "name": "read", "phase": "start", "arguments": arguments}})
        };
        let end = |id: &str, is_error: bool| json!({"tool": {"id": id, "name": "read", "phase": "end", "is_error": is_error, "duration_ms": 0}});
        let expected = [start("c1", "notes.txt"), end("c1", false), start("c2", "nothing.txt"), end("c2", true)];
        assert_eq!(tools, expected);
        assert!(!events.data.concat().contains(SECRET), "{events:?}");
    }
}

async fn a_whole_answer_tells_of_them_too(topology: Topology) {
    let gateway = working(topology).await;
    order_work(&gateway);
    let answer = gateway.ask("hi").header("x-clawdbot-events", "reasoning,tools").send().await;
    assert_eq!(answer.content(), "hello");
    let json = answer.json();
    assert_eq!(json["choices"][0]["message"]["reasoning_content"], "Let me look.");
    let tools = json["clawdbot"]["tools"].as_array().unwrap();
    let told: Vec<_> = tools.iter().map(|tool| json!([tool["id"], tool["name"], tool["is_error"]])).collect();
    assert_eq!(told, [json!(["c1", "read", false]), json!(["c2", "read", true])]);
    assert_eq!(tools[0]["arguments"], r#"{"path":"notes.txt"}"#);
    assert!(tools[0]["duration_ms"].is_u64(), "{json}");
    assert!(!answer.body.contains(SECRET), "{json}");
}

async fn only_what_was_asked_for_is_shown(topology: Topology) {
    let gateway = working(topology).await;
    for (words, shows_tools, shows_thoughts) in
        [(None, false, false), (Some("tools"), true, false), (Some("reasoning"), false, true)]
    {
        let ask = || match words {
            Some(words) => gateway.ask("hi").header("x-clawdbot-events", words),
            None => gateway.ask("hi"),
        };
        order_work(&gateway);
        let streamed = ask().stream().await.end().await.data.concat();
        order_work(&gateway);
        let whole = ask().send().await.body;
        for answer in [streamed, whole] {
            assert_eq!(answer.contains(r#""clawdbot":{"#), shows_tools, "{words:?}: {answer}");
            assert_eq!(answer.contains("reasoning_content"), shows_thoughts, "{words:?}: {answer}");
        }
    }
}

async fn an_unknown_word_is_refused(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let answer = gateway.ask("hi").header("x-openclaw-events", "tools,everything").send().await;
    let error = answer.assert_error(400, "invalid_request_error", "invalid_value");
    assert_eq!(error["param"], "x-clawdbot-events");
    assert!(error["message"].as_str().unwrap().contains("`everything`"), "{error}");
    assert!(gateway.provider.asked().is_empty());
}
