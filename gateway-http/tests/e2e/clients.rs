//! Clients that others have written, as their users run them: each has a chat, a stream with usage, a round trip of a
//! tool, an answer to a schema, and errors, in one script that says what it saw.

use std::{
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    harness::{Gateway, Topology, each_topology},
    provider::{Asked, Reply},
};

each_topology![
    openais_python_client_works,
    openais_javascript_client_works,
    openais_python_client_speaks_the_responses_api,
    langchain_works,
    pydantic_ai_works,
    vercels_ai_sdk_works,
];

/// How long a client may take, whose interpreter alone takes seconds to begin on a busy machine.
const PATIENCE: Duration = Duration::from_secs(50);

/// The calls of every script that are runs, in their order. The last call of a script shows a wrong secret, and is none.
const RUNS: [&str; 7] = ["chat", "stream", "tools", "tools", "structured", "error", "broken stream"];

async fn openais_python_client_works(topology: Topology) {
    let mut seen = answered(topology, &mut python("openai_client.py")).await;
    check_models(&mut seen);
    assert_eq!(seen["stream"]["roles"].take(), json!(["assistant"]));
    assert_eq!(seen["stream"]["finish"].take(), json!(["stop"]));
    seen["stream"].as_object_mut().unwrap().retain(|_, value| !value.is_null());
    let mut expected = expected(&["BadRequestError", "APIError", "AuthenticationError"]);
    expected["stream"].as_object_mut().unwrap().remove("finish");
    assert_eq!(seen, expected);
}

async fn openais_python_client_speaks_the_responses_api(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let replies = replies();
    for reply in [
        replies.chat,
        replies.stream,
        replies.call,
        replies.result,
        replies.structured,
        Reply::text(&["hello"]),
        Reply::text(&["he", "llo"]),
        Reply::stream().delta("half").hang(),
        replies.too_long,
    ] {
        gateway.provider.answers_once(reply);
    }
    let seen = printed(&gateway, &mut python("openai_responses.py")).await;
    let expected = json!({
        "chat": {"text": "hello", "status": "completed", "usage": [7, 3, 10]},
        "kept": "hello",
        "stream": {"deltas": ["he", "llo"], "text": "hello", "usage": [7, 3, 10]},
        "tools": {"arguments": {"a": 2, "b": 3}, "text": "It is 5."},
        "structured": {"name": "Rome", "inhabitants": 2_800_000},
        "background": {"status": "completed", "text": "hello"},
        "cut": {"text": "hello", "whole": true},
        "stopped": "cancelled",
        "error": {"class": "BadRequestError", "status": 400, "code": "context_length_exceeded"},
        "unknown": {"class": "NotFoundError", "status": 404, "code": "not_found"},
        "stranger": {"class": "AuthenticationError", "status": 401, "code": "invalid_api_key"},
    });
    assert_eq!(seen, expected);
    let asked = gateway.provider.asked();
    assert_eq!(asked.len(), 9);
    assert_eq!(asked[3].messages()[2]["tool_call_id"], "call_1");
    assert_eq!(asked[4].body["response_format"]["type"], "json_schema");
}

async fn openais_javascript_client_works(topology: Topology) {
    let mut seen = answered(topology, &mut node("openai_client.cjs")).await;
    check_models(&mut seen);
    assert_eq!(seen, expected(&["BadRequestError", "APIError", "AuthenticationError"]));
}

async fn langchain_works(topology: Topology) {
    let seen = answered(topology, &mut python("langchain_client.py")).await;
    assert_eq!(seen, expected(&["OpenAIInvalidRequestError", "APIError", "OpenAIAuthenticationError"]));
}

async fn pydantic_ai_works(topology: Topology) {
    let seen = answered(topology, &mut python("pydantic_client.py")).await;
    let mut expected = expected(&["ModelContextWindowExceededError", "ModelAPIError", "ModelAuthenticationError"]);
    expected["tools"]["finish"] = json!("tool_call");
    assert_eq!(seen, expected);
}

async fn vercels_ai_sdk_works(topology: Topology) {
    let seen = answered(topology, &mut node("ai_sdk_client.cjs")).await;
    // What breaks a stream comes as it was sent, in no class of its own.
    let mut expected = expected(&["AI_APICallError", "object", "AI_APICallError"]);
    expected["tools"]["finish"] = json!("tool-calls");
    assert_eq!(seen, expected);
}

/// What every client sees; `classes` are those of its errors: for a request that is too long, for a stream that breaks
/// off, and for a wrong secret.
fn expected(classes: &[&str; 3]) -> Value {
    json!({
        "chat": {"text": "hello", "finish": "stop", "usage": [7, 3, 10]},
        "stream": {"text": "hello", "finish": "stop", "usage": [7, 3, 10]},
        "tools": {"finish": "tool_calls", "arguments": {"a": 2, "b": 3}, "text": "It is 5."},
        "structured": {"name": "Rome", "inhabitants": 2_800_000},
        "error": {"class": classes[0], "status": 400, "code": "context_length_exceeded"},
        "broken_stream": {"class": classes[1], "status": null, "code": "upstream_error"},
        "stranger": {"class": classes[2], "status": 401, "code": "invalid_api_key"},
    })
}

/// Of those that list models, takes out what they saw of them.
fn check_models(seen: &mut Value) {
    let seen = seen.as_object_mut().unwrap();
    let models = ["clawdbot", "clawdbot/default", "clawdbot/main", "clawdbot/beta", "clawdbot/alpha"];
    assert_eq!(seen.remove("models"), Some(json!(models)));
    assert_eq!(seen.remove("model"), Some(json!("clawdbot/beta")));
}

/// Runs a script against a gateway whose provider answers each of its calls in turn, reads the JSON that it prints, and
/// checks that each of its calls made one run, with what the call was about.
async fn answered(topology: Topology, script: &mut Command) -> Value {
    let gateway = Gateway::start(topology).await;
    let Replies { chat, stream, call, result, structured, too_long } = replies();
    let broken = Reply::stream().delta("half an ans").break_off();
    for reply in [chat, stream, call, result, structured, too_long, broken] {
        gateway.provider.answers_once(reply);
    }
    let seen = printed(&gateway, script).await;
    check_runs(&gateway.provider.asked());
    seen
}

/// What the provider answers, whichever way it is asked for.
struct Replies {
    chat: Reply,
    stream: Reply,
    call: Reply,
    result: Reply,
    structured: Reply,
    too_long: Reply,
}

fn replies() -> Replies {
    let called = json!([{
        "index": 0, "id": "call_1", "type": "function", "function": {"name": "add", "arguments": r#"{"a":2,"#},
    }]);
    let call = Reply::stream().tool_calls(&called);
    let call = call.tool_calls(&json!([{"index": 0, "function": {"arguments": r#""b":3}"#}}]));
    let too_long = "This model's maximum context length is 8192 tokens.";
    Replies {
        chat: Reply::text(&["hello"]),
        stream: Reply::text(&["he", "llo"]),
        call: call.finish("tool_calls").usage(7, 3).done(),
        result: Reply::text(&["It is 5."]),
        structured: Reply::text(&[r#"{"name":"Rome","#, r#""inhabitants":2800000}"#]),
        too_long: Reply::error(400, "invalid_request_error", "context_length_exceeded", too_long),
    }
}

/// Runs a script against a gateway, and reads the JSON that it prints.
async fn printed(gateway: &Gateway, script: &mut Command) -> Value {
    script
        .env("OPENAI_BASE_URL", format!("{}/v1", gateway.url()))
        .env("OPENAI_API_KEY", "secret")
        .env("NO_PROXY", "127.0.0.1")
        .kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, script.output()).await.expect("the client ends").unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn check_runs(asked: &[Asked]) {
    let first = |asked: &Asked| asked.conversation().into_iter().next().unwrap_or_default();
    let runs: Vec<String> = asked.iter().map(first).collect();
    assert_eq!(runs, RUNS.map(|text| format!("user: {text}")));
    let [_, _, offer, result, structured, _, _] = asked else { unreachable!("there are as many as are in `RUNS`") };
    for asked in [offer, result] {
        let function = &asked.body["tools"][0]["function"];
        assert_eq!(function["name"], "add");
        assert_eq!(function["parameters"]["properties"]["b"]["type"], "integer");
    }
    let messages = result.messages();
    assert_eq!(messages[1]["tool_calls"][0]["function"]["name"], "add");
    assert_eq!((&messages[2]["tool_call_id"], &messages[2]["content"]), (&json!("call_1"), &json!("5")));
    let format = &structured.body["response_format"];
    assert_eq!(format["type"], "json_schema");
    assert_eq!(format["json_schema"]["schema"]["properties"]["name"]["type"], "string");
}

/// A script with Python's packages.
fn python(script: &str) -> Command {
    let mut command = Command::new(interpreter("CLAWDBOT_TEST_PYTHON"));
    command.arg(source(script));
    command
}

/// A script with Node's packages, which are beside its interpreter.
fn node(script: &str) -> Command {
    let node = interpreter("CLAWDBOT_TEST_NODE");
    let mut command = Command::new(&node);
    command.arg(source(script)).env("NODE_PATH", node.with_file_name("node_modules"));
    command
}

#[expect(clippy::disallowed_methods, reason = "nobody hands a test its environment")]
fn interpreter(variable: &str) -> PathBuf {
    let path = env::var_os(variable);
    path.unwrap_or_else(|| panic!("{variable} is not set: run `just test`, which installs the clients first")).into()
}

fn source(script: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/clients").join(script)
}
