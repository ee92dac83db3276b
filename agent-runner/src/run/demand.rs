//! A call that the model must make: what it says is held back until it has made it.

use proto::{
    agent::v1::{FinishReason, ToolChoice, run_event::Kind, tool_choice::Mode},
    session::v1::part,
};

use super::answer::Answered;
use crate::model;

/// What the client's `tool_choice` demands of an answer.
#[derive(Debug, PartialEq)]
pub(super) struct Demand {
    /// The tool that must be called; any will do without.
    name: Option<String>,
    held: Vec<Kind>,
    is_met: bool,
}

impl Demand {
    /// `None` when the model may do as it likes.
    pub(super) fn of(choice: Option<&ToolChoice>) -> Option<Self> {
        let choice = choice?;
        let name = match choice.mode() {
            Mode::Required => None,
            Mode::Function => Some(choice.name.clone()),
            Mode::Unspecified | Mode::Auto | Mode::None => return None,
        };
        Some(Self { name, held: Vec::new(), is_met: false })
    }

    /// Takes what the model says, and returns what its readers may hear now: its thoughts, and with the call everything.
    pub(super) fn hold(&mut self, kind: Kind) -> Vec<Kind> {
        if let Kind::ToolCallDelta(delta) = &kind {
            self.is_met |= self.name.as_ref().is_none_or(|name| *name == delta.name);
        }
        if self.is_met {
            let mut held = std::mem::take(&mut self.held);
            held.push(kind);
            return held;
        }
        if matches!(kind, Kind::ReasoningDelta(_)) {
            return vec![kind];
        }
        self.held.push(kind);
        Vec::new()
    }

    /// What is still to be heard of a whole answer. One that was cut short, held back or refused is an answer all the
    /// same; any other without the call is none.
    pub(super) fn settle(self, answered: &Answered) -> Result<Vec<Kind>, model::Error> {
        let is_over = match answered.reason {
            FinishReason::Length | FinishReason::ContentFilter => true,
            FinishReason::Stop | FinishReason::ToolCalls | FinishReason::Unspecified => false,
        };
        let message = &answered.message;
        let is_refused = message.parts.iter().any(|part| matches!(part.kind, Some(part::Kind::Refusal(_))));
        let mut calls = message.tool_calls.iter();
        let is_called = calls.any(|call| self.name.as_ref().is_none_or(|name| *name == call.name));
        if is_over || is_refused || is_called {
            return Ok(self.held);
        }
        Err(model::Error::Slipped(match self.name {
            Some(name) => format!("it did not call `{name}`, as `tool_choice` demands"),
            None => "it called no tool, as `tool_choice` demands".to_owned(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use proto::{
        agent::v1::ToolCallDelta,
        session::v1::{Message, Part, ToolCall},
    };

    use super::*;

    fn demand(mode: Mode, name: &str) -> Option<Demand> {
        Demand::of(Some(&ToolChoice { mode: mode.into(), name: name.to_owned() }))
    }

    fn text() -> Kind {
        Kind::TextDelta("hm".to_owned())
    }

    fn call(name: &str) -> Kind {
        Kind::ToolCallDelta(ToolCallDelta { name: name.to_owned(), ..ToolCallDelta::default() })
    }

    fn answered(reason: FinishReason, called: &[&str], parts: Vec<Part>) -> Answered {
        let call = |name: &&str| ToolCall { name: (*name).to_owned(), ..ToolCall::default() };
        let message = Message { parts, tool_calls: called.iter().map(call).collect(), ..Message::default() };
        Answered { message, owners: Vec::new(), reason, usage: proto::session::v1::Usage::default() }
    }

    #[test]
    fn what_is_said_is_heard_with_the_call() {
        let thought = Kind::ReasoningDelta("so".to_owned());
        let mut any = demand(Mode::Required, "").expect("a demand");
        assert_eq!(any.hold(text()), []);
        assert_eq!(any.hold(thought.clone()), std::slice::from_ref(&thought));
        assert_eq!(any.hold(call("f")), [text(), call("f")]);
        assert_eq!(any.hold(text()), [text()]);
        let mut named = demand(Mode::Function, "g").expect("a demand");
        assert_eq!(named.hold(call("f")), []);
        assert_eq!(named.hold(call("g")), [call("f"), call("g")]);
        assert_eq!(demand(Mode::Auto, ""), None);
        assert_eq!(Demand::of(None), None);
    }

    #[test]
    fn an_answer_without_the_call_is_none() {
        let check = |name: &str, answered: &Answered, expected: Option<usize>| {
            let mode = if name.is_empty() { Mode::Required } else { Mode::Function };
            let mut demand = demand(mode, name).expect("a demand");
            assert_eq!(demand.hold(text()), []);
            assert_eq!(demand.settle(answered).map(|held| held.len()).ok(), expected, "{name} {answered:?}");
        };
        check("", &answered(FinishReason::Stop, &[], Vec::new()), None);
        check("g", &answered(FinishReason::ToolCalls, &["f"], Vec::new()), None);
        check("", &answered(FinishReason::ToolCalls, &["f"], Vec::new()), Some(1));
        check("", &answered(FinishReason::Length, &[], Vec::new()), Some(1));
        check("", &answered(FinishReason::ContentFilter, &[], Vec::new()), Some(1));
        let refusal = Part { kind: Some(part::Kind::Refusal("no".to_owned())) };
        check("", &answered(FinishReason::Stop, &[], vec![refusal]), Some(1));
    }
}
