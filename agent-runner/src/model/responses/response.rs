//! The answer's events, by the reference of the API's streaming events.

use std::{
    borrow::Cow,
    collections::{HashMap, VecDeque},
};

use proto::{agent::v1::FinishReason, session::v1::Usage};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::{
    Error, Event, logprobs,
    provider_error::{self, Details},
    stream::{self, Flow, Text, arguments, call, parse, signed},
};

/// The reading of one answer.
#[derive(Default)]
pub(in crate::model) struct Answer {
    /// The function calls, by the provider's index of output items.
    calls: HashMap<u64, Call>,
    /// Whether the present thought has been told in deltas.
    has_reasoned: bool,
}

#[derive(Clone, Copy)]
struct Call {
    index: u32,
    has_arguments: bool,
}

/// The events of every type; each has some of the fields.
#[derive(Deserialize)]
struct WireEvent<'a> {
    #[serde(borrow, default)]
    r#type: Cow<'a, str>,
    #[serde(default)]
    output_index: u64,
    #[serde(default)]
    summary_index: u64,
    #[serde(borrow, default)]
    delta: Option<Text<'a>>,
    #[serde(borrow, default)]
    logprobs: Option<&'a RawValue>,
    #[serde(borrow, default)]
    arguments: Option<Text<'a>>,
    #[serde(borrow, default)]
    item: Option<Item<'a>>,
    #[serde(borrow, default)]
    response: Option<Response<'a>>,
    #[serde(default)]
    error: Option<Details>,
    #[serde(borrow, default)]
    code: Option<Text<'a>>,
    #[serde(borrow, default)]
    message: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, default)]
    r#type: Cow<'a, str>,
    #[serde(borrow, default)]
    call_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    arguments: Option<Text<'a>>,
    #[serde(borrow, default)]
    summary: Option<Vec<Summary<'a>>>,
    #[serde(borrow, default)]
    encrypted_content: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Summary<'a> {
    #[serde(borrow, default)]
    text: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow, default)]
    incomplete_details: Option<IncompleteDetails<'a>>,
    #[serde(default)]
    error: Option<Details>,
    #[serde(default)]
    usage: Option<WireUsage>,
}

#[derive(Deserialize)]
struct IncompleteDetails<'a> {
    #[serde(borrow, default)]
    reason: Option<Text<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireUsage {
    input_tokens: Option<u64>,
    input_tokens_details: Option<InputDetails>,
    output_tokens: Option<u64>,
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct InputDetails {
    cached_tokens: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OutputDetails {
    reasoning_tokens: Option<u64>,
}

impl stream::Answer for Answer {
    fn take(&mut self, data: &[u8], said: &mut VecDeque<Event>) -> Result<Flow, Error> {
        if data.trim_ascii() == b"[DONE]" {
            return Ok(Flow::Done);
        }
        let event: WireEvent<'_> = parse(data)?;
        match &*event.r#type {
            "response.output_text.delta" => {
                said.extend(logprobs::of_delta(event.logprobs));
                said.extend(event.delta.and_then(Text::said).map(Event::Text));
            }
            "response.refusal.delta" => said.extend(event.delta.and_then(Text::said).map(Event::Refusal)),
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                self.has_reasoned = true;
                said.extend(event.delta.and_then(Text::said).map(Event::Reasoning));
            }
            "response.reasoning_summary_part.added" if event.summary_index > 0 => {
                said.push_back(Event::Reasoning("\n\n".to_owned()));
            }
            "response.output_item.added" => {
                if let Some(item) = event.item {
                    self.start(event.output_index, item, said);
                }
            }
            "response.function_call_arguments.delta" => self.extend(event.output_index, event.delta, said),
            "response.function_call_arguments.done" => self.complete(event.output_index, event.arguments, said),
            "response.output_item.done" => {
                if let Some(item) = event.item {
                    self.stop(event.output_index, item, said);
                }
            }
            "response.completed" | "response.incomplete" => {
                self.finish(event.response, said);
                return Ok(Flow::Done);
            }
            "response.failed" => {
                let details = event.response.and_then(|response| response.error).unwrap_or_default();
                return Err(provider_error::from_stream(&details));
            }
            "error" => {
                // The reference has the error's fields in the event itself; some servers wrap them.
                let bare = || Details::new(&Text::or_empty(event.code), &Text::or_empty(event.message));
                return Err(provider_error::from_stream(&event.error.unwrap_or_else(bare)));
            }
            // What repeats the deltas, and what is yet to come.
            _ => {}
        }
        Ok(Flow::More)
    }
}

impl Answer {
    fn start(&mut self, output_index: u64, item: Item<'_>, said: &mut VecDeque<Event>) {
        match &*item.r#type {
            "function_call" if !self.calls.contains_key(&output_index) => {
                let index = u32::try_from(self.calls.len()).unwrap_or(u32::MAX);
                said.push_back(call(index, Text::or_empty(item.call_id), Text::or_empty(item.name)));
                self.calls.insert(output_index, Call { index, has_arguments: false });
            }
            "reasoning" => self.has_reasoned = false,
            _ => {}
        }
    }

    fn extend(&mut self, output_index: u64, delta: Option<Text<'_>>, said: &mut VecDeque<Event>) {
        if let (Some(call), Some(delta)) = (self.calls.get_mut(&output_index), delta.and_then(Text::said)) {
            call.has_arguments = true;
            said.push_back(arguments(call.index, delta));
        }
    }

    /// Takes the whole arguments, which count when there were no deltas.
    fn complete(&mut self, output_index: u64, whole: Option<Text<'_>>, said: &mut VecDeque<Event>) {
        if self.calls.get(&output_index).is_some_and(|call| !call.has_arguments) {
            self.extend(output_index, whole, said);
        }
    }

    fn stop(&mut self, output_index: u64, item: Item<'_>, said: &mut VecDeque<Event>) {
        match &*item.r#type {
            "function_call" => {
                let whole = item.arguments.and_then(Text::said);
                let unannounced = Item { arguments: None, ..item };
                self.start(output_index, unannounced, said);
                self.complete(output_index, whole.map(|whole| Text(whole.into())), said);
            }
            "reasoning" => {
                if !self.has_reasoned {
                    let parts: Vec<_> = item.summary.iter().flatten().map(|part| &*part.text).collect();
                    said.extend(Some(parts.join("\n\n")).filter(|text| !text.is_empty()).map(Event::Reasoning));
                }
                self.has_reasoned = false;
                said.push_back(signed(Text::or_empty(item.encrypted_content)));
            }
            _ => {}
        }
    }

    fn finish(&self, response: Option<Response<'_>>, said: &mut VecDeque<Event>) {
        let (details, usage) = response.map_or((None, None), |response| (response.incomplete_details, response.usage));
        let incomplete = details.and_then(|details| details.reason).map(|Text(reason)| reason);
        let reason = match incomplete.as_deref() {
            Some("max_output_tokens") => FinishReason::Length,
            Some("content_filter") => FinishReason::ContentFilter,
            Some(_) | None if self.calls.is_empty() => FinishReason::Stop,
            Some(_) | None => FinishReason::ToolCalls,
        };
        said.push_back(Event::Finished(reason));
        said.extend(usage.map(|usage| Event::Usage(usage.into())));
    }
}

impl From<WireUsage> for Usage {
    fn from(usage: WireUsage) -> Self {
        Self {
            prompt_tokens: usage.input_tokens.unwrap_or(0),
            completion_tokens: usage.output_tokens.unwrap_or(0),
            cached_tokens: usage.input_tokens_details.and_then(|details| details.cached_tokens).unwrap_or(0),
            reasoning_tokens: usage.output_tokens_details.and_then(|details| details.reasoning_tokens).unwrap_or(0),
        }
    }
}
