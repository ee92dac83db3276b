//! Whether a model is told to think, and how much: there are two ways to say it, and many conditions.

use proto::{
    agent::v1::{ToolChoice, tool_choice::Mode},
    session::v1::{Message, Role, part::Kind},
};
use serde_json::{Value, json};

use super::request::is_ours;
use crate::model::{Request, input};

/// The least that a model may be told to think, and what is left for the answer itself.
const MIN_TOKENS: u32 = 1024;

/// How a model is told to think.
pub(super) struct Thinking {
    pub(super) config: Value,
    /// How much, for models that decide by themselves.
    pub(super) effort: Option<&'static str>,
}

/// How the model thinks; `None` when it is not asked to, or may not.
pub(super) fn thinking(request: &Request, max_tokens: u32) -> Option<Thinking> {
    let effort = request.options.reasoning_effort.as_str();
    let is_asked_to = request.profile.reasoning && !matches!(effort, "" | "none");
    let is_forced = match request.tool_choice.as_ref().map(ToolChoice::mode) {
        Some(Mode::Required | Mode::Function) => true,
        Some(Mode::Unspecified | Mode::Auto | Mode::None) | None => false,
    };
    if !is_asked_to || is_forced {
        return None;
    }
    if thinks_adaptively(&request.model) {
        let effort = match effort {
            "minimal" | "low" => "low",
            "high" => "high",
            _ => "medium",
        };
        // Newer models keep their thoughts to themselves unless asked.
        let config = json!({"type": "adaptive", "display": "summarized"});
        return Some(Thinking { config, effort: Some(effort) });
    }
    if max_tokens < 2 * MIN_TOKENS || !thought_before_calling(&request.messages) {
        return None;
    }
    let budget = input::thinking_budget(effort).min(max_tokens - MIN_TOKENS);
    Some(Thinking { config: json!({"type": "enabled", "budget_tokens": budget}), effort: None })
}

/// Whether a model decides by itself how much it thinks. Claude does since 4.6, and since 4.7 refuses a budget; before,
/// and elsewhere, there is only the budget.
fn thinks_adaptively(model: &str) -> bool {
    const WITH_BUDGET: &[&str] = &["claude-3", "-4-0", "-4-1", "-4-2", "-4-5"];
    let model = model.replace('.', "-");
    model.contains("claude-") && !WITH_BUDGET.iter().any(|version| model.contains(version))
}

/// Whether the calls whose results are the last of the conversation came with a thought, as they must when the model is
/// to think on. They did not when another model made them.
fn thought_before_calling(messages: &[Message]) -> bool {
    let mut trailing = messages.iter().rev().skip_while(|message| message.role() == Role::Tool);
    let ends_with_results = messages.last().is_some_and(|message| message.role() == Role::Tool);
    let caller = trailing.next().filter(|message| ends_with_results && !message.tool_calls.is_empty());
    caller.is_none_or(|caller| {
        let first = caller.parts.first().and_then(|part| part.kind.as_ref());
        matches!(first, Some(Kind::Reasoning(reasoning)) if is_ours(reasoning))
    })
}
