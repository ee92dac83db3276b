//! How a client's messages reach the model: as real turns with their roles, never flattened into one text.

use serde_json::json;

use crate::harness::{Gateway, Topology, each_topology, user};

each_topology![
    a_single_message_arrives_as_it_is,
    text_parts_arrive_together,
    history_arrives_as_real_turns,
    instructions_follow_the_agents_own,
    a_tool_result_arrives_with_its_call,
    a_picture_arrives_as_a_part,
    only_a_system_message_is_refused,
];

async fn a_single_message_arrives_as_it_is(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let messages = json!([{"role": "system", "content": "You are a helpful assistant."}, user("Hello")]);
    let answer = gateway.chat(json!({"model": "clawdbot", "messages": messages})).send().await;
    assert_eq!(answer.content(), "hello");
    let asked = gateway.provider.last_asked();
    assert_eq!(asked.conversation(), ["user: Hello"]);
    assert_eq!(asked.instructions(), ["You are a helpful assistant."]);
}

async fn text_parts_arrive_together(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let parts = json!([{"type": "text", "text": "hello"}, {"type": "input_text", "text": "world"}]);
    let messages = json!([{"role": "user", "content": parts}]);
    gateway.chat(json!({"model": "clawdbot", "messages": messages})).send().await.content();
    assert_eq!(gateway.provider.last_asked().conversation(), ["user: hello\nworld"]);
}

async fn history_arrives_as_real_turns(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let messages = json!([
        {"role": "system", "content": "You are a helpful assistant."},
        user("Hello, who are you?"),
        {"role": "assistant", "content": "I am Claude."},
        user("What did I just ask you?"),
    ]);
    gateway.chat(json!({"model": "clawdbot", "messages": messages})).send().await.content();
    let asked = gateway.provider.last_asked();
    assert_eq!(
        asked.conversation(),
        ["user: Hello, who are you?", "assistant: I am Claude.", "user: What did I just ask you?"]
    );
    assert_eq!(asked.instructions(), ["You are a helpful assistant."]);
}

async fn instructions_follow_the_agents_own(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let messages = json!([{"role": "developer", "content": "Answer in French."}, user("Hello")]);
    let request = gateway.chat(json!({"model": "clawdbot:beta", "messages": messages}));
    request.send().await.content();
    let asked = gateway.provider.last_asked();
    let instructions = asked.instructions().join("\n\n");
    assert_eq!(instructions, "You are beta.\n\nAnswer in French.");
    assert_eq!(asked.conversation(), ["user: Hello"]);
}

async fn a_tool_result_arrives_with_its_call(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let call = json!({
        "id": "call_1",
        "type": "function",
        "function": {"name": "get_weather", "arguments": "{\"city\":\"Rome\"}"},
    });
    let messages = json!([
        {"role": "system", "content": "You are a helpful assistant."},
        user("What's the weather?"),
        {"role": "assistant", "content": "Checking the weather.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "Sunny, 70F."},
    ]);
    gateway.chat(json!({"model": "clawdbot", "messages": messages})).send().await.content();
    let asked = gateway.provider.last_asked();
    assert_eq!(
        asked.conversation(),
        ["user: What's the weather?", "assistant: Checking the weather.", "tool: Sunny, 70F."]
    );
    let sent = asked.messages();
    assert_eq!(sent[2]["tool_calls"], json!([call]));
    assert_eq!(sent[3]["tool_call_id"], "call_1");
}

async fn a_picture_arrives_as_a_part(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let picture = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}});
    let messages = json!([{"role": "user", "content": [{"type": "text", "text": "What is it?"}, picture]}]);
    gateway.chat(json!({"model": "clawdbot", "messages": messages})).send().await.content();
    let sent = gateway.provider.last_asked().messages();
    let parts = sent[0]["content"].as_array().unwrap();
    assert_eq!(parts.len(), 2, "{parts:?}");
    assert_eq!(parts[1]["image_url"]["url"], picture["image_url"]["url"]);
}

async fn only_a_system_message_is_refused(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let messages = json!([{"role": "system", "content": "You are a helpful assistant."}]);
    let answer = gateway.chat(json!({"model": "clawdbot", "messages": messages})).send().await;
    let error = answer.assert_error(400, "invalid_request_error", "invalid_value");
    assert_eq!(error["param"], "messages");
    assert!(gateway.provider.asked().is_empty());
}
