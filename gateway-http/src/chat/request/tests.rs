//! Which requests are taken, and what is said of the others.

use proto::{
    agent::v1::tool_choice::Mode,
    session::v1::{Message, Part, Role, ToolCall, part::Kind},
};
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

/// Checks that a request with these fields is refused for this one.
fn refuses(fields: &Value, param: &str) {
    let mut body = json!({"messages": [{"role": "user", "content": "hi"}]});
    body.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    let error = parse(&body).expect_err("a field is wrong");
    assert_eq!((error["param"].as_str(), error["code"].as_str()), (Some(param), Some("invalid_value")), "{error}");
}

#[test]
fn a_field_at_fault_is_named() {
    refuses(&json!({"messages": "hi"}), "messages");
    refuses(&json!({"messages": null}), "messages");
    refuses(&json!({"messages": []}), "messages");
    refuses(&json!({"messages": ["hi"]}), "messages[0]");
    refuses(&json!({"messages": [["user", "hi"]]}), "messages[0]");
    refuses(&json!({"messages": [{"role": "user", "content": [["text", "hi"]]}]}), "messages[0].content[0]");
    refuses(&json!({"stream_options": [true]}), "stream_options");
    refuses(&json!({"response_format": ["text"]}), "response_format");
    refuses(&json!({"tools": [["function"]]}), "tools[0]");
    refuses(&json!({"messages": [{"role": "system", "content": "hi"}]}), "messages");
    refuses(&json!({"messages": [{"role": "user", "content": "  "}]}), "messages");
    refuses(&json!({"messages": [{"role": "wizard", "content": "hi"}]}), "messages[0].role");
    refuses(&json!({"messages": [{"role": 7, "content": "hi"}]}), "messages[0].role");
    refuses(&json!({"messages": [{"content": "hi"}]}), "messages[0]");
    refuses(&json!({"messages": [{"role": "user", "content": 7}]}), "messages[0].content");
    refuses(&json!({"messages": [{"role": "user", "content": [{"type": "text"}]}]}), "messages[0].content[0].text");
    refuses(&json!({"messages": [{"role": "user", "content": [{"type": "video"}]}]}), "messages[0].content[0].type");
    refuses(&json!({"messages": [{"role": "user", "content": [{"text": 7}]}]}), "messages[0].content[0].text");
    refuses(
        &json!({"messages": [{"role": "system", "content": [{"type": "image_url", "image_url": "x"}]}]}),
        "messages[0].content",
    );
    refuses(&json!({"messages": [{"role": "assistant", "tool_calls": [{"id": 1}]}]}), "messages[0].tool_calls[0].id");
    refuses(&json!({"model": 7}), "model");
    refuses(&json!({"stream": "yes"}), "stream");
    refuses(&json!({"stream_options": {"include_usage": 1}}), "stream_options.include_usage");
    refuses(&json!({"user": 7}), "user");
    refuses(&json!({"n": 2}), "n");
    refuses(&json!({"n": 1.5}), "n");
    refuses(&json!({"safety_identifier": 7}), "safety_identifier");
    refuses(&json!({"safety_identifier": "é".repeat(65)}), "safety_identifier");
    refuses(&json!({"prompt_cache_key": []}), "prompt_cache_key");
    refuses(&json!({"metadata": "a"}), "metadata");
    refuses(&json!({"metadata": ["a"]}), "metadata");
    refuses(&json!({"metadata": {"a": 1}}), "metadata.a");
    refuses(&json!({"metadata": {"a": "é".repeat(513)}}), "metadata");
    refuses(&json!({"metadata": {"a".repeat(65): "b"}}), "metadata");
    let many: serde_json::Map<_, _> = (0..17).map(|index| (index.to_string(), json!(""))).collect();
    refuses(&json!({"metadata": many}), "metadata");
}

#[test]
fn an_option_at_fault_is_named() {
    refuses(&json!({"temperature": "hot"}), "temperature");
    refuses(&json!({"temperature": 2.1}), "temperature");
    refuses(&json!({"top_p": -0.1}), "top_p");
    refuses(&json!({"frequency_penalty": 3}), "frequency_penalty");
    refuses(&json!({"presence_penalty": -3}), "presence_penalty");
    refuses(&json!({"max_tokens": 0}), "max_tokens");
    refuses(&json!({"max_tokens": 1e30}), "max_tokens");
    refuses(&json!({"max_tokens": 4_294_967_296_u64}), "max_tokens");
    refuses(&json!({"max_completion_tokens": -1}), "max_completion_tokens");
    refuses(&json!({"seed": 1.5}), "seed");
    refuses(&json!({"seed": 18_446_744_073_709_551_615_u64}), "seed");
    refuses(&json!({"logprobs": 1}), "logprobs");
    refuses(&json!({"top_logprobs": 2}), "top_logprobs");
    refuses(&json!({"top_logprobs": 2, "logprobs": false}), "top_logprobs");
    refuses(&json!({"top_logprobs": 21, "logprobs": true}), "top_logprobs");
    refuses(&json!({"logit_bias": [1]}), "logit_bias");
    refuses(&json!({"logit_bias": {"7": "much"}}), "logit_bias.7");
    refuses(&json!({"logit_bias": {"7": -100.5}}), "logit_bias.7");
    refuses(&json!({"logit_bias": {"seven": 1}}), "logit_bias");
    refuses(&json!({"verbosity": "chatty"}), "verbosity");
    refuses(&json!({"verbosity": 1}), "verbosity");
    refuses(&json!({"reasoning_effort": "extreme"}), "reasoning_effort");
    refuses(&json!({"parallel_tool_calls": "no"}), "parallel_tool_calls");
    refuses(&json!({"stop": ["a", "b", "c", "d", "e"]}), "stop");
    refuses(&json!({"stop": [""]}), "stop");
    refuses(&json!({"stop": 7}), "stop");
}

#[test]
fn a_form_or_tool_at_fault_is_named() {
    refuses(&json!({"response_format": {"type": "xml"}}), "response_format.type");
    refuses(&json!({"response_format": {"type": "json_schema"}}), "response_format.json_schema");
    refuses(&json!({"response_format": {"type": "json_schema", "json_schema": ["s"]}}), "response_format.json_schema");
    for name in ["", "a b", "é", &"a".repeat(65)] {
        let format = json!({"type": "json_schema", "json_schema": {"name": name}});
        refuses(&json!({"response_format": format}), "response_format.json_schema.name");
        let tool = json!({"type": "function", "function": {"name": name}});
        refuses(&json!({"tools": [tool]}), "tools[0].function.name");
    }
    let format = json!({"type": "json_schema", "json_schema": {"name": "s", "schema": "{}"}});
    refuses(&json!({"response_format": format}), "response_format.json_schema.schema");
    refuses(&json!({"tools": [{"type": "custom"}]}), "tools[0].type");
    refuses(&json!({"tools": [{"type": "function", "function": ["f"]}]}), "tools[0].function");
    refuses(&json!({"tools": [tool("f"), tool("f")]}), "tools[1].function.name");
    let many: Vec<_> = (0..129).map(|index| tool(&format!("f{index}"))).collect();
    refuses(&json!({"tools": many}), "tools");
    refuses(&json!({"tools": [{"type": "function"}]}), "tools[0].function");
    refuses(
        &json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]}),
        "tools[0].function.parameters",
    );
    refuses(&json!({"tool_choice": "required"}), "tool_choice");
    refuses(&json!({"tool_choice": "maybe"}), "tool_choice");
    refuses(&json!({"tool_choice": {"type": "function", "function": {"name": "g"}}}), "tool_choice");
    refuses(&json!({"tool_choice": {"type": "function"}}), "tool_choice.function");
    refuses(&json!({"tool_choice": {"type": "custom", "custom": {"name": "g"}}}), "tool_choice.type");
    refuses(&json!({"tool_choice": ["function"]}), "tool_choice");
    refuses(&json!({"tool_choice": {"type": "allowed_tools"}}), "tool_choice.allowed_tools");
    refuses(&json!({"tools": [tool("f")], "tool_choice": allowed("auto", &["g"])}), "tool_choice.allowed_tools");
    refuses(&json!({"tools": [tool("f")], "tool_choice": allowed("none", &["f"])}), "tool_choice.allowed_tools.mode");
    refuses(&json!({"tools": [tool("f")], "tool_choice": allowed("required", &[])}), "tool_choice.allowed_tools.mode");
}

#[test]
fn what_cannot_be_had_is_refused() {
    let check = |field: &str, value: Value| {
        let error = parse(&with(field, &value)).expect_err("it cannot be had");
        assert_eq!((&error["param"], &error["code"]), (&json!(field), &json!("invalid_value")), "{value}");
        // What is null is not asked for.
        assert!(parse(&with(field, &Value::Null)).is_ok(), "{field}");
    };
    check("n", json!(0));
    check("modalities", json!(["text", "audio"]));
    check("audio", json!({"voice": "alloy", "format": "wav"}));
    check("functions", json!([{"name": "f"}]));
    check("function_call", json!("auto"));
    check("moderation", json!({"model": "m"}));
    check("web_search_options", json!({}));
    assert!(parse(&with("modalities", &json!(["text"]))).is_ok());
}

#[test]
fn a_message_at_fault_is_named() {
    let check = |message: Value, param: &str| {
        let body = json!({"messages": [{"role": "user", "content": "hi"}, message]});
        let error = parse(&body).expect_err("a message is wrong");
        assert_eq!((error["param"].as_str(), error["code"].as_str()), (Some(param), Some("invalid_value")), "{error}");
    };
    check(json!({"role": "tool", "content": "7"}), "messages[1].tool_call_id");
    check(json!({"role": "tool", "tool_call_id": "", "content": "7"}), "messages[1].tool_call_id");
    check(json!({"role": "function", "name": "f", "content": "7"}), "messages[1].name");
    check(json!({"role": "user", "name": "a".repeat(65), "content": "hi"}), "messages[1].name");
    check(json!({"role": "assistant", "audio": {"id": "a"}}), "messages[1].audio");
    check(json!({"role": "assistant", "function_call": "f"}), "messages[1].function_call");
    check(json!({"role": "assistant", "tool_calls": [["c1"]]}), "messages[1].tool_calls[0]");
    check(json!({"role": "assistant", "tool_calls": [{"id": "c1"}]}), "messages[1].tool_calls[0].function");
    check(
        json!({"role": "assistant", "tool_calls": [{"id": "c1", "type": "custom", "custom": {}}]}),
        "messages[1].tool_calls[0].type",
    );
    let part = |part: Value| json!({"role": "user", "content": [part]});
    let audio = |audio: Value| part(json!({"type": "input_audio", "input_audio": audio}));
    check(audio(json!({"data": "", "format": "ogg"})), "messages[1].content[0].input_audio.format");
    check(audio(json!(["", "wav"])), "messages[1].content[0].input_audio");
    let file = |file: Value| part(json!({"type": "file", "file": file}));
    check(file(json!({"filename": "a.pdf"})), "messages[1].content[0].file");
    check(file(json!(["a.pdf"])), "messages[1].content[0].file");

    let picture = json!([{"type": "image_url", "image_url": "https://example.com/a.png"}]);
    check(json!({"role": "tool", "tool_call_id": "c1", "content": picture}), "messages[1].content");
    check(json!({"role": "assistant", "content": picture}), "messages[1].content");
    check(part(json!({"type": "refusal", "refusal": "no"})), "messages[1].content");
    check(json!({"role": "user", "content": "hi", "refusal": "no"}), "messages[1].refusal");
    check(json!({"role": "user", "content": "hi", "tool_call_id": "c1"}), "messages[1].tool_call_id");
    let calls = json!([{"id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}]);
    check(json!({"role": "user", "content": "hi", "tool_calls": calls}), "messages[1].tool_calls");
    let nothing = json!({"role": "user", "content": "hi", "refusal": null, "tool_calls": [], "tool_call_id": ""});
    parse(&json!({"messages": [nothing]})).expect("what is empty is not there");
}

#[test]
fn what_is_too_long_is_refused_before_it_is_whole() {
    let message = json!({"role": "user", "content": "hi"});
    parse(&json!({"messages": vec![message.clone(); 10_000]})).expect("as many as may be");
    let error = parse(&json!({"messages": vec![message; 10_001]})).expect_err("one more");
    assert_eq!((&error["param"], &error["code"]), (&json!("messages"), &json!("invalid_value")), "{error}");
    refuses(&json!({"model": "m".repeat(257)}), "model");
    let unknown = json!({"role": "user", "content": vec![json!({}); 1000]});
    let error = parse(&json!({"messages": [unknown]})).expect_err("no part has a type");
    assert_eq!(error["param"], "messages[0].content[0].type");
    let long = json!({"messages": [{"role": "user", "content": [{"type": "t".repeat(5000)}]}]});
    let error = parse(&long).expect_err("there is no such type");
    assert!(error["message"].as_str().is_some_and(|message| message.len() < 1100), "{error}");
}

#[test]
fn calls_of_the_older_kind_become_tool_calls() {
    let call = |arguments: &str| json!({"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": arguments}});
    let result = |content: &str| json!({"role": "function", "name": "f", "content": content});
    let body =
        json!({"messages": [{"role": "user", "content": "hi"}, call("{}"), result("7"), call("[]"), result("8")]});
    let messages = parse(&body).expect("a good request").messages;
    let calls: Vec<_> = messages.history.iter().flat_map(|message| &message.tool_calls).collect();
    let shown: Vec<_> =
        calls.iter().map(|call| (call.id.as_str(), call.name.as_str(), call.arguments.as_str())).collect();
    assert_eq!(shown, [("function_call_0", "f", "{}"), ("function_call_1", "f", "[]")]);
    assert_eq!(messages.history[2].tool_call_id, "function_call_0");
    assert_eq!(messages.input[0].tool_call_id, "function_call_1");
}

#[test]
fn only_the_allowed_tools_are_offered() {
    let tools = json!([tool("f"), tool("g"), tool("h")]);
    let mut body = with("tools", &tools);
    body["tool_choice"] = allowed("required", &["h", "f"]);
    let request = parse(&body).expect("a good request");
    let names: Vec<_> = request.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["f", "h"]);
    assert_eq!(request.tool_choice.map(|choice| choice.mode()), Some(Mode::Required));
}

fn with(field: &str, value: &Value) -> Value {
    json!({"messages": [{"role": "user", "content": "hi"}], field: value})
}

fn tool(name: &str) -> Value {
    json!({"type": "function", "function": {"name": name}})
}

fn allowed(mode: &str, names: &[&str]) -> Value {
    let tools: Vec<_> = names.iter().map(|name| tool(name)).collect();
    json!({"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}})
}

#[test]
fn what_is_no_json_object_is_said_to_be_so() {
    let check = |body: &str| {
        let error = shown(&ChatRequest::parse(body.as_bytes()).expect_err("no JSON object"));
        assert_eq!(error["code"], "invalid_json", "{body:?}: {error}");
    };
    let huge = r#"{"temperature": 1e999}"#;
    let twice = r#"{"stream": true, "stream": false, "messages": []}"#;
    for body in [huge, twice, "", "   ", "{", "[1]", "null", "\"hi\"", "{} x", "{\"messages\": nope}", "\u{0}"] {
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
        "model": null, "stream": null, "temperature": null, "tools": null, "n": 1,
        "metadata": {"a": "b"}, "store": true, "x": [], "service_tier": 7, "prediction": {"type": "content"},
        "prompt_cache_retention": "24h", "prompt_cache_options": {}, "logprobs": null, "top_logprobs": null,
        "logit_bias": null, "verbosity": null, "safety_identifier": null, "response_format": null,
        "stream_options": {"include_obfuscation": true},
    });
    let request = parse(&body).expect("a good request");
    assert_eq!((request.model.as_str(), request.stream, request.include_usage), ("clawdbot", false, false));
    assert_eq!(request.options, GenerationOptions::default());
}

#[test]
fn options_and_tools_are_carried_over() {
    let body = json!({
        "messages": [{"role": "user", "content": "hi"}],
        "logprobs": true, "top_logprobs": 20, "logit_bias": {"7": -100}, "verbosity": "low",
        "safety_identifier": "é".repeat(64), "prompt_cache_key": "group", "reasoning_effort": "xhigh",
        "metadata": {"chat": "7"},
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
        logprobs: Some(true),
        top_logprobs: Some(20),
        logit_bias: [("7".to_owned(), -100.0)].into(),
        verbosity: "low".to_owned(),
        safety_identifier: "é".repeat(64),
        prompt_cache_key: "group".to_owned(),
        reasoning_effort: "xhigh".to_owned(),
        ..GenerationOptions::default()
    };
    assert_eq!(request.options, expected);
    assert_eq!(request.tools[0].parameters, r#"{"type":"object"}"#);
    assert_eq!(request.tool_choice.map(|choice| choice.name).as_deref(), Some("f"));
}
