//! What the Responses API sends becomes events, and what it is sent is what its reference asks for.

use proto::{
    agent::v1::{
        FinishReason, FunctionTool, GenerationOptions, JsonSchema, ResponseFormat, TokenLogprob, ToolChoice,
        response_format, tool_choice::Mode,
    },
    session::v1::{File, Image, Message, Role, Usage, part::Kind},
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

#[test]
fn an_answer_is_the_same_wherever_it_is_cut() {
    let expected = [
        thought("First"),
        thought("\n\n"),
        thought("then"),
        signed("gAAAA"),
        said("hé 🦀"),
        called(0, "call_1", "f"),
        with(0, "{\"a\""),
        with(0, ":1}"),
        called(1, "call_2", "g"),
        with(1, "{}"),
        Event::Finished(FinishReason::ToolCalls),
        Event::Usage(Usage { prompt_tokens: 37, completion_tokens: 11, cached_tokens: 7, reasoning_tokens: 5 }),
    ];
    check_everywhere(Answer::default, recorded::RESPONSES, &expected);
}

#[test]
fn an_answer_ends_for_the_reason_that_is_given() {
    let check = |data: &str, expected: Result<Event, String>| {
        let refusal = r#"{"type":"response.refusal.delta","delta":"no"}"#;
        assert_eq!(
            read(Answer::default(), [sse(&[refusal, data]).into()]),
            [Ok(Event::Refusal("no".to_owned())), expected],
            "{data}"
        );
    };
    let finished = |reason| Ok(Event::Finished(reason));
    check(r#"{"type":"response.completed","response":{"status":"completed"}}"#, finished(FinishReason::Stop));
    let incomplete = |reason: &str| {
        format!(r#"{{"type":"response.incomplete","response":{{"incomplete_details":{{"reason":"{reason}"}}}}}}"#)
    };
    check(&incomplete("max_output_tokens"), finished(FinishReason::Length));
    check(&incomplete("content_filter"), finished(FinishReason::ContentFilter));
    check(
        r#"{"type":"response.failed","response":{"error":{"code":"server_error","message":"at 10.0.0.1"}}}"#,
        failed("it reported an error in the middle of its answer"),
    );
    check(
        r#"{"type":"error","code":"rate_limit_exceeded","message":"slow","param":null}"#,
        Err("the model provider limits the rate of requests; try again later".to_owned()),
    );
    check(
        r#"{"type":"error","error":{"type":"invalid_request_error","code":"context_length_exceeded","message":"m"}}"#,
        Err("the conversation is longer than the model can take: m".to_owned()),
    );
    check("<html>", failed("it sent what is no JSON chunk"));
    check("[DONE]", failed("it broke off in the middle of its answer"));
}

#[test]
fn a_thought_that_was_not_told_in_deltas_is_told_at_its_end() {
    let done = r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"reasoning","summary":[{"type":"summary_text","text":"a"},{"type":"summary_text","text":"b"}]}}"#;
    let told = read(Answer::default(), [sse(&[done]).into()]);
    assert_eq!(told[..2], [Ok(thought("a\n\nb")), Ok(signed(""))]);
}

#[test]
fn a_prompt_is_written_as_the_api_wants_it() {
    let image = part(Kind::Image(Image { url: "data:,x".to_owned(), ..Image::default() }));
    let file = part(Kind::File(File { file_id: "file-1".to_owned(), ..File::default() }));
    let thoughts = vec![reasoning("", "hm", "enc"), reasoning("", "", "hidden"), text("I call")];
    let request = Request {
        model: "gpt-5".to_owned(),
        messages: vec![
            message(Role::System, vec![text("Be brief.")]),
            message(Role::User, vec![text("hello"), image, file]),
            Message { tool_calls: vec![tool_call("c1", "{}")], ..message(Role::Assistant, thoughts) },
            result("c1", vec![text("7")]),
        ],
        options: GenerationOptions {
            temperature: Some(0.5),
            max_tokens: Some(100),
            reasoning_effort: "low".to_owned(),
            parallel_tool_calls: Some(true),
            verbosity: "high".to_owned(),
            safety_identifier: "someone".to_owned(),
            prompt_cache_key: "group".to_owned(),
            response_format: Some(ResponseFormat {
                kind: Some(response_format::Kind::JsonSchema(JsonSchema {
                    name: "s".to_owned(),
                    schema: r#"{"type":"object"}"#.to_owned(),
                    strict: Some(true),
                    ..JsonSchema::default()
                })),
            }),
            ..GenerationOptions::default()
        },
        tools: vec![FunctionTool {
            name: "f".to_owned(),
            parameters: r#"{"type":"object"}"#.to_owned(),
            ..FunctionTool::default()
        }]
        .into(),
        tool_choice: Some(ToolChoice { mode: Mode::Function.into(), name: "f".to_owned() }),
        profile: Profile { max_tokens: Some(50), ..Profile::default() }.into(),
    };
    let written: Value = serde_json::from_slice(&body(&request).expect("writable")).expect("valid JSON");
    let expected = json!({
        "model": "gpt-5",
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": [
                {"type": "input_text", "text": "hello"},
                {"type": "input_image", "image_url": "data:,x", "detail": "auto"},
                {"type": "input_file", "file_id": "file-1"},
            ]},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "enc"},
            {"type": "reasoning", "summary": [], "encrypted_content": "hidden"},
            {"role": "assistant", "content": [{"type": "output_text", "text": "I call"}]},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "7"},
        ],
        "stream": true,
        "store": false,
        "include": ["reasoning.encrypted_content"],
        "max_output_tokens": 50,
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {
            "format": {"type": "json_schema", "name": "s", "schema": {"type": "object"}, "strict": true},
            "verbosity": "high",
        },
        "safety_identifier": "someone",
        "prompt_cache_key": "group",
        "parallel_tool_calls": true,
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": false}],
        "tool_choice": {"type": "function", "name": "f"},
    });
    assert_eq!(written, expected);
}

#[test]
fn only_models_that_think_are_asked_for_their_thoughts() {
    let check = |model: &str, reasoning: bool, expected: Value| {
        let request = Request {
            model: model.to_owned(),
            options: GenerationOptions { temperature: Some(0.5), top_p: Some(0.5), ..GenerationOptions::default() },
            profile: Profile { reasoning, ..Profile::default() }.into(),
            ..Request::default()
        };
        let written: Value = serde_json::from_slice(&body(&request).expect("writable")).expect("valid JSON");
        assert_eq!(json!([written["include"], written["temperature"], written["top_p"]]), expected, "{model}");
    };
    check("gpt-4o", false, json!([null, 0.5, 0.5]));
    check("o3", false, json!([["reasoning.encrypted_content"], null, null]));
    check("own", true, json!([["reasoning.encrypted_content"], null, null]));
}

#[test]
fn the_tokens_of_a_text_are_asked_for_and_told() {
    let options = GenerationOptions { logprobs: Some(true), top_logprobs: Some(2), ..GenerationOptions::default() };
    let check = |model: &str, expected: Value| {
        let request = Request { model: model.to_owned(), options: options.clone(), ..Request::default() };
        let written: Value = serde_json::from_slice(&body(&request).expect("writable")).expect("valid JSON");
        assert_eq!(json!([written["include"], written["top_logprobs"]]), expected, "{model}");
    };
    check("gpt-4o", json!([["message.output_text.logprobs"], 2]));
    check("o3", json!([["reasoning.encrypted_content"], null]));
    let delta = r#"{"type":"response.output_text.delta","delta":"a","logprobs":[{"token":"a","logprob":-0.5,"top_logprobs":[]}]}"#;
    let end = r#"{"type":"response.completed","response":{}}"#;
    let token = TokenLogprob { token: "a".to_owned(), logprob: -0.5, ..TokenLogprob::default() };
    let expected = [Event::Logprobs(vec![token]), said("a"), Event::Finished(FinishReason::Stop)].map(Ok);
    assert_eq!(read(Answer::default(), [sse(&[delta, end]).into()]), expected);
}

#[test]
fn stop_texts_are_refused() {
    let options = GenerationOptions { stop: vec!["END".to_owned()], ..GenerationOptions::default() };
    let error = body(&Request { options, ..Request::default() }).expect_err("the protocol has none").to_string();
    assert!(error.ends_with("`stop` is not known to the protocol `openai-responses`"), "{error}");
}
