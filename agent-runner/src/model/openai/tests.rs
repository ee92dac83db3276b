//! What a provider sends, cut anywhere, becomes the same events.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use proto::{
    agent::v1::{
        FinishReason, FunctionTool, GenerationOptions, JsonSchema, ResponseFormat, ToolCallDelta, ToolChoice,
        response_format, tool_choice::Mode,
    },
    session::v1::{Image, Message, Part, Role, ToolCall, Usage, part::Kind},
};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{
    Error, endpoint, error,
    request::{self, MaxTokensField},
    response,
};
use crate::model::{Event, Request};

async fn events(chunks: Vec<Bytes>) -> Vec<Result<Event, String>> {
    let bytes = futures_util::stream::iter(chunks.into_iter().map(Ok)).boxed();
    response::Events::new(bytes).map(|event| event.map_err(|error| error.to_string())).collect().await
}

const ANSWER: &str = concat!(
    ": OPENROUTER PROCESSING\n\n",
    "data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\",\"reasoning\":null}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"h\\u00e9 \\\"llo\\\" \"},\"finish_reason\":null}],\"usage\":null}\r\n\r\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"🦀\"}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"a\\\":1}\"}}]}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4,\"total_tokens\":13,\"prompt_tokens_details\":{\"cached_tokens\":3},\"completion_tokens_details\":{\"reasoning_tokens\":1}}}\n\n",
    "data: [DONE]\n\n",
);

fn expected() -> Vec<Result<Event, String>> {
    let call = |id: &str, name: &str, arguments: &str| ToolCallDelta {
        index: 0,
        id: id.to_owned(),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
    };
    let usage = Usage { prompt_tokens: 9, completion_tokens: 4, cached_tokens: 3, reasoning_tokens: 1 };
    [
        Event::Reasoning("hm".to_owned()),
        Event::Text("hé \"llo\" ".to_owned()),
        Event::Text("🦀".to_owned()),
        Event::ToolCall(call("c1", "f", "")),
        Event::ToolCall(call("", "", "{\"a\":1}")),
        Event::Finished(FinishReason::ToolCalls),
        Event::Usage(usage),
    ]
    .map(Ok)
    .to_vec()
}

#[tokio::test]
async fn an_answer_is_the_same_wherever_it_is_cut() {
    let whole = Bytes::from_static(ANSWER.as_bytes());
    for cut in 0..=whole.len() {
        let chunks = vec![whole.slice(..cut), whole.slice(cut..)];
        assert_eq!(events(chunks).await, expected(), "cut at byte {cut}");
    }
    let bytes = (0..whole.len()).map(|index| whole.slice(index..=index)).collect();
    assert_eq!(events(bytes).await, expected());
}

#[tokio::test]
async fn nothing_is_read_after_the_end() {
    let answer = format!("{ANSWER}data: {{\"choices\":[{{\"delta\":{{\"content\":\"more\"}}}}]}}\n\n");
    assert_eq!(events(vec![answer.into()]).await, expected());
}

#[tokio::test]
async fn an_error_within_a_stream_ends_it() {
    let check = async |data: &str, message: &str| {
        let answer = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"a\"}}}}]}}\n\ndata: {data}\n\n");
        let expected = vec![Ok(Event::Text("a".to_owned())), Err(message.to_owned())];
        assert_eq!(events(vec![answer.into()]).await, expected, "{data}");
    };
    check(
        r#"{"error":{"message":"gone"}}"#,
        "the model provider failed: it reported an error in the middle of its answer",
    )
    .await;
    check(
        r#"{"error":{"message":"slow","code":429}}"#,
        "the model provider limits the rate of requests; try again later",
    )
    .await;
    check("<html>", "the model provider failed: it sent what is no JSON chunk").await;
    check(r#"{"choices":7}"#, "the model provider failed: it sent what is no JSON chunk").await;
}

#[test]
fn a_refusal_is_told_by_its_status_and_code() {
    let check = |status: u16, body: &str, expected: &str| {
        let status = StatusCode::from_u16(status).expect("a status");
        let error = error::from_status("stub", status, None, body.as_bytes());
        assert_eq!(error.to_string(), expected, "{status} {body}");
    };
    check(400, r#"{"error":{"message":"bad"}}"#, "the model provider refused the request: bad");
    check(404, "not here", "the model provider refused the request: it gave no reason");
    check(
        400,
        r#"{"error":{"message":"m","code":"context_length_exceeded"}}"#,
        "the conversation is longer than the model can take: m",
    );
    check(401, r#"{"error":{"message":"bad key sk-1"}}"#, "the model provider refused the gateway's credentials");
    check(403, "", "the model provider refused the gateway's credentials");
    check(402, "", "the quota at the model provider is used up");
    check(
        429,
        r#"{"error":{"message":"pay","type":"insufficient_quota"}}"#,
        "the quota at the model provider is used up",
    );
    check(429, r#"{"error":{"message":"slow"}}"#, "the model provider limits the rate of requests; try again later");
    check(500, r#"{"error":{"message":"at 10.0.0.1"}}"#, "the model provider failed: HTTP 500");
    check(301, "", "the model provider failed: HTTP 301");
    check(504, "", "the model provider took too long");
}

#[test]
fn a_prompt_is_written_as_the_api_wants_it() {
    let text = |text: &str| Part { kind: Some(Kind::Text(text.to_owned())) };
    let image = Part { kind: Some(Kind::Image(Image { url: "data:,x".to_owned(), detail: "low".to_owned() })) };
    let message = |role: Role, parts: Vec<Part>| Message { role: role.into(), parts, ..Message::default() };
    let call =
        ToolCall { id: "c1".to_owned(), name: "f".to_owned(), arguments: "{}".to_owned(), ..ToolCall::default() };
    let request = Request {
        model: "m".to_owned(),
        messages: vec![
            message(Role::System, vec![text("Be brief.")]),
            message(Role::User, vec![text("hello"), text("world")]),
            message(Role::User, vec![text("look"), image]),
            Message { tool_calls: vec![call], ..message(Role::Assistant, vec![]) },
            Message { tool_call_id: "c1".to_owned(), ..message(Role::Tool, vec![text("7")]) },
            Message { tool_call_id: "c2".to_owned(), ..message(Role::Tool, vec![]) },
        ],
        options: GenerationOptions {
            temperature: Some(0.5),
            max_tokens: Some(9),
            stop: vec!["END".to_owned()],
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
        profile: Arc::default(),
        tool_choice: Some(ToolChoice { mode: Mode::Function.into(), name: "f".to_owned() }),
    };
    let body: Value = serde_json::from_slice(&request::body(&request, MaxTokensField::MaxTokens)).expect("valid JSON");
    let expected = json!({
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "hello\nworld"},
            {"role": "user", "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": "data:,x", "detail": "low"}},
            ]},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            ]},
            {"role": "tool", "content": "7", "tool_call_id": "c1"},
            {"role": "tool", "content": "", "tool_call_id": "c2"},
        ],
        "stream": true,
        "stream_options": {"include_usage": true},
        "temperature": 0.5,
        "max_tokens": 9,
        "stop": ["END"],
        "response_format": {"type": "json_schema", "json_schema": {
            "name": "s", "schema": {"type": "object"}, "strict": true,
        }},
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
    });
    assert_eq!(body, expected);
}

#[test]
fn the_endpoint_follows_the_base_url() {
    let check = |base_url: &str, expected: Option<&str>| {
        assert_eq!(endpoint(base_url).ok().as_ref().map(AsRef::as_ref), expected, "{base_url}");
    };
    check("https://api.example.com/v1", Some("https://api.example.com/v1/chat/completions"));
    check("http://127.0.0.1:11434/v1/", Some("http://127.0.0.1:11434/v1/chat/completions"));
    check("ftp://example.com", None);
    check("nonsense", None);
}

#[test]
fn an_idle_provider_is_named_with_the_time() {
    let error = Error::Idle(std::time::Duration::from_secs(120));
    assert_eq!(error.to_string(), "the model provider sent nothing for 120 s");
}

#[tokio::test]
async fn calls_are_numbered_and_named_once_whatever_the_server_does() {
    let check = async |calls: &[&str], expected: &[(u32, &str, &str, &str)]| {
        let chunk = |call: &&str| format!("data: {{\"choices\":[{{\"delta\":{{\"tool_calls\":[{call}]}}}}]}}\n\n");
        let answer: String = calls.iter().map(chunk).collect();
        let found: Vec<_> = events(vec![answer.into()]).await;
        let expected: Vec<_> = expected
            .iter()
            .map(|&(index, id, name, arguments)| {
                let [id, name, arguments] = [id, name, arguments].map(str::to_owned);
                Ok(Event::ToolCall(ToolCallDelta { index, id, name, arguments }))
            })
            .collect();
        assert_eq!(found, expected, "{calls:?}");
    };
    let named_each_time = [
        r#"{"index":0,"id":"a","function":{"name":"f","arguments":"1"}}"#,
        r#"{"index":0,"id":"a","function":{"name":"f","arguments":"2"}}"#,
    ];
    check(&named_each_time, &[(0, "a", "f", "1"), (0, "", "", "2")]).await;
    let from_one = [
        r#"{"index":1,"id":"a","function":{"name":"f","arguments":""}}"#,
        r#"{"index":1,"function":{"arguments":"1"}}"#,
        r#"{"index":2,"id":"b","function":{"name":"g","arguments":"2"}}"#,
    ];
    check(&from_one, &[(0, "a", "f", ""), (0, "", "", "1"), (1, "b", "g", "2")]).await;
    let without_index = [
        r#"{"id":"a","function":{"name":"f","arguments":"1"}}"#,
        r#"{"id":"b","function":{"name":"g","arguments":"2"}}"#,
    ];
    check(&without_index, &[(0, "a", "f", "1"), (1, "b", "g", "2")]).await;
    let without_anything = [
        r#"{"function":{"name":"f","arguments":"1"}}"#,
        r#"{"function":{"arguments":"2"}}"#,
        r#"{"function":{"name":"g","arguments":"3"}}"#,
    ];
    check(&without_anything, &[(0, "", "f", "1"), (0, "", "", "2"), (1, "", "g", "3")]).await;
}
