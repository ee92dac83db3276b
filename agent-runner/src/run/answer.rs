//! A model's answer as it is put together from its events.

use proto::{
    agent::v1::{FinishReason, LogprobsDelta, ToolCallDelta, run_event::Kind},
    session::v1::{Message, Part, Reasoning, Role, ToolCall, Usage, part},
};
use uuid::Uuid;

use super::toolbox::{Owner, Toolbox};
use crate::{
    model::{self, Event},
    prompt,
};

/// The answer so far.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// Texts and signed thoughts as they came: providers want them back in that order.
    parts: Vec<Part>,
    /// The thought that is being told.
    reasoning: String,
    /// Whether the next text is one of its own, since a thought came between.
    has_paused: bool,
    calls: Vec<Call>,
    reason: Option<FinishReason>,
    usage: Usage,
}

/// A tool call of an answer.
#[derive(Debug)]
struct Call {
    call: ToolCall,
    owner: Owner,
    /// Its place among the calls that the client sees.
    client_index: u32,
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answered {
    /// What the model said and called.
    pub(crate) message: Message,
    /// Whose tools the message's calls are, in their order.
    pub(crate) owners: Vec<Owner>,
    pub(crate) reason: FinishReason,
    pub(crate) usage: Usage,
}

impl Answer {
    /// Takes an event in, and returns what the run's reader is to be told.
    pub(crate) fn take(&mut self, event: Event, toolbox: &Toolbox) -> Option<Kind> {
        match event {
            Event::Text(text) => {
                self.take_text(&text);
                Some(Kind::TextDelta(text))
            }
            Event::Refusal(text) => {
                self.take_refusal(&text);
                Some(Kind::RefusalDelta(text))
            }
            Event::Logprobs(tokens) => Some(Kind::LogprobsDelta(LogprobsDelta { tokens })),
            Event::Reasoning(text) => {
                self.reasoning.push_str(&text);
                Some(Kind::ReasoningDelta(text))
            }
            Event::Thought { signature, origin } => {
                let text = std::mem::take(&mut self.reasoning);
                self.has_paused = true;
                // What is not signed is not wanted back.
                if !signature.is_empty() {
                    let thought = Reasoning { text, signature, origin: origin.to_string() };
                    self.parts.push(Part { kind: Some(part::Kind::Reasoning(thought)) });
                }
                None
            }
            Event::ToolCall(delta) => self.take_call(delta, toolbox),
            Event::CallSignature { index, signature, origin } => {
                if let Some(Call { call, .. }) = self.calls.get_mut(index as usize) {
                    call.signature = signature;
                    call.signature_origin = origin.to_string();
                }
                None
            }
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

    fn take_text(&mut self, text: &str) {
        match self.parts.last_mut().and_then(|part| part.kind.as_mut()) {
            Some(part::Kind::Text(last)) if !self.has_paused => last.push_str(text),
            Some(_) | None => self.parts.push(prompt::text(text.to_owned())),
        }
        self.has_paused = false;
    }

    fn take_refusal(&mut self, text: &str) {
        match self.parts.last_mut().and_then(|part| part.kind.as_mut()) {
            Some(part::Kind::Refusal(last)) => last.push_str(text),
            Some(_) | None => self.parts.push(Part { kind: Some(part::Kind::Refusal(text.to_owned())) }),
        }
    }

    /// Deltas of one call share its index, the first one names it, and indexes come in order. The client hears only of
    /// calls of its own tools, which it numbers from 0.
    fn take_call(&mut self, mut delta: ToolCallDelta, toolbox: &Toolbox) -> Option<Kind> {
        let place = delta.index as usize;
        if let Some(Call { call, .. }) = self.calls.get_mut(place) {
            call.arguments.push_str(&delta.arguments);
        } else {
            let owner = toolbox.owner(&delta.name);
            if delta.id.is_empty() {
                // Some servers name no call, but its result has to be told apart from others'.
                delta.id = format!("call_{}", Uuid::new_v4().simple());
            }
            let client_index = self.calls.iter().filter(|call| call.owner == Owner::Client).count();
            self.calls.push(Call {
                call: ToolCall {
                    id: delta.id.clone(),
                    name: delta.name.clone(),
                    arguments: delta.arguments.clone(),
                    ..ToolCall::default()
                },
                owner,
                client_index: u32::try_from(client_index).unwrap_or(u32::MAX),
            });
        }
        let Call { owner, client_index, .. } = self.calls.get(place)?;
        delta.index = *client_index;
        (*owner == Owner::Client).then_some(Kind::ToolCallDelta(delta))
    }

    /// Whether the model has said why it ended.
    pub(super) fn has_ended(&self) -> bool {
        self.reason.is_some()
    }

    /// The whole answer; an error when the model broke off before it said why it ended.
    pub(crate) fn finished(self) -> Result<Answered, model::Error> {
        let Some(reason) = self.reason else {
            return Err(model::Error::Failed("it broke off in the middle of its answer".to_owned()));
        };
        // Some providers say `stop` where tools are called.
        let calls_tools = reason == FinishReason::Stop && !self.calls.is_empty();
        let mut parts = self.parts;
        // Providers want a thought back only with the tool calls that came of it.
        if self.calls.is_empty() {
            parts.retain(|part| !matches!(part.kind, Some(part::Kind::Reasoning(_))));
        }
        let (tool_calls, owners) = self.calls.into_iter().map(|call| (call.call, call.owner)).unzip();
        let message = Message {
            role: Role::Assistant.into(),
            parts,
            tool_calls,
            context_tokens: self.usage.prompt_tokens + self.usage.completion_tokens,
            ..Message::default()
        };
        let reason = if calls_tools { FinishReason::ToolCalls } else { reason };
        Ok(Answered { message, owners, reason, usage: self.usage })
    }
}
