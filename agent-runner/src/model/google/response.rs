//! The answer's chunks, by the reference of `streamGenerateContent`.

use std::{borrow::Cow, collections::VecDeque};

use proto::{agent::v1::FinishReason, session::v1::Usage};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::request::MADE_UP;
use crate::model::{
    Error, Event,
    provider_error::{self, Details},
    stream::{self, Flow, Text, arguments, call, parse, signed, signed_call},
};

/// The reading of one answer.
pub(in crate::model) struct Answer {
    /// What the ids begin with that are made up for calls without one.
    id_prefix: String,
    calls: u32,
    /// The signature of the thought that is being told.
    thought: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Chunk<'a> {
    #[serde(borrow, default)]
    candidates: Option<Vec<Candidate<'a>>>,
    #[serde(borrow, default)]
    prompt_feedback: Option<PromptFeedback<'a>>,
    #[serde(default)]
    usage_metadata: Option<WireUsage>,
    #[serde(default)]
    error: Option<Details>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate<'a> {
    #[serde(borrow, default)]
    content: Option<Content<'a>>,
    #[serde(borrow, default)]
    finish_reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow, default)]
    parts: Option<Vec<WirePart<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WirePart<'a> {
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(default)]
    thought: bool,
    #[serde(borrow, default)]
    thought_signature: Option<Text<'a>>,
    #[serde(borrow, default)]
    function_call: Option<FunctionCall<'a>>,
}

#[derive(Deserialize)]
struct FunctionCall<'a> {
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    args: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PromptFeedback<'a> {
    #[serde(borrow, default)]
    block_reason: Option<Text<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WireUsage {
    prompt_token_count: Option<u64>,
    tool_use_prompt_token_count: Option<u64>,
    cached_content_token_count: Option<u64>,
    candidates_token_count: Option<u64>,
    thoughts_token_count: Option<u64>,
}

/// What the made-up ids of an answer's calls begin with, so that no other answer of the conversation has them.
pub(in crate::model) fn unique_prefix() -> String {
    format!("{MADE_UP}{}_", uuid::Uuid::new_v4().simple())
}

impl stream::Answer for Answer {
    fn take(&mut self, data: &[u8], said: &mut VecDeque<Event>) -> Result<Flow, Error> {
        let chunk: Chunk<'_> = parse(data)?;
        if let Some(details) = &chunk.error {
            return Err(provider_error::from_stream(details));
        }
        // One answer was asked for, so there is one candidate.
        if let Some(candidate) = chunk.candidates.into_iter().flatten().next() {
            for part in candidate.content.and_then(|content| content.parts).into_iter().flatten() {
                self.take_part(part, said);
            }
            if let Some(reason) = candidate.finish_reason {
                self.end_thought(said);
                said.push_back(Event::Finished(self.finish_reason(&reason)?));
            }
        }
        if chunk.prompt_feedback.and_then(|feedback| feedback.block_reason).is_some() {
            said.push_back(Event::Finished(FinishReason::ContentFilter));
        }
        said.extend(chunk.usage_metadata.map(|usage| Event::Usage(usage.into())));
        Ok(Flow::More)
    }
}

impl Answer {
    /// The ids that are made up for its calls begin with `id_prefix`.
    pub(in crate::model) fn new(id_prefix: String) -> Self {
        Self { id_prefix, calls: 0, thought: None }
    }

    fn take_part(&mut self, part: WirePart<'_>, said: &mut VecDeque<Event>) {
        let signature = Text::or_empty(part.thought_signature);
        if part.thought {
            said.extend(part.text.and_then(Text::said).map(Event::Reasoning));
            self.thought.get_or_insert_default().push_str(&signature);
            return;
        }
        self.end_thought(said);
        if let Some(call) = part.function_call {
            self.take_call(call, signature, said);
            return;
        }
        said.extend(part.text.and_then(Text::said).map(Event::Text));
        if !signature.is_empty() {
            // The thought itself was not told; it ends with the text that came of it.
            said.push_back(signed(signature));
        }
    }

    /// Calls come whole, and often without an id.
    fn take_call(&mut self, function_call: FunctionCall<'_>, signature: String, said: &mut VecDeque<Event>) {
        let index = self.calls;
        self.calls += 1;
        let id = function_call.id.and_then(Text::said).unwrap_or_else(|| format!("{}{index}", self.id_prefix));
        said.push_back(call(index, id, Text::or_empty(function_call.name)));
        let args = function_call.args.map(RawValue::get).filter(|args| *args != "null").unwrap_or("{}");
        said.push_back(arguments(index, args.to_owned()));
        if !signature.is_empty() {
            said.push_back(signed_call(index, signature));
        }
    }

    fn end_thought(&mut self, said: &mut VecDeque<Event>) {
        said.extend(self.thought.take().map(signed));
    }

    /// Reasons that are not known count as a plain end.
    fn finish_reason(&self, reason: &str) -> Result<FinishReason, Error> {
        match reason {
            "MAX_TOKENS" => Ok(FinishReason::Length),
            "SAFETY" | "RECITATION" | "LANGUAGE" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "IMAGE_SAFETY" => {
                Ok(FinishReason::ContentFilter)
            }
            "MALFORMED_FUNCTION_CALL" | "UNEXPECTED_TOOL_CALL" => {
                Err(Error::Slipped("it called a tool in a way that makes no sense".to_owned()))
            }
            _ if self.calls > 0 => Ok(FinishReason::ToolCalls),
            _ => Ok(FinishReason::Stop),
        }
    }
}

impl From<WireUsage> for Usage {
    /// The protocol counts thoughts apart from the answer.
    fn from(usage: WireUsage) -> Self {
        let thoughts = usage.thoughts_token_count.unwrap_or(0);
        let of_tools = usage.tool_use_prompt_token_count.unwrap_or(0);
        Self {
            prompt_tokens: usage.prompt_token_count.unwrap_or(0).saturating_add(of_tools),
            completion_tokens: usage.candidates_token_count.unwrap_or(0).saturating_add(thoughts),
            cached_tokens: usage.cached_content_token_count.unwrap_or(0),
            reasoning_tokens: thoughts,
        }
    }
}
