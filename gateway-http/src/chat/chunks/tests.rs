//! What a stream looks like on the wire.

use proptest::prelude::{any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proto::{
    agent::v1::{FinishReason, LogprobsDelta, TokenLogprob, ToolFinished, ToolStarted},
    session::v1::Usage,
};
use serde_json::Value;

use super::*;

fn chunks(include_usage: bool, shown: Shown, sse: &mut Sse) -> Chunks {
    let mut chunks = Chunks::new(Envelope::new("chatcmpl_1", "a \"b\""), include_usage, shown);
    chunks.take(Kind::Started(Started { started_at_ms: 7_000, ..Started::default() }), sse);
    chunks
}

fn written(mut sse: Sse) -> String {
    let written = String::from_utf8(sse.take().to_vec()).expect("valid UTF-8");
    written.replace(SYSTEM_FINGERPRINT, "FINGERPRINT")
}

#[test]
fn a_stream_is_written_to_the_letter() {
    let mut sse = Sse::new();
    let mut chunks = chunks(true, Shown::default(), &mut sse);
    chunks.take(Kind::TextDelta("tab\there, «é» \u{1F980}\n".to_owned()), &mut sse);
    sse.comment("keep-alive");
    let call = ToolCallDelta { index: 0, id: "c1".to_owned(), name: "f".to_owned(), arguments: String::new() };
    let more = ToolCallDelta { index: 0, arguments: "{\"x\":1}".to_owned(), ..ToolCallDelta::default() };
    chunks.take(Kind::ToolCallDelta(call), &mut sse);
    chunks.take(Kind::ToolCallDelta(more), &mut sse);
    let usage = Usage { prompt_tokens: 30, completion_tokens: 5, cached_tokens: 20, reasoning_tokens: 2 };
    let finished = Finished { reason: FinishReason::ToolCalls.into(), usage: Some(usage) };
    chunks.take(Kind::Finished(finished), &mut sse);
    insta::assert_snapshot!(written(sse));
}

#[test]
fn an_error_ends_the_stream_too() {
    let mut sse = Sse::new();
    let mut chunks = chunks(false, Shown::default(), &mut sse);
    chunks.fail(&ApiError::invalid_value("messages", "is odd"), &mut sse);
    insta::assert_snapshot!(written(sse));
}

/// What the agent does beside its answer.
fn work(chunks: &mut Chunks, sse: &mut Sse) {
    let tool_call_id = || "c1".to_owned();
    let name = || "read".to_owned();
    let arguments = r#"{"path":"a.txt"}"#.to_owned();
    chunks.take(Kind::ReasoningDelta("hm".to_owned()), sse);
    chunks.take(Kind::ToolStarted(ToolStarted { tool_call_id: tool_call_id(), name: name(), arguments }), sse);
    let finished = ToolFinished { tool_call_id: tool_call_id(), name: name(), is_error: false, duration_ms: 12 };
    chunks.take(Kind::ToolFinished(finished), sse);
}

#[test]
fn work_is_shown_to_those_who_ask_for_it() {
    let mut sse = Sse::new();
    let mut asked = chunks(true, Shown { tools: true, reasoning: true }, &mut sse);
    work(&mut asked, &mut sse);
    insta::assert_snapshot!(written(sse));
    let (mut sse, mut expected) = (Sse::new(), Sse::new());
    let mut others = chunks(true, Shown::default(), &mut sse);
    work(&mut others, &mut sse);
    chunks(true, Shown::default(), &mut expected);
    assert_eq!(written(sse), written(expected));
}

fn token(text: &str) -> TokenLogprob {
    let top = vec![TokenLogprob { token: "x".to_owned(), logprob: -3.0, ..TokenLogprob::default() }];
    TokenLogprob { token: text.to_owned(), logprob: -0.5, bytes: text.as_bytes().to_vec().into(), top }
}

#[test]
fn probabilities_come_with_the_text_that_they_are_of() {
    let mut sse = Sse::new();
    let mut chunks = chunks(false, Shown::default(), &mut sse);
    let tokens =
        |texts: &[&str]| Kind::LogprobsDelta(LogprobsDelta { tokens: texts.iter().map(|text| token(text)).collect() });
    chunks.take(tokens(&["a"]), &mut sse);
    chunks.take(tokens(&["b"]), &mut sse);
    chunks.take(Kind::TextDelta("ab".to_owned()), &mut sse);
    chunks.take(Kind::TextDelta("c".to_owned()), &mut sse);
    chunks.take(tokens(&["no"]), &mut sse);
    chunks.take(Kind::RefusalDelta("no".to_owned()), &mut sse);
    chunks.take(tokens(&["e"]), &mut sse);
    chunks.take(Kind::Finished(Finished { reason: FinishReason::Stop.into(), usage: None }), &mut sse);
    insta::assert_snapshot!(written(sse));
}

/// What ends a line for somebody, and what means something in HTML or JSON.
const ODD: &str =
    "<>&\"'\\/{}[]:,\n\r\t\u{0}\u{b}\u{c}\u{1c}\u{7f}\u{85}\u{2028}\u{2029}\u{feff}\u{1f980} data: [DONE]";

proptest! {
    #[test]
    fn a_text_arrives_as_it_was_said(
        texts in proptest::collection::vec(prop_oneof![any::<String>(), "[<>&\"'\n\r\u{85}\u{2028}\u{2029} ]{1,8}"], 0..8),
    ) {
        let texts: Vec<String> = texts.into_iter().chain([ODD.to_owned(), "<".to_owned()]).collect();
        let mut sse = Sse::new();
        let mut chunks = chunks(false, Shown::default(), &mut sse);
        for text in &texts {
            chunks.take(Kind::TextDelta(text.clone()), &mut sse);
        }
        chunks.take(Kind::Finished(Finished { reason: FinishReason::Stop.into(), usage: None }), &mut sse);
        let written = written(sse);
        // Whoever splits lines more eagerly than the standard says sees the same ones.
        let eager = |character: char| matches!(character, '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}');
        prop_assert!(!written.contains(eager));
        let events: Vec<&str> = written.split_terminator("\n\n").collect();
        let data: Vec<&str> = events.iter().filter_map(|event| event.strip_prefix("data: ")).collect();
        prop_assert_eq!(data.len(), events.len());
        prop_assert_eq!(data.last().copied(), Some("[DONE]"));
        let chunk = |data: &&str| serde_json::from_str::<Value>(data).expect("JSON on one line");
        let contents: Vec<String> = data[1..data.len() - 2]
            .iter()
            .map(|data| chunk(data)["choices"][0]["delta"]["content"].as_str().expect("a text").to_owned())
            .collect();
        prop_assert_eq!(contents, texts);
    }
}
