//! The spans of a run, in the words of OpenTelemetry's conventions for generative AI, and what is noted on them.
//!
//! Numbers are signed, since OpenTelemetry has no others: unsigned ones would be texts there.

use proto::{
    agent::v1::{FailureCode, FinishReason, Finished, FunctionTool, GenerationOptions, RunRequest},
    session::v1::{Message, Part, Role, Usage, part::Kind},
};
use serde_json::{Value, json};
use shared::telemetry;
use tracing::{Span, field::Empty};

use crate::{
    agents::{Agent, ModelName},
    metrics, model,
};

/// How much of what is captured one attribute holds.
const MAX_CAPTURED_BYTES: usize = 32 * 1024;

/// The span that a run happens in, a child of the current one.
pub(super) fn run(request: &RunRequest, agent: &Agent, model: &ModelName) -> Span {
    tracing::info_span!(
        "run",
        otel.name = format_args!("invoke_agent {}", agent.id),
        otel.status_code = Empty,
        error.type = Empty,
        gen_ai.operation.name = "invoke_agent",
        gen_ai.agent.id = agent.id.as_str(),
        gen_ai.agent.name = Some(agent.name.as_str()).filter(|name| !name.is_empty()),
        gen_ai.conversation.id = (!request.stateless).then_some(request.session_key.as_str()),
        gen_ai.provider.name = model.provider,
        gen_ai.request.model = model.model,
        gen_ai.usage.input_tokens = Empty,
        gen_ai.usage.output_tokens = Empty,
        gen_ai.usage.cache_read.input_tokens = Empty,
        gen_ai.usage.reasoning.output_tokens = Empty,
        run.id = request.run_id,
    )
}

/// The span of one question to a model.
pub(super) fn chat(ModelName { provider, model }: &ModelName, question: &model::Request) -> Span {
    let GenerationOptions { temperature, top_p, max_tokens, seed, frequency_penalty, presence_penalty, .. } =
        &question.options;
    let span = tracing::info_span!(
        "chat",
        otel.name = format_args!("chat {model}"),
        otel.kind = "client",
        otel.status_code = Empty,
        error.type = Empty,
        gen_ai.operation.name = "chat",
        gen_ai.provider.name = provider,
        gen_ai.request.model = model,
        gen_ai.request.temperature = temperature,
        gen_ai.request.top_p = top_p,
        gen_ai.request.max_tokens = max_tokens.map(i64::from),
        gen_ai.request.seed = seed,
        gen_ai.request.frequency_penalty = frequency_penalty,
        gen_ai.request.presence_penalty = presence_penalty,
        gen_ai.usage.input_tokens = Empty,
        gen_ai.usage.output_tokens = Empty,
        gen_ai.usage.cache_read.input_tokens = Empty,
        gen_ai.usage.reasoning.output_tokens = Empty,
        server.address = Empty,
        server.port = Empty,
    );
    if telemetry::captures_content() {
        let is_instruction = |message: &&Message| matches!(message.role(), Role::System | Role::Developer);
        let (instructions, said): (Vec<_>, Vec<_>) = question.messages.iter().partition(is_instruction);
        let instructions: Vec<Value> = instructions.iter().flat_map(|message| &message.parts).map(part).collect();
        capture(&span, "gen_ai.system_instructions", &instructions.into());
        capture(&span, "gen_ai.input.messages", &said.into_iter().map(message).collect());
        capture(&span, "gen_ai.tool.definitions", &question.tools.iter().map(definition).collect());
    }
    span
}

/// The span of one call of a tool; `shown` is what it may be called there.
pub(super) fn tool(shown: &str, call_id: &str, arguments: &str) -> Span {
    let span = tracing::info_span!(
        "tool",
        otel.name = format_args!("execute_tool {shown}"),
        otel.status_code = Empty,
        error.type = Empty,
        gen_ai.operation.name = "execute_tool",
        gen_ai.tool.name = shown,
        gen_ai.tool.type = "function",
        gen_ai.tool.call.id = call_id,
    );
    if telemetry::captures_content() {
        capture_text(&span, "gen_ai.tool.call.arguments", arguments.to_owned());
    }
    span
}

/// The first piece of an answer has come, so many seconds after the question.
pub(super) fn first_token(span: &Span, seconds: f64) {
    telemetry::event(span, "gen_ai.first_token", "gen_ai.response.time_to_first_chunk", seconds);
}

/// A model has answered.
pub(super) fn answered(span: &Span, answer: &Message, reason: FinishReason, usage: &Usage) {
    ended(span, reason, usage);
    if telemetry::captures_content() {
        let mut said = message(answer);
        said["finish_reason"] = reason_name(reason).into();
        capture(span, "gen_ai.output.messages", &json!([said]));
    }
}

/// A tool has given something back.
pub(super) fn returned(span: &Span, result: Result<&String, &String>) {
    if result.is_err() {
        span.record("otel.status_code", "error");
        span.record("error.type", "tool_error");
    }
    if telemetry::captures_content() {
        let (Ok(text) | Err(text)) = result;
        capture_text(span, "gen_ai.tool.call.result", text.clone());
    }
}

/// A run has ended well.
pub(super) fn finished(span: &Span, finished: &Finished) {
    ended(span, finished.reason(), &finished.usage.unwrap_or_default());
}

/// A run has failed.
pub(super) fn failed(span: &Span, code: FailureCode) {
    // To be stopped is no error.
    if code != FailureCode::Cancelled {
        span.record("otel.status_code", "error");
    }
    span.record("error.type", metrics::code_label(code));
}

fn ended(span: &Span, reason: FinishReason, usage: &Usage) {
    if span.is_disabled() {
        return;
    }
    telemetry::label_list(span, "gen_ai.response.finish_reasons", vec![reason_name(reason)]);
    span.record("gen_ai.usage.input_tokens", usage.prompt_tokens.cast_signed());
    span.record("gen_ai.usage.output_tokens", usage.completion_tokens.cast_signed());
    span.record("gen_ai.usage.cache_read.input_tokens", usage.cached_tokens.cast_signed());
    span.record("gen_ai.usage.reasoning.output_tokens", usage.reasoning_tokens.cast_signed());
}

/// `FINISH_REASON_TOOL_CALLS` as `tool_calls`.
fn reason_name(reason: FinishReason) -> String {
    reason.as_str_name().trim_start_matches("FINISH_REASON_").to_ascii_lowercase()
}

fn capture(span: &Span, key: &'static str, value: &Value) {
    capture_text(span, key, value.to_string());
}

/// Only the beginning of what is long: spans wait in memory for their collector, which takes no large ones either.
fn capture_text(span: &Span, key: &'static str, mut text: String) {
    if text.len() > MAX_CAPTURED_BYTES {
        text.truncate(text.floor_char_boundary(MAX_CAPTURED_BYTES));
        text.push('…');
    }
    telemetry::label(span, key.to_owned(), text);
}

/// A message as the conventions' schema has it.
fn message(message: &Message) -> Value {
    let role = match message.role() {
        Role::System | Role::Developer => "system",
        Role::User | Role::Unspecified => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
    };
    if message.role() == Role::Tool {
        let response: Vec<Value> = message.parts.iter().map(part).collect();
        let part = json!({"type": "tool_call_response", "id": message.tool_call_id, "response": response});
        return json!({"role": role, "parts": [part]});
    }
    let calls = message
        .tool_calls
        .iter()
        .map(|call| json!({"type": "tool_call", "id": call.id, "name": call.name, "arguments": call.arguments}));
    let parts: Vec<Value> = message.parts.iter().map(part).chain(calls).collect();
    json!({"role": role, "parts": parts})
}

/// Of what is no text, only that it was there.
fn part(part: &Part) -> Value {
    match &part.kind {
        Some(Kind::Text(text) | Kind::Refusal(text)) => json!({"type": "text", "content": text}),
        Some(Kind::Reasoning(thought)) => json!({"type": "reasoning", "content": thought.text}),
        Some(Kind::Image(_)) => json!({"type": "blob", "modality": "image"}),
        Some(Kind::Audio(_)) => json!({"type": "blob", "modality": "audio"}),
        Some(Kind::File(_)) => json!({"type": "blob", "modality": "file"}),
        None => Value::Null,
    }
}

fn definition(tool: &FunctionTool) -> Value {
    json!({"type": "function", "name": tool.name, "description": tool.description})
}
