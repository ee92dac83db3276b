//! Whether a model is told to think, and how much: there are two ways to say it, and many conditions.

use proto::{
    agent::v1::{ToolChoice, tool_choice::Mode},
    session::v1::{Message, Role, part::Kind},
};
use serde_json::{Value, json};

use super::request::most_tokens;
use crate::model::{Request, input};

/// The least that a model may be told to think, and what is left for the answer itself.
const MIN_TOKENS: u32 = 1024;

/// How a model is told to think.
pub(super) struct Thinking {
    pub(super) config: Value,
    /// How much, for models that decide by themselves.
    pub(super) effort: Option<&'static str>,
    /// How many tokens that may take.
    pub(super) budget: u32,
}

/// How the model thinks; `None` when it is not asked to, or may not.
pub(super) fn thinking(request: &Request) -> Option<Thinking> {
    let effort = request.options.reasoning_effort.as_str();
    let is_asked_to = request.profile.reasoning && !matches!(effort, "" | "none");
    let is_forced = match request.tool_choice.as_ref().map(ToolChoice::mode) {
        Some(Mode::Required | Mode::Function) => true,
        Some(Mode::Unspecified | Mode::Auto | Mode::None) | None => false,
    };
    if !is_asked_to || is_forced {
        return None;
    }
    let budget = input::thinking_budget(effort);
    if thinks_adaptively(&request.model) {
        let effort = match effort {
            "minimal" | "low" => "low",
            "high" | "xhigh" | "max" => "high",
            _ => "medium",
        };
        // Newer models keep their thoughts to themselves unless asked.
        let config = json!({"type": "adaptive", "display": "summarized"});
        return Some(Thinking { config, effort: Some(effort), budget });
    }
    let budget = match most_tokens(request) {
        Some(most) => budget.min(most.saturating_sub(MIN_TOKENS)),
        None => budget,
    };
    if budget < MIN_TOKENS || !thought_before_calling(&request.messages) {
        return None;
    }
    Some(Thinking { config: json!({"type": "enabled", "budget_tokens": budget}), effort: None, budget })
}

/// Whether a model decides by itself how much it thinks. Claude does since 4.6, and since 4.7 refuses a budget; before,
/// and elsewhere, there is only the budget.
pub(super) fn thinks_adaptively(model: &str) -> bool {
    const WITH_BUDGET: &[&str] = &["claude-3", "-4-0", "-4-1", "-4-2", "-4-5"];
    let model = model.replace('.', "-");
    model.contains("claude-") && !WITH_BUDGET.iter().any(|version| model.contains(version))
}

/// Whether a model may be told how to choose its words; since 4.7 Claude refuses it.
pub(super) fn takes_sampling(model: &str) -> bool {
    !thinks_adaptively(model) || model.replace('.', "-").contains("-4-6")
}

/// Whether the calls whose results the model is to go on from came with a thought, as they must when it is to think on.
/// They did not when another model made them.
fn thought_before_calling(messages: &[Message]) -> bool {
    let last = messages.iter().rev().find(|message| message.role() == Role::Assistant);
    last.filter(|message| !message.tool_calls.is_empty()).is_none_or(|caller| {
        let first = caller.parts.first().and_then(|part| part.kind.as_ref());
        matches!(first, Some(Kind::Reasoning(_)))
    })
}
