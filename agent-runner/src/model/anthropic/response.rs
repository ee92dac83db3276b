//! The answer's events, by the reference of "Streaming Messages".

use std::{
    borrow::Cow,
    collections::{HashMap, VecDeque},
};

use proto::{agent::v1::FinishReason, session::v1::Usage};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::REDACTED;
use crate::model::{
    Error, Event,
    provider_error::{self, Details},
    stream::{self, Flow, Text, arguments, call, parse, signed},
};

/// The reading of one answer.
#[derive(Default)]
pub(in crate::model) struct Answer {
    /// The open content blocks, by the provider's index.
    blocks: HashMap<u64, Block>,
    calls: u32,
    usage: WireUsage,
}

/// A content block that is being sent.
enum Block {
    Text,
    Thought { signature: String },
    Call { index: u32, has_arguments: bool },
}

/// The events of every type; each has some of the fields.
#[derive(Deserialize)]
struct WireEvent<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(default)]
    index: u64,
    #[serde(borrow, default)]
    content_block: Option<WireBlock<'a>>,
    #[serde(borrow, default)]
    delta: Option<Delta<'a>>,
    #[serde(default)]
    message: Option<Start>,
    #[serde(default)]
    usage: Option<WireUsage>,
    #[serde(default)]
    error: Option<Details>,
}

#[derive(Deserialize)]
struct Start {
    #[serde(default)]
    usage: Option<WireUsage>,
}

#[derive(Deserialize)]
struct WireBlock<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(borrow, default)]
    thinking: Option<Text<'a>>,
    #[serde(borrow, default)]
    signature: Option<Text<'a>>,
    /// Of a thought that is kept from us.
    #[serde(borrow, default)]
    data: Option<Text<'a>>,
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    /// Empty, unless a server sends a call in one piece.
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(borrow, default)]
    thinking: Option<Text<'a>>,
    #[serde(borrow, default)]
    signature: Option<Text<'a>>,
    #[serde(borrow, default)]
    partial_json: Option<Text<'a>>,
    #[serde(borrow, default)]
    stop_reason: Option<Cow<'a, str>>,
}

/// Totals up to an event; what an event does not say has not changed.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct WireUsage {
    input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

impl stream::Answer for Answer {
    fn take(&mut self, data: &[u8], said: &mut VecDeque<Event>) -> Result<Flow, Error> {
        let event: WireEvent<'_> = parse(data)?;
        match &*event.r#type {
            "message_start" => {
                if let Some(usage) = event.message.and_then(|message| message.usage) {
                    self.count(usage, said);
                }
            }
            "content_block_start" => {
                if let Some(block) = event.content_block {
                    self.start(event.index, block, said);
                }
            }
            "content_block_delta" => {
                if let Some(delta) = event.delta {
                    self.extend(event.index, delta, said);
                }
            }
            "content_block_stop" => self.stop(event.index, said),
            "message_delta" => {
                let reason = event.delta.and_then(|delta| delta.stop_reason);
                said.extend(reason.map(|reason| Event::Finished(finish_reason(&reason))));
                if let Some(usage) = event.usage {
                    self.count(usage, said);
                }
            }
            "message_stop" => return Ok(Flow::Done),
            "error" => return Err(provider_error::from_stream(&event.error.unwrap_or_default())),
            // `ping`, and what is yet to come: the reference asks clients to pass over what they do not know.
            _ => {}
        }
        Ok(Flow::More)
    }
}

impl Answer {
    fn start(&mut self, index: u64, block: WireBlock<'_>, said: &mut VecDeque<Event>) {
        let open = match &*block.r#type {
            "text" => {
                said.extend(block.text.and_then(Text::said).map(Event::Text));
                Block::Text
            }
            "thinking" => {
                said.extend(block.thinking.and_then(Text::said).map(Event::Reasoning));
                Block::Thought { signature: Text::or_empty(block.signature) }
            }
            "redacted_thinking" => Block::Thought { signature: format!("{REDACTED}{}", Text::or_empty(block.data)) },
            "tool_use" => {
                let number = self.calls;
                self.calls += 1;
                said.push_back(call(number, Text::or_empty(block.id), Text::or_empty(block.name)));
                let input = block.input.map(RawValue::get).filter(|input| is_filled(input));
                said.extend(input.map(|input| arguments(number, input.to_owned())));
                Block::Call { index: number, has_arguments: input.is_some() }
            }
            // Blocks of tools that the provider runs itself, which it is never asked to.
            _ => return,
        };
        self.blocks.insert(index, open);
    }

    fn extend(&mut self, index: u64, delta: Delta<'_>, said: &mut VecDeque<Event>) {
        match self.blocks.get_mut(&index) {
            Some(Block::Text) => said.extend(delta.text.and_then(Text::said).map(Event::Text)),
            Some(Block::Thought { signature }) => {
                said.extend(delta.thinking.and_then(Text::said).map(Event::Reasoning));
                signature.push_str(&Text::or_empty(delta.signature));
            }
            Some(Block::Call { index, has_arguments }) => {
                if let Some(json) = delta.partial_json.and_then(Text::said) {
                    *has_arguments = true;
                    said.push_back(arguments(*index, json));
                }
            }
            None => {}
        }
    }

    fn stop(&mut self, index: u64, said: &mut VecDeque<Event>) {
        match self.blocks.remove(&index) {
            Some(Block::Thought { signature }) => said.push_back(signed(signature)),
            // A call without arguments comes without deltas.
            Some(Block::Call { index, has_arguments: false }) => said.push_back(arguments(index, "{}".to_owned())),
            Some(Block::Call { has_arguments: true, .. } | Block::Text) | None => {}
        }
    }

    fn count(&mut self, usage: WireUsage, said: &mut VecDeque<Event>) {
        let WireUsage { input_tokens, cache_read_input_tokens, cache_creation_input_tokens, output_tokens } =
            self.usage;
        self.usage = WireUsage {
            input_tokens: usage.input_tokens.or(input_tokens),
            cache_read_input_tokens: usage.cache_read_input_tokens.or(cache_read_input_tokens),
            cache_creation_input_tokens: usage.cache_creation_input_tokens.or(cache_creation_input_tokens),
            output_tokens: usage.output_tokens.or(output_tokens),
        };
        said.push_back(Event::Usage(self.usage.into()));
    }
}

impl From<WireUsage> for Usage {
    /// The protocol counts cached tokens apart, and thoughts among the answer's.
    fn from(usage: WireUsage) -> Self {
        let cached = usage.cache_read_input_tokens.unwrap_or(0);
        let written = usage.cache_creation_input_tokens.unwrap_or(0);
        Self {
            prompt_tokens: usage.input_tokens.unwrap_or(0).saturating_add(cached).saturating_add(written),
            completion_tokens: usage.output_tokens.unwrap_or(0),
            cached_tokens: cached,
            reasoning_tokens: 0,
        }
    }
}

fn is_filled(input: &str) -> bool {
    let inner = input.strip_prefix('{').and_then(|input| input.strip_suffix('}'));
    inner.is_some_and(|inner| !inner.trim().is_empty())
}

/// Reasons that are not known, and `pause_turn`, count as a plain end.
fn finish_reason(reason: &str) -> FinishReason {
    match reason {
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "tool_use" => FinishReason::ToolCalls,
        "refusal" => FinishReason::ContentFilter,
        _ => FinishReason::Stop,
    }
}
