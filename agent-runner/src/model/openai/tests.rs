//! What a provider sends, cut anywhere, becomes the same events.

use proto::{
    agent::v1::{
        FinishReason, FunctionTool, GenerationOptions, JsonSchema, ResponseFormat, TokenLogprob, ToolCallDelta,
        ToolChoice, response_format, tool_choice::Mode,
    },
    session::v1::{Image, Message, Part, Role, ToolCall, Usage, part::Kind},
};
use reqwest::Url;
use serde_json::{Value, json};

use super::{Answer, body};
use crate::model::{
    Compat, Event, MaxTokensField, Profile, Request,
    tests::{check_everywhere, failed, message, read, reasoning, said, signed, sse, text, thought},
};

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

fn expected() -> Vec<Event> {
    let call = |id: &str, name: &str, arguments: &str| ToolCallDelta {
        index: 0,
        id: id.to_owned(),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
    };
    let usage = Usage { prompt_tokens: 9, completion_tokens: 4, cached_tokens: 3, reasoning_tokens: 1 };
    [
        Event::Reasoning("hm".to_owned()),
        signed("reasoning_content"),
        Event::Text("hé \"llo\" ".to_owned()),
        Event::Text("🦀".to_owned()),
        Event::ToolCall(call("c1", "f", "")),
        Event::ToolCall(call("", "", "{\"a\":1}")),
        Event::Finished(FinishReason::ToolCalls),
        Event::Usage(usage),
    ]
    .to_vec()
}

#[test]
fn an_answer_is_the_same_wherever_it_is_cut() {
    check_everywhere(Answer::default, ANSWER, &expected());
}

#[test]
fn nothing_is_read_after_the_end() {
    let answer = format!("{ANSWER}data: {{\"choices\":[{{\"delta\":{{\"content\":\"more\"}}}}]}}\n\n");
    let expected: Vec<_> = expected().into_iter().map(Ok).collect();
    assert_eq!(read(Answer::default(), [answer.into()]), expected);
}

#[test]
fn an_error_within_a_stream_ends_it() {
    let check = |data: &str, message: &str| {
        let answer = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"a\"}}}}]}}\n\ndata: {data}\n\n");
        let expected = [Ok(Event::Text("a".to_owned())), Err(message.to_owned())];
        assert_eq!(read(Answer::default(), [answer.into()]), expected, "{data}");
    };
    check(
        r#"{"error":{"message":"gone"}}"#,
        "the model provider failed: it reported an error in the middle of its answer",
    );
    check(
        r#"{"error":{"message":"slow","code":429}}"#,
        "the model provider limits the rate of requests; try again later",
    );
    check("<html>", "the model provider failed: it sent what is no JSON chunk");
    check(
        r#"{"object":"error","message":"slow","code":429}"#,
        "the model provider limits the rate of requests; try again later",
    );
    check(r#"{"choices":7}"#, "the model provider failed: it sent what is no JSON chunk");
}

fn written(request: &Request, base_url: &str) -> Value {
    let base_url = Url::parse(base_url).expect("a URL");
    serde_json::from_slice(&body(request, &base_url)).expect("valid JSON")
}

#[test]
fn a_server_is_asked_in_the_words_that_it_knows() {
    let request = |compat: Compat| Request {
        messages: vec![
            message(Role::System, vec![text("Be brief.")]),
            message(Role::Assistant, vec![reasoning("anthropic-messages", "hm", "sig")]),
        ],
        options: GenerationOptions {
            max_tokens: Some(9),
            reasoning_effort: "low".to_owned(),
            ..GenerationOptions::default()
        },
        profile: Profile { compat, reasoning: true, max_tokens: Some(8), ..Profile::default() }.into(),
        ..Request::default()
    };
    let check = |compat: Compat, base_url: &str, fields: Value| {
        let mut expected = json!({"model": "", "stream": true, "stream_options": {"include_usage": true}});
        let fields = fields.as_object().expect("an object").clone();
        expected.as_object_mut().expect("an object").extend(fields);
        assert_eq!(written(&request(compat), base_url), expected);
    };
    let instructed = |role: &str| json!([{"role": role, "content": "Be brief."}]);
    check(
        Compat::default(),
        "http://h/v1",
        json!({"messages": instructed("system"), "max_tokens": 8, "reasoning_effort": "low"}),
    );
    check(
        Compat::default(),
        "https://api.openai.com/v1",
        json!({"messages": instructed("system"), "max_completion_tokens": 8, "reasoning_effort": "low"}),
    );
    let compat = Compat {
        max_tokens_field: Some(MaxTokensField::MaxCompletionTokens),
        supports_developer_role: Some(true),
        supports_store: Some(true),
        supports_reasoning_effort: Some(false),
    };
    check(
        compat,
        "http://h/v1",
        json!({"messages": instructed("developer"), "max_completion_tokens": 8, "store": false}),
    );
}

#[test]
fn openais_thinkers_are_not_told_how_to_choose_their_words() {
    let check = |model: &str, base_url: &str, reasoning: bool, is_told: bool| {
        let request = Request {
            model: model.to_owned(),
            options: GenerationOptions {
                temperature: Some(0.5),
                top_p: Some(0.5),
                stop: vec!["END".to_owned()],
                frequency_penalty: Some(1.0),
                presence_penalty: Some(1.0),
                logprobs: Some(true),
                top_logprobs: Some(2),
                logit_bias: [("7".to_owned(), -5.0)].into(),
                ..GenerationOptions::default()
            },
            profile: Profile { reasoning, ..Profile::default() }.into(),
            ..Request::default()
        };
        let body = written(&request, base_url);
        let sampling = ["temperature", "top_p", "stop", "frequency_penalty", "presence_penalty", "logit_bias"];
        for field in sampling.into_iter().chain(["logprobs", "top_logprobs"]) {
            assert_eq!(!body[field].is_null(), is_told, "{model} {field}");
        }
    };
    check("gpt-4o", "https://api.openai.com/v1", false, true);
    check("gpt-5-mini", "https://api.openai.com/v1", false, false);
    check("openai/o3", "http://h/v1", false, false);
    check("next", "https://api.openai.com/v1", true, false);
    check("qwen3", "http://h/v1", true, true);
}

#[test]
fn an_answer_is_read_in_every_form() {
    let check = |data: &[&str], expected: &[Event]| {
        let expected: Vec<_> = expected.iter().cloned().map(Ok).collect();
        assert_eq!(read(Answer::default(), [sse(data).into()]), expected, "{data:?}");
    };
    let stop = || Event::Finished(FinishReason::Stop);
    let end = r#"{"choices":[{"finish_reason":"stop"}]}"#;
    let listed = r#"{"choices":[{"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"a"}]}}]}"#;
    check(&[listed, end], &[thought("hm"), signed(""), said("a"), stop()]);
    let other_name = r#"{"choices":[{"delta":{"reasoning_content":"","reasoning":"hm"}}]}"#;
    check(&[other_name, end], &[thought("hm"), signed(""), stop()]);
    let refused = r#"{"choices":[{"delta":{"content":null,"refusal":"no"},"logprobs":null}]}"#;
    check(&[refused, end], &[Event::Refusal("no".to_owned()), stop()]);
    let likely = r#"{"choices":[{"delta":{"content":"a"},"logprobs":{"content":[{"token":"a","logprob":-0.5,"bytes":[97],"top_logprobs":[{"token":"b","logprob":-2.0,"bytes":null}]}],"refusal":null}}]}"#;
    check(&[likely, end], &[Event::Logprobs(vec![likely_token()]), said("a"), stop()]);
    let unlike = r#"{"choices":[{"delta":{"content":"a"},"logprobs":{"tokens":["a"]}}]}"#;
    check(&[unlike, end], &[said("a"), stop()]);
    let text = r#"{"choices":[{"delta":{"content":"a"}}]}"#;
    check(&[text, r#"{"choices":null}"#, end], &[said("a"), stop()]);
    // An end without a reason is one all the same.
    check(&[text, "[DONE]"], &[said("a"), stop()]);
    check(&[text, end, "[DONE]"], &[said("a"), stop()]);
    let told = read(Answer::default(), [sse(&["[DONE]"]).into()]);
    assert_eq!(told, [failed("it broke off in the middle of its answer")]);
}

fn likely_token() -> TokenLogprob {
    let other = TokenLogprob { token: "b".to_owned(), logprob: -2.0, ..TokenLogprob::default() };
    TokenLogprob { token: "a".to_owned(), logprob: -0.5, bytes: b"a".to_vec().into(), top: vec![other] }
}

#[test]
fn a_prompt_is_written_as_the_api_wants_it() {
    let image = Image { url: "data:,x".to_owned(), detail: "low".to_owned(), ..Image::default() };
    let image = Part { kind: Some(Kind::Image(image)) };
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
            logprobs: Some(true),
            top_logprobs: Some(2),
            logit_bias: [("7".to_owned(), -100.0), ("8".to_owned(), 0.5)].into(),
            verbosity: "low".to_owned(),
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
        profile: Profile::default().into(),
        tool_choice: Some(ToolChoice { mode: Mode::Function.into(), name: "f".to_owned() }),
    };
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
        "logprobs": true,
        "top_logprobs": 2,
        "logit_bias": {"7": -100, "8": 0.5},
        "verbosity": "low",
        "safety_identifier": "someone",
        "prompt_cache_key": "group",
        "response_format": {"type": "json_schema", "json_schema": {
            "name": "s", "schema": {"type": "object"}, "strict": true,
        }},
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
    });
    assert_eq!(written(&request, "http://h/v1"), expected);
}

#[test]
fn calls_are_numbered_and_named_once_whatever_the_server_does() {
    let check = |calls: &[&str], expected: &[(u32, &str, &str, &str)]| {
        let chunk = |call: &&str| format!("data: {{\"choices\":[{{\"delta\":{{\"tool_calls\":[{call}]}}}}]}}\n\n");
        let answer: String = calls.iter().map(chunk).collect();
        let mut found = read(Answer::default(), [answer.into()]);
        found.pop().expect("it broke off").expect_err("nothing said that it ended");
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
    check(&named_each_time, &[(0, "a", "f", "1"), (0, "", "", "2")]);
    let from_one = [
        r#"{"index":1,"id":"a","function":{"name":"f","arguments":""}}"#,
        r#"{"index":1,"function":{"arguments":"1"}}"#,
        r#"{"index":2,"id":"b","function":{"name":"g","arguments":"2"}}"#,
    ];
    check(&from_one, &[(0, "a", "f", ""), (0, "", "", "1"), (1, "b", "g", "2")]);
    let without_index = [
        r#"{"id":"a","function":{"name":"f","arguments":"1"}}"#,
        r#"{"id":"b","function":{"name":"g","arguments":"2"}}"#,
    ];
    check(&without_index, &[(0, "a", "f", "1"), (1, "b", "g", "2")]);
    let with_new_ids = [
        r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{\"a\""}}"#,
        r#"{"index":0,"id":"b","function":{"arguments":":1}"}}"#,
        r#"{"index":1,"id":"c","function":{"name":"f","arguments":"{}"}}"#,
    ];
    check(&with_new_ids, &[(0, "a", "f", r#"{"a""#), (0, "", "", ":1}"), (1, "c", "f", "{}")]);
    let whole_at_one_index = [
        r#"{"index":0,"function":{"name":"f","arguments":"{}"}}"#,
        r#"{"index":0,"function":{"name":"f","arguments":"{}"}}"#,
        r#"{"index":0,"function":{"name":"g","arguments":""}}"#,
        r#"{"index":0,"function":{"name":"g","arguments":"{}"}}"#,
    ];
    let expected = [(0, "", "f", "{}"), (1, "", "f", "{}"), (2, "", "g", ""), (2, "", "", "{}")];
    check(&whole_at_one_index, &expected);
    let without_anything = [
        r#"{"function":{"name":"f","arguments":"1"}}"#,
        r#"{"function":{"arguments":"2"}}"#,
        r#"{"function":{"name":"g","arguments":"3"}}"#,
    ];
    check(&without_anything, &[(0, "", "f", "1"), (0, "", "", "2"), (1, "", "g", "3")]);
}
