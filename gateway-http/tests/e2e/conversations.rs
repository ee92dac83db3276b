//! Conversations that a client names in a header of its own.

use serde_json::json;

use crate::harness::{Gateway, Topology, each_topology};

each_topology![
    a_listed_header_continues_its_conversation,
    a_conversation_goes_before_the_user,
    a_header_that_is_not_listed_means_nothing,
    a_value_that_cannot_be_a_key_is_refused,
];

const CHAT_ID: &str = "x-openwebui-chat-id";

async fn listing(topology: Topology) -> Gateway {
    let headers = json!(["X-OpenWebUI-Chat-Id", "x-conversation-id"]);
    Gateway::with_config(topology, json!({"gateway": {"http": {"sessionHeaders": headers}}})).await
}

async fn a_listed_header_continues_its_conversation(topology: Topology) {
    let gateway = listing(topology).await;
    let answer = gateway.ask("one").header(CHAT_ID, "Chat-1").send().await;
    assert_eq!(answer.content(), "hello");
    assert_eq!(answer.session_key(), "agent:main:openai-conversation:Chat-1");
    gateway.ask("two").header("x-conversation-id", "Chat-1").send().await.content();
    let conversation = gateway.provider.last_asked().conversation();
    assert_eq!(conversation, ["user: one", "assistant: hello", "user: two"]);
    let other = gateway.ask("three").header(CHAT_ID, "Chat-2").with("model", "clawdbot:beta").send().await;
    assert_eq!(other.session_key(), "agent:beta:openai-conversation:Chat-2");
    assert_eq!(gateway.provider.last_asked().conversation(), ["user: three"]);
}

async fn a_conversation_goes_before_the_user(topology: Topology) {
    let gateway = listing(topology).await;
    let both = || gateway.ask("hi").user("alice").header("x-conversation-id", "2");
    assert_eq!(both().send().await.session_key(), "agent:main:openai-conversation:2");
    let first = both().header(CHAT_ID, "1").send().await;
    assert_eq!(first.session_key(), "agent:main:openai-conversation:1");
    let named = both().header("x-clawdbot-session-key", "mine").send().await;
    assert_eq!(named.session_key(), "agent:main:mine");
    let blank = gateway.ask("hi").user("alice").header(CHAT_ID, " ").send().await;
    assert_eq!(blank.session_key(), "agent:main:openai-user:alice");
}

async fn a_header_that_is_not_listed_means_nothing(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let answer = gateway.ask("hi").header(CHAT_ID, "1").send().await;
    assert_eq!(answer.content(), "hello");
    assert!(answer.session_key().starts_with("agent:main:openai:"), "{}", answer.session_key());
    let sessions = gateway.request("GET", "/v1/sessions").send().await.json();
    assert_eq!(sessions["data"], json!([]));
}

async fn a_value_that_cannot_be_a_key_is_refused(topology: Topology) {
    let gateway = listing(topology).await;
    let answer = gateway.ask("hi").header(CHAT_ID, &"1".repeat(512)).send().await;
    let error = answer.assert_error(400, "invalid_request_error", "invalid_value");
    assert_eq!(error["param"], CHAT_ID);
}
