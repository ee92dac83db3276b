//! A model's answer as it is put together from its events.

use proto::{
    agent::v1::{FinishReason, ToolCallDelta, run_event::Kind},
    session::v1::{Message, Role, ToolCall, Usage},
};
use tracing::Span;

use crate::{
    failure::Failure,
    model::{self, Event},
    prompt,
};

/// The answer so far.
#[derive(Debug, Default)]
pub(super) struct Answer {
    text: String,
    tool_calls: Vec<ToolCall>,
    reason: Option<FinishReason>,
    usage: Usage,
}

impl Answer {
    /// Takes an event in, and returns what the run's reader is to be told.
    pub(super) fn take(&mut self, event: Event) -> Option<Kind> {
        match event {
            Event::Text(text) => {
                self.text.push_str(&text);
                Some(Kind::TextDelta(text))
            }
            Event::Reasoning(text) => Some(Kind::ReasoningDelta(text)),
            Event::ToolCall(delta) => {
                self.extend_tool_call(&delta);
                Some(Kind::ToolCallDelta(delta))
            }
            Event::Thought { .. } | Event::CallSignature { .. } => None,
            Event::Usage(usage) => {
                self.usage = usage;
                None
            }
            Event::Finished(reason) => {
                self.reason = Some(reason);
                None
            }
        }
    }

    /// Whether the model has said why it ended.
    pub(super) fn has_ended(&self) -> bool {
        self.reason.is_some()
    }

    /// The whole answer; a failure when the model broke off before it said why it ended.
    pub(super) fn finished(self) -> Result<Self, Failure> {
        match self.reason {
            Some(_) => Ok(self),
            None => Err(model::Error::Failed("it broke off in the middle of its answer".to_owned()).into()),
        }
    }

    /// The message to keep, why it ended, and what it cost.
    pub(super) fn into_parts(self) -> (Message, FinishReason, Usage) {
        let reason = match self.reason {
            // Some providers say `stop` where tools are called.
            Some(FinishReason::Stop) if !self.tool_calls.is_empty() => FinishReason::ToolCalls,
            reason => reason.unwrap_or_default(),
        };
        let parts = if self.text.is_empty() { Vec::new() } else { vec![prompt::text(self.text)] };
        let message =
            Message { role: Role::Assistant.into(), parts, tool_calls: self.tool_calls, ..Message::default() };
        (message, reason, self.usage)
    }

    pub(super) fn record(&self, span: &Span) {
        let reason = self.reason.unwrap_or_default();
        span.record("gen_ai.response.finish_reasons", reason.as_str_name());
        span.record("gen_ai.usage.input_tokens", self.usage.prompt_tokens);
        span.record("gen_ai.usage.output_tokens", self.usage.completion_tokens);
    }

    /// Deltas of one call share its index, the first one names it, and indexes come in order.
    fn extend_tool_call(&mut self, delta: &ToolCallDelta) {
        match self.tool_calls.get_mut(delta.index as usize) {
            Some(call) => call.arguments.push_str(&delta.arguments),
            None => self.tool_calls.push(ToolCall {
                id: delta.id.clone(),
                name: delta.name.clone(),
                arguments: delta.arguments.clone(),
                ..ToolCall::default()
            }),
        }
    }
}
