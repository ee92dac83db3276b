//! The answer's chunks, parsed where they lie and turned into events.

use std::{
    borrow::Cow,
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::{Stream, stream::BoxStream};
use proto::{
    agent::v1::{FinishReason, ToolCallDelta},
    session::v1::Usage,
};
use serde::Deserialize;

use super::{
    error::{self, Details},
    sse::{Decoder, TooLong},
};
use crate::model::{Error, Event};

/// The events of one answer.
pub(super) struct Events {
    bytes: BoxStream<'static, Result<Bytes, Error>>,
    decoder: Decoder,
    ready: VecDeque<Event>,
    calls: Calls,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    /// The provider is done; what is ready is still to be taken.
    Done,
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow, default)]
    choices: Vec<Choice<'a>>,
    #[serde(default)]
    usage: Option<WireUsage>,
    #[serde(default)]
    error: Option<Details>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow, default)]
    delta: Option<Delta<'a>>,
    #[serde(borrow, default)]
    finish_reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    content: Option<Text<'a>>,
    /// DeepSeek's name for reasoning.
    #[serde(borrow, default)]
    reasoning_content: Option<Text<'a>>,
    /// OpenRouter's; some servers send both.
    #[serde(borrow, default)]
    reasoning: Option<Text<'a>>,
    #[serde(borrow, default)]
    refusal: Option<Text<'a>>,
    #[serde(borrow, default)]
    tool_calls: Option<Vec<WireToolCall<'a>>>,
}

/// A text that is borrowed from the chunk where it has no escapes, which serde does for `Cow` only when told so.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct WireToolCall<'a> {
    #[serde(default)]
    index: Option<u32>,
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    function: Option<WireFunctionCall<'a>>,
}

#[derive(Deserialize)]
struct WireFunctionCall<'a> {
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    arguments: Option<Text<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireUsage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<PromptDetails>,
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PromptDetails {
    cached_tokens: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CompletionDetails {
    reasoning_tokens: Option<u64>,
}

impl Events {
    pub(super) fn new(bytes: BoxStream<'static, Result<Bytes, Error>>) -> Self {
        Self {
            bytes,
            decoder: Decoder::default(),
            ready: VecDeque::new(),
            calls: Calls::default(),
            state: State::Reading,
        }
    }

    /// Reads on; what an event says is in `ready` afterwards.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if let Some(data) = self.decoder.next().map_err(|TooLong| too_long())? {
            return Poll::Ready(self.take(&data));
        }
        if let Some(bytes) = ready!(self.bytes.as_mut().poll_next(context)) {
            self.decoder.push(&bytes?);
        } else {
            self.state = State::Done;
            if let Some(data) = self.decoder.finish().map_err(|TooLong| too_long())? {
                self.take(&data)?;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn take(&mut self, data: &[u8]) -> Result<(), Error> {
        if data.trim_ascii() == b"[DONE]" {
            self.state = State::Done;
            return Ok(());
        }
        let chunk: Chunk<'_> =
            serde_json::from_slice(data).map_err(|_| Error::Failed("it sent what is no JSON chunk".to_owned()))?;
        if let Some(details) = &chunk.error {
            return Err(error::from_stream(details));
        }
        // One answer was asked for, so there is one choice.
        for choice in chunk.choices.into_iter().take(1) {
            self.take_choice(choice);
        }
        if let Some(usage) = chunk.usage {
            self.ready.push_back(Event::Usage(usage.into()));
        }
        Ok(())
    }

    fn take_choice(&mut self, choice: Choice<'_>) {
        if let Some(delta) = choice.delta {
            let reasoning = delta.reasoning_content.or(delta.reasoning).and_then(Text::said);
            self.ready.extend(reasoning.map(Event::Reasoning));
            let texts = [delta.content, delta.refusal].into_iter().flatten().filter_map(Text::said);
            self.ready.extend(texts.map(Event::Text));
            for call in delta.tool_calls.unwrap_or_default() {
                let delta = self.calls.number(call);
                self.ready.push_back(Event::ToolCall(delta));
            }
        }
        if let Some(reason) = choice.finish_reason.filter(|reason| !reason.is_empty()) {
            self.ready.push_back(Event::Finished(finish_reason(&reason)));
        }
    }
}

impl Stream for Events {
    type Item = Result<Event, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(event)));
            }
            if self.state == State::Done {
                return Poll::Ready(None);
            }
            if let Err(error) = ready!(self.poll_read(context)) {
                self.state = State::Done;
                return Poll::Ready(Some(Err(error)));
            }
        }
    }
}

impl Text<'_> {
    fn said(self) -> Option<String> {
        if self.0.is_empty() { None } else { Some(self.0.into_owned()) }
    }
}

/// The calls of an answer, numbered from 0. Servers number them as they like, or not at all, and some name a call in
/// every one of its deltas.
#[derive(Default)]
struct Calls {
    /// Their index and id as the server has them.
    known: Vec<(Option<u32>, String)>,
}

impl Calls {
    fn number(&mut self, call: WireToolCall<'_>) -> ToolCallDelta {
        let text = |text: Option<Text<'_>>| text.and_then(Text::said).unwrap_or_default();
        let id = text(call.id);
        let (name, arguments) = call.function.map_or((None, None), |function| (function.name, function.arguments));
        let arguments = text(arguments);
        let name = text(name);
        let place = self.known.iter().rposition(|(known_index, known_id)| {
            let is_same_id = id.is_empty() || known_id.is_empty() || *known_id == id;
            match call.index {
                Some(_) => *known_index == call.index && is_same_id,
                // Only the start of a call has a name, where there is nothing else to tell calls apart.
                None if id.is_empty() => name.is_empty(),
                None => *known_id == id,
            }
        });
        if let Some(place) = place {
            return ToolCallDelta { index: index(place), arguments, ..ToolCallDelta::default() };
        }
        self.known.push((call.index, id.clone()));
        ToolCallDelta { index: index(self.known.len() - 1), id, name, arguments }
    }
}

fn index(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

impl From<WireUsage> for Usage {
    fn from(usage: WireUsage) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens.unwrap_or(0),
            completion_tokens: usage.completion_tokens.unwrap_or(0),
            cached_tokens: usage.prompt_tokens_details.and_then(|details| details.cached_tokens).unwrap_or(0),
            reasoning_tokens: usage.completion_tokens_details.and_then(|details| details.reasoning_tokens).unwrap_or(0),
        }
    }
}

/// Reasons that the API does not know count as a plain end.
fn finish_reason(reason: &str) -> FinishReason {
    match reason {
        "length" => FinishReason::Length,
        "tool_calls" | "function_call" => FinishReason::ToolCalls,
        "content_filter" => FinishReason::ContentFilter,
        _ => FinishReason::Stop,
    }
}

fn too_long() -> Error {
    Error::Failed("it sent an endless line".to_owned())
}
