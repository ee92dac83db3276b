//! The answer in one piece.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header::CONTENT_TYPE};
use proto::{
    agent::v1::{Finished, ToolCallDelta, run_event::Kind},
    session::v1::ToolCall,
};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    envelope::{Envelope, SYSTEM_FINGERPRINT, finish_reason},
    events::{Activities, Shown},
    logprobs::Logprobs,
};
use crate::{
    error::ApiError,
    run::Events,
    wire::{WireToolCall, WireUsage},
};

/// A whole answer, as the API wants it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ChatCompletion")]
pub(crate) struct Completion {
    id: String,
    object: &'static str,
    created: u64,
    model: String,
    system_fingerprint: &'static str,
    choices: [Choice; 1],
    usage: WireUsage,
    #[serde(skip_serializing_if = "Option::is_none")]
    clawdbot: Option<Activities>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ChatCompletionChoice")]
struct Choice {
    index: u32,
    message: AnswerMessage,
    logprobs: Option<Logprobs>,
    #[schemars(extend("enum" = ["stop", "length", "tool_calls", "content_filter"]))]
    finish_reason: &'static str,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ChatCompletionMessage")]
struct AnswerMessage {
    role: &'static str,
    content: Option<String>,
    refusal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<WireToolCall>,
}

/// The answer so far.
#[derive(Default)]
struct Parts {
    text: String,
    refusal: String,
    reasoning: String,
    tool_calls: Vec<ToolCall>,
    logprobs: Logprobs,
    activities: Activities,
}

/// Waits for the run to end. Dropping the call cancels a run that cannot be resumed.
pub(super) async fn collect(mut events: Events, mut envelope: Envelope, shown: Shown) -> Result<Completion, ApiError> {
    let mut parts = Parts::default();
    loop {
        match events.next().await? {
            Kind::Started(started) => envelope.begin(&started),
            Kind::TextDelta(text) => {
                parts.logprobs.say();
                parts.text.push_str(&text);
            }
            Kind::RefusalDelta(text) => {
                parts.logprobs.refuse();
                parts.refusal.push_str(&text);
            }
            Kind::LogprobsDelta(delta) => parts.logprobs.announce(delta),
            Kind::ReasoningDelta(text) if shown.reasoning => parts.reasoning.push_str(&text),
            Kind::ToolStarted(started) if shown.tools => parts.activities.start(started),
            Kind::ToolFinished(finished) if shown.tools => parts.activities.finish(&finished),
            Kind::ToolCallDelta(delta) => parts.extend_tool_call(delta),
            Kind::Finished(finished) => return Ok(parts.complete(envelope, finished, shown)),
            Kind::Failed(failed) => return Err(failed.into()),
            Kind::Accepted(_)
            | Kind::ReasoningDelta(_)
            | Kind::ToolStarted(_)
            | Kind::ToolFinished(_)
            | Kind::Usage(_) => {}
        }
    }
}

impl Parts {
    fn extend_tool_call(&mut self, delta: ToolCallDelta) {
        let index = delta.index as usize;
        if index >= self.tool_calls.len() {
            self.tool_calls.push(ToolCall {
                id: delta.id,
                name: delta.name,
                arguments: delta.arguments,
                ..ToolCall::default()
            });
        } else {
            self.tool_calls[index].arguments.push_str(&delta.arguments);
        }
    }

    fn complete(mut self, envelope: Envelope, finished: Finished, shown: Shown) -> Completion {
        let says_something_else = !self.tool_calls.is_empty() || !self.refusal.is_empty();
        self.logprobs.say();
        let message = AnswerMessage {
            role: "assistant",
            content: Some(self.text).filter(|text| !text.is_empty() || !says_something_else),
            refusal: Some(self.refusal).filter(|refusal| !refusal.is_empty()),
            reasoning_content: Some(self.reasoning).filter(|reasoning| !reasoning.is_empty()),
            tool_calls: self.tool_calls.into_iter().map(WireToolCall::from).collect(),
        };
        let finish_reason = finish_reason(finished.reason());
        Completion {
            id: envelope.id,
            object: "chat.completion",
            created: envelope.created,
            model: envelope.model,
            system_fingerprint: SYSTEM_FINGERPRINT,
            choices: [Choice { index: 0, message, logprobs: self.logprobs.take(), finish_reason }],
            usage: finished.usage.unwrap_or_default().into(),
            clawdbot: shown.tools.then_some(self.activities),
        }
    }
}

impl IntoResponse for Completion {
    fn into_response(self) -> Response {
        let json = serde_json::to_vec(&self).expect("strings and numbers always serialise");
        let content_type = HeaderValue::from_static("application/json; charset=utf-8");
        ([(CONTENT_TYPE, content_type)], json).into_response()
    }
}
