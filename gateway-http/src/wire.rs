//! Shapes of the API that more than one kind of answer has.

use proto::session::v1::{ToolCall, Usage};
use schemars::JsonSchema;
use serde::Serialize;

/// Tokens spent, in the API's shape.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Usage")]
pub(crate) struct WireUsage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
}

#[derive(Debug, Serialize, JsonSchema)]
struct PromptDetails {
    cached_tokens: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct CompletionDetails {
    reasoning_tokens: u64,
}

/// A call of a tool, in the API's shape.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ToolCall")]
pub(crate) struct WireToolCall {
    id: String,
    r#type: &'static str,
    function: WireFunctionCall,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "FunctionCall")]
struct WireFunctionCall {
    name: String,
    arguments: String,
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

impl From<ToolCall> for WireToolCall {
    fn from(call: ToolCall) -> Self {
        let function = WireFunctionCall { name: call.name, arguments: call.arguments };
        Self { id: call.id, r#type: "function", function }
    }
}
