//! What every piece of one answer has in common.

use proto::agent::v1::{FinishReason, Started};

/// The build that answers.
pub(super) const SYSTEM_FINGERPRINT: &str = env!("CLAWDBOT_FINGERPRINT");

/// The answer's id, its time and the model's name as the client wrote it.
#[derive(Clone, Debug)]
pub(super) struct Envelope {
    pub(super) id: String,
    /// When the run began, in seconds since 1970: the same in an answer that is given again.
    pub(super) created: u64,
    pub(super) model: String,
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

/// The reason's name in the API.
pub(super) fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop | FinishReason::Unspecified => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContentFilter => "content_filter",
    }
}
