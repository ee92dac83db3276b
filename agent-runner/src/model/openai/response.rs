//! The answer's chunks, parsed where they lie and turned into events.

use std::{borrow::Cow, collections::VecDeque};

use proto::{
    agent::v1::{FinishReason, ToolCallDelta},
    session::v1::Usage,
};
use serde::Deserialize;

use crate::model::{
    Error, Event,
    provider_error::{self, Details},
    stream::{self, Flow, Text, parse},
};

/// The reading of one answer.
#[derive(Default)]
pub(in crate::model) struct Answer {
    calls: Calls,
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

impl stream::Answer for Answer {
    fn take(&mut self, data: &[u8], said: &mut VecDeque<Event>) -> Result<Flow, Error> {
        if data.trim_ascii() == b"[DONE]" {
            return Ok(Flow::Done);
        }
        let chunk: Chunk<'_> = parse(data)?;
        if let Some(details) = &chunk.error {
            return Err(provider_error::from_stream(details));
        }
        // One answer was asked for, so there is one choice.
        for choice in chunk.choices.into_iter().take(1) {
            self.take_choice(choice, said);
        }
        said.extend(chunk.usage.map(|usage| Event::Usage(usage.into())));
        Ok(Flow::More)
    }
}

impl Answer {
    fn take_choice(&mut self, choice: Choice<'_>, said: &mut VecDeque<Event>) {
        if let Some(delta) = choice.delta {
            let reasoning = delta.reasoning_content.or(delta.reasoning).and_then(Text::said);
            said.extend(reasoning.map(Event::Reasoning));
            let texts = [delta.content, delta.refusal].into_iter().flatten().filter_map(Text::said);
            said.extend(texts.map(Event::Text));
            let calls = delta.tool_calls.unwrap_or_default().into_iter();
            said.extend(calls.map(|call| Event::ToolCall(self.calls.number(call))));
        }
        let reason = choice.finish_reason.filter(|reason| !reason.is_empty());
        said.extend(reason.map(|reason| Event::Finished(finish_reason(&reason))));
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
        let id = Text::or_empty(call.id);
        let (name, arguments) = call.function.map_or((None, None), |function| (function.name, function.arguments));
        let arguments = Text::or_empty(arguments);
        let name = Text::or_empty(name);
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
