//! What the typed events look like on the wire.

use proto::{
    agent::v1::{Failed, FinishReason, Finished, Started, ToolCallDelta, ToolStarted},
    session::v1::Usage,
};
use serde_json::Map;

use super::{super::object::ResponseAnnotation, *};

/// What these events of a run are told as.
fn written(background: bool, events: Vec<Kind>) -> String {
    let annotation = ResponseAnnotation { created_at: 7, background, echo: Map::new() };
    let mut format = ResponseEvents::new(Progress::new("resp_1", annotation));
    let mut sse = Sse::new();
    for event in events {
        if let Kind::Failed(failed) = event {
            format.fail(&failed.into(), &mut sse);
        } else {
            format.take(event, &mut sse);
        }
    }
    String::from_utf8(sse.take().to_vec()).expect("valid UTF-8")
}

fn call(index: u32, id: &str, arguments: &str) -> Kind {
    let name = if id.is_empty() { String::new() } else { "f".to_owned() };
    Kind::ToolCallDelta(ToolCallDelta { index, id: id.to_owned(), name, arguments: arguments.to_owned() })
}

fn finished(reason: FinishReason) -> Kind {
    let usage = Usage { prompt_tokens: 30, completion_tokens: 5, cached_tokens: 20, reasoning_tokens: 2 };
    Kind::Finished(Finished { reason: reason.into(), usage: Some(usage) })
}

fn text(text: &str) -> Kind {
    Kind::TextDelta(text.to_owned())
}

#[test]
fn a_text_and_calls_are_told_to_the_letter() {
    let calls = [call(0, "c0", ""), call(1, "c1", "{\"y\":"), call(0, "", "{}"), call(1, "", "1}")];
    let events = [Kind::Started(Started::default()), text("tab\there, «é»"), text("\n")];
    let events = events.into_iter().chain(calls).chain([finished(FinishReason::ToolCalls)]);
    insta::assert_snapshot!(written(false, events.collect()));
}

#[test]
fn what_is_said_after_a_tool_is_a_message_of_its_own() {
    let tool = Kind::ToolStarted(ToolStarted::default());
    let events = vec![Kind::Started(Started::default()), text("a"), tool, text("b"), finished(FinishReason::Length)];
    insta::assert_snapshot!(written(true, events));
}

#[test]
fn a_refusal_is_a_part_of_its_own_and_a_failure_ends_everything() {
    let refusal = Kind::RefusalDelta("no".to_owned());
    let failed = Kind::Failed(Failed { message: "the model provider broke off".to_owned(), ..Failed::default() });
    insta::assert_snapshot!(written(false, vec![Kind::Started(Started::default()), text("a"), refusal, failed]));
}

#[test]
fn what_breaks_a_stream_off_has_the_number_that_a_client_goes_on_after() {
    let annotation = ResponseAnnotation { created_at: 7, background: true, echo: Map::new() };
    let mut format = ResponseEvents::new(Progress::new("resp_1", annotation));
    let mut sse = Sse::new();
    format.take(Kind::Started(Started::default()), &mut sse);
    sse.take();
    format.break_off(&ApiError::unavailable("gone"), &mut sse);
    insta::assert_snapshot!(String::from_utf8(sse.take().to_vec()).expect("valid UTF-8"));
}
