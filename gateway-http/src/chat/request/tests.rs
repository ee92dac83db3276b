//! Which requests are taken, and what is said of the others.

use proto::session::v1::{Message, Part, Role, ToolCall, part::Kind};
use serde_json::{Value, json};

use super::*;

fn parse(body: &Value) -> Result<ChatRequest, Value> {
    ChatRequest::parse(body.to_string().as_bytes()).map_err(|error| shown(&error))
}

fn shown(error: &ApiError) -> Value {
    serde_json::from_str::<Value>(&error.to_json()).expect("valid JSON")["error"].take()
}

fn text(role: Role, texts: &[&str]) -> Message {
    let parts = texts.iter().map(|&text| Part { kind: Some(Kind::Text(text.to_owned())) }).collect();
    Message { role: role.into(), parts, ..Message::default() }
}

#[test]
fn a_field_at_fault_is_named() {
    let check = |fields: Value, param: &str| {
        let mut body = json!({"messages": [{"role": "user", "content": "hi"}]});
        body.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        let error = parse(&body).expect_err("a field is wrong");
        assert_eq!((error["param"].as_str(), error["code"].as_str()), (Some(param), Some("invalid_value")), "{error}");
    };
    check(json!({"messages": "hi"}), "messages");
    check(json!({"messages": null}), "messages");
    check(json!({"messages": []}), "messages");
    check(json!({"messages": ["hi"]}), "messages[0]");
    check(json!({"messages": [["user", "hi"]]}), "messages[0]");
    check(json!({"messages": [{"role": "user", "content": [["text", "hi"]]}]}), "messages[0].content[0]");
    check(json!({"stream_options": [true]}), "stream_options");
    check(json!({"response_format": ["text"]}), "response_format");
    check(json!({"tools": [["function"]]}), "tools[0]");
    check(json!({"messages": [{"role": "system", "content": "hi"}]}), "messages");
    check(json!({"messages": [{"role": "user", "content": "  "}]}), "messages");
    check(json!({"messages": [{"role": "wizard", "content": "hi"}]}), "messages[0].role");
    check(json!({"messages": [{"role": 7, "content": "hi"}]}), "messages[0].role");
    check(json!({"messages": [{"content": "hi"}]}), "messages[0]");
    check(json!({"messages": [{"role": "user", "content": 7}]}), "messages[0].content");
    check(json!({"messages": [{"role": "user", "content": [{"type": "text"}]}]}), "messages[0].content[0].text");
    check(json!({"messages": [{"role": "user", "content": [{"type": "video"}]}]}), "messages[0].content[0].type");
    check(json!({"messages": [{"role": "user", "content": [{"text": 7}]}]}), "messages[0].content[0].text");
    check(
        json!({"messages": [{"role": "system", "content": [{"type": "image_url", "image_url": "x"}]}]}),
        "messages[0].content",
    );
    check(json!({"messages": [{"role": "assistant", "tool_calls": [{"id": 1}]}]}), "messages[0].tool_calls[0].id");
    check(json!({"model": 7}), "model");
    check(json!({"stream": "yes"}), "stream");
    check(json!({"stream_options": {"include_usage": 1}}), "stream_options.include_usage");
    check(json!({"user": 7}), "user");
    check(json!({"n": 2}), "n");
    check(json!({"temperature": "hot"}), "temperature");
    check(json!({"temperature": 2.1}), "temperature");
    check(json!({"top_p": -0.1}), "top_p");
    check(json!({"frequency_penalty": 3}), "frequency_penalty");
    check(json!({"presence_penalty": -3}), "presence_penalty");
    check(json!({"max_tokens": 0}), "max_tokens");
    check(json!({"max_completion_tokens": -1}), "max_completion_tokens");
    check(json!({"seed": 1.5}), "seed");
    check(json!({"stop": ["a", "b", "c", "d", "e"]}), "stop");
    check(json!({"stop": [""]}), "stop");
    check(json!({"stop": 7}), "stop");
    check(json!({"response_format": {"type": "xml"}}), "response_format.type");
    check(json!({"response_format": {"type": "json_schema"}}), "response_format.json_schema");
    check(json!({"tools": [{"type": "custom"}]}), "tools[0].type");
    check(json!({"tools": [{"type": "function"}]}), "tools[0].function");
    check(json!({"tools": [{"type": "function", "function": {"name": " "}}]}), "tools[0].function.name");
    check(
        json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]}),
        "tools[0].function.parameters",
    );
    check(json!({"tool_choice": "required"}), "tool_choice");
    check(json!({"tool_choice": "maybe"}), "tool_choice");
    check(json!({"tool_choice": {"type": "function", "function": {"name": "g"}}}), "tool_choice");
}

#[test]
fn what_is_no_json_object_is_said_to_be_so() {
    let check = |body: &str| {
        let error = shown(&ChatRequest::parse(body.as_bytes()).expect_err("no JSON object"));
        assert_eq!(error["code"], "invalid_json", "{body:?}: {error}");
    };
    for body in ["", "   ", "{", "[1]", "null", "\"hi\"", "{} x", "{\"messages\": nope}", "\u{0}"] {
        check(body);
    }
}

#[test]
fn messages_are_sorted_by_what_they_are_for() {
    let body = json!({"messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello", "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        ]},
        {"role": "function", "name": "f", "tool_call_id": "c1", "content": ""},
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        {"role": "user", "content": [{"type": "text", "text": "and"}, {"input_text": "now?"}, {"type": "text", "text": ""}]},
    ]});
    let sorted = parse(&body).expect("a good request").messages;
    let call =
        ToolCall { id: "c1".to_owned(), name: "f".to_owned(), arguments: "{}".to_owned(), ..ToolCall::default() };
    let expected = Messages {
        instructions: vec![text(Role::System, &["Be brief."]), text(Role::Developer, &["Be kind."])],
        history: vec![
            text(Role::User, &["hi"]),
            Message { tool_calls: vec![call], ..text(Role::Assistant, &["hello"]) },
        ],
        input: vec![
            Message { name: "f".to_owned(), tool_call_id: "c1".to_owned(), ..text(Role::Tool, &[]) },
            text(Role::User, &["and", "now?"]),
        ],
    };
    assert_eq!(sorted, expected);
}

#[test]
fn unknown_fields_and_nulls_are_accepted() {
    let body = json!({
        "messages": [{"role": "user", "content": "hi", "audio": null, "x": 1}],
        "model": null, "stream": null, "stream_options": null, "temperature": null, "tools": null, "n": 1,
        "metadata": {"a": "b"}, "store": true, "x": [],
    });
    let request = parse(&body).expect("a good request");
    assert_eq!((request.model.as_str(), request.stream, request.include_usage), ("clawdbot", false, false));
    assert_eq!(request.options, GenerationOptions::default());
}

#[test]
fn options_and_tools_are_carried_over() {
    let body = json!({
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 5, "max_completion_tokens": 7, "stop": "END", "seed": -1, "parallel_tool_calls": false,
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
    });
    let request = parse(&body).expect("a good request");
    let expected = GenerationOptions {
        max_tokens: Some(7),
        stop: vec!["END".to_owned()],
        seed: Some(-1),
        parallel_tool_calls: Some(false),
        ..GenerationOptions::default()
    };
    assert_eq!(request.options, expected);
    assert_eq!(request.tools[0].parameters, r#"{"type":"object"}"#);
    assert_eq!(request.tool_choice.map(|choice| choice.name).as_deref(), Some("f"));
}
