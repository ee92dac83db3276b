//! What the Gemini API sends becomes events, and what it is sent is what its reference asks for.

use proto::{
    agent::v1::{
        FinishReason, FunctionTool, GenerationOptions, JsonSchema, ResponseFormat, ToolChoice, response_format,
        tool_choice::Mode,
    },
    session::v1::{Audio, Image, Message, Role, ToolCall, Usage, part::Kind},
};
use serde_json::{Value, json};

use super::{Answer, body, unique_prefix};
use crate::model::{
    Event, Profile, Request,
    stream::signed_call,
    tests::{
        called, check_everywhere, failed, message, part, read, reasoning, recorded, result, said, signed, sse, text,
        thought, tool_call, with,
    },
};

fn answer() -> Answer {
    Answer::new("made_up_".to_owned())
}

#[test]
fn an_answer_is_the_same_wherever_it_is_cut() {
    let cost = |completion_tokens, cached_tokens| {
        Event::Usage(Usage { prompt_tokens: 10, completion_tokens, cached_tokens, reasoning_tokens: 5 })
    };
    let expected = [
        thought("**Hm**"),
        cost(5, 0),
        signed(""),
        said("hé "),
        said("🦀"),
        called(0, "made_up_0", "f"),
        with(0, "{\"b\": 1,\"a\": [2]}"),
        signed_call(0, "c2ln".to_owned()),
        called(1, "own", "g"),
        with(1, "{}"),
        Event::Finished(FinishReason::ToolCalls),
        cost(12, 4),
    ];
    check_everywhere(answer, recorded::GOOGLE, &expected);
}

#[test]
fn an_answer_ends_for_the_reason_that_is_given() {
    let check = |data: &str, expected: Result<Event, String>| {
        let start = r#"{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}"#;
        assert_eq!(read(answer(), [sse(&[start, data]).into()]), [Ok(said("a")), expected], "{data}");
    };
    let finish = |reason: &str| format!(r#"{{"candidates":[{{"finishReason":"{reason}"}}]}}"#);
    let finished = |reason| Ok(Event::Finished(reason));
    check(&finish("STOP"), finished(FinishReason::Stop));
    check(&finish("MAX_TOKENS"), finished(FinishReason::Length));
    check(&finish("SAFETY"), finished(FinishReason::ContentFilter));
    check(&finish("PROHIBITED_CONTENT"), finished(FinishReason::ContentFilter));
    check(
        &finish("MALFORMED_FUNCTION_CALL"),
        Err("the model made a mistake: it called a tool in a way that makes no sense".to_owned()),
    );
    check(r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#, finished(FinishReason::ContentFilter));
    check(
        r#"{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}"#,
        Err("the model provider is overloaded; try again later".to_owned()),
    );
    check("[7]", failed("it sent what is no JSON chunk"));
}

#[test]
fn a_signature_without_a_thought_is_kept() {
    let last = r#"{"candidates":[{"content":{"parts":[{"text":"a","thoughtSignature":"s"}]},"finishReason":"STOP"}]}"#;
    let told = read(answer(), [sse(&[last]).into()]);
    assert_eq!(told, [Ok(said("a")), Ok(signed("s")), Ok(Event::Finished(FinishReason::Stop))]);
}

#[test]
fn made_up_ids_are_unique_and_not_told_to_the_provider() {
    let (one, other) = (unique_prefix(), unique_prefix());
    assert_ne!(one, other);
    let id = format!("{one}0");
    let calling = Message { tool_calls: vec![tool_call(&id, "{}")], ..message(Role::Assistant, vec![]) };
    let request = Request { messages: vec![calling, result(&id, vec![])], ..Request::default() };
    let body = String::from_utf8(body(&request).expect("writable")).expect("UTF-8");
    assert!(!body.contains(&id), "{body}");
}

#[test]
fn a_prompt_is_written_as_the_api_wants_it() {
    let image = |url: &str| part(Kind::Image(Image { url: url.to_owned(), ..Image::default() }));
    let audio = part(Kind::Audio(Audio { data: "QQ==".to_owned(), format: "wav".to_owned() }));
    let signed = ToolCall { signature: "s".to_owned(), ..tool_call("c1", r#"{"a":1}"#) };
    let thoughts = vec![reasoning("", "hm", "t"), reasoning("", "", "u"), text("ok")];
    let request = Request {
        model: "gemini-2.5-flash".to_owned(),
        messages: vec![
            message(Role::System, vec![text("Be brief.")]),
            message(
                Role::User,
                vec![text("hello"), image("data:image/png;base64,QQ=="), image("https://example.com/a")],
            ),
            message(Role::User, vec![audio]),
            Message { tool_calls: vec![signed, tool_call("c2", "")], ..message(Role::Assistant, thoughts) },
            result("c1", vec![text("7")]),
            result("c2", vec![text("8")]),
        ],
        options: GenerationOptions {
            temperature: Some(0.5),
            top_p: Some(0.25),
            max_tokens: Some(100),
            stop: vec!["END".to_owned()],
            seed: Some(3),
            reasoning_effort: "low".to_owned(),
            response_format: Some(ResponseFormat {
                kind: Some(response_format::Kind::JsonSchema(JsonSchema {
                    schema: r#"{"type":"object"}"#.to_owned(),
                    ..JsonSchema::default()
                })),
            }),
            ..GenerationOptions::default()
        },
        tools: vec![
            FunctionTool {
                name: "f".to_owned(),
                parameters: r#"{"type":"object"}"#.to_owned(),
                ..FunctionTool::default()
            },
            FunctionTool { name: "g".to_owned(), description: "does".to_owned(), ..FunctionTool::default() },
        ]
        .into(),
        tool_choice: Some(ToolChoice { mode: Mode::Function.into(), name: "f".to_owned() }),
        profile: Profile { reasoning: true, ..Profile::default() }.into(),
    };
    let written: Value = serde_json::from_slice(&body(&request).expect("writable")).expect("valid JSON");
    let expected = json!({
        "contents": [
            {"role": "user", "parts": [
                {"text": "hello"},
                {"inlineData": {"mimeType": "image/png", "data": "QQ=="}},
                {"fileData": {"fileUri": "https://example.com/a"}},
                {"inlineData": {"mimeType": "audio/wav", "data": "QQ=="}},
            ]},
            {"role": "model", "parts": [
                {"text": "hm", "thought": true, "thoughtSignature": "t"},
                {"text": "", "thoughtSignature": "u"},
                {"text": "ok"},
                {"functionCall": {"id": "c1", "name": "f", "args": {"a": 1}}, "thoughtSignature": "s"},
                {"functionCall": {"id": "c2", "name": "f", "args": {}}},
            ]},
            {"role": "user", "parts": [
                {"functionResponse": {"id": "c1", "name": "f", "response": {"result": "7"}}},
                {"functionResponse": {"id": "c2", "name": "f", "response": {"result": "8"}}},
            ]},
        ],
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "tools": [{"functionDeclarations": [
            {"name": "f", "parametersJsonSchema": {"type": "object"}},
            {"name": "g", "description": "does"},
        ]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        "generationConfig": {
            "temperature": 0.5,
            "topP": 0.25,
            "maxOutputTokens": 100,
            "stopSequences": ["END"],
            "seed": 3,
            "responseMimeType": "application/json",
            "responseJsonSchema": {"type": "object"},
            "thinkingConfig": {"includeThoughts": true, "thinkingBudget": 2048},
        },
    });
    assert_eq!(written, expected);
}

#[test]
fn a_newer_model_is_told_that_a_call_has_no_signature() {
    let calls = vec![tool_call("c1", "{}"), tool_call("c2", "{}")];
    let calling = Message { tool_calls: calls, ..message(Role::Assistant, vec![]) };
    let request = Request { model: "gemini-3-pro".to_owned(), messages: vec![calling], ..Request::default() };
    let written: Value = serde_json::from_slice(&body(&request).expect("writable")).expect("valid JSON");
    let parts = &written["contents"][0]["parts"];
    assert_eq!(parts[0]["thoughtSignature"], "skip_thought_signature_validator");
    assert_eq!(parts[1]["thoughtSignature"], Value::Null);
}
