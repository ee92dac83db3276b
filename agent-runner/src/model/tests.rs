//! What holds for every protocol, and what the protocols' own tests share.

mod embeddings;
mod properties;
pub(super) mod recorded;
mod replay;
mod stub;
mod wire;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use proto::{
    agent::v1::ToolCallDelta,
    session::v1::{Message, Part, Reasoning, Role, ToolCall, part::Kind},
};

use super::{
    Class, Error, Event,
    stream::{Answer, Events},
};

pub(super) type Told = Vec<Result<Event, String>>;

/// What an answer says that comes in these pieces.
pub(super) fn read<A: Answer>(answer: A, chunks: impl IntoIterator<Item = Bytes>) -> Told {
    let chunks: Vec<_> = chunks.into_iter().map(Ok).collect();
    let events = Events::new(stream::iter(chunks).boxed(), answer);
    let told = events.map(|event| event.map_err(|error| error.to_string())).collect();
    told.now_or_never().expect("everything is there already")
}

/// Checks what an answer says, wherever it is cut.
pub(super) fn check_everywhere<A: Answer>(answer: impl Fn() -> A, text: &str, expected: &[Event]) {
    let expected: Told = expected.iter().cloned().map(Ok).collect();
    let whole = Bytes::copy_from_slice(text.as_bytes());
    for cut in 0..=whole.len() {
        let chunks = [whole.slice(..cut), whole.slice(cut..)];
        assert_eq!(read(answer(), chunks), expected, "cut at byte {cut}");
    }
    let bytes = (0..whole.len()).map(|index| whole.slice(index..=index));
    assert_eq!(read(answer(), bytes), expected, "byte by byte");
}

/// Server-sent events of these data.
pub(super) fn sse(data: &[&str]) -> String {
    data.iter().flat_map(|data| ["data: ", data, "\n\n"]).collect()
}

pub(super) fn said(text: &str) -> Event {
    Event::Text(text.to_owned())
}

pub(super) fn thought(text: &str) -> Event {
    Event::Reasoning(text.to_owned())
}

pub(super) fn signed(signature: &str) -> Event {
    super::stream::signed(signature.to_owned())
}

pub(super) fn called(index: u32, id: &str, name: &str) -> Event {
    let (id, name) = (id.to_owned(), name.to_owned());
    Event::ToolCall(ToolCallDelta { index, id, name, arguments: String::new() })
}

pub(super) fn with(index: u32, arguments: &str) -> Event {
    let arguments = arguments.to_owned();
    Event::ToolCall(ToolCallDelta { index, arguments, ..ToolCallDelta::default() })
}

pub(super) fn failed(reason: &str) -> Result<Event, String> {
    Err(format!("the model provider failed: {reason}"))
}

pub(super) fn part(kind: Kind) -> Part {
    Part { kind: Some(kind) }
}

pub(super) fn text(text: &str) -> Part {
    part(Kind::Text(text.to_owned()))
}

pub(super) fn reasoning(origin: &str, text: &str, signature: &str) -> Part {
    let [origin, text, signature] = [origin, text, signature].map(str::to_owned);
    part(Kind::Reasoning(Reasoning { text, signature, origin }))
}

pub(super) fn message(role: Role, parts: Vec<Part>) -> Message {
    Message { role: role.into(), parts, ..Message::default() }
}

pub(super) fn result(tool_call_id: &str, parts: Vec<Part>) -> Message {
    Message { tool_call_id: tool_call_id.to_owned(), ..message(Role::Tool, parts) }
}

pub(super) fn tool_call(id: &str, arguments: &str) -> ToolCall {
    let [id, name, arguments] = [id, "f", arguments].map(str::to_owned);
    ToolCall { id, name, arguments, ..ToolCall::default() }
}

#[test]
fn every_error_is_of_a_class() {
    let check = |error: Error, class: Class| assert_eq!(error.class(), class, "{error}");
    check(Error::RateLimited { retry_after: None }, Class::RateLimit);
    check(Error::Unauthorized, Class::Auth);
    check(Error::QuotaExceeded, Class::Billing);
    check(Error::ProviderOverloaded { retry_after: None }, Class::Overloaded);
    check(Error::Overloaded, Class::Transient);
    check(Error::Slipped(String::new()), Class::Transient);
    check(Error::Idle(std::time::Duration::ZERO), Class::Timeout);
    check(Error::TimedOut, Class::Timeout);
    check(Error::ContextLengthExceeded(String::new()), Class::ContextOverflow);
    check(Error::InvalidRequest(String::new()), Class::BadRequest);
    check(Error::Failed(String::new()), Class::Network);
}
