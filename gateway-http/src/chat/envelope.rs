//! What every piece of one answer has in common.

use proto::{
    agent::v1::{FinishReason, Started},
    session::v1::Usage,
};
use serde::Serialize;

/// The build that answers.
pub(super) const SYSTEM_FINGERPRINT: &str = concat!("clawdbot-", env!("CARGO_PKG_VERSION"));

/// The answer's id, its time and the model's name as the client wrote it.
#[derive(Clone, Debug)]
pub(super) struct Envelope {
    pub(super) id: String,
    /// When the run began, in seconds since 1970: the same in an answer that is given again.
    pub(super) created: u64,
    pub(super) model: String,
}

/// Tokens spent, in the API's shape.
#[derive(Debug, Serialize)]
pub(super) struct WireUsage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
}

#[derive(Debug, Serialize)]
struct PromptDetails {
    cached_tokens: u64,
}

#[derive(Debug, Serialize)]
struct CompletionDetails {
    reasoning_tokens: u64,
}

impl Envelope {
    /// What is known before the run has begun.
    pub(super) fn new(id: &str, model: &str) -> Self {
        Self { id: id.to_owned(), created: 0, model: model.to_owned() }
    }

    pub(super) fn begin(&mut self, started: &Started) {
        self.created = started.started_at_ms / 1000;
    }
}

impl From<Usage> for WireUsage {
    fn from(usage: Usage) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            total_tokens: usage.prompt_tokens.saturating_add(usage.completion_tokens),
            prompt_tokens_details: PromptDetails { cached_tokens: usage.cached_tokens },
            completion_tokens_details: CompletionDetails { reasoning_tokens: usage.reasoning_tokens },
        }
    }
}

/// The reason's name in the API.
pub(super) fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop | FinishReason::Unspecified => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContentFilter => "content_filter",
    }
}
