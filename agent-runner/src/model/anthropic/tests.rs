//! What Anthropic sends becomes events, and what it is sent is what its reference asks for.

use proto::{
    agent::v1::{
        FinishReason, FunctionTool, GenerationOptions, JsonObject, JsonSchema, ResponseFormat, ToolChoice,
        response_format, tool_choice::Mode,
    },
    session::v1::{Audio, File, Image, Message, Role, Usage, part::Kind},
};
use serde_json::{Value, json};

use super::{Answer, body};
use crate::model::{
    Event, Profile, Request,
    tests::{
        called, check_everywhere, failed, message, part, read, reasoning, recorded, result, said, signed, sse, text,
        thought, tool_call, with,
    },
};

fn cost(completion_tokens: u64) -> Event {
    Event::Usage(Usage { prompt_tokens: 123, completion_tokens, cached_tokens: 100, reasoning_tokens: 0 })
}

#[test]
fn an_answer_is_the_same_wherever_it_is_cut() {
    let expected = [
        cost(1),
        thought("hém"),
        signed("c2ln"),
        signed("redacted:secret"),
        said("Let me "),
        said("see 🦀"),
        called(0, "toolu_1", "f"),
        with(0, "{\"a\": "),
        with(0, "1}"),
        called(1, "toolu_2", "g"),
        with(1, "{}"),
        Event::Finished(FinishReason::ToolCalls),
        cost(89),
    ];
    check_everywhere(Answer::default, recorded::ANTHROPIC, &expected);
}

#[test]
fn an_answer_ends_for_the_reason_that_is_given() {
    let check = |reason: &str, expected: FinishReason| {
        let end = format!(r#"{{"type":"message_delta","delta":{{"stop_reason":"{reason}"}}}}"#);
        let told = read(Answer::default(), [sse(&[&end, r#"{"type":"message_stop"}"#]).into()]);
        assert_eq!(told, [Ok(Event::Finished(expected))], "{reason}");
    };
    check("end_turn", FinishReason::Stop);
    check("stop_sequence", FinishReason::Stop);
    check("pause_turn", FinishReason::Stop);
    check("max_tokens", FinishReason::Length);
    check("model_context_window_exceeded", FinishReason::Length);
    check("tool_use", FinishReason::ToolCalls);
    check("refusal", FinishReason::ContentFilter);
}

#[test]
fn an_error_within_a_stream_ends_it() {
    let check = |data: &str, expected: Result<Event, String>| {
        let start = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"a"}}"#;
        assert_eq!(read(Answer::default(), [sse(&[start, data]).into()]), [Ok(said("a")), expected], "{data}");
    };
    let overloaded = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    check(overloaded, Err("the model provider is overloaded; try again later".to_owned()));
    let limited = r#"{"type":"error","error":{"type":"rate_limit_error","message":"slow"}}"#;
    check(limited, Err("the model provider limits the rate of requests; try again later".to_owned()));
    let broken = r#"{"type":"error","error":{"type":"api_error","message":"at 10.0.0.1"}}"#;
    check(broken, failed("it reported an error in the middle of its answer"));
    check("<html>", failed("it sent what is no JSON chunk"));
    check(r#"{"type":"message_stop"}"#, failed("it broke off in the middle of its answer"));
}

#[test]
fn a_call_in_one_piece_keeps_its_arguments() {
    let call = r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"f","input":{"a":1}}}"#;
    let stop = r#"{"type":"content_block_stop","index":0}"#;
    let told = read(Answer::default(), [sse(&[call, stop]).into()]);
    assert_eq!(told[..2], [Ok(called(0, "t", "f")), Ok(with(0, "{\"a\":1}"))]);
    assert_eq!(told.len(), 3);
}

fn written(request: &Request) -> Value {
    let body = body(request).expect("a request that can be written");
    serde_json::from_slice(&body).expect("valid JSON")
}

#[test]
fn a_prompt_is_written_as_the_api_wants_it() {
    let image = |url: &str| part(Kind::Image(Image { url: url.to_owned(), ..Image::default() }));
    let file = |data: &str| {
        let (filename, data) = ("n".to_owned(), data.to_owned());
        part(Kind::File(File { filename, data, file_id: String::new() }))
    };
    let calls = vec![tool_call("call|1", r#"{"b":1,"a":2}"#), tool_call("c2", "")];
    let thoughts = vec![
        reasoning("", "hm", "sig"),
        reasoning("", "", "redacted:hidden"),
        reasoning("", "", "untold"),
        text("I call"),
    ];
    let request = Request {
        model: "claude-opus-4-6".to_owned(),
        messages: vec![
            message(Role::System, vec![text("Be brief.")]),
            message(Role::User, vec![text("hello")]),
            message(
                Role::User,
                vec![image("data:image/png;base64,QQ=="), image("https://example.com/a.png"), text(" \n")],
            ),
            message(Role::User, vec![file("data:application/pdf;base64,QQ=="), file("data:text/csv;base64,YSxi")]),
            Message { tool_calls: calls, ..message(Role::Assistant, thoughts) },
            result("call|1", vec![text("7")]),
            result("c2", vec![]),
            message(Role::User, vec![text("and?")]),
        ],
        options: GenerationOptions {
            temperature: Some(1.5),
            top_p: Some(0.9),
            stop: vec!["END".to_owned(), "\n".to_owned()],
            parallel_tool_calls: Some(false),
            safety_identifier: "someone".to_owned(),
            ..GenerationOptions::default()
        },
        tools: vec![FunctionTool { name: "f".to_owned(), description: "does".to_owned(), ..FunctionTool::default() }]
            .into(),
        tool_choice: Some(ToolChoice { mode: Mode::Function.into(), name: "f".to_owned() }),
        ..Request::default()
    };
    let marked = json!({"type": "ephemeral"});
    let expected = json!({
        "model": "claude-opus-4-6",
        "max_tokens": 8192,
        "stream": true,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": marked}],
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "hello"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QQ=="}},
                {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
                {"type": "document", "title": "n",
                    "source": {"type": "base64", "media_type": "application/pdf", "data": "QQ=="}},
                {"type": "document", "title": "n", "cache_control": marked,
                    "source": {"type": "text", "media_type": "text/plain", "data": "a,b"}},
            ]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "sig"},
                {"type": "redacted_thinking", "data": "hidden"},
                {"type": "thinking", "thinking": "", "signature": "untold"},
                {"type": "text", "text": "I call"},
                {"type": "tool_use", "id": "call_1", "name": "f", "input": {"b": 1, "a": 2}},
                {"type": "tool_use", "id": "c2", "name": "f", "input": {}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "call_1", "content": [{"type": "text", "text": "7"}]},
                {"type": "tool_result", "tool_use_id": "c2", "content": []},
                {"type": "text", "text": "and?", "cache_control": marked},
            ]},
        ],
        "metadata": {"user_id": "someone"},
        "stop_sequences": ["END"],
        "temperature": 1.0,
        "tools": [{"name": "f", "description": "does", "input_schema": {"type": "object", "properties": {}}}],
        "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": true},
    });
    assert_eq!(written(&request), expected);
}

/// A model that can think, asked to.
fn thinking(messages: Vec<Message>, max_tokens: u32, effort: &str) -> Request {
    Request {
        messages,
        options: GenerationOptions {
            max_tokens: Some(max_tokens),
            temperature: Some(0.5),
            reasoning_effort: effort.to_owned(),
            ..GenerationOptions::default()
        },
        profile: Profile { reasoning: true, max_tokens: Some(32_000), ..Profile::default() }.into(),
        ..Request::default()
    }
}

#[test]
fn a_model_thinks_as_much_as_is_asked_for_and_fits() {
    let asks = || vec![message(Role::User, vec![text("hi")])];
    let check = |request: &Request, max_tokens: u32, budget: Option<u32>| {
        let body = written(request);
        assert_eq!(body["max_tokens"], max_tokens);
        let thinking = budget.map_or(Value::Null, |budget| json!({"type": "enabled", "budget_tokens": budget}));
        assert_eq!(body["thinking"], thinking);
        assert_eq!(body["temperature"].is_null(), budget.is_some(), "thinking takes no temperature");
    };
    check(&thinking(asks(), 99_000, "high"), 32_000, Some(16_384));
    check(&thinking(asks(), 32_000, "low"), 32_000, Some(2048));
    check(&thinking(asks(), 4000, "medium"), 4000, Some(2976));
    check(&thinking(asks(), 2000, "medium"), 2000, None);
    check(&thinking(asks(), 32_000, ""), 32_000, None);
    let forced = Request {
        tool_choice: Some(ToolChoice { mode: Mode::Required.into(), name: String::new() }),
        ..thinking(asks(), 32_000, "high")
    };
    check(&forced, 32_000, None);
    let after_call = |parts| {
        let calling = Message { tool_calls: vec![tool_call("c", "{}")], ..message(Role::Assistant, parts) };
        let messages = [asks(), vec![calling, result("c", vec![text("7")])]].concat();
        thinking(messages, 32_000, "high")
    };
    check(&after_call(vec![text("no thought")]), 32_000, None);
    check(&after_call(vec![reasoning("", "hm", "sig")]), 32_000, Some(16_384));
    let mut without_limit = thinking(asks(), 0, "max");
    without_limit.options.max_tokens = None;
    without_limit.profile = Profile { reasoning: true, ..Profile::default() }.into();
    check(&without_limit, 8192 + 16_384, Some(16_384));
}

#[test]
fn thoughts_stay_behind_where_the_model_is_not_to_think() {
    let thinks = |model: &str, effort: &str| {
        let parts = vec![reasoning("", "hm", "sig"), text("I call")];
        let calling = Message { tool_calls: vec![tool_call("c", "{}")], ..message(Role::Assistant, parts) };
        let asks = message(Role::User, vec![text("hi")]);
        let request = thinking(vec![asks, calling, result("c", vec![text("7")])], 32_000, effort);
        written(&Request { model: model.to_owned(), ..request })["messages"][1]["content"][0]["type"] == "thinking"
    };
    assert!(thinks("claude-opus-4-5", "low"));
    assert!(!thinks("claude-opus-4-5", ""));
    assert!(thinks("claude-opus-4-7", ""));
}

#[test]
fn a_newer_model_chooses_its_words_itself() {
    let check = |model: &str, expected: Value| {
        let options = GenerationOptions { temperature: Some(0.5), ..GenerationOptions::default() };
        let body = written(&Request { model: model.to_owned(), options, ..Request::default() });
        assert_eq!(body["temperature"], expected, "{model}");
    };
    check("claude-opus-4-5", json!(0.5));
    check("claude-opus-4.6", json!(0.5));
    check("claude-opus-4-7", Value::Null);
    check("claude-fable-5", Value::Null);
}

#[test]
fn a_newer_model_decides_itself_how_much_it_thinks() {
    let check = |model: &str, effort: &str, expected: Value| {
        let request = thinking(vec![message(Role::User, vec![text("hi")])], 32_000, effort);
        let body = written(&Request { model: model.to_owned(), ..request });
        assert_eq!(json!([body["thinking"]["type"], body["output_config"]]), expected, "{model}");
    };
    for older in ["claude-3-7-sonnet-latest", "claude-sonnet-4-20250514", "claude-opus-4.5", "claude-haiku-4-5", "m2"] {
        check(older, "high", json!(["enabled", null]));
    }
    for newer in ["claude-opus-4-6", "anthropic/claude-opus-4.7", "claude-fable-5"] {
        check(newer, "minimal", json!(["adaptive", {"effort": "low"}]));
        check(newer, "medium", json!(["adaptive", {"effort": "medium"}]));
        check(newer, "xhigh", json!(["adaptive", {"effort": "high"}]));
    }
}

#[test]
fn the_form_of_the_answer_is_asked_for() {
    let check = |kind: response_format::Kind, config: Value, system: Value| {
        let options =
            GenerationOptions { response_format: Some(ResponseFormat { kind: Some(kind) }), ..Default::default() };
        let body = written(&Request { options, ..Request::default() });
        assert_eq!((&body["output_config"], &body["system"][0]["text"]), (&config, &system));
    };
    let schema = JsonSchema { schema: r#"{"type":"object"}"#.to_owned(), ..JsonSchema::default() };
    let config = json!({"format": {"type": "json_schema", "schema": {"type": "object"}}});
    check(response_format::Kind::JsonSchema(schema), config, Value::Null);
    let words = json!("Answer with one JSON object and nothing else.");
    check(response_format::Kind::JsonObject(JsonObject {}), Value::Null, words);
}

#[test]
fn a_conversation_begins_with_the_user() {
    let request = Request { messages: vec![message(Role::Assistant, vec![text("hi")])], ..Request::default() };
    assert_eq!(written(&request)["messages"][0]["role"], "user");
}

#[test]
fn what_the_api_does_not_take_is_refused() {
    let check = |kind: Kind, expected: &str| {
        let request = Request { messages: vec![message(Role::User, vec![part(kind)])], ..Request::default() };
        let error = body(&request).expect_err("it cannot be sent").to_string();
        assert_eq!(error, format!("the model provider refused the request: {expected}"));
    };
    check(Kind::Audio(Audio::default()), "the model's provider takes no audio");
    let file = |data: &str| Kind::File(File { data: data.to_owned(), ..File::default() });
    check(file(""), "the model's provider takes documents only as `data:` URLs");
    check(file("data:video/mp4;base64,QQ=="), "the model's provider takes no documents but PDF and text");
    check(file("data:text/plain;base64,/w=="), "a document is no UTF-8 text in base64");
    check(Kind::Image(Image { url: "data:,x".to_owned(), ..Image::default() }), "a `data:` URL is not in base64");
}
