//! What `--json` prints.

use proto::{
    agent::v1::{FailureCode, FinishReason, FunctionTool, PreviewPromptResponse, run_event::Kind},
    session::v1::{Message, Part, Role, Usage, part},
};
use serde_json::{Value, json};

/// An event: `seq`, `type`, and what belongs to the type.
pub(super) fn event(seq: u64, kind: &Kind) -> Value {
    match kind {
        Kind::Accepted(accepted) => json!({"seq": seq, "type": "accepted", "session_key": accepted.session_key}),
        Kind::Started(started) => json!({"seq": seq, "type": "started", "model": started.model}),
        Kind::TextDelta(text) => json!({"seq": seq, "type": "text_delta", "text": text}),
        Kind::RefusalDelta(text) => json!({"seq": seq, "type": "refusal_delta", "text": text}),
        Kind::LogprobsDelta(_) => json!({"seq": seq, "type": "logprobs_delta"}),
        Kind::ReasoningDelta(text) => json!({"seq": seq, "type": "reasoning_delta", "text": text}),
        Kind::ToolCallDelta(delta) => json!({
            "seq": seq, "type": "tool_call_delta", "index": delta.index, "id": delta.id, "name": delta.name,
            "arguments": delta.arguments,
        }),
        Kind::ToolStarted(tool) => json!({
            "seq": seq, "type": "tool_started", "tool_call_id": tool.tool_call_id, "name": tool.name,
            "arguments": tool.arguments,
        }),
        Kind::ToolFinished(tool) => json!({
            "seq": seq, "type": "tool_finished", "tool_call_id": tool.tool_call_id, "name": tool.name,
            "is_error": tool.is_error, "duration_ms": tool.duration_ms,
        }),
        Kind::Usage(spent) => json!({"seq": seq, "type": "usage", "usage": usage(*spent)}),
        Kind::Finished(finished) => json!({
            "seq": seq, "type": "finished",
            "reason": name(finished.reason().as_str_name(), FinishReason::Unspecified.as_str_name()),
            "usage": usage(finished.usage.unwrap_or_default()),
        }),
        Kind::Failed(failed) => json!({
            "seq": seq, "type": "failed",
            "code": name(failed.code().as_str_name(), FailureCode::Unspecified.as_str_name()),
            "message": failed.message, "retryable": failed.retryable,
        }),
    }
}

/// A whole prompt: `model`, `tools` and `messages`.
pub(super) fn prompt(preview: &PreviewPromptResponse) -> Value {
    let tools: Vec<Value> = preview.tools.iter().map(tool).collect();
    let messages: Vec<Value> = preview.messages.iter().map(message).collect();
    json!({"model": preview.model, "tools": tools, "messages": messages})
}

/// Who speaks, as people write it.
pub(super) fn role(message: &Message) -> String {
    name(message.role().as_str_name(), Role::Unspecified.as_str_name())
}

fn usage(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens,
        "cached_tokens": usage.cached_tokens, "reasoning_tokens": usage.reasoning_tokens,
    })
}

fn tool(tool: &FunctionTool) -> Value {
    let parameters = serde_json::from_str(&tool.parameters).unwrap_or(Value::Null);
    json!({"name": tool.name, "description": tool.description, "parameters": parameters})
}

fn message(message: &Message) -> Value {
    let content: Vec<Value> = message.parts.iter().filter_map(part).collect();
    let mut object = json!({"role": role(message), "content": content});
    if !message.name.is_empty() {
        object["name"] = message.name.as_str().into();
    }
    if !message.tool_calls.is_empty() {
        let call = |call: &proto::session::v1::ToolCall| json!({"id": call.id, "name": call.name, "arguments": call.arguments});
        object["tool_calls"] = message.tool_calls.iter().map(call).collect();
    }
    if !message.tool_call_id.is_empty() {
        object["tool_call_id"] = message.tool_call_id.as_str().into();
    }
    object
}

fn part(part: &Part) -> Option<Value> {
    Some(match part.kind.as_ref()? {
        part::Kind::Text(text) => json!({"type": "text", "text": text}),
        part::Kind::Refusal(text) => json!({"type": "refusal", "text": text}),
        part::Kind::Reasoning(reasoning) => json!({"type": "reasoning", "text": reasoning.text}),
        part::Kind::Image(image) => json!({"type": "image", "url": image.url}),
        part::Kind::Audio(audio) => json!({"type": "audio", "format": audio.format, "data": audio.data}),
        part::Kind::File(file) => {
            json!({"type": "file", "filename": file.filename, "file_id": file.file_id, "data": file.data})
        }
    })
}

/// An enum value's own part of its protobuf name, in lower case; `unspecified` tells the part that all share.
fn name(value: &str, unspecified: &str) -> String {
    let shared = unspecified.trim_end_matches("UNSPECIFIED");
    value.trim_start_matches(shared).to_ascii_lowercase()
}
