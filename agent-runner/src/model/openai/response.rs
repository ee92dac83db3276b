//! The answer's chunks, parsed where they lie and turned into events.

use std::{borrow::Cow, collections::VecDeque};

use proto::{
    agent::v1::{FinishReason, ToolCallDelta},
    session::v1::Usage,
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::{RawValue, Value};

use super::REASONING_CONTENT;
use crate::model::{
    Error, Event, logprobs,
    provider_error::{self, Details},
    stream::{self, Flow, Text, parse, signed, signed_call},
};

/// The reading of one answer.
#[derive(Default)]
pub(in crate::model) struct Answer {
    calls: Calls,
    /// The signature of the thought that is being told.
    thought: Option<&'static str>,
    has_spoken: bool,
    has_finished: bool,
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow, default)]
    choices: Option<Vec<Choice<'a>>>,
    /// `error` where a server sends an error with no object of its own.
    #[serde(borrow, default)]
    object: Option<Text<'a>>,
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
    #[serde(borrow, default)]
    logprobs: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    content: Option<Content<'a>>,
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

/// What is said; Mistral's thinking models say it in a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Content<'a> {
    #[serde(borrow)]
    Text(Text<'a>),
    Pieces(Vec<Value>),
}

#[derive(Deserialize)]
struct WireToolCall<'a> {
    #[serde(default)]
    index: Option<u32>,
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    function: Option<WireFunctionCall<'a>>,
    /// Google's, with the signature of the thought before the call.
    #[serde(borrow, default)]
    extra_content: Option<&'a RawValue>,
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
            self.end_thought(said);
            if self.has_spoken && !self.has_finished {
                said.push_back(Event::Finished(FinishReason::Stop));
            }
            return Ok(Flow::Done);
        }
        let chunk: Chunk<'_> = parse(data)?;
        if let Some(details) = &chunk.error {
            return Err(provider_error::from_stream(details));
        }
        if chunk.object.is_some_and(|Text(object)| object == "error") {
            return Err(provider_error::from_stream(&Details::read(data)));
        }
        // One answer was asked for, so there is one choice.
        for choice in chunk.choices.into_iter().flatten().take(1) {
            self.take_choice(choice, said);
        }
        said.extend(chunk.usage.map(|usage| Event::Usage(usage.into())));
        Ok(Flow::More)
    }
}

impl Answer {
    fn take_choice(&mut self, choice: Choice<'_>, said: &mut VecDeque<Event>) {
        let logprobs = logprobs::of_choice(choice.logprobs);
        if let Some(delta) = choice.delta {
            if let Some(text) = delta.reasoning_content.and_then(Text::said) {
                self.think(text, REASONING_CONTENT, said);
            } else if let Some(text) = delta.reasoning.and_then(Text::said) {
                self.think(text, "", said);
            }
            if let Some(logprobs) = logprobs {
                self.end_thought(said);
                said.push_back(logprobs);
            }
            match delta.content {
                Some(Content::Text(text)) => self.say(text.said(), said),
                Some(Content::Pieces(pieces)) => self.take_pieces(&pieces, said),
                None => {}
            }
            if let Some(refusal) = delta.refusal.and_then(Text::said) {
                self.end_thought(said);
                self.has_spoken = true;
                said.push_back(Event::Refusal(refusal));
            }
            for call in delta.tool_calls.unwrap_or_default() {
                self.take_call(call, said);
            }
        }
        if let Some(reason) = choice.finish_reason.filter(|reason| !reason.is_empty()) {
            self.end_thought(said);
            self.has_finished = true;
            said.push_back(Event::Finished(finish_reason(&reason)));
        }
    }

    fn take_pieces(&mut self, pieces: &[Value], said: &mut VecDeque<Event>) {
        for piece in pieces {
            let thoughts = piece["thinking"].as_array().into_iter().flatten();
            let thoughts = thoughts.map(|thought| &thought["text"]).chain([&piece["thinking"]]);
            for thought in thoughts.filter_map(Value::as_str).filter(|thought| !thought.is_empty()) {
                self.think(thought.to_owned(), "", said);
            }
            self.say(piece["text"].as_str().filter(|text| !text.is_empty()).map(str::to_owned), said);
        }
    }

    fn think(&mut self, text: String, signature: &'static str, said: &mut VecDeque<Event>) {
        self.thought = Some(signature);
        said.push_back(Event::Reasoning(text));
    }

    fn say(&mut self, text: Option<String>, said: &mut VecDeque<Event>) {
        if let Some(text) = text {
            self.end_thought(said);
            self.has_spoken = true;
            said.push_back(Event::Text(text));
        }
    }

    fn take_call(&mut self, call: WireToolCall<'_>, said: &mut VecDeque<Event>) {
        self.end_thought(said);
        self.has_spoken = true;
        let extra = call.extra_content.map(RawValue::get).filter(|extra| *extra != "null").map(str::to_owned);
        let delta = self.calls.number(call);
        let index = delta.index;
        said.push_back(Event::ToolCall(delta));
        said.extend(extra.map(|extra| signed_call(index, extra)));
    }

    fn end_thought(&mut self, said: &mut VecDeque<Event>) {
        said.extend(self.thought.take().map(|signature| signed(signature.to_owned())));
    }
}

/// The calls of an answer, numbered from 0. Servers number them as they like, or not at all, some name a call in every one
/// of its deltas, and some give each delta an id of its own.
#[derive(Default)]
struct Calls {
    known: Vec<Known>,
}

/// A call as the server has it.
struct Known {
    index: Option<u32>,
    id: String,
    name: String,
    arguments: String,
}

impl Calls {
    fn number(&mut self, call: WireToolCall<'_>) -> ToolCallDelta {
        let id = Text::or_empty(call.id);
        let (name, arguments) = call.function.map_or((None, None), |function| (function.name, function.arguments));
        let arguments = Text::or_empty(arguments);
        let name = Text::or_empty(name);
        let place = self.known.iter().rposition(|known| match call.index {
            Some(_) => known.index == call.index && known.goes_on(&id, &name, &arguments),
            // Only the start of a call has a name, where there is nothing else to tell calls apart.
            None if id.is_empty() => name.is_empty(),
            None => known.id == id,
        });
        if let Some(place) = place {
            self.known[place].arguments.push_str(&arguments);
            return ToolCallDelta { index: index(place), arguments, ..ToolCallDelta::default() };
        }
        let [known_id, known_name, known_arguments] = [&id, &name, &arguments].map(Clone::clone);
        self.known.push(Known { index: call.index, id: known_id, name: known_name, arguments: known_arguments });
        ToolCallDelta { index: index(self.known.len() - 1), id, name, arguments }
    }
}

impl Known {
    /// Whether a delta with the same index is more of this call.
    fn goes_on(&self, id: &str, name: &str, arguments: &str) -> bool {
        if name.is_empty() || (!id.is_empty() && self.id == id) {
            return true;
        }
        let has_other_id = !id.is_empty() && !self.id.is_empty();
        let says_more = name != self.name || !arguments.is_empty();
        let is_another = has_other_id || (says_more && self.is_whole());
        !is_another
    }

    fn is_whole(&self) -> bool {
        self.arguments.trim_start().starts_with('{') && serde_json::from_str::<IgnoredAny>(&self.arguments).is_ok()
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
